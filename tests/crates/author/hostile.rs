//! Floods, odd names, odd files, odd times, on each transport.

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use target_fixtures::{ErrorKind, Stream, prelude::*};

const SOON: Duration = Duration::from_secs(20);

/// A folder there, and one of this side, gone at the end.
struct Folders<'a> {
    target: &'a Target,
    there: String,
    here: PathBuf,
}

impl<'a> Folders<'a> {
    fn new(name: &str, target: &'a Target) -> Result<Self> {
        let there = target.run("mktemp -d")?.stdout.trim_end().to_owned();
        let here = std::env::temp_dir().join(format!(
            "hostile-{name}-{}-{}",
            target.instance(),
            std::process::id()
        ));
        fs::create_dir(&here)?;
        Ok(Self {
            target,
            there,
            here,
        })
    }

    fn there(&self, name: &str) -> String {
        format!("{}/{name}", self.there)
    }
}

impl Drop for Folders<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.here);
        let _ = self
            .target
            .program("rm")
            .args(["-rf", &self.there])
            .quiet()
            .run();
    }
}

#[target_test]
fn output_that_is_large_and_binary(target: &Target) -> Result<()> {
    let output = target
        .command("head -c 20000000 /dev/zero | tr '\\000' '\\377'; head -c 1000 /dev/zero >&2")
        .quiet()
        .run()?;
    assert!(
        output.stdout_bytes.len() == 20_000_000
            && output.stdout_bytes.iter().all(|byte| *byte == 255)
    );
    assert_eq!(output.stderr_bytes, vec![0; 1000]);
    let marks: Vec<u8> = b"\x1e]0\x1e\x1e[1\x1e\x1e\x1e".repeat(5000);
    assert!(
        target
            .command("cat")
            .stdin(marks.clone())
            .quiet()
            .run()?
            .stdout_bytes
            == marks
    );
    let none = target
        .command("yes | head -c 3000000")
        .keep(0)
        .quiet()
        .run()?;
    assert!(none.stdout.is_empty() && none.truncated);
    Ok(())
}

#[target_test]
fn ten_thousand_lines_at_once(target: &Target) -> Result<()> {
    let mut process = target.command("seq 10000; echo last >&2").quiet().spawn()?;
    let (mut next, mut others) = (1, 0);
    while let Some(line) = process.next_line(SOON)? {
        match line.stream {
            Stream::Stdout => {
                assert_eq!(line.text, next.to_string());
                next += 1;
            }
            Stream::Stderr => others += 1,
        }
    }
    assert_eq!((next, others), (10_001, 1));
    process.wait()?;
    let mut process = target.command("seq 10000").quiet().spawn()?;
    process.wait_for_line("9999", SOON)?;
    process.wait()?;
    Ok(())
}

/// More than any server gives channels.
#[target_test]
fn a_hundred_processes_that_never_end(target: &Target) -> Result<()> {
    let processes: Vec<_> = (0..100)
        .map(|_| target.command("echo up; exec cat").quiet().spawn())
        .collect::<std::result::Result<_, _>>()?;
    let mut up = Vec::new();
    for mut process in processes {
        process.wait_for_line("up", SOON)?;
        up.push(process);
    }
    target.run("true")?;
    for mut process in up {
        process.write("x")?;
        assert_eq!(process.wait()?.stdout, "up\nx");
    }
    Ok(())
}

#[target_test]
fn odd_names_travel(target: &Target) -> Result<()> {
    let at = Folders::new("names", target)?;
    let source = at.here.join("source");
    fs::create_dir(&source)?;
    let names: [&[u8]; 8] = [
        b"a\nb",
        b"\xff\xfe",
        b"-rf",
        b"a b",
        b"\\n",
        b"*",
        b" ",
        b"a\nb\\c 'd' \"e\"",
    ];
    for name in names {
        fs::write(source.join(OsStr::from_bytes(name)), name)?;
    }
    for _ in 0..2 {
        target.put(&source, at.there("new"))?;
    }
    assert_eq!(
        target
            .program("sh")
            .args(["-c", "cd \"$1\" && find . -type f | wc -l", "sh"])
            .arg(at.there("new"))
            .run()?
            .stdout
            .trim(),
        "10"
    );
    target.get(at.there("new"), at.here.join("back"))?;
    for name in names {
        assert_eq!(
            fs::read(at.here.join("back").join(OsStr::from_bytes(name)))?,
            name
        );
    }
    // Names of what is put itself.
    let odd = at.here.join(OsStr::from_bytes(b"\xff odd"));
    fs::write(&odd, "odd")?;
    let put = target.put(&odd, at.there("odd"));
    assert_eq!(put.unwrap_err().kind(), ErrorKind::File);
    let odd = at.here.join("a\nb");
    fs::write(&odd, "odd")?;
    target.put(&odd, at.there("odd"))?;
    assert_eq!(target.cat(at.there("odd"))?, "odd");
    target.get(at.there("odd"), at.here.join("c\nd"))?;
    assert_eq!(fs::read_to_string(at.here.join("c\nd"))?, "odd");
    Ok(())
}

#[target_test]
fn odd_files_travel(target: &Target) -> Result<()> {
    let at = Folders::new("files", target)?;
    let source = at.here.join("source");
    fs::create_dir(&source)?;
    // Nothing in it, then nothing but folders and links.
    target.put(&source, at.there("empty"))?;
    target.get(at.there("empty"), at.here.join("empty"))?;
    assert_eq!(fs::read_dir(at.here.join("empty"))?.count(), 0);
    symlink("loop", source.join("loop"))?;
    symlink(".", source.join("self"))?;
    symlink("/no/such", source.join("dangling"))?;
    fs::write(source.join("nothing"), "")?;
    let sparse = fs::File::create(source.join("sparse"))?;
    sparse.set_len(5_000_000)?;
    std::os::unix::fs::FileExt::write_at(&sparse, b"x", 2_000_000)?;
    fifo(&source.join("fifo"));
    for _ in 0..2 {
        target.put(&source, at.there("new"))?;
    }
    target
        .command("printf hard >hard; mkdir sub; ln hard sub/hard; chmod 500 sub; mkfifo pipe")
        .current_dir(at.there("new"))
        .run()?;
    target.get(at.there("new"), at.here.join("back"))?;
    let back = at.here.join("back");
    for made in ["hard", "sub/hard", "pipe"] {
        assert_eq!(
            fs::read(back.join(made)).ok(),
            (made != "pipe").then(|| b"hard".to_vec()),
            "{made}"
        );
    }
    assert!(!back.join("fifo").exists());
    for link in ["loop", "self", "dangling"] {
        assert_eq!(
            fs::read_link(back.join(link))?,
            fs::read_link(source.join(link))?
        );
    }
    assert_eq!(fs::read(back.join("nothing"))?, b"");
    assert!(fs::read(back.join("sparse"))? == fs::read(source.join("sparse"))?);
    // By themselves.
    target.put(source.join("nothing"), at.there("nothing"))?;
    target.get(at.there("nothing"), at.here.join("nothing"))?;
    assert_eq!(fs::metadata(at.here.join("nothing"))?.len(), 0);
    target.put(source.join("sparse"), at.there("sparse"))?;
    assert!(target.read(at.there("sparse"))? == fs::read(source.join("sparse"))?);
    assert_eq!(
        target
            .put(source.join("loop"), at.there("x"))
            .unwrap_err()
            .kind(),
        ErrorKind::File
    );
    target.run(format!("ln -s loop {0}/loop; ln -s . {0}/self", at.there))?;
    for error in [
        target.get(at.there("loop"), at.here.join("x")).unwrap_err(),
        target.read(at.there("loop")).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Request, "{error}");
    }
    target.get(at.there("self/nothing"), at.here.join("y"))?;
    // What says that it is empty, and is not.
    assert!(target.cat("/proc/self/status")?.contains("Name:"));
    target.get("/proc/cpuinfo", at.here.join("cpuinfo"))?;
    assert!(fs::read_to_string(at.here.join("cpuinfo"))?.contains("processor"));
    assert_eq!(target.file("/proc/cpuinfo")?.map(|file| file.size), Some(0));
    target.put("/proc/sys/kernel/random", at.there("random"))?;
    assert_eq!(
        target.read_to_string(at.there("random/boot_id"))?,
        fs::read_to_string("/proc/sys/kernel/random/boot_id")?
    );
    Ok(())
}

/// A named pipe, which is left out.
fn fifo(path: &Path) {
    assert!(
        std::process::Command::new("mkfifo")
            .arg(path)
            .status()
            .unwrap()
            .success()
    );
}

/// Data added while a folder is read may be left out; all other data arrives.
#[target_test]
fn a_folder_is_written_to_while_it_travels(target: &Target) -> Result<()> {
    let at = Folders::new("grows", target)?;
    let source = at.here.join("source");
    fs::create_dir(&source)?;
    let logs: Vec<_> = (0..10)
        .map(|number| source.join(number.to_string()))
        .collect();
    for log in &logs {
        fs::write(log, vec![b'x'; 1 << 20])?;
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for log in &logs {
                    fs::OpenOptions::new()
                        .append(true)
                        .open(log)
                        .and_then(|mut log| log.write_all(b"yyyy"))
                        .expect("a log");
                }
            }
        });
        let put = target.put(&source, at.there("new"));
        over.store(true, Ordering::Relaxed);
        put
    })?;
    for number in 0..10 {
        let content = target.read(at.there(&format!("new/{number}")))?;
        assert!(content.len() >= 1 << 20 && content[..1 << 20].iter().all(|byte| *byte == b'x'));
    }
    Ok(())
}

#[target_test]
fn one_place_is_written_by_many(target: &Target) -> Result<()> {
    let at = Folders::new("once", target)?;
    let write = |number: u8| target.write(at.there("file"), vec![number; 1_000_000]);
    std::thread::scope(|scope| {
        let write = &write;
        let writers: Vec<_> = (0..8)
            .map(|number| scope.spawn(move || write(number)))
            .collect();
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().expect("a writer"))
    })?;
    let content = target.read(at.there("file"))?;
    assert!(content.len() == 1_000_000 && content.iter().all(|byte| *byte == content[0]));
    assert_eq!(target.run(format!("ls -A {}", at.there))?.stdout, "file\n");
    Ok(())
}

#[target_test]
fn where_nothing_can_be_written(target: &Target) -> Result<()> {
    let at = Folders::new("refused", target)?;
    fs::write(at.here.join("small"), "x")?;
    fs::write(at.here.join("large"), vec![1; 8 << 20])?;
    for file in ["small", "large"] {
        for place in ["/proc/x", "/sys/x", "/dev/full/x", "/etc/passwd/x"] {
            let error = target.put(at.here.join(file), place).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Request, "{error}");
            let error = target.write(place, vec![1; 8 << 20]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Request, "{error}");
        }
    }
    for place in ["/proc/x", "/sys/x/y", "/etc/passwd", "/dev/full/x"] {
        let error = target.put(&at.here, place).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Request, "{place}: {error}");
    }
    // A folder where a file is, and a file where a folder is.
    target.write(at.there("file"), "")?;
    assert_eq!(
        target.put(&at.here, at.there("file")).unwrap_err().kind(),
        ErrorKind::Request
    );
    assert_eq!(
        target
            .put(at.here.join("small"), &at.there)
            .unwrap_err()
            .kind(),
        ErrorKind::Request
    );
    assert_eq!(
        target
            .get(&at.there, at.here.join("small"))
            .unwrap_err()
            .kind(),
        ErrorKind::Request
    );
    assert_eq!(
        target.get(at.there("file"), &at.here).unwrap_err().kind(),
        ErrorKind::Request
    );
    Ok(())
}

#[target_test]
fn times_of_nothing(target: &Target) -> Result<()> {
    let none = Duration::ZERO;
    assert_eq!(
        target
            .command("sleep 1000")
            .timeout(none)
            .run()
            .unwrap_err()
            .kind(),
        ErrorKind::Timeout
    );
    let mut process = target.command("echo x; sleep 1000").spawn()?;
    while let Err(error) = process.next_line(none) {
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }
    assert_eq!(
        process.wait_for_line("y", none).unwrap_err().kind(),
        ErrorKind::Timeout
    );
    assert_eq!(
        process.wait_for_text("y", none).unwrap_err().kind(),
        ErrorKind::Timeout
    );
    process.kill()?;
    assert_eq!(
        target.wait_for_port(1, none).unwrap_err().kind(),
        ErrorKind::Timeout
    );
    assert_eq!(
        target.wait_for_file("/none", none).unwrap_err().kind(),
        ErrorKind::Timeout
    );
    let error = target.wait_for_command("sleep 1000", none).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    target.wait_for_file("/", none)?;
    target.ping_for(none).map(drop).or_else(|error| {
        if error.kind() == ErrorKind::Infra {
            Ok(())
        } else {
            Err(error)
        }
    })?;
    target.run("true")?;
    target.command("true").timeout(Duration::MAX).run()?;
    let mut process = target.command("echo x").timeout(Duration::MAX).spawn()?;
    process.wait_for_line("x", Duration::MAX)?;
    Ok(())
}

#[target_test]
fn processes_are_killed_beside_a_transfer(target: &Target) -> Result<()> {
    let at = Folders::new("killed", target)?;
    let large = at.here.join("large");
    fs::write(&large, vec![1; 32 << 20])?;
    std::thread::scope(|scope| {
        let put = scope.spawn(|| target.put(&large, at.there("large")));
        for _ in 0..40 {
            let mut process = target.command("exec sleep 500").quiet().spawn()?;
            process.write(vec![1; 1 << 20])?;
            process.kill()?;
        }
        put.join().expect("put")
    })?;
    assert_eq!(target.run(format!("ls -A {}", at.there))?.stdout, "large\n");
    assert_eq!(
        target.file(at.there("large"))?.map(|file| file.size),
        Some(32 << 20)
    );
    Ok(())
}
