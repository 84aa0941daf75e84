//! The book and README, as a reader uses them: playbooks pass `check`, Rust compiles, commands print what is shown.
//!
//! A block whose first comment is a path (`// tests/smoke.rs`, `# target-test.toml`) is that file. A block of `text` whose
//! first line is a command (`$ cargo target-test`) shows what the command prints, with the page's files above it in place.
//! The reference of the playbook is made from the schema: `SNAPSHOTS=overwrite` rewrites it.

/// The workflows of CIs.
mod ci;
/// The playbook's reference.
mod reference;
/// The playbook's JSON Schema.
mod schema;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use regex::Regex;

use crate::{
    support::{Project, container::Engine, here, repository},
    tidy::source,
};

const BOOK: &str = "cargo-target-test/docs";

/// A fenced block of a page.
struct Block {
    /// Its place: `README.md:12`.
    place: String,
    language: String,
    text: String,
}

impl Block {
    /// The path of the file that the block is, from its first comment.
    fn file(&self) -> Option<&str> {
        let mut lines = self.text.lines().filter(|line| !line.starts_with("#!"));
        let first = lines.next()?;
        let path = first.strip_prefix("// ").or(first.strip_prefix("# "))?;
        let is_path = path.contains('.') && !path.contains(' ');
        is_path.then_some(path)
    }

    /// True for a playbook; other TOML files are named in their first line.
    fn is_playbook(&self) -> bool {
        self.language == "toml" && self.file().is_none_or(|file| file == "target-test.toml")
    }

    /// True if the block shows a command and its output.
    fn is_shown_command(&self) -> bool {
        self.language == "text" && self.text.starts_with("$ cargo ")
    }
}

/// README and the pages of the book, with their names.
fn pages() -> Vec<(String, String)> {
    let root = repository();
    let files = source::files(&root).into_iter();
    let pages = files.filter(|path| path == Path::new("README.md") || path.starts_with(BOOK));
    let read = |path: &Path| fs::read_to_string(root.join(path)).expect("a page");
    pages
        .map(|path| (path.display().to_string(), read(&path)))
        .collect()
}

fn blocks(page: &str, text: &str) -> Vec<Block> {
    let (mut found, mut open) = (Vec::new(), None);
    for (number, line) in (1..).zip(text.lines()) {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                let language = info.split(',').next().unwrap_or_default().to_owned();
                let (place, text) = (format!("{page}:{number}"), String::new());
                open = Some(Block {
                    place,
                    language,
                    text,
                });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{page}: a block without an end");
    found
}

fn all_blocks() -> Vec<Block> {
    let pages = pages();
    let all = pages.iter().flat_map(|(page, text)| blocks(page, text));
    all.collect()
}

/// Files that the playbooks name, with what `check` looks for in them.
const STUBS: &[(&str, &[u8])] = &[
    ("images/debian.qcow2", b"QFI\xfb"),
    ("images/vmlinuz", b""),
    ("images/initrd.img", b""),
    (
        "lab.toml",
        b"[[targets]]\nname = \"debian\"\nplatform = \"local\"\n",
    ),
    ("lab.key", b""),
    ("lab_known_hosts", b""),
    ("config/app.conf", b""),
    ("testdata/greeting", b""),
    ("install.sh", b"#!/bin/sh\n"),
    ("deploy.sh", b"#!/bin/sh\n"),
    ("delete.sh", b"#!/bin/sh\n"),
    ("list.sh", b"#!/bin/sh\n"),
];

#[test]
fn every_playbook_shown_passes_check() {
    let project = Project::new("book-playbooks");
    for (name, content) in STUBS {
        let path = project.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("a file");
    }
    let playbooks = all_blocks().into_iter().filter(Block::is_playbook);
    let mut number = 0;
    for block in playbooks {
        let file = project.path("shown.toml");
        fs::write(&file, &block.text).expect("a playbook");
        let check = project.run(&["check", "--playbook", "shown.toml"]);
        assert!(check.status.success(), "{}: {check:?}", block.place);
        number += 1;
    }
    assert!(number > 5);
}

/// Names that a block may use without an import of its own.
const IMPORTED: &str = "#![allow(unused, dead_code)]\nmod imported {\n    pub use std::{io::Write, time::Duration};\n    \
                        pub use target_fixtures::{platform::*, prelude::*};\n}\n";

#[test]
fn rust_shown_compiles() {
    let mut text = IMPORTED.to_owned();
    let rust = |block: &Block| block.language == "rust" && block.file().is_none();
    for (number, block) in all_blocks().iter().filter(|block| rust(block)).enumerate() {
        let (place, code) = (&block.place, &block.text);
        text += &format!("// {place}\nmod block_{number} {{\nuse crate::imported::*;\n{code}}}\n");
    }
    let project = Project::new("book-rust").file("tests/shown.rs", &text);
    project.cargo(["check", "--tests", "-q"]).run().code(0);
}

#[test]
fn commands_shown_print_what_is_shown() {
    let pages = pages();
    let shown = |text: &str| blocks("", text).iter().any(Block::is_shown_command);
    let mut number = 0;
    for (page, text) in pages.iter().filter(|(_, text)| shown(text)) {
        let stem = Path::new(page).file_stem().and_then(|stem| stem.to_str());
        // README's playbook has hosts of nobody's.
        if page != "README.md" {
            follow(stem.expect("a name"), blocks(page, text));
            number += 1;
        }
    }
    assert!(number > 0);
}

/// Does what a page says, in a crate of its own.
fn follow(name: &str, blocks: Vec<Block>) {
    let mut project = Project::new(&format!("book-{name}"));
    // An earlier run of this test may have left files of the page.
    for left in fs::read_dir(project.path("")).expect("the project") {
        let left = left.expect("a file of the project");
        let kept = ["Cargo.toml", "Cargo.lock", "src", "target"];
        if kept.iter().any(|kept| left.file_name() == *kept) {
            continue;
        }
        let removed = match left.file_type().expect("its kind").is_dir() {
            true => fs::remove_dir_all(left.path()),
            false => fs::remove_file(left.path()),
        };
        removed.expect("a file of the page is removed");
    }
    for block in blocks {
        if let Some(file) = block.file().filter(|file| *file != "Cargo.toml") {
            let Some(text) = with_engine(&block.text) else {
                break;
            };
            project = project.file(file, &text);
            let program = PermissionsExt::from_mode(0o755);
            if text.starts_with("#!") {
                fs::set_permissions(project.path(file), program).expect("a program");
            }
        } else if block.is_shown_command() {
            for command in block.text.split("$ ").skip(1) {
                let (line, output) = command.split_once('\n').expect("a line");
                run_shown(&project, &block.place, line, output);
            }
        }
    }
    project.run(&["--delete-targets"]).code(0);
}

/// The playbook with this host's engine and image in the place of an image from a registry; `None` if there is no engine.
fn with_engine(text: &str) -> Option<String> {
    let image = text.lines().find(|line| line.starts_with("image = "));
    let Some(image) = image.filter(|_| text.contains("\"container\"")) else {
        return Some(text.to_owned());
    };
    let target = here(Engine::start())?.target("");
    let keys: Vec<&str> = target.lines().skip(3).collect();
    Some(text.replace(image, &keys.join("\n")))
}

/// Runs a command; each line that is shown must be among those printed, whatever the times and their order.
fn run_shown(project: &Project, place: &str, line: &str, output: &str) {
    let bin = Path::new(env!("CARGO_BIN_EXE_cargo-target-test"));
    let bin = bin.parent().expect("a folder").display();
    let path = std::env::var("PATH").expect("PATH");
    let shell = project.through("sh").args(["-c", line]);
    let outcome = shell.env("PATH", format!("{bin}:{path}")).run();
    let root = project.path("");
    let name = root.file_name().and_then(|name| name.to_str());
    let name = name.expect("the crate's name");
    let plain = |text: &str| {
        let text = text.replace(
            root.to_str().expect("UTF-8").trim_end_matches('/'),
            "~/first",
        );
        let text = text.replace(name, "first");
        text.lines().map(without_measures).collect::<Vec<_>>()
    };
    let printed = plain(&format!("{}\n{}", outcome.stdout, outcome.stderr));
    for shown in plain(output).iter().filter(|line| !line.is_empty()) {
        assert!(
            printed.contains(shown),
            "{place}: `{line}` does not print\n{shown}\nbut\n{}",
            printed.join("\n")
        );
    }
}

/// The line without what differs from run to run, and with single spaces.
fn without_measures(line: &str) -> String {
    let measure = Regex::new(r"\d+\.\d+|\b\d+ s\b|\d\d:\d\d|\(\d+/\d+\)|pid \d+");
    let words: Vec<&str> = line.split_whitespace().collect();
    measure
        .expect("a pattern")
        .replace_all(&words.join(" "), "N")
        .into_owned()
}

/// Each fixed part of a message in the troubleshooting page is in the text of some literal of the sources.
#[test]
fn messages_explained_exist() {
    let sources = source::all(&repository());
    let literals = sources.iter().filter(|source| source.path.contains("src/"));
    let continued = Regex::new(r"\\\n\s*").expect("a pattern");
    let literals: Vec<_> = literals
        .flat_map(|source| &source.literals)
        .map(|literal| continued.replace_all(literal, ""))
        .collect();
    let value = Regex::new(r"`[^`]*`|\b[A-Z]{2,}\b|[\d.]*\d|^(error|infra): ").expect("a pattern");
    let page = fs::read_to_string(repository().join(BOOK).join("troubleshooting.md"));
    let page = page.expect("the page");
    let messages = blocks("troubleshooting.md", &page);
    let lines = messages.iter().flat_map(|block| block.text.lines());
    for line in lines {
        let parts = value
            .split(line)
            .map(|part| part.trim_matches([' ', ':', ',', ';', '(', ')']));
        for part in parts.filter(|part| part.len() > 3) {
            let is_printed = literals.iter().any(|literal| literal.contains(part));
            assert!(is_printed, "nothing prints `{part}`, of\n{line}");
        }
    }
}
