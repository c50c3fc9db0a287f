//! A PostgreSQL in a folder of its own, on a Unix socket only, gone with its owner.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use std::os::unix::process::CommandExt;

use super::shared::{ADMIN, ADMIN_PASSWORD, DATABASE, PASSWORD, SEES_SESSIONS, USER};
use crate::{
    error::{Result, StackError},
    folder,
    process::{Process, User},
};

const READY_WITHIN: Duration = Duration::from_secs(30);
const SUPERUSER: &str = "rdsdb";
/// The longest path of a Unix socket, as `sockaddr_un` has room for it with the NUL at its end.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A running server.
pub struct Postgres {
    dir: PathBuf,
    /// Part of the socket's name.
    port: String,
    _process: Process,
}

impl Postgres {
    /// Makes a cluster in `dir`, which must be new or empty, and starts it.
    pub(super) fn start(dir: &Path) -> Result<Postgres> {
        Postgres::start_with(dir, &["listen_addresses=".into()], &[])
    }

    /// One without a proxy before it that also listens on a loopback port and offers TLS with this certificate and key (both
    /// PEM): to see a client's own TLS at work.
    pub fn with_tls(dir: &Path, port: u16, certificate: &[u8], key: &[u8]) -> Result<Postgres> {
        let settings = ["listen_addresses=127.0.0.1".into(), format!("port={port}"), "ssl=on".into()];
        let files = [("server.crt", certificate), ("server.key", key)];
        let postgres = Postgres::start_with(dir, &settings, &files)?;
        let runtime = tokio::runtime::Runtime::new().map_err(StackError::io("start a runtime"))?;
        runtime.block_on(postgres.set_up())?;
        Ok(postgres)
    }

    fn start_with(dir: &Path, settings: &[String], files: &[(&str, &[u8])]) -> Result<Postgres> {
        let dir = folder::make(dir)?;
        Postgres::start_in(&dir, settings, files).inspect_err(|_| folder::remove(&dir))
    }

    /// Starts it in a new folder.
    fn start_in(dir: &Path, settings: &[String], files: &[(&str, &[u8])]) -> Result<Postgres> {
        let (other, bin) = (server_user()?, bin_dir()?);
        let user: User = other.map(|(_, ids)| ids);
        let longest = SOCKET_PATH_BYTES_MAX - "/.s.PGSQL.65535".len();
        if dir.as_os_str().len() > longest {
            let why = format!("is longer than the {longest} bytes that the path of PostgreSQL's socket leaves");
            return Err(StackError::Folder { folder: dir.into(), why, remedy: "choose a shorter --dir".into() });
        }
        if let Some((name, ids @ (uid, gid))) = other {
            folder::may_enter((name, ids), dir, "choose a --dir (or TMPDIR) elsewhere, as below /tmp")?;
            folder::may_enter((name, ids), &bin, "set PG_BIN to programs that are elsewhere")?;
            chown(dir, Some(uid), Some(gid)).map_err(StackError::io("hand the folder to PostgreSQL's user"))?;
        }
        let mut init = Command::new(bin.join("initdb"));
        init.current_dir(dir).env("LC_ALL", "C").env_remove("PGDATA");
        init.args(["-D", "data", "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]);
        init.args(["--no-instructions", "--wal-segsize=1"]);
        if let Some((uid, gid)) = user {
            init.gid(gid).uid(uid);
        }
        let output = init.output().map_err(StackError::io(format!("run {}", bin.join("initdb").display())))?;
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(StackError::NotStarted { server: "postgres", why: "initdb failed".into(), log });
        }
        // The superuser is us, by the socket; everybody else shows a password.
        let hba = format!(
            "local all {SUPERUSER} trust\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"
        );
        fs::write(dir.join("data/pg_hba.conf"), hba).map_err(StackError::io("write pg_hba.conf"))?;
        for (name, body) in files {
            let path = dir.join("data").join(name);
            fs::write(&path, body).map_err(StackError::io(format!("write {name}")))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
                .map_err(StackError::io(format!("write {name}")))?;
            if let Some((uid, gid)) = user {
                chown(&path, Some(uid), Some(gid)).map_err(StackError::io(format!("write {name}")))?;
            }
        }
        let mut command = vec![bin.join("postgres").display().to_string()];
        command.extend(["-D", "data", "-k"].map(String::from));
        command.push(dir.display().to_string());
        for setting in [
            "fsync=off",
            // The index that stands for a sort key is used whatever the size of the table.
            "random_page_cost=0",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=200",
            "shared_buffers=64MB",
            "wal_level=minimal",
            "max_wal_senders=0",
            "allow_system_table_mods=on",
            // As Redshift: a backslash escapes inside an ordinary literal, and nobody warns.
            "standard_conforming_strings=off",
            "escape_string_warning=off",
            "client_min_messages=error",
            "default_transaction_isolation=repeatable read",
            "timezone=UTC",
            "deadlock_timeout=200ms",
        ] {
            command.extend(["-c".into(), setting.to_string()]);
        }
        for setting in settings {
            command.extend(["-c".into(), setting.clone()]);
        }
        let mut process = Process::start("postgres", dir, user, "QUIT", &command, &[])?;
        // Its own word that it takes connections is line 8 of the pid file.
        let ready = || {
            let pid_file = fs::read_to_string(dir.join("data/postmaster.pid")).unwrap_or_default();
            pid_file.lines().nth(7).is_some_and(|line| line.trim() == "ready")
        };
        process.wait_until(READY_WITHIN, ready)?;
        let port = settings.iter().find_map(|s| s.strip_prefix("port=")).unwrap_or("5432").into();
        Ok(Postgres { dir: dir.into(), port, _process: process })
    }

    /// The socket file.
    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join(format!(".s.PGSQL.{}", self.port))
    }

    /// A connection around the proxy.
    pub(super) fn superuser(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.dir).user(SUPERUSER).dbname(database);
        config.port(self.port.parse().unwrap_or(5432));
        config
    }

    /// Makes the database, its user, and the system views that Redshift has and PostgreSQL has not.
    pub(super) async fn set_up(&self) -> Result<()> {
        let run = async |database: &str, statements: &[String]| -> Result<()> {
            let (client, connection) = self.superuser(database).connect(tokio_postgres::NoTls).await?;
            tokio::spawn(connection);
            for statement in statements {
                client.batch_execute(statement).await?;
            }
            Ok(())
        };
        let role = format!("CREATE ROLE {SEES_SESSIONS}");
        let user = format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}' IN ROLE {SEES_SESSIONS}");
        let admin = format!("CREATE ROLE {ADMIN} SUPERUSER LOGIN PASSWORD '{ADMIN_PASSWORD}'");
        run("postgres", &[role, user, admin, format!("CREATE DATABASE {DATABASE} OWNER {USER}")]).await?;
        run(
            DATABASE,
            &[
                include_str!("functions.sql").into(),
                include_str!("views.sql").into(),
                format!("GRANT ALL ON SCHEMA public TO {USER}"),
            ],
        )
        .await
    }
}

/// Who the server runs as, with a name: ourselves, which is `None`, or, because PostgreSQL refuses root, the first of `postgres` and
/// `nobody`. The user must be in the passwd file, since initdb looks its own name up.
fn server_user() -> Result<Option<(&'static str, (u32, u32))>> {
    let us = fs::metadata("/proc/self").map_err(StackError::io("read /proc/self"))?.uid();
    if us != 0 {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").map_err(StackError::io("read /etc/passwd"))?;
    let find = |name: &'static str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2);
        Some((name, (ids.next()?.parse().ok()?, ids.next()?.parse().ok()?)))
    };
    let missing = StackError::Missing {
        program: "a user for PostgreSQL",
        remedy: "PostgreSQL refuses to run as root: make a user `postgres` or `nobody`",
    };
    find("postgres").or_else(|| find("nobody")).map(Some).ok_or(missing)
}

/// The folder of initdb and postgres: `$PG_BIN`, the PATH, then the usual places, newest first.
fn bin_dir() -> Result<PathBuf> {
    let mut places: Vec<PathBuf> = std::env::var_os("PG_BIN").map(PathBuf::from).into_iter().collect();
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    for version in (13..=19).rev() {
        for place in ["/usr/lib/postgresql/{}/bin", "/usr/pgsql-{}/bin", "/opt/homebrew/opt/postgresql@{}/bin"] {
            places.push(place.replace("{}", &version.to_string()).into());
        }
    }
    let complete = |place: &PathBuf| place.join("initdb").exists() && place.join("postgres").exists();
    places.into_iter().find(complete).ok_or(StackError::Missing {
        program: "PostgreSQL (initdb, postgres)",
        remedy: "Debian: apt-get install postgresql; or run scripts/setup, or set PG_BIN to the folder of its programs",
    })
}
