//! Finds orphans: resources with the pool's label but without a record, for example a machine whose record was lost
//! with its disk; and resources of an owner, whose pool may be gone.
//!
//! Must not know single platforms.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{
    platform::{DynPlatform, Found, InstanceSpec, Platforms, pool_id, scratch_in},
    pool::{self, FileLock, Pool, Record, RecordEvent, label_of},
    pool_run,
};
use crate::error::{Error, Result};

/// The time after its expiry at which a resource is collected.
const MARGIN: Duration = Duration::from_secs(3600);

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
    let labels = labels.iter().map(String::as_str);
    let (mut found, problems) = search(places, labels, |platform, label, like| {
        platform.find(label, like)
    });
    // Read after the search: resources that were created meanwhile have a record by now.
    let state = pool.state()?;
    found.retain(|orphan| !state.records.contains_key(pool_id(&orphan.found.unique)));
    Ok((found, problems))
}

/// Searches all these places for resources of an owner, of any pool. Returns the errors of places that could not be
/// searched too.
pub fn find_owned(
    owner: &str,
    places: &[(Arc<dyn DynPlatform>, Option<InstanceSpec>)],
) -> (Vec<Orphan>, Vec<Error>) {
    search(places, [owner], |platform, owner, like| {
        platform.find_owned(owner, like)
    })
}

/// Searches all these places for each of the labels or owners. A resource that is found twice is returned once.
fn search<'a>(
    places: &[(Arc<dyn DynPlatform>, Option<InstanceSpec>)],
    keys: impl IntoIterator<Item = &'a str> + Clone,
    find: impl Fn(&dyn DynPlatform, &str, Option<&InstanceSpec>) -> Result<Vec<Found>>,
) -> (Vec<Orphan>, Vec<Error>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (platform, like) in places {
        for key in keys.clone() {
            match find(&**platform, key, like.as_ref()) {
                Ok(all) => found.extend(all.into_iter().map(|one| (platform, like.as_ref(), one))),
                Err(error) => problems.push(error),
            }
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|(platform, _, one)| seen.insert((platform.name(), one.unique.clone())));
    let orphans = found.into_iter();
    let orphans = orphans.map(|(platform, like, one)| Orphan::new(platform, like, one));
    (orphans.collect(), problems)
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

    /// Checks that a resource of an owner may be collected: that no living process uses it and, if `expired`, that its
    /// expiry was more than an hour ago. Clocks of two hosts may differ.
    ///
    /// # Errors
    /// Says why it may not.
    pub fn check_collectable(&self, expired: bool) -> Result<()> {
        let mut expires = self.found.provenance.expires;
        if let Some((_, record)) = self.record()? {
            expires = record.spec.provenance.expires;
        }
        if expired && pool::now() < expires + MARGIN.as_secs() {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(expires);
            let at = humantime::format_rfc3339_seconds(at);
            return Err(Error::infra(format!("it expires at {at}")));
        }
        Ok(())
    }

    /// Deletes a resource of an owner, with its record if its pool is on this host.
    ///
    /// # Errors
    /// Fails if a living process uses it by now, or as the platform's delete does.
    pub fn collect(&self, platforms: &Platforms) -> Result<()> {
        match self.record()? {
            Some((pool, record)) => pool_run::delete_unused(&pool, platforms, &record),
            None => self.delete_at(&self.found.provenance.pool.join("instances")),
        }
    }

    /// The record of the resource, if its pool is on this host.
    ///
    /// # Errors
    /// Fails if a living process uses the instance, or if that is unknown.
    fn record(&self) -> Result<Option<(Pool, Record)>> {
        let folder = &self.found.provenance.pool;
        if !fs_err::exists(folder.join("pool.json"))? {
            return Ok(None);
        }
        // A stopped process could keep it for ever.
        let lock = FileLock::try_take(&folder.join("pool.lock"))?;
        let in_use = || Error::infra(format!("its pool `{}` is in use", folder.display()));
        drop(lock.ok_or_else(in_use)?);
        let pool = Pool::open(folder)?;
        let record = pool_run::unused(&pool, pool_id(&self.found.unique))?;
        Ok(record.map(|record| (pool, record)))
    }

    /// Deletes the resource.
    ///
    /// # Errors
    /// Fails as the platform's delete does.
    pub fn delete(&self, pool: &Pool) -> Result<()> {
        let unique = &self.found.unique;
        self.delete_at(&pool.instances())?;
        let mut locked = pool.lock()?;
        // Of a lost environment, all machines were found together.
        let id = pool_id(unique);
        match locked.state().lost.contains(id) {
            true => locked.commit([(id.to_owned(), RecordEvent::Gone)]),
            false => Ok(()),
        }
    }

    /// Calls the platform. `instances` is the folder of the pool's instances, which may be gone.
    fn delete_at(&self, instances: &Path) -> Result<()> {
        let unique = &self.found.unique;
        let spec = InstanceSpec {
            instance: unique.clone(),
            target: unique.clone(),
            label: label_of(pool_id(unique)).to_owned(),
            unique: unique.clone(),
            parameters: self.parameters.clone(),
            directory: self.directory.clone(),
            scratch: scratch_in(instances, unique),
            provenance: self.found.provenance.clone(),
            ..InstanceSpec::default()
        };
        self.platform.delete(&spec, self.found.deployed.as_ref())?;
        spec.forget_sessions();
        Ok(())
    }
}
