//! The keys that a configuration may have: one table, from which come the defaults, the checks, the names of
//! environment variables, `thalweg config` and `docs/configuration.md`.

use std::ops::RangeInclusive;

use super::value::Kind;

/// One key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Section and name: `srt.latency_ms`. A list of tables has no section: `udp`.
    pub path: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// The value that is in force when nobody sets it, as TOML.
    pub default: &'static str,
    /// What it does, in a sentence or two.
    pub doc: &'static str,
}

impl Key {
    /// The key of that path.
    #[must_use]
    pub fn find(path: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.path == path)
    }

    /// The section, empty for a key that is one itself.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(section, _)| section)
    }

    /// The name within the section.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("THALWEG_{}", self.path.replace('.', "_").to_uppercase())
    }
}

/// A section, and what it is about.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its name in the file.
    pub name: &'static str,
    /// What it is about, in a sentence.
    pub doc: &'static str,
}

/// All sections, in the order in which they are shown.
pub const SECTIONS: &[Section] = &[
    Section { name: "srt", doc: "SRT, to publish and to play." },
    Section { name: "rtmp", doc: "RTMP, to publish and to play." },
    Section { name: "http", doc: "HTTP: players, API and metrics, on the same addresses." },
    Section { name: "api", doc: "Who may use the API, the metrics and the details of the page." },
    Section { name: "webrtc", doc: "WebRTC, to watch in a browser and to publish from one." },
    Section { name: "https", doc: "HTTPS: what `[http]` serves, encrypted." },
    Section { name: "rtmps", doc: "RTMPS: what `[rtmp]` serves, encrypted." },
    Section {
        name: "tls",
        doc: "Certificates for `https` and `rtmps`. Their files are read again when they change, and at SIGHUP.",
    },
    Section { name: "hls", doc: "HLS and Low-Latency HLS: `/live/cam.m3u8`; see docs/hls.md." },
    Section { name: "play", doc: "What players get." },
    Section { name: "publish", doc: "Who publishes, and what happens when they go." },
    Section { name: "record", doc: "Streams into files; see recording.md." },
    Section { name: "hub", doc: "What is kept of each stream in memory." },
    Section {
        name: "limits",
        doc: "What is refused when there is too much of it; each protocol says so in its own words.",
    },
    Section {
        name: "overload",
        doc: "Marks above which less is done, step by step: at first nobody new may play, then pictures that no other \
              needs are left out, at last nobody new may publish and players are ended, the latest first.",
    },
    Section { name: "timeouts", doc: "How long peers may keep the gateway waiting." },
    Section {
        name: "hooks",
        doc: "Web hooks: HTTP servers that are asked who may connect, publish and play, and told what happens; see \
              [hooks.md](hooks.md).",
    },
    Section { name: "log", doc: "What is logged, how and where." },
];

const MEBIBYTE: u64 = 1 << 20;

/// All keys, section by section.
pub const KEYS: &[Key] = &[
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
              in a container. They are used with the port of `webrtc.listen`.",
    },
    Key {
        path: "webrtc.reference_b",
        kind: Kind::Choice(&["refuse", "keyframes"]),
        default: r#""refuse""#,
        doc: "What viewers get by WebRTC of a stream whose pictures refer to B pictures, which WebRTC cannot show \
              in time: nothing, so that they play it in another way, or the random-access points alone.",
    },
    Key {
        path: "https.listen",
        kind: Kind::Addresses,
        default: "[]",
        doc: "TCP addresses to listen on for HTTPS, such as `[\"0.0.0.0:8443\"]`; an empty list turns it off. It needs \
              a certificate: see `[tls]`.",
    },
    Key {
        path: "rtmps.listen",
        kind: Kind::Addresses,
        default: "[]",
        doc: "TCP addresses to listen on for RTMPS, such as `[\"0.0.0.0:1936\"]`; an empty list turns it off. It needs \
              a certificate: see `[tls]`.",
    },
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
              which sees the viewers itself.",
    },
    Key {
        path: "hls.encrypt",
        kind: Kind::Boolean,
        default: "false",
        doc: "Encrypts segments with AES-128. There are no parts then.",
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
    Key {
        path: "udp",
        kind: Kind::Inputs,
        default: "[]",
        doc: "MPEG-TS over UDP without SRT: what arrives at the address becomes the named stream.",
    },
    Key {
        path: "access",
        kind: Kind::Access,
        default: "[]",
        doc: "Who may publish and play. Of the rules whose `streams` fit and that have a table for what is wanted, \
              `publish` or `play`, the first decides; where there is none, everybody may. docs/security.md tells \
              how credentials are shown in each protocol.",
    },
];

const fn integer(range: RangeInclusive<u32>, unit: &'static str) -> Kind {
    Kind::Integer { min: *range.start(), max: *range.end(), unit, zero_is_none: false }
}

const fn limit(max: u32) -> Kind {
    Kind::Integer { min: 0, max, unit: "", zero_is_none: true }
}

/// Of bytes or bits; with a least value of 0 that means none.
const fn size(min: u64, unit: &'static str) -> Kind {
    Kind::Size { min, unit, zero_is_none: min == 0 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_key_is_of_a_section_and_unique() {
        let sections: Vec<&str> = SECTIONS.iter().map(|section| section.name).collect();
        let mut seen = BTreeSet::new();
        for key in KEYS {
            assert!(key.section().is_empty() || sections.contains(&key.section()), "{}", key.path);
            assert!(seen.insert(key.path), "{} is there twice", key.path);
            assert!(seen.insert(key.variable().leak()), "{} is ambiguous", key.variable());
            assert!(key.doc.ends_with('.'), "{}: the documentation is a sentence", key.path);
        }
        for section in SECTIONS {
            assert!(
                KEYS.iter().any(|key| key.section() == section.name),
                "{} is empty",
                section.name
            );
        }
    }
}
