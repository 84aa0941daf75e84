//! Tests without a runner, started by plain `cargo test`, `cargo nextest run` or an IDE.
//!
//! The lease of such a test lives as long as its connection. Must not know how the test's playbook is found.

use std::{io, sync::Arc};

use target_fixtures::wire::{BrokerRequest, Failure, FailureKind, Reply};

use super::{
    Clients, Core, LeasingCase,
    case::wait_for_lease,
    connection::{ClientConnection, request_failure},
    fixtures::Maker,
    infra, session,
};
use crate::{
    error::Result,
    provision::{LeaseEnd, Request, Requester},
};

/// The request of a test that acquires its lease itself.
#[derive(Clone, Debug)]
pub struct AcquireRequest {
    /// The test binary.
    pub binary: String,
    /// The test's path with its crate.
    pub test: String,
    /// The package's folder.
    pub directory: String,
    /// The requested target or instance.
    pub target: Option<String>,
    /// The requested playbook.
    pub playbook: Option<String>,
}

impl AcquireRequest {
    fn of(request: BrokerRequest) -> Option<Self> {
        match request {
            BrokerRequest::Acquire {
                binary,
                test,
                directory,
                target,
                playbook,
            } => Some(Self {
                binary,
                test,
                directory,
                target,
                playbook,
            }),
            _ => None,
        }
    }
}

/// The result of a lookup.
pub enum FoundCase {
    /// The case to lease instances for.
    Case(Arc<LeasingCase>),
    /// The reason the test is skipped.
    Skip(String),
}

/// Finds the case of a test without a runner. Blocks.
pub type CaseLookup = dyn Fn(&AcquireRequest) -> Result<FoundCase> + Send + Sync;

/// Serves one test without a runner.
pub(super) async fn serve(
    core: &Arc<Core>,
    connection: &mut ClientConnection,
    pid: u32,
    request: BrokerRequest,
) -> io::Result<()> {
    let Some(ask) = AcquireRequest::of(request) else {
        return Ok(());
    };
    let maker = maker(&ask);
    let case = match find(core, ask).await {
        Ok(case) => case,
        Err(failure) => return connection.replies.send(&Reply::Refused(failure)).await,
    };
    let request = Request {
        wants: vec![case.want()],
        requester: Requester {
            pid,
            ..Requester::this_process(&case.full_name)
        },
        after: case.after(),
        ..Request::default()
    };
    let held = match wait_for_lease(core, connection, &case.instance_set, request, maker).await {
        Ok(held) => held,
        Err(failure) => return connection.replies.send(&Reply::Refused(failure)).await,
    };
    let leased = Reply::Leased {
        lease: held.id.clone(),
        instances: held.instances.clone(),
        expect_fail: case.start.expect_fail.clone(),
    };
    let served = match connection.replies.send(&leased).await {
        Ok(()) => session::serve(core, connection, &held).await,
        Err(error) => Err(error),
    };
    let end = served
        .as_ref()
        .map_or(LeaseEnd::Abandoned, |()| LeaseEnd::Done);
    core.end_lease(&held, end).await;
    served
}

/// Returns the process that tears down the fixtures of such a test.
fn maker(ask: &AcquireRequest) -> Maker {
    Maker {
        binary: ask.binary.clone(),
        // Without the name of the crate.
        test: ask
            .test
            .split_once("::")
            .map_or("", |(_, test)| test)
            .to_owned(),
        full_name: ask.test.clone(),
        ..Maker::default()
    }
}

async fn find(core: &Arc<Core>, ask: AcquireRequest) -> Result<Arc<LeasingCase>, Failure> {
    let core = Arc::clone(core);
    let found = tokio::task::spawn_blocking(move || match &core.clients {
        Clients::Tests(lookup) => match lookup(&ask).map_err(|error| infra(&error))? {
            FoundCase::Case(case) => Ok(case),
            FoundCase::Skip(reason) => Err(Failure {
                kind: FailureKind::Skip,
                message: reason,
                hint: None,
            }),
        },
        Clients::Runners(_) => Err(request_failure("this broker serves one run only")),
    });
    found
        .await
        .unwrap_or_else(|error| Err(request_failure(error.to_string())))
}
