//! Man pages and completions, made from the definitions of the command line.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::args::CommandLine;
use super::exit;
use super::iminitquota::IminitQuota;
use super::imquotacheck::ImquotaCheck;

/// The command line with what every page and every `--help` ends with.
pub fn command() -> Command {
    let command = CommandLine::command();
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let files = "Every command reads the configuration file, /etc/mailquotad/mailquotad.toml unless -c or \
                 MAILQUOTAD_CONFIG names another; MAILQUOTAD__SECTION__KEY overrides a key of it.";
    command.after_help(format!("{examples}\n\n{}\n\n{files}", exit::EXPLAINED))
}

/// Writes a page for the program and one for each command, and says which.
pub fn man(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    let mut program = command().disable_help_subcommand(true);
    program.build();
    let mut written = Vec::new();
    write_page(&program, folder, &mut written)?;
    for mut other in [IminitQuota::command(), ImquotaCheck::command()] {
        other.build();
        write_page(&other, folder, &mut written)?;
    }
    Ok(written)
}

fn write_page(command: &Command, folder: &Path, written: &mut Vec<PathBuf>) -> io::Result<()> {
    // Building the program has given each command its full name, `mailquotad-config-check`.
    let path = folder.join(format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name())));
    let mut roff = Vec::new();
    Man::new(command.clone()).date("").source(concat!("mailquotad ", env!("CARGO_PKG_VERSION"))).render(&mut roff)?;
    fs::write(&path, unfilled(&String::from_utf8_lossy(&roff)))?;
    written.push(path);
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        write_page(inner, folder, written)?;
    }
    Ok(())
}

/// Examples and lists keep their lines: roff would run them together. clap_mangen calls that section EXTRA.
fn unfilled(roff: &str) -> String {
    let Some((before, extra)) = roff.split_once(".SH EXTRA\n") else { return roff.to_owned() };
    let (extra, after) = extra.split_at(extra.find("\n.SH ").map_or(extra.len(), |at| at + 1));
    format!("{before}.SH NOTES\n.nf\n{extra}.fi\n{after}")
}

pub fn completions(shell: Shell, out: &mut dyn Write) {
    clap_complete::generate(shell, &mut command(), "mailquotad", out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_says_what_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let pages = man(&folder.path().join("man1")).unwrap();
        let names: Vec<_> = pages.iter().map(|page| page.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        for inner in command().get_subcommands() {
            let name = format!("mailquotad-{}", inner.get_name());
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        assert!(["iminitquota", "imquotacheck"].iter().all(|name| names.contains(&(*name).to_owned())), "{names:?}");
        let page = fs::read_to_string(&pages[0]).unwrap();
        for said in [
            "mailquotad\\-explain",
            "ran, and something is over quota",
            "MAILQUOTAD_CONFIG",
            "mailquotad demo",
            ".SH NOTES\n.nf\n",
        ] {
            assert!(page.contains(said), "{said}");
        }
    }

    #[test]
    fn completions_know_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            completions(shell, &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("limits-only") && script.contains("explain"), "{shell}");
        }
    }

    #[test]
    fn help_lists_commands_examples_and_exit_codes() {
        let help = command().render_long_help().to_string();
        for said in ["resync", "Examples:", "Exit codes:", "2  the configuration or the command line is wrong"] {
            assert!(help.contains(said), "{help}");
        }
    }
}
