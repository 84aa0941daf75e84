//! Health checks of instances around a test: their state before it, their state after it, and what is new.
//!
//! Must not know verdicts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use target_fixtures::wire::Exit;
use tokio::task::JoinSet;

use crate::{
    connect::shell,
    error::one_line,
    playbook::{BuiltInCheck, HealthCheck},
    provision::Machine,
    secret::redacted,
};

/// The time limit for all checks of an instance, once before and once after the test.
const LIMIT: Duration = Duration::from_secs(5);
/// The beginning of the line after the output of each check: its number and its exit code follow.
const END: &str = "@@target-test-check ";
/// The maximum number of new lines that a finding shows.
const SHOWN: usize = 3;
/// The command line that prints the path of each core: where the kernel writes them, systemd and others. It fails if the
/// kernel does not tell.
pub(super) const CORES: &str = "IFS= read -r p </proc/sys/kernel/core_pattern || exit 2\n\
     f=${p##*/}\n\
     case $p in /*) ls -d \"${p%/*}/${f%%%*}\"* 2>/dev/null;; esac\n\
     ls -d /var/lib/systemd/coredump/* /var/crash/* 2>/dev/null\n\
     exit 0";
/// The letters of the kernel's taint flags, by bit.
const TAINTS: &[u8] = b"PFSRMBUDAWCIOELKXTN";

/// The state of the instances of a lease, by name.
#[derive(Debug, Default)]
pub(super) struct Health(BTreeMap<String, InstanceHealth>);

/// The lines of each check, in the order of the checks, or the reason that a check could not be made.
type InstanceHealth = Vec<Result<BTreeSet<String>, String>>;

/// The difference between two states.
#[derive(Debug, Default)]
pub(super) struct HealthChange {
    /// New lines, joined to one line per instance and check.
    pub(super) findings: Vec<String>,
    /// The checks that could not be made, each with its name and the reason.
    pub(super) unknown: Vec<(String, String)>,
}

impl Health {
    /// Asks all machines, in parallel, each in one round trip. Without checks, no machine is asked.
    pub(super) async fn of(
        machines: impl Iterator<Item = &Machine>,
        checks: &[HealthCheck],
    ) -> Self {
        let mut asked = JoinSet::new();
        for machine in machines.filter(|_| !checks.is_empty()) {
            let (machine, checks) = (machine.clone(), checks.to_vec());
            asked.spawn(async move {
                let ended = machine.run_within(&script(&checks), Some(LIMIT)).await;
                let health = match ended {
                    Ok(ended) => read(&checks, &String::from_utf8_lossy(&ended.stdout)),
                    Err(error) => vec![Err(one_line(&error.chain())); checks.len()],
                };
                (machine.name().to_owned(), health)
            });
        }
        Self(asked.join_all().await.into_iter().collect())
    }

    /// True if a check of a machine could be made.
    pub(super) fn is_known(&self) -> bool {
        self.0.values().flatten().any(Result::is_ok)
    }

    /// Compares the state with a later one.
    pub(super) fn change(&self, after: &Self, checks: &[HealthCheck]) -> HealthChange {
        let mut change = HealthChange::default();
        for (instance, after) in &after.0 {
            let before = self.0.get(instance).into_iter().flatten();
            for ((check, before), after) in checks.iter().zip(before).zip(after) {
                let name = check.name();
                match (before, after) {
                    (Ok(before), Ok(after)) => {
                        let new: Vec<_> = after.difference(before).map(String::as_str).collect();
                        if !new.is_empty() {
                            let new = shown(&new);
                            let finding = format!("check `{name}` on {instance}: {new}");
                            change.findings.push(redacted(&finding).into_owned());
                        }
                    }
                    (Err(reason), _) | (_, Err(reason)) => {
                        change.unknown.push((name.to_owned(), reason.clone()));
                    }
                }
            }
        }
        change
    }
}

/// Joins the first lines.
fn shown(lines: &[&str]) -> String {
    let more = lines.len().saturating_sub(SHOWN);
    let text = lines[..lines.len() - more].join("; ");
    match more {
        0 => text,
        more => format!("{text}; and {more} more"),
    }
}

/// Returns the command line that makes all checks.
fn script(checks: &[HealthCheck]) -> String {
    let one = |(number, check): (usize, &HealthCheck)| {
        let line = match check {
            HealthCheck::BuiltIn(check) => line(*check),
            HealthCheck::Own(own) => &own.command,
        };
        let line = shell::quote(line);
        format!("sh -c {line} 2>&1 </dev/null; printf '\\n%s%s %s\\n' '{END}' {number} $?\n")
    };
    checks.iter().enumerate().map(one).collect()
}

/// Returns the command line of a check. It prints a line for each thing that may be new after a test, and fails if it cannot
/// tell.
fn line(check: BuiltInCheck) -> &'static str {
    match check {
        BuiltInCheck::Taint => "cat /proc/sys/kernel/tainted",
        BuiltInCheck::Oops => {
            "log=$(dmesg 2>/dev/null || sudo -n dmesg) || exit 2\n\
             printf '%s\\n' \"$log\" | grep -E 'Oops|BUG: |kernel BUG at|general protection fault|Unable to handle kernel|\
             Internal error: |detected stall|blocked for more than'\n\
             exit 0"
        }
        BuiltInCheck::Oom => {
            "log=$(dmesg 2>/dev/null || sudo -n dmesg) || exit 2\n\
             printf '%s\\n' \"$log\" | grep -iE 'out of memory: |oom-kill:'\n\
             exit 0"
        }
        BuiltInCheck::Coredump => CORES,
        BuiltInCheck::FailedUnits => {
            "units=$(systemctl list-units --state=failed --plain --no-legend --no-pager) || exit 2\n\
             printf '%s\\n' \"$units\" | while read -r unit rest; do echo \"$unit\"; done"
        }
    }
}

/// Reads the output of the script.
fn read(checks: &[HealthCheck], output: &str) -> InstanceHealth {
    let unknown = || Err("its output ended early".to_owned());
    let mut health: InstanceHealth = vec![unknown(); checks.len()];
    let mut lines = Vec::new();
    for line in output.lines() {
        let end = line.strip_prefix(END).and_then(|end| end.split_once(' '));
        let end = end.and_then(|(number, code)| {
            Some((number.parse::<usize>().ok()?, code.parse::<i32>().ok()?))
        });
        match end.and_then(|(number, code)| Some((number, checks.get(number)?, code))) {
            Some((number, check, code)) => {
                health[number] = state(check, &std::mem::take(&mut lines), code);
            }
            None if line.trim().is_empty() => {}
            None => lines.push(line),
        }
    }
    health
}

/// Returns the state that a check printed.
fn state(check: &HealthCheck, lines: &[&str], code: i32) -> Result<BTreeSet<String>, String> {
    let texts = || lines.iter().map(|line| (*line).to_owned());
    match check {
        HealthCheck::Own(_) if code != 0 => {
            Ok(texts().chain([Exit::Code(code).to_string()]).collect())
        }
        HealthCheck::BuiltIn(_) if code != 0 => Err(match lines {
            [] => Exit::Code(code).to_string(),
            lines => one_line(&lines.join("\n")),
        }),
        HealthCheck::BuiltIn(BuiltInCheck::Taint) => {
            let flags = lines.first().and_then(|line| line.trim().parse().ok());
            flags.map(taints).ok_or_else(|| "no taint flags".to_owned())
        }
        _ => Ok(texts().collect()),
    }
}

/// Returns a line per taint flag.
fn taints(flags: u64) -> BTreeSet<String> {
    let bits = (0..u64::BITS).filter(|bit| flags >> bit & 1 == 1);
    let name = |bit: u32| match TAINTS.get(bit as usize) {
        Some(letter) => format!("kernel tainted: {} (bit {bit})", char::from(*letter)),
        None => format!("kernel tainted: bit {bit}"),
    };
    bits.map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::OwnCheck;

    fn health(checks: &[HealthCheck], output: &str) -> Health {
        Health([("a-0".to_owned(), read(checks, output))].into())
    }

    #[test]
    fn only_what_is_new_is_found() {
        let own = HealthCheck::Own(OwnCheck {
            name: "disk".to_owned(),
            command: "check-disk".to_owned(),
        });
        let checks = [
            HealthCheck::BuiltIn(BuiltInCheck::Taint),
            HealthCheck::BuiltIn(BuiltInCheck::Oops),
            own,
        ];
        let before = health(
            &checks,
            &format!("4096\n\n{END}0 0\n[ 1.0] BUG: old\n\n{END}1 0\n\n{END}2 0\n"),
        );
        let after = health(
            &checks,
            &format!(
                "4608\n\n{END}0 0\n[ 1.0] BUG: old\n[ 9.0] BUG: new\n\n{END}1 0\nsda: 3 errors\n\n{END}2 4\n"
            ),
        );
        let change = before.change(&after, &checks);
        assert_eq!(
            change.findings,
            [
                "check `taint` on a-0: kernel tainted: W (bit 9)",
                "check `oops` on a-0: [ 9.0] BUG: new",
                "check `disk` on a-0: exit code 4; sda: 3 errors",
            ]
        );
        assert!(change.unknown.is_empty(), "{change:?}");
        assert!(after.change(&before, &checks).findings.is_empty());
    }

    #[test]
    fn a_check_that_cannot_be_made_finds_nothing() {
        let checks = [
            HealthCheck::BuiltIn(BuiltInCheck::Oom),
            HealthCheck::BuiltIn(BuiltInCheck::FailedUnits),
        ];
        let output = format!("dmesg: Operation not permitted\n\n{END}0 2\nssh.serv");
        let before = health(&checks, &output);
        let change = before.change(&before, &checks);
        assert!(change.findings.is_empty());
        let unknown: Vec<_> = change
            .unknown
            .iter()
            .map(|(name, why)| format!("{name}: {why}"))
            .collect();
        assert_eq!(
            unknown,
            [
                "oom: dmesg: Operation not permitted",
                "failed-units: its output ended early"
            ]
        );
    }
}
