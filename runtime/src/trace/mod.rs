//! Keeps the spans of the `tracing` crate apart, so that what one coroutine logs never carries a
//! span of another.
//!
//! A subscriber knows of each thread which spans are entered there, and coroutines share a thread.
//! So a coroutine leaves its spans when it suspends and enters them again when it is resumed. The
//! runtime knows of those that were entered by [`in_span`] or given by
//! [`Builder::span`](crate::Builder::span), and of all others, such as those of `span.enter()` and
//! `#[instrument]`, when the subscriber has a `SpanLayer`, which the feature `tracing-subscriber`
//! brings. Without that layer, let no such guard live across a call that suspends.
//!
//! ```
//! # use thalweg_runtime::{self as rt, trace};
//! # rt::run(|| -> std::io::Result<()> {
//! let session = tracing::info_span!("session", peer = "192.0.2.7");
//! let handle = rt::Builder::new().span(session).spawn(|| {
//!     trace::in_span(tracing::info_span!("handshake"), || {
//!         rt::yield_now()?;
//!         tracing::info!("done"); // In session:handshake, whatever others did meanwhile.
//!         Ok::<(), rt::WaitError>(())
//!     })
//! })?;
//! # handle.join().unwrap().unwrap();
//! # Ok(())
//! # }).unwrap();
//! ```
//!
//! # What belongs to whom
//!
//! * A coroutine begins in no span, or in that of its builder. Neither the spans of the one that
//!   spawned it nor those of the thread around [`Runtime::block_on`](crate::Runtime::block_on) or
//!   [`Runtime::turn`](crate::Runtime::turn) come with it; `builder.span(Span::current())` passes
//!   one on. The thread is in its own again when the call returns.
//! * A coroutine that ends is in no span any more, even where it forgot a guard; one that the
//!   runtime leaves behind at its end keeps its spans open.
//! * The default subscriber that `tracing::subscriber::with_default` sets is the thread's: a
//!   coroutine that suspends inside it has all others log there. Set it around the runtime.
//! * A subscriber must not suspend. While it is told of the spans that a suspend leaves or a resume
//!   enters, calls that would are refused ([`Refused::Switching`](crate::Refused::Switching)), and
//!   its panics are caught.

#[cfg(feature = "tracing-subscriber")]
mod layer;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::span::Id;
use tracing::{Dispatch, Span};

use crate::coroutine::TaskRef;
use crate::join::Panic;
#[cfg(feature = "tracing-subscriber")]
pub use layer::SpanLayer;

thread_local! {
    /// How many spans are in `ENTERED`. Unlike that it has no destructor, so that to read it is
    /// one instruction.
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// The spans that the running code has entered, the outermost first.
    static ENTERED: RefCell<Vec<Entered>> = const { RefCell::new(Vec::new()) };
    /// Whether the spans of a coroutine are being left or entered again, of which `ENTERED` is not
    /// to be told.
    static SWITCHING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` inside `span`.
///
/// A coroutine that suspends in `f` is in the span whenever it runs, and others are not. This is
/// what `span.in_scope(f)` is to a thread, and outside a runtime the same.
///
/// # Suspends
///
/// Only as `f` does.
#[inline]
pub fn in_span<R>(span: Span, f: impl FnOnce() -> R) -> R {
    let _inside = Inside::enter(&span);
    f()
}

/// Leaves a span of [`in_span`] when it is dropped.
struct Inside<'a> {
    span: &'a Span,
    guard: Option<tracing::span::Entered<'a>>,
    /// Whether no layer saw it, so that the entry was made here.
    is_ours: bool,
}

impl<'a> Inside<'a> {
    fn enter(span: &'a Span) -> Self {
        let before = COUNT.get();
        let guard = Some(span.enter());
        let is_ours = COUNT.get() == before;
        if is_ours {
            span.with_subscriber(|(id, dispatch)| {
                Entered::new(id, dispatch.clone(), BY_US).push();
            });
        }
        Self { span, guard, is_ours }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if self.is_ours
            && let Some(id) = self.span.id()
        {
            drop(Entered::take(&id, BY_US));
        }
        drop(self.guard.take());
    }
}

/// A span that the running code has entered.
#[derive(Debug)]
struct Entered {
    id: Id,
    /// A further reference to the span. One that was left once has it, so that it is still open
    /// when it is entered again, even where its guard was forgotten.
    hold: Option<Id>,
    dispatch: Dispatch,
    /// Who told of the span: the address of a layer, or `BY_US`. Subscribers number their spans
    /// each for itself.
    by: usize,
}

const BY_US: usize = 0;

impl Entered {
    fn new(id: &Id, dispatch: Dispatch, by: usize) -> Self {
        Self { id: id.clone(), hold: None, dispatch, by }
    }

    fn push(self) {
        // A span that is entered while the thread ends is nobody's.
        let _ended = ENTERED.try_with(|entered| {
            entered.borrow_mut().push(self);
            COUNT.set(COUNT.get() + 1);
        });
    }

    /// Takes out the innermost entry for a span that `by` told of.
    fn take(id: &Id, by: usize) -> Option<Self> {
        if COUNT.get() == 0 {
            return None;
        }
        let taken = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            let at = entered.iter().rposition(|span| span.by == by && span.id == *id)?;
            COUNT.set(COUNT.get() - 1);
            Some(entered.remove(at))
        });
        taken.ok().flatten()
    }

    /// Sees to it that the span stays open. `in_span` itself keeps its own for as long.
    fn hold(&mut self) {
        if self.hold.is_none() && self.by != BY_US {
            self.hold = Some(self.dispatch.clone_span(&self.id));
        }
    }

    /// Gives up the hold, which may close the span. A destructor would do so at the end of the
    /// thread too, where a subscriber may be unable to hear of it.
    fn let_go(mut self) {
        if let Some(hold) = self.hold.take() {
            self.dispatch.try_close(hold);
        }
    }
}

/// Spans that were left and are to be entered again.
#[derive(Debug)]
struct Left(Vec<Entered>);

impl Left {
    /// Leaves all spans that the running code has entered.
    fn all() -> Self {
        let mut spans = ENTERED.try_with(RefCell::take).unwrap_or_default();
        COUNT.set(0);
        SWITCHING.set(true);
        for span in spans.iter_mut().rev() {
            tell(|| span.hold());
            tell(|| span.dispatch.exit(&span.id));
        }
        SWITCHING.set(false);
        Self(spans)
    }

    fn enter_again(self) {
        SWITCHING.set(true);
        for span in &self.0 {
            tell(|| span.dispatch.enter(&span.id));
        }
        SWITCHING.set(false);
        debug_assert_eq!(COUNT.get(), 0, "whoever ran meanwhile left its spans");
        let _ended = ENTERED.try_with(|entered| {
            COUNT.set(self.0.len());
            entered.replace(self.0);
        });
    }
}

/// Calls a subscriber where no panic of it may pass.
fn tell(call: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
        // The hook has printed it. Nobody is to take what it recorded for another panic's.
        drop(Panic::caught(payload));
    }
}

/// Whether the running code is inside a span that is to be left before others run.
#[inline(always)]
pub(crate) fn is_in_span() -> bool {
    COUNT.get() != 0
}

/// Suspends `task`, the running coroutine, outside of its spans. They wait on its stack.
#[cold]
#[inline(never)]
pub(crate) fn suspend_outside_spans(task: TaskRef) {
    task.set_switching(true);
    let left = Left::all();
    task.suspend();
    left.enter_again();
    task.set_switching(false);
}

/// Has the running coroutine, which begins, be in `span` until it has ended.
#[inline]
pub(crate) fn enter_for_life(span: Option<Span>) {
    if let Some(span) = span {
        enter_to_stay(&span);
    }
}

#[cold]
fn enter_to_stay(span: &Span) {
    span.with_subscriber(|(id, dispatch)| {
        let before = COUNT.get();
        let hold = dispatch.clone_span(id);
        dispatch.enter(id);
        if COUNT.get() == before {
            Entered::new(id, dispatch.clone(), BY_US).push();
        }
        ENTERED.with_borrow_mut(|entered| {
            let innermost = entered.last_mut().expect("it was entered just now");
            innermost.hold = Some(hold);
        });
    });
}

/// Leaves, when it is dropped, the spans that a coroutine which has ended was still in.
#[derive(Debug)]
pub(crate) struct LeaveForGood;

impl Drop for LeaveForGood {
    #[inline]
    fn drop(&mut self) {
        if is_in_span() {
            leave_for_good();
        }
    }
}

#[cold]
fn leave_for_good() {
    for span in Left::all().0.into_iter().rev() {
        tell(|| span.let_go());
    }
}

/// Leaves the spans of the thread itself, until the result is dropped.
#[inline]
#[must_use = "the thread is back in its spans when this is dropped"]
pub(crate) fn outside_spans() -> Outside {
    Outside(is_in_span().then(Left::all))
}

/// The thread is outside of its own spans; see [`outside_spans`].
#[derive(Debug)]
pub(crate) struct Outside(Option<Left>);

impl Drop for Outside {
    #[inline]
    fn drop(&mut self) {
        if let Some(left) = self.0.take() {
            left.enter_again();
        }
    }
}
