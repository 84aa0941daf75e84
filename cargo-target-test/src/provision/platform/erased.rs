//! Platforms behind an object-safe interface, for the pool, the broker and the playbook. The only place that parses
//! parameters from JSON.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, sync::Arc};

use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::{Value, json};
use target_fixtures::wire::FaultKind;

use super::{
    Deployed, Footprint, Found, InstanceSpec, NetworkKind, Ownership, Platform, ShareMount, SpecOf,
};
use crate::{
    connect::Transport,
    error::{Error, Result},
    playbook::PlatformSyntax,
    secret::Lookup,
};

/// Declares the methods of [`DynPlatform`] that parse the parameters and call a method of [`Platform`]: of an instance,
/// and of a target in whose place a platform searches.
macro_rules! dyn_platform {
    (
        $(instance $method:ident($($name:ident: $type:ty),*) -> $output:ty;)*
        $(search $search:ident($key:ident) -> $found:ty;)*
    ) => {
        /// A platform of any type. Each method is that of [`Platform`]; all fail if [`InstanceSpec::parameters`] are from
        /// another release and cannot be parsed.
        #[allow(missing_docs, reason = "documented by `Platform`")]
        pub trait DynPlatform: PlatformSyntax {
            fn ownership(&self) -> Ownership;
            fn digests(&self, spec: &InstanceSpec) -> BTreeMap<String, String>;
            fn footprint(&self, spec: &InstanceSpec) -> Result<Footprint>;
            fn connect(&self, spec: &InstanceSpec, deployed: &Deployed) -> Arc<dyn Transport>;
            fn console(&self, spec: &InstanceSpec) -> Option<PathBuf>;
            fn can_restore(&self, parameters: &Value) -> bool;
            fn mounts(&self, spec: &InstanceSpec, deployed: &Deployed) -> Vec<ShareMount>;
            fn faults(&self) -> &'static [FaultKind];
            fn network_kind(&self) -> Option<NetworkKind>;
            $(fn $method(&self, spec: &InstanceSpec, $($name: $type),*) -> Result<$output>;)*
            $(fn $search(&self, $key: &str, like: Option<&InstanceSpec>) -> Result<$found>;)*
        }

        impl<P: Platform> DynPlatform for Erased<P> {
            fn ownership(&self) -> Ownership {
                self.0.ownership()
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

            fn console(&self, spec: &InstanceSpec) -> Option<PathBuf> {
                self.0.console(spec)
            }

            fn can_restore(&self, parameters: &Value) -> bool {
                let parameters = P::Parameters::deserialize(parameters);
                parameters.is_ok_and(|read| self.0.can_restore(&read))
            }

            fn mounts(&self, spec: &InstanceSpec, deployed: &Deployed) -> Vec<ShareMount> {
                self.0.mounts(spec, deployed)
            }

            fn network_kind(&self) -> Option<NetworkKind> {
                self.0.network_kind()
            }

            fn faults(&self) -> &'static [FaultKind] {
                self.0.faults()
            }

            $(fn $method(&self, spec: &InstanceSpec, $($name: $type),*) -> Result<$output> {
                self.0.$method(&parsed::<P>(spec)?, $($name),*)
            })*

            $(fn $search(&self, $key: &str, like: Option<&InstanceSpec>) -> Result<$found> {
                self.0.$search($key, like.map(parsed::<P>).transpose()?.as_ref())
            })*
        }
    };
}

dyn_platform! {
    instance exclusive() -> Option<String>;
    instance check() -> ();
    instance check_delete() -> ();
    instance secrets() -> Vec<Lookup>;
    instance deploy(progress: &dyn Fn(&str)) -> Deployed;
    instance delete(deployed: Option<&Deployed>) -> ();
    instance check_alive(deployed: &Deployed) -> ();
    instance output() -> Option<String>;
    instance address(deployed: &Deployed) -> Option<IpAddr>;
    instance renew(deployed: Option<&Deployed>) -> ();
    instance snapshot(deployed: &Deployed, name: &str) -> ();
    instance restore(deployed: &Deployed, name: &str) -> Deployed;
    instance link(deployed: &Deployed, nic: u32, up: bool) -> ();
    instance type_text(deployed: &Deployed, text: &str) -> ();
    instance pause(deployed: &Deployed, paused: bool) -> ();
    instance restart(deployed: &Deployed) -> ();
    search find(label) -> Vec<Found>;
    search find_owned(owner) -> Vec<Found>;
    search clean_up(label) -> ();
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
