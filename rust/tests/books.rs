// SPDX-License-Identifier: GPL-2.0

//! The books, in long random sequences of all that can happen to them, against an oracle that
//! computes everything anew from what was asked for.

use core::cell::{Cell, RefCell};

use kthread_cpus_core::books::{
    self, Books, List, PerSetter, Reason, Refusal, Setter, Spare, Thread, Whom,
};
use kthread_cpus_core::policy::Level;
use kthread_cpus_core::table::Table;
use proptest::collection::vec;
use proptest::prelude::*;

/// More CPUs than fit in a word.
const CPUS: usize = 70;
const WORDS: usize = 2;
const NODES: usize = 3;
const THREADS: usize = 24;

type Set = u128;
const POSSIBLE: Set = (1 << CPUS) - 1;

fn words(set: Set) -> [usize; WORDS] {
    [set as usize, (set >> 64) as usize]
}

fn mask(set: Set) -> Table<usize> {
    let mut mask = Table::filled(0, WORDS).expect("there is memory");

    mask.copy_from_slice(&words(set));
    mask
}

/// What the books are made to believe is a thread.
#[derive(Default)]
struct Fake {
    entry: Cell<u32>,
    stray: Cell<u32>,
    allowed: RefCell<Vec<usize>>,
    /// Why it was told to run there.
    reason: Cell<Option<Reason>>,
    /// How often it was told where to run, and how often that was where it was.
    told: Cell<u32>,
    in_vain: Cell<u32>,
}

#[derive(Clone, Copy)]
struct Handle<'a>(&'a Fake);

impl Thread for Handle<'_> {
    fn entry(self) -> u32 {
        self.0.entry.get()
    }

    fn set_entry(self, entry: u32) {
        self.0.entry.set(entry);
    }

    fn stray(self) -> u32 {
        self.0.stray.get()
    }

    fn set_stray(self, stray: u32) {
        self.0.stray.set(stray);
    }

    fn allow(self, allowed: &[usize], reason: Reason) {
        self.0.reason.set(Some(reason));
        self.0.told.set(self.0.told.get() + 1);
        if *self.0.allowed.borrow() == allowed {
            self.0.in_vain.set(self.0.in_vain.get() + 1);
        }
        *self.0.allowed.borrow_mut() = allowed.to_vec();
    }
}

struct Handles<'a>(Vec<Handle<'a>>);

impl<'a> List for Handles<'a> {
    type Thread = Handle<'a>;

    const EMPTY: Self = Self(Vec::new());

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, thread: Handle<'a>) {
        assert!(!self.0.iter().any(|other| core::ptr::eq(other.0, thread.0)));
        self.0.push(thread);
    }

    fn remove(&mut self, thread: Handle<'a>) {
        let at = self
            .0
            .iter()
            .position(|other| core::ptr::eq(other.0, thread.0))
            .expect("the thread is in this list");
        self.0.remove(at);
    }

    fn for_each(&self, with: impl FnMut(Handle<'a>)) {
        self.0.iter().copied().for_each(with);
    }
}

/// What happens.
#[derive(Clone, Debug)]
enum Event {
    Enrol(usize, Option<usize>, usize),
    Leave(usize),
    Prefer(usize, Set),
    Update(usize, Set),
    Restrict(usize, Setter, Set),
    Online(usize),
    Offline(usize),
    Confine(Option<Set>),
    Isolate(Set),
    Node(usize, usize),
    /// Others than the books move threads, and the books put that right.
    Astray(Vec<usize>, Set),
}

/// Sets that are often equal, often overlap and are sometimes empty or full.
fn sets() -> impl Strategy<Value = Set> {
    prop_oneof![
        4 => (0..8usize, 0..4usize).prop_map(|(first, count)| ((1 << count) - 1) << first),
        2 => (60..CPUS, 1..10usize).prop_map(|(first, count)| (((1 << count) - 1) << first) & POSSIBLE),
        2 => any::<u128>().prop_map(|set| set & POSSIBLE),
        1 => Just(POSSIBLE),
    ]
}

/// A few CPUs come and go much more often than the others.
fn cpus() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..8usize, 1 => 0..CPUS]
}

fn setters() -> impl Strategy<Value = Setter> {
    prop_oneof![Just(Setter::Cpuset), Just(Setter::User)]
}

fn events() -> impl Strategy<Value = Event> {
    let thread = 0..THREADS;
    let node = prop_oneof![Just(None), (0..NODES + 1).prop_map(Some)];

    prop_oneof![
        6 => (thread.clone(), node, thread.clone())
            .prop_map(|(thread, node, creator)| Event::Enrol(thread, node, creator)),
        2 => thread.clone().prop_map(Event::Leave),
        4 => (thread.clone(), sets()).prop_map(|(thread, set)| Event::Prefer(thread, set)),
        2 => (thread.clone(), sets()).prop_map(|(thread, set)| Event::Update(thread, set)),
        3 => (thread, setters(), sets())
            .prop_map(|(thread, setter, set)| Event::Restrict(thread, setter, set)),
        6 => cpus().prop_map(Event::Online),
        1 => (vec(0..THREADS, 1..4), sets()).prop_map(|(threads, set)| Event::Astray(threads, set)),
        6 => cpus().prop_map(Event::Offline),
        1 => prop::option::of(sets().prop_filter("a list has a CPU", |set| *set != 0))
            .prop_map(Event::Confine),
        1 => sets().prop_map(Event::Isolate),
        1 => (cpus(), 0..NODES).prop_map(|(cpu, node)| Event::Node(cpu, node)),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Preference {
    Nothing,
    Node(usize),
    Mask(Set),
}

/// What the cpuset and user space want, and whether this may be where the thread may not run
/// otherwise.
type Wishes = (Asked, PerSetter<bool>);
type Asked = PerSetter<Option<Set>>;

/// All that was asked for, and the specification's section 3 word for word.
struct Oracle {
    confined: Option<Set>,
    isolated: Set,
    online: Set,
    node_of: [usize; CPUS],
    threads: Vec<Option<(Preference, Wishes)>>,
}

impl Oracle {
    fn housekeeping(&self) -> Set {
        POSSIBLE & !self.isolated
    }

    fn node(&self, node: usize) -> Set {
        (0..CPUS)
            .filter(|cpu| self.node_of[*cpu] == node)
            .fold(0, |set, cpu| set | 1 << cpu)
    }

    fn effective(&self, preference: Preference) -> Set {
        self.at_level(preference).1
    }

    fn at_level(&self, preference: Preference) -> (Level, Set) {
        let kernel = self.kernel();
        let preferred = match preference {
            Preference::Nothing => None,
            Preference::Node(node) => Some(self.node(node)),
            Preference::Mask(set) => Some(set),
        };

        preferred
            .map(|set| (Level::Preferred, set & kernel))
            .into_iter()
            .chain([
                (Level::Confined, kernel),
                (Level::Housekeeping, self.housekeeping()),
            ])
            .find(|(_, set)| set & self.online != 0)
            .unwrap_or((Level::Possible, POSSIBLE))
    }

    /// What comes of the wishes within `base`, and which of them count: both if they have a CPU in
    /// common, or else the cpuset's, or else user space's.
    fn within(&self, base: Set, wishes: Asked) -> Option<(PerSetter<bool>, Set)> {
        let [cpuset, user] = wishes.map(|wish| wish.map(|set| set & base));
        let both = cpuset.zip(user).map(|(cpuset, user)| cpuset & user);

        [
            ([true, true], both),
            ([true, false], cpuset),
            ([false, true], user),
        ]
        .into_iter()
        .find_map(|(counts, set)| Some((counts, set.filter(|set| set & self.online != 0)?)))
    }

    /// Which wishes count, whether that is beyond where the thread may run otherwise, and where it
    /// may run. It is only beyond if more of them count then.
    fn placed(
        &self,
        preference: Preference,
        (wishes, may_leave): Wishes,
    ) -> (PerSetter<bool>, bool, Set) {
        let effective = self.effective(preference);
        let (counts, set) = self
            .within(effective, wishes)
            .unwrap_or(([false; 2], effective));

        match self.within(POSSIBLE, wishes) {
            Some((more, beyond)) if may_leave != [false; 2] && more > counts => {
                (more, true, beyond)
            }
            _ => (counts, false, set),
        }
    }

    /// What becomes of the wish of `setter` to run on `set`; `None` if it is refused.
    fn restricted(
        &self,
        preference: Preference,
        before: Wishes,
        setter: Setter,
        set: Set,
    ) -> Option<Wishes> {
        let (mut wishes, mut may_leave) = before;
        let wish = Some(set).filter(|set| *set != POSSIBLE);

        wishes[setter as usize] = wish;
        may_leave[setter as usize] = wish.is_some() && self.confined.is_none();
        let (counts, outside, _) = self.placed(preference, (wishes, may_leave));

        if setter == Setter::User {
            if wish.is_some() && !counts[1] {
                return None;
            }
            may_leave[1] &= outside;
        }
        Some((wishes, may_leave))
    }

    fn allowed(&self, preference: Preference, wishes: Wishes) -> Set {
        self.placed(preference, wishes).2
    }

    fn kernel(&self) -> Set {
        self.confined.unwrap_or(POSSIBLE) & self.housekeeping()
    }

    /// Changes the masks that administrators set.
    fn administer(&mut self, with: impl FnOnce(&mut Self)) {
        let before = self.kernel();

        with(self);
        if self.kernel() != before || self.confined.is_some() {
            for (_, (_, may_leave)) in self.threads.iter_mut().flatten() {
                *may_leave = [false; 2];
            }
        }
    }
}

/// Calls `with` until there is room, at most twice.
fn until_room<'a>(
    set: Set,
    mut with: impl FnMut(&mut Spare<Handles<'a>>) -> Result<(), Refusal>,
) -> (Result<(), Refusal>, bool) {
    let mut spare = Spare::new(Some(mask(set)));

    match with(&mut spare) {
        Err(Refusal::Short) => {
            spare.fill().expect("there is memory");
            (with(&mut spare), true)
        }
        result => (result, false),
    }
}

/// Puts `fake` into the books; there is room after the first try.
fn enrol<'a>(
    books: &mut Books<Handles<'a>>,
    fake: &'a Fake,
    node: Option<usize>,
    creator: Option<&'a Fake>,
) {
    let mut spare = Spare::new(None);
    let creator = creator.map(Handle);

    if books
        .enrol(Handle(fake), node, creator, &mut spare)
        .is_err()
    {
        spare.fill().expect("there is memory");
        let again = books.enrol(Handle(fake), node, creator, &mut spare);
        assert_eq!(again, Ok(()));
    }
}

/// A thread as the books show it.
#[derive(Debug, PartialEq)]
struct Shown {
    thread: usize,
    preference: Preference,
    level: Level,
    entry_allowed: Set,
    /// The wishes, which of them count, whether that is beyond where it may run otherwise, and
    /// where it may run, if there are any.
    stray: Option<(Asked, PerSetter<bool>, bool, Set)>,
}

fn set(words: &[usize]) -> Set {
    words[0] as Set | (words[1] as Set) << 64
}

/// What the books show, in the order of the threads.
fn shown(books: &mut Books<Handles<'_>>, fakes: &[Fake]) -> Vec<Shown> {
    let number = |handle: Handle<'_>| {
        let mut all = fakes.iter();
        all.position(|fake| core::ptr::eq(fake, handle.0))
            .expect("it is one of ours")
    };
    let mut entries = Vec::new();
    let mut threads = Vec::new();

    let done: Result<(), ()> = books.each_entry(|entry| {
        let preference = match entry.preference {
            books::Preference::Nothing => Preference::Nothing,
            books::Preference::Node(node, _) => Preference::Node(node),
            books::Preference::Mask(mask) => Preference::Mask(set(mask)),
        };
        let of_entry = (preference, entry.level, set(entry.allowed));

        entry.threads.for_each(|handle| {
            assert_eq!(handle.entry(), entry.number);
            threads.push(Shown {
                thread: number(handle),
                preference,
                level: entry.level,
                entry_allowed: set(entry.allowed),
                stray: None,
            });
        });
        assert!(entry.strays > 0 || !entry.threads.is_empty());
        entries.push((entry.number, of_entry, entry.strays));
        Ok(())
    });
    assert_eq!(done, Ok(()));

    let done: Result<(), ()> = books.each_stray(|stray| {
        assert_eq!(stray.thread.entry(), stray.entry);
        let entry = entries.iter_mut().find(|entry| entry.0 == stray.entry);
        let (_, (preference, level, entry_allowed), left) = entry.expect("it is shown");

        *left -= 1;
        threads.push(Shown {
            thread: number(stray.thread),
            preference: *preference,
            level: *level,
            entry_allowed: *entry_allowed,
            stray: Some((
                stray
                    .wishes
                    .map(|wish| (!wish.is_empty()).then(|| set(wish))),
                stray.granted,
                stray.outside,
                set(stray.allowed),
            )),
        });
        Ok(())
    });
    assert_eq!(done, Ok(()));
    assert!(entries.iter().all(|(_, _, strays)| *strays == 0));

    threads.sort_by_key(|shown| shown.thread);
    threads
}

/// What the books are told about a change.
const CHANGE: u32 = 7;
const NODE_CHANGE: u32 = 8;

fn tell(books: &mut Books<Handles<'_>>, oracle: &Oracle) {
    tell_whom(books, oracle, Whom::Affected);
}

fn tell_whom(books: &mut Books<Handles<'_>>, oracle: &Oracle, whom: Whom) {
    books.change(CHANGE, whom, |masks| {
        masks.possible.copy_from_slice(&words(POSSIBLE));
        masks
            .confined
            .copy_from_slice(&words(oracle.confined.unwrap_or(POSSIBLE)));
        masks
            .housekeeping
            .copy_from_slice(&words(oracle.housekeeping()));
        masks.usable.copy_from_slice(&words(oracle.online));
        masks.strict = oracle.confined.is_some();
    });
}

fn tell_nodes(books: &mut Books<Handles<'_>>, oracle: &Oracle) {
    books.change_nodes(NODE_CHANGE, |node, cpus| {
        cpus.copy_from_slice(&words(oracle.node(node)))
    });
}

fn new_books<'a>(oracle: &Oracle) -> Books<Handles<'a>> {
    let mut books = Books::new(NODES, WORDS).expect("there is memory");

    tell_nodes(&mut books, oracle);
    tell(&mut books, oracle);
    books
}

fn machine() -> Oracle {
    let mut node_of = [0; CPUS];

    for (cpu, node) in node_of.iter_mut().enumerate() {
        // The last node has no CPU at first.
        *node = usize::from(cpu >= 4);
    }
    Oracle {
        confined: None,
        isolated: 0,
        online: POSSIBLE,
        node_of,
        threads: vec![None; THREADS],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_thread_is_where_the_specification_says(events in vec(events(), 1..300)) {
        let fakes: Vec<Fake> = (0..THREADS).map(|_| Fake::default()).collect();
        let mut oracle = machine();
        let mut books = new_books(&oracle);

        for event in events {
            let before: Vec<u32> = fakes.iter().map(|fake| fake.in_vain.get()).collect();
            let mut may_be_in_vain = true;
            let reason = match event {
                Event::Enrol(..) => Some(Reason::Created),
                // It stays where it is.
                Event::Leave(..) => None,
                Event::Prefer(..) => Some(Reason::Preferred),
                Event::Update(..) => Some(Reason::Updated),
                Event::Restrict(..) => Some(Reason::User),
                Event::Node(..) => Some(Reason::Changed(NODE_CHANGE)),
                _ => Some(Reason::Changed(CHANGE)),
            };

            for fake in &fakes {
                fake.reason.set(None);
            }

            match event {
                Event::Enrol(thread, node, creator) => {
                    if oracle.threads[thread].is_none() {
                        let wish = oracle.threads[creator].and_then(|(_, (wishes, _))| wishes[1]);
                        let preference = match node {
                            Some(node) if node < NODES => Preference::Node(node),
                            // A node that nobody knows.
                            _ => Preference::Nothing,
                        };

                        // One that is not in the books has left nothing behind.
                        enrol(&mut books, &fakes[thread], node, Some(&fakes[creator]));
                        oracle.threads[thread] = Some((preference, ([None, wish], [false; 2])));
                    }
                }
                Event::Leave(thread) => {
                    // Also when it is not in the books.
                    books.leave(Handle(&fakes[thread]), &mut Spare::new(None));
                    oracle.threads[thread] = None;
                }
                Event::Prefer(thread, set) => {
                    let handle = Handle(&fakes[thread]);
                    let expected = match &mut oracle.threads[thread] {
                        None => Err(Refusal::Unknown),
                        Some((Preference::Mask(_), _)) => Err(Refusal::Taken),
                        Some((preference, _)) => {
                            *preference = Preference::Mask(set);
                            Ok(())
                        }
                    };

                    let (result, _) = until_room(set, |spare| books.prefer(handle, spare));
                    prop_assert_eq!(result, expected);
                }
                Event::Update(thread, set) => {
                    let handle = Handle(&fakes[thread]);
                    let expected = match &mut oracle.threads[thread] {
                        None => Err(Refusal::Unknown),
                        Some((Preference::Nothing, _)) => Err(Refusal::Indifferent),
                        Some((preference, _)) => {
                            *preference = Preference::Mask(set);
                            Ok(())
                        }
                    };

                    let (result, _) = until_room(set, |spare| books.update(handle, spare));
                    prop_assert_eq!(result, expected);
                }
                Event::Restrict(thread, setter, set) => {
                    let handle = Handle(&fakes[thread]);
                    let expected = match oracle.threads[thread] {
                        None => Err(Refusal::Unknown),
                        Some((preference, before)) => {
                            match oracle.restricted(preference, before, setter, set) {
                                None => Err(Refusal::Unusable),
                                Some(wishes) => {
                                    oracle.threads[thread] = Some((preference, wishes));
                                    Ok(())
                                }
                            }
                        }
                    };

                    let (result, _) =
                        until_room(set, |spare| books.restrict(handle, setter, spare));
                    prop_assert_eq!(result, expected);
                }
                Event::Online(cpu) => {
                    oracle.online |= 1 << cpu;
                    tell(&mut books, &oracle);
                    may_be_in_vain = false;
                }
                Event::Offline(cpu) => {
                    // One CPU always stays.
                    if oracle.online & !(1 << cpu) != 0 {
                        oracle.online &= !(1 << cpu);
                    }
                    tell(&mut books, &oracle);
                    may_be_in_vain = false;
                }
                Event::Confine(confined) => {
                    oracle.administer(|oracle| oracle.confined = confined);
                    tell(&mut books, &oracle);
                }
                Event::Isolate(set) => {
                    oracle.administer(|oracle| oracle.isolated = set);
                    tell(&mut books, &oracle);
                }
                Event::Node(cpu, node) => {
                    let known = oracle.node_of[cpu] == node;

                    oracle.node_of[cpu] = node;
                    prop_assert_eq!(books.knows_node(cpu, Some(node)), known);
                    prop_assert!(books.knows_node(cpu, None));
                    tell_nodes(&mut books, &oracle);
                    prop_assert!(books.knows_node(cpu, Some(node)));
                }
                Event::Astray(threads, set) => {
                    for thread in threads {
                        if oracle.threads[thread].is_some() {
                            *fakes[thread].allowed.borrow_mut() = words(set).to_vec();
                        }
                    }
                    tell_whom(&mut books, &oracle, Whom::Everyone);
                }
            }

            for (thread, fake) in fakes.iter().enumerate() {
                prop_assert!(fake.reason.get().is_none() || fake.reason.get() == reason);
                let Some((preference, wishes)) = oracle.threads[thread] else {
                    prop_assert_eq!((fake.entry.get(), fake.stray.get()), (0, 0));
                    continue;
                };

                prop_assert_eq!(
                    &*fake.allowed.borrow(),
                    &words(oracle.allowed(preference, wishes)),
                    "thread {} with {:?} and {:?}", thread, preference, wishes
                );
                // Hotplug touches nobody who stays, unless it is about what user space wishes.
                prop_assert!(
                    may_be_in_vain || wishes.0 != [None; 2] || fake.in_vain.get() == before[thread]
                );
            }

            let expected: Vec<Shown> = oracle
                .threads
                .iter()
                .enumerate()
                .filter_map(|(thread, known)| known.map(|known| (thread, known)))
                .map(|(thread, (preference, wishes))| {
                    let (level, entry_allowed) = oracle.at_level(preference);
                    let (counts, outside, allowed) = oracle.placed(preference, wishes);
                    let stray = (wishes.0 != [None; 2])
                        .then_some((wishes.0, counts, outside, allowed));

                    Shown { thread, preference, level, entry_allowed, stray }
                })
                .collect();
            prop_assert_eq!(shown(&mut books, &fakes), expected);
        }
    }
}

#[test]
fn hotplug_within_a_level_touches_nobody() {
    let fakes: Vec<Fake> = (0..THREADS).map(|_| Fake::default()).collect();
    let mut oracle = machine();
    let mut books = new_books(&oracle);

    oracle.confined = Some(0xff);
    tell(&mut books, &oracle);
    for (i, fake) in fakes.iter().enumerate() {
        enrol(&mut books, fake, [None, Some(0), Some(1)][i % 3], None);
    }
    let told = || fakes.iter().map(|fake| fake.told.get()).sum::<u32>();
    let before = told();

    // CPUs 0-3 are on node 0, 4-7 on node 1: one of each stays.
    for cpu in [0, 1, 2, 5, 6, 7, 8, 69] {
        oracle.online &= !(1 << cpu);
        tell(&mut books, &oracle);
    }
    assert_eq!(told(), before);

    // The last one of node 1 takes with it those that prefer this, and brings them back.
    for online in [oracle.online & !(1 << 4), oracle.online] {
        oracle.online = online;
        tell(&mut books, &oracle);
    }
    assert_eq!(told(), before + 2 * (THREADS as u32 / 3));
}

#[test]
fn what_has_left_leaves_room() {
    let fakes: Vec<Fake> = (0..THREADS).map(|_| Fake::default()).collect();
    let mut books = new_books(&machine());
    let mut fill = |first: usize| {
        let mut short = false;

        for (i, fake) in fakes.iter().enumerate() {
            let set = 1 << (first + i);

            enrol(&mut books, fake, None, None);
            let (result, was_short) = until_room(set, |spare| books.prefer(Handle(fake), spare));
            assert_eq!(result, Ok(()));
            short |= was_short;
            let (result, was_short) = until_room(set, |spare| {
                books.restrict(Handle(fake), Setter::User, spare)
            });
            assert_eq!(result, Ok(()));
            short |= was_short;
        }
        for fake in &fakes {
            books.leave(Handle(fake), &mut Spare::new(None));
            assert_eq!((fake.entry.get(), fake.stray.get()), (0, 0));
        }
        short
    };

    assert!(fill(0));
    for first in 1..20 {
        assert!(!fill(first), "the books grow without need");
    }
}

#[test]
fn equal_preferences_share_an_entry() {
    let fakes: Vec<Fake> = (0..3).map(|_| Fake::default()).collect();
    let mut books = new_books(&machine());

    for (fake, set) in fakes.iter().zip([6, 9, 6]) {
        enrol(&mut books, fake, None, None);
        assert_eq!(
            until_room(set, |spare| books.prefer(Handle(fake), spare)).0,
            Ok(())
        );
    }
    assert_eq!(fakes[0].entry.get(), fakes[2].entry.get());
    assert_ne!(fakes[0].entry.get(), fakes[1].entry.get());
}

#[test]
fn confining_calls_back_who_is_elsewhere() {
    let fake = Fake::default();
    let mut oracle = machine();
    let mut books = new_books(&oracle);
    let place = |books: &mut Books<_>| {
        until_room(1 << 10, |spare| {
            books.restrict(Handle(&fake), Setter::User, spare)
        })
        .0
    };

    // CPU 10 is not on node 0.
    enrol(&mut books, &fake, Some(0), None);
    assert_eq!(place(&mut books), Ok(()));
    assert_eq!(*fake.allowed.borrow(), words(1 << 10));

    // All CPUs are a confinement as well.
    oracle.confined = Some(POSSIBLE);
    tell(&mut books, &oracle);
    assert_eq!(*fake.allowed.borrow(), words(oracle.node(0)));
    assert_eq!(place(&mut books), Err(Refusal::Unusable));
    assert_eq!(*fake.allowed.borrow(), words(oracle.node(0)));
}

/// What mainline does with the two masks of any other task.
#[test]
fn a_cpuset_and_user_space_do_not_forget_each_other() {
    let fake = Fake::default();
    let mut oracle = machine();
    let mut books = new_books(&oracle);
    let set = |books: &mut Books<_>, setter, set| {
        until_room(set, |spare| books.restrict(Handle(&fake), setter, spare)).0
    };
    let is_on = |expected| assert_eq!(*fake.allowed.borrow(), words(expected));

    enrol(&mut books, &fake, None, None);
    assert_eq!(set(&mut books, Setter::User, 0x0f), Ok(()));
    // It goes to a cpuset, which then gets other CPUs, and comes back.
    assert_eq!(set(&mut books, Setter::Cpuset, 0x3c), Ok(()));
    is_on(0x0c);
    assert_eq!(set(&mut books, Setter::Cpuset, 0x38), Ok(()));
    is_on(0x08);
    assert_eq!(set(&mut books, Setter::Cpuset, 0xf0), Ok(()));
    is_on(0xf0);
    assert_eq!(set(&mut books, Setter::Cpuset, POSSIBLE), Ok(()));
    is_on(0x0f);

    // In a cpuset, all CPUs are those of the cpuset.
    assert_eq!(set(&mut books, Setter::Cpuset, 0x3c), Ok(()));
    assert_eq!(set(&mut books, Setter::User, POSSIBLE), Ok(()));
    is_on(0x3c);
    assert_eq!(set(&mut books, Setter::User, 0x03), Err(Refusal::Unusable));
    is_on(0x3c);

    // What a cpuset cannot have yet, it gets later.
    oracle.confined = Some(0x03);
    tell(&mut books, &oracle);
    is_on(0x03);
    assert_eq!(set(&mut books, Setter::Cpuset, 0x30), Ok(()));
    is_on(0x03);
    oracle.confined = Some(0x13);
    tell(&mut books, &oracle);
    is_on(0x10);
    // The top cpuset needs no mask.
    let taken_back = books.restrict(Handle(&fake), Setter::Cpuset, &mut Spare::new(None));
    assert_eq!(taken_back, Ok(()));
    is_on(0x13);
    assert_eq!((fake.entry.get(), fake.stray.get()), (1, 0));
}

#[test]
fn a_cpuset_of_isolated_cpus_gets_its_thread_back() {
    let fake = Fake::default();
    let mut oracle = machine();
    oracle.isolated = 0x04;
    let mut books = new_books(&oracle);

    enrol(&mut books, &fake, None, None);
    let set = |books: &mut Books<_>, set| {
        let (result, _) = until_room(set, |spare| {
            books.restrict(Handle(&fake), Setter::Cpuset, spare)
        });
        assert_eq!(result, Ok(()));
    };
    set(&mut books, 0x04);
    assert_eq!(*fake.allowed.borrow(), words(0x04));

    // Its last CPU goes, so that it gets those of the parent, and comes back; the kernel tells
    // the cpusets of this before it tells the books.
    oracle.online &= !0x04;
    tell(&mut books, &oracle);
    set(&mut books, oracle.online);
    assert_eq!(*fake.allowed.borrow(), words(oracle.online));
    oracle.online |= 0x04;
    set(&mut books, 0x04);
    tell(&mut books, &oracle);
    assert_eq!(*fake.allowed.borrow(), words(0x04));
}
