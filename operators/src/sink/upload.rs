//! Files to S3.
//!
//! * Input: encoded files of one target. Output: staged files, for seal.
//! * Time: it holds a capability for each file under way and drops it when the file is there.
//! * State: the files under way; their bound is the memory budget of their epochs.
//! * Failure: an outage is tried again for [`crate::outage::OUTAGE_WITHIN`], with growing pauses; anything else ends the process.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use checkpoint::{Epoch, names::Staging};
use connectors::Objects;
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{
        Scope, Stream,
        channels::pact::Pipeline,
        operators::{Capability, generic::operator::Operator},
    },
};

use super::encode::Encoded;
use crate::{
    Time,
    background::Pool,
    events::{Stage, Watch, asked, working},
    failure::{Failure, fail},
    held::Lease,
    outage::{OUTAGE, try_again},
    signals::{Piece, StagedFile},
    stamp::{epoch_of, hold},
};

/// Uploads at a time, of a process: so many that a store that takes a tenth of a second for each is no bound.
pub const UPLOADS: usize = 16;

/// A file on its way: its epoch, what it will be, and what it counts for until then.
type UnderWay = (Capability<Time>, StagedFile, Option<Arc<Lease>>);

/// Builds upload for one target.
pub fn upload<'s>(
    scope: Scope<'s, Time>,
    encoded: Stream<'s, Time, Vec<Encoded>>,
    target: usize,
    staging: Arc<Staging>,
    objects: Arc<dyn Objects>,
    pool: &Pool,
    watch: Watch,
) -> Stream<'s, Time, Vec<Piece>> {
    let worker = scope.index();
    encoded.unary::<CapacityContainerBuilder<Vec<Piece>>, _, _, _>(
        Pipeline,
        &format!("Upload {target}"),
        move |capability, info| {
            drop(capability);
            let wake = scope.worker().sync_activator_for(info.address.to_vec());
            let uploads = pool.place(wake);
            let mut under_way: BTreeMap<u64, UnderWay> = BTreeMap::new();
            let mut next = 0;
            move |input, output| {
                input.for_each(|capability, files: &mut Vec<Encoded>| {
                    for Encoded { body, rows, records, lease } in files.drain(..) {
                        let (epoch, held) = (Epoch(epoch_of(&capability)), hold(&capability, 0));
                        let id = uuid::Uuid::new_v4().simple().to_string();
                        let key = staging.data(epoch, target, worker, &id);
                        let file = StagedFile { target, key: key.clone(), bytes: body.len() as u64, rows, records };
                        under_way.insert(next, (held, file, lease));
                        let (objects, watch, number) = (objects.clone(), watch.clone(), next);
                        uploads.submit(move || {
                            let _working = working(&watch, Stage::Upload);
                            (number, put(&*objects, &key, body, &watch))
                        });
                        next += 1;
                    }
                });
                for (number, result) in uploads.results() {
                    if let Err(source) = result {
                        fail(Failure::Port { doing: "cannot stage a file".into(), source });
                    }
                    if let Some((held, file, _lease)) = under_way.remove(&number) {
                        output.session(&held).give(Piece::File(file));
                    }
                }
            }
        },
    )
}

/// Writes an object, trying again while that can help.
pub(super) fn put(objects: &dyn Objects, key: &str, body: Bytes, watch: &Watch) -> connectors::Result<()> {
    // The error says which object; the outage is that of the place that all of them go to.
    let doing = format!("writing to {}", objects.url("").trim_end_matches('/'));
    try_again(&doing, OUTAGE, watch, || {
        let _asked = asked(watch, &doing);
        objects.put(key, body.clone())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use connectors::{conformance::Trouble, memory::MemoryObjects};

    use super::*;
    use crate::events::Event;

    #[test]
    fn an_outage_is_that_of_the_place_and_its_error_has_the_object() {
        let objects = MemoryObjects::default();
        objects.cause(Trouble::Before);
        let said = Arc::new(Mutex::new(Vec::new()));
        let watch: Watch = {
            let said = said.clone();
            Arc::new(move |event| {
                let line = match event {
                    Event::Retrying { doing, .. } => format!("retrying {doing}"),
                    Event::Recovered { doing, .. } => format!("recovered {doing}"),
                    Event::Asked { doing, .. } => format!("asked {doing}"),
                    Event::Answered { doing, .. } => format!("answered {doing}"),
                    other => format!("{other:?}"),
                };
                said.lock().unwrap().push(line);
            })
        };
        put(&objects, "data/12/0-0-0123456789abcdef.parquet", Bytes::new(), &watch).unwrap();
        let expected = ["asked", "answered", "retrying", "asked", "answered", "recovered"];
        assert_eq!(*said.lock().unwrap(), expected.map(|what| format!("{what} writing to s3://memory")));
    }
}
