//! The case `long haul`: one stream over a link of ours with 80 ms round trip, 1 % loss, and 5 % of the
//! packets held back by 20 ms.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use thalweg_badlink::Link;

use crate::child::write_note;
use crate::measure::{DROPPED, RESENT, Sample};

/// The link to a port of loopback.
pub(crate) fn link(port: u16) -> io::Result<Link> {
    Link::builder()
        .delay(Duration::from_millis(40))
        .loss(1.0)
        .reorder(5.0, Duration::from_millis(20))
        .seed(4)
        .start(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// What both ends have counted when all is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Journey {
    /// Messages given to the sender.
    pub(crate) sent: u64,
    /// Messages that the receiver handed out.
    pub(crate) arrived: u64,
    /// Packets that the sender sent more than once.
    pub(crate) resent: u64,
}

impl Journey {
    pub(crate) fn samples(self, link: &Link) -> Vec<Sample> {
        let up = link.stats().up;
        write_note(&format!(
            "the link lost {} and held back {} of {} packets",
            up.lost, up.reordered, up.received
        ));
        let per_thousand = |count: u64| count as f64 * 1000.0 / self.sent.max(1) as f64;
        vec![
            Sample { unit: RESENT, value: per_thousand(self.resent) },
            Sample { unit: DROPPED, value: per_thousand(self.sent.saturating_sub(self.arrived)) },
        ]
    }
}

/// Five round trips: what SRT's guidelines ask of a link with some loss.
pub(crate) const LATENCY_MS: i32 = 400;
/// 4 Mbit/s.
pub(crate) const SPACING: Duration = Duration::from_micros(2_632);
/// From the last message sent until the last has arrived, or never will.
pub(crate) const TAIL: Duration = Duration::from_millis(1_000);
