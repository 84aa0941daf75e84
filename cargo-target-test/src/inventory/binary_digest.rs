//! The digest of a test binary: the build id of its linker, which needs no reading of the whole file.

use std::path::Path;

use object::{FileKind, Object, ReadCache};

use crate::digest;

/// Returns `build-id:` and the build id, else the digest of the file; `None` if the file cannot be read.
pub fn binary_digest(binary: &Path) -> Option<String> {
    build_id(binary).or_else(|| digest::of_file(binary).ok())
}

fn build_id(binary: &Path) -> Option<String> {
    let cache = ReadCache::new(std::fs::File::open(binary).ok()?);
    FileKind::parse(&cache).ok()?;
    let object = object::File::parse(&cache).ok()?;
    let id = object.build_id().ok()??;
    Some(format!("build-id:{}", digest::hex(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_without_a_build_id_is_read() {
        let this = std::env::current_exe().expect("the test binary");
        let id = binary_digest(&this).expect("a digest");
        let folder = tempfile::tempdir().expect("a folder");
        let copy = folder.path().join("copy");
        std::fs::copy(&this, &copy).expect("copied");
        assert_eq!(binary_digest(&copy), Some(id));
        std::fs::write(&copy, "#!/bin/sh\n").expect("written");
        let digest = binary_digest(&copy).expect("a digest");
        assert!(digest.starts_with("sha256:"), "{digest}");
        assert_eq!(binary_digest(&copy.join("x")), None);
    }
}
