//! Buffers sized from what they must hold: bitrate × (round trip + latency).
//!
//! The formula is that of libsrt's `docs/API/configuration-guidelines.md` (1.5.1), "Calculating Target Size
//! in Packets": `bps / 8 × (RTT + latency) / payload`, in bytes `packets × (MSS − 28)`, and the flow window
//! before the receive buffer, which it limits (Haivision/srt #700). The guidelines call it the least; a
//! quarter is added for retransmission (the default of `SRTO_OHEADBW`), and libsrt's defaults are never
//! undercut, since a window is a limit and what exceeds it is lost.

use std::time::Duration;

use super::Bandwidth;

/// Sizes for one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BufferSizes {
    /// `SRTO_FC` in packets.
    pub flow_window_packets: u64,
    /// `SRTO_RCVBUF` in bytes.
    pub recv_bytes: u64,
    /// `SRTO_SNDBUF` in bytes.
    pub send_bytes: u64,
    /// `SRTO_UDP_RCVBUF` in bytes.
    pub udp_recv_bytes: u64,
    /// `SRTO_UDP_SNDBUF` in bytes.
    pub udp_send_bytes: u64,
}

/// What a stream is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) bitrate: Bandwidth,
    pub(super) round_trip: Duration,
    /// Latency of the direction that needs most.
    pub(super) latency: Duration,
    pub(super) payload_bytes: u64,
    pub(super) mss_bytes: u64,
}

/// Round trip assumed where none is given.
pub(super) const DEFAULT_ROUND_TRIP: Duration = Duration::from_millis(100);
/// libsrt's default flow window in packets (`DEF_FLIGHT_SIZE`).
pub(super) const DEFAULT_WINDOW: u64 = 25_600;
/// libsrt's default send and receive buffer in packets (`DEF_BUFFER_SIZE`).
pub(super) const DEFAULT_BUFFER: u64 = 8192;
/// libsrt's least flow window and receive buffer in packets (`DEF_MIN_FLIGHT_PKT`).
pub(super) const MIN_PACKETS: u64 = 32;
/// IPv4 and UDP header, which libsrt takes off the MSS to count buffers (`CPacket::UDP_HDR_SIZE`).
pub(super) const UDP_HEADER: u64 = 28;
/// The sender keeps a packet at least this long before dropping it (`SRTO_SNDDROPDELAY`: 1000 ms and two
/// ACK intervals of 10 ms).
const MIN_SEND_DROP: Duration = Duration::from_millis(1020);
/// How long the receive or send thread may be off the processor before the UDP socket loses packets.
const UDP_PAUSE: Duration = Duration::from_millis(100);
/// libsrt's default for the UDP send buffer in bytes.
const DEFAULT_UDP_SEND: u64 = 65_536;

impl BufferSizes {
    pub(super) fn of(stream: &Stream) -> Self {
        let slot = stream.mss_bytes.saturating_sub(UDP_HEADER).max(1);
        let recv = stream.packets(stream.round_trip + stream.latency);
        let send = stream.packets(stream.round_trip + stream.latency.max(MIN_SEND_DROP));
        let udp = stream.packets(UDP_PAUSE).saturating_mul(stream.mss_bytes);
        Self {
            flow_window_packets: recv.max(DEFAULT_WINDOW),
            recv_bytes: recv.max(DEFAULT_BUFFER).saturating_mul(slot),
            send_bytes: send.max(DEFAULT_BUFFER).saturating_mul(slot),
            udp_recv_bytes: udp.max(DEFAULT_BUFFER.saturating_mul(stream.mss_bytes)),
            udp_send_bytes: udp.max(DEFAULT_UDP_SEND),
        }
    }
}

impl Stream {
    /// Packets that the stream makes in `time`, with a quarter more for retransmission.
    fn packets(&self, time: Duration) -> u64 {
        let bytes = u128::from(self.bitrate.bytes_per_s()) * time.as_micros() / 1_000_000;
        let packets = bytes * 5 / 4 / u128::from(self.payload_bytes.max(1)) + 1;
        u64::try_from(packets).unwrap_or(u64::MAX)
    }
}
