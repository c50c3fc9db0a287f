//! Apache Kafka in KRaft mode, one node, from its Maven jars.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    error::{Result, StackError},
    folder,
    ports::Ports,
    process::Process,
};

const POM: &str = include_str!("../../kafka/pom.xml");
const RESOLVE: &str = include_str!("../../kafka/resolve.sh");
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Each test that takes the broker away from its clients needs one of its own.
const SIDE_DOORS: usize = 4;

/// Names and passwords that may log in: one that may do everything, and one that may do nothing.
pub const LOGINS: [(&str, &str); 2] = [("loader", "Loader-of-topics-1"), ("nobody", "Nobody-may-read-1")];

/// A running broker. It ends with its owner, and its folder with it.
///
/// The first of its doors asks nobody who he is, and lets him do everything. The second wants one of [`LOGINS`] by SASL/PLAIN,
/// without encryption. The others lead nowhere by themselves: the broker tells its clients of a port at which nobody answers
/// until a test puts a proxy there ([`Broker::side_door`]).
pub struct Broker {
    open: SocketAddr,
    login: SocketAddr,
    sides: Mutex<Vec<SideDoor>>,
    jars: PathBuf,
    data: PathBuf,
    _ports: Ports,
    _process: Process,
}

/// Where a proxy between clients and a broker must stand, or the broker's own addresses would lead around it.
#[derive(Debug)]
pub struct SideDoor {
    /// Where the proxy listens: what the broker tells its clients.
    pub outside: TcpListener,
    /// Where the broker listens.
    pub inside: SocketAddr,
}

impl Broker {
    /// Starts a broker with its data in `dir`, which must be new or empty, on free loopback ports, and waits until it takes
    /// connections.
    pub fn start(dir: &Path) -> Result<Broker> {
        let (jars, dir) = (jars()?, folder::make(dir)?);
        Broker::start_in(jars, &dir).inspect_err(|_| folder::remove(&dir))
    }

    fn start_in(jars: PathBuf, dir: &Path) -> Result<Broker> {
        let ports = Ports::hold(3 + SIDE_DOORS)?;
        let [open, controller, login, ref insides @ ..] = *ports.addresses() else {
            unreachable!("as many as were asked for");
        };
        let side = |inside: &SocketAddr| {
            let outside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(StackError::io("find a free port"))?;
            let address = outside.local_addr().map_err(StackError::io("find a free port"))?;
            Ok((SideDoor { outside, inside: *inside }, address))
        };
        let sides: Vec<(SideDoor, SocketAddr)> = insides.iter().map(side).collect::<Result<_>>()?;
        let each = |text: &dyn Fn(usize, &SideDoor, &SocketAddr) -> String| -> String {
            sides.iter().enumerate().map(|(n, (door, outside))| text(n, door, outside)).collect()
        };
        let (listens, told, plain) = (
            each(&|n, door, _| format!(",SIDE{n}://{}", door.inside)),
            each(&|n, _, outside| format!(",SIDE{n}://{outside}")),
            each(&|n, _, _| format!(",SIDE{n}:PLAINTEXT")),
        );
        let users: String = LOGINS.iter().map(|(name, password)| format!(" user_{name}=\"{password}\"")).collect();
        let (may_all, _) = LOGINS[0];
        let config = dir.join("server.properties");
        let text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             listeners=OPEN://{open},LOGIN://{login}{listens},CONTROLLER://{controller}\n\
             advertised.listeners=OPEN://{open},LOGIN://{login}{told}\n\
             listener.security.protocol.map=OPEN:PLAINTEXT,LOGIN:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT{plain}\n\
             inter.broker.listener.name=OPEN\n\
             sasl.enabled.mechanisms=PLAIN\n\
             listener.name.login.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required{users};\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS;User:{may_all}\n\
             controller.listener.names=CONTROLLER\n\
             controller.quorum.bootstrap.servers={controller}\n\
             log.dirs={}\n\
             auto.create.topics.enable=false\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\n\
             log.retention.check.interval.ms=1000\n\
             log.cleaner.backoff.ms=200\n\
             log.segment.delete.delay.ms=0\n",
            dir.join("data").display()
        );
        fs::write(&config, text).map_err(StackError::io(format!("write {}", config.display())))?;
        let java = |main: &str, arguments: &[&str]| -> Vec<String> {
            let mut line: Vec<String> =
                ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx768m", "-cp"].map(String::from).into();
            line.push(format!("{}/*", jars.display()));
            line.push(main.into());
            line.extend(arguments.iter().map(|a| a.to_string()));
            line
        };
        let config = config.display().to_string();
        let format = java(
            "kafka.tools.StorageTool",
            &["format", "--standalone", "--config", &config, "--cluster-id", "tidegate-local-stack00"],
        );
        let output = Command::new(&format[0]).args(&format[1..]).output().map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => NO_JAVA,
            _ => StackError::Io { doing: "start java".into(), source },
        })?;
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(StackError::NotStarted {
                server: "kafka",
                why: "its storage could not be formatted".into(),
                log,
            });
        }
        let mut process = Process::start("kafka", dir, None, "KILL", &java("kafka.Kafka", &[&config]), &[])?;
        process.wait_until(READY_WITHIN, || TcpStream::connect(open).is_ok())?;
        let sides = Mutex::new(sides.into_iter().map(|(door, _)| door).collect());
        Ok(Broker { open, login, sides, jars, data: dir.join("data"), _ports: ports, _process: process })
    }

    /// `host:port` of the door that is open to everybody.
    pub fn address(&self) -> String {
        self.open.to_string()
    }

    /// `host:port` of the door at which one logs in.
    pub fn login_address(&self) -> String {
        self.login.to_string()
    }

    /// A door for a proxy that nobody has yet; there are some.
    pub fn side_door(&self) -> Option<SideDoor> {
        self.sides.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// The folder in which the broker keeps a partition.
    pub fn partition_dir(&self, topic: &str, partition: i32) -> PathBuf {
        self.data.join(format!("{topic}-{partition}"))
    }

    /// The folder of its jars, for its Java tools.
    pub fn jars(&self) -> &PathBuf {
        &self.jars
    }
}

const NO_JAVA: StackError = StackError::Missing {
    program: "java",
    remedy: "Kafka needs a Java runtime of at least version 17. Debian: apt-get install default-jre-headless; or run scripts/setup",
};

/// The folder with Kafka's jars, filled at the first use: `$TIDEGATE_CACHE`, else `$XDG_CACHE_HOME`, else `~/.cache`.
fn jars() -> Result<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let cache = var("TIDEGATE_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|p| p.join("tidegate")))
        .or_else(|| var("HOME").map(|p| p.join(".cache/tidegate")))
        .unwrap_or_else(|| std::env::temp_dir().join("tidegate-cache"));
    let mut hash = DefaultHasher::new();
    POM.hash(&mut hash);
    let folder = cache.join(format!("kafka-{:016x}", hash.finish()));
    if folder.join("complete").exists() {
        return Ok(folder);
    }
    let work = tempfile::tempdir().map_err(StackError::io("make a folder"))?;
    let pom = work.path().join("pom.xml");
    fs::write(&pom, POM).map_err(StackError::io("write pom.xml"))?;
    let output = Command::new("/bin/sh")
        .args(["-c", RESOLVE, "resolve.sh"])
        .args([&pom, &folder])
        .output()
        .map_err(StackError::io("run resolve.sh"))?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(StackError::NotStarted { server: "kafka", why: "its jars could not be fetched".into(), log });
    }
    Ok(folder)
}
