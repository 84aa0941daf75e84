//! A small gateway: it forwards packets between networks and redirects ports, as a configuration file says. The work is done by
//! nftables, in the kernel.
//!
//! ```text
//! gateway gateway.conf           # as root: replaces the rules of an earlier call
//! gateway --print gateway.conf   # prints the rules
//! ```
//!
//! Each line of the file is a rule; `#` begins a comment:
//!
//! ```text
//! forward eth1 eth2                   # connections that begin at eth1 may leave by eth2
//! hide eth2                           # what leaves by eth2 has the gateway's own address (NAT)
//! redirect tcp 8001 10.77.2.2:80      # connections to port 8001 of the gateway go there
//! block udp 9                         # packets to this port are dropped; tcp is refused
//! ```

use std::{
    env, fs,
    io::Write,
    net::SocketAddrV4,
    process::{Command, ExitCode, Stdio},
};

type Result<T, E = String> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--print", file] => rules_of(file).map(|rules| print!("{rules}")),
        [file] => rules_of(file).and_then(|rules| apply(&rules)),
        _ => Err("usage: gateway [--print] FILE".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads a configuration file and returns its rules for `nft`.
fn rules_of(file: &str) -> Result<String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let numbered = text.lines().zip(1..);
    let rules = numbered.map(|(line, number)| {
        Rule::read(line).map_err(|error| format!("{file}:{number}: {error}"))
    });
    let rules = rules.collect::<Result<Vec<_>>>()?;
    Ok(table(&rules.into_iter().flatten().collect::<Vec<_>>()))
}

/// A line of the configuration.
#[derive(Debug, PartialEq)]
enum Rule {
    Forward {
        from: String,
        to: String,
    },
    Hide {
        by: String,
    },
    Redirect {
        protocol: String,
        port: u16,
        to: SocketAddrV4,
    },
    Block {
        protocol: String,
        port: u16,
    },
}

impl Rule {
    /// Reads a line; `None` if it has no rule.
    fn read(line: &str) -> Result<Option<Self>> {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        Ok(Some(match words[..] {
            [] => return Ok(None),
            ["forward", from, to] => Self::Forward {
                from: from.into(),
                to: to.into(),
            },
            ["hide", by] => Self::Hide { by: by.into() },
            ["redirect", protocol @ ("tcp" | "udp"), port, to] => Self::Redirect {
                protocol: protocol.into(),
                port: number(port)?,
                to: to.parse().map_err(|_| format!("invalid address `{to}`"))?,
            },
            ["block", protocol @ ("tcp" | "udp"), port] => Self::Block {
                protocol: protocol.into(),
                port: number(port)?,
            },
            _ => return Err(format!("invalid rule `{}`", line.trim())),
        }))
    }
}

fn number(port: &str) -> Result<u16> {
    port.parse().map_err(|_| format!("invalid port `{port}`"))
}

/// The table of all rules, in place of an earlier one.
fn table(rules: &[Rule]) -> String {
    let [mut before, mut forward, mut after] = [String::new(), String::new(), String::new()];
    for rule in rules {
        match rule {
            Rule::Forward { from, to } => {
                forward += &format!("    iifname {from:?} oifname {to:?} accept\n");
            }
            Rule::Hide { by } => after += &format!("    oifname {by:?} masquerade\n"),
            Rule::Redirect { protocol, port, to } => {
                before +=
                    &format!("    fib daddr type local {protocol} dport {port} dnat to {to}\n");
            }
            Rule::Block { protocol, port } => {
                let answer = if protocol == "tcp" {
                    "reject with tcp reset"
                } else {
                    "drop"
                };
                forward.insert_str(0, &format!("    {protocol} dport {port} {answer}\n"));
            }
        }
    }
    format!(
        "table ip gateway
delete table ip gateway
table ip gateway {{
  chain before {{
    type nat hook prerouting priority dstnat
{before}  }}
  chain forward {{
    type filter hook forward priority filter; policy drop
    ct state established,related accept
    ct status dnat accept
{forward}  }}
  chain after {{
    type nat hook postrouting priority srcnat
{after}  }}
}}
"
    )
}

/// Gives the rules to the kernel, all at once, and turns on forwarding.
fn apply(rules: &str) -> Result<()> {
    let failed = |error| format!("failed to start `nft`: {error}");
    let mut command = Command::new("nft");
    let mut nft = command
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut stdin = nft.stdin.take().expect("a pipe");
    stdin.write_all(rules.as_bytes()).map_err(failed)?;
    drop(stdin);
    if !nft.wait().map_err(failed)?.success() {
        return Err("the kernel refused the rules".to_owned());
    }
    let forwards = "/proc/sys/net/ipv4/ip_forward";
    fs::write(forwards, "1").map_err(|error| format!("{forwards}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A test without a target: the parser.
    #[test]
    fn lines_are_read_or_refused() {
        let forward = Rule::Forward {
            from: "a".into(),
            to: "b".into(),
        };
        for (line, expected) in [
            ("  # nothing", Ok(None)),
            ("forward a b # c", Ok(Some(forward))),
            (
                "block udp 9",
                Ok(Some(Rule::Block {
                    protocol: "udp".into(),
                    port: 9,
                })),
            ),
            ("block icmp 9", Err("invalid rule `block icmp 9`")),
            ("redirect tcp 80 there", Err("invalid address `there`")),
            ("block tcp 65536", Err("invalid port `65536`")),
        ] {
            assert_eq!(Rule::read(line), expected.map_err(str::to_owned), "{line}");
        }
    }
}
