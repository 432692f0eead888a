// SPDX-License-Identifier: GPL-2.0

//! Which boot options go together, and why.

use std::collections::HashMap;

use serde::Serialize;

use crate::{
    cli::Placement,
    cmdline,
    contradiction::{boot_cpu_without_tick, contradiction, Contradiction},
    cpuset::{CpuSet, Named},
    machine::Machine,
    topology::{Core, Topology},
};

/// A boot option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BootParameter {
    /// Its name and value.
    pub text: String,
    /// What it is for.
    pub reason: String,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The CPUs for the kernel's work.
    pub housekeeping: CpuSet,
    /// The others.
    pub isolated: CpuSet,
    /// The options.
    pub options: Vec<BootParameter>,
    /// Why these CPUs, and what to know.
    pub notes: Vec<String>,
}

impl Plan {
    /// Returns the options for the boot loader.
    pub fn line(&self) -> String {
        let options: Vec<_> = self.options.iter().map(|option| &*option.text).collect();

        options.join(" ")
    }
}

/// What to plan for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// How many housekeeping CPUs.
    pub count: Option<u32>,
    /// Which housekeeping CPUs.
    pub housekeeping: Option<CpuSet>,
    /// Which isolated CPUs.
    pub isolated: Option<CpuSet>,
    /// From where to take them.
    pub placement: Placement,
    /// Whether a core may be split.
    pub split_cores: bool,
    /// Whether the tick is to go on.
    pub keep_tick: bool,
}

/// Returns the cores that are online, in the order in which they are taken: the boot CPU's first.
fn order(topology: &Topology, spread: bool) -> Vec<&Core> {
    let online = topology.cores.iter().filter(|core| core.online);
    let mut cores: Vec<_> = online.collect();
    let Some(boot) = cores.first().copied() else {
        return cores;
    };

    // False comes first: near the boot CPU, and then together with what shares a cache.
    cores.sort_by_key(|core| {
        (
            core.node != boot.node,
            core.node,
            core.cache != boot.cache,
            core.cache.first(),
            core.cpus.first(),
        )
    });
    if spread {
        // The first of each node, then the second of each.
        let mut taken: HashMap<Option<u32>, usize> = HashMap::new();
        let mut turns: Vec<_> = cores
            .iter()
            .map(|core| {
                let turn = taken.entry(core.node).or_default();
                *turn += 1;
                (*turn, *core)
            })
            .collect();
        turns.sort_by_key(|(turn, _)| *turn);
        cores = turns.into_iter().map(|(_, core)| core).collect();
    }
    cores
}

/// Takes `count` CPUs, and returns them, or else the numbers that could be had below and above.
fn take(cores: &[&Core], count: usize, split: bool) -> std::result::Result<CpuSet, (usize, usize)> {
    let mut taken = CpuSet::new();

    for core in cores {
        let room = count - taken.len();
        if core.cpus.len() <= room {
            taken = taken.or(&core.cpus);
        } else if split {
            taken = taken.or(&core.cpus.iter().take(room).collect());
        }
        if taken.len() == count {
            return Ok(taken);
        }
    }
    let step = cores.iter().map(|core| core.cpus.len()).min().unwrap_or(1);
    let above = cores
        .iter()
        .map(|core| core.cpus.len())
        .filter(|width| taken.len() + width > count)
        .min()
        .unwrap_or(step);
    Err((taken.len(), taken.len() + above))
}

/// Chooses housekeeping CPUs by their number.
fn choose(
    topology: &Topology,
    count: usize,
    wish: &Wish,
    notes: &mut Vec<String>,
) -> std::result::Result<CpuSet, Contradiction> {
    let nodes = topology.nodes();
    let online: usize = topology
        .cores
        .iter()
        .filter(|core| core.online)
        .map(|core| core.cpus.len())
        .sum();

    if count >= online {
        return Err(contradiction(
            "nothing-to-isolate",
            format!(
                "{count} housekeeping CPUs leave none of the {online} online CPUs to isolate; ask for \
                 fewer"
            ),
        ));
    }
    let wanted = count / topology.threads_per_core().max(1);
    let spread = match wish.placement {
        Placement::Spread => true,
        Placement::Pack => false,
        Placement::Auto => wanted >= nodes.len(),
    };
    let cpus = take(&order(topology, spread), count, wish.split_cores).map_err(|(below, above)| {
        let other = match below {
            0 => format!("ask for {above}"),
            _ => format!("ask for {below} or {above}"),
        };
        contradiction(
            "half-core",
            format!(
                "{count} housekeeping CPUs are not whole cores, which have up to {} CPUs here, and the \
                 halves of a core disturb each other; {other}, or add --split-cores",
                topology.threads_per_core()
            ),
        )
    })?;

    if nodes.len() > 1 {
        notes.push(match spread {
            true => format!(
                "the housekeeping CPUs are spread over {} nodes, so that each node's kernel threads \
                 and interrupts have a CPU near its memory",
                nodes.len()
            ),
            false => "the housekeeping CPUs are near the boot CPU, so that the other nodes are left \
                      whole"
                .to_owned(),
        });
    }
    Ok(cpus)
}

/// Makes a plan, or says what contradicts what.
///
/// # Errors
///
/// Every contradiction.
pub fn make(
    machine: &Machine,
    topology: &Topology,
    wish: &Wish,
) -> std::result::Result<Plan, Vec<Contradiction>> {
    let mut notes = Vec::new();
    let mut wrong = Vec::new();
    let all = &machine.present;
    let housekeeping = match (&wish.housekeeping, &wish.isolated, wish.count) {
        (Some(cpus), _, _) => cpus.clone(),
        (None, Some(isolated), _) => at_hand(machine).minus(isolated),
        (None, None, count) => {
            choose(topology, count.unwrap_or(1) as usize, wish, &mut notes).map_err(|e| vec![e])?
        }
    };
    let isolated = wish
        .isolated
        .clone()
        .unwrap_or_else(|| at_hand(machine).minus(&housekeeping));

    let absent = housekeeping.or(&isolated).minus(all);
    if !absent.is_empty() {
        wrong.push(contradiction(
            "absent-cpu",
            format!("CPUs {absent} are not there: this machine has CPUs {all}"),
        ));
    }
    let both = housekeeping.and(&isolated);
    if !both.is_empty() {
        wrong.push(contradiction(
            "overlap",
            format!("CPUs {both} are to be both for housekeeping and isolated; choose one"),
        ));
    }
    if let Some(count) = wish
        .count
        .filter(|count| *count as usize != housekeeping.len())
    {
        wrong.push(contradiction(
            "count",
            format!(
                "{count} housekeeping CPUs are asked for, but the lists make it {}: {}",
                housekeeping.len(),
                Named(&housekeeping)
            ),
        ));
    }
    if isolated.is_empty() {
        wrong.push(contradiction(
            "nothing-to-isolate",
            "no CPU is left to isolate; ask for fewer housekeeping CPUs".to_owned(),
        ));
    }
    if !housekeeping.intersects(&machine.online) {
        wrong.push(contradiction(
            "no-housekeeping",
            format!(
                "none of the housekeeping CPUs ({}) is online: the kernel has to work somewhere",
                Named(&housekeeping)
            ),
        ));
    }
    if isolated.contains(machine.boot_cpu()) && !wish.keep_tick {
        wrong.push(boot_cpu_without_tick(
            machine.boot_cpu(),
            "take it for housekeeping, or add --keep-tick",
        ));
    }
    if !wish.split_cores {
        wrong.extend(topology.split_by(&isolated).map(|core| {
            contradiction(
                "half-core",
                format!(
                    "CPUs {} are one core: {} would be isolated and {} not, and the two disturb each \
                     other; keep them together, or add --split-cores",
                    core.cpus,
                    core.cpus.and(&isolated),
                    core.cpus.minus(&isolated)
                ),
            )
        }));
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }

    remarks(machine, topology, &housekeeping, &isolated, &mut notes);
    Ok(Plan {
        options: parameters(&housekeeping, &isolated, wish.keep_tick),
        housekeeping,
        isolated,
        notes,
    })
}

/// Adds what is worth knowing about a plan.
fn remarks(
    machine: &Machine,
    topology: &Topology,
    housekeeping: &CpuSet,
    isolated: &CpuSet,
    notes: &mut Vec<String>,
) {
    if topology.threads_per_core() > 1 {
        let split: Vec<_> = topology.split_by(isolated).collect();
        notes.push(match split.first() {
            None => "no core is split: what shares a core with an isolated CPU is isolated too"
                .to_owned(),
            Some(core) => format!("core {} is split: its CPUs disturb each other", core.cpus),
        });
    }
    let far: Vec<_> = machine
        .nodes
        .iter()
        .filter(|node| !node.cpus.is_empty() && !node.cpus.intersects(housekeeping))
        .map(|node| node.id.to_string())
        .collect();
    if !far.is_empty() {
        notes.push(format!(
            "node {} has no housekeeping CPU: its kswapd and kcompactd work from another node",
            far.join(", ")
        ));
    }
    let mut shared = CpuSet::new();
    for core in topology.cores.iter().filter(|core| core.online) {
        if core.cache.intersects(housekeeping) {
            shared = shared.or(&core.cpus.and(isolated));
        }
    }
    if !shared.is_empty() {
        notes.push(format!(
            "CPUs {shared} share their last cache with housekeeping CPUs: put what needs the cache \
             most elsewhere"
        ));
    }
    let boot = machine.boot_cpu();
    let fast = housekeeping.and(&topology.fast);
    let slow = isolated.and(&machine.online).minus(&topology.fast);
    if !fast.is_empty() && !slow.is_empty() {
        notes.push(format!(
            "CPUs {fast}, for housekeeping, are of the fast cores, and of the isolated ones CPUs {slow} are \
             of the slow: --housekeeping-cpus chooses others, but for CPU {boot}, which boots the machine"
        ));
    }
    let offline = machine.present.minus(&machine.online);
    if offline.contains(boot) {
        notes.push(format!(
            "CPU {boot} is offline now, although it boots the machine: this plan is of the CPUs that are \
             online, and leaves CPUs {offline} out"
        ));
    } else if !offline.is_empty() {
        notes.push(format!(
            "CPUs {offline} are offline now; {} of them are isolated",
            offline.and(isolated).len()
        ));
    }
    let nosmt = cmdline::words(&machine.cmdline)
        .iter()
        .any(|word| word.name == "nosmt");
    if machine.smt_off && !offline.is_empty() && !nosmt {
        notes.push(
            "SMT is off, and this plan is for that: add nosmt, or plan again with SMT, so that no core is \
             split after the next boot"
                .to_owned(),
        );
    }
    let others = at_hand(machine).minus(housekeeping).minus(isolated);
    if !others.is_empty() {
        notes.push(format!(
            "CPUs {others} are neither for the kernel's work nor isolated: processes may use them, and \
             kernel threads do not"
        ));
    }
    let coming = machine.possible.minus(&machine.present);
    if !coming.is_empty() {
        notes.push(format!(
            "CPUs {coming} are not there, but may come: they would not be isolated, and kernel threads \
             would not use them"
        ));
    }
}

/// Returns the CPUs to plan for: those that are there. Where the one that boots is offline, somebody
/// has chosen which are online, and it is these.
fn at_hand(machine: &Machine) -> &CpuSet {
    match machine.online.contains(machine.boot_cpu()) {
        true => &machine.present,
        false => &machine.online,
    }
}

/// Returns the boot options.
fn parameters(housekeeping: &CpuSet, isolated: &CpuSet, keep_tick: bool) -> Vec<BootParameter> {
    let parameter = |text: String, reason: &str| BootParameter {
        text,
        reason: reason.to_owned(),
    };
    let mut parameters = vec![
        parameter(
            format!("kthread_cpus={housekeeping}"),
            "kernel threads, unbound workqueues, usermode helpers, PID 1, new interrupts and timers \
             keep to the housekeeping CPUs",
        ),
        parameter(
            format!("isolcpus=managed_irq,domain,{isolated}"),
            "the scheduler moves nothing to the isolated CPUs by itself, and managed interrupts avoid \
             them as far as they can",
        ),
    ];

    if !keep_tick {
        parameters.push(parameter(
            format!("nohz_full={isolated}"),
            "no tick while an isolated CPU has one task",
        ));
        parameters.push(parameter(
            format!("rcu_nocbs={isolated}"),
            "RCU callbacks of the isolated CPUs run in threads on the housekeeping CPUs; nohz_full= \
             implies it, this says it",
        ));
    }
    parameters.push(parameter(
        format!("irqaffinity={housekeeping}"),
        "interrupts that nobody places go to the housekeeping CPUs, on kernels without kthread_cpus= \
         too",
    ));
    parameters
}
