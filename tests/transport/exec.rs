//! Output, input and exit status of commands.

use super::*;

#[test]
fn output_and_exit_codes() {
    block_on(on_each(async |transport, _| {
        let output = run(&*transport, "echo out; echo err >&2").await;
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.stderr, b"err\n");
        for code in [0, 1, 2, 137, 255] {
            let output = run(&*transport, &format!("printf end; exit {code}")).await;
            assert_eq!(
                (output.stdout.as_slice(), output.exit),
                (&b"end"[..], Some(Exit::Code(code)))
            );
        }
    }));
}

#[test]
fn output_is_unchanged() {
    block_on(on_each(async |transport, folder| {
        let bytes = noise((1 << 20) + 7);
        fs::write(folder.join("noise"), &bytes).unwrap();
        let file = folder.join("noise");
        let output = run(
            &*transport,
            &format!("cat {0}; cat {0} >&2", file.display()),
        )
        .await;
        assert!(output.stdout == bytes && output.stderr == bytes);

        let text = "x".repeat(2000);
        assert_eq!(
            run(&*transport, &format!("printf %s {text}")).await.text(),
            text
        );
        assert_eq!(
            run(&*transport, ":").await,
            TransportOutput {
                exit: Some(Exit::Code(0)),
                ..TransportOutput::default()
            }
        );
    }));
}

#[test]
fn environment_folder_lease_and_identity() {
    block_on(on_each(async |transport, folder| {
        let mut command = line("echo \"$GREETING\" $TARGET_TEST_LEASE; pwd; echo $TARGET_IDENTITY");
        command
            .env
            .insert("GREETING".to_owned(), "it's \"two\"\nlines \\ !".to_owned());
        command.directory = Some(folder.to_string_lossy().into_owned());
        let output = finish(transport.exec(&command, "l1", None)).await.unwrap();
        let text = output.text();
        assert!(text.starts_with("it's \"two\"\nlines \\ ! l1\n"), "{text}");
        assert!(
            text.ends_with("-0\n") && text.contains(&*folder.to_string_lossy()),
            "{text}"
        );
    }));
}

#[test]
fn input_is_unchanged() {
    block_on(on_each(async |transport, _| {
        let pieces: Vec<Vec<u8>> = (0..30).map(|_| noise(99_991)).collect();
        let all = pieces.concat();
        let running = transport.exec(&line("cat"), "", Some(input(pieces.clone())));
        assert!(finish(running).await.unwrap().stdout == all);
        // Without a sender the input is empty, and unread input is no error.
        assert_eq!(run(&*transport, "cat; echo end").await.text(), "end\n");
        let running = transport.exec(&line("echo unread"), "", Some(input(pieces)));
        assert_eq!(finish(running).await.unwrap().text(), "unread\n");
    }));
}

#[test]
fn input_that_stays_open_does_not_delay_the_end() {
    block_on(on_each(async |transport, _| {
        let (sender, receiver) = mpsc::channel(1);
        let running = transport.exec(&line("head -n 1"), "", Some(receiver));
        sender.send(b"one\ntwo\n".to_vec()).await.unwrap();
        assert_eq!(finish(running).await.unwrap().text(), "one\n");
        drop(sender);
    }));
}

#[test]
fn a_slow_reader_loses_nothing() {
    block_on(on_each(async |transport, _| {
        let mut slow = transport.exec(&line("seq 1 1500000"), "", None);
        // Other commands run meanwhile.
        for _ in 0..20 {
            assert_eq!(run(&*transport, "echo quick").await.text(), "quick\n");
        }
        let mut bytes = Vec::new();
        while let Some(event) = slow.events.recv().await {
            if let CommandEvent::Output(_, piece) = event {
                bytes.extend(piece);
            }
        }
        let expected: String = (1..=1_500_000).map(|n| format!("{n}\n")).collect();
        assert!(bytes == expected.as_bytes());
    }));
}

#[test]
fn many_at_once() {
    block_on(on_each(async |transport, _| {
        // Each command ends only when all have started.
        let at = tempfile::tempdir().unwrap();
        let commands: Vec<_> = (0..20)
            .map(|n| {
                let at = at.path().display();
                line(&format!(
                    "touch {at}/{n}; until test \"$(ls {at} | wc -l)\" -eq 20; \
                     do sleep 0.02; done; echo {n}"
                ))
            })
            .collect();
        let running: Vec<_> = commands
            .iter()
            .map(|c| transport.exec(c, "", None))
            .collect();
        for (n, running) in running.into_iter().enumerate() {
            assert_eq!(finish(running).await.unwrap().text(), format!("{n}\n"));
        }
    }));
}

#[test]
fn a_server_that_allows_few_channels() {
    let farm = Farm::with("alpha-0", "MaxSessions 2");
    block_on(async {
        let transport = farm.transport("alpha-0");
        let one = line("sleep 0.05; echo done");
        let running: Vec<_> = (0..10).map(|_| transport.exec(&one, "", None)).collect();
        for running in running {
            assert_eq!(finish(running).await.unwrap().text(), "done\n");
        }
    });
}

#[test]
fn no_command_waits_for_others_that_never_end() {
    let farm = Farm::new("alpha-0");
    block_on(async {
        let transport = farm.transport("alpha-0");
        let endless: Vec<_> = (0..12)
            .map(|_| transport.exec(&line("sleep 1000"), "", None))
            .collect();
        assert_eq!(run(&*transport, "echo through").await.text(), "through\n");
        drop(endless);
    });
}

#[test]
fn a_daemon_does_not_delay_the_end() {
    block_on(on_each(async |transport, _| {
        let daemons = "sleep 1000 & echo $!; setsid sleep 1000 & echo $!";
        let output = run(&*transport, daemons).await;
        let pids = output.text().lines().map(|pid| pid.parse().unwrap());
        assert_eq!(pids.filter(|pid| is_alive(*pid)).count(), 2);
        transport.sweep(&lease("any"), PATIENCE).await.unwrap();
    }));
}

#[test]
fn a_sweep_kills_what_carries_the_lease() {
    block_on(on_each(async |transport, _| {
        let start = "sleep 1000 & echo $!; setsid sh -c 'echo $$; exec sleep 1000' & wait";
        let mut pids: Vec<u32> = Vec::new();
        let mut ours = transport.exec(&line(start), &lease("swept"), None);
        let mut text = String::new();
        while text.lines().count() < 2 {
            match ours.events.recv().await {
                Some(CommandEvent::Output(_, bytes)) => {
                    text.push_str(str::from_utf8(&bytes).unwrap())
                }
                other => panic!("{other:?}"),
            }
        }
        pids.extend(text.lines().map(|line| line.parse::<u32>().unwrap()));
        let mut other = transport.exec(&line("echo $$; sleep 1000"), &lease("swept-not"), None);
        let spared: u32 = first_line(&mut other).await.parse().unwrap();

        transport.sweep(&lease("swept"), PATIENCE).await.unwrap();
        eventually("the swept processes are gone", || {
            pids.iter().all(|pid| !is_alive(*pid))
        })
        .await;
        assert!(is_alive(spared));
        drop(other);
        eventually("the dropped command is gone", || !is_alive(spared)).await;
    }));
}

#[test]
fn a_killed_shell_is_a_signal() {
    block_on(on_each(async |transport, _| {
        let output = run(&*transport, "printf before; kill -9 $$").await;
        assert_eq!(output.exit, Some(Exit::Signal("KILL".to_owned())));
        assert_eq!(output.stdout, b"before");
    }));
}

#[test]
fn a_probe_answers() {
    block_on(on_each(async |transport, _| {
        assert!(transport.probe(PATIENCE).await.unwrap().took < PATIENCE);
    }));
}
