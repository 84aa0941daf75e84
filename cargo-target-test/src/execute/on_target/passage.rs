//! The requests that a test on a target may make of the broker.

use target_fixtures::wire::{Act, BrokerRequest, Failure, FailureKind, Fault, ForwardTo, Reply};

use crate::execute::broker::told;

/// The rules for the test of one lease.
pub(super) struct PassageRules {
    /// The lease.
    lease: String,
    /// The instance on which the test runs.
    instance: String,
}

/// The treatment of a request.
#[derive(Debug, PartialEq)]
pub(super) enum Passage {
    /// The broker gets it.
    Pass,
    /// The broker gets another request.
    Changed(BrokerRequest),
    /// It has this answer.
    Answered(Reply),
    /// Files are copied, and then it has this answer.
    Copied(FileCopy, Reply),
}

/// A copy of a file or folder between machines of the lease, as instance and path.
#[derive(Debug, PartialEq)]
pub(super) struct FileCopy {
    pub(super) from: (String, String),
    pub(super) to: (String, String),
}

impl PassageRules {
    pub(super) fn new(lease: &str, instance: &str) -> Self {
        Self {
            lease: lease.to_owned(),
            instance: instance.to_owned(),
        }
    }

    /// Returns the treatment of a request.
    pub(super) fn passage(&self, request: &BrokerRequest) -> Passage {
        match request {
            BrokerRequest::Hello { .. }
            | BrokerRequest::Exec { .. }
            | BrokerRequest::Put { .. }
            | BrokerRequest::Get { .. }
            | BrokerRequest::Program { .. }
            | BrokerRequest::Ping { .. }
            | BrokerRequest::Ask { .. }
            | BrokerRequest::Skip { .. }
            | BrokerRequest::Signal { .. }
            | BrokerRequest::ExpectFail { .. }
            | BrokerRequest::Failed { .. }
            | BrokerRequest::Record(_)
            | BrokerRequest::Previous(_)
            | BrokerRequest::SubResult(_)
            | BrokerRequest::Network { .. }
            | BrokerRequest::Connect { .. }
            | BrokerRequest::Fixture { .. }
            | BrokerRequest::FixtureUp { .. }
            | BrokerRequest::FixtureFailed { .. }
            | BrokerRequest::FixtureOfTest { .. }
            | BrokerRequest::FixtureDown { .. }
            | BrokerRequest::FixturesTook { .. }
            | BrokerRequest::Data
            | BrokerRequest::End => Passage::Pass,
            BrokerRequest::Attach { lease } if *lease == self.lease => Passage::Pass,
            BrokerRequest::Act { instance, act, .. } => {
                match *instance == self.instance && ends_processes(act) {
                    true => refused(&told(request)),
                    false => Passage::Pass,
                }
            }
            // A local path is one of the machine on which the test runs.
            BrokerRequest::Upload { instance, from, to } => {
                let copy = FileCopy {
                    from: (self.instance.clone(), from.clone()),
                    to: (instance.clone(), to.clone()),
                };
                Passage::Copied(copy, Reply::Answer { value: 1.into() })
            }
            BrokerRequest::Download { instance, from, to } => {
                let copy = FileCopy {
                    from: (instance.clone(), from.clone()),
                    to: (self.instance.clone(), to.clone()),
                };
                Passage::Copied(copy, Reply::Done)
            }
            BrokerRequest::Forward { instance, to } => self.forward(instance, to),
            BrokerRequest::Attach { .. }
            | BrokerRequest::Acquire(_)
            | BrokerRequest::Start(_)
            | BrokerRequest::Started { .. }
            | BrokerRequest::Finished { .. }
            | BrokerRequest::Orchestration
            | BrokerRequest::AwaitStop
            | BrokerRequest::OrchestrationEnded
            | BrokerRequest::ClockStarts
            | BrokerRequest::Stop { .. }
            | BrokerRequest::Progress { .. } => refused("this request"),
        }
    }

    /// Returns the treatment of a forwarding, whose end here is the machine of the test.
    fn forward(&self, instance: &str, to: &ForwardTo) -> Passage {
        let is_own = instance == self.instance;
        match to {
            // The broker refuses it.
            ForwardTo::Port(0) | ForwardTo::Back(0) | ForwardTo::Between { .. } => Passage::Pass,
            ForwardTo::Port(port) | ForwardTo::Back(port) if is_own => {
                Passage::Answered(Reply::Forwarded { port: *port })
            }
            ForwardTo::Back(port) => Passage::Changed(BrokerRequest::Forward {
                instance: instance.to_owned(),
                to: ForwardTo::Between {
                    instance: self.instance.clone(),
                    port: *port,
                },
            }),
            ForwardTo::Port(_) | ForwardTo::Socket(_) => Passage::Answered(Reply::ForwardHere),
        }
    }
}

/// True for actions after which no process of the machine runs, or none is reachable.
fn ends_processes(act: &Act) -> bool {
    let pauses = matches!(
        act,
        Act::Fault {
            fault: Fault::Pause
        }
    );
    pauses || act.goes_down() || matches!(act, Act::ExpectCrash | Act::Link { .. })
}

/// The hint for what needs this host.
const HOST: &str = "run the test on the host (`--runs-on host`)";

fn refused(what: &str) -> Passage {
    let message = format!("{what}: not supported in a test that runs on its target");
    let failure = Failure {
        hint: Some(HOST.to_owned()),
        ..Failure::new(FailureKind::Request, message)
    };
    Passage::Answered(Reply::Failed(failure))
}

#[cfg(test)]
mod tests {
    use target_fixtures::wire::StartRequest;

    use super::*;

    fn text(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn a_test_reaches_its_own_lease_alone() {
        let rules = PassageRules::new("l-1", "it-0");
        let act = |instance: &str, act| BrokerRequest::Act {
            instance: text(instance),
            act,
            limit: 0,
        };
        for request in [
            BrokerRequest::Attach { lease: text("l-1") },
            act("it-1", Act::Reboot),
            act("it-0", Act::Install { packages: vec![] }),
            BrokerRequest::Data,
        ] {
            assert_eq!(rules.passage(&request), Passage::Pass, "{request:?}");
        }
        for request in [
            BrokerRequest::Attach { lease: text("l-2") },
            act("it-0", Act::Reboot),
            act("it-0", Act::Link { nic: 0, up: false }),
            BrokerRequest::Start(StartRequest {
                binary: String::new(),
                name: String::new(),
                attempt: 1,
                attempts: 1,
                stress_index: None,
            }),
        ] {
            let answer = rules.passage(&request);
            let Passage::Answered(Reply::Failed(failure)) = answer else {
                panic!("{request:?}: {answer:?}");
            };
            if let BrokerRequest::Act { act, .. } = &request {
                let name = if *act == Act::Reboot {
                    "reboot: "
                } else {
                    "set link 0: "
                };
                assert!(failure.message.starts_with(name), "{failure:?}");
            }
        }
    }

    #[test]
    fn local_paths_are_those_of_the_machine() {
        let rules = PassageRules::new("l-1", "it-0");
        let [instance, from, to] = ["it-1", "/a", "/b"].map(text);
        let (here, there) = (text("it-0"), instance.clone());
        let put = rules.passage(&BrokerRequest::Upload {
            instance: instance.clone(),
            from: from.clone(),
            to: to.clone(),
        });
        let copy = FileCopy {
            from: (here.clone(), from.clone()),
            to: (there.clone(), to.clone()),
        };
        assert_eq!(
            put,
            Passage::Copied(copy, Reply::Answer { value: 1.into() })
        );
        let get = rules.passage(&BrokerRequest::Download {
            instance,
            from: from.clone(),
            to: to.clone(),
        });
        let copy = FileCopy {
            from: (there, from),
            to: (here, to),
        };
        assert_eq!(get, Passage::Copied(copy, Reply::Done));
    }

    #[test]
    fn forwardings_end_at_the_machine_of_the_test() {
        let rules = PassageRules::new("l-1", "it-0");
        let forward = |instance: &str, to| BrokerRequest::Forward {
            instance: text(instance),
            to,
        };
        let between = ForwardTo::Between {
            instance: text("it-0"),
            port: 80,
        };
        let socket = || ForwardTo::Socket(text("/s"));
        let answered = |reply| Passage::Answered(reply);
        for (instance, to, expected) in [
            (
                "it-0",
                ForwardTo::Port(80),
                answered(Reply::Forwarded { port: 80 }),
            ),
            (
                "it-0",
                ForwardTo::Back(80),
                answered(Reply::Forwarded { port: 80 }),
            ),
            ("it-0", socket(), answered(Reply::ForwardHere)),
            ("it-1", ForwardTo::Port(80), answered(Reply::ForwardHere)),
            ("it-1", socket(), answered(Reply::ForwardHere)),
            (
                "it-1",
                ForwardTo::Back(80),
                Passage::Changed(forward("it-1", between)),
            ),
            ("it-0", ForwardTo::Back(0), Passage::Pass),
        ] {
            let request = forward(instance, to);
            assert_eq!(rules.passage(&request), expected, "{request:?}");
        }
    }
}
