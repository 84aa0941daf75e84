//! Rules for names of targets and for sizes.
//!
//! Must not know the tables of a playbook.

use target_fixtures::{metadata::SIZES, requirement::Requirement};

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

/// The reason `text` is not a valid size, if the capability is a size.
pub(super) fn wrong_size(capability: &str, text: &str) -> Option<String> {
    if !SIZES.contains(&capability) {
        return None;
    }
    match text.parse::<Requirement>() {
        Ok(size) => size.no_size(),
        Err(why) => Some(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
