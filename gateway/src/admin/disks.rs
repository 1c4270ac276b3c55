//! The disks that are written to, as the API and the metrics tell of them: from what was last seen of them, without asking
//! them, since one that hangs would not answer.

use std::io;

use serde::Serialize;
use serde_json::json;

use super::Admin;
use crate::disk::Disk;
use crate::http::Exchange;

#[derive(Serialize)]
struct DiskInfo {
    /// The key of the configuration that names the folder.
    name: &'static str,
    folder: String,
    /// `working`, `failing` or `stalled`.
    state: &'static str,
    stalled_s: Option<f64>,
    /// Of the last write, when that failed.
    error: Option<String>,
    failures: u64,
    /// As last measured; `null` until it is used.
    free_bytes: Option<u64>,
    total_bytes: Option<u64>,
}

pub(super) fn list(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let disks: Vec<_> = admin.disks().iter().map(DiskInfo::of).collect();
    admin.answer(exchange, json!({ "disks": disks }))
}

impl DiskInfo {
    fn of(disk: &Disk) -> Self {
        let health = disk.health();
        Self {
            name: disk.name(),
            folder: disk.root().display().to_string(),
            state: match (&health.stalled, &health.error) {
                (Some(_), _) => "stalled",
                (None, Some(_)) => "failing",
                (None, None) => "working",
            },
            stalled_s: health.stalled.map(|since| since.as_secs_f64()),
            error: health.error,
            failures: health.failures,
            free_bytes: health.space.map(|space| space.free),
            total_bytes: health.space.map(|space| space.total),
        }
    }
}
