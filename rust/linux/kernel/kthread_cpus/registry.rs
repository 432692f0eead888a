// SPDX-License-Identifier: GPL-2.0

//! The registry of managed kthreads: which there are, what they prefer, and where they may run.
//!
//! Threads that prefer the same CPUs are in one group. What the masks of the system say is looked
//! at once for each group; a thread is only touched when the CPUs of its group change, or when it
//! is [displaced](Registry#displaced-threads).
//!
//! What user space and cpusets ask for is not kept here. Whoever sets the mask of a thread lends
//! what the scheduler and the cpuset have, see [`Wishes`].
//!
//! This is safe Rust over made-up threads as well as over the kernel's, without locks, and without
//! side effects but for those of [`Thread`]. Nothing here allocates, apart from [`Registry::new()`]
//! and [`Prealloc`], which are for before a lock is taken. A call takes a bounded time, apart from
//! what depends on the words of a mask and, where a preference is looked up, on the number of
//! groups.
//!
//! CPU masks are slices of words, all of the same length.

use super::{
    policy::{
        self,
        CpuSet,
        Cpus, //
    },
    table::{
        NoMemory,
        Table, //
    },
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

    /// Whether there is no thread in the list.
    fn is_empty(&self) -> bool;

    /// Adds `thread`, which is in no list.
    fn add(&mut self, thread: Self::Thread);

    /// Prepares for `thread` to be unlinked, which is in this list or in another one.
    fn forget(&mut self, thread: Self::Thread);

    /// Takes `thread` out of the list that it is in, which has forgotten it.
    fn unlink(thread: Self::Thread);

    /// Removes and returns some thread.
    fn pop(&mut self) -> Option<Self::Thread>;

    /// Moves all threads of `other` here, in constant time.
    fn append(&mut self, other: &mut Self);
}

/// Why a call did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no room: call [`Prealloc::fill()`] and try again.
    Short,
    /// The thread is not registered.
    Unknown,
    /// The thread has a mask as its preference already.
    Taken,
    /// The thread has no preference that could be updated.
    Indifferent,
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

/// The threads with one preference.
struct Group<L> {
    /// The CPUs that its threads prefer; without words if they prefer none, or if the group waits
    /// for a mask.
    preferred: Table<usize>,
    /// Where its threads may run, as of `generation`.
    allowed: Table<usize>,
    /// The [`Registry::generation`] for which it was refreshed last.
    generation: u32,
    /// Its threads that are where they may run, or are just being put there.
    settled: L,
    /// Its threads that are displaced.
    displaced: L,
    /// Its threads that have to be evaluated.
    due: L,
    /// How many of its threads are narrowed. They are in [`Registry::watches`].
    narrowed: u32,
    /// In a group that waits for a mask, the next such group.
    vacant: u32,
}

impl<L: List> Group<L> {
    fn new(preferred: Table<usize>, allowed: Table<usize>, generation: u32) -> Self {
        Self {
            preferred,
            allowed,
            generation,
            settled: L::EMPTY,
            displaced: L::EMPTY,
            due: L::EMPTY,
            narrowed: 0,
            vacant: 0,
        }
    }

    fn is_unused(&self) -> bool {
        self.settled.is_empty()
            && self.displaced.is_empty()
            && self.due.is_empty()
            && self.narrowed == 0
    }

    fn is_unsettled(&self, generation: u32) -> bool {
        self.generation != generation || !self.due.is_empty()
    }
}

/// What a call takes where the registry grows, and gives back where it shrinks.
///
/// It is made before a lock is taken, and freed with what is left in it after the lock was dropped.
pub struct Prealloc<L> {
    mask: Option<Table<usize>>,
    allowed: Option<Table<usize>>,
    groups: Table<Group<L>>,
    order: Table<u32>,
    /// The mask of a group that has no threads any more.
    freed: Option<Table<usize>>,
    /// For how many groups there was no room.
    short: usize,
}

impl<L: List> Prealloc<L> {
    /// Nothing, for calls that only give back. Allocates nothing.
    pub const fn empty() -> Self {
        Self {
            mask: None,
            allowed: None,
            groups: Table::new(),
            order: Table::new(),
            freed: None,
            short: 0,
        }
    }

    /// What [`Registry::prefer()`] and [`Registry::update()`] need for the preference `mask`. May
    /// sleep.
    pub fn new(mask: Table<usize>) -> Result<Self, NoMemory> {
        let allowed = Table::filled(0, mask.len())?;

        Ok(Self {
            mask: Some(mask),
            allowed: Some(allowed),
            ..Self::empty()
        })
    }

    /// Gets what the call that returned [`Refusal::Short`] was short of. May sleep.
    pub fn fill(&mut self) -> Result<(), NoMemory> {
        // With some more, so that the registry is not copied for every group.
        let grown = self.short + self.short / 4 + 8;

        self.groups = Table::with_room(grown)?;
        self.order = Table::with_room(grown)?;
        Ok(())
    }
}

/// Sees to it that there is room in `table`, taking that of `spare` if need be.
fn extend<T>(table: &mut Table<T>, spare: &mut Table<T>) -> bool {
    if table.room() == 0 && spare.is_empty() && spare.room() > table.len() {
        table.move_to(spare);
        core::mem::swap(table, spare);
    }
    table.room() > 0
}

/// The masks of the system.
pub struct Masks {
    /// The CPUs to which managed kthreads are confined.
    pub confined: Table<usize>,
    /// The housekeeping CPUs.
    pub housekeeping: Table<usize>,
    /// The CPUs that may run managed kthreads now: active, and not on their way down.
    pub usable: Table<usize>,
    /// The CPUs that may ever come online.
    pub possible: Table<usize>,
    /// Whether managed kthreads are confined. If not, others may set their masks as they like.
    pub is_confined: bool,
}

impl Masks {
    fn new(words: usize) -> Result<Self, NoMemory> {
        Ok(Self {
            confined: Table::filled(0, words)?,
            housekeeping: Table::filled(0, words)?,
            usable: Table::filled(0, words)?,
            possible: Table::filled(0, words)?,
            is_confined: false,
        })
    }

    fn cpus<'a>(&'a self, usable: &'a [usize]) -> Cpus<'a, [usize]> {
        Cpus {
            confined: &self.confined,
            housekeeping: &self.housekeeping,
            online: usable,
            possible: &self.possible,
        }
    }

    /// Sets `allowed` to where the threads of a group may run with this preference.
    ///
    /// Threads that are not confined are where mainline has them: the CPUs of a mask need not be
    /// usable, those of a node must be.
    fn allowed(&self, allowed: &mut [usize], preferred: &[usize], is_node: bool, usable: &[usize]) {
        if self.is_confined {
            let preferred = (!preferred.is_empty()).then_some(preferred);

            policy::effective(allowed, preferred, &self.cpus(usable));
            return;
        }

        allowed.assign(&self.housekeeping);
        if !preferred.is_empty() {
            allowed.retain(preferred);
            let has_say = match is_node {
                true => allowed.intersects(usable),
                false => !allowed.empty(),
            };
            if !has_say {
                allowed.assign(&self.housekeeping);
            }
        }
    }
}

/// All managed kthreads.
///
/// Group 1 is that of the threads without a preference, the next ones are those of the nodes, and
/// all others have a mask.
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
    groups: Table<Group<L>>,
    /// The groups with a mask, in the order of their masks.
    order: Table<u32>,
    /// The first group that waits for a mask.
    vacant: u32,
    nodes: usize,
    masks: Masks,
    /// Where threads may run that no preference has a say for.
    common: Table<usize>,
    generation: u32,
    /// The generation that everyone was, and that all displaced threads were last called in.
    everyone: u32,
    recalled: u32,
    /// That in which all narrowed threads were last evaluated.
    rechecked: u32,
    /// How many groups are stale, or have threads that are due.
    unsettled: usize,
    /// The narrowed threads, by the CPU that they depend on.
    watches: Table<L>,
    /// Those of them that have to be evaluated.
    recheck: L,
    /// Whether a displaced thread may be narrowed as well.
    is_displaced_narrowed: bool,
    /// The CPUs that displaced threads wait for.
    awaited: Table<usize>,
    /// Whether some of them wait for any CPU.
    any_awaited: bool,
    scratch: Table<usize>,
    scratch_common: Table<usize>,
}

fn has(mask: &[usize], cpu: usize) -> bool {
    let (word, bit) = (cpu / usize::BITS as usize, cpu & (usize::BITS as usize - 1));

    mask.get(word).is_some_and(|word| (word >> bit) & 1 != 0)
}

fn put(mask: &mut [usize], cpu: usize, is_in: bool) {
    let (word, bit) = (cpu / usize::BITS as usize, cpu & (usize::BITS as usize - 1));

    if let Some(word) = mask.get_mut(word) {
        *word = *word & !(1 << bit) | usize::from(is_in) << bit;
    }
}

/// Adds the CPUs of `more` to `mask`.
fn unite(mask: &mut [usize], more: &[usize]) {
    for (word, more) in mask.iter_mut().zip(more) {
        *word |= more;
    }
}

impl<L: List> Registry<L> {
    const INDIFFERENT: u32 = 1;

    /// A registry without a thread, for masks of `words` words and for the nodes below `nodes`.
    ///
    /// No CPU is in any mask, and no node has a CPU. May sleep.
    pub fn new(nodes: usize, words: usize) -> Result<Self, NoMemory> {
        let mut groups = Table::with_room(1 + nodes)?;

        // There is room for all of them.
        let _ = groups.push(Group::new(Table::new(), Table::filled(0, words)?, 0));
        for _ in 0..nodes {
            let (preferred, allowed) = (Table::filled(0, words)?, Table::filled(0, words)?);

            let _ = groups.push(Group::new(preferred, allowed, 0));
        }

        let cpus = words * usize::BITS as usize;
        let mut watches = Table::with_room(cpus)?;

        for _ in 0..cpus {
            let _ = watches.push(L::EMPTY);
        }

        Ok(Self {
            groups,
            order: Table::new(),
            vacant: 0,
            nodes,
            masks: Masks::new(words)?,
            common: Table::filled(0, words)?,
            generation: 0,
            everyone: 0,
            recalled: 0,
            rechecked: 0,
            unsettled: 0,
            watches,
            recheck: L::EMPTY,
            is_displaced_narrowed: false,
            awaited: Table::filled(0, words)?,
            any_awaited: false,
            scratch: Table::filled(0, words)?,
            scratch_common: Table::filled(0, words)?,
        })
    }

    /// The masks of the system.
    pub fn masks(&self) -> &Masks {
        &self.masks
    }

    /// Where `thread` may run if nobody asks for anything else, or nothing if it is not registered.
    pub fn allowed(&mut self, thread: L::Thread) -> Option<&[usize]> {
        let at = self.refreshed(thread)?;

        self.groups.get(at).map(|group| &*group.allowed)
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

    /// Whether the group `at` has a mask that was given to [`Registry::prefer()`].
    fn has_mask(&self, at: usize) -> bool {
        at > self.nodes
    }

    /// Registers `thread`, which is not registered, with the preference for the CPUs of `node`, or
    /// with none.
    pub fn register(&mut self, thread: L::Thread, node: Option<usize>) {
        let group = match node {
            Some(node) if node < self.nodes => Self::INDIFFERENT + 1 + node as u32,
            _ => Self::INDIFFERENT,
        };

        self.join(thread, group);
    }

    /// Forgets `thread`, if it is registered. What it may run on stays as it is.
    ///
    /// Puts what is to be freed into `freed`.
    pub fn unregister(&mut self, thread: L::Thread, freed: &mut Prealloc<L>) {
        if thread.group() != 0 {
            self.part(thread, freed);
            thread.set_group(0);
        }
    }

    /// Gives `thread` the mask of `prealloc` as its preference, if it has none but that for a node.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unknown`], [`Refusal::Taken`], [`Refusal::Short`]. Nothing has changed then.
    pub fn prefer(&mut self, thread: L::Thread, prealloc: &mut Prealloc<L>) -> Result<(), Refusal> {
        if thread.group() == 0 {
            return Err(Refusal::Unknown);
        }
        if self.has_mask(Self::index(thread)) {
            return Err(Refusal::Taken);
        }
        self.transfer(thread, prealloc)
    }

    /// Changes the preference of `thread` to the mask of `prealloc`, if it has one.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unknown`], [`Refusal::Indifferent`], [`Refusal::Short`]. Nothing has changed
    /// then.
    pub fn update(&mut self, thread: L::Thread, prealloc: &mut Prealloc<L>) -> Result<(), Refusal> {
        match thread.group() {
            0 => Err(Refusal::Unknown),
            Self::INDIFFERENT => Err(Refusal::Indifferent),
            _ => self.transfer(thread, prealloc),
        }
    }

    /// Lets `with` set the masks, and begins a generation in which all threads are evaluated, as
    /// others may have moved some of them.
    pub fn change(&mut self, with: impl FnOnce(&mut Masks)) {
        with(&mut self.masks);
        self.begin(true);
        self.everyone = self.generation;
        self.recheck_all();
    }

    /// The CPU `cpu` can be used from now on. `is_on` tells whether it belongs to a node. Begins a
    /// generation.
    pub fn cpu_up(&mut self, cpu: usize, mut is_on: impl FnMut(usize) -> bool) {
        put(&mut self.masks.usable, cpu, true);
        for (node, group) in self.groups.iter_mut().skip(1).take(self.nodes).enumerate() {
            put(&mut group.preferred, cpu, is_on(node));
        }

        self.begin(self.any_awaited || has(&self.awaited, cpu));
    }

    /// The CPU `cpu` must not be used any more. Begins a generation if threads are confined. Those
    /// that are not are left to the scheduler, as in mainline.
    pub fn cpu_down(&mut self, cpu: usize) {
        let was_usable = has(&self.masks.usable, cpu);

        put(&mut self.masks.usable, cpu, false);
        if was_usable && self.masks.is_confined {
            self.begin(self.is_displaced_narrowed);
            if let Some(watch) = self.watches.get_mut(cpu) {
                self.recheck.append(watch);
            }
        }
    }

    /// Begins a generation, in which all displaced threads are evaluated if `recall`.
    fn begin(&mut self, recall: bool) {
        policy::effective(
            &mut *self.scratch,
            None,
            &self.masks.cpus(&self.masks.usable),
        );
        let moved = *self.scratch != *self.common;
        core::mem::swap(&mut self.scratch, &mut self.common);

        self.generation = self.generation.wrapping_add(1);
        self.unsettled = self.groups.len();
        if recall || moved {
            self.recalled = self.generation;
            self.awaited.fill(0);
            self.any_awaited = false;
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

    /// Whether `generation` is before `since`.
    fn is_before(generation: u32, since: u32) -> bool {
        (generation.wrapping_sub(since) as i32) < 0
    }

    /// Brings the group `at` up to date, so that threads of it that have to be evaluated are due.
    fn refresh(&mut self, at: usize) {
        let is_node = self.is_node(at);
        let Some(group) = self.groups.get_mut(at) else {
            return;
        };
        if group.generation == self.generation {
            return;
        }

        let masks = &self.masks;
        masks.allowed(&mut self.scratch, &group.preferred, is_node, &masks.usable);
        let moved = *self.scratch != *group.allowed;
        if moved {
            core::mem::swap(&mut self.scratch, &mut group.allowed);
        }
        if moved || Self::is_before(group.generation, self.everyone) {
            group.due.append(&mut group.settled);
            group.due.append(&mut group.displaced);
        } else if Self::is_before(group.generation, self.recalled) {
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

    /// As [`Registry::refresh()`] for the group of `thread`, and returns where it is.
    fn refreshed(&mut self, thread: L::Thread) -> Option<usize> {
        let at = Self::index(thread);

        self.groups.get(at)?;
        self.refresh(at);
        Some(at)
    }

    /// Returns the next thread that has to be evaluated, if one is found in `groups` groups.
    ///
    /// `at`, which is 0 at first, is where to go on. `groups` is decremented by those that are
    /// done.
    pub fn next(&mut self, at: &mut usize, groups: &mut u32) -> Option<L::Thread> {
        if let Some(thread) = self.recheck.pop() {
            self.settle(thread);
            return Some(thread);
        }

        while self.unsettled > 0 && *groups > 0 {
            if *at >= self.groups.len() {
                *at = 0;
            }
            self.refresh(*at);
            if let Some(group) = self.groups.get_mut(*at) {
                if let Some(thread) = group.due.pop() {
                    group.settled.add(thread);
                    if group.due.is_empty() {
                        self.unsettled -= 1;
                    }
                    return Some(thread);
                }
            }
            if !self.recheck.is_empty() {
                return self.next(at, groups);
            }
            *at += 1;
            *groups -= 1;
        }
        None
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
    /// but the CPUs to which threads are confined do not. User space is refused what is in neither.
    pub fn evaluate(
        &mut self,
        thread: L::Thread,
        request: Request<'_>,
        wishes: Wishes<'_>,
        result: &mut [usize],
    ) -> Outcome {
        let Some(at) = self.refreshed(thread) else {
            return Outcome::AsAsked;
        };
        let (outcome, lost) = if self.masks.is_confined {
            self.evaluate_confined(at, request, wishes, result)
        } else {
            self.evaluate_free(at, request, wishes, result)
        };

        match outcome {
            _ if lost => {
                if self.masks.is_confined && self.is_narrowed(at, result) {
                    self.is_displaced_narrowed = true;
                }
                self.unlink(thread);
                if let Some(group) = self.groups.get_mut(at) {
                    group.displaced.add(thread);
                }
            }
            Outcome::Allowed if self.masks.is_confined && self.is_narrowed(at, result) => {
                self.watch(thread, result);
            }
            Outcome::Allowed if thread.watch() != 0 => {
                self.unlink(thread);
                self.settle(thread);
            }
            Outcome::AsAsked if self.is_obeyed(at, thread, request) => {
                self.unlink(thread);
                self.settle(thread);
            }
            _ => {}
        }
        outcome
    }

    /// Whether `thread`, which is not confined, gets what it asks for, and so waits for nothing.
    fn is_obeyed(&self, at: usize, thread: L::Thread, request: Request<'_>) -> bool {
        let (Request::Set(asked) | Request::User(asked)) = request else {
            return false;
        };

        asked.intersects(&self.masks.usable)
            && thread.watch() == 0
            && self
                .groups
                .get(at)
                .is_some_and(|group| group.due.is_empty())
    }

    fn is_narrowed(&self, at: usize, mask: &[usize]) -> bool {
        self.groups
            .get(at)
            .is_some_and(|group| *group.allowed != *mask)
    }

    /// Has `thread`, whose mask is to be `mask`, evaluated when a CPU goes that it depends on.
    fn watch(&mut self, thread: L::Thread, mask: &[usize]) {
        // CPUs with low numbers are the last that anybody takes offline.
        let words = mask.iter().zip(self.masks.usable.iter());
        let first = words
            .map(|(word, usable)| word & usable)
            .enumerate()
            .find(|(_, word)| *word != 0)
            .map(|(at, word)| at * usize::BITS as usize + word.trailing_zeros() as usize);
        let Some(cpu) = first.filter(|cpu| *cpu < self.watches.len()) else {
            return;
        };

        if thread.watch() == cpu as u32 + 1 {
            return;
        }
        self.unlink(thread);
        if let Some(group) = self.groups.get_mut(Self::index(thread)) {
            group.narrowed += 1;
        }
        if let Some(watch) = self.watches.get_mut(cpu) {
            watch.add(thread);
            thread.set_watch(cpu as u32 + 1);
        }
    }

    /// Puts `thread`, which is in no list, among those of its group that are where they belong.
    fn settle(&mut self, thread: L::Thread) {
        if let Some(group) = self.groups.get_mut(Self::index(thread)) {
            if thread.watch() != 0 {
                group.narrowed -= 1;
                thread.set_watch(0);
            }
            group.settled.add(thread);
        }
    }

    /// Takes `thread` out of the list that it is in.
    fn unlink(&mut self, thread: L::Thread) {
        let Some(group) = self.groups.get_mut(Self::index(thread)) else {
            return;
        };
        let was = group.is_unsettled(self.generation);

        // Nobody keeps in which list it is, as that changes for a whole list at once.
        if let Some(cpu) = thread.watch().checked_sub(1) {
            if let Some(watch) = self.watches.get_mut(cpu as usize) {
                watch.forget(thread);
            }
            self.recheck.forget(thread);
            group.narrowed -= 1;
            thread.set_watch(0);
        } else {
            group.settled.forget(thread);
            group.displaced.forget(thread);
            group.due.forget(thread);
        }
        L::unlink(thread);
        if was && !group.is_unsettled(self.generation) {
            self.unsettled -= 1;
        }
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
        let masks = &self.masks;
        let (first, second) = match request {
            Request::Reset | Request::Fallback(_) => (wishes.cpuset, wishes.user),
            Request::Set(asked) => (Some(asked), wishes.user),
            Request::User(asked) => (Some(asked), None),
        };
        let mut own = &*group.allowed;
        let mut any = &*self.common;
        let mut dying = &[][..];
        let mut lost = false;

        if let Request::Fallback(cpus) = request {
            let usable = &mut *result;

            dying = cpus;
            for (usable, (now, dying)) in usable.iter_mut().zip(masks.usable.iter().zip(cpus)) {
                *usable = now & !dying;
            }
            masks.allowed(&mut self.scratch, &group.preferred, is_node, usable);
            masks.allowed(&mut self.scratch_common, &[], false, usable);
            own = &self.scratch;
            any = &self.scratch_common;
            lost = *own != *group.allowed;
            if lost {
                unite(&mut self.awaited, &group.allowed);
            }
        }
        let usable = |at: usize| {
            let now = masks.usable.get(at).copied().unwrap_or(0);

            now & !dying.get(at).copied().unwrap_or(0)
        };

        let awaited = &mut self.awaited;
        // Sets `result` to what the sets have in common, and tells whether that has a usable CPU.
        let mut take = |base: &[usize], sets: [Option<&[usize]>; 2]| {
            let (mut members, mut ready) = (0, 0);

            for (at, (result, base)) in result.iter_mut().zip(base).enumerate() {
                let word_of = |set: Option<&[usize]>, other| {
                    set.map_or(other, |set| set.get(at).copied().unwrap_or(other))
                };
                let [first, second] = sets;
                let mut word = *base & word_of(first, usize::MAX);

                if second.is_some() {
                    word &= word_of(second, 0) & !word_of(wishes.excluded, 0);
                }
                *result = word;
                members |= word;
                ready |= word & usable(at);
            }
            if ready == 0 && members != 0 {
                lost = true;
                unite(awaited, result);
            }
            ready != 0
        };

        let found = (first.is_some()
            && second.is_some()
            && (take(own, [first, second]) || take(any, [first, second])))
            || (first.is_some() && (take(own, [first, None]) || take(any, [first, None])));
        if !found && matches!(request, Request::User(_)) {
            // Nothing changes, so that it is displaced if it was.
            return (Outcome::Refused, false);
        }
        if !found && !(second.is_some() && (take(own, [None, second]) || take(any, [None, second])))
        {
            result.assign(own);
        }
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
        let allowed = &*group.allowed;
        let usable = &self.masks.usable;
        let has_preference = at > 0;
        let mut lost = false;

        let differs = match request {
            // The cpuset brings its threads back itself.
            Request::Fallback(_) if wishes.cpuset.is_some() && !has_preference => Some(false),
            Request::Fallback(_) | Request::Reset => None,
            Request::Set(asked) => Some(asked != allowed),
            Request::User(asked) => Some(!asked.is_subset(allowed)),
        };
        if let Some(differs) = differs {
            // Until a CPU comes online. Then mainline puts those with a preference back.
            lost = has_preference && differs;
            self.any_awaited |= lost;
            return (Outcome::AsAsked, lost);
        }

        // Where it belongs, and where it is to come back to.
        result.assign(allowed);
        if let Some(user) = wishes.user.filter(|user| user.intersects(allowed)) {
            result.retain(user);
        }
        if request != Request::Reset {
            unite(&mut self.awaited, result);
            self.any_awaited |= has_preference;
            return (Outcome::AsAsked, true);
        }
        if !result.intersects(usable) {
            lost = true;
            unite(&mut self.awaited, result);
            // Otherwise it stays where it is, as the scheduler refuses this.
            if wishes.is_forgotten {
                result.assign(allowed);
                if !result.intersects(usable) {
                    unite(&mut self.awaited, result);
                }
            }
        }
        (Outcome::Allowed, lost)
    }

    /// Puts `thread`, which is in no group, into `group`.
    fn join(&mut self, thread: L::Thread, group: u32) {
        let at = (group as usize).wrapping_sub(1);

        self.refresh(at);
        if let Some(place) = self.groups.get_mut(at) {
            place.settled.add(thread);
            thread.set_group(group);
        }
    }

    /// Takes `thread` out of its group, and the group out of use if it was the last.
    ///
    /// The thread remembers it until it is in another: it is 0 only for who is not registered, as
    /// that is asked without the lock.
    fn part(&mut self, thread: L::Thread, freed: &mut Prealloc<L>) {
        let at = Self::index(thread);

        self.unlink(thread);
        if !self.has_mask(at) || !self.groups.get(at).is_some_and(Group::is_unused) {
            return;
        }

        let Self { groups, order, .. } = self;
        let Some(group) = groups.get(at) else {
            return;
        };
        if let Ok(place) = place_of(groups, order, &group.preferred) {
            order.remove(place);
        }
        if let Some(group) = groups.get_mut(at) {
            freed.freed = Some(core::mem::take(&mut group.preferred));
            group.vacant = self.vacant;
            self.vacant = thread.group();
        }
    }

    /// Moves `thread` from its group to that of the mask of `prealloc`.
    fn transfer(&mut self, thread: L::Thread, prealloc: &mut Prealloc<L>) -> Result<(), Refusal> {
        let Some(wanted) = &prealloc.mask else {
            return Err(Refusal::Unknown);
        };
        let group = match place_of(&self.groups, &self.order, wanted) {
            Ok(place) => self.order.get(place).copied().unwrap_or_default(),
            Err(place) => self.open(place, prealloc)?,
        };

        if group != thread.group() {
            self.part(thread, prealloc);
            self.join(thread, group);
        }
        Ok(())
    }

    /// Opens a group for the mask of `prealloc`, which belongs at `place` in the order.
    fn open(&mut self, place: usize, prealloc: &mut Prealloc<L>) -> Result<u32, Refusal> {
        let room = extend(&mut self.order, &mut prealloc.order)
            && (self.vacant != 0 || extend(&mut self.groups, &mut prealloc.groups));
        if !room {
            prealloc.short = self.groups.len() + 1;
            return Err(Refusal::Short);
        }
        let mask = prealloc.mask.take().unwrap_or_default();

        let number = match self.groups.get_mut((self.vacant as usize).wrapping_sub(1)) {
            Some(group) => {
                let number = core::mem::replace(&mut self.vacant, group.vacant);

                // It is refreshed if it missed a change, and has to be either way.
                if group.generation == self.generation {
                    self.unsettled += 1;
                    group.generation = group.generation.wrapping_sub(1);
                }
                group.preferred = mask;
                number
            }
            None => {
                let allowed = prealloc.allowed.take().unwrap_or_default();
                let stale = self.generation.wrapping_sub(1);

                // There is room for it, here as well as below.
                let _ = self.groups.push(Group::new(mask, allowed, stale));
                self.unsettled += 1;
                self.groups.len() as u32
            }
        };
        let _ = self.order.insert(place, number);
        Ok(number)
    }
}

/// Where the group with the mask `mask` is in `order`, or where it belongs.
fn place_of<L>(groups: &[Group<L>], order: &[u32], mask: &[usize]) -> Result<usize, usize> {
    order.binary_search_by(|number| {
        let group = groups.get((*number as usize).wrapping_sub(1));

        group.map_or(&[][..], |group| &*group.preferred).cmp(mask)
    })
}
