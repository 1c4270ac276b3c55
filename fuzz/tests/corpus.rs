//! Every committed seed passes its target, in an ordinary build, and every target has seeds.

use std::{
    fs, panic,
    path::{Path, PathBuf},
};
use thalweg_fuzz::{LEN_MAX, TARGETS};

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Names of what is in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("names are UTF-8");
    let mut names: Vec<String> =
        entries.map(|entry| name(entry.expect("a folder just opened can be read"))).collect();
    names.sort();
    names
}

/// If the process is aborted, an allocation was refused; `thalweg-fuzz TARGET FILE…` tells at which seed.
#[test]
fn every_seed_passes() {
    for target in TARGETS {
        let folder = corpus().join(target.name);
        for name in names(&folder) {
            let seed = fs::read(folder.join(&name)).unwrap();
            let passed = panic::catch_unwind(|| target.check(&seed));
            assert!(passed.is_ok(), "{}/{name}", target.name);
        }
    }
}

#[test]
fn every_target_has_its_seeds_and_every_seed_its_target() {
    let targets: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names(&corpus()), targets);
}

#[test]
fn seeds_are_small() {
    let folders = TARGETS.iter().map(|target| corpus().join(target.name));
    let seeds =
        folders.flat_map(|folder| names(&folder).into_iter().map(move |name| folder.join(name)));
    let lens: Vec<usize> = seeds.map(|seed| fs::metadata(seed).unwrap().len() as usize).collect();
    assert!(lens.iter().all(|&len| len <= LEN_MAX));
    assert!(lens.iter().sum::<usize>() <= 300 << 10);
}
