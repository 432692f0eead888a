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
    cpumask::sets::{
        no_cpus,
        CpuSet, //
    },
    prelude::*, //
};

use super::policy::{
    self,
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

    /// Remembers the CPU that the thread depends on, plus 1, or one more than the last of these if
    /// it is displaced, or 0.
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

    /// Moves the first threads to `to`, up to the one for which `with` is false.
    fn move_while(&mut self, to: &mut Self, with: impl FnMut(Self::Thread) -> bool);
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
    /// them only if it has asked for no others.
    pub excluded: Option<&'a [usize]>,
    /// What user space has asked for, or is just asking for, if it has: `user_cpus_ptr`.
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

/// The threads with one preference.
struct Group<L> {
    /// The CPUs that its threads prefer; none if they prefer none, or the group waits for a mask.
    preferred: KVec<usize>,
    /// Where its threads may run, as of `generation`.
    allowed: KVec<usize>,
    /// The [`Registry::generation`] for which it was refreshed last, or 0 if it must be.
    generation: u64,
    /// Its threads that are where they may run, or are just being put there.
    settled: L,
    /// How many threads it has.
    members: u32,
    /// How many of them are displaced or narrowed.
    waiting: u32,
}

impl<L: List> Group<L> {
    /// With masks of `words` words. May sleep.
    fn new(words: usize) -> Result<Self, AllocError> {
        let [preferred, allowed] = no_cpus(words)?;

        Ok(Self {
            preferred,
            allowed,
            generation: 0,
            settled: L::EMPTY,
            members: 0,
            waiting: 0,
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
        let mut cpus = Cpus {
            confined: &self.confined,
            housekeeping,
            online: usable,
            possible: &self.possible,
        };

        if !self.is_confined {
            (cpus.confined, cpus.possible) = (housekeeping, housekeeping);
            if !is_node {
                cpus.online = housekeeping;
            }
        }
        policy::effective(allowed, preferred, &cpus, better);
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
    /// Where the groups with a mask are, in the order of their masks, and behind them those that
    /// wait for one.
    order: KVVec<u32>,
    /// How many of them have a mask.
    masked: usize,
    nodes: usize,
    masks: Masks,
    /// Whether threads are confined, or are just about to be put back as they are not any more.
    noise_counts: bool,
    /// It is never so large that it wraps.
    generation: u64,
    /// The generations that everyone was, and that all who are displaced or narrowed were last
    /// evaluated in.
    everyone: u64,
    recalled: u64,
    /// How many groups were not refreshed yet.
    stale: usize,
    /// The narrowed threads, by the CPU that they depend on, and at the end the displaced ones.
    watches: KVVec<L>,
    /// The threads that have to be evaluated.
    due: L,
    /// Whether a displaced thread may be narrowed as well.
    is_displaced_narrowed: bool,
    /// The CPUs that groups wait for which are not where they would be if all were usable.
    better: KVec<usize>,
    /// The CPUs that displaced threads wait for.
    awaited: KVec<usize>,
    scratch: [KVec<usize>; 3],
}

impl<L: List> Registry<L> {
    /// A registry without a thread, for masks of `words` words and for the nodes below `nodes`.
    ///
    /// No CPU is in any mask, and no node has a CPU. May sleep.
    pub fn new(nodes: usize, words: usize) -> Result<Self, AllocError> {
        let lists = words * usize::BITS as usize + 1;
        let mut groups = KVVec::with_capacity(nodes + 2, GFP_KERNEL)?;
        let mut watches = KVVec::with_capacity(lists, GFP_KERNEL)?;

        // There is room for all of them.
        for _ in 0..nodes + 2 {
            let _ = groups.push_within_capacity(Group::new(words)?);
        }
        for _ in 0..lists {
            let _ = watches.push_within_capacity(L::EMPTY);
        }

        let [confined, housekeeping, usable] = no_cpus(words)?;
        let [possible, better, awaited] = no_cpus(words)?;
        let scratch = no_cpus(words)?;

        Ok(Self {
            groups,
            order: KVVec::new(),
            masked: 0,
            nodes,
            masks: Masks {
                confined,
                housekeeping,
                usable,
                possible,
                is_confined: false,
            },
            noise_counts: false,
            generation: 1,
            everyone: 0,
            recalled: 0,
            stale: nodes + 2,
            watches,
            due: L::EMPTY,
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

    /// Whether all threads were handed out by [`Registry::next()`] that had to be evaluated.
    pub fn is_settled(&self) -> bool {
        self.stale == 0 && self.due.is_empty()
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
    /// with none. Returns whether it has to be evaluated.
    ///
    /// It has the mask that its parent had when it was made. As long as threads have been confined
    /// since the last change, that may be from then.
    pub fn register(&mut self, thread: L::Thread, node: Option<usize>) -> bool {
        let node = node.filter(|node| *node < self.nodes);

        self.join(thread, node.map_or(0, |node| 1 + node));
        self.noise_counts
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
            // It runs where it was until it is evaluated, by its owner or by who moves others.
            self.rejoin(thread, to, update);
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
        // The scheduler may refuse it these CPUs. Then what it was due for is to be done yet.
        let recall = thread.watch() != 0 || !self.due.is_empty();

        self.rejoin(thread, at, recall);
    }

    /// Moves `thread` to the group `to`, and has it handed out if that is to `recall` it.
    fn rejoin(&mut self, thread: L::Thread, to: usize, recall: bool) {
        let displaced = self.displaced();

        self.part(thread);
        self.join(thread, to);
        if recall {
            if let Some((group, _)) = self.unlink(thread) {
                group.waiting += 1;
                thread.set_watch(displaced);
                self.due.add(thread);
            }
        }
    }

    /// Lets `with` set the masks, and begins a generation in which all threads are evaluated, as
    /// others may have moved some of them.
    pub fn change(&mut self, with: impl FnOnce(&mut Masks)) {
        let was_confined = self.masks.is_confined;

        with(&mut self.masks);
        self.noise_counts = was_confined || self.masks.is_confined;
        self.everyone = self.generation + 1;
        self.begin();
        self.recall_all();
    }

    /// The CPU `cpu` can be used from now on. `is_on` tells whether it belongs to a node. Begins a
    /// generation if a group or a thread waits for it.
    pub fn cpu_up(&mut self, cpu: usize, mut is_on: impl FnMut(usize) -> bool) {
        let mut has_changed = false;

        self.masks.usable.put(cpu, true);
        for (node, group) in self.groups.iter_mut().skip(1).take(self.nodes).enumerate() {
            has_changed |= group.preferred.put(cpu, is_on(node));
        }

        let is_awaited = self.awaited.has(cpu);
        if has_changed || is_awaited || self.better.has(cpu) {
            self.begin();
            if is_awaited {
                self.recall();
            }
        }
    }

    /// The CPU `cpu` must not be used any more. Begins a generation if threads are confined. Those
    /// that are not are left to the scheduler, as in mainline, which looks at them when another CPU
    /// comes online.
    pub fn cpu_down(&mut self, cpu: usize) {
        if !self.masks.usable.put(cpu, false) {
            return;
        }
        if self.masks.is_confined {
            self.begin();
            if self.is_displaced_narrowed {
                self.recall();
            }
            if let Some(watch) = self.watches.get_mut(cpu) {
                self.due.append(watch);
            }
            return;
        }

        let (masks, mut nodes) = (&self.masks, self.groups.iter().skip(1).take(self.nodes));
        let has_none = |node: &[usize]| !node.meets(&masks.housekeeping, &masks.usable);
        if nodes.any(|node| node.preferred.has(cpu) && has_none(&node.preferred)) {
            self.better.fill(usize::MAX);
        }
    }

    /// Begins a generation. The group of the threads without a preference is always up to date.
    #[inline(never)]
    fn begin(&mut self) {
        self.generation += 1;
        self.stale = self.groups.len();
        self.better.fill(0);
        self.refresh(0);
    }

    /// Has all displaced threads evaluated.
    fn recall(&mut self) {
        if let Some(displaced) = self.watches.last_mut() {
            self.due.append(displaced);
        }
        self.awaited.fill(0);
        self.is_displaced_narrowed = false;
    }

    /// Has all displaced and narrowed threads evaluated, once in a generation.
    fn recall_all(&mut self) {
        if self.recalled == self.generation {
            return;
        }
        self.recalled = self.generation;
        self.recall();
        for watch in self.watches.iter_mut() {
            self.due.append(watch);
        }
    }

    /// Has the group `at` brought up to date before it is used.
    fn outdate(&mut self, at: usize) {
        if let Some(group) = self.groups.get_mut(at) {
            // It is stale anyway if it missed a change.
            self.stale += usize::from(group.generation == self.generation);
            group.generation = 0;
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
            self.due.append(&mut group.settled);
        }
        group.generation = self.generation;
        self.stale -= 1;
        if moved && (group.waiting > 0 || at == 0) {
            self.recall_all();
        }
    }

    /// Calls `with` for the next threads that have to be evaluated, if some are found in `groups`
    /// groups: for at most `most`, all of the same group.
    ///
    /// Returns where these are to be, unless user space or a cpuset has a say, or nothing if that
    /// has to be asked in any case. `with` is told whether it is returned.
    ///
    /// `at`, which is 0 at first, is where to go on. `groups` is decremented by those that are
    /// done.
    pub fn next(
        &mut self,
        at: &mut usize,
        groups: &mut u32,
        mut most: usize,
        mut with: impl FnMut(L::Thread, bool),
    ) -> Option<&[usize]> {
        while self.due.is_empty() && self.stale > 0 && *groups > 0 {
            if *at >= self.groups.len() {
                *at = 0;
            }
            self.refresh(*at);
            *at += 1;
            *groups -= 1;
        }

        let index = Self::index(self.due.first()?);

        self.refresh(index);
        let group = self.groups.get_mut(index)?;
        let is_sure = self.masks.is_confined || group.allowed.intersects(&self.masks.usable);
        self.due.move_while(&mut group.settled, |thread| {
            if most == 0 || Self::index(thread) != index {
                return false;
            }
            most -= 1;
            if thread.watch() != 0 {
                group.waiting -= 1;
                thread.set_watch(0);
            }
            with(thread, is_sure);
            true
        });
        is_sure.then_some(&*group.allowed)
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
    /// What is asked for counts as the cpuset's, and the first line is without what partitions have
    /// taken. So a preference gives way to what was asked for, but the CPUs to which threads are
    /// confined do not. User space is refused what is in neither, unless partitions have taken all
    /// of these: it may ask for what it likes.
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

        let list = match outcome {
            _ if lost => {
                self.is_displaced_narrowed |= is_narrowed;
                self.displaced()
            }
            // CPUs with low numbers are the last that anybody takes offline.
            Outcome::Allowed if is_narrowed => result
                .first_common(&self.masks.usable)
                .map_or(0, |cpu| cpu as u32 + 1),
            Outcome::Allowed if thread.watch() != 0 || matches!(request, Request::Set(_)) => 0,
            Outcome::AsAsked if self.is_obeyed(thread, request, wishes) => 0,
            _ => return outcome,
        };

        self.move_to(thread, list);
        outcome
    }

    /// Whether `thread` is displaced and, as it is not confined, gets what it asks for, and so
    /// waits for nothing any more.
    fn is_obeyed(&self, thread: L::Thread, request: Request<'_>, wishes: Wishes<'_>) -> bool {
        let (asked, user) = match request {
            Request::Set(asked) => (asked, wishes.user.filter(|user| user.intersects(asked))),
            Request::User(asked) => (asked, None),
            _ => return false,
        };

        // As the scheduler narrows it.
        thread.watch() == self.displaced() && asked.meets(user.unwrap_or(asked), &self.masks.usable)
    }

    /// What [`Thread::watch()`] is for a thread that is displaced.
    fn displaced(&self) -> u32 {
        self.watches.len() as u32
    }

    /// Moves `thread` to those with this [`Thread::watch()`], or with 0 to those of its
    /// group that are where they belong.
    #[inline]
    fn move_to(&mut self, thread: L::Thread, watch: u32) {
        let Some((group, watches)) = self.unlink(thread) else {
            return;
        };

        match watches.get_mut((watch as usize).wrapping_sub(1)) {
            Some(list) => {
                list.add(thread);
                group.waiting += 1;
                thread.set_watch(watch);
            }
            None => group.settled.add(thread),
        }
    }

    /// Takes `thread` out of the list that it is in. Returns its group and [`Registry::watches`].
    #[inline]
    fn unlink(&mut self, thread: L::Thread) -> Option<(&mut Group<L>, &mut [L])> {
        let group = self.groups.get_mut(Self::index(thread))?;

        match thread.watch().checked_sub(1) {
            Some(at) => {
                if let Some(list) = self.watches.get_mut(at as usize) {
                    list.forget(thread);
                }
                group.waiting -= 1;
                thread.set_watch(0);
            }
            None => group.settled.forget(thread),
        }
        // Nobody keeps whether it is due, as that changes for a whole list at once.
        self.due.forget(thread);
        L::unlink(thread);
        Some((group, &mut self.watches))
    }

    fn evaluate_confined(
        &mut self,
        at: usize,
        request: Request<'_>,
        wishes: Wishes<'_>,
        result: &mut [usize],
    ) -> (Outcome, bool) {
        let is_node = self.is_node(at);
        let (Some(group), Some(any)) = (self.groups.get(at), self.groups.first()) else {
            return (Outcome::AsAsked, false);
        };
        let (first, second) = match request {
            Request::Reset | Request::Fallback(_) => (wishes.cpuset, wishes.user),
            Request::Set(asked) => (Some(asked), wishes.user),
            Request::User(asked) => (Some(asked), None),
        };
        let masks = &self.masks;
        let (mut own, mut any, mut usable) = (&*group.allowed, &*any.allowed, &*masks.usable);
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

        let excluded = wishes.excluded.unwrap_or_default();
        let levels = [
            (first, second, excluded),
            (first, None, &[]),
            (None, second, &[]),
        ];
        for (first, second, excluded) in levels {
            if first.is_none() && second.is_none() {
                continue;
            }
            for base in [own, any] {
                result.assign(base);
                result.retain(first.unwrap_or(base));
                if let Some(second) = second {
                    result.retain(second);
                    result.exclude(excluded);
                }
                if result.intersects(usable) {
                    return (Outcome::Allowed, lost);
                }
                lost |= !result.empty();
                self.awaited.unite(result);
            }
        }

        if matches!(request, Request::User(_)) {
            result.assign(any);
            result.retain(usable);
            result.exclude(excluded);
            if result.empty() {
                return self.evaluate_confined(at, Request::Reset, wishes, result);
            }
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

                if let Some(cpuset) = cpuset.filter(|cpuset| allowed.meets(cpuset, usable)) {
                    if !result.meets(cpuset, usable) {
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
                    && wishes.user.is_some_and(|user| !asked.meets(user, usable)) =>
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
            group.members += 1;
            thread.set_group(at as u32 + 1);
        }
    }

    /// Takes `thread` out of its group, and the group out of use if it was the last.
    ///
    /// The thread remembers it until it is in another: it is 0 only for who is not registered, as
    /// that is asked without the lock.
    fn part(&mut self, thread: L::Thread) {
        let at = Self::index(thread);

        if let Some((group, _)) = self.unlink(thread) {
            group.members -= 1;
        }
        let is_over = |group: &&Group<L>| group.members == 0 && at > self.noise();
        let Some(group) = self.groups.get(at).filter(is_over) else {
            return;
        };

        if let Ok(place) = self.place_of(&group.preferred) {
            let _ = self.order.remove(place);
            let _ = self.order.push_within_capacity(at as u32);
            self.masked -= 1;
        }
        if let Some(group) = self.groups.get_mut(at) {
            group.preferred.fill(0);
        }
    }

    /// Opens a group for the mask `wanted`, which belongs at `place` in the order. Returns where it
    /// is.
    #[inline(never)]
    fn open(
        &mut self,
        place: usize,
        wanted: &[usize],
        prealloc: &mut Prealloc<L>,
    ) -> Result<usize, Refusal> {
        let count = self.groups.len();

        if self.masked == self.order.len() {
            if count == self.groups.capacity() {
                let tables = prealloc.tables.as_mut();
                let Some((groups, order)) = tables.filter(|(groups, _)| groups.capacity() > count)
                else {
                    prealloc.short = count + 1;
                    return Err(Refusal::Short);
                };
                grow(&mut self.groups, groups);
                grow(&mut self.order, order);
            }
            let group = prealloc.group.take().ok_or(Refusal::Short)?;

            // There is room for it, here as well as below.
            let _ = self.groups.push_within_capacity(group);
            let _ = self.order.push_within_capacity(count as u32);
            self.stale += 1;
        }

        let at = self.order.pop().map_or(count, |at| at as usize);
        let _ = self.order.insert_within_capacity(place, at as u32);
        self.masked += 1;
        if let Some(group) = self.groups.get_mut(at) {
            group.preferred.assign(wanted);
        }
        self.outdate(at);
        Ok(at)
    }

    /// Where the group with the mask `mask` is in the order, or where it belongs.
    #[inline(never)]
    fn place_of(&self, mask: &[usize]) -> Result<usize, usize> {
        let order = self.order.get(..self.masked).unwrap_or_default();

        order.binary_search_by(|at| {
            let group = self.groups.get(*at as usize);

            group.map_or(&[][..], |group| &*group.preferred).cmp(mask)
        })
    }
}
