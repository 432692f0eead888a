// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of what needs the kernel: the parser against `bitmap_parselist()`, the decisions
//! over the kernel's own CPU masks, and the books with the kernel's own tables.

use kernel::{
    bindings,
    cpumask::CpumaskVar,
    prelude::*,
    str::{
        BStr,
        CString, //
    },
};

use core::cell::Cell;

use super::{
    books::{
        self,
        Books,
        List,
        PerSetter,
        Refusal,
        Setter,
        Spare,
        Thread,
        Whom, //
    },
    cpulist::{
        self,
        Mask,
        Reason, //
    },
    option::{
        self,
        Classes, //
    },
    policy::{
        self,
        Cpus,
        Level,
        Verdict, //
    },
    table::Table,
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
    let nr_cpu_ids = kernel::cpu::nr_cpu_ids();
    let possible = match 1usize.checked_shl(nr_cpu_ids) {
        Some(end) => end - 1,
        None => usize::MAX,
    };

    mask.as_mut_bitmap().as_mut_words()[0] = bits & possible;
    Ok(mask)
}

/// What the books are made to believe is a thread, on a machine of 8 CPUs.
struct Fake {
    entry: Cell<u32>,
    stray: Cell<u32>,
    allowed: Cell<usize>,
    told: Cell<u32>,
    /// The list that it is in.
    next: Cell<Option<&'static Fake>>,
}

// SAFETY: Only the thread that runs the test accesses it.
unsafe impl Sync for Fake {}

impl Fake {
    const fn new() -> Self {
        Self {
            entry: Cell::new(0),
            stray: Cell::new(0),
            allowed: Cell::new(0),
            told: Cell::new(0),
            next: Cell::new(None),
        }
    }
}

/// The threads of the tests. KUnit runs one test after the other, and each leaves them as new.
static FAKES: [Fake; 12] = [const { Fake::new() }; 12];

impl Thread for &'static Fake {
    fn entry(self) -> u32 {
        self.entry.get()
    }

    fn set_entry(self, entry: u32) {
        self.entry.set(entry);
    }

    fn stray(self) -> u32 {
        self.stray.get()
    }

    fn set_stray(self, stray: u32) {
        self.stray.set(stray);
    }

    fn allow(self, allowed: &[usize], _reason: books::Reason) {
        self.allowed.set(allowed[0]);
        self.told.set(self.told.get() + 1);
    }
}

/// A list that is linked in one direction, and searched for what is removed.
struct Chain(Option<&'static Fake>);

impl List for Chain {
    type Thread = &'static Fake;

    const EMPTY: Self = Self(None);

    fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn add(&mut self, thread: &'static Fake) {
        thread.next.set(self.0.replace(thread));
    }

    fn remove(&mut self, thread: &'static Fake) {
        let next = thread.next.take();

        match self.0 {
            Some(first) if core::ptr::eq(first, thread) => self.0 = next,
            first => {
                let mut link = first;
                while let Some(fake) = link {
                    link = fake.next.get();
                    if link.is_some_and(|link| core::ptr::eq(link, thread)) {
                        fake.next.set(next);
                        return;
                    }
                }
            }
        }
    }

    fn for_each(&self, mut with: impl FnMut(&'static Fake)) {
        let mut link = self.0;

        while let Some(fake) = link {
            link = fake.next.get();
            with(fake);
        }
    }
}

/// The masks of the made-up machine: CPUs 0-3 are on node 0, CPUs 4-7 on node 1.
#[derive(Clone, Copy)]
struct Machine {
    confined: usize,
    housekeeping: usize,
    online: usize,
}

impl Machine {
    const NODES: [usize; 2] = [0x0f, 0xf0];
    const POSSIBLE: usize = 0xff;

    fn tell(self, books: &mut Books<Chain>) {
        self.tell_whom(books, Whom::Affected);
    }

    fn tell_whom(self, books: &mut Books<Chain>, whom: Whom) {
        books.change(0, whom, |masks| {
            masks.confined[0] = self.confined;
            masks.housekeeping[0] = self.housekeeping;
            masks.usable[0] = self.online;
            masks.possible[0] = Self::POSSIBLE;
            masks.strict = true;
        });
    }

    /// Where a thread may run that prefers `preferred`, as the specification has it.
    fn effective(self, preferred: Option<usize>) -> usize {
        let kernel = self.confined & self.housekeeping;

        for mask in [preferred.unwrap_or(0) & kernel, kernel, self.housekeeping] {
            if mask & self.online != 0 {
                return mask;
            }
        }
        Self::POSSIBLE
    }

    /// The same for a thread that its cpuset, or else user space, keeps to these CPUs.
    fn allowed(self, preferred: Option<usize>, wishes: PerSetter<Option<usize>>) -> usize {
        let effective = self.effective(preferred);
        let [cpuset, user] = wishes.map(|wish| wish.unwrap_or(Self::POSSIBLE));

        for mask in [cpuset & user, cpuset, user] {
            if mask & effective & self.online != 0 {
                return mask & effective;
            }
        }
        effective
    }
}

/// What a thread prefers, and what its cpuset and user space ask for.
type Known = (Option<usize>, PerSetter<Option<usize>>);

fn new_books(machine: Machine) -> Result<Books<Chain>> {
    let mut books = Books::new(Machine::NODES.len(), 1)?;

    books.change_nodes(0, |node, cpus| cpus[0] = Machine::NODES[node]);
    machine.tell(&mut books);
    Ok(books)
}

/// How many threads the books show, each where it is.
fn shown(books: &mut Books<Chain>) -> usize {
    let mut count = 0;
    let entries = books.each_entry(|entry| {
        let mut right = Ok(());

        entry.threads.for_each(|fake| {
            count += 1;
            if (fake.entry.get(), fake.allowed.get()) != (entry.number, entry.allowed[0]) {
                right = Err(EINVAL);
            }
        });
        right
    });
    let strays = books.each_stray(|stray| {
        let fake = stray.thread;

        count += 1;
        if (fake.entry.get(), fake.allowed.get()) != (stray.entry, stray.allowed[0]) {
            return Err(EINVAL);
        }
        Ok(())
    });

    if entries.and(strays).is_ok() {
        count
    } else {
        usize::MAX
    }
}

/// Calls `with` with a spare mask until there is room.
fn with_spare(
    mask: usize,
    mut with: impl FnMut(&mut Spare<Chain>) -> Result<(), Refusal>,
) -> Result<Result<(), Refusal>> {
    let mut spare = Spare::new(Some(Table::filled(mask, 1)?));

    loop {
        match with(&mut spare) {
            Err(Refusal::Short) => spare.fill()?,
            result => return Ok(result),
        }
    }
}

/// Puts `fake` into the books.
fn enrol(
    books: &mut Books<Chain>,
    fake: &'static Fake,
    node: Option<usize>,
    creator: Option<&'static Fake>,
) -> Result {
    let mut spare = Spare::new(None);

    while books.enrol(fake, node, creator, &mut spare).is_err() {
        spare.fill()?;
    }
    Ok(())
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
        let cases: [(&[u8], Result<Classes, option::Error>); 4] = [
            (b"wq,0", Ok(Classes::WQ)),
            (b"wq,N", Ok(Classes::WQ)),
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
        let mut allowed = cpus(0)?;
        let preferred = cpus(0b1100)?;
        let all = cpus(0b1111)?;

        // The confined, housekeeping and online CPUs, the level, and the allowed CPUs.
        let cases = [
            (0b1111, 0b1111, 0b1111, Level::Preferred, 0b1100),
            (0b1011, 0b0111, 0b1111, Level::Confined, 0b0011),
            (0b1110, 0b1110, 0b0011, Level::Confined, 0b1110),
            (0b1000, 0b0111, 0b0001, Level::Housekeeping, 0b0111),
            (0b1000, 0b1100, 0b0011, Level::Possible, 0b1111),
        ];

        // On fewer CPUs the cases mean something else.
        if kernel::cpu::nr_cpu_ids() < 4 {
            return Ok(());
        }
        for (confined, housekeeping, online, level, expected) in cases {
            let cpus_now = Cpus {
                confined: &*cpus(confined)?,
                housekeeping: &*cpus(housekeeping)?,
                online: &*cpus(online)?,
                possible: &*all,
            };

            assert!(policy::effective(&mut *allowed, Some(&*preferred), &cpus_now) == level);
            assert!(allowed.equal(&*cpus(expected)?));
        }
        Ok(())
    }

    #[test]
    fn verdicts_on_cpumasks() -> Result {
        let mut scratch = cpus(0)?;

        // The CPUs in the list, housekeeping and possible ones.
        let cases = [
            (0b0000, 0b0111, 0b0111, Verdict::Empty),
            (0b1000, 0b0111, 0b0111, Verdict::NoHousekeeping),
            (0b1001, 0b0111, 0b0111, Verdict::Obeyed { impossible: true }),
            (
                0b0101,
                0b0110,
                0b0111,
                Verdict::Obeyed { impossible: false },
            ),
        ];

        if kernel::cpu::nr_cpu_ids() < 4 {
            return Ok(());
        }
        for (wanted, housekeeping, possible, verdict) in cases {
            let judged = policy::judge(
                &*cpus(wanted)?,
                &*cpus(housekeeping)?,
                &*cpus(possible)?,
                &mut *scratch,
            );
            assert!(judged == verdict);
        }
        Ok(())
    }

    #[test]
    fn books_follow_what_happens() -> Result {
        let mut machine = Machine {
            confined: 0x33,
            housekeeping: 0xff,
            online: 0xff,
        };
        let mut books = new_books(machine)?;
        let mut known: [Option<Known>; 12] = [None; 12];
        let mut state = 2;

        for _ in 0..20_000 {
            let at = random(&mut state) as usize % FAKES.len();
            let fake = &FAKES[at];
            let mask = random(&mut state) as usize & 0xff;
            let bit = 1 << (random(&mut state) % 8);

            match random(&mut state) % 10 {
                0 | 1 if known[at].is_none() => {
                    let node = random(&mut state) as usize % 3;

                    // Sometimes it is created by one for which user space has set something.
                    let creator = random(&mut state) as usize % FAKES.len();
                    let wish = known[creator].and_then(|(_, wishes)| wishes[1]);

                    enrol(
                        &mut books,
                        fake,
                        Some(node).filter(|node| *node < 2),
                        known[creator].map(|_| &FAKES[creator]),
                    )?;
                    known[at] = Some((Machine::NODES.get(node).copied(), [None, wish]));
                }
                0 => {
                    books.leave(fake, &mut Spare::new(None));
                    known[at] = None;
                }
                2 => {
                    let result = with_spare(mask, |spare| books.prefer(fake, spare))?;

                    if result.is_ok() {
                        known[at] = known[at].map(|(_, wishes)| (Some(mask), wishes));
                    }
                    assert!(known[at].is_some() || result == Err(Refusal::Unknown));
                }
                3 => {
                    let result = with_spare(mask, |spare| books.update(fake, spare))?;
                    let expected = match known[at] {
                        None => Err(Refusal::Unknown),
                        Some((None, _)) => Err(Refusal::Indifferent),
                        Some(_) => Ok(()),
                    };

                    assert!(result == expected);
                    if result.is_ok() {
                        known[at] = known[at].map(|(_, wishes)| (Some(mask), wishes));
                    }
                }
                4 => {
                    let (setter, which) = match random(&mut state) % 2 {
                        0 => (Setter::Cpuset, 0),
                        _ => (Setter::User, 1),
                    };
                    let result = with_spare(mask, |spare| books.restrict(fake, setter, spare))?;
                    let wish = Some(mask).filter(|mask| *mask != Machine::POSSIBLE);

                    if let (Ok(()), Some((_, wishes))) = (result, &mut known[at]) {
                        wishes[which] = wish;
                    } else {
                        assert!(setter == Setter::User || known[at].is_none());
                    }
                }
                5 => machine.confined = if mask == 0 { 0xff } else { mask },
                6 => machine.housekeeping = mask,
                7 | 8 if machine.online & !bit != 0 => machine.online &= !bit,
                _ => machine.online |= bit,
            }
            machine.tell(&mut books);

            for (fake, known) in FAKES.iter().zip(known) {
                let Some((preferred, wishes)) = known else {
                    continue;
                };
                assert_eq!(fake.allowed.get(), machine.allowed(preferred, wishes));
            }
            assert!(shown(&mut books) == known.iter().flatten().count());
        }

        for fake in &FAKES {
            books.leave(fake, &mut Spare::new(None));
            assert_eq!((fake.entry.get(), fake.stray.get()), (0, 0));
        }
        Ok(())
    }

    #[test]
    fn books_leave_alone_what_stays() -> Result {
        let mut machine = Machine {
            confined: 0x3c,
            housekeeping: 0xff,
            online: 0xff,
        };
        let mut books = new_books(machine)?;

        for fake in &FAKES {
            enrol(&mut books, fake, Some(1), None)?;
            fake.told.set(0);
        }
        // CPU 5, and others that do not matter, go and come.
        for online in [0xdf, 0xd6, 0xff] {
            machine.online = online;
            machine.tell(&mut books);
        }
        assert_eq!(FAKES.iter().map(|fake| fake.told.get()).sum::<u32>(), 0);

        // CPUs 4 and 5 go, and one of them comes back, then the other.
        for online in [0xcf, 0xdf, 0xff] {
            machine.online = online;
            machine.tell(&mut books);
        }
        for fake in &FAKES {
            assert_eq!(fake.told.get(), 2);
            books.leave(fake, &mut Spare::new(None));
        }
        Ok(())
    }

    #[test]
    fn books_put_right_who_was_moved_by_others() -> Result {
        let mut machine = Machine {
            confined: 0xf7,
            housekeeping: 0xff,
            online: 0xff,
        };
        let mut books = new_books(machine)?;
        let [thread, stray, ..] = &FAKES;

        for fake in [thread, stray] {
            enrol(&mut books, fake, Some(1), None)?;
        }
        let placed = with_spare(0x30, |spare| books.restrict(stray, Setter::User, spare))?;
        assert!(placed.is_ok());
        for fake in [thread, stray] {
            fake.allowed.set(0x01);
        }

        // Their own CPUs, 4-7, do not change.
        machine.confined = 0xf0;
        machine.tell_whom(&mut books, Whom::Everyone);
        assert_eq!(thread.allowed.get(), 0xf0);
        assert_eq!(stray.allowed.get(), 0x30);

        for fake in [thread, stray] {
            books.leave(fake, &mut Spare::new(None));
        }
        Ok(())
    }
}
