//! Tests without a runner, started by plain `cargo test`, `cargo nextest run` or an IDE.
//!
//! The lease of such a test lives as long as its connection and its process.

// Must not know how the test's playbook is found.

use std::{io, sync::Arc};

use rustix::process::Pid;
use target_fixtures::wire::{BrokerRequest, Failure, FailureKind, Reply};

use super::{
    case_table::LeasingCase,
    connection::{ClientConnection, failure_of, request_failure},
    lease_ends::LeaseEnds,
    session::{self, SessionParts},
    tear_down::Maker,
    waits::LeaseWaits,
};
use crate::{
    error::Result,
    process::Watch,
    provision::{LeaseEnd, Request, Requester},
};

/// The request of a test that acquires its lease itself.
#[derive(Clone, Debug)]
pub struct AcquireRequest {
    /// The process id of the test.
    pub pid: u32,
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
    fn of(request: BrokerRequest, pid: u32) -> Option<Self> {
        match request {
            BrokerRequest::Acquire {
                binary,
                test,
                directory,
                target,
                playbook,
            } => Some(Self {
                pid,
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

/// The parts of the broker that tests without a runner use.
pub(super) struct Standalone {
    pub(super) waits: Arc<LeaseWaits>,
    pub(super) ends: Arc<LeaseEnds>,
    pub(super) sessions: Arc<SessionParts>,
}

impl Standalone {
    /// Serves one test.
    pub(super) async fn serve(
        &self,
        lookup: &Arc<CaseLookup>,
        connection: &mut ClientConnection,
        pid: u32,
        request: BrokerRequest,
    ) -> io::Result<()> {
        let Some(request) = AcquireRequest::of(request, pid) else {
            return Ok(());
        };
        let maker = maker(&request);
        // Watched from the start, so that the pid cannot be reused unnoticed.
        let test = Pid::from_raw(pid.cast_signed()).map(Watch::new);
        let case = match find(Arc::clone(lookup), request).await {
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
        let leased = self
            .waits
            .lease(connection, &case.instance_set, request, maker);
        let held = match leased.await {
            Ok(held) => held,
            Err(failure) => return connection.replies.send(&Reply::Refused(failure)).await,
        };
        held.build(&case.programs).await;
        let leased = Reply::Leased {
            lease: held.id.clone(),
            instances: held.instances.clone(),
            expect_fail: case.start.expect_fail.clone(),
        };
        let served = match connection.replies.send(&leased).await {
            Ok(()) => tokio::select! {
                biased;
                served = session::serve(&self.sessions, connection, &held) => served,
                // A daemon that the test forked may keep the connection open.
                () = gone(test.as_ref()) => Ok(()),
            },
            Err(error) => Err(error),
        };
        let end = served
            .as_ref()
            .map_or(LeaseEnd::Abandoned, |()| LeaseEnd::Done);
        self.ends.end(&held, end).await;
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
    request: AcquireRequest,
) -> Result<Arc<LeasingCase>, Failure> {
    let found = tokio::task::spawn_blocking(move || lookup(&request));
    match found.await {
        Ok(Ok(FoundCase::Case(case))) => Ok(case),
        Ok(Ok(FoundCase::Skip(reason))) => Err(Failure {
            kind: FailureKind::Skip,
            message: reason,
            hint: None,
        }),
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
