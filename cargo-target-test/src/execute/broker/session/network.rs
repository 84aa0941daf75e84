//! Answers requests for the networks of a leased environment: faults and captures.
//!
//! Must not know how frames are carried.

use std::{
    path::{Component, Path},
    time::Duration,
};

use serde_json::json;
use target_fixtures::wire::{NetworkAct, Reply};

use super::{super::connection::failure_of, ActiveLease};
use crate::{
    error::{Error, Result},
    provision::network::{NetworkFault, RunningNetwork},
    sync,
};

/// Does what a test wants of the network `name` of `environment`.
pub(super) async fn act(
    held: &ActiveLease,
    environment: &str,
    name: &str,
    act: NetworkAct,
) -> Reply {
    let network = match held.lease.network(environment, name) {
        Ok(network) => network.clone(),
        Err(error) => return Reply::Failed(failure_of(&error)),
    };
    let done = match act {
        NetworkAct::Capture { name } => capture(held, network, &name).await,
        act => change(network, act).await.map(|()| Reply::Done),
    };
    done.unwrap_or_else(|error| Reply::Failed(failure_of(&error)))
}

async fn change(network: RunningNetwork, act: NetworkAct) -> Result<()> {
    let fault = match act {
        NetworkAct::Partition { one, other } => NetworkFault::Partition(one, other),
        NetworkAct::Delay { micros } => NetworkFault::Delay(Duration::from_micros(micros)),
        NetworkAct::Loss { share } => NetworkFault::Loss(share),
        NetworkAct::Rate { bits } => NetworkFault::Rate(bits),
        NetworkAct::Heal | NetworkAct::Capture { .. } => {
            return sync::blocking(move || network.heal()).await;
        }
    };
    sync::blocking(move || network.add(fault)).await
}

/// Captures into a file among the artifacts of the attempt.
async fn capture(held: &ActiveLease, network: RunningNetwork, name: &str) -> Result<Reply> {
    let mut parts = Path::new(name).components();
    if !matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    ) {
        return Err(Error::usage(format!("`{name}` is not the name of a file")));
    }
    let folder = held.artifacts();
    fs_err::create_dir_all(&folder)?;
    let file = folder.join(name);
    let (of, path) = (network.name().to_owned(), file.clone());
    sync::blocking(move || network.capture(&path)).await?;
    held.captured(of, file.clone());
    Ok(Reply::Answer { value: json!(file) })
}
