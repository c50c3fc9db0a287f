//! How to reach a cluster, and which properties of librdkafka are whose.

use std::time::Duration;

use crate::Secret;

/// How long a question to the brokers may take, unless somebody has other wishes.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Properties of librdkafka that the protocol depends on, each with the reason. A job file cannot set them.
pub const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "it is `brokers`"),
    ("metadata.broker.list", "it is `brokers`"),
    ("group.id", "partitions are dealt to workers by place, never by a consumer group"),
    ("group.instance.id", "partitions are dealt to workers by place, never by a consumer group"),
    ("group.protocol", "partitions are dealt to workers by place, never by a consumer group"),
    ("group.remote.assignor", "partitions are dealt to workers by place, never by a consumer group"),
    ("partition.assignment.strategy", "partitions are dealt to workers by place, never by a consumer group"),
    ("client.id", "it is the name of the job, with \"tidegate-\" before it"),
    ("topic.blacklist", "a topic that the client does not see looks as if it did not answer"),
    ("isolation.level", "records of aborted transactions must not be read"),
    ("auto.offset.reset", "reading starts exactly where the manifest ends, or the job halts"),
    ("enable.auto.commit", "the manifest remembers positions, and nothing else"),
    ("auto.commit.interval.ms", "the manifest remembers positions, and nothing else"),
    ("enable.auto.offset.store", "the manifest remembers positions, and nothing else"),
    ("offset.store.method", "the manifest remembers positions, and nothing else"),
    ("check.crcs", "a damaged batch must not be loaded"),
    ("enable.partition.eof", "an end-of-partition event moves librdkafka's position one too far"),
    ("allow.auto.create.topics", "a topic that is not there is an error of the job file"),
    ("queued.max.messages.kbytes", "it is part of `[memory] budget`"),
    ("statistics.interval.ms", "the statistics of each second say where partitions end"),
];

/// Properties that a job file may set, and what they are otherwise where that is not librdkafka's own default.
pub const DEFAULTS: &[(&str, &str)] = &[
    ("fetch.wait.max.ms", "100"),
    ("fetch.min.bytes", "1"),
    ("queued.min.messages", "100000"),
    ("fetch.queue.backoff.ms", "20"),
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.max.ms", "5000"),
];

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port,host:port`.
    pub brokers: String,
    /// Name of the job; the client's name in the brokers' logs and quotas.
    pub job: String,
    /// Properties of librdkafka, none of [`OWNED`]; read for each client, since some of them are secrets.
    pub properties: Vec<(String, Secret)>,
    /// What one reader may hold in librdkafka's own queue, in KiB.
    pub queue_kb: usize,
    /// About how many bytes a batch has, where so many are there.
    pub batch_bytes: usize,
    /// Whether readers give the records' headers.
    pub headers: bool,
    /// How long a question may take: [`ANSWER_WITHIN`].
    pub answer_within: Duration,
}
