//! What a shift's end needs of cores, from costs that were measured in the same run: an event for each recording, no more.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Recordings of a shift, their length, and the time within which they arrive.
const RECORDINGS: u64 = 600;
const MINUTES: f64 = 20.0;
const ARRIVE_WITHIN_S: f64 = 3600.0;
/// Of a hundred recordings, so many have to be encoded anew: what older recorders write.
const ANEW_PERCENT: u64 = 10;
const CORES: [usize; 6] = [2, 4, 8, 16, 32, 64];

/// When the last of `jobs` (arrival and length in seconds, in the order of arrival) is done by so many workers.
pub(crate) fn last_done_s(workers: usize, jobs: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    let micros = |s: f64| (s * 1e6) as u64;
    let mut free: BinaryHeap<_> = (0..workers).map(|_| Reverse(0u64)).collect();
    let mut last = 0;
    for (arrives, takes) in jobs {
        let Some(Reverse(at)) = free.pop() else { break };
        let done = at.max(micros(arrives)) + micros(takes);
        free.push(Reverse(done));
        last = last.max(done);
    }
    last as f64 / 1e6
}

/// Prints when a shift is done by more and more cores, given processor seconds for a minute of either kind.
pub(crate) fn print_shift(anew_s: f64, plays_s: f64) {
    println!(
        "simulated: {RECORDINGS} recordings of {MINUTES} min arrive within an hour; {ANEW_PERCENT} % cost {anew_s:.1} CPU-s a minute, the others {plays_s:.1}"
    );
    for cores in CORES {
        let jobs = (0..RECORDINGS).map(|n| {
            let is_anew = n % 100 < ANEW_PERCENT;
            let takes = MINUTES * if is_anew { anew_s } else { plays_s };
            (n as f64 * ARRIVE_WITHIN_S / RECORDINGS as f64, takes)
        });
        let after_min = (last_done_s(cores, jobs) - ARRIVE_WITHIN_S) / 60.0;
        println!("  {cores:>2} cores: everything made {after_min:>6.1} min after the last arrived");
    }
}
