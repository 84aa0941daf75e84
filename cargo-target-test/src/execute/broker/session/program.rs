//! Requests for a program of the workspace.
//!
//! Must not know how a program is built or sent.

use std::io;

use serde_json::json;
use target_fixtures::wire::Reply;

use super::{
    super::{
        active_lease::ActiveLease,
        connection::{Replies, Requests},
    },
    transfer,
};
use crate::{error::Result, provision::Machine};

/// Puts a program on an instance, and answers with its path there.
pub(super) async fn put(
    requests: &mut Requests,
    replies: &mut Replies,
    held: &ActiveLease,
    at: &Machine,
    name: &str,
) -> io::Result<Result<Reply>> {
    let transfer = at.transfer();
    let put = async {
        let built = held.programs().for_machine(name, at).await?;
        let path = transfer.put_program(&built.path, &built.hash).await?;
        Ok(Reply::Answer { value: json!(path) })
    };
    let told = || format!("{}: program `{name}`", at.name());
    let moved = (&transfer.moved, &told as _);
    transfer::noting(requests, replies, moved, held.unless_lost(put)).await
}
