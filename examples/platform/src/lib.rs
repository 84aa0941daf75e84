//! A platform of one's own: machines are folders on a shelf of this host. `main.rs` adds the platform to a tool.

use std::{fs, io, path::PathBuf};

use cargo_target_test::{
    Result,
    connect::Reach,
    provision::platform::{Deployed, Found, Platform, SpecOf},
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

    fn deploy(&self, spec: &SpecOf<Self>, say: &dyn Fn(&str)) -> Result<Deployed> {
        let machine = machine(spec);
        say("switching it on");
        fs::create_dir_all(&machine)?;
        Ok(Deployed::new("localhost", Reach::local(machine)))
    }

    fn delete(&self, spec: &SpecOf<Self>, _: Option<&Deployed>) -> Result<()> {
        match fs::remove_dir_all(machine(spec)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn restart(&self, spec: &SpecOf<Self>, _: &Deployed) -> Result<()> {
        Ok(fs::write(machine(spec).join("restarted"), "")?)
    }

    fn find(&self, label: &str, like: Option<&SpecOf<Self>>) -> Result<Vec<Found>> {
        let shelf = like.map(|spec| spec.directory.join(&spec.parameters.shelf));
        let machines = shelf.map(fs::read_dir).transpose()?;
        let machines = machines.into_iter().flatten().flatten();
        let names = machines.map(|machine| machine.file_name().to_string_lossy().into_owned());
        let ours = names.filter(|name| name.starts_with(&format!("{label}-")));
        let found = |name: String| Found::new(&name, format!("machine `{name}`"));
        Ok(ours.map(found).collect())
    }
}

/// The folder that is a machine.
fn machine(spec: &SpecOf<Lab>) -> PathBuf {
    let shelf = spec.directory.join(&spec.parameters.shelf);
    shelf.join(&spec.unique)
}
