//! The disks of an instance: layers over images, and empty disks. Must not change an image.

use std::{
    fs::{File, Metadata},
    io::{ErrorKind, Read},
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{QemuSpec, parameters::Disk};
use crate::{
    error::{Error, Result},
    process,
    provision::platform::values::wrong,
};

/// The time limit for creating a layer.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns the format of an image.
///
/// # Errors
/// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook) if it is missing, or QEMU cannot start from it.
pub(super) fn format(spec: &QemuSpec, key: &str, written: &Path) -> Result<&'static str> {
    let image = spec.path(written);
    let target = &spec.target;
    let shown = image.display();
    // Opening a FIFO would wait for its writer.
    let is_disk = |found: &Metadata| found.is_file() || found.file_type().is_block_device();
    let mut head = [0; 512];
    let read = image.metadata().and_then(|found| match is_disk(&found) {
        true => File::open(&image)?.read(&mut head),
        false => Ok(0),
    });
    let refused = |why: String| wrong(format!("`{key}` of target `{target}`: {why}")).with_key(key);
    let read = read.map_err(|error| match error.kind() {
        ErrorKind::NotFound => refused(format!("file not found: `{shown}`")),
        _ => refused(format!("cannot read `{shown}`")).with_source(error),
    })?;
    match &head[..read] {
        [b'Q', b'F', b'I', 0xfb, ..] => Ok("qcow2"),
        head if head.len() == 512
            && (head.ends_with(&[0x55, 0xaa]) || head.iter().all(|b| *b == 0)) =>
        {
            Ok("raw")
        }
        // A file system without a partition table.
        head if head.len() == 512 && key == "disks" => Ok("raw"),
        _ => Err(refused(format!("`{shown}` is not a disk image"))
            .with_hint("qcow2 images and raw ones with a boot sector are")),
    }
}

/// Creates a layer in the instance's folder; returns its path.
pub(super) fn make(spec: &QemuSpec, number: usize, disk: &Disk) -> Result<PathBuf> {
    let layer = spec.scratch.join(format!("disk{number}.qcow2"));
    let mut command = process::command("qemu-img");
    command.args(["create", "-q", "-f", "qcow2"]);
    if let Disk::Image(written) = disk {
        let key = if number == 0 { "image" } else { "disks" };
        command.args(["-F", format(spec, key, written)?, "-b"]);
        command.arg(spec.path(written));
    }
    command.arg(&layer);
    if let Disk::Empty(size) = disk {
        command.arg(size.0.to_string());
    }
    let finished = process::Spawn::new(command).run(b"", LIMIT, &|_| {})?;
    finished.text().map_err(|words| {
        let (words, name) = (words.trim_start_matches("qemu-img: "), &spec.instance);
        Error::infra(format!("cannot make a disk of `{name}`: {words}"))
    })?;
    Ok(layer)
}
