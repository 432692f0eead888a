// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of what needs the kernel: the parser against `bitmap_parselist()`, the decisions
//! over the kernel's own CPU masks, and the registry with the kernel's own vectors.

use kernel::{
    bindings,
    cpu::CpuId,
    cpumask::{
        possible,
        words,
        CpumaskVar, //
    },
    prelude::*,
    str::{
        BStr,
        CString, //
    },
};

use core::cell::Cell;

use super::{
    cpulist::{
        self,
        Mask,
        Reason, //
    },
    option::{
        self,
        Classes, //
    },
    registry::{
        List,
        Outcome,
        Prealloc,
        Refusal,
        Registry,
        Request,
        Thread,
        Wishes, //
    },
};

/// The widths that lists are parsed at: around the sizes of a word, and up to the largest mask.
const WIDTHS: [u32; 12] = [1, 2, 7, 8, 31, 32, 63, 64, 65, 128, 1000, 8192];

/// The words of the largest mask.
const WORDS: usize = 8192 / usize::BITS as usize;

/// Lists on which implementations of the grammar tend to differ.
const LISTS: [&[u8]; 56] = [
    b"",
    b"\n",
    b" , \t,",
    b"0",
    b"0\n",
    b"0\n5",
    b"0 \n5",
    b"0-3\n5",
    b"0-3:1/2\n5",
    b"0,,2",
    b"0 2",
    b"0\xa02",
    b"0\x0b2",
    b"0\x1c2",
    b"N",
    b"n",
    b"N-N",
    b"0-N",
    b"N-0",
    b"NN",
    b"N1",
    b"all",
    b"ALL",
    b"aLl",
    b"al",
    b"alll",
    b"all:1/2",
    b"all-3",
    b"all\n3",
    b"0-3:1/2N",
    b"0-3:1/2,N",
    b"0-N:1/N",
    b"0-N:N/N",
    b"0-7:0/2",
    b"0-7:0/0",
    b"0-7:2/2",
    b"0-7:3/2",
    b"0-7:1",
    b"0-7:1/",
    b"0-7:/2",
    b"0-7:",
    b"0:1/2",
    b"3-1",
    b"3-1:1/0",
    b"1-",
    b"-1",
    b"+1",
    b"1--2",
    b"0x1",
    b"010",
    b"0000000000000000000000000000000001",
    b"4294967294",
    b"4294967296",
    b"18446744073709551616",
    b"99999999999999999999999999999999999999999999",
    b"0-7:1/2,x",
];

/// A pseudo-random number, good enough to make lists from.
fn random(state: &mut u64) -> u32 {
    *state = state
        .wrapping_mul(6364136223846793005)
        .wrapping_add(1442695040888963407);
    (*state >> 33) as u32
}

/// Appends a number that is mostly valid for `nbits` bits, and often at a limit.
fn push_number(text: &mut KVec<u8>, nbits: u32, state: &mut u64) -> Result {
    let number = match random(state) % 16 {
        0 => return Ok(text.push(b'N', GFP_KERNEL)?),
        1 => nbits,
        2 => nbits - 1,
        3 => 0,
        4..=7 => random(state) % 70,
        _ => random(state).checked_rem(nbits).unwrap_or(0),
    };
    let digits = CString::try_from_fmt(fmt!("{number}"))?;

    text.extend_from_slice(digits.to_bytes(), GFP_KERNEL)?;
    Ok(())
}

/// Makes a list of a few regions for `nbits` bits, one byte of which may then be changed.
fn random_list(text: &mut KVec<u8>, nbits: u32, state: &mut u64) -> Result {
    text.clear();
    for _ in 0..1 + random(state) % 6 {
        match random(state) % 12 {
            0 => text.extend_from_slice(b"all", GFP_KERNEL)?,
            kind => {
                push_number(text, nbits, state)?;
                if kind > 3 {
                    text.push(b'-', GFP_KERNEL)?;
                    push_number(text, nbits, state)?;
                }
                if kind > 7 {
                    text.push(b':', GFP_KERNEL)?;
                    push_number(text, nbits, state)?;
                    text.push(b'/', GFP_KERNEL)?;
                    push_number(text, nbits, state)?;
                }
            }
        }
        text.push(b",, \n\t"[random(state) as usize % 5], GFP_KERNEL)?;
    }

    if random(state) % 4 == 0 {
        let at = random(state) as usize % text.len();
        text[at] = b"0123456789,-:/N aA\nx"[random(state) as usize % 20];
    }
    Ok(())
}

/// Parses `list` in Rust and in C and returns the error of the parser in Rust as that of C.
///
/// `Err` says that the two do not agree, or that a failed parse changed the mask.
fn compare(list: &[u8], nbits: u32, ours: &mut [usize], theirs: &mut [usize]) -> Result<i32, ()> {
    const UNTOUCHED: usize = 0x5a5a_5a5a;

    let mut text = KVec::new();
    text.extend_from_slice(list, GFP_KERNEL).map_err(|_| ())?;
    text.push(0, GFP_KERNEL).map_err(|_| ())?;
    // SAFETY: `text` was just given its NUL byte, and `theirs` holds the `WORDS` words that the
    // largest of `WIDTHS` takes, which `nbits` is one of.
    let theirs_errno =
        unsafe { bindings::bitmap_parselist(text.as_ptr(), theirs.as_mut_ptr(), nbits as c_int) };

    ours.fill(UNTOUCHED);
    let mut mask = Mask::new(ours, nbits).ok_or(())?;
    let errno = match cpulist::parse(list, &mut mask) {
        Ok(()) => 0,
        Err(error) => match error.reason {
            Reason::Malformed => EINVAL.to_errno(),
            Reason::OutOfRange => ERANGE.to_errno(),
            Reason::Overflow => EOVERFLOW.to_errno(),
        },
    };

    let words = nbits.div_ceil(usize::BITS) as usize;
    let (used, unused) = ours.split_at(words);
    let same = match errno {
        0 => Some(used) == theirs.get(..words),
        _ => used.iter().all(|&word| word == UNTOUCHED),
    };
    let same = same && unused.iter().all(|&word| word == UNTOUCHED);

    if errno != theirs_errno || !same {
        pr_err!(
            "\"{}\" at {nbits} bits: {errno}, in C {theirs_errno}; masks agree: {same}\n",
            BStr::from_bytes(list)
        );
        return Err(());
    }
    Ok(errno)
}

/// A cpumask of the CPUs whose bits are set in `bits`, as far as there are such CPUs.
fn cpus(bits: usize) -> Result<CpumaskVar> {
    let mut mask = CpumaskVar::new_zero(GFP_KERNEL)?;
    let known = kernel::cpu::nr_cpu_ids().min(usize::BITS);

    for cpu in (0..known).filter(|cpu| bits & 1 << cpu != 0) {
        mask.set(CpuId::from_u32(cpu).ok_or(EINVAL)?);
    }
    Ok(mask)
}

/// What the registry is made to believe is a thread, on a machine of 8 CPUs.
#[derive(Default)]
struct Fake<'a> {
    group: Cell<u32>,
    watch: Cell<u32>,
    /// The list that it is in goes on there.
    next: Cell<Option<&'a Fake<'a>>>,
    /// What it prefers, what user space has asked for, and where it is.
    preferred: Cell<Option<usize>>,
    user: Cell<Option<usize>>,
    allowed: Cell<usize>,
}

impl Thread for &Fake<'_> {
    fn group(self) -> u32 {
        self.group.get()
    }

    fn set_group(self, group: u32) {
        self.group.set(group);
    }

    fn watch(self) -> u32 {
        self.watch.get()
    }

    fn set_watch(self, watch: u32) {
        self.watch.set(watch);
    }
}

/// A list that is linked in one direction, and searched for what is forgotten.
struct Chain<'a>(Option<&'a Fake<'a>>);

impl<'a> Chain<'a> {
    fn pop(&mut self) -> Option<&'a Fake<'a>> {
        let thread = self.0?;

        self.0 = thread.next.take();
        Some(thread)
    }
}

impl<'a> List for Chain<'a> {
    type Thread = &'a Fake<'a>;

    const EMPTY: Self = Self(None);

    fn first(&self) -> Option<&'a Fake<'a>> {
        self.0
    }

    fn add(&mut self, thread: &'a Fake<'a>) {
        thread.next.set(self.0.replace(thread));
    }

    fn forget(&mut self, thread: &'a Fake<'a>) {
        let mut others = Self::EMPTY;

        while let Some(other) = self.pop() {
            if !core::ptr::eq(other, thread) {
                others.add(other);
            }
        }
        *self = others;
    }

    fn unlink(_: &'a Fake<'a>) {}

    fn append(&mut self, other: &mut Self) {
        while let Some(thread) = other.pop() {
            self.add(thread);
        }
    }

    fn move_while(&mut self, to: &mut Self, mut with: impl FnMut(&'a Fake<'a>) -> bool) {
        while self.0.is_some_and(&mut with) {
            to.add(self.pop().expect("there is one"));
        }
    }
}

/// The made-up machine: CPUs 0-3 are on node 0, CPUs 4-7 on node 1.
struct Machine<'a> {
    registry: Registry<Chain<'a>>,
    confined: usize,
    housekeeping: usize,
    online: usize,
    /// How often the registry was asked where a thread may run.
    asked: u32,
}

const NODES: [usize; 2] = [0x0f, 0xf0];

impl<'a> Machine<'a> {
    fn new(confined: usize) -> Result<Self> {
        let mut machine = Self {
            registry: Registry::new(NODES.len(), 1)?,
            confined,
            housekeeping: 0xff,
            online: 0,
            asked: 0,
        };

        for cpu in 0..8 {
            machine.toggle(cpu);
        }
        machine.change();
        Ok(machine)
    }

    fn change(&mut self) {
        self.registry.change(|masks| {
            masks.confined[0] = self.confined;
            masks.housekeeping[0] = self.housekeeping;
            masks.possible[0] = 0xff;
            masks.is_confined = true;
        });
        self.settle();
    }

    /// A CPU comes online or goes.
    fn toggle(&mut self, cpu: usize) {
        self.online ^= 1 << cpu;
        match self.online >> cpu & 1 {
            0 => self.registry.cpu_down(cpu),
            _ => self
                .registry
                .cpu_up(cpu, |node| NODES[node] >> cpu & 1 != 0),
        }
        self.settle();
    }

    fn settle(&mut self) {
        let mut at = 0;

        while !self.registry.is_settled() {
            let mut found = None;

            self.registry
                .next(&mut at, &mut 2, 1, |fake, _| found = Some(fake));
            if let Some(fake) = found {
                self.put(fake, Request::Reset);
            }
        }
    }

    /// Puts `fake` where the registry wants it, and returns whether it can be there.
    fn put(&mut self, fake: &'a Fake<'a>, request: Request<'_>) -> bool {
        let user = fake.user.get().map(|user| [user]);
        let wishes = Wishes {
            user: user.as_ref().map(|user| &user[..]),
            ..Wishes::default()
        };
        let mut result = [0];
        let outcome = self.registry.evaluate(fake, request, wishes, &mut result);

        self.asked += 1;
        if outcome == Outcome::Allowed {
            fake.allowed.set(result[0]);
        }
        outcome == Outcome::Allowed
    }

    fn register(&mut self, fake: &'a Fake<'a>, node: Option<usize>) {
        self.registry.register(fake, node);
        fake.preferred.set(node.map(|node| NODES[node]));
        fake.user.set(None);
        self.put(fake, Request::Reset);
    }

    /// Gives `fake` a preference, or another one.
    fn prefer(&mut self, fake: &'a Fake<'a>, mask: usize) -> Result<Result<(), Refusal>> {
        let mut prealloc = Prealloc::empty();

        loop {
            let done = match self.registry.prefer(fake, &[mask], &mut prealloc, false) {
                Err(Refusal::Taken) => self.registry.prefer(fake, &[mask], &mut prealloc, true),
                done => done,
            };

            match done {
                Err(Refusal::Short) => prealloc.fill(1)?,
                Err(refusal) => return Ok(Err(refusal)),
                Ok(()) => break,
            }
        }
        fake.preferred.set(Some(mask));
        self.put(fake, Request::Reset);
        Ok(Ok(()))
    }

    /// User space asks for `mask`. Returns whether it gets any of that.
    fn user(&mut self, fake: &'a Fake<'a>, mask: usize) -> bool {
        let before = fake.user.replace(Some(mask));
        let done = self.put(fake, Request::User(&[mask]));

        if !done {
            fake.user.set(before);
        }
        done
    }

    /// Where the specification has a thread that prefers `preferred`.
    fn level(&self, preferred: usize) -> usize {
        let kernel = self.confined & self.housekeeping;
        let mut levels = [preferred & kernel, kernel, self.housekeeping].into_iter();

        levels.find(|set| set & self.online != 0).unwrap_or(0xff)
    }

    /// Whether `fake` is there, or where user space wants it.
    fn is_right(&self, fake: &Fake<'_>) -> bool {
        let own = self.level(fake.preferred.get().unwrap_or(0));
        let user = fake.user.get().unwrap_or(0);
        let mut sets = [own & user, self.level(0) & user].into_iter();

        fake.allowed.get() == sets.find(|set| set & self.online != 0).unwrap_or(own)
    }
}

#[kunit_tests(kthread_cpus)]
mod tests {
    use super::*;

    #[test]
    fn known_lists_agree_with_c() -> Result {
        let mut ours = KVec::from_elem(0, WORDS, GFP_KERNEL)?;
        let mut theirs = KVec::from_elem(0, WORDS, GFP_KERNEL)?;

        for list in LISTS {
            for nbits in WIDTHS {
                assert!(compare(list, nbits, &mut ours, &mut theirs).is_ok());
            }
        }
        Ok(())
    }

    #[test]
    fn random_lists_agree_with_c() -> Result {
        let mut ours = KVec::from_elem(0, WORDS, GFP_KERNEL)?;
        let mut theirs = KVec::from_elem(0, WORDS, GFP_KERNEL)?;
        let mut list = KVec::new();
        let mut state = 1;
        let mut valid = 0;
        let mut invalid = 0;

        for _ in 0..2000 {
            for nbits in WIDTHS {
                random_list(&mut list, nbits, &mut state)?;
                let errno = compare(&list, nbits, &mut ours, &mut theirs);
                assert!(errno.is_ok());
                if errno == Ok(0) {
                    valid += 1;
                } else {
                    invalid += 1;
                }
            }
        }

        // Both kinds were really there.
        assert!(valid > 1000);
        assert!(invalid > 1000);
        Ok(())
    }

    #[test]
    fn wrapping_numbers_follow_the_grammar() {
        let mut words = [0];

        for list in [&b"1-3:1/4294967295"[..], b"1-7:1/4294967290"] {
            let mut mask = Mask::new(&mut words, 8);
            let parsed = mask.as_mut().map(|mask| cpulist::parse(list, mask));
            assert!(parsed == Some(Ok(())));
            assert_eq!(words[0], 1 << 1);
        }

        for list in [&b"4294967295"[..], b"0-4294967295"] {
            let mut mask = Mask::new(&mut words, 8);
            let parsed = mask.as_mut().map(|mask| cpulist::parse(list, mask));
            let reason = parsed.and_then(|parsed| parsed.err()).map(|e| e.reason);
            assert!(reason == Some(Reason::OutOfRange));
        }
    }

    #[test]
    fn option_tells_flags_from_lists() {
        let mut words = [0];
        let wq = Classes(bindings::kthread_cpus_class_KTHREAD_CPUS_WQ);
        let cases: [(&[u8], Result<Classes, option::Error>); 4] = [
            (b"wq,0", Ok(wq)),
            (b"wq,N", Ok(wq)),
            (b"wq,foo,0", Err(option::Error::UnknownFlag(3))),
            (b"wq 0", Err(option::Error::NoComma(2))),
        ];

        for (value, expected) in cases {
            let mut mask = Mask::new(&mut words, 8);
            let parsed = mask.as_mut().map(|mask| option::parse(value, mask));
            assert!(parsed == Some(expected));
        }
    }

    #[test]
    fn levels_on_cpumasks() -> Result {
        let allowed = cpus(0)?;
        let preferred = cpus(0b1100)?;

        // The confined, housekeeping and online CPUs, and the allowed ones, `None` for all that are
        // possible.
        let cases = [
            (0b1111, 0b1111, 0b1111, Some(0b1100)),
            (0b1011, 0b0111, 0b1111, Some(0b0011)),
            (0b1110, 0b1110, 0b0011, Some(0b1110)),
            (0b1000, 0b0111, 0b0001, Some(0b0111)),
            (0b1000, 0b1100, 0b0011, None),
        ];

        // On fewer CPUs the cases mean something else.
        if kernel::cpu::nr_cpu_ids() < 4 {
            return Ok(());
        }
        for (confined, housekeeping, online, expected) in cases {
            let (confined, housekeeping) = (cpus(confined)?, cpus(housekeeping)?);
            let online = cpus(online)?;

            // SAFETY: All of them are valid, and nobody else has them.
            unsafe {
                crate::kthread_cpus_effective(
                    allowed.as_raw(),
                    preferred.as_raw(),
                    confined.as_raw(),
                    housekeeping.as_raw(),
                    online.as_raw(),
                )
            };
            let some = cpus(expected.unwrap_or(0))?;
            // SAFETY: They are borrowed until after this, and nobody else has them.
            let (allowed, some) = unsafe { (words(allowed.as_raw()), words(some.as_raw())) };

            assert_eq!(allowed, expected.map_or(possible(), |_| some));
        }
        Ok(())
    }

    #[test]
    fn registry_follows_what_happens() -> Result {
        let fakes: [Fake<'_>; 12] = Default::default();
        let mut machine = Machine::new(0x33)?;
        let mut state = 2;

        for _ in 0..20_000 {
            let fake = &fakes[random(&mut state) as usize % fakes.len()];
            let mask = random(&mut state) as usize & 0xff;
            let cpu = random(&mut state) as usize % 8;

            match random(&mut state) % 10 {
                0 | 1 if fake.group() == 0 => {
                    machine.register(fake, Some(mask % 3).filter(|node| *node < 2));
                }
                0 => machine.registry.unregister(fake),
                2 | 3 => {
                    let done = machine.prefer(fake, mask)?;

                    assert!(done.is_ok() == (fake.group() != 0));
                }
                4 => {
                    let own = machine.level(fake.preferred.get().unwrap_or(0));
                    let any = own | machine.level(0);
                    let done = machine.user(fake, mask);

                    assert!(done == (fake.group() != 0 && any & mask & machine.online != 0));
                }
                5 => {
                    machine.confined = mask | 1;
                    machine.change();
                }
                6 => {
                    machine.housekeeping = mask;
                    machine.change();
                }
                // One CPU always stays.
                _ if machine.online != 1 << cpu => machine.toggle(cpu),
                _ => (),
            }
            for fake in &fakes {
                assert!(fake.group() == 0 || machine.is_right(fake));
            }
        }
        Ok(())
    }

    #[test]
    fn registry_leaves_alone_what_stays() -> Result {
        let fakes: [Fake<'_>; 12] = Default::default();
        let mut machine = Machine::new(0x3c)?;

        for fake in &fakes {
            machine.register(fake, Some(1));
        }
        // CPU 5 and others that do not matter go and come. Then CPUs 4 and 5 go, and come back.
        for (cpus, count) in [([5, 0, 3, 0, 3, 5], 0), ([4, 5, 4, 5, 0, 0], 2)] {
            machine.asked = 0;
            for cpu in cpus {
                machine.toggle(cpu);
            }
            assert_eq!(machine.asked, count * 12);
        }
        Ok(())
    }

    #[test]
    fn registry_brings_back_who_was_displaced() -> Result {
        let fakes: [Fake<'_>; 12] = Default::default();
        let mut machine = Machine::new(0xf3)?;

        for fake in &fakes {
            machine.register(fake, None);
        }
        assert!(machine.user(&fakes[0], 0x30));
        // There are no such CPUs for it.
        assert!(!machine.user(&fakes[0], 0x0c));

        // Its last CPU goes, another one goes and comes, and then its own.
        machine.asked = 0;
        for (cpu, expected, count) in [
            (5, 0x30, 0),
            (4, 0xf3, 1),
            (7, 0xf3, 1),
            (7, 0xf3, 1),
            (4, 0x30, 2),
        ] {
            machine.toggle(cpu);
            assert_eq!((fakes[0].allowed.get(), machine.asked), (expected, count));
        }
        Ok(())
    }
}
