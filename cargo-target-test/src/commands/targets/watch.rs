//! `targets --watch`: prints the table again every second.
//!
//! Must not know the content of the table.

use std::{io::IsTerminal, time::Duration};

use crate::{error::Result, execute::clean_up::Signals, provision::pool::Pool, run::runtime, ui};

/// The pause between two updates.
const PAUSE: Duration = Duration::from_secs(1);

/// Shows the lines until Ctrl-C or until the output is closed. Returns the exit code.
pub(super) fn watch(pool: &Pool, lines: &dyn Fn(&Pool) -> Result<Vec<String>>) -> Result<u8> {
    let terminal = std::io::stdout().is_terminal();
    runtime::block_on(async {
        let mut signals = Signals::catch()?;
        if terminal {
            ui::clear();
        }
        loop {
            let lines = lines(pool)?;
            let seen = if terminal {
                ui::redraw(&lines)
            } else {
                ui::try_lines_out(&lines)
            };
            if !seen {
                return Ok(0);
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                signal = signals.next() => return Ok(signal.code()),
            }
        }
    })
}
