//! What the gate gives to who is let in.

use super::{Admitted, Ask, AtEnd};
use crate::key::StreamKey;
use std::{fmt, time::SystemTime};

/// Its holder may publish a stream. Dropping it ends that: who allowed it hears of it.
#[derive(Debug)]
pub struct PublishGrant(Allowed);

/// Its holder may play a stream. Dropping it ends that: who allowed it hears of it.
#[derive(Debug)]
pub struct PlayGrant(Allowed);

/// Its holder may stay connected. Dropping it ends that: who allowed it hears of it.
#[derive(Debug)]
pub struct VisitGrant {
    _ends: Ends,
}

/// What was allowed, and who wants to know when it is over.
pub(super) struct Allowed {
    key: StreamKey,
    until: Option<SystemTime>,
    ends: Ends,
}

/// Who wants to know when something is over.
#[derive(Default)]
pub(super) struct Ends(Vec<AtEnd>);

impl Allowed {
    pub(super) fn new(ask: &Ask, admitted: &Admitted) -> Self {
        Self { key: ask.key.clone(), until: admitted.until, ends: Ends::default() }
    }

    /// Has `at_end` called when this is over. The last that came is called first.
    pub(super) fn push(&mut self, at_end: AtEnd) {
        self.ends.extend(Some(at_end));
    }
}

impl Ends {
    /// Adds who wants to know, if somebody does. The last that came is called first.
    pub(super) fn extend(&mut self, at_end: Option<AtEnd>) {
        self.0.extend(at_end);
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        while let Some(at_end) = self.0.pop() {
            at_end();
        }
    }
}

impl VisitGrant {
    pub(super) const fn new(ends: Ends) -> Self {
        Self { _ends: ends }
    }
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to hear of the end", self.0.len())
    }
}

impl PublishGrant {
    pub(super) const fn new(allowed: Allowed) -> Self {
        Self(allowed)
    }

    /// The stream that may be published.
    #[must_use]
    pub const fn key(&self) -> &StreamKey {
        &self.0.key
    }

    /// When that has to end, where it does.
    #[must_use]
    pub const fn until(&self) -> Option<SystemTime> {
        self.0.until
    }
}

impl PlayGrant {
    pub(super) const fn new(allowed: Allowed) -> Self {
        Self(allowed)
    }

    /// The stream that may be played.
    #[must_use]
    pub const fn key(&self) -> &StreamKey {
        &self.0.key
    }

    /// When that has to end, where it does.
    #[must_use]
    pub const fn until(&self) -> Option<SystemTime> {
        self.0.until
    }
}

impl fmt::Debug for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allowed").field("key", &self.key).finish_non_exhaustive()
    }
}
