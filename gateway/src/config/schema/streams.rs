//! The keys of what happens to streams: players, publishers, recordings, memory.

use super::{Key, MEBIBYTE, integer, limit, size};
use crate::config::value::Kind;

pub(super) const PLAY: &[Key] = &[
    Key {
        path: "play.merge_window_ms",
        kind: integer(0..=10_000, "ms"),
        default: "0",
        doc: "How long what players get may be held back, so that more is written at once: larger values cost \
              latency and save CPU. At 0 everything leaves as soon as it is there.",
    },
    Key {
        path: "play.wait_ms",
        kind: integer(0..=3_600_000, "ms"),
        default: "3000",
        doc: "How long a player may wait for a stream that nobody publishes yet, before it is told so.",
    },
    Key {
        path: "play.gop_cache",
        kind: Kind::Boolean,
        default: "true",
        doc: "Whether players start with the last random-access point, so that a picture is there at once, or with \
              the next one.",
    },
    Key {
        path: "play.ts_start",
        kind: Kind::Choice(&["gop", "live"]),
        default: r#""gop""#,
        doc: "Where players of MPEG-TS (by SRT or HTTP) start: with the last random-access point, sent faster than \
              it plays, or with what comes in now.",
    },
];

pub(super) const PUBLISH: &[Key] = &[
    Key {
        path: "publish.grace_s",
        kind: integer(0..=3600, "s"),
        default: "10",
        doc: "How long players stay attached when the publisher has gone, in case it comes back.",
    },
    Key {
        path: "publish.second",
        kind: Kind::Choice(&["reject", "takeover"]),
        default: r#""reject""#,
        doc: "What happens to the second that publishes the same stream: it is rejected, or it takes over and the \
              first is disconnected.",
    },
];

pub(super) const RECORD: &[Key] = &[
    Key {
        path: "record.dir",
        kind: Kind::Path,
        default: r#""""#,
        doc: "The folder of recordings. Empty: nothing can be recorded.",
    },
    Key {
        path: "record.streams",
        kind: Kind::Patterns,
        default: "[]",
        doc: "The streams that are recorded from when they are published, by patterns of application and name: `*` \
              stands for any text. Others can be recorded through the API.",
    },
    Key {
        path: "record.path",
        kind: Kind::PathTemplate,
        default: r#""{app}/{stream}/%Y-%m-%d/%H-%M-%S.{ext}""#,
        doc: "What files are called, below `record.dir`: with `{vhost}`, `{app}`, `{stream}`, `{ext}`, and the time of \
              their beginning as by strftime. A file that is there is never written over: the new one gets a number.",
    },
    Key {
        path: "record.format",
        kind: Kind::Choice(&["mp4", "ts", "flv"]),
        default: r#""mp4""#,
        doc: "The container: fragmented MP4, MPEG-TS (as it came in, where it came as such) or FLV.",
    },
    Key {
        path: "record.plan",
        kind: Kind::Choice(&["session", "segment"]),
        default: r#""session""#,
        doc: "One file for each publication, or files of `record.segment_s`.",
    },
    Key {
        path: "record.segment_s",
        kind: integer(1..=86_400, "s"),
        default: "600",
        doc: "How long files are with `record.plan = \"segment\"`; each ends at the first random-access point from then on.",
    },
    Key {
        path: "record.sync_s",
        kind: Kind::Integer { min: 0, max: 3_600, unit: "s", zero_is_none: true },
        default: "10",
        doc: "How often files are written through to the disk: what a power failure costs. 0 leaves it to the system.",
    },
    Key {
        path: "record.keep_days",
        kind: limit(36_500),
        default: "0",
        doc: "Recordings are removed so many days after their end. 0 keeps them.",
    },
    Key {
        path: "record.max_bytes",
        kind: size(0, "bytes"),
        default: "0",
        doc: "When all recordings together are larger, the oldest are removed. 0 for no limit.",
    },
];

pub(super) const HUB: &[Key] = &[
    Key {
        path: "hub.ring_bytes",
        kind: size(MEBIBYTE, "bytes"),
        default: r#""64MiB""#,
        doc: "How much of a stream is kept for players that lag behind. A player that falls out of it goes on at \
              the newest random-access point.",
    },
    Key {
        path: "hub.ring_s",
        kind: integer(1..=600, "s"),
        default: "20",
        doc: "How much of a stream is kept in time. Whichever of both bounds is reached first counts.",
    },
];
