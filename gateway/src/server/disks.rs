//! The folders that the configuration names, and what is noted when their disks fail.

use crate::{
    config::Config,
    disk::{Change, Disk},
    hub::{EventKind, Events},
};
use std::{path::Path, rc::Rc};

/// What is written to.
#[derive(Clone, Debug)]
pub(super) struct Disks {
    pub(super) record: Option<Disk>,
    pub(super) hls: Option<Disk>,
}

impl Disks {
    pub(super) fn new(config: &Config, events: &Events) -> Self {
        let disk = |name, dir: &Path| {
            let events = events.clone();
            // Hooks and logs tell whole paths, wherever the process was started.
            let root = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
            Disk::new(name, root, Rc::new(move |disk, change| note(&events, disk, change)))
        };
        Self {
            record: config.record.dir.as_deref().map(|dir| disk("record.dir", dir)),
            hls: config.hls.directory.as_deref().map(|dir| disk("hls.directory", dir)),
        }
    }

    /// All that there are.
    pub(super) fn list(&self) -> Vec<Disk> {
        [&self.record, &self.hls].into_iter().flatten().cloned().collect()
    }
}

fn note(events: &Events, disk: &Disk, change: Change<'_>) {
    let (name, root) = (disk.name(), disk.root().display());
    match change {
        Change::Failed(why) => {
            events.note(EventKind::DiskFailed, format_args!("{name} {root}: {why}"));
        }
        Change::Works => events.note(EventKind::DiskWorks, format_args!("{name} {root}")),
    }
}
