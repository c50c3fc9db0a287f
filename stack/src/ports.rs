//! Free ports that stay free until the server that is to listen there has begun.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

use crate::error::{Result, StackError};

/// Ports of the loopback device that nobody else gets as long as this is there.
///
/// The sockets are bound and do not listen, so that a server that names the port, and reuses addresses as servers do, may have
/// it, and nobody who takes any port that is free.
pub struct Ports {
    addresses: Vec<SocketAddr>,
    _held: Vec<TcpSocket>,
}

impl Ports {
    /// Takes so many.
    pub fn hold(count: usize) -> Result<Ports> {
        let hold = || {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
            Ok((socket.local_addr()?, socket))
        };
        let held: std::io::Result<Vec<_>> = (0..count).map(|_| hold()).collect();
        let (addresses, held) = held.map_err(StackError::io("find a free port"))?.into_iter().unzip();
        Ok(Ports { addresses, _held: held })
    }

    /// Where they are.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}
