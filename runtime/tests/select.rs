//! `select!`, on the virtual clock and under many seeds.

mod seeds;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use seeds::{Log, Random, in_ms, settle, sleep_ms, under_seeds};
use thalweg_runtime::select::{Registration, Select, Waiter};
use thalweg_runtime::sync::channel::{self, Receiver, RecvError, SendError, Sender};
use thalweg_runtime::sync::{Cond, Event, WaitGroup};
use thalweg_runtime::{self as rt, JoinError, Refused, WaitError, select};

const SEEDS: u64 = 24;

/// The first message of either channel, and which it was.
fn first_of(one: &Receiver<i32>, other: &Receiver<i32>) -> Result<(u8, i32), WaitError> {
    select! {
        n = one.receiving() => (1, n.unwrap_or(-1)),
        n = other.receiving() => (2, n.unwrap_or(-1)),
    }
}

#[test]
fn the_first_ready_arm_wins_and_the_others_lose_nothing() {
    under_seeds(SEEDS, |_| {
        let ((tx1, rx1), (tx2, rx2)) = (channel::unbounded(), channel::unbounded());
        tx2.send(20).unwrap();
        assert_eq!(first_of(&rx1, &rx2), Ok((2, 20)));
        tx1.send(10).unwrap();
        tx2.send(21).unwrap();
        assert_eq!(first_of(&rx1, &rx2), Ok((1, 10)));
        assert_eq!((rx1.len(), rx2.len()), (0, 1));
        assert_eq!(first_of(&rx1, &rx2), Ok((2, 21)));
        drop(tx2);
        assert_eq!(first_of(&rx1, &rx2), Ok((2, -1)), "a closed channel is ready");
    });
}

#[test]
fn what_happens_first_wins_while_the_select_waits() {
    under_seeds(SEEDS, |seed| {
        let ((tx1, rx1), (tx2, rx2)) = (channel::unbounded(), channel::unbounded());
        let ours = (rx1.clone(), rx2.clone());
        let selects = rt::spawn(move || first_of(&ours.0, &ours.1));
        settle();
        // The order in which they are sent counts, not the order of the arms.
        let (first, second) = if seed % 2 == 0 { (&tx1, &tx2) } else { (&tx2, &tx1) };
        first.send(1).unwrap();
        second.send(2).unwrap();
        selects.cancel();
        let winner = if seed % 2 == 0 { 1 } else { 2 };
        assert_eq!(selects.join().unwrap(), Ok((winner, 1)), "it was handed over");
        assert_eq!(rx1.len() + rx2.len(), 1);
    });
}

#[test]
fn each_message_goes_to_one_of_two_selects_on_a_channel() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::unbounded();
        let (_idle_tx, idle_rx) = channel::unbounded();
        let selects: Vec<_> = (0..2)
            .map(|_| {
                let (rx, idle_rx) = (rx.clone(), idle_rx.clone());
                let handle = rt::spawn(move || first_of(&idle_rx, &rx));
                settle();
                handle
            })
            .collect();
        tx.send(1).unwrap();
        settle();
        assert!(selects[0].is_finished() && !selects[1].is_finished());
        tx.send(2).unwrap();
        assert_eq!(selects[0].join().unwrap(), Ok((2, 1)));
        assert_eq!(selects[1].join().unwrap(), Ok((2, 2)));
    });
}

#[test]
fn a_message_passes_over_a_select_that_something_else_has_woken() {
    under_seeds(SEEDS, |seed| {
        let (tx, rx) = channel::unbounded();
        let event = Rc::new(Event::new());
        let (theirs, their_rx) = (Rc::clone(&event), rx.clone());
        let first = rt::spawn(move || {
            select! {
                _ = their_rx.receiving() => "message",
                () = theirs.becoming_set() => "event",
            }
        });
        settle();
        let second = rt::spawn(move || rx.recv());
        settle();
        if seed % 2 == 0 {
            event.set();
        } else {
            first.cancel();
        }
        tx.send(1).unwrap();
        let expected = if seed % 2 == 0 { Ok("event") } else { Err(WaitError::Cancelled) };
        assert_eq!(first.join().unwrap(), expected);
        assert_eq!(second.join().unwrap(), Ok(1));
    });
}

#[test]
fn a_value_to_be_sent_stays_with_its_source_until_it_is_taken() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::bounded(1);
        tx.send(1).unwrap();
        let mut sending = tx.sending(2);
        let sent = select! {
            result = &mut sending => result.is_ok(),
            () = select::until(in_ms(3)) => false,
        };
        assert_eq!(sent, Ok(false));
        assert_eq!((rx.try_recv().ok(), rx.try_recv().ok()), (Some(1), None));
        let sent = select! { result = &mut sending => result.is_ok() };
        assert_eq!(sent, Ok(true));
        assert_eq!(sending.into_inner(), None);
        assert_eq!(rx.try_recv(), Ok(2));

        let alive = Rc::new(());
        let (tx, _rx) = channel::bounded(0);
        let value = Rc::clone(&alive);
        select! {
            _ = tx.sending(value) => panic!("nobody receives"),
            () = select::after(Duration::from_millis(3)) => {}
        }
        .unwrap();
        assert_eq!(Rc::strong_count(&alive), 1, "it went with its source");
    });
}

#[test]
fn a_sending_arm_wins_when_its_value_is_taken_and_fails_when_the_channel_closes() {
    under_seeds(SEEDS, |seed| {
        let (tx, rx) = channel::bounded(usize::try_from(seed % 2).unwrap());
        let _filled = tx.try_send(0);
        let sender = rt::spawn(move || {
            let end = in_ms(50);
            let mut results = Vec::new();
            for n in [1, 2] {
                results.push(select! {
                    () = select::until(end) => panic!("too late"),
                    result = tx.sending(n) => result.map_err(SendError::into_inner),
                });
            }
            results
        });
        settle();
        let first = rx.recv().unwrap();
        settle();
        rx.close();
        assert_eq!(sender.join().unwrap(), [Ok(Ok(())), Ok(Err(2))]);
        let rest: Vec<_> = rx.iter().collect();
        assert_eq!([&[first][..], &rest].concat().last(), Some(&1));
    });
}

#[test]
fn two_selects_meet_in_a_channel_without_capacity() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::bounded(0);
        let (_idle, never) = channel::unbounded::<()>();
        let theirs = never.clone();
        let sender = rt::spawn(move || {
            (0..20).all(|n| {
                let sent = select! {
                    _ = theirs.receiving() => false,
                    result = tx.sending(n) => result.is_ok(),
                };
                sent == Ok(true)
            })
        });
        let mut received = Vec::new();
        let outcome = loop {
            let step = select! {
                _ = never.receiving() => panic!("nobody sends there"),
                message = rx.receiving() => match message {
                    Ok(n) => received.push(n),
                    Err(closed) => break closed,
                },
            };
            step.unwrap();
        };
        assert_eq!(outcome, RecvError::Closed);
        assert!(received.into_iter().eq(0..20));
        assert!(sender.join().unwrap());
    });
}

#[test]
fn a_cancellation_goes_to_its_arm_if_there_is_one() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::unbounded();
        let their_rx = rx.clone();
        let without = rt::spawn(move || select! { _ = their_rx.receiving() => () });
        let log = Log::new();
        let (their_log, their_rx) = (log.clone(), rx);
        let with = rt::spawn(move || {
            loop {
                let result = select! {
                    message = their_rx.receiving() => their_log.push(message.unwrap()),
                    rt::Cancelled = select::cancellation() => break,
                };
                result.unwrap();
            }
            rt::yield_now()
        });
        settle();
        without.cancel();
        assert_eq!(without.join().unwrap(), Err(WaitError::Cancelled));
        with.cancel();
        // It runs again because it was cancelled, and still serves the arms before that one.
        tx.send(1).unwrap();
        tx.send(2).unwrap();
        assert_eq!(with.join().unwrap(), Err(WaitError::Cancelled), "others fail as ever");
        assert_eq!(log.take(), [1, 2]);
    });
}

#[test]
fn a_loop_that_ignores_its_cancellation_starves_nobody() {
    under_seeds(SEEDS, |_| {
        let done = Rc::new(Cell::new(false));
        let theirs = Rc::clone(&done);
        let stubborn = rt::spawn(move || {
            let mut rounds = 0_u32;
            loop {
                select! { _ = select::cancellation() => rounds += 1 }.unwrap();
                if theirs.get() {
                    return rounds;
                }
            }
        });
        stubborn.cancel();
        for _ in 0..3 {
            rt::yield_now().unwrap();
        }
        done.set(true);
        assert!(stubborn.join().unwrap() >= 1);
        let sheltered = rt::spawn(|| {
            settle();
            rt::shield(Duration::from_millis(20), || {
                select! {
                    _ = select::cancellation() => "cancelled",
                    () = select::until(in_ms(5)) => "sheltered",
                }
            })
        });
        rt::yield_now().unwrap();
        settle();
        sheltered.cancel();
        assert_eq!(sheltered.join().unwrap(), Ok("sheltered"));
    });
}

#[test]
fn an_arm_for_a_time_is_told_from_a_deadline_around_the_select() {
    under_seeds(SEEDS, |_| {
        let (_tx, rx) = channel::unbounded::<()>();
        let wait = |at: Instant| {
            select! {
                _ = rx.receiving() => panic!("nobody sends"),
                () = select::until(at) => "arm",
            }
        };
        let start = rt::now();
        let limit = Duration::from_millis(5);
        assert_eq!(rt::timeout(limit, || wait(in_ms(3))), Ok("arm"));
        assert_eq!(rt::now() - start, Duration::from_millis(3));
        assert_eq!(rt::timeout(limit, || wait(in_ms(5))), Ok("arm"), "both at once");
        let Err(WaitError::TimedOut(timed_out)) = rt::timeout(limit, || wait(in_ms(7))) else {
            panic!("the deadline came first");
        };
        assert!(!timed_out.is_outer());
        assert_eq!(wait(start), Ok("arm"), "a time that has passed is ready");
    });
}

#[test]
fn a_join_arm_takes_the_value_only_if_it_wins() {
    under_seeds(SEEDS, |_| {
        let slow = rt::spawn(|| {
            sleep_ms(5);
            "value"
        });
        let early = select! {
            value = slow.ending() => value.ok(),
            () = select::until(in_ms(2)) => None,
        };
        assert_eq!(early, Ok(None));
        let quick = rt::spawn(|| "quick");
        let first = select! {
            value = slow.ending() => value.unwrap(),
            value = quick.ending() => value.unwrap(),
        };
        assert_eq!(first, Ok("quick"));
        let late = select! {
            value = slow.ending() => value.unwrap(),
            value = quick.ending() => { assert!(matches!(value, Err(JoinError::Taken))); "taken" }
        };
        assert_eq!(late, Ok("taken"), "a coroutine that has ended is ready");
        assert_eq!(select! { value = slow.ending() => value.unwrap() }, Ok("value"));
    });
}

#[test]
fn a_join_arm_that_has_won_gives_the_value_although_the_select_was_cancelled_since() {
    under_seeds(SEEDS, |_| {
        let event = Rc::new(Event::new());
        let theirs = Rc::clone(&event);
        let ends = Rc::new(rt::spawn(move || theirs.wait().is_ok()));
        let handle = Rc::clone(&ends);
        let selects = rt::spawn(move || {
            let value = select! { value = handle.ending() => value.unwrap() };
            (value, rt::yield_now())
        });
        settle();
        event.set();
        while !ends.is_finished() {
            rt::yield_now().unwrap();
        }
        // Under some seeds the other has not run since.
        selects.cancel();
        assert_eq!(selects.join().unwrap().0, Ok(true));
    });
}

#[test]
fn a_join_arm_tells_of_a_panic() {
    under_seeds(1, |_| {
        let panics = rt::spawn(|| std::panic::resume_unwind(Box::new("on purpose")));
        let result = select! { result = panics.ending() => result };
        let result: Result<(), JoinError> = result.unwrap();
        assert!(matches!(result, Err(JoinError::Panicked(_))));
    });
}

#[test]
fn events_conditions_and_wait_groups_are_sources() {
    under_seeds(SEEDS, |_| {
        let (event, cond, group) = (Rc::new(Event::new()), Rc::new(Cond::new()), WaitGroup::new());
        let worker = group.worker();
        let theirs = (Rc::clone(&event), Rc::clone(&cond), group);
        let log = Log::new();
        let their_log = log.clone();
        let selects = rt::spawn(move || {
            let (event, cond, group) = theirs;
            for _ in 0..3 {
                let fired = select! {
                    () = event.becoming_set() => { event.reset(); "event" }
                    () = cond.being_signalled() => "cond",
                    () = group.finishing() => "group",
                };
                their_log.push(fired.unwrap());
            }
        });
        assert!(!cond.signal(), "nobody waits yet");
        settle();
        event.set();
        event.reset();
        settle();
        assert!(cond.signal());
        settle();
        drop(worker);
        selects.join().unwrap();
        assert_eq!(log.take(), ["event", "cond", "group"]);
    });
}

#[test]
fn a_signal_is_not_lost_in_a_select_that_timed_out_at_the_same_moment() {
    under_seeds(SEEDS, |_| {
        let cond = Rc::new(Cond::new());
        let end = in_ms(10);
        let theirs = Rc::clone(&cond);
        let first = rt::spawn(move || {
            select! {
                () = theirs.being_signalled() => "signal",
                () = select::until(end) => "time",
            }
        });
        settle();
        let second = rt::spawn({
            let cond = Rc::clone(&cond);
            move || cond.wait()
        });
        rt::sleep_until(end).unwrap();
        assert!(cond.signal());
        assert_eq!(first.join().unwrap(), Ok("time"));
        assert_eq!(second.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_default_arm_keeps_the_select_from_waiting() {
    let (tx, rx) = channel::unbounded();
    let take = || {
        select! {
            message = rx.receiving() => message.ok(),
            default => None,
        }
    };
    assert_eq!(take(), None);
    tx.try_send(1).unwrap();
    assert_eq!(take(), Some(1), "it works outside a coroutine, too");
    let outside = select! { _ = rx.receiving() => () };
    assert_eq!(outside, Err(WaitError::Refused(Refused::NoCoroutine)));
}

#[test]
fn an_arm_without_a_source_is_switched_off() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::unbounded();
        tx.send(1).unwrap();
        for on in [true, false] {
            let source = on.then(|| rx.receiving());
            let outcome = select! {
                message = source => message.ok(),
                () = select::until(in_ms(2)) => None,
            };
            assert_eq!(outcome, Ok(on.then_some(1)));
        }
    });
}

/// Adds up messages until a negative one comes or `limit` is passed.
fn sum(rx: &Receiver<i32>, limit: i32) -> std::io::Result<i32> {
    let mut sum = 0;
    loop {
        select! {
            message = rx.receiving() => {
                let n = message?;
                if n == 0 {
                    continue;
                }
                if n < 0 {
                    break;
                }
                sum += n;
                if sum > limit {
                    return Ok(limit);
                }
            }
            _ = select::cancellation() => return Err(rt::Cancelled.into()),
        }?;
    }
    Ok(sum)
}

#[test]
fn bodies_leave_and_continue_the_function_around_the_select() {
    under_seeds(SEEDS, |_| {
        let send_all = |messages: &[i32]| {
            let (tx, rx) = channel::unbounded();
            messages.iter().for_each(|&n| tx.send(n).unwrap());
            rx
        };
        assert_eq!(sum(&send_all(&[1, 0, 2, -1]), 10).unwrap(), 3);
        assert_eq!(sum(&send_all(&[6, 6]), 10).unwrap(), 10);
        let closed = sum(&send_all(&[1]), 10).unwrap_err();
        assert_eq!(closed.kind(), std::io::ErrorKind::BrokenPipe);
        let cancelled = rt::spawn(|| {
            let (_tx, rx) = channel::unbounded();
            rt::is_cancelled(&sum(&rx, 10).unwrap_err())
        });
        settle();
        cancelled.cancel();
        assert!(cancelled.join().unwrap());
    });
}

#[test]
fn many_arms_and_selects_in_bodies_work() {
    under_seeds(SEEDS, |_| {
        let ends = (0..10).map(|_| channel::unbounded::<usize>());
        let (tx, rx): (Vec<_>, Vec<_>) = ends.unzip();
        let inner = rx[9].clone();
        let selects = rt::spawn(move || {
            let mut seen = Vec::new();
            while seen.len() < 10 {
                let (arm, message) = select! {
                    m = rx[0].receiving() => (0, m),
                    m = rx[1].receiving() => (1, m),
                    m = rx[2].receiving() => (2, m),
                    m = rx[3].receiving() => (3, m),
                    m = rx[4].receiving() => (4, m),
                    m = rx[5].receiving() => (5, m),
                    m = rx[6].receiving() => (6, m),
                    m = rx[7].receiving() => (7, m),
                    m = rx[8].receiving() => {
                        let next = select! { m = inner.receiving() => m }.unwrap();
                        seen.push(next.unwrap());
                        (8, m)
                    }
                }
                .unwrap();
                assert_eq!(message, Ok(arm));
                seen.push(arm);
            }
            seen.sort_unstable();
            seen
        });
        for (n, tx) in tx.iter().enumerate() {
            tx.send(n).unwrap();
            settle();
        }
        assert!(selects.join().unwrap().into_iter().eq(0..10));
    });
}

#[test]
fn a_permit_from_another_thread_is_a_source() {
    rt::run(|| {
        let (_tx, rx) = channel::unbounded::<()>();
        let unparker = rt::Unparker::for_current().unwrap();
        drop(std::thread::spawn(move || unparker.unpark()));
        let woken = select! {
            _ = rx.receiving() => false,
            () = select::permit() => true,
        };
        assert_eq!(woken, Ok(true));
        let again = select! { () = select::permit() => true, default => false };
        assert!(!again, "it was taken");
    });
}

/// A source made of another one, as other crates make them.
struct Doubled<S>(S);

impl<S: Select<Output = Result<i32, RecvError>>> Select for Doubled<S> {
    type Output = i32;

    fn poll(&mut self) -> Option<i32> {
        self.0.poll().map(|n| n.unwrap_or(0) * 2)
    }

    fn register(&mut self, waiter: &Waiter) -> Registration {
        self.0.register(waiter)
    }

    fn unregister(&mut self, waiter: &Waiter) -> Option<i32> {
        self.0.unregister(waiter).map(|n| n.unwrap_or(0) * 2)
    }
}

/// A source that panics in the middle of a select.
struct Panicking;

impl Select for Panicking {
    type Output = ();

    fn poll(&mut self) -> Option<()> {
        None
    }

    fn register(&mut self, _: &Waiter) -> Registration {
        std::panic::resume_unwind(Box::new("on purpose"))
    }

    fn unregister(&mut self, _: &Waiter) -> Option<()> {
        None
    }
}

#[test]
fn other_crates_make_sources_of_ours_and_their_panics_harm_nobody() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::unbounded();
        let theirs = rx.clone();
        let doubles = rt::spawn(move || select! { n = Doubled(theirs.receiving()) => n });
        settle();
        tx.send(4).unwrap();
        assert_eq!(doubles.join().unwrap(), Ok(8));
        let theirs = rx.clone();
        let panics = rt::spawn(move || {
            select! {
                _ = theirs.receiving() => (),
                () = Panicking => (),
            }
        });
        assert!(matches!(panics.join(), Err(JoinError::Panicked(_))));
        // Its block is used again, for a coroutine that the left place must not be taken for.
        drop(panics);
        let waiting = rx.clone();
        let waiting = rt::spawn(move || waiting.recv());
        settle();
        tx.send(5).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(5), "the place in the queue is passed over");
        assert!(rx.is_empty());
    });
}

/// Random selects over two channels, both ways, with times and cancellations: what was sent is
/// what was received.
#[test]
fn selects_neither_lose_nor_double_messages() {
    under_seeds(60, |seed| {
        let capacity = usize::try_from(seed % 3).unwrap();
        let (up, down) = (channel::bounded(capacity), channel::bounded(capacity));
        let ends = |n: u64| {
            let (one, other) = if n.is_multiple_of(2) { (&up, &down) } else { (&down, &up) };
            (one.0.clone(), other.1.clone())
        };
        let workers: Vec<_> = (0..8)
            .map(|n| {
                let (tx, rx) = ends(n);
                let mut random = Random::new(seed * 100 + n);
                rt::spawn(move || trade(&tx, &rx, &mut random))
            })
            .collect();
        let mut random = Random::new(seed);
        for _ in 0..4 {
            sleep_ms(random.below(10));
            workers[random.below(8) as usize].cancel();
        }
        let (mut sent, mut received) = (0, 0);
        for worker in workers {
            let (their_sent, their_received) = worker.join().unwrap();
            sent += their_sent;
            received += their_received;
        }
        let left: u64 = [&up.1, &down.1].iter().map(|rx| drain(rx)).sum();
        assert!(sent > 0);
        assert_eq!(sent, received + left);
    });
}

fn drain(rx: &Receiver<u64>) -> u64 {
    std::iter::from_fn(|| rx.try_recv().ok()).sum()
}

/// The sums of what was sent and received.
fn trade(tx: &Sender<u64>, rx: &Receiver<u64>, random: &mut Random) -> (u64, u64) {
    let (mut sent, mut received) = (0, 0);
    for n in 1..=60 {
        let until = in_ms(random.below(4));
        let step = if random.below(2) == 0 {
            select! {
                message = rx.receiving() => received += message.expect("it is open"),
                result = tx.sending(n) => { result.expect("it is open"); sent += n; }
                () = select::until(until) => {}
            }
        } else {
            select! {
                () = select::until(until) => {}
                result = tx.sending(n) => { result.expect("it is open"); sent += n; }
                message = rx.receiving() => received += message.expect("it is open"),
            }
        };
        if step.is_err() || random.below(3) == 0 && rt::yield_now().is_err() {
            break;
        }
    }
    (sent, received)
}
