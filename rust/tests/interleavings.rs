// SPDX-License-Identifier: GPL-2.0

//! What is done around the registry, with all that may happen in between: loom runs each of these
//! small cases in every order that the locks allow, with a few preemptions.
//!
//! The locks are those of the kernel. The registry is under `kthread_affinity_lock`, which is a leaf.
//! The mask of a thread is set under its `pi_lock`, within which the registry is asked where the
//! thread may run. And those who move threads wait for each other.
//!
//! Each case is also run with a fault: with a piece of the protocol taken out, to see that it is needed
//! and that this test would notice.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard as StdMutexGuard};

use kthread_cpus_core::registry::{
    List, Outcome, Prealloc, Refusal, Registry, Request, Thread, Wishes,
};
use loom::sync::{Mutex, MutexGuard};
use loom::thread;

type Set = usize;

const POSSIBLE: Set = 0b1111;
const CPUS: usize = 4;

/// What the registry keeps in a thread. Where that is read without its lock, loom may run others
/// before and after, as there are locks and masks on either side.
#[derive(Default)]
struct Affinity {
    number: usize,
    group: AtomicU32,
    watch: AtomicU32,
    /// As in `struct kthread_affinity`.
    is_due: AtomicBool,
}

#[derive(Clone, Copy)]
struct Member(&'static Affinity);

impl Thread for Member {
    fn group(self) -> u32 {
        self.0.group.load(Relaxed)
    }

    fn set_group(self, group: u32) {
        self.0.group.store(group, Relaxed);
    }

    fn watch(self) -> u32 {
        self.0.watch.load(Relaxed)
    }

    fn set_watch(self, watch: u32) {
        self.0.watch.store(watch, Relaxed);
    }
}

struct Members(Vec<Member>);

impl List for Members {
    type Thread = Member;

    const EMPTY: Self = Self(Vec::new());

    fn first(&self) -> Option<Member> {
        self.0.last().copied()
    }

    fn add(&mut self, thread: Member) {
        self.0.push(thread);
    }

    fn forget(&mut self, thread: Member) {
        self.0.retain(|other| other.0.number != thread.0.number);
    }

    fn unlink(_: Member) {}

    fn append(&mut self, other: &mut Self) {
        self.0.append(&mut other.0);
    }

    fn move_while(&mut self, to: &mut Self, mut with: impl FnMut(Member) -> bool) {
        while self.first().is_some_and(&mut with) {
            to.0.extend(self.0.pop());
        }
    }
}

/// A piece of the protocol that is not there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// The registry is asked before the lock of the thread is taken.
    AskedTooEarly,
    /// A thread is registered when it has run for the first time.
    RegisteredTooLate,
    /// A new thread is not put where it belongs.
    NotReset,
    /// A new thread is left where it is if that is not where kthreadd is.
    NotCompared,
    /// A generation begins before the mask is there that it is about.
    ToldTooEarly,
    /// A thread that is handed out is not put where it belongs.
    NotEvaluated,
    /// Those who move threads do not wait for each other.
    NotSerialized,
    /// A thread is bound before it is unregistered.
    UnregisteredTooLate,
    /// What has happened until then is not asked for again once the lock was given up.
    OneBatch,
    /// Who was handed out goes where its group was, whatever has happened since.
    DueForever,
}

/// A thread as the scheduler knows it.
struct Task {
    member: Member,
    /// Its `pi_lock`, with its `user_cpus_ptr` and whether it is bound.
    lock: Mutex<(Option<Set>, bool)>,
    mask: AtomicUsize,
    /// The CPUs that it prefers.
    preferred: AtomicUsize,
    /// Locked where the mask is used and no lock says in which order.
    order: Mutex<()>,
    /// Whether it has run.
    has_run: AtomicBool,
}

impl Task {
    /// Has loom look at what else may happen just before.
    fn race(&self) {
        drop(self.order.lock());
    }
}

/// Where threads belong.
fn level(confined: Set, housekeeping: Set, usable: Set) -> Set {
    [confined & housekeeping, housekeeping]
        .into_iter()
        .find(|set| set & usable != 0)
        .unwrap_or(POSSIBLE)
}

/// The masks of the system, each of which only one of the actors changes: what they are, and what they
/// were while a change is under way. For assertions only, and so without a lock that loom knows.
struct Truth {
    confined: Vec<Set>,
    housekeeping: Vec<Set>,
    usable: Vec<Set>,
}

impl Truth {
    /// Where threads may be, whichever change has been made already.
    fn may(&self) -> Set {
        let mut may = 0;

        for confined in &self.confined {
            for housekeeping in &self.housekeeping {
                for usable in &self.usable {
                    may |= level(*confined, *housekeeping, *usable);
                }
            }
        }
        may
    }
}

struct World {
    fault: Fault,
    registry: Mutex<Registry<Members>>,
    /// `kthread_affinity_mutex`.
    movers: Mutex<()>,
    /// `cpu_kthread_mask` and the housekeeping CPUs, as published.
    confined: AtomicUsize,
    housekeeping: AtomicUsize,
    is_confined: AtomicBool,
    tasks: Vec<Task>,
    truth: StdMutex<Truth>,
}

const KTHREADD: usize = 0;

impl World {
    /// Threads that are confined to CPU 0, of which `registered` are there, kthreadd among them.
    fn new(fault: Fault, registered: usize, tasks: usize) -> Arc<Self> {
        let confined = 0b0001;
        let mut registry = Registry::new(0, 1).expect("there is memory");

        for cpu in 0..CPUS {
            registry.cpu_up(cpu, |_| false);
        }
        let world = Self {
            fault,
            registry: Mutex::new(registry),
            movers: Mutex::new(()),
            confined: AtomicUsize::new(confined),
            housekeeping: AtomicUsize::new(POSSIBLE),
            is_confined: AtomicBool::new(true),
            tasks: (0..tasks)
                .map(|number| Task {
                    member: Member(Box::leak(Box::new(Affinity {
                        number,
                        ..Affinity::default()
                    }))),
                    lock: Mutex::new((None, false)),
                    mask: AtomicUsize::new(confined),
                    preferred: AtomicUsize::new(POSSIBLE),
                    order: Mutex::new(()),
                    has_run: AtomicBool::new(number < registered),
                })
                .collect(),
            truth: StdMutex::new(Truth {
                confined: vec![confined],
                housekeeping: vec![POSSIBLE],
                usable: vec![POSSIBLE],
            }),
        };
        world.change_masks(Self::tell);
        for task in &world.tasks[..registered] {
            world.registry().register(task.member, None);
        }
        Arc::new(world)
    }

    fn registry(&self) -> MutexGuard<'_, Registry<Members>> {
        self.registry.lock().expect("nobody panics with it")
    }

    /// As `kthread_registry_change()`.
    fn tell(&self) {
        self.registry().change(|masks| {
            masks.confined[0] = self.confined.load(Relaxed);
            masks.housekeeping[0] = self.housekeeping.load(Relaxed);
            masks.possible[0] = POSSIBLE;
            masks.is_confined = self.is_confined.load(Relaxed);
        });
    }

    /// As `kthread_affinity_evaluate()`. Returns nothing if the registry does not decide.
    fn evaluate(
        &self,
        task: &Task,
        request: Request<'_>,
        user: Option<Set>,
    ) -> Option<Result<Set, ()>> {
        if task.member.group() == 0 {
            return None;
        }
        let mut result = [0];
        let user = user.map(|user| [user]);
        let wishes = Wishes {
            user: user.as_ref().map(|user| &user[..]),
            ..Wishes::default()
        };

        let mut registry = self.registry();
        self.forget(task);
        match registry.evaluate(task.member, request, wishes, &mut result) {
            Outcome::AsAsked => None,
            Outcome::Allowed => Some(Ok(result[0])),
            Outcome::Refused => Some(Err(())),
        }
    }

    /// With the lock of the registry, before something may give the thread another mask.
    fn forget(&self, task: &Task) {
        if self.fault != Fault::DueForever {
            task.member.0.is_due.store(false, Relaxed);
        }
    }

    /// As `kthread_reset_cpus_allowed()`.
    fn reset(&self, number: usize) {
        self.reset_to(number, None);
    }

    /// As `kthread_set_cpus_allowed_group()`, if there is a mask.
    fn reset_to(&self, number: usize, allowed: Option<Set>) {
        let task = &self.tasks[number];
        let early = match self.fault {
            Fault::AskedTooEarly => self.evaluate(task, Request::Reset, None),
            _ => None,
        };
        let state = task.lock.lock().expect("nobody panics with it");

        if state.1 {
            return;
        }
        if let Some(allowed) = allowed {
            if state.0.is_none() && task.member.0.is_due.load(Relaxed) {
                task.race();
                task.mask.store(allowed, Relaxed);
                return;
            }
        }
        match early.or_else(|| self.evaluate(task, Request::Reset, state.0)) {
            Some(Ok(mask)) => task.mask.store(mask, Relaxed),
            Some(Err(())) => unreachable!("nobody asks"),
            None => (),
        }
    }

    /// As `sched_setaffinity()`.
    fn user(&self, number: usize, set: Set) {
        let task = &self.tasks[number];
        let mut state = task.lock.lock().expect("nobody panics with it");

        if state.1 {
            return;
        }
        match self.evaluate(task, Request::User(&[set]), Some(set)) {
            Some(Ok(mask)) => task.mask.store(mask, Relaxed),
            Some(Err(())) => return,
            None => {
                task.race();
                task.mask.store(set, Relaxed);
            }
        }
        state.0 = Some(set);
    }

    /// As `kthread_affinity_change()`, with one thread at once.
    fn change_masks(&self, change: impl FnOnce(&Self)) {
        let _movers = match self.fault {
            Fault::NotSerialized => None,
            _ => Some(self.movers.lock().expect("nobody panics with it")),
        };
        let mut at = 0;

        change(self);
        loop {
            let mut registry = self.registry();
            if registry.is_settled() {
                return;
            }
            let mut found = None;
            let allowed = registry
                .next(&mut at, &mut 1, 1, |member, is_sure| {
                    member.0.is_due.store(is_sure, Relaxed);
                    found = Some(member);
                })
                .map(|cpus| cpus[0]);
            drop(registry);
            let Some(member) = found else {
                continue;
            };

            if self.fault != Fault::NotEvaluated {
                self.reset_to(member.0.number, allowed);
            }
            if self.fault == Fault::OneBatch {
                return;
            }
        }
    }

    fn truth(&self) -> StdMutexGuard<'_, Truth> {
        self.truth.lock().expect("nobody panics with it")
    }

    /// Makes a change of the masks, after which threads are where they belong, unless there is another
    /// change.
    fn change(
        &self,
        of: fn(&mut Truth) -> &mut Vec<Set>,
        to: impl FnOnce(Set) -> Set,
        make: impl FnOnce(),
    ) {
        let mut truth = self.truth();
        let masks = of(&mut truth);

        masks.push(to(masks[0]));
        drop(truth);
        make();
        of(&mut self.truth()).remove(0);

        for task in &self.tasks {
            let state = task.lock.lock().expect("nobody panics with it");
            let mask = task.mask.load(Relaxed);
            let may = self.truth().may();
            // One that has not run is about to be put there.
            let is_there = task.member.group() != 0 && task.has_run.load(Relaxed);

            drop(state);
            assert!(
                !is_there || mask & !may == 0,
                "a thread is on {mask:b}, not {may:b}"
            );
        }
    }

    /// Somebody writes to the file.
    fn confine(&self, confined: Set) {
        self.change(
            |truth| &mut truth.confined,
            |_| confined,
            || {
                if self.fault == Fault::ToldTooEarly {
                    self.change_masks(Self::tell);
                }
                self.confined.store(confined, Relaxed);
                if self.fault != Fault::ToldTooEarly {
                    self.change_masks(Self::tell);
                }
            },
        );
    }

    /// Somebody writes all CPUs to the file, with which nothing is confined any more.
    fn end(&self) {
        self.is_confined.store(false, Relaxed);
        self.confine(POSSIBLE);
    }

    /// A partition takes CPUs.
    fn housekeep(&self, housekeeping: Set) {
        self.change(
            |truth| &mut truth.housekeeping,
            |_| housekeeping,
            || {
                self.housekeeping.store(housekeeping, Relaxed);
                self.change_masks(Self::tell);
            },
        );
    }

    /// A CPU goes offline, and the scheduler finds threads that can run on no other.
    fn offline(&self, cpu: usize) {
        let dying = [1 << cpu];

        self.change(
            |truth| &mut truth.usable,
            |usable| usable & !dying[0],
            || {
                self.change_masks(|world| world.registry().cpu_down(cpu));
                for task in &self.tasks {
                    let state = task.lock.lock().expect("nobody panics with it");

                    if task.mask.load(Relaxed) & !dying[0] == 0 {
                        let mask = self.evaluate(task, Request::Fallback(&dying), state.0);
                        let mask = mask.and_then(Result::ok).unwrap_or(POSSIBLE);

                        task.mask.store(mask, Relaxed);
                    }
                }
            },
        );
    }

    fn online(&self, cpu: usize) {
        self.change(
            |truth| &mut truth.usable,
            |usable| usable | 1 << cpu,
            || {
                self.change_masks(|world| world.registry().cpu_up(cpu, |_| false));
            },
        );
    }

    /// kthreadd creates a thread, which user space may find at once, and which then runs.
    fn create(&self, number: usize) {
        let task = &self.tasks[number];
        let parent = &self.tasks[KTHREADD];
        let state = parent.lock.lock().expect("nobody panics with it");
        let inherited = (parent.mask.load(Relaxed), state.0);
        drop(state);

        let mut state = task.lock.lock().expect("nobody panics with it");
        task.mask.store(inherited.0, Relaxed);
        state.0 = inherited.1;
        drop(state);

        if self.fault == Fault::RegisteredTooLate {
            self.run(number);
        }
        let mut registry = self.registry();
        let must_be_reset = registry.register(task.member, None);
        drop(registry);
        let is_elsewhere = task.mask.load(Relaxed) != parent.mask.load(Relaxed);
        if must_be_reset && self.fault != Fault::NotReset
            || is_elsewhere && self.fault != Fault::NotCompared
        {
            self.reset(number);
        }
        self.run(number);
        // As kthread() does it for what kthreadd has left to it.
        if task.lock.lock().expect("nobody panics with it").0.is_some() {
            self.reset(number);
        }
        task.has_run.store(true, Relaxed);
    }

    /// A thread runs, whether it is registered or not.
    fn run(&self, number: usize) {
        let task = &self.tasks[number];
        task.race();
        let mask = task.mask.load(Relaxed);
        let may = self.truth().may();

        assert!(
            mask & !may == 0,
            "a thread runs on {mask:b}, not on {may:b}"
        );
        // Without a list, as in mainline, it only now goes where it belongs.
        task.has_run.store(self.is_confined.load(Relaxed), Relaxed);
    }

    /// As `kthread_bind()`.
    fn bind(&self, number: usize, mask: Set) {
        let task = &self.tasks[number];

        if self.fault != Fault::UnregisteredTooLate {
            self.exit(number);
        }
        let mut state = task.lock.lock().expect("nobody panics with it");
        task.mask.store(mask, Relaxed);
        // The kernel sets it without the lock, and relies on user space not knowing the thread yet.
        state.1 = self.fault != Fault::UnregisteredTooLate;
        drop(state);
        if self.fault == Fault::UnregisteredTooLate {
            self.exit(number);
        }
    }

    fn exit(&self, number: usize) {
        let task = &self.tasks[number];
        let mut registry = self.registry();

        self.forget(task);
        registry.unregister(task.member);
    }

    /// As `kthread_affine_preferred()`, which is before a thread runs, or as
    /// `kthread_affine_preferred_update()`.
    fn prefer(&self, number: usize, preferred: Set, update: bool) {
        let task = &self.tasks[number];
        let mut prealloc = Prealloc::empty();

        task.has_run.store(update, Relaxed);
        loop {
            let mut registry = self.registry();

            self.forget(task);
            match registry.prefer(task.member, &[preferred], &mut prealloc, update) {
                Ok(()) => break,
                Err(Refusal::Short) => prealloc.fill(1).expect("there is memory"),
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
        task.preferred.store(preferred, Relaxed);
        self.reset(number);
        task.has_run.store(true, Relaxed);
    }

    /// Asserts that everyone is where the specification says.
    fn assert_all_done(&self, bound: Option<(usize, Set)>) {
        let truth = self.truth();
        let (level, usable) = (truth.may(), truth.usable[0]);
        drop(truth);

        assert!(
            self.registry().is_settled(),
            "there is something left to do"
        );
        for (number, task) in self.tasks.iter().enumerate() {
            let (user, _) = *task.lock.lock().expect("nobody panics with it");
            let mask = task.mask.load(Relaxed);

            if task.member.group() != 0 {
                let preferred = level & task.preferred.load(Relaxed);
                let level = if preferred & usable != 0 {
                    preferred
                } else {
                    level
                };
                let expected = user
                    .map(|user| user & level)
                    .filter(|set| set & usable != 0)
                    .unwrap_or(level);
                assert!(
                    mask == expected,
                    "a thread is left on {mask:b}, not {expected:b}"
                );
            }
            if let Some((_, bound)) = bound.filter(|bound| bound.0 == number) {
                assert!(mask == bound, "a bound thread is on {mask:b}");
            }
        }
    }
}

/// What one after the other does, at the same time as others.
type Actor = fn(&World);

/// Runs `actors` at the same time in all orders.
fn check(fault: Fault, case: &Case) {
    let case = *case;
    let mut builder = loom::model::Builder::new();

    builder.preemption_bound = Some(case.preemptions);
    builder.max_branches = 10_000;
    builder.check(move || {
        let world = World::new(fault, case.registered, case.tasks);
        let others: Vec<_> = case.actors[1..]
            .iter()
            .map(|actor| {
                let (actor, world) = (*actor, world.clone());
                thread::spawn(move || actor(&world))
            })
            .collect();

        case.actors[0](&world);
        for other in others {
            other.join().expect("no actor fails");
        }
        world.assert_all_done(case.bound);
    });
}

#[derive(Clone, Copy)]
struct Case {
    registered: usize,
    tasks: usize,
    actors: &'static [Actor],
    bound: Option<(usize, Set)>,
    preemptions: usize,
}

/// Checks a case, and that the checker finds each of `faults` in it.
fn check_with_faults(case: Case, faults: &[Fault]) {
    check(Fault::None, &case);
    for fault in faults {
        let found = catch_unwind(AssertUnwindSafe(|| check(*fault, &case)));
        assert!(found.is_err(), "nobody notices {fault:?}");
    }
}

const CONFINE: Actor = |world| world.confine(0b0110);
const CREATE: Actor = |world| world.create(1);

#[test]
fn a_thread_is_created_while_the_confinement_changes() {
    check_with_faults(
        Case {
            registered: 1,
            tasks: 2,
            actors: &[CONFINE, CREATE],
            bound: None,
            preemptions: 4,
        },
        &[
            Fault::RegisteredTooLate,
            Fault::NotReset,
            Fault::ToldTooEarly,
            Fault::NotEvaluated,
        ],
    );
}

#[test]
fn a_thread_is_created_while_the_confinement_ends() {
    let case = Case {
        registered: 1,
        tasks: 2,
        actors: &[|world| world.end(), CREATE],
        bound: None,
        preemptions: 4,
    };
    // After the second change, nobody knows of the confinement any more.
    let longer = Case {
        actors: &[
            |world| {
                world.end();
                world.housekeep(POSSIBLE);
            },
            CREATE,
        ],
        ..case
    };

    check_with_faults(case, &[Fault::NotReset]);
    check_with_faults(longer, &[Fault::NotCompared]);
}

#[test]
fn user_space_finds_a_thread_that_is_being_created() {
    check_with_faults(
        Case {
            registered: 1,
            tasks: 2,
            actors: &[CREATE, |world| world.user(1, 0b1000)],
            bound: None,
            preemptions: 4,
        },
        &[Fault::NotReset],
    );
}

#[test]
fn user_space_and_the_confinement_set_the_same_thread() {
    check_with_faults(
        Case {
            registered: 2,
            tasks: 2,
            actors: &[CONFINE, |world| {
                world.user(1, 0b0101);
                world.user(1, 0b1100);
            }],
            bound: None,
            preemptions: 4,
        },
        &[Fault::AskedTooEarly, Fault::NotEvaluated, Fault::OneBatch],
    );
}

#[test]
fn a_thread_is_bound_while_it_is_moved() {
    check_with_faults(
        Case {
            registered: 3,
            tasks: 3,
            actors: &[CONFINE, |world| {
                world.bind(1, 0b1000);
                world.exit(2);
            }],
            bound: Some((1, 0b1000)),
            preemptions: 4,
        },
        &[Fault::UnregisteredTooLate],
    );
}

#[test]
fn preferences_change_while_the_confinement_does() {
    // The group of the first mask is free then, and is that of the third.
    let case = Case {
        registered: 2,
        tasks: 2,
        actors: &[CONFINE, |world| {
            world.prefer(1, 0b0011, false);
            world.prefer(1, 0b0100, true);
            world.prefer(1, 0b1010, true);
        }],
        bound: None,
        preemptions: 4,
    };

    check_with_faults(case, &[Fault::DueForever, Fault::NotEvaluated]);
}

#[test]
fn a_thread_is_created_while_the_confinement_changes_and_user_space_finds_it() {
    check_with_faults(
        Case {
            registered: 1,
            tasks: 2,
            actors: &[CONFINE, CREATE, |world| world.user(1, 0b1000)],
            bound: None,
            preemptions: 3,
        },
        &[Fault::NotEvaluated],
    );
}

#[test]
fn two_changes_at_the_same_time() {
    check_with_faults(
        Case {
            registered: 2,
            tasks: 2,
            actors: &[CONFINE, |world| world.housekeep(0b1100)],
            bound: None,
            preemptions: 4,
        },
        &[Fault::NotSerialized],
    );
}

#[test]
fn the_last_cpu_goes_and_comes_while_a_thread_is_created() {
    check_with_faults(
        Case {
            registered: 1,
            tasks: 2,
            actors: &[
                |world| {
                    world.offline(0);
                    world.online(0);
                },
                CREATE,
            ],
            bound: None,
            preemptions: 4,
        },
        &[Fault::RegisteredTooLate, Fault::NotEvaluated],
    );
}

#[test]
fn the_last_cpu_goes_while_the_confinement_changes_and_user_space_chooses() {
    check_with_faults(
        Case {
            registered: 2,
            tasks: 2,
            actors: &[
                |world| {
                    world.offline(1);
                    world.online(1);
                },
                |world| world.confine(0b0010),
                |world| world.user(1, 0b0110),
            ],
            bound: None,
            preemptions: 4,
        },
        &[Fault::NotSerialized],
    );
}
