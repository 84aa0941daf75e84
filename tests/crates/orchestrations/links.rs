//! An event whose commands a broken link cuts.

use target_fixtures::prelude::*;

orchestration!("linked");
orchestration!("lost");

#[target_event]
fn works(target: &Target) -> Result<()> {
    let folder = std::env::var("LEDGER")?;
    target.run(format!("echo works >> {folder}/{}; sleep 1", target.name()))?;
    Ok(())
}
