//! The layer that tells the runtime of spans which others enter.
//!
//! It needs nothing of the subscriber below it and records nothing itself.

use std::ptr;
use std::sync::OnceLock;

use tracing::dispatcher::{self, WeakDispatch};
use tracing::span::Id;
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::{Entered, SWITCHING};

/// A layer by which the runtime knows of every span that is entered, whoever enters it.
///
/// It goes into the program's subscriber once, without a filter of its own, since a span that it
/// does not see is not left at a suspend.
///
/// ```
/// use thalweg_runtime::trace::SpanLayer;
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let subscriber = tracing_subscriber::registry().with(SpanLayer::new());
/// tracing::subscriber::set_global_default(subscriber).expect("nobody else has set one");
/// ```
#[derive(Debug, Default)]
pub struct SpanLayer {
    /// The subscriber that this is a part of. It owns this layer, so this does not own it.
    dispatch: OnceLock<WeakDispatch>,
}

impl SpanLayer {
    /// A layer for one subscriber.
    #[must_use]
    pub const fn new() -> Self {
        Self { dispatch: OnceLock::new() }
    }

    fn dispatch(&self) -> Dispatch {
        // One that was put into a running subscriber was not told to which it belongs.
        let own = self.dispatch.get().and_then(WeakDispatch::upgrade);
        own.unwrap_or_else(|| dispatcher::get_default(Dispatch::clone))
    }

    fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }
}

impl<S: Subscriber> Layer<S> for SpanLayer {
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        self.dispatch.get_or_init(|| dispatch.downgrade());
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        if SWITCHING.get() {
            return;
        }
        Entered::new(id, self.dispatch(), self.address()).push();
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        if SWITCHING.get() {
            return;
        }
        if let Some(span) = Entered::take(id, self.address()) {
            span.let_go();
        }
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        // Still entered, by a guard that was forgotten: it cannot be left any more.
        while Entered::take(&id, self.address()).is_some() {}
    }
}
