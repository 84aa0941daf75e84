//! `include = ["common.toml"]`: the files that a playbook is made of.
//!
//! Owns finding them, their order, and what is wrong about it: what is included comes before what includes it, and
//! once. Must not know what else stands in a file.

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

/// How deep files may include each other.
const DEEPEST: usize = 32;

/// One file of a playbook.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct File {
    /// Which text of the sources it is.
    pub(super) part: usize,
    /// Its folder, absolute.
    pub(super) directory: PathBuf,
}

/// All files of a playbook.
pub(super) struct Gathered {
    pub(super) sources: Sources,
    /// In the order in which they count: later ones win.
    pub(super) files: Vec<File>,
    pub(super) problems: Vec<Problem>,
    /// Every file that was read, as the file system knows it.
    seen: Vec<PathBuf>,
}

/// Reads a playbook and all that it includes.
///
/// # Errors
/// When the file itself cannot be read; what it includes and cannot be read is among the problems.
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

/// The one text, where there is no file.
pub(super) fn alone(sources: Sources) -> Result<Gathered> {
    let file = File {
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
    /// A file's includes, then the file. `chain`: who includes whom, as the file system knows them and as written.
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
                    self.problems.push(problem(cannot(&written, &why)));
                    continue;
                }
            };
            if let Some(first) = chain.iter().position(|(known, _)| *known == canonical) {
                let names = chain[first..].iter().map(|(_, path)| path).chain([&path]);
                let names: Vec<_> = names.map(|path| path.display().to_string()).collect();
                let cycle = format!("`{written}` includes itself: {}", names.join(" -> "));
                self.problems.push(problem(cycle));
            } else if chain.len() > DEEPEST {
                let deep = format!("more than {DEEPEST} files include each other");
                self.problems.push(problem(deep));
            } else if !self.seen.contains(&canonical) {
                self.seen.push(canonical.clone());
                match source::text(&path) {
                    Ok(text) => {
                        let part = self.sources.add_file(path.display().to_string(), &text);
                        chain.push((canonical, path.clone()));
                        self.visit(part, &path, chain)?;
                        chain.pop();
                    }
                    Err(why) => self.problems.push(problem(cannot(&written, &why))),
                }
            }
        }
        let path = std::path::absolute(path)?;
        let directory = path.parent().unwrap_or(&path).to_owned();
        self.files.push(File { part, directory });
        Ok(())
    }

    /// What a file includes. What is no TOML is told when the file is read for all else.
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
                .push(problem.hint("each names a TOML file, relative to this one"));
            Vec::new()
        })
    }
}

fn cannot(written: &str, why: &str) -> String {
    format!("cannot include `{written}`: {why}")
}
