//! A platform of one's own: machines are folders on a shelf of this host. `main.rs` adds the platform to a tool.

use std::{fs, io, path::PathBuf};

use cargo_target_test::{
    Result,
    connect::Reach,
    provision::platform::{Deployed, Found, InstanceSpec, Platform},
    schemars::JsonSchema,
    serde::{Deserialize, Serialize},
};

/// Machines on a shelf of the lab.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(crate = "cargo_target_test::serde", deny_unknown_fields)]
#[schemars(crate = "cargo_target_test::schemars")]
pub struct Shelf {
    /// The folder with the machines, relative to the playbook.
    shelf: PathBuf,
}

/// Platform `lab`.
pub struct Lab;

impl Platform for Lab {
    type Parameters = Shelf;

    fn name(&self) -> &'static str {
        "lab"
    }

    fn deploy(&self, spec: &InstanceSpec, on: &Shelf, say: &dyn Fn(&str)) -> Result<Deployed> {
        let machine = spec.directory.join(&on.shelf).join(&spec.unique);
        say("switching it on");
        fs::create_dir_all(&machine)?;
        Ok(Deployed::new("localhost", Reach::local(machine)))
    }

    fn delete(&self, spec: &InstanceSpec, on: &Shelf, _: Option<&Deployed>) -> Result<()> {
        match fs::remove_dir_all(spec.directory.join(&on.shelf).join(&spec.unique)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn restart(&self, spec: &InstanceSpec, on: &Shelf, _: &Deployed) -> Result<()> {
        let machine = spec.directory.join(&on.shelf).join(&spec.unique);
        Ok(fs::write(machine.join("restarted"), "")?)
    }

    fn find(&self, label: &str, like: Option<(&InstanceSpec, &Shelf)>) -> Result<Vec<Found>> {
        let shelf = like.map(|(spec, on)| spec.directory.join(&on.shelf));
        let machines = shelf.map(fs::read_dir).transpose()?;
        let machines = machines.into_iter().flatten().flatten();
        let names = machines.map(|machine| machine.file_name().to_string_lossy().into_owned());
        let ours = names.filter(|name| name.starts_with(&format!("{label}-")));
        let found = |name: String| Found::new(&name, format!("machine `{name}`"));
        Ok(ours.map(found).collect())
    }
}
