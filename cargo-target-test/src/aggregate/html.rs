//! The HTML report: one file with everything that it shows, which needs no network.
//!
//! The template has the frame. The results are JSON in data blocks, and scripts of the page show them as text.

mod changes;
mod data;
mod links;
mod past;

use std::path::{Path, PathBuf};

use base64::Engine;
use minijinja::{Environment, Value, context};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Aggregator, results::Results};
use crate::{
    connect,
    error::{Error, ErrorKind, Result},
    run_event::RunEvent,
    secret,
};
pub use changes::{EarlierRun, EarlierRuns};
use links::Links;
pub use past::PastRuns;

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/page.css");
/// The scripts, in the order of their use: one program.
const SCRIPTS: [&str; 7] = [
    include_str!("html/text.js"),
    include_str!("html/filter.js"),
    include_str!("html/detail.js"),
    include_str!("html/matrix.js"),
    include_str!("html/timeline.js"),
    include_str!("html/lists.js"),
    include_str!("html/page.js"),
];
/// The length of a data block with the details of cases, in bytes: the page reads a block when a case of it is opened.
const BLOCK: usize = 256 << 10;

/// Writes the report at the end of a run.
pub struct Html {
    file: PathBuf,
    folder: PathBuf,
    results: Results,
    earlier: Option<Box<dyn EarlierRuns>>,
}

impl Html {
    /// A report in `file` about the run whose files are in `folder`.
    pub fn new(file: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            folder: folder.into(),
            results: Results::default(),
            earlier: None,
        }
    }

    /// Compares the run with earlier ones.
    #[must_use]
    pub fn with_earlier(mut self, earlier: impl EarlierRuns + 'static) -> Self {
        self.earlier = Some(Box::new(earlier));
        self
    }
}

impl std::fmt::Debug for Html {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Html")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Aggregator for Html {
    fn ingest(&mut self, event: &RunEvent) -> Result<()> {
        self.results.ingest(event);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.results.close();
        let links = Links::new(&self.file, &self.folder);
        let page = rendered(&self.results, &links, self.earlier.as_deref_mut());
        let failed = || {
            let message = format!("failed to write the HTML report `{}`", self.file.display());
            Error::new(ErrorKind::Other, message)
        };
        let page = page.map_err(|error| failed().with_source(error))?;
        connect::write_local(&self.file, page.as_bytes())
            .map_err(|error| failed().with_source(error))
    }
}

/// Renders the page.
fn rendered(
    results: &Results,
    links: &Links,
    earlier: Option<&mut (dyn EarlierRuns + 'static)>,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let page = data::Page::of(results, links, earlier);
    let (mut blocks, mut block) = (Vec::new(), String::from("["));
    let mut first_cases = vec![0];
    for (index, case) in results.cases.iter().enumerate() {
        if block.len() > BLOCK {
            blocks.push(closed(&mut block));
            first_cases.push(index);
        }
        if block.len() > 1 {
            block.push(',');
        }
        block.push_str(&json(&data::CaseDetail::of(case, links))?);
    }
    blocks.push(closed(&mut block));
    let data = json(&data::Data {
        page: &page,
        first_cases,
    })?;
    let script = SCRIPTS.concat();
    let hashes = [STYLE, &script].map(|text| {
        let hash = Sha256::digest(text.as_bytes());
        base64::engine::general_purpose::STANDARD.encode(hash)
    });
    let mut environment = Environment::new();
    environment.add_template("page.html", PAGE)?;
    let rendered = environment.get_template("page.html")?.render(context! {
        title => secret::redacted(&page.title()),
        style => Value::from_safe_string(STYLE.to_owned()),
        style_hash => &hashes[0],
        script => Value::from_safe_string(script),
        script_hash => &hashes[1],
        data => Value::from_safe_string(data),
        blocks => blocks.into_iter().map(Value::from_safe_string).collect::<Vec<_>>(),
    })?;
    Ok(rendered)
}

/// Ends a block, and begins the next one.
fn closed(block: &mut String) -> String {
    block.push(']');
    std::mem::replace(block, String::from("["))
}

/// Formats a value as JSON that can stand in a data block: without `<`, and without secrets.
fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let mut line = secret::json_line(value)?;
    line.pop();
    Ok(match line.contains('<') {
        true => line.replace('<', "\\u003c"),
        false => line,
    })
}

/// The name of the report in a run's folder.
pub const FILE: &str = "report.html";

/// Returns the path of the report in a run's folder.
pub fn in_folder(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

#[cfg(test)]
mod tests;
