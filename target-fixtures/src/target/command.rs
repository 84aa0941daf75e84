//! A command on a target: how it is prepared, and how it is run.
//!
//! Owns the builder and how a failed command is told. Must not know connections.

use std::{fs, io::Read, path::PathBuf, time::Duration};

use super::{
    Result, Target,
    files::file,
    output::{Log, Output, Streams, tails},
    process::{FOREVER, Process},
};
use crate::{
    client::{Call, unexpected},
    error::{ErrorKind, TargetError},
    wire::{self, Password, Reply, Request, Sudo},
};

/// A command to run on a [`Target`]; made by [`Target::command`] and [`Target::program`].
///
/// ```no_run
/// # use target_fixtures::prelude::*;
/// # use std::time::Duration;
/// # fn test(target: &Target) -> Result<()> {
/// let found = target
///     .command("grep -c \"$1\" /var/log/app/*.log")
///     .arg("it's $5 & more") // arrives as it is
///     .env("LC_ALL", "C")
///     .timeout(Duration::from_secs(10))
///     .allow_failure()
///     .run()?;
/// println!("{:?} after {:?}: {}", found.exit, found.duration, found.stdout);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "it runs when `run` or `spawn` is called"]
pub struct Command<'a> {
    pub(super) target: &'a Target,
    pub(super) command: wire::Command,
    pub(super) stdin: Stdin,
    pub(super) allow_failure: bool,
    pub(super) quiet: bool,
    pub(super) keep: usize,
    answers: Vec<(String, String)>,
}

/// Where a command's standard input comes from.
#[derive(Clone)]
pub(super) enum Stdin {
    Null,
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl<'a> Command<'a> {
    pub(super) fn new(target: &'a Target, command: wire::Command) -> Self {
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

    /// Adds an argument, which arrives as it is, whatever is in it: a program's next, or `"$1"`, `"$2"`, ... of a
    /// command line.
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.command.words.push(argument.into());
        self
    }

    /// Adds arguments, as [`arg`](Self::arg).
    pub fn args<T: Into<String>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        let arguments = arguments.into_iter().map(Into::into);
        self.command.words.extend(arguments);
        self
    }

    /// Adds an environment variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.command.env.insert(name.into(), value.into());
        self
    }

    /// Runs in this folder of the instance instead of the login's.
    pub fn current_dir(mut self, directory: impl Into<String>) -> Self {
        self.command.directory = Some(directory.into());
        self
    }

    /// Kills the command's process group after this time.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.command.timeout = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Runs as root: by `sudo` where the login is not root's. It must not ask for a password, unless the target's
    /// `password` in the playbook names one (platform `ssh`) or [`password`](Self::password) has one.
    pub fn sudo(mut self) -> Self {
        self.command.sudo.get_or_insert_default();
        self
    }

    /// Runs as root, as [`sudo`](Self::sudo), which is told this password where it asks. The password is on no command
    /// line, in no file and in no message.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.command.sudo = Some(Sudo {
            password: Some(Password(password.into())),
        });
        self
    }

    /// Gives it these bytes as standard input; without, it reads nothing.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// Gives it a file of this side as standard input.
    pub fn stdin_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.stdin = Stdin::File(path.into());
        self
    }

    /// Answers a question: once `question` stands in what it prints (either stream), it reads `answer` and the end of
    /// a line. Repeated, the questions are expected in this order. Works for programs that read standard
    /// input; there is no terminal.
    pub fn answer(mut self, question: impl Into<String>, answer: impl Into<String>) -> Self {
        self.answers.push((question.into(), answer.into()));
        self
    }

    /// Takes any exit code, or the end by a signal, as an [`Output`] instead of an error.
    pub fn allow_failure(mut self) -> Self {
        self.allow_failure = true;
        self
    }

    /// Keeps command and output out of the test's log, where they are shown line by line otherwise.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Keeps at most so many bytes of each output stream, the last ones; 64 MiB unless stated.
    pub fn keep(mut self, bytes: usize) -> Self {
        self.keep = bytes;
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// [`ErrorKind::Exit`] unless it exits with 0 (or [`allow_failure`](Self::allow_failure)),
    /// [`ErrorKind::Timeout`] after [`timeout`](Self::timeout), [`ErrorKind::File`] when its input cannot be read,
    /// [`ErrorKind::Infra`] when the instance is lost. Each shows the last lines of what was printed until then.
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
                self.judgement().judge(streams.output(exit, millis))
            }
            Ok(other) => Err(unexpected(other)),
            Err(error) => Err(error.with_more(&streams.tails())),
        }
    }

    /// Starts it, and returns at once. It reads what it is [written](Process::write) until that is
    /// [closed](Process::close_stdin), unless it has a [`stdin`](Self::stdin). Any number may run at once (by SSH 256 on an
    /// instance, 32 connections with 8 channels each: what comes beyond waits); one that does not read holds up no other.
    ///
    /// ```no_run
    /// # use target_fixtures::prelude::*;
    /// # use std::time::Duration;
    /// # fn test(target: &Target) -> Result<()> {
    /// let mut server = target.command("iperf3 -s").spawn()?;
    /// server.wait_for_line("listening", Duration::from_secs(5))?;
    /// target.run("iperf3 -c localhost -t 1")?;
    /// server.kill()?; // so does dropping it
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Infra`] when the broker is lost, [`ErrorKind::File`] when its input cannot be read. What becomes of
    /// the command is for [`Process::wait`] to tell.
    pub fn spawn(self) -> Result<Process> {
        Process::start(self)
    }

    fn converse(mut self) -> Result<Output> {
        let answers = std::mem::take(&mut self.answers);
        let mut process = self.spawn()?;
        for (question, answer) in answers {
            process.wait_for_text(&question, FOREVER)?;
            process.write(format!("{answer}\n"))?;
        }
        process.wait()
    }

    pub(super) fn request(&self, stdin: bool) -> Request {
        Request::Exec {
            instance: self.target.instance().to_owned(),
            command: self.command.clone(),
            stdin,
        }
    }

    pub(super) fn log(&self) -> Option<Log> {
        let (instance, text) = (self.target.instance(), self.command.text());
        (!self.quiet).then(|| Log::start(instance, &text))
    }

    pub(super) fn judgement(&self) -> Judgement {
        Judgement {
            command: self.command.text(),
            instance: self.target.instance().to_owned(),
            allow_failure: self.allow_failure,
        }
    }

    pub(super) fn input(&self) -> Result<Option<Input>> {
        Ok(match &self.stdin {
            Stdin::Null => None,
            Stdin::Bytes(bytes) => Some(Box::new(std::io::Cursor::new(bytes.clone()))),
            Stdin::File(path) => {
                let opened = fs::File::open(path).map_err(|error| file("read", path, &error))?;
                Some(Box::new(opened))
            }
        })
    }
}

/// What a command reads.
pub(super) type Input = Box<dyn Read + Send>;

/// What it takes to say whether an output is a failure.
pub(super) struct Judgement {
    pub(super) command: String,
    pub(super) instance: String,
    pub(super) allow_failure: bool,
}

impl Judgement {
    pub(super) fn judge(&self, output: Output) -> Result<Output> {
        if self.allow_failure || output.exit.success() {
            return Ok(output);
        }
        let Self {
            command, instance, ..
        } = self;
        let what = format!("run `{command}` on `{instance}`: {}", output.exit);
        Err(TargetError::new(ErrorKind::Exit, what)
            .with_more(&tails(&output.stdout, &output.stderr)))
    }
}
