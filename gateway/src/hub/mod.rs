//! Where publishers and players meet, without knowing each other's protocol.
//!
//! A [`Registry`] holds the [`Source`]s, one for each live stream. A [`Publisher`] pushes access units into its source,
//! which keeps the last of them in a ring. A **feed** is a ring of chunks in one format, muxed from the units once for all
//! its readers; it exists while somebody reads it. A [`Subscriber`] is a cursor into a feed: it begins at the newest
//! random-access point, takes all that has come since its last turn, and skips to the newest random-access point when it was
//! too slow and the ring has gone on.
//!
//! Nothing here suspends but [`Subscriber::recv`], [`UnitReader::recv`], [`TrackedReader::recv`], [`Source::subscribe`], [`Registry::wait_for`] and the two
//! `wait_changed`.

mod client;
mod events;
mod feed;
mod formats;
mod leash;
mod limits;
mod load;
mod rate;
mod registry;
mod ring;
mod run;
mod source;
mod subscriber;
#[cfg(test)]
mod tests;
mod timeline;
mod tracked;
mod units;

pub use client::{Client, ClientId, Clients, Figures, Path, Role};
pub use events::{Elsewhere, Event, EventKind, Events, Rejection};
pub use feed::Format;
pub use limits::{Limits, Refusal};
pub use load::{Level, Load, Measured};
pub use registry::{PublishError, Registry, Settings, SubscribeError};
pub use ring::Bounds;
pub use run::Chunks;
pub use source::{FeedState, Original, Publisher, Source, SourceState};
pub use subscriber::{Batch, Lag, LagProbe, PlayEnd, Start, Subscriber};
pub use tracked::{Tracked, TrackedReader};
pub use units::{Joint, UnitReader};
