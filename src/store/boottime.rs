//! The clock that goes on while the process or the machine is stopped.

use std::time::Duration;

/// Time since boot, suspension included. Only differences mean anything.
pub(super) fn now() -> Duration {
    // Other systems have no such clock; theirs stands still only while the whole machine sleeps.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_does_not_go_back() {
        let first = super::now();
        assert!(super::now() >= first);
    }
}
