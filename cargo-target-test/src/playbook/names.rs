//! Rules for names of targets and for sizes.
//!
//! Must not know the tables of a playbook.

use target_fixtures::{
    metadata::{COUNTS, SIZES},
    requirement::Requirement,
};

use super::schema::NAME_LENGTH;

/// The reason this is not a valid target name, if any.
pub(super) fn wrong_name(name: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let suffix = name.rsplit_once('-').map(|(_, suffix)| suffix);
    if name.is_empty() {
        Some("a name must not be empty")
    } else if !name.chars().all(allowed) {
        Some("only letters, digits, `.`, `_` and `-` are allowed")
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Some("a name must start with a letter or a digit")
    } else if suffix.is_some_and(|s| !s.is_empty() && s.chars().all(|c| c.is_ascii_digit())) {
        Some("a name must not end in `-<digits>`, which is reserved for instances")
    } else if name.len() > NAME_LENGTH {
        Some("a name must have at most 64 characters")
    } else {
        None
    }
}

/// A valid name similar to an invalid one, if there is an obvious one: `debian12` for `debian-12`.
pub(super) fn valid_name(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name = name.replace(|c: char| !allowed(c), "-");
    let mut name = name.trim_matches(['.', '_', '-']).to_owned();
    while let Some((start, digits)) = name.rsplit_once('-') {
        if !digits.chars().all(|c| c.is_ascii_digit()) {
            break;
        }
        name = format!("{start}{digits}");
    }
    wrong_name(&name).is_none().then_some(name)
}

/// The reason `text` is not a valid size or count, if the capability is one.
pub(super) fn wrong_size(capability: &str, text: &str) -> Option<String> {
    let reason: fn(&Requirement) -> Option<String> = match capability {
        size if SIZES.contains(&size) => Requirement::no_size,
        count if COUNTS.contains(&count) => Requirement::no_count,
        _ => return None,
    };
    match text.parse::<Requirement>() {
        Ok(wanted) => reason(&wanted),
        Err(why) => Some(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_are_valid() {
        for (bad, good) in [
            ("debian-12", "debian12"),
            ("a-b-0-07", "a-b007"),
            ("my vm", "my-vm"),
            ("_x_", "x"),
            ("a/b", "a-b"),
        ] {
            assert_eq!(valid_name(bad).as_deref(), Some(good));
        }
        assert_eq!(valid_name("-"), None);
    }

    #[test]
    fn names() {
        for good in [
            "a", "debian", "v1.2", "9front", "a-b", "a-", "a-1b", "a_1", "a1",
        ] {
            assert_eq!(wrong_name(good), None, "{good}");
        }
        let long = "a".repeat(65);
        for bad in [
            "", "-a", ".a", "_a", "a b", "ä", "a/b", "a-1", "a-b-007", "[a]", &long,
        ] {
            assert!(wrong_name(bad).is_some(), "{bad}");
        }
    }
}
