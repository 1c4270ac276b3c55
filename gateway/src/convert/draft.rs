//! A configuration of ours in the making: keys with their values, and what could not be brought along.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Note;
use super::syntax::Directive;
use crate::config::schema::{Key, SECTIONS};

/// What there is so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Value and line by the path of the key.
    keys: BTreeMap<&'static str, Setting>,
    notes: Vec<Note>,
}

#[derive(Debug)]
struct Setting {
    /// As TOML.
    value: String,
    /// Where it comes from; 0 for SRS's defaults.
    line: usize,
}

impl Draft {
    /// Sets a key to a value in TOML. One that this build does not have is told as missing.
    pub(super) fn set(&mut self, path: &'static str, value: String, line: usize) {
        if Key::find(path).is_none() {
            self.note(line, format!("there is no `{path}` in this version"));
            return;
        }
        self.keys.insert(path, Setting { value, line });
    }

    /// As [`Draft::set`] with a text, which is quoted.
    pub(super) fn set_text(&mut self, path: &'static str, text: &str, line: usize) {
        self.set(path, quoted(text), line);
    }

    /// As [`Draft::set`] with texts, which are quoted.
    pub(super) fn set_list<T: AsRef<str>>(&mut self, path: &'static str, texts: &[T], line: usize) {
        let texts: Vec<String> = texts.iter().map(|text| quoted(text.as_ref())).collect();
        self.set(path, format!("[{}]", texts.join(", ")), line);
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.keys.contains_key(path)
    }

    pub(super) fn note(&mut self, line: usize, text: impl Into<String>) {
        self.notes.push(Note { line, text: text.into() });
    }

    /// A directive that has no equivalent, and what to do instead.
    pub(super) fn missing(&mut self, directive: &Directive, instead: &str) {
        let name = &directive.name;
        self.note(directive.line, format!("`{name}` has no equivalent: {instead}"));
    }

    /// The file.
    pub(super) fn toml(&self) -> String {
        let mut text = String::from("# Made by `thalweg convert` of a configuration of SRS.\n");
        let write = |text: &mut String, path: &str, setting: &Setting| {
            let name = path.split_once('.').map_or(path, |(_, name)| name);
            writeln!(text, "{name} = {}", setting.value).expect("a text takes everything");
        };
        for (path, setting) in self.keys.iter().filter(|(path, _)| !path.contains('.')) {
            write(&mut text, path, setting);
        }
        for section in SECTIONS {
            let inside =
                |path: &str| path.split_once('.').is_some_and(|(name, _)| name == section.name);
            let mut keys = self.keys.iter().filter(|(path, _)| inside(path)).peekable();
            if keys.peek().is_some() {
                writeln!(text, "\n[{}]", section.name).expect("a text takes everything");
            }
            keys.for_each(|(path, setting)| write(&mut text, path, setting));
        }
        text
    }

    /// Leaves out the key on this line of [`Draft::toml`], since the gateway would not take it. Without one, all keys go.
    pub(super) fn drop_line(&mut self, line: usize, what: &str) {
        let text = self.toml();
        let mut section = "";
        let mut wanted = None;
        for line in text.lines().take(line) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
            }
            wanted = line.split_once(" = ").map(|(name, _)| match section {
                "" => name.to_owned(),
                section => format!("{section}.{name}"),
            });
        }
        let key = wanted.and_then(|path| self.keys.keys().copied().find(|&key| key == path));
        match key.and_then(|key| self.keys.remove(key)) {
            Some(setting) => self.note(setting.line, format!("left out: {what}")),
            None => {
                self.keys.clear();
                self.note(0, format!("nothing could be converted: {what}"));
            }
        }
    }

    pub(super) fn into_notes(mut self) -> Vec<Note> {
        self.notes.sort_by_key(|note| note.line);
        self.notes
    }
}

/// A text as TOML has it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string().replace('\n', " ")
}
