//! nextest's processes: their start, their output, and the signals that end them.
//!
//! The first Ctrl-C lets nextest end.

use std::{
    process::{ExitStatus, Stdio},
    time::{Duration, SystemTime},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Child,
    signal::unix::SignalKind,
    task::JoinSet,
};

use super::{Nextest, Partition};
use crate::{
    aggregate::nextest_report::NextestReport,
    bounded,
    case::verdict::{EXIT_RUN_FAILED, worst},
    error::Result,
    execute::{
        broker::Broker,
        clean_up::{Interrupts, Signals, Witness},
    },
    process::Spawn,
    ui,
};

/// The time for the last output of a nextest that has ended. A process that nextest left behind may keep the pipe open.
const LAST_OUTPUT: Duration = Duration::from_secs(1);
/// The time between two attempts to continue an interrupted nextest that was stopped.
const RESUME_PERIOD: Duration = Duration::from_millis(100);

/// The end of all nextest runs.
pub(super) struct NextestEnd {
    /// The exit statuses of the partitions.
    pub(super) statuses: Vec<ExitStatus>,
    /// The interrupts by the user.
    pub(super) interrupts: Interrupts,
}

impl NextestEnd {
    /// Returns the worst exit code of the partitions; `None` if a signal ended one.
    pub(super) fn code(&self) -> Option<i32> {
        let codes = self.statuses.iter().map(|status| status.code());
        let codes: Vec<_> = codes.collect::<Option<_>>()?;
        match codes.as_slice() {
            [code] => Some(*code),
            codes => {
                let codes = codes.iter().filter_map(|code| u8::try_from(*code).ok());
                Some(worst(codes).into())
            }
        }
    }
}

impl Nextest {
    /// Runs nextest until all partitions have ended.
    pub(super) async fn run_partitions(
        &self,
        broker: &Broker,
        signals: &mut Signals,
    ) -> Result<NextestEnd> {
        if let Some((set, count)) = &self.options.debugged {
            for index in 0..*count as usize {
                self.provisioner.ready(set, index).await?;
            }
        }
        // A progress bar leaves no room for the messages of long deploys, so it is disabled.
        let makes = self.sets.iter().any(|set| set.makes_machines());
        let draws_bar = self.options.draws_bar && self.partitions.len() == 1;
        let without_bar = makes && draws_bar && !self.options.shows_progress;
        let mut witness = Witness::new();
        let mut running = Running::default();
        for part in &self.partitions {
            let child = self.start(part, without_bar)?;
            let output = match self.options.is_quiet {
                true => Output::Held,
                false => Output::Labelled(self.label(running.count())),
            };
            running.start(child, output);
        }
        // Deploys begin while nextest starts.
        for set in &self.sets {
            self.provisioner.begin_missing(set);
        }
        if draws_bar && !without_bar {
            ui::defer();
        }
        let mut interrupts = Interrupts::default();
        let statuses = loop {
            tokio::select! {
                ended = running.next() => match ended? {
                    Some((part, status)) if !interrupts.any() && self.stops_others(part, status) => {
                        running.stop();
                    }
                    Some(_) => {}
                    None => {
                        // nextest may end by the same signal before it is seen here.
                        if !interrupts.any() && signals.has_arrived() {
                            interrupts.add(signals.next().await);
                            broker.interrupt();
                        }
                        break running.statuses();
                    }
                },
                signal = signals.next() => {
                    let counts = interrupts.add(signal);
                    broker.interrupt();
                    if !witness.saw_it().await && counts {
                        running.signal(signal.kind);
                    }
                    running.resume();
                }
                // nextest stops some time after Ctrl-Z: perhaps after the signal above.
                () = tokio::time::sleep(RESUME_PERIOD), if interrupts.any() => running.resume(),
            }
        };
        ui::flush();
        Ok(NextestEnd {
            statuses,
            interrupts,
        })
    }

    fn start(&self, part: &Partition, without_bar: bool) -> Result<Child> {
        let mut command = self.cargo_nextest.run(&part.stage, without_bar);
        if self.partitions.len() > 1 {
            command.stdin(Stdio::null());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        } else if self.options.stdout_is_taken {
            command.stdout(ui::stderr_file()?);
        }
        if self.options.is_quiet {
            command.stderr(Stdio::piped());
        }
        Spawn::new(command).dies_with_parent().start_async()
    }

    /// Returns the text before each line of a part's output.
    fn label(&self, part: usize) -> String {
        format!("[{}/{}] ", part + 1, self.partitions.len())
    }

    /// Returns true if a part ended by fail-fast.
    fn stops_others(&self, part: usize, status: ExitStatus) -> bool {
        let Some(max_fail) = self.options.max_fail else {
            return false;
        };
        let report = [self.partitions[part].junit.clone()];
        let failed = || {
            let report = NextestReport::read(&report, SystemTime::UNIX_EPOCH)
                .ok()
                .flatten();
            report.map_or(0, |report| report.failed().count() as u64)
        };
        status.code() == Some(EXIT_RUN_FAILED.into()) && (max_fail <= 1 || failed() >= max_fail)
    }
}

/// The processes that have not ended.
#[derive(Default)]
struct Running {
    ends: JoinSet<(usize, std::io::Result<ExitStatus>)>,
    pids: Vec<Option<Pid>>,
    /// True once the processes were told to stop.
    stopped: bool,
    statuses: Vec<Option<ExitStatus>>,
}

impl Running {
    fn count(&self) -> usize {
        self.pids.len()
    }

    /// Adds a process; `output` says what becomes of its output, where that is piped.
    fn start(&mut self, mut child: Child, output: Output) {
        let part = self.count();
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        self.pids.push(pid);
        self.statuses.push(None);
        let mut pipes = JoinSet::new();
        if let Some(out) = child.stdout.take() {
            pipes.spawn(output.clone().of(out));
        }
        if let Some(err) = child.stderr.take() {
            pipes.spawn(output.of(err));
        }
        self.ends.spawn(async move {
            let status = child.wait().await;
            let held = tokio::time::timeout(LAST_OUTPUT, pipes.join_all()).await;
            let tests_decided = |status: &ExitStatus| {
                [Some(0), Some(EXIT_RUN_FAILED.into())].contains(&status.code())
            };
            if !status.as_ref().is_ok_and(tests_decided) {
                let held = held.into_iter().flatten();
                held.for_each(|text| ui::raw(&String::from_utf8_lossy(&text)));
            }
            (part, status)
        });
    }

    /// Waits for the next process to end; `None` if all have ended.
    async fn next(&mut self) -> Result<Option<(usize, ExitStatus)>> {
        let Some(ended) = self.ends.join_next().await else {
            return Ok(None);
        };
        let (part, status) = ended.map_err(std::io::Error::from)?;
        let status = status?;
        self.pids[part] = None;
        self.statuses[part] = Some(status);
        Ok(Some((part, status)))
    }

    /// Lets the processes end early. They are told once: nextest kills running tests at a second interrupt.
    fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopped, true) {
            self.signal(SignalKind::interrupt());
        }
    }

    fn signal(&self, signal: SignalKind) {
        if let Some(signal) = Signal::from_named_raw(signal.as_raw_value()) {
            self.kill(signal);
        }
    }

    /// Lets stopped processes (Ctrl-Z) handle a signal.
    fn resume(&self) {
        self.kill(Signal::CONT);
    }

    fn kill(&self, signal: Signal) {
        for pid in self.pids.iter().flatten() {
            // Fails if the process has just ended.
            let _ = kill_process(*pid, signal);
        }
    }

    fn statuses(&self) -> Vec<ExitStatus> {
        self.statuses.iter().flatten().copied().collect()
    }
}

/// The use of a process's output.
#[derive(Clone)]
enum Output {
    /// Every line is printed, with this label.
    Labelled(String),
    /// The end is kept.
    Held,
}

impl Output {
    /// Reads the output to its end, and returns what is kept.
    async fn of(self, pipe: impl AsyncRead + Unpin) -> Vec<u8> {
        let (mut pipe, mut line, mut held) = (BufReader::new(pipe), Vec::new(), Vec::new());
        while let Ok(1..) = pipe.read_until(b'\n', &mut line).await {
            match &self {
                Self::Labelled(label) => {
                    let text = String::from_utf8_lossy(&line);
                    ui::raw(&format!("{label}{}\n", text.trim_end_matches('\n')));
                }
                Self::Held => bounded::extend_tail(&mut held, &line),
            }
            line.clear();
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With three partitions, the second one that ends must not interrupt the third again.
    #[tokio::test]
    async fn partitions_are_told_to_stop_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("signals");
        let mut command = crate::process::command("sh");
        let line =
            "trap 'echo INT' INT; trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done";
        command.args(["-c", line]);
        command.stdout(std::fs::File::create(&file).unwrap());
        let mut running = Running::default();
        running.start(Spawn::new(command).start_async().unwrap(), Output::Held);
        let says = async |what: &str| {
            while !std::fs::read_to_string(&file).unwrap().contains(what) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        says("ready").await;
        running.stop();
        says("INT").await;
        running.stop();
        running.signal(SignalKind::terminate());
        assert!(running.next().await.unwrap().is_some());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "ready\nINT\n");
    }
}
