//! `broker`: starts and ends the one broker of a pool, which serves tests started without `cargo target-test`.
//!
//! Must not serve tests itself.

mod known;

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Child,
    sync::Arc,
    time::{Duration, Instant},
};

use target_fixtures::env;

use crate::{
    bounded,
    cli::{BrokerArgs, Global},
    commands::own_program,
    error::{Error, Result},
    execute::{
        broker::{Broker, BrokerPlace},
        clean_up::{self, Signals},
    },
    process,
    provision::{self, FileLock, PoolProvisioner, PoolRun, platform::Platforms, pool::Pool},
    run::{private, runtime, workspace},
    ui,
};
use known::Known;

/// The time after which a broker without clients ends.
const IDLE: Duration = Duration::from_secs(10);
/// The time for which an ending broker serves clients that found it at the last moment.
const LAST: Duration = Duration::from_millis(300);
/// The pause before the next start while another broker is starting or ending.
const AGAIN: Duration = Duration::from_millis(20);
/// The time limit for a broker to start.
const START: Duration = Duration::from_secs(20);

/// The maximum length of the brokers' log, in bytes.
const LONG: u64 = 1 << 20;

/// Serves until idle. With `--ensure`, starts another process that serves, and prints the path of its socket.
///
/// # Errors
/// Fails if the pool cannot be used or no broker started.
pub fn run(platforms: &Platforms, global: &Global, args: &BrokerArgs) -> Result<u8> {
    let pool = workspace::pool_directory(global)?;
    if args.ensure {
        ensure(platforms, &pool)
    } else {
        serve(platforms, &pool)
    }
}

/// Returns the lock file of a pool's broker, which contains the path of the socket. A tool with additional platforms
/// has a separate broker, because another broker would not know the platforms.
fn lock_file(platforms: &Platforms, pool: &Path) -> PathBuf {
    let names = platforms.added();
    match names.is_empty() {
        true => pool.join("broker.lock"),
        false => pool.join(format!("broker-{}.lock", names.join("+"))),
    }
}

fn ensure(platforms: &Platforms, pool: &Path) -> Result<u8> {
    // Open the pool here to report an unusable pool to the user.
    drop(Pool::open(pool)?);
    let log = Log::of(pool);
    // The broker may be an older one, with an environment of its own.
    let note = keep_note(&lock_file(platforms, pool));
    if keeps() {
        fs_err::write(&note, "")?;
    }
    let started = Instant::now();
    let mut child: Option<Child> = None;
    loop {
        // Only read the file: taking the lock would prevent a broker from starting.
        let socket = provision::peek(&lock_file(platforms, pool))?;
        if UnixStream::connect(&socket).is_ok() {
            ui::out(socket);
            return Ok(0);
        }
        // The process ends at once if another broker is starting or ending.
        let ended = child.as_mut().map(Child::try_wait).transpose()?.flatten();
        match ended {
            Some(status) if !status.success() => return Err(log.not_up()),
            Some(_) => {
                child = None;
                std::thread::sleep(AGAIN);
            }
            None if child.is_none() => {
                if !keeps() {
                    // Of a broker that was killed.
                    let _ = std::fs::remove_file(&note);
                }
                child = Some(spawn(pool, &log)?);
            }
            None => {}
        }
        if started.elapsed() > START {
            return Err(log.not_up());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// True if the user wants the instances to stay.
fn keeps() -> bool {
    std::env::var(env::KEEP).is_ok_and(|value| value == "1")
}

/// Returns the file that tells the running broker that a test wants the instances to stay.
fn keep_note(lock: &Path) -> PathBuf {
    lock.with_extension("keep")
}

/// The log of a pool's brokers.
struct Log {
    path: PathBuf,
    /// The length before the new broker started.
    before: usize,
}

impl Log {
    /// Opens the log of a pool. A log that is too long is deleted.
    fn of(pool: &Path) -> Self {
        let path = pool.join("broker.log");
        let length = std::fs::metadata(&path).map_or(0, |data| data.len());
        if length > LONG {
            let _ = std::fs::remove_file(&path);
        }
        let before = if length > LONG { 0 } else { length as usize };
        Self { path, before }
    }

    fn not_up(&self) -> Error {
        let said = bounded::read(&self.path).unwrap_or_default();
        let said = String::from_utf8_lossy(said.get(self.before..).unwrap_or_default());
        let why = said
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("error: "));
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        Error::infra(format!("failed to start a broker{why}"))
            .with_hint(format!("see its log `{}`", self.path.display()))
    }
}

/// Starts the broker in its own session, without inherited descriptors and variables.
fn spawn(pool: &Path, log: &Log) -> Result<Child> {
    let log = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log.path)?;
    let mut command = own_program()?;
    command.arg("broker").arg("--pool").arg(pool);
    command.env(env::SERVES, pool);
    command.stderr(log.into_parts().0);
    for name in [env::PLAYBOOK, env::TARGET] {
        command.env_remove(name);
    }
    process::Spawn::new(command).own_session().start()
}

fn serve(platforms: &Platforms, directory: &Path) -> Result<u8> {
    let pool = Pool::open(directory)?;
    let Some(lock) = FileLock::try_take(&lock_file(platforms, directory))? else {
        return Ok(0);
    };
    let private = private::private_directory()?;
    let run = provision::RunInfo {
        is_broker: true,
        ..provision::RunInfo::new(Path::new(""), None, platforms)
    };
    let ssh_config = BrokerPlace::ssh_config_in(private.path());
    let provisioner = PoolProvisioner::new(PoolRun::new(pool, run)?, &ssh_config, ui::live);
    let provisioner = Arc::new(provisioner);
    let socket = BrokerPlace::socket_in(private.path());
    let found = lock_file(platforms, directory);
    let known = Known::new(&provisioner);
    runtime::block_on(async {
        let lookup = Box::new(move |pid, ask: &_| known.find(pid, ask));
        let broker = Broker::standalone(private.path(), &provisioner, lookup)?;
        let mut signals = Signals::catch()?;
        loop {
            lock.write(&socket.to_string_lossy())?;
            let ends = tokio::select! {
                () = idle(&broker, IDLE, &found) => false,
                _ = signals.next() => true,
            };
            if ends {
                break;
            }
            lock.write("")?;
            // New clients no longer find this broker; clients that just did are still served.
            idle(&broker, LAST, &found).await;
            if broker.clients() == 0 {
                break;
            }
        }
        let keep = std::fs::remove_file(keep_note(&found)).is_ok() || keeps();
        // From now on a new client starts a new broker, which waits for the leases of this broker.
        drop(lock);
        let interrupts = &mut clean_up::Interrupts::default();
        clean_up::clean_up(&broker, &*provisioner, keep, &mut signals, interrupts).await?;
        Ok(0)
    })
}

/// Completes when no client was connected for `limit`, or when the pool was deleted.
async fn idle(broker: &Broker, limit: Duration, lock: &Path) {
    let mut since = Instant::now();
    while since.elapsed() < limit {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if broker.clients() > 0 {
            since = Instant::now();
        } else if !lock.exists() {
            return;
        }
    }
}
