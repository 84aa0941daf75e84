//! `[environments.NAME]`: machines in roles and the networks between them, resolved to one target whose instances are
//! whole environments.
//!
//! Must not know how machines and networks are created.

mod networks;

use std::{collections::BTreeMap, num::NonZeroU64, ops::Range, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use target_fixtures::metadata::{CollectWhen, ProcessPlace};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use self::networks::{NetworkTable, NetworksWritten, NicWritten, RoleNetwork};
use super::{
    CountsAs, Definition, Lifecycle, Limit, Origin, PlaybookTarget,
    diagnostic::{Problem, Problems},
    lifecycle::check_number,
    names::{valid_name, wrong_name},
    nearest::did_you_mean,
    overlay::Layers,
    reading::{attempt, read, table},
    resolve::{Entry, TargetContext, check_cost, check_features},
    schema::{MOST_INSTANCES, MOST_SPARES, PlaceSchema},
    written::RawTable,
};

/// The platform of environments. It creates each machine by the machine's own platform.
pub const ENVIRONMENT: &str = "environment";

/// The maximum number of machines of a role.
const MOST_MACHINES: u32 = 100;

/// The keys of `[environments.NAME]`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct EnvironmentTable {
    /// The maximum number of environments at a time: `lan-0`, `lan-1`. Default: 1.
    #[schemars(with = "u32", range(min = 1, max = MOST_INSTANCES))]
    count: Option<Spanned<i64>>,
    /// Named capabilities of the whole environment, besides those that each of its machines has.
    #[schemars(with = "Vec<String>")]
    features: Option<Vec<Spanned<String>>>,
    /// The relative cost. Default: the sum of its machines.
    #[schemars(with = "f64", range(min = 0))]
    cost: Option<Spanned<f64>>,
    /// The number of spare environments beyond `count`. Default: 0.
    #[schemars(range(max = MOST_SPARES))]
    max_spares: Option<u16>,
    /// The place of processes of its tests: `"host"` (the default), `"target"`, the first machine, or a role: `"gateway"`.
    #[schemars(with = "PlaceSchema")]
    runs_on: Option<Spanned<ProcessPlace>>,
    /// The machines, by role.
    #[schemars(with = "BTreeMap<String, RoleTable>")]
    roles: Option<toml::Value>,
    /// The networks between the machines, by name.
    #[schemars(with = "BTreeMap<String, NetworkTable>")]
    networks: Option<toml::Value>,
}

/// The keys of `[environments.NAME.roles.ROLE]`, besides those of a target.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct RoleTable {
    /// The name of a target whose definition the role has; keys of the role override those of the target. Instead of
    /// `platform`.
    #[schemars(with = "String")]
    target: Option<String>,
    /// The networks that the machines are connected to, one interface for each.
    #[schemars(with = "Vec<NicSchema>")]
    networks: Option<Vec<NicSchema>>,
    /// The number of machines. A role of several names them by number: `tester1`, `tester2`. Default: 1.
    #[schemars(with = "u32", range(min = 1, max = MOST_MACHINES))]
    count: Option<u32>,
}

/// The name of a network, or a table with further keys.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum NicSchema {
    Name(String),
    Keys(NicWritten),
}

/// A role of an environment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlaybookRole {
    /// The name: `tester`.
    pub role: String,
    /// The definition of its machines; `count` is their number.
    #[serde(flatten)]
    pub target: PlaybookTarget,
}

impl PlaybookRole {
    /// The names of the machines: that of the role, or `tester1`, `tester2` if there are several.
    pub fn machines(&self) -> impl Iterator<Item = String> + '_ {
        let count = self.target.count;
        (1..=count).map(move |number| match count {
            1 => self.role.clone(),
            _ => format!("{}{number}", self.role),
        })
    }
}

/// The parameters of an environment's instances: its machines and networks, resolved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EnvironmentParameters {
    /// The machines, in the order of the roles.
    #[serde(default)]
    pub machines: Vec<RoleMachine>,
    /// The networks between them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<EnvironmentNetwork>,
}

/// A machine of an environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RoleMachine {
    /// The name, unique in the environment: `gateway`, `tester1`.
    pub name: String,
    /// The role: `gateway`, `tester`.
    pub role: String,
    /// The name of the platform that creates it.
    pub platform: String,
    /// The absolute base of relative paths in the parameters.
    pub directory: PathBuf,
    /// The features.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// The parameters of its platform.
    pub parameters: Value,
    /// The networks that it is connected to, in the order of its interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<MachineNetwork>,
}

/// The connection of a machine to a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MachineNetwork {
    /// The network's name.
    pub network: String,
    /// The address with the length of its prefix: `10.77.0.1/24`. `None` if the interface has no address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// A network of an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EnvironmentNetwork {
    /// The name.
    pub name: String,
    /// The subnet of its addresses: `10.77.0.0/24`.
    pub subnet: String,
    /// True if the playbook sets the subnet; else any other serves as well.
    #[serde(default)]
    pub is_fixed: bool,
    /// The time that each frame takes from one machine to another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Limit>,
    /// The share of frames that are lost, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// The number of bits that each machine can send per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<NonZeroU64>,
}

/// A role of the playbook that is being checked.
struct WrittenRole {
    /// The position of its name.
    header: Range<usize>,
    role: PlaybookRole,
    networks: Vec<RoleNetwork>,
}

/// The environment that is being checked, and the targets that its roles may name.
pub(super) struct WrittenEnvironment<'a, 's> {
    pub(super) name: &'a str,
    pub(super) table: RawTable<'s>,
    pub(super) on_top: Vec<DeTable<'s>>,
    pub(super) entries: &'a [Entry<'s>],
    pub(super) targets: &'a [PlaybookTarget],
}

impl<'s> WrittenEnvironment<'_, 's> {
    /// Checks the environment; `None` if problems were added.
    pub(super) fn resolve(
        self,
        context: &TargetContext<'_, 's>,
        problems: &mut Problems<'_>,
    ) -> Option<PlaybookTarget> {
        let (name, header) = (self.name, self.table.header.clone());
        self.check_name(&header, problems);
        let mut layers = Layers::default();
        layers.add(self.table.table.clone(), Origin::Target);
        for table in &self.on_top {
            layers.add(table.clone(), Origin::Set);
        }
        let mut tables = |key: &str| {
            let value = layers.table.get(key).cloned()?;
            Some(in_order(table(value, &format!("`{key}`"), problems)?))
        };
        let (roles, networks) = (tables("roles"), tables("networks"));
        let table = Spanned::new(header.clone(), DeValue::Table(layers.table));
        let (keys, mistakes) = attempt(table, |table| EnvironmentTable::deserialize(table));
        for mistake in &mistakes {
            problems.add(Problem::toml(mistake, header.clone()));
        }
        let keys = keys.unwrap_or_default();
        let roles = roles.unwrap_or_default();
        if roles.is_empty() {
            let problem =
                Problem::new(format!("environment `{name}` has no roles"), header.clone());
            problems.add(problem.hint(format!("add `[environments.{name}.roles.NAME]`")));
        }
        let mut networks = NetworksWritten::read(networks.unwrap_or_default(), problems);
        let all = roles.into_iter().map(|(role, value)| {
            let mut role = self.role(context, &role, value, problems)?;
            networks.check(&mut role.networks, role.role.target.count, problems);
            for (key, origin) in &layers.origins {
                let key = key.strip_prefix(&format!("roles.{}.", role.role.role));
                if let (Some(key), Origin::Set) = (key, origin) {
                    role.role.target.origins.insert(key.to_owned(), *origin);
                }
            }
            Some(role)
        });
        // Every role is checked, even after a wrong one.
        let all: Vec<_> = all.collect();
        let all: Option<Vec<WrittenRole>> = all.into_iter().collect();
        let count = check_number("count", keys.count, 1..=MOST_INSTANCES, problems);
        let features = check_features(keys.features.unwrap_or_default(), problems);
        let cost = keys.cost.map(|cost| check_cost(&cost, problems));
        let all = all?;
        check_machines(name, &all, problems);
        let attached: Vec<_> = all.iter().flat_map(WrittenRole::attached).collect();
        let (networks, addresses) = networks.addresses(&attached, problems)?;
        let machines = all.iter().flat_map(WrittenRole::machines).zip(addresses);
        let machines = machines.map(|(machine, networks)| RoleMachine {
            networks,
            ..machine
        });
        let parameters = EnvironmentParameters {
            machines: machines.collect(),
            networks,
        };
        let mut places = layers.places;
        for one in &all {
            let of = |key: &str| format!("roles.{}{key}", one.role.role);
            places.insert(of(""), one.header.clone());
            // Also those of the target that the role names.
            let inner = one.role.target.places.iter();
            places.extend(inner.map(|(key, place)| (of(&format!(".{key}")), place.clone())));
        }
        let roles: Vec<_> = all.into_iter().map(|one| one.role).collect();
        places.insert("name".to_owned(), header);
        let mut environment = PlaybookTarget {
            name: name.to_owned(),
            label: name.to_owned(),
            directory: self.table.directory,
            scenario: None,
            platform: ENVIRONMENT,
            count: count.unwrap_or(1).max(1),
            features: all_have(&roles, features),
            cost: cost.unwrap_or_else(|| roles.iter().map(PlaybookRole::cost).sum()),
            capabilities: BTreeMap::new(),
            assured: Default::default(),
            max_spares: u32::from(keys.max_spares.unwrap_or(0).min(MOST_SPARES)),
            triple: None,
            lifecycle: lifecycle(&roles),
            machines_stay: false,
            parameters: serde_json::to_value(parameters).unwrap_or_default(),
            definition: Definition::default(),
            param_docs: BTreeMap::new(),
            origins: layers.origins,
            places,
            roles,
        };
        for role in &environment.roles {
            for machine in role.machines() {
                let of = |key: &String| format!("{machine}.{key}");
                let capabilities = role.target.capabilities.iter();
                let capabilities = capabilities.map(|(key, value)| (of(key), value.clone()));
                environment.capabilities.extend(capabilities);
                environment
                    .assured
                    .extend(role.target.assured.iter().map(of));
            }
        }
        if let Some(place) = keys.runs_on {
            let problem = environment.place_problem(place.get_ref(), place.span());
            problem
                .into_iter()
                .for_each(|problem| problems.add(problem));
            environment.lifecycle.around.runs_on = place.into_inner();
        }
        environment.definition = Definition::of(&environment);
        Some(environment)
    }

    /// Checks that the environment's name is valid and no target's.
    fn check_name(&self, header: &Range<usize>, problems: &mut Problems<'_>) {
        let name = self.name;
        if let Some(why) = wrong_name(name) {
            let problem =
                Problem::new(format!("invalid environment name `{name}`"), header.clone());
            let hint = valid_name(name).map(|name| format!("for example `{name}`"));
            problems.add(problem.label(why).or_hint(hint));
        }
        let target = self.targets.iter().find(|target| target.name == name);
        if let Some(first) = target.and_then(|target| target.places.get("name")) {
            let message = format!("a target and an environment are named `{name}`");
            let problem = Problem::new(message, header.clone()).label("named again here");
            problems.add(problem.second(first.clone(), "first named here"));
        }
    }

    /// Checks a role; `None` if problems were added.
    fn role(
        &self,
        context: &TargetContext<'_, 's>,
        name: &Spanned<String>,
        value: Spanned<DeValue<'s>>,
        problems: &mut Problems<'_>,
    ) -> Option<WrittenRole> {
        let (role, header) = (name.get_ref(), name.span());
        let mut own = table(value, &format!("`roles.{role}`"), problems)?;
        let is_place = ["host", "target"].contains(&role.as_str());
        let why = is_place.then_some("`runs-on` has another meaning for it");
        if let Some(why) = wrong_part(role).or(why) {
            let message = format!("invalid role name `{role}`");
            problems.add(Problem::new(message, header).label(why));
            return None;
        }
        for key in ["name", "max-spares", "runs-on"] {
            if let Some((key, _)) = own.remove_entry(key) {
                let message = format!("unknown key `{}`", key.get_ref());
                problems.add(Problem::new(message, key.span()).label("not a key of a role"));
            }
        }
        let networks = networks::read_nics(own.remove("networks"), problems);
        let target = own.remove("target");
        if !own.contains_key("count") {
            own.extend(
                DeTable::parse("count = 1")
                    .map(Spanned::into_inner)
                    .unwrap_or_default(),
            );
        }
        own.insert(
            Spanned::new(header.clone(), "name".into()),
            Spanned::new(
                header.clone(),
                DeValue::String(format!("{}.{role}", self.name).into()),
            ),
        );
        let from = target.as_ref().or(own.get("platform"));
        let from = from.map_or_else(|| header.clone(), Spanned::span);
        let mut entry = match target {
            Some(target) => self.entry_of(role, &own, target, problems)?,
            None if own.contains_key("platform") => Entry {
                header: header.clone(),
                directory: self.table.directory.clone(),
                layers: Vec::new(),
            },
            None => {
                let message = format!("role `{role}` has no `platform` and no `target`");
                let similar = own.keys().find_map(|written| {
                    let question = did_you_mean(written.get_ref(), &["platform", "target"])?;
                    Some((written.span(), question))
                });
                let problem = Problem::new(message, header);
                problems.add(match similar {
                    Some((span, question)) => problem.second(span, question),
                    None => problem.hint("set `platform`, or `target` to the name of a target"),
                });
                return None;
            }
        };
        entry.layers.push((own, Origin::Target));
        if let Some(platform) = context.existing(&entry) {
            let message =
                format!("role `{role}`: the machines of platform `{platform}` exist already");
            let problem = Problem::new(message, from);
            problems.add(problem.label("the machines of an environment are created with it"));
            return None;
        }
        let target = context.target(entry, &mut BTreeMap::new(), problems)?;
        if target.count > MOST_MACHINES {
            let message = format!("role `{role}` has more than {MOST_MACHINES} machines");
            let count = target.places.get("count").unwrap_or(&header);
            problems.add(Problem::new(message, count.clone()));
            return None;
        }
        let role = role.clone();
        Some(WrittenRole {
            header,
            role: PlaybookRole { role, target },
            networks: networks?,
        })
    }

    /// The layers of the target that a role names; `None` if problems were added.
    fn entry_of(
        &self,
        role: &str,
        own: &DeTable<'_>,
        target: Spanned<DeValue<'_>>,
        problems: &mut Problems<'_>,
    ) -> Option<Entry<'s>> {
        if let Some((key, _)) = own.get_key_value("platform") {
            let message = format!("role `{role}`: `platform` cannot be combined with `target`");
            problems.add(Problem::new(message, key.span()));
            return None;
        }
        let target = read::<Spanned<String>>(target, problems)?;
        let name = target.get_ref();
        let found = self.entries.iter().find(|entry| entry.name() == Some(name));
        if found.is_none() {
            let known: Vec<_> = self.entries.iter().filter_map(Entry::name).collect();
            let problem = Problem::unknown("target", name, target.span(), &known);
            problems.add(match known.as_slice() {
                [] => problem.label("the playbook has no `[[targets]]`"),
                _ => problem,
            });
        }
        // The problems of a wrong target are shown once.
        let is_resolved = self.targets.iter().any(|target| target.name == *name);
        found.filter(|_| is_resolved).cloned()
    }
}

impl WrittenRole {
    /// The machines, without their networks.
    fn machines(&self) -> impl Iterator<Item = RoleMachine> + '_ {
        let target = &self.role.target;
        self.role.machines().map(|name| RoleMachine {
            name,
            role: self.role.role.clone(),
            platform: target.platform.to_owned(),
            directory: target.directory.clone(),
            features: target.features.clone(),
            parameters: target.parameters.clone(),
            networks: Vec::new(),
        })
    }

    /// The networks of each machine.
    fn attached(&self) -> impl Iterator<Item = &[RoleNetwork]> {
        (0..self.role.target.count).map(|_| self.networks.as_slice())
    }
}

impl PlaybookRole {
    /// The cost of all machines.
    fn cost(&self) -> f64 {
        self.target.cost * f64::from(self.target.count)
    }
}

impl Definition {
    /// The definition of an environment: those of its roles, and its networks.
    pub(super) fn of_environment(environment: &PlaybookTarget) -> Self {
        let mut keys = BTreeMap::new();
        for role in &environment.roles {
            let definition = role.target.definition.keys.iter();
            let of = |key: &str| format!("roles.{}.{key}", role.role);
            keys.extend(definition.map(|(key, value)| (of(key), value.clone())));
            keys.insert(of("count"), role.target.count.to_string());
        }
        let parameters = EnvironmentParameters::deserialize(&environment.parameters);
        let parameters = parameters.unwrap_or_default();
        let networks = parameters.machines.iter().flat_map(|machine| {
            let of = |nic: &MachineNetwork| format!("networks.{}.{}", nic.network, machine.name);
            let address = |nic: &MachineNetwork| nic.address.clone().unwrap_or_default();
            machine
                .networks
                .iter()
                .map(move |nic| (of(nic), address(nic)))
        });
        keys.extend(networks);
        Self::of_keys(keys)
    }
}

/// The tables of a table, in the order in which they are written.
fn in_order<'s>(table: DeTable<'s>) -> Vec<(Spanned<String>, Spanned<DeValue<'s>>)> {
    let entries = table.into_iter();
    let mut entries: Vec<_> = entries
        .map(|(key, value)| {
            (
                Spanned::new(key.span(), key.into_inner().into_owned()),
                value,
            )
        })
        .collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// The reason that this is not a valid name of a role or network, if any.
fn wrong_part(name: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Some("a name must start with a letter or a digit")
    } else if !name.chars().all(allowed) {
        Some("only letters, digits, `_` and `-` are allowed")
    } else if name.len() > 24 {
        Some("a name must have at most 24 characters")
    } else {
        None
    }
}

/// Checks that no two machines have the same name.
fn check_machines(name: &str, roles: &[WrittenRole], problems: &mut Problems<'_>) {
    let mut seen = BTreeMap::new();
    for one in roles {
        for machine in one.role.machines() {
            if let Some(other) = seen.insert(machine.clone(), one) {
                let (first, role) = (&other.role.role, &one.role.role);
                let message = format!(
                    "environment `{name}`: roles `{first}` and `{role}` both have a machine `{machine}`"
                );
                let problem = Problem::new(message, one.header.clone());
                problems.add(problem.second(other.header.clone(), "the other role"));
            }
        }
    }
}

/// The features that every role has, and those of the environment itself.
fn all_have(roles: &[PlaybookRole], own: Vec<String>) -> Vec<String> {
    let mut features = own;
    if let Some((first, others)) = roles.split_first() {
        let of_all = |feature: &&String| {
            others
                .iter()
                .all(|other| other.target.features.contains(feature))
        };
        features.extend(first.target.features.iter().filter(of_all).cloned());
    }
    features.sort();
    features.dedup();
    features
}

/// The lifecycle of the whole: the longest time, the most retries, and the actions of all roles around a test.
fn lifecycle(roles: &[PlaybookRole]) -> Lifecycle {
    let mut all = Lifecycle::default();
    let each = || roles.iter().map(|role| &role.target.lifecycle);
    all.ready_timeout = each()
        .map(|one| one.ready_timeout)
        .max()
        .unwrap_or(all.ready_timeout);
    all.retries = each().map(|one| one.retries).max().unwrap_or(all.retries);
    if each().any(|one| one.on_crash == CountsAs::Infra) {
        all.on_crash = CountsAs::Infra;
    }
    if each().any(|one| one.on_boot_failure == CountsAs::Fail) {
        all.on_boot_failure = CountsAs::Fail;
    }
    for around in each().map(|one| &one.around) {
        let collect = around
            .collect
            .iter()
            .filter(|one| !all.around.collect.contains(one));
        let collect: Vec<_> = collect.cloned().collect();
        all.around.collect.extend(collect);
        let checks = around
            .checks
            .iter()
            .filter(|one| !all.around.checks.contains(one));
        let checks: Vec<_> = checks.cloned().collect();
        all.around.checks.extend(checks);
        if around.collect_when == CollectWhen::Always {
            all.around.collect_when = CollectWhen::Always;
        }
    }
    all
}
