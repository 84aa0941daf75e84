//! The wall clock, and times of day as text.

use std::time::{Duration, UNIX_EPOCH};

use crate::process;

/// The offset of local time from UTC, in seconds.
#[derive(Clone, Copy, Debug)]
pub(in crate::commands) struct Wall(i64);

impl Wall {
    /// Returns the offset of this machine; UTC if it is unknown.
    pub(in crate::commands) fn here() -> Self {
        let mut date = process::command("date");
        date.arg("+%z");
        let said = process::Spawn::new(date)
            .output()
            .map(|output| output.stdout);
        let said = said.unwrap_or_default();
        Self(offset(String::from_utf8_lossy(&said).trim()).unwrap_or(0))
    }

    /// Formats a time as `17:30`, with the date if it is not today.
    pub(in crate::commands) fn time(self, at: u64, now: u64) -> String {
        let (at, now) = (self.shown(at), self.shown(now));
        if at[..10] == now[..10] {
            at[11..16].to_owned()
        } else {
            format!("{} {}", &at[..10], &at[11..16])
        }
    }

    /// Formats a local time in the form of `2026-11-25T17:30:00Z`.
    fn shown(self, at: u64) -> String {
        let at = at.saturating_add_signed(self.0);
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at)).to_string()
    }
}

/// Parses an offset such as `+0530`.
fn offset(text: &str) -> Option<i64> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    Some(sign * (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?) * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day() {
        assert_eq!(offset("+0530"), Some(19_800));
        assert_eq!(offset("-0800"), Some(-28_800));
        assert_eq!(offset("UTC"), None);
        // 2023-11-14 22:13:20 UTC
        let at = 1_700_000_000;
        assert_eq!(Wall(0).time(at, at - 3600), "22:13");
        assert_eq!(Wall(0).time(at + 7200, at), "2023-11-15 00:13");
        assert_eq!(Wall(19_800).time(at, at), "03:43");
    }
}
