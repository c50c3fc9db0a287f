//! The way to the server: its name, a connection, encryption. Each step that fails says itself what failed and which key to look at;
//! the driver would tell the first two in a chain of texts, and the third in a text alone.

use std::{
    cell::Cell,
    io,
    net::{SocketAddr, ToSocketAddrs},
    time::Duration,
};

use openssl::ssl::{SslConnector, SslMethod};
use postgres_openssl::MakeTlsConnector;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    time::timeout,
};
use tokio_postgres::{
    Client, NoTls,
    config::{SslMode, SslNegotiation},
    tls::MakeTlsConnect,
};

use super::{
    said::Said,
    settings::{Settings, Tls},
    verdict,
};
use crate::{
    Error, Fault, Result,
    network::{self, TlsProblem},
};

/// The message that asks for encryption: its length, and a number in the place of a version
/// (<https://www.postgresql.org/docs/current/protocol-message-formats.html>, SSLRequest).
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// What to look at where nobody answers.
const PLACE: &str =
    "look at `redshift.host`, `redshift.port` and the way there: name, network, security group, whether it is paused";

/// A session, and what drives its connection.
pub(super) type Opened = (Client, std::pin::Pin<Box<dyn Future<Output = ()> + Send>>);

/// Logs in within the limit of the settings.
pub(super) async fn open(settings: &Settings) -> Result<Opened> {
    let (step, limit) = (Cell::new("the address"), settings.connect_within);
    match timeout(limit, open_in_time(settings, &step)).await {
        Ok(opened) => opened,
        Err(_) => {
            let what = format!("{}: no answer within {} s to {}", at(settings), limit.as_secs(), step.get());
            Err(Error::new(Fault::Outage, what).remedy(PLACE))
        }
    }
}

/// How messages name what is done here.
fn at(settings: &Settings) -> String {
    format!("Redshift login to {} at {}:{}", settings.database, settings.host, settings.port)
}

async fn open_in_time(settings: &Settings, step: &Cell<&'static str>) -> Result<Opened> {
    let mut config = tokio_postgres::Config::new();
    config
        .dbname(&settings.database)
        .user(&settings.user)
        .password(settings.password.read().map_err(|e| Error { what: format!("{}: {}", at(settings), e.what), ..e })?)
        .application_name(&settings.application_name);
    let outage = |what: &str, e: io::Error| {
        Error::new(Fault::Outage, format!("{}: {what}: {e}", at(settings))).remedy(PLACE).because(e)
    };
    let addresses = look_up(settings).await.map_err(|e| outage("the name is not known", e))?;
    step.set("the connection");
    let stream = connect(&addresses, settings.connect_within).await.map_err(|e| outage("no connection", e))?;
    match &settings.tls {
        Tls::Off => {
            step.set("the login");
            config.ssl_mode(SslMode::Disable);
            let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(|e| refused(settings, e))?;
            // Its error reaches whoever waits for an answer as well.
            Ok((client, Box::pin(async move { drop(connection.await) })))
        }
        Tls::VerifyFull { ca_file } => {
            let mut tls = connector(ca_file.as_deref())?;
            step.set("the wish for TLS");
            let stream = ask_for_tls(settings, stream).await?;
            step.set("TLS and the login");
            // The wish was granted, so TLS begins at once.
            config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
            let tls = <MakeTlsConnector as MakeTlsConnect<TcpStream>>::make_tls_connect(&mut tls, &settings.host);
            let tls = tls.map_err(|e| Error::bug("cannot set up TLS").because(e))?;
            let (client, connection) = config.connect_raw(stream, tls).await.map_err(|e| refused(settings, e))?;
            Ok((client, Box::pin(async move { drop(connection.await) })))
        }
    }
}

/// In a thread of its own, because the system may take minutes and nothing can stop it.
async fn look_up(settings: &Settings) -> io::Result<Vec<SocketAddr>> {
    let (known, found) = oneshot::channel();
    let place = (settings.host.clone(), settings.port);
    std::thread::Builder::new().name("lookup".into()).spawn(move || {
        // Whoever asked may have given up.
        let _ = known.send(place.to_socket_addrs().map(Iterator::collect));
    })?;
    found.await.unwrap_or_else(|_| Err(io::Error::other("nobody looks it up")))
}

/// The first that takes the connection. All together have the limit, each an equal part of it.
async fn connect(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        let each = limit / addresses.len() as u32;
        match timeout(each, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                let socket = SockRef::from(&stream);
                socket.set_tcp_user_timeout(Some(Duration::from_secs(60)))?;
                let alive = TcpKeepalive::new().with_time(Duration::from_secs(30)).with_retries(3);
                socket.set_tcp_keepalive(&alive.with_interval(Duration::from_secs(10)))?;
                return Ok(stream);
            }
            Ok(Err(e)) => last = e,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{address} does not answer")),
        }
    }
    Err(last)
}

/// Whether the server speaks TLS: it answers with one letter.
async fn ask_for_tls(settings: &Settings, mut stream: TcpStream) -> Result<TcpStream> {
    let mut answer = [0];
    let asked = async {
        stream.write_all(&TLS_REQUEST).await?;
        stream.read_exact(&mut answer).await
    };
    let why = match asked.await {
        Ok(_) if answer == *b"S" => return Ok(stream),
        Ok(_) if answer == *b"N" => "it does not speak TLS, and `redshift.tls` says that it does",
        Ok(_) => "it does not answer like Redshift",
        Err(e) => {
            let what = format!("{}: the connection was lost at the wish for TLS: {e}", at(settings));
            return Err(Error::new(Fault::Outage, what).remedy(PLACE).because(e));
        }
    };
    let remedy = match &answer {
        b"N" => "let it speak TLS; or, if the way there is a tunnel or loopback, write tls = \"off\" in [redshift]",
        _ => "correct `redshift.host` and `redshift.port`",
    };
    Err(Error::new(Fault::Mismatch, format!("{}: {why}", at(settings))).remedy(remedy))
}

fn connector(ca_file: Option<&str>) -> Result<MakeTlsConnector> {
    let wrong = |what: String| move |e| Error::new(Fault::Settings, format!("{what}: {}", network::innermost(&e)));
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(wrong("TLS cannot be set up".into()))?;
    if let Some(file) = ca_file {
        let unread = wrong(format!("`redshift.ca_file`: the certificates in {file} cannot be read"));
        builder.set_ca_file(file).map_err(unread)?;
    }
    Ok(MakeTlsConnector::new(builder.build()))
}

/// An error of the driver before there is a session.
fn refused(settings: &Settings, error: tokio_postgres::Error) -> Error {
    if let Some(said) = error.as_db_error() {
        let said = Said::of(said);
        let fault = match verdict::classify(&said.state, &said.message, &said.detail) {
            Fault::Missing => Fault::NoDatabase,
            fault => fault,
        };
        // One code for all that is wrong with a login: the words alone tell that it was not encrypted (`pg_hba.conf` of PostgreSQL 8 to 17).
        let is_plain = ["SSL off", "no encryption"].iter().any(|words| said.message.contains(words));
        let (fault, remedy) = match fault {
            Fault::Denied if is_plain && settings.tls == Tls::Off => {
                (Fault::Mismatch, "it takes encrypted connections alone: write tls = \"verify-full\" in [redshift]")
            }
            Fault::Denied => (fault, "correct `redshift.user` or `redshift.password`, or let this user log in"),
            Fault::NoDatabase => (fault, "correct `redshift.database`, or create it"),
            _ => (fault, PLACE),
        };
        return Error::new(fault, format!("{}: {said}", at(settings))).remedy(remedy).because(said);
    }
    let (fault, why, remedy) = match network::tls_problem(&error) {
        Some(TlsProblem::Plain) => {
            let why = "it says that it speaks TLS, and does not".to_string();
            (Fault::Mismatch, why, "correct `redshift.host` and `redshift.port`")
        }
        Some(TlsProblem::Untrusted(why)) => (
            Fault::Mismatch,
            format!("its certificate is not trusted: {why}"),
            "write ca_file = \"FILE\" in [redshift] with the authority that signed it, and `redshift.host` as the certificate has it",
        ),
        None if is_garbage(&error) => {
            let why = "it does not answer like Redshift".to_string();
            (
                Fault::Mismatch,
                why,
                "correct `redshift.host` and `redshift.port`; and if it speaks TLS, take tls = \"off\" away",
            )
        }
        None => (Fault::Outage, network::innermost(&error), PLACE),
    };
    Error::new(fault, format!("{}: {why}", at(settings))).remedy(remedy).because(error)
}

/// Whether what came is not the protocol: the driver could not read it, or made nothing of it.
fn is_garbage(error: &tokio_postgres::Error) -> bool {
    // An answer that ends in the middle of what would be a message is an error of the driver's own, and none of the system.
    let is_cut = |e: &io::Error| e.kind() == io::ErrorKind::Other && e.raw_os_error().is_none();
    let unreadable =
        |e: &io::Error| matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) || is_cut(e);
    let mut causes = network::chain(error).skip(1).peekable();
    match causes.peek() {
        None => !error.is_closed(),
        Some(_) => causes.any(|error| error.downcast_ref::<io::Error>().is_some_and(unreadable)),
    }
}
