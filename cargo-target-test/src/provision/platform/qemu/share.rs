//! Folders of this host that a machine mounts: by virtiofs, whose server is a process of this host, and by 9p, which QEMU
//! serves itself.
//!
//! A server is started by the user, if the user may: it ends with its machine, and carries the machine's mark.

use std::{
    fs::File,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{ShareMount, values::Share},
    QemuSpec,
    machine::MARK,
    qmp,
};
use crate::{
    bounded,
    error::{Error, Result},
    process::{self, StartedProcess},
};

/// The places of the server outside of PATH.
const PLACES: [&str; 3] = [
    "/usr/libexec/virtiofsd",
    "/usr/lib/qemu/virtiofsd",
    "/usr/lib/virtiofsd",
];
/// The ways in which a server confines itself, the safest first. Containers may allow only the second.
const SANDBOXES: [&str; 2] = ["namespace", "chroot"];
/// The time limit for a server to start.
const START: Duration = Duration::from_secs(10);
/// The device of QEMU for 9p.
const DEVICE_9P: &str = "virtio-9p-pci";

/// A folder as QEMU offers it to the machine.
pub(super) struct SharedFolder {
    pub(super) share: Share,
    /// The name by which the machine finds it.
    pub(super) tag: String,
    /// The socket of the server in the machine's folder, and the server; `None` without virtiofs.
    pub(super) server: Option<(String, StartedProcess)>,
    /// True if QEMU offers it by 9p.
    pub(super) has_9p: bool,
}

/// The folders of a machine.
#[derive(Default)]
pub(super) struct SharedFolders {
    pub(super) folders: Vec<SharedFolder>,
    /// The reasons that a file system is not offered.
    missing: Vec<String>,
}

impl SharedFolders {
    /// Starts the servers of a machine.
    ///
    /// # Errors
    /// Fails if the folders can be offered in no way.
    pub(super) fn start(spec: &QemuSpec) -> Result<Self> {
        let shares = &spec.parameters.share;
        let mut all = Self::default();
        let Some(first) = shares.first() else {
            return Ok(all);
        };
        let server = Server::find(spec, first);
        let server = server.map_err(|why| all.missing.push(format!("virtiofs: {why}")));
        let has_9p = has_9p(&spec.parameters.qemu);
        if !has_9p {
            let qemu = &spec.parameters.qemu;
            all.missing
                .push(format!("9p: `{qemu}` has no device `{DEVICE_9P}`"));
        }
        if server.is_err() && !has_9p {
            let (name, missing) = (&spec.instance, all.missing.join("; "));
            let text = format!("no folder of this host can be shared with `{name}`: {missing}");
            let hint = "install virtiofsd, or a QEMU with 9p";
            return Err(Error::infra(text).with_hint(hint));
        }
        for (number, share) in shares.iter().enumerate() {
            let tag = format!("share{number}");
            let server = server.as_ref().ok().map(|server| {
                let socket = format!("{tag}.sock");
                let child = server.serve(spec, share, &socket)?;
                let process = StartedProcess::of(child.id().cast_signed());
                // The child of a process that lives longer is reaped.
                thread::spawn(move || { child }.wait());
                Ok::<_, Error>((socket, process))
            });
            all.folders.push(SharedFolder {
                share: share.clone(),
                tag,
                server: server.transpose()?,
                has_9p,
            });
        }
        Ok(all)
    }

    /// The folders as the machine mounts them.
    pub(super) fn mounts(&self) -> Vec<ShareMount> {
        let mount = |folder: &SharedFolder| ShareMount {
            tag: folder.tag.clone(),
            folder: folder.share.guest().to_string_lossy().into_owned(),
            read_only: folder.share.read_only,
            file_systems: [(folder.server.is_some(), "virtiofs"), (folder.has_9p, "9p")]
                .into_iter()
                .filter(|(is_offered, _)| *is_offered)
                .map(|(_, name)| name.to_owned())
                .collect(),
            missing: self.missing.clone(),
        };
        self.folders.iter().map(mount).collect()
    }

    /// The servers.
    pub(super) fn servers(&self) -> Vec<StartedProcess> {
        let servers = self.folders.iter().filter_map(|one| one.server.as_ref());
        servers.map(|(_, process)| *process).collect()
    }
}

/// A program that serves folders by virtiofs, and the sandbox in which it works for this user.
struct Server {
    program: PathBuf,
    sandbox: &'static str,
}

impl Server {
    /// Returns the server that works here, proven by a start.
    fn find(spec: &QemuSpec, share: &Share) -> Result<Self, String> {
        let in_path = which::which("virtiofsd").ok();
        let mut known = in_path.into_iter().chain(PLACES.map(PathBuf::from));
        let program = known.find(|program| program.is_file());
        let program = program.ok_or("program `virtiofsd` not found")?;
        let mut refused = String::new();
        for sandbox in SANDBOXES {
            let server = Self {
                program: program.clone(),
                sandbox,
            };
            match server.prove(spec, share) {
                Ok(()) => return Ok(server),
                Err(why) => refused = why,
            }
        }
        Err(format!("`{}`: {refused}", program.display()))
    }

    /// Starts the server for a client that leaves at once: a server that cannot work fails then.
    fn prove(&self, spec: &QemuSpec, share: &Share) -> Result<(), String> {
        let socket = "share.sock";
        let prove = || {
            let mut server = self.serve(spec, share, socket)?;
            qmp::connect(&spec.scratch, socket)?;
            let started = Instant::now();
            loop {
                match server.try_wait()? {
                    Some(status) => return Ok(status),
                    None if started.elapsed() < START => thread::sleep(Duration::from_millis(2)),
                    None => {
                        server.kill()?;
                        return Ok(server.wait()?);
                    }
                }
            }
        };
        let ended = prove().map_err(|error: Error| error.chain())?;
        let said = bounded::read_to_string(&spec.scratch.join(log(socket))).unwrap_or_default();
        match (ended.success(), said.lines().last()) {
            (true, _) => Ok(()),
            (false, Some(line)) => Err(line.to_owned()),
            (false, None) => Err(process::ending(ended)),
        }
    }

    /// Starts the server of a folder on a socket in the machine's folder. It ends with its first client.
    fn serve(&self, spec: &QemuSpec, share: &Share, socket: &str) -> Result<Child> {
        let log = fs_err::File::create(spec.scratch.join(log(socket)))?
            .into_parts()
            .0;
        let source = format!("source={}", share.host.display());
        let mut command = process::command(&self.program);
        command.args(["-f", "--fd=0", "-o", &source, "-o"]);
        command.arg(format!("sandbox={}", self.sandbox));
        MARK.put(&mut command, spec);
        command.stdin(OwnedFd::from(listen(&spec.scratch, socket)?));
        command.stdout(Stdio::from(log.try_clone()?)).stderr(log);
        process::Spawn::new(command).own_session().start()
    }
}

/// The file with the output of a server.
fn log(socket: &str) -> String {
    format!("{socket}.log")
}

/// Listens on a new socket in a folder. The path of a socket is limited to 108 bytes; a path through a descriptor is short.
fn listen(folder: &Path, socket: &str) -> Result<UnixListener> {
    match fs_err::remove_file(folder.join(socket)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let folder = File::open(folder)?;
    let path = format!("/proc/self/fd/{}/{socket}", folder.as_raw_fd());
    Ok(UnixListener::bind(path)?)
}

/// True if QEMU can offer folders by 9p.
fn has_9p(qemu: &str) -> bool {
    let mut command = process::command(qemu);
    command.args(["-device", "help"]);
    let said = process::Spawn::new(command).run(b"", START, &|_| {});
    said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains(DEVICE_9P))
}
