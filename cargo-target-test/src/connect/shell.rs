//! Shell scripts that run on instances, and the wrapper that adds markers, environment and folder to a command.
//!
//! No other room assumes a POSIX shell on an instance. Must not know protocols.

use std::fmt::Write as _;

use target_fixtures::{
    env,
    wire::{ShellCommand, Sudo},
};

use crate::error::{Error, Result};

mod channel;
mod facts;
mod file;
mod filter;
mod kept;
mod machine;
mod processes;
mod program;
mod question;
mod tree;

pub(crate) use channel::{close_channel, open_channel, relay_channel};
pub(crate) use facts::{FACTS, SYSTEM, facts};
pub(crate) use file::{
    DANGLING, DIRECTORY, MISSING, READ_ONLY, UNREADABLE, discard, get, hash_of_file, install, look,
    look_in_folder, pack, receive, upload_paths,
};
pub(crate) use filter::Filter;
pub(crate) use kept::{KeptShell, KeptShells, keep};
pub(crate) use machine::{
    BOOT_ID, REBOOT, configure_links, connect_to, connect_to_socket, for_login, goes_down,
    install_packages, invocation, listens, login, mount_share, name_machines, remove,
    remove_temporaries, set_clock, temporary, unpack,
};
use machine::{as_root, as_root_by_password};
pub(crate) use processes::{signal, signalled, sweep};
pub(crate) use program::{missing_libraries, program_place, unpack_program};
pub(crate) use question::{answer, ask, unknown_reason};
pub(crate) use tree::{
    PROBE, check_part, forget_files, forget_folders, keep_view, list_of, make_folders, note_of,
    place_program, probe_folders, run_in_folder, run_in_kept_view, run_in_view, show_list,
    tree_facts, tree_place, unpack_tree,
};

/// The maximum length of a wrapped command in bytes, which must fit into an SSH packet.
const LONGEST: usize = 32_000;
/// The maximum length of an argument on Linux in bytes, without the trailing NUL.
const ARGUMENT: usize = (128 << 10) - 1;

/// The exit code of a script that finds no file or program that can answer.
const UNKNOWN: i32 = 44;

/// A command as it is sent to an instance.
#[derive(Clone, Debug)]
pub(crate) struct WrappedLine {
    /// One line for any login shell.
    pub(crate) line: String,
    /// The nonce in the markers, for the [`Filter`] of the command's streams.
    pub(crate) nonce: String,
    /// The same command as a request for a kept shell; `None` if it must have a login of its own.
    pub(crate) request: Option<Vec<u8>>,
    /// The `sudo` request of the command, if any.
    sudo: Option<Sudo>,
}

/// Wraps a command: start markers, environment, folder, the line in a shell of its own, end markers.
///
/// The login shell may be a POSIX shell, csh or fish: it only runs `exec /bin/sh -c <word>`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the command contains a NUL byte or an invalid variable name, or is
/// too long.
pub(crate) fn wrap(command: &ShellCommand, lease: &str, stdin: bool) -> Result<WrappedLine> {
    check(command, lease)?;
    let nonce = nonce();
    // The wrapper ignores signals to the process group: it must outlive the command to print the end markers. Its own
    // standard error is discarded: shells print the text of a command that a signal killed.
    let mut script = format!(
        r"trap : HUP INT QUIT USR1 USR2 ALRM TERM; printf '\036{nonce}[\036'; exec 9>&2 2>/dev/null; "
    );
    // The group is told once a signal to it ends the command: a subshell has no traps.
    let start = format!(r"printf '\036{nonce}[%s\036' $$ >&2; ");
    let own_line = confirming(&bare(command), &nonce);
    let body = body(command, lease, &in_own_shell(&own_line));
    let _ = match command.sudo {
        None => write!(script, "({start}{body})"),
        Some(_) => write!(
            script,
            "({start}{}{})",
            mark(lease),
            evaluate(&privileged(command, &body))
        ),
    };
    script.push_str(if stdin { "" } else { " </dev/null" });
    let _ = write!(
        script,
        r#" 2>&9 9>&-; printf '\036{nonce}]%s\036' "$?" >&9; printf '\036{nonce}]\036'"#
    );
    if stdin {
        // podman loses the output of a shell that ends before its input does.
        script.push_str("; exec cat >/dev/null 9>&-");
    }
    let line = for_login(&script);
    if line.len() > LONGEST {
        return Err(too_long(line.len(), LONGEST));
    }
    let is_kept = !stdin && !ends_shells(command);
    Ok(WrappedLine {
        line,
        request: is_kept.then(|| request(command, lease, &nonce, own_line)),
        nonce,
        sudo: command.sudo.clone(),
    })
}

/// True if a command ends the shells that are kept: it may change what a login starts with.
pub(crate) fn ends_shells(command: &ShellCommand) -> bool {
    command.sudo.is_some() || command.fresh_login
}

/// Returns the request that runs a command in a kept shell, whose markers, environment and shell are those of [`wrap`].
fn request(command: &ShellCommand, lease: &str, nonce: &str, own_line: String) -> Vec<u8> {
    let mark = (!lease.is_empty()).then_some((env::LEASE, lease));
    let set = command.env.iter().map(|(name, value)| (&**name, &**value));
    let env: Vec<_> = mark.into_iter().chain(set).collect();
    let line = match &command.directory {
        None => own_line,
        Some(directory) => enter(directory) + &in_own_shell(&own_line),
    };
    kept::request((nonce, command.watches_rest), &line, &env)
}

/// Returns the start of a script that continues in a folder.
fn enter(directory: &str) -> String {
    format!("cd -- {} >/dev/null && ", quote(directory))
}

fn too_long(length: usize, most: usize) -> Error {
    let text = format!("command too long: {length} bytes as sent, maximum {most} bytes");
    wrong(text).with_hint("put the command into a file on the instance and run the file")
}

/// Returns the line for a shell whose environment and folder are already those of the command.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the line is too long for an argument.
pub(crate) fn line(command: &ShellCommand, lease: &str) -> Result<String> {
    let line = match command.sudo {
        None => bare(command),
        // `sudo` preserves neither environment nor folder.
        Some(_) => privileged(command, &body(command, lease, &evaluate(&bare(command)))),
    };
    match line.len() <= ARGUMENT {
        true => Ok(line),
        false => Err(too_long(line.len(), ARGUMENT)),
    }
}

/// Sets environment and folder and runs the line.
fn body(command: &ShellCommand, lease: &str, line: &str) -> String {
    let mut body = mark(lease);
    for (name, value) in &command.env {
        let _ = write!(body, "export {name}={}; ", quote(value));
    }
    if let Some(directory) = &command.directory {
        body.push_str(&enter(directory));
    }
    body + line
}

/// Runs a line in a shell that replaces this one, so that `$$` is the command's own process.
fn in_own_shell(line: &str) -> String {
    format!("exec /bin/sh -c {}", quote(line))
}

/// A signal and an exit code above 128 look the same to the wrapper: the shell confirms such an exit code by a marker.
fn confirming(line: &str, nonce: &str) -> String {
    let confirm = format!(r"s=$?; [ $s -le 128 ] || printf '\036{nonce}!%s\036' $s >&2");
    format!("trap {} EXIT; {line}", quote(&confirm))
}

fn bare(command: &ShellCommand) -> String {
    match (command.line.as_str(), command.words.split_first()) {
        (line, None) => line.to_owned(),
        ("", Some((program, arguments))) => invocation(program, arguments),
        (line, Some(_)) => format!("{}; {line}", invocation("set", &parameters(command))),
    }
}

/// Returns the arguments of `set` that make the command's words the positional parameters.
fn parameters(command: &ShellCommand) -> Vec<String> {
    let words = command.words.iter().cloned();
    std::iter::once("--".to_owned()).chain(words).collect()
}

fn mark(lease: &str) -> String {
    match lease {
        "" => String::new(),
        lease => format!("export {}={}; ", env::LEASE, quote(lease)),
    }
}

fn evaluate(line: &str) -> String {
    // The space prevents `eval` from parsing a line that starts with `-` as an option.
    format!("(eval {})", quote(&format!(" {line}")))
}

fn privileged(command: &ShellCommand, body: &str) -> String {
    match super::sudo_password(command) {
        Some(_) => as_root_by_password(body),
        None => as_root(body),
    }
}

/// Checks a command for NUL bytes and invalid variable names.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the command is invalid.
pub(crate) fn check(command: &ShellCommand, lease: &str) -> Result<()> {
    let texts = [Some(&command.line), command.directory.as_ref()];
    let texts = texts.into_iter().flatten().chain(&command.words);
    let mut texts = texts.chain(command.env.values());
    if texts.any(|text| text.contains('\0')) || lease.contains('\0') {
        return Err(wrong("the command contains a NUL byte".to_owned()));
    }
    if let Some(name) = command.env.keys().find(|name| !is_variable(name)) {
        let text = format!("invalid name of an environment variable: `{name}`");
        return Err(wrong(text));
    }
    Ok(())
}

/// Quotes a word for `/bin/sh` on one line. A newline is written as the end of `IFS`, whose initial value is known.
pub(crate) fn quote(text: &str) -> String {
    let body = text.replace('\'', r"'\''").replace('\n', "'\"${IFS#??}\"'");
    format!("'{body}'")
}

/// Quotes a word for sh, csh and fish. Characters that are special inside quotes are written outside, escaped.
fn quote_for_any(text: &str) -> String {
    let mut word = String::with_capacity(text.len() * 5 / 4 + 2);
    word.push('\'');
    for char in text.chars() {
        match char {
            '\'' | '\\' | '!' => word.extend(['\'', '\\', char, '\'']),
            _ => word.push(char),
        }
    }
    word.push('\'');
    word
}

/// Returns the `key=value` lines of a script's output. Empty values are left out.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key, value.trim().trim_matches('"').trim()))
        .filter(|(_, value)| !value.is_empty())
}

fn check_path(path: &str) -> Result<()> {
    if path.contains(['\0', '\n']) {
        return Err(wrong(format!("path contains a NUL or newline: {path:?}")));
    }
    if !path.starts_with('/') {
        return Err(wrong(format!("path is not absolute: `{path}`")));
    }
    Ok(())
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
}

fn wrong(message: String) -> Error {
    Error::usage(message)
}

/// Returns 32 random hexadecimal digits.
pub(crate) fn nonce() -> String {
    use std::hash::{BuildHasher, RandomState};
    let part = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", part(), part())
}

#[cfg(test)]
mod tests;
