//! The scripts that find the place of a program on an instance, and that check the program there.
//!
//! Must not send the program.

use super::{check_path, machine::has, quote};
use crate::error::Result;

/// The number of contents of one program that are kept on an instance.
const KEPT: usize = 3;

/// Returns the script that prints one character and the absolute path of a program with this hash: `+` if the program is
/// there, `z` if it can be sent compressed, for [`unpack_program`], `-` if not. The oldest versions of a program with this
/// name are deleted.
///
/// The folder is in `TMPDIR`, which platform `local` deletes with the instance, or in `/tmp`; in `/var/tmp` or `~/.cache`
/// if no program can be written and started there, or if less than `room` bytes are free. It is private. If another user took
/// its name, one with a random name is created and found again.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the name is invalid.
pub(crate) fn program_place(program: (&str, &str, u64), room: u64) -> Result<String> {
    place(program, room, "")
}

/// As [`program_place`]. The commands `then`, which end with `; `, run after the answer; `d` is the folder.
pub(super) fn place(
    (name, hash, size): (&str, &str, u64),
    room: u64,
    then: &str,
) -> Result<String> {
    check_path(&format!("/{name}"))?;
    let (name, hash) = (quote(name), quote(hash));
    Ok(format!(
        "b=${{TMPDIR:-/tmp}}; c=${{HOME:-/}}/.cache; full=; \
         for b in \"$b\" /var/tmp \"$c\"; do \
         [ \"$b\" != \"$c\" ] || mkdir -p \"$b\" 2>/dev/null; \
         n=$(cd -P \"$b\" 2>/dev/null && pwd -P) || continue; n=${{n%/}}/target-test-programs-$(id -u); d=; \
         [ -e \"$n\" ] || [ -L \"$n\" ] || mkdir -m 700 \"$n\" 2>/dev/null; \
         for f in \"$n\" \"$n\"-*; do \
         if [ -d \"$f\" ] && (cd -P \"$f\" && [ -O . ] && [ \"$(pwd -P)\" = \"$f\" ]) 2>/dev/null; then d=$f; break; fi; done; \
         [ -n \"$d\" ] || d=$(mktemp -d \"$n-XXXXXX\" 2>/dev/null) || continue; \
         p=$d/{hash}/{name}; \
         if [ -x \"$p\" ] && [ -n \"$(find \"$p\" -size {size}c)\" ]; then touch \"$p\"; echo \"+$p\"; {then}exit 0; fi; \
         ls -td \"$d\"/*/{name} 2>/dev/null | tail -n +{KEPT} | while read -r f; do rm -rf -- \"${{f%/*}}\"; done; \
         {has_room} || {{ full=\"$full; $b: $k KiB free, $r KiB needed\"; continue; }}; \
         t=$d/try.$$; (umask 077; printf '#!/bin/sh\\n' >\"$t\" && chmod 700 \"$t\" && \"$t\") 2>/dev/null; s=$?; rm -f \"$t\"; \
         [ $s = 0 ] || continue; \
         mkdir -p \"$d/\"{hash} || continue; \
         if {has}; then echo \"z$p\"; else echo \"-$p\"; fi; {then}exit 0; done; \
         echo \"no program can be written and started in ${{TMPDIR:-/tmp}}, /var/tmp or $c$full\" >&2; exit 1",
        has_room = has_room("\"$d\"", room),
        has = has("gzip"),
    ))
}

/// Returns the condition that a folder, a word of the shell, has room for so many bytes. Sets `k` to its free KiB, and `r` to those
/// needed.
pub(super) fn has_room(folder: &str, room: u64) -> String {
    // A file system without a size, such as ramfs, is never full.
    format!(
        "{{ r={room}; k=$(df -Pk {folder} 2>/dev/null | {{ read -r _; read -r _ s _ k _; [ \"$s\" = 0 ] || echo \"$k\"; }}); \
         case $k in '' | *[!0-9]*) k=$r ;; esac; [ \"$k\" -ge $r ]; }}",
        room = room.div_ceil(1024),
    )
}

/// Returns the script that unpacks the compressed program `PATH.gz`. It succeeds if the program is there at the end: two
/// senders of one program use the same names, and the first one removes the compressed file.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the path is invalid.
pub(crate) fn unpack_program(path: &str) -> Result<String> {
    check_path(path)?;
    Ok(format!(
        "p={path}; t=$p.$$; umask 077; gzip -dc <\"$p.gz\" >\"$t\" && chmod 755 \"$t\" && mv -f \"$t\" \"$p\"; \
         rm -f \"$t\" \"$p.gz\"; [ -x \"$p\" ]",
        path = quote(path),
    ))
}

/// Returns the script that has this dynamic loader of glibc look for the libraries of a program, without starting it.
/// Prints that the loader is missing, or the loader's lines about what is missing, and ends as the loader does.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the path is invalid.
pub(crate) fn missing_libraries(path: &str, loader: &str) -> Result<String> {
    check_path(path)?;
    Ok(format!(
        "[ -e {at} ] || {{ echo {missing}; exit 1; }}; o=$(LD_TRACE_LOADED_OBJECTS=1 {path} 2>&1); s=$?; printf '%s\\n' \"$o\" | grep 'not found'; exit $s",
        at = quote(loader),
        missing = quote(&format!("dynamic loader `{loader}` not found")),
        path = quote(path),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_sender_has_unpacked_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("kvd");
        let unpack = || {
            let script = unpack_program(program.to_str().unwrap()).unwrap();
            let mut shell = crate::process::command("sh");
            let output = shell.args(["-c", &script]).output().unwrap();
            output.status.success()
        };
        let packed = folder.path().join("kvd.gz");
        std::fs::write(&packed, "no archive").unwrap();
        assert!(!unpack());
        assert!(!program.exists() && !packed.exists());
        let pack = format!("echo text | gzip >{}", quote(packed.to_str().unwrap()));
        let packs = crate::process::command("sh").args(["-c", &pack]).status();
        assert!(packs.unwrap().success());
        assert!(unpack());
        assert!(unpack());
        assert_eq!(std::fs::read_to_string(&program).unwrap(), "text\n");
    }
}
