//! JUnit reports of several runs as one.
//!
//! Owns how nextest's reports are put together. Must not know what is in them beside counts.

use std::path::Path;

use regex::Regex;

use crate::{
    error::{Error, ErrorKind, Result},
    secret::redacted,
};

/// The counts of a report, which add up.
const COUNTS: [&str; 3] = ["tests", "failures", "errors"];

/// Puts nextest's reports together into `file`; the parts are removed. One that is missing had no case.
///
/// # Errors
/// When a file cannot be read or written, or is none of nextest's.
pub fn merge<'a>(file: &Path, parts: impl Iterator<Item = &'a Path>) -> Result<()> {
    let mut texts = Vec::new();
    for part in parts.filter(|part| part.exists()) {
        texts.push(fs_err::read_to_string(part)?);
        fs_err::remove_file(part)?;
    }
    match merged(&texts) {
        Some(text) => Ok(fs_err::write(file, &*redacted(&text))?),
        None if texts.is_empty() => Ok(()),
        None => {
            let message = format!("cannot put the parts of `{}` together", file.display());
            Err(Error::new(ErrorKind::Other, message))
        }
    }
}

/// The first report with everybody's suites in it, its counts and its time those of all.
fn merged(texts: &[String]) -> Option<String> {
    let whole = Regex::new(r"(?s)^(.*<testsuites\b[^>]*>)(.*)</testsuites>\s*$").ok()?;
    let parts: Vec<_> = texts
        .iter()
        .map(|text| whole.captures(text))
        .collect::<Option<_>>()?;
    let mut head = parts.first()?[1].to_owned();
    for count in COUNTS {
        let number = Regex::new(&format!(r#"\b{count}="(\d+)""#)).ok()?;
        let of = |text: &str| number.captures(text)?[1].parse::<u64>().ok();
        let sum: u64 = parts.iter().filter_map(|part| of(&part[1])).sum();
        head = number
            .replace(&head, format!("{count}=\"{sum}\""))
            .into_owned();
    }
    // They ran side by side.
    let time = Regex::new(r#"\btime="([0-9.]+)""#).ok()?;
    let of = |text: &str| time.captures(text)?[1].parse::<f64>().ok();
    let longest = parts
        .iter()
        .filter_map(|part| of(&part[1]))
        .fold(0.0, f64::max);
    let head = time.replace(&head, format!("time=\"{longest:.3}\""));
    let suites: String = parts.iter().map(|part| part[2].trim_end()).collect();
    Some(format!("{head}{suites}\n</testsuites>\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_time_does_not() {
        let report = |tests: u32, failures: u32, time: &str, case: &str| {
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"nextest-run\" tests=\"{tests}\" failures=\"{failures}\" \
                 errors=\"0\" uuid=\"u\" time=\"{time}\">\n    <testsuite name=\"a\" tests=\"{tests}\">{case}</testsuite>\n</testsuites>\n"
            )
        };
        let text =
            merged(&[report(3, 1, "0.5", "x"), report(2, 2, "1.25", "y")]).expect("a report");
        assert!(text.contains("<testsuites name=\"nextest-run\" tests=\"5\" failures=\"3\" errors=\"0\" uuid=\"u\" time=\"1.250\">"), "{text}");
        assert_eq!(text.matches("<testsuite ").count(), 2);
        assert!(text.ends_with("y</testsuite>\n</testsuites>\n"), "{text}");
        assert_eq!(merged(&["<html>".to_owned()]), None);
    }
}
