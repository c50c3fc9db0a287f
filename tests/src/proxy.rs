//! Stands between the program and a server, and does harm at a chosen moment.
//!
//! For Redshift it reads the statements that pass, for S3 the request lines. At the moment it was told it runs an action:
//! kill the program, cut the connection before or after the server has it, hold it for a while.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

/// A moment on the way of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// A data file begins to go to S3.
    Upload,
    /// The UPDATE that takes the fence, on its way to the server.
    Acquire,
    /// The statement after that UPDATE: the fence is taken.
    Acquired,
    /// The UPDATE of a load, on its way to the server.
    Fence,
    /// COPY, on its way to the server.
    Copy,
    /// COMMIT of a load, on its way to the server.
    Commit,
    /// The server's answer to the COMMIT of a load, on its way back.
    Committed,
}

/// What is done at the moment.
#[derive(Clone)]
pub enum Action {
    /// Runs this, then passes the message on.
    Do(Arc<dyn Fn() + Send + Sync>),
    /// Runs this, then cuts the connection: the message does not arrive.
    DoAndCut(Arc<dyn Fn() + Send + Sync>),
    /// Passes it on after a while.
    Hold(Duration),
    /// Cuts the connection; the message does not arrive.
    Cut,
    /// Cuts the client off, and the message arrives after a while, when the client has long been asking what became of it.
    CutAndDeliver(Duration),
    /// Another statement arrives in its place.
    Instead(&'static str),
    /// Lets the message through and cuts the connection before the answer comes back.
    CutAnswer,
}

/// The script of a proxy.
#[derive(Default)]
struct Script {
    trap: Mutex<Option<(Moment, Action)>>,
    sprung: AtomicU32,
    last: Mutex<Option<Moment>>,
    loading: Arc<AtomicBool>,
    hold_commits: Mutex<Duration>,
    hold_statements: Mutex<Duration>,
    down: AtomicBool,
    keep_sessions: AtomicBool,
    taken: AtomicU32,
    puts: Mutex<Option<(String, u32)>>,
}

/// A proxy for one server.
pub struct Proxy {
    address: SocketAddr,
    script: Arc<Script>,
}

/// What passes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The PostgreSQL protocol.
    Redshift,
    /// HTTP.
    S3,
    /// Kafka's protocol: nothing is known of it, but the connections can be taken away.
    Kafka,
}

impl Proxy {
    /// Begins to pass connections on to `server`.
    pub fn start(kind: Kind, server: SocketAddr) -> Proxy {
        Proxy::behind(TcpListener::bind("127.0.0.1:0").expect("a port"), kind, server)
    }

    /// The same where somebody listens already.
    pub fn behind(listener: TcpListener, kind: Kind, server: SocketAddr) -> Proxy {
        let address = listener.local_addr().expect("an address");
        let script = Arc::new(Script::default());
        let shared = script.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.down.load(Ordering::SeqCst) {
                    continue; // hangs up
                }
                let Ok(server) = TcpStream::connect(server) else { continue };
                shared.taken.fetch_add(1, Ordering::SeqCst);
                pass(kind, client, server, shared.clone());
            }
        });
        Proxy { address, script }
    }

    /// Where the program connects.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does this at the next such moment, once.
    pub fn at(&self, moment: Moment, action: Action) {
        *self.script.trap.lock().expect("the script") = Some((moment, action));
    }

    /// Forgets what was to be done.
    pub fn disarm(&self) {
        *self.script.trap.lock().expect("the script") = None;
    }

    /// How often it was done.
    pub fn sprung(&self) -> u32 {
        self.script.sprung.load(Ordering::SeqCst)
    }

    /// Answers so many PUTs of data files itself, with this status and code of S3, and then hangs up.
    pub fn answer_puts(&self, status: &str, code: &str, times: u32) {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>by and by</Message></Error>");
        let head = "Content-Type: application/xml\r\nConnection: close";
        let answer = format!("HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        *self.script.puts.lock().expect("the script") = Some((answer, times));
    }

    /// How many PUTs are still to be answered.
    pub fn puts_left(&self) -> u32 {
        self.script.puts.lock().expect("the script").as_ref().map_or(0, |(_, times)| *times)
    }

    /// How many connections it has passed on.
    pub fn taken(&self) -> u32 {
        self.script.taken.load(Ordering::SeqCst)
    }

    /// The newest moment that passed, whether anything was done at it or not.
    pub fn last(&self) -> Option<Moment> {
        *self.script.last.lock().expect("the script")
    }

    /// Whether a load is open: the fence is taken and COMMIT is not answered.
    pub fn loading(&self) -> Arc<AtomicBool> {
        self.script.loading.clone()
    }

    /// Holds every COMMIT of a load for so long, so that loads stay open.
    pub fn hold_commits(&self, time: Duration) {
        *self.script.hold_commits.lock().expect("the script") = time;
    }

    /// Holds every statement for so long.
    pub fn hold_statements(&self, time: Duration) {
        *self.script.hold_statements.lock().expect("the script") = time;
    }

    /// Keeps a connection to the server open when its client is gone, as a network that loses the news does.
    pub fn keep_sessions(&self, keep: bool) {
        self.script.keep_sessions.store(keep, Ordering::SeqCst);
    }

    /// Takes no connection, or takes them again. Those that are open go on until they are used.
    pub fn down(&self, down: bool) {
        self.script.down.store(down, Ordering::SeqCst);
    }
}

impl Script {
    /// The action, if this is the moment.
    fn spring(&self, moment: Moment) -> Option<Action> {
        *self.last.lock().expect("the script") = Some(moment);
        let mut trap = self.trap.lock().expect("the script");
        let (_, action) = trap.take_if(|(at, _)| *at == moment)?;
        self.sprung.fetch_add(1, Ordering::SeqCst);
        Some(action)
    }
}

fn pass(kind: Kind, client: TcpStream, server: TcpStream, script: Arc<Script>) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (Ok(client_read), Ok(to_client)) = (client.try_clone(), client.try_clone()) else { return };
    let Ok(server_read) = server.try_clone() else { return };
    // Set when the answer to a COMMIT of a load, or to the PUT of a file, is next.
    let answers: Arc<Mutex<Option<Option<Action>>>> = Arc::default();
    let (to_server, back) = (script.clone(), answers.clone());
    thread::spawn(move || {
        match kind {
            Kind::Redshift => statements(client_read, &server, &to_server, &back),
            Kind::S3 => {
                if let Some(answer) = requests(client_read, &server, &to_server, &back) {
                    let _ = (&to_client).write_all(answer.as_bytes());
                    let _ = to_client.shutdown(Shutdown::Both);
                }
            }
            Kind::Kafka => bytes(client_read, &server, &to_server),
        }
        while to_server.keep_sessions.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(50));
        }
        let _ = server.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        replies(server_read, &client, &script, &answers);
        let _ = client.shutdown(Shutdown::Both);
    });
}

/// From the client of a PostgreSQL server: frames, watched for the statements of a load.
fn statements(mut from: TcpStream, mut to: &TcpStream, script: &Script, answers: &Mutex<Option<Option<Action>>>) {
    // The first epoch announces the topics, which the moments of a load are not about.
    let (mut in_acquire, mut in_load, mut in_first) = (false, false, false);
    let mut started = false;
    loop {
        // The first packet has no tag.
        let mut head = vec![0; if started { 5 } else { 4 }];
        if from.read_exact(&mut head).is_err() {
            break;
        }
        let length = u32::from_be_bytes(head[head.len() - 4..].try_into().expect("four bytes")) as usize;
        let mut body = vec![0; length.saturating_sub(4)];
        if from.read_exact(&mut body).is_err() {
            break;
        }
        let mut action = None;
        if script.down.load(Ordering::SeqCst) {
            break;
        }
        if started && head[0] == b'Q' {
            let hold = *script.hold_statements.lock().expect("the script");
            thread::sleep(hold);
            let sql = String::from_utf8_lossy(&body).to_string();
            if in_acquire {
                in_acquire = false;
                action = script.spring(Moment::Acquired);
            } else if sql.starts_with("UPDATE") && sql.contains("SET generation = ") {
                in_acquire = true;
                action = script.spring(Moment::Acquire);
            } else if sql.starts_with("UPDATE") && sql.contains("SET next_epoch") && sql.contains("WHERE generation") {
                in_load = true;
                script.loading.store(true, Ordering::SeqCst);
                in_first = sql.trim_end_matches('\0').ends_with("next_epoch = 0");
                action = if in_first { None } else { script.spring(Moment::Fence) };
            } else if in_load && sql.starts_with("COPY") {
                action = script.spring(Moment::Copy);
            } else if in_load && in_first && sql.starts_with("COMMIT") {
                in_load = false;
                *answers.lock().expect("answers") = Some(None);
            } else if in_load && sql.starts_with("COMMIT") {
                in_load = false;
                let hold = *script.hold_commits.lock().expect("the script");
                thread::sleep(hold);
                action = script.spring(Moment::Commit);
                let after = match &action {
                    Some(Action::CutAnswer | Action::CutAndDeliver(_)) => Some(Action::Cut),
                    _ => script.spring(Moment::Committed),
                };
                *answers.lock().expect("answers") = Some(after);
            } else if in_load && sql.starts_with("ROLLBACK") {
                in_load = false;
                script.loading.store(false, Ordering::SeqCst);
            }
        }
        match action {
            Some(Action::Cut) => break,
            Some(Action::DoAndCut(act)) => {
                act();
                break;
            }
            Some(Action::Do(act)) => act(),
            Some(Action::Hold(time)) => thread::sleep(time),
            Some(Action::CutAndDeliver(time)) => {
                let _ = from.shutdown(Shutdown::Both);
                thread::sleep(time);
            }
            Some(Action::Instead(sql)) => {
                body = [sql.as_bytes(), &[0]].concat();
                let length = (body.len() + 4) as u32;
                head[1..].copy_from_slice(&length.to_be_bytes());
            }
            Some(Action::CutAnswer) | None => {}
        }
        started = true;
        if to.write_all(&head).and_then(|()| to.write_all(&body)).is_err() {
            break;
        }
    }
    if in_load {
        script.loading.store(false, Ordering::SeqCst);
    }
}

/// From a PostgreSQL server or any other: bytes, stopped once if the answer to a COMMIT is to be.
fn replies(mut from: TcpStream, mut to: &TcpStream, script: &Script, answers: &Mutex<Option<Option<Action>>>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 {
            return;
        }
        if let Some(after) = answers.lock().expect("answers").take() {
            script.loading.store(false, Ordering::SeqCst);
            match after {
                Some(Action::DoAndCut(act)) => {
                    act();
                    return;
                }
                Some(Action::Do(act)) => act(),
                Some(Action::Hold(time)) => thread::sleep(time),
                None => {}
                Some(_) => return,
            }
        }
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

/// From a client: bytes, until the server is to be down.
fn bytes(mut from: TcpStream, mut to: &TcpStream, script: &Script) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || script.down.load(Ordering::SeqCst) || to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

/// From an HTTP client: bytes, watched for the PUT of a data file. The answer, where the script has one.
fn requests(
    mut from: TcpStream,
    mut to: &TcpStream,
    script: &Script,
    answers: &Mutex<Option<Option<Action>>>,
) -> Option<String> {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || script.down.load(Ordering::SeqCst) {
            return None;
        }
        let text = &buffer[..count.min(400)];
        let line = String::from_utf8_lossy(text);
        if line.starts_with("PUT ")
            && line.lines().next().is_some_and(|l| l.contains(".parquet") && !l.contains("/check/"))
        {
            if let Some((answer, times @ 1..)) = script.puts.lock().expect("the script").as_mut() {
                *times -= 1;
                return Some(answer.clone());
            }
            match script.spring(Moment::Upload) {
                Some(Action::DoAndCut(act)) => {
                    act();
                    return None;
                }
                Some(Action::CutAnswer) => *answers.lock().expect("answers") = Some(Some(Action::Cut)),
                Some(Action::Do(act)) => act(),
                Some(Action::Hold(time)) => thread::sleep(time),
                None => {}
                Some(_) => return None,
            }
        }
        if to.write_all(&buffer[..count]).is_err() {
            return None;
        }
    }
    None
}
