//! Environments of which a part fails.

use cargo_target_test::provision::{PoolProvisioner, Provisioner, Request};
use rustix::process::Signal;

use super::{Lab, in_child, pair, signal, standalone};
use crate::support::{Tool, eventually};

#[test]
fn a_role_that_cannot_be_deployed_takes_its_environment_along() {
    let lab = Lab::new(1);
    let why = "read -r line\necho 'no such image' >&2\nexit 3";
    lab.script("broken", &format!("#!/bin/sh\n{why}\n"));
    lab.playbook(&pair("./up", "./broken"));
    lab.run(&["together"])
        .code(69)
        .says("pair-0 could not be deployed: role `tester`: ")
        .says("no such image")
        .line_with(&["1 case: 0 passed", "0 failed, 1 infra"]);
    assert!(lab.ledger().is_empty(), "{:?}", lab.ledger());
    // A machine that cannot be prepared takes the others along too.
    let bad = "[recipes.bad]\nsteps = [{ run = \"exit 4\" }]\n";
    let tester = "[environments.pair.roles.tester]\nrecipe = \"bad\"";
    let broken = pair("./up", "./up").replace("[environments.pair.roles.tester]", tester);
    lab.playbook(&format!("{bad}{broken}"));
    lab.run(&["together"])
        .code(69)
        .says("role `tester`: step 1 of recipe `bad` (run `exit 4`) failed");
    assert!(lab.ledger().is_empty(), "{:?}", lab.ledger());
}

/// A machine that is lost under a test is infra, and its environment is recycled as a whole.
#[test]
fn a_lost_machine_is_infra_and_its_environment_is_recycled() {
    let lab = Lab::new(1);
    lab.script(
        "exec",
        "#!/bin/sh\nunique=$(printf '%s' \"$TARGET_TEST_REQUEST\" | sed 's/.*\"unique\":\"\\([^\"]*\\)\".*/\\1/')\n\
         case $1 in *poison*) : >\"gone-$unique\";; esac\n[ ! -e \"gone-$unique\" ] || exit 9\nexec /bin/sh -c \"$1\"\n",
    );
    let gateway = "[environments.pair.roles.gateway]\nexec = \"./exec\"";
    let playbook = pair("./up", "./up").replace("[environments.pair.roles.gateway]", gateway);
    lab.playbook(&format!("{playbook}[environments.pair]\ncount = 2\n"));
    // Two environments side by side: the other one serves as if nothing had happened.
    let both = lab.run(&["loses_the_gateway", "together", "--keep-targets"]);
    both.code(69)
        .line_with(&["2 cases: 1 passed", "0 failed, 1 infra"]);
    let kept = lab.ledger();
    assert_eq!(kept.len(), 2, "{kept:?}");
    lab.clean("an environment is kept");
}

const MODE: &str = "UNITS_CHILD";

/// The program of the next test; nothing in an ordinary run of the tests.
#[test]
fn main() {
    in_child(MODE, async |playbook| {
        let machines = PoolProvisioner::open(playbook).expect("the playbook");
        let lease = machines.acquire(Request::one("pair")).await;
        let lease = lease.expect("an environment");
        for role in ["gateway", "tester"] {
            let machine = lease.role(role).next().expect("a machine");
            let said = machine.run("echo hello").await.expect("an answer");
            println!(
                "{}: {}",
                machine.name(),
                String::from_utf8_lossy(&said.stdout)
            );
        }
        drop(lease);
        machines.finish(false).await.expect("the pool");
    });
}

/// A script, and tests under plain `cargo test`, lease environments too.
#[test]
fn scripts_and_plain_cargo_lease_environments() {
    let lab = Lab::new(1);
    lab.playbook(&pair("./up", "./up"));
    let this = std::env::current_exe().expect("the test binary");
    let script = Tool::program(this, &lab.path(""), &lab.path(""))
        .args(["--exact", "faults::units::main", "--nocapture"])
        .env(MODE, lab.path("target-test.toml"));
    script
        .run()
        .code(0)
        .says("pair-0.gateway: hello")
        .says("pair-0.tester: hello");
    assert!(lab.ledger().is_empty(), "{:?}", lab.ledger());
    let plain = [
        "test", "--test", "faults", "--quiet", "--", "--exact", "together",
    ];
    lab.cargo(&plain).run().code(0).says("1 passed");
    for broker in standalone::brokers(&lab) {
        signal(&broker, Signal::TERM);
    }
    eventually("the end of the machines", || lab.ledger().is_empty());
}
