//! The `Date` of answers, which changes once a second and is wanted far more often.

use std::cell::RefCell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use thalweg_runtime as rt;

/// The date of now, made anew when a second has gone by.
#[derive(Debug, Default)]
pub(super) struct DateCache {
    /// The value, and until when it is right.
    cached: RefCell<Option<(HeaderValue, Instant)>>,
}

impl DateCache {
    pub(super) fn value(&self) -> HeaderValue {
        let now = rt::now();
        let mut cached = self.cached.borrow_mut();
        if let Some((value, until)) = &*cached
            && now < *until
        {
            return value.clone();
        }
        let time = SystemTime::now();
        let into_second = time.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
        let left = Duration::from_secs(1).saturating_sub(Duration::from_nanos(into_second.into()));
        let value = HeaderValue::try_from(httpdate::fmt_http_date(time)).expect("a date is ASCII");
        *cached = Some((value.clone(), now + left));
        value
    }
}
