//! Where the server is. Must not know what is asked of it.

use std::env;

/// The server's address, `host:port`: where the environment says (`TARGET_TEST_HOST`,
/// `TARGET_TEST_PORT`), else this machine.
pub fn server() -> String {
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    join(
        &setting("TARGET_TEST_HOST", "localhost"),
        &setting("TARGET_TEST_PORT", "22"),
    )
}

/// `host:port`, with the brackets that an IPv6 address needs.
pub fn join(host: &str, port: &str) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_gets_brackets() {
        assert_eq!(join("::1", "22"), "[::1]:22");
    }

    #[test]
    fn comes_from_the_environment() {
        let target = env::var("TARGET_TEST_NAME").unwrap_or_else(|_| "no target".to_owned());
        println!("tested on {target}: {}", server());
        let host = env::var("TARGET_TEST_HOST").unwrap_or_else(|_| "localhost".to_owned());
        assert!(server().trim_start_matches('[').starts_with(&host));
    }
}
