//! Platform `qemu`: virtual machines on this host.
//!
//! A deploy ends when the machine runs, not when it answers.
//!
//! A machine starts from a kernel or from a disk image, and writes to a layer of its own. It has user-mode networking
//! with its SSH port forwarded to a free port of this host's loopback, its serial console in `console.log`, and a
//! NoCloud seed with its name and its login. It is a process in a session of its own, which outlives the tool and is
//! found again by its pid and start time, and by its environment.
//!
//! A delete switches the machine off. `shutdown` gives it time to power down.

mod accel;
mod disk;
mod line;
mod machine;
mod parameters;
mod qmp;
mod seed;
mod serial;
mod share;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::json;
use target_fixtures::wire::FaultKind;

use self::{
    line::QemuCommand,
    machine::{MARK, QemuProcess},
    parameters::{Disk, QemuParameters},
    qmp::Monitor,
    share::SharedFolders,
};
use super::{
    Deployed, Footprint, Found, InstanceSpec, NetworkKind, Platform, ShareMount, SpecOf,
    mark::Mark,
    size::Size,
    values::{self, wrong},
};
use crate::{
    bounded,
    connect::{Reach, SshReach},
    error::{Error, Result},
    process::{self, ProgramVersion, StartedProcess},
    secret::Lookup,
};

/// The oldest supported version of QEMU.
const OLDEST: ProgramVersion = ProgramVersion(5, 0, 0);
/// The oldest version of QEMU that can join networks, by `-netdev stream`.
const OLDEST_WITH_NETWORKS: ProgramVersion = ProgramVersion(7, 2, 0);
/// The console's file in a machine's folder.
const CONSOLE: &str = "console.log";
/// The keys of the instance's data about shared folders.
const MOUNTS: &str = "mounts";
const SERVERS: &str = "servers";
/// The time limit for QEMU to start a machine.
const START: Duration = Duration::from_secs(60);
/// Memory of QEMU itself, in addition to the machine's, in bytes.
const OVERHEAD: u64 = 96 << 20;
/// Estimated bytes that a machine writes to each of its layers.
const WRITES: u64 = 256 << 20;

/// The size of a disk for snapshots only, which are stored beyond the part that the machine sees.
const STATE_DISK: Size = Size(1 << 20);

/// Platform `qemu`.
#[derive(Debug)]
pub struct QemuPlatform;

type QemuSpec = SpecOf<QemuPlatform>;

impl Platform for QemuPlatform {
    type Parameters = QemuParameters;

    fn name(&self) -> &'static str {
        "qemu"
    }

    fn validate(&self, parameters: &QemuParameters) -> Result<(), String> {
        parameters.validate().map_err(str::to_owned)
    }

    fn capabilities(&self, parameters: &QemuParameters) -> BTreeMap<String, String> {
        values::sizes(parameters)
    }

    fn check(&self, spec: &SpecOf<Self>) -> Result<()> {
        spec.check_file("kernel", spec.parameters.kernel.as_deref())?;
        spec.check_file("initrd", spec.parameters.initrd.as_deref())?;
        spec.check_file("identity", spec.parameters.identity.as_deref())?;
        spec.check_shares(&spec.parameters.share)?;
        for (number, disk) in disks(&spec.parameters).iter().enumerate() {
            if let Disk::Image(written) = disk {
                let key = if number == 0 && spec.parameters.image.is_some() {
                    "image"
                } else {
                    "disks"
                };
                disk::format(spec, key, written)?;
            }
        }
        let hint =
            "install QEMU: on Debian and Ubuntu, packages `qemu-system-x86` and `qemu-utils`";
        for program in [spec.parameters.qemu.as_str(), "qemu-img", "ssh-keygen"] {
            which::which(program).map_err(|_| {
                let target = &spec.target;
                let missing = format!("program `{program}` of target `{target}` not found in PATH");
                let key = if program == spec.parameters.qemu {
                    "qemu"
                } else {
                    "platform"
                };
                wrong(missing).with_hint(hint).with_key(key)
            })?;
        }
        check_networks(spec)?;
        accel::choose(spec.parameters.accel).map(drop)
    }

    fn secrets(&self, spec: &SpecOf<Self>) -> Result<Vec<Lookup>> {
        let env = spec.bound_env(&spec.parameters.env);
        Ok(values::lookups(env.into_values()))
    }

    fn digests(&self, spec: &SpecOf<Self>) -> BTreeMap<String, String> {
        let QemuParameters {
            kernel,
            initrd,
            image,
            ..
        } = &spec.parameters;
        let files = [("kernel", kernel), ("initrd", initrd), ("image", image)];
        values::digests(spec, files.map(|(key, file)| (key, file.as_deref())))
    }

    fn footprint(&self, parameters: &QemuParameters) -> Footprint {
        Footprint {
            memory: parameters.memory.0.saturating_add(OVERHEAD),
            disk: disks(parameters).len() as u64 * WRITES,
            cores: parameters.cores.get(),
        }
    }

    fn deploy(&self, spec: &SpecOf<Self>, progress: &dyn Fn(&str)) -> Result<Deployed> {
        // An earlier call may have been interrupted.
        machine::kill(spec)?;
        let accel = accel::choose(spec.parameters.accel)?;
        let identity = seed::identity(spec)?;
        seed::write(spec, &identity)?;
        let disks = disks(&spec.parameters);
        let disks = disks.iter().enumerate();
        let disks = disks.map(|(number, one)| disk::make(spec, number, one));
        let disks = disks.collect::<Result<Vec<PathBuf>>>()?;
        // Snapshots are stored in a disk: a machine without disks gets one for them.
        let state = match disks.is_empty() {
            true => Some(disk::make(spec, 0, &Disk::Empty(STATE_DISK))?),
            false => None,
        };
        let shared = SharedFolders::start(spec)?;
        let command = QemuCommand {
            spec,
            accel,
            disks: &disks,
            state: state.as_deref(),
            shared: &shared,
        };
        process::warn_if_older(&spec.parameters.qemu, OLDEST, || {
            process::version_of(&spec.parameters.qemu, "--version")
        });
        let machine = start(spec, &command)?;
        let port = forwarded_port(spec)?;
        progress(&format!(
            "boots ({accel}), its console is in {}",
            console(spec).display()
        ));
        let reach = Reach::Ssh(SshReach {
            host: "127.0.0.1".to_owned(),
            port: Some(port),
            user: Some(spec.parameters.user.clone()),
            identity: Some(identity),
            env: spec.bound_env(&spec.parameters.env),
            known_hosts: Some(spec.scratch.join("known_hosts")),
            trust_first: true,
            ..SshReach::default()
        });
        Ok(Deployed {
            data: json!({
                "accel": accel, "console": console(spec), "machine": machine,
                MOUNTS: shared.mounts(), SERVERS: shared.servers(),
            }),
            ..Deployed::new("127.0.0.1", reach)
        })
    }

    fn delete(&self, spec: &SpecOf<Self>, deployed: Option<&Deployed>) -> Result<()> {
        if let (Some(limit), Some(machine)) =
            (spec.parameters.shutdown, deployed.and_then(machine_of))
        {
            machine.power_down(spec, limit.0);
        }
        machine::kill(spec)
    }

    fn restart(&self, spec: &SpecOf<Self>, _: &Deployed) -> Result<()> {
        machine::reset(spec)
    }

    fn faults(&self) -> &'static [FaultKind] {
        &FaultKind::ALL
    }

    fn pause(&self, spec: &SpecOf<Self>, _: &Deployed, paused: bool) -> Result<()> {
        let command = if paused { "stop" } else { "cont" };
        let mut monitor = Monitor::connect(&spec.scratch)?;
        monitor.ask(command, &json!({})).map(drop)
    }

    fn type_text(&self, spec: &SpecOf<Self>, _: &Deployed, text: &str) -> Result<()> {
        serial::type_text(spec, text)
    }

    fn network_kind(&self) -> Option<NetworkKind> {
        Some(NetworkKind::Switch)
    }

    fn mounts(&self, _: &InstanceSpec, deployed: &Deployed) -> Vec<ShareMount> {
        part_of(deployed, MOUNTS).unwrap_or_default()
    }

    /// QEMU saves no snapshot of a machine whose memory a server of a share sees.
    fn can_restore(&self, parameters: &QemuParameters) -> bool {
        parameters.share.is_empty()
    }

    fn snapshot(&self, spec: &SpecOf<Self>, _: &Deployed, name: &str) -> Result<()> {
        if !self.can_restore(&spec.parameters) {
            let text = format!(
                "`{}` has a shared folder, which no snapshot can contain",
                spec.instance
            );
            let hint = "leave out `share`, or use a target without it for this test";
            return Err(Error::usage(text).with_hint(hint));
        }
        machine::remember(spec, name)
    }

    fn restore(&self, spec: &SpecOf<Self>, deployed: &Deployed, name: &str) -> Result<Deployed> {
        machine::go_back(spec, name)?;
        Ok(deployed.clone())
    }

    fn link(&self, spec: &SpecOf<Self>, _: &Deployed, nic: u32, up: bool) -> Result<()> {
        machine::link(spec, nic, up)
    }

    fn check_alive(&self, spec: &SpecOf<Self>, deployed: &Deployed) -> Result<()> {
        if let Some(machine) = machine_of(deployed) {
            machine.check(spec)?;
        }
        let servers: Vec<StartedProcess> = part_of(deployed, SERVERS).unwrap_or_default();
        match servers.iter().all(|server| server.lives()) {
            true => Ok(()),
            false => {
                let name = &spec.instance;
                let message = format!("`{name}`: the server of a shared folder has ended");
                Err(Error::infra(message))
            }
        }
    }

    fn console(&self, spec: &InstanceSpec) -> Option<PathBuf> {
        Some(console(spec))
    }

    fn find(&self, label: &str, _: Option<&SpecOf<Self>>) -> Result<Vec<Found>> {
        Ok(machine::find(|its, _| its == label))
    }

    fn find_owned(&self, owner: &str, _: Option<&SpecOf<Self>>) -> Result<Vec<Found>> {
        Ok(machine::find(|_, its| its.is_of(owner)))
    }

    fn renew(&self, spec: &SpecOf<Self>, _: Option<&Deployed>) -> Result<()> {
        Mark::renew(spec)
    }
}

fn console<P>(spec: &InstanceSpec<P>) -> PathBuf {
    spec.scratch.join(CONSOLE)
}

/// All disks, the image first.
fn disks(parameters: &QemuParameters) -> Vec<Disk> {
    let image = parameters.image.clone().map(Disk::Image);
    image
        .into_iter()
        .chain(parameters.disks.iter().cloned())
        .collect()
}

fn machine_of(deployed: &Deployed) -> Option<QemuProcess> {
    part_of(deployed, "machine")
}

/// A part of the instance's data.
fn part_of<T: DeserializeOwned>(deployed: &Deployed, key: &str) -> Option<T> {
    serde_json::from_value(deployed.data.get(key)?.clone()).ok()
}

/// Checks that QEMU can join the networks of the machine. An unknown version is not refused.
fn check_networks(spec: &QemuSpec) -> Result<()> {
    if spec.nics.is_empty() {
        return Ok(());
    }
    let qemu = &spec.parameters.qemu;
    let version = ProgramVersion::find(&process::version_of(qemu, "--version"));
    match version.filter(|version| *version < OLDEST_WITH_NETWORKS) {
        None => Ok(()),
        Some(version) => {
            let message = format!(
                "`{qemu}` of target `{}` is version {version}; networks need version {OLDEST_WITH_NETWORKS} or later",
                spec.target
            );
            let hint =
                "install a later QEMU and name its program with `qemu`, or leave out `networks`";
            Err(wrong(message).with_hint(hint).with_key("qemu"))
        }
    }
}

/// Starts QEMU, which moves to the background once the machine runs.
fn start(spec: &QemuSpec, line: &QemuCommand<'_>) -> Result<QemuProcess> {
    let pid_file = spec.scratch.join("pid");
    let mut command = process::command(&spec.parameters.qemu);
    command
        .args(line.arguments())
        .arg("-pidfile")
        .arg(&pid_file);
    command.current_dir(&spec.scratch);
    MARK.put(&mut command, spec);
    let finished = process::Spawn::new(command).run(b"", START, &|_| {})?;
    let name = &spec.instance;
    let refused = |words: String| {
        let words = process::error_first(&words, |line| !line.contains(": warning: "));
        Error::infra(format!("QEMU failed to start `{name}`: {words}"))
    };
    finished.text().map_err(refused)?;
    let pid = bounded::read_to_string(&pid_file)?.trim().parse();
    let none = |_| Error::infra(format!("QEMU started no process for `{name}`"));
    Ok(QemuProcess(StartedProcess::of(pid.map_err(none)?)))
}

/// The port of this host that QEMU chose and forwards to the machine.
fn forwarded_port(spec: &QemuSpec) -> Result<u16> {
    let text = Monitor::connect(&spec.scratch)?.tell("info usernet")?;
    read_port(&text).ok_or_else(|| {
        let message = format!("QEMU forwards no port to `{}`: {text}", spec.instance);
        Error::infra(message)
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
