//! A Rust file as the checks read it: code without comments and strings, and the strings.
//!
//! Owns a scanner that knows just enough of Rust's tokens. Must not know what is checked.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A Rust file of the project.
pub(crate) struct Source {
    /// From the repository's root: `cargo-target-test/src/main.rs`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// Without comments, and with empty string literals; lines stay where they are.
    pub(crate) code: String,
    /// The string literals' contents, as written.
    pub(crate) literals: Vec<String>,
}

impl Source {
    /// Its code up to its unit tests; nothing where it holds nothing else (`foo/tests.rs`).
    pub(crate) fn product(&self) -> &str {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return "";
        }
        self.code.split("#[cfg(test)]").next().unwrap_or_default()
    }

    /// True if the source is this file, or in the folder of the same name.
    pub(crate) fn is(&self, module: &str) -> bool {
        self.path == format!("{module}.rs") || self.path.starts_with(&format!("{module}/"))
    }
}

/// All Rust files of the project, except inputs of compile-fail tests (`ui/`), sorted.
pub(crate) fn all(root: &Path) -> Vec<Source> {
    let rust = files(root)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let rust = rust.filter(|path| !path.components().any(|part| part.as_os_str() == "ui"));
    rust.map(|path| {
        let text = fs::read_to_string(root.join(&path)).expect("a Rust file");
        let (code, literals) = scan(&text);
        Source {
            path: path.to_string_lossy().into_owned(),
            text,
            code,
            literals,
        }
    })
    .collect()
}

/// All files of the project, from its root, without what builds and version control keep there.
pub(crate) fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))
            .expect("a folder")
            .flatten()
        {
            let path = folder.join(entry.file_name());
            if ["target", ".git"]
                .iter()
                .any(|skip| path == Path::new(skip))
            {
                continue;
            }
            let kind = entry.file_type().expect("a file's type");
            if kind.is_file() {
                found.push(path);
            } else if kind.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

fn scan(text: &str) -> (String, Vec<String>) {
    let (mut code, mut literals) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = token(rest, &code);
        let (piece, after) = rest.split_at(length);
        rest = after;
        match (first, piece.len()) {
            (_, 1) => code.push(first),
            ('/', _) => lines(piece, &mut code),
            ('"' | 'r' | 'b' | 'c', _) if piece.ends_with(['"', '#']) => {
                let inside = piece
                    .trim_start_matches(['r', 'b', 'c', '#'])
                    .trim_end_matches('#');
                literals.push(inside.trim_matches('"').to_owned());
                code.push('"');
                lines(piece, &mut code);
                code.push('"');
            }
            ('\'', _) => code.push_str("' '"),
            _ => code.push_str(piece),
        }
    }
    (code, literals)
}

fn lines(piece: &str, code: &mut String) {
    code.extend(piece.matches('\n'));
}

/// The length of the comment, literal or other piece of code at the start.
fn token(rest: &str, before: &str) -> usize {
    let one = rest.chars().next().map_or(0, char::len_utf8);
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    let in_word = before.ends_with(|last: char| last.is_alphanumeric() || last == '_');
    let prefix = rest.len() - rest.trim_start_matches(['r', 'b', 'c']).len();
    if rest.starts_with('"') || (!in_word && (1..=2).contains(&prefix)) {
        let hashes = rest[prefix..].len() - rest[prefix..].trim_start_matches('#').len();
        let quoted = rest[prefix + hashes..].starts_with('"');
        if quoted && (hashes == 0 || rest[..prefix].contains('r')) {
            let open = prefix + hashes + 1;
            return open + string_end(&rest[open..], rest[..prefix].contains('r'), hashes);
        }
    }
    if rest.starts_with('\'') {
        return char_literal(rest).unwrap_or(one);
    }
    one
}

fn string_end(text: &str, raw: bool, hashes: usize) -> usize {
    if raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return text.find(&end).map_or(text.len(), |at| at + end.len());
    }
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// `'x'` or `'\n'`, but not the lifetime `'x`.
fn char_literal(rest: &str) -> Option<usize> {
    let mut letters = rest.char_indices().skip(1);
    let (_, first) = letters.next()?;
    if first == '\\' {
        letters.next()?;
        return letters
            .find(|(_, letter)| *letter == '\'')
            .map(|(at, _)| at + 1);
    }
    letters
        .next()
        .filter(|(_, letter)| *letter == '\'')
        .map(|(at, _)| at + 1)
}

#[test]
fn comments_and_strings_are_no_code() {
    let (code, literals) = scan(
        "a(\"x // \\\" y\"); // \"z\"\nlet b = br#\"q\"w\"#; /* no\n */ let c: &'a str = '\"'; for r in x {}",
    );
    assert_eq!(
        code,
        "a(\"\"); \nlet b = \"\"; \n let c: &'a str = ' '; for r in x {}"
    );
    assert_eq!(literals, ["x // \\\" y", "q\"w"]);
}
