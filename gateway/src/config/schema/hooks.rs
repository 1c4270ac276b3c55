//! The keys of `[hooks]`.

use super::{Key, integer};
use crate::config::value::Kind;

pub(super) const HOOKS: &[Key] = &[
    Key {
        path: "hooks.on_connect",
        kind: Kind::Urls,
        default: "[]",
        doc: "Asked when somebody connects. Of several URLs, here and below, all are called in their order, and all \
              have to accept.",
    },
    Key {
        path: "hooks.on_close",
        kind: Kind::Urls,
        default: "[]",
        doc: "Told when who connected is gone.",
    },
    Key {
        path: "hooks.on_publish",
        kind: Kind::Urls,
        default: "[]",
        doc: "Asked when somebody wants to publish.",
    },
    Key {
        path: "hooks.on_unpublish",
        kind: Kind::Urls,
        default: "[]",
        doc: "Told when who published has stopped.",
    },
    Key {
        path: "hooks.on_play",
        kind: Kind::Urls,
        default: "[]",
        doc: "Asked when somebody wants to play.",
    },
    Key {
        path: "hooks.on_stop",
        kind: Kind::Urls,
        default: "[]",
        doc: "Told when who played has stopped.",
    },
    Key {
        path: "hooks.on_hls",
        kind: Kind::Urls,
        default: "[]",
        doc: "Told when a segment of HLS is finished.",
    },
    Key {
        path: "hooks.on_dvr",
        kind: Kind::Urls,
        default: "[]",
        doc: "Told when a recorded file is finished.",
    },
    Key {
        path: "hooks.timeout_ms",
        kind: integer(10..=60_000, "ms"),
        default: "5000",
        doc: "How long a call may take, from looking up the server's name to the last byte of its answer.",
    },
    Key {
        path: "hooks.on_failure",
        kind: Kind::Choice(&["refuse", "accept"]),
        default: r#""refuse""#,
        doc: "What holds when a server that is asked gives no answer in time, or says that it cannot answer now: \
              nobody gets in, or everybody does.",
    },
    Key {
        path: "hooks.secret",
        kind: Kind::Secret { min_len: 16, max_len: 256 },
        default: r#""""#,
        doc: "Signs the calls, so that the servers know that they come from here. Empty for no signature.",
    },
    Key {
        path: "hooks.ca_file",
        kind: Kind::Path,
        default: r#""""#,
        doc: "The certificates, as PEM, that servers of https are checked by. Empty for those that the system \
              trusts.",
    },
    Key {
        path: "hooks.queue",
        kind: integer(1..=1_000_000, "events"),
        default: "1000",
        doc: "How many events may wait to be told. Those beyond it are dropped and counted.",
    },
    Key {
        path: "hooks.retry_s",
        kind: integer(0..=86_400, "s"),
        default: "60",
        doc: "For how long an event is told again, with growing pauses, when a server gives no answer. Nobody is \
              asked again.",
    },
];
