//! Whether content is on an instance already.
//!
//! Owns the comparison, by SHA-256 and mode. An instance that cannot compute it has nothing.

use std::{
    collections::HashMap,
    io::Read,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
};

use sha2::{Digest, Sha256};
use target_fixtures::wire::Exit;

use super::{super::Transport, CHUNK, own_command, shell};
use crate::error::{Error, ErrorKind, Result};

/// Hashes and modes of the files in a folder of an instance, by relative path.
pub(super) type Known = HashMap<Vec<u8>, (String, u32)>;

/// Whether a file of this host is at `to`, which then gets its mode too.
pub(super) async fn is_file(
    transport: &dyn Transport,
    lease: &str,
    (from, length): (&Path, u64),
    to: &str,
    mode: u32,
) -> Result<bool> {
    let asked = own_command(shell::hash_of_file(to, length)?, None);
    let outcome = transport.exec(&asked, lease, None).finished().await?;
    let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
    let Some(theirs) = said.split_whitespace().next() else {
        return Ok(false);
    };
    let from = from.to_owned();
    let ours = tokio::task::spawn_blocking(move || hash(&from)).await;
    let ours = ours.unwrap_or_else(|error| Err(Error::new(ErrorKind::Other, error.to_string())))?;
    if theirs != ours {
        return Ok(false);
    }
    let command = own_command(shell::set_mode(to, mode), None);
    let outcome = transport.exec(&command, lease, None).finished().await?;
    Ok(outcome.exit == Exit::Code(0))
}

/// What is in a folder of the instance.
pub(super) async fn in_folder(transport: &dyn Transport, lease: &str, to: &str) -> Result<Known> {
    let asked = own_command(shell::hashes_in_folder(to)?, None);
    let outcome = transport.exec(&asked, lease, None).finished().await?;
    Ok(read(&outcome.stdout))
}

/// Lines of `sha256sum`, then lines of `MODE PATH`.
fn read(text: &[u8]) -> Known {
    let mut known = Known::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(space) = line.iter().position(|byte| *byte == b' ') else {
            continue;
        };
        let word = String::from_utf8_lossy(&line[..space]).into_owned();
        let rest = &line[space + 1..];
        if word.len() == 64 {
            // A space or a star, then `./` and the path.
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

/// Whether a file of a folder is known with this content and mode.
pub(super) fn is_known(root: &Path, path: &Path, there: &Known) -> Result<bool> {
    let Some((theirs, mode)) = there.get(path.as_os_str().as_bytes()) else {
        return Ok(false);
    };
    let file = root.join(path);
    let ours = fs_err::metadata(&file)?.permissions().mode() & 0o7777;
    Ok(ours == *mode && hash(&file)? == *theirs)
}

/// SHA-256, in hexadecimal digits.
fn hash(path: &Path) -> Result<String> {
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
    fn what_is_told_in_another_way_is_not_known() {
        let hash = "a".repeat(64);
        let text = format!("{hash}  ./a b\n\\{hash}  ./odd\\n\n644 ./a b\n755 ./none\nnoise\n");
        let known = read(text.as_bytes());
        assert_eq!(known, Known::from([(b"a b".to_vec(), (hash, 0o644))]));
    }
}
