//! Notes: what is known of a file, beside it in the folder `.thalweg`, as one small JSON file for each.
//!
//! A note is made with its file, renewed as the file grows, and removed with it. One that says `recording` when no gateway
//! runs tells of a process that was killed.

use super::{Format, library::State};
use crate::key::StreamKey;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};

/// The folder of notes. No template can name it: parts of paths do not begin with dots.
pub(super) const FOLDER: &str = ".thalweg";

/// The version of the format below.
const VERSION: u32 = 1;

/// A note as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    version: u32,
    pub(super) file: String,
    vhost: String,
    app: String,
    name: String,
    format: String,
    pub(super) began_ms: i64,
    pub(super) duration_ms: u64,
    pub(super) bytes: u64,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Where the note of this id is, below the folder of recordings.
pub(super) fn path(id: &str) -> String {
    format!("{FOLDER}/{id}.json")
}

impl Note {
    pub(super) fn new(stream: &StreamKey, file: &str, format: Format, began_ms: i64) -> Self {
        Self {
            version: VERSION,
            file: file.into(),
            vhost: stream.vhost().into(),
            app: stream.app().into(),
            name: stream.name().into(),
            format: format.extension().into(),
            began_ms,
            duration_ms: 0,
            bytes: 0,
            state: State::Recording.name().into(),
            error: None,
        }
    }

    /// The note in these bytes. `None` when it is none of ours: of another version, broken, or of a file elsewhere.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let note: Self = serde_json::from_slice(bytes).ok()?;
        let is_below = Path::new(&note.file)
            .components()
            .all(|part| matches!(part, Component::Normal(part) if !part.as_encoded_bytes().starts_with(b".")));
        let is_known =
            note.version == VERSION && note.format().is_some() && note.stream().is_some();
        (is_known && is_below && !note.file.is_empty()).then_some(note)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn stream(&self) -> Option<StreamKey> {
        let key = StreamKey::new(&self.app, &self.name).and_then(|key| key.on_vhost(&self.vhost));
        key.ok()
    }

    pub(super) fn format(&self) -> Option<Format> {
        self.format.parse().ok()
    }

    /// What became of the file. One that was being recorded when the note was left was interrupted.
    pub(super) fn state(&self) -> State {
        match (self.state.as_str(), &self.error) {
            ("finished", _) => State::Finished,
            ("failed", Some(error)) => State::Failed(error.clone()),
            _ => State::Interrupted,
        }
    }

    pub(super) fn set_state(&mut self, state: &State) {
        self.state = state.name().into();
        self.error = match state {
            State::Failed(error) => Some(error.clone()),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(file: &str) -> Note {
        let stream = "live/cam".parse::<StreamKey>().unwrap().on_vhost("example.com").unwrap();
        Note::new(&stream, file, Format::Ts, 1_000)
    }

    #[test]
    fn a_note_tells_what_was_noted() {
        let mut note = note("live/cam/x.ts");
        note.set_state(&State::Failed("the disk is full".into()));
        let read = Note::parse(&note.encode()).unwrap();
        assert_eq!(read, note);
        assert_eq!(read.stream().unwrap().to_string(), "live/cam@example.com");
        assert_eq!(read.state(), State::Failed("the disk is full".into()));
    }

    #[test]
    fn a_note_that_was_left_tells_of_an_interruption() {
        assert_eq!(Note::parse(&note("x.ts").encode()).unwrap().state(), State::Interrupted);
    }

    #[test]
    fn a_note_of_a_file_elsewhere_is_none_of_ours() {
        for file in ["", "../x.ts", "/etc/passwd", "a/../../x", ".thalweg/x.json", "a/.ssh/x"] {
            assert_eq!(Note::parse(&note(file).encode()), None, "{file}");
        }
        assert_eq!(Note::parse(b"{}"), None);
        assert_eq!(Note::parse(b"[[[["), None);
    }
}
