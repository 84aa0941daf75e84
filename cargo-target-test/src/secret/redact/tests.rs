//! Tests of redaction: examples, and properties over random values, texts and chunks.

use base64::{Engine, prelude::BASE64_STANDARD};
use proptest::{prelude::*, sample};

use super::*;

fn in_pieces(redactor: &Redactor, pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = RedactedStream::new(Arc::new(redactor.clone()));
    let mut shown = Vec::new();
    for piece in pieces {
        shown.extend_from_slice(&stream.push(piece));
    }
    shown.extend(stream.finish());
    shown
}

#[test]
fn the_longest_value_at_a_position_wins() {
    let redactor = Redactor::new([
        ("A", "geheim"),
        ("B", "geheimnis"),
        ("C", "abc"),
        ("D", "geheim"),
        ("E", "   \t "),
    ]);
    assert_eq!(
        redactor.text("geheim, geheimnis, abc, gehe"),
        "[secret A], [secret B], abc, gehe"
    );
    assert!(matches!(redactor.text("   \t  nothing"), Cow::Borrowed(_)));
    assert!(Redactor::new([("C", "abc")]).is_empty());
}

#[test]
fn bytes_that_cannot_start_a_value_are_not_buffered() {
    let mut stream = RedactedStream::new(Arc::new(Redactor::new([("A", "geheim")])));
    assert_eq!(*stream.push(b"name: ge"), *b"name: ");
    assert_eq!(*stream.push(b"org\n"), *b"georg\n");
    assert_eq!(*stream.push(b"gehei"), *b"");
    assert_eq!(*stream.push(b"m."), *b"[secret A].");
    assert_eq!(*stream.push(b"gehei"), *b"");
    assert_eq!(stream.finish(), b"gehei");
    assert_eq!(stream.finish(), b"");
}

#[test]
fn single_lines_of_a_value_are_redacted() {
    let redactor = Redactor::new([("key.pem", "-----BEGIN\nMIIEowIBAAKC\nend")]);
    assert_eq!(
        redactor.text("-----BEGIN\nMIIEowIBAAKC\nend"),
        "[secret key.pem]"
    );
    assert_eq!(
        redactor.text("-----BEGIN\r\nMIIEowIBAAKC\r\nend"),
        "[secret key.pem]\r\n[secret key.pem]\r\nend"
    );
}

fn in_chunks(redactor: &Redactor, text: &str, cuts: &[sample::Index]) -> String {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    let pieces: Vec<_> = (cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]])).collect();
    String::from_utf8(in_pieces(redactor, &pieces)).unwrap()
}

/// Escapes a character in one of the styles of JSON, Rust, URLs and XML.
fn escaped(one: char, style: usize) -> String {
    let code = u32::from(one);
    let units = |form: fn(u16) -> String| {
        one.encode_utf16(&mut [0; 2])
            .iter()
            .map(|unit| form(*unit))
            .collect()
    };
    let bytes = |form: fn(u8) -> String| one.to_string().bytes().map(form).collect();
    match (style, one) {
        (0, _) => units(|unit| format!("\\u{unit:04x}")),
        (1, _) => units(|unit| format!("\\u{unit:04X}")),
        (2, _) => bytes(|byte| format!("%{byte:02x}")),
        (3, _) => bytes(|byte| format!("%{byte:02X}")),
        (4, _) => format!("&#{code};"),
        (5, _) => format!("&#x{code:X};"),
        (6, _) => one.escape_unicode().to_string(),
        (7, '&') => "&amp;".to_owned(),
        (7, '<') => "&lt;".to_owned(),
        // As it is, these would start an escape.
        (_, '"' | '\'' | '/' | '\\') => format!("\\{one}"),
        (_, '%') => "%25".to_owned(),
        (_, '&') => "&#38;".to_owned(),
        _ => one.to_string(),
    }
}

/// Generates values of few letters, so that they overlap and contain each other. No value occurs in a marker.
fn values() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[01\n]{4,12}", 1..4).prop_map(|values| {
        let values = values.into_iter();
        values.filter(|value| value.trim().len() >= 4).collect()
    })
}

fn names(values: &[String]) -> Redactor {
    let names = ["X", "Y", "Z"];
    Redactor::new(names.into_iter().zip(values.iter().map(String::as_str)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_value_is_redacted_in_any_chunks(
        values in values(),
        parts in proptest::collection::vec((any::<sample::Index>(), "[01\n ]{0,6}"), 0..8),
        cuts in proptest::collection::vec(any::<sample::Index>(), 0..12),
    ) {
        let mut text = String::new();
        for (which, between) in &parts {
            if !values.is_empty() {
                text.push_str(&values[which.index(values.len())]);
            }
            text.push_str(between);
        }
        let redactor = names(&values);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]).collect();
        let shown = in_pieces(&redactor, &pieces);
        let whole = redactor.text(&text).into_owned();
        prop_assert_eq!(&shown, whole.as_bytes());
        let shown = String::from_utf8(shown).unwrap();
        for value in &values {
            prop_assert!(!shown.contains(value.as_str()), "{:?} in {:?}", value, shown);
        }
    }

    #[test]
    fn values_are_redacted_in_any_mix_of_escapes(
        value in "[a-z\"'<&/\\\\%é😀]{5,9}",
        styles in proptest::collection::vec(0..9_usize, 9),
        cuts in proptest::collection::vec(any::<sample::Index>(), 0..6),
    ) {
        let redactor = Redactor::new([("X", value.as_str())]);
        let escaped: String = value.chars().zip(styles).map(|(one, style)| escaped(one, style)).collect();
        let text = format!("<{escaped}>");
        prop_assert_eq!(in_chunks(&redactor, &text, &cuts), "<[secret X]>");
    }

    #[test]
    fn encoded_values_are_redacted_however_they_are_wrapped(
        value in "[ -~é]{8,60}",
        before in "[a-z]{0,80}",
        width in 4..80_usize,
        line_end in sample::select(vec!["\n", "\r\n", "\\n", " ", "\n    "]),
        cuts in proptest::collection::vec(any::<sample::Index>(), 0..6),
    ) {
        let redactor = Redactor::new([("X", value.as_str())]);
        let whole = format!("{before}{value}");
        let base64 = BASE64_STANDARD.encode(&whole);
        let hex: String = whole.bytes().map(|byte| format!("{byte:02x}")).collect();
        let twice = BASE64_STANDARD.encode(&base64);
        for text in [base64, twice, hex.to_uppercase(), hex] {
            let lines: Vec<_> = text.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
            let shown = in_chunks(&redactor, &lines.join(line_end), &cuts);
            prop_assert_eq!(shown.matches("[secret X]").count(), 1, "{}", shown);
        }
    }

    #[test]
    fn bytes_without_a_value_are_unchanged(pieces in proptest::collection::vec(
        proptest::collection::vec(sample::select(b"0Aabc\n\x00\xff".to_vec()), 0..9), 0..9,
    )) {
        let redactor = Redactor::new([("X", "01010101"), ("Y", "0Z\n00")]);
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(in_pieces(&redactor, &pieces), pieces.concat());
    }
}
