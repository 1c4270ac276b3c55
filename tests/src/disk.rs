//! Disks of a test's own, which it can fill, freeze and make read-only.
//!
//! They are mounted for the thread that makes them, the threads that it starts and the programs that these start, and for
//! nobody else: in a mount namespace of its own.

use crate::gateway::{run, test_file};
use nix::sched::{CloneFlags, unshare};
use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A mounted disk. Dropping it thaws it and takes it away.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    is_frozen: Cell<bool>,
}

impl Disk {
    /// A disk in memory, mounted with these options: `size=400k`.
    ///
    /// # Panics
    ///
    /// When it cannot be mounted.
    #[must_use]
    pub fn in_memory(options: &str) -> Self {
        let disk = Self::new();
        let (_, _) = run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", disk.text()], PATIENCE);
        disk
    }

    /// A disk with ext4 of 64 MB, in a file, which can be frozen.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    #[must_use]
    pub fn ext4() -> Self {
        let disk = Self::new();
        let image = test_file("img");
        let file = fs::File::create(&image).expect("the folder of test files can be written");
        file.set_len(64 << 20).expect("there is room for what is not there");
        let image = image.to_str().expect("the path is text");
        let (_, _) = run("mkfs.ext4", &["-q", image], PATIENCE);
        let (_, _) = run("mount", &["-o", "loop", image, disk.text()], PATIENCE);
        disk
    }

    fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNS).expect("this test mounts disks: run it as root");
        let (_, _) = run("mount", &["--make-rprivate", "/"], PATIENCE);
        let path = test_file("disk");
        fs::create_dir_all(&path).expect("the folder of test files can be written");
        Self { path, is_frozen: Cell::new(false) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Mounts it again with other options: `size=20m`, `rw`.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn remount(&self, options: &str) {
        let (_, _) = run("mount", &["-o", &format!("remount,{options}"), self.text()], PATIENCE);
    }

    /// From now on whoever writes hangs in the kernel, and no signal ends that.
    ///
    /// # Panics
    ///
    /// When it is none that can be frozen.
    pub fn freeze(&self) {
        let (_, _) = run("fsfreeze", &["--freeze", self.text()], PATIENCE);
        self.is_frozen.set(true);
    }

    /// Writes go on.
    ///
    /// # Panics
    ///
    /// When it was not frozen.
    pub fn thaw(&self) {
        self.is_frozen.set(false);
        let (_, _) = run("fsfreeze", &["--unfreeze", self.text()], PATIENCE);
    }

    fn text(&self) -> &str {
        self.path.to_str().expect("the path is text")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_frozen.get() {
            self.thaw();
        }
        let (_, _) = run("umount", &["--lazy", self.text()], PATIENCE);
    }
}
