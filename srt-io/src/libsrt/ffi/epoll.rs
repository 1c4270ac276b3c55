//! An event set of libsrt.
//!
//! # Safety
//!
//! `srt_epoll_uwait` writes to at most as many entries as it is told there are. Version 1.5.1 may *return*
//! one more than that (fixed by upstream's 74973970), so what it returns is clamped, and it is told of one entry less than
//! there is.
#![expect(unsafe_code, reason = "lends the list of events to libsrt")]

use std::time::Duration;

use libsrt_sys as sys;

use super::{Result, check, length};

/// An event set, released with this value.
#[derive(Debug)]
pub(crate) struct Epoll {
    id: libc::c_int,
}

/// What happened to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its number.
    pub(crate) socket: sys::SRTSOCKET,
    /// What it became.
    pub(crate) flags: Flags,
}

/// A set of readiness flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(libc::c_int);

impl Flags {
    /// What a listener is watched for. libsrt also sets OUT on one after each handshake, which means nothing.
    pub(crate) const LISTENER: Self = Self::of(sys::SRT_EPOLL_IN | sys::SRT_EPOLL_ERR);
    /// What a socket that sends and receives is watched for.
    pub(crate) const SOCKET: Self =
        Self::of(sys::SRT_EPOLL_IN | sys::SRT_EPOLL_OUT | sys::SRT_EPOLL_ERR);

    const fn of(flags: sys::SRT_EPOLL_OPT) -> Self {
        Self(flags.cast_signed())
    }

    const fn has(self, flag: sys::SRT_EPOLL_OPT) -> bool {
        self.0.cast_unsigned() & flag != 0
    }

    /// There is something to receive or to accept.
    pub(crate) const fn is_readable(self) -> bool {
        self.has(sys::SRT_EPOLL_IN)
    }

    /// There is room to send, or the socket is connected.
    pub(crate) const fn is_writable(self) -> bool {
        self.has(sys::SRT_EPOLL_OUT)
    }

    /// The connection broke or could not be made.
    pub(crate) const fn is_error(self) -> bool {
        self.has(sys::SRT_EPOLL_ERR)
    }
}

impl Epoll {
    /// An empty set, in which one may wait although it is empty.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: takes nothing.
        let id = check(unsafe { sys::srt_epoll_create() })?;
        let epoll = Self { id };
        // Without the flag a wait on an empty set fails at once, for ever.
        let flags = sys::SRT_EPOLL_ENABLE_EMPTY.cast_signed();
        // SAFETY: takes numbers.
        check(unsafe { sys::srt_epoll_set(id, flags) })?;
        Ok(epoll)
    }

    /// Has changes to what `flags` name reported once each.
    pub(crate) fn add(&self, socket: sys::SRTSOCKET, flags: Flags) -> Result<()> {
        let flags = flags.0 | sys::SRT_EPOLL_ET.cast_signed();
        // SAFETY: `flags` lives for the call.
        check(unsafe { sys::srt_epoll_add_usock(self.id, socket, &raw const flags) }).map(drop)
    }

    /// Blocks the thread until something happens or `limit` passes; whole ticks of 10 ms. Fails when
    /// the set is released meanwhile.
    ///
    /// One thread of a process may do so: waiters take each other's wake-ups, which are those of one
    /// condition variable, given to one.
    pub(crate) fn wait<'a>(
        &self,
        room: &'a mut EventRoom,
        limit: Duration,
    ) -> Result<impl Iterator<Item = Event> + use<'a>> {
        let limit_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let told = room.entries.len() - 1;
        let entries = room.entries.as_mut_ptr();
        // SAFETY: `entries` points to more entries than are told of.
        let ready =
            check(unsafe { sys::srt_epoll_uwait(self.id, entries, length(told), limit_ms) })?;
        let ready = usize::try_from(ready).unwrap_or(0).min(told);
        let event =
            |entry: &sys::SRT_EPOLL_EVENT| Event { socket: entry.fd, flags: Flags(entry.events) };
        Ok(room.entries.iter().take(ready).map(event))
    }

    /// Ends the set; whoever waits on it returns within 10 ms.
    pub(crate) fn release(&self) {
        // SAFETY: takes a number. Fails, without effect, on a set that was released.
        let _released_before = unsafe { sys::srt_epoll_release(self.id) };
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        self.release();
    }
}

/// Where events are reported.
#[derive(Debug)]
pub(crate) struct EventRoom {
    entries: Vec<sys::SRT_EPOLL_EVENT>,
}

impl EventRoom {
    /// Room for `events` at once; more come with the next wait.
    pub(crate) fn new(events: usize) -> Self {
        Self {
            entries: vec![
                sys::SRT_EPOLL_EVENT { fd: sys::SRT_INVALID_SOCK, events: 0 };
                events + 1
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::libsrt::ffi::{RawSocket, startup};

    #[test]
    fn more_events_than_there_is_room_for_come_with_the_next_wait() {
        startup().unwrap();
        let epoll = Epoll::new().unwrap();
        let listener = RawSocket::new().unwrap();
        listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        listener.listen(16).unwrap();
        let address = listener.local_addr().unwrap();
        let callers: Vec<_> = (0..6).map(|_| RawSocket::new().unwrap()).collect();
        for caller in &callers {
            epoll.add(caller.id(), Flags::SOCKET).unwrap();
            caller.connect(address).unwrap();
        }
        let mut room = EventRoom::new(2);
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            let events: Vec<_> =
                epoll.wait(&mut room, Duration::from_millis(20)).unwrap().collect();
            assert!(events.len() <= 2, "{events:?}");
            seen.extend(
                events.iter().filter(|event| event.flags.is_writable()).map(|event| event.socket),
            );
            if seen.len() == callers.len() {
                break;
            }
        }
        assert_eq!(seen, callers.iter().map(RawSocket::id).collect());
    }

    #[test]
    fn an_empty_set_is_waited_for_until_it_is_released() {
        startup().unwrap();
        let epoll = Epoll::new().unwrap();
        let mut room = EventRoom::new(2);
        assert_eq!(epoll.wait(&mut room, Duration::from_millis(20)).unwrap().count(), 0);
        epoll.release();
        assert!(epoll.wait(&mut room, Duration::from_secs(60)).is_err());
    }
}
