//! The fence: `unsafe` stands only in the rooms that `ARCHITECTURE.md` marks with a star.

use super::source::{code_only, header, words};
use super::{File, Violation};

/// `unsafe` stands only in the rooms that are starred, and such a file says so at its top.
pub fn wrong_unsafe(file: &File, rooms: &[(usize, String)]) -> Vec<Violation> {
    let code = code_only(&file.text);
    let mut lines = (1..).zip(code.lines());
    let Some((number, _)) = lines.find(|(_, line)| words(line).any(|word| word == "unsafe")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if !rooms.iter().any(|(_, room)| is_in_room(&file.path, room)) {
        found.push(
            file.violation(number, "`unsafe` outside the rooms that ARCHITECTURE.md marks ✱"),
        );
    }
    let header = header(&file.text);
    if !header.replace(char::is_whitespace, "").contains("#![expect(unsafe_code,") {
        found.push(
            file.violation(
                1,
                "holds `unsafe`, lacks #![expect(unsafe_code, reason = …)] at its top",
            ),
        );
    }
    if !header.lines().any(|line| line == "//! # Safety") {
        found
            .push(file.violation(1, "holds `unsafe`, lacks a `//! # Safety` paragraph at its top"));
    }
    found
}

/// Every starred room of the architecture document is there.
pub fn missing_rooms(architecture: &File, files: &[File]) -> Vec<Violation> {
    starred_rooms(&architecture.text)
        .into_iter()
        .filter(|(_, room)| {
            !files.iter().any(|file| file.is_rust() && is_in_room(&file.path, room))
        })
        .map(|(number, room)| architecture.violation(number, format!("there is no room {room}")))
        .collect()
}

/// The starred rooms of the code map with their lines. Under a heading like ``### `runtime/src` `` every
/// name in backticks that a star follows is one: ``| `fd`✱ | … `` makes `runtime/src/fd`.
pub fn starred_rooms(architecture: &str) -> Vec<(usize, String)> {
    let mut folder = "";
    let mut rooms = Vec::new();
    for (number, line) in (1..).zip(architecture.lines()) {
        let parts: Vec<&str> = line.split('`').collect();
        if line.starts_with('#') {
            folder = parts.get(1).copied().unwrap_or_default();
        } else if !folder.is_empty() {
            let starred =
                parts.windows(2).skip(1).step_by(2).filter(|pair| pair[1].starts_with('✱'));
            rooms.extend(starred.map(|pair| (number, format!("{folder}/{}", pair[0]))));
        }
    }
    rooms
}

/// Whether `path` is the room's file, or a file in its folder.
fn is_in_room(path: &str, room: &str) -> bool {
    path.strip_prefix(room).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::{assert_kept, assert_rejected};

    #[test]
    fn unsafe_elsewhere_is_rejected() {
        let architecture =
            File::new("ARCHITECTURE.md", "### `r/src`\n| `fd`✱ | a |\n| `net` | b |\n");
        let rooms = starred_rooms(&architecture.text);
        let header = "//! A.\n//!\n//! # Safety\n#![expect(unsafe_code, reason = \"b\")]\n";
        let fenced = format!("{header}unsafe {{}}\n");
        assert_kept(&wrong_unsafe(&File::new("r/src/fd.rs", &fenced), &rooms));
        assert_kept(&wrong_unsafe(&File::new("r/src/fd/raw.rs", &fenced), &rooms));
        assert_rejected(&wrong_unsafe(&File::new("r/src/net.rs", &fenced), &rooms), 5);
        let without_paragraph = fenced.replace("# Safety", "Safety");
        assert_rejected(&wrong_unsafe(&File::new("r/src/fd.rs", &without_paragraph), &rooms), 1);
        let without_expect = fenced.replace("#![expect", "#![allow");
        assert_rejected(&wrong_unsafe(&File::new("r/src/fd.rs", &without_expect), &rooms), 1);
        assert_rejected(&missing_rooms(&architecture, &[File::new("r/src/fdx.rs", "")]), 2);
    }
}
