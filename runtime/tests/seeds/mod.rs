//! Runs a test on the virtual clock under many seeds: each has coroutines run in another order.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use thalweg_runtime::{self as rt, ClockKind, Runtime};

/// Runs `test` as the root coroutine under each of `seeds`.
pub(crate) fn under_seeds(seeds: u64, test: impl Fn(u64) + Clone + 'static) {
    for seed in 0..seeds {
        let _named = NameOnPanic(seed);
        let test = test.clone();
        let runtime = Runtime::builder().clock(ClockKind::Virtual).seed(seed).build();
        let runtime = runtime.expect("a runtime can be built");
        runtime.block_on(move || test(seed)).expect("the test does not deadlock");
    }
}

/// Names the seed of a test that fails.
struct NameOnPanic(u64);

impl Drop for NameOnPanic {
    #[expect(clippy::print_stderr, reason = "tells how to repeat the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed under seed {}", self.0);
        }
    }
}

/// The moment so many milliseconds from now.
pub(crate) fn in_ms(ms: u64) -> Instant {
    rt::now() + Duration::from_millis(ms)
}

pub(crate) fn sleep_ms(ms: u64) {
    rt::sleep(Duration::from_millis(ms)).expect("a test sleeps undisturbed");
}

/// Lets every other coroutine run until it waits: time passes only when nobody is runnable.
pub(crate) fn settle() {
    sleep_ms(1);
}

/// What happened, in order.
#[derive(Clone, Debug)]
pub(crate) struct Log<T>(Rc<RefCell<Vec<T>>>);

impl<T> Log<T> {
    pub(crate) fn new() -> Self {
        Self(Rc::default())
    }

    pub(crate) fn push(&self, entry: T) {
        self.0.borrow_mut().push(entry);
    }

    pub(crate) fn take(&self) -> Vec<T> {
        self.0.take()
    }
}

/// A small generator of repeatable numbers (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}
