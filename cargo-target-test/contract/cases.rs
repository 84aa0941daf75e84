//! The tests of the platforms' contract that examine an instance from inside.
//!
//! Compiled in a separate crate by `src/contract/place.rs`.

#![allow(missing_docs, unused)]

use std::{fs, path::PathBuf, time::Duration};
use target_fixtures::prelude::*;
use target_fixtures::{ErrorKind, wire::Exit};

fn at(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("CONTRACT_AT").expect("CONTRACT_AT")).join(name)
}

/// Creates a folder on the instance for this test.
fn folder(target: &Target) -> Result<String> {
    Ok(target.run("mktemp -d")?.stdout.trim_end().to_owned())
}

#[target_test]
fn quick(target: &Target) -> Result<()> {
    target.ping()?;
    target.run("true")?;
    Ok(())
}

#[target_test]
fn files(target: &Target) -> Result<()> {
    let folder = folder(target)?;
    let every: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..4_000_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let contents = [
        ("every byte", every),
        ("empty", Vec::new()),
        ("large", large),
    ];
    for (what, content) in &contents {
        let path = format!("{folder}/{what}");
        target.write(&path, content)?;
        assert!(target.read(&path)? == *content, "{what}");
        let size = target.run(format!("wc -c <'{path}'"))?.stdout;
        assert_eq!(size.trim(), content.len().to_string(), "{what}");
    }
    for name in [
        "a b",
        "it's",
        "\"q\"",
        "-dash",
        "$(x)",
        "ünïcode",
        "back\\slash",
        "*",
        "~",
    ] {
        let path = format!("{folder}/{name}");
        target.write(&path, name)?;
        assert_eq!(target.cat(&path)?, name);
    }
    let local = at(&format!("file-{}", target.instance()));
    fs::write(&local, "from here").unwrap();
    target.put(&local, format!("{folder}/put"))?;
    target.get(format!("{folder}/put"), &local)?;
    assert_eq!(fs::read_to_string(&local).unwrap(), "from here");
    for missing in [target.read(format!("{folder}/none")), target.read(&folder)] {
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::Request);
    }
    target.run(format!("rm -rf '{folder}'"))?;
    Ok(())
}

#[target_test]
fn commands(target: &Target) -> Result<()> {
    for code in 0..=255 {
        let output = target
            .command(format!("exit {code}"))
            .allow_failure()
            .run()?;
        assert_eq!(output.exit, Exit::Code(code));
    }
    let killed = target.command("kill -s KILL $$").allow_failure().run();
    assert!(killed.is_err() || killed.unwrap().exit != Exit::Code(0));
    let both = target
        .run("i=0; while [ $i -lt 20000 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done")?;
    assert_eq!(
        (both.stdout.lines().count(), both.stderr.lines().count()),
        (20000, 20000)
    );
    assert!(both.stdout.ends_with("out19999\n") && both.stderr.ends_with("err19999\n"));
    let fed = target
        .command("cat; echo end")
        .stdin(vec![b'x'; 300_000])
        .run()?;
    assert_eq!(fed.stdout.len(), 300_004);
    assert_eq!(target.run("cat")?.stdout, "", "standard input is empty");
    let said = target.command("echo $A").env("A", "b c").run()?;
    assert_eq!(said.stdout, "b c\n");
    Ok(())
}

#[target_test]
fn time_is_limited(target: &Target) -> Result<()> {
    let folder = folder(target)?;
    let line = format!("sleep 1000 & echo $! >{folder}/pid; wait");
    let late = target
        .command(line)
        .timeout(Duration::from_secs(1))
        .run()
        .unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout, "{late}");
    let pid = target.cat(format!("{folder}/pid"))?;
    let pid = pid.trim();
    // The process is dead or a zombie.
    target.run(format!(
        "i=0; while [ -e /proc/{pid} ] && ! grep -q '^State:.Z' /proc/{pid}/status; do i=$((i+1)); [ $i -lt 200 ] || exit 1; sleep 0.05; done"
    ))?;
    Ok(())
}

#[target_test]
fn folders_and_ports(target: &Target) -> Result<()> {
    use std::io::{Read as _, Write as _};
    let (there, here) = (
        folder(target)?,
        at(&format!("folder-{}", target.instance())),
    );
    fs::create_dir_all(here.join("sub")).unwrap();
    for number in 0..20 {
        fs::write(here.join(format!("sub/{number}")), vec![number; 3000]).unwrap();
    }
    target.put(&here, &there)?;
    target.write(format!("{there}/sub/0"), "other")?;
    target.put(&here, &there)?;
    target.get(&there, here.join("back"))?;
    assert_eq!(fs::read(here.join("back/sub/0")).unwrap(), vec![0; 3000]);
    assert_eq!(fs::read_dir(here.join("back/sub")).unwrap().count(), 20);
    assert!(!target.facts()?.kernel.is_empty());
    let port = 20000 + (std::process::id() % 12000) as u16;
    let _server = target
        .command("exec busybox nc -l -p \"$1\" -e cat")
        .arg(port.to_string())
        .spawn()?;
    target.wait_for_port(port, Duration::from_secs(20))?;
    let forward = target.forward(port)?;
    let mut stream = std::net::TcpStream::connect(forward.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"hello")?;
    let mut said = [0; 5];
    stream.read_exact(&mut said)?;
    assert_eq!(&said, b"hello");
    Ok(())
}

/// Writes the identity of each instance, which must be distinct.
#[target_test(count = 2)]
fn are_distinct(targets: &[Target]) -> Result<()> {
    let line = std::env::var("CONTRACT_IDENTITY").expect("CONTRACT_IDENTITY");
    let said = targets.iter().map(|target| target.run(&line));
    let said = said.collect::<Result<Vec<_>, _>>()?;
    assert_ne!(said[0].stdout, said[1].stdout);
    assert_ne!(targets[0].instance(), targets[1].instance());
    Ok(())
}

/// Checks the value of a secret from the playbook, as the instance sees it.
#[target_test]
fn sees_the_secret(target: &Target) -> Result<()> {
    let said = target.run("echo ${CONTRACT_SECRET:-none}")?;
    let expected = std::env::var("CONTRACT_SEEN").unwrap();
    let seen = said.stdout.trim_end();
    assert!(
        ["*", seen].contains(&expected.as_str()),
        "not what was expected"
    );
    Ok(())
}
