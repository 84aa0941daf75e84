//! Digests of files and texts, as hexadecimal text.
//!
//! Must not know what the content means.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use sha2::{Digest, Sha256};

/// The size in bytes up to which all of a file is read.
const WHOLE: u64 = 2 << 20;
/// The number of samples of a larger file.
const SAMPLES: u64 = 32;
/// The size of a sample in bytes.
const SAMPLE: u64 = 64 << 10;

/// Returns bytes as hexadecimal digits.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    let digits = bytes.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// Returns the digest of a file: `sha256:` and the digest of all of it, or of a file above 2 MiB `sampled:` and the
/// digest of its length and of 32 parts of it, since a disk image may be larger than what can be read in a moment.
///
/// # Errors
/// If the file cannot be read.
pub(crate) fn of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let (mut hasher, mut part) = (Sha256::new(), Vec::new());
    if length <= WHOLE {
        (&file).take(WHOLE).read_to_end(&mut part)?;
        hasher.update(&part);
        return Ok(format!("sha256:{}", hex(hasher.finalize())));
    }
    hasher.update(length.to_le_bytes());
    for sample in 0..SAMPLES {
        // The last sample ends where the file ends.
        let start = u128::from(length - SAMPLE) * u128::from(sample) / u128::from(SAMPLES - 1);
        file.seek(SeekFrom::Start(u64::try_from(start).unwrap_or_default()))?;
        part.clear();
        (&file).take(SAMPLE).read_to_end(&mut part)?;
        hasher.update(&part);
    }
    Ok(format!("sampled:{}", hex(hasher.finalize())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn small_files_are_read_whole_and_large_ones_at_both_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        std::fs::write(&path, "abc").unwrap();
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_file(&path).unwrap(), abc);
        let file = File::create(&path).unwrap();
        file.set_len(WHOLE + 1).unwrap();
        let empty = of_file(&path).unwrap();
        assert!(empty.starts_with("sampled:"), "{empty}");
        for end in [0, WHOLE] {
            file.write_at(b"x", end).unwrap();
            assert_ne!(of_file(&path).unwrap(), empty, "{end}");
            file.write_at(b"\0", end).unwrap();
        }
        file.set_len(WHOLE + 2).unwrap();
        assert_ne!(of_file(&path).unwrap(), empty);
    }
}
