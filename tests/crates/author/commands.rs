//! Commands and processes, on each transport.

use std::time::Duration;

use target_fixtures::{ErrorKind, Exit, Process, Stream, prelude::*};

const SOON: Duration = Duration::from_secs(20);

fn folder(target: &Target) -> Result<String> {
    Ok(target.run("mktemp -d")?.stdout.trim_end().to_owned())
}

#[target_test]
fn arguments_arrive_as_they_are(target: &Target) -> Result<()> {
    let nasty = [
        "",
        " a  b ",
        "it's",
        "\"$HOME\"",
        "`x`;|&<>",
        "*",
        "-n",
        "\\",
        "a\nb",
        "ü",
    ];
    let said = target
        .program("printf")
        .arg("<%s>")
        .args(nasty)
        .run()?
        .stdout;
    assert_eq!(said, nasty.map(|word| format!("<{word}>")).concat());
    let said = target
        .command("printf '<%s>' \"$#\" \"$@\"")
        .args(nasty)
        .run()?
        .stdout;
    assert_eq!(
        said,
        format!("<{}>", nasty.len()) + &nasty.map(|word| format!("<{word}>")).concat()
    );
    let said = target
        .program("pwd")
        .current_dir("/dev")
        .env("A", "b")
        .run()?
        .stdout;
    assert_eq!(said, "/dev\n");
    assert_eq!(
        target.program("/no such").allow_failure().run()?.exit,
        Exit::Code(127)
    );
    Ok(())
}

#[target_test]
fn input_of_any_kind(target: &Target) -> Result<()> {
    let file = std::env::temp_dir().join(format!("input-{}", std::process::id()));
    let bytes: Vec<u8> = (0..=255).cycle().take(400_000).collect();
    std::fs::write(&file, &bytes)?;
    assert!(target.command("cat").stdin_file(&file).run()?.stdout_bytes == bytes);
    let process = target.command("wc -c").stdin_file(&file).spawn()?;
    assert_eq!(process.wait()?.stdout.trim(), "400000");
    std::fs::remove_file(&file)?;
    assert_eq!(
        target
            .command("cat")
            .stdin_file(&file)
            .run()
            .unwrap_err()
            .kind(),
        ErrorKind::File
    );
    let script =
        "printf 'name? '; read -r n; printf 'really %s? ' \"$n\"; read -r y; echo \"$n:$y\"";
    let said = target
        .command(script)
        .answer("name?", "ada")
        .answer("really ada?", "yes")
        .run()?;
    assert_eq!(said.stdout, "name? really ada? ada:yes\n");
    let error = target
        .command(script)
        .answer("name?", "ada")
        .answer("no such question", "x")
        .timeout(Duration::from_secs(2))
        .run()
        .unwrap_err();
    assert!(error.to_string().contains("no such question"), "{error}");
    let error = target
        .command("printf 'name? '; sleep 100")
        .answer("other?", "x")
        .timeout(Duration::from_secs(2))
        .run()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(
        error.to_string().contains("other?") && error.to_string().contains("name?"),
        "{error}"
    );
    // The time is that of all questions together.
    let slow = target
        .command("for q in a b c d; do sleep 0.4; echo $q?; read -r n; done")
        .answer("a?", "")
        .answer("b?", "")
        .answer("c?", "")
        .answer("d?", "");
    assert_eq!(
        slow.timeout(Duration::from_millis(900))
            .run()
            .unwrap_err()
            .kind(),
        ErrorKind::Timeout
    );
    let error = target
        .program("echo")
        .arg("x".repeat(200_000))
        .run()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request, "{error}");
    Ok(())
}

#[target_test]
fn root_where_that_is_allowed(target: &Target) -> Result<()> {
    if target.run("id -u")?.stdout.trim() != "0"
        && !target
            .command("sudo -n true")
            .allow_failure()
            .run()?
            .exit
            .success()
    {
        return Err(skip("no root without a password"));
    }
    let said = target
        .command("id -u; echo \"$A\" \"$1\"; pwd")
        .arg("x y")
        .env("A", "it's")
        .current_dir("/dev")
        .sudo()
        .run()?;
    assert_eq!(said.stdout, "0\nit's x y\n/dev\n");
    assert_eq!(target.sudo("cat")?.stdout, "");
    assert_eq!(target.command("cat").sudo().stdin("in").run()?.stdout, "in");
    // Where it is not asked for, nobody reads it.
    assert_eq!(
        target
            .command("cat")
            .password("secret")
            .stdin("in")
            .run()?
            .stdout,
        "in"
    );
    let said = target.command("cat; env").password("sesame").run()?;
    assert!(!said.stdout.contains("sesame"));
    assert_eq!(
        target.command("exit 7").sudo().allow_failure().run()?.exit,
        Exit::Code(7)
    );
    Ok(())
}

#[target_test]
fn a_process_is_read_line_by_line(target: &Target) -> Result<()> {
    let mut process = target
        .command("echo one; echo two >&2; while read -r l; do echo \"<$l>\"; done; printf end")
        .spawn()?;
    assert_eq!(process.wait_for_line("one", SOON)?, "one");
    process.write("a\nb")?;
    assert_eq!(process.wait_for_line("<", SOON)?, "<a>");
    assert!(process.is_running());
    let late = process.next_line(Duration::from_millis(50));
    let late = match late {
        // The other stream may come when it likes.
        Ok(Some(line)) => {
            assert_eq!((line.stream, line.text.as_str()), (Stream::Stderr, "two"));
            process.next_line(Duration::from_millis(50))
        }
        late => late,
    };
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Timeout);
    process.write("\n")?;
    process.close_stdin();
    assert_eq!(process.write("c").unwrap_err().kind(), ErrorKind::Request);
    assert_eq!(process.wait_for_line("<", SOON)?, "<b>");
    let mut rest = Vec::new();
    while let Some(line) = process.next_line(SOON)? {
        rest.push(line.text);
    }
    assert_eq!(rest.last().map(String::as_str), Some("end"));
    assert!(!process.is_running());
    assert_eq!(process.wait()?.stdout, "one\n<a>\n<b>\nend");
    let mut failing = target.command("echo no; exit 4").spawn()?;
    let error = failing.wait_for_line("yes", SOON).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Exit && error.to_string().contains("exit code 4"),
        "{error}"
    );
    assert_eq!(failing.wait().unwrap_err().kind(), ErrorKind::Exit);
    Ok(())
}

/// Each ends when all have begun.
#[target_test]
fn many_processes_at_once(target: &Target) -> Result<()> {
    let folder = folder(target)?;
    let meet = ": >$1; until [ $(ls | wc -l) = 20 ]; do sleep 0.05; done; echo $1";
    let processes: Vec<_> = (0..20)
        .map(|n| {
            let command = target.command(meet).arg(n.to_string());
            command.current_dir(&folder).spawn()
        })
        .collect::<std::result::Result<_, _>>()?;
    for (n, process) in processes.into_iter().enumerate() {
        assert_eq!(process.wait()?.stdout, format!("{n}\n"));
    }
    Ok(())
}

/// Waits until nothing of a process group is left.
fn gone(target: &Target, folder: &str) -> Result<()> {
    let line = "i=0; while kill -0 $(cat child) 2>/dev/null; do i=$((i+1)); [ $i -lt 200 ] || exit 1; sleep 0.05; done";
    target.command(line).current_dir(folder).run()?;
    Ok(())
}

#[target_test]
fn a_kill_takes_the_whole_group(target: &Target) -> Result<()> {
    let folder = folder(target)?;
    let line = "sh -c 'echo $$ >child; exec sleep 1000' & echo out; until [ -s child ]; do sleep 0.02; done; echo up; wait";
    let mut process = target.command(line).current_dir(&folder).spawn()?;
    process.wait_for_line("up", SOON)?;
    let killed = process.kill()?;
    assert_eq!(
        (killed.exit, killed.stdout.as_str()),
        (Exit::Signal("KILL".to_owned()), "out\nup\n")
    );
    gone(target, &folder)?;
    let mut process = target.command(line).current_dir(&folder).spawn()?;
    process.wait_for_line("up", SOON)?;
    drop(process);
    gone(target, &folder)?;
    let mut process = target
        .command("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done")
        .spawn()?;
    process.wait_for_line("up", SOON)?;
    process.signal("SIGTERM")?;
    process.wait_for_line("bye", SOON)?;
    assert!(
        process
            .wait()
            .unwrap_err()
            .to_string()
            .contains("exit code 3")
    );
    let process = target.command("true").spawn()?;
    while process.is_running() {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(process.signal("TERM").unwrap_err().kind(), ErrorKind::Exit);
    assert!(process.kill()?.exit.success());
    Ok(())
}

/// A signal that ends the command is no error, and one that no process got is.
#[target_test(timeout = "60s")]
fn the_result_of_a_signal_is_told(target: &Target) -> Result<()> {
    let mut process = target.command("echo up; exec sleep 1000").quiet().spawn()?;
    process.wait_for_line("up", SOON)?;
    let error = process.signal("NONE").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request, "{error}");
    assert!(error.to_string().contains("send signal `NONE`"), "{error}");
    process.signal("TERM")?;
    let error = process.wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exit, "{error}");
    Ok(())
}

#[target_test]
fn output_is_kept_within_bounds(target: &Target) -> Result<()> {
    let output = target
        .command("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done")
        .keep(1000)
        .quiet()
        .run()?;
    assert!(
        output.truncated && output.stdout.len() == 1000 && output.stdout.ends_with("line 2999\n")
    );
    assert!(!target.run("echo x")?.truncated);
    Ok(())
}

/// Input for a command that does not read has to wait; the signal that ends the command does not.
#[target_test(timeout = "60s")]
fn what_does_not_read_ends_all_the_same(target: &Target) -> Result<()> {
    let file = format!("{}/pid", folder(target)?);
    let deaf = || -> Result<target_fixtures::Process> {
        let mut process = target
            .command("echo $$ >\"$1\"; echo up; exec sleep 500")
            .arg(&file)
            .quiet()
            .spawn()?;
        process.wait_for_line("up", SOON)?;
        for _ in 0..7 {
            process.write(vec![b'x'; 128 << 10])?;
        }
        Ok(process)
    };
    assert_eq!(deaf()?.kill()?.exit, Exit::Signal("KILL".to_owned()));
    drop(deaf()?);
    target.wait_for_command(format!("! kill -0 $(cat {file})"), SOON)?;
    // Signals do not come in between what it is sent.
    let line = "trap : USR1; echo up; while :; do head -c 100000 | wc -c; done";
    let mut process = target
        .command(line)
        .stdin(vec![b'x'; 16 << 20])
        .quiet()
        .spawn()?;
    process.wait_for_line("up", SOON)?;
    for _ in 0..50 {
        process.signal("USR1")?;
    }
    process.wait_for_line("100000", SOON)?;
    assert_eq!(
        process.signal("no signal").unwrap_err().kind(),
        ErrorKind::Request
    );
    process.kill()?;
    Ok(())
}

/// More than everything on the way to a command holds.
const MUCH: usize = 16 << 20;

/// A write waits for room, and its end is the command's: by its timeout, by itself, by a signal.
#[target_test(timeout = "60s")]
fn a_write_that_is_not_read_ends_with_the_command(target: &Target) -> Result<()> {
    let deaf = target
        .command("exec sh -c 'echo $$; exec sleep 500'")
        .quiet();
    let mut process = deaf.clone().timeout(Duration::from_secs(1)).spawn()?;
    let error = process.write(vec![b'x'; MUCH]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(
        error.to_string().contains("without reading its input"),
        "{error}"
    );
    assert_eq!(process.wait().unwrap_err().kind(), ErrorKind::Timeout);
    let mut process = target.command("sleep 0.3; exit 3").quiet().spawn()?;
    let error = process.write(vec![b'x'; MUCH]).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Exit && error.to_string().contains("exit code 3"),
        "{error}"
    );
    // Also where its input is closed long before.
    let mut process = target
        .command("exec 0<&-; echo closed; sleep 0.3; exit 3")
        .quiet()
        .spawn()?;
    process.wait_for_line("closed", SOON)?;
    assert_eq!(
        process.write(vec![b'x'; MUCH]).unwrap_err().kind(),
        ErrorKind::Exit
    );
    // Others of the same connection go on meanwhile.
    let mut process = deaf.clone().spawn()?;
    let pid = process.next_line(SOON)?.expect("its process").text;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..20)
                .try_for_each(|_| target.run("true").map(drop))
                .and_then(|()| target.run(format!("kill {pid}")))
                .expect("others go on")
        });
        assert_eq!(
            process.write(vec![b'x'; MUCH]).unwrap_err().kind(),
            ErrorKind::Exit
        );
    });
    // A kill ends it, and so does dropping.
    for kills in [true, false] {
        let process = deaf.clone().spawn()?;
        let input = process.input();
        let writer = std::thread::spawn(move || input.write(vec![b'x'; MUCH]));
        if kills {
            drop(process.kill()?)
        } else {
            drop(process)
        }
        let error = writer.join().expect("a writer").unwrap_err();
        assert!(
            error.to_string().contains("without reading its input"),
            "{error}"
        );
    }
    // What fits is taken, also by one that is gone.
    let mut ended = target.command("true").spawn()?;
    while ended.is_running() {
        std::thread::sleep(Duration::from_millis(2));
    }
    ended.write("x")?;
    assert!(ended.wait()?.exit.success());
    Ok(())
}

/// Who writes while another thread ends the input is told that not all of it was read.
#[target_test(timeout = "60s")]
fn an_input_that_is_closed_ends_the_write_in_its_midst(target: &Target) -> Result<()> {
    let mut process = target
        .command("trap 'wc -c; exit 0' USR1; head -c 1; while :; do sleep 0.05; done")
        .quiet()
        .spawn()?;
    let input = process.input();
    let writer = std::thread::spawn(move || input.write(vec![b'x'; MUCH]));
    process.wait_for_text("x", SOON)?;
    process.close_stdin();
    process.signal("USR1")?;
    let read: usize = process
        .wait()?
        .stdout
        .trim_start_matches('x')
        .trim()
        .parse()
        .expect("a count");
    let error = writer.join().expect("a writer").unwrap_err();
    assert!(read < MUCH, "{read}");
    assert!(
        error.kind() == ErrorKind::Request && error.to_string().contains("its input is closed"),
        "{error}"
    );
    // One that waits does not wait for the command to read.
    let process = target.command("exec sleep 500").quiet().spawn()?;
    let (input, other) = (process.input(), process.input());
    let writer = std::thread::spawn(move || input.write(vec![b'x'; MUCH]));
    other.close();
    assert_eq!(
        writer.join().expect("a writer").unwrap_err().kind(),
        ErrorKind::Request
    );
    process.kill()?;
    Ok(())
}

/// Several commands at a time, and what all of them said, each in one `Result`.
#[target_test]
fn spawned_commands_are_collected(target: &Target) -> Result<()> {
    let line = "echo \"$1 $HALF\"; exit $1";
    let number = |number: u8| target.command(line).arg(number).env("HALF", 0.5);
    let spawn = |numbers: &[u8]| -> Result<Vec<_>, _> {
        numbers.iter().map(|it| number(*it).spawn()).collect()
    };
    let wait =
        |all: Vec<Process>| -> Result<Vec<_>, _> { all.into_iter().map(Process::wait).collect() };
    let said = wait(spawn(&[0, 0, 0])?)?;
    assert!(said.iter().all(|one| one.stdout == "0 0.5\n"), "{said:?}");
    let error = wait(spawn(&[0, 3, 0])?).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Exit && error.to_string().contains("3 0.5"),
        "{error}"
    );
    assert_eq!(target.spawn("cat >&2; echo x")?.wait()?.stdout, "x\n");
    Ok(())
}
