//! One call of one of the user's programs.
//!
//! Owns its environment, its limits and the error when it fails. Must not know what its answer means.

use std::{cell::RefCell, collections::VecDeque, time::Duration};

use serde_json::{Map, Value};

use super::{
    super::{
        Order,
        parameters::{self, Env},
    },
    answer::Request,
    program::Program,
};
use crate::{
    error::{Error, ErrorKind, Result},
    process::{self, Finished},
    secret::{self, Text},
};

/// In the environment of every program: the pool's label.
const LABEL: &str = "TARGET_TEST_LABEL";
/// In the environment of every program and all that it starts: `deploy tt-1f3a9c-12`.
const SCRIPT: &str = "TARGET_TEST_SCRIPT";
/// How many of the last lines of standard error an error repeats.
const LINES: usize = 10;

/// A call to make.
pub(super) struct Script<'a> {
    /// `deploy`, `delete` or `restart`.
    pub(super) action: &'static str,
    pub(super) program: &'a Program,
    pub(super) order: &'a Order,
    pub(super) timeout: Duration,
    /// What it is told, references and all.
    pub(super) params: &'a Map<String, Value>,
    /// What it finds in its environment.
    pub(super) env: &'a Env,
}

impl Script<'_> {
    /// Runs the program to its end; `progress` sees what it prints to standard error.
    ///
    /// # Errors
    /// When a secret of its cannot be had, it cannot be started, ends with another exit code than 0 or does not end in time.
    pub(super) fn run(&self, data: Option<&Value>, progress: &dyn Fn(&str)) -> Result<Finished> {
        let command = self.command()?;
        let bind = |key: &str, text: &Text| parameters::bound(self.order, key, text);
        let params = secret::filled("params", self.params, &bind)?;
        let input = Request::new(self.action, self.order, &params, data).json();
        let last = RefCell::new(VecDeque::new());
        let on_line = |line: &str| {
            progress(line);
            let mut last = last.borrow_mut();
            if last.len() == LINES {
                last.pop_front();
            }
            last.push_back(line.to_owned());
        };
        let finished = process::Spawn::new(command)
            .dies_with_parent()
            .script()
            .run(&input, self.timeout, &on_line);
        let last = last.take().make_contiguous().join("\n");
        match finished {
            Ok(finished) if finished.status.success() => Ok(finished),
            Ok(finished) => Err(self.failed(&process::ending(finished.status), &last)),
            Err(error) if error.kind() == ErrorKind::Timeout => {
                let limit = humantime::format_duration(self.timeout);
                let problem = format!("did not end within {limit} and was killed");
                let delete = if self.action == "delete" {
                    "delete-"
                } else {
                    ""
                };
                let hint = format!("`{delete}timeout` sets how long it may take");
                Err(self.failed(&problem, &last).with_hint(hint))
            }
            Err(error) => Err(self.failed("could not be run", "").with_source(error)),
        }
    }

    /// What went wrong with the program:
    /// `` `./deploy.sh` for `alpha-0` of target `alpha` exited with code 3: its last words ``.
    pub(super) fn failed(&self, problem: &str, last: &str) -> Error {
        let (program, instance, target) = (self.program, &self.order.instance, &self.order.target);
        let separator = match last {
            "" => "",
            lines if lines.contains('\n') => ":\n",
            _ => ": ",
        };
        let message =
            format!("`{program}` for `{instance}` of target `{target}` {problem}{separator}{last}");
        Error::new(ErrorKind::Infra, message)
    }

    /// The program, in the user's environment its own variables, and of ours only the two marks.
    fn command(&self) -> Result<std::process::Command> {
        let command = self.program.command(self.action, self.order);
        // Seen by `check` it is the playbook that is wrong; now it is a machine that is not to be had.
        let mut command = command.map_err(|error| {
            let infra = Error::new(ErrorKind::Infra, error.to_string());
            match error.hint() {
                Some(hint) => infra.with_hint(hint),
                None => infra,
            }
        })?;
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TARGET_TEST_") {
                command.env_remove(name);
            }
        }
        let env = parameters::bound_env(self.order, self.env);
        command.envs(parameters::values(&env)?);
        command.env(LABEL, &self.order.label);
        command.env(SCRIPT, format!("{} {}", self.action, self.order.unique));
        Ok(command)
    }
}

/// Kills what an interrupted call (this process or an earlier one was killed) still runs, lest it
/// makes machines behind our back.
pub(super) fn kill_interrupted(action: &str, order: &Order) {
    process::kill_marked(SCRIPT, &format!("{action} {}", order.unique));
}
