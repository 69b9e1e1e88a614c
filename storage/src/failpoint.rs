//! Named moments at which a test may kill the process, or make it sleep: the ones that random kills never hit.
//!
//! `EXHIBIT_FAIL=name` kills at the first time `name` is reached, `name:3` at the third; `name:3:stop` stops it there,
//! with SIGSTOP, until it is sent SIGCONT. Only in builds with debug assertions or the feature `failpoints`; elsewhere
//! [`hit`] is nothing.

/// Kills or stops this process if the environment names this moment.
#[cfg(any(debug_assertions, feature = "failpoints"))]
pub fn hit(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    static REACHED: AtomicU64 = AtomicU64::new(0);

    let armed = ARMED.get_or_init(|| std::env::var("EXHIBIT_FAIL").ok().map(|text| parse(&text)));
    let Some(armed) = armed else { return };
    if armed.name == name && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == armed.nth {
        // SIGKILL is not an orderly end: no destructor runs and nothing is flushed.
        let _ = rustix::process::kill_process(rustix::process::getpid(), armed.signal);
        // SIGSTOP takes hold a moment after it was sent: it must be here, not in the next step.
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

#[cfg(any(debug_assertions, feature = "failpoints"))]
struct Armed {
    name: String,
    nth: u64,
    signal: rustix::process::Signal,
}

/// Nothing, in builds for use.
#[cfg(not(any(debug_assertions, feature = "failpoints")))]
pub fn hit(_name: &str) {}

#[cfg(any(debug_assertions, feature = "failpoints"))]
fn parse(text: &str) -> Armed {
    use rustix::process::Signal;
    let mut words = text.split(':');
    let name = words.next().unwrap_or_default().to_owned();
    let nth = words.next().and_then(|nth| nth.parse().ok()).unwrap_or(1);
    let signal = if words.next() == Some("stop") { Signal::STOP } else { Signal::KILL };
    Armed { name, nth, signal }
}
