//! Machines, folders and ports, on each transport.

use std::{
    ffi::OsStr,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use target_fixtures::{ErrorKind, FileKind, prelude::*};

const SOON: Duration = Duration::from_secs(20);

fn folder(target: &Target) -> Result<String> {
    Ok(target.run("mktemp -d")?.stdout.trim_end().to_owned())
}

/// A folder of this test's own on this side.
struct Here(PathBuf);

impl Here {
    fn new(name: &str, target: &Target) -> Self {
        let path = std::env::temp_dir().join(format!(
            "author-{name}-{}-{}",
            target.instance(),
            std::process::id()
        ));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[target_test]
fn it_is_reached(target: &Target) -> Result<()> {
    assert!(target.ping()? < SOON);
    assert!(target.ping_for(Duration::from_millis(200))? < SOON);
    Ok(())
}

#[target_test]
fn what_it_is(target: &Target) -> Result<()> {
    let facts = target.facts()?;
    assert_eq!(facts.kernel, target.run("uname -r")?.stdout.trim());
    assert_eq!(facts.arch, target.run("uname -m")?.stdout.trim());
    assert!(
        facts.cores >= Some(1) && facts.memory > Some(1 << 20) && facts.disk > Some(1 << 20),
        "{facts:?}"
    );
    assert!(
        facts.uptime > Some(Duration::ZERO) && facts.boot_id.len() == 36 && !facts.os.is_empty()
    );
    let root = target.user_named("root")?.ok_or("no root")?;
    assert_eq!((root.uid, root.gid, root.name.as_str()), (0, 0, "root"));
    assert_eq!(target.user_named("0")?, Some(root));
    assert_eq!(target.user_named("no-such-user")?, None);
    assert_eq!(
        target.user_named("a; rm -rf /").unwrap_err().kind(),
        ErrorKind::Request
    );
    let folder = folder(target)?;
    target.write_with_mode(format!("{folder}/a b"), "12345", 0o640)?;
    target.run(format!("ln -s 'a b' {folder}/link"))?;
    let file = target.file(format!("{folder}/a b"))?.ok_or("no file")?;
    assert_eq!(
        (file.kind, file.size, file.mode),
        (FileKind::File, 5, 0o640)
    );
    assert!(file.modified().elapsed()? < SOON * 100);
    let link = target.file(format!("{folder}/link"))?.ok_or("no link")?;
    assert_eq!(
        (link.kind, link.link.as_deref()),
        (FileKind::Link, Some("a b"))
    );
    assert_eq!(
        target.file(&folder)?.map(|file| file.kind),
        Some(FileKind::Folder)
    );
    assert_eq!(target.file(format!("{folder}/none"))?, None);
    assert_eq!(
        target.file("relative").unwrap_err().kind(),
        ErrorKind::Request
    );
    if target.run("command -v dpkg-query").is_ok() {
        assert!(
            target
                .package("coreutils")?
                .is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
        );
        assert_eq!(target.package("no-such-package")?, None);
    }
    match target.service("no-such-service").state() {
        Ok(found) => assert_eq!(found, None),
        Err(error) => assert!(
            error.to_string().contains("the instance has no program"),
            "{error}"
        ),
    }
    assert_eq!(target.console().unwrap_err().kind(), ErrorKind::Request);
    Ok(())
}

#[target_test]
fn waits(target: &Target) -> Result<()> {
    let folder = folder(target)?;
    let path = format!("{folder}/it");
    let error = target
        .wait_for_file(&path, Duration::from_millis(100))
        .unwrap_err();
    assert!(
        error.kind() == ErrorKind::Timeout && error.to_string().contains(&path),
        "{error}"
    );
    let later = target
        .command("sleep 0.2; echo 1 >it; sleep 0.2; echo 2 >it")
        .current_dir(&folder)
        .spawn()?;
    target.wait_for_file(&path, SOON)?;
    target.wait_for_command(format!("grep 2 {path}"), SOON)?;
    later.wait()?;
    let error = target
        .wait_for_command("echo why >&2; exit 3", Duration::from_millis(100))
        .unwrap_err();
    assert!(
        error.kind() == ErrorKind::Timeout && error.to_string().contains("why"),
        "{error}"
    );
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    target.wait_for_port(port, SOON)?;
    drop(listener);
    assert_eq!(
        target
            .wait_for_port(port, Duration::from_millis(50))
            .unwrap_err()
            .kind(),
        ErrorKind::Timeout
    );
    Ok(())
}

/// Links, hard links, devices and modes, from `put`, `write` and folders, and here from `get`.
#[target_test]
fn files_are_written_as_cp_would(target: &Target) -> Result<()> {
    let (here, there) = (Here::new("as-cp", target), folder(target)?);
    let at = |name: &str| format!("{there}/{name}");
    let set_up = "mkdir in && echo old >in/file && chmod 4751 in/file && ln -s in/file link && echo old >hard && \
                  ln hard twin && ln -s none dangling";
    target.command(set_up).current_dir(&there).run()?;
    let mode = |name: &str| target.file(at(name)).map(|file| file.map(|file| file.mode));
    let source = here.0.join("source");
    fs::create_dir(&source)?;
    for name in ["link", "hard", "new"] {
        fs::write(source.join(name), format!("{name} by put"))?;
    }

    target.put(source.join("link"), at("link"))?;
    assert_eq!(target.cat(at("in/file"))?, "link by put");
    target.write(at("link"), "by write")?;
    assert_eq!(target.cat(at("in/file"))?, "by write");
    assert_eq!(mode("in/file")?, Some(0o4751));
    target.write(at("hard"), "by write")?;
    assert_eq!(target.cat(at("twin"))?, "by write");
    target.write("/dev/null", "x")?;
    target.put(source.join("hard"), "/dev/null")?;
    target.write_with_mode("/dev/null", "x", 0o600)?;
    target.run("[ -c /dev/null ] && [ -w /dev/null ]")?;
    let error = target.write(at("dangling"), "x").unwrap_err();
    assert!(
        error.kind() == ErrorKind::Request && error.to_string().contains("link to a missing file"),
        "{error}"
    );

    // A folder: what exists is written in the same way.
    target.put(&source, &there)?;
    assert_eq!(target.cat(at("in/file"))?, "link by put");
    assert_eq!(target.cat(at("twin"))?, "hard by put");
    assert_eq!(mode("in/file")?, Some(0o4751));
    assert_eq!(target.cat(at("new"))?, "new by put");
    target.write_with_mode(at("link"), "by mode", 0o600)?;
    assert_eq!(mode("in/file")?, Some(0o600));

    // A program that runs can be replaced.
    target.run(format!("cp /bin/sleep {}", at("sleep")))?;
    let runs = target.program(at("sleep")).arg("1000").spawn()?;
    target.write(at("sleep"), "#!/bin/sh\necho replaced\n")?;
    assert_eq!(target.program(at("sleep")).run()?.stdout, "replaced\n");
    runs.kill()?;

    // This host's side.
    let (file, link, twin) = (here.0.join("file"), here.0.join("to"), here.0.join("twin"));
    fs::write(&file, "old")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640))?;
    symlink("file", &link)?;
    target.get(at("new"), &link)?;
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&file)?, "new by put");
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o640);
    fs::hard_link(&file, &twin)?;
    target.get(at("twin"), &file)?;
    assert_eq!(fs::read_to_string(&twin)?, "hard by put");
    symlink("none", here.0.join("dangling"))?;
    let error = target.get(at("new"), here.0.join("dangling")).unwrap_err();
    assert!(
        error.to_string().contains("link to a missing file"),
        "{error}"
    );
    target.get(at("new"), "/dev/null")?;
    // A folder may have links, but what leads out of it is not followed.
    let back = here.0.join("back");
    fs::create_dir(&back)?;
    fs::write(back.join("end"), "old")?;
    symlink("end", back.join("hard"))?;
    symlink("../file", back.join("new"))?;
    target.get(&there, &back)?;
    assert_eq!(fs::read_to_string(back.join("end"))?, "hard by put");
    assert_eq!(fs::read_to_string(&file)?, "hard by put");
    assert_eq!(fs::read_to_string(back.join("new"))?, "new by put");

    // A FIFO of this host is refused at once.
    let made = std::process::Command::new("mkfifo")
        .arg(here.0.join("fifo"))
        .status()?;
    assert!(made.success());
    let error = target.put(here.0.join("fifo"), at("x")).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Request && error.to_string().contains("is a FIFO"),
        "{error}"
    );
    Ok(())
}

#[target_test]
fn folders_travel(target: &Target) -> Result<()> {
    let (here, there) = (Here::new("folders", target), folder(target)?);
    let source = here.0.join("source");
    fs::create_dir_all(source.join("sub/empty"))?;
    for number in 0..100 {
        fs::write(
            source.join(format!("sub/file {number}")),
            format!("content {number}"),
        )?;
    }
    fs::write(source.join("program"), "#!/bin/sh\necho ran \"$1\"\n")?;
    fs::set_permissions(source.join("program"), fs::Permissions::from_mode(0o755))?;
    symlink("sub/file 7", source.join("link"))?;
    let to = format!("{there}/new/folder");
    target.put(&source, &to)?;
    assert_eq!(
        target
            .program(format!("{to}/program"))
            .arg("x")
            .run()?
            .stdout,
        "ran x\n"
    );
    assert_eq!(target.cat(format!("{to}/link"))?, "content 7");
    assert_eq!(
        target
            .file(format!("{to}/link"))?
            .and_then(|file| file.link)
            .as_deref(),
        Some("sub/file 7")
    );
    assert_eq!(
        target
            .file(format!("{to}/sub/empty"))?
            .map(|file| file.kind),
        Some(FileKind::Folder)
    );
    // What is there already stays as it is; what differs does not.
    let stamp = |name: &str| target.run(format!("stat -c %y '{to}/sub/{name}'"));
    target.run(format!("touch -d '2001-02-03' '{to}/sub/file 1' '{to}/sub/file 2'; echo other >'{to}/sub/file 2'; echo mine >{to}/mine"))?;
    target.put(&source, &to)?;
    assert!(stamp("file 1")?.stdout.starts_with("2001-02-03"));
    assert_eq!(target.cat(format!("{to}/sub/file 2"))?, "content 2");
    assert_eq!(target.cat(format!("{to}/mine"))?, "mine");
    let back = here.0.join("back");
    target.get(&to, &back)?;
    assert_eq!(fs::read_to_string(back.join("sub/file 99"))?, "content 99");
    assert_eq!(
        fs::read_link(back.join("link"))?,
        PathBuf::from("sub/file 7")
    );
    assert_eq!(
        fs::metadata(back.join("program"))?.permissions().mode() & 0o777,
        0o755
    );
    assert!(back.join("sub/empty").is_dir() && back.join("mine").is_file());
    // A folder that is made gets its mode, one that is there keeps its own; both ways.
    let mode_here =
        |path: &PathBuf| fs::metadata(path).map(|data| data.permissions().mode() & 0o7777);
    let mode_there = |path: &str| target.file(path).map(|file| file.map(|file| file.mode));
    for (mode, made) in [(0o555, "first"), (0o1750, "second")] {
        let (new, got) = (format!("{there}/{made}"), here.0.join(made));
        fs::set_permissions(&source, fs::Permissions::from_mode(mode))?;
        target.put(&source, &new)?;
        target.get(&new, &got)?;
        assert_eq!((mode_there(&new)?, mode_here(&got)?), (Some(mode), mode));
        target.run(format!("chmod 0711 {new}"))?;
        fs::set_permissions(&got, fs::Permissions::from_mode(0o700))?;
        target.put(&source, &new)?;
        target.get(&new, &got)?;
        assert_eq!((mode_there(&new)?, mode_here(&got)?), (Some(0o711), 0o700));
    }
    // A single file, to where it is already and to where it is not.
    let large = here.0.join("large");
    fs::write(&large, vec![7; 300_000])?;
    target.put(&large, format!("{there}/large"))?;
    target.run(format!(
        "touch -d '2001-02-03' {there}/large; chmod 600 {there}/large"
    ))?;
    target.put(&large, format!("{there}/large"))?;
    let file = target.file(format!("{there}/large"))?.ok_or("gone")?;
    assert!(
        file.mode == 0o600
            && file.modified()
                < std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000),
        "it was sent again: {file:?}"
    );
    fs::write(&large, vec![8; 300_000])?;
    target.put(&large, format!("{there}/large"))?;
    assert_eq!(target.read(format!("{there}/large"))?, vec![8; 300_000]);
    target.get(format!("{there}/large"), here.0.join("again"))?;
    assert_eq!(fs::read(here.0.join("again"))?, vec![8; 300_000]);
    Ok(())
}

#[target_test]
fn paths_that_are_none(target: &Target) -> Result<()> {
    let here = Here::new("paths", target);
    for path in ["a\nb", "a\0b", "relative", ""] {
        for error in [
            target.put(&here.0, path),
            target.get(path, here.0.join("x")),
            target.write(path, ""),
        ] {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Request, "{path:?}: {error}");
        }
    }
    assert_eq!(
        target
            .get("/etc/passwd", "/no such/folder/x")
            .unwrap_err()
            .kind(),
        ErrorKind::File
    );
    assert_eq!(
        target.get("/no such", here.0.join("x")).unwrap_err().kind(),
        ErrorKind::Request
    );
    assert!(!here.0.join("x").exists());
    // An archive does not leave its folder, wherever its links lead.
    let there = folder(target)?;
    let outside = here.0.join("outside");
    fs::create_dir(&outside)?;
    target.run(format!(
        "mkdir {there}/evil && ln -s {} {there}/evil/link",
        outside.display()
    ))?;
    target.get(format!("{there}/evil"), here.0.join("got"))?;
    target.run(format!(
        "rm {there}/evil/link && mkdir {there}/evil/link && echo x >{there}/evil/link/x"
    ))?;
    let _ = target.get(format!("{there}/evil"), here.0.join("got"));
    assert!(
        fs::read_dir(&outside)?.next().is_none(),
        "a file was written outside"
    );
    Ok(())
}

/// A path is whatever `std` takes for one.
#[target_test]
fn paths_have_many_types(target: &Target) -> Result<()> {
    let folder = target.temp_dir()?;
    let file = Path::new(folder.path()).join("x y");
    target.write(&file, "1")?;
    assert_eq!(target.read_dir(&folder)?, ["x y"]);
    assert!(target.metadata(&folder)?.is_dir() && target.metadata(&file)?.is_file());
    assert_eq!(target.cat(folder.join("x y"))?, "1");
    assert!(target.exists(&file)? && target.file(file.as_os_str())?.is_some());
    let said = target.command("cat 'x y'").current_dir(&folder).run()?;
    assert_eq!(said.stdout, "1");
    target.wait_for_file(file, SOON)?;
    let error = target.read(OsStr::from_bytes(b"/tmp/\xff")).unwrap_err();
    assert!(
        error.kind() == ErrorKind::Request && error.to_string().contains("not UTF-8"),
        "{error}"
    );
    Ok(())
}

#[target_test]
fn ports_are_forwarded(target: &Target) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let echo = std::thread::spawn(move || {
        for stream in listener.incoming().take(3) {
            let mut stream = stream.unwrap();
            let mut text = Vec::new();
            stream.read_to_end(&mut text).unwrap();
            stream.write_all(&text).unwrap();
        }
    });
    for none in [target.forward(0), target.forward_back(0)] {
        assert_eq!(none.unwrap_err().kind(), ErrorKind::Request);
    }
    let forward = target.forward(port)?;
    let sent: Vec<u8> = (0..=255).cycle().take(500_000).collect();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(forward.address())?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(&sent)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        assert!(text == sent, "{} bytes came back", text.len());
    }
    echo.join().unwrap();
    let address = forward.address();
    drop(forward);
    if address.port() != port {
        let gone = || TcpStream::connect(address).is_err();
        for _ in 0..400 {
            if gone() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(gone(), "it is forwarded for ever");
    }
    Ok(())
}

/// Each connection reaches the socket, whatever its name.
#[target_test]
fn sockets_are_forwarded(target: &Target) -> Result<()> {
    let folder = target.temp_dir()?;
    for name in ["plain", "it's: a, \"b\" \\c"] {
        let path = folder.join(name);
        // All targets of this test have the file system of this host.
        let listener = UnixListener::bind(&path)?;
        let hello = std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let (mut stream, mut text) = (stream.unwrap(), String::new());
                stream.read_to_string(&mut text).unwrap();
                stream
                    .write_all(format!("hello {text}").as_bytes())
                    .unwrap();
            }
        });
        let forward = target.forward_socket(&path)?;
        for who in ["one", "two"] {
            let mut stream = TcpStream::connect(forward.address())?;
            stream.set_read_timeout(Some(SOON))?;
            stream.write_all(who.as_bytes())?;
            stream.shutdown(std::net::Shutdown::Write)?;
            let mut said = String::new();
            stream.read_to_string(&mut said)?;
            assert_eq!(said, format!("hello {who}"));
        }
        hello.join().unwrap();
    }
    let error = target.forward_socket("relative").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Request, "{error}");
    Ok(())
}

#[target_test]
fn ports_are_forwarded_back(target: &Target) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let forward = target.forward_back(listener.local_addr()?.port())?;
    let hello =
        std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"hello\n").unwrap());
    let line = "exec 3<>/dev/tcp/127.0.0.1/$1; head -n1 <&3";
    let said = target
        .program("bash")
        .args(["-c", line, "bash"])
        .arg(forward.port().to_string())
        .timeout(SOON)
        .run()?;
    assert_eq!(said.stdout, "hello\n");
    hello.join().unwrap();
    Ok(())
}

/// From itself, by the way that two instances have.
#[target_test]
fn a_port_is_reached_from_a_target(target: &Target) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let way = target.reach_from(target, listener.local_addr()?.port())?;
    let hello =
        std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"hello\n").unwrap());
    let line = "exec 3<>/dev/tcp/$1/$2; head -n1 <&3";
    let said = target
        .program("bash")
        .args(["-c", line, "bash"])
        .args([way.address().ip().to_string(), way.port().to_string()])
        .timeout(SOON)
        .run()?;
    assert_eq!(said.stdout, "hello\n");
    hello.join().unwrap();
    Ok(())
}

#[target_test]
fn it_is_not_rebooted(target: &Target) -> Result<()> {
    if target.platform() == "local" {
        let error = target.reboot().unwrap_err();
        assert!(
            error.kind() == ErrorKind::Request && error.to_string().contains("kernel"),
            "{error}"
        );
        assert!(target.restart().is_err());
    }
    Ok(())
}

#[target_test]
fn packages_are_installed(target: &Target) -> Result<()> {
    assert_eq!(
        target.install(&["a b"]).unwrap_err().kind(),
        ErrorKind::Request
    );
    assert_eq!(
        target.install(&["--yes"]).unwrap_err().kind(),
        ErrorKind::Request
    );
    if target.command("id -u").run()?.stdout.trim() != "0"
        || target.run("command -v apt-get").is_err()
    {
        return Err(skip("no root, or no apt-get"));
    }
    // It is there, so that no network is needed.
    target.install(&["coreutils"])?;
    Ok(())
}
