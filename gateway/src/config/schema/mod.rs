//! The keys that a configuration may have: tables, from which come the defaults, the checks, the names of environment
//! variables, `thalweg config` and `docs/configuration.md`.

mod hooks;
mod operation;
mod protocols;
mod streams;

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
        keys().find(|key| key.path == path)
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
    /// Its keys, in the order in which they are shown.
    pub keys: &'static [Key],
}

/// All sections, in the order in which they are shown.
pub const SECTIONS: &[Section] = &[
    Section { name: "srt", doc: "SRT, to publish and to play.", keys: protocols::SRT },
    Section { name: "rtmp", doc: "RTMP, to publish and to play.", keys: protocols::RTMP },
    Section {
        name: "http",
        doc: "HTTP: players, API and metrics, on the same addresses.",
        keys: protocols::HTTP,
    },
    Section {
        name: "api",
        doc: "Who may use the API, the metrics and the details of the page.",
        keys: operation::API,
    },
    Section {
        name: "webrtc",
        doc: "WebRTC, to watch in a browser and to publish from one.",
        keys: protocols::WEBRTC,
    },
    Section {
        name: "https",
        doc: "HTTPS: what `[http]` serves, encrypted.",
        keys: protocols::HTTPS,
    },
    Section {
        name: "rtmps",
        doc: "RTMPS: what `[rtmp]` serves, encrypted.",
        keys: protocols::RTMPS,
    },
    Section {
        name: "tls",
        doc: "Certificates for `https` and `rtmps`. Their files are read again when they change, and at SIGHUP.",
        keys: protocols::TLS,
    },
    Section {
        name: "hls",
        doc: "HLS and Low-Latency HLS: `/live/cam.m3u8`; see docs/hls.md.",
        keys: protocols::HLS,
    },
    Section { name: "play", doc: "What players get.", keys: streams::PLAY },
    Section {
        name: "publish",
        doc: "Who publishes, and what happens when they go.",
        keys: streams::PUBLISH,
    },
    Section { name: "record", doc: "Streams into files; see recording.md.", keys: streams::RECORD },
    Section { name: "hub", doc: "What is kept of each stream in memory.", keys: streams::HUB },
    Section {
        name: "limits",
        doc: "What is refused when there is too much of it; each protocol says so in its own words.",
        keys: operation::LIMITS,
    },
    Section {
        name: "overload",
        doc: "Marks above which less is done, step by step: at first nobody new may play, then pictures that no other \
              needs are left out, at last nobody new may publish and players are ended, the latest first.",
        keys: operation::OVERLOAD,
    },
    Section {
        name: "timeouts",
        doc: "How long peers may keep the gateway waiting.",
        keys: operation::TIMEOUTS,
    },
    Section {
        name: "hooks",
        doc: "Web hooks: HTTP servers that are asked who may connect, publish and play, and told what happens; see \
              [hooks.md](hooks.md).",
        keys: hooks::HOOKS,
    },
    Section { name: "log", doc: "What is logged, how and where.", keys: operation::LOG },
];

/// Lists of tables, which are in no section.
pub const LISTS: &[Key] = &[
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

/// All keys, section by section.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys).chain(LISTS)
}

const MEBIBYTE: u64 = 1 << 20;

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
        for key in keys() {
            assert!(key.section().is_empty() || sections.contains(&key.section()), "{}", key.path);
            assert!(seen.insert(key.path), "{} is there twice", key.path);
            assert!(seen.insert(key.variable().leak()), "{} is ambiguous", key.variable());
            assert!(key.doc.ends_with('.'), "{}: the documentation is a sentence", key.path);
        }
        for section in SECTIONS {
            let is_its_own = |key: &Key| key.section() == section.name;
            assert!(section.keys.iter().all(is_its_own), "{} has another's keys", section.name);
            assert!(!section.keys.is_empty(), "{} is empty", section.name);
        }
    }
}
