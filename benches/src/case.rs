//! The names of cases and contenders, and which of them are measured at which size.

use std::fmt;
use std::str::FromStr;

/// What is measured; docs/benchmarks.md describes each.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Case {
    Yield,
    Cond,
    CondDeadline,
    Spawn,
    Timer,
    Echo,
    EchoIdle,
    Memory,
    Wake1,
    Wake10,
    Silent,
    Receive,
    Send,
    LongHaul,
    DelaySrtFlv,
    DelaySrtSrt,
    DelaySrtTs,
    DelaySrtFmp4,
    DelayRtmpFlv,
    Flv0,
    Flv100,
    Flv350,
    Rtmp0,
    Rtmp100,
    Rtmp350,
    Publish,
    Play,
    Idle,
    Viewers,
    Source,
    HlsBlocked,
    Hls,
    HlsDisplay,
    HlsDisplayTuned,
    DelaySrtWebRtc,
    WebRtc,
    WebRtcViewers,
    WebRtcJoin,
    WebRtcBrowser,
    RecordSlow,
}

impl Case {
    pub(crate) const ALL: [Self; 40] = [
        Self::Yield,
        Self::Cond,
        Self::CondDeadline,
        Self::Spawn,
        Self::Timer,
        Self::Echo,
        Self::EchoIdle,
        Self::Memory,
        Self::Wake1,
        Self::Wake10,
        Self::Silent,
        Self::Receive,
        Self::Send,
        Self::LongHaul,
        Self::DelaySrtFlv,
        Self::DelaySrtSrt,
        Self::DelaySrtTs,
        Self::DelaySrtFmp4,
        Self::DelayRtmpFlv,
        Self::Flv0,
        Self::Flv100,
        Self::Flv350,
        Self::Rtmp0,
        Self::Rtmp100,
        Self::Rtmp350,
        Self::Publish,
        Self::Play,
        Self::Idle,
        Self::Viewers,
        Self::Source,
        Self::HlsBlocked,
        Self::Hls,
        Self::HlsDisplay,
        Self::HlsDisplayTuned,
        Self::DelaySrtWebRtc,
        Self::WebRtc,
        Self::WebRtcViewers,
        Self::WebRtcJoin,
        Self::WebRtcBrowser,
        Self::RecordSlow,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Yield => "yield",
            Self::Cond => "cond",
            Self::CondDeadline => "cond-deadline",
            Self::Spawn => "spawn",
            Self::Timer => "timer",
            Self::Echo => "echo",
            Self::EchoIdle => "echo-idle",
            Self::Memory => "memory",
            Self::Wake1 => "wake 1 ms",
            Self::Wake10 => "wake 10 ms",
            Self::Silent => "silent 100",
            Self::Receive => "receive 50",
            Self::Send => "send 50",
            Self::LongHaul => "long haul",
            Self::DelaySrtFlv => "srt-flv",
            Self::DelaySrtSrt => "srt-srt",
            Self::DelaySrtTs => "srt-ts",
            Self::DelaySrtFmp4 => "srt-fmp4",
            Self::DelayRtmpFlv => "rtmp-flv",
            Self::Flv0 => "flv 0 ms",
            Self::Flv100 => "flv 100 ms",
            Self::Flv350 => "flv 350 ms",
            Self::Rtmp0 => "rtmp 0 ms",
            Self::Rtmp100 => "rtmp 100 ms",
            Self::Rtmp350 => "rtmp 350 ms",
            Self::Publish => "publish",
            Self::Play => "play",
            Self::Idle => "idle",
            Self::Viewers => "viewers",
            Self::Source => "source",
            Self::HlsBlocked => "hls blocked",
            Self::Hls => "hls",
            Self::HlsDisplay => "hls-display",
            Self::HlsDisplayTuned => "hls-display-tuned",
            Self::DelaySrtWebRtc => "srt-webrtc",
            Self::WebRtc => "webrtc",
            Self::WebRtcViewers => "webrtc viewers",
            Self::WebRtcJoin => "webrtc-join",
            Self::WebRtcBrowser => "webrtc-browser",
            Self::RecordSlow => "record-slow",
        }
    }

    /// The sizes of the full run: coroutines, connections, sockets, streams, viewers, or coroutines alive at once.
    pub(crate) fn sizes(self) -> &'static [usize] {
        match self {
            Self::Yield => &[2, 100, 1_000, 10_000, 100_000],
            Self::Cond => &[2],
            Self::CondDeadline | Self::Timer => &[100_000],
            Self::Spawn => &[1, 10_000],
            Self::Echo => &[1, 100, 1_000],
            Self::EchoIdle => &[10_000],
            Self::Memory => &[100_000, 1_000_000],
            Self::Wake1 | Self::Wake10 | Self::LongHaul => &[1],
            Self::Silent => &[100],
            Self::Receive | Self::Send | Self::Play => &[50],
            Self::DelaySrtFlv
            | Self::DelaySrtSrt
            | Self::DelaySrtTs
            | Self::DelaySrtFmp4
            | Self::DelayRtmpFlv
            | Self::Idle
            | Self::HlsBlocked
            | Self::HlsDisplay
            | Self::HlsDisplayTuned
            | Self::DelaySrtWebRtc
            | Self::WebRtcJoin
            | Self::WebRtcBrowser
            | Self::Source => &[1],
            Self::Flv0
            | Self::Flv100
            | Self::Flv350
            | Self::Rtmp0
            | Self::Rtmp100
            | Self::Rtmp350 => &[1, 100, 1_000],
            Self::WebRtc => &[50, 100, 200],
            Self::WebRtcViewers => &[200],
            Self::RecordSlow => &[5],
            Self::Publish => &[20, 50],
            Self::Viewers | Self::Hls => &[1_000],
        }
    }

    /// Whether the contender, one of the case's suite, serves this case at this size.
    /// docs/benchmarks.md says why where it does not.
    pub(crate) fn applies_to(self, contender: ContenderName, n: usize) -> bool {
        match contender {
            ContenderName::Thalweg
            | ContenderName::Tokio
            | ContenderName::Loop
            | ContenderName::Nginx
            | ContenderName::Unrecorded => true,
            ContenderName::StateThreads => n <= 100_000,
            ContenderName::Corosensei => matches!(self, Self::Yield | Self::Spawn),
            ContenderName::Epoll => matches!(self, Self::Echo | Self::EchoIdle),
            ContenderName::Thread => self != Self::LongHaul,
            ContenderName::Poll => !matches!(self, Self::Send | Self::LongHaul),
            ContenderName::Libsrt => matches!(self, Self::Silent | Self::LongHaul),
        }
    }

    /// Whether the measurement is of a server that a client loads.
    pub(crate) fn is_echo(self) -> bool {
        matches!(self, Self::Echo | Self::EchoIdle)
    }
}

/// Who is measured.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum ContenderName {
    Thalweg,
    Tokio,
    StateThreads,
    Corosensei,
    Epoll,
    Thread,
    Poll,
    Libsrt,
    Loop,
    Nginx,
    Unrecorded,
}

impl ContenderName {
    pub(crate) const ALL: [Self; 11] = [
        Self::Thalweg,
        Self::Tokio,
        Self::StateThreads,
        Self::Corosensei,
        Self::Epoll,
        Self::Thread,
        Self::Poll,
        Self::Libsrt,
        Self::Loop,
        Self::Nginx,
        Self::Unrecorded,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Thalweg => "thalweg",
            Self::Tokio => "tokio",
            Self::StateThreads => "state-threads",
            Self::Corosensei => "corosensei",
            Self::Epoll => "epoll",
            Self::Thread => "thread",
            Self::Poll => "poll",
            Self::Libsrt => "libsrt",
            Self::Loop => "loop",
            Self::Nginx => "nginx",
            Self::Unrecorded => "unrecorded",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for ContenderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|case| case.name() == name);
        found.ok_or_else(|| format!("no case is called {name:?}"))
    }
}

impl FromStr for ContenderName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|contender| contender.name() == name);
        found.ok_or_else(|| format!("no contender is called {name:?}"))
    }
}
