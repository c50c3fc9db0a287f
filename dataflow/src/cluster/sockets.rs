//! Sockets of a cluster: every wait has a deadline, and a host that is gone is noticed.

use std::{
    io::{Error, ErrorKind, Result},
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use connectors::retry::{Policy, Retry};
use socket2::{SockRef, TcpKeepalive};

use super::wire::{self, HELLO_BYTES, Hello};
use operators::threads::named;

/// What processes speak through before the engine does. TLS will stand here.
pub type Link = TcpStream;

/// How long whoever connects may take to say who it is.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// How many may be asked at once; others are dropped.
const ASKED_AT_ONCE: usize = 64;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The listener of this process. It closes when this is dropped.
pub struct Door {
    /// Whoever said who it is, in the order of their words.
    pub callers: Receiver<(Link, Hello)>,
    closed: Arc<AtomicBool>,
    at: SocketAddr,
    listens: Option<thread::JoinHandle<()>>,
}

impl Door {
    /// Listens at the port of an address: on loopback if that is its host, else on all interfaces, because the name of this
    /// process may not resolve yet.
    pub fn open(address: &str) -> Result<Door> {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let is_local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        let port =
            port.parse::<u16>().map_err(|_| Error::new(ErrorKind::InvalidInput, "it has no port; write HOST:PORT"))?;
        let listener = match is_local {
            true => TcpListener::bind((host.trim_matches(['[', ']']), port))?,
            // Both families, where the machine has the newer one.
            false => TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port)))?,
        };
        listener.set_nonblocking(true)?;
        let at = listener.local_addr()?;
        let (sender, callers) = channel();
        let closed = Arc::new(AtomicBool::new(false));
        let until = closed.clone();
        let listens = named("door", move || listen(&listener, &sender, &until))?;
        Ok(Door { callers, closed, at, listens: Some(listens) })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.at
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Closed means that the port is free again.
        if let Some(listens) = self.listens.take() {
            let _ = listens.join(); // it looks every 20 ms; if it panicked the port is free as well
        }
    }
}

fn listen(listener: &TcpListener, callers: &Sender<(Link, Hello)>, closed: &AtomicBool) {
    let asked = Arc::new(AtomicUsize::new(0));
    while !closed.load(Ordering::Relaxed) {
        let Ok((socket, from)) = listener.accept() else {
            thread::sleep(LOOK_EVERY); // nobody there, or out of descriptors for the moment
            continue;
        };
        if asked.load(Ordering::Relaxed) >= ASKED_AT_ONCE {
            continue;
        }
        asked.fetch_add(1, Ordering::Relaxed);
        let (callers, still) = (callers.clone(), asked.clone());
        // Each has a thread of its own for five seconds at most, so that nobody waits for a silent one.
        let asking = named("asks", move || {
            match who(socket) {
                Ok(caller) => drop(callers.send(caller)), // if nobody waits any more it is dropped
                Err(error) => tracing::warn!(event = "refused", from = %from, why = %error, "refused {from}: {error}"),
            }
            still.fetch_sub(1, Ordering::Relaxed);
        });
        if asking.is_err() {
            asked.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn who(mut socket: TcpStream) -> Result<(Link, Hello)> {
    socket.set_nonblocking(false)?;
    tune(&socket)?;
    // A deadline for the whole: a byte now and then would keep a time-out of single reads at bay.
    let ends = Instant::now() + HELLO_WITHIN;
    let hello = wire::read(&mut Until { socket: &socket, ends }, HELLO_BYTES)?;
    deadline(&mut socket, HELLO_WITHIN)?;
    Ok((socket, hello))
}

/// Reads until a moment.
struct Until<'a> {
    socket: &'a TcpStream,
    ends: Instant,
}

impl std::io::Read for Until<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let left = self.ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(ErrorKind::TimedOut, "it did not say who it is in time"));
        }
        self.socket.set_read_timeout(Some(left))?;
        self.socket.read(into).map_err(|e| match e.kind() {
            ErrorKind::WouldBlock => Error::new(ErrorKind::TimedOut, "it did not say who it is in time"),
            _ => e,
        })
    }
}

/// Connects, however often it takes until then. Names are resolved at each try: a process that was started again may have
/// another address.
pub fn dial(address: &str, until: Instant) -> Result<Link> {
    let mut retry = Retry::new(knocking(until.saturating_duration_since(Instant::now())));
    loop {
        match dial_once(address) {
            Err(_) if retry.rest() => {}
            dialled => return dialled,
        }
    }
}

/// How another process is tried that may not be there yet. At most a second passes before it is tried again, because whoever
/// meets has a deadline.
pub fn knocking(within: Duration) -> Policy {
    Policy { first: Duration::from_millis(50), longest: Duration::from_secs(1), ..Policy::within(within) }
}

fn dial_once(address: &str) -> Result<Link> {
    let mut last = Error::new(ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
            Ok(link) => {
                tune(&link)?;
                return Ok(link);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reading and writing fail after so long from here on.
pub fn deadline(link: &mut Link, within: Duration) -> Result<()> {
    link.set_read_timeout(Some(within))?;
    link.set_write_timeout(Some(within))
}

/// Whether the other side is still there. It has nothing to say yet, so whatever can be read is its end.
pub fn lives(link: &Link) -> bool {
    let nothing = link.set_nonblocking(true).and_then(|()| link.peek(&mut [0]));
    let is_silent = nothing.is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
    link.set_nonblocking(false).is_ok() && is_silent
}

/// As the engine wants it: it waits for ever, and the heartbeat for it.
pub fn without_deadline(link: &Link) -> Result<()> {
    link.set_read_timeout(None)?;
    link.set_write_timeout(None)
}

/// A host that is gone says nothing: keep-alive finds it in 11 s when nothing is said, and when something is and nobody
/// acknowledges it, the time-out of TCP in 10 s.
fn tune(link: &Link) -> Result<()> {
    let socket = SockRef::from(link);
    socket.set_tcp_nodelay(true)?;
    let alive = TcpKeepalive::new().with_time(Duration::from_secs(5)).with_interval(Duration::from_secs(2));
    socket.set_tcp_keepalive(&alive.with_retries(3))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(10)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// What a port scanner, a browser, a half-dead process and a stranger do. The one who belongs here comes in all the same.
    #[test]
    fn only_those_who_say_who_they_are_come_in() {
        let door = Door::open("127.0.0.1:0").unwrap();
        let call = || TcpStream::connect(door.address()).unwrap();
        drop(call());
        let silent = call();
        let mut garbage = call();
        garbage.write_all(&[0xa5; 100]).unwrap();
        let mut browser = call();
        browser.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let hello = Hello {
            version: "1".into(),
            job: "j".into(),
            meaning: "m".into(),
            process: 1,
            processes: 2,
            workers: 1,
            start: None,
        };
        let mut peer = dial(&door.address().to_string(), Instant::now()).unwrap();
        wire::write(&mut peer, &hello).unwrap();
        let (_, who) = door.callers.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(who, hello);
        assert!(door.callers.try_recv().is_err());
        drop(silent);
        let at = door.address();
        drop(door);
        assert!(TcpStream::connect(at).is_err(), "the door is closed");
    }

    #[test]
    fn a_dial_has_a_deadline() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(dial(&free.to_string(), Instant::now() + Duration::from_millis(150)).is_err());
        assert!(dial("no-such-host.invalid:1", Instant::now()).is_err());
    }
}
