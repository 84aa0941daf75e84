//! The process on this host that stands for a test on a target: starts the test by the broker, passes on its output and
//! signals, and ends as the test ends.
//!
//! Must not know how the target is reached. When this process is killed, the broker kills the test.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io::{BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustix::event::{PollFd, PollFlags, poll};
use target_fixtures::{
    env,
    wire::{
        BrokerRequest, CHUNK, Exit, Failure, FailureKind, PROTOCOL, Reply, ShellCommand, Stream,
        WINDOW, read_frame, write_frame,
    },
};

use super::{child::gone, exit_of, infra, wrong_call};
use crate::{
    bounded, case::verdict::EXIT_INFRA, error::Result, execute::on_target::TestPlace, process, ui,
};

/// Variables that Cargo and nextest give to a test although this process has them too, by the start of their names.
const GIVEN: [&str; 7] = [
    "LLVM_PROFILE_FILE",
    "RUST_",
    "NEXTEST",
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
    "CARGO_BIN_",
    "CARGO_CRATE_NAME",
];
/// Variables about this host that Cargo and nextest set.
const OF_HOST: [&str; 7] = [
    "CARGO",
    "CARGO_HOME",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "LD_LIBRARY_PATH",
    "NEXTEST_LD_LIBRARY_PATH",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
];

/// Runs a test on an instance: socket, lease, instance, the names of the tool's own variables, the place, the command.
pub(super) fn main(arguments: Vec<OsString>) -> Result<u8> {
    let mut words = arguments.into_iter();
    let mut next = || words.next().ok_or_else(wrong_call);
    let socket = PathBuf::from(next()?);
    let mut text = || next().and_then(|word| word.into_string().map_err(|_| wrong_call()));
    let (lease, instance, own, place) = (text()?, text()?, text()?, text()?);
    let place = serde_json::from_str(&place).map_err(|_| wrong_call())?;
    let words: Vec<_> = words
        .map(|word| word.into_string().map_err(|_| wrong_call()))
        .collect::<Result<_>>()?;
    let own: BTreeSet<_> = own.split(' ').collect();
    let given = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let command = command(&place, words, given.filter(|(name, _)| is_sent(name, &own)))?;
    let signals = PassedSignals::catch()?;
    let input = match std::env::var_os(env::TEAR_DOWN) {
        Some(_) => Some(bounded::read_all(std::io::stdin())?),
        None => None,
    };
    let ended = match RemoteTest::start(&socket, lease, instance, (command, input)) {
        Ok(mut test) => test.follow(&signals),
        Err(_) => Err(gone()),
    };
    Ok(match ended {
        Ok(exit) => exit_of(&exit),
        Err(failure) => {
            infra(&failure);
            EXIT_INFRA
        }
    })
}

/// True if a test on a target gets a variable of this process: if Cargo or nextest gave it, and not if the tool had it
/// before.
fn is_sent(name: &str, own: &BTreeSet<&str>) -> bool {
    let is_given = GIVEN.iter().any(|start| name.starts_with(start));
    !OF_HOST.contains(&name) && (is_given || !own.contains(name))
}

/// Returns the command of a test with these variables at its place. A shell does not take all names, such as
/// `CARGO_BIN_EXE_my-tool`: `env` sets those. The test replaces the shell, so that its signal is that of the command.
fn command(
    place: &TestPlace,
    words: Vec<String>,
    given: impl Iterator<Item = (String, String)>,
) -> Result<ShellCommand> {
    let is_plain = |name: &str| name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric());
    let given = given.map(|(name, value)| (name, place.path(value)));
    let (env, odd): (BTreeMap<_, _>, BTreeMap<_, _>) =
        given.partition(|(name, _)| is_plain(name) && !name.starts_with(char::is_numeric));
    let mut line = ["set", "--"].map(str::to_owned).to_vec();
    line.extend((!odd.is_empty()).then(|| "env".to_owned()));
    let odd = odd.into_iter();
    line.extend(odd.map(|(name, value)| format!("{name}={value}")));
    line.extend(words.into_iter().map(|word| place.path(word)));
    let line = shlex::try_join(line.iter().map(String::as_str)).map_err(|_| wrong_call())?;
    Ok(ShellCommand {
        line: format!("{line}; {}", place.script),
        env,
        watches_rest: true,
        ..ShellCommand::default()
    })
}

/// The signals that end a test, passed on to it.
struct PassedSignals {
    /// The number of the last signal.
    last: Arc<AtomicUsize>,
    /// Readable after a signal.
    pipe: UnixStream,
}

impl PassedSignals {
    fn catch() -> Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
        let last = Arc::new(AtomicUsize::new(0));
        let (pipe, write) = UnixStream::pair()?;
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            let number = usize::try_from(signal).unwrap_or_default();
            signal_hook::flag::register_usize(signal, Arc::clone(&last), number)?;
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self { last, pipe })
    }

    /// Returns the name of the signal that made the pipe readable.
    fn take(&self) -> String {
        let _ = (&self.pipe).read(&mut [0]);
        process::signal_name(self.last.load(Ordering::Relaxed) as i32)
    }
}

/// The connection to the broker of a test that runs on an instance.
struct RemoteTest {
    stream: BufReader<UnixStream>,
    /// The rest of the input; `None` once its end is sent.
    input: Option<Vec<u8>>,
    /// The number of bytes of input that the broker takes now.
    room: usize,
}

impl RemoteTest {
    fn start(
        socket: &Path,
        lease: String,
        instance: String,
        (command, input): (ShellCommand, Option<Vec<u8>>),
    ) -> std::io::Result<Self> {
        let mut stream = UnixStream::connect(socket)?;
        let mut frames = Vec::new();
        for request in [
            BrokerRequest::Hello {
                protocol: PROTOCOL,
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
            BrokerRequest::Attach { lease },
            BrokerRequest::Exec {
                instance,
                command,
                stdin: input.is_some(),
            },
        ] {
            write_frame(&mut frames, &request, &[])?;
        }
        stream.write_all(&frames)?;
        let mut test = Self {
            stream: BufReader::new(stream),
            input,
            room: WINDOW,
        };
        test.feed()?;
        Ok(test)
    }

    /// Sends as much of the input as the broker takes, and its end.
    fn feed(&mut self) -> std::io::Result<()> {
        let Some(mut input) = self.input.take() else {
            return Ok(());
        };
        let rest = input.split_off(input.len().min(self.room));
        self.room -= input.len();
        for piece in input.chunks(CHUNK) {
            write_frame(self.stream.get_mut(), &BrokerRequest::Data, piece)?;
        }
        match rest.is_empty() {
            true => self.send(&BrokerRequest::End),
            false => {
                self.input = Some(rest);
                Ok(())
            }
        }
    }

    /// Passes on output and signals until the test ends; the failure if it was not started or its end is unknown.
    fn follow(&mut self, signals: &PassedSignals) -> std::result::Result<Exit, Failure> {
        loop {
            if let Some(signal) = self.wait(signals) {
                // The end of the connection is noticed below.
                let _ = self.send(&BrokerRequest::Signal { signal });
                continue;
            }
            let (reply, bytes) = read_frame(&mut self.stream).map_err(|_| gone())?;
            match reply {
                Reply::Data { stream } => show(stream, &bytes),
                Reply::Took { bytes } => {
                    self.room += bytes;
                    self.feed().map_err(|_| gone())?;
                }
                Reply::Exited { exit, .. } => return Ok(exit),
                Reply::Failed(failure) => return self.lose(failure),
                Reply::Refused(failure) => return Err(failure),
                Reply::Welcome { .. } | Reply::Leased { .. } | Reply::Signalled { .. } => {}
                other => {
                    let message = format!("unexpected reply of the broker: {other:?}");
                    return Err(Failure::new(FailureKind::Infra, message));
                }
            }
        }
    }

    /// Waits for a reply, or for a signal, whose name is returned.
    fn wait(&self, signals: &PassedSignals) -> Option<String> {
        if !self.stream.buffer().is_empty() {
            return None;
        }
        let reply = PollFd::new(self.stream.get_ref(), PollFlags::IN);
        let signal = PollFd::new(&signals.pipe, PollFlags::IN);
        let mut fds = [reply, signal];
        // Interrupted by the signal that makes the pipe readable.
        while poll(&mut fds, None) == Err(rustix::io::Errno::INTR) {}
        let has_signal = fds[1].revents().contains(PollFlags::IN);
        has_signal.then(|| signals.take())
    }

    /// Reports that the test was lost: it has found nothing, even if the machine answers again. The runner tells the verdict;
    /// without a broker, this process does.
    fn lose(&mut self, failure: Failure) -> std::result::Result<Exit, Failure> {
        let lost = BrokerRequest::Failed {
            message: failure.message.clone(),
            lost: Some(failure.message.clone()),
        };
        let reported = self.send(&lost);
        match reported.and_then(|()| read_frame::<Reply>(&mut self.stream)) {
            Ok(_) => Ok(Exit::Code(EXIT_INFRA.into())),
            Err(_) => Err(failure),
        }
    }

    fn send(&mut self, request: &BrokerRequest) -> std::io::Result<()> {
        write_frame(self.stream.get_mut(), request, &[])
    }
}

fn show(stream: Stream, bytes: &[u8]) {
    match stream {
        Stream::Stdout => ui::bytes_out(bytes),
        Stream::Stderr => ui::bytes_err(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_this_host_stay_here() {
        let own = BTreeSet::from(["HOME", "TOKEN", "RUST_LOG", "CARGO_PKG_NAME"]);
        for name in ["HOME", "TOKEN", "CARGO", "LD_LIBRARY_PATH"] {
            assert!(!is_sent(name, &own), "{name}");
        }
        for name in [
            "RUST_LOG",
            "NEXTEST",
            "NEXTEST_RUN_ID",
            "CARGO_PKG_NAME",
            "CARGO_MANIFEST_DIR",
            "LLVM_PROFILE_FILE",
            "OF_A_SETUP_SCRIPT",
            "TARGET_TEST_INSTANCE",
        ] {
            assert!(is_sent(name, &own), "{name}");
        }
    }

    #[test]
    fn names_that_a_shell_refuses_are_set_too() {
        let given = |name: &str| (name.to_owned(), "a b".to_owned());
        let words = ["/c/h1/smoke", "--exact", "a::b"].map(str::to_owned);
        let mut place = TestPlace::default();
        place.script = "exec \"$@\"".to_owned();
        let plain = command(&place, words.to_vec(), [given("A_1")].into_iter());
        let plain = plain.expect("a command");
        assert_eq!(plain.line, "set -- /c/h1/smoke --exact a::b; exec \"$@\"");
        assert_eq!(plain.env, BTreeMap::from([given("A_1")]));
        let odd = [given("A_my-tool"), given("1")].into_iter();
        let odd = command(&place, words[..1].to_vec(), odd).expect("a command");
        assert_eq!(
            odd.line,
            "set -- env '1=a b' 'A_my-tool=a b' /c/h1/smoke; exec \"$@\""
        );
        assert!(odd.env.is_empty());
    }
}
