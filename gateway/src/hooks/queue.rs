//! Events that nobody waits for: told in the background, again and again for a while when a server does not answer.
//!
//! Events of one client go to one server in their order, in a **lane** of their own; lanes do not wait for each
//! other. A few coroutines serve all lanes. A lane whose server failed stands back, longer each time, and holds
//! no coroutine meanwhile. The number of events in all lanes is bounded: beyond it new ones are dropped and counted.

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    rc::Rc,
    time::{Duration, Instant},
};

use thalweg_runtime::{self as rt, WaitError, sync::Cond};

use super::call::Event;

/// To whom the events of a lane belong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Owner {
    /// A connection.
    Client(u64),
    /// A stream: its segments and files.
    Stream(Rc<str>),
}

/// Whose events to which server.
pub(super) type LaneKey = (Owner, usize);

/// What is to be told to whom.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) event: Rc<Event>,
    /// Index of the target.
    pub(super) target: usize,
    /// Failures so far.
    pub(super) attempts: u32,
    /// When it happened.
    pub(super) since: Instant,
}

/// All lanes.
#[derive(Debug)]
pub(super) struct Queue {
    lanes: RefCell<HashMap<LaneKey, VecDeque<Item>>>,
    /// Lanes whose first event can be told now.
    ready: RefCell<VecDeque<LaneKey>>,
    /// Lanes that stand back, and until when.
    delayed: RefCell<BinaryHeap<Reverse<(Instant, LaneKey)>>>,
    /// A lane has become ready.
    work: Cond,
    /// A lane has become empty.
    emptied: Cond,
    len: Cell<usize>,
    most: usize,
    random: RandomState,
    draws: Cell<u64>,
}

/// There are too many events already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The first pause after a failure, and the longest; it doubles in between.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(20);

impl Queue {
    pub(super) fn new(most: usize) -> Self {
        Self {
            lanes: RefCell::default(),
            ready: RefCell::default(),
            delayed: RefCell::default(),
            work: Cond::new(),
            emptied: Cond::new(),
            len: Cell::new(0),
            most,
            random: RandomState::new(),
            draws: Cell::new(0),
        }
    }

    /// How many events wait or are being told.
    pub(super) fn len(&self) -> usize {
        self.len.get()
    }

    /// Puts an event behind those of its lane.
    pub(super) fn push(&self, lane: LaneKey, item: Item) -> Result<(), Full> {
        if self.len.get() >= self.most {
            return Err(Full);
        }
        self.len.set(self.len.get() + 1);
        let mut lanes = self.lanes.borrow_mut();
        let items = lanes.entry(lane.clone()).or_default();
        items.push_back(item);
        // A lane with events before this one is ready, delayed or being served already.
        if items.len() == 1 {
            self.ready.borrow_mut().push_back(lane);
            self.work.signal();
        }
        Ok(())
    }

    /// The next lane that can be served, with its first event. Nobody else gets the lane until [`Queue::done`] or
    /// [`Queue::delay`].
    ///
    /// # Suspends
    ///
    /// Until there is one.
    pub(super) fn next(&self) -> Result<(LaneKey, Item), WaitError> {
        loop {
            self.wake_delayed(rt::now());
            let lane = self.ready.borrow_mut().pop_front();
            if let Some(lane) = lane {
                let first = self.lanes.borrow().get(&lane).and_then(|items| items.front().cloned());
                match first {
                    Some(item) => return Ok((lane, item)),
                    None => continue,
                }
            }
            let due = self.delayed.borrow().peek().map(|Reverse((due, _))| *due);
            match due {
                None => self.work.wait()?,
                Some(due) => match self.work.wait_until(due) {
                    Err(WaitError::TimedOut(_)) | Ok(()) => {}
                    Err(error) => return Err(error),
                },
            }
        }
    }

    /// The first event of the lane is over, told or not.
    pub(super) fn done(&self, lane: LaneKey) {
        let mut lanes = self.lanes.borrow_mut();
        let Some(items) = lanes.get_mut(&lane) else { return };
        if items.pop_front().is_some() {
            self.len.set(self.len.get().saturating_sub(1));
        }
        if items.is_empty() {
            lanes.remove(&lane);
            self.emptied.broadcast();
        } else {
            self.ready.borrow_mut().push_back(lane);
            self.work.signal();
        }
    }

    /// The first event of the lane failed and is to be told again, not before `not_before`.
    pub(super) fn delay(&self, lane: LaneKey, attempts: u32, not_before: Option<Instant>) {
        if let Some(items) = self.lanes.borrow_mut().get_mut(&lane)
            && let Some(first) = items.front_mut()
        {
            first.attempts = attempts;
        }
        let due = rt::now() + self.pause(attempts);
        let due = not_before.map_or(due, |earliest| due.max(earliest));
        self.delayed.borrow_mut().push(Reverse((due, lane)));
        // Somebody may have to wait for less long than they do.
        self.work.signal();
    }

    /// Waits until a client has nothing untold in the lanes to `origins` servers.
    ///
    /// # Suspends
    ///
    /// Until then.
    pub(super) fn settled(&self, client: u64, origins: usize) -> Result<(), WaitError> {
        let owner = Owner::Client(client);
        let waits = || {
            let lanes = self.lanes.borrow();
            (0..origins).any(|origin| lanes.contains_key(&(owner.clone(), origin)))
        };
        while waits() {
            self.emptied.wait()?;
        }
        Ok(())
    }

    /// Waits until nothing is left.
    ///
    /// # Suspends
    ///
    /// Until then.
    pub(super) fn drained(&self) -> Result<(), WaitError> {
        while self.len.get() > 0 {
            self.emptied.wait()?;
        }
        Ok(())
    }

    fn wake_delayed(&self, now: Instant) {
        let mut delayed = self.delayed.borrow_mut();
        while delayed.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            if let Some(Reverse((_, lane))) = delayed.pop() {
                self.ready.borrow_mut().push_back(lane);
                self.work.signal();
            }
        }
    }

    /// Half of the doubled pause, and up to as much again by chance: many that failed together do not come back together.
    fn pause(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(16);
        let pause = PAUSE.saturating_mul(1 << doublings).min(PAUSE_MAX);
        self.draws.set(self.draws.get().wrapping_add(1));
        let part = self.random.hash_one(self.draws.get()) % 1024;
        let part = u32::try_from(part).unwrap_or_default();
        pause / 2 + pause / 2 * part / 1024
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::hooks::Hook;

    fn item(name: &str) -> Item {
        let (delivery, body) = (name.to_owned(), Vec::new());
        let event = Rc::new(Event { hook: Hook::Close, delivery, body });
        Item { event, target: 0, attempts: 0, since: rt::now() }
    }

    #[test]
    fn a_lane_that_stands_back_holds_up_nobody_else_and_keeps_its_order() {
        rt::run(|| {
            let queue = Queue::new(100);
            let (one, two) = ((Owner::Client(1), 0), (Owner::Client(2), 0));
            queue.push(one.clone(), item("1a")).unwrap();
            queue.push(one.clone(), item("1b")).unwrap();
            queue.push(two.clone(), item("2a")).unwrap();
            let told = |lane: &LaneKey, name: &str| {
                let (next, item) = queue.next().unwrap();
                assert_eq!((&next, &*item.event.delivery), (lane, name));
                next
            };
            queue.delay(told(&one, "1a"), 1, None);
            queue.done(told(&two, "2a"));
            queue.done(told(&one, "1a"));
            queue.done(told(&one, "1b"));
            assert_eq!(queue.len(), 0);
            queue.drained().unwrap();
            queue.settled(1, 1).unwrap();
        });
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let queue = Queue::new(2);
        let lane = || (Owner::Stream("live/cam".into()), 0);
        queue.push(lane(), item("a")).unwrap();
        queue.push(lane(), item("b")).unwrap();
        assert_eq!(queue.push(lane(), item("c")), Err(Full));
        queue.done(lane());
        queue.push(lane(), item("c")).unwrap();
    }

    #[test]
    fn pauses_grow_and_differ() {
        let queue = Queue::new(1);
        for (attempts, ms) in [(1, 250), (2, 500), (3, 1000), (8, 20_000), (400, 20_000)] {
            let most = Duration::from_millis(ms);
            let pauses: Vec<Duration> = (0..50).map(|_| queue.pause(attempts)).collect();
            assert!(pauses.iter().all(|pause| (most / 2..=most).contains(pause)), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }

    proptest! {
        /// However events come and fail, each client's are told in their order, and none twice or never.
        #[test]
        fn every_client_is_told_of_in_order(
            events in prop::collection::vec((0..5_u64, 0..2_usize, 0..3_u32), 1..60),
        ) {
            let told = rt::Runtime::builder().build().unwrap().block_on(move || {
                let queue = Queue::new(1000);
                let mut fails = BTreeMap::new();
                for (at, (client, origin, failures)) in events.iter().enumerate() {
                    let name = format!("{client} {origin} {at:03}");
                    fails.insert(name.clone(), *failures);
                    queue.push((Owner::Client(*client), *origin), item(&name)).unwrap();
                }
                let mut told = Vec::new();
                while queue.len() > 0 {
                    // No time passes: what stands back is made due.
                    let now = rt::now() + PAUSE_MAX * 2;
                    queue.wake_delayed(now);
                    let (lane, item) = queue.next().unwrap();
                    let name = item.event.delivery.clone();
                    let left = fails.get_mut(&name).unwrap();
                    if *left > 0 {
                        *left -= 1;
                        queue.delay(lane, item.attempts + 1, None);
                    } else {
                        told.push(name);
                        queue.done(lane);
                    }
                }
                (events.len(), told)
            });
            let (count, told) = told.unwrap();
            prop_assert_eq!(told.len(), count);
            let mut last = BTreeMap::new();
            for name in &told {
                let (lane, at) = name.rsplit_once(' ').unwrap();
                let before = last.insert(lane.to_owned(), at.to_owned());
                prop_assert!(before.is_none_or(|before| &*before < at), "{:?}", told);
            }
        }
    }
}
