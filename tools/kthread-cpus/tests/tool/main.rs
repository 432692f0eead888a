// SPDX-License-Identifier: GPL-2.0

//! The tool as its users have it, on recordings of machines.

mod check;
mod cli;
mod common;
mod list;
mod metrics;
mod persist;
mod place;
mod plan;
mod report;
mod set;
mod shapes;
mod trace;
mod verify;
mod watch;
