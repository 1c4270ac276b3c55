//! The gateway's suite: delay, fan-out, many publishers and players, memory and idleness.
//!
//! [`TARGETS`] is the table of the issue "The gateway's main job", section "Speed".

use std::time::Duration;

use super::Suite;
use crate::case::ContenderName::{Loop, Nginx, Thalweg, Thread, Unrecorded};
use crate::case::{Case, ContenderName};
use crate::gateway;
use crate::harness::Run;
use crate::measure::{
    JOIN_P50, KIB_RSS, LATE_P50, LATE_P99, MB_GROWN, MB_RSS, Plan, SHOWN_P50, SLEEPS, US_CPU,
};
use crate::target::Against::{Absolute, Peer};
use crate::target::{Target, target};

/// The suite.
pub(crate) const GATEWAY: Suite = Suite {
    name: "gateway",
    cases: &[
        Case::DelaySrtFlv,
        Case::DelaySrtSrt,
        Case::DelaySrtTs,
        Case::DelaySrtFmp4,
        Case::DelayRtmpFlv,
        Case::Flv0,
        Case::Flv100,
        Case::Flv350,
        Case::Rtmp0,
        Case::Rtmp100,
        Case::Rtmp350,
        Case::Publish,
        Case::Play,
        Case::Idle,
        Case::Viewers,
        Case::Source,
        Case::HlsBlocked,
        Case::Hls,
        Case::HlsDisplay,
        Case::HlsDisplayTuned,
        Case::DelaySrtWebRtc,
        Case::WebRtc,
        Case::WebRtcViewers,
        Case::WebRtcJoin,
        Case::WebRtcBrowser,
        Case::RecordSlow,
    ],
    contenders: &[Thalweg, Loop, Thread, Nginx, Unrecorded],
    rounds: 3,
    prepare: gateway::prepare,
    plan,
    measure: gateway::measure,
    targets: TARGETS,
    known_ratios: &[],
    numbers: "the issue",
};

/// How long to measure. A quick run has one size of each kind.
fn plan(case: Case, contender: ContenderName, n: usize, run: Run) -> Option<Plan> {
    let is_fan_out = matches!(
        case,
        Case::Flv0 | Case::Flv100 | Case::Flv350 | Case::Rtmp0 | Case::Rtmp100 | Case::Rtmp350
    );
    let floor = match case {
        Case::Publish | Case::Play => Thread,
        Case::Hls => Nginx,
        Case::RecordSlow => Unrecorded,
        _ if is_fan_out => Loop,
        _ => Thalweg,
    };
    let is_shown = !is_fan_out || n == 100 && matches!(case, Case::Flv100 | Case::Rtmp0);
    if contender != Thalweg && contender != floor
        || run.is_quick && (!is_shown || n == 50 && case == Case::Publish)
        || run.is_quick && n != 50 && case == Case::WebRtc
    {
        return None;
    }
    let (rep_ms, quick_ms) = match case {
        Case::DelaySrtFlv
        | Case::DelaySrtSrt
        | Case::DelaySrtTs
        | Case::DelaySrtFmp4
        | Case::DelayRtmpFlv
        | Case::HlsBlocked
        | Case::HlsDisplay
        | Case::HlsDisplayTuned
        | Case::DelaySrtWebRtc => (15_000, 1_000),
        Case::RecordSlow => (30_000, 3_000),
        Case::Idle => (5_000, 2_000),
        Case::Viewers | Case::WebRtcViewers => (25_000, 1_000),
        // As long as the clip and the browser's limits allow.
        Case::WebRtcJoin | Case::WebRtcBrowser => (40_000, 12_000),
        Case::Source => (10_000, 1_000),
        // So that all have several segments.
        Case::Hls => (10_000, 2_000),
        Case::Publish => (4_000, 1_000),
        // One viewer is little beside what the gateway does anyway.
        _ if is_fan_out && n == 1 => (8_000, 500),
        _ => (4_000, 500),
    };
    let rep = Duration::from_millis(if run.is_quick { quick_ms } else { rep_ms });
    Some(Plan { n, reps: 1, rep })
}

const TARGETS: &[Target] = &[
    target(Case::DelaySrtFlv, 1, LATE_P50, Absolute, 1_000.0),
    target(Case::DelaySrtFlv, 1, LATE_P99, Absolute, 5_000.0),
    target(Case::DelaySrtSrt, 1, LATE_P50, Absolute, 1_000.0),
    target(Case::DelaySrtSrt, 1, LATE_P99, Absolute, 5_000.0),
    target(Case::DelaySrtTs, 1, LATE_P50, Absolute, 1_000.0),
    target(Case::DelaySrtTs, 1, LATE_P99, Absolute, 5_000.0),
    target(Case::DelaySrtFmp4, 1, LATE_P50, Absolute, 1_000.0),
    target(Case::DelaySrtFmp4, 1, LATE_P99, Absolute, 5_000.0),
    target(Case::DelayRtmpFlv, 1, LATE_P50, Absolute, 1_000.0),
    target(Case::DelayRtmpFlv, 1, LATE_P99, Absolute, 5_000.0),
    target(Case::Flv0, 1, US_CPU, Peer(Loop), 1.2),
    target(Case::Flv0, 100, US_CPU, Peer(Loop), 1.2),
    target(Case::Flv0, 1_000, US_CPU, Peer(Loop), 1.2),
    target(Case::Flv100, 1, US_CPU, Peer(Loop), 1.2),
    target(Case::Flv100, 100, US_CPU, Peer(Loop), 1.2),
    target(Case::Flv100, 1_000, US_CPU, Peer(Loop), 1.2),
    target(Case::Flv350, 1, US_CPU, Peer(Loop), 1.2),
    target(Case::Flv350, 100, US_CPU, Peer(Loop), 1.2),
    target(Case::Flv350, 1_000, US_CPU, Peer(Loop), 1.2),
    target(Case::Rtmp0, 1, US_CPU, Peer(Loop), 1.2),
    target(Case::Rtmp0, 100, US_CPU, Peer(Loop), 1.2),
    target(Case::Rtmp0, 1_000, US_CPU, Peer(Loop), 1.2),
    target(Case::Rtmp100, 1, US_CPU, Peer(Loop), 1.2),
    target(Case::Rtmp100, 100, US_CPU, Peer(Loop), 1.2),
    target(Case::Rtmp100, 1_000, US_CPU, Peer(Loop), 1.2),
    target(Case::Rtmp350, 1, US_CPU, Peer(Loop), 1.2),
    target(Case::Rtmp350, 100, US_CPU, Peer(Loop), 1.2),
    target(Case::Rtmp350, 1_000, US_CPU, Peer(Loop), 1.2),
    target(Case::Publish, 20, US_CPU, Peer(Thread), 1.35),
    target(Case::Publish, 50, US_CPU, Peer(Thread), 1.35),
    target(Case::Play, 50, US_CPU, Peer(Thread), 1.2),
    target(Case::Idle, 1, SLEEPS, Absolute, 0.0),
    target(Case::Idle, 1, MB_RSS, Absolute, 40.0),
    target(Case::Viewers, 1_000, KIB_RSS, Absolute, 32.0),
    // "Bounded by its ring": full, it does not grow but for the allocator's rounding.
    target(Case::Source, 1, MB_GROWN, Absolute, 1.0),
    // From the issue "HLS and LL-HLS, recording, and the page".
    target(Case::HlsBlocked, 1, LATE_P99, Absolute, 5_000.0),
    target(Case::HlsDisplay, 1, LATE_P50, Absolute, 1_500_000.0),
    target(Case::HlsDisplayTuned, 1, LATE_P50, Absolute, 1_500_000.0),
    target(Case::RecordSlow, 5, LATE_P99, Peer(Unrecorded), 1.1),
    target(Case::Hls, 1_000, US_CPU, Peer(Nginx), 1.3),
    // From the issue "WebRTC: SRT or RTMP in, a browser out".
    target(Case::DelaySrtWebRtc, 1, LATE_P50, Absolute, 2_000.0),
    target(Case::WebRtc, 50, US_CPU, Absolute, 1_300.0),
    target(Case::WebRtc, 100, US_CPU, Absolute, 1_300.0),
    target(Case::WebRtc, 200, US_CPU, Absolute, 1_300.0),
    target(Case::WebRtcViewers, 200, KIB_RSS, Absolute, 256.0),
    target(Case::WebRtcJoin, 1, JOIN_P50, Absolute, 500.0),
    target(Case::WebRtcBrowser, 1, SHOWN_P50, Absolute, 150.0),
];
