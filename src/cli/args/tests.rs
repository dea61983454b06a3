use clap::CommandFactory;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<CommandLine, clap::Error> {
    CommandLine::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definitions_hold_together() {
    CommandLine::command().debug_assert();
}

macro_rules! accepted { ($($name:ident: $line:literal => $pattern:pat,)*) => { $(
    #[test] fn $name() {
        let parsed = parse($line).unwrap();
        assert!(matches!(parsed.command, $pattern), "{:?}", parsed.command);
    }
)* } }
accepted! {
    serve: "mailquotad serve" => Command::Serve,
    demo: "mailquotad demo" => Command::Demo(Demo { dir: None }),
    config_print: "mailquotad config print" => Command::Config(ConfigCommand::Print),
    everyone: "mailquotad resync --all --limits-only" => Command::Resync(Resync { all: true, limits_only: true, .. }),
    a_domain: "mailquotad resync --domain example.org" => Command::Resync(Resync { all: false, .. }),
    over_as_csv: "mailquotad check --over --format csv"
        => Command::Check(Check { over: true, format: TableFormat::Csv, .. }),
    offline: "mailquotad show bob@example.org --offline" => Command::Show(Show { source: Source { offline: true }, .. }),
    a_size_with_a_unit: "mailquotad explain bob@example.org --size 3M" => Command::Explain(Explain { size: 3_145_728, .. }),
    no_limit: "mailquotad set bob@example.org --quota -1" => Command::Set(Set { quota: Some(_), messages: None, .. }),
    completions: "mailquotad completions zsh" => Command::Completions(_),
}

#[test]
fn the_configuration_may_be_named_anywhere() {
    for line in ["mailquotad -c x.toml serve", "mailquotad serve --config x.toml", "mailquotad config -c x.toml check"]
    {
        assert_eq!(parse(line).unwrap().config, PathBuf::from("x.toml"), "{line}");
    }
}

macro_rules! refused { ($($name:ident: $line:literal => $kind:ident,)*) => { $(
    #[test] fn $name() {
        let error = parse($line).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (ErrorKind::$kind, 2), "{error}");
    }
)* } }
refused! {
    no_command: "mailquotad" => DisplayHelpOnMissingArgumentOrSubcommand,
    unknown_command: "mailquotad sreve" => InvalidSubcommand,
    nobody_to_resync: "mailquotad resync" => MissingRequiredArgument,
    all_and_some: "mailquotad resync --all bob@example.org" => ArgumentConflict,
    nothing_to_set: "mailquotad set bob@example.org" => MissingRequiredArgument,
    a_bad_size: "mailquotad explain bob@example.org --size 3X" => ValueValidation,
    a_bad_format: "mailquotad check --format xml" => InvalidValue,
    a_user_and_a_domain: "mailquotad check --user a@b.c --domain b.c" => ArgumentConflict,
}
