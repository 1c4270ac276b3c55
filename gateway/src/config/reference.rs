//! The configuration as text: the commented defaults, what is in force, and the page of the documentation. All of it
//! comes from the table of keys.

use std::fmt::Write;

use super::InForce;
use super::access;
use super::schema::{Key, LISTS, SECTIONS};
use super::value::Kind;

/// The defaults as a TOML file with a comment at each key: the lowest layer of every configuration, and a good start
/// for one's own.
#[must_use]
pub fn toml() -> String {
    let mut text = String::new();
    for key in LISTS {
        comment(&mut text, key);
        push(&mut text, format_args!("{} = {}\n\n", key.name(), key.default));
    }
    for section in SECTIONS {
        push(&mut text, format_args!("# {}\n[{}]\n", section.doc, section.name));
        for key in section.keys {
            comment(&mut text, key);
            push(&mut text, format_args!("{} = {}\n", key.name(), key.default));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// What is in force, as TOML, with its origin at each key that is not the default's.
#[must_use]
pub fn in_force(values: &[InForce]) -> String {
    let mut text = String::new();
    let mut section = "";
    // TOML wants what is in no section first.
    let (inside, outside): (Vec<_>, Vec<_>) =
        values.iter().partition(|v| !v.key.section().is_empty());
    for value in outside.into_iter().chain(inside) {
        if value.key.section() != section {
            section = value.key.section();
            push(&mut text, format_args!("\n[{section}]\n"));
        }
        push(&mut text, format_args!("{} = {}", value.key.name(), value.value));
        match value.origin {
            super::Origin::Default => text.push('\n'),
            ref origin => push(&mut text, format_args!("  # {origin}\n")),
        }
    }
    text
}

/// `docs/configuration.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(INTRODUCTION);
    for section in SECTIONS {
        push(&mut text, format_args!("\n## `[{}]`\n\n{}\n", section.name, section.doc));
        for key in section.keys {
            entry(&mut text, key);
        }
    }
    for key in LISTS {
        push(&mut text, format_args!("\n## `[[{}]]`\n", key.name()));
        entry(&mut text, key);
        if key.kind == Kind::Access {
            access::describe_keys(&mut text);
        }
    }
    text
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Written by `THALWEG_BLESS=1 cargo test -p thalweg-gateway --lib config`; a test compares it with the keys that
there are. -->

Thalweg needs no configuration: every key has a default. What differs is set, from weak to strong,

1. in a TOML file: `thalweg serve --config gateway.toml`,
2. by environment variables: `THALWEG_SRT_LATENCY_MS=20`,
3. on the command line: `--set srt.latency_ms=20`, as often as needed.

A value is TOML in all three, so a list is `--set 'srt.listen=[\"127.0.0.1:10080\"]'`. In variables and behind `--set`,
texts that are no addresses need no quotes: `--set log.level=debug`.

`thalweg check gateway.toml` says what is wrong with a file and where. `thalweg config` prints what is in force, and where
each value comes from; `thalweg config --defaults` prints a commented file to start from.
";

fn entry(text: &mut String, key: &Key) {
    push(text, format_args!("\n### `{}`\n\n{}\n\n", key.path, key.doc));
    push(text, format_args!("* value: {}\n", key.kind));
    push(text, format_args!("* default: `{}`\n", key.default));
    push(text, format_args!("* variable: `{}`\n", key.variable()));
}

fn comment(text: &mut String, key: &Key) {
    wrap(text, key.doc);
    wrap(text, &format!("Value: {}.", key.kind));
}

/// Appends `doc` as comment lines of at most 100 columns.
fn wrap(text: &mut String, doc: &str) {
    let mut width = usize::MAX;
    for word in doc.split_whitespace() {
        let len = word.chars().count() + 1;
        if width.saturating_add(len) > 100 {
            if width != usize::MAX {
                text.push('\n');
            }
            text.push('#');
            width = 1;
        }
        push(text, format_args!(" {word}"));
        width += len;
    }
    text.push('\n');
}

fn push(text: &mut String, args: std::fmt::Arguments<'_>) {
    text.write_fmt(args).expect("a text in memory takes everything");
}
