//! Parses TAP and KTAP output into results with paths. Pure.

use crate::wire::VerdictKind;

/// The parsed output.
#[derive(Debug, PartialEq)]
pub(super) enum TapOutput {
    /// The results, in the order of the text; of a suite, its results and not the suite.
    Results(Vec<TapResult>),
    /// The plan skips everything, for this reason.
    Skipped(String),
    /// The text has no result and no plan.
    None,
}

/// One result.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TapResult {
    /// The names of the suites and of the result, the outermost first.
    pub(super) path: Vec<String>,
    pub(super) verdict: VerdictKind,
    /// The diagnostics of a failure, or the reason of its directive.
    pub(super) message: Option<String>,
}

/// The results at one level of nesting that has not ended.
#[derive(Default)]
struct Block {
    indent: usize,
    /// The name in `# Subtest: NAME`.
    name: Option<String>,
    planned: Option<usize>,
    /// The number of results at this level.
    count: usize,
    /// The results at this level and below.
    results: Vec<TapResult>,
    /// Diagnostics that no result has yet.
    diagnostics: Vec<String>,
}

/// A line without its indentation.
enum Line<'t> {
    Version { is_kernels: bool },
    Plan { count: usize, skip: Option<&'t str> },
    Result(ResultLine),
    Subtest(&'t str),
    BailOut(&'t str),
    Yaml,
    Diagnostic(&'t str),
    Other,
}

/// `not ok 2 - name # SKIP reason`.
struct ResultLine {
    name: String,
    verdict: VerdictKind,
    message: Option<String>,
}

impl TapOutput {
    pub(super) fn parse(text: &str) -> Self {
        let mut parser = Parser::default();
        for line in text.lines() {
            parser.line(line);
        }
        parser.finish()
    }
}

#[derive(Default)]
struct Parser {
    /// The open blocks, the outermost first.
    blocks: Vec<Block>,
    /// True for KTAP, whose diagnostics come before their result.
    is_kernels: bool,
    /// True within a YAML block.
    in_yaml: bool,
    /// The reason of a plan that skips everything, at the outermost level.
    skipped: Option<String>,
}

impl Parser {
    fn line(&mut self, line: &str) {
        let (indent, rest) = level(without_time(line));
        if self.in_yaml {
            self.in_yaml = rest != "...";
            if self.in_yaml {
                self.explain(rest);
            }
            return;
        }
        match read(rest) {
            Line::Version { is_kernels } => {
                self.is_kernels |= is_kernels;
                self.at(indent);
            }
            Line::Plan { count, skip } => {
                if let (0, Some(reason), 0) = (count, skip, indent) {
                    self.skipped = Some(reason.to_owned());
                }
                self.at(indent).planned = Some(count);
            }
            Line::Subtest(name) => self.at(indent).name = Some(name.to_owned()),
            Line::Result(result) => self.result(indent, result),
            Line::BailOut(reason) => {
                let result = ResultLine {
                    name: "bail out".to_owned(),
                    verdict: VerdictKind::Fail,
                    message: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
                };
                self.result(indent, result);
                // What was planned does not run.
                self.blocks
                    .iter_mut()
                    .for_each(|block| block.planned = None);
            }
            Line::Yaml => self.in_yaml = true,
            Line::Diagnostic(text) => self.explain(text),
            Line::Other => {}
        }
    }

    /// Returns the block of an indentation. Blocks inside it that have not ended are closed without their result.
    fn at(&mut self, indent: usize) -> &mut Block {
        while self.blocks.last().is_some_and(|last| last.indent > indent) {
            self.close_unfinished(indent);
        }
        if self.blocks.last().is_none_or(|last| last.indent < indent) {
            self.blocks.push(Block {
                indent,
                ..Block::default()
            });
        }
        let last = self.blocks.len() - 1;
        &mut self.blocks[last]
    }

    /// Takes a result, and the results of the suite that it ends.
    fn result(&mut self, indent: usize, line: ResultLine) {
        let mut below = Vec::new();
        while self.blocks.last().is_some_and(|last| last.indent > indent) {
            let is_suite = self
                .blocks
                .iter()
                .rev()
                .nth(1)
                .is_none_or(|outer| outer.indent <= indent);
            match self.blocks.pop() {
                Some(suite) if is_suite => below = suite.ended(),
                Some(deeper) => {
                    self.blocks.push(deeper);
                    self.close_unfinished(indent);
                }
                None => {}
            }
        }
        let is_kernels = self.is_kernels;
        let block = self.at(indent);
        block.count += 1;
        let diagnostics = std::mem::take(&mut block.diagnostics);
        let ResultLine {
            mut name,
            verdict,
            message,
        } = line;
        if name.is_empty() {
            name = block.count.to_string();
        }
        let explained = below
            .iter()
            .any(|one: &TapResult| one.verdict == VerdictKind::Fail);
        let is_leaf = below.is_empty();
        for mut one in below {
            one.path.insert(0, name.clone());
            block.results.push(one);
        }
        if is_leaf || verdict == VerdictKind::Fail && !explained {
            let told = is_kernels && verdict == VerdictKind::Fail && !diagnostics.is_empty();
            let message = match (message, told) {
                (Some(message), true) => Some(format!("{message}\n{}", diagnostics.join("\n"))),
                (None, true) => Some(diagnostics.join("\n")),
                (message, false) => message,
            };
            block.results.push(TapResult {
                path: vec![name],
                verdict,
                message,
            });
        }
    }

    /// Adds a line of diagnostics to the result that it belongs to.
    fn explain(&mut self, text: &str) {
        let Some(block) = self.blocks.last_mut() else {
            return;
        };
        let last = block.results.last_mut();
        match last.filter(|last| last.verdict == VerdictKind::Fail) {
            Some(last) if !self.is_kernels => {
                let message = last.message.get_or_insert_default();
                message.push_str(if message.is_empty() { "" } else { "\n" });
                message.push_str(text);
            }
            _ => block.diagnostics.push(text.to_owned()),
        }
    }

    /// Closes the innermost block, whose own result is missing at the indentation `outer`.
    fn close_unfinished(&mut self, outer: usize) {
        let Some(block) = self.blocks.pop() else {
            return;
        };
        if self.blocks.is_empty() {
            self.blocks.push(Block {
                indent: outer,
                ..Block::default()
            });
        }
        let name = block
            .name
            .clone()
            .unwrap_or_else(|| "unfinished".to_owned());
        let mut results = block.ended();
        results.push(TapResult {
            path: Vec::new(),
            verdict: VerdictKind::Fail,
            message: Some("the output ended before its result".to_owned()),
        });
        let outer = self.blocks.last_mut().into_iter();
        outer.for_each(|outer| {
            outer.count += 1;
            let results = results.iter().cloned().map(|mut one| {
                one.path.insert(0, name.clone());
                one
            });
            outer.results.extend(results);
        });
    }

    fn finish(mut self) -> TapOutput {
        while self.blocks.len() > 1 {
            self.close_unfinished(0);
        }
        match (self.blocks.pop(), self.skipped) {
            (_, Some(reason)) => TapOutput::Skipped(reason),
            (None, None) => TapOutput::None,
            (Some(block), None) if block.planned.is_none() && block.results.is_empty() => {
                TapOutput::None
            }
            (Some(block), None) => TapOutput::Results(block.ended()),
        }
    }
}

impl Block {
    /// The results of the block, with one more if some are missing.
    fn ended(self) -> Vec<TapResult> {
        let mut results = self.results;
        if let Some(planned) = self.planned.filter(|planned| *planned != self.count) {
            results.push(TapResult {
                path: vec!["plan".to_owned()],
                verdict: VerdictKind::Fail,
                message: Some(format!("{planned} planned, {} ran", self.count)),
            });
        }
        results
    }
}

/// Removes the kernel's level and time stamp: `<6>[   12.345678] `.
fn without_time(line: &str) -> &str {
    let rest = match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((level, rest)) if level.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => line,
    };
    let Some((time, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        return line;
    };
    let is_time = |byte: u8| byte.is_ascii_digit() || b" .T".contains(&byte);
    match time.bytes().all(is_time) {
        true => after.strip_prefix(' ').unwrap_or(after),
        false => line,
    }
}

/// Returns the indentation of a line and its content. kselftest indents by `# `, which else begins a diagnostic.
fn level(mut line: &str) -> (usize, &str) {
    let mut indent = 0;
    loop {
        let trimmed = line.trim_start();
        indent += line.len() - trimmed.len();
        let nested = trimmed.strip_prefix("# ");
        match nested.filter(|rest| is_structure(level(rest).1)) {
            Some(rest) => {
                indent += 2;
                line = rest;
            }
            None => return (indent, trimmed.trim_end()),
        }
    }
}

/// True for a line that structures the output; a diagnostic may look like any other line.
fn is_structure(rest: &str) -> bool {
    match read(rest) {
        Line::Version { .. } | Line::Plan { .. } => true,
        // A sentence such as `ok now` is a diagnostic.
        Line::Result(_) => {
            let rest = rest.trim_start_matches("not ").trim_start_matches("ok ");
            rest.starts_with(|first: char| first.is_ascii_digit())
        }
        _ => false,
    }
}

fn read(rest: &str) -> Line<'_> {
    if let Some(version) = rest
        .strip_prefix("TAP version ")
        .or(rest.strip_prefix("KTAP version "))
    {
        let is_number = version.bytes().all(|byte| byte.is_ascii_digit());
        if is_number {
            return Line::Version {
                is_kernels: rest.starts_with('K'),
            };
        }
    }
    if let Some(reason) = rest.strip_prefix("Bail out!") {
        return Line::BailOut(reason.trim());
    }
    if rest == "---" {
        return Line::Yaml;
    }
    if let Some(name) = rest.strip_prefix("# Subtest: ") {
        return Line::Subtest(name.trim());
    }
    if let Some(text) = rest.strip_prefix('#') {
        return Line::Diagnostic(text.strip_prefix(' ').unwrap_or(text));
    }
    plan(rest)
        .or_else(|| result(rest).map(Line::Result))
        .unwrap_or(Line::Other)
}

/// Reads `1..5` and `1..0 # SKIP reason`.
fn plan(rest: &str) -> Option<Line<'_>> {
    let rest = rest.strip_prefix("1..")?;
    let (count, comment) = rest.split_once('#').unwrap_or((rest, ""));
    let comment = comment.trim();
    let skips = comment
        .get(..4)
        .is_some_and(|word| word.eq_ignore_ascii_case("skip"));
    let reason = || {
        comment
            .split_once(' ')
            .map_or("", |(_, reason)| reason.trim())
    };
    Some(Line::Plan {
        count: count.trim().parse().ok()?,
        skip: skips.then(reason),
    })
}

fn result(rest: &str) -> Option<ResultLine> {
    let (ok, rest) = match rest.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, rest.strip_prefix("ok")?),
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    let rest = rest.trim_start();
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, text) = match rest[digits..].is_empty() || rest[digits..].starts_with(' ') {
        true => rest.split_at(digits),
        false => ("", rest),
    };
    let text = text.trim_start();
    let text = text.strip_prefix("- ").unwrap_or(text);
    let (name, directive) = split_directive(text);
    let name = name.trim().replace("\\#", "#").replace("\\\\", "\\");
    let (word, reason) = directive.split_once(' ').unwrap_or((directive, ""));
    let told = |reason: &str| Some(reason.trim().to_owned()).filter(|reason| !reason.is_empty());
    let word = word.trim_end_matches(':').to_ascii_uppercase();
    let (verdict, message) = match (ok, word.as_str()) {
        (_, "SKIP" | "SKIPPED") => (VerdictKind::Skip, told(reason)),
        (false, "TODO" | "XFAIL") => (
            VerdictKind::Pass,
            Some(format!("expected to fail: {reason}")),
        ),
        (true, _) => (VerdictKind::Pass, None),
        (false, _) => (VerdictKind::Fail, told(directive)),
    };
    Some(ResultLine {
        name: match name.is_empty() {
            true => number.to_owned(),
            false => name,
        },
        verdict,
        message,
    })
}

/// Splits at the first `#` that is not escaped and that follows a space.
fn split_directive(text: &str) -> (&str, &str) {
    let mut places = text.match_indices('#').map(|(at, _)| at);
    let place = places.find(|at| *at == 0 || text[..*at].ends_with(' '));
    place.map_or((text, ""), |at| (&text[..at], text[at + 1..].trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each result in a line: its path, its verdict, the first line of its message.
    fn parsed(text: &str) -> Vec<String> {
        let TapOutput::Results(results) = TapOutput::parse(text) else {
            panic!("no results: {text}");
        };
        let line = |one: TapResult| {
            let message = one.message.map_or(String::new(), |message| {
                format!(": {}", message.replace('\n', "|"))
            });
            format!("{} {:?}{message}", one.path.join("/"), one.verdict)
        };
        results.into_iter().map(line).collect()
    }

    #[test]
    fn tap_with_directives_and_diagnostics() {
        let text = "TAP version 13\n1..7\nok 1 - opens\nnot ok 2 - reads \\#1\n# got 3\n  ---\n  at: 7\n  ...\nok 3 # SKIP no gpu\n\
                    not ok 4 - new # TODO later\nok - unnumbered\nnoise\nok\nnot ok 7 gone # exit=1\n";
        assert_eq!(
            parsed(text),
            [
                "opens Pass",
                "reads #1 Fail: got 3|at: 7",
                "3 Skip: no gpu",
                "new Pass: expected to fail: later",
                "unnumbered Pass",
                "6 Pass",
                "gone Fail: exit=1",
            ]
        );
    }

    #[test]
    fn ktap_nests() {
        let text = "[    1.000001] KTAP version 1\n[    1.000002] 1..2\n[    1.000003]     KTAP version 1\n\
                    [    1.000004]     # Subtest: list\n[    1.000005]     1..2\n[    1.000006]     ok 1 adds\n\
                    [    1.000007]     # removes: EXPECTATION FAILED at list.c:7\n[    1.000008]     not ok 2 removes\n\
                    [    1.000009] not ok 1 list\n[    1.000010]     KTAP version 1\n[    1.000011]     # Subtest: hash\n\
                    [    1.000012]     1..1\n[    1.000013]     ok 1 finds # SKIP no hash\n[    1.000014] ok 2 hash\n";
        assert_eq!(
            parsed(text),
            [
                "list/adds Pass",
                "list/removes Fail: removes: EXPECTATION FAILED at list.c:7",
                "hash/finds Skip: no hash",
            ]
        );
    }

    #[test]
    fn kselftest_nests_by_comments() {
        let text = "TAP version 13\n1..1\n# timeout set to 45\n# selftests: net: tls\n# TAP version 13\n# 1..2\n# ok 1 a\n# not ok 2 b\n\
                    not ok 1 selftests: net: tls # exit=1\n";
        assert_eq!(
            parsed(text),
            ["selftests: net: tls/a Pass", "selftests: net: tls/b Fail"]
        );
    }

    #[test]
    fn missing_results_fail() {
        assert_eq!(
            parsed("1..3\nok 1 a\n"),
            ["a Pass", "plan Fail: 3 planned, 1 ran"]
        );
        assert_eq!(
            parsed("1..3\nok 1 a\nBail out! no disk\n"),
            ["a Pass", "bail out Fail: no disk"]
        );
        assert_eq!(
            parsed(
                "KTAP version 1\n1..1\n  KTAP version 1\n  # Subtest: list\n  1..2\n  ok 1 adds\n"
            ),
            [
                "list/adds Pass",
                "list/plan Fail: 2 planned, 1 ran",
                "list Fail: the output ended before its result",
            ]
        );
        // The suite failed, though all of its results are ok.
        assert_eq!(
            parsed("1..1\n    1..1\n    ok 1 a\nnot ok 1 - suite # TIMEOUT 45s\n"),
            ["suite/a Pass", "suite Fail: TIMEOUT 45s"]
        );
    }

    #[test]
    fn no_results_are_told() {
        assert_eq!(TapOutput::parse("sh: not found\n"), TapOutput::None);
        assert_eq!(
            TapOutput::parse("TAP version 13\n1..0 # SKIP needs root\n"),
            TapOutput::Skipped("needs root".to_owned())
        );
    }
}
