//! The way to an address, by `tracepath` or `traceroute`.

use std::net::IpAddr;

use super::{Result, program};
use crate::target::Target;

/// Returns the routers on the way from a machine to an address, and the address as the last; `None` for a router that does not
/// answer.
///
/// ```no_run
/// # use target_fixtures::{net, prelude::*};
/// # fn test(tester: &Target) -> Result<()> {
/// let way = net::trace(tester, "10.77.2.2")?;
/// assert_eq!(way[0], Some("10.77.1.1".parse()?));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ErrorKind::Exit`](crate::ErrorKind::Exit) if the program fails; a skip without `tracepath` and `traceroute` on the
/// machine.
#[track_caller]
pub fn trace(from: &Target, to: impl ToString) -> Result<Vec<Option<IpAddr>>> {
    let program = program(from, &["tracepath", "traceroute"], "iputils-tracepath")?;
    let mut command = from.program(program).arg("-n");
    if program == "traceroute" {
        command = command.args(["-q", "1", "-w", "2"]);
    }
    Ok(read(&command.arg(to.to_string()).run()?.stdout))
}

/// Reads lines such as ` 1  10.77.1.1  0.5 ms`, ` 1:  10.77.1.1  0.4ms` and ` 2  *`. A hop may have several lines.
fn read(text: &str) -> Vec<Option<IpAddr>> {
    let mut hops: Vec<Option<IpAddr>> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let number = words
            .next()
            .and_then(|word| word.trim_end_matches(':').parse::<usize>().ok());
        let Some(number) = number.filter(|number| (1..=255).contains(number)) else {
            continue;
        };
        let address = words.find_map(|word| word.parse().ok());
        hops.resize(hops.len().max(number), None);
        hops[number - 1] = hops[number - 1].or(address);
    }
    hops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_are_read() {
        let expected = vec![Some([10, 0, 0, 1].into()), None, Some([10, 0, 2, 2].into())];
        let traceroute = "traceroute to 10.0.2.2 (10.0.2.2), 30 hops max, 46 byte packets\n 1  10.0.0.1  1.234 ms\n 2  *\n 3  10.0.2.2  0.5 ms\n";
        let tracepath = " 1?: [LOCALHOST]                      pmtu 1500\n 1:  10.0.0.1   0.4ms \n 1:  10.0.0.1   0.2ms \n 2:  no reply\n 3:  10.0.2.2  1.1ms reached\n     Resume: pmtu 1500 hops 3 back 3\n";
        assert_eq!(read(traceroute), expected);
        assert_eq!(read(tracepath), expected);
    }
}
