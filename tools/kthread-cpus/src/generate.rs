// SPDX-License-Identifier: GPL-2.0

//! `kthread-cpus generate`: the man pages, the completions and the table of causes.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{
    cause::document,
    cli::{Cli, GenerateArgs},
    error::{Error, Result},
};

/// Writes the man pages into `man1/` and the completions into `completions/` of a directory, and the
/// table of causes.
///
/// # Errors
///
/// Those of the files.
pub fn run(args: &GenerateArgs) -> Result<()> {
    write(args).map_err(|error| {
        let path = args.directory.display();
        Error::new(format_args!("cannot write to {path}: {error}"))
    })
}

fn write(args: &GenerateArgs) -> std::io::Result<()> {
    let man = args.directory.join("man1");
    let completions = args.directory.join("completions");
    let mut command = Cli::command();

    std::fs::create_dir_all(&man)?;
    std::fs::create_dir_all(&completions)?;
    std::fs::write(args.directory.join("causes.rst"), document::document())?;
    clap_mangen::generate_to(command.clone(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish] {
        clap_complete::generate_to(shell, &mut command, "kthread-cpus", &completions)?;
    }
    Ok(())
}
