//! The keys of the gateway itself: API, limits, overload, time limits, log.

use super::{Key, integer, limit, size};
use crate::config::value::Kind;

pub(super) const API: &[Key] = &[
    Key {
        path: "api.token",
        kind: Kind::Secret { min_len: 8, max_len: 255 },
        default: r#""""#,
        doc: "The credential of programs, sent as `Authorization: Bearer`. Empty for none. Without any credential \
              only programs on the same machine may use the API, unless `api.open` is set.",
    },
    Key {
        path: "api.user",
        kind: Kind::Name,
        default: r#""""#,
        doc: "The name of the user whose password is `api.password`, sent as `Authorization: Basic`. Empty for none.",
    },
    Key {
        path: "api.password",
        kind: Kind::Secret { min_len: 8, max_len: 255 },
        default: r#""""#,
        doc: "The password of `api.user`.",
    },
    Key {
        path: "api.open",
        kind: Kind::Boolean,
        default: "false",
        doc: "Whether everybody may use the API without a credential, from anywhere. What changes something still \
              takes the credential, or an `Origin` of this server.",
    },
    Key {
        path: "api.metrics_open",
        kind: Kind::Boolean,
        default: "false",
        doc: "Whether everybody may read `/metrics` without a credential.",
    },
    Key {
        path: "api.metrics_streams_max",
        kind: integer(0..=100_000, ""),
        default: "500",
        doc: "How many streams have series of their own in the metrics. Those beyond are in one series together, \
              labelled `other`, and how many they are is a series, too.",
    },
    Key {
        path: "api.hosts",
        kind: Kind::Hosts,
        default: r#"["localhost", "127.0.0.1", "[::1]"]"#,
        doc: "Names by which browsers and programs on this machine call the gateway, with or without a port. The \
              address that a connection came to is always one. Requests with another `Host` do not count as local.",
    },
];

pub(super) const LIMITS: &[Key] = &[
    Key {
        path: "limits.connections",
        kind: limit(1_000_000),
        default: "10000",
        doc: "Connections of all protocols together. 0 for no limit.",
    },
    Key {
        path: "limits.connections_per_ip",
        kind: limit(1_000_000),
        default: "0",
        doc: "Connections of all protocols from one IP address. 0 for no limit.",
    },
    Key {
        path: "limits.publishers",
        kind: limit(1_000_000),
        default: "0",
        doc: "Streams that are published at the same time. 0 for no limit.",
    },
    Key {
        path: "limits.streams",
        kind: limit(1_000_000),
        default: "0",
        doc: "Streams that exist at the same time: published, or with players that wait. 0 for no limit.",
    },
    Key {
        path: "limits.bitrate_per_publisher",
        kind: size(0, "bits a second"),
        default: "0",
        doc: "A publisher that sends more than this is disconnected. 0 for no limit.",
    },
    Key {
        path: "limits.memory",
        kind: size(0, "bytes"),
        default: "0",
        doc: "Memory of the whole process, above which new connections are refused. 0 for no limit.",
    },
    Key {
        path: "limits.webrtc_pending",
        kind: limit(1_000_000),
        default: "1000",
        doc: "Peers of WebRTC whose offers were answered and who are not connected yet; offers beyond get `503`. Each \
              costs memory until it is connected or `timeouts.handshake_ms` have passed. 0 for no limit.",
    },
    Key {
        path: "limits.webrtc_pending_per_ip",
        kind: limit(1_000_000),
        default: "200",
        doc: "Those of them from one IPv4 address, or one network of 64 bits of IPv6. 0 for no limit.",
    },
];

pub(super) const OVERLOAD: &[Key] = &[
    Key {
        path: "overload.cpu_percent",
        kind: limit(100),
        default: "0",
        doc: "How much of one processor the thread may use that runs everything. 0 for no mark.",
    },
    Key {
        path: "overload.memory",
        kind: size(0, "bytes"),
        default: "0",
        doc: "Memory of the whole process. 0 for no mark.",
    },
    Key {
        path: "overload.lag_ms",
        kind: limit(60_000),
        default: "0",
        doc: "How late what is due may run, in milliseconds. 0 for no mark.",
    },
    Key {
        path: "overload.step_ms",
        kind: integer(0..=3_600_000, "ms"),
        default: "5000",
        doc: "How long a mark must be exceeded before the next step is taken, and all of them undercut by a tenth before \
              one is taken back.",
    },
];

pub(super) const TIMEOUTS: &[Key] = &[
    Key {
        path: "timeouts.handshake_ms",
        kind: integer(100..=600_000, "ms"),
        default: "10000",
        doc: "From the connection until the peer has said what it wants: the RTMP handshake and commands, and the \
              head of an HTTP request.",
    },
    Key {
        path: "timeouts.http_idle_ms",
        kind: integer(100..=3_600_000, "ms"),
        default: "60000",
        doc: "How long an HTTP connection may stay without another request.",
    },
    Key {
        path: "timeouts.publisher_ms",
        kind: integer(100..=3_600_000, "ms"),
        default: "30000",
        doc: "How long a publisher may send nothing.",
    },
    Key {
        path: "timeouts.player_ms",
        kind: integer(100..=3_600_000, "ms"),
        default: "30000",
        doc: "How long a player may take nothing of what there is for it.",
    },
    Key {
        path: "timeouts.shutdown_ms",
        kind: integer(0..=600_000, "ms"),
        default: "5000",
        doc: "How long the gateway waits for its peers when it is asked to end.",
    },
];

pub(super) const LOG: &[Key] = &[
    Key {
        path: "log.level",
        kind: Kind::LogFilter,
        default: r#""info""#,
        doc: "Which lines are logged: `error`, `warn`, `info`, `debug` or `trace`, or different ones for different \
              modules: `info,thalweg_gateway::protocol::srt=debug`.",
    },
    Key {
        path: "log.format",
        kind: Kind::Choice(&["text", "json"]),
        default: r#""text""#,
        doc: "Lines for people, or a JSON object on each line for programs.",
    },
    Key {
        path: "log.file",
        kind: Kind::Path,
        default: r#""""#,
        doc: "A file to append to. Empty for the standard error output.",
    },
];
