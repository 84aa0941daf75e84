//! Resolves paths in a playbook, and digests the files they name: names, permission bits, content and link targets.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Component, Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{definition::short_hash, recipe::StepSource, scenario::matches};

/// Resolves a path: `~/` is the home folder, other relative paths start at `directory`.
pub(crate) fn resolve(directory: &Path, written: &Path) -> PathBuf {
    match (written.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => directory.join(written),
    }
}

/// Returns a path without `..`, so that files have one path on a machine. Links are not followed: tests name files by the
/// links that lead to them.
pub(crate) fn without_parents(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

/// True if a pattern excludes a path in a folder: one without `/` by the path's name, another one by the path.
pub(crate) fn is_excluded(exclude: &[String], inside: &Path) -> bool {
    let text = |text: Option<&OsStr>| text.unwrap_or_default().to_string_lossy().into_owned();
    let (name, path) = (text(inside.file_name()), text(Some(inside.as_os_str())));
    exclude.iter().any(|pattern| {
        let rooted = pattern.trim_end_matches('/');
        match rooted.contains('/') {
            true => matches(
                rooted.trim_start_matches("./").trim_start_matches('/'),
                &path,
            ),
            false => matches(rooted, &name),
        }
    })
}

/// Returns a digest of files and folders. Instead of an unreadable file, its error is part of the digest.
pub(super) fn digest(directory: &Path, written: &[StepSource<'_>]) -> String {
    let mut hasher = Sha256::new();
    for StepSource { path, exclude } in written {
        let root = resolve(directory, path);
        if let Err(error) = add(&mut hasher, &root, Path::new(""), exclude) {
            part(&mut hasher, b"error", error.to_string().as_bytes());
        }
    }
    short_hash(hasher)
}

fn add(hasher: &mut Sha256, root: &Path, inside: &Path, exclude: &[String]) -> io::Result<()> {
    let path = match inside.as_os_str().is_empty() {
        true => root.to_owned(),
        false => root.join(inside),
    };
    // Follow a link that the playbook names, but not links inside a folder.
    let metadata = match inside.as_os_str().is_empty() {
        true => fs::metadata(root)?,
        false => fs::symlink_metadata(&path)?,
    };
    part(hasher, b"name", inside.as_os_str().as_bytes());
    part(
        hasher,
        b"mode",
        &metadata.permissions().mode().to_le_bytes(),
    );
    if metadata.is_symlink() {
        part(
            hasher,
            b"link",
            fs::read_link(&path)?.as_os_str().as_bytes(),
        );
    } else if metadata.is_dir() {
        let entries = fs::read_dir(&path)?;
        let mut names = entries
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        let paths = names.iter().map(|name| inside.join(name));
        for path in paths.filter(|path| !is_excluded(exclude, path)) {
            add(hasher, root, &path, exclude)?;
        }
    } else if metadata.is_file() {
        part(hasher, b"bytes", &metadata.len().to_le_bytes());
        let mut file = fs::File::open(&path)?;
        let mut bytes = vec![0; 64 << 10];
        loop {
            match file.read(&mut bytes)? {
                0 => break,
                read => hasher.update(&bytes[..read]),
            }
        }
    }
    // Of a FIFO or a device, the type counts, which is in the mode: reading might not end.
    Ok(())
}

/// Adds a field, each part with its length, so that different sequences of fields have different digests.
fn part(hasher: &mut Sha256, kind: &[u8], bytes: &[u8]) {
    for bytes in [kind, bytes] {
        hasher.update(bytes.len().to_le_bytes());
        hasher.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn paths() {
        let of = |written: &str| resolve(Path::new("/book"), Path::new(written));
        assert_eq!(of("keys/id"), Path::new("/book/keys/id"));
        assert_eq!(of("/keys/id"), Path::new("/keys/id"));
        assert_eq!(of("~/id"), std::env::home_dir().unwrap().join("id"));
        assert_eq!(of("~x/id"), Path::new("/book/~x/id"));
    }

    #[test]
    fn patterns_are_for_names_or_paths() {
        for (pattern, path, expected) in [
            ("*.o", "a/b/c.o", true),
            (".git", "sub/.git", true),
            (".git/", ".git", true),
            ("*.o", "c.o.txt", false),
            ("a/b", "a/b", true),
            ("/b", "a/b", false),
            ("/b", "b", true),
            ("./a/*", "a/c/d", true),
            ("a/b", "x/a/b", false),
        ] {
            let found = is_excluded(&[pattern.to_owned()], Path::new(path));
            assert_eq!(found, expected, "{pattern} {path}");
        }
    }

    #[test]
    fn every_part_of_a_folder_counts_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("cfg");
        fs::create_dir_all(folder.join("inner")).unwrap();
        fs::write(folder.join("inner/a"), "one").unwrap();
        let exclude = ["*.log".to_owned()];
        let source = |path| StepSource {
            path: Path::new(path),
            exclude: &exclude,
        };
        let now = || digest(dir.path(), &[source("cfg/"), source("missing")]);
        let mut seen = vec![now()];
        let mut changed = |what: &str| {
            let now = now();
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        };
        fs::write(folder.join("inner/a"), "two").unwrap();
        changed("bytes");
        fs::rename(folder.join("inner/a"), folder.join("inner/b")).unwrap();
        changed("a name");
        fs::set_permissions(folder.join("inner/b"), fs::Permissions::from_mode(0o700)).unwrap();
        changed("a mode");
        std::os::unix::fs::symlink("b", folder.join("inner/c")).unwrap();
        changed("a link");
        fs::write(dir.path().join("missing"), "").unwrap();
        changed("a file that was missing");
        fs::remove_file(dir.path().join("missing")).unwrap();
        for (kind, name) in [(FileType::Fifo, "a FIFO"), (FileType::Socket, "a socket")] {
            let path = folder.join("inner/special");
            mknodat(CWD, &path, kind, Mode::RWXU, 0).unwrap();
            changed(name);
            fs::remove_file(path).unwrap();
        }
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("missing")).unwrap();
        changed("a device");
        let before = now();
        fs::write(folder.join("inner/x.log"), "excluded").unwrap();
        let file = fs::File::open(folder.join("inner/b")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
        assert_eq!(now(), before);
    }
}
