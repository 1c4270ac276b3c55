//! Reads what the runtime logs.

use std::fmt::{self, Write as _};
use std::sync::mpsc::{self, Sender};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Runs `f`; the result is what was logged on this thread meanwhile, an event a string: its level,
/// its message and its fields.
pub(crate) fn capture(f: impl FnOnce()) -> Vec<String> {
    let (sender, receiver) = mpsc::channel();
    tracing::subscriber::with_default(Capture(sender), f);
    receiver.try_iter().collect()
}

struct Capture(Sender<String>);

impl Subscriber for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(event.metadata().level().to_string());
        event.record(&mut text);
        self.0.send(text.0).expect("the receiver lives as long as the capture");
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
        written.expect("writing to a string does not fail");
    }
}
