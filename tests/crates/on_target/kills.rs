//! Tests that kill more processes than their own.

use std::{fs, process::Command};

/// Kills its process group, in which it does not choose who else is.
#[test]
fn kills_its_group() {
    fs::write("kills.log", "the last words\n").expect("a folder");
    let _ = Command::new("sh").args(["-c", "kill -9 0"]).status();
    unreachable!("it is killed");
}

/// Kills its session, in which are the shells that started it. A process in another session is left.
#[test]
fn kills_its_session() {
    let line = "setsid sleep 86397 </dev/null >/dev/null 2>&1 & exec true";
    let _ = Command::new("sh").args(["-c", line]).status();
    let own = session("self").expect("a session");
    // Ids of processes outside of a container are not known in it.
    assert!(own > 1);
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let names = processes.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_own = |name: &String| name.parse::<u32>().is_ok() && session(name) == Some(own);
    let all: Vec<_> = names.filter(is_own).collect();
    let _ = Command::new("sh")
        .args(["-c", "kill -9 \"$@\"", "sh"])
        .args(all)
        .status();
    unreachable!("it is killed");
}

/// Returns the session of a process, the fourth word after its name.
fn session(pid: &str) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(3)?.parse().ok()
}
