// SPDX-License-Identifier: GPL-2.0

//! The books of the managed kthreads: which there are, what they prefer, and where they may run.
//!
//! Threads that prefer the same CPUs share an entry. What the masks of the system say is looked at
//! once for each entry; a thread is touched only when the CPUs that it may use change.
//!
//! This is safe Rust over made-up threads as well as over the kernel's, without locks and without
//! side effects but for those of [`Thread`]. Nothing here allocates, apart from [`Books::new()`]
//! and [`Spare`], which are for before a lock is taken.
//!
//! CPU masks are slices of words, all of the same length.

use super::{
    policy::{
        self,
        CpuSet,
        Cpus,
        Level, //
    },
    table::{
        NoMemory,
        Table, //
    },
};

/// Why a thread is told where it may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is new: [`Books::enrol()`].
    Created,
    /// It has got a preference: [`Books::prefer()`].
    Preferred,
    /// It has got another preference: [`Books::update()`].
    Updated,
    /// User space wants it so: [`Books::restrict()`].
    User,
    /// The CPUs have changed. The number is what the caller of [`Books::change()`] or
    /// [`Books::change_nodes()`] has said about it.
    Changed(u32),
}

/// Whom [`Books::change()`] moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The threads for which it makes a difference.
    Affected,
    /// All threads, as others than the books may have moved some of them.
    Everyone,
}

/// A thread, as far as the books need one. Copies are the same thread.
pub trait Thread: Copy {
    /// What [`Thread::set_entry()`] set last; 0 for a thread that has never been in the books.
    fn entry(self) -> u32;

    /// Remembers the entry that the thread is in, or 0 if it has left the books.
    fn set_entry(self, entry: u32);

    /// What [`Thread::set_stray()`] set last; 0 at first.
    fn stray(self) -> u32;

    /// Remembers the place of the thread among those whose affinity user space has set, or 0.
    fn set_stray(self, stray: u32);

    /// Makes the thread run on the CPUs of `allowed`, and only there.
    fn allow(self, allowed: &[usize], reason: Reason);
}

/// The threads of an entry. A thread is in one list at most.
pub trait List {
    /// What it is a list of.
    type Thread: Thread;

    /// A list of none.
    const EMPTY: Self;

    /// Whether there is no thread in the list.
    fn is_empty(&self) -> bool;

    /// Adds `thread`, which is in no list.
    fn add(&mut self, thread: Self::Thread);

    /// Removes `thread`, which is in this list.
    fn remove(&mut self, thread: Self::Thread);

    /// Calls `with` for every thread.
    fn for_each(&self, with: impl FnMut(Self::Thread));
}

/// Why a call did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no room: call [`Spare::fill()`] and try again.
    Short,
    /// The thread is not in the books.
    Unknown,
    /// The thread has a mask as its preference already.
    Taken,
    /// The thread has no preference that could be updated.
    Indifferent,
    /// None of the CPUs asked for can be used now.
    Unusable,
}

/// Who has said on which CPUs a thread is to be. The first one has its say first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setter {
    /// The cpuset that the thread is in, unless that is the top one.
    Cpuset,
    /// User space, or the owner of the thread.
    User,
}

/// Something for each [`Setter`], in that order.
pub type PerSetter<T> = [T; 2];

impl Setter {
    fn of<T>(self, [cpuset, user]: &PerSetter<T>) -> &T {
        match self {
            Self::Cpuset => cpuset,
            Self::User => user,
        }
    }

    fn of_mut<T>(self, [cpuset, user]: &mut PerSetter<T>) -> &mut T {
        match self {
            Self::Cpuset => cpuset,
            Self::User => user,
        }
    }
}

/// What the threads of an entry prefer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference<'a> {
    /// Nothing.
    Nothing,
    /// A node, which has these CPUs.
    Node(usize, &'a [usize]),
    /// These CPUs.
    Mask(&'a [usize]),
}

/// An entry that is in use, as others see it.
pub struct EntryView<'a, L> {
    /// What [`Thread::entry()`] is for its threads.
    pub number: u32,
    /// What its threads prefer.
    pub preference: Preference<'a>,
    /// The level that `allowed` comes from.
    pub level: Level,
    /// Where its threads may run.
    pub allowed: &'a [usize],
    /// Its threads, apart from those whose affinity user space has set.
    pub threads: &'a L,
    /// How many of the latter it has.
    pub strays: u32,
}

/// A thread whose affinity user space has set, as others see it.
pub struct StrayView<'a, T> {
    /// The thread.
    pub thread: T,
    /// What [`Thread::entry()`] is for it.
    pub entry: u32,
    /// The CPUs that each [`Setter`] has asked for; no words if it has not.
    pub wishes: PerSetter<&'a [usize]>,
    /// Whether it may run on those of them that can be used.
    pub granted: PerSetter<bool>,
    /// Whether it may do so beyond where its entry may run.
    pub outside: bool,
    /// Where it may run.
    pub allowed: &'a [usize],
}

/// The threads with one preference.
struct Entry<L> {
    /// The CPUs that its threads prefer; without words if they have no preference, or if the entry
    /// waits for a mask.
    preferred: Table<usize>,
    /// Its threads, apart from strays.
    threads: L,
    /// How many strays it has.
    strays: u32,
    /// In an entry that waits for a mask, the next such entry.
    vacant: u32,
    /// Whether the preference has a say, that is, a CPU that can be used.
    honoured: bool,
    /// Whether the last change has moved its threads.
    moved: bool,
}

impl<L: List> Entry<L> {
    fn new(preferred: Table<usize>) -> Self {
        Self {
            preferred,
            threads: L::EMPTY,
            strays: 0,
            vacant: 0,
            honoured: false,
            moved: false,
        }
    }

    fn is_unused(&self) -> bool {
        self.threads.is_empty() && self.strays == 0
    }
}

/// A thread whose affinity user space has set.
struct Stray<T> {
    thread: T,
    /// What each [`Setter`] has asked for, at least one of them; without words if it has not.
    wishes: PerSetter<Table<usize>>,
    /// Which of them may take the thread beyond where it may run otherwise.
    may_leave: PerSetter<bool>,
}

impl<T> Stray<T> {
    fn wishes(&self) -> PerSetter<&[usize]> {
        self.wishes.each_ref().map(|wish| &**wish)
    }

    fn may_leave(&self) -> bool {
        self.may_leave != [false; 2]
    }
}

/// What a call takes where the books grow, and gives back where they shrink.
///
/// It is made before a lock is taken, and freed with what is left in it after the lock was dropped.
pub struct Spare<L: List> {
    mask: Option<Table<usize>>,
    entries: Table<Entry<L>>,
    order: Table<u32>,
    strays: Table<Stray<L::Thread>>,
    /// A stray that is none any more.
    gone: Option<Stray<L::Thread>>,
    /// For how many entries and strays there was no room, and the words of the mask that lacked.
    short: (usize, usize, usize),
}

impl<L: List> Spare<L> {
    /// Nothing but `mask`, for the calls that need one. Allocates nothing.
    pub const fn new(mask: Option<Table<usize>>) -> Self {
        Self {
            mask,
            entries: Table::new(),
            order: Table::new(),
            strays: Table::new(),
            gone: None,
            short: (0, 0, 0),
        }
    }

    /// Gets what the call that returned [`Refusal::Short`] was short of. May sleep.
    pub fn fill(&mut self) -> Result<(), NoMemory> {
        // With some more, so that the books are not copied for every thread.
        let grown = |count: usize| count + count / 4 + 8;
        let (entries, strays, words) = self.short;

        if entries > 0 {
            self.entries = Table::with_room(grown(entries))?;
            self.order = Table::with_room(grown(entries))?;
        }
        if strays > 0 {
            self.strays = Table::with_room(grown(strays))?;
        }
        if words > 0 {
            self.mask = Some(Table::filled(0, words)?);
        }
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

/// The masks of the system. The caller of [`Books::change()`] sets those that may have changed.
pub struct Masks {
    /// The CPUs to which managed kthreads are confined.
    pub confined: Table<usize>,
    /// The housekeeping CPUs.
    pub housekeeping: Table<usize>,
    /// The CPUs that can run anything now: active, and not on their way down.
    pub usable: Table<usize>,
    /// The CPUs that may ever come online.
    pub possible: Table<usize>,
    /// Whether user space may not set an affinity beyond where a thread may run otherwise.
    pub strict: bool,
}

impl Masks {
    fn new(words: usize) -> Result<Self, NoMemory> {
        Ok(Self {
            confined: Table::filled(0, words)?,
            housekeeping: Table::filled(0, words)?,
            usable: Table::filled(0, words)?,
            possible: Table::filled(0, words)?,
            strict: false,
        })
    }
}

/// What follows from [`Masks`], and room to work.
struct Derived {
    /// Where threads may run that no preference has a say for.
    common: Table<usize>,
    /// The confined housekeeping CPUs.
    kernel: Table<usize>,
    /// Those of `kernel` that are usable.
    ready: Table<usize>,
    /// The CPUs by which `kernel` and the usable CPUs have changed.
    kernel_change: Table<usize>,
    usable_change: Table<usize>,
    scratch: Table<usize>,
}

impl Derived {
    fn new(words: usize) -> Result<Self, NoMemory> {
        Ok(Self {
            common: Table::filled(0, words)?,
            kernel: Table::filled(0, words)?,
            ready: Table::filled(0, words)?,
            kernel_change: Table::filled(0, words)?,
            usable_change: Table::filled(0, words)?,
            scratch: Table::filled(0, words)?,
        })
    }

    /// Sets `scratch` to where threads may run that no preference has a say for, and returns the
    /// level that this comes from.
    fn common_level(&mut self, masks: &Masks) -> Level {
        policy::effective(
            &mut *self.scratch,
            None,
            &Cpus {
                confined: &*masks.confined,
                housekeeping: &*masks.housekeeping,
                online: &*masks.usable,
                possible: &*masks.possible,
            },
        )
    }

    /// Sets `scratch` to where the threads of `entry` may run that are no strays.
    fn allowed<L: List>(&mut self, entry: &Entry<L>) {
        if entry.honoured {
            self.scratch.assign_and(&entry.preferred, &self.kernel);
        } else {
            self.scratch.assign(&self.common);
        }
    }

    /// After [`Derived::allowed()`], lets each wish have its say within what the ones before it
    /// have left; if that `may_leave` it, beyond it too where it would have none. Returns which
    /// have one, and whether this is beyond.
    fn refine(
        &mut self,
        masks: &Masks,
        wishes: PerSetter<&[usize]>,
        may_leave: bool,
    ) -> (PerSetter<bool>, bool) {
        let usable = &masks.usable;
        let mut granted = have_say(&self.scratch, usable, wishes);
        let mut outside = false;

        if may_leave {
            let beyond = have_say(&masks.possible, usable, wishes);

            // What a cpuset asks for counts first.
            outside = beyond > granted;
            if outside {
                granted = beyond;
                self.scratch.assign(&masks.possible);
            }
        }
        for (wish, granted) in wishes.iter().zip(granted) {
            if granted {
                self.scratch.retain(wish);
            }
        }
        (granted, outside)
    }
}

/// Which wishes have a usable CPU in `within`, the second one also in the first if that has.
fn have_say(
    within: &[usize],
    usable: &[usize],
    [cpuset, user]: PerSetter<&[usize]>,
) -> PerSetter<bool> {
    let have_common = |wish: &[usize], other: &[usize]| {
        wish.iter()
            .zip(other)
            .zip(within.iter().zip(usable))
            .any(|((wish, other), (within, usable))| wish & other & within & usable != 0)
    };
    let has_cpuset = have_common(cpuset, within);
    let of_cpuset = if has_cpuset { cpuset } else { within };

    [has_cpuset, have_common(user, of_cpuset)]
}

/// Makes `change`, which is what a mask was, the CPUs in which it differs from what it `is`.
fn difference(change: &mut [usize], is: &[usize]) {
    for (change, is) in change.iter_mut().zip(is) {
        *change ^= is;
    }
}

/// All managed kthreads.
///
/// Entry 1 is that of the threads without a preference, the next ones are those of the nodes, and
/// all others have a mask.
pub struct Books<L: List> {
    entries: Table<Entry<L>>,
    /// The entries with a mask, in the order of their masks.
    order: Table<u32>,
    /// The first entry that is not in use.
    vacant: u32,
    strays: Table<Stray<L::Thread>>,
    nodes: usize,
    masks: Masks,
    derived: Derived,
}

impl<L: List> Books<L> {
    const INDIFFERENT: u32 = 1;

    /// Books without a thread, for masks of `words` words and for the nodes below `nodes`.
    ///
    /// No CPU is in any mask, and no node has a CPU, until [`Books::change()`]. May sleep.
    pub fn new(nodes: usize, words: usize) -> Result<Self, NoMemory> {
        let mut entries = Table::with_room(1 + nodes)?;

        // There is room for all of them.
        let _ = entries.push(Entry::new(Table::new()));
        for _ in 0..nodes {
            let _ = entries.push(Entry::new(Table::filled(0, words)?));
        }

        Ok(Self {
            entries,
            order: Table::new(),
            vacant: 0,
            strays: Table::new(),
            nodes,
            masks: Masks::new(words)?,
            derived: Derived::new(words)?,
        })
    }

    fn entry(&mut self, id: u32) -> Option<&mut Entry<L>> {
        self.entries.get_mut((id as usize).checked_sub(1)?)
    }

    /// Whether the entry `id` has a mask that was given to [`Books::prefer()`].
    fn has_mask(&self, id: u32) -> bool {
        id as usize > 1 + self.nodes
    }

    /// Puts `thread`, which is not in the books, under the preference for the CPUs of `node`, or
    /// under none, and moves it where it may run. What user space has set for `creator` is set for
    /// it as well.
    ///
    /// # Errors
    ///
    /// [`Refusal::Short`], only if user space has set something for `creator`. The books are as
    /// before then.
    pub fn enrol(
        &mut self,
        thread: L::Thread,
        node: Option<usize>,
        creator: Option<L::Thread>,
        spare: &mut Spare<L>,
    ) -> Result<(), Refusal> {
        let id = match node {
            Some(node) if node < self.nodes => Self::INDIFFERENT + 1 + node as u32,
            _ => Self::INDIFFERENT,
        };

        if let Some(creator) = creator {
            self.inherit(thread, creator, spare)?;
        }
        self.join(thread, id);
        self.apply(thread, Reason::Created);
        Ok(())
    }

    /// Makes `thread`, which is in no entry, a stray with the wish of user space for `creator`, if
    /// there is one.
    fn inherit(
        &mut self,
        thread: L::Thread,
        creator: L::Thread,
        spare: &mut Spare<L>,
    ) -> Result<(), Refusal> {
        let at = (creator.stray() as usize).wrapping_sub(1);
        let Some(stray) = self.strays.get(at) else {
            return Ok(());
        };
        let words = Setter::User.of(&stray.wishes).len();
        if words == 0 {
            return Ok(());
        }

        if spare.mask.is_none() || !extend(&mut self.strays, &mut spare.strays) {
            spare.short = (0, self.strays.len() + 1, words);
            return Err(Refusal::Short);
        }
        if let (Some(stray), Some(mut wish)) = (self.strays.get(at), spare.mask.take()) {
            let wished = Setter::User.of(&stray.wishes);

            wish.assign(wished);
            // There is room for it.
            let _ = self.strays.push(Stray {
                thread,
                wishes: [Table::new(), wish],
                may_leave: [false; 2],
            });
            thread.set_stray(self.strays.len() as u32);
        }
        Ok(())
    }

    /// Strikes `thread` out of the books, if it is in them. What it may run on stays as it is.
    ///
    /// Puts what is to be freed into `spare`.
    pub fn leave(&mut self, thread: L::Thread, spare: &mut Spare<L>) {
        if thread.entry() == 0 {
            return;
        }
        self.unstray(thread, spare);
        self.part(thread, spare);
        thread.set_entry(0);
    }

    /// Gives `thread` the mask of `spare` as its preference, if it has none but that for a node,
    /// and moves it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unknown`], [`Refusal::Taken`], [`Refusal::Short`]. The books are as before then.
    pub fn prefer(&mut self, thread: L::Thread, spare: &mut Spare<L>) -> Result<(), Refusal> {
        match thread.entry() {
            0 => Err(Refusal::Unknown),
            id if self.has_mask(id) => Err(Refusal::Taken),
            _ => self.transfer(thread, spare, Reason::Preferred),
        }
    }

    /// Changes the preference of `thread` to the mask of `spare`, if it has one, and moves it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unknown`], [`Refusal::Indifferent`], [`Refusal::Short`]. The books are as before
    /// then.
    pub fn update(&mut self, thread: L::Thread, spare: &mut Spare<L>) -> Result<(), Refusal> {
        match thread.entry() {
            0 => Err(Refusal::Unknown),
            Self::INDIFFERENT => Err(Refusal::Indifferent),
            _ => self.transfer(thread, spare, Reason::Updated),
        }
    }

    /// Keeps `thread` on the CPUs of the mask of `spare`, which `setter` asks for, as far as it may
    /// run there. No mask, or all possible CPUs, takes back what was asked for.
    ///
    /// If it may run on none of them that is usable, it is put there nevertheless unless
    /// [`Masks::strict`] forbids it, until the confined housekeeping CPUs change. What a cpuset
    /// asks for goes before what user space does, and is kept for later if it cannot be had.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unknown`], [`Refusal::Short`] if there is a mask, and [`Refusal::Unusable`] for
    /// user space. The books are as before then.
    pub fn restrict(
        &mut self,
        thread: L::Thread,
        setter: Setter,
        spare: &mut Spare<L>,
    ) -> Result<(), Refusal> {
        let id = thread.entry();
        let at = (id as usize).wrapping_sub(1);
        let Some(entry) = self.entries.get(at) else {
            return Err(Refusal::Unknown);
        };
        let stray_at = (thread.stray() as usize).wrapping_sub(1);
        let stray = self.strays.get(stray_at);

        let wish = match &spare.mask {
            Some(mask) if !self.masks.possible.is_subset(mask) => mask,
            _ => &[][..],
        };
        let has_wish = !wish.is_empty();
        let mut wishes = stray.map_or([&[][..]; 2], Stray::wishes);
        *setter.of_mut(&mut wishes) = wish;
        let is_stray = wishes.iter().any(|wish| !wish.is_empty());

        let mut may_leave = stray.map_or([false; 2], |stray| stray.may_leave);
        *setter.of_mut(&mut may_leave) = has_wish && !self.masks.strict;
        let any_may_leave = may_leave != [false; 2];
        self.derived.allowed(entry);
        let (granted, outside) = self.derived.refine(&self.masks, wishes, any_may_leave);

        if setter == Setter::User && has_wish && !setter.of(&granted) {
            return Err(Refusal::Unusable);
        }
        // User space gets no more than it needs now, what a cpuset needs changes with the CPUs.
        if setter == Setter::User {
            *setter.of_mut(&mut may_leave) &= outside;
        }

        if !is_stray {
            self.unstray(thread, spare);
        } else if let Some(stray) = self.strays.get_mut(stray_at) {
            let wish = spare.mask.take().filter(|_| has_wish);
            let place = setter.of_mut(&mut stray.wishes);

            spare.mask = Some(core::mem::replace(place, wish.unwrap_or_default()));
            stray.may_leave = may_leave;
        } else {
            if !extend(&mut self.strays, &mut spare.strays) {
                spare.short = (0, self.strays.len() + 1, 0);
                return Err(Refusal::Short);
            }
            if let (Some(entry), Some(wish)) = (self.entry(id), spare.mask.take()) {
                let mut wishes = [Table::new(), Table::new()];

                *setter.of_mut(&mut wishes) = wish;
                entry.threads.remove(thread);
                entry.strays += 1;
                // There is room for it.
                let _ = self.strays.push(Stray {
                    thread,
                    wishes,
                    may_leave,
                });
                thread.set_stray(self.strays.len() as u32);
            }
        }
        // `refine()` has left there where it may run now.
        thread.allow(&self.derived.scratch, Reason::User);
        Ok(())
    }

    /// Lets `with` set the masks, and moves the threads that `whom` says, which are told `what` has
    /// changed.
    pub fn change(&mut self, what: u32, whom: Whom, with: impl FnOnce(&mut Masks)) {
        let reason = Reason::Changed(what);
        let Self {
            entries,
            strays,
            masks,
            derived,
            ..
        } = self;

        derived.kernel_change.assign(&derived.kernel);
        derived.usable_change.assign(&masks.usable);
        with(masks);
        derived
            .kernel
            .assign_and(&masks.confined, &masks.housekeeping);
        derived.ready.assign_and(&derived.kernel, &masks.usable);
        difference(&mut derived.kernel_change, &derived.kernel);
        difference(&mut derived.usable_change, &masks.usable);

        derived.common_level(masks);
        let common_moved = *derived.scratch != *derived.common;
        core::mem::swap(&mut derived.scratch, &mut derived.common);
        let kernel_moved = !derived.kernel_change.empty();
        let everyone = whom == Whom::Everyone;

        for entry in entries.iter_mut() {
            if entry.is_unused() {
                continue;
            }

            let honoured = entry.preferred.intersects(&derived.ready);
            let level_moved = honoured != entry.honoured;

            entry.honoured = honoured;
            entry.moved = everyone
                || level_moved
                || if honoured {
                    kernel_moved && entry.preferred.intersects(&derived.kernel_change)
                } else {
                    common_moved
                };
            if entry.moved {
                derived.allowed(entry);
                entry
                    .threads
                    .for_each(|thread| thread.allow(&derived.scratch, reason));
            }
        }

        for stray in strays.iter_mut() {
            let at = (stray.thread.entry() as usize).wrapping_sub(1);
            let Some(entry) = entries.get(at) else {
                continue;
            };

            // Who isolates or confines CPUs after the wish was made, means it too.
            let called_back = stray.may_leave() && (kernel_moved || masks.strict);

            if called_back {
                stray.may_leave = [false; 2];
            }
            let may_be_had = |wish: &Table<usize>| wish.intersects(&derived.usable_change);

            if entry.moved || called_back || stray.wishes.iter().any(may_be_had) {
                derived.allowed(entry);
                derived.refine(masks, stray.wishes(), stray.may_leave());
                stray.thread.allow(&derived.scratch, reason);
            }
        }
    }

    /// The masks of the system, as the last change found them.
    pub fn masks(&self) -> &Masks {
        &self.masks
    }

    /// Calls `with` for every entry that has a thread, until it fails.
    pub fn each_entry<E>(
        &mut self,
        mut with: impl FnMut(EntryView<'_, L>) -> Result<(), E>,
    ) -> Result<(), E> {
        let level = self.derived.common_level(&self.masks);

        for (number, entry) in (1..).zip(self.entries.iter()) {
            if entry.is_unused() {
                continue;
            }
            let preference = match number as usize - 1 {
                0 => Preference::Nothing,
                node if node <= self.nodes => Preference::Node(node - 1, &entry.preferred),
                _ => Preference::Mask(&entry.preferred),
            };

            self.derived.allowed(entry);
            with(EntryView {
                number,
                preference,
                level: if entry.honoured {
                    Level::Preferred
                } else {
                    level
                },
                allowed: &self.derived.scratch,
                threads: &entry.threads,
                strays: entry.strays,
            })?;
        }
        Ok(())
    }

    /// Calls `with` for every thread whose affinity user space has set, until it fails.
    pub fn each_stray<E>(
        &mut self,
        mut with: impl FnMut(StrayView<'_, L::Thread>) -> Result<(), E>,
    ) -> Result<(), E> {
        for stray in self.strays.iter() {
            let number = stray.thread.entry();
            let Some(entry) = self.entries.get((number as usize).wrapping_sub(1)) else {
                continue;
            };

            self.derived.allowed(entry);
            let wishes = stray.wishes();
            let (granted, outside) = self.derived.refine(&self.masks, wishes, stray.may_leave());
            with(StrayView {
                thread: stray.thread,
                entry: number,
                wishes,
                granted,
                outside,
                allowed: &self.derived.scratch,
            })?;
        }
        Ok(())
    }

    /// Whether the books know that the CPU `cpu` is on `node`; true for a node that they have not.
    pub fn knows_node(&self, cpu: usize, node: Option<usize>) -> bool {
        let (word, bit) = (cpu / usize::BITS as usize, cpu & (usize::BITS as usize - 1));

        match node.and_then(|node| self.entries.get(1 + node).filter(|_| node < self.nodes)) {
            Some(entry) => entry
                .preferred
                .get(word)
                .is_some_and(|word| (word >> bit) & 1 != 0),
            None => true,
        }
    }

    /// Sets the CPUs of the nodes: `cpus_of` sets the words that it gets to those of a node. Moves
    /// the threads for which this makes a difference, which are told `what` has changed.
    pub fn change_nodes(&mut self, what: u32, mut cpus_of: impl FnMut(usize, &mut [usize])) {
        let reason = Reason::Changed(what);
        let Self {
            entries, derived, ..
        } = self;

        for (node, entry) in entries.iter_mut().skip(1).take(self.nodes).enumerate() {
            cpus_of(node, &mut derived.scratch);
            if *derived.scratch == *entry.preferred {
                continue;
            }
            core::mem::swap(&mut derived.scratch, &mut entry.preferred);
            if entry.is_unused() {
                continue;
            }

            // Which CPUs these were is of no more use.
            entry.honoured = entry.preferred.intersects(&derived.ready);
            derived.allowed(entry);
            entry
                .threads
                .for_each(|thread| thread.allow(&derived.scratch, reason));
            for stray in self.strays.iter() {
                if stray.thread.entry() as usize == 2 + node {
                    derived.allowed(entry);
                    derived.refine(&self.masks, stray.wishes(), stray.may_leave());
                    stray.thread.allow(&derived.scratch, reason);
                }
            }
        }
    }

    /// Puts `thread`, which is in no entry, into the entry `id`.
    fn join(&mut self, thread: L::Thread, id: u32) {
        let at = (id as usize).wrapping_sub(1);
        let Some(entry) = self.entries.get_mut(at) else {
            return;
        };

        // An entry that is not in use has missed what happened meanwhile.
        entry.honoured = entry.preferred.intersects(&self.derived.ready);
        if thread.stray() == 0 {
            entry.threads.add(thread);
        } else {
            entry.strays += 1;
        }
        thread.set_entry(id);
    }

    /// Takes `thread` out of its entry, and the entry out of use if it was the last.
    ///
    /// The thread remembers it until it is in another: it is 0 only for who is not in the books, as
    /// that is asked without the lock.
    fn part(&mut self, thread: L::Thread, spare: &mut Spare<L>) {
        let id = thread.entry();
        let has_mask = self.has_mask(id);
        let Some(entry) = self.entry(id) else {
            return;
        };

        if thread.stray() == 0 {
            entry.threads.remove(thread);
        } else {
            entry.strays -= 1;
        }

        if has_mask && entry.is_unused() {
            let Self { entries, order, .. } = self;
            let at = id as usize - 1;
            let Some(entry) = entries.get(at) else {
                return;
            };

            if let Ok(place) = place_of(entries, order, &entry.preferred) {
                order.remove(place);
            }
            let vacant = self.vacant;
            if let Some(entry) = self.entry(id) {
                spare.mask = Some(core::mem::take(&mut entry.preferred));
                entry.vacant = vacant;
                self.vacant = id;
            }
        }
    }

    /// Moves `thread` to where it may run, for `reason`.
    fn apply(&mut self, thread: L::Thread, reason: Reason) {
        let at = (thread.entry() as usize).wrapping_sub(1);
        let Some(entry) = self.entries.get(at) else {
            return;
        };

        self.derived.allowed(entry);
        let stray = (thread.stray() as usize).wrapping_sub(1);
        if let Some(stray) = self.strays.get(stray) {
            self.derived
                .refine(&self.masks, stray.wishes(), stray.may_leave());
        }
        thread.allow(&self.derived.scratch, reason);
    }

    /// Forgets what user space wished for `thread`.
    fn unstray(&mut self, thread: L::Thread, spare: &mut Spare<L>) {
        let Some(at) = (thread.stray() as usize).checked_sub(1) else {
            return;
        };
        let Some(last) = self.strays.pop() else {
            return;
        };
        let gone = match self.strays.get_mut(at) {
            Some(place) => {
                last.thread.set_stray(thread.stray());
                core::mem::replace(place, last)
            }
            None => last,
        };

        thread.set_stray(0);
        spare.gone = Some(gone);
        if let Some(entry) = self.entry(thread.entry()) {
            entry.strays -= 1;
            entry.threads.add(thread);
        }
    }

    /// Moves `thread` from its entry to that of the mask of `spare`, for `reason`.
    fn transfer(
        &mut self,
        thread: L::Thread,
        spare: &mut Spare<L>,
        reason: Reason,
    ) -> Result<(), Refusal> {
        let Some(wanted) = &spare.mask else {
            return Err(Refusal::Unknown);
        };
        let id = match place_of(&self.entries, &self.order, wanted) {
            Ok(place) => self.order.get(place).copied().unwrap_or_default(),
            Err(place) => self.open(place, spare)?,
        };

        if id != thread.entry() {
            self.part(thread, spare);
            self.join(thread, id);
        }
        self.apply(thread, reason);
        Ok(())
    }

    /// Opens an entry for the mask of `spare`, which belongs at `place` in the order.
    fn open(&mut self, place: usize, spare: &mut Spare<L>) -> Result<u32, Refusal> {
        let room = extend(&mut self.order, &mut spare.order)
            && (self.vacant != 0 || extend(&mut self.entries, &mut spare.entries));
        if !room {
            spare.short = (self.entries.len() + 1, 0, 0);
            return Err(Refusal::Short);
        }
        let mask = spare.mask.take().unwrap_or_default();

        let vacant = self.vacant;
        let id = match self.entry(vacant) {
            Some(entry) => {
                let next = entry.vacant;

                entry.preferred = mask;
                self.vacant = next;
                vacant
            }
            None => {
                // There is room for it, here as well as below.
                let _ = self.entries.push(Entry::new(mask));
                self.entries.len() as u32
            }
        };
        let _ = self.order.insert(place, id);
        Ok(id)
    }
}

/// Where the entry with the mask `mask` is in `order`, or where it belongs.
fn place_of<L>(entries: &[Entry<L>], order: &[u32], mask: &[usize]) -> Result<usize, usize> {
    order.binary_search_by(|id| {
        let entry = entries.get((*id as usize).wrapping_sub(1));

        entry.map_or(&[][..], |entry| &*entry.preferred).cmp(mask)
    })
}
