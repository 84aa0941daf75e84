//! `logs`: prints and follows the console log of an instance.
//!
//! Must not know which platforms record a console.

use std::{io::Read, path::Path, thread, time::Duration};

use crate::{
    cli::{Global, LogsArgs},
    commands::interactive,
    error::{Error, Result},
    provision::{self, platform::Platforms, pool::Pool},
    run::workspace,
    ui,
};

/// The size of a read, in bytes.
const CHUNK: usize = 64 << 10;
/// The polling interval of the file.
const POLL: Duration = Duration::from_millis(100);

/// Runs the verb.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) if the instance does not exist or its platform records no console; fails if there is no output
/// yet.
pub fn verb(platforms: &Platforms, global: &Global, args: &LogsArgs) -> Result<u8> {
    let pool = Pool::open(&workspace::pool_directory(global)?)?;
    let choice = interactive::choose(&pool, &args.on.instance, args.on.all)?;
    let record = &choice.machine_of(&choice.first().record)?;
    let (name, platform) = (record.name(), &record.platform);
    let console = provision::platform_of(platforms, record)?.console(&record.spec);
    let Some(console) = console else {
        let message = format!("`{name}` has no console: platform `{platform}` does not record one");
        let hint = format!("open a shell with `cargo target-test shell {name}`");
        return Err(Error::usage(message).with_hint(hint));
    };
    let exists = || {
        let state = pool.state();
        state.is_ok_and(|state| state.records.contains_key(&record.id))
    };
    show(&console, args.follow, exists).map_err(|error| {
        Error::infra(format!("`{name}` has no console output yet")).with_source(error)
    })?;
    Ok(0)
}

fn show(console: &Path, follow: bool, exists: impl Fn() -> bool) -> Result<()> {
    let mut file = fs_err::File::open(console)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        // Checked before the last read, so that all output until then is printed.
        let more = follow && exists();
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            if !ui::try_bytes_out(&buffer[..read]) {
                return Ok(());
            }
        }
        if !more {
            return Ok(());
        }
        thread::sleep(POLL);
    }
}
