//! Presets beyond libsrt's own.

use std::time::Duration;

use super::{Options, RetransmitAlgorithm};

impl Options {
    /// Live over long, lossy links: fewer retransmissions, and time for those that are needed.
    ///
    /// What is set, and why:
    ///
    /// - *Retransmission once per round trip* (`SRTO_RETRANSMITALGO` 1): with algorithm 0 each repeated
    ///   report sends the packet again although it is on its way. libsrt ≥ 1.4.4 has it so in live mode;
    ///   older ones do not.
    /// - *Periodic loss reports* (`SRTO_NAKREPORT`): algorithm 1 relies on them, and a lost report costs
    ///   one interval instead of the packet. Without them the sender repeats all that is not acknowledged
    ///   whenever its time is up: at 5 % loss five times as much
    ///   (1310 packets of 2500 instead of 240, over the link of `tests/stats.rs`).
    /// - *Reorder tolerance of 40 packets* (`SRTO_LOSSMAXTTL`): a gap is reported when 40 packets have
    ///   followed, or at the next periodic report, whichever is first. Off in libsrt, where 1 ms of jitter
    ///   makes 70 % more traffic (Haivision/srt #735). The library lets the tolerance fall again while
    ///   packets come in order; [`crate::reorder`] holds it where the link needs it.
    /// - *Latency of 800 ms*: four round trips of 200 ms, libsrt's rule of thumb. Set your own where you
    ///   know the link; [`crate::advisor`] tells what it calls for.
    /// - *Round trip of 200 ms* for sizing buffers once [`Options::bitrate`] is given.
    /// - *UDP send buffer of 1 MiB* (`SRTO_UDP_SNDBUF`): a burst of retransmissions must not be dropped by
    ///   our own kernel, which counts as loss again. 64 KiB by default, 45 packets.
    /// - *Peer idle timeout of 10 s* (`SRTO_PEERIDLETIMEO`) and *connect timeout of 10 s*
    ///   (`SRTO_CONNTIMEO`): a change of route takes seconds, and a handshake of four packets is sent
    ///   again every 250 ms until it comes through.
    ///
    /// What is left alone: `SRTO_MAXBW` (a limit from a wrong guess chokes the stream), `SRTO_SNDDROPDELAY`
    /// (what is later than the latency is dropped by the receiver anyway), `SRTO_MSS` (7 TS packets and all
    /// headers make 1360 bytes, which pass any common tunnel).
    #[must_use]
    pub fn long_haul() -> Self {
        Self::live()
            .retransmit_algorithm(RetransmitAlgorithm::Efficient)
            .nak_report(true)
            .loss_max_ttl(40)
            .latency(Duration::from_millis(800))
            .round_trip(Duration::from_millis(200))
            .udp_send_buffer(1 << 20)
            .peer_idle_timeout(Duration::from_secs(10))
            .connect_timeout(Duration::from_secs(10))
    }
}
