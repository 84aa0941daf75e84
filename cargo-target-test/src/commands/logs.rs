//! `logs`: what an instance said on its console.
//!
//! Owns the following of the file. Must not know which platforms write one.

use std::{io::Read, path::Path, thread, time::Duration};

use crate::{
    cli::{Global, LogsArgs},
    commands::people,
    error::{Error, ErrorKind, Result},
    provision::{self, platform::Platforms, pool::Pool},
    run::workspace,
    ui,
};

/// How much is read at once.
const CHUNK: usize = 64 << 10;
/// How often what is added is looked for.
const POLL: Duration = Duration::from_millis(100);

/// The verb.
///
/// # Errors
/// When there is no such instance, or it has no console.
pub fn verb(platforms: &Platforms, global: &Global, args: &LogsArgs) -> Result<u8> {
    let pool = Pool::open(&workspace::pool_directory(global)?)?;
    let choice = people::choose(&pool, &args.on.instance, args.on.all)?;
    let record = &choice.first().record;
    let (name, platform) = (record.name(), &record.platform);
    let console = provision::platform_of(platforms, record)?.console(&record.order);
    let Some(console) = console else {
        let message = format!("`{name}` has no console: platform `{platform}` records none");
        let hint = format!("`cargo target-test shell {name}` looks at it from inside");
        return Err(Error::new(ErrorKind::Infra, message).with_hint(hint));
    };
    let exists = || {
        let state = pool.state();
        state.is_ok_and(|state| state.records.contains_key(&record.id))
    };
    show(&console, args.follow, exists).map_err(|error| {
        Error::new(ErrorKind::Infra, format!("`{name}` said nothing yet")).with_source(error)
    })?;
    Ok(0)
}

fn show(console: &Path, follow: bool, exists: impl Fn() -> bool) -> Result<()> {
    let mut file = fs_err::File::open(console)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        // Asked before the last read: what was said until then is shown.
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
