//! The keys of what is served: SRT, RTMP, HTTP, WebRTC, certificates, HLS.

use super::{Key, MEBIBYTE, integer, limit, size};
use crate::config::value::Kind;

pub(super) const SRT: &[Key] = &[
    Key {
        path: "srt.listen",
        kind: Kind::Addresses,
        default: r#"["0.0.0.0:10080", "[::]:10080"]"#,
        doc: "UDP addresses to listen on for SRT; an empty list turns it off. Port 0 takes a free one, which is \
              printed at the start.",
    },
    Key {
        path: "srt.latency_ms",
        kind: integer(0..=60_000, "ms"),
        default: "120",
        doc: "The least latency of SRT connections, in which lost packets are sent again. The larger of both ends' \
              is in force.",
    },
    Key {
        path: "srt.passphrase",
        kind: Kind::Secret { min_len: 10, max_len: 79 },
        default: r#""""#,
        doc: "Encrypts SRT: peers have to know it too. Empty for none.",
    },
    Key {
        path: "srt.default_mode",
        kind: Kind::Choice(&["publish", "request"]),
        default: r#""request""#,
        doc: "What an SRT peer wants whose stream id does not say so: to publish, or to play (`request`).",
    },
    Key {
        path: "srt.default_stream",
        kind: Kind::Stream,
        default: r#""live/livestream""#,
        doc: "The stream of SRT peers that send no stream id, as many encoders do.",
    },
    Key {
        path: "srt.ports",
        kind: Kind::Ports,
        default: "{}",
        doc: "Further ports, for encoders that cannot send a stream id: what is published there becomes the named \
              stream. They are opened on each IP address of `srt.listen`.",
    },
];

pub(super) const RTMP: &[Key] = &[
    Key {
        path: "rtmp.listen",
        kind: Kind::Addresses,
        default: r#"["0.0.0.0:1935", "[::]:1935"]"#,
        doc: "TCP addresses to listen on for RTMP; an empty list turns it off.",
    },
    Key {
        path: "rtmp.proxy_protocol",
        kind: Kind::Boolean,
        default: "false",
        doc: "As `http.proxy_protocol`, from the same `http.trusted_proxies`.",
    },
    Key {
        path: "rtmp.silent_player",
        kind: Kind::Choice(&["enhanced", "legacy"]),
        default: r#""enhanced""#,
        doc: "What a player gets that does not say whether it understands Enhanced RTMP, as ffmpeg does not: also \
              the codecs that only that carries, such as HEVC, AV1 and Opus, or only H.264, AAC and MP3, which look \
              the same either way.",
    },
];

pub(super) const HTTP: &[Key] = &[
    Key {
        path: "http.listen",
        kind: Kind::Addresses,
        default: r#"["0.0.0.0:8080", "[::]:8080"]"#,
        doc: "TCP addresses to listen on for HTTP; an empty list turns it off.",
    },
    Key {
        path: "http.proxy_protocol",
        kind: Kind::Boolean,
        default: "false",
        doc: "Whether each connection begins with a header of the PROXY protocol, version 1 or 2, that tells where it \
              comes from. Connections from elsewhere than `http.trusted_proxies` are then refused.",
    },
    Key {
        path: "http.trusted_proxies",
        kind: Kind::Networks,
        default: "[]",
        doc: "Networks of proxies in front of the gateway. What they say of the addresses of others is believed, in \
              `Forwarded` or `X-Forwarded-For` and by the PROXY protocol; from anybody else these are ignored. \
              Of several addresses the last counts that is not a trusted proxy's.",
    },
];

pub(super) const WEBRTC: &[Key] = &[
    Key {
        path: "webrtc.listen",
        kind: Kind::Address,
        default: r#""[::]:8000""#,
        doc: "UDP address of all media by WebRTC; offers come by HTTP. Empty turns it off.",
    },
    Key {
        path: "webrtc.candidates",
        kind: Kind::Ips,
        default: "[]",
        doc: "The IP addresses that browsers are told to send to, where that are not the machine's own: behind NAT, \
              in a container. They are used with the ports of `webrtc.listen` and `webrtc.tcp_listen`.",
    },
    Key {
        path: "webrtc.tcp_listen",
        kind: Kind::Addresses,
        default: "[]",
        doc: "TCP addresses that media by WebRTC may come to as well, for browsers whose networks let no UDP through, \
              such as `[\"0.0.0.0:8000\", \"[::]:8000\"]`; port 443 passes most firewalls. Browsers try UDP first. \
              An empty list turns it off.",
    },
    Key {
        path: "webrtc.random_access_ms",
        kind: integer(500..=60_000, "ms"),
        default: "2000",
        doc: "How often publishers by WebRTC are asked for a random-access point, of which they send none by themselves: \
              how long a player may wait for a picture to begin with, and about how long segments of HLS are.",
    },
    Key {
        path: "webrtc.reference_b",
        kind: Kind::Choice(&["refuse", "keyframes"]),
        default: r#""refuse""#,
        doc: "What viewers get by WebRTC of a stream whose pictures refer to B pictures, which WebRTC cannot show \
              in time: nothing, so that they play it in another way, or the random-access points alone.",
    },
];

pub(super) const HTTPS: &[Key] = &[Key {
    path: "https.listen",
    kind: Kind::Addresses,
    default: "[]",
    doc: "TCP addresses to listen on for HTTPS, such as `[\"0.0.0.0:8443\"]`; an empty list turns it off. It needs \
              a certificate: see `[tls]`.",
}];

pub(super) const RTMPS: &[Key] = &[Key {
    path: "rtmps.listen",
    kind: Kind::Addresses,
    default: "[]",
    doc: "TCP addresses to listen on for RTMPS, such as `[\"0.0.0.0:1936\"]`; an empty list turns it off. It needs \
              a certificate: see `[tls]`.",
}];

pub(super) const TLS: &[Key] = &[
    Key {
        path: "tls.certificate",
        kind: Kind::Path,
        default: r#""""#,
        doc: "A PEM file with the certificate, followed by those that lead to its authority (`fullchain.pem`).",
    },
    Key {
        path: "tls.key",
        kind: Kind::Path,
        default: r#""""#,
        doc: "A PEM file with the certificate's key. Empty when it stands in the certificate's file.",
    },
    Key {
        path: "tls.more",
        kind: Kind::Certificates,
        default: "[]",
        doc: "Certificates for further names: `[{ certificate = \"b.pem\", key = \"b.key\" }]`. A client gets the first \
              that is for the name it asks for, or else that of `tls.certificate`.",
    },
    Key {
        path: "tls.self_signed",
        kind: Kind::Boolean,
        default: "false",
        doc: "Makes a certificate of our own at each start, to try things out without one: no client trusts it. Not \
              beside `tls.certificate`.",
    },
];

pub(super) const HLS: &[Key] = &[
    Key {
        path: "hls.enabled",
        kind: Kind::Boolean,
        default: "true",
        doc: "Whether streams can be played by HLS. A stream is segmented only while somebody watches.",
    },
    Key {
        path: "hls.segments",
        kind: Kind::Choice(&["auto", "fmp4", "ts"]),
        default: r#""auto""#,
        doc: "What segments are made of. `auto` takes fMP4 (CMAF), and MPEG-TS for MP3 beside H.264, which Apple's players \
              take in no other form; `ts` takes fMP4 for codecs that have no place in MPEG-TS.",
    },
    Key {
        path: "hls.target_s",
        kind: integer(1..=60, "s"),
        default: "4",
        doc: "The target duration: no segment is longer. It is filled with whole groups of pictures, so the encoder's keyframe \
              interval should divide it; a longer group is cut, and players wait to begin there.",
    },
    Key {
        path: "hls.part_ms",
        kind: limit(10_000),
        default: "500",
        doc: "How long the parts of Low-Latency HLS are, in milliseconds, rounded to whole frames. Players stay three parts behind: 200 \
              gives a second of latency and five requests a second of each viewer for playlists and as many for parts. 0 \
              turns parts off.",
    },
    Key {
        path: "hls.segments_kept",
        kind: integer(3..=10_000, ""),
        default: "10",
        doc: "How many segments a playlist names. As many again stay in memory for players that have an older one.",
    },
    Key {
        path: "hls.stream_bytes",
        kind: size(MEBIBYTE, "bytes"),
        default: r#""256MiB""#,
        doc: "How much memory the segments of one playlist may take; the oldest leave earlier when they would take more.",
    },
    Key {
        path: "hls.always",
        kind: Kind::Boolean,
        default: "false",
        doc: "Segments streams also while nobody watches, so that the first viewer need not wait for the first segment.",
    },
    Key {
        path: "hls.idle_s",
        kind: integer(5..=86_400, "s"),
        default: "60",
        doc: "How long a stream is segmented after anybody last asked for it.",
    },
    Key {
        path: "hls.sessions",
        kind: Kind::Boolean,
        default: "true",
        doc: "Counts viewers: the multivariant playlist names media playlists with a `session` for each viewer, who then is in the \
              API and the hooks. Media playlists, segments and parts are the same for all either way. Turn it off behind a CDN, \
              which sees the viewers itself; who may play is then asked at the multivariant playlist only.",
    },
    Key {
        path: "hls.encrypt",
        kind: Kind::Boolean,
        default: "false",
        doc: "Encrypts segments and parts with AES-128.",
    },
    Key {
        path: "hls.key_segments",
        kind: integer(1..=1_000_000, ""),
        default: "10",
        doc: "After how many segments another key is made.",
    },
    Key {
        path: "hls.directory",
        kind: Kind::Path,
        default: r#""""#,
        doc: "A folder in which segments and playlists are written too, as `live/cam.m3u8` and `live/cam/…`, for \
              another server of files. Streams are segmented also while nobody watches then. Files whose names begin with \
              `hls-` are deleted there when they leave the playlist. Empty for none.",
    },
];
