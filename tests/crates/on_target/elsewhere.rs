//! A test that finds its package, and nothing else of the host, on a machine with a file system of its own.

use std::path::Path;

#[test]
fn is_elsewhere() {
    assert!(Path::new(env!("CARGO_MANIFEST_DIR")).exists());
    assert!(!Path::new(concat!(env!("CARGO_MANIFEST_DIR"), ".lock")).exists());
}
