//! Tests on virtual machines with a network between them.

use target_fixtures::{ErrorKind, net, prelude::*};

target_fixtures::fault_events!();
orchestration!("disturbs", roles = ["gateway", "tester"]);

/// A machine reaches another at its address on the network, before and after that one reboots.
#[target_test(roles = ["gateway", "tester"])]
fn reaches(env: &Environment) -> Result<()> {
    let lan = env.network("lan");
    let gateway = lan.address("gateway")?;
    assert_ne!(lan.address("tester1")?, lan.address("tester2")?);
    assert_eq!(lan.interface("tester1")?, "eth1");
    let ping = format!("ping -c 1 -W 10 {gateway}");
    env["tester1"].run(&ping)?;
    env["gateway"].reboot()?;
    env["tester2"].run(&ping)?;
    // Each machine finds the others by name, also after its reboot.
    env["tester1"].run("ping -c 1 -W 10 gateway")?;
    env["gateway"].run("ping -c 1 -W 10 tester2")?;
    Ok(())
}

/// A slow network takes its time for what a machine sends.
#[target_test(roles = ["gateway", "tester1"])]
fn is_slow(env: &Environment) -> Result<()> {
    let lan = env.network("lan");
    lan.rate(2_000_000)?;
    let server = env["gateway"].spawn("mkfifo /tmp/open; nc -l -p 7000 <>/tmp/open | wc -c")?;
    env["gateway"].wait_for_port(7000, Duration::from_secs(30))?;
    let started = std::time::Instant::now();
    env["tester1"].run("dd if=/dev/zero bs=1000 count=600 2>/dev/null | nc gateway 7000")?;
    let received = server.wait()?;
    assert_eq!(received.stdout.trim(), "600000");
    // 2.4 s, and what the switch lets through at once.
    assert!(
        started.elapsed() >= Duration::from_millis(1800),
        "{:?}",
        started.elapsed()
    );
    Ok(())
}

/// An interface without an address is left to the test.
#[target_test(roles = ["gateway", "tester1"])]
fn is_bare(env: &Environment) -> Result<()> {
    let bare = env.network("bare");
    let unset = bare.address("gateway").unwrap_err().to_string();
    let message = "find the address of `gateway` on network `bare`: it has none";
    assert_eq!(unset, message);
    for (role, address) in [("gateway", "10.9.9.1"), ("tester1", "10.9.9.2")] {
        let interface = bare.interface(role)?;
        env[role].run(format!(
            "ip addr add {address}/24 dev {interface} && ip link set {interface} up"
        ))?;
    }
    env["tester1"].run("ping -c 1 -W 10 10.9.9.1")?;
    Ok(())
}

/// The faults of a machine's links are its own, and end.
#[target_test(roles = ["gateway", "tester"])]
fn has_faults_of_links(env: &Environment) -> Result<()> {
    let gateway = env.network("lan").address("gateway")?;
    let ping = |from: &str| net::ping(&env[from], gateway).count(2).run();
    // The fault of the test that died is over.
    ping("tester1")?;
    let faults = env["tester1"].faults();
    let cut = faults.link_cut()?;
    assert_eq!(ping("tester1").unwrap_err().kind(), ErrorKind::NoPacket);
    ping("tester2")?;
    let twice = faults.link_cut().unwrap_err().to_string();
    assert!(twice.contains("fault `link-cut` lasts already"), "{twice}");
    cut.end()?;
    let slow = faults.link_delay(Duration::from_millis(100))?;
    let pings = ping("tester1")?;
    assert!(pings.average >= Duration::from_millis(200), "{pings:?}");
    let lost = faults.link_loss(1.0)?;
    assert_eq!(ping("tester1").unwrap_err().kind(), ErrorKind::NoPacket);
    lost.end()?;
    slow.end()?;
    let wrong = faults.link_loss(30.0).unwrap_err().to_string();
    assert!(wrong.contains("must be from 0 to 1, not 30"), "{wrong}");
    ping("tester1")?;
    Ok(())
}

/// Dies with a link that is cut.
#[target_test(roles = ["tester"])]
fn dies_cut(env: &Environment) -> Result<()> {
    std::mem::forget(env["tester1"].faults().link_cut()?);
    std::process::abort();
}

/// Ends the orchestration once `tester1` is not answered.
#[target_event]
fn sees_silence(env: &Environment) -> Result<()> {
    let gateway = env.network("lan").address("gateway")?;
    wait_until(Duration::from_secs(120), || {
        let ping = net::ping(&env["tester1"], gateway).count(1).run();
        Ok::<_, Error>(ping.err())
    })?;
    Err("no frame arrives".into())
}

/// Finds each machine as it was before the first test.
fn is_as_new(env: &Environment) -> Result<()> {
    for target in env.machines() {
        target.run("! test -e /root/used && touch /root/used")?;
    }
    // The names of an earlier deploy are not added to.
    let block = env["gateway"].run("grep -c machines /etc/hosts")?;
    assert_eq!(block.stdout.trim(), "2");
    env["gateway"].run("ping -c 1 -W 10 tester2")?;
    Ok(())
}

#[target_test(roles = ["tester"], reuse = "snapshot")]
fn restored_1(env: &Environment) -> Result<()> {
    is_as_new(env)
}

#[target_test(roles = ["tester"], reuse = "snapshot")]
fn restored_2(env: &Environment) -> Result<()> {
    is_as_new(env)
}
