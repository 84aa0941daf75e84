//! The gateway on a machine of its own, between two clients and a server.

use target_fixtures::{ErrorKind, net, prelude::*};

target_defaults! { programs = ["gateway"] }

const SOON: Duration = Duration::from_secs(20);

/// Starts the gateway with these rules, in which `INSIDE`, `OUTSIDE` and `SERVER` stand for its interfaces and the server's
/// address; the clients send through it what is for the outside.
fn start(env: &Environment, rules: &str) -> Result<()> {
    let (gateway, inside, outside) = (
        &env["gateway"],
        env.network("inside"),
        env.network("outside"),
    );
    let rules = rules
        .replace("INSIDE", &inside.interface("gateway")?)
        .replace("OUTSIDE", &outside.interface("gateway")?)
        .replace("SERVER", &outside.address("server")?.to_string());
    gateway.write("/etc/gateway.conf", rules)?;
    gateway
        .program_of("gateway")?
        .arg("/etc/gateway.conf")
        .sudo()
        .run()?;
    for client in env.targets("client") {
        let route = "ip route replace 10.77.2.0/24 via \"$1\"";
        client
            .command(route)
            .arg(inside.address("gateway")?)
            .sudo()
            .run()?;
    }
    Ok(())
}

/// Clients reach the server through the gateway, under its address; the server does not reach them.
#[target_test(roles = ["gateway", "client1", "client2", "server"])]
fn clients_are_hidden(env: &Environment) -> Result<()> {
    start(env, "forward INSIDE OUTSIDE\nhide OUTSIDE")?;
    let (inside, outside) = (env.network("inside"), env.network("outside"));
    let server = outside.address("server")?;
    let mut sniffer = net::sniff(&env["server"], "icmp")
        .interface(outside.interface("server")?)
        .start()?;
    for client in env.targets("client") {
        let ping = net::ping(client, "server").interface(inside.interface("client1")?);
        // The playbook delays both ways on the outer network.
        assert!(ping.run()?.average >= Duration::from_millis(20));
    }
    let seen = format!(
        "IP {} > {server}: ICMP echo request",
        outside.address("gateway")?
    );
    assert!(sniffer.packets(1, SOON)?[0].contains(&seen));
    assert_eq!(
        net::trace(&env["client1"], server)?[0],
        Some(inside.address("gateway")?)
    );
    Ok(())
}

/// Three ports of the gateway lead to three ports of the server.
#[target_test(roles = ["gateway", "client1", "server"])]
fn ports_are_redirected(env: &Environment) -> Result<()> {
    let ports = [(8001, 80), (8002, 81), (8003, 82)];
    let rules = ports.map(|(from, to)| format!("redirect tcp {from} SERVER:{to}\n"));
    start(env, &format!("hide OUTSIDE\n{}", rules.concat()))?;
    for (from, to) in ports {
        let mut server = net::tcp_server(&env["server"], to).reply(to).start()?;
        let answer = net::connect(&env["client1"], "gateway", from)
            .send("hello")
            .run()?;
        assert_eq!(answer, to.to_string());
        assert_eq!(server.receive(SOON)?, "hello");
    }
    Ok(())
}

/// A message by UDP arrives, and the gateway sees it pass. What is blocked does neither.
#[target_test(roles = ["gateway", "client1", "server"])]
fn blocked_ports_are_silent(env: &Environment) -> Result<()> {
    start(
        env,
        "forward INSIDE OUTSIDE\nhide OUTSIDE\nblock udp 9\nblock tcp 23",
    )?;
    let (client, outside) = (&env["client1"], env.network("outside"));
    let server = outside.address("server")?;
    let mut sniffer = net::sniff(&env["gateway"], "udp")
        .interface(outside.interface("gateway")?)
        .start()?;
    let mut open = net::udp_server(&env["server"], 5000).start()?;
    let mut blocked = net::udp_server(&env["server"], 9).start()?;
    net::send_udp(client, server, 9, "blocked")?;
    net::send_udp(client, server, 5000, "open")?;
    assert_eq!(open.receive(SOON)?, "open");
    let first = &sniffer.packets(1, SOON)?[0];
    assert!(
        first.contains(&format!("> {server}.5000: UDP, length 5")),
        "{first}"
    );
    let silence = blocked.receive(Duration::from_millis(200)).unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::NoPacket);
    let _telnet = net::tcp_server(&env["server"], 23).start()?;
    let refused = net::connect(client, server, 23).run().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoConnection);
    Ok(())
}

/// A VLAN on the inner network joins those that are in it; in another one, a machine is alone.
#[target_test(roles = ["gateway", "client1", "client2"])]
fn a_vlan_is_apart(env: &Environment) -> Result<()> {
    let inside = env.network("inside");
    let join = "ip link del \"vlan$2\" 2>/dev/null; ip link add link \"$1\" name \"vlan$2\" type vlan id \"$2\" && \
         ip addr add \"$3\" dev \"vlan$2\" && ip link set \"vlan$2\" up";
    let members = [
        ("gateway", 93, "10.93.0.1/24"),
        ("client1", 93, "10.93.0.2/24"),
        ("client2", 94, "10.93.0.3/24"),
    ];
    for (machine, id, address) in members {
        let command = env[machine].command(join).arg(inside.interface(machine)?);
        command.arg(id).arg(address).sudo().run()?;
    }
    let sniffer = net::sniff(&env["client2"], "vlan 93 and arp");
    let mut sniffer = sniffer.interface(inside.interface("client2")?).start()?;
    net::ping(&env["client1"], "10.93.0.1")
        .interface("vlan93")
        .run()?;
    let question = &sniffer.packets(1, SOON)?[0];
    assert!(question.contains("who-has 10.93.0.1"), "{question}");
    let silence = net::ping(&env["client2"], "10.93.0.1")
        .interface("vlan94")
        .run()
        .unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::NoPacket);
    Ok(())
}

/// A link can be slow, lossy or cut. The end of the test heals it.
#[target_test(roles = ["gateway", "client1", "client2"])]
fn links_fail(env: &Environment) -> Result<()> {
    let inside = env.network("inside");
    let (client, gateway) = (&env["client1"], inside.address("gateway")?);
    let capture = inside.capture("inside.pcap")?;
    inside.delay(Duration::from_millis(50))?;
    let slow = net::ping(client, gateway).run()?;
    assert!(slow.average >= Duration::from_millis(100), "{slow:?}");
    inside.loss(1.0)?;
    let silence = net::ping(client, gateway).run().unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::NoPacket);
    inside.heal()?;
    inside.partition(&["client1"], &["gateway"])?;
    net::ping(client, gateway).run().unwrap_err();
    net::ping(&env["client2"], gateway).run()?;
    // At least three requests and their replies.
    assert!(std::fs::metadata(capture)?.len() > 6 * 100);
    Ok(())
}
