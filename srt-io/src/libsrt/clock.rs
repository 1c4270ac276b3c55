//! libsrt's clock as instants of the process.
//!
//! libsrt counts microseconds of the monotonic clock from an epoch of its own
//! (`srt_time_now`, `docs/API/API-functions.md`), which the standard library cannot make instants of; so both
//! clocks are read once and the difference is kept.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::ffi;

/// The instant of a time on libsrt's clock.
pub(super) fn instant(at_us: i64) -> Instant {
    static START: OnceLock<(Instant, i64)> = OnceLock::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "the cached time is too old to compare clocks by"
    )]
    let (start, start_us) = *START.get_or_init(|| (Instant::now(), ffi::now_us()));
    let since = Duration::from_micros(at_us.abs_diff(start_us));
    let instant =
        if at_us < start_us { start.checked_sub(since) } else { start.checked_add(since) };
    instant.unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use super::{Duration, ffi, instant};

    #[test]
    fn times_keep_their_distances() {
        let now_us = ffi::now_us();
        let now = instant(now_us);
        assert_eq!(instant(now_us + 1_500) - now, Duration::from_micros(1_500));
        assert_eq!(now - instant(now_us - 20), Duration::from_micros(20));
    }
}
