//! Converts between names and numbers of signals.

use rustix::process::Signal;

/// Signals that terminate a process. Their numbers differ between systems.
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

/// Returns the name of a signal without `SIG`, or its number if the name is unknown.
pub fn signal_name(number: i32) -> String {
    let known = SIGNALS.iter().find(|(signal, _)| signal.as_raw() == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

/// Returns the name of the signal that an exit code of a shell stands for (128 + number), if any.
pub fn signal_of_code(code: i32) -> Option<String> {
    let number = code.checked_sub(128)?;
    (1..=64).contains(&number).then(|| signal_name(number))
}

/// Returns a shell's exit code for a process that this signal ended.
pub fn code_of_signal(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(255)
}

/// Returns the number of a signal, given the result of [`signal_name`].
pub fn signal_number(name: &str) -> Option<i32> {
    let known = SIGNALS
        .iter()
        .find(|(_, n)| *n == name)
        .map(|(signal, _)| signal.as_raw());
    known.or_else(|| name.parse().ok())
}
