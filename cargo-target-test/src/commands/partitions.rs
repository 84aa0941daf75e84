//! `--partitions N`: splits the cases into N parallel runs that share one pool, and combines their results.
//!
//! Must not know what a run does.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::{
    aggregate::junit,
    case::verdict::worst,
    cli::{self, RunArgs},
    error::{Error, ErrorKind, Result},
    process, ui,
};

/// The polling interval of the runs.
const POLL: Duration = Duration::from_millis(20);

/// Runs the parts, and returns the worst exit code.
///
/// # Errors
/// Fails if the options are invalid or a part cannot be started.
pub fn run(args: &RunArgs, parts: u16) -> Result<u8> {
    refuse_what_is_one_run(args)?;
    let seed = args.tests.choosing.seed;
    let [told, ended] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    signal_hook::flag::register(SIGINT, Arc::clone(&told))?;
    for signal in [SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended))?;
    }
    let junit = args.junit.as_deref();
    let runs = (1..=parts).map(|part| Part::start((part, parts), junit, seed));
    let mut runs = runs.collect::<Result<Vec<_>>>()?;
    let code = loop {
        // Ctrl-C in a terminal reaches the parts directly; other signals reach only this process.
        let alone = told.swap(false, Ordering::Relaxed) && !process::has_terminal();
        if ended.swap(false, Ordering::Relaxed) || alone {
            runs.iter().for_each(Part::end);
        }
        let mut codes = Vec::new();
        for run in &mut runs {
            codes.extend(run.code()?);
        }
        if codes.len() == runs.len() {
            break worst(codes);
        }
        thread::sleep(POLL);
    };
    if let Some(file) = junit {
        junit::merge(file, runs.iter().filter_map(|run| run.junit.as_deref()))?;
    }
    Ok(code)
}

/// Rejects options that apply only to a single run.
///
/// # Errors
/// [`ErrorKind::Usage`] for such an option.
fn refuse_what_is_one_run(args: &RunArgs) -> Result<()> {
    let alone = ["partition", "debugger", "tracer"]
        .into_iter()
        .find(|option| args.tests.nextest.has(option))
        .or(args.shell_on_failure.then_some("shell-on-failure"));
    if let Some(option) = alone {
        let message = format!("`--partitions` cannot be combined with `--{option}`");
        return Err(Error::new(ErrorKind::Usage, message));
    }
    Ok(())
}

/// The run of one part.
struct Part {
    child: Child,
    readers: Vec<thread::JoinHandle<()>>,
    junit: Option<PathBuf>,
}

impl Part {
    fn start((part, parts): (u16, u16), junit: Option<&Path>, seed: Option<u64>) -> Result<Self> {
        let junit = junit.map(|file| {
            let mut name = file.as_os_str().to_owned();
            name.push(format!(".part-{part}"));
            PathBuf::from(name)
        });
        let mut command = process::command(std::env::current_exe()?);
        command.arg(format!("--partition=slice:{part}/{parts}"));
        command.arg("--no-tests=pass");
        command.args(seed.map(|seed| format!("--seed={seed}")));
        if let Some(file) = &junit {
            command.arg("--junit").arg(file);
        }
        command.args(own_words(std::env::args_os().skip(1).collect()));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = process::Spawn::new(command).dies_with_parent().start()?;
        let name = format!("[{part}/{parts}] ");
        let mut readers = Vec::new();
        if let Some(out) = child.stdout.take() {
            readers.push(pass_on(name.clone(), out));
        }
        if let Some(err) = child.stderr.take() {
            readers.push(pass_on(name, err));
        }
        Ok(Self {
            child,
            readers,
            junit,
        })
    }

    /// Returns the exit code after the run has ended and its output is forwarded; otherwise `None`.
    fn code(&mut self) -> Result<Option<u8>> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(None);
        };
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(Some(code.unwrap_or(ErrorKind::Other.exit_code())))
    }

    fn end(&self) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        pid.map(|pid| kill_process(pid, Signal::TERM));
    }
}

/// Returns the arguments of this process for one part, without options that differ by part.
fn own_words(words: Vec<OsString>) -> Vec<OsString> {
    let mut own = Vec::new();
    let mut words = words.into_iter().enumerate();
    while let Some((at, word)) = words.next() {
        let text = word.to_string_lossy();
        let ours = |option: &str| text == option || text.starts_with(&format!("{option}="));
        if text == "--" {
            own.push(word);
            own.extend(words.by_ref().map(|(_, word)| word));
        } else if ["--partitions", "--junit", "--no-tests", "--seed"]
            .into_iter()
            .any(ours)
        {
            if !text.contains('=') {
                words.next();
            }
        } else if at > 0 || text != cli::subcommand() {
            own.push(word);
        }
    }
    own
}

fn pass_on(name: String, from: impl Read + Send + 'static) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(from)
            .split(b'\n')
            .map_while(std::io::Result::ok)
        {
            ui::raw(&format!("{name}{}\n", String::from_utf8_lossy(&line)));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_told_all_but_what_is_another_parts() {
        let words =
            "target-test run --partitions 2 -p x --junit=a --no-tests fail smoke -- --partitions";
        let own = own_words(words.split(' ').map(OsString::from).collect());
        let own: Vec<_> = own.iter().filter_map(|word| word.to_str()).collect();
        assert_eq!(own.join(" "), "run -p x smoke -- --partitions");
    }
}
