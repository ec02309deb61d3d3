//! Crash windows for the fault tests: a named place where the process can be made to kill itself.
//!
//! Compiled to nothing without the cargo feature `failpoints`. With it, `WHIMBREL_FAILPOINT=name:N` kills the process with
//! SIGKILL at the N-th hit of `name`: no destructor runs and no buffer is flushed, as in a power cut seen from outside.

/// Marks a place where a crash would hurt most.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub const fn hit(_name: &str) {}

/// Marks a place where a crash would hurt most; dies there when `WHIMBREL_FAILPOINT` says so.
#[cfg(feature = "failpoints")]
pub fn hit(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static PLAN: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);

    let plan = PLAN.get_or_init(|| {
        let text = std::env::var("WHIMBREL_FAILPOINT").ok()?;
        let (name, at) = text.split_once(':')?;
        Some((name.to_owned(), at.parse().ok()?))
    });
    let Some((wanted, at)) = plan else { return };
    if wanted != name || HITS.fetch_add(1, Ordering::SeqCst) + 1 != *at {
        return;
    }
    // SAFETY: both calls only read and signal the calling process.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    loop {
        std::thread::park();
    }
}
