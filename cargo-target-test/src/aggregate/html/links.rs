//! The paths of files of a run as links, relative to the report, so that the folder of the run can be moved.

use std::{
    cell::RefCell,
    path::{Component, Path, PathBuf},
};

/// Makes links.
#[derive(Debug)]
pub(super) struct Links {
    /// The path from the report's folder to the run's folder; `None` if the report is elsewhere.
    prefix: Option<String>,
    folder: PathBuf,
    /// The run's folder as its events name it.
    recorded: RefCell<Option<PathBuf>>,
}

impl Links {
    pub(super) fn new(file: &Path, folder: &Path) -> Self {
        let parent = file.parent().unwrap_or(Path::new(""));
        let same = match (parent.canonicalize(), folder.canonicalize()) {
            (Ok(parent), Ok(folder)) => folder.strip_prefix(parent).ok().map(encoded),
            _ => None,
        };
        Self {
            prefix: same.map(|path| match path.is_empty() {
                true => "./".to_owned(),
                false => format!("./{path}/"),
            }),
            folder: folder.to_owned(),
            recorded: RefCell::new(None),
        }
    }

    /// Returns the link to a file.
    pub(super) fn to(&self, file: &Path) -> String {
        let inside = self.inside(file);
        match (&inside, &self.prefix) {
            (Some(inside), Some(prefix)) => format!("{prefix}{}", encoded(inside)),
            (Some(inside), None) => {
                let folder = self.folder.canonicalize();
                let folder = folder.unwrap_or_else(|_| self.folder.clone());
                format!("file:///{}", encoded(&folder.join(inside)))
            }
            (None, _) => format!("file:///{}", encoded(file)),
        }
    }

    /// Returns the file's path in the run's folder, which may have been moved since.
    fn inside(&self, file: &Path) -> Option<PathBuf> {
        if let Ok(inside) = file.strip_prefix(&self.folder) {
            return Some(inside.to_owned());
        }
        let mut recorded = self.recorded.borrow_mut();
        if recorded.is_none() {
            let mut folders = file.ancestors().skip(1);
            let found = folders.find(|folder| {
                let inside = file.strip_prefix(folder).ok();
                // The shortest path may be another file of the same name.
                inside.is_some_and(|inside| {
                    inside.components().count() > 1 && self.folder.join(inside).exists()
                })
            });
            *recorded = found.map(Path::to_owned);
        }
        let inside = file.strip_prefix(recorded.as_deref()?).ok();
        inside.map(Path::to_owned)
    }
}

/// Encodes the names of a path for a URL.
fn encoded(path: &Path) -> String {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.as_encoded_bytes()),
        Component::ParentDir => Some(&b".."[..]),
        _ => None,
    });
    let names = names.map(|name| {
        let bytes = name.iter().map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(*byte).to_string()
            }
            other => format!("%{other:02X}"),
        });
        bytes.collect::<String>()
    });
    names.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_and_survive_a_move() {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = temp.path().join("runs/one");
        std::fs::create_dir_all(folder.join("output/a b")).expect("a folder");
        std::fs::write(folder.join("output/a b/1 #.stdout"), "").expect("a file");
        let links = |file: PathBuf| Links::new(&file, &folder);
        let beside = links(folder.join("report.html"));
        let file = folder.join("output/a b/1 #.stdout");
        assert_eq!(beside.to(&file), "./output/a%20b/1%20%23.stdout");
        let moved = Path::new("/elsewhere/one/output/a b/1 #.stdout");
        assert_eq!(beside.to(moved), "./output/a%20b/1%20%23.stdout");
        let other = Path::new("/elsewhere/one/output/other");
        assert_eq!(beside.to(other), "./output/other");
        let above = links(temp.path().join("report.html"));
        assert_eq!(above.to(&file), "./runs/one/output/a%20b/1%20%23.stdout");
        let elsewhere = tempfile::tempdir().expect("a folder");
        let outside = links(elsewhere.path().join("report.html")).to(&file);
        assert!(outside.starts_with("file:///"), "{outside}");
        assert!(outside.ends_with("/runs/one/output/a%20b/1%20%23.stdout"));
    }

    #[test]
    fn no_path_is_a_scheme() {
        let links = Links::new(Path::new("/r/report.html"), Path::new("/r"));
        for path in ["javascript:alert(1)", "//host/x", "data:text/html,x"] {
            assert!(links.to(Path::new(path)).starts_with("file:///"));
        }
    }
}
