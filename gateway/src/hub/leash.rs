//! The end of a connection at a set time: when what let it in expires.

use super::Client;
use std::{
    rc::Weak,
    time::{Duration, SystemTime},
};
use thalweg_runtime::{self as rt, JoinHandle};
use tracing::{info, warn};

/// Ends a client in time, unless it is dropped before.
#[derive(Debug)]
pub(super) struct Leash(JoinHandle<()>);

/// Longer than this nobody stays connected; larger numbers may not be instants.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl Leash {
    /// One for the client that this is.
    pub(super) fn new(client: Weak<Client>, until: SystemTime) -> Option<Self> {
        let left = until.duration_since(SystemTime::now()).unwrap_or_default();
        let at = rt::now() + left.min(LONGEST);
        let end = move || {
            // Cancelled, it has let go; a client that is gone has ended already.
            if rt::sleep_until(at).is_ok()
                && let Some(client) = client.upgrade()
            {
                info!(client = client.id.0, "is ended: what let it in has expired");
                client.kick();
            }
        };
        let spawned = rt::Builder::new().name("expiry").spawn(end);
        spawned.inspect_err(|error| warn!(%error, "a session will not end in time")).ok().map(Self)
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
