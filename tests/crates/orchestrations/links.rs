//! An event whose commands a broken link cuts.

use target_fixtures::prelude::*;

orchestration!("linked");

#[target_event]
fn works(target: &Target) -> Result<()> {
    target.run("sleep 0.3")?;
    Ok(())
}
