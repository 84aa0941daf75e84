//! Every method of `Target`, on each transport.

use std::{collections::BTreeSet, time::Duration};

use target_fixtures::{ErrorKind, FileKind, prelude::*};

fn is_ssh(target: &Target) -> bool {
    matches!(target.name(), "real" | "made-ssh")
}

/// A folder of this test's own on the instance.
fn folder(target: &Target) -> Result<String> {
    Ok(target.run("mktemp -d")?.stdout.trim_end().to_owned())
}

#[target_test]
fn identity(target: &Target) -> Result<()> {
    assert!(
        target
            .instance()
            .starts_with(&format!("{}-", target.name()))
    );
    let (host, platform) = match target.name() {
        "here" => ("localhost", "local"),
        "real" => ("127.0.0.1", "ssh"),
        _ => ("127.0.0.1", "command"),
    };
    assert_eq!((target.host(), target.platform()), (host, platform));
    assert_eq!(target.port().is_some(), is_ssh(target));
    assert_eq!(target.user().is_some(), is_ssh(target));
    for (name, value) in [
        ("NAME", target.name()),
        ("INSTANCE", target.instance()),
        ("HOST", host),
        ("PLATFORM", platform),
    ] {
        assert_eq!(std::env::var(format!("TARGET_TEST_{name}"))?, value);
    }
    assert_eq!(
        std::env::var("TARGET_TEST_PARAMS")?,
        target.params().to_string()
    );
    Ok(())
}

#[target_test]
fn parameters(target: &Target) -> Result<()> {
    match target.name() {
        "here" => {
            assert_eq!(target.params()["env"]["GIVEN"], "by the playbook");
            assert_eq!(target.features(), ["x", "y"]);
        }
        "real" => {
            assert_eq!(
                target.params()["hosts"][0],
                format!("127.0.0.1:{}", target.port().unwrap_or(0))
            );
            assert_eq!(target.run("echo $TARGET_IDENTITY")?.stdout, "real\n");
        }
        name => {
            assert_eq!(target.data()["serial"], 7);
            assert_eq!(target.data()["tags"][0], "a");
            assert_eq!(
                target.params()["params"]["size"],
                if name == "made-ssh" { 4 } else { 3 }
            );
            assert!(target.features().is_empty());
        }
    }
    assert_eq!(
        target.has_feature("x"),
        matches!(target.name(), "here" | "real")
    );
    assert!(!target.has_feature("none"));
    Ok(())
}

#[target_test]
fn commands(target: &Target) -> Result<()> {
    assert!(target.ping()? < Duration::from_secs(10));
    let output = target.run("echo out; echo err >&2")?;
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert!(output.exit.success() && output.duration < Duration::from_secs(10));
    assert_eq!(target.run("cat")?.stdout, "", "no standard input");
    assert_eq!(target.run("printf '\\377'")?.stdout_bytes, [0xff]);
    assert_eq!(target.run("printf '\\377'")?.stdout, "\u{fffd}");
    let line = "line ".repeat(400);
    assert_eq!(
        target.run(format!("echo '{line}'"))?.stdout,
        format!("{line}\n")
    );
    assert_eq!(target.run("echo 'a\nb' \"$0\" | wc -l")?.stdout.trim(), "2");
    if target.name() == "here" {
        assert_eq!(target.run("echo $GIVEN")?.stdout, "by the playbook\n");
    }
    Ok(())
}

#[target_test]
fn builder(target: &Target) -> Result<()> {
    let output = target
        .command("echo \"$A|$B\"; pwd")
        .env("A", "it's \"quoted\" $HOME `x` \\")
        .env("B", "b\nc")
        .current_dir("/usr")
        .run()?;
    assert_eq!(output.stdout, "it's \"quoted\" $HOME `x` \\|b\nc\n/usr\n");
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    assert_eq!(
        target
            .command("cat")
            .stdin(bytes.clone())
            .run()?
            .stdout_bytes,
        bytes
    );
    assert_eq!(
        target.command("head -c 1").stdin(bytes).run()?.stdout_bytes,
        [0]
    );
    let output = target
        .command("echo so far; exit 3")
        .allow_failure()
        .run()?;
    assert_eq!(
        (output.exit.to_string().as_str(), output.stdout.as_str()),
        ("exit code 3", "so far\n")
    );
    assert!(!output.exit.success());
    let output = target.command("kill -s KILL $$").allow_failure().run()?;
    assert!(!output.exit.success());
    let error = target
        .command("true")
        .current_dir("/none such")
        .run()
        .unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Exit | ErrorKind::Request),
        "{error}"
    );
    assert!(error.to_string().contains("/none such"), "{error}");
    let error = target
        .command("true")
        .env("no name", "x")
        .run()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request);
    target.command("echo unseen").quiet().run()?;
    Ok(())
}

#[target_test]
fn a_timeout_kills_the_group(target: &Target) -> Result<()> {
    let folder = folder(target)?;
    let line = "sh -c 'echo $$ >child; exec sleep 1000' & echo before; wait";
    let error = target
        .command(line)
        .current_dir(&folder)
        .timeout(Duration::from_millis(500))
        .run()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(
        error.to_string().contains("500ms") && error.to_string().contains("before"),
        "{error}"
    );
    let gone = "i=0; while kill -0 $(cat child) 2>/dev/null; do i=$((i+1)); [ $i -lt 200 ] || exit 1; sleep 0.05; done";
    target.command(gone).current_dir(&folder).run()?;
    target.run("true")?;
    Ok(())
}

#[target_test]
fn files(target: &Target) -> Result<()> {
    let folder = folder(target)?;
    let there = |name: &str| format!("{folder}/{name}");
    target.write(there("it's a file.txt"), "one\ntwo")?;
    assert_eq!(target.cat(there("it's a file.txt"))?, "one\ntwo");
    assert_eq!(
        target.run(format!("cat \"{folder}\"/it*"))?.stdout,
        "one\ntwo"
    );
    target.write(there("empty"), "")?;
    assert_eq!(target.read(there("empty"))?, b"");
    let local = std::env::temp_dir().join(format!("author-{}", std::process::id()));
    std::fs::create_dir(&local)?;
    let content: Vec<u8> = (0_u32..5 << 18)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    assert_eq!(content.len(), 5 << 20);
    std::fs::write(local.join("big"), &content)?;
    std::fs::set_permissions(
        local.join("big"),
        std::os::unix::fs::PermissionsExt::from_mode(0o750),
    )?;
    target.put(local.join("big"), there("big"))?;
    assert_eq!(
        target.run(format!("stat -c '%a %s' {folder}/big"))?.stdout,
        "750 5242880\n"
    );
    target.get(there("big"), local.join("back"))?;
    assert!(std::fs::read(local.join("back"))? == content);
    assert!(target.read(there("big"))? == content);
    target.write(there("big"), "smaller")?;
    assert_eq!(target.cat(there("big"))?, "smaller");
    assert_eq!(
        target.run(format!("ls -A {folder} | wc -l"))?.stdout.trim(),
        "3",
        "nothing temporary stays"
    );
    std::fs::remove_dir_all(local)?;
    Ok(())
}

#[target_test]
fn paths(target: &Target) -> Result<()> {
    let folder = target.temp_dir()?;
    let at = |name: &str| folder.join(name);
    target.create_dir_all(at("a/b"))?;
    target.create_dir_all(at("a/b"))?;
    target.write(at("a/.it's a file"), "text\n\n")?;
    target.run(format!("> \"{folder}/a/two\nlines\""))?;
    target.run(format!(
        "ln -s b {folder}/a/link; ln -s none {folder}/a/dead"
    ))?;
    assert_eq!(
        target.read_dir(at("a"))?,
        [".it's a file", "b", "dead", "link", "two\nlines"]
    );
    assert_eq!(target.read_dir(at("a/b"))?, Vec::<String>::new());

    assert_eq!(target.cat(at("a/.it's a file"))?, "text");
    assert_eq!(target.read_to_string(at("a/.it's a file"))?, "text\n\n");
    target.write(at("binary"), [0xff])?;
    assert_eq!(
        target.read_to_string(at("binary")).unwrap_err().kind(),
        ErrorKind::Request
    );

    assert!(target.exists(at("a/link"))? && !target.exists(at("a/dead"))?);
    assert_eq!(target.metadata(at("a/link"))?.kind, FileKind::Folder);
    let link = target.file(at("a/link"))?;
    assert_eq!(link.map(|link| link.kind), Some(FileKind::Link));

    target.remove_file(at("a/dead"))?;
    target.remove_file(at("a/link"))?;
    for (error, says) in [
        (target.metadata(at("a/dead")).map(drop), "read metadata of"),
        (target.remove_file(at("a/dead")), "remove "),
        (target.remove_file(at("a")), "remove "),
        (target.remove_dir_all(at("none")), "remove folder "),
        (target.read_dir(at("binary")).map(drop), "list folder "),
        (target.create_dir_all(at("binary/x")), "create folder "),
        (target.exists("relative").map(drop), "not absolute"),
    ] {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Request, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    target.remove_dir_all(at("a"))?;
    assert_eq!(target.read_dir(folder.path())?, ["binary"]);
    let path = folder.path().to_owned();
    drop(folder);
    assert!(!target.exists(path)?);
    Ok(())
}

#[target_test]
fn files_that_are_not_there(target: &Target) -> Result<()> {
    let kind_of = |error: TargetError, part: &str| {
        assert!(error.to_string().contains(part), "{error}");
        error.kind()
    };
    assert_eq!(
        kind_of(target.cat("/no/such").unwrap_err(), "/no/such"),
        ErrorKind::Request
    );
    assert_eq!(
        kind_of(target.read("/usr").unwrap_err(), "/usr"),
        ErrorKind::Request
    );
    assert_eq!(
        kind_of(target.cat("relative").unwrap_err(), "relative"),
        ErrorKind::Request
    );
    assert_eq!(
        kind_of(target.write("/no/such/file", "").unwrap_err(), "/no/such"),
        ErrorKind::Request
    );
    assert_eq!(
        kind_of(target.write("/usr", "").unwrap_err(), "/usr"),
        ErrorKind::Request
    );
    assert_eq!(
        kind_of(target.put("/no/local", "/tmp/x").unwrap_err(), "/no/local"),
        ErrorKind::File
    );
    let local = std::env::temp_dir().join(format!("author-none-{}", std::process::id()));
    assert_eq!(
        kind_of(target.get("/no/such", &local).unwrap_err(), "/no/such"),
        ErrorKind::Request
    );
    assert!(!local.exists());
    assert_eq!(
        kind_of(
            target.get("/etc/passwd", "/no/local/file").unwrap_err(),
            "/no/local/file"
        ),
        ErrorKind::File
    );
    target.run("true")?;
    Ok(())
}

#[target_test]
fn eight_threads_at_once(target: &Target) -> Result<()> {
    let folder = folder(target)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let file = format!("{folder}/{number}");
                scope.spawn(move || -> Result<()> {
                    for round in 0..5 {
                        let said = target.run(format!("echo {number}.{round}"))?.stdout;
                        assert_eq!(said, format!("{number}.{round}\n"));
                        target.write(&file, &said)?;
                        assert_eq!(target.read_to_string(&file)?, said);
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a thread panicked".into()))
        })
    })
}

#[target_test(count = 2)]
fn pair(targets: &[Target]) -> Result<()> {
    let names: Vec<_> = targets.iter().map(Target::instance).collect();
    assert_eq!(BTreeSet::from_iter(&names).len(), 2);
    assert_eq!(std::env::var("TARGET_TEST_INSTANCE")?, names.join(" "));
    for target in targets {
        target.write(folder(target)? + "/x", target.instance())?;
    }
    Ok(())
}

#[target_test]
fn nothing_but_the_environment() {
    assert!(
        !std::env::var("TARGET_TEST_NAME")
            .unwrap_or_default()
            .is_empty()
    );
}

#[target_test]
fn any_error(target: &Target) -> std::result::Result<(), Box<dyn std::error::Error>> {
    target.run("true")?;
    let number: u8 = target.run("echo 7")?.stdout.trim().parse()?;
    assert_eq!(number, 7);
    Ok(())
}
