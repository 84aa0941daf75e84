//! Finds processes by an environment variable, which child processes inherit.
//!
//! Must not know what the variables mean.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

/// Kills every process of this user that has this variable in its environment, and their new children.
///
/// Gives up after 2 s. Finds no process on systems without `/proc`.
pub fn kill_marked(name: &str, value: &str) {
    if value.is_empty() {
        // An empty value marks no process of ours.
        return;
    }
    let mark = format!("{name}={value}");
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        let marked: Vec<Pid> = marked(mark.as_bytes()).collect();
        if marked.is_empty() {
            return;
        }
        for pid in marked {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// True if the process has this variable in its environment.
pub fn has_variable(pid: Pid, name: &str) -> bool {
    let prefix = format!("{name}=");
    let environment = std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()));
    let mut all = environment
        .iter()
        .flat_map(|all| all.split(|byte| *byte == 0));
    all.any(|one| one.starts_with(prefix.as_bytes()))
}

/// Returns the values of a variable in all processes whose environment has `other` set to `value`; sorted and unique.
pub fn marked_values(name: &str, (other, value): (&str, &str)) -> Vec<String> {
    let mark = format!("{other}={value}");
    let prefix = format!("{name}=");
    let mut values: Vec<_> = marked(mark.as_bytes())
        .filter_map(|pid| {
            let environment =
                std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
            let mut all = environment.split(|byte| *byte == 0);
            let value = all.find_map(|one| one.strip_prefix(prefix.as_bytes()))?;
            Some(String::from_utf8_lossy(value).into_owned())
        })
        .collect();
    values.sort();
    values.dedup();
    values
}

fn marked(mark: &[u8]) -> impl Iterator<Item = Pid> {
    let own = rustix::process::getpid();
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .filter(move |pid| {
            let environment = std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()));
            *pid != own
                && environment.is_ok_and(|all| all.split(|byte| *byte == 0).any(|one| one == mark))
        })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Spawn,
            tests::{LONG, alive, await_gone, kill, sh},
        },
        *,
    };

    #[test]
    fn marked_processes_are_killed_and_no_others() {
        let mut marked = sh("sleep 1000 & echo $!");
        marked.env("TARGET_TEST_MARK", "a");
        let pid_of = |command| {
            let finished = Spawn::new(command).run(b"", LONG, &|_| {}).unwrap();
            String::from_utf8(finished.stdout)
                .unwrap()
                .trim()
                .to_owned()
        };
        let marked = pid_of(marked);
        let mut other = sh("sleep 1000 & echo $!");
        other.env("TARGET_TEST_MARK", "ab");
        let other = pid_of(other);
        kill_marked("TARGET_TEST_MARK", "a");
        await_gone(&marked);
        assert!(alive(&other));
        kill(&other);
    }
}
