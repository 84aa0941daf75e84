//! The keys of a target about preparation, deploy retries and dirty instances, checked together.

use std::{
    collections::BTreeMap,
    ops::{Range, RangeInclusive},
    sync::Arc,
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use toml::Spanned;

use super::{
    PlatformSyntax,
    around::{self, AroundTests},
    diagnostic::{Problem, Problems},
    env::Env,
    files,
    recipe::Recipe,
    schema::{Common, MOST_RETRIES, OnDirtyWritten},
    wait::Wait,
};

/// The lifecycle of a target's instances, apart from the platform's part.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lifecycle {
    /// The recipe that is run on a fresh instance.
    #[serde(serialize_with = "name_of")]
    pub recipe: Option<Arc<Recipe>>,
    /// Environment variables of the recipe, above its own.
    #[serde(skip_serializing_if = "Env::is_empty")]
    pub recipe_env: Env,
    /// Conditions to wait for after a fresh instance is reachable.
    pub wait: Vec<Wait>,
    /// The maximum time until a fresh instance is reachable.
    #[serde(serialize_with = "text_of")]
    pub ready_timeout: Duration,
    /// The number of retries of a failed deploy.
    pub retries: u32,
    /// The cleaning of a dirty instance on an existing machine; `None` only kills the processes a test left running.
    pub on_dirty: Option<OnDirty>,
    /// The verdict of a test under which the system crashes. Default: fail.
    #[serde(skip_serializing_if = "is_fail")]
    pub on_crash: CountsAs,
    /// The verdict of a test whose instance does not boot. Default: infra.
    #[serde(skip_serializing_if = "is_infra")]
    pub on_boot_failure: CountsAs,
    /// The actions around each test.
    #[serde(flatten)]
    pub around: AroundTests,
}

/// The verdict of a test for the end of its system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CountsAs {
    /// The test's finding: verdict `crash`, a failure.
    Fail,
    /// The machine's fault.
    Infra,
}

fn is_fail(counts: &CountsAs) -> bool {
    *counts == CountsAs::Fail
}

fn is_infra(counts: &CountsAs) -> bool {
    *counts == CountsAs::Infra
}

/// The cleaning of a dirty instance on a machine that the platform did not create.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDirty {
    /// Reboots the instance.
    Reboot,
    /// Runs this recipe.
    Clean(#[serde(serialize_with = "name")] Arc<Recipe>),
    /// Keeps the instance out of use until a person has examined it.
    Hold,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            recipe: None,
            recipe_env: Env::new(),
            wait: Vec::new(),
            ready_timeout: Duration::from_secs(5 * 60),
            retries: 1,
            on_dirty: None,
            on_crash: CountsAs::Fail,
            on_boot_failure: CountsAs::Infra,
            around: AroundTests::default(),
        }
    }
}

impl Lifecycle {
    /// The keys that are part of the definition, with their values.
    pub(super) fn keys(&self) -> Vec<(&'static str, Value)> {
        let mut keys = Vec::new();
        if let Some(recipe) = &self.recipe {
            let steps = serde_json::to_value(&recipe.steps).unwrap_or_default();
            keys.push(("recipe.steps", steps));
            let env: BTreeMap<_, _> = recipe.env.iter().chain(&self.recipe_env).collect();
            if !env.is_empty() {
                keys.push(("recipe.env", serde_json::to_value(env).unwrap_or_default()));
            }
            let sources: Vec<_> = recipe
                .steps
                .iter()
                .filter_map(|step| step.source())
                .collect();
            if !sources.is_empty() {
                let digest = files::digest(&recipe.directory, &sources);
                keys.push(("recipe.files", Value::from(digest)));
            }
        }
        if !self.wait.is_empty() {
            keys.push(("wait", serde_json::to_value(&self.wait).unwrap_or_default()));
        }
        keys
    }
}

/// Takes the keys of this file out of the common keys and checks them.
pub(super) fn check(
    common: &mut Common,
    platform: &dyn PlatformSyntax,
    recipes: &BTreeMap<String, Arc<Recipe>>,
    problems: &mut Problems<'_>,
) -> Lifecycle {
    let default = Lifecycle::default();
    let named = |name: Option<Spanned<String>>, problems: &mut Problems<'_>| {
        let name = name?;
        let recipe = recipes.get(name.get_ref());
        if recipe.is_none() {
            let known: Vec<&str> = recipes.keys().map(String::as_str).collect();
            let (at, name) = (name.span(), name.get_ref());
            problems.add(Problem::unknown("recipe", name, at, &known));
        }
        recipe.cloned()
    };
    let recipe = named(common.recipe.take(), problems);
    let clean_at = common.clean.as_ref().map(Spanned::span);
    let clean = named(common.clean.take(), problems);
    let on_dirty = common.on_dirty.take();
    if let (Some(at), None | Some(OnDirtyWritten::Reboot | OnDirtyWritten::Hold)) = (
        &clean_at,
        on_dirty.as_ref().map(|written| *written.get_ref()),
    ) {
        problems.add(Problem::new(
            "`clean` requires `on-dirty = \"clean\"`",
            at.clone(),
        ));
    }
    Lifecycle {
        recipe,
        recipe_env: common.recipe_env.take().unwrap_or_default(),
        around: around::check(common, platform, problems),
        wait: common.wait.take().unwrap_or_default(),
        ready_timeout: common
            .ready_timeout
            .take()
            .map_or(default.ready_timeout, |limit| limit.0),
        retries: check_number("retries", common.retries.take(), 0..=MOST_RETRIES, problems)
            .unwrap_or(default.retries),
        on_crash: common.on_crash.take().unwrap_or(default.on_crash),
        on_boot_failure: check_on_boot_failure(common.on_boot_failure.take(), platform, problems)
            .unwrap_or(default.on_boot_failure),
        on_dirty: check_on_dirty(
            on_dirty,
            clean_at.is_some().then_some(clean),
            platform,
            problems,
        ),
    }
}

/// Checks that a number is in a range.
pub(super) fn check_number(
    key: &str,
    written: Option<Spanned<i64>>,
    range: RangeInclusive<u32>,
    problems: &mut Problems<'_>,
) -> Option<u32> {
    let written = written?;
    let value = u32::try_from(*written.get_ref()).ok();
    let value = value.filter(|value| range.contains(value));
    if value.is_none() {
        let (least, most) = range.into_inner();
        let message = format!("invalid {key} `{}`", written.get_ref());
        let label = format!("must be an integer from {least} to {most}");
        problems.add(Problem::new(message, written.span()).label(label));
    }
    value
}

/// The problem of a key that the platform does not support.
fn unsupported(key: &str, platform: &dyn PlatformSyntax, at: Range<usize>, why: &str) -> Problem {
    let name = platform.name();
    Problem::new(format!("platform `{name}` does not support `{key}`"), at).label(why)
}

/// Checks that the platform boots the machines.
fn check_on_boot_failure(
    written: Option<Spanned<CountsAs>>,
    platform: &dyn PlatformSyntax,
    problems: &mut Problems<'_>,
) -> Option<CountsAs> {
    let written = written?;
    if platform.machines_stay() {
        let why = "its machines are up already";
        problems.add(unsupported(
            "on-boot-failure",
            platform,
            written.span(),
            why,
        ));
    }
    Some(*written.get_ref())
}

/// Checks `on-dirty`. `clean` is `None` if the key is absent, and `Some(None)` if it names an unknown recipe.
fn check_on_dirty(
    written: Option<Spanned<OnDirtyWritten>>,
    clean: Option<Option<Arc<Recipe>>>,
    platform: &dyn PlatformSyntax,
    problems: &mut Problems<'_>,
) -> Option<OnDirty> {
    let written = written?;
    if !platform.machines_stay() {
        let why = "a dirty instance is deleted and deployed again";
        problems.add(unsupported("on-dirty", platform, written.span(), why));
        return None;
    }
    match (written.get_ref(), clean) {
        (OnDirtyWritten::Reboot, _) => Some(OnDirty::Reboot),
        (OnDirtyWritten::Hold, _) => Some(OnDirty::Hold),
        (OnDirtyWritten::Clean, Some(recipe)) => recipe.map(OnDirty::Clean),
        (OnDirtyWritten::Clean, None) => {
            let problem = Problem::new("`on-dirty = \"clean\"` requires `clean`", written.span());
            problems.add(problem.hint("set `clean` to the name of a recipe"));
            None
        }
    }
}

fn name_of<S: Serializer>(recipe: &Option<Arc<Recipe>>, to: S) -> Result<S::Ok, S::Error> {
    recipe.as_ref().map(|recipe| &recipe.name).serialize(to)
}

fn name<S: Serializer>(recipe: &Arc<Recipe>, to: S) -> Result<S::Ok, S::Error> {
    recipe.name.serialize(to)
}

fn text_of<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_duration(*duration))
}
