//! Tests on containers with a network between them.

use target_fixtures::{ErrorKind, net, prelude::*};

/// A container that is cut off is silent until its network is healed; an engine has no other faults.
#[target_test(roles = ["one", "other"], runs_on = "host")]
fn links_fail(env: &Environment) -> Result<()> {
    let lan = env.network("lan");
    let address = lan.address("other1")?.to_string();
    let ping = |to: &str| net::ping(&env["one"], to).run();
    ping(&address)?;
    ping("other1")?;
    lan.partition(&["other1"], &["one", "other2"])?;
    assert_eq!(ping(&address).unwrap_err().kind(), ErrorKind::NoPacket);
    ping("other2")?;
    lan.heal()?;
    ping(&address)?;
    let cut = env["other1"].faults().link_cut()?;
    assert_eq!(ping(&address).unwrap_err().kind(), ErrorKind::NoPacket);
    cut.end()?;
    ping(&address)?;
    for refused in [
        lan.partition(&["one"], &["other1"]),
        lan.delay(Duration::from_millis(1)),
        lan.loss(0.5),
        lan.rate(1000),
        lan.capture("x.pcap").map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Request, "{refused}");
    }
    // The end of the lease heals what the test leaves.
    lan.partition(&["one"], &["other1", "other2"])?;
    Ok(())
}

/// A container has its network and the names of the others also after a restart.
#[target_test(roles = ["one", "other"], runs_on = "host")]
fn names_survive(env: &Environment) -> Result<()> {
    let address = env.network("lan").address("one")?.to_string();
    let named = env["other2"].run("grep -w one /etc/hosts")?.stdout;
    assert_eq!(named.split_whitespace().collect::<Vec<_>>(), [&address, "one"]);
    env["other2"].restart()?;
    net::ping(&env["other2"], "one").run()?;
    net::ping(&env["one"], "other2").run()?;
    Ok(())
}

/// Tells the machine that a test runs on, and reaches each machine from there by the network.
fn is_on(test: &str, env: &Environment) -> Result<()> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    for role in env.roles() {
        let (target, address) = (&env[role], env.network("lan").address(role)?);
        let ping = std::process::Command::new("ping").args(["-c1", &address.to_string()]).status()?;
        assert!(ping.success(), "{address}");
        if target.run("cat /proc/sys/kernel/hostname")?.stdout == host {
            println!("{test} runs on {}", target.instance());
        }
    }
    Ok(())
}

#[target_test(roles = ["one", "other"])]
fn is_on_a_machine(env: &Environment) -> Result<()> {
    is_on("is_on_a_machine", env)
}

/// The playbook says where it runs.
#[target_test(roles = ["one", "other"], runs_on = "one")]
fn is_overridden(env: &Environment) -> Result<()> {
    is_on("is_overridden", env)
}
