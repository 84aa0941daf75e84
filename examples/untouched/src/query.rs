//! Queries to the server. Must not know the server's address.

/// A query as it goes over the wire.
pub fn encode(words: &[&str]) -> String {
    words.join(" ") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    mod encoding {
        use super::*;

        #[test]
        fn ends_the_line() {
            assert!(encode(&["get", "x"]).ends_with("\r\n"));
        }
    }

    #[test]
    #[should_panic(expected = "nothing asked")]
    fn nothing_is_refused() {
        let words: &[&str] = &[];
        assert!(!words.is_empty(), "nothing asked");
    }
}
