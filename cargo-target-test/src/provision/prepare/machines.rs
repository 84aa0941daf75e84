//! The machines that a run reaches by SSH, to find two hosts that are one machine.

use std::{collections::HashMap, sync::Mutex};

use super::run::{SHORT, Shell};
use crate::{
    connect::{Reach, shell},
    error::{Error, Result},
    provision::{platform::Deployed, pool::Record},
    sync,
};

/// The first record of each machine, by host key, boot id and namespaces.
#[derive(Default)]
pub(crate) struct Machines(Mutex<HashMap<String, Record>>);

impl Machines {
    /// Adds the machine of a record, unless it may be the same as another one. Records of one host are one machine.
    ///
    /// # Errors
    /// [`ErrorKind::Infra`](crate::ErrorKind::Infra) if another host is the same machine.
    pub(crate) async fn add(&self, record: &Record, at: &Shell) -> Result<()> {
        let Some(Deployed {
            reach: Reach::Ssh(reach),
            ..
        }) = &record.deployed
        else {
            return Ok(());
        };
        if !reach.must_differ {
            return Ok(());
        }
        let system = at.run(shell::SYSTEM, SHORT).await?.success()?;
        let Some(key) = at.transport.host_key().filter(|_| !system.is_empty()) else {
            return Ok(());
        };
        let mut known = sync::lock(&self.0);
        let first = known
            .entry(format!("{key} {system}"))
            .or_insert_with(|| record.clone());
        if first.lease == record.lease {
            return Ok(());
        }
        let (this, other) = (named(record), named(first));
        Err(Error::infra(format!("{this} is the same machine as {other}")).with_hint(
            "list each machine once, or write `same-machine = \"allow\"` in the target that may share it",
        ))
    }
}

/// The instance with its address.
fn named(record: &Record) -> String {
    let name = record.name();
    match &record.deployed {
        Some(Deployed {
            host,
            port: Some(port),
            ..
        }) => format!("`{name}` ({host}:{port})"),
        _ => format!("`{name}`"),
    }
}
