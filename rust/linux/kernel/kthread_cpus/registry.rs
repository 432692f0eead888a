// SPDX-License-Identifier: GPL-2.0

//! The registry of managed kthreads: which there are, what they prefer, and where they may run.
//!
//! Threads that prefer the same CPUs are in one group. What the masks of the system say is looked
//! at once for each group; a thread is only touched when the CPUs of its group change, or when it
//! is [displaced or narrowed](Registry). What user space and cpusets ask for is not kept here:
//! whoever sets the mask of a thread lends what the scheduler and the cpuset have, see [`Wishes`].
//!
//! This is safe Rust over made-up threads as well as over the kernel's, without locks. Only
//! [`Registry::new()`] and [`Prealloc::fill()`] allocate, which are for before a lock is taken.
//! A call takes a bounded time, apart from what depends on the words of a mask and, where a
//! preference is looked up, on the number of groups.
//!
//! CPU masks are slices of words, all of the same length.

use kernel::{
    alloc::AllocError,
    prelude::*, //
};

use super::policy::{
    self,
    CpuSet,
    Cpus, //
};

/// A thread, as far as the registry needs one. Copies are the same thread.
pub trait Thread: Copy {
    /// What [`Thread::set_group()`] set last; 0 for a thread that has never been registered.
    fn group(self) -> u32;

    /// Remembers the group that the thread is in, or 0 if it is not registered any more.
    fn set_group(self, group: u32);

    /// What [`Thread::set_watch()`] set last; 0 at first.
    fn watch(self) -> u32;

    /// Remembers the CPU that the thread depends on, plus 1, or 0 if there is none.
    fn set_watch(self, watch: u32);
}

/// Some threads of a group. A thread is in one list at most.
pub trait List {
    /// What it is a list of.
    type Thread: Thread;

    /// A list of none.
    const EMPTY: Self;

    /// Some thread of it, unless there is none.
    fn first(&self) -> Option<Self::Thread>;

    /// Whether it has no thread.
    fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// Adds `thread`, which is in no list.
    fn add(&mut self, thread: Self::Thread);

    /// Prepares for `thread` to be unlinked, which is in this list or in another one.
    fn forget(&mut self, thread: Self::Thread);

    /// Takes `thread` out of the list that it is in, which has forgotten it.
    fn unlink(thread: Self::Thread);

    /// Moves all threads of `other` here, in constant time.
    fn append(&mut self, other: &mut Self);
}

/// Why a call did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no room: call [`Prealloc::fill()`] and try again.
    Short,
    /// The thread is not registered, or has no preference that could be updated.
    Unsuited,
    /// The thread has a mask as its preference already.
    Taken,
}

/// Why the mask of a thread is about to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// It is put where it belongs.
    Reset,
    /// A cpuset or an owner of the thread asks for these CPUs.
    Set(&'a [usize]),
    /// User space asks for these CPUs, within what the cpuset of the thread allows.
    User(&'a [usize]),
    /// The scheduler finds no CPU for it to run on; none of these counts as usable.
    Fallback(&'a [usize]),
}

/// What others than the registry keep about a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes<'a> {
    /// The CPUs of its cpuset, unless that is the top one.
    pub cpuset: Option<&'a [usize]>,
    /// The CPUs that partitions have taken from the top cpuset, if it is in that: user space gets
    /// none of them.
    pub excluded: Option<&'a [usize]>,
    /// What user space has asked for, if it has: `user_cpus_ptr`.
    pub user: Option<&'a [usize]>,
    /// Whether mainline had forgotten that, when the scheduler's fallback set the mask.
    pub is_forgotten: bool,
}

/// What [`Registry::evaluate()`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The mask is not the registry's to decide: as without it.
    AsAsked,
    /// The thread is to run where the call has said.
    Allowed,
    /// It can run on none of the CPUs asked for.
    Refused,
}

/// The generation of a new [`Registry`], which is after another: see [`Registry::outdate()`].
const FIRST: u64 = 1;

/// The threads with one preference.
struct Group<L> {
    /// The CPUs that its threads prefer; none if they prefer none, or the group waits for a mask.
    preferred: KVec<usize>,
    /// Where its threads may run, as of `generation`.
    allowed: KVec<usize>,
    /// The [`Registry::generation`] for which it was refreshed last.
    generation: u64,
    /// Its threads that are where they may run, or are just being put there.
    settled: L,
    /// Its threads that are displaced.
    displaced: L,
    /// Its threads that have to be evaluated.
    due: L,
    /// How many of its threads are narrowed. They are in [`Registry::watches`].
    narrowed: u32,
    /// In a group that waits for a mask, the number of the next such group, or 0.
    vacant: u32,
}

impl<L: List> Group<L> {
    /// As of the first generation, with masks of `words` words. May sleep.
    fn new(words: usize) -> Result<Self, AllocError> {
        let [preferred, allowed] = no_cpus(words)?;

        Ok(Self {
            preferred,
            allowed,
            generation: FIRST,
            settled: L::EMPTY,
            displaced: L::EMPTY,
            due: L::EMPTY,
            narrowed: 0,
            vacant: 0,
        })
    }
}

/// What a call takes where the registry grows.
///
/// It is filled before a lock is taken, and freed with what is left in it after the lock was
/// dropped.
pub struct Prealloc<L> {
    group: Option<Group<L>>,
    /// For [`Registry::groups`] and [`Registry::order`], unless these have room: it would cost some
    /// to free even tables that have none.
    tables: Option<(KVVec<Group<L>>, KVVec<u32>)>,
    /// For how many groups there must be room, if there was none.
    short: usize,
}

impl<L: List> Prealloc<L> {
    /// Nothing, which is enough as a rule. Allocates nothing.
    pub const fn empty() -> Self {
        Self {
            group: None,
            tables: None,
            short: 0,
        }
    }

    /// Gets what the call that returned [`Refusal::Short`] was short of, with masks of `words`
    /// words, as those of the registry. May sleep.
    pub fn fill(&mut self, words: usize) -> Result<(), AllocError> {
        self.group = Some(Group::new(words)?);
        if self.short > 0 {
            // With some more, so that the registry is not copied for every group.
            let room = self.short + self.short / 4 + 8;
            let groups = KVVec::with_capacity(room, GFP_KERNEL)?;

            self.tables = Some((groups, KVVec::with_capacity(room, GFP_KERNEL)?));
        }
        Ok(())
    }
}

/// Moves all of `table` to `larger`, which has room for it, and swaps them.
fn grow<T>(table: &mut KVVec<T>, larger: &mut KVVec<T>) {
    for item in table.drain_all() {
        let _ = larger.push_within_capacity(item);
    }
    core::mem::swap(table, larger);
}

/// Masks of `words` words without a CPU, or [`AllocError`] if there is no memory. May sleep.
pub fn no_cpus<const N: usize>(words: usize) -> Result<[KVec<usize>; N], AllocError> {
    let mut masks = [const { KVec::new() }; N];

    allocate(&mut masks, words)?;
    Ok(masks)
}

/// What [`no_cpus()`] does, so that it is not compiled for each number of masks.
fn allocate(masks: &mut [KVec<usize>], words: usize) -> Result<(), AllocError> {
    for mask in masks {
        *mask = KVec::from_elem(0, words, GFP_KERNEL)?;
    }
    Ok(())
}

/// The masks of the system.
pub struct Masks {
    /// The CPUs to which managed kthreads are confined.
    pub confined: KVec<usize>,
    /// The housekeeping CPUs.
    pub housekeeping: KVec<usize>,
    /// The CPUs that may run managed kthreads now: online, and not on their way down.
    pub usable: KVec<usize>,
    /// The CPUs that may ever come online.
    pub possible: KVec<usize>,
    /// Whether managed kthreads are confined. If not, others may set their masks as they like.
    pub is_confined: bool,
}

impl Masks {
    /// Sets `allowed` to where the threads of a group may run with this preference, and adds to
    /// `better` what would change that if it became usable.
    ///
    /// Threads that are not confined are where mainline has them: the CPUs of a mask need not be
    /// usable, those of a node must be.
    fn allowed(
        &self,
        allowed: &mut [usize],
        preferred: &[usize],
        is_node: bool,
        usable: &[usize],
        better: &mut [usize],
    ) {
        let housekeeping = &*self.housekeeping;
        let cpus = match self.is_confined {
            true => Cpus {
                confined: &self.confined,
                housekeeping,
                online: usable,
                possible: &self.possible,
            },
            false => Cpus {
                confined: housekeeping,
                housekeeping,
                online: if is_node { usable } else { housekeeping },
                possible: housekeeping,
            },
        };

        policy::effective_until(allowed, preferred, &cpus, better);
    }
}

/// All managed kthreads.
///
/// Group 1 is that of the threads without a preference, the next ones are those of the nodes, then
/// comes that of the threads that prefer the CPUs for kernel noise, and all others have a mask. A
/// group that has no threads any more keeps its memory for the next mask.
///
/// # Changes
///
/// A change of the masks begins a new generation. Groups are refreshed by [`Registry::next()`],
/// some at a time, or before they are used. Whoever has begun a generation calls
/// [`Registry::next()`] until there is nothing left to do, and has each thread that it returns
/// evaluated.
///
/// # Displaced threads
///
/// A thread is displaced while it may not run where it was asked to because none of these CPUs is
/// usable, or while its mask is another's choice that lasts until a CPU comes online. It is
/// evaluated when such a CPU comes.
///
/// # Narrowed threads
///
/// A thread that is confined is narrowed while its mask is not that of its group. It may lose its
/// last CPU although its group does not. So it is in the list of one usable CPU of its mask, and
/// evaluated when that goes: it is not looked at when another CPU does.
pub struct Registry<L: List> {
    groups: KVVec<Group<L>>,
    /// Where the groups with a mask are, in the order of their masks.
    order: KVVec<u32>,
    /// The number of the first group that waits for a mask, or 0.
    vacant: u32,
    nodes: usize,
    masks: Masks,
    /// Whether threads are confined, or are just about to be put back as they are not any more.
    noise_counts: bool,
    /// Where threads may run that no preference has a say for.
    common: KVec<usize>,
    /// It is never so large that it wraps.
    generation: u64,
    /// The generation that everyone was, that all displaced threads were, and that all narrowed
    /// threads were last evaluated in.
    everyone: u64,
    recalled: u64,
    rechecked: u64,
    /// How many groups are stale, or have threads that are due.
    unsettled: usize,
    /// The narrowed threads, by the CPU that they depend on.
    watches: KVVec<L>,
    /// Those of them that have to be evaluated.
    recheck: L,
    /// Whether a displaced thread may be narrowed as well.
    is_displaced_narrowed: bool,
    /// The CPUs that groups wait for which are not where they would be if all were usable.
    better: KVec<usize>,
    /// The CPUs that displaced threads wait for.
    awaited: KVec<usize>,
    scratch: [KVec<usize>; 3],
}

/// Returns whether the mask has changed.
fn put(mask: &mut [usize], cpu: usize, is_in: bool) -> bool {
    let has_changed = mask.has(cpu) != is_in;

    if let Some(word) = mask.get_mut(cpu / usize::BITS as usize) {
        *word ^= usize::from(has_changed) << (cpu % usize::BITS as usize);
    }
    has_changed
}

/// Whether some CPU is in all three.
fn meet(a: &[usize], b: &[usize], c: &[usize]) -> bool {
    let pairs = a.iter().zip(b).map(|(a, b)| a & b);

    pairs.zip(c).any(|(word, c)| word & c != 0)
}

/// Whether `mask` has all CPUs that are in both others.
fn covers(mask: &[usize], a: &[usize], b: &[usize]) -> bool {
    let pairs = a.iter().zip(b).map(|(a, b)| a & b);

    pairs.zip(mask).all(|(word, mask)| word & !mask == 0)
}

impl<L: List> Registry<L> {
    /// A registry without a thread, for masks of `words` words and for the nodes below `nodes`.
    ///
    /// No CPU is in any mask, and no node has a CPU. May sleep.
    pub fn new(nodes: usize, words: usize) -> Result<Self, AllocError> {
        let cpus = words * usize::BITS as usize;
        let mut groups = KVVec::with_capacity(nodes + 2, GFP_KERNEL)?;
        let mut watches = KVVec::with_capacity(cpus, GFP_KERNEL)?;

        // There is room for all of them.
        for _ in 0..nodes + 2 {
            let _ = groups.push_within_capacity(Group::new(words)?);
        }
        for _ in 0..cpus {
            let _ = watches.push_within_capacity(L::EMPTY);
        }

        let [confined, housekeeping, usable, possible, common, better, awaited, scratch @ ..] =
            no_cpus::<10>(words)?;

        Ok(Self {
            groups,
            order: KVVec::new(),
            vacant: 0,
            nodes,
            masks: Masks {
                confined,
                housekeeping,
                usable,
                possible,
                is_confined: false,
            },
            noise_counts: false,
            common,
            generation: FIRST,
            everyone: 0,
            recalled: 0,
            rechecked: 0,
            unsettled: 0,
            watches,
            recheck: L::EMPTY,
            is_displaced_narrowed: false,
            better,
            awaited,
            scratch,
        })
    }

    /// The masks of the system.
    pub fn masks(&self) -> &Masks {
        &self.masks
    }

    /// Whether the CPU `cpu` may run managed kthreads now.
    pub fn is_usable(&self, cpu: usize) -> bool {
        self.masks.usable.has(cpu)
    }

    /// Whether all threads were handed out by [`Registry::next()`] that had to be evaluated.
    pub fn is_settled(&self) -> bool {
        self.unsettled == 0 && self.recheck.is_empty()
    }

    fn index(thread: L::Thread) -> usize {
        (thread.group() as usize).wrapping_sub(1)
    }

    fn is_node(&self, at: usize) -> bool {
        (1..=self.nodes).contains(&at)
    }

    /// Where the group of [`Registry::prefer_noise()`] is, which is before those with a mask.
    fn noise(&self) -> usize {
        self.nodes + 1
    }

    /// Registers `thread`, which is not registered, with the preference for the CPUs of `node`, or
    /// with none.
    pub fn register(&mut self, thread: L::Thread, node: Option<usize>) {
        let node = node.filter(|node| *node < self.nodes);

        self.join(thread, node.map_or(0, |node| 1 + node));
    }

    /// Forgets `thread`, if it is registered. What it may run on stays as it is.
    pub fn unregister(&mut self, thread: L::Thread) {
        if thread.group() != 0 {
            self.part(thread);
            thread.set_group(0);
        }
    }

    /// Gives `thread` the mask `wanted` as its preference. If `update`, it must have one already,
    /// and otherwise none but that for a node.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unsuited`], [`Refusal::Taken`], [`Refusal::Short`]. Nothing has changed then.
    pub fn prefer(
        &mut self,
        thread: L::Thread,
        wanted: &[usize],
        prealloc: &mut Prealloc<L>,
        update: bool,
    ) -> Result<(), Refusal> {
        let at = Self::index(thread);

        match at {
            _ if thread.group() == 0 => return Err(Refusal::Unsuited),
            _ if update && (at == 0 || at == self.noise()) => return Err(Refusal::Unsuited),
            _ if !update && at > self.noise() => return Err(Refusal::Taken),
            _ => {}
        }

        let to = match self.place_of(wanted) {
            Ok(place) => self.order.get(place).map_or(at, |to| *to as usize),
            Err(place) => self.open(place, wanted, prealloc)?,
        };

        if to != at {
            self.part(thread);
            self.join(thread, to);
        }
        Ok(())
    }

    /// Has `thread`, unless it has a preference or is not registered, prefer the CPUs for kernel
    /// noise, which `with` sets. That counts while threads are confined, and has them go back to
    /// these CPUs when they are not any more.
    pub fn prefer_noise(&mut self, thread: L::Thread, with: impl FnOnce(&mut [usize])) {
        let at = self.noise();

        if Self::index(thread) != 0 {
            return;
        }
        with(&mut self.scratch[0]);
        if let Some(group) = self.groups.get_mut(at) {
            if *group.preferred != *self.scratch[0] {
                group.preferred.assign(&self.scratch[0]);
                self.outdate(at);
            }
        }
        self.unlink(thread);
        self.join(thread, at);
    }

    /// Lets `with` set the masks, and begins a generation in which all threads are evaluated, as
    /// others may have moved some of them.
    pub fn change(&mut self, with: impl FnOnce(&mut Masks)) {
        let was_confined = self.masks.is_confined;

        with(&mut self.masks);
        self.noise_counts = was_confined || self.masks.is_confined;
        self.begin(true);
        self.everyone = self.generation;
        self.recheck_all();
    }

    /// The CPU `cpu` can be used from now on. `is_on` tells whether it belongs to a node. Begins a
    /// generation if a group or a thread waits for it.
    pub fn cpu_up(&mut self, cpu: usize, mut is_on: impl FnMut(usize) -> bool) {
        let mut has_changed = false;

        put(&mut self.masks.usable, cpu, true);
        for (node, group) in self.groups.iter_mut().skip(1).take(self.nodes).enumerate() {
            has_changed |= put(&mut group.preferred, cpu, is_on(node));
        }

        let is_awaited = self.awaited.has(cpu);
        if has_changed || is_awaited || self.better.has(cpu) {
            self.begin(is_awaited);
        }
    }

    /// The CPU `cpu` must not be used any more. Begins a generation if threads are confined. Those
    /// that are not are left to the scheduler, as in mainline, which looks at them when another CPU
    /// comes online.
    pub fn cpu_down(&mut self, cpu: usize) {
        if !put(&mut self.masks.usable, cpu, false) {
            return;
        }
        if self.masks.is_confined {
            self.begin(self.is_displaced_narrowed);
            if let Some(watch) = self.watches.get_mut(cpu) {
                self.recheck.append(watch);
            }
            return;
        }

        let (masks, mut nodes) = (&self.masks, self.groups.iter().skip(1).take(self.nodes));
        let has_none = |node: &[usize]| !meet(node, &masks.housekeeping, &masks.usable);
        if nodes.any(|node| node.preferred.has(cpu) && has_none(&node.preferred)) {
            self.better.fill(usize::MAX);
        }
    }

    /// Begins a generation, in which all displaced threads are evaluated if `recall`.
    fn begin(&mut self, recall: bool) {
        let (masks, scratch) = (&self.masks, &mut self.scratch[0]);

        masks.allowed(scratch, &[], false, &masks.usable, &mut []);
        let moved = **scratch != *self.common;
        core::mem::swap(scratch, &mut self.common);

        self.generation += 1;
        self.unsettled = self.groups.len();
        self.better.fill(0);
        if recall || moved {
            self.recalled = self.generation;
            self.awaited.fill(0);
            self.is_displaced_narrowed = false;
        }
    }

    /// Has all narrowed threads evaluated, once in a generation.
    fn recheck_all(&mut self) {
        if self.rechecked == self.generation {
            return;
        }
        self.rechecked = self.generation;
        for watch in self.watches.iter_mut() {
            self.recheck.append(watch);
        }
    }

    /// Has the group `at` brought up to date before it is used.
    fn outdate(&mut self, at: usize) {
        let Some(group) = self.groups.get_mut(at) else {
            return;
        };

        // It is anyway if it missed a change.
        if group.generation == self.generation {
            self.unsettled += usize::from(group.due.is_empty());
            group.generation -= 1;
        }
    }

    /// Brings the group `at` up to date, so that threads of it that have to be evaluated are due.
    #[inline]
    fn refresh(&mut self, at: usize) {
        let group = self.groups.get(at);

        if group.is_some_and(|group| group.generation != self.generation) {
            self.refresh_stale(at);
        }
    }

    fn refresh_stale(&mut self, at: usize) {
        let (is_node, counts) = (self.is_node(at), self.noise_counts || at != self.noise());
        let (masks, scratch) = (&self.masks, &mut self.scratch[0]);
        let Some(group) = self.groups.get_mut(at) else {
            return;
        };
        let preferred: &[usize] = if counts { &group.preferred } else { &[] };

        masks.allowed(scratch, preferred, is_node, &masks.usable, &mut self.better);
        let moved = **scratch != *group.allowed;
        core::mem::swap(scratch, &mut group.allowed);
        if moved || group.generation < self.everyone {
            group.due.append(&mut group.settled);
            group.due.append(&mut group.displaced);
        } else if group.generation < self.recalled {
            group.due.append(&mut group.displaced);
        }
        group.generation = self.generation;
        if group.due.is_empty() {
            self.unsettled -= 1;
        }
        if moved && group.narrowed > 0 {
            self.recheck_all();
        }
    }

    /// Returns the next thread that has to be evaluated, if one is found in `groups` groups.
    ///
    /// `at`, which is 0 at first, is where to go on. `groups` is decremented by those that are
    /// done.
    pub fn next(&mut self, at: &mut usize, groups: &mut u32) -> Option<L::Thread> {
        loop {
            if let Some(thread) = self.recheck.first() {
                self.settle(thread);
                return Some(thread);
            }
            if self.unsettled == 0 || *groups == 0 {
                return None;
            }
            if *at >= self.groups.len() {
                *at = 0;
            }
            self.refresh(*at);
            if let Some(group) = self.groups.get_mut(*at) {
                if let Some(thread) = group.due.first() {
                    // As settle(), but it is known in which list it is.
                    group.due.forget(thread);
                    L::unlink(thread);
                    group.settled.add(thread);
                    self.unsettled -= usize::from(group.due.is_empty());
                    return Some(thread);
                }
            }
            *at += 1;
            *groups -= 1;
        }
    }

    /// Decides what the mask of `thread` is to be, if `request` is made, and sets `result` to it if
    /// it is [`Outcome::Allowed`].
    ///
    /// A confined thread gets the first of these that has a usable CPU, where "own" is what its
    /// group may use, and "any" what threads without a preference may:
    ///
    /// 1. own & cpuset & user, any & cpuset & user,
    /// 2. own & cpuset, any & cpuset,
    /// 3. own & user, any & user,
    /// 4. own.
    ///
    /// What is asked for counts as the cpuset's. So a preference gives way to what was asked for,
    /// but the CPUs to which threads are confined do not. User space is refused what is in neither,
    /// unless partitions have taken all of these: it may ask for what it likes.
    pub fn evaluate(
        &mut self,
        thread: L::Thread,
        request: Request<'_>,
        wishes: Wishes<'_>,
        result: &mut [usize],
    ) -> Outcome {
        let at = Self::index(thread);

        self.refresh(at);
        let (outcome, lost) = if self.masks.is_confined {
            self.evaluate_confined(at, request, wishes, result)
        } else {
            self.evaluate_free(at, request, wishes, result)
        };

        let group = self.groups.get(at);
        let is_narrowed =
            self.masks.is_confined && group.is_some_and(|group| *group.allowed != *result);

        match outcome {
            _ if lost => {
                self.is_displaced_narrowed |= is_narrowed;
                self.unlink(thread);
                if let Some(group) = self.groups.get_mut(at) {
                    group.displaced.add(thread);
                }
            }
            Outcome::Allowed if is_narrowed => self.watch(thread, result),
            Outcome::Allowed if thread.watch() != 0 || matches!(request, Request::Set(_)) => {
                self.settle(thread);
            }
            Outcome::AsAsked if self.is_obeyed(thread, request, wishes) => self.settle(thread),
            _ => {}
        }
        outcome
    }

    /// Whether `thread`, which is not confined, gets what it asks for, and so waits for nothing.
    fn is_obeyed(&self, thread: L::Thread, request: Request<'_>, wishes: Wishes<'_>) -> bool {
        let (asked, user) = match request {
            Request::Set(asked) => (asked, wishes.user.filter(|user| user.intersects(asked))),
            Request::User(asked) => (asked, None),
            _ => return false,
        };
        let group = self.groups.get(Self::index(thread));

        // As the scheduler narrows it.
        meet(asked, user.unwrap_or(asked), &self.masks.usable)
            && thread.watch() == 0
            && group.is_some_and(|group| group.due.is_empty())
    }

    /// Has `thread`, whose mask is to be `mask`, evaluated when a CPU goes that it depends on.
    fn watch(&mut self, thread: L::Thread, mask: &[usize]) {
        // CPUs with low numbers are the last that anybody takes offline.
        let Some(cpu) = mask.first_common(&self.masks.usable) else {
            return;
        };

        if thread.watch() == cpu as u32 + 1 {
            return;
        }
        self.unlink(thread);
        let group = self.groups.get_mut(Self::index(thread));
        if let (Some(group), Some(watch)) = (group, self.watches.get_mut(cpu)) {
            group.narrowed += 1;
            watch.add(thread);
            thread.set_watch(cpu as u32 + 1);
        }
    }

    /// Puts `thread` among those of its group that are where they belong.
    fn settle(&mut self, thread: L::Thread) {
        self.unlink(thread);
        if let Some(group) = self.groups.get_mut(Self::index(thread)) {
            group.settled.add(thread);
        }
    }

    /// Takes `thread` out of the list that it is in.
    fn unlink(&mut self, thread: L::Thread) {
        let Some(group) = self.groups.get_mut(Self::index(thread)) else {
            return;
        };

        // Nobody keeps in which list it is, as that changes for a whole list at once.
        if let Some(cpu) = thread.watch().checked_sub(1) {
            if let Some(watch) = self.watches.get_mut(cpu as usize) {
                watch.forget(thread);
            }
            self.recheck.forget(thread);
            group.narrowed -= 1;
            thread.set_watch(0);
        } else {
            let was_due = !group.due.is_empty();

            group.settled.forget(thread);
            group.displaced.forget(thread);
            group.due.forget(thread);
            if was_due && group.due.is_empty() && group.generation == self.generation {
                self.unsettled -= 1;
            }
        }
        L::unlink(thread);
    }

    fn evaluate_confined(
        &mut self,
        at: usize,
        request: Request<'_>,
        wishes: Wishes<'_>,
        result: &mut [usize],
    ) -> (Outcome, bool) {
        let is_node = self.is_node(at);
        let Some(group) = self.groups.get(at) else {
            return (Outcome::AsAsked, false);
        };
        let (first, second) = match request {
            Request::Reset | Request::Fallback(_) => (wishes.cpuset, wishes.user),
            Request::Set(asked) => (Some(asked), wishes.user),
            Request::User(asked) => (Some(asked), None),
        };
        let masks = &self.masks;
        let (mut own, mut any, mut usable) = (&*group.allowed, &*self.common, &*masks.usable);
        let mut lost = false;

        if let Request::Fallback(dying) = request {
            let [own_now, any_now, usable_now] = &mut self.scratch;

            usable_now.assign(usable);
            usable_now.exclude(dying);
            masks.allowed(own_now, &group.preferred, is_node, usable_now, &mut []);
            masks.allowed(any_now, &[], false, usable_now, &mut []);
            (own, any, usable) = (own_now, any_now, usable_now);
            lost = *own != *group.allowed;
            if lost {
                self.awaited.unite(&group.allowed);
            }
        }

        for level in 0..6 {
            let base = if level % 2 == 0 { own } else { any };
            let first = first.filter(|_| level < 4);
            let second = second.filter(|_| level / 2 != 1);

            if first.is_none() && second.is_none() {
                continue;
            }
            result.assign(base);
            result.retain(first.unwrap_or(base));
            if let Some(second) = second {
                result.retain(second);
                result.exclude(wishes.excluded.unwrap_or_default());
            }
            if result.intersects(usable) {
                return (Outcome::Allowed, lost);
            }
            lost |= !result.empty();
            self.awaited.unite(result);
        }

        let is_taken = || {
            let excluded = wishes.excluded;

            excluded.is_some_and(|cpus| covers(cpus, any, usable))
        };
        if matches!(request, Request::User(_)) && !is_taken() {
            // Nothing changes, so that it is displaced if it was.
            return (Outcome::Refused, false);
        }
        result.assign(own);
        (Outcome::Allowed, lost)
    }

    /// As mainline does it, but that threads come back.
    fn evaluate_free(
        &mut self,
        at: usize,
        request: Request<'_>,
        wishes: Wishes<'_>,
        result: &mut [usize],
    ) -> (Outcome, bool) {
        let Some(group) = self.groups.get(at) else {
            return (Outcome::AsAsked, false);
        };
        let (allowed, usable) = (&*group.allowed, &*self.masks.usable);
        let has_preference = at > 0 && at != self.noise();
        // Threads that have none are left to their cpuset.
        let is_ours = has_preference || wishes.cpuset.is_none();
        let user = wishes.user.filter(|user| user.intersects(allowed));

        // Where it belongs, and where it is to come back to.
        result.assign(allowed);
        if let Some(user) = user {
            result.retain(user);
        }
        let (outcome, lost) = match request {
            Request::Reset => {
                // A cpuset that a thread without a preference is in had it before it was confined.
                let cpuset = wishes
                    .cpuset
                    .filter(|_| self.noise_counts && !has_preference);

                if let Some(cpuset) = cpuset.filter(|cpuset| meet(allowed, cpuset, usable)) {
                    if !meet(result, cpuset, usable) {
                        result.assign(allowed);
                    }
                    result.retain(cpuset);
                }
                if result.intersects(usable) {
                    return (Outcome::Allowed, false);
                }
                if is_ours {
                    self.awaited.unite(allowed);
                }
                // Of a node, mainline only knows the CPUs that are online. Otherwise it stays where
                // it is, as the scheduler refuses this.
                if wishes.is_forgotten || self.is_node(at) && allowed.is_subset(&group.preferred) {
                    result.assign(allowed);
                }
                return (Outcome::Allowed, is_ours);
            }
            Request::Fallback(_) => (Outcome::AsAsked, is_ours),
            // The scheduler would have it go by what mainline has forgotten.
            Request::Set(asked)
                if wishes.is_forgotten
                    && asked.intersects(usable)
                    && wishes.user.is_some_and(|user| !meet(asked, user, usable)) =>
            {
                self.awaited.unite(result);
                result.assign(asked);
                (Outcome::Allowed, is_ours)
            }
            Request::Set(asked) => (Outcome::AsAsked, has_preference && asked != allowed),
            // What its cpuset or a partition keeps from it is not forgotten, as `user_cpus_ptr`.
            Request::User(asked) => {
                let is_within = asked.is_subset(allowed)
                    && wishes.cpuset.is_none()
                    && !wishes.excluded.is_some_and(|cpus| cpus.intersects(allowed));

                (Outcome::AsAsked, has_preference && !is_within)
            }
        };

        if lost && has_preference {
            // Whatever CPU comes online, mainline puts those back then.
            self.awaited.fill(usize::MAX);
        } else if lost {
            self.awaited.unite(result);
        }
        (outcome, lost)
    }

    /// Puts `thread`, which is in no group, into the group `at`.
    fn join(&mut self, thread: L::Thread, at: usize) {
        self.refresh(at);
        if let Some(group) = self.groups.get_mut(at) {
            group.settled.add(thread);
            thread.set_group(at as u32 + 1);
        }
    }

    /// Takes `thread` out of its group, and the group out of use if it was the last.
    ///
    /// The thread remembers it until it is in another: it is 0 only for who is not registered, as
    /// that is asked without the lock.
    fn part(&mut self, thread: L::Thread) {
        let at = Self::index(thread);

        self.unlink(thread);
        let Some(group) = self.groups.get(at).filter(|_| at > self.noise()) else {
            return;
        };
        let lists = [&group.settled, &group.displaced, &group.due];

        if group.narrowed > 0 || !lists.iter().all(|list| list.is_empty()) {
            return;
        }
        if let Ok(place) = self.place_of(&group.preferred) {
            let _ = self.order.remove(place);
        }
        if let Some(group) = self.groups.get_mut(at) {
            group.preferred.fill(0);
            group.vacant = core::mem::replace(&mut self.vacant, thread.group());
        }
    }

    /// Opens a group for the mask `wanted`, which belongs at `place` in the order. Returns where it
    /// is.
    fn open(
        &mut self,
        place: usize,
        wanted: &[usize],
        prealloc: &mut Prealloc<L>,
    ) -> Result<usize, Refusal> {
        if self.vacant == 0 {
            if self.groups.len() == self.groups.capacity() {
                let most = self.groups.len();
                let tables = prealloc.tables.as_mut();
                let Some((groups, order)) = tables.filter(|(groups, _)| groups.capacity() > most)
                else {
                    prealloc.short = most + 1;
                    return Err(Refusal::Short);
                };
                grow(&mut self.groups, groups);
                grow(&mut self.order, order);
            }
            let mut group = prealloc.group.take().ok_or(Refusal::Short)?;

            group.generation = self.generation;
            // There is room for it, here as well as below.
            let _ = self.groups.push_within_capacity(group);
            self.vacant = self.groups.len() as u32;
        }

        let at = (self.vacant as usize).wrapping_sub(1);
        if let Some(group) = self.groups.get_mut(at) {
            self.vacant = core::mem::take(&mut group.vacant);
            group.preferred.assign(wanted);
        }
        self.outdate(at);
        let _ = self.order.insert_within_capacity(place, at as u32);
        Ok(at)
    }

    /// Where the group with the mask `mask` is in the order, or where it belongs.
    #[inline(never)]
    fn place_of(&self, mask: &[usize]) -> Result<usize, usize> {
        self.order.binary_search_by(|at| {
            let group = self.groups.get(*at as usize);

            group.map_or(&[][..], |group| &*group.preferred).cmp(mask)
        })
    }
}
