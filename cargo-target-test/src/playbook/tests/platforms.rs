//! Platforms made up for the tests of playbooks.

use std::{collections::BTreeMap, marker::PhantomData};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::playbook::PlatformSyntax;

/// Its parameters have everything that matters here: a default, one required, one nested.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Qemu {
    kernel: String,
    #[serde(default = "memory")]
    memory: String,
    port: Option<u16>,
    #[serde(default)]
    params: BTreeMap<String, Value>,
    #[serde(default)]
    disk: Disk,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Disk {
    size: Option<u32>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Local {}

fn memory() -> String {
    "512 MiB".to_owned()
}

/// A platform with parameters of this type.
struct Syntax<T> {
    name: &'static str,
    count: Option<u32>,
    parameters: PhantomData<fn() -> T>,
}

impl<T: Serialize + for<'de> Deserialize<'de> + JsonSchema> PlatformSyntax for Syntax<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self) -> u32 {
        1
    }

    fn parameters(&self, table: toml::de::ValueDeserializer<'_>) -> Result<Value, toml::de::Error> {
        let parameters = T::deserialize(table)?;
        serde_json::to_value(parameters).map_err(serde::de::Error::custom)
    }

    fn capabilities(&self, _: &Value) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn machines_stay(&self) -> bool {
        true
    }

    fn count(&self, _: &Value) -> Option<u32> {
        self.count
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(T)
    }
}

const LOCAL: Syntax<Local> = Syntax {
    name: "local",
    count: Some(7),
    parameters: PhantomData,
};

const QEMU: Syntax<Qemu> = Syntax {
    name: "qemu",
    count: None,
    parameters: PhantomData,
};

pub(super) const PLATFORMS: [&dyn PlatformSyntax; 2] = [&LOCAL, &QEMU];
