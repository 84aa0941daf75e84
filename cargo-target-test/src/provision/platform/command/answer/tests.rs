//! Answers of deploy scripts, good and bad.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn answers() {
    let answer = DeployAnswer::read(b"{\"host\": \"a\"}\n").unwrap();
    assert_eq!((answer.host.as_str(), answer.port), ("a", None));
    assert_eq!(answer.transport, AnswerTransport::Ssh);
    let full = json!({"host": "a", "port": 22, "user": "u", "data": {"id": 7},
        "transport": "local"});
    let answer = DeployAnswer::read(full.to_string().as_bytes()).unwrap();
    assert_eq!(answer.data["id"], 7);
    assert_eq!(answer.transport, AnswerTransport::Local);
}

#[test]
fn what_is_no_answer() {
    for (printed, problem) in [
        (" \n", "printed nothing to standard output"),
        (
            "ok\n{}",
            "printed an invalid answer to standard output: expected value at line 1 column 1; output: `ok\\n{}`",
        ),
        (
            "{}",
            "printed an invalid answer to standard output: missing field `host` at line 1 column 2; output: `{}`",
        ),
        (
            r#"{"host":"-x"}"#,
            "printed an invalid answer: the host `-x` starts with `-`",
        ),
        (
            r#"{"host":"a","user":""}"#,
            "printed an invalid answer: the user is empty",
        ),
    ] {
        assert_eq!(DeployAnswer::read(printed.as_bytes()).unwrap_err(), problem);
    }
    for printed in [
        r#"{"host":"a","hsot":"b"}"#,
        r#"{"host":"a","host":"b"}"#,
        r#"{"host":"a","port":0}"#,
        r#"{"host":"a","port":"22"}"#,
        r#"{"host":"a","data":[]}"#,
        r#"{"host":"a"} {}"#,
        r#"["a"]"#,
        "\u{fffd}\u{0}",
    ] {
        assert!(DeployAnswer::read(printed.as_bytes()).is_err(), "{printed}");
    }
    let long = "x".repeat(1000);
    assert!(DeployAnswer::read(long.as_bytes()).unwrap_err().len() < 300);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn damaged_answers_are_errors_of_one_short_line(
        at in 0..40_usize, length in 0..20_usize, insert in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut printed = br#"{"host": "a", "port": 22, "user": "u"}"#.to_vec();
        let at = at.min(printed.len());
        printed.splice(at..(at + length).min(printed.len()), insert);
        let problems = [DeployAnswer::read(&printed).err(), Listed::read(&printed).err()];
        for problem in problems.into_iter().flatten() {
            prop_assert!(problem.lines().count() == 1 && problem.len() < 2000, "{problem:?}");
        }
    }
}
