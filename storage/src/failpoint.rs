//! Named moments at which a test may kill the process: the ones that random kills never hit.
//!
//! `EXHIBIT_FAIL=name` kills at the first time `name` is reached, `name:3` at the third. Only in builds with debug
//! assertions or the feature `failpoints`; elsewhere [`hit`] is nothing.

/// Kills this process with SIGKILL if the environment names this moment.
#[cfg(any(debug_assertions, feature = "failpoints"))]
pub fn hit(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static REACHED: AtomicU64 = AtomicU64::new(0);

    let armed = ARMED.get_or_init(|| std::env::var("EXHIBIT_FAIL").ok().map(|text| parse(&text)));
    let Some((armed_name, nth)) = armed else { return };
    if armed_name == name && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == *nth {
        // Not an orderly end: no destructor runs and nothing is flushed.
        let me = rustix::process::getpid();
        let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
    }
}

/// Nothing, in builds for use.
#[cfg(not(any(debug_assertions, feature = "failpoints")))]
pub fn hit(_name: &str) {}

#[cfg(any(debug_assertions, feature = "failpoints"))]
fn parse(text: &str) -> (String, u64) {
    let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
    (name.to_owned(), nth.parse().unwrap_or(1))
}
