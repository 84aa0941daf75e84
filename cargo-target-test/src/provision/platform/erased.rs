//! Platforms behind an object-safe interface, for the pool, the broker and the playbook. The only place that parses
//! parameters from JSON.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, sync::Arc};

use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::{Value, json};

use super::{Deployed, Footprint, Found, InstanceSpec, Ownership, Platform, SpecOf};
use crate::{
    connect::Transport,
    error::{Error, Result},
    playbook::PlatformSyntax,
    secret::Lookup,
};

/// A platform of any type. Each method is that of [`Platform`]; all fail if [`InstanceSpec::parameters`] are from
/// another release and cannot be parsed.
#[allow(missing_docs, reason = "documented by `Platform`")]
pub trait DynPlatform: PlatformSyntax {
    fn ownership(&self) -> Ownership;
    fn exclusive(&self, spec: &InstanceSpec) -> Result<Option<String>>;
    fn check(&self, spec: &InstanceSpec) -> Result<()>;
    fn check_delete(&self, spec: &InstanceSpec) -> Result<()>;
    fn secrets(&self, spec: &InstanceSpec) -> Result<Vec<Lookup>>;
    fn deploy(&self, spec: &InstanceSpec, progress: &dyn Fn(&str)) -> Result<Deployed>;
    fn delete(&self, spec: &InstanceSpec, deployed: Option<&Deployed>) -> Result<()>;
    fn digests(&self, spec: &InstanceSpec) -> BTreeMap<String, String>;
    fn footprint(&self, spec: &InstanceSpec) -> Result<Footprint>;
    fn connect(&self, spec: &InstanceSpec, deployed: &Deployed) -> Arc<dyn Transport>;
    fn check_alive(&self, spec: &InstanceSpec, deployed: &Deployed) -> Result<()>;
    fn console(&self, spec: &InstanceSpec) -> Option<PathBuf>;
    fn output(&self, spec: &InstanceSpec) -> Result<Option<String>>;
    fn address(&self, spec: &InstanceSpec, deployed: &Deployed) -> Result<Option<IpAddr>>;
    fn find(&self, label: &str, like: Option<&InstanceSpec>) -> Result<Vec<Found>>;
    fn find_owned(&self, owner: &str, like: Option<&InstanceSpec>) -> Result<Vec<Found>>;
    fn renew(&self, spec: &InstanceSpec, deployed: Option<&Deployed>) -> Result<()>;
    fn clean_up(&self, label: &str, like: Option<&InstanceSpec>) -> Result<()>;
    fn can_restore(&self) -> bool;
    fn snapshot(&self, spec: &InstanceSpec, deployed: &Deployed, name: &str) -> Result<()>;
    fn restore(&self, spec: &InstanceSpec, deployed: &Deployed, name: &str) -> Result<Deployed>;
    fn link(&self, spec: &InstanceSpec, deployed: &Deployed, nic: u32, up: bool) -> Result<()>;
    fn type_text(&self, spec: &InstanceSpec, deployed: &Deployed, text: &str) -> Result<()>;
    fn restart(&self, spec: &InstanceSpec, deployed: &Deployed) -> Result<()>;
}

/// The adapter from the typed to the object-safe interface.
pub(super) struct Erased<P>(pub(super) P);

impl<P: Platform> PlatformSyntax for Erased<P> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn version(&self) -> u32 {
        self.0.version()
    }

    fn parameters(&self, table: toml::de::ValueDeserializer<'_>) -> Result<Value, toml::de::Error> {
        let parameters = P::Parameters::deserialize(table)?;
        self.0
            .validate(&parameters)
            .map_err(toml::de::Error::custom)?;
        recorded(&parameters).map_err(toml::de::Error::custom)
    }

    fn capabilities(&self, parameters: &Value) -> BTreeMap<String, String> {
        let parameters = P::Parameters::deserialize(parameters);
        parameters.map_or_else(|_| BTreeMap::new(), |read| self.0.capabilities(&read))
    }

    fn machines_stay(&self) -> bool {
        self.0.ownership() == Ownership::Existing
    }

    fn shares_kernel(&self) -> bool {
        self.0.shares_kernel()
    }

    fn count(&self, parameters: &Value) -> Option<u32> {
        self.0.count(&P::Parameters::deserialize(parameters).ok()?)
    }

    fn schema(&self) -> schemars::Schema {
        let settings = SchemaSettings::draft2020_12();
        settings
            .into_generator()
            .into_root_schema_for::<P::Parameters>()
    }
}

impl<P: Platform> DynPlatform for Erased<P> {
    fn ownership(&self) -> Ownership {
        self.0.ownership()
    }

    fn exclusive(&self, spec: &InstanceSpec) -> Result<Option<String>> {
        self.0.exclusive(&parsed::<P>(spec)?)
    }

    fn check(&self, spec: &InstanceSpec) -> Result<()> {
        self.0.check(&parsed::<P>(spec)?)
    }

    fn check_delete(&self, spec: &InstanceSpec) -> Result<()> {
        self.0.check_delete(&parsed::<P>(spec)?)
    }

    fn secrets(&self, spec: &InstanceSpec) -> Result<Vec<Lookup>> {
        self.0.secrets(&parsed::<P>(spec)?)
    }

    fn deploy(&self, spec: &InstanceSpec, progress: &dyn Fn(&str)) -> Result<Deployed> {
        self.0.deploy(&parsed::<P>(spec)?, progress)
    }

    fn delete(&self, spec: &InstanceSpec, deployed: Option<&Deployed>) -> Result<()> {
        self.0.delete(&parsed::<P>(spec)?, deployed)
    }

    fn digests(&self, spec: &InstanceSpec) -> BTreeMap<String, String> {
        let spec = parsed::<P>(spec);
        spec.map_or_else(|_| BTreeMap::new(), |spec| self.0.digests(&spec))
    }

    fn footprint(&self, spec: &InstanceSpec) -> Result<Footprint> {
        Ok(self.0.footprint(&parsed::<P>(spec)?.parameters))
    }

    fn connect(&self, spec: &InstanceSpec, deployed: &Deployed) -> Arc<dyn Transport> {
        self.0.connect(spec, deployed)
    }

    fn check_alive(&self, spec: &InstanceSpec, deployed: &Deployed) -> Result<()> {
        self.0.check_alive(&parsed::<P>(spec)?, deployed)
    }

    fn console(&self, spec: &InstanceSpec) -> Option<PathBuf> {
        self.0.console(spec)
    }

    fn output(&self, spec: &InstanceSpec) -> Result<Option<String>> {
        self.0.output(&parsed::<P>(spec)?)
    }

    fn address(&self, spec: &InstanceSpec, deployed: &Deployed) -> Result<Option<IpAddr>> {
        self.0.address(&parsed::<P>(spec)?, deployed)
    }

    fn find(&self, label: &str, like: Option<&InstanceSpec>) -> Result<Vec<Found>> {
        let like = like.map(parsed::<P>).transpose()?;
        self.0.find(label, like.as_ref())
    }

    fn find_owned(&self, owner: &str, like: Option<&InstanceSpec>) -> Result<Vec<Found>> {
        let like = like.map(parsed::<P>).transpose()?;
        self.0.find_owned(owner, like.as_ref())
    }

    fn renew(&self, spec: &InstanceSpec, deployed: Option<&Deployed>) -> Result<()> {
        self.0.renew(&parsed::<P>(spec)?, deployed)
    }

    fn clean_up(&self, label: &str, like: Option<&InstanceSpec>) -> Result<()> {
        let like = like.map(parsed::<P>).transpose()?;
        self.0.clean_up(label, like.as_ref())
    }

    fn can_restore(&self) -> bool {
        self.0.can_restore()
    }

    fn snapshot(&self, spec: &InstanceSpec, deployed: &Deployed, name: &str) -> Result<()> {
        self.0.snapshot(&parsed::<P>(spec)?, deployed, name)
    }

    fn restore(&self, spec: &InstanceSpec, deployed: &Deployed, name: &str) -> Result<Deployed> {
        self.0.restore(&parsed::<P>(spec)?, deployed, name)
    }

    fn link(&self, spec: &InstanceSpec, deployed: &Deployed, nic: u32, up: bool) -> Result<()> {
        self.0.link(&parsed::<P>(spec)?, deployed, nic, up)
    }

    fn type_text(&self, spec: &InstanceSpec, deployed: &Deployed, text: &str) -> Result<()> {
        self.0.type_text(&parsed::<P>(spec)?, deployed, text)
    }

    fn restart(&self, spec: &InstanceSpec, deployed: &Deployed) -> Result<()> {
        self.0.restart(&parsed::<P>(spec)?, deployed)
    }
}

/// Returns parameters as the pool records them: a key that was left out stays out of the definition.
pub(super) fn recorded(parameters: &impl Serialize) -> serde_json::Result<Value> {
    let mut json = serde_json::to_value(parameters)?;
    if let Value::Object(keys) = &mut json {
        keys.retain(|_, value| !value.is_null());
    }
    Ok(json)
}

/// The parameters of a recorded instance. Null, as for a resource found by its label, stands for the defaults.
fn parsed<P: Platform>(spec: &InstanceSpec) -> Result<SpecOf<P>> {
    let parsed = match &spec.parameters {
        Value::Null => P::Parameters::deserialize(json!({})),
        parameters => P::Parameters::deserialize(parameters),
    };
    let parsed = parsed.map(|parameters| spec.with(parameters));
    parsed.map_err(|error| {
        Error::infra(format!("cannot use the parameters of `{}`", spec.instance))
            .with_source(error)
            .with_hint("it may have been deployed by another release of cargo-target-test: use that release")
    })
}
