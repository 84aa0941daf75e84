//! Problems in a playbook: their rendering with source lines.
//!
//! Must not check anything.

use std::{fmt, ops::Range};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::{nearest::did_you_mean, source::Sources};
use crate::error::{Error, Result};

/// An error at a position in [`Sources`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Problem {
    message: String,
    span: Range<usize>,
    label: Option<String>,
    second: Option<(Range<usize>, String)>,
    note: Option<String>,
    hint: Option<String>,
}

impl Problem {
    pub(super) fn new(message: impl Into<String>, span: Range<usize>) -> Self {
        // Escape control characters that come from the playbook, such as line breaks in a name.
        let visible = |c: char| {
            if c.is_control() {
                c.escape_default().to_string()
            } else {
                c.into()
            }
        };
        let message = message.into().chars().map(visible).collect();
        Self {
            message,
            span,
            ..Self::default()
        }
    }

    /// The position of the first character.
    #[cfg(test)]
    pub(super) fn start(&self) -> usize {
        self.span.start
    }

    /// An error of toml or serde. Adds a hint with the most similar name if the message lists known names.
    pub(super) fn toml(error: &toml::de::Error, fallback: Range<usize>) -> Self {
        let message = in_toml_words(error.message().trim_end());
        let known: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let hint = match known.split_first() {
            Some((wrong, known)) if message.starts_with("unknown ") => did_you_mean(wrong, known),
            _ if message.starts_with("invalid type: ")
                && (message.ends_with("expected a string")
                    || message.contains("expected a string or")) =>
            {
                Some("strings must be quoted".to_owned())
            }
            _ => None,
        };
        let mut problem = Self::new(message, error.span().unwrap_or(fallback));
        problem.hint = hint;
        problem
    }

    /// An unknown name, with the known names as note and the most similar one as hint.
    pub(super) fn unknown(what: &str, name: &str, span: Range<usize>, known: &[&str]) -> Self {
        let mut problem = Self::new(format!("unknown {what} `{name}`"), span);
        problem.hint = did_you_mean(name, known).or_else(|| other_word(what, name, known));
        match known {
            [] => problem,
            known => problem.note(format!("known: {}", list(known))),
        }
    }

    /// Sets the text next to the caret.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a related position.
    pub(super) fn second(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.second = Some((span, label.into()));
        self
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Replaces the hint, if there is another one.
    pub(super) fn or_hint(mut self, other: Option<String>) -> Self {
        self.hint = other.or(self.hint);
        self
    }

    fn render(&self, sources: &Sources) -> String {
        let (name, text, span) = sources.locate(&self.span);
        let label = self.label.as_deref();
        let mut first = Snippet::source(text)
            .path(name)
            .annotation(AnnotationKind::Primary.span(span).label(label));
        let mut elsewhere = None;
        if let Some((span, label)) = &self.second {
            let (other, text, span) = sources.locate(span);
            let annotation = AnnotationKind::Context.span(span).label(label.as_str());
            if other == name {
                first = first.annotation(annotation);
            } else {
                elsewhere = Some(Snippet::source(text).path(other).annotation(annotation));
            }
        }
        let group = Level::ERROR
            .primary_title(self.message.as_str())
            .element(first);
        let group = group.elements(elsewhere);
        let group = group.elements(self.note.as_deref().map(|note| Level::NOTE.message(note)));
        let hint = Level::HELP.with_name("hint");
        let group = group.elements(self.hint.as_deref().map(|text| hint.message(text)));
        let rendered = Renderer::plain().render(&[group]);
        rendered
            .lines()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// The problems found so far.
pub(super) struct Problems<'s> {
    sources: &'s Sources,
    list: Vec<Problem>,
    unreadable: bool,
}

impl<'s> Problems<'s> {
    pub(super) fn new(sources: &'s Sources) -> Self {
        Self {
            sources,
            list: Vec::new(),
            unreadable: false,
        }
    }

    /// Adds a problem, unless it is known: targets of one platform share the keys of its table.
    pub(super) fn add(&mut self, problem: Problem) {
        let same = |known: &Problem| known.span == problem.span && known.message == problem.message;
        if !self.list.iter().any(same) {
            self.list.push(problem);
        }
    }

    /// Adds a problem that makes a part of the playbook unreadable. References to that part cannot be checked.
    pub(super) fn add_unreadable(&mut self, problem: Problem) {
        self.unreadable = true;
        self.add(problem);
    }

    /// True if a part of the playbook is unreadable.
    pub(super) fn has_unreadable(&self) -> bool {
        self.unreadable
    }

    /// # Errors
    /// If there are problems.
    pub(super) fn check(&mut self) -> Result<()> {
        if self.list.is_empty() {
            Ok(())
        } else {
            Err(self.error())
        }
    }

    /// Returns one error with all problems in the order of their positions, rendered as text that continues `error: `.
    pub(super) fn error(&mut self) -> Error {
        self.list.sort_by_key(|problem| problem.span.start);
        let rendered: Vec<_> = self
            .list
            .iter()
            .map(|problem| problem.render(self.sources))
            .collect();
        let text = rendered.join("\n\n");
        Error::playbook(text.strip_prefix("error: ").unwrap_or(&text))
    }
}

/// The hint for a word of other tools.
fn other_word(what: &str, name: &str, known: &[&str]) -> Option<String> {
    let meant = match (what, name.to_lowercase().as_str()) {
        ("platform", "docker" | "podman" | "oci" | "lxc" | "nspawn" | "chroot") => "container",
        ("platform", "vm" | "kvm" | "libvirt" | "virtual" | "firecracker") => "qemu",
        ("platform", "host" | "localhost" | "none") => "local",
        ("platform", "script" | "shell" | "exec" | "custom") => "command",
        ("platform", "remote" | "scp" | "openssh") => "ssh",
        _ => return None,
    };
    known
        .contains(&meant)
        .then(|| format!("did you mean `{meant}`?"))
}

/// Replaces Rust's type names in a message of serde with TOML's terms.
fn in_toml_words(message: &str) -> String {
    let message = message.replace('\n', "; ");
    let message = message.replacen("unknown variant", "unknown value", 1);
    let Some((head, expected)) = message.rsplit_once("expected ") else {
        return message;
    };
    let words = match expected {
        "u8" => "an integer from 0 to 255",
        "u16" => "an integer from 0 to 65535",
        "a nonzero u32" | "a nonzero usize" => "an integer, 1 or more",
        "a nonzero u16" => "an integer from 1 to 65535",
        "u32" | "u64" | "usize" => "an integer, 0 or more",
        "i32" | "i64" => "an integer",
        "f32" | "f64" => "a number",
        "a sequence" => "an array",
        "a map" => "a table",
        "path string" => "a string",
        // serde's default names the Rust type.
        _ if expected.starts_with("struct ") => "a table",
        _ if expected.starts_with("tuple struct ") => "an array",
        other => other,
    };
    format!("{head}expected {words}")
}

/// Formats names as `` `a`, `b` ``.
pub(crate) fn list<T: fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    let names = names.into_iter().map(|name| format!("`{name}`"));
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_texts_in_one_problem() {
        let mut sources = Sources::new("a.toml".to_owned(), "a = 1\n");
        let set = sources.add("--set", "a=2");
        let mut problems = Problems::new(&sources);
        let problem = Problem::new("twice", set)
            .label("here")
            .second(0..1, "first")
            .hint("once");
        problems.add(problem.clone());
        problems.add(problem);
        let text = problems.check().unwrap_err().to_string();
        assert_eq!(text.matches("twice").count(), 1, "{text}");
        assert!(text.starts_with("twice\n"), "{text}");
        assert!(
            text.contains("--> --set:1:1") && text.contains("a.toml:1:1"),
            "{text}"
        );
        assert!(text.contains("= hint: once"), "{text}");
    }
}
