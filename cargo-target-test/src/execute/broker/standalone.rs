//! Tests without a runner, started by plain `cargo test`, `cargo nextest run` or an IDE.
//!
//! The lease of such a test lives as long as its connection and its process.

// Must not know how the test's playbook is found.

use std::{io, sync::Arc};

use rustix::process::Pid;
use target_fixtures::wire::{AcquireRequest, Failure, FailureKind, Reply};

use super::{
    Server,
    case_table::LeasingCase,
    connection::{ClientConnection, failure_of, request_failure},
    session,
    tear_down::Maker,
};
use crate::{
    error::Result,
    process::Watch,
    provision::{LeaseEnd, Request, Requester},
};

/// The result of a lookup.
pub enum FoundCase {
    /// The case to lease instances for.
    Case(Arc<LeasingCase>),
    /// The reason the test is skipped.
    Skip(String),
}

/// Finds the case of a test without a runner, which has this process id. Blocks.
pub type CaseLookup = dyn Fn(u32, &AcquireRequest) -> Result<FoundCase> + Send + Sync;

impl Server {
    /// Serves one test.
    pub(super) async fn serve_test(
        self: &Arc<Self>,
        lookup: &Arc<CaseLookup>,
        connection: &mut ClientConnection,
        pid: u32,
        request: AcquireRequest,
    ) -> io::Result<()> {
        let maker = maker(&request);
        // Watched from the start, so that the pid cannot be reused unnoticed.
        let test = Pid::from_raw(pid.cast_signed()).map(Watch::new);
        let case = match find(Arc::clone(lookup), pid, request).await {
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
        let leased = self.lease(connection, &case.instance_set, request, maker);
        let held = match leased.await {
            Ok(held) => held,
            Err(failure) => return connection.replies.send(&Reply::Refused(failure)).await,
        };
        case.orchestration
            .iter()
            .for_each(|plan| held.orchestrates(plan));
        held.build(&case.programs).await;
        let leased = Reply::Leased {
            lease: held.id.clone(),
            instances: held.instances.clone(),
            expect_fail: case.start.expect_fail.clone(),
        };
        let served = match connection.replies.send(&leased).await {
            Ok(()) => tokio::select! {
                biased;
                served = session::serve(self, connection, &held) => served,
                // A daemon that the test forked may keep the connection open.
                () = gone(test.as_ref()) => Ok(()),
            },
            Err(error) => Err(error),
        };
        let end = served
            .as_ref()
            .map_or(LeaseEnd::Abandoned, |()| LeaseEnd::Done);
        self.end(&held, end).await;
        served
    }
}

/// Completes when the process has ended; never, if it is unknown.
async fn gone(process: Option<&Watch>) {
    match process {
        Some(process) => process.gone().await,
        None => std::future::pending().await,
    }
}

async fn find(
    lookup: Arc<CaseLookup>,
    pid: u32,
    request: AcquireRequest,
) -> Result<Arc<LeasingCase>, Failure> {
    let found = tokio::task::spawn_blocking(move || lookup(pid, &request));
    match found.await {
        Ok(Ok(FoundCase::Case(case))) => Ok(case),
        Ok(Ok(FoundCase::Skip(reason))) => Err(Failure::new(FailureKind::Skip, reason)),
        Ok(Err(error)) => Err(failure_of(&error)),
        Err(error) => Err(request_failure(error.to_string())),
    }
}

/// Returns the process that tears down the fixtures of such a test.
fn maker(request: &AcquireRequest) -> Maker {
    Maker {
        binary: request.binary.clone(),
        // Without the name of the crate.
        test: request
            .test
            .split_once("::")
            .map_or("", |(_, test)| test)
            .to_owned(),
        full_name: request.test.clone(),
        ..Maker::default()
    }
}
