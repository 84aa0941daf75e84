//! Tests of the wrapper and the scripts with the shells of this machine.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::{Command as Process, Output, Stdio},
};

use target_fixtures::wire::Exit;

use super::*;

mod every_shell;

fn run(shell: &str, line: &str, stdin: &[u8]) -> Output {
    let mut child = Process::new(shell)
        .args(["-c", line])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

/// Runs a command in a login shell and returns standard output, standard error and exit code.
fn through(shell: &str, command: &ShellCommand, stdin: Option<&[u8]>) -> (String, String, Exit) {
    let wrapped = wrap(command, "lease-1", stdin.is_some()).unwrap();
    filtered(
        &wrapped,
        &run(shell, &wrapped.line, stdin.unwrap_or(b"unread")),
    )
}

/// Returns standard output, standard error and exit of a wrapped command.
fn filtered(wrapped: &WrappedLine, output: &Output) -> (String, String, Exit) {
    let mut filter = Filter::new(&wrapped.nonce);
    let texts = [filter.stdout(&output.stdout), filter.stderr(&output.stderr)];
    let [out, err] = texts.map(|text| String::from_utf8(text).unwrap());
    assert!(filter.group().is_some());
    (out, err, filter.exit().unwrap())
}

fn line(line: &str) -> ShellCommand {
    ShellCommand {
        line: line.to_owned(),
        ..ShellCommand::default()
    }
}

fn killing(wrapped: &WrappedLine, group: Option<u32>) -> String {
    signal(wrapped, group, "KILL").line
}

fn shells() -> impl Iterator<Item = &'static str> {
    ["sh", "dash", "bash", "zsh", "fish", "csh", "tcsh", "ksh"]
        .into_iter()
        .filter(|shell| which::which(shell).is_ok())
}

#[test]
fn every_login_shell_gives_the_same_result() {
    let nasty = "a'b\"c\\d\\\\e!f$g`h`i\n\\'j*?~ {k} #l;&|<>(m)\tü";
    for shell in shells() {
        let mut command = line("printf %s \"$NASTY\"; printf '%s' 'x\\!y\nz' >&2; exit 7");
        command.env.insert("NASTY".to_owned(), nasty.to_owned());
        let (out, err, code) = through(shell, &command, None);
        assert_eq!(
            (out.as_str(), err.as_str(), code),
            (nasty, "x\\!y\nz", Exit::Code(7)),
            "{shell}"
        );
    }
}

#[test]
fn environment_folder_and_input() {
    let mut command = line("echo $TARGET_TEST_LEASE $(pwd); cat");
    command.directory = Some("/usr/bin".to_owned());
    let (out, ..) = through("sh", &command, Some(b"in\0put"));
    assert_eq!(out, "lease-1 /usr/bin\nin\0put");
    assert_eq!(through("sh", &line("cat; echo end"), None).0, "end\n");

    command.directory = Some("/no such".to_owned());
    let (out, err, code) = through("sh", &command, None);
    assert_eq!((out.as_str(), code.success()), ("", false));
    assert!(err.contains("/no such"), "{err}");
}

#[test]
fn unusual_lines() {
    for (text, out, code) in [
        ("-n x 2>/dev/null", "", 127),
        ("echo a # b", "a\n", 0),
        ("cat <<E\nhere 'doc'\nE", "here 'doc'\n", 0),
        ("printf '\\036\\000'", "\u{1e}\0", 0),
        ("if 2>/dev/null", "", 2),
        ("exec echo gone", "gone\n", 0),
        ("false", "", 1),
        ("sh -c 'kill -9 $$' 2>/dev/null", "", 137),
    ] {
        let (got, _, exit) = through("sh", &line(text), None);
        assert_eq!((got.as_str(), exit), (out, Exit::Code(code)), "{text}");
    }
}

/// `$$` is the process of the command: signals to it end the command, and its text is not printed.
#[test]
fn signals_to_the_command_hit_it() {
    let signal = |name: &str| Exit::Signal(name.to_owned());
    for shell in ["sh", "dash", "bash", "busybox"] {
        if which::which(shell).is_err() {
            continue;
        }
        for (text, out, exit) in [
            ("echo a; kill -KILL $$; echo b", "a\n", signal("KILL")),
            ("echo a; kill -TERM $$; echo b", "a\n", signal("TERM")),
            ("exec sh -c 'kill -INT $$'", "", signal("INT")),
            (
                "trap 'echo c; exit 3' USR1; kill -USR1 $$",
                "c\n",
                Exit::Code(3),
            ),
            ("trap 'echo d' EXIT; exit 4", "d\n", Exit::Code(4)),
            ("exit 137", "", Exit::Code(137)),
            ("(exit 143)", "", Exit::Code(143)),
            (
                "(sh -c 'kill -9 $$'; exit $?) 2>/dev/null",
                "",
                Exit::Code(137),
            ),
            (
                "echo $(($(cut -d' ' -f1 /proc/self/stat) != $$))",
                "1\n",
                Exit::Code(0),
            ),
        ] {
            let mut command = line(text);
            command.env.insert("TEXT".to_owned(), "a b".to_owned());
            let wrapped = wrap(&command, "lease-1", false).unwrap();
            // The wrapper itself runs in the shell.
            let script = wrapped.line.replace("/bin/sh", shell_path(shell));
            let (got, err, found) = filtered(&wrapped, &run("sh", &script, b"unread"));
            let told = (got.as_str(), err.as_str(), found);
            assert_eq!(told, (out, "", exit), "{shell}: {text}");
        }
    }
}

/// Returns the words that start a shell as `/bin/sh` would.
fn shell_path(shell: &str) -> &str {
    match shell {
        "busybox" => "busybox sh",
        shell => shell,
    }
}

#[test]
fn the_text_of_the_wrapper_is_not_a_marker() {
    let (out, _, code) = through("sh", &line("tr '\\0' ' ' </proc/$$/cmdline"), None);
    assert!(out.contains("036") && code.success(), "{out}");
}

#[test]
fn invalid_commands_and_paths_are_errors() {
    for command in [line("a\0b"), line(&"x".repeat(40_000))] {
        assert_eq!(
            wrap(&command, "", false).unwrap_err().kind(),
            crate::ErrorKind::Usage
        );
    }
    let mut command = line("true");
    command.env.insert("A-B".to_owned(), String::new());
    assert!(
        wrap(&command, "", false)
            .unwrap_err()
            .to_string()
            .contains("`A-B`")
    );
    for path in ["rel", "/a\nb", "/a/"] {
        assert!(upload_paths(path).is_err(), "{path}");
    }
}

/// Returns the arguments of `kill` in a script, whose `kill` only prints them.
fn kill_arguments(script: &str) -> String {
    let script = format!("kill() {{ printf '%s\\n' \"$*\"; }}; {script}");
    String::from_utf8(run("sh", &script, b"").stdout).unwrap()
}

#[test]
fn a_kill_finds_its_own_command_only() {
    let gone = wrap(&line("true"), "x", false).unwrap();
    assert_eq!(kill_arguments(&killing(&gone, None)), "");
    assert_eq!(
        kill_arguments(&killing(&gone, Some(1))),
        "",
        "group 1 means all processes"
    );
    assert_eq!(kill_arguments(&killing(&gone, Some(4711))), "-KILL -4711\n");

    let wrapped = wrap(&line("sleep 1000"), "x", false).unwrap();
    let mut child = Process::new("sh")
        .args(["-c", &wrapped.line])
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    while said.is_empty() {
        said = kill_arguments(&killing(&wrapped, None));
    }
    let group = rustix::process::Pid::from_child(&child);
    // A subshell of the wrapper may have the nonce too, but is in the same group.
    let stray = said.lines().find(|line| {
        let pid = line.trim_start_matches("-KILL -").parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::getpgid(Some(pid)) != Ok(group)
    });
    assert_eq!(stray, None);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    child.wait().unwrap();
    assert!(said.contains(&format!("-KILL -{}\n", child.id())));
}
