// SPDX-License-Identifier: GPL-2.0

//! See, check and steer where the kernel's own work runs.

use std::process::ExitCode;

use clap::Parser;
use kthread_cpus::{
    check,
    cli::{Cli, Command},
    error::Result,
    generate, list,
    machine::Root,
    planner, report, set, watch,
};

/// Runs a command, and returns the exit status.
fn run(cli: &Cli) -> Result<u8> {
    let root = Root::new(&cli.root);

    match &cli.command {
        Command::List(args) => list::run(&root, args).map(|()| 0),
        Command::Check(args) => check::run(&root, args),
        Command::Set(args) => set::run(&root, args),
        Command::Watch(args) => watch::run(&root, args).map(|()| 0),
        Command::Report(args) => report::run(&root, args).map(|()| 0),
        Command::Plan(args) => planner::run(&root, args),
        Command::Generate(args) => generate::run(args).map(|()| 0),
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(status) => ExitCode::from(status),
        Err(error) if error.is_closed() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kthread-cpus: {error}");
            ExitCode::from(2)
        }
    }
}
