//! Servers, clients, sniffers and commands side by side, on machines with the usual programs and on BusyBox.

use std::net::TcpListener;

use target_fixtures::{ErrorKind, net, parallel, prelude::*};

const SOON: Duration = Duration::from_secs(30);
const HERE: &str = "127.0.0.1";

/// A port that was free on this host a moment ago.
fn port() -> Result<u16> {
    Ok(TcpListener::bind((HERE, 0))?.local_addr()?.port())
}

/// A server, a sniffer and a client on three machines at once.
#[target_test(count = 3)]
fn three_machines_talk(targets: &[Target]) -> Result<()> {
    let [server, client, watcher] = targets else {
        unreachable!()
    };
    let port = port()?;
    let filter = format!("udp port {port}");
    let mut sniffer = net::sniff(watcher, filter).interface("lo").start()?;
    let mut inbox = net::udp_server(server, port).start()?;
    for text in ["hello", "again"] {
        net::send_udp(client, HERE, port, text)?;
        assert_eq!(inbox.receive(SOON)?, text);
    }
    let packets = sniffer.packets(2, SOON)?;
    let to = format!("> {HERE}.{port}: UDP, length 6");
    assert!(
        packets.iter().all(|packet| packet.contains(&to)),
        "{packets:?}"
    );
    let short = Duration::from_millis(200);
    let silence = sniffer.packets(1, short).unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::NoPacket);
    assert!(
        silence.to_string().ends_with("no packet seen within 200ms"),
        "{silence}"
    );
    let silence = inbox.receive(short).unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::NoPacket);
    Ok(())
}

#[target_test]
fn lines_go_both_ways(target: &Target) -> Result<()> {
    let port = port()?;
    let mut server = net::tcp_server(target, port).reply("welcome").start()?;
    let answer = net::connect(target, HERE, port).send("hello").run()?;
    assert_eq!(answer, "welcome");
    assert_eq!(server.receive(SOON)?, "hello");
    let mut server = net::tcp_server(target, port).start()?;
    assert_eq!(net::connect(target, HERE, port).send("more").run()?, "");
    assert_eq!(server.receive(SOON)?, "more");
    let ended = server.receive(SOON).unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Exit);
    let name = format!("TCP port {port} of `{}`", target.instance());
    assert!(ended.to_string().contains(&name), "{ended}");
    let refused = net::connect(target, HERE, port)
        .send("x")
        .run()
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoConnection);
    assert!(
        refused.to_string().to_lowercase().contains("refused"),
        "{refused}"
    );
    Ok(())
}

#[target_test]
fn pings_are_answered(target: &Target) -> Result<()> {
    let pings = net::ping(target, HERE).interface("lo").count(2).run()?;
    assert_eq!((pings.sent, pings.received), (2, 2));
    assert!(pings.average < SOON);
    // A misspelt name is not a missing packet.
    let wrong = net::ping(target, "nowhere.invalid").run().unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Request);
    let said = wrong.to_string();
    assert!(
        ["bad address", "resol", "not known"]
            .iter()
            .any(|one| said.contains(one)),
        "{said}"
    );
    Ok(())
}

/// BusyBox has no `tcpdump`.
#[target_test]
fn a_missing_program_skips(target: &Target) -> Result<()> {
    let _sniffer = net::sniff(target, "icmp").start()?;
    Ok(())
}

/// BusyBox has no `nc` for UDP.
#[target_test]
fn a_missing_protocol_skips(target: &Target) -> Result<()> {
    let _server = net::udp_server(target, port()?).start()?;
    Ok(())
}

#[target_test]
fn commands_run_side_by_side(target: &Target) -> Result<()> {
    let folder = target.temp_dir()?;
    // Each waits for the file of the other.
    let command = |own: &str, other: &str| {
        let line = "touch \"$1\"; until [ -e \"$2\" ]; do sleep 0.02; done; echo \"$1\"";
        target
            .command(line)
            .args([own, other])
            .current_dir(folder.path())
    };
    let outputs = parallel([command("a", "b"), command("b", "a")])?;
    let texts: Vec<_> = outputs.iter().map(|output| output.stdout.trim()).collect();
    assert_eq!(texts, ["a", "b"]);
    let failed = parallel([
        target.command("echo first; exec sleep 1000"),
        target.command("echo second"),
        target.command("echo third; echo broken >&2; sleep 0.2; exit 3"),
    ]);
    let error = failed.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exit);
    let text = error.to_string();
    for part in [
        "sleep 0.2; exit 3",
        "exit code 3",
        "broken",
        "exec sleep 1000",
        "(killed)\n--- stdout\nfirst",
        "(done)\n--- stdout\nsecond",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        !target
            .command("ps | grep 'sleep 100[0]'")
            .allow_failure()
            .run()?
            .exit
            .success()
    );
    Ok(())
}
