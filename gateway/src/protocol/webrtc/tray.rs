//! What the peers of a port have to send by UDP, put together.
//!
//! A picture wakes all viewers of a source in a row. Each leaves its packets here and sleeps again; when all have, the
//! packets leave in few calls. That keeps what the processor runs in its caches: peers one after the other, then the
//! kernel's part for all of them. Packets lie behind one another, so that memory that is warm is used again and again.

use std::{
    cell::RefCell,
    mem,
    net::{IpAddr, SocketAddr},
};
use thalweg_runtime::{
    WaitError,
    sync::{Cond, Mutex},
};

/// Packets that wait to be sent, in order.
#[derive(Debug)]
pub(super) struct Tray {
    load: RefCell<Load>,
    /// Empty, kept for its memory.
    spare: RefCell<Load>,
    has_some: Cond,
    /// Whose turn it is to send.
    pub(super) turn: Mutex<()>,
    can_cut: bool,
}

/// What is sent together.
#[derive(Debug, Default)]
pub(super) struct Load {
    bytes: Vec<u8>,
    runs: Vec<Run>,
    /// Whether the last run may get another packet.
    is_open: bool,
}

/// Packets of the same length, the last of which may be shorter, from one address to another: the kernel cuts them.
#[derive(Clone, Copy, Debug)]
struct Run {
    to: SocketAddr,
    from: Option<IpAddr>,
    start: usize,
    len: usize,
    packet_len: usize,
}

/// With so much in it, it is full: more would leave the caches before it is sent, and a socket's buffer holds little more.
const FULL_BYTES: usize = 128 << 10;

/// So many packets the kernel cuts a run into at most (`UDP_MAX_SEGMENTS`).
const RUN_PACKETS: usize = 64;

/// A datagram of UDP has no more, the headers aside.
const RUN_BYTES: usize = 65_000;

impl Tray {
    /// `can_cut`: the kernel cuts a run into its packets.
    pub(super) fn new(can_cut: bool) -> Self {
        let (load, spare) = Default::default();
        Self { load, spare, has_some: Cond::new(), turn: Mutex::new(()), can_cut }
    }

    /// Adds a packet, which `write` writes behind what is there; the result is its length.
    pub(super) fn put(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> usize {
        let mut load = self.load.borrow_mut();
        let start = load.bytes.len();
        write(&mut load.bytes);
        load.put(to, from, start, self.can_cut)
    }

    /// Whether it is time to send.
    pub(super) fn is_full(&self) -> bool {
        self.load.borrow().bytes.len() >= FULL_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.load.borrow().runs.is_empty()
    }

    /// Wakes who waits for something to be in it.
    pub(super) fn offer(&self) {
        self.has_some.signal();
    }

    /// Waits until there is something in it.
    ///
    /// # Suspends
    ///
    /// Until then.
    pub(super) fn wait(&self) -> Result<(), WaitError> {
        while self.is_empty() {
            self.has_some.wait()?;
        }
        Ok(())
    }

    /// Takes all that is in it.
    pub(super) fn take(&self) -> Load {
        mem::replace(&mut *self.load.borrow_mut(), self.spare.take())
    }

    /// Takes back what was sent, for its memory.
    pub(super) fn give_back(&self, mut load: Load) {
        load.bytes.clear();
        load.bytes.shrink_to(2 * FULL_BYTES);
        load.runs.clear();
        load.is_open = false;
        self.spare.replace(load);
    }
}

impl Load {
    /// Adds the packet that begins at `start` to the runs.
    fn put(&mut self, to: SocketAddr, from: Option<IpAddr>, start: usize, can_cut: bool) -> usize {
        let len = self.bytes.len() - start;
        if self.is_open
            && let Some(run) = self.runs.last_mut()
            && (run.to, run.from) == (to, from)
            && len <= run.packet_len
            && run.len < run.packet_len * RUN_PACKETS
            && run.len + len <= RUN_BYTES
        {
            run.len += len;
            // A shorter one is the last.
            self.is_open = len == run.packet_len;
            return len;
        }
        self.runs.push(Run { to, from, start, len, packet_len: len });
        self.is_open = can_cut;
        len
    }

    /// Its runs: where to, where from, the packets, and how long each is.
    pub(super) fn runs(&self) -> impl Iterator<Item = (SocketAddr, Option<IpAddr>, &[u8], usize)> {
        self.runs.iter().map(|run| {
            let packets = self.bytes.get(run.start..run.start + run.len).unwrap_or_default();
            (run.to, run.from, packets, run.packet_len)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(tray: &Tray, to: SocketAddr, from: Option<IpAddr>, packet: &[u8]) {
        tray.put(to, from, |bytes| bytes.extend_from_slice(packet));
    }

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::new([192, 0, 2, 1].into(), port)
    }

    /// Of each run its port, its length and that of its packets.
    fn runs(load: &Load) -> Vec<(u16, usize, usize)> {
        load.runs().map(|(to, _, packets, each)| (to.port(), packets.len(), each)).collect()
    }

    #[test]
    fn packets_of_one_length_to_one_peer_are_one_run_that_a_shorter_one_ends() {
        let tray = Tray::new(true);
        for (port, len) in [(1, 100), (1, 100), (1, 60), (1, 60), (2, 60), (2, 61), (1, 61)] {
            put(&tray, peer(port), None, &vec![7; len]);
        }
        let load = tray.take();
        assert_eq!(
            runs(&load),
            [(1, 260, 100), (1, 60, 60), (2, 60, 60), (2, 61, 61), (1, 61, 61)]
        );
    }

    #[test]
    fn a_run_is_no_more_than_the_kernel_cuts() {
        let tray = Tray::new(true);
        (0..100).for_each(|_| put(&tray, peer(1), None, &[0; 10]));
        (0..100).for_each(|_| put(&tray, peer(2), None, &[0; 1_300]));
        let sizes = [(1, 640, 10), (1, 360, 10), (2, 65_000, 1_300), (2, 65_000, 1_300)];
        assert_eq!(runs(&tray.take()), sizes);
    }

    #[test]
    fn where_the_kernel_cannot_cut_each_packet_is_alone() {
        let tray = Tray::new(false);
        (0..3).for_each(|_| put(&tray, peer(1), None, &[0; 10]));
        assert_eq!(runs(&tray.take()), [(1, 10, 10); 3]);
    }

    #[test]
    fn what_leaves_from_another_address_is_another_run() {
        let tray = Tray::new(true);
        let locals = [[127, 0, 0, 1], [127, 0, 0, 2]];
        locals.iter().for_each(|&local| put(&tray, peer(1), Some(local.into()), &[0; 10]));
        assert_eq!(runs(&tray.take()), [(1, 10, 10); 2]);
    }

    #[test]
    fn memory_is_used_again_and_nothing_that_was_in_it() {
        let tray = Tray::new(true);
        put(&tray, peer(1), None, b"first");
        let load = tray.take();
        tray.give_back(load);
        put(&tray, peer(1), None, b"second");
        tray.give_back(tray.take());
        put(&tray, peer(1), None, b"third");
        let load = tray.take();
        let texts: Vec<_> = load.runs().map(|(_, _, packets, _)| packets).collect();
        assert_eq!(texts, [b"third"]);
    }
}
