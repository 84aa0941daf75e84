//! Finds and kills what programs have left: by an environment variable, which child processes inherit, by their arguments, by
//! their session, and by descent.
//!
//! Must not know what the variables mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use super::{
    sessions::{Session, SessionLog},
    table::{LeftProcess, ProcessEntry, Table},
};

/// The time limit for killed processes to end.
const KILLED: Duration = Duration::from_secs(2);

/// Kills every process that has this variable in its environment, their descendants, and their new children. Returns
/// the processes that still run after 2 s: they belong to other users, or the kernel does not let them end.
///
/// Finds no process on systems without `/proc`.
#[must_use = "what could not be killed still works"]
pub fn kill_marked(name: &str, value: &str) -> Vec<LeftProcess> {
    Remains::of((name, value), None).kill(KILLED, &|_| {})
}

/// As [`kill_marked`], for the processes that have these arguments one after another.
#[must_use = "what could not be killed still works"]
pub fn kill_with_arguments(arguments: &[&str]) -> Vec<LeftProcess> {
    let remains = Remains {
        mark: ProcessMark {
            file: "cmdline",
            text: arguments.join("\0"),
        },
        sessions: Vec::new(),
        known: BTreeMap::new(),
    };
    remains.kill(KILLED, &|_| {})
}

/// The remains of a program on this host: the processes that carry its mark, those of its session if it was cut short, and
/// the descendants of all these.
pub struct Remains {
    mark: ProcessMark,
    sessions: Vec<Session>,
    /// Processes that were found before, with their start times. Their parents may have ended since.
    known: BTreeMap<i32, u64>,
}

impl Remains {
    /// The remains of the programs with this variable in their environment. If they were cut short, `log` has their
    /// sessions, with the variable's value as the tag.
    pub fn of((name, value): (&str, &str), log: Option<&SessionLog>) -> Self {
        // An empty value marks no process of ours.
        let text = match value {
            "" => String::new(),
            value => format!("{name}={value}"),
        };
        Self {
            mark: ProcessMark {
                file: "environ",
                text,
            },
            sessions: log.map_or_else(Vec::new, |log| log.cut_short(value)),
            known: BTreeMap::new(),
        }
    }

    /// Kills them until none is left, for at most `limit`; returns those that still run. `notice` is called once, after
    /// 1 s, with those that could not be killed.
    #[must_use = "what could not be killed still works"]
    pub fn kill(mut self, limit: Duration, notice: &dyn Fn(&[LeftProcess])) -> Vec<LeftProcess> {
        let (started, mut noticed, mut asked) = (Instant::now(), false, BTreeSet::new());
        let mut pause = Duration::from_millis(1);
        loop {
            let found = self.find();
            if found.is_empty() {
                return Vec::new();
            }
            let is_leader = |pid| self.sessions.iter().any(|session| session.id == pid);
            end(&found, is_leader, &mut asked);
            let left = || found.iter().map(LeftProcess::of).collect::<Vec<_>>();
            if started.elapsed() >= limit {
                return left();
            }
            if !noticed && started.elapsed() > Duration::from_secs(1) {
                noticed = true;
                notice(&left());
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    fn find(&mut self) -> Vec<ProcessEntry> {
        let marked = self.mark.find();
        if marked.is_empty() && self.sessions.is_empty() && self.known.is_empty() {
            return Vec::new();
        }
        let table = Table::read();
        let found = table.trees(|process| {
            let known = self.known.get(&process.id());
            marked.contains(&process.pid)
                || known == Some(&process.started)
                || self
                    .sessions
                    .iter()
                    .any(|session| session.contains(process))
        });
        let found: Vec<_> = found.into_iter().cloned().collect();
        let known = found.iter();
        self.known = known
            .map(|process| (process.id(), process.started))
            .collect();
        found
    }
}

/// The text by which processes are found.
struct ProcessMark {
    /// The file in `/proc/PID`, a list of texts that each end with a NUL.
    file: &'static str,
    /// A text of the list, or several; empty if no process has it.
    text: String,
}

impl ProcessMark {
    /// Returns the processes that have it.
    fn find(&self) -> Vec<Pid> {
        if self.text.is_empty() {
            return Vec::new();
        }
        let text = format!("\0{}\0", self.text);
        let is_marked = |list: &[u8]| {
            // A program may have overwritten the last NUL.
            let list = [b"\0", list, b"\0"].concat();
            memchr::memmem::find(&list, text.as_bytes()).is_some()
        };
        let processes = processes_with(self.file);
        let marked = processes.filter_map(|(pid, list)| is_marked(&list).then_some(pid));
        marked.collect()
    }
}

/// Kills a session that this process started and whose leader it has not reaped.
pub(super) fn kill_session(leader: Pid) {
    let id = leader.as_raw_nonzero().get();
    let table = Table::read();
    let found = table.trees(|process| process.session == id);
    let found: Vec<_> = found.into_iter().cloned().collect();
    if end(&found, |pid| pid == id, &mut BTreeSet::new()) {
        // Also those that were started since.
        let _ = rustix::process::kill_process_group(leader, Signal::KILL);
    }
}

/// Kills processes. The parents of a process that cannot be killed, such as `sudo` for its command, get SIGTERM instead,
/// once: `sudo` passes it on, and without its parents the process would not be found again. The leader of a session is
/// killed, since its session remains. Returns true if all could be killed.
fn end(found: &[ProcessEntry], is_leader: impl Fn(i32) -> bool, asked: &mut BTreeSet<i32>) -> bool {
    let parents: BTreeMap<i32, i32> = (found.iter())
        .map(|process| (process.id(), process.parent))
        .collect();
    let (mut kept, mut all) = (BTreeSet::new(), true);
    for process in found {
        let refused = rustix::process::test_kill_process(process.pid);
        let refused = refused == Err(rustix::io::Errno::PERM);
        all &= !refused;
        let mut parent = process.parent;
        while refused
            && let Some(next) = parents.get(&parent)
            && kept.insert(parent)
        {
            parent = *next;
        }
    }
    for process in found {
        let signal = match kept.contains(&process.id()) && !is_leader(process.id()) {
            true if asked.insert(process.id()) => Signal::TERM,
            true => continue,
            false => Signal::KILL,
        };
        // Fails for the processes of other users.
        let _ = rustix::process::kill_process(process.pid, signal);
    }
    all
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

/// Returns the values of these variables in all processes whose environment has the first one, sorted and unique; empty
/// if a process has no such variable.
pub fn variables<const N: usize>(names: [&str; N]) -> Vec<[String; N]> {
    let value = |environment: &[u8], name: &str| {
        let mut all = environment.split(|byte| *byte == 0);
        let value = all.find_map(|one| one.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    let environments = processes_with("environ");
    let mut all: Vec<_> = environments
        .filter(|(_, environment)| value(environment, names[0]).is_some())
        .map(|(_, environment)| names.map(|name| value(&environment, name).unwrap_or_default()))
        .collect();
    all.sort();
    all.dedup();
    all
}

/// The other processes of this host whose file in `/proc/PID` is readable, with its content.
fn processes_with(file: &str) -> impl Iterator<Item = (Pid, Vec<u8>)> {
    let own = rustix::process::getpid();
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .filter(move |pid| *pid != own)
        .filter_map(move |pid| {
            let content = std::fs::read(format!("/proc/{}/{file}", pid.as_raw_nonzero()));
            Some((pid, content.ok()?))
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
        assert!(kill_marked("TARGET_TEST_MARK", "a").is_empty());
        await_gone(&marked);
        assert!(alive(&other));
        let id = std::process::id();
        let (named, longer) = (format!("tt-{id}"), format!("tt-{id}0"));
        let [named_pid, longer_pid] = [&named, &longer].map(|name| {
            let mut command = sh("sh -c 'sleep 1000 & wait' sh -n \"$1\" >/dev/null & echo $!");
            command.args(["sh", name]);
            pid_of(command)
        });
        assert!(kill_with_arguments(&["-n", &named]).is_empty());
        await_gone(&named_pid);
        assert!(alive(&longer_pid));
        assert!(kill_with_arguments(&["-n", &longer]).is_empty());
        kill(&other);
    }
}
