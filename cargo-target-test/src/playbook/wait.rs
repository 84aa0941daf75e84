//! What an instance can be waited for.
//!
//! Owns how it is written and told. Must not wait.

use std::{borrow::Cow, fmt, num::NonZeroU16, time::Duration};

use serde::{Deserialize, Serialize, de};

use super::limit::Limit;

/// How long is waited where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(2 * 60);

/// Something to wait for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Wait {
    /// What.
    pub condition: Condition,
    /// For how long at most.
    pub timeout: Duration,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Something on the instance listens on this TCP port.
    Port(u16),
    /// This command ends with exit code 0.
    Command(String),
    /// The console has said this.
    Console(Pattern),
    /// Time goes by.
    Duration(Duration),
}

/// A wait as written: one of `port`, `command`, `console`, `duration`.
#[derive(Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Written {
    /// A TCP port of the instance on which something listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<NonZeroU16>,
    /// A command that ends with exit code 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    /// Text on the console, or a regular expression between slashes: `/login: *$/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    console: Option<Pattern>,
    /// Some time.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<Limit>,
    /// How long is waited at most; 2 minutes where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<Limit>,
}

impl TryFrom<Written> for Wait {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written {
            port,
            command,
            console,
            duration,
            timeout,
        } = written;
        let all = [
            port.map(|port| Condition::Port(port.get())),
            command.map(Condition::Command),
            console.map(Condition::Console),
            duration.map(|limit| Condition::Duration(limit.0)),
        ];
        let mut all = all.into_iter().flatten();
        let (Some(condition), None) = (all.next(), all.next()) else {
            return Err("a wait is for one of `port`, `command`, `console`, `duration`".to_owned());
        };
        if timeout.is_some() && matches!(condition, Condition::Duration(_)) {
            return Err("`timeout` means nothing beside `duration`".to_owned());
        }
        let timeout = timeout.map_or(TIMEOUT, |limit| limit.0);
        Ok(Self { condition, timeout })
    }
}

impl From<Wait> for Written {
    fn from(wait: Wait) -> Self {
        let mut written = Self {
            timeout: Some(Limit(wait.timeout)),
            ..Self::default()
        };
        match wait.condition {
            Condition::Port(port) => written.port = NonZeroU16::new(port),
            Condition::Command(line) => written.command = Some(line),
            Condition::Console(pattern) => written.console = Some(pattern),
            Condition::Duration(duration) => {
                written.duration = Some(Limit(duration));
                written.timeout = None;
            }
        }
        written
    }
}

impl schemars::JsonSchema for Wait {
    fn schema_name() -> Cow<'static, str> {
        "Wait".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Written::json_schema(generator)
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.condition {
            Condition::Port(port) => write!(f, "port {port}"),
            Condition::Command(line) => write!(f, "`{line}`"),
            Condition::Console(pattern) => write!(f, "`{}` on the console", pattern.text),
            Condition::Duration(limit) => humantime::format_duration(*limit).fmt(f),
        }
    }
}

/// One wait, or several: for `deserialize_with`.
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

/// Text to look for: as it is, or a regular expression between slashes.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Pattern {
    text: String,
    regex: Option<regex::Regex>,
}

impl Pattern {
    /// Whether a text has it.
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
                // Its first lines draw the place, which a message of one line cannot.
                let error = error.to_string();
                let last = error.lines().last().unwrap_or_default();
                let why = last.trim_start_matches("error: ");
                format!("`{text}` is no regular expression: {why}")
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
            ("", "a wait is for one of"),
            ("port = 1\ncommand = \"a\"", "a wait is for one of"),
            ("port = 0", "invalid value: integer `0`"),
            (
                "duration = \"1s\"\ntimeout = \"1s\"",
                "`timeout` means nothing",
            ),
            ("console = \"/(/\"", "`/(/` is no regular expression"),
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
