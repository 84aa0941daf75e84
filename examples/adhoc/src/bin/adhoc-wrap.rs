//! Runs a command on an SSH host that is there anyway: `adhoc-wrap lab7 'uname -a'`.

use cargo_target_test::{Result, connect::Reach, provision::Machine};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let host = words.next().expect("a host");
    let machine = Machine::wrap(&host, &Reach::ssh(&host));
    let ended = machine.run(&words.collect::<Vec<_>>().join(" ")).await?;
    print!("{}", String::from_utf8_lossy(&ended.success(&host)?.stdout));
    Ok(())
}
