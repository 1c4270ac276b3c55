//! Direction inside the gateway: a room names only rooms that lie above it in the table, and no protocol
//! names another.

use super::source::{code_only, words};
use super::{File, Violation};

/// The folder whose rooms are layered.
const FOLDER: &str = "gateway/src/";

/// A file of the gateway names no room that its own may not know.
pub fn wrong_rooms(file: &File) -> Vec<Violation> {
    let Some(path) = file.path.strip_prefix(FOLDER) else { return Vec::new() };
    let room = path.split(['/', '.']).next().unwrap_or_default();
    if room == "lib" || room == "main" {
        return Vec::new();
    }
    let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == room) else {
        let rule = format!("{room} is not in MAY_NAME of tests/src/tidy/layers.rs");
        return vec![file.violation(1, rule)];
    };
    let code = code_only(&file.text);
    let named = names_after(&code, "crate::").into_iter();
    let wrong = named
        .filter(|(_, name)| {
            let is_room = MAY_NAME.iter().any(|(room, _)| room == name);
            is_room && *name != room && !allowed.contains(name)
        })
        .map(|(line, name)| file.violation(line, format!("{room} must not name {name}")));
    wrong.chain(foreign_protocols(file, path, &code)).collect()
}

/// A protocol's file names no other protocol.
fn foreign_protocols(file: &File, path: &str, code: &str) -> Vec<Violation> {
    let own = path.strip_prefix("protocol/").and_then(|path| path.split(['/', '.']).next());
    let Some(own) = own.filter(|own| PROTOCOLS.contains(own)) else { return Vec::new() };
    let named = names_after(code, "protocol::").into_iter();
    named
        .filter(|(_, name)| PROTOCOLS.contains(name) && *name != own)
        .map(|(line, name)| file.violation(line, format!("protocol {own} must not name {name}")))
        .collect()
}

/// The names directly behind `prefix`, also in braces, with their lines.
fn names_after<'a>(code: &'a str, prefix: &str) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let line = 1 + code[..at].matches('\n').count();
        let rest = &code[at + prefix.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(first_names(group).into_iter().map(|name| (line, name)));
        } else {
            found.extend(words(rest).next().map(|name| (line, name)));
        }
    }
    found
}

/// The first name of each item of a group, up to its closing brace.
fn first_names(group: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.extend(words(group[start..at].trim_start()).next());
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

/// The rooms of the gateway and which others each may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("key", &[]),
    ("secret", &[]),
    ("naming", &["key"]),
    ("disk", &[]),
    ("config", &["key", "secret", "naming"]),
    ("log", &["config", "secret"]),
    ("convert", &["config"]),
    ("cli", &["config", "convert"]),
    ("tls", &["secret"]),
    ("http", &["secret"]),
    ("media", &[]),
    ("container", &["media"]),
    ("audio", &["media"]),
    ("hooks", &["key", "secret", "http"]),
    ("auth", &["key", "secret", "hooks"]),
    ("hub", &["key", "secret", "media", "container", "auth"]),
    ("record", &["key", "secret", "naming", "disk", "http", "media", "container", "auth", "hub"]),
    ("protocol", &["key", "secret", "disk", "http", "media", "audio", "container", "auth", "hub"]),
    (
        "admin",
        &["key", "secret", "disk", "http", "media", "container", "auth", "hooks", "hub", "record"],
    ),
    (
        "server",
        &[
            "key",
            "secret",
            "naming",
            "disk",
            "config",
            "log",
            "tls",
            "http",
            "media",
            "container",
            "hooks",
            "auth",
            "hub",
            "record",
            "protocol",
            "admin",
        ],
    ),
];

/// The rooms of `protocol` that are one.
const PROTOCOLS: &[&str] = &["srt", "rtmp", "http_live", "hls", "webrtc", "udp"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::{assert_kept, assert_rejected};

    #[test]
    fn a_room_that_names_one_below_is_rejected() {
        let text = "//! x\nuse crate::{media, protocol::srt};\n";
        assert_rejected(&wrong_rooms(&File::new("gateway/src/hub/source.rs", text)), 2);
        let text = "//! x\nfn f() { crate::hub::f() }\n";
        assert_rejected(&wrong_rooms(&File::new("gateway/src/container/ts/mod.rs", text)), 2);
        assert_kept(&wrong_rooms(&File::new("gateway/src/admin/api.rs", text)));
        assert_kept(&wrong_rooms(&File::new("runtime/src/fd.rs", text)));
    }

    #[test]
    fn a_protocol_that_names_another_is_rejected() {
        let text = "//! x\nuse crate::{hub::X, protocol::{Session, rtmp::{A, B}}};\n";
        assert_kept(&wrong_rooms(&File::new("gateway/src/protocol/rtmp/session.rs", text)));
        assert_rejected(&wrong_rooms(&File::new("gateway/src/protocol/srt/session.rs", text)), 2);
    }

    #[test]
    fn a_new_room_has_to_be_placed() {
        assert_rejected(&wrong_rooms(&File::new("gateway/src/relay.rs", "//! x\n")), 1);
    }
}
