//! Scripts that write and read files, and folders as archives.
//!
//! Owns their text and exit codes. Must not know who sends or receives.

use super::{check_path, nonce, quote, wrong};
use crate::error::Result;

/// Exit code of [`get`] and [`receive`]'s scripts: there is no such file or folder.
pub(crate) const MISSING: i32 = 41;
/// Exit code of [`get`] and [`receive`]'s scripts: it is a directory.
pub(crate) const DIRECTORY: i32 = 42;
/// Exit code of [`get`]'s script: it may not be read.
pub(crate) const UNREADABLE: i32 = 43;

/// The names of a file being written: where it goes and the private file beside it.
pub(crate) struct Place {
    path: String,
    temporary: String,
}

/// A place for a file.
///
/// # Errors
/// [`ErrorKind::Usage`] where the path is not absolute, ends in `/`, or has a NUL or newline.
pub(crate) fn place(path: &str) -> Result<Place> {
    check_path(path)?;
    match path.rsplit_once('/') {
        Some((folder, name)) if !name.is_empty() => Ok(Place {
            path: path.to_owned(),
            temporary: format!("{folder}/.target-test-{}", nonce()),
        }),
        _ => Err(wrong(format!("`{path}` names a directory, not a file"))),
    }
}

/// The script that writes standard input to the private file and prints how many bytes it has: a lost
/// connection looks like the end of the input, so only the sender knows whether that is all.
pub(crate) fn receive(place: &Place) -> String {
    let folder = place.temporary.rsplit_once('/').map_or("", |(f, _)| f);
    format!(
        "[ -d {path} ] && exit {DIRECTORY}; [ -d {folder}/ ] || exit {MISSING}; \
         umask 077; set -C; cat >{temporary} && wc -c <{temporary}",
        path = quote(&place.path),
        folder = quote(folder),
        temporary = quote(&place.temporary),
    )
}

/// The script that gives the private file its mode and, atomically, its name.
pub(crate) fn install(place: &Place, mode: u32) -> String {
    let (path, temporary) = (quote(&place.path), quote(&place.temporary));
    format!(
        "chmod {:o} {temporary} && mv -f {temporary} {path} || {{ rm -f {temporary}; exit 1; }}",
        mode & 0o7777
    )
}

/// The script that removes the private file.
pub(crate) fn discard(place: &Place) -> String {
    format!("rm -f {}", quote(&place.temporary))
}

/// The script that prints a file, or exits with [`MISSING`], [`DIRECTORY`] or [`UNREADABLE`].
///
/// # Errors
/// As [`place`].
pub(crate) fn get(path: &str) -> Result<String> {
    check_path(path)?;
    let path = quote(path);
    Ok(format!(
        "[ -d {path} ] && exit {DIRECTORY}; [ -e {path} ] || exit {MISSING}; \
         [ -r {path} ] || exit {UNREADABLE}; exec cat {path}"
    ))
}

/// The script that gives a file its mode.
pub(crate) fn set_mode(path: &str, mode: u32) -> String {
    format!("chmod {:o} -- {}", mode & 0o7777, quote(path))
}

/// The script that prints a file's SHA-256, where the file has this length and the machine can compute it.
///
/// # Errors
/// As [`place`].
pub(crate) fn hash_of_file(path: &str, length: u64) -> Result<String> {
    check_path(path)?;
    let path = quote(path);
    Ok(format!(
        "[ -f {path} ] && [ ! -L {path} ] && [ \"$(wc -c <{path})\" -eq {length} ] && sha256sum <{path} 2>/dev/null; :"
    ))
}

/// The script that prints, for each file in a folder, its SHA-256 and then its mode, each with the path.
///
/// # Errors
/// As [`place`].
pub(crate) fn hashes_in_folder(path: &str) -> Result<String> {
    check_path(path)?;
    Ok(format!(
        "cd -- {} 2>/dev/null && find . -type f -exec sha256sum -- {{}} + 2>/dev/null && \
         find . -type f -exec stat -c '%a %n' -- {{}} + 2>/dev/null; :",
        quote(path)
    ))
}

/// The script that prints what is there as `ls -l` does, of what a symbolic link points to, or exits with [`MISSING`].
///
/// # Errors
/// As [`place`].
pub(crate) fn look(path: &str) -> Result<String> {
    check_path(path)?;
    let path = quote(path);
    Ok(format!(
        "[ -e {path} ] || exit {MISSING}; LC_ALL=C exec ls -ldL -- {path}"
    ))
}

/// The script that prints what is in a folder, as a tar archive.
///
/// # Errors
/// As [`place`].
pub(crate) fn pack(path: &str) -> Result<String> {
    check_path(path)?;
    Ok(format!("cd -- {} && exec tar -c -f - .", quote(path)))
}
