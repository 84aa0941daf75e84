//! Unusual accounts: start-up files that print, other login shells, no file transfer, a wrong clock.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use cargo_target_test::connect::{
    FileMode,
    files::{self, Piece},
};

use super::*;

/// Creates a farm that passes every command through `line`; `None` if the program is missing.
fn through(program: &str, line: &str) -> Option<Farm> {
    let found = Process::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output();
    if !found.unwrap().status.success() {
        let must = std::env::var_os("TARGET_TEST_NO_SKIP").is_some();
        assert!(!must, "`{program}` is missing: .ci/setup --tests");
        eprintln!("skipped: `{program}` is missing");
        return None;
    }
    Some(Farm::with("alpha-0", &format!("ForceCommand {line}")))
}

/// Runs commands, transfers files, kills and sweeps.
async fn works(farm: &Farm, what: &str) {
    let transport = farm.transport("alpha-0");
    let odd = "it's \"q\" $HOME `x` \\ ! # * ~ ; | ü\nsecond";
    let mut command = line("printf %s \"$ODD\"; echo err >&2; exit 3");
    command.env.insert("ODD".to_owned(), odd.to_owned());
    let output = finish(transport.exec(&command, "", None)).await.unwrap();
    let expected = TransportOutput {
        stdout: odd.as_bytes().to_vec(),
        stderr: b"err\n".to_vec(),
        exit: Some(Exit::Code(3)),
        ..TransportOutput::default()
    };
    assert_eq!(output, expected, "{what}");

    let path = farm.path().join("sent");
    let path = path.to_str().unwrap();
    let bytes = noise(70_001);
    let (sender, receiver) = mpsc::channel(2);
    for piece in [Piece::Data(bytes.clone()), Piece::End] {
        sender.send(piece).await.unwrap();
    }
    files::put(&*transport, "", path, FileMode::Set(0o600), receiver)
        .await
        .unwrap();
    let (sender, mut pieces) = mpsc::channel(2);
    let collect = async {
        let mut all = Vec::new();
        while let Some(piece) = pieces.recv().await {
            all.extend(piece);
        }
        all
    };
    let (got, all) = tokio::join!(files::get(&*transport, "", path, sender), collect);
    got.unwrap();
    assert!(all == bytes, "{what}: {} bytes", all.len());

    let mut endless = transport.exec(&line("sleep 1000 & echo $!; wait"), "", None);
    let pid: u32 = first_line(&mut endless).await.parse().unwrap();
    drop(endless);
    eventually("the command is gone", || !is_alive(pid)).await;
    let mut marked = transport.exec(&line("sleep 1000 & echo $!; wait"), &lease("a-lease"), None);
    let pid: u32 = first_line(&mut marked).await.parse().unwrap();
    transport.sweep(&lease("a-lease"), PATIENCE).await.unwrap();
    assert!(!is_alive(pid), "{what}");
}

/// bash reads `.bashrc` for commands of sshd, and this `.bashrc` prints to both streams.
#[test]
fn start_up_files_that_print() {
    let line = r#"SHLVL=0 exec bash -c "$SSH_ORIGINAL_COMMAND""#;
    // The server also sends a banner before the login.
    let line = format!("{line}\nBanner /etc/passwd");
    let Some(farm) = through("bash", &line) else {
        return;
    };
    let noise = "echo welcome; printf 'no newline'; echo trouble >&2; seq 1 3000; printf '\\036]\\033[2J'\n";
    let read = farm.path().join("read");
    let mark = format!("echo >>'{}'\n", read.display());
    fs::write(farm.path().join("alpha-0/home/.bashrc"), mark + noise).unwrap();
    block_on(works(&farm, "bash"));
    assert!(read.exists(), "bash did not read its file");
}

#[test]
fn login_shells_that_are_not_posix() {
    for shell in ["fish", "tcsh"] {
        let line = format!(r#"exec {shell} -c "$SSH_ORIGINAL_COMMAND""#);
        if let Some(farm) = through(shell, &line) {
            block_on(works(&farm, shell));
        }
    }
}

#[test]
fn servers_without_file_transfer() {
    let farm = Farm::with("alpha-0", "# no Subsystem");
    let mut sftp = Process::new("sftp");
    let config = farm.path().join("ssh_config");
    let tried = sftp
        .args(["-q", "-b", "/dev/null", "-F"])
        .arg(config)
        .arg("alpha-0")
        .output();
    assert!(!tried.unwrap().status.success(), "it has one");
    block_on(works(&farm, "without sftp"));
}

/// A wrong clock that several programs share. The keeper must not be killed: it would leave a semaphore.
struct Clock {
    keeper: Child,
    /// The assignments of environment variables.
    set: String,
}

impl Clock {
    fn new(offset: &str) -> Option<Self> {
        let names =
            "LD_PRELOAD='$LD_PRELOAD' FAKETIME='$FAKETIME' FAKETIME_SHARED='$FAKETIME_SHARED'";
        let mut keeper = Process::new("faketime")
            .args(["-f", offset, "sh", "-c"])
            .arg(format!("echo \"{names}\"; exec cat"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut set = String::new();
        let mut said = BufReader::new(keeper.stdout.take().unwrap());
        said.read_line(&mut set).unwrap();
        let set = set.trim().to_owned();
        Some(Self { keeper, set })
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// No feature depends on the clock of the target.
#[test]
fn clocks_that_are_wrong() {
    for offset in ["-20y", "+20y"] {
        let clock = Clock::new(offset);
        let set = clock.as_ref().map(|clock| clock.set.as_str());
        let account = format!(
            "export {}; exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"",
            set.unwrap_or_default()
        );
        let Some(farm) = through("faketime", &account) else {
            return;
        };
        block_on(async {
            let transport = farm.transport("alpha-0");
            let theirs: i64 = run(&*transport, "date +%s")
                .await
                .text()
                .trim()
                .parse()
                .unwrap();
            let ours = std::time::SystemTime::now();
            let ours = ours
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_secs();
            let apart = (theirs - ours.cast_signed()).unsigned_abs();
            assert!(
                apart > 19 * 365 * 86_400,
                "{apart} s apart is not wrong enough"
            );
            works(&farm, offset).await;
            let mut command = line("sleep 1000 & echo $!; wait");
            command.timeout = Some(1000);
            let mut running = transport.exec(&command, "", None);
            let pid: u32 = first_line(&mut running).await.parse().unwrap();
            let error = finish(running).await.unwrap_err();
            assert_eq!(error.kind(), cargo_target_test::ErrorKind::Timeout);
            eventually("the command is gone", || !is_alive(pid)).await;
            transport.probe(PATIENCE).await.unwrap();
        });
    }
}

/// A program that leads the process group, and does not have the nonce in its arguments, does not prevent the kill.
#[test]
fn programs_between_the_login_shell_and_a_command() {
    let line = r#"sh -c 'sh -c "$SSH_ORIGINAL_COMMAND"; exit $?'"#;
    let farm = Farm::with("alpha-0", &format!("ForceCommand {line}"));
    block_on(works(&farm, "a program between"));
}
