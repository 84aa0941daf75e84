//! Commands side by side on several instances.

use std::{thread, time::Duration};

use super::{
    super::{
        command::Command,
        output::{Output, tails},
    },
    Process, Result,
};
use crate::error::Placed;

/// The pause between two looks at the commands.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs commands side by side, on one or on several instances, and returns their outputs in the same order. If one fails,
/// the others are killed.
///
/// ```no_run
/// # use target_fixtures::{parallel, prelude::*};
/// # fn test(targets: &[Target]) -> Result<()> {
/// let load = targets.iter().map(|target| target.command("stress-ng --cpu 1 -t 10"));
/// let outputs = parallel(load)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The error of the command that failed first, with the last lines of the output of all others.
#[track_caller]
pub fn parallel<'a>(commands: impl IntoIterator<Item = Command<'a>>) -> Result<Vec<Output>> {
    let mut all = Vec::new();
    for command in commands {
        all.push(Member::start(command)?);
    }
    while all.iter().any(|member| member.process.is_some()) {
        for number in 0..all.len() {
            if let Err(error) = all[number].look() {
                all.remove(number);
                let others: String = all.into_iter().map(Member::report).collect();
                return Err(error.with_more(&others).placed());
            }
        }
        thread::sleep(PAUSE);
    }
    Ok(all.into_iter().filter_map(|member| member.output).collect())
}

/// One of the commands.
struct Member {
    /// The command and the instance.
    name: String,
    /// The command while it runs.
    process: Option<Process>,
    /// The output of a command that succeeded.
    output: Option<Output>,
}

impl Member {
    #[track_caller]
    fn start(command: Command<'_>) -> Result<Self> {
        let process = command.spawn()?;
        let check = &process.shared.exit_check;
        Ok(Self {
            name: format!("`{}` on `{}`", check.command, check.instance),
            process: Some(process),
            output: None,
        })
    }

    /// Takes the output of a command that has ended.
    fn look(&mut self) -> Result<()> {
        if let Some(ended) = self.process.take_if(|process| !process.is_running()) {
            self.output = Some(ended.wait()?);
        }
        Ok(())
    }

    /// Kills the command, and returns its name and the end of its output.
    fn report(self) -> String {
        let (how, output) = match self.process {
            Some(process) => ("killed", process.kill().ok()),
            None => ("done", self.output),
        };
        let output = output.map(|output| tails(&output.stdout, &output.stderr));
        format!("\n--- {} ({how}){}", self.name, output.unwrap_or_default())
    }
}
