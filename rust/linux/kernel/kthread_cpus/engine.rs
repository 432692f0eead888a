// SPDX-License-Identifier: GPL-2.0

//! The affinity of managed kthreads: the [`Books`] of them, and what C tells them.
//!
//! # Locks
//!
//! [`BOOKS`] protects the books and every `struct kthread_affinity`. It is a mutex, as changing the
//! affinity of a thread may sleep until that has moved. It is taken
//!
//! * after `kthread_cpus_mutex`, `cpuset_top_mutex`, `cpu_hotplug_lock`, `cpuset_mutex` and
//!   `wq_pool_attach_mutex`, where these are held,
//! * before `rcu_read_lock()`, and before the `pi_lock` of a thread and the lock of its runqueue.
//!
//! Nothing is allocated while it is held, so that it depends on no memory being freed. But who
//! moves a thread that has disabled migration waits for it, and with it whoever wants the lock.
//!
//! # What is true when
//!
//! The books have the masks of the system as the last change found them. Whoever changes one of
//! these masks has it change before the call that tells the books, so that the last call finds them
//! all as they are, in whatever order the calls get the lock. A CPU counts as usable while it is
//! active and not dying: `cpu_active_mask` is set before, and `cpu_dying_mask` is set and cleared
//! before, the callbacks of `CPUHP_AP_KTHREADS_ACTIVE` run.
//!
//! C header: [`include/linux/kthread_cpus.h`](srctree/include/linux/kthread_cpus.h)

use kernel::{
    bindings,
    container_of,
    cpumask::{
        self,
        Cpumask, //
    },
    prelude::*, //
};

use core::ptr::NonNull;

use super::{
    books::{
        Books,
        List,
        Masks,
        Reason,
        Refusal,
        Setter,
        Spare,
        Thread,
        Whom, //
    },
    table::Table,
};

kernel::sync::global_lock! {
    // SAFETY: Initialized in `kthread_books_setup()`, which comes before all other calls.
    unsafe(uninit) static BOOKS: Mutex<Option<Books<Ring>>> = None;
}

/// How long the name of a kthread may be, as in `/proc`.
pub(super) const NAME_SIZE: usize = 64;

/// A kthread in the books.
///
/// # Invariants
///
/// It points to the `struct kthread_affinity` of a kthread that is valid for as long as the caller
/// of the exported function that made this promises, or until the kthread has left the books.
/// [`BOOKS`] is held while it is used.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Member(NonNull<bindings::kthread_affinity>);

// SAFETY: It is only used with `BOOKS` held, by whichever task holds that, and what it points to is
// ordinary memory that no CPU or task has to itself.
unsafe impl Send for Member {}

impl Member {
    /// Returns nothing for a NULL pointer.
    ///
    /// # Safety
    ///
    /// * `affinity` must be NULL or point to the `struct kthread_affinity` of a kthread.
    /// * That must stay valid while it is used, and while the kthread is in the books.
    unsafe fn new(affinity: *mut bindings::kthread_affinity) -> Option<Self> {
        // INVARIANT: The caller promises what is needed.
        NonNull::new(affinity).map(Self)
    }

    /// Sets `name` to the name of the thread, which ends with a NUL, and returns its PID.
    pub(super) fn name(self, name: &mut [u8; NAME_SIZE]) -> c_int {
        // SAFETY:
        // * By the type invariant, the first argument is valid.
        // * The others are a buffer and its size.
        unsafe { bindings::kthread_affinity_name(self.0.as_ptr(), name.as_mut_ptr(), NAME_SIZE) }
    }

    fn node(self) -> *mut bindings::list_head {
        // SAFETY: By the type invariant, it is valid.
        unsafe { &raw mut (*self.0.as_ptr()).node }
    }

    fn next(self) -> Self {
        // SAFETY: By the type invariant, it is valid, and while it is in a ring, the next node is
        // that of another member of it, or its own.
        let next = unsafe { container_of!((*self.node()).next, bindings::kthread_affinity, node) };

        // SAFETY: It is the place of a struct that holds a node of the ring, and so not NULL.
        // INVARIANT: Only those in the books are linked, and they leave before they are freed.
        Self(unsafe { NonNull::new_unchecked(next) })
    }
}

impl Thread for Member {
    fn entry(self) -> u32 {
        // SAFETY: By the type invariant, it is valid, and the lock is held.
        unsafe { (*self.0.as_ptr()).entry }
    }

    fn set_entry(self, entry: u32) {
        // SAFETY: By the type invariant, it is valid. Only the books call this, which are only lent
        // under the lock, so that nobody else writes; who reads it without does so by READ_ONCE().
        unsafe { (&raw mut (*self.0.as_ptr()).entry).write_volatile(entry) };
    }

    fn stray(self) -> u32 {
        // SAFETY: By the type invariant, it is valid, and the lock is held.
        unsafe { (*self.0.as_ptr()).stray }
    }

    fn set_stray(self, stray: u32) {
        // SAFETY: By the type invariant, it is valid, and the lock is held.
        unsafe { (*self.0.as_ptr()).stray = stray };
    }

    fn allow(self, allowed: &[usize], reason: Reason) {
        let reason = match reason {
            Reason::Created => bindings::kthread_affinity_reason_KTHREAD_AFFINITY_CREATED,
            Reason::Preferred => bindings::kthread_affinity_reason_KTHREAD_AFFINITY_PREFERRED,
            Reason::Updated => bindings::kthread_affinity_reason_KTHREAD_AFFINITY_UPDATED,
            Reason::User => bindings::kthread_affinity_reason_KTHREAD_AFFINITY_USER,
            Reason::Changed(what) => what,
        };

        // SAFETY:
        // * By the type invariant, the first argument is valid.
        // * All masks of the books have the words of a `struct cpumask`.
        unsafe {
            bindings::kthread_affinity_allow(self.0.as_ptr(), allowed.as_ptr().cast(), reason)
        };
    }
}

/// The threads of an entry, linked in a ring that has no head, so that an entry may be moved.
///
/// # Invariants
///
/// `first` is in a ring of the members that were added and not removed since.
pub(super) struct Ring {
    first: Option<Member>,
}

impl List for Ring {
    type Thread = Member;

    // INVARIANT: There are no members.
    const EMPTY: Self = Self { first: None };

    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn add(&mut self, thread: Member) {
        match self.first {
            None => {
                // SAFETY: The node is valid, and in no ring.
                unsafe { bindings::INIT_LIST_HEAD(thread.node()) };
                // INVARIANT: It is a ring of one.
                self.first = Some(thread);
            }
            // SAFETY: Both nodes are valid, the first is in no ring, the second in this one.
            Some(first) => unsafe { bindings::list_add_tail(thread.node(), first.node()) },
        }
    }

    fn remove(&mut self, thread: Member) {
        let next = thread.next();

        // INVARIANT: Either nothing is left, or a member that stays.
        if next == thread {
            self.first = None;
        } else if self.first == Some(thread) {
            self.first = Some(next);
        }
        // SAFETY: The node is valid and in a ring, if only its own.
        unsafe { bindings::list_del(thread.node()) };
    }

    fn for_each(&self, mut with: impl FnMut(Member)) {
        let Some(first) = self.first else {
            return;
        };
        let mut member = first;

        loop {
            with(member);
            member = member.next();
            if member == first {
                return;
            }
        }
    }
}

/// Calls `with` with the books, under their lock.
pub(super) fn with_books<T>(with: impl FnOnce(&mut Books<Ring>) -> T) -> Option<T> {
    BOOKS.lock().as_mut().map(with)
}

/// A copy of `mask`, as far as its CPUs are possible.
fn copy(mask: &Cpumask) -> Result<Table<usize>> {
    let mut words = Table::filled(0, cpumask::size() / size_of::<usize>())?;

    // SAFETY: It is as long as a `struct cpumask`, and only borrowed here.
    let copy = unsafe { Cpumask::from_raw_mut(words.as_mut_ptr().cast()) };
    mask.copy(copy);
    copy.retain(cpumask::possible_mask());
    Ok(words)
}

/// Calls `with` with the member, the books, and a copy of `mask` unless that is NULL, until there
/// is room.
///
/// # Safety
///
/// As [`Member::new()`] for `affinity`, and `mask` must be NULL or valid for reading.
unsafe fn with_mask(
    affinity: *mut bindings::kthread_affinity,
    mask: *const bindings::cpumask,
    with: impl Fn(&mut Books<Ring>, Member, &mut Spare<Ring>) -> Result<(), Refusal>,
) -> Result {
    // SAFETY: The caller promises that it is the `struct kthread_affinity` of a kthread.
    let member = unsafe { Member::new(affinity) }.ok_or(EINVAL)?;
    let mask = if mask.is_null() {
        None
    } else {
        // SAFETY: The caller promises that it is valid for reading.
        Some(copy(unsafe { Cpumask::from_raw(mask) })?)
    };
    let mut spare = Spare::new(mask);

    loop {
        match with_books(|books| with(books, member, &mut spare)).ok_or(EINVAL)? {
            Ok(()) => return Ok(()),
            Err(Refusal::Short) => spare.fill()?,
            Err(Refusal::Unknown) => return Err(ENOENT),
            Err(Refusal::Taken) => return Err(EBUSY),
            Err(Refusal::Indifferent | Refusal::Unusable) => return Err(EINVAL),
        }
    }
}

fn errno(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// Sets up the books, for `nodes` nodes.
///
/// Returns 0 or -ENOMEM. May sleep.
///
/// # Safety
///
/// Must be called once, at boot, before all other functions here.
#[export]
pub unsafe extern "C" fn kthread_books_setup(nodes: c_uint) -> c_int {
    // SAFETY: The caller promises that this is called once.
    unsafe { BOOKS.init() };

    match Books::new(nodes as usize, cpumask::size() / size_of::<usize>()) {
        Ok(books) => {
            *BOOKS.lock() = Some(books);
            0
        }
        Err(error) => Error::from(error).to_errno(),
    }
}

/// Puts a new kthread into the books, with the preference for the CPUs of `node` unless that is
/// `NUMA_NO_NODE`, and moves it where it may run. What user space has set for the kthread `creator`
/// is set for it as well, unless there is no memory. May sleep.
///
/// # Safety
///
/// * `affinity` must point to the `struct kthread_affinity` of a kthread that is not in the books.
/// * It must stay valid until [`kthread_books_leave`].
/// * `creator` must be NULL or point to the `struct kthread_affinity` of a kthread.
#[export]
pub unsafe extern "C" fn kthread_books_enrol(
    affinity: *mut bindings::kthread_affinity,
    node: c_int,
    creator: *mut bindings::kthread_affinity,
) {
    // SAFETY: The caller promises that it is valid for as long as it is in the books.
    let Some(member) = (unsafe { Member::new(affinity) }) else {
        return;
    };
    // SAFETY: The caller promises that it is NULL or valid.
    let mut creator = unsafe { Member::new(creator) };
    let node = usize::try_from(node).ok();
    let mut spare = Spare::new(None);

    while let Some(Err(_)) = with_books(|books| books.enrol(member, node, creator, &mut spare)) {
        if spare.fill().is_err() {
            creator = None;
        }
    }
}

/// Strikes a kthread out of the books, if it is in them: it exits or is bound. May sleep.
///
/// # Safety
///
/// `affinity` must point to the `struct kthread_affinity` of a kthread.
#[export]
pub unsafe extern "C" fn kthread_books_leave(affinity: *mut bindings::kthread_affinity) {
    // SAFETY: The caller promises that it is valid.
    let Some(member) = (unsafe { Member::new(affinity) }) else {
        return;
    };
    let mut spare = Spare::new(None);

    with_books(|books| books.leave(member, &mut spare));
}

/// Gives a kthread the preference `mask`.
///
/// Returns 0, -EBUSY if it has a mask already, -ENOENT if it is not in the books, or -ENOMEM;
/// nothing is changed unless it is 0. May sleep.
///
/// # Safety
///
/// * `affinity` must point to the `struct kthread_affinity` of a kthread.
/// * `mask` must be valid for reading. It may change meanwhile.
#[export]
pub unsafe extern "C" fn kthread_books_prefer(
    affinity: *mut bindings::kthread_affinity,
    mask: *const bindings::cpumask,
) -> c_int {
    // SAFETY: The caller promises what is needed.
    errno(unsafe { with_mask(affinity, mask, Books::prefer) })
}

/// Changes the preference of a kthread to `mask`.
///
/// Returns 0, -EINVAL if it has no preference, -ENOENT if it is not in the books, or -ENOMEM;
/// nothing is changed unless it is 0. May sleep.
///
/// # Safety
///
/// * `affinity` must point to the `struct kthread_affinity` of a kthread.
/// * `mask` must be valid for reading. It may change meanwhile.
#[export]
pub unsafe extern "C" fn kthread_books_update(
    affinity: *mut bindings::kthread_affinity,
    mask: *const bindings::cpumask,
) -> c_int {
    // SAFETY: The caller promises what is needed.
    errno(unsafe { with_mask(affinity, mask, Books::update) })
}

/// Keeps a kthread on the CPUs of `mask`, which user space or its owner asks for, as far as it may
/// run there.
///
/// Returns 0, -EINVAL if it can run on none of them, -ENOENT if it is not in the books, or
/// -ENOMEM; nothing is changed unless it is 0. May sleep.
///
/// # Safety
///
/// * `affinity` must point to the `struct kthread_affinity` of a kthread.
/// * `mask` must be valid for reading.
#[export]
pub unsafe extern "C" fn kthread_books_restrict(
    affinity: *mut bindings::kthread_affinity,
    mask: *const bindings::cpumask,
) -> c_int {
    // SAFETY: The caller promises what is needed.
    errno(unsafe {
        with_mask(affinity, mask, |books, member, spare| {
            books.restrict(member, Setter::User, spare)
        })
    })
}

/// Keeps a kthread on the CPUs of `mask`, which its cpuset has, as far as it may run there, or no
/// longer if that is NULL.
///
/// Returns 0, -ENOENT if it is not in the books, or -ENOMEM if there is a mask; nothing is changed
/// unless it is 0. May sleep.
///
/// # Safety
///
/// * `affinity` must point to the `struct kthread_affinity` of a kthread.
/// * `mask` must be NULL or valid for reading.
#[export]
pub unsafe extern "C" fn kthread_books_set_cpuset(
    affinity: *mut bindings::kthread_affinity,
    mask: *const bindings::cpumask,
) -> c_int {
    // SAFETY: The caller promises what is needed.
    errno(unsafe {
        with_mask(affinity, mask, |books, member, spare| {
            books.restrict(member, Setter::Cpuset, spare)
        })
    })
}

/// Moves the kthreads that have to move after a mask of the system has changed, as `reason` says.
/// Allocates nothing. May sleep.
///
/// # Safety
///
/// [`kthread_books_setup`] must have been called.
#[export]
pub unsafe extern "C" fn kthread_books_change(reason: bindings::kthread_affinity_reason) {
    with_books(|books| books.change(reason, Whom::Affected, read_masks));
}

/// As [`kthread_books_change`], but puts right every kthread, also one that did not have to move
/// but has moved itself or was moved by others than the books.
///
/// # Safety
///
/// [`kthread_books_setup`] must have been called.
#[export]
pub unsafe extern "C" fn kthread_books_enforce(reason: bindings::kthread_affinity_reason) {
    with_books(|books| books.change(reason, Whom::Everyone, read_masks));
}

/// As [`kthread_books_change`], for the CPU `cpu`, which has come online and belongs to `node`.
///
/// # Safety
///
/// [`kthread_books_setup`] must have been called.
#[export]
pub unsafe extern "C" fn kthread_books_change_online(cpu: c_uint, node: c_int) {
    let reason = bindings::kthread_affinity_reason_KTHREAD_AFFINITY_ONLINE;

    with_books(|books| {
        if !books.knows_node(cpu as usize, usize::try_from(node).ok()) {
            books.change_nodes(reason, read_node);
        }
        books.change(reason, Whom::Affected, read_masks);
    });
}

/// Has the CPUs of every node read again. May sleep.
///
/// # Safety
///
/// [`kthread_books_setup`] must have been called.
#[export]
pub unsafe extern "C" fn kthread_books_change_nodes() {
    let reason = bindings::kthread_affinity_reason_KTHREAD_AFFINITY_NODES;

    with_books(|books| books.change_nodes(reason, read_node));
}

fn read_masks(masks: &mut Masks) {
    // SAFETY: All masks of the books are as long as a `struct cpumask`, and these are distinct.
    masks.strict = unsafe {
        bindings::kthread_books_read_masks(
            masks.confined.as_mut_ptr().cast(),
            masks.housekeeping.as_mut_ptr().cast(),
            masks.usable.as_mut_ptr().cast(),
            masks.possible.as_mut_ptr().cast(),
        )
    };
}

fn read_node(node: usize, cpus: &mut [usize]) {
    // SAFETY: All masks of the books are as long as a `struct cpumask`.
    unsafe { bindings::kthread_books_read_node(node as c_int, cpus.as_mut_ptr().cast()) };
}
