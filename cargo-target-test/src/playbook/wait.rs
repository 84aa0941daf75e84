//! Wait conditions: their syntax and their display. Must not wait.

use std::{fmt, num::NonZeroU16, time::Duration};

use serde::{Deserialize, Serialize, de};

use super::limit::Limit;

/// The default timeout.
const TIMEOUT: Limit = Limit(Duration::from_secs(2 * 60));

/// A condition to wait for, with a timeout: in the playbook, exactly one of `port`, `command`, `console` and `duration`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "WaitTable", untagged)]
#[schemars(with = "WaitTable")]
#[expect(missing_docs, reason = "the keys of the playbook, described below")]
pub enum Wait {
    /// A process on the instance listens on this TCP port.
    Port { port: NonZeroU16, timeout: Limit },
    /// The command exits with code 0.
    Command { command: String, timeout: Limit },
    /// The console output matches this pattern.
    Console { console: Pattern, timeout: Limit },
    /// The given time has passed.
    Duration { duration: Limit },
}

/// A wait in the playbook: exactly one of `port`, `command`, `console` and `duration`.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(rename = "Wait")]
struct WaitTable {
    /// Waits until a process on the instance listens on this TCP port.
    port: Option<NonZeroU16>,
    /// Runs this command until it exits with code 0.
    command: Option<String>,
    /// Waits for text on the console, or for a match of a regular expression in slashes: `/login: *$/`.
    console: Option<Pattern>,
    /// Waits for a fixed time.
    duration: Option<Limit>,
    /// The maximum time to wait. Default: 2 minutes.
    timeout: Option<Limit>,
}

impl TryFrom<WaitTable> for Wait {
    type Error = String;

    fn try_from(table: WaitTable) -> Result<Self, String> {
        let timeout = table.timeout.unwrap_or(TIMEOUT);
        let port = |port| Self::Port { port, timeout };
        let command = |command| Self::Command { command, timeout };
        let console = |console| Self::Console { console, timeout };
        let duration = |duration| Self::Duration { duration };
        let all = [
            table.port.map(port),
            table.command.map(command),
            table.console.map(console),
            table.duration.map(duration),
        ];
        let mut all = all.into_iter().flatten();
        match (all.next(), all.next()) {
            (Some(Self::Duration { .. }), None) if table.timeout.is_some() => {
                Err("`timeout` cannot be combined with `duration`".to_owned())
            }
            (Some(wait), None) => Ok(wait),
            _ => Err(
                "a wait must have exactly one of `port`, `command`, `console`, `duration`"
                    .to_owned(),
            ),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { port, .. } => write!(f, "port {port}"),
            Self::Command { command, .. } => write!(f, "`{command}`"),
            Self::Console { console, .. } => write!(f, "`{}` on the console", console.text),
            Self::Duration { duration } => humantime::format_duration(duration.0).fmt(f),
        }
    }
}

/// Deserializes one wait or an array of waits.
pub(super) fn one_or_more<'de, D: de::Deserializer<'de>>(
    from: D,
) -> Result<Option<Vec<Wait>>, D::Error> {
    struct Visitor;
    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Vec<Wait>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table such as { port = 80 }, or an array of them")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            let wait = Wait::deserialize(de::value::MapAccessDeserializer::new(map))?;
            Ok(vec![wait])
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            Deserialize::deserialize(de::value::SeqAccessDeserializer::new(seq))
        }
    }
    from.deserialize_any(Visitor).map(Some)
}

/// Text to search for: literal, or a regular expression in slashes.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Pattern {
    text: String,
    regex: Option<regex::Regex>,
}

impl Pattern {
    /// True if the text contains a match.
    pub fn is_match(&self, text: &str) -> bool {
        match &self.regex {
            Some(regex) => regex.is_match(text),
            None => text.contains(&self.text),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let inside = text
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix('/'));
        if inside.unwrap_or(&text).trim().is_empty() {
            return Err("an empty pattern matches everything".to_owned());
        }
        let regex = inside
            .map(|inside| regex::RegexBuilder::new(inside).multi_line(true).build())
            .transpose()
            .map_err(|error| {
                // Keep the cause only; the lines before it draw the position.
                let error = error.to_string();
                let last = error.lines().last().unwrap_or_default();
                let why = last.trim_start_matches("error: ");
                format!("invalid regular expression `{text}`: {why}")
            })?;
        Ok(Self { text, regex })
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(text: &str) -> Result<String, String> {
        let wait = toml::from_str::<Wait>(text);
        wait.map(|wait| wait.to_string())
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn one_thing_is_waited_for() {
        for (text, expected) in [
            ("port = 80", "port 80"),
            ("command = \"true\"\ntimeout = \"1s\"", "`true`"),
            ("console = \"/log+in/\"", "`/log+in/` on the console"),
            ("duration = \"1m 1s\"", "1m 1s"),
        ] {
            assert_eq!(wait(text).as_deref(), Ok(expected));
        }
        for (text, expected) in [
            ("", "a wait must have exactly one of"),
            (
                "port = 1\ncommand = \"a\"",
                "a wait must have exactly one of",
            ),
            ("port = 0", "invalid value: integer `0`"),
            (
                "duration = \"1s\"\ntimeout = \"1s\"",
                "`timeout` cannot be combined",
            ),
            ("console = \"/(/\"", "invalid regular expression `/(/`"),
            ("console = \"\"", "an empty pattern matches everything"),
            ("console = \"//\"", "an empty pattern matches everything"),
        ] {
            let error = wait(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn patterns() {
        let has = |pattern: &str, text| {
            Pattern::try_from(pattern.to_owned())
                .unwrap()
                .is_match(text)
        };
        assert!(has("a.b", "xa.bx") && !has("a.b", "acb"));
        assert!(has("/^a.b$/", "x\nacb\ny") && !has("/^a.b$/", "xacb"));
    }
}
