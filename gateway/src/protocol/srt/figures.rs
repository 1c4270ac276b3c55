//! All that libsrt counts of a connection, as figures with their units last.
//!
//! Those that begin with `interval_` are since libsrt last told, which is whenever somebody asks.

use crate::hub::Figures;
use thalweg_srt_io::{
    Stats,
    stats::{Counters, Interval, Now},
};

/// What the API shows of a connection.
pub(super) fn figures(stats: &Stats) -> Figures {
    let mut figures = vec![("elapsed_s", stats.elapsed.as_secs_f64())];
    figures.extend(now(&stats.now));
    figures.extend(totals(&stats.total));
    figures.extend(interval(&stats.interval));
    figures
}

fn now(now: &Now) -> Figures {
    vec![
        ("rtt_s", now.round_trip.as_secs_f64()),
        ("link_bits_per_s", now.link_bits_per_s),
        ("max_bits_per_s", now.max_bits_per_s),
        ("send_period_s", now.send_period.as_secs_f64()),
        ("flow_window_packets", count(now.flow_window_packets)),
        ("congestion_window_packets", count(now.congestion_window_packets)),
        ("in_flight_packets", count(now.in_flight_packets)),
        ("mss_bytes", count(now.mss_bytes)),
        ("send_buffer_free_bytes", count(now.send_buffer_free_bytes)),
        ("send_buffer_packets", count(now.send_buffer_packets)),
        ("send_buffer_bytes", count(now.send_buffer_bytes)),
        ("send_buffer_s", now.send_buffer_span.as_secs_f64()),
        ("send_latency_s", now.send_latency.as_secs_f64()),
        ("recv_buffer_free_bytes", count(now.recv_buffer_free_bytes)),
        ("recv_buffer_packets", count(now.recv_buffer_packets)),
        ("recv_buffer_bytes", count(now.recv_buffer_bytes)),
        ("recv_buffer_s", now.recv_buffer_span.as_secs_f64()),
        ("recv_latency_s", now.recv_latency.as_secs_f64()),
        ("reorder_tolerance_packets", count(now.reorder_tolerance_packets)),
        ("reorder_distance_packets", count(now.reorder_distance_packets)),
        ("belated_by_s", now.belated_by.as_secs_f64()),
    ]
}

fn totals(total: &Counters) -> Figures {
    vec![
        ("recv_packets", count(total.recv_packets)),
        ("recv_unique_packets", count(total.recv_unique_packets)),
        ("recv_loss_packets", count(total.recv_loss_packets)),
        ("recv_dropped_packets", count(total.recv_dropped_packets)),
        ("undecrypted_packets", count(total.undecrypted_packets)),
        ("recv_bytes", count(total.recv_bytes)),
        ("recv_unique_bytes", count(total.recv_unique_bytes)),
        ("recv_loss_bytes", count(total.recv_loss_bytes)),
        ("recv_dropped_bytes", count(total.recv_dropped_bytes)),
        ("undecrypted_bytes", count(total.undecrypted_bytes)),
        ("sent_packets", count(total.sent_packets)),
        ("sent_unique_packets", count(total.sent_unique_packets)),
        ("send_loss_packets", count(total.send_loss_packets)),
        ("retransmitted_packets", count(total.retransmitted_packets)),
        ("send_dropped_packets", count(total.send_dropped_packets)),
        ("sent_bytes", count(total.sent_bytes)),
        ("sent_unique_bytes", count(total.sent_unique_bytes)),
        ("retransmitted_bytes", count(total.retransmitted_bytes)),
        ("send_dropped_bytes", count(total.send_dropped_bytes)),
        ("send_busy_s", total.send_busy.as_secs_f64()),
        ("sent_ack_packets", count(total.sent_acks)),
        ("recv_ack_packets", count(total.recv_acks)),
        ("sent_nak_packets", count(total.sent_naks)),
        ("recv_nak_packets", count(total.recv_naks)),
        ("filter_sent_packets", count(total.filter_sent_packets)),
        ("filter_recv_packets", count(total.filter_recv_packets)),
        ("filter_restored_packets", count(total.filter_restored_packets)),
        ("filter_lost_packets", count(total.filter_lost_packets)),
    ]
}

fn interval(interval: &Interval) -> Figures {
    let counters = &interval.counters;
    vec![
        ("send_bits_per_s", interval.send_bits_per_s),
        ("recv_bits_per_s", interval.recv_bits_per_s),
        ("interval_recv_packets", count(counters.recv_packets)),
        ("interval_recv_loss_packets", count(counters.recv_loss_packets)),
        ("interval_recv_dropped_packets", count(counters.recv_dropped_packets)),
        ("interval_recv_retransmitted_packets", count(interval.recv_retransmitted_packets)),
        ("interval_belated_packets", count(interval.belated_packets)),
        ("interval_sent_packets", count(counters.sent_packets)),
        ("interval_send_loss_packets", count(counters.send_loss_packets)),
        ("interval_retransmitted_packets", count(counters.retransmitted_packets)),
        ("interval_send_dropped_packets", count(counters.send_dropped_packets)),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "figures for people; 2^53 packets are far")]
const fn count(number: u64) -> f64 {
    number as f64
}
