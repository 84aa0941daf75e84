//! The builder of commands on a target, and the error of a failed command.
//!
//! Must not know connections.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Result, Target,
    files::file,
    output::{Log, Output, Streams, tails},
    process::{FOREVER, Process},
};
use crate::{
    client::{Call, unexpected},
    error::{ErrorKind, Placed, TargetError},
    wire::{self, BrokerRequest, Password, Reply, Sudo},
};

/// A command to run on a [`Target`], created by [`Target::command`] or [`Target::program`].
///
/// ```no_run
/// # use target_fixtures::prelude::*;
/// # use std::time::Duration;
/// # fn test(target: &Target) -> Result<()> {
/// let found = target
///     .command("grep -c \"$1\" /var/log/app/*.log")
///     .arg("it's $5 & more") // passed on unchanged
///     .env("LC_ALL", "C")
///     .timeout(Duration::from_secs(10))
///     .allow_failure()
///     .run()?;
/// println!("{:?} after {:?}: {}", found.exit, found.duration, found.stdout);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "call `run` or `spawn` to run the command"]
pub struct Command<'a> {
    pub(super) target: &'a Target,
    pub(super) command: wire::ShellCommand,
    pub(super) stdin: Stdin,
    pub(super) allow_failure: bool,
    pub(super) quiet: bool,
    pub(super) keep: usize,
    answers: Vec<(String, String)>,
}

/// The source of a command's standard input.
#[derive(Clone)]
pub(super) enum Stdin {
    Null,
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl<'a> Command<'a> {
    pub(super) fn new(target: &'a Target, command: wire::ShellCommand) -> Self {
        Self {
            target,
            command,
            stdin: Stdin::Null,
            allow_failure: false,
            quiet: false,
            keep: super::output::KEEP,
            answers: Vec::new(),
        }
    }

    /// Adds an argument, a text or anything else that has one, such as a number. It is passed on unchanged. The arguments of
    /// a command line are `"$1"`, `"$2"`, ...
    pub fn arg(mut self, argument: impl ToString) -> Self {
        self.command.words.push(argument.to_string());
        self
    }

    /// Adds several arguments; see [`arg`](Self::arg).
    pub fn args<T: ToString>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        let arguments = arguments.into_iter().map(|argument| argument.to_string());
        self.command.words.extend(arguments);
        self
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: impl ToString, value: impl ToString) -> Self {
        self.command.env.insert(name.to_string(), value.to_string());
        self
    }

    /// Sets the working folder on the instance. Default: the login's home folder.
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Self {
        let directory = directory.as_ref().to_string_lossy();
        self.command.directory = Some(directory.into_owned());
        self
    }

    /// Kills the command's process group after this time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.command.timeout = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Runs the command as root. Uses `sudo` if the login user is not root. `sudo` must not ask for a password, unless
    /// the target has a `password` in the playbook (platform `ssh`) or [`password`](Self::password) is set.
    pub fn sudo(mut self) -> Self {
        self.command.sudo.get_or_insert_default();
        self
    }

    /// Runs the command as root, like [`sudo`](Self::sudo), and passes this password to `sudo` if it asks. The password
    /// never appears on a command line, in a file or in a message.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.command.sudo = Some(Sudo {
            password: Some(Password(password.into())),
        });
        self
    }

    /// Runs the command in a login of its own, and ends the logins that are kept for other commands.
    ///
    /// Over SSH, one login serves several commands without standard input, each in new processes. These find what a login
    /// of their own would give them, except: their session (`ps -o sid`) is that of the login, and a start-up file has no
    /// effect beyond its first run, such as a count, or a change of a file that it reads. Call this after a change that
    /// only a new login sees: files that start-up files read, or limits set from outside (`prlimit`, a cgroup). A change
    /// of the start-up files themselves and of `/etc/passwd`, `/etc/group`, `/etc/environment` and `/etc/security` is
    /// noticed. Commands with [`sudo`](Self::sudo) and recipes always run in a login of their own.
    pub fn fresh_login(mut self) -> Self {
        self.command.fresh_login = true;
        self
    }

    /// Sets the standard input. Default: empty.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// Reads the standard input from a local file.
    pub fn stdin_file(mut self, path: impl AsRef<Path>) -> Self {
        self.stdin = Stdin::File(path.as_ref().to_owned());
        self
    }

    /// Answers a question: after the command prints `question` on either stream, writes `answer` and a newline to its
    /// standard input. If called several times, the questions are expected in this order. The command has no terminal,
    /// and must read standard input.
    pub fn answer(mut self, question: impl ToString, answer: impl ToString) -> Self {
        self.answers
            .push((question.to_string(), answer.to_string()));
        self
    }

    /// Returns an [`Output`] instead of an error for any exit code or signal.
    pub fn allow_failure(mut self) -> Self {
        self.allow_failure = true;
        self
    }

    /// Does not show the command and its output in the test's log.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Keeps only the last `bytes` bytes of each output stream. Default: 64 MiB.
    pub fn keep(mut self, bytes: usize) -> Self {
        self.keep = bytes;
        self
    }

    /// Runs the command and waits until it ends.
    ///
    /// # Errors
    /// [`ErrorKind::Exit`] if the command does not exit with 0 (unless [`allow_failure`](Self::allow_failure) is set),
    /// [`ErrorKind::Timeout`] after [`timeout`](Self::timeout), [`ErrorKind::File`] if its input cannot be read,
    /// [`ErrorKind::Infra`] if the instance is lost. Each error shows the last lines of the output.
    #[track_caller]
    pub fn run(self) -> Result<Output> {
        if !self.answers.is_empty() {
            return self.converse();
        }
        let mut streams = Streams::new(self.keep, self.log());
        let mut stdin = self.input()?;
        let reply = self.target.client.call(Call {
            request: self.request(stdin.is_some()),
            upload: stdin.as_mut().map(|input| input as _),
            piece: &mut |stream, piece| {
                streams.push(stream, piece);
                Ok(())
            },
        });
        match reply {
            Ok(Reply::Exited { exit, millis }) => {
                let output = streams.output(exit, millis);
                self.exit_check().check(output).placed()
            }
            Ok(other) => Err(unexpected(other)),
            Err(error) => Err(error.with_more(&streams.tails())),
        }
    }

    /// Starts the command and returns immediately. Its standard input is [written](Process::write) until it is
    /// [closed](Process::close_stdin), unless [`stdin`](Self::stdin) is set. Any number of commands can run at a time,
    /// and a command that does not read its input does not block other commands. Over SSH, at most 256 commands run at
    /// a time on an instance (32 connections with 8 channels each); further commands wait.
    ///
    /// ```no_run
    /// # use target_fixtures::prelude::*;
    /// # use std::time::Duration;
    /// # fn test(target: &Target) -> Result<()> {
    /// let mut server = target.command("iperf3 -s").spawn()?;
    /// server.wait_for_line("listening", Duration::from_secs(5))?;
    /// target.run("iperf3 -c localhost -t 1")?;
    /// server.kill()?; // dropping `server` kills it too
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Commands on several instances run side by side; dropping the list kills those that still run:
    ///
    /// ```no_run
    /// # use target_fixtures::prelude::*;
    /// # use target_fixtures::Process;
    /// # fn test(targets: &[Target]) -> Result<()> {
    /// let load = targets.iter().map(|target| target.spawn("stress-ng --cpu 1 -t 10"));
    /// let load = load.collect::<Result<Vec<_>, _>>()?;
    /// let outputs = load.into_iter().map(Process::wait).collect::<Result<Vec<_>, _>>()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] if the broker is lost, [`ErrorKind::File`] if the input cannot be read. Errors of the
    /// command itself are returned by [`Process::wait`].
    #[track_caller]
    pub fn spawn(self) -> Result<Process> {
        Process::start(self)
    }

    #[track_caller]
    fn converse(mut self) -> Result<Output> {
        let answers = std::mem::take(&mut self.answers);
        let mut process = self.spawn()?;
        for (question, answer) in answers {
            process.wait_for_text(&question, FOREVER)?;
            process.write(format!("{answer}\n"))?;
        }
        process.wait()
    }

    pub(super) fn request(&self, stdin: bool) -> BrokerRequest {
        BrokerRequest::Exec {
            instance: self.target.instance().to_owned(),
            command: self.command.clone(),
            stdin,
        }
    }

    pub(super) fn log(&self) -> Option<Log> {
        (!self.quiet).then(|| Log::start(self.target.log_name(), &self.command.text()))
    }

    pub(super) fn exit_check(&self) -> ExitCheck {
        ExitCheck {
            command: self.command.text(),
            instance: self.target.instance().to_owned(),
            allow_failure: self.allow_failure,
        }
    }

    #[track_caller]
    pub(super) fn input(&self) -> Result<Option<Input>> {
        Ok(match &self.stdin {
            Stdin::Null => None,
            Stdin::Bytes(bytes) => Some(Box::new(std::io::Cursor::new(bytes.clone()))),
            Stdin::File(path) => {
                let opened = fs::File::open(path).map_err(|error| file("read", path, &error));
                Some(Box::new(opened.placed()?))
            }
        })
    }
}

/// The standard input of a command.
pub(super) type Input = Box<dyn Read + Send>;

/// Decides if the output of a command is a failure.
pub(super) struct ExitCheck {
    pub(super) command: String,
    pub(super) instance: String,
    pub(super) allow_failure: bool,
}

impl ExitCheck {
    pub(super) fn check(&self, output: Output) -> Result<Output> {
        if self.allow_failure || output.exit.success() {
            return Ok(output);
        }
        let Self {
            command, instance, ..
        } = self;
        let what = format!("run `{command}` on `{instance}`: {}", output.exit);
        let error = TargetError::new(ErrorKind::Exit, what)
            .with_more(&tails(&output.stdout, &output.stderr));
        Err(match output.exit.hint(&output.stderr) {
            Some(hint) => error.with_hint(hint),
            None => error,
        })
    }
}
