//! The moving parts: threads that receive, one that sends what is due.
//!
//! One thread receives from all callers, one for each caller from the target; they only throw the dice
//! and put datagrams into the queue. A last one sleeps until the next is due. They end by a flag and an
//! empty datagram from ourselves, so that nobody wakes up just to look at the flag.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::fate::{Conditions, Dice};
use crate::queue::{Bottleneck, DueQueue};
use crate::stats::{Counts, Stats};

/// The threads and what they share.
#[derive(Debug)]
pub(crate) struct Relay {
    addr: SocketAddr,
    shared: Arc<Shared>,
    /// Of the receiver from callers and of the sender; those of the flows are in the state.
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    pub(crate) fn start(target: SocketAddr, conditions: Conditions, seed: u64) -> io::Result<Self> {
        let front = UdpSocket::bind(any_port_on_loopback(target))?;
        let addr = front.local_addr()?;
        let shared = Arc::new(Shared {
            front,
            target,
            seed,
            is_ending: AtomicBool::new(false),
            state: Mutex::new(State::new(conditions)),
            first_due_changed: Condvar::new(),
        });
        // From here on dropping the relay ends what has been started.
        let mut relay = Self { addr, shared: Arc::clone(&shared), threads: Vec::new() };
        relay.threads.push(start_thread("badlink-send", {
            let shared = Arc::clone(&shared);
            move || shared.send_what_is_due()
        })?);
        relay.threads.push(start_thread("badlink-up", move || shared.receive_from_callers())?);
        Ok(relay)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = self.shared.state();
        Stats { up: state.up.counts, down: state.down.counts, flows: state.flows.len() }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Conditions)) {
        change(&mut self.shared.state().conditions);
    }

    pub(crate) fn set_cut(&self, is_cut: bool) {
        self.shared.state().is_cut = is_cut;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Ordering::Release);
        let flows: Vec<Arc<Flow>> = {
            let state = self.shared.state();
            self.shared.first_due_changed.notify_all();
            state.flows.values().cloned().collect()
        };
        wake(&self.shared.front);
        for flow in flows {
            wake(&flow.socket);
        }
        for thread in self.threads.drain(..) {
            // A panic in there has been printed, and the test sees it by what does not arrive.
            let _panicked = thread.join().is_err();
        }
        // The receiver from callers has ended, so no flow comes up any more.
        let receivers = std::mem::take(&mut self.shared.state().receivers);
        for (flow, receiver) in receivers {
            wake(&flow.socket);
            let _panicked = receiver.join().is_err();
        }
    }
}

#[derive(Debug)]
struct Shared {
    /// What the callers see.
    front: UdpSocket,
    target: SocketAddr,
    seed: u64,
    is_ending: AtomicBool,
    state: Mutex<State>,
    first_due_changed: Condvar,
}

#[derive(Debug)]
struct State {
    conditions: Conditions,
    is_cut: bool,
    flows: HashMap<SocketAddr, Arc<Flow>>,
    receivers: Vec<(Arc<Flow>, JoinHandle<()>)>,
    queue: DueQueue<Datagram>,
    queued_bytes: usize,
    up: Way,
    down: Way,
}

/// A caller, and the socket that stands for it towards the target.
#[derive(Debug)]
struct Flow {
    caller: SocketAddr,
    socket: UdpSocket,
    /// Counted from 0, in the order in which callers came.
    index: usize,
}

/// What all flows share in one direction.
#[derive(Debug, Default)]
struct Way {
    counts: Counts,
    bottleneck: Bottleneck,
    /// By the flow's index.
    lanes: Vec<Lane>,
}

/// One flow in one direction.
#[derive(Debug)]
struct Lane {
    dice: Dice,
    received: u64,
    /// The number of the latest datagram sent on; all number from 1.
    sent: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Direction {
    Up,
    Down,
}

#[derive(Debug)]
struct Datagram {
    bytes: Arc<[u8]>,
    flow: Arc<Flow>,
    direction: Direction,
    number: u64,
}

impl State {
    fn new(conditions: Conditions) -> Self {
        Self {
            conditions,
            is_cut: false,
            flows: HashMap::new(),
            receivers: Vec::new(),
            queue: DueQueue::new(),
            queued_bytes: 0,
            up: Way::default(),
            down: Way::default(),
        }
    }

    fn way(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }

    /// Decides on a datagram that has come in; returns whether the next one due is another now.
    fn take_in(&mut self, flow: &Arc<Flow>, direction: Direction, bytes: &[u8]) -> bool {
        let (conditions, is_cut) = (self.conditions, self.is_cut);
        let is_full = self.queued_bytes + 2 * bytes.len() > QUEUED_BYTES_LIMIT;
        let way = self.way(direction);
        let lane = &mut way.lanes[flow.index];
        lane.received += 1;
        let number = lane.received;
        let fate = lane.dice.throw(&conditions);
        way.counts.received += 1;
        if is_cut {
            way.counts.cut += 1;
            return false;
        }
        if fate.is_lost {
            way.counts.lost += 1;
            return false;
        }
        let passed = way.bottleneck.pass(Instant::now(), bytes.len(), &conditions);
        let Some(passed) = passed.filter(|_passed| !is_full) else {
            way.counts.overflowed += 1;
            return false;
        };
        way.counts.duplicated += u64::from(fate.arrives_twice);
        let bytes: Arc<[u8]> = bytes.into();
        let mut is_first = false;
        for _copy in 0..1 + usize::from(fate.arrives_twice) {
            let (bytes, flow) = (Arc::clone(&bytes), Arc::clone(flow));
            self.queued_bytes += bytes.len();
            is_first |=
                self.queue.push(passed + fate.delay, Datagram { bytes, flow, direction, number });
        }
        is_first
    }

    /// Takes out what is due, into `batch`.
    fn take_due(&mut self, batch: &mut Vec<Datagram>) {
        let now = Instant::now();
        while let Some(datagram) = self.queue.pop_due(now) {
            self.queued_bytes -= datagram.bytes.len();
            if self.is_cut {
                self.way(datagram.direction).counts.cut += 1;
            } else {
                batch.push(datagram);
            }
        }
    }

    fn count_sent(&mut self, datagram: &Datagram, result: &io::Result<usize>) {
        let way = self.way(datagram.direction);
        if result.is_err() {
            way.counts.refused += 1;
            return;
        }
        let lane = &mut way.lanes[datagram.flow.index];
        way.counts.forwarded += 1;
        way.counts.reordered += u64::from(datagram.number < lane.sent);
        lane.sent = lane.sent.max(datagram.number);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of the state is complete before anything in it may panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Acquire)
    }

    fn receive_from_callers(self: &Arc<Self>) {
        let mut buf = vec![0; DATAGRAM_BYTES];
        while !self.is_ending() {
            let Ok((len, caller)) = self.front.recv_from(&mut buf) else {
                continue;
            };
            if self.is_ending() {
                return;
            }
            if let Some(flow) = self.flow_of(caller) {
                self.take_in(&flow, Direction::Up, &buf[..len]);
            }
        }
    }

    fn receive_from_target(&self, flow: &Arc<Flow>) {
        let mut buf = vec![0; DATAGRAM_BYTES];
        while !self.is_ending() {
            match flow.socket.recv_from(&mut buf) {
                Ok((len, from)) if from == self.target => {
                    self.take_in(flow, Direction::Down, &buf[..len]);
                }
                Ok(_stranger) => {}
                Err(_transient) => {}
            }
        }
    }

    fn take_in(&self, flow: &Arc<Flow>, direction: Direction, bytes: &[u8]) {
        if self.state().take_in(flow, direction, bytes) {
            self.first_due_changed.notify_one();
        }
    }

    /// Returns the caller's flow, a new one for a new caller; `None` when there can be no more.
    fn flow_of(self: &Arc<Self>, caller: SocketAddr) -> Option<Arc<Flow>> {
        let mut state = self.state();
        if let Some(flow) = state.flows.get(&caller) {
            return Some(Arc::clone(flow));
        }
        let index = state.flows.len();
        if index >= FLOWS_LIMIT {
            return None;
        }
        let socket = UdpSocket::bind(any_port_on_loopback(self.target)).ok()?;
        let flow = Arc::new(Flow { caller, socket, index });
        let receiver = {
            let (shared, flow) = (Arc::clone(self), Arc::clone(&flow));
            start_thread("badlink-down", move || shared.receive_from_target(&flow)).ok()?
        };
        state.flows.insert(caller, Arc::clone(&flow));
        state.receivers.push((Arc::clone(&flow), receiver));
        let stream = index as u64 * 2;
        state.up.lanes.push(Lane::new(self.seed, stream));
        state.down.lanes.push(Lane::new(self.seed, stream + 1));
        Some(flow)
    }

    fn send_what_is_due(&self) {
        let mut batch = Vec::new();
        let mut state = self.state();
        while !self.is_ending() {
            state.take_due(&mut batch);
            if batch.is_empty() {
                state = self.wait_for_due(state);
                continue;
            }
            drop(state);
            let results: Vec<io::Result<usize>> =
                batch.iter().map(|datagram| self.send(datagram)).collect();
            state = self.state();
            for (datagram, result) in batch.drain(..).zip(&results) {
                state.count_sent(&datagram, result);
            }
        }
    }

    fn wait_for_due<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let changed = &self.first_due_changed;
        match state.queue.next_due() {
            None => changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(due) => {
                let left = due.saturating_duration_since(Instant::now());
                let waited = changed.wait_timeout(state, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    fn send(&self, datagram: &Datagram) -> io::Result<usize> {
        let Datagram { bytes, flow, direction, .. } = datagram;
        match direction {
            Direction::Up => flow.socket.send_to(bytes, self.target),
            Direction::Down => self.front.send_to(bytes, flow.caller),
        }
    }
}

impl Lane {
    fn new(seed: u64, stream: u64) -> Self {
        Self { dice: Dice::new(seed, stream), received: 0, sent: 0 }
    }
}

fn start_thread(name: &str, f: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(f)
}

/// Ends a `recv_from` on the socket by an empty datagram. If even that does not fit into its buffer, a
/// `recv_from` ends anyway.
fn wake(socket: &UdpSocket) {
    let woken = socket.local_addr().and_then(|addr| socket.send_to(&[], addr));
    debug_assert!(woken.is_ok(), "a socket can send to itself: {woken:?}");
}

fn any_port_on_loopback(family_of: SocketAddr) -> SocketAddr {
    let ip = match family_of {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, 0)
}

/// The largest that UDP can carry.
const DATAGRAM_BYTES: usize = 65_535;
/// A thread each.
const FLOWS_LIMIT: usize = 1024;
/// What is under way takes no more memory than this: a second at 500 Mbit/s.
const QUEUED_BYTES_LIMIT: usize = 64 << 20;
const STACK_BYTES: usize = 128 << 10;
