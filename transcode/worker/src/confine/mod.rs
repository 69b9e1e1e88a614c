//! What the program takes from itself before the first hostile byte.
//!
//! The floor, without which nothing is read: no environment, no descriptors but the socket, no new ones, no files
//! written, no core dump, no new privileges, no capabilities, memory and processor time limited; no path in the file
//! system (Landlock, [`surroundings`]); no system call but those that decoding takes (seccomp, [`calls`]), and so no
//! signal to another process, no look into one, no socket, no other program, no process. On top, where the system
//! allows it: own user, network, IPC and host-name namespaces, and few threads.

pub(crate) mod calls;
pub(crate) mod surroundings;

use std::fmt::Display;
use std::io;

use transcode_protocol::{Confinement, Limits, PROTOCOL_VERSION, Wall};

/// Descriptors that stay: standard input (the socket), output and error (both null).
const DESCRIPTORS_KEPT: libc::c_uint = 3;
/// Each arena of the allocator reserves address space: few of them, so that the memory limit means memory.
const ALLOCATOR_ARENAS: libc::c_int = 2;
/// Threads and processes together: decoder and encoder need fewer than half of them.
const MAX_THREADS: u64 = 16;

const CPU_GRACE_SECONDS: u64 = 2;

/// Lays the floor, or says which part of it could not be laid. Those that `may_be_missing` are laid where they can be.
pub(crate) fn confine(limits: &Limits, may_be_missing: &[Wall]) -> Result<Confinement, String> {
    forget_environment();
    check(close_other_descriptors(), "closing other descriptors")?;
    let (own_user_namespace, own_network_namespace) = separate();
    check(drop_capabilities(), "dropping capabilities")?;
    check(no_new_privileges(), "refusing new privileges")?;
    let mut without = Vec::new();
    match surroundings::forbid() {
        Err(_) if may_be_missing.contains(&Wall::Landlock) => without.push(Wall::Landlock),
        laid => check(laid, "Landlock, which Linux has from 5.13 on where it is enabled")?,
    }
    // SAFETY: only sets a number inside the allocator.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, ALLOCATOR_ARENAS) };
    let threads_limited = own_user_namespace && limit_threads();
    for (resource, limit, what) in [
        (libc::RLIMIT_CORE, 0, "core dumps"),
        (libc::RLIMIT_FSIZE, 0, "file size"),
        (libc::RLIMIT_MEMLOCK, 0, "locked memory"),
        (libc::RLIMIT_CPU, limits.cpu_seconds, "processor time"),
        (libc::RLIMIT_AS, limits.memory_bytes, "memory"),
        // Last: what is open stays usable, and no number is low enough for a new descriptor, whatever is closed first.
        (libc::RLIMIT_NOFILE, 0, "descriptors"),
    ] {
        check(limit_to(resource, limit), what)?;
    }
    // After everything that it would refuse.
    check(calls::allow_few(), "seccomp")?;
    Ok(Confinement {
        protocol: PROTOCOL_VERSION,
        own_user_namespace,
        own_network_namespace,
        threads_limited,
        without,
    })
}

fn check(result: Result<(), impl Display>, what: &str) -> Result<(), String> {
    result.map_err(|error| format!("the worker could not be confined ({what}: {error})"))
}

fn forget_environment() {
    for (name, _) in std::env::vars_os().collect::<Vec<_>>() {
        // SAFETY: the program has one thread at this point.
        unsafe { std::env::remove_var(name) };
    }
}

fn close_other_descriptors() -> io::Result<()> {
    // SAFETY: no descriptor from 3 upwards is used by this program.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, DESCRIPTORS_KEPT, libc::c_uint::MAX, 0) };
    succeeded(result)
}

/// Own namespaces: user and network together, else network alone, else neither.
pub(crate) fn separate() -> (bool, bool) {
    let others = libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    // SAFETY: changes only this process's namespaces; the program has one thread at this point.
    let unshare = |flags| unsafe { libc::unshare(flags) } == 0;
    if unshare(libc::CLONE_NEWUSER | others) { (true, true) } else { (false, unshare(others)) }
}

/// An empty set of capabilities, also inside the new user namespace, where the program would have all of them.
fn drop_capabilities() -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header { version: VERSION_3, pid: 0 };
    let none = [0u32; 6];
    // SAFETY: the header and two triples of sets are what version 3 of this call reads.
    succeeded(unsafe { libc::syscall(libc::SYS_capset, &header, none.as_ptr()) })
}

fn no_new_privileges() -> io::Result<()> {
    // SAFETY: both calls only set flags of this process.
    unsafe {
        succeeded(libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0).into())?;
        succeeded(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0).into())
    }
}

/// Limits threads and processes together, where that can hold: the kernel exempts root, and only in a user namespace of
/// our own does it count ours alone, not all of the account. Whether it does both is tried out, not assumed.
fn limit_threads() -> bool {
    let Ok(before) = limit_of(libc::RLIMIT_NPROC) else { return false };
    let only = |count| {
        let limit = libc::rlimit { rlim_cur: count, rlim_max: before.rlim_max };
        set_limit(libc::RLIMIT_NPROC, limit).is_ok()
    };
    let one_is_one = only(1) && !another_thread_starts();
    let two_are_two = only(2) && another_thread_starts();
    if one_is_one && two_are_two {
        return limit_to(libc::RLIMIT_NPROC, MAX_THREADS.min(before.rlim_max)).is_ok();
    }
    // Where this fails, threads will not start either, and the job says so.
    let _ = set_limit(libc::RLIMIT_NPROC, before);
    false
}

fn another_thread_starts() -> bool {
    std::thread::Builder::new().spawn(|| ()).is_ok_and(|thread| thread.join().is_ok())
}

fn limit_of(resource: libc::__rlimit_resource_t) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes one structure.
    succeeded(unsafe { libc::getrlimit(resource, &mut limit) }.into()).map(|()| limit)
}

pub(crate) fn limit_to(resource: libc::__rlimit_resource_t, limit: u64) -> io::Result<()> {
    // Processor time ends with a signal that says so; only who ignores it is killed.
    let grace = if resource == libc::RLIMIT_CPU { CPU_GRACE_SECONDS } else { 0 };
    set_limit(resource, libc::rlimit { rlim_cur: limit, rlim_max: limit.saturating_add(grace) })
}

fn set_limit(resource: libc::__rlimit_resource_t, limit: libc::rlimit) -> io::Result<()> {
    // SAFETY: reads one structure.
    succeeded(unsafe { libc::setrlimit(resource, &limit) }.into())
}

fn succeeded(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
