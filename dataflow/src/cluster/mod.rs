//! Several processes that are one cluster: how they meet, and how they know each other.
//!
//! The engine's own start trusts anybody who connects, waits for ever, and dies of one stray packet. So sockets are ours:
//!
//! 1. Every process listens at its own address. All but the first connect to process 0 and say who they are: [`wire::Hello`].
//! 2. Process 0 waits until all are there that the command line speaks of, and refuses whoever is of another job, another
//!    job file, another program or another count. Only then it takes the fence, so that a start that never becomes whole
//!    disturbs nobody.
//! 3. It hands every other process what the start is: generation, nonce, positions, the targets' columns:
//!    [`wire::Welcome`].
//! 4. All connect to each other and show generation and nonce, which nobody else can know. These sockets are for the engine.
//! 5. Each says [`wire::Ready`] to process 0, which says it back when all have.
//! 6. The sockets over which this was said stay open: over them the processes tell each other that they live, that one was told
//!    to stop, and with what one ends ([`control`]).
//!
//! Whatever else connects, says nothing, or says something else is dropped, and the start goes on. Plain TCP, for loopback
//! and trusted networks; TLS has its place in [`sockets::Link`], which all of this speaks through.

pub mod control;
pub mod meeting;
pub mod sockets;
pub mod supervise;
pub mod wire;

use std::{any::Any, collections::BTreeMap, net::TcpStream, time::Duration};

use timely::communication::{
    AllocatorBuilder, Hooks,
    allocator::{ProcessBuilder, zero_copy::initialize::initialize_networking_from_sockets},
};

use crate::error::{Code, CodedError, Result};

/// Which process of which cluster this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// `host:port` of every process, in order.
    pub hosts: Vec<String>,
    /// The place of this one.
    pub process: usize,
    /// Worker threads of each.
    pub workers: usize,
    /// How long they may take to meet.
    pub meet_within: Duration,
}

impl Cluster {
    /// A single process.
    pub fn alone(workers: usize) -> Cluster {
        Cluster { hosts: vec![String::new()], process: 0, workers, meet_within: Duration::ZERO }
    }

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there is nobody to meet.
    pub fn is_alone(&self) -> bool {
        self.hosts.len() == 1
    }
}

/// Sockets to all other processes, in order, with `None` in the place of this one, as the engine wants them.
pub type Sockets = Vec<Option<TcpStream>>;

/// What a process has once it has met the others.
pub struct Met {
    /// The engine's.
    pub sockets: Sockets,
    /// From process 0 to each other, from each other to process 0.
    pub control: BTreeMap<usize, sockets::Link>,
}

/// The engine's workers of this process, connected to those of the others.
pub fn allocators(cluster: &Cluster, sockets: Sockets) -> Result<(Vec<AllocatorBuilder>, Box<dyn Any + Send>)> {
    let hooks = Hooks::default();
    let local = ProcessBuilder::new_typed_vector(cluster.workers, hooks.refill.clone(), hooks.spill.clone());
    let made = initialize_networking_from_sockets(local, sockets, cluster.process, cluster.workers, hooks);
    let (builders, guard) = made.map_err(|e| CodedError {
        code: Code::NotMet,
        what: "the sockets of the cluster cannot be used".into(),
        source: Some(Box::new(e)),
    })?;
    Ok((builders.into_iter().map(AllocatorBuilder::Tcp).collect(), Box::new(guard)))
}
