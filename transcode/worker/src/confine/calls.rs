//! Seccomp: the system calls that decoding, encoding and the talk with the server take. Every other one is refused.
//!
//! What is refused answers "operation not permitted", since the libraries ask for things that they can do without
//! (the number of processors from `/sys`, a seed from `/dev`).

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

/// Allowed whatever their arguments are: none of them opens, connects, executes, traces or names another process. Not even
/// `read` and `write` are here: the conversation has calls of its own, see [`restricted`].
const ALLOWED: &[c_long] = &[
    libc::SYS_close,           // of the socket, at the end; numbers do not come back
    libc::SYS_brk,             // the allocator
    libc::SYS_munmap,          // the allocator, gives back
    libc::SYS_mremap, // the allocator, moves what grows; what it moves keeps its protection
    libc::SYS_madvise, // the allocator, gives back
    libc::SYS_futex,  // locks, and waiting for threads
    libc::SYS_rseq,   // a thread begins
    libc::SYS_set_robust_list, // a thread begins
    libc::SYS_sched_yield, // a thread lets others go first
    libc::SYS_gettid, // `abort` asks who it is
    libc::SYS_getpid, // the same
    libc::SYS_exit,   // a thread ends
    libc::SYS_exit_group, // the program ends
    libc::SYS_restart_syscall, // the kernel goes on with a wait that a stop had interrupted
    libc::SYS_rt_sigprocmask, // a thread begins, `abort`
    libc::SYS_rt_sigaction, // `abort` takes handlers away
    libc::SYS_rt_sigreturn, // out of a handler
    libc::SYS_sigaltstack, // a thread begins and ends
    libc::SYS_clock_gettime, // time, where the kernel's page for it is not mapped
    libc::SYS_clock_nanosleep, // a thread waits
    libc::SYS_gettimeofday, // as clock_gettime
    libc::SYS_getrandom, // seeds of hash tables
];

/// The same under older names.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[c_long] = &[
    libc::SYS_time, // as clock_gettime
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[c_long] = &[];

/// Lays the list on this thread and all that it starts. Irrevocable.
pub(crate) fn allow_few() -> Result<(), String> {
    let target = TargetArch::try_from(std::env::consts::ARCH).map_err(said)?;
    let filters = [threads_the_old_way(target), few(target)];
    for filter in filters {
        seccompiler::apply_filter(&filter.map_err(said)?).map_err(said)?;
    }
    Ok(())
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// `clone3` keeps its flags where no filter can read them: "no such call" makes the C library fall back to `clone`.
fn threads_the_old_way(target: TargetArch) -> Result<BpfProgram, BackendError> {
    let unknown = SeccompAction::Errno(libc::ENOSYS as u32);
    let rules = Rules::from([(libc::SYS_clone3, Vec::new())]);
    SeccompFilter::new(rules, SeccompAction::Allow, unknown, target)?.try_into()
}

fn few(target: TargetArch) -> Result<BpfProgram, BackendError> {
    let mut rules: Rules = ALLOWED.iter().chain(ALLOWED_HERE).map(|call| (*call, vec![])).collect();
    // The first filter answers it; the answer of a refusal here would win.
    rules.insert(libc::SYS_clone3, vec![]);
    rules.extend(restricted()?);
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, refused, SeccompAction::Allow, target)?.try_into()
}

/// Allowed with some arguments only.
fn restricted() -> Result<Rules, BackendError> {
    const THREAD: u64 = (libc::CLONE_THREAD | libc::CLONE_VM) as u64;
    const NAMESPACES: u64 = (libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET) as u64;
    const EXECUTABLE: u64 = libc::PROT_EXEC as u64;
    let own = u64::from(std::process::id());
    let is_a_thread = when(0, SeccompCmpOp::MaskedEq(THREAD | NAMESPACES), THREAD)?;
    let is_no_code = when(2, SeccompCmpOp::MaskedEq(EXECUTABLE), 0)?;
    let is_the_socket = when(0, SeccompCmpOp::MaskedEq(LOW_HALF), SOCKET)?;
    let is_to_the_server = when(4, SeccompCmpOp::Eq, 0)?;
    let is_of_itself = when(0, SeccompCmpOp::MaskedEq(LOW_HALF), 0)?;
    let is_to_itself = when(0, SeccompCmpOp::MaskedEq(LOW_HALF), own)?;
    let is_a_name = when(0, SeccompCmpOp::MaskedEq(LOW_HALF), libc::PR_SET_NAME as u64)?;
    let talks = || SeccompRule::new(vec![is_the_socket.clone(), is_to_the_server.clone()]);
    let only = |condition: SeccompCondition| SeccompRule::new(vec![condition]);
    Ok(Rules::from([
        // The conversation: on the connected socket, with no other address.
        (libc::SYS_sendto, vec![talks()?]),
        (libc::SYS_recvfrom, vec![talks()?]),
        // Threads of this process, in its own surroundings.
        (libc::SYS_clone, vec![only(is_a_thread)?]),
        // How many processors it may use.
        (libc::SYS_sched_getaffinity, vec![only(is_of_itself)?]),
        // Memory that holds data.
        (libc::SYS_mmap, vec![only(is_no_code.clone())?]),
        (libc::SYS_mprotect, vec![only(is_no_code)?]),
        // By which `abort` ends it.
        (libc::SYS_tgkill, vec![only(is_to_itself)?]),
        // Threads have names.
        (libc::SYS_prctl, vec![only(is_a_name)?]),
    ]))
}

/// The descriptor of the socket.
const SOCKET: u64 = 0;
/// Of arguments that the kernel takes as 32 bits, whatever stands in the rest.
const LOW_HALF: u64 = u32::MAX as u64;

fn when(argument: u8, is: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, is, value)
}
