//! Scripts that read, write, hash and archive files, and their exit codes.
//!
//! Must not send or receive data.

use super::{check_path, machine::has, nonce, quote, wrong};
use crate::error::Result;

/// The exit code of a script whose file, or the file's folder, does not exist.
pub(crate) const MISSING: i32 = 41;
/// The exit code of a script whose path is a directory.
pub(crate) const DIRECTORY: i32 = 42;
/// The exit code of a script whose file is not readable.
pub(crate) const UNREADABLE: i32 = 43;

/// The paths of a file that is written: its own, and that of a temporary file in the same folder.
pub(crate) struct UploadPaths {
    path: String,
    temporary: String,
}

/// Chooses the temporary path for a file.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the path is not absolute, ends in `/`, or contains a NUL or
/// newline.
pub(crate) fn upload_paths(path: &str) -> Result<UploadPaths> {
    check_path(path)?;
    match path.rsplit_once('/') {
        Some((folder, name)) if !name.is_empty() => Ok(UploadPaths {
            path: path.to_owned(),
            temporary: format!("{folder}/.target-test-{}", nonce()),
        }),
        _ => Err(wrong(format!("path is a directory: `{path}`"))),
    }
}

/// Returns the script that writes standard input to the temporary file and prints its length.
///
/// The sender compares the length: on the instance, a lost connection looks like the end of the input.
pub(crate) fn receive(paths: &UploadPaths) -> String {
    let folder = paths.temporary.rsplit_once('/').map_or("", |(f, _)| f);
    format!(
        "[ -d {path} ] && exit {DIRECTORY}; [ -d {folder}/ ] || exit {MISSING}; \
         umask 077; set -C; cat >{temporary} && wc -c <{temporary}",
        path = quote(&paths.path),
        folder = quote(folder),
        temporary = quote(&paths.temporary),
    )
}

/// Returns the script that sets the mode of the temporary file and renames it atomically.
pub(crate) fn install(paths: &UploadPaths, mode: u32) -> String {
    let (path, temporary) = (quote(&paths.path), quote(&paths.temporary));
    format!(
        "chmod {:o} {temporary} && mv -f {temporary} {path} || {{ rm -f {temporary}; exit 1; }}",
        mode & 0o7777
    )
}

/// Returns the script that deletes the temporary file.
pub(crate) fn discard(paths: &UploadPaths) -> String {
    format!("rm -f {}", quote(&paths.temporary))
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

/// Returns the script that sets the mode of a file.
pub(crate) fn set_mode(path: &str, mode: u32) -> String {
    format!("chmod {:o} -- {}", mode & 0o7777, quote(path))
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
        "if [ -f {path} ] && [ ! -L {path} ] && [ \"$(wc -c <{path})\" -eq {length} ] && {has}; then sha256sum <{path}; fi",
        has = has("sha256sum"),
    ))
}

/// Returns the script that prints the SHA-256 and then the mode of each file in a folder, each with the path. Unreadable
/// files are left out.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the path is invalid.
pub(crate) fn hashes_in_folder(path: &str) -> Result<String> {
    check_path(path)?;
    Ok(format!(
        "if [ -d {path} ] && {has}; then cd -- {path} || exit; \
         find . -type f -exec sha256sum -- {{}} +; find . -type f -exec stat -c '%a %n' -- {{}} +; fi",
        path = quote(path),
        has = has("sha256sum"),
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
