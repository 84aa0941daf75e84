//! `shell`: opens an interactive shell on an instance.
//!
//! Must not know how an instance is reached.

use std::{
    io::IsTerminal,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{process::Child, signal::unix::SignalKind};

use crate::{
    cli::{Global, ShellArgs},
    commands::{
        interactive::{AccessRequest, MachineGuard},
        up,
    },
    connect::{self, Reach, ssh_file},
    error::Result,
    execute::clean_up::signals::Signals,
    process,
    provision::{LeaseEnd, platform::Platforms},
    run::private,
    ui,
};

/// The time limit for a shell to end after a signal.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the verb. The exit code is that of the shell.
///
/// # Errors
/// Fails if the instance is unavailable or unreachable.
pub fn verb(platforms: &Platforms, global: &Global, args: &ShellArgs) -> Result<u8> {
    let ask = AccessRequest {
        platforms,
        global,
        on: &args.on,
        now: args.now,
        what: "shell",
    };
    if std::io::stdin().is_terminal() {
        up::offer(&ask)?;
    }
    ask.run(async |guard, signals| open(guard, signals).await)
}

/// Runs a shell until it ends.
async fn open(guard: &MachineGuard, signals: &mut Signals) -> Result<(u8, LeaseEnd)> {
    let name = guard.machine.name();
    let deployed = guard.deployed()?;
    let private = private::private_directory()?;
    let config = private.path().join("ssh_config");
    if let Reach::Ssh(reach) = &deployed.reach {
        ssh_file::write(&config, name, reach)?;
    }
    let tty = std::io::stdin().is_terminal();
    if tty {
        ui::note(format!("a shell on {name} ({})", deployed.address()));
    }
    let shell =
        connect::interactive::shell(&deployed.reach, name, &config, &guard.environment(), tty)?;
    let (status, end) = run(shell, signals).await?;
    // The shell was ended by the close of its terminal, even if this process got no signal.
    let closed = tty && !std::io::stdin().is_terminal();
    Ok((code(status), if closed { LeaseEnd::CutOff } else { end }))
}

/// Runs the shell and forwards signals that end it, such as the close of the terminal. Ctrl-C and Ctrl-\\ are left to the
/// shell, which has them too.
async fn run(shell: Command, signals: &mut Signals) -> Result<(ExitStatus, LeaseEnd)> {
    let mut child = process::Spawn::new(shell)
        .dies_with_parent()
        .start_async()?;
    loop {
        let signal = tokio::select! {
            status = child.wait() => return Ok((status?, LeaseEnd::Done)),
            signal = signals.next() => signal,
        };
        if !signal.is_sent && [SignalKind::interrupt(), SignalKind::quit()].contains(&signal.kind) {
            continue;
        }
        let signal = signal.kind;
        pass_on(&child, Signal::from_named_raw(signal.as_raw_value()));
        if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
            child.start_kill()?;
        }
        child.wait().await?;
        // Report the signal, regardless of how the shell handled it.
        return Ok((
            ExitStatus::from_raw(signal.as_raw_value()),
            LeaseEnd::CutOff,
        ));
    }
}

fn pass_on(child: &Child, signal: Option<Signal>) {
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let (Some(pid), Some(signal)) = (pid, signal) {
        // The process may have ended already.
        let _ = kill_process(pid, signal);
    }
}

fn code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(255),
        (None, signal) => process::code_of_signal(signal.unwrap_or(127)),
    }
}
