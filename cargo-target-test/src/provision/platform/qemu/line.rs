//! The command line of QEMU. Must not start processes or read the disk.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{
    super::nic::{Attach, relative},
    CONSOLE, QemuSpec, qmp, seed, serial,
    share::{SharedFolder, SharedFolders},
};

/// The choices for one machine.
pub(super) struct QemuCommand<'a> {
    pub(super) spec: &'a QemuSpec,
    pub(super) accel: &'a str,
    /// The machine's disks. Without a kernel, the machine boots from the first disk.
    pub(super) disks: &'a [PathBuf],
    /// The disk for snapshots, which the machine does not see; `None` for the first disk.
    pub(super) state: Option<&'a Path>,
    /// The folders of this host that the machine mounts.
    pub(super) shared: &'a SharedFolders,
}

impl QemuCommand<'_> {
    /// The arguments.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let Self { spec, accel, .. } = self;
        let parameters = &spec.parameters;
        let mut line = Arguments(Vec::new());
        let name = escape(&spec.instance);
        line.pair("-name", format!("{name},process={name}"));
        // A guest that ends by itself leaves its process: one that has ended was killed.
        line.flags("-no-user-config -nodefaults -daemonize -no-shutdown");
        line.pair("-display", "none");
        self.machine(&mut line);
        line.pair("-accel", accel);
        line.pair("-cpu", if *accel == "kvm" { "host" } else { "max" });
        line.pair("-smp", parameters.cores.to_string());
        line.pair("-m", format!("{}M", parameters.memory.mib()));
        self.boot(&mut line);
        for (number, disk) in self.disks.iter().enumerate() {
            line.pair(
                "-drive",
                drive(number, &format!("file={},format=qcow2", text(disk))),
            );
        }
        if let Some(state) = self.state {
            line.pair(
                "-drive",
                format!("file={},format=qcow2,if=none,id=state", text(state)),
            );
        }
        let seed = text(&spec.scratch.join(seed::FOLDER));
        let seed =
            format!("file.driver=vvfat,file.dir={seed},file.label=CIDATA,format=raw,readonly=on");
        line.pair("-drive", drive(self.disks.len(), &seed));
        // The paths of sockets are relative, for their length: QEMU starts in the machine's folder.
        let console = text(&spec.scratch.join(CONSOLE));
        line.pair(
            "-chardev",
            format!(
                "socket,id=console,path={},server=on,wait=off,logfile={console},logappend=on",
                serial::SOCKET
            ),
        );
        line.pair("-serial", "chardev:console");
        line.pair("-qmp", format!("unix:{},server=on,wait=off", qmp::SOCKET));
        self.network(&mut line);
        self.shared
            .folders
            .iter()
            .for_each(|folder| share(&mut line, folder));
        line.pair("-device", "virtio-rng-pci");
        line.0.extend(parameters.args.iter().map(OsString::from));
        line.0
    }

    fn machine(&self, line: &mut Arguments) {
        let mut folders = self.shared.folders.iter();
        if folders.all(|folder| folder.server.is_none()) {
            return line.pair("-machine", machine());
        }
        // The servers read and write the memory of the machine.
        let memory = self.spec.parameters.memory.mib();
        line.pair(
            "-object",
            format!("memory-backend-memfd,id=memory,size={memory}M,share=on"),
        );
        line.pair("-machine", format!("{},memory-backend=memory", machine()));
    }

    fn network(&self, line: &mut Arguments) {
        let (id, port) = (link(0), self.spec.parameters.port);
        line.pair(
            "-netdev",
            format!("user,id={id},hostfwd=tcp:127.0.0.1:0-:{port}"),
        );
        line.pair("-device", format!("virtio-net-pci,netdev={id}"));
        for (number, nic) in (1..).zip(&self.spec.nics) {
            // A machine cannot join a network of containers: it has no link to it.
            let Attach::Socket(socket) = &nic.attach else {
                continue;
            };
            let (id, socket) = (link(number), text(&relative(&self.spec.scratch, socket)));
            line.pair(
                "-netdev",
                format!("stream,id={id},server=off,addr.type=unix,addr.path={socket}"),
            );
            line.pair(
                "-device",
                format!("virtio-net-pci,netdev={id},mac={}", nic.mac),
            );
        }
    }

    fn boot(&self, line: &mut Arguments) {
        let file = |written: &PathBuf| self.spec.path(written).into_os_string();
        if let Some(kernel) = &self.spec.parameters.kernel {
            line.pair("-kernel", file(kernel));
            line.pair("-append", with_console(&self.spec.parameters.append));
        }
        if let Some(initrd) = &self.spec.parameters.initrd {
            line.pair("-initrd", file(initrd));
        }
    }
}

struct Arguments(Vec<OsString>);

impl Arguments {
    fn pair(&mut self, option: &str, value: impl Into<OsString> + AsRef<std::ffi::OsStr>) {
        self.0.extend([option.into(), value.into()]);
    }

    fn flags(&mut self, flags: &str) {
        self.0.extend(flags.split(' ').map(OsString::from));
    }
}

/// QEMU's name of a network link. Number 0 is the one with the SSH port.
pub(super) fn link(number: u32) -> String {
    match number {
        0 => "net".to_owned(),
        number => format!("nic{number}"),
    }
}

/// Offers a folder by each file system.
fn share(line: &mut Arguments, folder: &SharedFolder) {
    let tag = &folder.tag;
    if let Some((socket, _)) = &folder.server {
        line.pair("-chardev", format!("socket,id={tag},path={socket}"));
        line.pair(
            "-device",
            format!("vhost-user-fs-pci,chardev={tag},tag={tag}"),
        );
    }
    if folder.has_9p {
        let mode = if folder.share.read_only {
            ",readonly=on"
        } else {
            ""
        };
        let host = text(&folder.share.host);
        line.pair(
            "-fsdev",
            format!("local,id={tag}.9p,path={host},security_model=none{mode}"),
        );
        line.pair(
            "-device",
            format!("virtio-9p-pci,fsdev={tag}.9p,mount_tag={tag}"),
        );
    }
}

fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "q35",
        _ => "virt",
    }
}

fn drive(number: usize, rest: &str) -> String {
    format!("{rest},if=virtio,id=disk{number}")
}

fn text(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

/// Doubles commas: a single comma ends an option's value.
fn escape(text: &str) -> String {
    text.replace(',', ",,")
}

/// The kernel's command line, with a console.
fn with_console(append: &str) -> String {
    let mut words = append.split_whitespace();
    match words.any(|word| word.starts_with("console=")) {
        true => append.to_owned(),
        false => format!("{append} console=ttyS0").trim_start().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::process::StartedProcess;

    use super::{
        super::{
            super::{nic::Nic, values::tests::spec},
            parameters::QemuParameters,
        },
        *,
    };

    fn line(parameters: serde_json::Value, accel: &str, disks: &[PathBuf]) -> String {
        let parameters = serde_json::from_value(parameters).unwrap();
        let spec = QemuSpec {
            instance: "debian-0".to_owned(),
            scratch: "/pool/a,b".into(),
            ..spec(Path::new("/book"), parameters)
        };
        let machine = QemuCommand {
            spec: &spec,
            accel,
            disks,
            state: disks.is_empty().then_some(Path::new("/pool/state")),
            shared: &SharedFolders::default(),
        };
        let words = machine.arguments();
        let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
        words.join(" ").replace(" -", "\n-")
    }

    #[test]
    fn a_kernel_has_a_console() {
        for (written, line) in [
            ("", "console=ttyS0"),
            ("quiet", "quiet console=ttyS0"),
            ("quiet console=tty0", "quiet console=tty0"),
        ] {
            assert_eq!(with_console(written), line);
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_kernel() {
        let line = line(
            json!({ "kernel": "img/vmlinuz", "initrd": "/i", "memory": "1 GiB", "args": ["-s"] }),
            "tcg",
            &[],
        );
        let expected = "-name debian-0,process=debian-0
-no-user-config
-nodefaults
-daemonize
-no-shutdown
-display none
-machine q35
-accel tcg
-cpu max
-smp 1
-m 1024M
-kernel /book/img/vmlinuz
-append console=ttyS0
-initrd /i
-drive file=/pool/state,format=qcow2,if=none,id=state
-drive file.driver=vvfat,file.dir=/pool/a,,b/seed,file.label=CIDATA,format=raw,readonly=on,if=virtio,id=disk0
-chardev socket,id=console,path=serial,server=on,wait=off,logfile=/pool/a,,b/console.log,logappend=on
-serial chardev:console
-qmp unix:qmp,server=on,wait=off
-netdev user,id=net,hostfwd=tcp:127.0.0.1:0-:22
-device virtio-net-pci,netdev=net
-device virtio-rng-pci
-s";
        assert_eq!(line, expected);
    }

    #[test]
    fn an_image() {
        let disks = ["/pool/disk0.qcow2".into(), "/pool/disk1.qcow2".into()];
        let line = line(
            json!({ "image": "a.qcow2", "cores": 4, "port": 2222 }),
            "kvm",
            &disks,
        );
        for part in [
            "-accel kvm\n-cpu host\n-smp 4\n-m 512M",
            "-drive file=/pool/disk0.qcow2,format=qcow2,if=virtio,id=disk0\n-drive file=/pool/disk1.qcow2,format=qcow2,if=virtio,id=disk1\n",
            "hostfwd=tcp:127.0.0.1:0-:2222",
        ] {
            assert!(line.contains(part), "{line}");
        }
        assert!(!line.contains("-kernel"), "{line}");
    }

    #[test]
    fn folders_are_offered_by_what_there_is() {
        let share = json!({ "host": "/src", "guest": "/code", "read-only": true });
        let folder = |server: Option<&str>, has_9p| SharedFolder {
            share: serde_json::from_value(share.clone()).unwrap(),
            tag: "share0".to_owned(),
            server: server.map(|socket| (socket.to_owned(), StartedProcess::of(1))),
            has_9p,
        };
        let virtiofs =
            "-chardev socket,id=share0,path=s -device vhost-user-fs-pci,chardev=share0,tag=share0";
        let by_9p = "-fsdev local,id=share0.9p,path=/src,security_model=none,readonly=on \
                     -device virtio-9p-pci,fsdev=share0.9p,mount_tag=share0";
        for (folder, expected) in [
            (folder(Some("s"), false), virtiofs.to_owned()),
            (folder(None, true), by_9p.to_owned()),
            (folder(Some("s"), true), format!("{virtiofs} {by_9p}")),
        ] {
            let mut line = Arguments(Vec::new());
            super::share(&mut line, &folder);
            let words: Vec<_> = line.0.iter().map(|word| word.to_str().unwrap()).collect();
            assert_eq!(words.join(" "), expected);
        }
    }

    #[test]
    fn links_to_networks_follow_the_link_of_the_tool() {
        let nic = |mac: &str, attach| Nic {
            network: "lab".to_owned(),
            mac: mac.to_owned(),
            address: None,
            attach,
        };
        let mut spec = spec(Path::new("/book"), QemuParameters::default());
        spec.scratch = "/pool/debian".into();
        spec.nics = vec![
            nic("52:54:00:00:00:01", Attach::Socket("/pool/lan,a/0".into())),
            nic("52:54:00:00:00:02", Attach::Socket("/pool/debian/1".into())),
        ];
        let mut line = Arguments(Vec::new());
        let command = QemuCommand {
            spec: &spec,
            accel: "tcg",
            disks: &[],
            state: None,
            shared: &SharedFolders::default(),
        };
        command.network(&mut line);
        let expected = [
            "-netdev",
            "user,id=net,hostfwd=tcp:127.0.0.1:0-:22",
            "-device",
            "virtio-net-pci,netdev=net",
            "-netdev",
            "stream,id=nic1,server=off,addr.type=unix,addr.path=../lan,,a/0",
            "-device",
            "virtio-net-pci,netdev=nic1,mac=52:54:00:00:00:01",
            "-netdev",
            "stream,id=nic2,server=off,addr.type=unix,addr.path=1",
            "-device",
            "virtio-net-pci,netdev=nic2,mac=52:54:00:00:00:02",
        ];
        assert_eq!(line.0, expected);
    }
}
