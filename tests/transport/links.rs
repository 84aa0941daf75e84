//! Slow and broken links: the number of round trips, and that no command runs twice.

use super::*;
use crate::support::proxy::{Fate, Proxy};

/// Returns a transport to the farm's server through a proxy.
fn behind(farm: &Farm, proxy: &Proxy) -> Arc<dyn Transport> {
    let reach = SshReach {
        port: Some(proxy.port()),
        known_hosts: Some(farm.path().join("known_by_proxy")),
        trust_first: true,
        ..farm.reach("alpha-0")
    };
    connect::connect("alpha-0", &Reach::Ssh(reach))
}

/// Returns a command that appends a line to the file each time it runs.
fn marking(file: &Path) -> String {
    format!("echo ran >>'{}'; echo done", file.display())
}

fn marks(file: &Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}

/// At a round-trip time of 200 ms, a command takes one round trip: its channel is already open.
#[test]
fn a_command_takes_one_round_trip() {
    const COMMANDS: usize = 10;
    let farm = Farm::new("alpha-0");
    let proxy = Proxy::new(
        farm.port("alpha-0"),
        Duration::from_millis(100),
        Fate::Lives,
    );
    block_on(async {
        let transport = behind(&farm, &proxy);
        let started = Instant::now();
        run(&*transport, ":").await;
        let (first, connecting) = (proxy.trips(), started.elapsed());
        let started = Instant::now();
        for n in 0..COMMANDS {
            assert_eq!(
                run(&*transport, &format!("echo {n}")).await.text(),
                format!("{n}\n")
            );
        }
        let took = started.elapsed();
        let trips = proxy.trips() - first;
        let rate = COMMANDS as f64 / took.as_secs_f64();
        eprintln!(
            "first command: {first} round trips, {connecting:.2?}; \
             {COMMANDS} more: {trips} round trips, {took:.2?}, {rate:.1} commands/s"
        );
        // A busy machine may need another one.
        assert!(
            (COMMANDS..=COMMANDS + 2).contains(&trips),
            "{trips} round trips"
        );
        assert!(
            first <= 12,
            "{first} round trips until the first command's end"
        );
    });
}

/// Cuts the connection of a command. Returns the error of the command, if any; fails if the command ran twice, or if its
/// output and the number of runs disagree.
async fn after_cut(farm: &Farm, fate: Fate) -> Result<Option<String>, String> {
    let file = farm.path().join("ran");
    let _ = fs::remove_file(&file);
    let proxy = Proxy::new(farm.port("alpha-0"), Duration::ZERO, fate);
    let transport = behind(farm, &proxy);
    let told = finish(transport.exec(&line(&marking(&file)), "", None)).await;
    let told = told
        .map(|output| output.text().to_owned())
        .map_err(|error| error.chain());
    // A late cut affects this command instead. The link works afterwards.
    let after = finish(transport.exec(&line("echo after"), "", None)).await;
    if after.is_err() {
        assert_eq!(
            run(&*transport, "echo after").await.text(),
            "after\n",
            "{fate:?}"
        );
    }
    match (&told, marks(&file)) {
        (Ok(text), 1) if text == "done\n" => Ok(None),
        (Err(error), 0 | 1) if error.contains("`alpha-0`") => Ok(Some(error.clone())),
        (told, marks) => Err(format!("{fate:?}: it ran {marks} times, and said {told:?}")),
    }
}

/// A command whose link is cut fails or has its complete result, and never runs twice.
#[test]
fn a_cut_anywhere_never_runs_a_command_twice() {
    const STEPS: usize = 24;
    let farm = Farm::new("alpha-0");
    let proxy = Proxy::new(farm.port("alpha-0"), Duration::ZERO, Fate::Lives);
    block_on(async {
        let file = farm.path().join("ran");
        let transport = behind(&farm, &proxy);
        run(&*transport, &marking(&file)).await;
        let [there, back] = proxy.bytes();
        let mut errors = Vec::new();
        for step in 0..=STEPS {
            for fate in [
                Fate::CutOnTheWay(there * step / STEPS),
                Fate::CutOnTheWayBack(back * step / STEPS),
            ] {
                match after_cut(&farm, fate).await {
                    Ok(error) => errors.extend(error),
                    Err(problem) => panic!("{problem}"),
                }
            }
        }
        let running = "lost the connection to `alpha-0`";
        assert!(
            errors.iter().any(|error| error.contains(running)),
            "{errors:#?}"
        );
        assert!(
            errors.iter().any(|error| error.contains("failed to ")),
            "{errors:#?}"
        );
    });
}

#[test]
fn a_cut_of_an_idle_link_is_not_noticed() {
    let farm = Farm::new("alpha-0");
    let proxy = Proxy::new(farm.port("alpha-0"), Duration::ZERO, Fate::Lives);
    block_on(async {
        let file = farm.path().join("ran");
        let transport = behind(&farm, &proxy);
        for n in 1..=5 {
            run(&*transport, &marking(&file)).await;
            assert_eq!((marks(&file), proxy.accepted()), (n, n));
            proxy.cut();
            // The server has noticed the cut.
            eventually("the old session is gone", || {
                farm.sessions("alpha-0").is_empty()
            })
            .await;
        }
    });
}

/// Prints the number of round trips; the bounds hold on a busy machine.
#[test]
fn files_take_few_round_trips() {
    use cargo_target_test::connect::{
        FileMode,
        files::{self, Piece},
    };
    let farm = Farm::new("alpha-0");
    let proxy = Proxy::new(
        farm.port("alpha-0"),
        Duration::from_millis(100),
        Fate::Lives,
    );
    block_on(async {
        let transport = behind(&farm, &proxy);
        run(&*transport, ":").await;
        let path = farm.path().join("sent");
        let path = path.to_str().unwrap();
        let before = proxy.trips();
        let (sender, receiver) = mpsc::channel(2);
        for piece in [Piece::Data(noise(999)), Piece::End] {
            sender.send(piece).await.unwrap();
        }
        files::put(&*transport, "", path, FileMode::Set(0o600), receiver)
            .await
            .unwrap();
        let put = proxy.trips() - before;
        let (sender, mut receiver) = mpsc::channel(2);
        files::get(&*transport, "", path, sender).await.unwrap();
        assert!(receiver.recv().await.unwrap() == noise(999));
        let get = proxy.trips() - before - put;
        let before = proxy.trips();
        let commands: Vec<_> = (0..4).map(|n| line(&format!("echo {n}"))).collect();
        let running = commands
            .iter()
            .map(|command| transport.exec(command, "", None));
        let running: Vec<_> = running.collect();
        for (n, running) in running.into_iter().enumerate() {
            assert_eq!(finish(running).await.unwrap().text(), format!("{n}\n"));
        }
        let four = proxy.trips() - before;
        eprintln!("round trips: put {put}, get {get}, four commands at once {four}");
        assert!(put <= 4 && get <= 2 && four <= 6, "{put}, {get}, {four}");
    });
}
