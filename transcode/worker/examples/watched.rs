//! A worker under a watch, for the tests. Started as `watched-NAME` it runs NAME beside itself, has strace write down each
//! system call that is not among those of decoding, says what it used up, and ends as that ended.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

/// `confine/calls.rs` once more, from outside: what the worker may call, however often. The rest is written down.
const NOT_WRITTEN_DOWN: &str = "!close,brk,munmap,mremap,madvise,mmap,mprotect,\
    futex,rseq,set_robust_list,sched_yield,sched_getaffinity,gettid,getpid,exit,exit_group,restart_syscall,\
    rt_sigprocmask,rt_sigaction,rt_sigreturn,sigaltstack,clock_gettime,clock_nanosleep,gettimeofday,time,\
    getrandom,sendto,recvfrom,tgkill";

#[allow(clippy::zombie_processes, reason = "it is waited for by a call that says what it used up")]
fn main() {
    let own = std::env::args().next().unwrap_or_default();
    let own = Path::new(&own);
    let name = own.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let program = own.with_file_name(name.trim_start_matches("watched-"));
    let mut strace = Command::new("/usr/bin/strace");
    strace.args(["-f", "-qqq", "-s", "300", "-e", "signal=none"]);
    strace.arg("-e").arg(format!("trace={NOT_WRITTEN_DOWN}"));
    strace.arg("-o").arg(own.with_file_name("trace")).arg(program);
    let child = strace.spawn().expect("scripts/setup test installs strace");
    let (status, usage) = wait(child.id() as libc::pid_t);
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    let said = format!("{} {cpu}", usage.ru_maxrss * 1024);
    std::fs::write(own.with_file_name("usage"), said).expect("the folder is there");
    end_like(ExitStatus::from_raw(status));
}

/// How a child ended, and what it and its own have used up.
fn wait(child: libc::pid_t) -> (i32, libc::rusage) {
    let mut status = 0;
    // SAFETY: plain data, filled in by the call.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::wait4(child, &mut status, 0, &mut usage);
        (status, usage)
    }
}

fn end_like(status: ExitStatus) {
    let Some(signal) = status.signal() else { std::process::exit(status.code().unwrap_or(1)) };
    // SAFETY: ends this process.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &libc::rlimit { rlim_cur: 0, rlim_max: 0 });
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}
