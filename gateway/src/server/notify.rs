//! What a service manager is told: ready, reloading, stopping, and that turns go on (`sd_notify(3)`, `Type=notify`).
//!
//! A datagram to the Unix socket that `NOTIFY_SOCKET` names. The watchdog's datagrams are sent by a coroutine, so they
//! come as long as the scheduler gets round to it: a thread that hangs, or a coroutine that never suspends, silences
//! them, and the service manager ends the process.

use nix::{
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket},
    time::{ClockId, clock_gettime},
};
use std::{
    env, io,
    os::fd::{AsRawFd, OwnedFd},
    process,
    rc::Rc,
    time::Duration,
};
use thalweg_runtime::{self as rt, JoinHandle};
use tracing::warn;

/// The way to the service manager, if there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Notify(Option<Rc<Target>>);

#[derive(Debug)]
struct Target {
    socket: OwnedFd,
    address: UnixAddr,
}

impl Notify {
    /// What the environment names.
    pub(super) fn from_environment() -> Self {
        let Some(path) = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Self(None);
        };
        match Target::new(path.as_encoded_bytes()) {
            Ok(target) => Self(Some(Rc::new(target))),
            Err(error) => {
                warn!(%error, "NOTIFY_SOCKET is of no use");
                Self(None)
            }
        }
    }

    /// All listeners are there.
    pub(super) fn ready(&self) {
        self.send("READY=1\nSTATUS=serving");
    }

    /// The configuration is being read again; `ready` says that this is over.
    pub(super) fn reloading(&self) {
        // A service of type notify-reload has to say when that was.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
        let now_us = now.map_or(0, |now| now.as_micros());
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now_us}"));
    }

    /// The end has begun, and takes at most so long.
    pub(super) fn stopping(&self, limit: Duration) {
        let limit_us = limit.saturating_add(Duration::from_secs(5)).as_micros();
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={limit_us}"));
    }

    /// Says again and again that turns go on, if the service manager wants to hear it.
    pub(super) fn start_watchdog(&self) -> io::Result<Option<JoinHandle<()>>> {
        let Some(interval) = interval().filter(|_| self.0.is_some()) else { return Ok(None) };
        let notify = self.clone();
        let watchdog = rt::Builder::new().name("watchdog").spawn(move || {
            while rt::sleep(interval / 2).is_ok() {
                notify.send("WATCHDOG=1");
            }
        })?;
        Ok(Some(watchdog))
    }

    fn send(&self, text: &str) {
        let Some(target) = &self.0 else { return };
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let sent = sendto(target.socket.as_raw_fd(), text.as_bytes(), &target.address, flags);
        if let Err(error) = sent {
            warn!(%error, text, "the service manager was not told");
        }
    }
}

impl Target {
    fn new(path: &[u8]) -> io::Result<Self> {
        let address = match path.split_first() {
            Some((b'@', name)) => UnixAddr::new_abstract(name)?,
            _ => UnixAddr::new(path)?,
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        Ok(Self { socket, address })
    }
}

/// How often the service manager wants to hear of us, if of this process.
fn interval() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(process::id()));
    let interval_us = number("WATCHDOG_USEC").filter(|&interval_us| interval_us > 0 && is_ours)?;
    Some(Duration::from_micros(interval_us))
}
