//! The public face: building a link, steering it, ending it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::fate::Conditions;
use crate::relay::Relay;
use crate::stats::Stats;

/// A running link. Dropping it ends its threads and loses what is under way.
///
/// Dropping joins the threads, which takes well under a millisecond.
#[derive(Debug)]
pub struct Link {
    relay: Relay,
}

impl Link {
    /// A link that changes nothing yet.
    pub fn builder() -> LinkBuilder {
        LinkBuilder { conditions: Conditions::default(), seed: 1 }
    }

    /// Where callers send: an address on loopback, of the target's family.
    pub fn addr(&self) -> SocketAddr {
        self.relay.addr()
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        self.relay.stats()
    }

    /// Loses `percent` of the datagrams in each direction from now on.
    ///
    /// # Panics
    ///
    /// When `percent` is not within 0 to 100.
    pub fn set_loss(&self, percent: f64) {
        let loss = chance(percent);
        self.relay.change(|conditions| conditions.loss = loss);
    }

    /// Lets through this many bits a second from now on, or as many as come.
    ///
    /// # Panics
    ///
    /// When `bits_per_s` is 0.
    pub fn set_rate_limit(&self, bits_per_s: Option<u64>) {
        assert!(bits_per_s != Some(0), "a link that lets nothing through is cut");
        self.relay.change(|conditions| conditions.rate_bps = bits_per_s);
    }

    /// Carries nothing any more, in either direction. What is under way is lost too.
    pub fn cut(&self) {
        self.relay.set_cut(true);
    }

    /// Ends a [`cut`](Self::cut).
    pub fn restore(&self) {
        self.relay.set_cut(false);
    }
}

/// Makes a [`Link`]. All conditions hold for each direction separately.
#[derive(Clone, Debug)]
pub struct LinkBuilder {
    conditions: Conditions,
    seed: u64,
}

impl LinkBuilder {
    /// Loses `percent` of the datagrams, each independently of the others.
    ///
    /// # Panics
    ///
    /// When `percent` is not within 0 to 100.
    #[must_use]
    pub fn loss(mut self, percent: f64) -> Self {
        self.conditions.loss = chance(percent);
        self
    }

    /// Every datagram takes this long: half the round trip.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.conditions.delay = delay;
        self
    }

    /// Every datagram takes up to this much longer, evenly distributed. Those that follow each other
    /// more closely may overtake each other.
    #[must_use]
    pub fn jitter(mut self, most: Duration) -> Self {
        self.conditions.jitter = most;
        self
    }

    /// Holds `percent` of the datagrams back by this much longer, so that later ones overtake them.
    ///
    /// # Panics
    ///
    /// When `percent` is not within 0 to 100.
    #[must_use]
    pub fn reorder(mut self, percent: f64, by: Duration) -> Self {
        self.conditions.reorder = chance(percent);
        self.conditions.reorder_by = by;
        self
    }

    /// Sends `percent` of the datagrams twice, one right behind the other.
    ///
    /// # Panics
    ///
    /// When `percent` is not within 0 to 100.
    #[must_use]
    pub fn duplicate(mut self, percent: f64) -> Self {
        self.conditions.duplicate = chance(percent);
        self
    }

    /// Lets through this many bits a second, headers of IPv4 and UDP included. What
    /// comes on top of the [queue](Self::queue_limit) is dropped.
    ///
    /// # Panics
    ///
    /// When `bits_per_s` is 0.
    #[must_use]
    pub fn rate_limit(mut self, bits_per_s: u64) -> Self {
        assert!(bits_per_s > 0, "a link that lets nothing through is cut");
        self.conditions.rate_bps = Some(bits_per_s);
        self
    }

    /// Up to this much time's worth of datagrams wait for their turn where the rate is limited, instead of 200 ms, a home
    /// router's queue.
    #[must_use]
    pub fn queue_limit(mut self, limit: Duration) -> Self {
        self.conditions.queue_limit = limit;
        self
    }

    /// Fixes all that chance decides. The fate of a caller's k-th datagram depends on this, on whether
    /// it was the first caller, the second and so on, and on nothing else.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Starts a link to `target`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when `target` has no port or is the unspecified address: answers are recognised by
    /// where they come from. Else what the system says of binding a socket or starting a thread.
    pub fn start(self, target: SocketAddr) -> io::Result<Link> {
        if target.port() == 0 || target.ip().is_unspecified() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Link { relay: Relay::start(target, self.conditions, self.seed)? })
    }
}

fn chance(percent: f64) -> f64 {
    assert!((0.0..=100.0).contains(&percent), "{percent} is no percentage");
    percent / 100.0
}
