//! Compares local files with the files of an instance, by SHA-256.
//!
//! Without `sha256sum` on the instance, all files differ.

use std::{collections::HashMap, io::Read, os::unix::ffi::OsStrExt, path::Path};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{CHUNK, Transfer, own_command, shell};
use crate::{error::Result, sync};

/// The files that exist in a folder of an instance, by relative path, with the hashes of readable files.
pub(super) type RemoteFiles = HashMap<Vec<u8>, Option<String>>;

impl Transfer {
    /// True if `to` has the content of a file of this host.
    pub(super) async fn is_file(&self, from: &Path, length: u64, to: &str) -> Result<bool> {
        let outcome = self.run(shell::hash_of_file(to, length)?).await?;
        let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
        let Some(theirs) = said.split_whitespace().next() else {
            return Ok(false);
        };
        let from = from.to_owned();
        Ok(theirs == sync::blocking(move || hash_file(&from)).await?)
    }

    /// Returns those of the relative paths that exist in a folder of the instance.
    ///
    /// Paths with a newline, which no script can be given, count as missing.
    pub(super) async fn in_folder(
        &self,
        to: &str,
        paths: impl Iterator<Item = &Path>,
    ) -> Result<RemoteFiles> {
        let command = own_command(shell::look_in_folder(to)?, None);
        let mut names = Vec::new();
        for path in paths.map(|path| path.as_os_str().as_bytes()) {
            if !path.contains(&b'\n') {
                names.extend([b"./", path, b"\0"].concat());
            }
        }
        if names.is_empty() {
            return Ok(RemoteFiles::new());
        }
        let (send, stdin) = mpsc::channel(1);
        let running = self
            .transport
            .exec(&command, &self.lease, Some(stdin))
            .finished();
        let feed = async move {
            for chunk in names.chunks(CHUNK) {
                // Fails if the script has ended, whose result counts.
                let _ = send.send(chunk.to_vec()).await;
            }
        };
        let (outcome, ()) = tokio::join!(running, feed);
        let outcome = outcome?.success(&format!("failed to list `{to}`"))?;
        Ok(read(&outcome.stdout))
    }
}

/// Parses lines `= ./PATH` and lines of `sha256sum`.
fn read(text: &[u8]) -> RemoteFiles {
    let mut known = RemoteFiles::new();
    for line in text.split(|byte| *byte == b'\n') {
        if let Some(path) = line.strip_prefix(b"= ./") {
            known.entry(path.to_vec()).or_default();
        } else if let Some((hash, rest)) = line.split_at_checked(64)
            // `sha256sum` prints a space, and then a space or a star before the path.
            && let Some(path) = rest.get(2..).and_then(|rest| rest.strip_prefix(b"./"))
        {
            let hash = String::from_utf8_lossy(hash).into_owned();
            known.insert(path.to_vec(), Some(hash));
        }
    }
    known
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
        let text = format!("= ./a b\n= ./fifo\n{hash}  ./a b\n\\{hash}  ./odd\\n\nnoise\n");
        let known = read(text.as_bytes());
        assert_eq!(
            known,
            RemoteFiles::from([(b"a b".to_vec(), Some(hash)), (b"fifo".to_vec(), None)])
        );
    }
}
