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
use crate::{
    connect::upload::{self, Moved},
    error::Result,
    provision::Machine,
};

/// Puts a program on an instance, and answers with its path there.
pub(super) async fn put(
    requests: &mut Requests,
    replies: &mut Replies,
    held: &ActiveLease,
    at: &Machine,
    name: &str,
) -> io::Result<Result<Reply>> {
    let moved = Moved::default();
    let put = async {
        let built = held.programs().for_machine(name, at).await?;
        let (transport, program) = (at.transport(), (&*built.path, &*built.hash));
        let path = upload::put_program(&*transport, &held.id, program, &moved).await?;
        Ok(Reply::Answer { value: json!(path) })
    };
    let told = || format!("{}: program `{name}`", at.name());
    transfer::noting(requests, replies, (&moved, &told), held.unless_lost(put)).await
}
