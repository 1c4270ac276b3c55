//! What the directives of a `vhost` mean here, where keys hold for all hosts.

use super::access;
use super::draft::Draft;
use super::rules::number;
use super::syntax::Directive;

/// The host that stands for all others.
const DEFAULT: &str = "__defaultVhost__";

/// Blocks that need nothing here, and why.
const NEEDLESS: &[(&str, &str)] = &[
    ("enabled", "every host is served"),
    ("chunk_size", "chunks are as large as the peer takes them"),
    ("in_ack_size", "peers are asked for acknowledgements as they need it"),
    ("out_ack_size", "peers are asked for acknowledgements as they need it"),
    ("tcp_nodelay", "nothing waits in a socket"),
    ("min_latency", "it is always so; play.merge_window_ms is what is held back"),
    ("srt", "what comes by SRT is played by every protocol"),
    ("rtc", "what comes by one protocol is played by WebRTC, and the other way round"),
    ("rtmp", "what comes by one protocol is played by RTMP"),
    ("mw_latency", "play.merge_window_ms is what is held back"),
];

/// Blocks without equivalent, and what to do instead.
const MISSING: &[(&str, &str)] = &[
    ("forward", "let the other server pull, or run ffmpeg beside the gateway"),
    ("transcode", "run ffmpeg beside the gateway"),
    ("ingest", "run ffmpeg beside the gateway"),
    ("exec", "a program of your own can act on hooks.on_publish"),
    ("cluster", "put a balancer in front, or pull with ffmpeg"),
    ("dash", "players take HLS"),
    ("hds", "players take HLS"),
    ("bandcheck", "iperf3 measures bandwidth"),
    (
        "refer",
        "a `Referer` is what its sender likes; sign addresses instead: `signed` in docs/security.md",
    ),
];

/// Goes through the hosts of a file. The default one's settings are taken, or those of the only one there is.
pub(super) fn all(directives: &[Directive], draft: &mut Draft) {
    let hosts: Vec<&Directive> = directives.iter().filter(|one| one.name == "vhost").collect();
    let default = hosts.iter().rev().find(|host| host.value() == DEFAULT).or_else(|| hosts.last());
    let Some(taken) = default else {
        off(draft);
        return;
    };
    for host in &hosts {
        if !std::ptr::eq(*host, *taken) {
            let (name, of) = (host.value(), taken.value());
            draft.note(host.line, format!("vhost `{name}`: keys hold for all hosts, and those of `{of}` were taken; `access` rules can tell streams apart"));
        } else if host.value() != DEFAULT {
            draft.note(
                host.line,
                format!("vhost `{}`: its settings hold for all hosts here", host.value()),
            );
        }
    }
    off(draft);
    for directive in &taken.children {
        block(directive, draft);
    }
}

/// HLS is off in SRS unless it is there.
fn off(draft: &mut Draft) {
    if crate::config::schema::Key::find("hls.enabled").is_some() {
        draft.set("hls.enabled", "false".into(), 0);
    }
}

fn block(directive: &Directive, draft: &mut Draft) {
    let name = directive.name.as_str();
    match name {
        "hls" => hls(directive, draft),
        "dvr" => dvr(directive, draft),
        "http_hooks" => hooks(directive, draft),
        "http_remux" => remux(directive, draft),
        "play" => play(directive, draft),
        "publish" => publish(directive, draft),
        "security" => access::security(directive, draft),
        _ => {
            let needless = NEEDLESS.iter().find(|(one, _)| *one == name);
            let missing = MISSING.iter().find(|(one, _)| *one == name);
            match (needless, missing) {
                (Some((_, why)), _) => {
                    draft.note(directive.line, format!("`{name}` is not needed: {why}"));
                }
                // Most have an `enabled` that is off; transcode and ingest have a name besides.
                (_, Some(_)) if !directive.is_enabled(directive.children.is_empty()) => {}
                (_, Some((_, instead))) => draft.missing(directive, instead),
                _ => draft.missing(directive, "it is not known here"),
            }
        }
    }
}

fn hls(block: &Directive, draft: &mut Draft) {
    let is_on = block.is_enabled(false);
    draft.set("hls.enabled", is_on.to_string(), block.line);
    if !is_on {
        return;
    }
    let seconds = |name: &str, or: f64| {
        let given = block.child(name).and_then(|child| child.value().parse::<f64>().ok());
        given.filter(|seconds| (0.1..100_000.0).contains(seconds)).unwrap_or(or)
    };
    let (fragment, window) = (seconds("hls_fragment", 10.0), seconds("hls_window", 60.0));
    draft.set("hls.target_s", format!("{:.0}", fragment.ceil().clamp(1.0, 60.0)), block.line);
    let kept = (window / fragment).ceil().clamp(3.0, 10_000.0);
    draft.set("hls.segments_kept", format!("{kept:.0}"), block.line);
    for child in &block.children {
        match child.name.as_str() {
            "enabled" | "hls_fragment" | "hls_window" | "hls_td_ratio" | "hls_aof_ratio"
            | "hls_cleanup" | "hls_wait_keyframe" | "hls_nb_notify" | "hls_dts_directly"
            | "hls_on_error" | "hls_acodec" | "hls_vcodec" => {}
            "hls_use_fmp4" => {
                let segments = if child.is_on() { "fmp4" } else { "ts" };
                draft.set_text("hls.segments", segments, child.line);
            }
            "hls_keys" => draft.set("hls.encrypt", child.is_on().to_string(), child.line),
            "hls_fragments_per_key" => number("hls.key_segments", child, draft),
            "hls_ctx" => draft.set("hls.sessions", child.is_on().to_string(), child.line),
            "hls_dispose" => number("hls.idle_s", child, draft),
            "hls_path" | "hls_m3u8_file" | "hls_ts_file" | "hls_ts_floor" | "hls_mount"
            | "hls_entry_prefix" | "hls_storage" | "hls_init_file" | "hls_fmp4_file"
            | "hls_key_file" | "hls_key_file_path" | "hls_key_url" | "hls_ts_ctx"
            | "hls_recover" => {
                draft.missing(child, "segments are in memory, at /app/stream.m3u8");
            }
            _ => draft.missing(child, "it is not known here"),
        }
    }
}

fn dvr(block: &Directive, draft: &mut Draft) {
    if !block.is_enabled(false) {
        return;
    }
    let path = block.child("dvr_path");
    let given = path.map_or("./objs/nginx/html/[app]/[stream].[timestamp].flv", Directive::value);
    // What comes before the first variable is the folder.
    let begin = given.find('[').unwrap_or(given.len());
    let cut = given.get(..begin).and_then(|fixed| fixed.rfind('/')).map_or(0, |slash| slash + 1);
    let (folder, rest) = given.split_at_checked(cut).unwrap_or(("", given));
    let line = path.map_or(block.line, |path| path.line);
    draft.set_text("record.dir", if folder.is_empty() { "." } else { folder }, line);
    let (name, extension) = rest.rsplit_once('.').unwrap_or((rest, "flv"));
    let mut name = name.to_owned();
    for (theirs, ours) in [
        ("[vhost]", "{vhost}"),
        ("[app]", "{app}"),
        ("[stream]", "{stream}"),
        ("[2006]", "%Y"),
        ("[01]", "%m"),
        ("[02]", "%d"),
        ("[15]", "%H"),
        ("[04]", "%M"),
        ("[05]", "%S"),
        ("[999]", "%3f"),
        ("[timestamp]", "%s"),
    ] {
        name = name.replace(theirs, ours);
    }
    draft.set_text("record.path", &format!("{name}.{{ext}}"), line);
    draft.set_text("record.format", if extension == "mp4" { "mp4" } else { "flv" }, line);
    let mut streams = vec!["**".to_owned()];
    for child in &block.children {
        match child.name.as_str() {
            "dvr_apply" if child.value() != "all" => streams.clone_from(&child.arguments),
            "dvr_plan" if ["session", "segment"].contains(&child.value()) => {
                draft.set_text("record.plan", child.value(), child.line);
            }
            "dvr_duration" => number("record.segment_s", child, draft),
            "enabled" | "dvr_path" | "dvr_apply" | "dvr_wait_keyframe" | "time_jitter" => {}
            _ => draft.missing(child, "it is not known here"),
        }
    }
    draft.set_list("record.streams", &streams, block.line);
}

fn hooks(block: &Directive, draft: &mut Draft) {
    if !block.is_enabled(false) {
        return;
    }
    for child in &block.children {
        let path = match child.name.as_str() {
            "on_connect" => "hooks.on_connect",
            "on_close" => "hooks.on_close",
            "on_publish" => "hooks.on_publish",
            "on_unpublish" => "hooks.on_unpublish",
            "on_play" => "hooks.on_play",
            "on_stop" => "hooks.on_stop",
            "on_hls" => "hooks.on_hls",
            "on_dvr" => "hooks.on_dvr",
            "enabled" => continue,
            _ => {
                draft.missing(child, "nobody is called for that");
                continue;
            }
        };
        draft.set_list(path, &child.arguments, child.line);
    }
}

fn remux(block: &Directive, draft: &mut Draft) {
    let mount = block.child("mount");
    let usual = ["[vhost]/[app]/[stream].flv", "[vhost]/[app]/[stream].ts"];
    match mount {
        Some(mount) if block.is_enabled(false) && !usual.contains(&mount.value()) => {
            draft.missing(mount, "streams are at /app/stream.flv, .ts and .mp4");
        }
        _ => {}
    }
}

fn play(block: &Directive, draft: &mut Draft) {
    for child in &block.children {
        match child.name.as_str() {
            "gop_cache" => {
                draft.set("play.gop_cache", (child.value() != "off").to_string(), child.line);
            }
            "mw_latency" => number("play.merge_window_ms", child, draft),
            "queue_length" => number("hub.ring_s", child, draft),
            "mw_msgs"
            | "tcp_nodelay"
            | "mix_correct"
            | "time_jitter"
            | "send_min_interval"
            | "reduce_sequence_header"
            | "gop_cache_max_frames" => {}
            "atc" | "atc_auto" if !child.is_on() => {}
            _ => draft.missing(child, "times always begin where the player begins"),
        }
    }
}

fn publish(block: &Directive, draft: &mut Draft) {
    for child in &block.children {
        match child.name.as_str() {
            "normal_timeout" => number("timeouts.publisher_ms", child, draft),
            "firstpkt_timeout" => {
                draft.note(
                    child.line,
                    "`firstpkt_timeout`: timeouts.publisher_ms holds from the first packet on",
                );
            }
            "mr" | "mr_latency" | "parse_sps" | "try_annexb_first" => {}
            _ => {
                draft.missing(child, "timeouts.publisher_ms is how long a publisher may be silent");
            }
        }
    }
}
