//! Suggestions for misspelt names.

use std::cmp::Reverse;

/// Returns "did you mean ...?" if a known name is similar.
pub(crate) fn did_you_mean(name: &str, known: &[&str]) -> Option<String> {
    meant(name, known).map(|nearest| format!("did you mean `{nearest}`?"))
}

/// Returns the most similar known name, if one is similar enough.
pub(crate) fn meant<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let distance = |known: &str| strsim::damerau_levenshtein(name, known);
    let common = |known: &str| {
        let pairs = name.bytes().zip(known.bytes());
        pairs.take_while(|(a, b)| a == b).count()
    };
    let nearest = known
        .iter()
        .min_by_key(|known| (distance(known), Reverse(common(known))))?;
    let near = distance(nearest) <= (name.chars().count() / 3).max(1);
    near.then_some(*nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name() {
        let known = ["port", "hosts", "identity"];
        assert_eq!(
            did_you_mean("prot", &known).as_deref(),
            Some("did you mean `port`?")
        );
        assert_eq!(
            did_you_mean("host", &known).as_deref(),
            Some("did you mean `hosts`?")
        );
        assert_eq!(
            did_you_mean("host", &["cost", "hosts"]).as_deref(),
            Some("did you mean `hosts`?")
        );
        assert_eq!(did_you_mean("zebra", &known), None);
        assert_eq!(did_you_mean("x", &[]), None);
    }
}
