//! The syntax of shared folders: folders of this host that instances of several platforms show.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;

use super::{resolve_path, without_parents};

/// The key of the shared folders in the parameters of a platform.
const KEY: &str = "share";

/// A folder of this host that an instance shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Share {
    /// The folder of this host, relative to the playbook.
    pub host: PathBuf,
    /// The absolute path of the folder in the instance; by default that on this host.
    #[serde(
        default,
        deserialize_with = "guest",
        skip_serializing_if = "Option::is_none"
    )]
    guest: Option<PathBuf>,
    /// Mounts the folder read-only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

impl Share {
    /// The path of the folder in the instance.
    pub fn guest(&self) -> &Path {
        self.guest.as_deref().unwrap_or(&self.host)
    }
}

fn guest<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    let guest = PathBuf::deserialize(from)?;
    match guest.is_absolute() && guest.parent().is_some() {
        true => Ok(Some(guest)),
        false => Err(D::Error::custom(format!(
            "`guest` must be an absolute path of a folder: `{}`",
            guest.display()
        ))),
    }
}

/// Makes the folders of this host absolute: the same playbook in another working copy is another definition.
pub(super) fn make_absolute(parameters: &mut Value, directory: &Path) {
    let shares = parameters.get_mut(KEY).and_then(Value::as_array_mut);
    for host in shares
        .into_iter()
        .flatten()
        .filter_map(|one| one.get_mut("host"))
    {
        if let Some(written) = host.as_str() {
            let path = without_parents(&resolve_path(directory, Path::new(written)));
            *host = path.to_string_lossy().into();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn folders_are_absolute() {
        let mut parameters = json!({ "share": [{ "host": "." }, { "host": "../x/./y", "guest": "/y" }, { "host": "/z" }] });
        make_absolute(&mut parameters, Path::new("/a/b"));
        let shares: Vec<Share> = serde_json::from_value(parameters["share"].take()).unwrap();
        let paths = shares.iter().map(|one| (one.host.as_path(), one.guest()));
        let expected = [("/a/b", "/a/b"), ("/a/x/y", "/y"), ("/z", "/z")];
        let expected = expected.map(|(host, guest)| (Path::new(host), Path::new(guest)));
        assert_eq!(paths.collect::<Vec<_>>(), expected);
        // A parameter of another platform.
        let mut other = json!({ "share": "nfs" });
        make_absolute(&mut other, Path::new("/a"));
        assert_eq!(other, json!({ "share": "nfs" }));
    }
}
