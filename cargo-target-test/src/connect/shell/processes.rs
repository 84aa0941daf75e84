//! Scripts that find, signal and kill the processes of a command or of a lease.
//!
//! Must not start or wait for commands.

use target_fixtures::{env, wire::Exit, wire::ShellCommand};

use super::{WrappedLine, quote};
use crate::{
    connect::CommandOutput,
    error::{Error, Result},
};

/// The exit code of a script that found no process to signal.
const NOBODY: i32 = 45;

/// Returns the shell function `find_marked`, which prints the ids of the processes with a marked line.
///
/// The lines of a process are its arguments and its initial variables. `word` is part of every marked line; `marked` is
/// the `case` pattern of `FILE:LINE`, where `FILE` is `cmdline` or `environ`.
///
/// busybox `grep` stops at the first NUL, so `tr` replaces the NULs. One `head` reads all files: a process for each of
/// them would take seconds. Variables may contain any text, such as a header of `head`, so each file that was found is
/// scanned again on its own.
fn find_marked(word: &str, marked: &str) -> String {
    // Errors of `head` are expected: processes end meanwhile, and those of other users are not readable.
    format!(
        "for c in head tr grep; do command -v $c >/dev/null || {{ echo \"$c not found\" >&2; exit 1; }}; done; \
         [ -r /proc/self/environ ] || {{ echo '/proc is not mounted' >&2; exit 1; }}; \
         scan() {{ LC_ALL=C head -n 99999 /dev/null \"$@\" 2>/dev/null | LC_ALL=C tr '\\000' '\\n' | \
           LC_ALL=C grep -F -e '==> /proc/' -e {word} | while IFS= read -r l; do case $l in \
             '==> /proc/'*' <==') f=${{l#'==> '}}; f=${{f%' <=='}} ;; \
             *) case ${{f##*/}}:$l in {marked}) echo \"$f\" ;; esac ;; esac; done; }}; \
         find_marked() {{ s=' '; for f in $(scan /proc/[0-9]*/cmdline /proc/[0-9]*/environ); do \
           p=${{f#/proc/}}; p=${{p%%/*}}; case $p in *[!0-9]*) continue ;; esac; \
           case $s in *\" $p \"*) continue ;; esac; \
           [ -z \"$(scan /proc/$p/${{f##*/}})\" ] || {{ s=\"$s$p \"; echo $p; }}; done; }}; "
    )
}

/// Returns the command that sends a signal to a wrapped command, with `sudo` if the wrapped command has it; its result
/// is read by [`signalled`].
///
/// The signal goes to the command's process group. If the group is unknown, or if a program between the login shell and
/// the command has created another one, the signal goes to the groups of all processes that have the nonce in their
/// arguments or in their environment. The environment matters if sshd has a `ForceCommand`.
pub(crate) fn signal(wrapped: &WrappedLine, group: Option<u32>, name: &str) -> ShellCommand {
    // The nonce is split so that the script does not find itself.
    let (head, tail) = wrapped.nonce.split_at(wrapped.nonce.len() / 2);
    // Group 1 is excluded: `kill -KILL -1` would signal all processes. `kill -s` and `--` do not work together in busybox,
    // nor `-s` without `--` in dash. A process that leads no group is signalled by itself,
    // so only the error of the second `kill` counts, and only if the process is still there.
    let found = format!(
        "n={head}; n=${{n}}{tail}; {find}hit=; bad=; for p in $(find_marked); do [ $p -gt 1 ] || continue; \
         if kill -{name} -$p 2>/dev/null || kill -{name} $p; then hit=1; elif [ -d /proc/$p ]; then bad=1; fi; \
         done; [ -z \"$bad\" ] || exit 1; [ -n \"$hit\" ] || exit {NOBODY}",
        find = find_marked(head, "*\"$n\"*"),
    );
    let line = match group {
        // Fails if the group is another one.
        Some(group) if group > 1 => {
            format!("kill -{name} -{group} 2>/dev/null || {{ {found}; }}")
        }
        _ => found,
    };
    let sudo = wrapped.sudo.clone();
    ShellCommand {
        line,
        sudo,
        ..ShellCommand::default()
    }
}

/// Returns the result of the command from [`signal`].
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if no process was signalled; `KILL` needs none.
pub(crate) fn signalled(name: &str, ended: CommandOutput) -> Result<()> {
    match ended.exit {
        Exit::Code(NOBODY) if name == "KILL" => Ok(()),
        Exit::Code(NOBODY) => Err(Error::usage("no process of the command is left")),
        _ => ended.accepted().map(drop),
    }
}

/// Returns the script that kills all processes marked with a lease.
///
/// The script fails and prints the remaining process ids to standard error if processes survive. A process is marked by
/// the environment variable, which is [`env::SSH_LEASE`] for what a test's own `ssh` started, or by the `export` in the
/// wrapper's arguments: `/proc` shows the initial environment of a subshell, without exported variables.
pub(crate) fn sweep(lease: &str) -> String {
    // The name is split so that the script does not find itself. Errors of `kill` are expected, since a process may end
    // before; the errors of `sleep` without fractions too.
    format!(
        "n={head}; n=${{n}}{tail}; e=$n={value}; w=\"export $n=\"{export}; {find}\
         i=0; while p=$(find_marked); [ -n \"$p\" ]; do \
           i=$((i+1)); [ $i -le 40 ] || {{ echo $p >&2; exit 1; }}; \
           kill -KILL $p 2>/dev/null; [ $i -eq 1 ] || sleep 0.05 2>/dev/null || sleep 1; \
         done",
        head = &env::LEASE[..6],
        tail = &env::LEASE[6..],
        value = quote(lease),
        export = quote(&quote(lease)),
        find = find_marked(
            "\"$n=\"",
            "environ:\"$e\" | environ:LC_\"$e\" | cmdline:*\"$w\"*"
        ),
    )
}
