//! A machine that is not in a pool.

use std::{fs, time::Duration};

use super::*;
use crate::error::ErrorKind;

#[tokio::test]
async fn a_wrapped_machine_needs_no_pool_and_no_playbook() {
    let folder = tempfile::tempdir().unwrap();
    let reach = Reach::local(folder.path());
    let machine = Machine::wrap("here", &reach);
    assert_eq!((machine.name(), machine.role()), ("here", None));
    let ended = machine.run("echo said; exit 3").await.unwrap();
    assert_eq!(ended.stdout, b"said\n");
    assert_eq!(
        ended.success("say it").err().unwrap().kind(),
        ErrorKind::Infra
    );

    let [from, there, back] = ["from", "there", "back"].map(|name| folder.path().join(name));
    fs::write(&from, "content").unwrap();
    let path = there.to_str().unwrap();
    machine.put(&from, path).await.unwrap();
    machine.get(path, &back).await.unwrap();
    assert_eq!(fs::read_to_string(back).unwrap(), "content");

    let second = Duration::from_secs(1);
    machine.ping(second).await.unwrap();
    machine.probe(second).await.unwrap();
    assert_eq!(machine.describe().platform, "local");
    let refused = [
        machine.reboot(second).await.err(),
        machine.restart(second).await.err(),
        machine.snapshot("one").await.err(),
        machine.console().err(),
    ];
    let refused = refused.map(|error| error.map(|error| error.kind()));
    assert_eq!(refused, [Some(ErrorKind::Usage); 4]);
}
