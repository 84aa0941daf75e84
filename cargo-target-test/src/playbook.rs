//! The playbook: which targets there are, as the user wrote it and as it is meant.
//!
//! Owns finding, reading, checking and resolving the file, and the names and definitions that come
//! out of it. Must not know how machines are made (platforms come in as [`PlatformSyntax`]), nor
//! anything of tests, pools or nextest.

mod care;
mod criteria;
mod definition;
mod diagnostic;
mod expression;
mod files;
mod find;
mod include;
mod json_schema;
mod limit;
mod names;
mod overlay;
mod overrides;
mod platform_keys;
mod reading;
mod recipe;
mod resolve;
mod scenario;
mod schema;
mod set;
mod source;
mod tables;
mod wait;
mod written;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::Value;

pub(crate) use self::definition::toml_key;
pub(crate) use self::diagnostic::did_you_mean;
pub(crate) use self::files::resolve as resolve_path;
pub(crate) use self::scenario::{nearest, unknown as unknown_name};
pub(crate) use self::tables::{BUILT_IN as BUILT_IN_MODES, known_modes};
pub use self::{
    care::{Care, OnDirty},
    criteria::{Priorities, Rule, Texts, Times},
    definition::Definition,
    expression::{Expression, parse as parse_expression},
    find::find,
    json_schema::schema,
    limit::Limit,
    overlay::Origin,
    overrides::Override,
    recipe::{Recipe, Step},
    scenario::{Mode, Scenario, chosen as chosen_scenarios, matches, staged},
    schema::{PoolSettings, Select, Store},
    tables::{MetadataKey, MetadataSettings, Rules},
    wait::{Condition, Pattern, Wait},
};
use self::{diagnostic::Problems, include::Gathered, source::Sources};
use crate::error::Result;

/// What is used where there is no playbook: every test runs on this machine.
const EMBEDDED: &str = "[[targets]]\nname = \"local\"\nplatform = \"local\"\n";

/// A playbook, checked and resolved.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Playbook {
    /// The file, absolute; `None`: the embedded one.
    pub path: Option<PathBuf>,
    /// Where relative paths in parameters start: the file's folder, else the current one. Absolute.
    pub directory: PathBuf,
    /// Which tests are multiplied.
    pub select: Select,
    /// What it says of the pool.
    pub pool: PoolSettings,
    /// By name.
    pub recipes: BTreeMap<String, Recipe>,
    /// What it says of tests.
    #[serde(flatten)]
    pub rules: Rules,
    /// In the order of the file, at least one.
    pub targets: Vec<Target>,
}

/// A target as resolved: platform's defaults, `[platforms.X]`, the target and `--set`, in this order.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// Unique in the playbook: `[A-Za-z0-9][A-Za-z0-9._-]*`, not ending in `-<digits>`.
    pub name: String,
    /// Where relative paths in its parameters start: the folder of the file that has its table. Absolute.
    #[serde(skip)]
    pub directory: PathBuf,
    /// What stands in the brackets of its cases: the name, or `scenario/name`.
    #[serde(skip)]
    pub label: String,
    /// The scenario that it is a part of, if any.
    #[serde(skip)]
    pub scenario: Option<String>,
    /// The platform's name.
    pub platform: &'static str,
    /// The most instances there may be at once, at least 1.
    pub count: u32,
    /// Sorted, without duplicates.
    pub features: Vec<String>,
    /// For "cheapest that fits": finite, not negative, 1 when not given.
    pub cost: f64,
    /// What the target offers, as text: `memory` -> `8 GiB`. Declared, or what its parameters come to.
    pub capabilities: BTreeMap<String, String>,
    /// Those of them that the platform sees to: an instance is not asked for these.
    #[serde(skip)]
    pub assured: BTreeSet<String>,
    /// How many instances beyond `count` stand ready for those that a test spends.
    pub max_spares: u32,
    /// How its instances are brought to serve.
    #[serde(flatten)]
    pub care: Care,
    /// The platform's answer: an object with the defaults filled in, paths as written, and references where
    /// values are secret ([`crate::secret`]).
    pub parameters: Value,
    /// What makes its instances interchangeable.
    pub definition: Definition,
    /// Which layer gave a key (dotted where tables were merged); absent: the platform's default.
    pub origins: BTreeMap<String, Origin>,
}

/// A platform as the playbook sees it.
pub trait PlatformSyntax: Send + Sync {
    /// The name in playbooks: `ssh`.
    fn name(&self) -> &'static str;

    /// Part of every definition.
    fn version(&self) -> u32;

    /// Checks a target's parameters (all layers merged, common keys taken out). Returns an object with the defaults
    /// filled in; paths stay as written.
    ///
    /// # Errors
    /// The error with its span.
    fn parameters(&self, table: toml::de::ValueDeserializer<'_>) -> Result<Value, toml::de::Error>;

    /// Capabilities of every instance with these parameters, by requirement.
    fn capabilities(&self, parameters: &Value) -> BTreeMap<String, String>;

    /// True if machines outlive their instances, so that a target may say what happens to a dirty one.
    fn machines_stay(&self) -> bool;

    /// The number of instances of a target without `count`; `None`: 1.
    fn count(&self, parameters: &Value) -> Option<u32>;

    /// The JSON Schema of the parameters; its `properties` are the known keys.
    fn schema(&self) -> schemars::Schema;
}

/// Reads and resolves the playbook at `path` and all that it includes (`None`: the embedded one, a single target
/// `local`), with `sets` (`targets.NAME.key=value`, later ones win) on top.
///
/// # Errors
/// [`ErrorKind::Playbook`](crate::ErrorKind::Playbook) with everything that is wrong in the file,
/// each with its line and a caret, rendered as text that continues `error: `;
/// [`ErrorKind::Usage`](crate::ErrorKind::Usage) where a `--set` is malformed or names no target.
pub fn load(
    path: Option<&Path>,
    sets: &[String],
    platforms: &[&dyn PlatformSyntax],
) -> Result<Playbook> {
    let Gathered {
        mut sources,
        files,
        problems: found,
        ..
    } = match path {
        Some(path) => include::gather(path)?,
        None => include::alone(Sources::new("embedded playbook".to_owned(), EMBEDDED))?,
    };
    let sets: Vec<_> = sets.iter().map(|set| sources.add("--set", set)).collect();

    let mut problems = Problems::new(&sources);
    found.into_iter().for_each(|problem| problems.lose(problem));
    let mut written = written::parse(&sources, &files, &mut problems);
    if problems.lost() {
        problems.check()?;
    }
    let overrides =
        set::parse(&sources, &sets, &written).or_else(|error| problems.check().and(Err(error)))?;
    let path = path.map(std::path::absolute).transpose()?;
    let directory = match path.as_deref().and_then(Path::parent) {
        Some(parent) => parent.to_owned(),
        None => std::env::current_dir()?,
    };
    let (select, pool) = (written.select, written.pool.clone());
    let recipes = written.recipes.clone();
    let rules = std::mem::take(&mut written.rules);
    rules.check(&recipes, written.target_names().as_deref(), &mut problems);
    let targets = resolve::resolve(written, overrides, platforms, &mut problems);
    problems.check()?;
    Ok(Playbook {
        path,
        directory,
        select,
        pool,
        recipes,
        rules: rules.without_places(),
        targets,
    })
}

#[cfg(test)]
mod tests;
