// SPDX-License-Identifier: GPL-2.0

//! The affinity of managed kthreads: the [`Registry`] of them, and what C asks it.
//!
//! # Locks
//!
//! `kthread_affinity_lock` in `affinity.c` protects the registry and what it keeps in every `struct
//! kthread_affinity`. It is a raw spinlock that is taken last: within the `pi_lock` of a thread and
//! the lock of its runqueue where a mask is evaluated, and by itself everywhere else. So a mask
//! that is set is that of the registry as it is just then, and no lock is held while a thread is
//! waited for.
//!
//! Nothing is allocated or freed while it is held.
//!
//! # What is true when
//!
//! Whoever changes what the registry has read does so before the call that tells the registry, and
//! before it lets go of the lock, a new generation has begun. A thread that is evaluated before is
//! due, as are those that were registered before; one that is registered or evaluated later finds
//! what is new.
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

use core::{
    cell::UnsafeCell,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::NonNull, //
};

use super::{
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
    table::Table,
};

/// The registry, once [`kthread_registry_init()`] has made it.
struct Global(UnsafeCell<Option<Registry<Ring>>>);

// SAFETY: It is only used by who has a `Guard`, and so the lock. What it holds are numbers,
// ordinary memory, and pointers to the like, which no CPU or task has to itself.
unsafe impl Sync for Global {}

static REGISTRY: Global = Global(UnsafeCell::new(None));

/// The registry, under its lock.
///
/// # Invariants
///
/// `kthread_affinity_lock` is held by this CPU, with interrupts off, and the registry is there.
struct Guard {
    flags: c_ulong,
    registry: NonNull<Registry<Ring>>,
}

impl Guard {
    /// Takes the lock. Returns nothing before there is a registry.
    fn lock() -> Option<Self> {
        // SAFETY: It was never taken on this CPU before: no function here is called with it held.
        let flags = unsafe { bindings::kthread_affinity_lock_irqsave() };

        // SAFETY: The lock is held, so that there is no other reference.
        match unsafe { &mut *REGISTRY.0.get() } {
            // INVARIANT: The lock was taken above.
            Some(registry) => Some(Self {
                flags,
                registry: registry.into(),
            }),
            None => {
                // SAFETY: It was taken above.
                unsafe { bindings::kthread_affinity_unlock_irqrestore(flags) };
                None
            }
        }
    }
}

impl Deref for Guard {
    type Target = Registry<Ring>;

    #[inline]
    fn deref(&self) -> &Registry<Ring> {
        // SAFETY: By the type invariant, the lock is held and the registry is there.
        unsafe { self.registry.as_ref() }
    }
}

impl DerefMut for Guard {
    #[inline]
    fn deref_mut(&mut self) -> &mut Registry<Ring> {
        // SAFETY: By the type invariant, the lock is held and the registry is there.
        unsafe { self.registry.as_mut() }
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariant, it is held, and this is the end of it.
        unsafe { bindings::kthread_affinity_unlock_irqrestore(self.flags) };
    }
}

/// A kthread that is registered, or about to be.
///
/// # Invariants
///
/// It points to the `struct kthread_affinity` of a kthread that is valid for as long as the caller
/// of the exported function that made this promises, or until the kthread is unregistered. Only the
/// registry has one, so that `kthread_affinity_lock` is held while it is used.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Member(NonNull<bindings::kthread_affinity>);

impl Member {
    /// # Safety
    ///
    /// * `affinity` must point to the `struct kthread_affinity` of a kthread.
    /// * That must stay valid while it is used, and while the kthread is registered.
    #[inline]
    unsafe fn new(affinity: *mut bindings::kthread_affinity) -> Self {
        // SAFETY: The caller promises that it is not NULL.
        // INVARIANT: The caller promises what is needed.
        Self(unsafe { NonNull::new_unchecked(affinity) })
    }

    #[inline]
    fn node(self) -> *mut bindings::list_head {
        // SAFETY: By the type invariant, it is valid.
        unsafe { &raw mut (*self.0.as_ptr()).node }
    }

    #[inline]
    fn next(self) -> Self {
        // SAFETY: By the type invariant, it is valid, and while it is in a ring, the next node is
        // that of another member of it, or its own.
        let next = unsafe { container_of!((*self.node()).next, bindings::kthread_affinity, node) };

        // SAFETY: It is the place of a struct that holds a node of the ring, and so not NULL.
        // INVARIANT: Only those that are registered are linked.
        Self(unsafe { NonNull::new_unchecked(next) })
    }
}

impl Thread for Member {
    #[inline]
    fn group(self) -> u32 {
        // SAFETY: By the type invariant, it is valid, and the lock is held.
        unsafe { (*self.0.as_ptr()).group }
    }

    #[inline]
    fn set_group(self, group: u32) {
        // SAFETY: By the type invariant, it is valid and the lock is held, so that nobody else
        // writes; who reads it without the lock does so by READ_ONCE().
        unsafe { (&raw mut (*self.0.as_ptr()).group).write_volatile(group) };
    }

    #[inline]
    fn watch(self) -> u32 {
        // SAFETY: By the type invariant, it is valid, and the lock is held.
        unsafe { (*self.0.as_ptr()).watch }
    }

    #[inline]
    fn set_watch(self, watch: u32) {
        // SAFETY: By the type invariant, it is valid, and the lock is held.
        unsafe { (*self.0.as_ptr()).watch = watch };
    }
}

/// Some threads of a group, linked in a ring that has no head, so that a group may be moved.
///
/// # Invariants
///
/// `first` is in a ring of the members that were added and not unlinked since.
pub(super) struct Ring {
    first: Option<Member>,
}

impl List for Ring {
    type Thread = Member;

    // INVARIANT: There are no members.
    const EMPTY: Self = Self { first: None };

    #[inline]
    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[inline]
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

    #[inline]
    fn forget(&mut self, thread: Member) {
        if self.first == Some(thread) {
            let next = thread.next();

            // INVARIANT: Either nothing is left, or a member that stays.
            self.first = (next != thread).then_some(next);
        }
    }

    #[inline]
    fn unlink(thread: Member) {
        // SAFETY: The node is valid and in a ring, if only its own.
        unsafe { bindings::list_del(thread.node()) };
    }

    #[inline]
    fn pop(&mut self) -> Option<Member> {
        let thread = self.first?;

        self.forget(thread);
        Self::unlink(thread);
        Some(thread)
    }

    fn append(&mut self, other: &mut Self) {
        let Some(second) = other.first.take() else {
            return;
        };
        let Some(first) = self.first else {
            // INVARIANT: It is the ring that `other` was, which has none now.
            self.first = Some(second);
            return;
        };
        let (first, second) = (first.node(), second.node());

        // SAFETY: All nodes of a ring are valid, and so are their links, which are not used
        // otherwise while the lock is held. Where the two rings begin, each is cut, and goes on
        // with the other.
        unsafe {
            let (first_end, second_end) = ((*first).prev, (*second).prev);

            (*first_end).next = second;
            (*second).prev = first_end;
            (*second_end).next = first;
            (*first).prev = second_end;
        }
    }
}

/// The words of `mask`.
///
/// # Safety
///
/// `mask` must be valid for reading for as long as the result is used. If it changes meanwhile,
/// then so that each word has a value that the caller can do with.
#[inline]
unsafe fn words<'a>(mask: *const bindings::cpumask) -> &'a [usize] {
    // SAFETY: The caller promises that it is valid, and it is at least that long.
    unsafe { core::slice::from_raw_parts(mask.cast(), cpumask::size() / size_of::<usize>()) }
}

/// As [`words()`], but nothing for NULL.
///
/// # Safety
///
/// As for [`words()`], unless `mask` is NULL.
#[inline]
unsafe fn words_if<'a>(mask: *const bindings::cpumask) -> Option<&'a [usize]> {
    // SAFETY: The caller promises what is needed.
    (!mask.is_null()).then(|| unsafe { words(mask) })
}

/// A copy of `mask`, as far as its CPUs are possible. May sleep.
fn copy(mask: &Cpumask) -> Result<Table<usize>> {
    let mut words = Table::filled(0, cpumask::size() / size_of::<usize>())?;

    // SAFETY: It is as long as a `struct cpumask`, and only borrowed here.
    let copy = unsafe { Cpumask::from_raw_mut(words.as_mut_ptr().cast()) };
    mask.copy(copy);
    copy.retain(cpumask::possible_mask());
    Ok(words)
}

/// Sets up the registry for `nodes` nodes. No CPU is usable until [`kthread_registry_cpu_up()`].
///
/// Returns 0 or -ENOMEM. May sleep.
///
/// # Safety
///
/// Must be called once, at boot, when there is one CPU and one task.
#[export]
pub unsafe extern "C" fn kthread_registry_init(nodes: c_uint) -> c_int {
    match Registry::new(nodes as usize, cpumask::size() / size_of::<usize>()) {
        Ok(registry) => {
            // SAFETY: The caller promises that nobody else is there to use it.
            unsafe { *REGISTRY.0.get() = Some(registry) };
            0
        }
        Err(error) => Error::from(error).to_errno(),
    }
}

/// Registers a new kthread, with the preference for the CPUs of `node` unless that is
/// `NUMA_NO_NODE`.
///
/// Returns whether it is confined, and not to `mask`. Any context.
///
/// # Safety
///
/// * `affinity` must point to the `struct kthread_affinity` of a kthread that is not registered.
/// * It must stay valid until [`kthread_registry_remove`].
/// * `mask` must be valid for reading.
#[export]
pub unsafe extern "C" fn kthread_registry_add(
    affinity: *mut bindings::kthread_affinity,
    node: c_int,
    mask: *const bindings::cpumask,
) -> bool {
    // SAFETY: The caller promises that it is valid for as long as it is registered.
    let member = unsafe { Member::new(affinity) };
    // SAFETY: The caller promises that it is valid.
    let mask = unsafe { words(mask) };

    Guard::lock().is_some_and(|mut registry| {
        registry.register(member, usize::try_from(node).ok());
        registry.masks().is_confined && registry.allowed(member) != Some(mask)
    })
}

/// Unregisters a kthread, if it is registered: it exits or is bound.
///
/// Any context that may free memory.
///
/// # Safety
///
/// `affinity` must point to the `struct kthread_affinity` of a kthread.
#[export]
pub unsafe extern "C" fn kthread_registry_remove(affinity: *mut bindings::kthread_affinity) {
    // SAFETY: The caller promises that it is valid.
    let member = unsafe { Member::new(affinity) };
    // Freed when the lock was dropped.
    let mut freed = Prealloc::empty();

    if let Some(mut registry) = Guard::lock() {
        registry.unregister(member, &mut freed);
    }
}

/// Gives a kthread the preference `mask`, or if `update` another preference than it has.
///
/// Returns 0, -EBUSY if it has a mask already, -EINVAL if it has no preference to update or is not
/// registered, or -ENOMEM; nothing is changed unless it is 0. May sleep.
///
/// # Safety
///
/// * `affinity` must point to the `struct kthread_affinity` of a kthread.
/// * `mask` must be valid for reading. It may change meanwhile.
#[export]
pub unsafe extern "C" fn kthread_registry_prefer(
    affinity: *mut bindings::kthread_affinity,
    mask: *const bindings::cpumask,
    update: bool,
) -> c_int {
    // SAFETY: The caller promises that it is valid.
    let member = unsafe { Member::new(affinity) };
    // SAFETY: The caller promises that it is valid for reading.
    let mask = unsafe { Cpumask::from_raw(mask) };

    match prefer(member, mask, update) {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

fn prefer(member: Member, mask: &Cpumask, update: bool) -> Result {
    let mut prealloc = Prealloc::new(copy(mask)?)?;

    loop {
        let done = match Guard::lock() {
            Some(mut registry) if update => registry.update(member, &mut prealloc),
            Some(mut registry) => registry.prefer(member, &mut prealloc),
            None => Err(Refusal::Unknown),
        };

        match done {
            Ok(()) => return Ok(()),
            Err(Refusal::Short) => prealloc.fill()?,
            Err(Refusal::Taken) => return Err(EBUSY),
            Err(Refusal::Unknown | Refusal::Indifferent) => return Err(EINVAL),
        }
    }
}

/// Begins a generation after `reason`: the CPU `cpu` has become active, or is about to become
/// inactive, or for any other reason the CPUs that kthreads are confined to or the housekeeping
/// CPUs have changed. The caller goes on with [`kthread_registry_next`]. Any context.
#[export]
pub extern "C" fn kthread_registry_change(reason: bindings::kthread_affinity_reason, cpu: c_uint) {
    let Some(mut registry) = Guard::lock() else {
        return;
    };

    match reason {
        bindings::kthread_affinity_reason_KTHREAD_AFFINITY_ONLINE => {
            registry.cpu_up(cpu as usize, |node| {
                // SAFETY: Only nodes below `nr_node_ids` are known to the registry.
                unsafe { bindings::kthread_affinity_cpu_on_node(cpu, node as c_int) }
            });
        }
        bindings::kthread_affinity_reason_KTHREAD_AFFINITY_OFFLINE => {
            registry.cpu_down(cpu as usize);
        }
        _ => registry.change(|masks| {
            // SAFETY: All masks of the registry are as long as a `struct cpumask`, and distinct.
            masks.is_confined = unsafe {
                bindings::kthread_affinity_read_masks(
                    masks.confined.as_mut_ptr().cast(),
                    masks.housekeeping.as_mut_ptr().cast(),
                    masks.possible.as_mut_ptr().cast(),
                )
            };
        }),
    }
}

/// How many groups are looked at before the lock is given up.
const MOST_GROUPS: u32 = 256;

/// Hands out kthreads that have to be evaluated.
///
/// `at`, which is 0 at first, is where to go on. Sets up to `most` of `tasks` to kthreads, with a
/// reference to each that the caller drops.
///
/// Returns how many, or -1 if there is nothing left to do. Any context.
///
/// # Safety
///
/// * `at` must be valid for reading and writing.
/// * `tasks` must be valid for writing `most` pointers.
#[export]
pub unsafe extern "C" fn kthread_registry_next(
    at: *mut c_ulong,
    tasks: *mut *mut bindings::task_struct,
    most: c_uint,
) -> c_int {
    let Some(mut registry) = Guard::lock() else {
        return -1;
    };
    // SAFETY: The caller promises that it is valid.
    let mut place = unsafe { *at };
    let mut groups = MOST_GROUPS;
    let mut count = 0;

    if registry.is_settled() {
        return -1;
    }
    while count < most {
        let Some(member) = registry.next(&mut place, &mut groups) else {
            break;
        };

        // SAFETY:
        // * A member that is registered is valid, and its task, which unregisters it, not yet
        //   freed.
        // * The caller promises that there is room for `most` pointers.
        unsafe {
            *tasks.add(count as usize) = bindings::kthread_affinity_get_task(member.0.as_ptr())
        };
        count += 1;
    }
    // SAFETY: The caller promises that it is valid.
    unsafe { *at = place };
    count as c_int
}

/// Decides what the mask of a kthread is to be. `asked` is what is asked for by
/// `KTHREAD_AFFINITY_SET` and `KTHREAD_AFFINITY_USER`, the CPUs on their way down for
/// `KTHREAD_AFFINITY_FALLBACK`, and NULL for all other reasons.
///
/// Returns 0 if it is not the registry's to decide, 1 with `result` set, or -EINVAL if user space
/// must not have what it asks for. Any context.
///
/// # Safety
///
/// * `affinity` must point to the `struct kthread_affinity` of a kthread.
/// * The `pi_lock` of the kthread and the lock of its runqueue must be held.
/// * All masks must be valid for reading, or NULL where that is said.
/// * `result` must be valid for writing, and nobody else may access it during the call.
#[export]
pub unsafe extern "C" fn kthread_registry_evaluate(
    affinity: *mut bindings::kthread_affinity,
    reason: bindings::kthread_affinity_reason,
    asked: *const bindings::cpumask,
    wishes: *const bindings::kthread_affinity_wishes,
    result: *mut bindings::cpumask,
) -> c_int {
    // SAFETY: The caller promises that it is valid.
    let member = unsafe { Member::new(affinity) };
    // SAFETY: The caller promises that it is valid.
    let wishes = unsafe { &*wishes };
    // SAFETY: The caller promises that the masks are valid or NULL. Where one changes meanwhile,
    // its owner has the kthread evaluated again.
    let (asked, wishes) = unsafe {
        (
            words_if(asked).unwrap_or_default(),
            Wishes {
                cpuset: words_if(wishes.cpuset),
                excluded: words_if(wishes.excluded),
                user: words_if(wishes.user),
                is_forgotten: wishes.is_forgotten,
            },
        )
    };
    // SAFETY: The caller promises that it is valid for writing, and it is at least that long.
    let result = unsafe {
        core::slice::from_raw_parts_mut(result.cast(), cpumask::size() / size_of::<usize>())
    };
    let request = match reason {
        bindings::kthread_affinity_reason_KTHREAD_AFFINITY_SET => Request::Set(asked),
        bindings::kthread_affinity_reason_KTHREAD_AFFINITY_USER => Request::User(asked),
        bindings::kthread_affinity_reason_KTHREAD_AFFINITY_FALLBACK => Request::Fallback(asked),
        _ => Request::Reset,
    };

    let Some(mut registry) = Guard::lock() else {
        return 0;
    };
    match registry.evaluate(member, request, wishes, result) {
        Outcome::AsAsked => 0,
        Outcome::Allowed => 1,
        Outcome::Refused => EINVAL.to_errno(),
    }
}
