//! Mounts folders of this host in a virtual machine.
//!
//! The engine of a container does so itself.

use std::sync::Arc;

use super::run::{SHORT, Shell};
use crate::{
    connect::{Transport, shell},
    error::{Error, Result},
    provision::platform::ShareMount,
};

/// Mounts the folders that are not mounted.
///
/// # Errors
/// Fails if the kernel of the instance has none of the file systems, and names them.
pub(super) async fn mount(
    transport: &Arc<dyn Transport>,
    instance: &str,
    mounts: &[ShareMount],
) -> Result<()> {
    let shell = Shell::new(Arc::clone(transport), "shares".to_owned());
    for mount in mounts {
        let place = (mount.tag.as_str(), mount.folder.as_str());
        let line = shell::mount_share(place, mount.read_only, &mount.file_systems);
        let mounted = shell.run_as(true, &line, SHORT).await?.success();
        mounted.map_err(|error| {
            let missing = mount.missing.iter().map(|reason| format!("; {reason}"));
            let missing: String = missing.collect();
            let text = format!("`{instance}` cannot mount the share `{}`{missing}", mount.folder);
            let hint = "its kernel needs `virtiofs`, or `9p` with `9pnet_virtio`; this host needs virtiofsd for the former";
            Error::infra(text).with_source(error).with_hint(hint)
        })?;
    }
    Ok(())
}
