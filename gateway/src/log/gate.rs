//! Which lines are logged.
//!
//! What `log.level` says holds for events. Spans of level `info` and above are there at every level: they cost a
//! connection one allocation, and a warning without the connection that it is about is worth little.

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::Context;
use tracing_subscriber::{EnvFilter, Layer};

/// An [`EnvFilter`] that lets the spans of connections through.
#[derive(Debug)]
pub(super) struct Gate(EnvFilter);

impl Gate {
    pub(super) fn parse(level: &str) -> Result<Self, ParseError> {
        EnvFilter::builder().parse(level).map(Self)
    }
}

fn is_always_in(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= Level::INFO
}

impl<S: Subscriber> Layer<S> for Gate {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Also where the answer is known: the filter has to hear of spans that its directives name.
        let interest = Layer::<S>::register_callsite(&self.0, metadata);
        if is_always_in(metadata) { Interest::always() } else { interest }
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        is_always_in(metadata) || Layer::enabled(&self.0, metadata, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Layer::<S>::max_level_hint(&self.0).map(|hint| hint.max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Layer::on_record(&self.0, id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Layer::on_enter(&self.0, id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Layer::on_exit(&self.0, id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        Layer::on_close(&self.0, id, context);
    }
}
