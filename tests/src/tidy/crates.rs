//! Direction: a package depends on and names only packages that lie below it.

use super::source::{code_only, words};
use super::{File, Violation};

/// A manifest names no package of the workspace that its own package may not know.
pub fn wrong_dependencies(manifest: &File) -> Vec<Violation> {
    let Some(package) = package_name(manifest) else {
        let is_nameless = manifest.text.contains("[package]");
        let violation =
            is_nameless.then(|| manifest.violation(1, "the package's name is not found"));
        return Vec::from_iter(violation);
    };
    let Some(allowed) = may_know(package) else {
        return vec![
            manifest
                .violation(1, format!("{package} is not in MAY_KNOW of tests/src/tidy/crates.rs")),
        ];
    };
    let mut section_is_dependencies = false;
    let mut found = Vec::new();
    for (number, line) in manifest.lines() {
        let line = line.split('#').next().unwrap_or_default();
        if line.starts_with('[') {
            section_is_dependencies = line.contains("dependencies");
        }
        if section_is_dependencies {
            let named = line.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_');
            found.extend(
                named
                    .filter(|name| {
                        may_know(name).is_some() && *name != package && !allowed.contains(name)
                    })
                    .map(|name| {
                        manifest.violation(number, format!("{package} must not depend on {name}"))
                    }),
            );
        }
    }
    found
}

/// The sources of `package` name no crate that it may not know, not even in a renamed dependency.
pub fn wrong_names(file: &File, package: &str) -> Vec<Violation> {
    let allowed = may_know(package).unwrap_or_default();
    let forbidden = |word: &str| {
        MAY_KNOW.iter().any(|(name, _)| {
            *name != package && !allowed.contains(name) && name.replace('-', "_") == word
        })
    };
    let code = code_only(&file.text);
    (1..)
        .zip(code.lines())
        .flat_map(|(number, line)| words(line).map(move |word| (number, word)))
        .filter(|(_, word)| forbidden(word))
        .map(|(number, word)| file.violation(number, format!("{package} must not name {word}")))
        .collect()
}

/// The name in a manifest's `[package]` section; a virtual workspace has none.
pub fn package_name(manifest: &File) -> Option<&str> {
    let section = manifest.text.split("[package]").nth(1)?;
    let value_of_name = |line| {
        let (key, value): (&str, &str) = str::split_once(line, '=')?;
        (key.trim() == "name").then_some(value)
    };
    section.lines().find_map(value_of_name)?.split('"').nth(1)
}

fn may_know(package: &str) -> Option<&'static [&'static str]> {
    MAY_KNOW.iter().find(|(name, _)| *name == package).map(|(_, allowed)| *allowed)
}

/// The packages of the workspace and which others each may name. Direction is down only.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("thalweg-runtime", &[]),
    ("libsrt-sys", &[]),
    ("thalweg-badlink", &[]),
    ("thalweg-srt-io", &["thalweg-runtime", "libsrt-sys", "thalweg-badlink"]),
    ("thalweg-gateway", &["thalweg-runtime", "thalweg-srt-io"]),
    ("thalweg-tests", &["thalweg-runtime", "thalweg-srt-io", "thalweg-gateway", "thalweg-badlink"]),
    ("thalweg-fuzz", &["thalweg-runtime", "thalweg-srt-io", "thalweg-gateway"]),
    (
        "thalweg-benches",
        &["thalweg-runtime", "thalweg-srt-io", "thalweg-gateway", "thalweg-badlink", "libsrt-sys"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::{assert_kept, assert_rejected};

    #[test]
    fn an_upward_dependency_is_rejected() {
        let head = "[package]\nname = \"thalweg-runtime\"\n[dev-dependencies]\n";
        let plain = File::new("Cargo.toml", &format!("{head}thalweg-srt-io.workspace = true\n"));
        assert_rejected(&wrong_dependencies(&plain), 4);
        let renamed = format!("{head}hub = {{ package = \"thalweg-gateway\", path = \"../g\" }}\n");
        assert_rejected(&wrong_dependencies(&File::new("Cargo.toml", &renamed)), 4);
        let unknown = File::new("Cargo.toml", "[package]\nname=\"thalweg-new\"\n");
        assert_rejected(&wrong_dependencies(&unknown), 1);
    }

    #[test]
    fn an_upward_name_is_rejected() {
        let source = File::new(
            "a.rs",
            "//! thalweg_gateway may be named here.\nuse thalweg_gateway::hub;\n",
        );
        assert_rejected(&wrong_names(&source, "thalweg-runtime"), 2);
        assert_kept(&wrong_names(&source, "thalweg-tests"));
    }
}
