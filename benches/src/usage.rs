//! What the kernel says a process has used.

use std::fs;

use anyhow::{Context, Result};

/// Clock ticks a second in /proc (USER_HZ, fixed at 100 on Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU-seconds of a process so far, user and system.
pub(crate) fn cpu_s(pid: u32) -> Result<f64> {
    Ok((stat_field(pid, 14)? + stat_field(pid, 15)?) / TICKS_PER_SECOND)
}

/// CPU-seconds of a process's children that have ended.
pub(crate) fn children_cpu_s(pid: u32) -> Result<f64> {
    Ok((stat_field(pid, 16)? + stat_field(pid, 17)?) / TICKS_PER_SECOND)
}

/// The same of this process.
pub(crate) fn ended_children_cpu_s() -> Result<f64> {
    children_cpu_s(std::process::id())
}

/// The most memory a process has had resident, in bytes.
pub(crate) fn peak_memory_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmHWM:")
}

/// The memory a process has resident now, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmRSS:")
}

fn status_bytes(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix(name));
    let line = line.with_context(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Bytes a process has caused to be written to storage.
pub(crate) fn written_bytes(pid: u32) -> Result<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line =
        io.lines().find_map(|l| l.strip_prefix("write_bytes: ")).context("no write_bytes")?;
    Ok(line.parse()?)
}

/// Field `number` of /proc/PID/stat, counted from 1 as proc(5) does.
fn stat_field(pid: u32, number: usize) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in field 2 may hold spaces; what follows its closing bracket is field 3.
    let rest = stat.rsplit_once(") ").context("malformed stat")?.1;
    rest.split(' ').nth(number - 3).context("short stat")?.parse().context("not a number")
}

/// The middle of what was measured.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value that `percent` of the measurements do not exceed.
pub(crate) fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}
