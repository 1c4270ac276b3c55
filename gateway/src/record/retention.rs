//! How long files are kept: until they are too old, or all of them too large together.
//!
//! Only what the library knows is removed, and nothing that is being written. The oldest go first.

use super::library::{Library, LibraryError, RecordingId, now_ms};
use crate::hub::{EventKind, Events};
use std::{cell::Cell, collections::BTreeSet, io, time::Duration};
use thalweg_runtime::{self as rt, WaitError};
use tracing::{info, warn};

/// Clocks of days may be set; so it is looked at least this often.
const LOOK: Duration = Duration::from_secs(3_600);

/// How long a folder is left alone that cannot be used.
const PAUSE: Duration = Duration::from_secs(60);

/// Removes what is to be removed, until it is cancelled.
pub(super) fn keep(
    library: &Library,
    keep: Option<Duration>,
    max_bytes: Option<u64>,
    events: &Events,
) -> io::Result<()> {
    if keep.is_none() && max_bytes.is_none() {
        return Ok(());
    }
    // Those that the disk would not remove: left alone for a while.
    let mut left = BTreeSet::new();
    let mut next_look = rt::now() + LOOK;
    loop {
        if rt::now() >= next_look {
            left.clear();
            next_look = rt::now() + LOOK;
        }
        if let Err(error) = library.open(&Cell::new(None)) {
            if rt::is_cancelled(&error) {
                return Err(error);
            }
            rt::sleep(PAUSE)?;
            continue;
        }
        remove_due(library, keep, max_bytes, events, &mut left)?;
        let next = keep.and_then(|keep| library.next_expiry_ms(keep, |id| !left.contains(id)));
        let wait = next.map_or(LOOK, |at| {
            Duration::from_millis(u64::try_from(at - now_ms()).unwrap_or(0) + 1)
        });
        let until = (rt::now() + wait.min(LOOK)).min(next_look);
        loop {
            match library.wait_changed(until) {
                Ok(()) if max_bytes.is_some_and(|most| library.bytes() > most) => break,
                // A file that ended may be due before all others when its stream stood still.
                Ok(()) => {}
                Err(WaitError::TimedOut(_)) if rt::now() >= until => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn remove_due(
    library: &Library,
    keep: Option<Duration>,
    max_bytes: Option<u64>,
    events: &Events,
    left: &mut BTreeSet<RecordingId>,
) -> io::Result<()> {
    let keep_ms = keep.map(|keep| i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
    loop {
        let is_full = max_bytes.is_some_and(|most| library.bytes() > most);
        let now = now_ms();
        let due = library.oldest(|entry| {
            let is_old = keep_ms.is_some_and(|keep| entry.ended_ms().saturating_add(keep) <= now);
            (is_full || is_old) && !left.contains(&entry.id)
        });
        let Some(entry) = due else { return Ok(()) };
        match library.delete(&entry.id.to_string()) {
            Ok(entry) => {
                library.count_totals(|totals| totals.expired += 1);
                let why = if is_full { "there are too many bytes" } else { "it is too old" };
                let detail = format_args!("{}: {why}", entry.file);
                events.note_stream(EventKind::RecordingDeleted, &entry.stream, detail);
                info!(file = entry.file, bytes = entry.bytes(), is_full, "recording removed");
            }
            Err(LibraryError::Disk(error)) if rt::is_cancelled(&error) => return Err(error),
            Err(error) => {
                warn!(file = entry.file, %error, "the recording cannot be removed");
                left.insert(entry.id.clone());
            }
        }
    }
}
