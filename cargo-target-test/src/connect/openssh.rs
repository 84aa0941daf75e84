//! OpenSSH as the client: `ssh` masters of one host, and the sessions that they open.
//!
//! Must not know commands: `remote` does.

use std::{
    fs::File,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use openssh::{OwningCommand, Session, Stdio};
use tempfile::TempDir;
use tokio::{
    net::UnixStream,
    sync::Mutex,
    time::{self, Instant},
};

use super::{
    CommandStdin, local,
    program::{ProgramEnd, StartedProgram},
    shell::{self, WrappedLine},
    shell_pool::ShellPool,
    ssh::{Endpoint, Limits},
    ssh_config::{self, SshConfig, Strict},
};
use crate::{
    bounded,
    error::{Error, Result},
    process, sync,
};

/// The interval at which a new master is asked whether it is logged in.
const POLL: Duration = Duration::from_millis(10);
/// The number of times that a refused session is tried again: the server may still count one that was just closed.
const RETRIES: u32 = 10;
/// The time in which a master that has lost its connection ends.
const END: Duration = Duration::from_millis(500);
/// The time after the connection timeout in which `ssh` gives up by itself, with a reason.
const GRACE: Duration = Duration::from_secs(2);

/// The start of a line in the log that is no reason for a failure.
const DEBUG: &str = "debug1: ";

/// The masters of one host. A master refuses sessions beyond the server's `MaxSessions`; then one more is started.
pub(super) struct OpenSsh {
    endpoint: Arc<Endpoint>,
    pub(super) shells: ShellPool,
    masters: Mutex<Vec<Arc<Master>>>,
}

/// One `ssh` process, which ends when this is dropped, or with this tool.
struct Master {
    session: Arc<Session>,
    process: Mutex<tokio::process::Child>,
    /// The maximum number of sessions at once.
    sessions: AtomicUsize,
    /// Cloned by every open session.
    open: Arc<()>,
    /// The log, in the folder of the control socket. `ssh` appends to it.
    log: File,
    _folder: TempDir,
}

impl OpenSsh {
    pub(super) fn new(endpoint: &Arc<Endpoint>) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            shells: ShellPool::new(Arc::clone(&endpoint.kept), endpoint.limits.channels),
            masters: Mutex::default(),
        }
    }

    /// Starts a command in a kept shell, or in a login of its own.
    pub(super) async fn start(
        &self,
        wrapped: &WrappedLine,
        stdin: Option<CommandStdin>,
    ) -> Result<StartedProgram> {
        let open = async |stdin| self.open(&shell::keep(), Some(stdin)).await;
        match self.shells.start(wrapped, open).await? {
            Some(program) => Ok(program),
            None => self.open(&wrapped.line, stdin).await,
        }
    }

    /// Opens a session that runs a line in the login shell.
    async fn open(&self, line: &str, stdin: Option<CommandStdin>) -> Result<StartedProgram> {
        let mut retries = RETRIES;
        loop {
            let (master, open) = self.free_master().await?;
            // Only the lines of a login are read, and each session adds some.
            master.log.set_len(0)?;
            let mut command = Arc::clone(&master.session).arc_raw_command(line);
            command.stdin(match stdin {
                Some(_) => Stdio::piped(),
                None => Stdio::null(),
            });
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let refused = match OwningCommand::spawn(&mut command).await {
                Ok(mut child) => {
                    let pipe = child.stdin().take();
                    let (stdout, stderr) = (child.stdout().take(), child.stderr().take());
                    // The end of this wait disconnects from the master, which then drops output that it has not yet written.
                    let end = ProgramEnd {
                        exit: async move { child.wait().await.ok().map(local::exit) },
                        after_output: true,
                    };
                    let guard = (master, open);
                    return Ok(StartedProgram::of_process(
                        pipe, stdin, stdout, stderr, end, guard,
                    ));
                }
                Err(error) => error,
            };
            drop(open);
            let others = Arc::strong_count(&master.open) - 1;
            match others {
                0 if retries > 0 => {
                    retries -= 1;
                    time::sleep(POLL).await;
                }
                0 if self.forget_if_ended(&master).await => {}
                0 => return Err(self.lost("refuses a session").with_source(refused)),
                others => master.sessions.store(others, Ordering::Relaxed),
            }
        }
    }

    /// Returns a master that may open one more session.
    async fn free_master(&self) -> Result<(Arc<Master>, Arc<()>)> {
        let mut masters = self.masters.lock().await;
        for master in masters.iter() {
            let most = master.sessions.load(Ordering::Relaxed);
            if Arc::strong_count(&master.open) <= most {
                return Ok((Arc::clone(master), Arc::clone(&master.open)));
            }
        }
        let master = Arc::new(self.connect().await?);
        let open = Arc::clone(&master.open);
        masters.push(Arc::clone(&master));
        Ok((master, open))
    }

    /// Removes a master whose process has ended, or ends soon. Returns false if the process runs.
    async fn forget_if_ended(&self, master: &Arc<Master>) -> bool {
        let mut process = master.process.lock().await;
        let ended = time::timeout(END, process.wait()).await.is_ok();
        if ended {
            let mut masters = self.masters.lock().await;
            masters.retain(|known| !Arc::ptr_eq(known, master));
            self.endpoint.losses.fetch_add(1, Ordering::Relaxed);
        }
        ended
    }

    async fn connect(&self) -> Result<Master> {
        let endpoint = Arc::clone(&self.endpoint);
        let config = sync::blocking(move || ssh_config::resolve(&endpoint.reach)).await?;
        let Endpoint {
            instance, reach, ..
        } = &*self.endpoint;
        // `ssh` connects by itself.
        sync::lock(&self.endpoint.knocked).take();
        let folder = tempfile::Builder::new().prefix("tt-ssh-").tempdir()?;
        let (socket, log) = (folder.path().join("s"), folder.path().join("log"));
        let file = File::create(&log)?;
        let command = self.master_command(&config, &socket, &log);
        let spawn = process::Spawn::new(command).own_session();
        let mut process = spawn.dies_with_parent().start_async()?;
        let deadline = Instant::now() + config.connect_timeout + GRACE;
        loop {
            // The socket exists once the login has succeeded.
            if UnixStream::connect(&socket).await.is_ok() {
                break;
            }
            if Instant::now() > deadline || !matches!(process.try_wait(), Ok(None)) {
                let text = bounded::read_to_string(&log)?;
                let reason = match text.lines().rfind(|line| !line.starts_with(DEBUG)) {
                    None => format!("no login within {:?}", config.connect_timeout),
                    Some(line) => line.to_owned(),
                };
                let what = format!("failed to connect to `{instance}`");
                let address = config.address();
                return Err(Error::infra(format!("{what} at {address}: {reason}"))
                    .with_hint(format!("check that `{}` works", reach.ssh_line("true"))));
            }
            time::sleep(POLL).await;
        }
        let text = bounded::read_to_string(&log)?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(DEBUG));
        if let Some(key) = lines.find_map(|line| line.strip_prefix("Server host key: ")) {
            // A machine that changes its key under a run is not the one that it was.
            let _ = self.endpoint.host_key.set(key.to_owned());
        }
        Ok(Master {
            session: Arc::new(Session::resume_mux(socket.into_boxed_path(), None)),
            process: Mutex::new(process),
            sessions: AtomicUsize::new(self.endpoint.limits.channels),
            open: Arc::new(()),
            log: file,
            _folder: folder,
        })
    }

    fn master_command(
        &self,
        config: &SshConfig,
        socket: &Path,
        log: &Path,
    ) -> std::process::Command {
        let Limits {
            heartbeat, silence, ..
        } = self.endpoint.limits;
        let (interval, count) = (
            heartbeat.as_secs(),
            silence.as_secs() / heartbeat.as_secs().max(1),
        );
        let strict = match config.strict {
            Strict::No => "no",
            Strict::AcceptNew => "accept-new",
            Strict::Yes => "yes",
        };
        let timeout = config.connect_timeout.as_secs().max(1);
        let mut command = process::command("ssh");
        command.arg("-E").arg(log).arg("-S").arg(socket);
        command.args(["-M", "-N", "-T", "-o", "ControlPersist=no"]);
        for option in [
            "BatchMode=yes".to_owned(),
            // The level that tells the key of the host.
            "LogLevel=DEBUG1".to_owned(),
            format!("ConnectTimeout={timeout}"),
            format!("ServerAliveInterval={interval}"),
            format!("ServerAliveCountMax={count}"),
            format!("StrictHostKeyChecking={strict}"),
        ] {
            command.arg("-o").arg(option);
        }
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        command.args(self.endpoint.reach.ssh_arguments());
        command
    }

    fn lost(&self, what: &str) -> Error {
        let instance = &self.endpoint.instance;
        Error::infra(format!("the connection to `{instance}` {what}"))
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // Fails if the process has ended.
        let _ = self.process.get_mut().start_kill();
    }
}
