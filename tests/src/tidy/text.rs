//! What every file opens with, and what no text may hold.

use super::{File, Violation};

/// A Rust file opens with `//!`.
pub fn missing_opening(file: &File) -> Vec<Violation> {
    let opens = file.text.starts_with("//! ");
    if opens { Vec::new() } else { vec![file.violation(1, "the file does not open with `//!`")] }
}

/// No text names a place that exists on one machine only.
pub fn machine_paths(file: &File) -> Vec<Violation> {
    let is_machine_path = |line: &str| {
        MACHINE_FOLDERS.iter().any(|folder| {
            line.match_indices(&format!("/{folder}/")).any(|(at, _)| {
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~/})".contains(c))
            })
        })
    };
    let lines = file.lines().filter(|(_, line)| is_machine_path(line));
    lines.map(|(number, _)| file.violation(number, "an absolute path of one machine")).collect()
}

/// No text names a package registry's host; Cargo.lock has to.
pub fn registry_hosts(file: &File) -> Vec<Violation> {
    if file.path.ends_with("Cargo.lock") {
        return Vec::new();
    }
    let names_one = |line: &str| REGISTRIES.iter().any(|labels| line.contains(&labels.join(".")));
    let lines = file.lines().filter(|(_, line)| names_one(line));
    lines.map(|(number, _)| file.violation(number, "the host name of a package registry")).collect()
}

/// A relative link in a Markdown document leads to something for which `exists` holds.
pub fn broken_links(file: &File, exists: impl Fn(&str) -> bool) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in file.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect();
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let definition = prose.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        for link in inline.chain(definition.map(|(_, target)| target)) {
            let target = link.split('#').next().unwrap_or_default();
            let leads_out =
                link.contains("://") || link.starts_with("mailto:") || target.is_empty();
            if !leads_out && !beside(&file.path, target).is_some_and(|path| exists(&path)) {
                found.push(file.violation(number, format!("the link {link} leads nowhere")));
            }
        }
    }
    found
}

/// The path of `target` as seen from the folder of `path`; none when it leaves the repository.
fn beside(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Top folders whose absolute paths exist on one machine only.
const MACHINE_FOLDERS: &[&str] = &["home", "root", "Users", "work"];

/// Package registries, label by label so that this file keeps its own rule.
const REGISTRIES: &[&[&str]] = &[
    &["crates", "io"],
    &["pypi", "org"],
    &["pythonhosted", "org"],
    &["npmjs", "org"],
    &["npmjs", "com"],
    &["deb", "debian", "org"],
    &["proxy", "golang", "org"],
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::{assert_kept, assert_rejected};

    #[test]
    fn a_file_without_a_story_is_rejected() {
        assert_rejected(&missing_opening(&File::new("a.rs", "use a;\n//! B.\n")), 1);
    }

    #[test]
    fn a_machine_path_and_a_registry_are_rejected() {
        let path =
            File::new("a.md", &format!("/etc/x is fine, a/home/b too.\nSee (/{}/b).\n", "home"));
        assert_rejected(&machine_paths(&path), 2);
        let host = REGISTRIES[0].join(".");
        assert_rejected(&registry_hosts(&File::new("a.md", &format!("b\nhttps://{host}/c\n"))), 2);
        assert_kept(&registry_hosts(&File::new("Cargo.lock", &host)));
    }

    #[test]
    fn a_broken_link_is_rejected() {
        let exists = |path: &str| path == "docs/b.md";
        let good = "[b](b.md#c) [w](https://w.example) [c](#c) `[x](x)`\n```\n[y](y)\n```\n[b]: ../docs/b.md\n";
        assert_kept(&broken_links(&File::new("docs/a.md", good), exists));
        assert_rejected(
            &broken_links(&File::new("docs/a.md", "\n[b](b.md) [c](c.md)\n"), exists),
            2,
        );
        assert_rejected(&broken_links(&File::new("docs/a.md", "[up](../../b.md)\n"), exists), 1);
        assert_rejected(&broken_links(&File::new("docs/a.md", "[d]: d.md\n"), exists), 1);
    }
}
