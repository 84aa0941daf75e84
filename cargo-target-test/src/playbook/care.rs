//! How an instance of a target is brought to serve, and what happens when it cannot any more.
//!
//! Owns the keys for that, checked together. Must not do any of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Serialize, Serializer};
use serde_json::Value;
use toml::Spanned;

use super::{
    PlatformSyntax,
    diagnostic::{Problem, Problems},
    files,
    recipe::Recipe,
    schema::{Common, MOST_RETRIES, OnDirtyWritten},
    wait::Wait,
};

/// What is done for an instance, beside what its platform does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Care {
    /// What is run on a fresh one before it serves.
    #[serde(serialize_with = "name_of")]
    pub recipe: Option<Arc<Recipe>>,
    /// What a fresh one is waited for, once it answers.
    pub wait: Vec<Wait>,
    /// How long a fresh one may take to answer.
    #[serde(serialize_with = "text_of")]
    pub ready_timeout: Duration,
    /// How often a failed deploy is tried again.
    pub retries: u32,
    /// What happens to a dirty one that the platform did not make; `None`: it is only swept.
    pub on_dirty: Option<OnDirty>,
}

/// What happens to a dirty instance on a machine that the platform did not make.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDirty {
    /// It is rebooted.
    Reboot,
    /// This recipe is run.
    Clean(#[serde(serialize_with = "name")] Arc<Recipe>),
    /// It serves nobody until somebody has looked at it.
    Hold,
}

impl Default for Care {
    fn default() -> Self {
        Self {
            recipe: None,
            wait: Vec::new(),
            ready_timeout: Duration::from_secs(5 * 60),
            retries: 1,
            on_dirty: None,
        }
    }
}

impl Care {
    /// What of it makes instances differ.
    pub(super) fn keys(&self) -> Vec<(&'static str, Value)> {
        let mut keys = Vec::new();
        if let Some(recipe) = &self.recipe {
            let steps = serde_json::to_value(&recipe.steps).unwrap_or_default();
            keys.push(("recipe.steps", steps));
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

/// Takes these keys out of the common ones.
pub(super) fn check(
    common: &mut Common,
    platform: &dyn PlatformSyntax,
    recipes: &BTreeMap<String, Arc<Recipe>>,
    problems: &mut Problems<'_>,
) -> Care {
    let default = Care::default();
    let named = |name: Option<Spanned<String>>, problems: &mut Problems<'_>| {
        let name = name?;
        let recipe = recipes.get(name.get_ref());
        if recipe.is_none() {
            let known: Vec<&str> = recipes.keys().map(String::as_str).collect();
            problems.add(Problem::unknown(
                "recipe",
                name.get_ref(),
                name.span(),
                &known,
            ));
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
            "`clean` is for `on-dirty = \"clean\"`",
            at.clone(),
        ));
    }
    Care {
        recipe,
        wait: common.wait.take().unwrap_or_default(),
        ready_timeout: common
            .ready_timeout
            .take()
            .map_or(default.ready_timeout, |limit| limit.0),
        retries: check_retries(common.retries.take(), problems).unwrap_or(default.retries),
        on_dirty: check_on_dirty(
            on_dirty,
            clean_at.is_some().then_some(clean),
            platform,
            problems,
        ),
    }
}

fn check_retries(retries: Option<Spanned<i64>>, problems: &mut Problems<'_>) -> Option<u32> {
    let retries = retries?;
    let value = u32::try_from(*retries.get_ref()).ok();
    let value = value.filter(|value| *value <= MOST_RETRIES);
    if value.is_none() {
        let problem = Problem::new(
            format!("bad retries `{}`", retries.get_ref()),
            retries.span(),
        );
        problems.add(problem.label(format!("must be a whole number from 0 to {MOST_RETRIES}")));
    }
    value
}

/// `clean`: whether it was written, and the recipe it names, if there is one.
fn check_on_dirty(
    written: Option<Spanned<OnDirtyWritten>>,
    clean: Option<Option<Arc<Recipe>>>,
    platform: &dyn PlatformSyntax,
    problems: &mut Problems<'_>,
) -> Option<OnDirty> {
    let written = written?;
    if !platform.machines_stay() {
        let name = platform.name();
        let problem = Problem::new(
            format!("`on-dirty` means nothing on platform `{name}`"),
            written.span(),
        );
        problems.add(problem.label("a dirty instance is deleted there, and deployed anew"));
        return None;
    }
    match (written.get_ref(), clean) {
        (OnDirtyWritten::Reboot, _) => Some(OnDirty::Reboot),
        (OnDirtyWritten::Hold, _) => Some(OnDirty::Hold),
        (OnDirtyWritten::Clean, Some(recipe)) => recipe.map(OnDirty::Clean),
        (OnDirtyWritten::Clean, None) => {
            let problem = Problem::new("`on-dirty = \"clean\"` needs `clean`", written.span());
            problems.add(problem.hint("`clean` names the recipe that does it"));
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
