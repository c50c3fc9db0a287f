//! A Kafka broker: Apache Kafka from its Maven jars, or librdkafka's mock.
//!
//! The mock starts at once and needs no Java, but only pretends transactions (`read_committed` shows aborted records)
//! and keeps 5 MiB a partition. It serves a demonstration and is never evidence of anything.

mod real;

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};

use crate::error::{Error, Result};
pub use real::Broker;

/// Which Kafka to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Apache Kafka in KRaft mode, one node.
    #[default]
    Real,
    /// librdkafka's mock cluster in this process.
    Mock,
}

/// A running Kafka.
pub enum Kafka {
    /// Apache Kafka.
    Real(Broker),
    /// The mock.
    Mock(Mock),
}

/// librdkafka's mock cluster. It lives on a thread of its own, because its handle may not leave the thread it was made on.
pub struct Mock {
    brokers: String,
    /// Hanging up ends it.
    _end: mpsc::Sender<()>,
}

impl Mock {
    fn start() -> Result<Mock> {
        let (end, ended) = mpsc::channel::<()>();
        let (started, starting) = mpsc::channel();
        let run = move || match MockCluster::<DefaultProducerContext>::new(1) {
            Ok(cluster) => {
                let _ = started.send(Ok(cluster.bootstrap_servers())); // whoever asked may have given up
                let _ = ended.recv();
            }
            Err(error) => drop(started.send(Err(error))),
        };
        thread::Builder::new().name("mock-kafka".into()).spawn(run).map_err(Error::io("start a thread"))?;
        let gone = || Error::io("start the mock Kafka")(std::io::ErrorKind::BrokenPipe.into());
        let brokers = starting.recv().map_err(|_| gone())??;
        Ok(Mock { brokers, _end: end })
    }
}

impl Kafka {
    /// Starts one and returns once it answers. `dir` is made, and gone at the end.
    pub fn start(kind: Kind, dir: &Path) -> Result<Kafka> {
        Ok(match kind {
            Kind::Real => Kafka::Real(Broker::start(dir)?),
            Kind::Mock => Kafka::Mock(Mock::start()?),
        })
    }

    /// `host:port` for clients.
    pub fn brokers(&self) -> String {
        match self {
            Kafka::Real(broker) => broker.address(),
            Kafka::Mock(mock) => mock.brokers.clone(),
        }
    }

    /// The jars of the broker and its Java tools; none for the mock.
    pub fn jars(&self) -> Option<&PathBuf> {
        match self {
            Kafka::Real(broker) => Some(broker.jars()),
            Kafka::Mock(_) => None,
        }
    }

    /// The names a job file uses.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![("KAFKA_BROKERS", self.brokers())]
    }
}
