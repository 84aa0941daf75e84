//! Finds orphans: resources with the pool's label but without a record, for example a machine whose record was lost
//! with its disk.
//!
//! Must not know single platforms.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use super::{
    platform::{DynPlatform, Found, InstanceSpec},
    pool::{Pool, RecordEvent, label_of},
};
use crate::error::{Error, Result};

/// A resource to delete.
pub struct Orphan {
    platform: Arc<dyn DynPlatform>,
    found: Found,
    parameters: Value,
    directory: std::path::PathBuf,
}

/// Searches all these places; returns the errors of places that could not be searched too.
///
/// # Errors
/// Fails if the pool cannot be used.
pub fn find_orphans(
    pool: &Pool,
    places: &[(Arc<dyn DynPlatform>, Option<InstanceSpec>)],
) -> Result<(Vec<Orphan>, Vec<Error>)> {
    let labels = pool.state()?.labels();
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (platform, like) in places {
        for label in &labels {
            match platform.find(label, like.as_ref()) {
                Ok(all) => found.extend(
                    all.into_iter()
                        .map(|one| Orphan::new(platform, like.as_ref(), one)),
                ),
                Err(error) => problems.push(error),
            }
        }
    }
    // Read after the search: resources that were created meanwhile have a record by now.
    let state = pool.state()?;
    let mut seen = BTreeSet::new();
    found.retain(|orphan| {
        let unique = &orphan.found.unique;
        !state.records.contains_key(unique) && seen.insert((orphan.platform.name(), unique.clone()))
    });
    Ok((found, problems))
}

impl Orphan {
    fn new(platform: &Arc<dyn DynPlatform>, like: Option<&InstanceSpec>, mut found: Found) -> Self {
        let own = std::mem::take(&mut found.parameters);
        let parameters = match (own, like) {
            (Value::Null, Some(spec)) => spec.parameters.clone(),
            (own, _) => own,
        };
        Self {
            platform: Arc::clone(platform),
            found,
            parameters,
            directory: like.map(|spec| spec.directory.clone()).unwrap_or_default(),
        }
    }

    /// A description for people.
    pub fn what(&self) -> &str {
        &self.found.what
    }

    /// Deletes the resource.
    ///
    /// # Errors
    /// Fails as the platform's delete does.
    pub fn delete(&self, pool: &Pool) -> Result<()> {
        let unique = &self.found.unique;
        let spec = InstanceSpec {
            instance: unique.clone(),
            target: unique.clone(),
            index: 0,
            label: label_of(unique).to_owned(),
            unique: unique.clone(),
            parameters: self.parameters.clone(),
            directory: self.directory.clone(),
            scratch: pool.scratch(unique),
        };
        self.platform.delete(&spec, self.found.deployed.as_ref())?;
        spec.forget_sessions();
        let mut locked = pool.lock()?;
        match locked.state().lost.contains(unique) {
            true => locked.commit([(unique.clone(), RecordEvent::Gone)]),
            false => Ok(()),
        }
    }
}
