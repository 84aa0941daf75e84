//! What assumes a POSIX shell on the target: the only such file (with its folder).
//!
//! Owns the wrapping of commands (start and end markers, environment, folder) and the scripts that
//! kill, sweep, put and get. Must not know protocols: everything here is text.

use std::fmt::Write as _;

use target_fixtures::{
    env,
    wire::{Command, Sudo},
};

use crate::error::{Error, ErrorKind, Result};

mod file;
mod filter;
mod machine;
mod question;

pub(crate) use file::{
    DIRECTORY, MISSING, UNREADABLE, discard, get, hash_of_file, hashes_in_folder, install, look,
    pack, place, receive, set_mode,
};
pub(crate) use filter::Filter;
use machine::as_root_by_password;
pub(crate) use machine::{
    BOOT_ID, FACTS, as_root, connect_to, for_login, goes_down, install_packages, invocation,
    listens, login, reboot, remove, set_clock, temporary, unpack,
};
pub(crate) use question::{answer, ask, excuse};

/// The longest wrapped command, in bytes: an SSH packet holds no more.
const LONGEST: usize = 32_000;
/// The longest argument of a program on Linux, without the zero at its end.
const ARGUMENT: usize = (128 << 10) - 1;

/// A command as it travels.
#[derive(Clone, Debug)]
pub(crate) struct Wrapped {
    /// One line for the login shell, whichever it is.
    pub(crate) line: String,
    /// What marks this command's streams; gives the [`Filter`] that reads them.
    pub(crate) nonce: String,
    /// Whether what it starts is root's.
    sudo: Option<Sudo>,
}

/// Wraps a command: start markers, environment, folder, the line in a subshell, end markers.
///
/// The login shell may be a POSIX shell, csh or fish: it sees nothing but `exec /bin/sh -c <word>`.
///
/// # Errors
/// [`ErrorKind::Usage`] for NUL bytes, names that are no environment variable, and lines too long.
pub(crate) fn wrap(command: &Command, lease: &str, stdin: bool) -> Result<Wrapped> {
    check(command, lease)?;
    let nonce = nonce();
    // A signal for the group is the command's affair: who is to tell of its end must outlive it.
    let mut script = format!(
        r"trap : HUP INT QUIT USR1 USR2 ALRM TERM; printf '\036{nonce}[\036'; printf '\036{nonce}[%s\036' $$ >&2; "
    );
    let body = body(command, lease);
    let _ = match command.sudo {
        None => write!(script, "{body}"),
        Some(_) => write!(
            script,
            "{}{}",
            mark(lease),
            evaluate(&privileged(command, &body))
        ),
    };
    script.push_str(if stdin { "; " } else { " </dev/null; " });
    let _ = write!(
        script,
        r#"printf '\036{nonce}]%s\036' "$?" >&2; printf '\036{nonce}]\036'"#
    );
    let line = for_login(&script);
    if line.len() > LONGEST {
        return Err(too_long(line.len(), LONGEST));
    }
    let sudo = command.sudo.clone();
    Ok(Wrapped { line, nonce, sudo })
}

fn too_long(length: usize, most: usize) -> Error {
    let text = format!("the command is too long ({length} bytes as sent, at most {most})");
    wrong(text).with_hint("put it into a file on the instance and run that")
}

/// What a command is to a shell that has its environment and folder already.
///
/// # Errors
/// [`ErrorKind::Usage`] for one that is longer than any argument of a program.
pub(crate) fn line(command: &Command, lease: &str) -> Result<String> {
    let line = match command.sudo {
        None => bare(command),
        // `sudo` keeps neither.
        Some(_) => privileged(command, &body(command, lease)),
    };
    match line.len() <= ARGUMENT {
        true => Ok(line),
        false => Err(too_long(line.len(), ARGUMENT)),
    }
}

/// Environment, folder and line.
fn body(command: &Command, lease: &str) -> String {
    let mut body = mark(lease);
    for (name, value) in &command.env {
        let _ = write!(body, "export {name}={}; ", quote(value));
    }
    if let Some(directory) = &command.directory {
        let _ = write!(body, "cd -- {} >/dev/null && ", quote(directory));
    }
    body + &evaluate(&bare(command))
}

fn bare(command: &Command) -> String {
    match (command.line.as_str(), command.words.split_first()) {
        (line, None) => line.to_owned(),
        ("", Some((program, arguments))) => invocation(program, arguments),
        (line, Some(_)) => format!("{}; {line}", invocation("set", &parameters(command))),
    }
}

/// What `set` takes for a line's parameters.
fn parameters(command: &Command) -> Vec<String> {
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
    // The space keeps `eval` from taking a line that starts with `-` for an option.
    format!("(eval {})", quote(&format!(" {line}")))
}

fn privileged(command: &Command, body: &str) -> String {
    let password = command
        .sudo
        .as_ref()
        .and_then(|sudo| sudo.password.as_ref());
    match password {
        Some(_) => as_root_by_password(body),
        None => as_root(body),
    }
}

/// What a transport without a login shell must check too.
///
/// # Errors
/// [`ErrorKind::Usage`], as [`wrap`].
pub(crate) fn check(command: &Command, lease: &str) -> Result<()> {
    let texts = [Some(&command.line), command.directory.as_ref()];
    let texts = texts.into_iter().flatten().chain(&command.words);
    let mut texts = texts.chain(command.env.values());
    if texts.any(|text| text.contains('\0')) || lease.contains('\0') {
        return Err(wrong("the command contains a NUL byte".to_owned()));
    }
    if let Some(name) = command.env.keys().find(|name| !is_variable(name)) {
        return Err(wrong(format!("`{name}` is no environment variable's name")));
    }
    Ok(())
}

/// The command that sends a signal to one wrapped command: to its process group; or, where that is not known yet or not
/// its own (a program stands between the login shell and it), to the groups of whatever processes show its nonce: as an
/// argument, or in the environment that sshd gives to what its `ForceCommand` runs. It is root's where the wrapped one is.
pub(crate) fn signal(wrapped: &Wrapped, group: Option<u32>, name: &str) -> Command {
    // Split, so that the script does not find itself.
    let (head, tail) = wrapped.nonce.split_at(wrapped.nonce.len() / 2);
    // A group 1 would be everything there is: `kill -1`.
    let found = format!(
        "n={head}; n=${{n}}{tail}; \
         for p in $(echo $n | grep -lsF -f - /proc/[0-9]*/cmdline /proc/[0-9]*/environ); do \
         p=${{p#/proc/}}; p=${{p%/*}}; [ $p -gt 1 ] || continue; \
         kill -s {name} -- -$p 2>/dev/null || kill -s {name} $p 2>/dev/null; done; :"
    );
    let line = match group {
        Some(group) if group > 1 => {
            format!("kill -s {name} -- -{group} 2>/dev/null || {{ {found}; }}")
        }
        _ => found,
    };
    let sudo = wrapped.sudo.clone();
    Command {
        line,
        sudo,
        ..Command::default()
    }
}

/// The script that kills every process that carries a lease's mark, until none is left; it fails, naming
/// process ids on standard error, when some stay.
///
/// A mark is the environment variable, or (a subshell has the environment its shell was started with)
/// the wrapper's own `export`.
pub(crate) fn sweep(lease: &str) -> String {
    // The name is split and the patterns come by a pipe, so that the sweep does not find itself.
    format!(
        "n={head}; n=${{n}}{tail}; e=$n={value}; w=\"export $n=\"{export}; \
         find_marked() {{ \
           for f in $(printf '%s\\n' \"$w\" | grep -lsF -f - /proc/[0-9]*/cmdline); do \
             f=${{f#/proc/}}; echo ${{f%/*}}; done; \
           for f in $(printf '%s\\n' \"$e\" | grep -lsF -f - /proc/[0-9]*/environ); do \
             tr '\\000' '\\n' <$f 2>/dev/null | grep -qxF -e \"$e\" && {{ f=${{f#/proc/}}; echo ${{f%/*}}; }}; \
           done; }}; \
         i=0; while p=$(find_marked); [ -n \"$p\" ]; do \
           i=$((i+1)); [ $i -gt 40 ] && {{ echo $p >&2; exit 1; }}; \
           kill -s KILL $p 2>/dev/null; [ $i -gt 1 ] && {{ sleep 0.05 2>/dev/null || sleep 1; }}; \
         done; :",
        head = &env::LEASE[..6],
        tail = &env::LEASE[6..],
        value = quote(lease),
        export = quote(&quote(lease)),
    )
}

/// One word for `/bin/sh`, on one line: `IFS` ends in a newline in every shell that starts.
pub(crate) fn quote(text: &str) -> String {
    let body = text.replace('\'', r"'\''").replace('\n', "'\"${IFS#??}\"'");
    format!("'{body}'")
}

/// One word for sh, csh and fish: what any of them reads inside quotes stands outside, after a backslash.
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

fn check_path(path: &str) -> Result<()> {
    if path.contains(['\0', '\n']) {
        return Err(wrong(format!("{path:?} has a NUL or newline in its name")));
    }
    if !path.starts_with('/') {
        return Err(wrong(format!("`{path}` is no absolute path")));
    }
    Ok(())
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Usage, message)
}

/// 32 hex digits that nothing else on the target has.
fn nonce() -> String {
    use std::hash::{BuildHasher, RandomState};
    let part = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", part(), part())
}

#[cfg(test)]
mod tests;
