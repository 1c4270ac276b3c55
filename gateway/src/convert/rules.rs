//! What the directives outside of `vhost` mean here.

use super::draft::{Draft, quoted};
use super::syntax::Directive;
use super::vhost;

/// Directives that need nothing here, and why.
const NEEDLESS: &[(&str, &str)] = &[
    ("daemon", "the gateway stays in the foreground; systemd or a container keeps it"),
    ("pid", "systemd or the container knows the process"),
    ("work_dir", "paths are what they say, or relative to where it is started"),
    ("asprocess", "the gateway stays in the foreground"),
    ("chunk_size", "chunks are as large as the peer takes them"),
    ("utc_time", "the log is in UTC"),
    ("inotify_auto_reload", "SIGHUP reads the configuration again"),
    ("auto_reload_for_docker", "SIGHUP reads the configuration again"),
    ("force_grace_quit", "SIGTERM always ends in order, within timeouts.shutdown_ms"),
    ("grace_start_wait", "SIGTERM ends in order at once"),
    ("grace_final_wait", "timeouts.shutdown_ms is how long peers have"),
    ("tcmalloc_release_rate", "the allocator is another"),
    ("query_latest_version", "nobody is asked for versions"),
    ("first_wait_for_qlv", "nobody is asked for versions"),
    ("disable_daemon_for_docker", "the gateway stays in the foreground"),
    ("in_docker", "a container needs no setting"),
    ("threads", "everything runs on one thread"),
    ("ff_log_dir", "no ffmpeg is run"),
    ("ff_log_level", "no ffmpeg is run"),
    ("stats", "the API measures the whole machine"),
    ("server_id", "the API makes one at each start"),
    ("empty_ip_ok", "a balancer that closes at once is logged at debug only"),
    ("max_stream_alias", "there are no aliases"),
    ("is_full", "keys that are not set have defaults"),
];

/// Goes through a whole file.
pub(super) fn file(directives: &[Directive], draft: &mut Draft) {
    // In SRS these are off unless they are there.
    draft.set_list("srt.listen", &[] as &[&str], 0);
    draft.set_list("http.listen", &[] as &[&str], 0);
    draft.set_text("webrtc.listen", "", 0);
    let mut http = Http::default();
    let mut udp = Vec::new();
    for directive in directives {
        if !http.take(directive, draft) {
            global(directive, directives, &mut udp, draft);
        }
    }
    http.set(draft);
    if !udp.is_empty() {
        draft.set("udp", format!("[{}]", udp.join(", ")), 0);
    }
    vhost::all(directives, draft);
}

fn global(directive: &Directive, all: &[Directive], udp: &mut Vec<String>, draft: &mut Draft) {
    let (name, line) = (directive.name.as_str(), directive.line);
    match name {
        "listen" => listen("rtmp.listen", directive, draft),
        "rtmp" => {
            if let Some(inside) = directive.child("listen") {
                listen("rtmp.listen", inside, draft);
            }
        }
        "rtmps" if directive.is_enabled(false) => {
            if let Some(inside) = directive.child("listen") {
                listen("rtmps.listen", inside, draft);
            }
            certificate(directive, draft);
        }
        "max_connections" => number("limits.connections", directive, draft),
        "srs_log_file" => {
            let to_file = find(all, "srs_log_tank").is_none_or(|tank| tank.value() == "file");
            if to_file {
                draft.set_text("log.file", directive.value(), line);
            }
        }
        "srs_log_tank" | "srs_log_level_v1" => {}
        "srs_log_level" | "srs_log_level_v2" => match level(directive.value()) {
            Some(level) => draft.set_text("log.level", level, line),
            None => draft.missing(directive, "log.level is error, warn, info, debug or trace"),
        },
        "srt_server" if directive.is_enabled(false) => srt(directive, draft),
        "rtc_server" if directive.is_enabled(false) => rtc(directive, draft),
        "stream_caster" if directive.is_enabled(false) => udp.extend(caster(directive, draft)),
        "exporter" if directive.is_enabled(false) => {
            draft.missing(directive, "metrics are at /metrics of each http.listen");
        }
        "rtmps" | "srt_server" | "rtc_server" | "stream_caster" | "exporter" | "vhost" => {}
        "heartbeat" | "circuit_breaker" if !directive.is_enabled(name == "circuit_breaker") => {}
        "heartbeat" => draft.missing(directive, "let the service ask /api/v1/summaries instead"),
        "circuit_breaker" => draft.missing(directive, "`limits` bound what is let in"),
        "include" => draft.missing(directive, "convert that file too, and put both together"),
        _ => match NEEDLESS.iter().find(|(needless, _)| *needless == name) {
            Some((_, why)) => draft.note(line, format!("`{name}` is not needed: {why}")),
            None => draft.missing(directive, "it is not known here"),
        },
    }
}

/// `http_server` and `http_api`, which are one here.
#[derive(Default)]
struct Http {
    plain: Vec<String>,
    secure: Vec<String>,
    line: usize,
}

impl Http {
    fn take(&mut self, directive: &Directive, draft: &mut Draft) -> bool {
        let port = match directive.name.as_str() {
            "http_server" => "8080",
            "http_api" => "1985",
            _ => return false,
        };
        if !directive.is_enabled(false) {
            return true;
        }
        self.line = directive.line;
        for child in &directive.children {
            match child.name.as_str() {
                "enabled" | "listen" | "https" => {}
                "auth" => api_credentials(child, draft),
                "dir" => draft.missing(child, "files are not served; put a web server in front"),
                "crossdomain" => {
                    draft.note(child.line, "`crossdomain`: pages of other sites may always play; the API is for its own origin");
                }
                "raw_api" => {
                    draft.note(child.line, "`raw_api`: ?rpc=reload takes the API's credential");
                }
                _ => draft.missing(child, "it is not known here"),
            }
        }
        let of = |block: &Directive, port: &str| -> Vec<String> {
            let given = block.child("listen").map(|listen| listen.arguments.clone());
            given.unwrap_or_else(|| vec![port.to_owned()])
        };
        self.plain.extend(of(directive, port));
        if let Some(https) = directive.child("https").filter(|https| https.is_enabled(false)) {
            self.secure.extend(of(https, if port == "1985" { "1990" } else { "8088" }));
            certificate(https, draft);
        }
        true
    }

    fn set(&self, draft: &mut Draft) {
        for (path, ports) in [("http.listen", &self.plain), ("https.listen", &self.secure)] {
            let mut found: Vec<String> =
                ports.iter().flat_map(|port| addresses(port, self.line, draft)).collect();
            found.sort_unstable();
            found.dedup();
            if !found.is_empty() {
                draft.set_list(path, &found, self.line);
            }
        }
    }
}

fn api_credentials(auth: &Directive, draft: &mut Draft) {
    if !auth.is_enabled(false) {
        return;
    }
    for (name, path) in [("username", "api.user"), ("password", "api.password")] {
        if let Some(child) = auth.child(name) {
            draft.set_text(path, child.value(), child.line);
        }
    }
}

fn certificate(block: &Directive, draft: &mut Draft) {
    for (name, path) in [("cert", "tls.certificate"), ("key", "tls.key")] {
        if let Some(child) = block.child(name)
            && !draft.has(path)
        {
            draft.set_text(path, child.value(), child.line);
        }
    }
}

fn srt(block: &Directive, draft: &mut Draft) {
    let port = block.child("listen").map_or("10080", Directive::value);
    let found = addresses(port, block.line, draft);
    draft.set_list("srt.listen", &found, block.line);
    // Each direction has one there; ours is the least of both.
    let latencies = ["latency", "recvlatency", "peerlatency"];
    let latency = latencies.iter().filter_map(|name| block.child(name)).filter_map(|child| {
        child.value().parse::<u32>().ok().map(|latency_ms| (latency_ms, child.line))
    });
    if let Some((latency_ms, line)) = latency.max() {
        draft.set("srt.latency_ms", latency_ms.to_string(), line);
    }
    for child in &block.children {
        match child.name.as_str() {
            "passphrase" => draft.set_text("srt.passphrase", child.value(), child.line),
            "default_streamid" => match stream_of(child.value()) {
                Some(stream) => draft.set_text("srt.default_stream", &stream, child.line),
                None => draft.missing(child, "srt.default_stream is a name such as live/cam"),
            },
            "enabled" | "listen" | "latency" | "recvlatency" | "peerlatency" | "tlpktdrop"
            | "tlpkdrop" | "tsbpdmode" | "mix_correct" | "default_app" => {}
            "connect_timeout" | "peer_idle_timeout" => {
                draft.missing(
                    child,
                    "timeouts.publisher_ms and timeouts.player_ms hold for all protocols",
                );
            }
            "pbkeylen" => {
                draft.note(child.line, "`pbkeylen` is not needed: the peer that calls decides");
            }
            _ => draft.missing(child, "libsrt's own value holds"),
        }
    }
}

/// The stream in `#!::r=live/cam,…` or `#!::h=live/cam,…`.
fn stream_of(stream_id: &str) -> Option<String> {
    let pairs = stream_id.strip_prefix("#!::")?.split(',');
    let mut named =
        pairs.filter_map(|pair| pair.strip_prefix("r=").or_else(|| pair.strip_prefix("h=")));
    named.next_back().map(str::to_owned)
}

fn rtc(block: &Directive, draft: &mut Draft) {
    let port = block.child("listen").map_or("8000", Directive::value);
    // One socket takes both families there.
    let address = if port.contains(':') { port.to_owned() } else { format!("[::]:{port}") };
    draft.set_text("webrtc.listen", &address, block.line);
    for child in &block.children {
        match child.name.as_str() {
            "candidate" if child.value() == "*" => {}
            "candidate" => {
                let ips: Vec<&String> = child.arguments.iter().collect();
                if ips.iter().all(|ip| ip.parse::<std::net::IpAddr>().is_ok()) {
                    draft.set_list("webrtc.candidates", &ips, child.line);
                } else {
                    draft.missing(
                        child,
                        "webrtc.candidates are IP addresses; names and variables are not looked up",
                    );
                }
            }
            "tcp" if child.is_enabled(false) => {
                let port = child.child("listen").map_or("8000", Directive::value);
                let found = addresses(port, child.line, draft);
                draft.set_list("webrtc.tcp_listen", &found, child.line);
            }
            "enabled"
            | "listen"
            | "tcp"
            | "protocol"
            | "use_auto_detect_network_ip"
            | "ip_family"
            | "api_as_candidates"
            | "resolve_api_domain"
            | "keep_api_domain"
            | "ecdsa"
            | "encrypt"
            | "reuseport"
            | "merge_nalus"
            | "perf_stat"
            | "black_hole" => {}
            _ => draft.missing(child, "it is not known here"),
        }
    }
}

/// MPEG-TS over UDP; the other casters have no equivalent.
fn caster(block: &Directive, draft: &mut Draft) -> Option<String> {
    let kind = block.child("caster").map_or("", Directive::value);
    let port = block.child("listen").map_or("", Directive::value);
    let output = block.child("output").map_or("", Directive::value);
    let stream = output.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    match stream {
        Some((_, stream)) if kind == "mpegts_over_udp" && !stream.contains('[') => {
            let address =
                if port.contains(':') { port.to_owned() } else { format!("0.0.0.0:{port}") };
            Some(format!("{{ listen = {}, stream = {} }}", quoted(&address), quoted(stream)))
        }
        _ => {
            draft.missing(
                block,
                "only mpegts_over_udp with a fixed output becomes an input: `[[udp]]`",
            );
            None
        }
    }
}

fn listen(path: &'static str, directive: &Directive, draft: &mut Draft) {
    let found: Vec<String> = directive
        .arguments
        .iter()
        .flat_map(|port| addresses(port, directive.line, draft))
        .collect();
    draft.set_list(path, &found, directive.line);
}

/// A port on all addresses, or an address.
fn addresses(text: &str, line: usize, draft: &mut Draft) -> Vec<String> {
    if text.parse::<u16>().is_ok() {
        return vec![format!("0.0.0.0:{text}"), format!("[::]:{text}")];
    }
    if text.parse::<std::net::SocketAddr>().is_ok() {
        return vec![text.to_owned()];
    }
    draft.note(line, format!("`{text}` is neither a port nor an address with a port"));
    Vec::new()
}

/// A directive whose value is a number here, too.
pub(super) fn number(path: &'static str, directive: &Directive, draft: &mut Draft) {
    match directive.value().parse::<u32>() {
        Ok(number) => draft.set(path, number.to_string(), directive.line),
        Err(_) => draft.missing(directive, "its value is no number"),
    }
}

fn level(word: &str) -> Option<&'static str> {
    Some(match word {
        "verbose" => "trace",
        "info" | "debug" => "debug",
        "trace" => "info",
        "warn" => "warn",
        "error" => "error",
        _ => return None,
    })
}

fn find<'d>(all: &'d [Directive], name: &str) -> Option<&'d Directive> {
    all.iter().rev().find(|directive| directive.name == name)
}
