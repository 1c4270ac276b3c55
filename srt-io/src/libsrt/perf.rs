//! From libsrt's `CBytePerfMon` to [`Stats`].

use std::time::Duration;

use libsrt_sys::CBytePerfMon;

use crate::stats::{Counters, Interval, Now, Stats};

/// Gives libsrt's statistics their units.
pub(crate) fn stats(perf: &CBytePerfMon) -> Stats {
    Stats {
        elapsed: Duration::from_millis(count(perf.msTimeStamp)),
        total: total(perf),
        interval: Interval {
            counters: interval(perf),
            recv_retransmitted_packets: count(perf.pktRcvRetrans),
            belated_packets: count(perf.pktRcvBelated),
            send_bits_per_s: perf.mbpsSendRate * 1e6,
            recv_bits_per_s: perf.mbpsRecvRate * 1e6,
        },
        now: now(perf),
    }
}

fn total(perf: &CBytePerfMon) -> Counters {
    Counters {
        sent_packets: count(perf.pktSentTotal),
        sent_unique_packets: count(perf.pktSentUniqueTotal),
        recv_packets: count(perf.pktRecvTotal),
        recv_unique_packets: count(perf.pktRecvUniqueTotal),
        send_loss_packets: count(perf.pktSndLossTotal),
        recv_loss_packets: count(perf.pktRcvLossTotal),
        retransmitted_packets: count(perf.pktRetransTotal),
        sent_acks: count(perf.pktSentACKTotal),
        recv_acks: count(perf.pktRecvACKTotal),
        sent_naks: count(perf.pktSentNAKTotal),
        recv_naks: count(perf.pktRecvNAKTotal),
        send_busy: Duration::from_micros(count(perf.usSndDurationTotal)),
        send_dropped_packets: count(perf.pktSndDropTotal),
        recv_dropped_packets: count(perf.pktRcvDropTotal),
        undecrypted_packets: count(perf.pktRcvUndecryptTotal),
        sent_bytes: perf.byteSentTotal,
        sent_unique_bytes: perf.byteSentUniqueTotal,
        recv_bytes: perf.byteRecvTotal,
        recv_unique_bytes: perf.byteRecvUniqueTotal,
        recv_loss_bytes: perf.byteRcvLossTotal,
        retransmitted_bytes: perf.byteRetransTotal,
        send_dropped_bytes: perf.byteSndDropTotal,
        recv_dropped_bytes: perf.byteRcvDropTotal,
        undecrypted_bytes: perf.byteRcvUndecryptTotal,
        filter_sent_packets: count(perf.pktSndFilterExtraTotal),
        filter_recv_packets: count(perf.pktRcvFilterExtraTotal),
        filter_restored_packets: count(perf.pktRcvFilterSupplyTotal),
        filter_lost_packets: count(perf.pktRcvFilterLossTotal),
    }
}

fn interval(perf: &CBytePerfMon) -> Counters {
    Counters {
        sent_packets: count(perf.pktSent),
        sent_unique_packets: count(perf.pktSentUnique),
        recv_packets: count(perf.pktRecv),
        recv_unique_packets: count(perf.pktRecvUnique),
        send_loss_packets: count(perf.pktSndLoss),
        recv_loss_packets: count(perf.pktRcvLoss),
        retransmitted_packets: count(perf.pktRetrans),
        sent_acks: count(perf.pktSentACK),
        recv_acks: count(perf.pktRecvACK),
        sent_naks: count(perf.pktSentNAK),
        recv_naks: count(perf.pktRecvNAK),
        send_busy: Duration::from_micros(count(perf.usSndDuration)),
        send_dropped_packets: count(perf.pktSndDrop),
        recv_dropped_packets: count(perf.pktRcvDrop),
        undecrypted_packets: count(perf.pktRcvUndecrypt),
        sent_bytes: perf.byteSent,
        sent_unique_bytes: perf.byteSentUnique,
        recv_bytes: perf.byteRecv,
        recv_unique_bytes: perf.byteRecvUnique,
        recv_loss_bytes: perf.byteRcvLoss,
        retransmitted_bytes: perf.byteRetrans,
        send_dropped_bytes: perf.byteSndDrop,
        recv_dropped_bytes: perf.byteRcvDrop,
        undecrypted_bytes: perf.byteRcvUndecrypt,
        filter_sent_packets: count(perf.pktSndFilterExtra),
        filter_recv_packets: count(perf.pktRcvFilterExtra),
        filter_restored_packets: count(perf.pktRcvFilterSupply),
        filter_lost_packets: count(perf.pktRcvFilterLoss),
    }
}

fn now(perf: &CBytePerfMon) -> Now {
    Now {
        round_trip: fraction(perf.msRTT, 1e-3),
        send_period: fraction(perf.usPktSndPeriod, 1e-6),
        flow_window_packets: count(perf.pktFlowWindow),
        congestion_window_packets: count(perf.pktCongestionWindow),
        in_flight_packets: count(perf.pktFlightSize),
        link_bits_per_s: perf.mbpsBandwidth * 1e6,
        max_bits_per_s: perf.mbpsMaxBW * 1e6,
        send_buffer_free_bytes: count(perf.byteAvailSndBuf),
        recv_buffer_free_bytes: count(perf.byteAvailRcvBuf),
        mss_bytes: count(perf.byteMSS),
        send_buffer_packets: count(perf.pktSndBuf),
        send_buffer_bytes: count(perf.byteSndBuf),
        send_buffer_span: Duration::from_millis(count(perf.msSndBuf)),
        send_latency: Duration::from_millis(count(perf.msSndTsbPdDelay)),
        recv_buffer_packets: count(perf.pktRcvBuf),
        recv_buffer_bytes: count(perf.byteRcvBuf),
        recv_buffer_span: Duration::from_millis(count(perf.msRcvBuf)),
        recv_latency: Duration::from_millis(count(perf.msRcvTsbPdDelay)),
        reorder_tolerance_packets: count(perf.pktReorderTolerance),
        reorder_distance_packets: count(perf.pktReorderDistance),
        belated_by: fraction(perf.pktRcvAvgBelatedTime, 1e-3),
    }
}

/// libsrt counts with sign; below none there is nothing (the reorder distance can fall there).
fn count(number: impl Into<i64>) -> u64 {
    u64::try_from(number.into()).unwrap_or(0)
}

fn fraction(number: f64, unit: f64) -> Duration {
    Duration::try_from_secs_f64(number * unit).unwrap_or_default()
}
