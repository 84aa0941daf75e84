//! Scripts that read, write, hash and archive files, and their exit codes.
//!
//! Must not send or receive data.

use super::{check_path, machine::has, nonce, quote, wrong};
use crate::{connect::FileMode, error::Result};

/// The exit code of a script whose file, or the file's folder, does not exist.
pub(crate) const MISSING: i32 = 41;
/// The exit code of a script whose path is a directory.
pub(crate) const DIRECTORY: i32 = 42;
/// The exit code of a script whose file is not readable.
pub(crate) const UNREADABLE: i32 = 43;
/// The exit code of a script whose path is a symbolic link to a missing file.
pub(crate) const DANGLING: i32 = 46;
/// The exit code of a script whose file is not writable.
pub(crate) const READ_ONLY: i32 = 47;

/// A file that is written, and the name of a temporary file in its folder.
pub(crate) struct UploadPaths {
    path: String,
    temporary: String,
}

impl UploadPaths {
    /// Returns the start of each script: sets `p` to the file, at the end of symbolic links, and `t` to the temporary
    /// file.
    fn resolve(&self) -> String {
        format!(
            "p={path}; if [ -L \"$p\" ]; then [ -e \"$p\" ] || exit {DANGLING}; p=$(readlink -f \"$p\") || exit; fi; \
             t=${{p%/*}}/{temporary}; ",
            path = quote(&self.path),
            temporary = self.temporary,
        )
    }
}

/// Chooses the temporary path for a file.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the path is not absolute, ends in `/`, or contains a NUL or
/// newline.
pub(crate) fn upload_paths(path: &str) -> Result<UploadPaths> {
    check_path(path)?;
    match path.rsplit_once('/') {
        Some((_, name)) if !name.is_empty() => Ok(UploadPaths {
            path: path.to_owned(),
            temporary: format!(".target-test-{}", nonce()),
        }),
        _ => Err(wrong(format!("path is a directory: `{path}`"))),
    }
}

/// Returns the script that writes standard input to the temporary file, or in place, and prints its length. The rule is
/// in [`files`](crate::connect::files).
///
/// The sender compares the length: on the instance, a lost connection looks like the end of the input.
pub(crate) fn receive(paths: &UploadPaths) -> String {
    format!(
        "{resolve}[ ! -d \"$p\" ] || exit {DIRECTORY}; [ -d \"${{p%/*}}/\" ] || exit {MISSING}; \
         if [ -e \"$p\" ]; then [ -w \"$p\" ] || exit {READ_ONLY}; fi; \
         if [ -e \"$p\" ] && {{ [ ! -f \"$p\" ] || [ ! -w \"${{p%/*}}/\" ]; }}; then \
           n=$({{ {{ tee \"$p\" || echo failed >&3; }} | wc -c; }} 3>&1); \
           case $n in *failed*) exit 1 ;; esac; echo $n; \
         else umask 077; set -C; cat >\"$t\" && wc -c <\"$t\"; fi",
        resolve = paths.resolve(),
    )
}

/// Returns the script that completes a file that was received: moves the temporary file to its place, or copies it
/// there. The rule is in [`files`](crate::connect::files).
pub(crate) fn install(paths: &UploadPaths, mode: FileMode) -> String {
    let (new, kept, set) = match mode {
        FileMode::New(bits) => (
            format!("{:o}", bits & 0o7777),
            "$3".to_owned(),
            "true".to_owned(),
        ),
        FileMode::Set(bits) => {
            let bits = format!("{:o}", bits & 0o7777);
            (bits.clone(), bits.clone(), format!("chmod {bits} \"$p\""))
        }
    };
    // `ls` shows `+` if a file has an access control list. Errors are expected, and the file is then written in place: the
    // owner of another user's file cannot be kept otherwise, and a mount point refuses the rename. `cp` opens an existing file
    // without `O_CREAT`, which Linux may refuse in `/tmp`. A device keeps its mode.
    format!(
        "{resolve}[ -f \"$t\" ] || {{ [ ! -f \"$p\" ] || {set}; exit; }}; \
         if [ ! -e \"$p\" ]; then chmod {new} \"$t\" && mv -f \"$t\" \"$p\" || {{ rm -f \"$t\"; exit 1; }}; exit; fi; \
         set -- $(stat -c '%h %u:%g %a' \"$p\") \"$(LC_ALL=C ls -ld \"$p\")\"; \
         l=true; [ ! -e /sys/fs/selinux/enforce ] || l='chcon --reference'; \
         keeps() {{ [ \"$1\" = 1 ] || return; case $4 in ??????????+*) return 1 ;; esac; \
           chown \"$2\" \"$t\" && $l \"$p\" \"$t\" && chmod {kept} \"$t\"; }}; \
         if {{ keeps \"$@\" && mv -f \"$t\" \"$p\"; }} 2>/dev/null; then exit; fi; \
         cp \"$t\" \"$p\" && {set}; s=$?; rm -f \"$t\"; exit $s",
        resolve = paths.resolve(),
    )
}

/// Returns the script that deletes the temporary file.
pub(crate) fn discard(paths: &UploadPaths) -> String {
    format!("{}rm -f \"$t\"", paths.resolve())
}

/// Returns the script that prints a file, or exits with [`MISSING`], [`DIRECTORY`] or [`UNREADABLE`].
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the path is invalid.
pub(crate) fn get(path: &str) -> Result<String> {
    check_path(path)?;
    let path = quote(path);
    Ok(format!(
        "[ -d {path} ] && exit {DIRECTORY}; [ -e {path} ] || exit {MISSING}; \
         [ -r {path} ] || exit {UNREADABLE}; exec cat {path}"
    ))
}

/// Returns the script that prints the SHA-256 of a file with this length.
///
/// The script prints nothing if the length differs or if there is no `sha256sum`.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the path is invalid.
pub(crate) fn hash_of_file(path: &str, length: u64) -> Result<String> {
    check_path(path)?;
    let path = quote(path);
    Ok(format!(
        "if [ -f {path} ] && [ \"$(wc -c <{path})\" -eq {length} ] && {has}; then sha256sum <{path}; fi",
        has = has("sha256sum"),
    ))
}

/// Returns the script that reads NUL-terminated paths in a folder, and prints a line `= PATH` for each that exists, and a
/// line of `sha256sum` for each readable file.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the path is invalid.
pub(crate) fn look_in_folder(path: &str) -> Result<String> {
    check_path(path)?;
    let each = quote(&format!(
        "for f; do shift; if [ -e \"$f\" ] || [ -L \"$f\" ]; then printf \"= %s\\n\" \"$f\"; fi; \
         if [ -f \"$f\" ] && [ -r \"$f\" ]; then set -- \"$@\" \"$f\"; fi; done; \
         if [ $# -gt 0 ] && {has}; then sha256sum -- \"$@\"; fi",
        has = has("sha256sum"),
    ));
    // A missing folder has no files. The number limits the time for `set`, which grows with its square.
    Ok(format!(
        "[ -d {path} ] || exit 0; cd -- {path} && exec xargs -0 -n 300 /bin/sh -c {each} sh",
        path = quote(path),
    ))
}

/// Returns the script that prints the line of `ls -l` for a path, or exits with [`MISSING`]. Symbolic links are
/// followed.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the path is invalid.
pub(crate) fn look(path: &str) -> Result<String> {
    check_path(path)?;
    let path = quote(path);
    Ok(format!(
        "[ -e {path} ] || exit {MISSING}; LC_ALL=C exec ls -ldL -- {path}"
    ))
}

/// Returns the script that prints the content of a folder as a tar archive.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the path is invalid.
pub(crate) fn pack(path: &str) -> Result<String> {
    check_path(path)?;
    Ok(format!("cd -- {} && exec tar -c -f - .", quote(path)))
}
