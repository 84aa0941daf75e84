//! Builds the feed of a run from nothing: four targets with three instances each, and any number of cases.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use serde_json::{Value, json};

const TARGETS: [&str; 4] = ["debian", "fedora", "alpine", "ubuntu"];

/// The events so far, each with its time in microseconds.
pub(super) struct Synthetic {
    events: Vec<(u64, Value)>,
    /// The time at which each instance is free, by target.
    free: [[u64; 3]; 4],
    random: u64,
}

impl Synthetic {
    /// A run of this many cases whose instances are ready after three seconds.
    pub(super) fn new(cases: usize) -> Self {
        let started = json!({ "event": "run-started", "run": "synthetic", "tool": "0.1.0", "workspace": "/home/me/widget", "cases": cases, "on-host": 0 });
        let mut run = Self {
            events: vec![(0, started)],
            free: [[3_000_000; 3]; 4],
            random: 7,
        };
        for name in TARGETS {
            let target = json!({ "name": name, "label": name, "platform": "qemu" });
            for index in 0..3 {
                let instance = format!("{name}-{index}");
                run.event(
                    1000,
                    json!({ "event": "deploy-started", "instance": instance, "target": target }),
                );
                run.event(
                    2_000_000,
                    json!({ "event": "prepare-started", "instance": instance }),
                );
                run.event(
                    2_900_000,
                    json!({ "event": "prepare-ended", "instance": instance, "took": 900_000 }),
                );
                run.event(2_900_000, json!({ "event": "facts", "instance": instance, "facts": { "arch": "x86_64", "os": name } }));
                run.event(2_900_000, json!({ "event": "deploy-ended", "instance": instance, "took": 2_899_000, "reused": false, "target": target }));
            }
        }
        run
    }

    fn event(&mut self, at: u64, event: Value) {
        self.events.push((at, event));
    }

    /// The next number below `limit`, the same in every run.
    fn below(&mut self, limit: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % limit
    }

    /// Adds a case: most pass, some fail, are flaky, are skipped, or are infra. Its output is added by [`Self::write`].
    pub(super) fn case(&mut self, number: usize) {
        let (target, test) = (number % 4, number / 4);
        let name = TARGETS[target];
        let area = ["net", "fs", "xdp", "boot"][test % 4];
        let mut metadata = json!({ "area": area, "priority": test % 5 });
        if test.is_multiple_of(7) {
            metadata["tags"] = json!(["slow"]);
        }
        let path = format!("module_{}::checks_{test}", test % 97);
        let case = json!({
            "binary-id": format!("widget::area{}", test % 40),
            "name": format!("{path}[{name}]"),
            "test": path,
            "runs-on": { "target": { "name": name, "label": name } },
            "metadata": metadata,
        });
        if test % 83 == 5 {
            let reason = json!({ "plan": { "feature": { "feature": "kvm", "target": name } } });
            return self.event(
                1,
                json!({ "event": "skipped", "case": case, "reason": reason }),
            );
        }
        let verdicts = match self.below(1000) {
            0..4 => vec![json!("fail")],
            4..7 => vec![json!("fail"), json!("pass")],
            7..9 => vec![json!({ "infra": "the machine does not answer" })],
            9 => vec![json!({ "crash": "kernel panic - not syncing" })],
            _ => vec![json!("pass")],
        };
        for (verdict, attempt) in verdicts.into_iter().zip(1..) {
            let took = 5000 + self.below(60_000);
            self.attempt(&Attempted {
                case: &case,
                target,
                number: attempt,
                lease: format!("{number}-{attempt}"),
                verdict,
                took,
                output: None,
            });
        }
    }

    /// Adds a failing case all of whose texts are the same.
    pub(super) fn hostile(&mut self, number: usize, text: &str) {
        let case = json!({
            "binary-id": text,
            "name": format!("{number}{text}[{text}]"),
            "test": format!("{number}{text}"),
            "runs-on": { "target": { "name": text, "label": text } },
            "metadata": { "doc": text, "area": text, "tags": [text], "owner": text },
        });
        let lease = number.to_string();
        self.attempt(&Attempted {
            case: &case,
            target: number % 4,
            number: 1,
            lease,
            verdict: json!("fail"),
            took: 5000,
            output: Some(text),
        });
        self.event(1, json!({ "event": "warning", "message": text }));
        self.event(
            1,
            json!({ "event": "facts", "instance": text, "facts": { text: text } }),
        );
        let skipped = json!({ "binary-id": text, "name": format!("skip{text}"), "test": format!("skip{text}"), "runs-on": "host" });
        self.event(2, json!({ "event": "skipped", "case": skipped, "reason": { "plan": { "declared": text } } }));
    }

    /// Adds an attempt on the instance that is free first.
    fn attempt(&mut self, one: &Attempted<'_>) {
        let free = self.free[one.target];
        let index = (0..3).min_by_key(|index| free[*index]).unwrap_or(0);
        let (start, instance) = (free[index], format!("{}-{index}", TARGETS[one.target]));
        self.free[one.target][index] = start + one.took + 8000;
        let attempt = json!({ "case": one.case, "number": one.number });
        let text = one.output.unwrap_or("uname -r");
        self.event(
            start - 400_000,
            json!({ "event": "lease-waiting", "attempt": attempt }),
        );
        self.event(start, json!({ "event": "lease-granted", "lease": one.lease, "attempt": attempt, "instances": [instance], "waited": 400_000 }));
        self.event(
            start + 3000,
            json!({ "event": "attempt-started", "attempt": attempt, "instances": [instance] }),
        );
        let command = json!({ "event": "remote-command", "instance": instance, "lease": one.lease, "command": text, "took": 1000, "exit": { "code": 0 } });
        self.event(start + 4000, command);
        if let Some(text) = one.output {
            self.event(
                start + 4000,
                json!({ "event": "console", "instance": instance, "text": text }),
            );
            let result = json!({ "path": [text], "lane": text, "verdict": "fail", "started": 0, "took": 1, "message": text });
            self.event(
                start + 4000,
                json!({ "event": "sub-result", "attempt": attempt, "result": result }),
            );
            self.event(start + 4000, json!({ "event": "record", "attempt": attempt, "name": text, "value": 1.0, "unit": text }));
        }
        let mut result = json!({ "verdict": one.verdict, "instances": [instance], "waited": 400_000, "took": one.took, "fixtures": one.took / 3, "tear-down": one.took / 10, "exit": { "code": 0 } });
        if one.verdict == "fail" {
            result["message"] = json!(one.output.unwrap_or("assertion failed"));
            result["findings"] = json!(one.output.map_or(vec![], |text| vec![text]));
        }
        if let Some(text) = one.output {
            result["stderr"] = json!({ "path": text, "length": text.len(), "tail": text });
        }
        self.event(
            start + 3000 + one.took,
            json!({ "event": "attempt-ended", "attempt": attempt, "result": result }),
        );
        self.event(start + 5000 + one.took, json!({ "event": "lease-ended", "lease": one.lease, "instances": [instance], "held": one.took + 5000 }));
    }

    /// Writes the feed; each attempt has an output of this length.
    pub(super) fn write(mut self, file: &Path, output: usize) {
        self.events.sort_by_key(|(at, _)| *at);
        let end = self.events.last().map_or(0, |(at, _)| at + 1000);
        self.event(
            end,
            json!({ "event": "run-ended", "exit-code": 100, "interrupted": false }),
        );
        let mut feed = BufWriter::new(File::create(file).expect("a feed"));
        let text = "a line of output that says a little\n".repeat(output / 30);
        for ((at, mut event), seq) in self.events.into_iter().zip(0..) {
            if let Some(result) = event
                .get_mut("result")
                .filter(|result| result.get("waited").is_some())
            {
                let path = format!("/elsewhere/synthetic/output/{seq}/stdout");
                result["stdout"] =
                    json!({ "path": path, "length": output, "tail": &text[..output] });
            }
            event["version"] = json!(1);
            event["seq"] = json!(seq);
            event["monotonic"] = json!(at);
            event["wall"] = json!(1_795_942_514_740_605 + at);
            writeln!(feed, "{event}").expect("the feed");
        }
    }
}

/// One attempt.
struct Attempted<'a> {
    case: &'a Value,
    target: usize,
    number: u32,
    lease: String,
    verdict: Value,
    took: u64,
    /// The text of everything in the attempt.
    output: Option<&'a str>,
}
