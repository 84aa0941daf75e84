//! Shell tests: command lines, and files of folders, run on a lease's first machine. Must not know how a machine is
//! reached.

use std::{
    collections::BTreeMap,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use target_fixtures::wire::{Exit, ShellCommand, Stream};

use super::{Executor, Launcher, host_process::output_part, output_file};
use crate::{
    case::{
        CaseInfo, RunsOn,
        verdict::{Evidence, Verdict, judge},
    },
    connect::{CommandEvent, Running},
    error::{Error, ErrorKind, Result},
    provision::{BoxFuture, Lease, Machine, describe},
    run_event::{Attempt, AttemptResult, OutputFile, RunEventKind, Sink},
    secret::{self, RedactedStream},
};

/// The time limit for the answer of a machine after a failed test.
const ANSWER: Duration = Duration::from_secs(10);

/// Shell tests. Exit code 0 passes, any other end fails; a machine that is lost is infra.
///
/// A test finds its machine in the environment, as any case does: `TARGET_TEST_INSTANCE`, `TARGET_TEST_HOST`, ...
///
/// ```
/// use cargo_target_test::execute::ShellTests;
///
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path().join("disk");
/// # std::fs::create_dir(&folder)?;
/// # std::fs::write(folder.join("space"), "df -h /")?;
/// let tests = ShellTests::new("output").command("kernel", "uname -r | grep '^6'").folder(&folder)?;
/// let names: Vec<_> = tests.cases().iter().map(|case| case.to_string()).collect();
/// assert_eq!(names, ["kernel", "disk/space"]);
/// # Ok::<(), cargo_target_test::Error>(())
/// ```
#[derive(Debug)]
pub struct ShellTests {
    tests: Vec<ShellTest>,
    timeout: Option<Duration>,
    /// The folder with the output of all attempts.
    output: PathBuf,
}

/// One test.
#[derive(Debug)]
struct ShellTest {
    case: Arc<CaseInfo>,
    script: Script,
}

/// The program of a test.
#[derive(Clone, Debug)]
enum Script {
    /// A command line.
    Line(String),
    /// A file of this host, which is copied to the machine.
    File(PathBuf),
}

/// The end of a test on its machine.
#[derive(Debug, Default)]
struct ScriptEnd {
    exit: Option<Exit>,
    timed_out: bool,
    lost: Option<Error>,
}

impl ScriptEnd {
    fn of(ended: Result<Exit>) -> Self {
        match ended {
            Ok(exit) => Self {
                exit: Some(exit),
                ..Self::default()
            },
            Err(error) if error.kind() == ErrorKind::Timeout => Self {
                timed_out: true,
                ..Self::default()
            },
            Err(error) => Self {
                lost: Some(error),
                ..Self::default()
            },
        }
    }

    fn verdict(&self) -> Verdict {
        let cause = self.lost.as_ref().map(Error::chain);
        let crashed = self.lost.as_ref().is_some_and(Error::is_crash);
        judge(&Evidence {
            exit: self.exit.as_ref(),
            started: true,
            timed_out: self.timed_out,
            lost: cause.as_deref(),
            crashed: cause.as_deref().filter(|_| crashed),
            ..Evidence::default()
        })
    }
}

impl ShellTests {
    /// An executor without tests. The output of each attempt goes to files in the folder `output`, which is created if
    /// it is missing: `smoke-disk.1.stdout` for the first attempt of `smoke/disk`.
    #[must_use]
    pub fn new(output: impl Into<PathBuf>) -> Self {
        Self {
            tests: Vec::new(),
            timeout: None,
            output: output.into(),
        }
    }

    /// Adds a test that runs a command line. Reports show it in the binary `shell`.
    #[must_use]
    pub fn command(self, name: &str, line: &str) -> Self {
        self.case("shell", name, Script::Line(line.to_owned()))
    }

    /// Adds a test for each file of a folder, sorted by name: `smoke/disk` for the file `disk` of the folder `smoke`.
    /// The file is copied to the machine and run there: as a program if it is executable, by `sh` otherwise. Hidden
    /// files and subfolders are skipped.
    ///
    /// # Errors
    /// If the folder cannot be read; [`ErrorKind::Usage`] if it contains no tests, or if a folder of the same name was
    /// added.
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Result<Self> {
        let folder = fs_err::canonicalize(folder.as_ref())?;
        let binary = folder.file_name().unwrap_or_default().to_string_lossy();
        let usage = |problem: &str| {
            let message = format!("folder `{}`: {problem}", folder.display());
            Error::usage(message)
        };
        if self
            .tests
            .iter()
            .any(|test| *test.case.binary_id == *binary)
        {
            return Err(usage("another folder of tests has the same name"));
        }
        let mut files = BTreeMap::new();
        for entry in fs_err::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_file() && !name.starts_with('.') {
                files.insert(format!("{binary}/{name}"), path);
            }
        }
        if files.is_empty() {
            return Err(usage("no tests found"));
        }
        for (name, path) in files {
            self = self.case(&binary, &name, Script::File(path));
        }
        Ok(self)
    }

    /// Sets the time limit of a test. A test that exceeds it is killed and fails.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The cases, for [`Orchestrator::run`](crate::orchestrate::Orchestrator::run).
    pub fn cases(&self) -> Vec<Arc<CaseInfo>> {
        let tests = self.tests.iter();
        tests.map(|test| Arc::clone(&test.case)).collect()
    }

    fn case(mut self, binary: &str, name: &str, script: Script) -> Self {
        let case = CaseInfo::new(binary, name, RunsOn::Any, None, None);
        self.tests.push(ShellTest {
            case: Arc::new(case),
            script,
        });
        self
    }

    /// The test of a case.
    fn test(&self, case: &CaseInfo) -> Option<&ShellTest> {
        let same = |test: &&ShellTest| {
            test.case.binary_id == case.binary_id && test.case.test == case.test
        };
        self.tests.iter().find(same)
    }

    async fn attempt(&self, attempt: &Attempt, lease: &Lease, sink: &Sink) -> AttemptResult {
        let case = &attempt.case;
        let (Some(test), Some(machine)) = (self.test(case), lease.machines().first()) else {
            let cause = format!("`{case}` is not a shell test, or its lease has no machine");
            return AttemptResult::new(Verdict::Infra(cause));
        };
        let name = format!("{}.{}", case.name.replace('/', "-"), attempt.number);
        let output = self.output.join(name);
        let mut kept = match Kept::create(&output, attempt.clone(), sink) {
            Ok(kept) => kept,
            Err(error) => return AttemptResult::new(Verdict::Infra(error.chain())),
        };
        let (began, lost) = (Instant::now(), lease.lost());
        let mut end = tokio::select! {
            ended = self.run_script(&test.script, machine, &mut kept) => ScriptEnd::of(ended),
            error = lost.wait() => ScriptEnd::of(Err(error)),
        };
        let took = began.elapsed();
        let in_doubt = end.verdict().is_failure() || machine.connection().may_have_rebooted();
        if in_doubt
            && let Err(error) = machine.confirm(ANSWER).await
            && (end.lost.is_none() || error.is_crash())
        {
            end.lost = Some(error);
        }
        if end.lost.is_some() {
            machine.emit_console(sink);
        }
        let [stdout, stderr] = kept.finish();
        AttemptResult {
            took,
            stdout,
            stderr,
            exit: end.exit.clone(),
            timed_out: self.timeout.filter(|_| end.timed_out),
            ..AttemptResult::new(end.verdict())
        }
    }

    async fn run_script(
        &self,
        script: &Script,
        machine: &Machine,
        kept: &mut Kept,
    ) -> Result<Exit> {
        let file = match script {
            Script::Line(line) => {
                let command = self.test_command(line.clone(), machine);
                return kept.follow(machine.start(&command, None).await?).await;
            }
            Script::File(file) => file,
        };
        let made = machine.run("mktemp -d").await?;
        let made = made.success("failed to create a folder for the test")?;
        let folder = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let there = format!("{folder}/{name}");
        machine.put(file, &there).await?;
        let executable = fs_err::metadata(file)?.permissions().mode() & 0o111 != 0;
        let command = ShellCommand {
            words: vec![there],
            directory: Some(folder.clone()),
            ..self.test_command(
                if executable { r#""$1""# } else { r#"sh "$1""# }.to_owned(),
                machine,
            )
        };
        let ended = kept.follow(machine.start(&command, None).await?).await;
        let remove = ShellCommand {
            line: r#"rm -rf -- "$1""#.to_owned(),
            words: vec![folder],
            ..ShellCommand::default()
        };
        // A failed removal does not fail the test.
        if let Ok(removing) = machine.start(&remove, None).await {
            let _ = removing.finished().await;
        }
        ended
    }

    fn test_command(&self, line: String, machine: &Machine) -> ShellCommand {
        let instance = machine.describe();
        ShellCommand {
            line,
            env: describe::environment(&instance.target.clone(), &[instance]),
            timeout: self.timeout.map(|timeout| timeout.as_millis() as u64),
            ..ShellCommand::default()
        }
    }
}

impl Executor for ShellTests {
    fn run<'a>(
        &'a self,
        attempt: &'a Attempt,
        lease: &'a Lease,
        _launcher: &'a dyn Launcher,
        sink: &'a Sink,
    ) -> BoxFuture<'a, AttemptResult> {
        Box::pin(self.attempt(attempt, lease, sink))
    }
}

/// The files that keep the output of one attempt, which is emitted as it comes.
struct Kept {
    attempt: Attempt,
    sink: Sink,
    stdout: KeptStream,
    stderr: KeptStream,
}

/// The file that keeps one stream, without secrets.
struct KeptStream {
    path: PathBuf,
    file: fs_err::File,
    secrets: RedactedStream,
    /// The start of a character whose end has not come yet.
    rest: Vec<u8>,
}

impl Kept {
    fn create(output: &Path, attempt: Attempt, sink: &Sink) -> Result<Self> {
        fs_err::create_dir_all(output.parent().unwrap_or(output))?;
        Ok(Self {
            attempt,
            sink: sink.clone(),
            stdout: KeptStream::create(output_file(output, "stdout"))?,
            stderr: KeptStream::create(output_file(output, "stderr"))?,
        })
    }

    /// Keeps the output of a command until it ends.
    async fn follow(&mut self, mut running: Running) -> Result<Exit> {
        while let Some(event) = running.events.recv().await {
            match event {
                CommandEvent::Output(stream, bytes) => {
                    let kept = match stream {
                        Stream::Stdout => &mut self.stdout,
                        Stream::Stderr => &mut self.stderr,
                    };
                    let text = kept.push(&bytes)?;
                    self.emit(stream, text);
                }
                CommandEvent::Exited(exit) => return Ok(exit),
                CommandEvent::Lost(error) => return Err(error),
            }
        }
        Err(Error::infra("the connection was closed"))
    }

    fn emit(&self, stream: Stream, text: String) {
        if !text.is_empty() {
            self.sink.emit(RunEventKind::AttemptOutput {
                attempt: self.attempt.clone(),
                stream,
                text,
            });
        }
    }

    fn finish(mut self) -> [Option<OutputFile>; 2] {
        let rest = self.stdout.flush();
        self.emit(Stream::Stdout, rest);
        let rest = self.stderr.flush();
        self.emit(Stream::Stderr, rest);
        [self.stdout.path, self.stderr.path]
            .map(|path| output_part(path).filter(|file| file.length > 0))
    }
}

impl KeptStream {
    fn create(path: PathBuf) -> Result<Self> {
        Ok(Self {
            file: fs_err::File::create(&path)?,
            path,
            secrets: secret::stream(),
            rest: Vec::new(),
        })
    }

    /// Keeps a piece of output. Returns the text that is complete now, without secrets.
    fn push(&mut self, bytes: &[u8]) -> Result<String> {
        let bytes = self.secrets.push(bytes).into_owned();
        self.file.write_all(&bytes)?;
        self.rest.extend(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.rest.len(),
        };
        let rest = self.rest.split_off(whole);
        let whole = std::mem::replace(&mut self.rest, rest);
        Ok(String::from_utf8_lossy(&whole).into_owned())
    }

    /// Keeps the end of the output. Returns its text.
    fn flush(&mut self) -> String {
        let rest = self.secrets.finish();
        // What cannot be kept is shown at least.
        let _ = self.file.write_all(&rest);
        self.rest.extend(rest);
        String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned()
    }
}

#[cfg(test)]
mod tests;
