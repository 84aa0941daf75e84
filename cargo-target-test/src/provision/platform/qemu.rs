//! Platform `qemu`: virtual machines on this host.
//!
//! Owns what a machine is made of and the order in which it is. Must not know who waits for it: a deploy is done when
//! the machine runs, not when it answers.
//!
//! A machine starts from a kernel or from a disk image, to which it writes in a layer of its own. It has user-mode
//! networking with its SSH port forwarded to a free port of this host's loopback, its serial console in `console.log`,
//! and a NoCloud seed that tells it its name and who may log in. It is a process in a session of its own, which
//! outlives this one; it is found again by its number and start time, and by its environment.
//!
//! Deleting switches it off: what was in it is not wanted any more. A machine that has something to say when it powers
//! down gets the time by `shutdown`.

mod accel;
mod disk;
mod line;
mod machine;
mod parameters;
mod qmp;
mod seed;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::de::Error as _;
use serde_json::{Value, json};

use self::{
    line::Machine as Line,
    machine::Machine,
    parameters::{Disk, Parameters},
    qmp::Monitor,
};
use super::{
    Demand, Deployed, Found, Order, Platform,
    parameters::{self as common, path, wrong},
    size::Size,
};
use crate::{
    connect::{Reach, SshReach},
    error::{Error, ErrorKind, Result},
    process,
};

/// The console's file in a machine's folder.
const CONSOLE: &str = "console.log";
/// How long QEMU may take to have a machine running.
const START: Duration = Duration::from_secs(60);
/// What QEMU itself needs beside the machine's memory, in bytes.
const OVERHEAD: u64 = 96 << 20;
/// What a machine writes to its layers, at a guess, in bytes.
const WRITES: u64 = 256 << 20;

/// The size of a disk that holds nothing but a remembered state, which lies beyond what the machine could see.
const STATE_DISK: Size = Size(1 << 20);

/// Platform `qemu`.
#[derive(Debug)]
pub struct Qemu;

impl Platform for Qemu {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn parameters(&self, table: toml::de::ValueDeserializer<'_>) -> Result<Value, toml::de::Error> {
        let value = common::normalised::<Parameters>(table)?;
        let parameters: Parameters =
            serde_json::from_value(value.clone()).map_err(toml::de::Error::custom)?;
        match parameters.problem() {
            Some(problem) => Err(toml::de::Error::custom(problem)),
            None => Ok(value),
        }
    }

    fn capabilities(&self, parameters: &Value) -> BTreeMap<String, String> {
        common::sizes(parameters)
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(Parameters)
    }

    fn makes_machines(&self) -> bool {
        true
    }

    fn check(&self, order: &Order) -> Result<()> {
        let parameters: Parameters = common::of(order)?;
        common::check_file(order, "kernel", parameters.kernel.as_deref())?;
        common::check_file(order, "initrd", parameters.initrd.as_deref())?;
        common::check_file(order, "identity", parameters.identity.as_deref())?;
        for (number, disk) in disks(&parameters).iter().enumerate() {
            if let Disk::Image(written) = disk {
                let key = if number == 0 && parameters.image.is_some() {
                    "image"
                } else {
                    "disks"
                };
                disk::format(order, key, written)?;
            }
        }
        let hint = "Debian and Ubuntu have it in `qemu-system-x86` and `qemu-utils`";
        for program in [parameters.qemu.as_str(), "qemu-img", "ssh-keygen"] {
            which::which(program).map_err(|_| {
                wrong(format!(
                    "target `{}` needs `{program}`, which is not in PATH",
                    order.target
                ))
                .with_hint(hint)
            })?;
        }
        accel::choose(parameters.accel).map(drop)
    }

    fn demand(&self, order: &Order) -> Result<Demand> {
        let parameters: Parameters = common::of(order)?;
        Ok(Demand {
            memory: parameters.memory.0.saturating_add(OVERHEAD),
            disk: disks(&parameters).len() as u64 * WRITES,
            cores: parameters.cores.get(),
        })
    }

    fn deploy(&self, order: &Order, progress: &dyn Fn(&str)) -> Result<Deployed> {
        let parameters: Parameters = common::of(order)?;
        // Of an earlier call that was interrupted.
        machine::kill(order);
        let accel = accel::choose(parameters.accel)?;
        let identity = seed::identity(order, &parameters)?;
        seed::write(order, &parameters.user, &identity)?;
        let disks = disks(&parameters);
        let disks = disks
            .iter()
            .enumerate()
            .map(|(number, one)| disk::make(order, number, one));
        let disks = disks.collect::<Result<Vec<PathBuf>>>()?;
        // A machine's state is remembered in a disk; one without any gets one for that.
        let state = match disks.is_empty() {
            true => Some(disk::make(order, 0, &Disk::Empty(STATE_DISK))?),
            false => None,
        };
        let line = Line {
            name: &order.instance,
            parameters: &parameters,
            accel,
            directory: &order.directory,
            folder: &order.scratch,
            disks: &disks,
            state: state.as_deref(),
        };
        let machine = start(order, &parameters.qemu, &line)?;
        let port = forwarded_port(order)?;
        progress(&format!(
            "boots ({accel}), its console is in {}",
            console(order).display()
        ));
        Ok(Deployed {
            host: "127.0.0.1".to_owned(),
            port: Some(port),
            user: Some(parameters.user.clone()),
            data: json!({ "accel": accel, "console": console(order), "machine": machine }),
            reach: Reach::Ssh(SshReach {
                host: "127.0.0.1".to_owned(),
                port: Some(port),
                user: Some(parameters.user),
                identity: Some(identity),
                known_hosts: Some(order.scratch.join("known_hosts")),
                trust_first: true,
                ..SshReach::default()
            }),
        })
    }

    fn delete(&self, order: &Order, deployed: Option<&Deployed>) -> Result<()> {
        let parameters: Parameters = common::of(order)?;
        if let (Some(limit), Some(machine)) = (parameters.shutdown, deployed.and_then(machine_of)) {
            machine.power_down(order, limit.0);
        }
        machine::kill(order);
        match machine::labelled(&order.label).contains(&order.unique) {
            true => Err(Error::new(
                ErrorKind::Infra,
                format!("the virtual machine of `{}` does not end", order.instance),
            )),
            false => Ok(()),
        }
    }

    fn restart(&self, order: &Order, _deployed: &Deployed) -> Result<()> {
        machine::reset(order)
    }

    fn can_restore(&self) -> bool {
        true
    }

    fn snapshot(&self, order: &Order, _deployed: &Deployed, name: &str) -> Result<()> {
        machine::remember(order, name)
    }

    fn restore(&self, order: &Order, deployed: &Deployed, name: &str) -> Result<Deployed> {
        machine::go_back(order, name)?;
        Ok(deployed.clone())
    }

    fn link(&self, order: &Order, _deployed: &Deployed, nic: u32, up: bool) -> Result<()> {
        machine::link(order, nic, up)
    }

    fn check_alive(&self, order: &Order, deployed: &Deployed) -> Result<()> {
        match machine_of(deployed) {
            Some(machine) => machine.check(order),
            None => Ok(()),
        }
    }

    fn console(&self, order: &Order) -> Option<PathBuf> {
        Some(console(order))
    }

    fn find(&self, label: &str, _like: Option<&Order>) -> Result<Vec<Found>> {
        let found = |unique: String| Found {
            what: format!("virtual machine `{unique}`"),
            unique,
            parameters: json!({ "kernel": "-" }),
            deployed: None,
        };
        Ok(machine::labelled(label).into_iter().map(found).collect())
    }
}

fn console(order: &Order) -> PathBuf {
    order.scratch.join(CONSOLE)
}

/// The image first.
fn disks(parameters: &Parameters) -> Vec<Disk> {
    let image = parameters.image.clone().map(Disk::Image);
    image
        .into_iter()
        .chain(parameters.disks.iter().cloned())
        .collect()
}

fn machine_of(deployed: &Deployed) -> Option<Machine> {
    serde_json::from_value(deployed.data.get("machine")?.clone()).ok()
}

/// Starts QEMU, which goes into the background once the machine runs.
fn start(order: &Order, program: &str, line: &Line<'_>) -> Result<Machine> {
    let pid_file = order.scratch.join("pid");
    let mut command = process::command(program);
    command
        .args(line.arguments())
        .arg("-pidfile")
        .arg(&pid_file);
    command.current_dir(&order.scratch);
    machine::mark(&mut command, order);
    let finished = process::Spawn::new(command).run(b"", START, &|_| {})?;
    if !finished.status.success() {
        let words = String::from_utf8_lossy(&finished.stderr);
        let message = format!(
            "QEMU would not start `{}`: {}",
            order.instance,
            words.trim()
        );
        return Err(Error::new(ErrorKind::Infra, message));
    }
    let pid = fs_err::read_to_string(pid_file)?;
    let pid = pid.trim().parse().map_err(|_| {
        Error::new(
            ErrorKind::Infra,
            format!("QEMU left no process for `{}`", order.instance),
        )
    })?;
    Ok(Machine::of(pid))
}

/// The port of this host that QEMU found free and forwards.
fn forwarded_port(order: &Order) -> Result<u16> {
    let text = Monitor::connect(&order.scratch)?.tell("info usernet")?;
    read_port(&text).ok_or_else(|| {
        let message = format!("QEMU forwards no port to `{}`: {text}", order.instance);
        Error::new(ErrorKind::Infra, message)
    })
}

/// `  TCP[HOST_FORWARD]  12       127.0.0.1 45123       10.0.2.15    22     0     0`
fn read_port(text: &str) -> Option<u16> {
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("TCP[HOST_FORWARD]"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests;
