//! The playbook: finds, reads, checks and resolves the file that describes the targets.

// Must not know tests, pools, nextest or how platforms create machines; each platform is passed in as a
// [`PlatformSyntax`].

mod around;
mod criteria;
mod definition;
mod description;
mod diagnostic;
mod embedded;
mod env;
mod environments;
mod expression;
mod files;
mod find;
mod include;
mod json_schema;
mod lifecycle;
mod limit;
mod names;
mod nearest;
mod orchestration;
mod overlay;
mod overrides;
mod params;
mod platform_keys;
mod reading;
mod recipe;
mod reference;
mod reports;
mod resolve;
mod scenario;
mod schema;
mod set;
mod share;
mod source;
mod tables;
mod variants;
mod wait;
mod written;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use target_fixtures::metadata::ProcessPlace;

pub(crate) use self::definition::{flatten, is_inside, toml_key};
pub(crate) use self::description::without_description;
pub(crate) use self::diagnostic::list;
pub(crate) use self::files::{is_excluded, resolve as resolve_path, without_parents};
pub(crate) use self::find::shown as shown_path;
pub(crate) use self::nearest::{did_you_mean, meant};
pub(crate) use self::scenario::{nearest_or_all, unknown as unknown_name};
pub(crate) use self::tables::{BUILT_IN as BUILT_IN_MODES, known_modes};
pub use self::{
    around::{AroundTests, BuiltInCheck, HealthCheck, OnFinding, OwnCheck},
    criteria::{Priorities, Rule, Texts, Times},
    definition::Definition,
    description::{
        DescribedEvent, Description, Descriptions, FailMode, KnownEvents, description_schema,
    },
    env::{Env, EnvName},
    environments::{
        ENVIRONMENT, EnvironmentNetwork, EnvironmentParameters, MachineNetwork, PlaybookRole,
        RoleMachine,
    },
    expression::{Expression, parse as parse_expression},
    find::find,
    json_schema::schema,
    lifecycle::{CountsAs, Lifecycle, OnDirty},
    limit::Limit,
    orchestration::OrchestrationSettings,
    overlay::Origin,
    overrides::Override,
    recipe::{Recipe, Step, StepSource},
    reference::KeyReference,
    reports::{NotifyOn, NotifySettings, ReportSettings},
    scenario::{Mode, Scenario, chosen as chosen_scenarios, matches, staged},
    schema::{HistorySettings, OnTargetSettings, PoolSettings, Select, Store},
    share::Share,
    tables::{Defaults, MetadataKey, MetadataSettings, Rules},
    variants::TestVariant,
    wait::{Pattern, Wait},
};
use self::{
    diagnostic::{Problem, Problems},
    include::Gathered,
    source::Sources,
};
use crate::{
    case::reason::ExclusionReason,
    error::{Error, ErrorKind, Result},
};

/// A checked and resolved playbook.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Playbook {
    /// Absolute path of the file; `None` for the embedded playbook.
    pub path: Option<PathBuf>,
    /// Absolute base of relative paths in parameters: the file's folder, or the current folder for the embedded
    /// playbook.
    pub directory: PathBuf,
    /// The tests that are multiplied by the targets.
    pub select: Select,
    /// The `[pool]` table.
    pub pool: PoolSettings,
    /// The `[report]` table.
    pub report: ReportSettings,
    /// The `[notify]` table.
    pub notify: NotifySettings,
    /// The `[history]` table; its path is absolute.
    #[serde(skip_serializing_if = "HistorySettings::is_default")]
    pub history: HistorySettings,
    /// The `[on-target]` table.
    #[serde(skip_serializing_if = "OnTargetSettings::is_default")]
    pub on_target: OnTargetSettings,
    /// The `[orchestration]` table.
    #[serde(skip_serializing_if = "OrchestrationSettings::is_default")]
    pub orchestration: OrchestrationSettings,
    /// The recipes, by name.
    pub recipes: BTreeMap<String, Recipe>,
    /// The tables about tests.
    #[serde(flatten)]
    pub rules: Rules,
    /// The targets, in the order of the file; never empty.
    pub targets: Vec<PlaybookTarget>,
    /// The texts it was read from.
    #[serde(skip)]
    texts: Arc<Sources>,
}

impl PlaybookTarget {
    /// The names of the machines of an environment, in the order of its roles.
    pub(crate) fn machines(&self) -> impl Iterator<Item = String> {
        self.roles.iter().flat_map(PlaybookRole::machines)
    }

    /// The names of the machines that `name` stands for: a machine, or a role of several.
    pub(crate) fn machines_of(&self, name: &str) -> impl Iterator<Item = String> {
        let of_role = move |role: &PlaybookRole| {
            let is_role = role.role == name;
            let machines = role
                .machines()
                .filter(move |machine| is_role || machine == name);
            machines.collect::<Vec<_>>()
        };
        self.roles.iter().flat_map(of_role)
    }

    /// Checks that a test process can run there: a role needs one machine.
    pub(crate) fn check_place(&self, place: &ProcessPlace) -> Result<(), ExclusionReason> {
        let ProcessPlace::Role(role) = place else {
            return Ok(());
        };
        let machines: Vec<_> = self.machines_of(role).collect();
        match machines.len() {
            0 => Err(ExclusionReason::MissingRoles {
                missing: vec![role.clone()],
                target: self.name.clone(),
                has: self.machines().collect(),
            }),
            1 => Ok(()),
            _ => Err(ExclusionReason::SeveralMachines {
                role: role.clone(),
                target: self.name.clone(),
                machines,
            }),
        }
    }

    /// The problem of a test process that is to run there, if any.
    fn place_problem(&self, place: &ProcessPlace, span: Range<usize>) -> Option<Problem> {
        let reason = self.check_place(place).err()?;
        let hint = self.similar_place(place);
        Some(Problem::new(format!("`runs-on` {reason}"), span).or_hint(hint))
    }

    /// The hint with a place whose name is similar, if any.
    pub(crate) fn similar_place(&self, place: &ProcessPlace) -> Option<String> {
        let machines: Vec<_> = self.machines().collect();
        let machines = machines.iter().map(String::as_str);
        let known: Vec<_> = machines.chain(["host", "target"]).collect();
        did_you_mean(&String::from(place.clone()), &known)
    }

    /// The name in the playbook's file, which several scenarios may share.
    pub(crate) fn written_name(&self) -> &str {
        self.label.rsplit('/').next().unwrap_or(&self.name)
    }
}

impl Playbook {
    /// Shows the place of an error in a target's table that is found on disk, with its line and a caret.
    pub(crate) fn in_target(&self, target: &PlaybookTarget, error: Error) -> Error {
        let place = |key: &str| target.places.get(key).cloned();
        // A key that is not in the file is in a table that is.
        let mut keys = std::iter::successors(error.key(), |key| Some(key.rsplit_once('.')?.0));
        let place = keys.find_map(place).or_else(|| place("name"));
        match (error.kind(), place) {
            (ErrorKind::Playbook, Some(place)) => self.at(&error.chain(), error.hint(), place),
            _ => error,
        }
    }

    /// Returns 16 hex digits that change with the texts of the playbook, with `--set`, and with files of recipes.
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new_with_prefix(self.texts.all());
        for target in &self.targets {
            hasher.update(&target.definition.hash);
        }
        definition::short_hash(hasher)
    }

    /// Shows an error at its place.
    pub(crate) fn at(&self, message: &str, hint: Option<&str>, place: Range<usize>) -> Error {
        let mut problems = Problems::new(&self.texts);
        problems.add(Problem::new(message, place).or_hint(hint.map(str::to_owned)));
        problems.error()
    }
}

/// A resolved target: the platform's defaults, `[platforms.X]`, the target's table and `--set`, lowest precedence
/// first.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlaybookTarget {
    /// The name, unique in the playbook: `[A-Za-z0-9][A-Za-z0-9._-]*`, not ending in `-<digits>`.
    pub name: String,
    /// Absolute base of relative paths in its parameters: the folder of the file that contains its table.
    #[serde(skip)]
    pub directory: PathBuf,
    /// The name for users: `name`, or `scenario/name` if several scenarios of the run include it.
    #[serde(skip)]
    pub label: String,
    /// The scenario this target was made for, if any.
    #[serde(skip)]
    pub scenario: Option<String>,
    /// The name of the platform.
    pub platform: &'static str,
    /// The maximum number of instances at a time; at least 1.
    pub count: u32,
    /// Features, sorted and without duplicates.
    pub features: Vec<String>,
    /// Relative cost, used to choose the cheapest target that fits. Finite and not negative; 1 by default.
    pub cost: f64,
    /// Capabilities as text (`memory` -> `8 GiB`), from `capabilities` or else derived from the parameters.
    pub capabilities: BTreeMap<String, String>,
    /// Capabilities that the platform guarantees; they are not probed on the instance.
    #[serde(skip)]
    pub assured: BTreeSet<String>,
    /// The maximum number of spare instances beyond `count`, kept ready to replace used ones.
    pub max_spares: u32,
    /// The triple that programs of tests are built for; `None` for the one of the tests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub triple: Option<String>,
    /// Preparation, retries and cleaning of instances.
    #[serde(flatten)]
    pub lifecycle: Lifecycle,
    /// True if the machines exist before and after the pool.
    #[serde(skip)]
    pub machines_stay: bool,
    /// The roles of an environment, in the order of the file; empty for a target of single machines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<PlaybookRole>,
    /// The parameters as the platform returns them: an object with defaults filled in, paths as written, and
    /// references in place of secret values ([`crate::secret`]).
    pub parameters: Value,
    /// Decides which existing instances can serve this target.
    pub definition: Definition,
    /// The meanings of the values of `params`, by dotted key, if the playbook describes them.
    #[serde(skip)]
    pub param_docs: BTreeMap<String, String>,
    /// The layer each key came from (dotted keys for merged tables); a key with the platform's default is absent.
    pub origins: BTreeMap<String, Origin>,
    /// The position of the value of each key in the playbook's texts, by dotted key.
    #[serde(skip)]
    pub(crate) places: BTreeMap<String, Range<usize>>,
}

/// The parts of a platform that reading a playbook needs.
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

    /// True if a dirty instance is kept and cleaned according to `on-dirty`, instead of deleted and deployed again.
    fn machines_stay(&self) -> bool;

    /// True if the instances use the kernel of this host. False by default.
    fn shares_kernel(&self) -> bool {
        false
    }

    /// The number of instances of a target without `count`; `None`: 1.
    fn count(&self, parameters: &Value) -> Option<u32>;

    /// The JSON Schema of the parameters; its `properties` are the known keys.
    fn schema(&self) -> schemars::Schema;
}

/// Returns the path of the history that a playbook sets, which may be invalid otherwise; `None` if it sets none or cannot
/// be read.
pub fn history_path(path: &Path) -> Option<PathBuf> {
    let Gathered { sources, files, .. } = include::gather(path).ok()?;
    let mut problems = Problems::new(&sources);
    written::parse(&sources, &files, &mut problems).history.path
}

/// Reads and resolves the playbook at `path` and the files it includes. `None` loads the embedded playbook, a single
/// target `local`. Each of `sets` (`targets.NAME.key=value`) overrides one value; the last one wins.
///
/// # Errors
/// [`ErrorKind::Playbook`] with every problem in the files, each with its line and a
/// caret, rendered as text that continues `error: `;
/// [`ErrorKind::Usage`] if a `--set` is malformed or names an unknown target.
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
        None => include::alone(Sources::new(
            "embedded playbook".to_owned(),
            embedded::PLAYBOOK,
        ))?,
    };
    let sets: Vec<_> = sets.iter().map(|set| sources.add("--set", set)).collect();

    let mut problems = Problems::new(&sources);
    for problem in found {
        problems.add_unreadable(problem);
    }
    let mut written = written::parse(&sources, &files, &mut problems);
    if problems.has_unreadable() {
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
    let (report, notify) = (written.report.clone(), written.notify.clone());
    let (recipes, history) = (written.recipes.clone(), written.history.clone());
    let on_target = written.on_target.clone();
    let orchestration = written.orchestration.clone();
    let rules = std::mem::take(&mut written.rules);
    rules.check(&recipes, written.target_names().as_deref(), &mut problems);
    let targets = resolve::resolve(written, overrides, platforms, &mut problems);
    problems.check()?;
    rules.check_places(&targets, &mut problems);
    problems.check()?;
    Ok(Playbook {
        path,
        directory,
        select,
        pool,
        report,
        notify,
        history,
        on_target,
        orchestration,
        recipes,
        rules: rules.rules,
        targets,
        texts: Arc::new(sources),
    })
}

#[cfg(test)]
mod tests;
