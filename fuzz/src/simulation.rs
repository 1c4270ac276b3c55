//! Sessions on a virtual clock, which jumps to the next deadline when nobody can go on.

use std::time::Duration;
use thalweg_runtime as rt;

thread_local! {
    /// Takes far longer to make than most sessions take to run, so one serves them all. It is never dropped: a thread
    /// that ends has nothing left to clean up with.
    static RUNTIME: &'static rt::Runtime = {
        let builder = rt::Runtime::builder();
        let builder = builder.clock(rt::ClockKind::Virtual).timer_slack(Duration::ZERO);
        Box::leak(Box::new(builder.build().expect("a runtime takes a few descriptors")))
    };
}

/// Runs `f` and all that it spawns, to the end.
pub(crate) fn simulate<T: 'static>(f: impl FnOnce() -> T + 'static) -> T {
    RUNTIME.with(|runtime| runtime.block_on(f)).expect("nothing is stuck")
}
