//! One call of one of the user's programs.
//!
//! Sets its environment and its time limit. Must not interpret its answer.

use std::{cell::RefCell, collections::VecDeque, time::Duration};

use serde_json::Value;

use super::{super::end_remains, CommandSpec, answer::request, program::Program};
use crate::{
    error::{Error, ErrorKind, Result},
    process::{self, Finished, Remains, SessionLog},
    secret::{self, Text},
};

/// The variable with the pool's label.
const LABEL: &str = "TARGET_TEST_LABEL";
/// The variable that marks a program and its children: `deploy tt-1f3a9c-12`.
const SCRIPT: &str = "TARGET_TEST_SCRIPT";
/// The number of last lines of standard error in an error.
const LINES: usize = 10;

/// A call to make.
pub(super) struct Script<'a> {
    /// `deploy`, `delete`, `restart`, `renew` or `list`.
    pub(super) action: &'static str,
    pub(super) program: &'a Program,
    pub(super) spec: &'a CommandSpec,
}

impl<'a> Script<'a> {
    pub(super) fn new(action: &'static str, program: &'a Program, spec: &'a CommandSpec) -> Self {
        Self {
            action,
            program,
            spec,
        }
    }

    /// Runs a program whose output does not matter to its end.
    pub(super) fn call(&self, data: Option<&Value>) -> Result<()> {
        let finished = self.run(data, &|_| {})?;
        self.answered(&finished);
        Ok(())
    }

    /// Runs the program to its end; `progress` receives the lines of its standard error.
    ///
    /// # Errors
    /// Fails if a secret cannot be looked up, or if the program cannot be started, exits with a code other than 0, or
    /// exceeds the time limit.
    pub(super) fn run(&self, data: Option<&Value>, progress: &dyn Fn(&str)) -> Result<Finished> {
        let command = self.command()?;
        let bind = |key: &str, text: &Text| self.spec.bound(key, text);
        let params = secret::filled("params", &self.spec.parameters.params, &bind)?;
        let input = format!("{}\n", request(self.action, self.spec, &params, data));
        let last = RefCell::new(VecDeque::new());
        let on_line = |line: &str| {
            progress(line);
            let mut last = last.borrow_mut();
            if last.len() == LINES {
                last.pop_front();
            }
            last.push_back(line.to_owned());
        };
        let mut spawn = process::Spawn::new(command).dies_with_parent().script();
        if let Some(log) = self.log() {
            spawn = spawn.session_in(&log, &tag(self.action, self.spec))?;
        }
        let finished = spawn.run(input.as_bytes(), self.timeout(), &on_line);
        let last = last.take().make_contiguous().join("\n");
        match finished {
            Ok(finished) if finished.status.success() => Ok(finished),
            Ok(finished) => Err(self.failed(&process::ending(finished.status), &last)),
            Err(error) if error.kind() == ErrorKind::Timeout => {
                let limit = humantime::format_duration(self.timeout());
                let problem = format!("did not end within {limit} and was killed");
                let late = self.failed(&problem, &last);
                Err(match self.action {
                    // A delete is tried again, but not after its time limit.
                    "delete" => Error::new(ErrorKind::Timeout, late.to_string())
                        .with_hint("`delete-timeout` sets the time limit"),
                    _ => late.with_hint("`timeout` sets the time limit"),
                })
            }
            Err(error) => Err(self.failed("failed", &last).with_source(error)),
        }
    }

    /// Notes that the program did its work. What it has left running is meant to stay: after a `deploy`, that is the
    /// machine.
    pub(super) fn answered(&self, finished: &Finished) {
        if let Some(log) = self.log() {
            log.end(finished.pid);
        }
    }

    fn timeout(&self) -> Duration {
        match self.action {
            "delete" => self.spec.parameters.delete_timeout.0,
            _ => self.spec.parameters.timeout.0,
        }
    }

    fn log(&self) -> Option<SessionLog> {
        // `list` changes nothing, and is not for an instance.
        self.spec.sessions().filter(|_| self.action != "list")
    }

    /// The error of a failed program: `` `./deploy.sh` for `alpha-0` of target `alpha` exited with code 3: its last
    /// lines ``.
    pub(super) fn failed(&self, problem: &str, last: &str) -> Error {
        let (program, instance) = (self.program, &self.spec.instance);
        let target = match &self.spec.place {
            None => format!(" of target `{}`", self.spec.target),
            Some(_) => String::new(),
        };
        let separator = match last {
            "" => "",
            lines if lines.contains('\n') => ":\n",
            _ => ": ",
        };
        let message = format!("`{program}` for `{instance}`{target} {problem}{separator}{last}");
        Error::infra(message)
    }

    /// Returns the command with the user's environment, the playbook's variables, and of this tool's variables only the
    /// two marks.
    fn command(&self) -> Result<std::process::Command> {
        let command = self.program.command(self.action, self.spec);
        // An error of the playbook in `check`; here the machine is unavailable.
        let infra = |error: Error| Error::infra(error.to_string()).with_hint_of(&error);
        let mut command = command.map_err(infra)?;
        process::remove_own_variables(&mut command);
        let env = self.spec.bound_env(&self.spec.parameters.env);
        command.envs(secret::values(&env)?);
        command.env(LABEL, &self.spec.label);
        command.env(SCRIPT, tag(self.action, self.spec));
        Ok(command)
    }
}

/// Ends what an interrupted call has left, which could still create machines, as [`end_remains`].
pub(super) fn end_interrupted(
    action: &str,
    spec: &CommandSpec,
    notice: &dyn Fn(&str),
) -> Result<()> {
    let tag = tag(action, spec);
    let remains = Remains::of((SCRIPT, &tag), spec.sessions().as_ref());
    let what = format!("the interrupted `{action}`");
    end_remains(remains, &what, &spec.instance, notice)
}

/// True if a call was interrupted, or has not ended.
pub(super) fn is_interrupted(action: &str, spec: &CommandSpec) -> bool {
    let log = spec.sessions();
    log.is_some_and(|log| log.has(&tag(action, spec)))
}

/// The mark on a program and its children.
fn tag(action: &str, spec: &CommandSpec) -> String {
    format!("{action} {}", spec.unique)
}
