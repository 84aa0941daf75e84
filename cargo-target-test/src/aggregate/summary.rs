//! The lines after nextest's own summary: verdicts beyond pass and fail, and instances.

// Must not know how instances are provided or deleted.

mod verdicts;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use clap::ValueEnum;

use super::Aggregator;
use crate::{
    case::{
        CaseInfo,
        reason::SkipReason,
        verdict::{CaseCounts, Verdict},
    },
    error::{Result, one_line},
    run_event::{AttemptResult, CleanUp, InstanceNote, RunEvent, RunEventKind, TargetTime},
    ui::{
        self, Style,
        table::{self, Cell},
    },
};

/// The minimum time of fixtures and of failed deploys to print a line.
const WORTH_SAYING: Duration = Duration::from_millis(100);
/// The maximum number of names in a line.
const OFTEN: usize = 10;

/// Lists the names, or the first names and the number of further names.
fn few(names: &[&str]) -> String {
    let shown = names.len().min(OFTEN);
    let more = names.len() - shown;
    let end = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    names[..shown].join(", ") + &end
}

/// A binary's id and the name of a case or deploy entry.
type Name = (Arc<str>, String);

/// The lines that a run prints in addition to nextest's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum SummaryLevel {
    /// The table of targets and verdicts; nothing of nextest
    Table,
    /// Also failures, infra and the remaining instances
    Failures,
    /// Also the targets, skipped cases, times and the path of the report
    #[default]
    Full,
}

/// Collects the lines and prints them at the end of the run.
#[derive(Debug, Default)]
pub struct Summary {
    level: SummaryLevel,
    /// The final remark on each case that has one.
    cases: BTreeMap<Name, LastWord>,
    /// Tests that the plan skips.
    skipped: Vec<(Arc<CaseInfo>, SkipReason)>,
    fixtures: Duration,
    took: Duration,
    used: Vec<TargetTime>,
    set_aside: BTreeSet<String>,
    end: CleanUp,
    counts: CaseCounts,
    /// The ways to reach instances, by name.
    reach: BTreeMap<String, String>,
}

/// A remark on the last attempt of a case.
#[derive(Debug)]
enum LastWord {
    Skipped(SkipReason),
    FailedAsExpected(String),
    Crashed(String),
    Infra { cause: String, source: InfraSource },
}

/// The entry that has the infra.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InfraSource {
    /// A deploy entry, whose output has the whole cause.
    Deploy,
    /// A case that ran, whose output has the whole cause.
    Ran,
    /// A case that did not run, whose output has one line of the cause.
    Refused,
}

impl Aggregator for Summary {
    fn ingest(&mut self, event: &RunEvent) -> Result<()> {
        match &event.kind {
            RunEventKind::AttemptEnded { attempt, result } => {
                self.fixtures += result.fixtures;
                self.took += result.took;
                self.note(&attempt.case, last_word(result));
            }
            RunEventKind::DeployShown {
                attempt, verdict, ..
            } => {
                let word = match verdict {
                    Verdict::Skip(reason) => Some(LastWord::Skipped(reason.clone())),
                    verdict => infra(verdict, InfraSource::Deploy),
                };
                self.note(&attempt.case, word);
            }
            RunEventKind::Overruled { attempt, .. } => self.note(&attempt.case, None),
            RunEventKind::Skipped { case, reason } => {
                self.skipped.push((Arc::clone(case), reason.clone()));
            }
            RunEventKind::DeployEnded {
                instance,
                reach: Some(reach),
                ..
            } => {
                self.reach.insert(instance.clone(), reach.clone());
            }
            RunEventKind::SetAside { instance } => {
                self.set_aside.insert(instance.clone());
            }
            RunEventKind::TargetUsed(used) => self.used.push(used.clone()),
            RunEventKind::CleanedUp(end) => self.end = end.clone(),
            RunEventKind::CasesCounted(counts) => self.counts = counts.clone(),
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if self.level == SummaryLevel::Full {
            self.skips().iter().for_each(ui::note);
            self.expected().iter().for_each(ui::note);
            self.print_skipped();
        }
        if self.level >= SummaryLevel::Failures {
            self.crashes().iter().for_each(ui::note);
            self.infra().iter().for_each(ui::note);
            self.print_instances();
        }
        if self.level == SummaryLevel::Full {
            self.print_fixtures();
        }
        for (notes, what) in [
            (&self.end.dirty, "is dirty"),
            (&self.end.unknown, "was left unchanged"),
            (&self.end.failed, "could not be deleted"),
        ] {
            for InstanceNote { instance, note } in notes {
                ui::warn(format!("{instance} {what}: {note}"));
            }
        }
        self.print_counts();
        if self.level >= SummaryLevel::Failures {
            self.print_kept();
        }
        Ok(())
    }
}

fn last_word(result: &AttemptResult) -> Option<LastWord> {
    match (&result.verdict, &result.expected) {
        (Verdict::Skip(reason), _) => Some(LastWord::Skipped(reason.clone())),
        (Verdict::Pass, Some(reason)) => Some(LastWord::FailedAsExpected(reason.clone())),
        (Verdict::Crash(cause), _) => Some(LastWord::Crashed(cause.clone())),
        (verdict, _) => infra(
            verdict,
            match result.exit {
                Some(_) => InfraSource::Ran,
                None => InfraSource::Refused,
            },
        ),
    }
}

fn infra(verdict: &Verdict, source: InfraSource) -> Option<LastWord> {
    match verdict {
        Verdict::Infra(cause) => Some(LastWord::Infra {
            cause: cause.clone(),
            source,
        }),
        _ => None,
    }
}

impl Summary {
    /// A summary of these lines.
    pub fn new(level: SummaryLevel) -> Self {
        Self {
            level,
            ..Self::default()
        }
    }

    fn note(&mut self, case: &CaseInfo, word: Option<LastWord>) {
        let name = (case.binary_id.clone(), case.name.clone());
        match word {
            Some(word) => self.cases.insert(name, word),
            None => self.cases.remove(&name),
        };
    }

    /// Prints the instances that remain for other reasons than the user's request, or that the run cleaned up.
    fn print_instances(&self) {
        let set_aside: Vec<_> = self.set_aside.iter().cloned().collect();
        let by = |held: &InstanceNote| format!("{} ({})", held.instance, held.note);
        let held: Vec<_> = self.end.held.iter().map(by).collect();
        for (what, names) in [
            ("set aside after 3 infra in a row", &set_aside),
            ("still used by others", &held),
            ("kept earlier and not used by this run", &self.end.unused),
            ("no longer kept", &self.end.unkept),
            ("cleaned up after an interrupted run", &self.end.left),
        ] {
            if !names.is_empty() {
                ui::note(format!("{what}: {}", names.join(", ")));
            }
        }
    }

    /// Prints where kept instances are, and how to use and delete them.
    fn print_kept(&self) {
        let kept = &self.end.kept;
        let Some(first) = kept.first() else {
            return;
        };
        let shown = kept.len().min(OFTEN);
        let row = |instance: &String| {
            let reach = self.reach.get(instance).map_or("", String::as_str);
            let cells = [instance, reach].map(Cell::left);
            cells.into()
        };
        let rows: Vec<_> = kept[..shown].iter().map(row).collect();
        for line in table::lines(&rows, None) {
            ui::status("Kept", Style::Good, line);
        }
        if kept.len() > shown {
            ui::status("", Style::Good, format!("and {} more", kept.len() - shown));
        }
        let shell = "cargo target-test shell";
        // A machine of an environment has another name.
        let reach = self.reach.get(first).filter(|how| how.starts_with(shell));
        let shell = reach.map_or_else(|| format!("{shell} {first}"), String::clone);
        ui::status("Shell", Style::Bold, shell);
        ui::status("Delete", Style::Bold, "cargo target-test --delete-targets");
    }

    /// Prints the cases by their results: with several targets, a table and the sum below it.
    fn print_counts(&self) {
        if self.counts.is_empty() {
            return;
        }
        if self.used.len() > 1 || self.level == SummaryLevel::Table {
            ui::lines(&verdicts::lines(
                &self.used,
                &self.counts,
                ui::columns_err(),
            ));
        } else if self.level == SummaryLevel::Full {
            let used = self.instance_seconds();
            if !used.is_empty() {
                ui::note(format!("instance-seconds: {used}"));
            }
        }
        ui::result_list(&self.counts);
    }

    /// Prints the part of the tests' time that fixtures took.
    fn print_fixtures(&self) {
        if self.fixtures > WORTH_SAYING {
            let [fixtures, all] = [self.fixtures, self.took].map(|time| time.as_secs_f64());
            ui::note(format!(
                "fixtures took {fixtures:.1} s of the tests' {all:.1} s"
            ));
        }
    }

    /// Prints a few tests that run nowhere.
    fn print_skipped(&self) {
        let few = self.skipped.len().min(OFTEN);
        for (test, reason) in &self.skipped[..few] {
            ui::note(format!("skip: {test}: {reason}"));
        }
        if self.skipped.len() > few {
            let more = self.skipped.len() - few;
            ui::note(format!(
                "skip: and {more} more (`cargo target-test list` shows all)"
            ));
        }
    }

    /// Formats used instance-seconds: `debian 12.3 (2 instances), fedora 4.0`, with costs if they differ. Targets whose
    /// instances were never used are omitted.
    fn instance_seconds(&self) -> String {
        let costs = self.used.iter().any(|used| used.cost != self.used[0].cost);
        let one = |used: &TargetTime| {
            let seconds = used.time.as_secs_f64();
            let several = match used.instances {
                1 => String::new(),
                count => format!(" ({count} instances)"),
            };
            let cost = match costs {
                true => format!(" at cost {}", used.cost),
                false => String::new(),
            };
            format!("{} {seconds:.1}{several}{cost}", used.target)
        };
        let used = self.used.iter();
        let used = used.filter(|used| used.instances > 0 || used.time > WORTH_SAYING);
        used.map(one).collect::<Vec<_>>().join(", ")
    }

    /// Formats skipped cases and entries, grouped by reason.
    fn skips(&self) -> Vec<String> {
        self.grouped("skip", |word| match word {
            LastWord::Skipped(reason) => Some(reason.to_string()),
            _ => None,
        })
    }

    /// Formats the cases that failed as expected, grouped by reason.
    fn expected(&self) -> Vec<String> {
        self.grouped("failed as expected", |word| match word {
            LastWord::FailedAsExpected(reason) => Some(reason.clone()),
            _ => None,
        })
    }

    fn grouped(&self, what: &str, reason: impl Fn(&LastWord) -> Option<String>) -> Vec<String> {
        let mut groups = BTreeMap::<String, Vec<&str>>::new();
        for ((_, case), word) in &self.cases {
            if let Some(reason) = reason(word) {
                groups.entry(reason).or_default().push(case);
            }
        }
        let groups = groups.into_iter();
        let line = |(reason, names): (String, Vec<&str>)| {
            format!("{what}: {}: {}", few(&names), one_line(&reason))
        };
        groups.map(line).collect()
    }

    /// Formats the cases under which the system crashed. nextest's output has the full cause.
    fn crashes(&self) -> Vec<String> {
        let crash = |((_, case), word): (&Name, &LastWord)| match word {
            LastWord::Crashed(cause) => Some(format!("crash: {case}: {}", one_line(cause))),
            _ => None,
        };
        self.cases.iter().filter_map(crash).collect()
    }

    /// Formats infra failures grouped by cause, affected cases first. A failed deploy is listed only if no case waited
    /// for it. The cause is one line if the output of an entry has it whole, else all of it.
    fn infra(&self) -> Vec<String> {
        let mut causes = BTreeMap::<&str, Vec<(InfraSource, &str)>>::new();
        for ((_, name), word) in &self.cases {
            if let LastWord::Infra { cause, source } = word {
                causes.entry(cause).or_default().push((*source, name));
            }
        }
        let block = |(cause, entries): (&str, Vec<(InfraSource, &str)>)| {
            let is_case = |(source, _): &&(InfraSource, &str)| *source != InfraSource::Deploy;
            let only_deploys = !entries.iter().any(|entry| is_case(&entry));
            let listed = entries
                .iter()
                .filter(|entry| only_deploys || is_case(entry));
            let names: Vec<_> = listed.map(|(_, name)| *name).collect();
            let is_shown = entries
                .iter()
                .any(|(source, _)| *source != InfraSource::Refused);
            let cause = match is_shown {
                true => one_line(cause),
                false => cause.trim_end().replace('\n', "\n    "),
            };
            format!("infra: {}: {cause}", few(&names))
        };
        causes.into_iter().map(block).collect()
    }
}

#[cfg(test)]
mod tests {
    use target_fixtures::wire::Exit;

    use super::*;
    use crate::run_event::Attempt;

    #[test]
    fn a_cause_is_told_once() {
        let cause = || Verdict::Infra("a-0 could not be deployed: code 3:\nno quota".to_owned());
        let mut summary = Summary::default();
        let mut ingest = |kind| {
            let event = RunEvent::new(0, Duration::ZERO, Duration::ZERO, kind);
            summary.ingest(&event).expect("no I/O");
        };
        let attempt = |binary: &str, name: &str| Attempt {
            case: Arc::new(CaseInfo::on_host(binary, name)),
            stress_index: None,
            number: 1,
        };
        let deploy = |instance: &str, verdict| RunEventKind::DeployShown {
            attempt: attempt("@target-test", &format!("deploy[{instance}]")),
            instance: instance.to_owned(),
            took: Duration::ZERO,
            verdict,
        };
        let ended = |name: &str, verdict| RunEventKind::AttemptEnded {
            attempt: attempt("x", name),
            result: Box::new(AttemptResult::new(verdict)),
        };
        ingest(deploy("a-0", cause()));
        ingest(deploy("b-0", Verdict::Infra("no such image".to_owned())));
        for number in 100..112 {
            ingest(ended(&format!("t{number}[a]"), cause()));
        }
        // No deploy entry shows the deploy of a replacement.
        for name in ["u1[c]", "u2[c]"] {
            let cause = "c-0 could not be deployed: code 3:\nno quota\ncall 4711\n";
            ingest(ended(name, Verdict::Infra(cause.to_owned())));
        }
        let lost = Verdict::Infra("c-0 does not answer:\na line\nthe last line".to_owned());
        ingest(RunEventKind::AttemptEnded {
            attempt: attempt("x", "v[c]"),
            result: Box::new(AttemptResult {
                exit: Some(Exit::Code(1)),
                ..AttemptResult::new(lost)
            }),
        });
        let panic = "a-0: its kernel panicked; its console ends:\n[1] Kernel panic - not syncing: sysrq\n\
            [2] Kernel Offset: disabled\n[2] ---[ end Kernel panic - not syncing: sysrq ]---";
        ingest(ended("bad[a]", Verdict::Crash(panic.to_owned())));
        // A later attempt replaces the remark.
        ingest(ended("again[a]", cause()));
        ingest(ended("again[a]", Verdict::Pass));
        ingest(ended("shaky[a]", Verdict::Crash(panic.to_owned())));
        ingest(ended("shaky[a]", Verdict::Pass));
        assert_eq!(
            summary.crashes(),
            [
                "crash: bad[a]: a-0: its kernel panicked; its console ends: [1] Kernel panic - not syncing: sysrq"
            ]
        );
        assert_eq!(
            summary.infra(),
            [
                "infra: t100[a], t101[a], t102[a], t103[a], t104[a], t105[a], t106[a], t107[a], t108[a], t109[a] \
                 and 2 more: a-0 could not be deployed: code 3: no quota",
                "infra: u1[c], u2[c]: c-0 could not be deployed: code 3:\n    no quota\n    call 4711",
                "infra: v[c]: c-0 does not answer: the last line",
                "infra: deploy[b-0]: no such image",
            ]
        );
    }
}
