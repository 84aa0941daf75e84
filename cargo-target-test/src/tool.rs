//! A program: its platforms, its aggregators and its `main`.
//!
//! Dispatches the command line to the verbs. [`Tool::default`] is `cargo target-test`; another program adds
//! platforms and aggregators of its own.

use std::{ffi::OsString, path::Path, process::ExitCode};

use crate::{
    aggregate::{Aggregator, NewAggregator},
    cli::{self, Cli, Verb},
    commands,
    error::Result,
    execute::runner,
    process,
    provision::{
        network,
        platform::{Platform, Platforms},
    },
    ui,
};

/// A program like `cargo target-test`.
///
/// ```no_run
/// # use cargo_target_test::{Result, connect::Reach, schemars::{self, JsonSchema}, serde::{Deserialize, Serialize}};
/// # use cargo_target_test::provision::platform::{Deployed, Platform, SpecOf};
/// # #[derive(Serialize, Deserialize, JsonSchema)]
/// # struct LabParameters {}
/// # struct Lab;
/// # impl Platform for Lab {
/// #     type Parameters = LabParameters;
/// #     fn name(&self) -> &'static str { "lab" }
/// #     fn deploy(&self, spec: &SpecOf<Self>, _: &dyn Fn(&str)) -> Result<Deployed> {
/// #         Ok(Deployed::new("localhost", Reach::local(&spec.scratch)))
/// #     }
/// #     fn delete(&self, _: &SpecOf<Self>, _: Option<&Deployed>) -> Result<()> { Ok(()) }
/// # }
/// use cargo_target_test::Tool;
///
/// /// `cargo lab-test`, a binary named `cargo-lab-test`.
/// fn main() -> std::process::ExitCode {
///     Tool::default().subcommand("lab-test").platform(Lab).main()
/// }
/// ```
#[derive(Default)]
pub struct Tool {
    platforms: Platforms,
    aggregators: Vec<NewAggregator>,
    subcommand: Option<&'static str>,
    without_reports: bool,
}

impl Tool {
    /// Adds a platform; replaces a built-in one of the same name.
    #[must_use]
    pub fn platform(mut self, platform: impl Platform) -> Self {
        self.platforms = self.platforms.with(platform);
        self
    }

    /// Adds an aggregator to each run. `name` is for warnings: `the list of failures`.
    ///
    /// `new` creates the aggregator of one run. Its argument is the run's folder, `target/target-test/RUN`, which exists
    /// and is removed after ten newer runs. The parts of `--partitions N` are one run. If `new` fails, the run does not
    /// start.
    #[must_use]
    pub fn aggregator<A: Aggregator + 'static>(
        mut self,
        name: &'static str,
        new: impl Fn(&Path) -> Result<A> + Send + Sync + 'static,
    ) -> Self {
        let new =
            Box::new(move |folder: &Path| Ok::<Box<dyn Aggregator>, _>(Box::new(new(folder)?)));
        self.aggregators.push(NewAggregator { name, new });
        self
    }

    /// Removes all aggregators: a run prints and writes nothing of its own. For benchmarks.
    #[doc(hidden)]
    #[must_use]
    pub fn without_reports(mut self) -> Self {
        self.without_reports = true;
        self
    }

    /// The word after `cargo`, if it is not `target-test`; the binary must be named `cargo-NAME`. Cargo passes it on as the first argument, and the help
    /// shows it.
    #[must_use]
    pub fn subcommand(mut self, name: &'static str) -> Self {
        self.subcommand = Some(name);
        self
    }

    /// Runs the program with its command line; returns its exit code. The program is also its own runner and broker: only
    /// cargo-nextest must be installed besides.
    pub fn main(self) -> ExitCode {
        if let Some(name) = self.subcommand {
            cli::set_subcommand(name);
        }
        ExitCode::from(self.run(std::env::args_os().collect()))
    }

    fn run(&self, words: Vec<OsString>) -> u8 {
        process::write_no_core();
        network::this_is_a_tool();
        // nextest starts a runner for each case, which must be fast.
        if let Some(verb) = words
            .get(1)
            .filter(|verb| runner::VERBS.iter().any(|one| *verb == *one))
        {
            return runner::main(&verb.clone(), words[2..].to_vec());
        }
        if let [_, verb, folder] = &*words
            && verb == network::VERB
        {
            return network::serve(folder.as_ref());
        }
        let cli = match Cli::parse(words) {
            Ok(cli) => cli,
            Err(error) if error.use_stderr() => error.exit(),
            Err(help) => {
                ui::check_stdout(help.print());
                return ended(0);
            }
        };
        let code = self.dispatch(&cli).unwrap_or_else(|error| {
            ui::error(&error);
            error.exit_code()
        });
        ended(code)
    }

    fn dispatch(&self, cli: &Cli) -> Result<u8> {
        let (all, global) = (&self.platforms, &cli.global);
        match &cli.verb {
            Verb::Run(args) if args.delete_targets => commands::delete::verb(all, global, args),
            Verb::Run(args) => {
                let added = (!self.without_reports).then_some(&*self.aggregators);
                commands::run::run(all, added, global, args)
            }
            Verb::Init(args) => commands::init::verb(all, global, args),
            Verb::List(args) => commands::list::verb(all, global, args),
            Verb::Check(args) => commands::check::verb(all, global, args),
            Verb::Completions { shell } => commands::completions::verb(*shell),
            Verb::Schema(args) => commands::schema::verb(all, *args),
            Verb::HelpPlaybook { key } => commands::schema::help(all, key.as_deref()),
            Verb::Up(args) => commands::up::verb(all, global, args),
            Verb::Down(args) => commands::down::verb(all, global, args),
            Verb::Targets(args) => commands::targets::verb(all, global, args),
            Verb::Shell(args) => commands::shell::verb(all, global, args),
            Verb::Exec(args) => commands::exec::verb(all, global, args),
            Verb::Cp(args) => commands::cp::verb(all, global, args),
            Verb::Logs(args) => commands::logs::verb(all, global, args),
            Verb::Report(args) => commands::report::verb(all, global, args),
            Verb::Lease(args) => commands::lease::verb(all, global, args),
            Verb::Release(args) => commands::release::verb(global, args),
            Verb::Pool(args) => commands::pool::verb(all, global, args),
            Verb::Gc(args) => commands::gc::verb(all, global, args),
            Verb::History(args) => commands::history::verb(all, global, args),
            Verb::Flaky(args) => commands::flaky::verb(all, global, args),
            Verb::Slow(args) => commands::slow::verb(all, global, args),
            Verb::Repro(args) => commands::repro::verb(all, global, args),
            Verb::Broker(args) => commands::broker::run(all, global, args),
        }
    }
}

/// Returns the exit code of a verb; an error if its results could not be printed.
fn ended(code: u8) -> u8 {
    ui::stdout_error().map_or(code, |error| {
        ui::error(&error);
        error.exit_code()
    })
}
