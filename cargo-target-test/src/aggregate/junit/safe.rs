//! Formats a report without secrets and as valid XML, whatever its strings contain.

use quick_junit::{Report, SerializeError, TestCaseStatus, TestRerun, XmlString};

use crate::secret;

/// Returns the report's text.
///
/// # Errors
/// Fails if the report cannot be formatted.
pub(super) fn text(report: &Report) -> Result<String, SerializeError> {
    let text = match secret::any() {
        // Redacted before formatting: a secret such as `name` must not break the markup.
        true => redacted(report.clone()).to_string()?,
        false => report.to_string()?,
    };
    Ok(valid(text))
}

/// Replaces the characters that XML 1.0 does not allow and `XmlString` keeps.
fn valid(text: String) -> String {
    let is_invalid = |one| matches!(one, '\u{fffe}' | '\u{ffff}');
    match text.contains(is_invalid) {
        true => text.replace(is_invalid, "\u{fffd}"),
        false => text,
    }
}

fn redacted(mut report: Report) -> Report {
    for suite in &mut report.test_suites {
        let properties = suite.properties.iter_mut();
        properties.for_each(|property| one(&mut property.value));
        for text in [&mut suite.system_out, &mut suite.system_err] {
            some(text);
        }
        for case in &mut suite.test_cases {
            let properties = case.properties.iter_mut();
            properties.for_each(|property| one(&mut property.value));
            one(&mut case.name);
            for text in [&mut case.system_out, &mut case.system_err] {
                some(text);
            }
            status(&mut case.status);
        }
    }
    report
}

fn status(status: &mut TestCaseStatus) {
    match status {
        TestCaseStatus::Success { flaky_runs } => flaky_runs.iter_mut().for_each(rerun),
        TestCaseStatus::NonSuccess {
            message,
            ty,
            description,
            reruns,
            ..
        } => {
            [message, ty, description].into_iter().for_each(some);
            reruns.runs.iter_mut().for_each(rerun);
        }
        TestCaseStatus::Skipped {
            message,
            ty,
            description,
        } => {
            [message, ty, description].into_iter().for_each(some);
        }
    }
}

fn rerun(rerun: &mut TestRerun) {
    for text in [
        &mut rerun.message,
        &mut rerun.ty,
        &mut rerun.stack_trace,
        &mut rerun.system_out,
        &mut rerun.system_err,
        &mut rerun.description,
    ] {
        some(text);
    }
}

fn some(text: &mut Option<XmlString>) {
    text.iter_mut().for_each(one);
}

fn one(text: &mut XmlString) {
    if let std::borrow::Cow::Owned(redacted) = secret::redacted(text) {
        *text = redacted.into();
    }
}

#[cfg(test)]
mod tests {
    use quick_junit::{NonSuccessKind, TestCase, TestSuite};

    use super::*;

    /// True if XML 1.0 allows the character.
    fn is_allowed(one: char) -> bool {
        matches!(one, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
    }

    /// A report with the text in all strings that tests and machines choose.
    fn report(text: &str) -> Report {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status
            .set_type(text)
            .set_message(text)
            .set_description(text);
        let mut rerun = TestRerun::new(NonSuccessKind::Error);
        rerun.set_message(text).set_system_out(text);
        status.add_rerun(rerun);
        let mut case = TestCase::new(text, status);
        case.set_system_out(text).set_system_err(text);
        case.add_property(("key", text));
        let mut skipped = TestCaseStatus::skipped();
        skipped.set_message(text);
        let mut suite = TestSuite::new("hello");
        suite.add_test_cases([case, TestCase::new("skips", skipped)]);
        let mut report = Report::new("nextest-run");
        report.add_test_suite(suite);
        report
    }

    #[test]
    fn every_character_gives_valid_xml() {
        let all: String = ('\0'..=char::MAX)
            .filter(|one| !is_allowed(*one) || one.is_control() || "<>&\"'\u{fffd}]".contains(*one))
            .collect();
        for text in [format!("a{all}b"), "]]>".to_owned()] {
            let xml = text_of(&text);
            assert_eq!(xml.chars().find(|one| !is_allowed(*one)), None);
            let read = Report::deserialize_from_str(&xml).expect("a JUnit report");
            assert_eq!(read.tests, 2);
        }
    }

    #[test]
    fn secrets_do_not_break_the_markup() {
        for value in ["testcase", "classname", "message=", "<&>x"] {
            secret::register("A&B", value);
        }
        let xml = text_of("a testcase, <&>x and a message=");
        let read = Report::deserialize_from_str(&xml).expect("a JUnit report");
        let case = &read.test_suites[0].test_cases[0];
        let shown = "a [secret A_B], [secret A_B] and a [secret A_B]";
        assert_eq!(case.system_out.as_deref(), Some(shown));
        assert_eq!(case.name.as_str(), shown);
    }

    fn text_of(shown: &str) -> String {
        text(&report(shown)).expect("a text")
    }
}
