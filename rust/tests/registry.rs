// SPDX-License-Identifier: GPL-2.0

//! The registry, in long random sequences of all that can happen to it, against a model that knows
//! no groups: it works out where each thread belongs from the masks alone.
//!
//! The test has the part of the scheduler: it asks where a thread may run, sets its mask, and puts a
//! thread elsewhere that has no CPU left.

use core::cell::Cell;

use allocation_counter::{measure, AllocationInfo};
use kthread_cpus_core::registry::{
    List, Outcome, Prealloc, Refusal, Registry, Request, Thread, Wishes,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// More CPUs than fit in a word.
const CPUS: usize = 70;
const WORDS: usize = 2;
const NODES: usize = 3;
const THREADS: usize = 24;

type Set = u128;
/// The CPUs for kernel noise.
const NOISE: Set = 0x3 | 0x7 << 62;
const POSSIBLE: Set = (1 << CPUS) - 1;

fn words(set: Set) -> [usize; WORDS] {
    [set as usize, (set >> 64) as usize]
}

fn set(words: &[usize]) -> Set {
    words[0] as Set | (words[1] as Set) << 64
}

/// What the registry is made to believe is a thread.
#[derive(Default)]
struct Fake {
    number: usize,
    group: Cell<u32>,
    watch: Cell<u32>,
    links: Cell<Option<(Handle, Handle)>>,
}

#[derive(Clone, Copy)]
struct Handle(&'static Fake);

impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self.0, other.0)
    }
}

impl Handle {
    /// Threads that are never freed, so that they may point to each other.
    fn some(count: usize) -> Vec<Self> {
        (0..count)
            .map(|number| {
                Self(Box::leak(Box::new(Fake {
                    number,
                    ..Fake::default()
                })))
            })
            .collect()
    }

    fn links(self) -> (Self, Self) {
        self.0.links.get().expect("the thread is in a list")
    }

    fn set_previous(self, previous: Self) {
        self.0.links.set(Some((previous, self.links().1)));
    }

    fn set_next(self, next: Self) {
        self.0.links.set(Some((self.links().0, next)));
    }
}

impl Thread for Handle {
    fn group(self) -> u32 {
        self.0.group.get()
    }

    fn set_group(self, group: u32) {
        self.0.group.set(group);
    }

    fn watch(self) -> u32 {
        self.0.watch.get()
    }

    fn set_watch(self, watch: u32) {
        self.0.watch.set(watch);
    }
}

/// As the kernel links its threads: in a ring without a head.
struct Ring(Option<Handle>);

impl List for Ring {
    type Thread = Handle;

    const EMPTY: Self = Self(None);

    fn first(&self) -> Option<Handle> {
        self.0
    }

    fn add(&mut self, thread: Handle) {
        assert!(thread.0.links.get().is_none(), "it is in a list already");
        match self.0 {
            None => {
                thread.0.links.set(Some((thread, thread)));
                self.0 = Some(thread);
            }
            Some(first) => {
                let (last, _) = first.links();

                thread.0.links.set(Some((last, first)));
                last.set_next(thread);
                first.set_previous(thread);
            }
        }
    }

    fn forget(&mut self, thread: Handle) {
        if self.0 == Some(thread) {
            self.0 = Some(thread.links().1).filter(|next| *next != thread);
        }
    }

    fn unlink(thread: Handle) {
        let (previous, next) = thread.links();

        previous.set_next(next);
        next.set_previous(previous);
        thread.0.links.set(None);
    }

    fn append(&mut self, other: &mut Self) {
        let Some(second) = other.0.take() else {
            return;
        };
        let Some(first) = self.0 else {
            self.0 = Some(second);
            return;
        };
        let (first_end, second_end) = (first.links().0, second.links().0);

        first_end.set_next(second);
        second.set_previous(first_end);
        second_end.set_next(first);
        first.set_previous(second_end);
    }

    fn move_while(&mut self, to: &mut Self, mut with: impl FnMut(Handle) -> bool) {
        while let Some(thread) = self.0.filter(|thread| with(*thread)) {
            self.forget(thread);
            Self::unlink(thread);
            to.add(thread);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Preference {
    Nothing,
    Node(usize),
    /// That for the CPUs for kernel noise.
    Noise,
    Mask(Set),
}

impl Preference {
    /// Whether mainline knows it.
    fn is_mainline(self) -> bool {
        !matches!(self, Self::Nothing | Self::Noise)
    }
}

/// What is asked for a thread.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asked {
    Reset,
    Set(Set),
    User(Set),
    Fallback(Set),
}

/// The masks of the system.
#[derive(Clone, Copy, Debug)]
struct System {
    /// The CPUs to which threads are confined, if they are.
    confined: Option<Set>,
    housekeeping: Set,
    usable: Set,
    /// What was usable when mainline last looked at the preferences of threads.
    seen: Set,
    nodes: [Set; NODES],
    /// What partitions have taken from the top cpuset.
    excluded: Set,
    /// Whether the last change was that threads are not confined any more.
    has_ended: bool,
}

/// All that was asked for a thread, and where it is.
#[derive(Clone, Copy, Debug)]
struct Known {
    preference: Preference,
    cpuset: Option<Set>,
    user: Option<Set>,
    /// What its cpuset or owner has asked for since it was put where it belongs.
    asked: Option<Set>,
    /// Where it is, according to what the registry says.
    mask: Set,
    /// Where it is to be.
    expected: Set,
    /// Whether it waits for a CPU to come back to, while threads are not confined.
    fell: bool,
    /// Whether the scheduler has put it elsewhere meanwhile.
    pushed: bool,
    /// Whether it may be put where it belongs, or not: it has been moved while it waited for that.
    may_stay: bool,
}

impl System {
    fn preferred(&self, preference: Preference) -> Option<Set> {
        match preference {
            Preference::Nothing => None,
            Preference::Node(node) => Some(self.nodes[node]),
            Preference::Noise => Some(NOISE),
            Preference::Mask(set) => Some(set),
        }
    }

    /// Section 3 of the specification, word for word.
    fn level(&self, preferred: Option<Set>, usable: Set) -> Set {
        let kernel = self.confined.unwrap_or(POSSIBLE) & self.housekeeping;

        preferred
            .map(|set| set & kernel)
            .into_iter()
            .chain([kernel, self.housekeeping])
            .find(|set| set & usable != 0)
            .unwrap_or(POSSIBLE)
    }

    /// Where a confined thread may run; nothing if user space is refused.
    fn confined(&self, known: &Known, asked: Asked) -> Option<Set> {
        let usable = match asked {
            Asked::Fallback(dying) => self.usable & !dying,
            _ => self.usable,
        };
        let own = self.level(self.preferred(known.preference), usable);
        let any = self.level(None, usable);
        let excluded = if known.cpuset.is_none() {
            self.excluded
        } else {
            0
        };
        let (first, second) = match asked {
            Asked::Reset | Asked::Fallback(_) => (known.cpuset, known.user),
            Asked::Set(set) => (Some(set), known.user),
            Asked::User(set) => (Some(set), None),
        };
        // Only if others are left.
        let least = second.map(|second| second & !excluded);
        let both = match (first, least) {
            (Some(first), Some(least)) => Some(first & least),
            (first, least) => first.or(least),
        };
        // Nobody can be asked to take others if partitions have all of them.
        let taken = known.cpuset.is_none() && any & usable & !excluded == 0;
        let found = [both, first, second]
            .into_iter()
            .flatten()
            .flat_map(|set| [own & set, any & set])
            .find(|set| set & usable != 0);

        match asked {
            Asked::User(_) if taken => found.or(self.confined(known, Asked::Reset)),
            Asked::User(_) => found,
            _ => found.or(Some(own)),
        }
    }

    /// Where mainline has a thread, if nobody asks for anything.
    fn preferred_free(&self, preference: Preference) -> Set {
        let housekeeping = self.housekeeping;
        let preferred = match preference {
            Preference::Noise if self.has_ended => NOISE & housekeeping,
            Preference::Nothing | Preference::Noise => housekeeping,
            // What mainline knows of a node are the CPUs that are online.
            Preference::Node(node) if self.nodes[node] & housekeeping & self.seen == 0 => 0,
            Preference::Node(node) => self.nodes[node] & housekeeping,
            Preference::Mask(set) => set & housekeeping,
        };

        match preferred {
            0 => housekeeping,
            preferred => preferred,
        }
    }

    /// Where mainline puts a thread, unless it leaves it alone: what user space has asked for counts if
    /// it can, and none of the CPUs may be usable.
    fn reset_free(&self, known: &Known) -> Option<Set> {
        let preferred = self.preferred_free(known.preference);
        let user = known.user.map_or(preferred, |user| user & preferred);
        // What the scheduler's fallback has forgotten does not keep it from its preference, nor do
        // CPUs of its node that are offline, which mainline does not know.
        let last = if known.pushed || self.is_on_node(known) || user == 0 {
            preferred
        } else {
            user
        };

        // Mainline asks no cpuset, but had put it there before it was confined.
        let cpuset = known
            .cpuset
            .filter(|_| self.has_ended && !known.preference.is_mainline());
        let cpuset = cpuset.map_or([0; 2], |cpuset| [user & cpuset, preferred & cpuset]);

        cpuset
            .into_iter()
            .chain([user, last])
            .find(|set| set & self.usable != 0)
    }

    fn is_on_node(&self, known: &Known) -> bool {
        match known.preference {
            Preference::Node(node) => self.nodes[node] & self.housekeeping & self.seen != 0,
            _ => false,
        }
    }

    /// Where it comes back to, as soon as one of these CPUs is usable.
    fn home_free(&self, known: &Known) -> Set {
        let preferred = self.preferred_free(known.preference);

        match known.user.map_or(0, |user| user & preferred) {
            0 => preferred,
            home => home,
        }
    }

    /// Puts a thread where it belongs, unless it has to wait for that. Then one with a preference goes
    /// there, at least, if it is just anywhere: mainline has forgotten about user space in that case.
    fn return_home(&self, known: &mut Known) {
        let home = self.home_free(known);

        if self.is_confined() {
            known.fell = false;
        } else if home & self.usable != 0 {
            known.expected = home;
            known.fell = false;
            known.pushed = false;
        } else {
            let has_preference = known.preference.is_mainline();

            if has_preference && known.pushed || self.is_on_node(known) {
                known.expected = self.reset_free(known).unwrap_or(known.expected);
            }
            // Others are left to their cpuset.
            known.fell = has_preference || known.cpuset.is_none();
        }
    }

    fn is_confined(&self) -> bool {
        self.confined.is_some()
    }

    /// What `sched_setaffinity()` asks for.
    fn asked_by_user(&self, known: &Known, set: Set) -> Set {
        set & known.cpuset.unwrap_or(POSSIBLE & !self.excluded)
    }
}

/// What happens.
#[derive(Clone, Debug)]
enum Event {
    Register(usize, Option<usize>, usize),
    Unregister(usize),
    Prefer(usize, Set),
    Update(usize, Set),
    Noise(usize),
    User(usize, Set),
    Owner(usize, Set),
    Cpuset(usize, Option<Set>),
    Up(usize, [bool; NODES]),
    /// With the threads that have to move already before the registry is told.
    Down(usize, u32),
    Confine(Option<Set>),
    Housekeep(Set),
    /// Some threads that are due are put where they belong.
    Step(usize, u32),
    /// What happened so far is brought to an end.
    Settle,
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

fn some_cpus() -> impl Strategy<Value = Set> {
    sets().prop_map(|set| if set == 0 { 1 } else { set })
}

/// A few CPUs come and go much more often than the others.
fn cpus() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..8usize, 1 => 0..CPUS]
}

fn events() -> impl Strategy<Value = Event> {
    let thread = 0..THREADS;
    let node = prop_oneof![Just(None), (0..NODES + 1).prop_map(Some)];
    // A CPU is mostly on the one node that it was on, and rarely on none or several.
    let nodes = prop_oneof![
        1 => any::<[bool; NODES]>(),
        8 => Just([false; NODES]),
    ];

    prop_oneof![
        6 => (thread.clone(), node, thread.clone())
            .prop_map(|(thread, node, creator)| Event::Register(thread, node, creator)),
        2 => thread.clone().prop_map(Event::Unregister),
        4 => (thread.clone(), sets()).prop_map(|(thread, set)| Event::Prefer(thread, set)),
        2 => (thread.clone(), sets()).prop_map(|(thread, set)| Event::Update(thread, set)),
        1 => thread.clone().prop_map(Event::Noise),
        3 => (thread.clone(), sets()).prop_map(|(thread, set)| Event::User(thread, set)),
        1 => (thread.clone(), some_cpus()).prop_map(|(thread, set)| Event::Owner(thread, set)),
        1 => (thread, prop::option::of(some_cpus()))
            .prop_map(|(thread, set)| Event::Cpuset(thread, set)),
        8 => (cpus(), nodes).prop_map(|(cpu, nodes)| Event::Up(cpu, nodes)),
        8 => (cpus(), any::<u32>()).prop_map(|(cpu, early)| Event::Down(cpu, early)),
        1 => prop::option::weighted(0.8, some_cpus()).prop_map(Event::Confine),
        1 => some_cpus().prop_map(Event::Housekeep),
        4 => (1..6usize, 1..5u32).prop_map(|(threads, groups)| Event::Step(threads, groups)),
        6 => Just(Event::Settle),
    ]
}

/// The threads, the registry, and the scheduler that asks it.
struct World {
    registry: Registry<Ring>,
    threads: Vec<Handle>,
    known: Vec<Option<Known>>,
    system: System,
    /// Where the pass that is under way goes on.
    at: usize,
    /// The threads that passes have handed out.
    handed_out: Vec<usize>,
    /// How many of them need not be asked about.
    unasked: u32,
}

impl World {
    fn new(count: usize) -> Self {
        Self::with(
            count,
            System {
                confined: None,
                housekeeping: POSSIBLE,
                usable: POSSIBLE,
                seen: POSSIBLE,
                // The last node has no CPU at first.
                nodes: [0x0f, POSSIBLE & !0x0f, 0],
                excluded: 0,
                has_ended: false,
            },
        )
    }

    fn with(count: usize, system: System) -> Self {
        let mut world = Self {
            registry: Registry::new(NODES, WORDS).expect("there is memory"),
            threads: Handle::some(count),
            known: vec![None; count],
            system,
            at: 0,
            handed_out: Vec::new(),
            unasked: 0,
        };

        for cpu in 0..CPUS {
            world
                .registry
                .cpu_up(cpu, |node| system.nodes[node] >> cpu & 1 != 0);
        }
        for cpu in 0..CPUS {
            if system.usable >> cpu & 1 == 0 {
                world.registry.cpu_down(cpu);
            }
        }
        world.tell();
        world.settle();
        world
    }

    /// Confined to `confined`.
    fn confined(count: usize, confined: Set) -> Self {
        let mut world = Self::new(count);

        world.confine(Some(confined));
        world
    }

    fn tell(&mut self) {
        let system = self.system;

        self.registry.change(|masks| {
            masks
                .confined
                .copy_from_slice(&words(system.confined.unwrap_or(POSSIBLE)));
            masks
                .housekeeping
                .copy_from_slice(&words(system.housekeeping));
            masks.possible.copy_from_slice(&words(POSSIBLE));
            masks.is_confined = system.is_confined();
        });
        self.at = 0;
    }

    fn confine(&mut self, confined: Option<Set>) {
        self.system.has_ended = self.system.is_confined() && confined.is_none();
        self.system.confined = confined;
        self.change();
        self.settle();
    }

    /// Tells the registry of changed masks, which concerns everyone.
    fn change(&mut self) {
        let system = &mut self.system;

        system.seen = system.usable;
        let system = *system;
        for known in self.known.iter_mut().flatten() {
            known.asked = None;
            known.may_stay = false;
            system.return_home(known);
            if !system.is_confined() {
                // Mainline sets whatever can be set.
                known.expected = system.reset_free(known).unwrap_or(known.expected);
            }
        }
        self.tell();
    }

    /// Asks the registry about a registered thread, and sets its mask as the scheduler does. Returns
    /// whether there was an error.
    fn request(&mut self, thread: usize, asked: Asked, force: bool) -> bool {
        let handle = self.threads[thread];
        let system = self.system;
        let known = self.known[thread].as_mut().expect("it is registered");
        let cpuset = known.cpuset.map(words);
        let excluded = words(system.excluded);
        let user = known.user.map(words);
        let wishes = Wishes {
            cpuset: cpuset.as_ref().map(|words| &words[..]),
            excluded: known.cpuset.is_none().then_some(&excluded[..]),
            user: user.as_ref().map(|words| &words[..]),
            is_forgotten: known.pushed,
        };
        let (Asked::Set(set) | Asked::User(set) | Asked::Fallback(set)) = asked else {
            return self.reset(thread, wishes, force);
        };
        let wanted = words(set);
        let request = match asked {
            Asked::Set(_) => Request::Set(&wanted),
            Asked::User(_) => Request::User(&wanted),
            _ => Request::Fallback(&wanted),
        };
        let mut result = words(!0);
        let outcome = self.registry.evaluate(handle, request, wishes, &mut result);

        if system.is_confined() {
            let expected = system.confined(known, asked);

            assert_eq!(outcome == Outcome::Refused, expected.is_none());
            let Some(expected) = expected else {
                return true;
            };
            assert_eq!(
                POSSIBLE & self::set(&result),
                expected,
                "{asked:?} of {known:?} in {system:?}"
            );
            known.mask = expected;
            known.expected = expected;
            known.asked = match asked {
                Asked::Set(set) => Some(set),
                _ => None,
            };
            return false;
        }

        // As mainline does it.
        let is_forgotten = matches!(asked, Asked::Set(set)
            if known.pushed
                && set & system.usable != 0
                && known.user.is_some_and(|user| set & user & system.usable == 0));
        if is_forgotten {
            assert_eq!((outcome, self::set(&result)), (Outcome::Allowed, set));
        } else {
            assert_eq!(outcome, Outcome::AsAsked);
        }
        let new = match asked {
            // What mainline has forgotten does not count.
            Asked::Set(set) if is_forgotten => set,
            Asked::Set(set) => match known.user.map_or(0, |user| set & user) {
                0 => set,
                narrowed => narrowed,
            },
            Asked::User(set) => set,
            _ => {
                known.fell |= known.cpuset.is_none();
                known.pushed = true;
                match known.cpuset.map_or(0, |set| set & system.usable) {
                    0 => POSSIBLE,
                    _ => known.cpuset.unwrap_or(POSSIBLE),
                }
            }
        };
        if new & system.usable == 0 {
            return true;
        }
        known.mask = new;
        known.expected = new;
        if is_forgotten {
            known.fell = known.preference.is_mainline() || known.cpuset.is_none();
        } else if !matches!(asked, Asked::Fallback(_)) {
            // It may still come to where it waited for, for what was asked before.
            known.may_stay |= known.fell;
            known.fell = false;
            known.pushed = false;
        }
        false
    }

    /// Puts a thread where it belongs.
    fn reset(&mut self, thread: usize, wishes: Wishes<'_>, force: bool) -> bool {
        let system = self.system;
        let known = self.known[thread].as_mut().expect("it is registered");
        let mut result = words(!0);
        let outcome =
            self.registry
                .evaluate(self.threads[thread], Request::Reset, wishes, &mut result);
        let result = set(&result);

        assert_eq!(outcome, Outcome::Allowed);
        known.asked = None;
        if force || result & system.usable != 0 {
            known.mask = result;
        }
        if system.is_confined() {
            assert_eq!(
                Some(result),
                system.confined(known, Asked::Reset),
                "{known:?} in {system:?}"
            );
        } else {
            let expected = system.reset_free(known);

            assert!(
                expected.is_none_or(|expected| expected == result),
                "{expected:x?}, not {result:x}: {known:x?} in {system:x?}"
            );
        }
        false
    }

    /// Whether the registry lets user space have `set`.
    fn user(&mut self, thread: usize, set: Set) -> bool {
        let Some(known) = &self.known[thread] else {
            return false;
        };
        let asked = self.system.asked_by_user(known, set);

        let before = self.known[thread]
            .as_mut()
            .and_then(|known| known.user.replace(set));
        let failed = self.request(thread, Asked::User(asked), false);
        if failed {
            if let Some(known) = &mut self.known[thread] {
                known.user = before;
            }
        }
        !failed
    }

    fn register(&mut self, thread: usize, node: Option<usize>) {
        self.register_as(thread, node, POSSIBLE, None);
    }

    /// Registers a thread that begins with the mask `mask` and what user space has asked for its
    /// creator.
    fn register_as(&mut self, thread: usize, node: Option<usize>, mask: Set, user: Option<Set>) {
        let handle = self.threads[thread];

        self.registry.register(handle, node);
        self.known[thread] = Some(Known {
            preference: match node {
                Some(node) if node < NODES => Preference::Node(node),
                _ => Preference::Nothing,
            },
            cpuset: None,
            user,
            asked: None,
            mask,
            expected: mask,
            fell: false,
            pushed: false,
            may_stay: false,
        });
        self.put(thread, false);
    }

    /// Has a thread put where it belongs, and expects it there.
    fn put(&mut self, thread: usize, force: bool) {
        self.request(thread, Asked::Reset, force);
        let system = self.system;
        if let Some(known) = &mut self.known[thread] {
            known.may_stay = false;
            if force {
                known.expected = known.mask;
            }
            system.return_home(known);
        }
    }

    fn unregister(&mut self, thread: usize) {
        self.registry.unregister(self.threads[thread]);
        assert_eq!(self.threads[thread].group(), 0);
        assert!(self.threads[thread].0.links.get().is_none());
        self.known[thread] = None;
    }

    /// Gives a thread the preference for `set`, and puts it there.
    fn prefer(&mut self, thread: usize, set: Set, update: bool) -> Result<(), Refusal> {
        let handle = self.threads[thread];
        let (result, _) =
            until_room(|prealloc| self.registry.prefer(handle, &words(set), prealloc, update));

        if let (Ok(()), Some(known)) = (result, &mut self.known[thread]) {
            known.preference = Preference::Mask(set);
            if !update {
                known.user = None;
            }
            self.put(thread, !update);
        }
        result
    }

    /// As housekeeping_affine() does it.
    fn prefer_noise(&mut self, thread: usize) {
        let set_noise = |mask: &mut [usize]| mask.copy_from_slice(&words(NOISE));

        self.registry.prefer_noise(self.threads[thread], set_noise);
        if let Some(known) = &mut self.known[thread] {
            if known.preference == Preference::Nothing {
                known.preference = Preference::Noise;
            }
            self.request(thread, Asked::Set(NOISE), false);
        }
    }

    fn up(&mut self, cpu: usize, is_on: impl Fn(usize) -> bool) {
        let system = &mut self.system;

        system.usable |= 1 << cpu;
        system.seen = system.usable;
        for (node, cpus) in system.nodes.iter_mut().enumerate() {
            *cpus = *cpus & !(1 << cpu) | Set::from(is_on(node)) << cpu;
        }
        let system = *system;
        for known in self.known.iter_mut().flatten() {
            // Mainline puts those with a preference where they belong. The others come back as well
            // if the scheduler has put them elsewhere.
            let home = system.home_free(known);
            let comes_back = known.fell && home >> cpu & 1 != 0;
            let is_put = known.preference.is_mainline() && !known.may_stay;

            if is_put || comes_back {
                system.return_home(known);
            }
        }
        self.registry.cpu_up(cpu, is_on);
        self.at = 0;
    }

    /// As before for the nodes.
    fn up_again(&mut self, cpu: usize) {
        let nodes = self.system.nodes;

        self.up(cpu, |node| nodes[node] >> cpu & 1 != 0);
    }

    /// A CPU goes, which threads have to leave before the registry is told, and others afterwards.
    fn down(&mut self, cpu: usize, early: u32) {
        let bit = 1 << cpu;
        let dying = POSSIBLE & !self.system.usable | bit;

        if self.system.usable & !bit == 0 {
            // One CPU always stays.
            return;
        }
        // A confined thread is put elsewhere because of the CPU that goes, any other when it has gone.
        if self.system.is_confined() {
            for thread in 0..self.known.len() {
                let is_early = early >> (thread % 32) & 1 != 0;

                if is_early && self.known[thread].is_some_and(|known| known.mask & !dying == 0) {
                    self.request(thread, Asked::Fallback(dying), true);
                }
            }
        }
        self.system.usable &= !bit;
        if self.system.is_confined() {
            self.system.seen = self.system.usable;
        }
        self.registry.cpu_down(cpu);
        self.at = 0;
    }

    /// The scheduler finds that threads have no CPU left.
    fn push(&mut self) {
        for thread in 0..self.known.len() {
            let usable = self.system.usable;

            if self.known[thread].is_some_and(|known| known.mask & usable == 0) {
                self.request(thread, Asked::Fallback(POSSIBLE & !usable), true);
            }
        }
    }

    /// Goes on with the pass, for at most `threads` threads and `groups` groups.
    fn step(&mut self, threads: usize, mut groups: u32) -> usize {
        let mut count = 0;

        while count < threads {
            let found = self.handed_out.len();
            let (handed_out, most) = (&mut self.handed_out, threads - count);
            let mut was_sure = None;
            let allowed = self
                .registry
                .next(&mut self.at, &mut groups, most, |handle, is_sure| {
                    assert_ne!(handle.group(), 0);
                    assert_eq!(*was_sure.get_or_insert(is_sure), is_sure);
                    handed_out.push(handle.0.number);
                })
                .map(set);
            let batch = self.handed_out[found..].to_vec();

            if batch.is_empty() {
                assert_eq!(allowed, None);
                return count;
            }
            assert!(batch.len() <= most);
            assert_eq!(was_sure, Some(allowed.is_some()));
            count += batch.len();
            for thread in batch {
                self.request(thread, Asked::Reset, false);

                // What those get who are not asked about.
                let known = self.known[thread].expect("it is registered");
                if known.user.is_none() && known.cpuset.is_none() {
                    assert_eq!(allowed.unwrap_or(known.mask), known.mask);
                    self.unasked += u32::from(allowed.is_some());
                }
            }
        }
        count
    }

    /// Hands out one thread.
    fn next(&mut self, at: &mut usize, groups: &mut u32) -> Option<Handle> {
        let mut found = None;

        self.registry
            .next(at, groups, 1, |handle, _| found = Some(handle));
        found
    }

    /// Ends the pass. Returns whom it has handed out.
    fn settle(&mut self) -> Vec<usize> {
        self.handed_out.clear();
        while !self.registry.is_settled() {
            self.step(usize::MAX, 3);
        }
        let mut groups = u32::MAX;
        assert!(self.next(&mut 0, &mut groups).is_none());
        core::mem::take(&mut self.handed_out)
    }

    /// Checks where everyone is, and that the scheduler agrees.
    fn check(&mut self) {
        let system = self.system;

        // Confined threads do not depend on the scheduler for that.
        for (thread, known) in self.known.iter().enumerate() {
            assert!(
                !system.is_confined() || known.is_none_or(|known| known.mask & system.usable != 0),
                "thread {thread} has no CPU: {known:x?} in {system:x?}"
            );
        }
        self.push();

        for (thread, known) in self.known.iter_mut().enumerate() {
            let Some(known) = known else {
                assert_eq!(self.threads[thread].group(), 0);
                continue;
            };
            if system.is_confined() {
                let asked = known.asked.map_or(Asked::Reset, Asked::Set);

                known.expected = system.confined(known, asked).expect("nobody asks");
            } else if known.may_stay || known.fell {
                // It may have come along with others, and need not wait for what user space wants.
                if Some(known.mask) == system.reset_free(known) {
                    known.expected = known.mask;
                }
            }
            assert!(
                known.mask == known.expected,
                "thread {thread} is on {:x}, not {:x}: {known:x?} in {system:x?}",
                known.mask,
                known.expected
            );
        }
    }

    fn is_on(&self, thread: usize) -> Set {
        self.known[thread].expect("it is registered").mask
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Register(thread, node, creator) => {
                if self.known[thread].is_none() {
                    let creator = self.known[creator];
                    let (mask, user) =
                        creator.map_or((POSSIBLE, None), |known| (known.mask, known.user));

                    self.register_as(thread, node, mask, user);
                }
            }
            // Also when it is not registered.
            Event::Unregister(thread) => self.unregister(thread),
            Event::Prefer(thread, set) => {
                let expected = match &self.known[thread] {
                    None => Err(Refusal::Unsuited),
                    Some(known) if matches!(known.preference, Preference::Mask(_)) => {
                        Err(Refusal::Taken)
                    }
                    Some(_) => Ok(()),
                };

                assert_eq!(self.prefer(thread, set, false), expected);
            }
            Event::Update(thread, set) => {
                let expected = match &self.known[thread] {
                    None => Err(Refusal::Unsuited),
                    Some(known)
                        if matches!(known.preference, Preference::Nothing | Preference::Noise) =>
                    {
                        Err(Refusal::Unsuited)
                    }
                    Some(_) => Ok(()),
                };

                assert_eq!(self.prefer(thread, set, true), expected);
            }
            Event::Noise(thread) => self.prefer_noise(thread),
            Event::User(thread, set) => {
                self.user(thread, set);
            }
            Event::Owner(thread, set) => {
                if self.known[thread].is_some() {
                    self.request(thread, Asked::Set(set), false);
                }
            }
            Event::Cpuset(thread, cpuset) => {
                if let Some(known) = &mut self.known[thread] {
                    known.cpuset = cpuset;
                    // One without a preference is left to its cpuset, sooner or later.
                    if cpuset.is_some() && !known.preference.is_mainline() {
                        known.may_stay |= known.fell;
                        known.fell = false;
                    }
                    let set = cpuset.unwrap_or(POSSIBLE & !self.system.excluded);

                    self.request(thread, Asked::Set(set), false);
                }
            }
            // One CPU after the other goes or comes, each of which waits for the end of the pass.
            Event::Up(cpu, [false, false, false]) => {
                self.settle();
                self.up_again(cpu);
            }
            Event::Up(cpu, nodes) => {
                self.settle();
                self.up(cpu, |node| nodes[node]);
            }
            Event::Down(cpu, early) => {
                self.settle();
                self.down(cpu, early);
            }
            Event::Confine(confined) => {
                if confined.is_none() {
                    // Where a thread is that may be left alone from now on must be known.
                    self.settle();
                    self.check();
                }
                self.system.has_ended = self.system.is_confined() && confined.is_none();
                self.system.confined = confined;
                self.change();
            }
            Event::Housekeep(housekeeping) => {
                self.system.has_ended = false;
                self.system.housekeeping = housekeeping;
                // Some of the others are in partitions that do more than isolate.
                self.system.excluded = POSSIBLE & !housekeeping | 0x2;
                self.change();
            }
            Event::Step(threads, groups) => {
                self.step(threads, groups);
            }
            Event::Settle => {
                self.settle();
                self.check();
            }
        }
        // What mainline does is done at once.
        if !self.system.is_confined() {
            self.settle();
            self.check();
        }
    }
}

/// Calls `with` until there is room, at most twice.
fn until_room(
    mut with: impl FnMut(&mut Prealloc<Ring>) -> Result<(), Refusal>,
) -> (Result<(), Refusal>, bool) {
    let mut prealloc = Prealloc::empty();

    match with(&mut prealloc) {
        Err(Refusal::Short) => {
            prealloc.fill(WORDS).expect("there is memory");
            (with(&mut prealloc), true)
        }
        result => (result, false),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1000)
    })]

    #[test]
    fn every_thread_is_where_the_specification_says(
        confined in prop::option::of(some_cpus()),
        events in vec(events(), 1..300),
    ) {
        let mut world = World::new(THREADS);

        world.confine(confined);
        for event in &events {
            world.happen(event);
        }
        world.settle();
        world.check();
        for thread in 0..THREADS {
            world.unregister(thread);
        }
        prop_assert!(world.registry.is_settled());
    }
}

/// Whoever waits for a CPU still does when it is refused the CPUs for kernel noise that it asks for.
#[test]
fn displaced_threads_that_ask_for_noise_come_back() {
    for confined in [None, Some(1)] {
        let mut world = World::confined(2, 1);

        world.register(1, None);
        world.down(1, 0);
        world.register_as(0, None, 1, Some(2));
        world.confine(confined);
        world.prefer_noise(0);
        assert_eq!(world.is_on(0), 1);
        world.up_again(1);
        world.settle();
        world.check();
        assert_eq!(world.is_on(0), if confined.is_some() { 1 } else { 2 });
    }
}

/// So does who has not been put back yet since the confinement ended.
#[test]
fn due_threads_that_ask_for_noise_come_back() {
    let mut world = World::confined(1, 1 << 5);

    world.down(0, 0);
    world.settle();
    world.register_as(0, None, 1 << 5, Some(1));
    world.system.confined = None;
    world.system.has_ended = true;
    world.change();
    // Another generation, as the CPU comes to another node.
    world.up(7, |node| node == 0);
    world.prefer_noise(0);
    assert_eq!(world.is_on(0), 1 << 5);
    world.settle();
    world.up_again(0);
    world.settle();
    world.check();
    assert_eq!(world.is_on(0), 1);
}

/// As far as nobody asks for anything, a pass hands out those whose CPUs change, once each, and nobody
/// else.
#[derive(Clone, Debug)]
enum Plain {
    Register(usize, Option<usize>),
    Unregister(usize),
    Prefer(usize, Set),
    Toggle(usize),
}

fn plain_events() -> impl Strategy<Value = Plain> {
    let thread = 0..THREADS;
    let node = prop_oneof![Just(None), (0..NODES).prop_map(Some)];

    prop_oneof![
        2 => (thread.clone(), node).prop_map(|(thread, node)| Plain::Register(thread, node)),
        1 => thread.clone().prop_map(Plain::Unregister),
        1 => (thread, sets()).prop_map(|(thread, set)| Plain::Prefer(thread, set)),
        6 => cpus().prop_map(Plain::Toggle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(200)
    })]

    #[test]
    fn hotplug_hands_out_those_who_move(
        confined in some_cpus(),
        events in vec(plain_events(), 1..200),
    ) {
        let mut world = World::confined(THREADS, confined);

        for event in &events {
            match *event {
                Plain::Register(thread, node) if world.known[thread].is_none() => {
                    world.register(thread, node);
                }
                Plain::Register(..) => (),
                Plain::Unregister(thread) => world.unregister(thread),
                Plain::Prefer(thread, set) => {
                    let _ = world.prefer(thread, set, false);
                }
                Plain::Toggle(cpu) => {
                    let before = world.known.clone();

                    match world.system.usable >> cpu & 1 {
                        0 => world.up_again(cpu),
                        _ => world.down(cpu, 0),
                    }
                    let mut handed_out = world.settle();
                    let moved: Vec<usize> = (0..THREADS)
                        .filter(|thread| {
                            before[*thread].is_some_and(|known| {
                                Some(known.mask) != world.system.confined(&known, Asked::Reset)
                            })
                        })
                        .collect();

                    handed_out.sort();
                    prop_assert_eq!(handed_out, moved);
                }
            }
            prop_assert!(world.registry.is_settled());
            world.check();
        }
    }
}

#[test]
fn narrowed_threads_are_left_alone_until_their_cpu_goes() {
    let mut world = World::confined(4000, 0xffff);

    for thread in 0..4000 {
        world.register(thread, (thread % 2 == 0).then_some(0));
        // Within the CPUs of the node.
        assert!(world.user(thread, 0x0e));
    }
    for cpu in [3, 0, 2, 9, 69] {
        world.down(cpu, 0);
        assert_eq!(world.settle(), [0; 0], "CPU {cpu} goes");
    }
    for cpu in [2, 0, 69, 9, 3] {
        world.up_again(cpu);
        assert_eq!(world.settle(), [0; 0], "CPU {cpu} comes");
    }
    world.check();

    // The one on which they are sure to run. Nobody has to come back to that.
    world.down(1, 0);
    assert_eq!(world.settle().len(), 4000);
    assert_eq!((world.is_on(0), world.is_on(1)), (0x0e, 0x0e));
    world.up_again(1);
    assert_eq!(world.settle(), [0; 0]);
    world.check();
}

#[test]
fn threads_without_a_wish_need_not_be_asked_about() {
    let mut world = World::confined(8, 0x0f);

    for thread in 0..8 {
        world.register(thread, None);
    }
    assert!(world.user(0, 0x03));
    for (confined, unasked) in [(Some(0x3c), 7), (None, 14), (Some(0x0f), 21)] {
        world.confine(confined);
        world.settle();
        assert_eq!(world.unasked, unasked, "with {confined:?}");
        world.check();
    }
}

#[test]
fn displaced_threads_come_back_when_their_cpu_comes() {
    for confined in [Some(0xff), None] {
        let mut world = World::new(2000);

        world.confine(confined);
        for thread in 0..2000 {
            world.register(thread, None);
            assert!(world.user(thread, if thread < 12 { 0x30 } else { 0xff }));
        }
        for cpu in [8, 4, 6, 5, 7] {
            world.down(cpu, 0);
            world.settle();
            world.push();
        }
        for thread in 0..12 {
            assert_ne!(world.is_on(thread), 0x30);
        }
        // Those that are just anywhere come to where the others are.
        world.up_again(8);
        let come = world.settle().len();
        assert!(come == 0 || confined.is_none());
        for cpu in [7, 6] {
            world.up_again(cpu);
            assert_eq!(world.settle(), [0; 0], "CPU {cpu} comes");
        }
        world.up_again(5);
        let mut handed_out = world.settle();
        handed_out.sort();
        assert_eq!(handed_out, Vec::from_iter(0..12));
        for thread in 0..12 {
            assert_eq!(world.is_on(thread), 0x30);
        }
        world.up_again(4);
        assert_eq!(world.settle(), [0; 0]);
        world.check();
    }
}

/// Mainline puts them back when any CPU comes online.
#[test]
fn threads_with_a_preference_come_back_although_what_user_space_wants_is_offline() {
    let mut world = World::new(2);

    for thread in 0..2 {
        world.register(thread, Some(0));
        assert!(world.user(thread, 0x08));
    }
    world.known[1].as_mut().expect("it is registered").cpuset = Some(0xf8);
    world.down(3, 0);
    world.settle();
    world.push();
    assert_eq!((world.is_on(0), world.is_on(1)), (POSSIBLE, 0xf8));
    world.down(9, 0);
    world.up_again(9);
    world.settle();
    assert_eq!((world.is_on(0), world.is_on(1)), (0x0f, 0x0f));
    world.up_again(3);
    world.settle();
    assert_eq!((world.is_on(0), world.is_on(1)), (0x08, 0x08));

    // It has to wait for its preference as well.
    assert_eq!(world.prefer(0, 0x0c, true), Ok(()));
    assert!(world.user(0, 0x18));
    for cpu in [2, 3] {
        world.down(cpu, 0);
    }
    assert!(world.user(0, 0x18));
    world.down(4, 0);
    world.push();
    for (cpu, expected) in [(4, POSSIBLE), (2, 0x0c), (3, 0x08)] {
        world.up_again(cpu);
        world.settle();
        assert_eq!(world.is_on(0), expected, "CPU {cpu} came");
    }
}

#[test]
fn the_cpus_for_noise_are_preferred_while_threads_are_confined() {
    let mut world = World::new(2);

    for thread in 0..2 {
        world.register(thread, None);
    }
    world.prefer_noise(0);
    assert_eq!(world.is_on(0), NOISE);

    // As the unpatched kernel does it: a partition, and a choice that a CPU that comes keeps.
    world.system.housekeeping = 0xff;
    world.change();
    world.settle();
    assert_eq!(world.is_on(0), 0xff);
    assert!(world.user(0, 0x30));
    world.down(7, 0);
    world.up_again(7);
    world.settle();
    assert_eq!(world.is_on(0), 0x30);
    assert!(world.user(0, POSSIBLE));

    world.confine(Some(0x0e));
    assert_eq!((world.is_on(0), world.is_on(1)), (0x02, 0x0e));
    world.down(1, 0);
    world.settle();
    assert_eq!((world.is_on(0), world.is_on(1)), (0x0e, 0x0e));
    world.up_again(1);
    world.settle();
    assert_eq!((world.is_on(0), world.is_on(1)), (0x02, 0x0e));
    world.confine(None);
    assert_eq!((world.is_on(0), world.is_on(1)), (0x03, 0xff));
    world.check();
    world.system.has_ended = false;
    world.change();
    world.settle();
    assert_eq!(world.is_on(0), 0xff);
}

#[test]
fn equal_preferences_share_a_group_whose_number_is_used_again() {
    let mut world = World::new(4);
    let group = |world: &World, thread: usize| world.threads[thread].group();

    for (thread, set) in [(0, 6), (1, 9), (2, 6)] {
        world.register(thread, None);
        assert_eq!(world.prefer(thread, set, false), Ok(()));
    }
    assert_eq!(group(&world, 0), group(&world, 2));
    assert_ne!(group(&world, 0), group(&world, 1));

    // The last one leaves it by one way or the other, while it is stale or not.
    for (confined, is_stale, is_moved) in [
        (None, false, false),
        (Some(0x33), true, false),
        (Some(0x33), false, true),
        (None, true, true),
    ] {
        let before = group(&world, 0);

        world.system.confined = confined;
        world.change();
        if !is_stale {
            world.settle();
        }
        world.unregister(2);
        match is_moved {
            true => assert_eq!(world.prefer(0, 9, true), Ok(())),
            false => world.unregister(0),
        }
        if group(&world, 0) == 0 {
            world.register(0, Some(1));
        } else {
            assert_eq!(group(&world, 0), group(&world, 1));
        }
        assert_eq!(world.prefer(0, 6, group(&world, 0) != 3), Ok(()));
        world.register(2, None);
        assert_eq!(world.prefer(2, 6, false), Ok(()));
        assert_eq!((group(&world, 0), group(&world, 2)), (before, before));
        world.settle();
        world.check();
    }
}

/// What is allocated, as bytes, and what is freed beyond.
fn balance(with: impl FnOnce()) -> (u64, i64) {
    let AllocationInfo {
        bytes_total,
        count_current,
        ..
    } = measure(with);

    (bytes_total, count_current)
}

/// The kernel cannot do so with its lock held.
#[test]
fn nothing_is_allocated_or_freed_under_the_lock() {
    let mut world = World::new(600);
    let fill = |world: &mut World, confined| {
        world.system.confined = confined;
        world.change();
        for thread in 0..600 {
            let handle = world.threads[thread];
            let registry = &mut world.registry;
            // Half of them have a mask of their own at first, which all share at the end.
            let masks = [
                1 << (thread % 70) | 1 << (thread % 9),
                1 << (thread % 60),
                6,
            ];
            let mut result = [0; WORDS];

            let add = || {
                let _ = registry.register(handle, None);
            };
            assert_eq!(balance(add), (0, 0));
            for (count, set) in masks.into_iter().enumerate() {
                let mut prealloc = Prealloc::empty();
                let mut done = Err(Refusal::Short);

                while done == Err(Refusal::Short) {
                    let none = balance(|| {
                        done = registry.prefer(handle, &words(set), &mut prealloc, count > 0);
                    });
                    if done == Err(Refusal::Short) {
                        prealloc.fill(WORDS).expect("there is memory");
                    }
                    assert_eq!(none, (0, 0), "for preference {count} of thread {thread}");
                }
                assert_eq!(done, Ok(()));
                let user = words(0x55);
                for request in [Request::Reset, Request::User(&user), Request::Set(&user)] {
                    let none = balance(|| {
                        registry.evaluate(handle, request, Wishes::default(), &mut result);
                    });
                    assert_eq!(none, (0, 0));
                }
            }
        }
        for cpu in [3, 69] {
            let registry = &mut world.registry;

            assert_eq!(balance(|| registry.cpu_down(cpu)), (0, 0));
            assert_eq!(balance(|| registry.cpu_up(cpu, |_| false)), (0, 0));
        }
        let registry = &mut world.registry;
        let mut at = 0;
        while !registry.is_settled() {
            let none = balance(|| {
                registry.next(&mut at, &mut 9, 9, |_, _| ());
            });
            assert_eq!(none, (0, 0));
        }
        for handle in &world.threads {
            let none = balance(|| registry.unregister(*handle));
            assert_eq!(none, (0, 0));
        }
    };

    fill(&mut world, None);
    fill(&mut world, Some(0xff));
}

/// A thread costs no more memory than its group, and many groups no more than as much again.
#[test]
fn memory_follows_the_groups() {
    let bytes = |threads: usize, groups: usize| {
        let mut world = World::new(threads);
        let mut most = 0;
        let mut total = 0;

        for thread in 0..threads {
            let set = (thread % groups) as Set + 1;
            let mut grown = 0;

            world.registry.register(world.threads[thread], None);
            let mut prealloc = Prealloc::empty();
            let handle = world.threads[thread];
            let set = words(set);
            while world.registry.prefer(handle, &set, &mut prealloc, false) == Err(Refusal::Short) {
                grown += balance(|| prealloc.fill(WORDS).expect("there is memory")).0;
            }
            most = most.max(grown);
            total += grown;
        }
        (most, total)
    };

    assert_eq!(bytes(5000, 40), bytes(50, 40));
    let (most, total) = bytes(2000, 2000);
    let (most_half, total_half) = bytes(2000, 1000);
    assert!(most < 3 * most_half, "{most} against {most_half}");
    // It is copied now and then, but not for every group.
    assert!(total < 3 * total_half, "{total} against {total_half}");
}

#[test]
fn what_was_unregistered_leaves_room() {
    let mut world = World::new(THREADS);
    let mut fill = |first: usize| {
        let mut was_short = false;

        for thread in 0..THREADS {
            let handle = world.threads[thread];

            world.registry.register(handle, None);
            let set = words(1 << (first + thread));
            let (result, short) =
                until_room(|prealloc| world.registry.prefer(handle, &set, prealloc, false));
            assert_eq!(result, Ok(()));
            was_short |= short;
        }
        for handle in &world.threads {
            world.registry.unregister(*handle);
        }
        was_short
    };

    assert!(fill(0));
    for first in 1..20 {
        assert!(!fill(first), "the registry grows without need");
    }
}

#[test]
fn a_thread_may_leave_whatever_it_waits_for() {
    // From a list of those that are due, displaced, narrowed, and narrowed and due.
    for leaves in 0..4 {
        for is_moved in [false, true] {
            let mut world = World::confined(2, 0xff);

            for thread in 0..2 {
                world.register(thread, Some(0));
                assert_eq!(world.prefer(thread, 0x0f, false), Ok(()));
            }
            match leaves {
                0 => world.change(),
                1 => {
                    assert!(world.user(0, 0x02));
                    world.down(1, 0);
                    world.settle();
                }
                _ => {
                    assert!(world.user(0, 0x02));
                    if leaves == 3 {
                        world.down(1, 0);
                        // The groups are done, but not the thread.
                        world.put(1, false);
                        assert!(!world.registry.is_settled());
                    }
                }
            }
            if is_moved {
                assert_eq!(world.prefer(0, 0xf0, true), Ok(()));
            } else {
                world.unregister(0);
            }
            world.settle();
            world.check();
            world.up_again(1);
            world.settle();
            world.check();
            world.unregister(0);
            world.unregister(1);
            assert!(world.registry.is_settled());
        }
    }
}

#[test]
fn a_stale_group_is_settled_when_its_threads_have_left() {
    let mut world = World::confined(3, 0xff);

    for thread in 0..3 {
        world.register(thread, None);
        assert_eq!(world.prefer(thread, 0x0f, false), Ok(()));
    }
    world.change();
    // All are due now, one is handed out.
    assert_eq!(world.step(1, u32::MAX), 1);
    for thread in 0..3 {
        world.unregister(thread);
    }
    assert_eq!(world.settle(), [0; 0]);
    world.change();
    world.register(0, None);
    assert_eq!(world.prefer(0, 0x30, false), Ok(()));
    world.settle();
    world.check();
}

#[test]
fn two_passes_share_the_work() {
    let mut world = World::confined(100, 0xff);

    for thread in 0..100 {
        world.register(thread, None);
        assert_eq!(world.prefer(thread, 1 + thread as Set % 20, false), Ok(()));
    }
    world.system.confined = Some(0xf0);
    world.change();

    // Neither begins where the other is, and there is another change in between.
    let mut places = [0, 7];
    let mut count = 0;
    for turn in 0.. {
        let mut groups = 3;

        if turn == 21 {
            world.system.confined = Some(0x0f);
            world.change();
        }
        match world.next(&mut places[turn % 2], &mut groups) {
            Some(handle) => {
                world.request(handle.0.number, Asked::Reset, false);
                count += 1;
            }
            None if world.registry.is_settled() => break,
            None => assert_eq!(groups, 0),
        }
        assert!(turn < 1000, "it does not come to an end");
    }
    assert!((100..=121).contains(&count), "{count} were handed out");
    world.check();
}

#[test]
fn a_call_looks_at_so_many_groups_only() {
    let mut world = World::confined(100, 0xff);

    for thread in 0..100 {
        world.register(thread, None);
        // CPUs to which no thread is confined, so that nobody ever moves.
        assert_eq!(world.prefer(thread, 0x100 << thread.min(59), false), Ok(()));
        assert_eq!(world.prefer(thread, (thread as Set + 1) << 8, true), Ok(()));
    }
    let groups = 1 + NODES + 101;

    world.down(69, 0);
    let mut calls = 0;
    while !world.registry.is_settled() {
        let (mut at, mut most) = (world.at, 10);

        assert!(world.next(&mut at, &mut most).is_none());
        world.at = at;
        assert!(most == 0 || world.registry.is_settled());
        calls += 1;
    }
    assert!(
        (groups / 10 - 1..=groups / 10 + 1).contains(&calls),
        "{calls} calls for {groups} groups"
    );
}

#[test]
fn user_space_gets_what_is_within_the_confinement() {
    let mut world = World::confined(1, 0x3f);

    world.register(0, Some(0));
    // A preference gives way, the confinement does not.
    assert!(world.user(0, 0x70));
    assert_eq!(world.is_on(0), 0x30);
    assert!(!world.user(0, 0xc0));
    assert_eq!(world.is_on(0), 0x30);

    // It counts again when threads are not confined there any more.
    world.confine(Some(0x0f));
    assert_eq!(world.is_on(0), 0x0f);
    world.confine(Some(0x4f));
    assert_eq!(world.is_on(0), 0x40);
    world.confine(None);
    assert_eq!(world.is_on(0), 0x0f);
}

#[test]
fn a_cpuset_and_user_space_do_not_forget_each_other() {
    let mut world = World::confined(1, 0xff);
    let cpuset = |world: &mut World, cpuset| world.happen(&Event::Cpuset(0, cpuset));

    world.register(0, None);
    assert!(world.user(0, 0x0f));
    for (set, expected) in [
        (Some(0x3c), 0x0c),
        (Some(0x38), 0x08),
        (Some(0xf0), 0xf0),
        (None, 0x0f),
        // Of CPUs to which threads are not confined.
        (Some(0xf00), 0x0f),
        (Some(0xf0f0), 0xf0),
    ] {
        cpuset(&mut world, set);
        assert_eq!(world.is_on(0), expected);
    }
    assert!(!world.user(0, 0x0f));
    world.confine(Some(0x9f));
    assert_eq!(world.is_on(0), 0x90);
    // When threads are not confined any more, it is in its cpuset as it was before.
    world.confine(None);
    assert_eq!(world.is_on(0), 0xf0f0);
    world.confine(Some(0x9f));
    cpuset(&mut world, None);
    assert_eq!(world.is_on(0), 0x0f);
}
