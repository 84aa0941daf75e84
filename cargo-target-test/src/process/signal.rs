//! Signals' names and numbers.

use rustix::process::Signal;

/// Those that a test or a command ends by; some have other numbers on other systems.
const SIGNALS: &[(Signal, &str)] = &[
    (Signal::HUP, "HUP"),
    (Signal::INT, "INT"),
    (Signal::QUIT, "QUIT"),
    (Signal::ILL, "ILL"),
    (Signal::TRAP, "TRAP"),
    (Signal::ABORT, "ABRT"),
    (Signal::BUS, "BUS"),
    (Signal::FPE, "FPE"),
    (Signal::KILL, "KILL"),
    (Signal::USR1, "USR1"),
    (Signal::SEGV, "SEGV"),
    (Signal::USR2, "USR2"),
    (Signal::PIPE, "PIPE"),
    (Signal::ALARM, "ALRM"),
    (Signal::TERM, "TERM"),
];

/// A signal's name without `SIG`, or its number.
pub fn signal_name(number: i32) -> String {
    let known = SIGNALS.iter().find(|(signal, _)| signal.as_raw() == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

/// The number of a signal's name as [`signal_name`] gives it.
pub fn signal_number(name: &str) -> Option<i32> {
    let known = SIGNALS
        .iter()
        .find(|(_, n)| *n == name)
        .map(|(signal, _)| signal.as_raw());
    known.or_else(|| name.parse().ok())
}
