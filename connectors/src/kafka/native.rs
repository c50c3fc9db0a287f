//! The one file with unsafe code: calls of librdkafka for which the `rdkafka` crate has no safe form.
//!
//! Obligations, and how they are kept:
//!
//! * every `rd_kafka_message_t*` that a batch call returns is read before it is destroyed, and destroyed exactly once,
//!   also when the batch is refused half-way ([`Messages`] does it on drop);
//! * payload, key and topic pointers are valid as long as their message; nothing keeps them longer;
//! * a queue is destroyed before its client ([`Handle`] holds the client and destroys the queue on drop);
//! * every event and every object of the admin call is destroyed on every way out ([`Owned`]).

#![allow(unsafe_code)]

use std::{
    collections::BTreeSet,
    ffi::{CStr, CString},
    ptr, slice,
    sync::Arc,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rdkafka::{
    bindings as sys,
    client::{Client, ClientContext},
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};

use super::{
    assigned::{Assigned, End},
    error::{Asked, Said, failed},
};
use crate::{Error, Fault, RawBatch, Result, Run};

/// What librdkafka says of a batch that it cannot read, once; then it goes on somewhere after it.
const DAMAGE: [RDKafkaErrorCode; 3] =
    [RDKafkaErrorCode::BadMessage, RDKafkaErrorCode::BadCompression, RDKafkaErrorCode::NotImplemented];

/// An error that came in the place of a message.
pub(super) struct Broken {
    /// The partition, if it is of one.
    pub(super) place: Option<usize>,
    pub(super) error: Error,
}

/// A queue of a client.
struct Handle {
    queue: *mut sys::rd_kafka_queue_t,
    /// Lives longer than its queue.
    consumer: Arc<BaseConsumer>,
}

// SAFETY: librdkafka's handles may be used from any threads, also at once.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: librdkafka gave it to us, it is destroyed once, and the client is still there.
        unsafe { sys::rd_kafka_queue_destroy(self.queue) }
    }
}

/// What a client says beside records: errors of its connections, each with its reason.
pub(super) struct Events(Handle);

impl Events {
    /// They have a queue of their own from now on. In that of the records the call for a batch would answer them by itself:
    /// it prints them.
    pub(super) fn of(consumer: &Arc<BaseConsumer>) -> Result<Events> {
        // SAFETY: the client lives as long as `consumer`, which we keep.
        let queue = unsafe { sys::rd_kafka_queue_get_main(consumer.client().native_ptr()) };
        if queue.is_null() {
            return Err(Error::bug("the client has no main queue"));
        }
        let handle = Handle { queue, consumer: consumer.clone() };
        // SAFETY: the queue is alive; null ends its forwarding.
        unsafe { sys::rd_kafka_queue_forward(queue, ptr::null_mut()) };
        Ok(Events(handle))
    }

    /// Empties the queue: the last thing that was said, but a refused login before anything else. The newest statistics, as JSON, go to
    /// `statistics`, if the client was made to give any.
    pub(super) fn drain(&self, statistics: &mut Option<String>) -> Option<Said> {
        let mut said: Option<Said> = None;
        loop {
            // SAFETY: the queue is alive.
            let event = Owned(unsafe { sys::rd_kafka_queue_poll(self.0.queue, 0) }, sys::rd_kafka_event_destroy);
            if event.0.is_null() {
                return said;
            }
            // SAFETY: the event is alive until the end of this turn, and its text with it.
            let (kind, code) =
                unsafe { (sys::rd_kafka_event_type(event.0), sys::rd_kafka_event_error(event.0).into()) };
            if kind == sys::RD_KAFKA_EVENT_STATS {
                // SAFETY: as above.
                let text = unsafe { CStr::from_ptr(sys::rd_kafka_event_stats(event.0)) };
                *statistics = Some(text.to_string_lossy().into_owned());
            }
            let is_reason = kind == sys::RD_KAFKA_EVENT_ERROR && code != RDKafkaErrorCode::AllBrokersDown;
            if is_reason && !said.as_ref().is_some_and(Said::is_final) {
                // SAFETY: as above.
                let text = unsafe { CStr::from_ptr(sys::rd_kafka_event_error_string(event.0)) };
                said = Some(Said { code, text: text.to_string_lossy().into_owned() });
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // As the crate has it when it closes a consumer. Otherwise closing was seen to hang now and then.
        // SAFETY: the client is alive.
        unsafe { sys::rd_kafka_poll_set_consumer(self.0.consumer.client().native_ptr()) };
    }
}

/// The queue from which a consumer's messages are taken, batch by batch.
pub(super) struct Queue {
    handle: Handle,
    headers: bool,
    messages: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: the pointers are only looked at within the call that fills them.
unsafe impl Send for Queue {}

impl Queue {
    pub(super) fn new(consumer: &Arc<BaseConsumer>, headers: bool) -> Result<Queue> {
        // SAFETY: the client lives as long as `consumer`, which we keep.
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        if queue.is_null() {
            return Err(Error::bug("the consumer has no queue"));
        }
        let handle = Handle { queue, consumer: consumer.clone() };
        Ok(Queue { handle, headers, messages: Vec::new() })
    }

    /// Takes at most `most` messages, waiting at most `wait` for the first ones; one batch for each group that had any, in
    /// `batches`, which has an empty one for each group. The positions of the runs are not filled in. Errors that came in the place of
    /// messages are the result. Of a partition with an error what came before it is in the batches, and nothing of what comes after it,
    /// here or in a later call: it is in `lost` from there on. An error of no partition is the last, and of what comes after it nothing
    /// is given. Where a partition ends goes to `ends`, if the client was made to say so.
    pub(super) fn take(
        &mut self,
        wait: Duration,
        most: usize,
        assigned: &Assigned,
        batches: &mut [RawBatch],
        mut ends: Option<&mut Vec<End>>,
        lost: &mut BTreeSet<usize>,
    ) -> Result<Vec<Broken>> {
        self.messages.resize(most, ptr::null_mut());
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the array has room for `most` pointers.
        let count =
            unsafe { sys::rd_kafka_consume_batch_queue(self.handle.queue, wait_ms, self.messages.as_mut_ptr(), most) };
        let count = usize::try_from(count).map_err(|_| Error::bug("librdkafka refused to give a batch"))?;
        let messages = Messages(&self.messages[..count]);
        // SAFETY: each pointer is a message that librdkafka gave us and that we have not destroyed yet.
        let all = || messages.0.iter().map(|m| unsafe { &**m });
        if let [only] = batches {
            let (keys, values) = all().fold((0, 0), |(keys, values), m| (keys + m.key_len, values + m.len));
            only.reserve(count, keys, values);
        }
        // Messages come in runs of one partition; a run looks its partition up once.
        let mut run: (*mut sys::rd_kafka_topic_t, i32, usize) = (ptr::null_mut(), -1, 0);
        let mut broken = Vec::new();
        for message in all() {
            if message.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF
                && let Some(ends) = ends.as_deref_mut()
            {
                // SAFETY: as below.
                let topic = unsafe { topic_name(message) }.unwrap_or_default();
                ends.extend(assigned.place(&topic, message.partition).map(|place| (place, message.offset)));
                continue;
            }
            if message.err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                let code: RDKafkaErrorCode = message.err.into();
                // SAFETY: the topic handle, where there is one, is alive with its message.
                let topic = unsafe { topic_name(message) };
                let place = topic.as_ref().and_then(|topic| assigned.place(topic, message.partition));
                let at = topic.as_deref().map(|topic| (topic, message.partition, message.offset));
                let error = failed(&Asked::records(at), KafkaError::MessageConsumption(code), None);
                let error = match place {
                    Some(place) if DAMAGE.contains(&code) => {
                        // SAFETY: the payload of a message that is an error is its text.
                        let said = unsafe { bytes(message.payload, message.len) }.unwrap_or_default();
                        let what = String::from_utf8_lossy(said).trim_end_matches('\0').to_string();
                        Error { fault: Fault::Damaged { place, offset: message.offset }, what, ..error }
                    }
                    _ => error,
                };
                // What comes after it says the same of a partition again and again.
                let is_first = place.is_none_or(|place| lost.insert(place));
                broken.extend(is_first.then_some(Broken { place, error }));
                if place.is_none() {
                    return Ok(broken);
                }
                run = (ptr::null_mut(), -1, 0);
                continue;
            }
            if (message.rkt, message.partition) != (run.0, run.1) {
                // SAFETY: as above.
                let topic = unsafe { topic_name(message) }.unwrap_or_default();
                let place = assigned.place(&topic, message.partition);
                let place = place.ok_or_else(|| {
                    Error::bug(format!("a message of {topic}[{}], which was not asked for", message.partition))
                })?;
                run = (message.rkt, message.partition, place);
            }
            let place = run.2;
            if !lost.is_empty() && lost.contains(&place) {
                continue;
            }
            let batch = &mut batches[assigned.group(place)];
            let row = batch.len();
            batch.partitions.push(place as i32);
            batch.offsets.push(message.offset);
            let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            // SAFETY: the message is alive and `kind` is ours.
            batch.timestamps_ms.push(unsafe { sys::rd_kafka_message_timestamp(message, &mut kind) });
            // SAFETY: librdkafka says how long key and payload are, and both are alive with the message.
            unsafe {
                batch.keys.push(bytes(message.key, message.key_len))?;
                batch.values.push(bytes(message.payload, message.len))?;
                if self.headers {
                    batch.headers.push(Some(headers(message).as_bytes()))?;
                }
            }
            // SAFETY: the message is alive.
            let epoch = unsafe { sys::rd_kafka_message_leader_epoch(message) };
            let leader_epoch = (epoch >= 0).then_some(epoch);
            match batch.runs.iter_mut().find(|run| run.place == place as i32) {
                Some(known) => (known.last_row, known.leader_epoch) = (Some(row), leader_epoch),
                None => batch.runs.push(Run {
                    place: place as i32,
                    first_offset: Some(message.offset),
                    last_row: Some(row),
                    leader_epoch,
                    ..Run::default()
                }),
            }
        }
        Ok(broken)
    }
}

/// The headers of a message as a JSON array of objects: `key`, and `value` or, where that is not UTF-8, `base64`.
///
/// # Safety
/// The message is alive.
unsafe fn headers(message: &sys::rd_kafka_message_t) -> String {
    let mut found = ptr::null_mut();
    let none = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
    // SAFETY: librdkafka parses them into the message, which keeps them alive; it does not change what the message says.
    let code = unsafe { sys::rd_kafka_message_headers(message, &mut found) };
    let mut list = Vec::new();
    let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
    // SAFETY: the headers are alive, and past the last one the call says so and touches nothing.
    while code == none
        && unsafe { sys::rd_kafka_header_get_all(found, list.len(), &mut name, &mut value, &mut size) } == none
    {
        // SAFETY: librdkafka ends names with a zero and says how long values are.
        let (key, value) = unsafe { (CStr::from_ptr(name).to_string_lossy(), bytes(value, size)) };
        list.push(match value.map(std::str::from_utf8) {
            Some(Ok(text)) => serde_json::json!({ "key": key, "value": text }),
            Some(Err(_)) => {
                serde_json::json!({ "key": key, "base64": BASE64_STANDARD.encode(value.unwrap_or_default()) })
            }
            None => serde_json::json!({ "key": key, "value": null }),
        });
    }
    serde_json::Value::Array(list).to_string()
}

/// The name of a message's topic.
///
/// # Safety
/// The message is alive.
unsafe fn topic_name(message: &sys::rd_kafka_message_t) -> Option<String> {
    // SAFETY: a message keeps its topic handle alive, and the handle its name.
    (!message.rkt.is_null())
        .then(|| unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(message.rkt)) }.to_string_lossy().into_owned())
}

/// `None` for a null pointer, which is how librdkafka says "absent"; an empty one is not null.
unsafe fn bytes<'a>(pointer: *const std::ffi::c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller says that `length` bytes are there.
    (!pointer.is_null()).then(|| unsafe { slice::from_raw_parts(pointer.cast::<u8>(), length) })
}

/// Messages that are destroyed when this is dropped.
struct Messages<'a>(&'a [*mut sys::rd_kafka_message_t]);

impl Drop for Messages<'_> {
    fn drop(&mut self) {
        for message in self.0 {
            // SAFETY: given to us by librdkafka, destroyed here and nowhere else.
            unsafe { sys::rd_kafka_message_destroy(*message) }
        }
    }
}

/// A pointer with the function that destroys what it points to.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made by librdkafka for us, destroyed once.
            unsafe { (self.1)(self.0) }
        }
    }
}

/// The id of a topic, in the form Kafka's own tools print it; empty where the broker is too old to have one, `None` where there is
/// no such topic.
pub(super) fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    within: Duration,
) -> Result<Option<String>, KafkaError> {
    let name = CString::new(topic).map_err(KafkaError::Nul)?;
    let failed = |code: sys::rd_kafka_resp_err_t| KafkaError::AdminOp(code.into());
    // SAFETY: every pointer is checked or comes from librdkafka with the life of the result event, which is held to the end.
    unsafe {
        let queue = Owned(sys::rd_kafka_queue_new(client.native_ptr()), sys::rd_kafka_queue_destroy);
        let mut names = [name.as_ptr()];
        let topics = Owned(
            sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1),
            sys::rd_kafka_TopicCollection_destroy,
        );
        let kind = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options =
            Owned(sys::rd_kafka_AdminOptions_new(client.native_ptr(), kind), sys::rd_kafka_AdminOptions_destroy);
        let within_ms = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
        let mut text = [0; 256];
        let set = sys::rd_kafka_AdminOptions_set_request_timeout(options.0, within_ms, text.as_mut_ptr(), text.len());
        if set != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(failed(set));
        }
        sys::rd_kafka_DescribeTopics(client.native_ptr(), topics.0, options.0, queue.0);
        let event = Owned(sys::rd_kafka_queue_poll(queue.0, within_ms), sys::rd_kafka_event_destroy);
        if event.0.is_null() {
            return Err(failed(sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__TIMED_OUT));
        }
        let code = sys::rd_kafka_event_error(event.0);
        if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE {
            return Ok(Some(String::new()));
        }
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(failed(code));
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
        let mut count = 0;
        let found = if result.is_null() {
            ptr::null_mut()
        } else {
            sys::rd_kafka_DescribeTopics_result_topics(result, &mut count)
        };
        if found.is_null() || count == 0 {
            return Ok(None);
        }
        let error = sys::rd_kafka_TopicDescription_error(*found);
        let code = if error.is_null() { RDKafkaErrorCode::NoError } else { sys::rd_kafka_error_code(error).into() };
        match code {
            RDKafkaErrorCode::NoError => {}
            RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => return Ok(None),
            code => return Err(KafkaError::AdminOp(code)),
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(*found);
        if id.is_null()
            || (sys::rd_kafka_Uuid_most_significant_bits(id) == 0 && sys::rd_kafka_Uuid_least_significant_bits(id) == 0)
        {
            return Ok(Some(String::new()));
        }
        Ok(Some(CStr::from_ptr(sys::rd_kafka_Uuid_base64str(id)).to_string_lossy().into_owned()))
    }
}
