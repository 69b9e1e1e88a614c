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

/// Allowed whatever their arguments are: on descriptors there are, memory of its own, time, and its own threads.
const ALLOWED: &[c_long] = &[
    // The conversation.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_ppoll,
    libc::SYS_close,
    // Memory; see [`restricted`] for what makes some of it executable.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Threads of this process, and waiting for them.
    libc::SYS_futex,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    // How it takes signals.
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Time and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
];

/// The same under older names.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[c_long] = &[libc::SYS_poll, libc::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[c_long] = &[];

/// Lays the list on this thread and all that it starts. Irrevocable.
pub(super) fn allow_few() -> Result<(), String> {
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
    const EXECUTABLE: u64 = libc::PROT_EXEC as u64;
    let itself = u64::from(std::process::id());
    let is_a_thread = when(0, SeccompCmpOp::MaskedEq(THREAD), THREAD)?;
    let is_no_code = when(2, SeccompCmpOp::MaskedEq(EXECUTABLE), 0)?;
    let is_to_the_server = when(4, SeccompCmpOp::Eq, 0)?;
    let is_to_itself = when(0, SeccompCmpOp::MaskedEq(LOW_HALF), itself)?;
    let is_a_name = when(0, SeccompCmpOp::MaskedEq(LOW_HALF), libc::PR_SET_NAME as u64)?;
    Ok(Rules::from([
        (libc::SYS_clone, vec![is_a_thread]),
        (libc::SYS_mmap, vec![is_no_code.clone()]),
        (libc::SYS_mprotect, vec![is_no_code]),
        // On the connected socket, with no other address.
        (libc::SYS_sendto, vec![is_to_the_server.clone()]),
        (libc::SYS_recvfrom, vec![is_to_the_server]),
        // By which `abort` ends it.
        (libc::SYS_tgkill, vec![is_to_itself]),
        (libc::SYS_prctl, vec![is_a_name]),
    ]))
}

/// Of arguments that the kernel takes as 32 bits, whatever stands in the rest.
const LOW_HALF: u64 = u32::MAX as u64;

fn when(argument: u8, is: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Qword, is, value)?])
}
