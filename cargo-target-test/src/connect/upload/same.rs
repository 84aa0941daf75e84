//! Compares local files with the files of an instance, by SHA-256 and mode.
//!
//! An instance without `sha256sum` counts as empty.

use std::{
    collections::HashMap,
    io::Read,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
};

use sha2::{Digest, Sha256};
use target_fixtures::wire::Exit;

use super::{
    super::{Transport, run},
    CHUNK, shell,
};
use crate::{error::Result, sync};

/// The hashes and modes of the files in a folder of an instance, by relative path.
pub(super) type RemoteFiles = HashMap<Vec<u8>, (String, u32)>;

/// True if `to` has the content of a file of this host. In that case, also sets the mode of `to`.
pub(super) async fn is_file(
    transport: &dyn Transport,
    lease: &str,
    (from, length): (&Path, u64),
    to: &str,
    mode: u32,
) -> Result<bool> {
    let outcome = run(transport, lease, shell::hash_of_file(to, length)?).await?;
    let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
    let Some(theirs) = said.split_whitespace().next() else {
        return Ok(false);
    };
    let from = from.to_owned();
    if theirs != sync::blocking(move || hash_file(&from)).await? {
        return Ok(false);
    }
    let outcome = run(transport, lease, shell::set_mode(to, mode)).await?;
    Ok(outcome.exit == Exit::Code(0))
}

/// Returns the files in a folder of the instance.
pub(super) async fn in_folder(
    transport: &dyn Transport,
    lease: &str,
    to: &str,
) -> Result<RemoteFiles> {
    let outcome = run(transport, lease, shell::hashes_in_folder(to)?).await?;
    Ok(read(&outcome.stdout))
}

/// Parses lines of `sha256sum`, followed by lines of `MODE PATH`.
fn read(text: &[u8]) -> RemoteFiles {
    let mut known = RemoteFiles::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(space) = line.iter().position(|byte| *byte == b' ') else {
            continue;
        };
        let word = String::from_utf8_lossy(&line[..space]).into_owned();
        let rest = &line[space + 1..];
        if word.len() == 64 {
            // `sha256sum` prints a space or a star before the path.
            let path = rest.get(1..).and_then(|path| path.strip_prefix(b"./"));
            known.extend(path.map(|path| (path.to_vec(), (word, 0))));
        } else if let (Ok(mode), Some(path)) =
            (u32::from_str_radix(&word, 8), rest.strip_prefix(b"./"))
            && let Some((_, known)) = known.get_mut(path)
        {
            *known = mode;
        }
    }
    known
}

/// True if the instance has a file with the same path, content and mode.
pub(super) fn is_known(root: &Path, path: &Path, there: &RemoteFiles) -> Result<bool> {
    let Some((theirs, mode)) = there.get(path.as_os_str().as_bytes()) else {
        return Ok(false);
    };
    let file = root.join(path);
    let ours = fs_err::metadata(&file)?.permissions().mode() & 0o7777;
    Ok(ours == *mode && hash_file(&file)? == *theirs)
}

/// Returns the SHA-256 of a file in hexadecimal digits.
pub(crate) fn hash_file(path: &Path) -> Result<String> {
    let (mut file, mut hash) = (fs_err::File::open(path)?, Sha256::new());
    let mut piece = vec![0; CHUNK];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            read => hash.update(&piece[..read]),
        }
    }
    let digits = hash.finalize();
    Ok(digits.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_lines_are_ignored() {
        let hash = "a".repeat(64);
        let text = format!("{hash}  ./a b\n\\{hash}  ./odd\\n\n644 ./a b\n755 ./none\nnoise\n");
        let known = read(text.as_bytes());
        assert_eq!(known, RemoteFiles::from([(b"a b".to_vec(), (hash, 0o644))]));
    }
}
