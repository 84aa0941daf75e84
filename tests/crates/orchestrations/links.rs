//! An event whose commands a broken link cuts.

use target_fixtures::prelude::*;

orchestration!("linked");

#[target_event]
fn works(target: &Target) -> Result<()> {
    let ledger = std::env::var("LEDGER")?;
    target.run(format!("echo works >> {ledger}; sleep 1"))?;
    Ok(())
}
