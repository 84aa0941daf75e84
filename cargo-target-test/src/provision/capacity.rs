//! Decides if this host has room for one more instance.
//!
//! Must not know platforms, records or waiting processes.

use std::{fs, path::Path, thread};

use crate::{
    error::{Error, Result},
    provision::platform::Footprint,
};

/// Memory that stays free for the host, in bytes.
const SPARE: u64 = 128 << 20;
/// The number of cores that deploys may use for each core of the host: a booting instance often waits for disks.
const PER_CORE: u32 = 2;

/// The resources of this host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    /// Bytes of memory in all.
    total: u64,
    /// Bytes of memory that are free or can be freed.
    available: u64,
    /// Bytes of disk space that are free in the pool's folder.
    disk: u64,
    cores: u32,
}

impl Host {
    /// Measures the host. Unknown values count as unlimited.
    pub(super) fn now(folder: &Path) -> Result<Self> {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let disk = fs4::available_space(folder).map_err(|error| {
            let message = format!(
                "failed to read the free disk space of `{}`",
                folder.display()
            );
            Error::pool(message).with_source(error)
        })?;
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            total: kib(&text, "MemTotal:"),
            available: kib(&text, "MemAvailable:"),
            disk,
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
        })
    }
}

/// Returns a value of `/proc/meminfo`, in bytes.
fn kib(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.map_or(u64::MAX, |kib| kib << 10)
}

/// The answer to a request for room.
#[derive(Debug)]
pub(super) enum Room {
    /// The instance may start.
    Enough,
    /// Other instances take the room; the text says what it waits for.
    Wait(String),
    /// There is too little room, and no instance of this pool can free any; the text says what is missing.
    Short(String),
    /// The instance does not fit on this host.
    Never(Error),
}

/// Decides if `own` fits on the host beside the other instances. `deploying` instances have not taken their memory and
/// disk yet; `standing` instances have.
pub(super) fn room(
    host: &Host,
    at_once: usize,
    (name, own): (&str, Footprint),
    (deploying, standing): (&[Footprint], &[Footprint]),
) -> Room {
    let sum = |all: &[Footprint], of: fn(&Footprint) -> u64| {
        all.iter().map(of).fold(0, u64::saturating_add)
    };
    let takes = |demand: &Footprint| demand.memory > 0 || demand.disk > 0;
    let alone = !deploying.iter().chain(standing).any(takes);
    let wait = |text: String| Room::Wait(format!("waiting for {text}"));
    let short = |text: String| match alone {
        true => Room::Short(text),
        false => wait(text),
    };
    if own.memory > host.total.saturating_sub(SPARE) {
        let (needs, has) = (mib(own.memory), mib(host.total));
        let message = format!("`{name}` needs {needs} of memory, this host has {has}");
        return Room::Never(Error::infra(message).with_hint("lower its `memory`"));
    }
    if deploying.len() >= at_once {
        return wait(format!(
            "{} other deploys, at most {at_once} run at once",
            deploying.len()
        ));
    }
    let coming = sum(deploying, |demand| demand.memory);
    let free = host.available.saturating_sub(coming.saturating_add(SPARE));
    let promised = sum(standing, |demand| demand.memory).saturating_add(coming);
    let left = host.total.saturating_sub(promised.saturating_add(SPARE));
    if own.memory > free.min(left) {
        let (needs, left) = (mib(own.memory), mib(free.min(left)));
        return short(format!("{needs} of memory, {left} are free"));
    }
    let disk = host
        .disk
        .saturating_sub(sum(deploying, |demand| demand.disk));
    if own.disk > disk {
        return short(format!("{} of disk, {} are free", mib(own.disk), mib(disk)));
    }
    let busy = sum(deploying, |demand| demand.cores.into());
    let most = u64::from(host.cores.saturating_mul(PER_CORE));
    if own.cores > 0 && busy > 0 && busy + u64::from(own.cores) > most {
        return wait(format!("cores: {busy} are busy with other deploys"));
    }
    Room::Enough
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Host = Host {
        total: 8 << 30,
        available: 6 << 30,
        disk: 10 << 30,
        cores: 2,
    };

    fn vm(gib: u64) -> Footprint {
        Footprint {
            memory: gib << 30,
            disk: gib << 30,
            cores: 1,
        }
    }

    fn said(own: Footprint, deploying: &[Footprint], standing: &[Footprint]) -> String {
        match room(&HOST, 5, ("a-0", own), (deploying, standing)) {
            Room::Enough => "enough".to_owned(),
            Room::Wait(text) => text,
            Room::Short(text) => format!("short: {text}"),
            Room::Never(error) => format!("never: {error}"),
        }
    }

    #[test]
    fn what_it_waits_for() {
        let nothing = Footprint::default();
        for (own, deploying, standing, expected) in [
            (vm(1), vec![], vec![], "enough"),
            (nothing, vec![vm(3); 3], vec![vm(3); 9], "enough"),
            (
                vm(9),
                vec![],
                vec![],
                "never: `a-0` needs 9216 MiB of memory, this host has 8192 MiB",
            ),
            (
                vm(3),
                vec![vm(3)],
                vec![],
                "waiting for 3072 MiB of memory, 2944 MiB are free",
            ),
            (
                vm(2),
                vec![],
                vec![vm(3); 2],
                "waiting for 2048 MiB of memory, 1920 MiB are free",
            ),
            (
                vm(1),
                vec![vm(1); 4],
                vec![],
                "waiting for cores: 4 are busy with other deploys",
            ),
            (
                nothing,
                vec![nothing; 5],
                vec![],
                "waiting for 5 other deploys, at most 5 run at once",
            ),
            (
                Footprint {
                    disk: 11 << 30,
                    ..nothing
                },
                vec![],
                vec![],
                "short: 11264 MiB of disk, 10240 MiB are free",
            ),
        ] {
            assert_eq!(said(own, &deploying, &standing), expected);
        }
    }

    #[test]
    fn one_always_starts_however_many_cores_it_wants() {
        let big = Footprint { cores: 64, ..vm(1) };
        assert_eq!(said(big, &[], &[vm(1)]), "enough");
    }

    #[test]
    fn meminfo() {
        assert_eq!(
            kib("MemTotal:  2048 kB\nMemAvailable: 1 kB\n", "MemAvailable:"),
            1024
        );
        assert_eq!(kib("", "MemAvailable:"), u64::MAX);
    }
}
