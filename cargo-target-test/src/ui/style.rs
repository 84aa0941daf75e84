//! Styles of text, as nextest uses them, and the decision to use them.
//!
//! Must not know which texts have which style.

use std::{
    fmt::Display,
    io::IsTerminal,
    sync::atomic::{AtomicU8, Ordering},
};

/// A style of printed text. The printer removes styles where they are not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Names and numbers.
    Bold,
    /// Remarks.
    Dim,
    /// Success.
    Good,
    /// Failure.
    Bad,
    /// Skips and warnings.
    Remarkable,
    /// Infra.
    Infra,
}

/// Ends a style.
pub(super) const PLAIN: &str = "\x1b[0m";

impl Style {
    pub(super) const ALL: [Self; 6] = [
        Self::Bold,
        Self::Dim,
        Self::Good,
        Self::Bad,
        Self::Remarkable,
        Self::Infra,
    ];

    /// The sequence that starts the style.
    pub(super) const fn start(self) -> &'static str {
        match self {
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Good => "\x1b[1;32m",
            Self::Bad => "\x1b[1;31m",
            Self::Remarkable => "\x1b[1;33m",
            Self::Infra => "\x1b[1;35m",
        }
    }

    /// Returns the text in this style.
    pub fn paint(self, text: impl Display) -> String {
        format!("{}{text}{PLAIN}", self.start())
    }
}

/// The user's choice: one of the following.
static CHOICE: AtomicU8 = AtomicU8::new(AUTO);
const AUTO: u8 = 0;
const ALWAYS: u8 = 1;
const NEVER: u8 = 2;

/// Sets the user's choice, as `--color` spells it. Cargo's variable counts without it.
pub fn set_color(typed: Option<&str>) {
    let cargo = std::env::var("CARGO_TERM_COLOR").ok();
    CHOICE.store(choice(typed.or(cargo.as_deref())), Ordering::Relaxed);
}

fn choice(text: Option<&str>) -> u8 {
    match text {
        Some("always") => ALWAYS,
        Some("never") => NEVER,
        _ => AUTO,
    }
}

/// Returns true if text that is printed to this stream has styles.
pub(super) fn is_wanted(stream: &impl IsTerminal) -> bool {
    match CHOICE.load(Ordering::Relaxed) {
        ALWAYS => true,
        NEVER => false,
        _ => by_environment(|name| std::env::var(name).ok(), stream.is_terminal()),
    }
}

/// Decides as nextest does: variables that force styles, then variables that forbid them, then the terminal.
fn by_environment(variable: impl Fn(&str) -> Option<String>, is_terminal: bool) -> bool {
    let is_on = |name: &str| variable(name).map(|value| !matches!(&*value, "0" | "false"));
    if let Some(forced) = is_on("FORCE_COLOR") {
        return forced;
    }
    if is_on("CLICOLOR_FORCE") == Some(true) {
        return true;
    }
    let forbidden = variable("NO_COLOR").is_some_and(|value| !value.is_empty() && value != "0")
        || is_on("CLICOLOR") == Some(false)
        || variable("TERM").as_deref() == Some("dumb");
    is_terminal && !forbidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_force_and_forbid_styles() {
        for (variables, on_terminal, elsewhere) in [
            (&[][..], true, false),
            (&[("NO_COLOR", "1")], false, false),
            (&[("NO_COLOR", "")], true, false),
            (&[("CLICOLOR_FORCE", "1")], true, true),
            (&[("CLICOLOR_FORCE", "0")], true, false),
            (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true, true),
            (&[("FORCE_COLOR", "")], true, true),
            (&[("FORCE_COLOR", "0")], false, false),
            (&[("CLICOLOR", "0")], false, false),
            (&[("TERM", "dumb")], false, false),
            (&[("TERM", "xterm")], true, false),
        ] {
            let variable = |name: &str| {
                let mut all = variables.iter();
                let found = all.find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let wanted = [true, false].map(|terminal| by_environment(variable, terminal));
            assert_eq!(wanted, [on_terminal, elsewhere], "{variables:?}");
        }
        for (text, expected) in [
            (Some("always"), ALWAYS),
            (Some("never"), NEVER),
            (Some("auto"), AUTO),
            (None, AUTO),
        ] {
            assert_eq!(choice(text), expected);
        }
    }
}
