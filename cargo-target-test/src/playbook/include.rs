//! Finds and orders the files of a playbook, following `include`. An included file precedes the file that includes it.
//!
//! Must not know any other key.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    diagnostic::Problem,
    source::{self, Sources},
};
use crate::error::Result;

/// The maximum depth of nested includes.
const DEEPEST: usize = 32;

/// One file of a playbook.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlaybookFile {
    /// The file's number in the sources.
    pub(super) part: usize,
    /// The folder of the file, absolute.
    pub(super) directory: PathBuf,
}

/// All files of a playbook.
pub(super) struct Gathered {
    pub(super) sources: Sources,
    /// Files, lowest precedence first.
    pub(super) files: Vec<PlaybookFile>,
    pub(super) problems: Vec<Problem>,
    /// The canonical path of each file that was read.
    seen: Vec<PathBuf>,
}

/// Reads a playbook and the files it includes.
///
/// # Errors
/// If the playbook itself cannot be read. Unreadable included files are added to the problems.
pub(super) fn gather(path: &Path) -> Result<Gathered> {
    let mut gathered = Gathered {
        sources: source::read(path)?,
        files: Vec::new(),
        problems: Vec::new(),
        seen: Vec::new(),
    };
    let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    gathered.seen.push(canonical.clone());
    gathered.visit(0, path, &mut vec![(canonical, path.to_owned())])?;
    Ok(gathered)
}

/// Treats the one text of `sources` as a playbook in the current folder.
pub(super) fn alone(sources: Sources) -> Result<Gathered> {
    let file = PlaybookFile {
        part: 0,
        directory: std::env::current_dir()?,
    };
    Ok(Gathered {
        sources,
        files: vec![file],
        problems: Vec::new(),
        seen: Vec::new(),
    })
}

impl Gathered {
    /// Adds the includes of a file, then the file. `chain` is the path of includes that led to this file, each as
    /// canonical path and as written.
    fn visit(
        &mut self,
        part: usize,
        path: &Path,
        chain: &mut Vec<(PathBuf, PathBuf)>,
    ) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new(""));
        for (written, span) in self.includes(part) {
            let path = folder.join(&written);
            let problem = |message: String| Problem::new(message, span.clone());
            let canonical = match path.canonicalize() {
                Ok(canonical) => canonical,
                Err(error) => {
                    let why = source::plain(&error);
                    self.problems.push(problem(include_error(&written, &why)));
                    continue;
                }
            };
            if let Some(first) = chain.iter().position(|(known, _)| *known == canonical) {
                let names = chain[first..].iter().map(|(_, path)| path).chain([&path]);
                let names: Vec<_> = names.map(|path| path.display().to_string()).collect();
                let cycle = format!("`{written}` includes itself: {}", names.join(" -> "));
                self.problems.push(problem(cycle));
            } else if chain.len() > DEEPEST {
                let deep = format!("includes are nested more than {DEEPEST} levels deep");
                self.problems.push(problem(deep));
            } else if !self.seen.contains(&canonical) {
                self.seen.push(canonical.clone());
                match source::read_included(&path) {
                    Ok(text) => {
                        let part = self.sources.add_file(path.display().to_string(), &text);
                        chain.push((canonical, path.clone()));
                        self.visit(part, &path, chain)?;
                        chain.pop();
                    }
                    Err(why) => self.problems.push(problem(include_error(&written, &why))),
                }
            }
        }
        let path = std::path::absolute(path)?;
        let directory = path.parent().unwrap_or(&path).to_owned();
        self.files.push(PlaybookFile { part, directory });
        Ok(())
    }

    /// The includes of a file, with positions. Syntax errors are reported by `written::parse`.
    fn includes(&mut self, part: usize) -> Vec<(String, Range<usize>)> {
        let (document, _) = DeTable::parse_recoverable(self.sources.padded(part));
        let Some(value) = document.get_ref().get("include") else {
            return Vec::new();
        };
        let span = value.span();
        let items: Vec<&Spanned<DeValue<'_>>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let text =
            |item: &Spanned<DeValue<'_>>| Some((item.get_ref().as_str()?.to_owned(), item.span()));
        let texts: Option<Vec<_>> = items.into_iter().map(text).collect();
        texts.unwrap_or_else(|| {
            let problem = Problem::new("`include` must be a string, or an array of strings", span);
            self.problems
                .push(problem.hint("paths are relative to this file"));
            Vec::new()
        })
    }
}

fn include_error(written: &str, why: &str) -> String {
    format!("failed to include `{written}`: {why}")
}
