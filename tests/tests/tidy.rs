//! The repository keeps the rules of `thalweg_tests::tidy`.
//!
//! A broken rule is printed as `path:line: rule`.

use std::fs;
use std::path::Path;

use thalweg_tests::tidy::{File, Violation, crates, fence, layers, text};

#[test]
fn dependencies_point_down() {
    let files = repository();
    assert_none(
        files
            .iter()
            .filter(|file| file.path.ends_with("Cargo.toml"))
            .flat_map(crates::wrong_dependencies),
    );
}

#[test]
fn sources_name_only_what_lies_below() {
    let files = repository();
    let packages: Vec<(&str, &str)> = files
        .iter()
        .filter_map(|file| {
            Some((file.path.strip_suffix("Cargo.toml")?, crates::package_name(file)?))
        })
        .collect();
    let owner = |file: &File| {
        let above = packages.iter().filter(|(folder, _)| file.path.starts_with(folder));
        above.max_by_key(|(folder, _)| folder.len()).map(|(_, package)| *package)
    };
    let sources = files.iter().filter(|file| file.is_rust());
    assert_none(sources.flat_map(|file| {
        owner(file).map_or_else(Vec::new, |package| crates::wrong_names(file, package))
    }));
}

#[test]
fn rooms_of_the_gateway_name_only_those_above() {
    assert_none(repository().iter().filter(|file| file.is_rust()).flat_map(layers::wrong_rooms));
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let files = repository();
    let architecture =
        files.iter().find(|file| file.path == "ARCHITECTURE.md").expect("it is checked in");
    let rooms = fence::starred_rooms(&architecture.text);
    assert!(!rooms.is_empty(), "ARCHITECTURE.md stars no room: has the code map another form?");
    let sources = files.iter().filter(|file| file.is_rust());
    let wrong = sources.flat_map(|file| fence::wrong_unsafe(file, &rooms));
    assert_none(wrong.chain(fence::missing_rooms(architecture, &files)));
}

#[test]
fn rust_files_open_with_their_story() {
    assert_none(repository().iter().filter(|file| file.is_rust()).flat_map(text::missing_opening));
}

#[test]
fn no_text_names_one_machine_or_a_registry() {
    let files = repository();
    let paths = files.iter().flat_map(text::machine_paths);
    let hosts = files.iter().flat_map(text::registry_hosts);
    assert_none(paths.chain(hosts));
}

#[test]
fn links_of_documents_lead_somewhere() {
    let files = repository();
    let documents = files.iter().filter(|file| file.path.ends_with(".md"));
    assert_none(
        documents.flat_map(|file| text::broken_links(file, |path| root().join(path).exists())),
    );
}

/// Fails with one line a violation.
fn assert_none(violations: impl IntoIterator<Item = Violation>) {
    let lines: Vec<String> = violations.into_iter().map(|v| v.to_string()).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

/// Every text file of the repository, build products aside.
fn repository() -> Vec<File> {
    let root = root();
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder just listed can be read") {
            let path = entry.expect("a folder just opened can be read").path();
            let name = path.strip_prefix(root).expect("the walk stays below the root");
            let name = name.to_str().expect("file names are UTF-8");
            if name == ".git" {
                // A folder, or in a worktree a file that says where the folder is.
                continue;
            }
            if path.is_dir() {
                let is_built = path.join("CACHEDIR.TAG").exists();
                if name != "target" && !is_built {
                    folders.push(path);
                }
            } else {
                let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
                // What is not UTF-8 is a picture or a recording.
                files.extend(String::from_utf8(bytes).map(|text| File::new(name, &text)));
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package is a folder of the workspace")
}
