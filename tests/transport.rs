//! The transports against real SSH servers on loopback, and against this machine.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command as Process,
    sync::Arc,
    time::{Duration, Instant},
};

use cargo_target_test::{
    Error,
    connect::{self, CommandEvent, Running, Transport, ssh},
    connect::{LocalReach, Reach, SshClient, SshReach},
    secret::Bound,
};
use target_fixtures::wire::{Exit, ShellCommand, Stream};
use tokio::sync::mpsc;

use crate::support::PATIENCE;

mod accounts;
mod config;
mod crowd;
mod exec;
mod failures;
mod files;
mod kept;
mod links;
mod login;
mod lossy;
mod openssh;
mod password;

/// The time without data after which a connection of [`Farm::quick`] is idle.
const IDLE: Duration = Duration::from_millis(200);

/// The SSH servers of one test.
struct Farm {
    dir: tempfile::TempDir,
}

impl Farm {
    fn new(servers: &str) -> Self {
        Self::with(servers, "")
    }

    fn with(servers: &str, config: &str) -> Self {
        let farm = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let mut command = script("start", farm.path());
        command
            .args(servers.split(' '))
            .env("TARGET_TEST_SSHD_CONFIG", config);
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        farm
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn port(&self, name: &str) -> u16 {
        let ports = fs::read_to_string(self.path().join("ports")).unwrap();
        let mut lines = ports.lines().filter_map(|line| line.split_once(' '));
        lines
            .find(|(key, _)| *key == name)
            .unwrap()
            .1
            .parse()
            .unwrap()
    }

    fn reach(&self, name: &str) -> SshReach {
        SshReach {
            host: "127.0.0.1".to_owned(),
            port: Some(self.port(name)),
            identity: Some(self.path().join("user_key")),
            known_hosts: Some(self.path().join("known_hosts")),
            ..SshReach::default()
        }
    }

    fn transport(&self, name: &str) -> Arc<dyn Transport> {
        connect::connect(name, &Reach::Ssh(self.reach(name)))
    }

    /// Returns a transport by OpenSSH.
    fn openssh(&self, name: &str) -> Arc<dyn Transport> {
        let client = SshClient::Openssh;
        let reach = SshReach {
            client,
            ..self.reach(name)
        };
        connect::connect(name, &Reach::Ssh(reach))
    }

    /// Returns a transport with short timeouts.
    fn quick(&self, name: &str) -> impl Transport + use<> {
        self.silent_for(name, Duration::from_secs(6))
    }

    fn silent_for(&self, name: &str, silence: Duration) -> impl Transport + use<> {
        let limits = ssh::Limits {
            heartbeat: Duration::from_secs(3),
            silence,
            idle: IDLE,
            answer: Duration::from_secs(2),
            channels: 8,
        };
        ssh::connect(name, &self.reach(name), limits)
    }

    fn pid(&self, name: &str) -> u32 {
        let pid = fs::read_to_string(self.path().join(name).join("pid")).unwrap();
        pid.trim().parse().unwrap()
    }

    /// Returns the processes that serve the connections of a server.
    fn sessions(&self, name: &str) -> Vec<u32> {
        let mut all = Vec::new();
        let mut from = vec![self.pid(name)];
        while let Some(pid) = from.pop() {
            let children = children(pid).into_iter().filter(|pid| is_sshd(*pid));
            let children: Vec<u32> = children.collect();
            all.extend(&children);
            from.extend(children);
        }
        all
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        let _ = script("stop", self.dir.path()).status();
    }
}

fn script(verb: &str, dir: &Path) -> Process {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut command = Process::new(root.join("tests/support/sshd"));
    command.arg(verb).arg(dir);
    command
}

fn children(pid: u32) -> Vec<u32> {
    let output = Process::new("pgrep")
        .args(["-P", &pid.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn is_sshd(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sshd")
}

fn is_alive(pid: u32) -> bool {
    // A zombie counts as dead: it has closed its files.
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| !status.contains("State:\tZ"))
}

fn signal(pid: u32, signal: &str) {
    Process::new("kill")
        .args([signal, &pid.to_string()])
        .status()
        .unwrap();
}

/// Kills the process group of a process, which is that of a command that has lost its server.
fn kill_group(pid: u32) {
    use rustix::process::{Pid, Signal, getpgid, kill_process_group};
    let pid = Pid::from_raw(pid.cast_signed());
    kill_process_group(getpgid(pid).unwrap(), Signal::KILL).unwrap();
}

fn local(directory: &Path) -> Arc<dyn Transport> {
    let env = BTreeMap::from([("TARGET_IDENTITY".to_owned(), "local-0".to_owned())]);
    connect::connect(
        "local-0",
        &Reach::Local(LocalReach {
            directory: directory.to_owned(),
            env: env
                .into_iter()
                .map(|(name, value)| (name, Bound::Plain(value)))
                .collect(),
            ..LocalReach::default()
        }),
    )
}

fn line(line: &str) -> ShellCommand {
    ShellCommand {
        line: line.to_owned(),
        ..ShellCommand::default()
    }
}

/// The variable that is set if a test has started itself again in another environment.
const INNER: &str = "TRANSPORT_TEST_INNER";

/// Returns the word that the outer test passed to [`again`]; `None` in the outer test.
fn inner() -> Option<String> {
    std::env::var(INNER).ok()
}

/// Runs a test again through `program`, which starts its arguments. The inner test gets `word` from [`inner`].
fn again(mut program: Process, test: &str, word: &str) {
    let output = program
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("transport::{test}"), "--nocapture"])
        .env(INNER, word)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

/// Runs a test as the broker does: on one thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

#[derive(Debug, Default, PartialEq)]
struct TransportOutput {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    exit: Option<Exit>,
    left_nothing: bool,
}

impl TransportOutput {
    fn text(&self) -> &str {
        assert_eq!(self.exit, Some(Exit::Code(0)), "{self:?}");
        str::from_utf8(&self.stdout).unwrap()
    }
}

async fn finish(mut running: Running) -> Result<TransportOutput, Error> {
    let mut output = TransportOutput::default();
    while let Some(event) = running.events.recv().await {
        match event {
            CommandEvent::Output(Stream::Stdout, bytes) => output.stdout.extend(bytes),
            CommandEvent::Output(Stream::Stderr, bytes) => output.stderr.extend(bytes),
            CommandEvent::Exited(exit) => output.exit = Some(exit),
            CommandEvent::Lost(error) => return Err(error),
        }
    }
    output.left_nothing = running.has_left_nothing();
    assert!(
        output.exit.is_some(),
        "the events ended without an exit: {output:?}"
    );
    Ok(output)
}

/// Returns a lease of this process: a sweep must not find the commands of other tests, which share the machine.
fn lease(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

async fn run(transport: &dyn Transport, command: &str) -> TransportOutput {
    finish(transport.exec(&line(command), &lease("any"), None))
        .await
        .unwrap()
}

async fn lost(transport: &dyn Transport, command: &str) -> Error {
    finish(transport.exec(&line(command), &lease("any"), None))
        .await
        .unwrap_err()
}

/// Waits for the first line of output.
async fn first_line(running: &mut Running) -> String {
    let mut text = String::new();
    while !text.contains('\n') {
        match running.events.recv().await {
            Some(CommandEvent::Output(_, bytes)) => text.push_str(str::from_utf8(&bytes).unwrap()),
            other => panic!("no line, but {other:?}"),
        }
    }
    text.trim().to_owned()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what} did not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a test over SSH with both clients, and with the local transport.
async fn on_each<F: Future<Output = ()>>(test: impl Fn(Arc<dyn Transport>, PathBuf) -> F) {
    let farm = Farm::new("alpha-0");
    let folder = tempfile::tempdir().unwrap();
    test(farm.transport("alpha-0"), folder.path().to_owned()).await;
    test(farm.openssh("alpha-0"), folder.path().to_owned()).await;
    test(local(folder.path()), folder.path().to_owned()).await;
}

fn input(pieces: Vec<Vec<u8>>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        for piece in pieces {
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Returns pseudo-random bytes.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(step).collect()
}
