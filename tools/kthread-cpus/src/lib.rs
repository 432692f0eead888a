// SPDX-License-Identifier: GPL-2.0

//! See, check and steer where the kernel's own work runs: the parts of the tool `kthread-cpus`.

pub mod boot;
pub mod cause;
pub mod check;
pub mod cli;
pub mod cmdline;
pub mod contradiction;
pub mod cpuset;
pub mod error;
pub mod events;
pub mod format;
pub mod generate;
pub mod heatmap;
pub mod list;
pub mod machine;
pub mod metrics;
pub mod option;
pub mod output;
pub mod persist;
pub mod place;
pub mod plan;
pub mod planner;
pub mod png;
pub mod recording;
pub mod report;
pub mod ring;
pub mod runs;
pub mod set;
pub mod stream;
pub mod symbols;
pub mod sys;
pub mod target;
pub mod threads;
pub mod topology;
pub mod tracefs;
pub mod ui;
pub mod verify;
pub mod watch;

#[cfg(test)]
mod modules;
