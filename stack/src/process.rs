//! A server that lives as long as its owner, however the owner ends.
//!
//! The server runs under a shell that reads its own standard input, a pipe whose other end only we hold. When we end,
//! by a return, a panic or kill -9, the kernel closes the pipe, and the shell kills the server. A second shell waits in
//! the same way and then for the first, and removes the server's folder, and the folder above if nothing else is in it;
//! it is another one because PostgreSQL's user may not remove a folder of ours.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use std::os::unix::process::CommandExt;

use crate::error::{Result, StackError, tail};

/// A server and the shells that watch over it.
pub(crate) struct Process {
    name: &'static str,
    shell: Child,
    cleaner: Child,
    log: std::path::PathBuf,
}

/// The user a server runs as, if not ourselves: user id and group id.
pub(crate) type User = Option<(u32, u32)>;

impl Process {
    /// Starts `command` (program and arguments) in `dir`, where its output goes to a file `log`. `signal` is what ends it.
    pub(crate) fn start(
        name: &'static str,
        dir: &Path,
        user: User,
        signal: &str,
        command: &[String],
        env: &[(&str, String)],
    ) -> Result<Process> {
        let script = r#"cd "$1" || exit 1; signal=$2; shift 2
            "$@" </dev/null >log 2>&1 & server=$!
            read _; kill -"$signal" $server; wait $server"#;
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script, "sh"]).arg(dir).arg(signal).args(command);
        shell.envs(env.iter().map(|(k, v)| (k, v))).env("LC_ALL", "C");
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // A group of its own: a Ctrl-C at the terminal is ours to answer, not the server's.
        shell.process_group(0);
        if let Some((uid, gid)) = user {
            shell.gid(gid).uid(uid);
        }
        let shell = shell.spawn().map_err(StackError::io(format!("start {name}")))?;
        let script =
            r#"read _; while kill -0 $2 2>/dev/null; do sleep 0.05; done; rm -rf "$1"; rmdir "${1%/*}" 2>/dev/null"#;
        let mut cleaner = Command::new("/bin/sh");
        cleaner.args(["-c", script, "sh"]).arg(dir).arg(shell.id().to_string()).process_group(0);
        cleaner.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let cleaner = cleaner.spawn().map_err(StackError::io(format!("start {name}")))?;
        Ok(Process { name, shell, cleaner, log: dir.join("log") })
    }

    /// Waits until `ready` says so. Fails when the server ends or the deadline passes.
    pub(crate) fn wait_until(&mut self, deadline: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let since = Instant::now();
        while !ready() {
            let ended = self.shell.try_wait().map_err(StackError::io(format!("watch {}", self.name)))?.is_some();
            if ended || since.elapsed() > deadline {
                let why = if ended { "it ended".into() } else { format!("no answer within {} s", deadline.as_secs()) };
                return Err(StackError::NotStarted { server: self.name, why, log: tail(&self.log) });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both end: they have read the end of their input.
        drop((self.shell.stdin.take(), self.cleaner.stdin.take()));
        let _ = (self.shell.wait(), self.cleaner.wait());
    }
}
