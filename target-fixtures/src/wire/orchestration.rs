//! Messages about orchestrations.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An orchestration as its test runs it: the description with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrchestrationPlan {
    /// The name, which is the name of its test.
    pub name: String,
    /// The time limit of the set-up of fixtures; `None` if there is none.
    pub set_up_limit: Option<Duration>,
    /// The time from the first start-up event to the kill switch.
    pub duration: Duration,
    /// The time for running events to end after the kill switch, and for each tear-down event.
    pub grace: Duration,
    /// The longest break of a connection that is an error of an event; a longer one is infra.
    pub link_grace: Duration,
    /// The number of described seconds that pass in one second.
    pub time_scale: f64,
    /// True if the first reported error ends the orchestration.
    pub fails_fast: bool,
    /// Names of fixtures that are set up although no event takes them.
    pub setup_fixtures: Vec<String>,
    /// The events, in the order of the description.
    pub events: Vec<PlannedEvent>,
}

/// The reason that an orchestration must end early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EarlyEnd {
    /// The user interrupted the run.
    Interrupted,
    /// This time limit passed: of the set-up of fixtures, or of the test.
    TimedOut(Duration),
}

/// An event of an [`OrchestrationPlan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedEvent {
    /// The name of the function.
    pub name: String,
    /// The time between two runs; `None` for an event of the start-up and the tear-down only.
    pub interval: Option<Duration>,
    /// True if the event runs at the start.
    pub at_startup: bool,
    /// True if the event runs once more after the end.
    pub at_teardown: bool,
    /// The arguments that the event takes by value.
    pub params: Map<String, Value>,
}

/// An event of a plan that the test binary does not accept, or one of its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvalidEvent {
    /// The position of the event in the plan.
    pub event: usize,
    /// The name of the parameter; `None` if the reason is about the event itself.
    pub param: Option<String>,
    /// The reason: ``missing``, ``invalid type: string "x", expected u32``.
    pub reason: String,
}
