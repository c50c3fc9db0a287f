//! A Kafka broker: Apache Kafka from its Maven jars, or librdkafka's mock.
//!
//! The mock starts at once and needs no Java, but only pretends transactions (`read_committed` shows aborted records)
//! and keeps 5 MiB a partition. Its metadata name a controller that it does not have, so requests of administrators wait for
//! ever, and that for the ids of topics is one: Tidegate, which must know them, runs on the real broker only. The mock
//! serves quick tests of producers and consumers and is never evidence of anything.

pub mod lines;
mod real;
pub mod topics;

use std::{path::Path, sync::mpsc, thread};

use rdkafka::{mocking::MockCluster, producer::DefaultProducerContext};

use crate::error::{Result, StackError};
pub use real::{Broker, LOGINS, SideDoor};
pub use topics::Topic;

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
    Real(Box<Broker>),
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
    /// Its topics can be made here only: it does not know the request by which a client makes one.
    fn start(topics: Vec<Topic>) -> Result<Mock> {
        let (end, ended) = mpsc::channel::<()>();
        let (started, starting) = mpsc::channel();
        let make = move || {
            let cluster = MockCluster::<DefaultProducerContext>::new(1)?;
            topics.iter().try_for_each(|t| cluster.create_topic(&t.name, t.partitions, 1))?;
            Ok(cluster)
        };
        let run = move || match make() {
            Ok(cluster) => {
                let _ = started.send(Ok(cluster.bootstrap_servers())); // whoever asked may have given up
                let _ = ended.recv();
            }
            Err(error) => drop(started.send(Err(error))),
        };
        thread::Builder::new().name("mock-kafka".into()).spawn(run).map_err(StackError::io("start a thread"))?;
        let gone = || StackError::io("start the mock Kafka")(std::io::ErrorKind::BrokenPipe.into());
        let brokers = starting.recv().map_err(|_| gone())?.map_err(StackError::kafka("start its mock"))?;
        Ok(Mock { brokers, _end: end })
    }
}

impl Kafka {
    /// Starts one with these topics and returns once it answers. `dir` is made, and gone at the end.
    pub fn start(kind: Kind, dir: &Path, topics: &[Topic]) -> Result<Kafka> {
        Ok(match kind {
            Kind::Real => {
                let broker = Broker::start(dir)?;
                topics.iter().try_for_each(|topic| topics::ensure(&broker.address(), topic).map(drop))?;
                Kafka::Real(Box::new(broker))
            }
            Kind::Mock => Kafka::Mock(Mock::start(topics.to_vec())?),
        })
    }

    /// `host:port` for clients.
    pub fn brokers(&self) -> String {
        match self {
            Kafka::Real(broker) => broker.address(),
            Kafka::Mock(mock) => mock.brokers.clone(),
        }
    }

    /// The real broker, which has jars with Java tools and more doors; `None` for the mock.
    pub fn broker(&self) -> Option<&Broker> {
        match self {
            Kafka::Real(broker) => Some(broker),
            Kafka::Mock(_) => None,
        }
    }

    /// The names a job file uses.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![("KAFKA_BROKERS", self.brokers())]
    }
}
