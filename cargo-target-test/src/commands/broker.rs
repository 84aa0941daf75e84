//! `broker`: serves tests that were started without `cargo target-test`.
//!
//! Owns how one broker for each pool comes up, and goes when nobody wants it any more. Must not serve anything itself.

mod known;

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use target_fixtures::env;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli::{BrokerArgs, Global},
    error::{Error, ErrorKind, Result},
    execute::{broker::Broker, session::Session},
    process,
    provision::{self, FileLock, PoolProvisioner, PoolRun, platform::Platforms, pool::Pool},
    run::{private, workspace},
    ui,
};
use known::Known;

/// How long a broker stays without a client.
const IDLE: Duration = Duration::from_secs(10);
/// How long it then waits for who found it in the last moment.
const LAST: Duration = Duration::from_millis(300);
/// How long to wait before the next try to come up where another broker is on its way in or out.
const AGAIN: Duration = Duration::from_millis(20);
/// How long another process may take to come up as the broker.
const START: Duration = Duration::from_secs(20);

/// How long, in bytes, the log of brokers may become.
const LONG: u64 = 1 << 20;

/// Serves until idle; with `--ensure` has another process do so, and prints its socket's path.
///
/// # Errors
/// When the pool cannot be used, or no broker came up.
pub fn run(platforms: &Platforms, global: &Global, args: &BrokerArgs) -> Result<u8> {
    let pool = workspace::pool_directory(global)?;
    if args.ensure {
        ensure(platforms, &pool)
    } else {
        serve(platforms, &pool)
    }
}

/// The lock that the one broker of a pool holds; its text is the socket's path. A tool with platforms of its own has a
/// broker of its own: another's would not know them.
fn lock_file(platforms: &Platforms, pool: &Path) -> PathBuf {
    let names = platforms.added();
    match names.is_empty() {
        true => pool.join("broker.lock"),
        false => pool.join(format!("broker-{}.lock", names.join("+"))),
    }
}

fn ensure(platforms: &Platforms, pool: &Path) -> Result<u8> {
    // Opening reports a pool that cannot be used here, where somebody reads it.
    drop(Pool::open(pool)?);
    let log = Log::of(pool);
    let started = Instant::now();
    let mut child: Option<Child> = None;
    loop {
        // The lock is the broker's: who only looked at it would keep one from coming up.
        let socket = provision::peek(&lock_file(platforms, pool))?;
        if UnixStream::connect(&socket).is_ok() {
            ui::out(socket);
            return Ok(0);
        }
        // It ends at once where another is coming up, or going.
        let ended = child.as_mut().map(Child::try_wait).transpose()?.flatten();
        match ended {
            Some(status) if !status.success() => return Err(log.not_up()),
            Some(_) => {
                child = None;
                std::thread::sleep(AGAIN);
            }
            None if child.is_none() => child = Some(spawn(pool, &log)?),
            None => {}
        }
        if started.elapsed() > START {
            return Err(log.not_up());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What brokers of a pool say, one after another.
struct Log {
    path: PathBuf,
    /// How long it was before ours.
    before: usize,
}

impl Log {
    /// What is too long is begun anew: nobody reads a log that was of no use for so long.
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
        let said = std::fs::read(&self.path).unwrap_or_default();
        let said = String::from_utf8_lossy(said.get(self.before..).unwrap_or_default());
        let why = said
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("error: "));
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        Error::new(ErrorKind::Infra, format!("no broker came up{why}"))
            .with_hint(format!("`{}` has what it said", self.path.display()))
    }
}

/// Starts the broker in a session of its own, nothing of ours inherited.
fn spawn(pool: &Path, log: &Log) -> Result<Child> {
    let log = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log.path)?;
    let mut command = process::command(std::env::current_exe()?);
    command.arg("broker").arg("--pool").arg(pool);
    command.env(env::SERVES, pool);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.into_parts().0);
    for name in [env::PLAYBOOK, env::TARGET, env::LEASE, env::BROKER] {
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
    let run = provision::Run {
        id: provision::Run::new_id(),
        workspace: PathBuf::new(),
        playbook: None,
        platforms: platforms.clone(),
    };
    let ssh_config = Broker::ssh_config_in(private.path());
    let provisioner = PoolProvisioner::new(PoolRun::new(pool, run)?, &ssh_config, ui::live);
    let provisioner = Arc::new(provisioner);
    let session = Session::start(private.path(), Arc::clone(&provisioner))?;
    let known = Known::new(&provisioner);
    let broker = session.serve(Box::new(move |ask| known.find(ask)))?;
    let socket = Broker::socket_in(private.path());
    let found = lock_file(platforms, directory);
    session.wait_for(async {
        let mut told_to_end = signal(SignalKind::terminate())?;
        loop {
            lock.write(&socket.to_string_lossy())?;
            tokio::select! {
                () = idle(&broker, IDLE, &found) => {}
                _ = told_to_end.recv() => return Ok(()),
            }
            lock.write("")?;
            // Nobody finds us any more; who just did is still served.
            idle(&broker, LAST, &found).await;
            if broker.clients() == 0 {
                return Ok::<_, Error>(());
            }
        }
    })?;
    // From here on a new client starts a new broker, which waits for this one's leases like any other.
    drop(lock);
    let keep = std::env::var(env::KEEP).is_ok_and(|value| value == "1");
    session.clean_up(&broker, keep, &mut 0)?;
    Ok(0)
}

/// Done when there was no client for as long as `limit`, or when there is no pool any more.
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
