//! The `cargo target-test` binary: parses the command line, dispatches the verb, and returns the exit code.

use std::process::ExitCode;

use cargo_target_test::{
    Result,
    cli::{Cli, Verb},
    commands,
    execute::runner,
    ui,
};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    // nextest starts the runner once per case, so the runner is dispatched before the command line is parsed.
    if let Some(verb) = words
        .get(1)
        .filter(|verb| *verb == runner::VERB || *verb == runner::DEBUG_VERB)
    {
        return ExitCode::from(runner::main(&verb.clone(), words[2..].to_vec()));
    }
    let cli = match Cli::parse(words) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let code = dispatch(&cli).unwrap_or_else(|error| {
        ui::error(&error);
        error.exit_code()
    });
    ExitCode::from(code)
}

fn dispatch(cli: &Cli) -> Result<u8> {
    let global = &cli.global;
    match &cli.verb {
        Verb::Run(args) if args.delete_targets => commands::delete::verb(global, args),
        Verb::Run(args) => commands::run::run(global, args),
        Verb::List(args) => commands::list::verb(global, args),
        Verb::Check(args) => commands::check::verb(global, args),
        Verb::Schema => commands::schema::verb(),
        Verb::Targets(args) => commands::targets::verb(global, args),
        Verb::Shell(args) => commands::shell::verb(global, args),
        Verb::Exec(args) => commands::exec::verb(global, args),
        Verb::Cp(args) => commands::cp::verb(global, args),
        Verb::Logs(args) => commands::logs::verb(global, args),
        Verb::Lease(args) => commands::lease::verb(global, args),
        Verb::Release(args) => commands::release::verb(global, args),
        Verb::Gc(args) => commands::gc::verb(global, args),
        Verb::Broker(args) => commands::broker::run(global, args),
    }
}
