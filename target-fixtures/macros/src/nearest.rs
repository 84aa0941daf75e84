//! Finds the known name that is most similar to an unknown name.

/// Returns the most similar of `names`, if one is similar enough.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = name.chars().count().div_ceil(3);
    names
        .map(|known| (distance(name, known), known))
        .filter(|(d, _)| *d <= allowed)
        .min()
        .map(|(_, known)| known)
}

/// The number of edits (insert, delete, replace) between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, c) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, d) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(c != *d);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_similar_names_only() {
        let names = ["area", "tags", "priority", "expect_fail"];
        assert_eq!(nearest("priorty", names.into_iter()), Some("priority"));
        assert_eq!(nearest("tag", names.into_iter()), Some("tags"));
        assert_eq!(
            nearest("expected_fail", names.into_iter()),
            Some("expect_fail")
        );
        assert_eq!(nearest("colour", names.into_iter()), None);
    }
}
