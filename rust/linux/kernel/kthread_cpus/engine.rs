// SPDX-License-Identifier: GPL-2.0

//! The affinity of managed kthreads: the [`Registry`] of them, and what C asks it.
//!
//! # Locks
//!
//! `kthread_affinity_lock` in `affinity.c` protects the registry and what it keeps in every `struct
//! kthread_affinity`. It is a raw spinlock that is taken last: within the `pi_lock` of a thread and
//! the lock of its runqueue where a mask is evaluated, and by itself everywhere else. So a mask
//! that is set is that of the registry as it is just then. While it is held, nothing is waited for,
//! allocated or freed.
//!
//! # What is true when
//!
//! Whoever changes what the registry has read does so before the call that begins a new generation.
//! A thread that was evaluated or registered before that is due; one that is evaluated later finds
//! what is new, as does one that is registered later: it is evaluated if it has another mask than
//! its parent, or might have.
//!
//! Those that have to be evaluated are handed out some at a time. One that is still `is_due` when
//! its `pi_lock` is taken need not be: the masks do not change while some are out, and the group is
//! its own, as its mask is set after that changes.

use kernel::{
    bindings,
    container_of,
    cpumask::{
        copied,
        length,
        possible,
        sets::{
            no_cpus,
            CpuSet, //
        },
        words,
        words_mut, //
    },
    error::from_result,
    prelude::*, //
};

use core::{
    cell::UnsafeCell,
    ptr::NonNull, //
};

use super::registry::{
    List,
    Outcome,
    Prealloc,
    Refusal,
    Registry,
    Request,
    Thread,
    Wishes, //
};

/// Room for copies of masks that others may change while the registry looks at them.
type Copies = [KVec<usize>; 3];

/// The registry, once [`kthread_registry_init()`] has made it.
struct Global(UnsafeCell<Option<(Registry<Ring>, Copies)>>);

// SAFETY: It is only used under the lock. What it holds are numbers, ordinary memory, and pointers
// to the like, which no CPU or task has to itself.
unsafe impl Sync for Global {}

static REGISTRY: Global = Global(UnsafeCell::new(None));

/// Calls `with` under the lock, unless there is no registry yet.
fn locked<R>(with: impl FnOnce(&mut Registry<Ring>, &mut Copies) -> R) -> Option<R> {
    let lock = &raw mut bindings::kthread_affinity_lock;
    // SAFETY: It is initialized, and this CPU does not have it: nothing is called with it that
    // calls this.
    let flags = unsafe { bindings::raw_spin_lock_irqsave(lock) };
    // SAFETY: With the lock, there is no other reference.
    let global = unsafe { (*REGISTRY.0.get()).as_mut() };
    let result = global.map(|(registry, copies)| with(registry, copies));

    // SAFETY: It was taken above.
    unsafe { bindings::raw_spin_unlock_irqrestore(lock, flags) };
    result
}

/// A kthread that is registered, or about to be.
///
/// # Invariants
///
/// It points to the `struct kthread_affinity` of a kthread that is valid for as long as the caller
/// of the exported function that made this promises, or until the kthread is unregistered. Only the
/// registry has one, so that `kthread_affinity_lock` is held while it is used: nobody else writes
/// `group` and `is_due` then, and who reads them without the lock does so by READ_ONCE().
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Member(NonNull<bindings::kthread_affinity>);

impl Member {
    /// # Safety
    ///
    /// `affinity` must point to the `struct kthread_affinity` of a kthread, and be valid while this
    /// is used, and while the kthread is registered.
    unsafe fn new(affinity: *mut bindings::kthread_affinity) -> Self {
        // SAFETY: The caller promises that it is not NULL.
        // INVARIANT: The caller promises what is needed.
        Self(unsafe { NonNull::new_unchecked(affinity) })
    }

    fn set_due(self, is_due: bool) {
        // SAFETY: By the type invariant, it is valid, and only read by others, by READ_ONCE().
        unsafe { (&raw mut (*self.0.as_ptr()).is_due).write_volatile(is_due) };
    }

    fn node(self) -> *mut bindings::list_head {
        // SAFETY: By the type invariant, it is valid.
        unsafe { &raw mut (*self.0.as_ptr()).node }
    }

    fn next(self) -> Self {
        // SAFETY: By the type invariant, it is valid, and while it is in a ring, the next node is
        // that of another member of it, or its own: only those that are registered are linked.
        unsafe {
            let node = (*self.node()).next;

            Self::new(container_of!(node, bindings::kthread_affinity, node))
        }
    }
}

impl Thread for Member {
    fn group(self) -> u32 {
        // SAFETY: By the type invariant, it is valid, and the lock is held.
        unsafe { (*self.0.as_ptr()).group }
    }

    fn set_group(self, group: u32) {
        // SAFETY: By the type invariant, it is valid, and only read by others, by READ_ONCE().
        unsafe { (&raw mut (*self.0.as_ptr()).group).write_volatile(group) };
    }

    fn watch(self) -> u32 {
        // SAFETY: By the type invariant, it is valid, and the lock is held.
        unsafe { (*self.0.as_ptr()).watch }
    }

    fn set_watch(self, watch: u32) {
        // SAFETY: By the type invariant, it is valid, and the lock is held.
        unsafe { (*self.0.as_ptr()).watch = watch };
    }
}

/// Some threads of a group, linked in a ring that has no head, so that a group may be moved.
///
/// # Invariants
///
/// The member is in a ring of those that were added and not unlinked since.
pub(super) struct Ring(Option<Member>);

impl List for Ring {
    type Thread = Member;

    // INVARIANT: There are no members.
    const EMPTY: Self = Self(None);

    fn first(&self) -> Option<Member> {
        self.0
    }

    fn add(&mut self, thread: Member) {
        match self.0 {
            None => {
                // SAFETY: The node is valid, and in no ring.
                unsafe { bindings::INIT_LIST_HEAD(thread.node()) };
                // INVARIANT: It is a ring of one.
                self.0 = Some(thread);
            }
            // SAFETY: Both nodes are valid, the first is in no ring, the second in this one.
            Some(first) => unsafe { bindings::list_add_tail(thread.node(), first.node()) },
        }
    }

    fn forget(&mut self, thread: Member) {
        if self.0 == Some(thread) {
            let next = thread.next();

            // INVARIANT: Either nothing is left, or a member that stays.
            self.0 = (next != thread).then_some(next);
        }
    }

    fn unlink(thread: Member) {
        // SAFETY: The node is valid and in a ring, if only its own.
        unsafe { bindings::list_del(thread.node()) };
    }

    fn append(&mut self, other: &mut Self) {
        match (self.0, other.0.take()) {
            (Some(first), Some(second)) => {
                let (first, second) = (first.node(), second.node());

                // SAFETY: All nodes are valid, and from one to that before it is a whole ring.
                unsafe { bindings::list_bulk_move_tail(first, second, (*second).prev) };
            }
            // INVARIANT: It is the ring that one of them was, if any, and `other` has none now.
            (first, second) => self.0 = first.or(second),
        }
    }

    fn move_while(&mut self, to: &mut Self, mut with: impl FnMut(Member) -> bool) {
        let Some(first) = self.0 else {
            return;
        };
        let mut end = first;

        while with(end) {
            end = end.next();
            if end == first {
                return to.append(self);
            }
        }
        if end != first {
            let mut head = bindings::list_head::default();

            // SAFETY: All nodes of the ring are valid, and those before `end` are part of it. They
            // are moved behind a node of our own, which leaves them again.
            unsafe {
                bindings::INIT_LIST_HEAD(&raw mut head);
                bindings::list_bulk_move_tail(&raw mut head, first.node(), (*end.node()).prev);
                bindings::list_del(&raw mut head);
            }
            // INVARIANT: It has stayed, and the others are a ring of their own.
            self.0 = Some(end);
            to.append(&mut Self(Some(first)));
        }
    }
}

/// Sets up the registry for `nodes` nodes, without a usable CPU. Returns 0 or -ENOMEM. May sleep.
///
/// # Safety
///
/// Must be called once, at boot, when there is one CPU and one task.
#[export]
#[link_section = ".init.text"]
pub unsafe extern "C" fn kthread_registry_init(nodes: c_uint) -> c_int {
    from_result(|| {
        let copies = no_cpus(length())?;
        let global = (Registry::new(nodes as usize, length())?, copies);

        // SAFETY: The caller promises that nobody else is there to use it.
        unsafe { REGISTRY.0.get().write(Some(global)) };
        Ok(0)
    })
}

/// Registers a new kthread, with the preference for the CPUs of `node` unless that is
/// `NUMA_NO_NODE`. Returns whether it has to be evaluated before it runs. Any context.
///
/// # Safety
///
/// `affinity` must point to the `struct kthread_affinity` of a kthread that is not registered, and
/// stay valid until [`kthread_registry_remove`].
#[export]
pub unsafe extern "C" fn kthread_registry_add(
    affinity: *mut bindings::kthread_affinity,
    node: c_int,
) -> bool {
    // SAFETY: The caller promises that it is valid for as long as it is registered.
    let member = unsafe { Member::new(affinity) };

    locked(|registry, _| registry.register(member, usize::try_from(node).ok())).unwrap_or(false)
}

/// Unregisters a kthread, if it is registered: it exits or is bound. Any context.
///
/// # Safety
///
/// `affinity` must point to the `struct kthread_affinity` of a kthread.
#[export]
pub unsafe extern "C" fn kthread_registry_remove(affinity: *mut bindings::kthread_affinity) {
    // SAFETY: The caller promises that it is valid.
    let member = unsafe { Member::new(affinity) };

    locked(|registry, _| {
        member.set_due(false);
        registry.unregister(member);
    });
}

/// Gives a kthread the preference `mask`, or if `update` another preference than it has. May sleep.
///
/// Returns 0, -EBUSY if it has a mask already, -EINVAL if it has no preference to update or is not
/// registered, or -ENOMEM; nothing is changed unless it is 0.
///
/// # Safety
///
/// * `affinity` must be NULL, which is -EINVAL, or point to the `struct kthread_affinity` of a
///   kthread.
/// * `mask` must be valid for reading. It may change meanwhile.
#[export]
pub unsafe extern "C" fn kthread_registry_prefer(
    affinity: *mut bindings::kthread_affinity,
    mask: *const bindings::cpumask,
    update: bool,
) -> c_int {
    from_result(|| {
        // SAFETY: The caller promises that it is valid.
        let member = unsafe { Member::new(NonNull::new(affinity).ok_or(EINVAL)?.as_ptr()) };
        let mut prealloc = Prealloc::empty();

        loop {
            let done = locked(|registry, [wanted, ..]| {
                // SAFETY: The caller promises that it is valid for reading. Copies are as long.
                unsafe { copied(wanted, mask) };
                CpuSet::retain(&mut **wanted, possible());
                member.set_due(false);
                registry.prefer(member, wanted, &mut prealloc, update)
            });

            match done {
                Some(Ok(())) => return Ok(0),
                Some(Err(Refusal::Short)) => prealloc.fill(length())?,
                Some(Err(Refusal::Taken)) => return Err(EBUSY),
                None | Some(Err(Refusal::Unsuited)) => return Err(EINVAL),
            }
        }
    })
}

/// Has a kthread, unless it has a preference or is not registered, prefer the CPUs of `mask` for as
/// long as kthreads are confined. `mask` is the same for all kthreads. Any context.
///
/// # Safety
///
/// * `affinity` must be NULL, or point to the `struct kthread_affinity` of a kthread.
/// * `mask` must be valid for reading. It may change meanwhile.
#[export]
pub unsafe extern "C" fn kthread_registry_prefer_noise(
    affinity: *mut bindings::kthread_affinity,
    mask: *const bindings::cpumask,
) {
    if affinity.is_null() {
        return;
    }
    // SAFETY: The caller promises that it is valid.
    let member = unsafe { Member::new(affinity) };

    locked(|registry, _| {
        member.set_due(false);
        registry.prefer_noise(member, |to| {
            // SAFETY: The caller promises that it is valid for reading. The registry's are as long.
            unsafe { copied(to, mask) };
        })
    });
}

/// Whether the registry takes the CPU `cpu` for one that may run managed kthreads. Any context.
///
/// # Safety
///
/// Always safe to call: it is not safe only as C functions are not.
#[export]
pub unsafe extern "C" fn kthread_registry_has_cpu(cpu: c_uint) -> bool {
    locked(|registry, _| registry.masks().usable.has(cpu as usize)).unwrap_or(false)
}

/// Begins a generation after `reason`: the CPU `cpu` has come online, or is about to go offline, or
/// for any other reason the CPUs that kthreads are confined to or the housekeeping CPUs have
/// changed. The caller goes on with [`kthread_registry_next`]. Any context.
///
/// # Safety
///
/// Always safe to call: it is not safe only as C functions are not.
#[export]
pub unsafe extern "C" fn kthread_registry_change(
    reason: bindings::kthread_affinity_reason,
    cpu: c_uint,
) {
    locked(|registry, _| match reason {
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
            masks.possible.assign(possible());
            // SAFETY: All masks of the registry are as long as a `struct cpumask`, and distinct.
            masks.is_confined = unsafe {
                bindings::kthread_affinity_read_masks(
                    masks.confined.as_mut_ptr().cast(),
                    masks.housekeeping.as_mut_ptr().cast(),
                )
            };
        }),
    });
}

/// Hands out kthreads that have to be evaluated. Any context.
///
/// `at`, which is 0 at first, is where to go on. Sets up to `most` of `tasks` to kthreads, which
/// are not freed before the end of the caller's RCU read-side critical section, and `allowed` to
/// where those are to be whose `is_due` is set, unless user space or a cpuset has a say.
///
/// Returns how many, or -1 if there is nothing left to do.
///
/// # Safety
///
/// * Must be called in an RCU read-side critical section.
/// * `at` must be valid for reading and writing.
/// * `tasks` must be valid for writing `most` pointers.
/// * `allowed` must be valid for writing, and nobody else may access it during the call.
/// * Nobody else may call this, or [`kthread_registry_change`], until the masks of those kthreads
///   have been set.
#[export]
pub unsafe extern "C" fn kthread_registry_next(
    at: *mut c_ulong,
    tasks: *mut *mut bindings::task_struct,
    most: c_uint,
    allowed: *mut bindings::cpumask,
) -> c_int {
    // SAFETY: The caller promises that they are valid, and `allowed` ours alone.
    let (at, allowed) = unsafe { (&mut *at, words_mut(allowed)) };

    locked(|registry, _| {
        if registry.is_settled() {
            return -1;
        }

        let mut count = 0;
        // After 256 groups, the lock is given up.
        let cpus = registry.next(at, &mut 256, most as usize, |member, is_sure| {
            member.set_due(is_sure);
            // SAFETY: A member that is registered is valid. The caller promises that there is room
            // for `most` pointers.
            unsafe { *tasks.add(count) = (*member.0.as_ptr()).task };
            count += 1;
        });

        if let Some(cpus) = cpus {
            allowed.assign(cpus);
        }
        count as c_int
    })
    .unwrap_or(-1)
}

/// Decides what the mask of a kthread is to be. Any context.
///
/// `asked` is what is asked for by `KTHREAD_AFFINITY_SET` and `KTHREAD_AFFINITY_USER`, the CPUs on
/// their way down for `KTHREAD_AFFINITY_FALLBACK`, and NULL for all other reasons.
///
/// Returns 0 if it is not the registry's to decide, 1 with `result` set, or -EINVAL if user space
/// must not have what it asks for.
///
/// # Safety
///
/// * `affinity` must point to the `struct kthread_affinity` of a kthread, whose `pi_lock` must be
///   held, and the lock of its runqueue.
/// * `wishes` and all masks must be valid for reading, or NULL where that is said. Masks may change
///   meanwhile; then the kthread has to be evaluated again.
/// * `result` must be valid for writing, and nobody else may access it during the call.
#[export]
pub unsafe extern "C" fn kthread_registry_evaluate(
    affinity: *mut bindings::kthread_affinity,
    reason: bindings::kthread_affinity_reason,
    asked: *const bindings::cpumask,
    wishes: *const bindings::kthread_affinity_wishes,
    result: *mut bindings::cpumask,
) -> c_int {
    // SAFETY: The caller promises that they are valid, and `result` ours alone.
    let (member, lent, result) = unsafe { (Member::new(affinity), &*wishes, words_mut(result)) };
    let outcome = locked(|registry, [asked_copy, cpuset_copy, excluded_copy]| {
        member.set_due(false);
        // SAFETY: The caller promises that the masks are valid or NULL, and copies are as long. Of
        // a task whose pi_lock is held, user_cpus_ptr stays, and what it points to never changes;
        // nor does what the caller is about to set it to.
        let wishes = unsafe {
            let user = (!lent.user.is_null()).then_some(words(lent.user));

            Wishes {
                cpuset: copied(cpuset_copy, lent.cpuset),
                // It only counts for what user space asks for.
                excluded: user.and_then(|_| copied(excluded_copy, lent.excluded)),
                user,
                is_forgotten: lent.is_forgotten,
            }
        };
        // SAFETY: As above.
        let asked = unsafe { copied(asked_copy, asked) }.unwrap_or_default();
        let request = match reason {
            bindings::kthread_affinity_reason_KTHREAD_AFFINITY_SET => Request::Set(asked),
            bindings::kthread_affinity_reason_KTHREAD_AFFINITY_USER => Request::User(asked),
            bindings::kthread_affinity_reason_KTHREAD_AFFINITY_FALLBACK => Request::Fallback(asked),
            _ => Request::Reset,
        };

        registry.evaluate(member, request, wishes, result)
    });

    match outcome {
        None | Some(Outcome::AsAsked) => 0,
        Some(Outcome::Allowed) => 1,
        Some(Outcome::Refused) => EINVAL.to_errno(),
    }
}
