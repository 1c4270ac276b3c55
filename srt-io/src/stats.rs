//! Statistics of a connection, all that libsrt counts, with units.
//!
//! Field by field this is `CBytePerfMon` (`docs/API/statistics.md` of libsrt 1.5.1) in three groups: since
//! the connection began ([`Stats::total`]), since the counters were last cleared ([`Stats::interval`]), and
//! right now ([`Stats::now`]). Bytes count all headers (SRT, UDP, IP: 44 a packet) unless the field says
//! otherwise. Where `CUDT::bstats` of 1.5.1 does otherwise than its document, the field says so. Intervals of
//! one's own, which disturb nobody, come from two totals: [`Counters::since`].

use std::time::Duration;

/// Statistics of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Time since the connection began (`msTimeStamp`).
    pub elapsed: Duration,
    /// Counters since the connection began.
    pub total: Counters,
    /// Counters since they were last cleared.
    pub interval: Interval,
    /// The state of affairs right now.
    pub now: Now,
}

/// What is counted both since the beginning and since the last clearing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Data packets sent, with retransmitted ones and those of the packet filter (`pktSent`).
    pub sent_packets: u64,
    /// Data packets sent for the first time (`pktSentUnique`).
    pub sent_unique_packets: u64,
    /// Data packets received, with retransmitted ones, duplicates, and those of the packet filter (`pktRecv`).
    pub recv_packets: u64,
    /// Data packets received for the first time, also by retransmission (`pktRecvUnique`).
    pub recv_unique_packets: u64,
    /// Packets that the peer reported as lost (`pktSndLoss`).
    pub send_loss_packets: u64,
    /// Packets found missing, also those that then came out of order (`pktRcvLoss`).
    pub recv_loss_packets: u64,
    /// Packets sent again (`pktRetrans`).
    pub retransmitted_packets: u64,
    /// ACKs sent (`pktSentACK`).
    pub sent_acks: u64,
    /// ACKs received (`pktRecvACK`).
    pub recv_acks: u64,
    /// Loss reports sent (`pktSentNAK`).
    pub sent_naks: u64,
    /// Loss reports received (`pktRecvNAK`).
    pub recv_naks: u64,
    /// Time during which there was something to send (`usSndDuration`).
    pub send_busy: Duration,
    /// Packets that the sender dropped as too late (`pktSndDrop`).
    pub send_dropped_packets: u64,
    /// Packets that the receiver dropped as too late, and those it could not decrypt (`pktRcvDrop`).
    pub recv_dropped_packets: u64,
    /// Packets that could not be decrypted (`pktRcvUndecrypt`).
    pub undecrypted_packets: u64,
    /// Bytes of [`Counters::sent_packets`] (`byteSent`).
    pub sent_bytes: u64,
    /// Bytes of [`Counters::sent_unique_packets`] (`byteSentUnique`).
    pub sent_unique_bytes: u64,
    /// Bytes of [`Counters::recv_packets`] (`byteRecv`).
    pub recv_bytes: u64,
    /// Bytes of [`Counters::recv_unique_packets`] (`byteRecvUnique`).
    pub recv_unique_bytes: u64,
    /// Bytes of [`Counters::recv_loss_packets`], by the average size (`byteRcvLoss`).
    pub recv_loss_bytes: u64,
    /// Bytes of [`Counters::retransmitted_packets`] (`byteRetrans`).
    pub retransmitted_bytes: u64,
    /// Bytes of [`Counters::send_dropped_packets`] (`byteSndDrop`).
    pub send_dropped_bytes: u64,
    /// Bytes of [`Counters::recv_dropped_packets`], by the average size (`byteRcvDrop`). Since the last
    /// clearing without those that could not be decrypted, unlike the packets.
    pub recv_dropped_bytes: u64,
    /// Payload bytes of [`Counters::undecrypted_packets`], without headers (`byteRcvUndecrypt`).
    pub undecrypted_bytes: u64,
    /// Packets that the packet filter added (`pktSndFilterExtra`).
    pub filter_sent_packets: u64,
    /// Packets of the packet filter received (`pktRcvFilterExtra`).
    pub filter_recv_packets: u64,
    /// Packets that the packet filter restored (`pktRcvFilterSupply`).
    pub filter_restored_packets: u64,
    /// Packets that the packet filter could not restore (`pktRcvFilterLoss`).
    pub filter_lost_packets: u64,
}

/// Counters since they were last cleared, and what exists for an interval only.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
#[non_exhaustive]
pub struct Interval {
    /// The counters.
    pub counters: Counters,
    /// Packets received by retransmission (`pktRcvRetrans`).
    pub recv_retransmitted_packets: u64,
    /// Packets received too late to be played, also duplicates (`pktRcvBelated`).
    pub belated_packets: u64,
    /// Bits per second sent (`mbpsSendRate`).
    pub send_bits_per_s: f64,
    /// Bits per second received (`mbpsRecvRate`).
    pub recv_bits_per_s: f64,
}

/// The state of affairs at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
#[non_exhaustive]
pub struct Now {
    /// Smoothed round-trip time (`msRTT`).
    pub round_trip: Duration,
    /// Least time between two packets sent (`usPktSndPeriod`).
    pub send_period: Duration,
    /// Packets that the peer lets be in flight (`pktFlowWindow`).
    pub flow_window_packets: u64,
    /// Packets that congestion control lets be in flight (`pktCongestionWindow`).
    pub congestion_window_packets: u64,
    /// Packets in flight (`pktFlightSize`).
    pub in_flight_packets: u64,
    /// Estimated capacity of the link in bits per second (`mbpsBandwidth`); rough in live mode.
    pub link_bits_per_s: f64,
    /// Limit of what is sent in bits per second (`mbpsMaxBW`).
    pub max_bits_per_s: f64,
    /// Room in the send buffer in bytes (`byteAvailSndBuf`). Zero, like all sizes of buffers here, also when
    /// libsrt was busy connecting or closing at that moment.
    pub send_buffer_free_bytes: u64,
    /// Room in the receive buffer in bytes (`byteAvailRcvBuf`).
    pub recv_buffer_free_bytes: u64,
    /// Greatest packet in bytes, headers included (`byteMSS`).
    pub mss_bytes: u64,
    /// Packets sent or to be sent that are not acknowledged (`pktSndBuf`).
    pub send_buffer_packets: u64,
    /// The same in bytes (`byteSndBuf`).
    pub send_buffer_bytes: u64,
    /// The same as the time that they span (`msSndBuf`).
    pub send_buffer_span: Duration,
    /// Latency that the peer applies to what we send (`msSndTsbPdDelay`).
    pub send_latency: Duration,
    /// Packets received that wait for their time or their predecessors (`pktRcvBuf`).
    pub recv_buffer_packets: u64,
    /// The same in bytes, payload only (`byteRcvBuf`).
    pub recv_buffer_bytes: u64,
    /// The same as the time that they span (`msRcvBuf`).
    pub recv_buffer_span: Duration,
    /// Latency that is applied to what we receive (`msRcvTsbPdDelay`).
    pub recv_latency: Duration,
    /// Packets that must follow a gap before it is reported (`pktReorderTolerance`).
    pub reorder_tolerance_packets: u64,
    /// How far packets came out of order (`pktReorderDistance`): the most since the beginning, less one for
    /// each time that the tolerance fell by one. Clearing does not reset it, whatever the document says.
    pub reorder_distance_packets: u64,
    /// How late belated packets came, on average (`pktRcvAvgBelatedTime`). Clearing does not reset it.
    pub belated_by: Duration,
}

impl Stats {
    /// Packets received more than once: retransmissions that nobody needed.
    #[must_use]
    pub const fn duplicate_packets(&self) -> u64 {
        self.total.recv_packets.saturating_sub(self.total.recv_unique_packets)
    }
}

macro_rules! difference {
    ($later:expr, $earlier:expr, $($field:ident),* $(,)?) => {
        Counters { $($field: $later.$field.saturating_sub($earlier.$field),)* }
    };
}

impl Counters {
    /// What was counted since `earlier`, both totals of the same connection.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        difference!(
            self,
            earlier,
            sent_packets,
            sent_unique_packets,
            recv_packets,
            recv_unique_packets,
            send_loss_packets,
            recv_loss_packets,
            retransmitted_packets,
            sent_acks,
            recv_acks,
            sent_naks,
            recv_naks,
            send_busy,
            send_dropped_packets,
            recv_dropped_packets,
            undecrypted_packets,
            sent_bytes,
            sent_unique_bytes,
            recv_bytes,
            recv_unique_bytes,
            recv_loss_bytes,
            retransmitted_bytes,
            send_dropped_bytes,
            recv_dropped_bytes,
            undecrypted_bytes,
            filter_sent_packets,
            filter_recv_packets,
            filter_restored_packets,
            filter_lost_packets,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_the_difference_of_two_totals() {
        let earlier = Counters { recv_packets: 10, sent_bytes: 5, ..Counters::default() };
        let later =
            Counters { recv_packets: 25, sent_bytes: 5, sent_naks: 2, ..Counters::default() };
        let expected = Counters { recv_packets: 15, sent_naks: 2, ..Counters::default() };
        assert_eq!(later.since(&earlier), expected);
        // Another connection's total cannot make a number below none.
        assert_eq!(earlier.since(&later), Counters::default());
    }
}
