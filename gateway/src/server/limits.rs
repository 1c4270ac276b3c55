//! What the system and the configuration allow.

use super::Gateway;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{fs, io, rc::Rc, time::Duration};
use thalweg_runtime::{self as rt, JoinHandle, blocking};
use tracing::{info, warn};

/// With fewer descriptors than this a gateway is small.
const FILES_WANTED: u64 = 4_096;

/// A limit of the configuration; none is as much as can be counted.
pub(super) fn most(limit: Option<u32>) -> usize {
    limit.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

/// Raises the number of descriptors as far as the system lets a process do itself, and says how far that is.
pub(super) fn raise() {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => return warn!(%error, "RLIMIT_NOFILE cannot be read"),
    };
    let now = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            warn!(%error, soft, hard, "RLIMIT_NOFILE cannot be raised");
            soft
        }
    };
    info!(files = now, "RLIMIT_NOFILE");
    if now < FILES_WANTED {
        warn!(files = now, "few connections fit; raise the hard limit: ulimit -Hn, LimitNOFILE=");
    }
}

/// How often it is looked how much memory there is in use, where that has a limit.
const MEMORY_LOOK: Duration = Duration::from_millis(500);

/// Keeps an eye on `limits.memory`, if it is set: while it is exceeded no connection is accepted.
pub(super) fn watch_memory(gateway: &Rc<Gateway>) -> io::Result<Option<JoinHandle<()>>> {
    let Some(limit) = gateway.config.limits.memory_bytes else { return Ok(None) };
    let clients = gateway.clients.clone();
    let watch = move || -> io::Result<()> {
        loop {
            let used = blocking::run(resident_bytes)?;
            let (is_short, was_short) = (used > limit, clients.is_memory_short());
            if is_short && !was_short {
                warn!(used, limit, "memory is short: no connection is accepted");
            } else if was_short && !is_short {
                info!(used, limit, "memory is there again");
            }
            clients.set_memory_short(is_short);
            rt::sleep(MEMORY_LOOK)?;
        }
    };
    let watch = rt::Builder::new().name("memory").spawn(move || {
        // It is cancelled when the gateway ends; without a thread to look there is nothing to limit by.
        if let Err(error) = watch()
            && !rt::is_cancelled(&error)
        {
            warn!(%error, "limits.memory is not watched any more");
        }
    })?;
    Ok(Some(watch))
}

/// Memory of the process that is in use (`VmRSS` of proc(5)); 0 when the system does not tell.
#[expect(
    clippy::disallowed_methods,
    reason = "procfs answers from memory, on a thread that may wait"
)]
pub(super) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
