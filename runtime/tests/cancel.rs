//! Cancellation: sticky, never in the way of what was handed over, and kept out by `shield`.

#[expect(dead_code, reason = "no test here needs random numbers")]
mod seeds;
mod support;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use seeds::{Log, in_ms, settle, sleep_ms, under_seeds};
use support::{logs, virtual_runtime};
use thalweg_runtime::sync::Cond;
use thalweg_runtime::{self as rt, Builder, ClockKind, Runtime, Unparker, WaitError};

const SEEDS: u64 = 16;
const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
const CANCELLED: Result<(), WaitError> = Err(WaitError::Cancelled);

/// Runs `test` as the root coroutine, first come first served.
fn in_order(test: impl FnOnce() + 'static) {
    virtual_runtime().block_on(test).expect("the test does not deadlock");
}

#[test]
fn cancel_before_the_first_run_lets_the_coroutine_start_and_fails_its_first_wait() {
    under_seeds(SEEDS, |_| {
        let started = Rc::new(Cell::new(false));
        let theirs = Rc::clone(&started);
        let handle = rt::spawn(move || {
            theirs.set(true);
            rt::sleep(SECOND)
        });
        handle.cancel();
        let before = rt::now();
        assert_eq!(handle.join().unwrap(), CANCELLED);
        assert!(started.get());
        assert_eq!(rt::now(), before);
    });
}

#[test]
fn a_cancelled_coroutine_stays_cancelled_in_every_call_that_suspends() {
    under_seeds(SEEDS, |_| {
        let cond = Rc::new(Cond::new());
        let theirs = Rc::clone(&cond);
        let handle = rt::spawn(move || {
            Unparker::for_current().unwrap().unpark();
            [
                theirs.wait(),
                theirs.wait_until(in_ms(5)),
                rt::sleep(MS),
                rt::sleep_until(in_ms(5)),
                rt::yield_now(),
                rt::park(),
                rt::park_until(in_ms(5)),
                rt::timeout(MS, rt::yield_now),
                rt::deadline(in_ms(5), rt::yield_now),
            ]
        });
        settle();
        handle.cancel();
        handle.cancel();
        assert_eq!(handle.join().unwrap(), [CANCELLED; 9]);
        // Nobody was left in the queue.
        assert!(!cond.signal());
        handle.cancel();
    });
}

#[test]
fn a_coroutine_can_cancel_itself() {
    under_seeds(SEEDS, |_| {
        let (sender, receiver) = (Rc::new(Cell::new(None)), Rc::new(Cell::new(None)));
        let (ours, theirs) = (Rc::clone(&sender), Rc::clone(&receiver));
        let handle = rt::spawn(move || {
            let own: rt::JoinHandle<()> = ours.take().unwrap();
            own.cancel();
            theirs.set(Some(rt::yield_now()));
        });
        sender.set(Some(handle));
        settle();
        assert_eq!(receiver.take(), Some(CANCELLED));
    });
}

// What was handed over wins.

#[test]
fn a_signal_that_came_before_the_cancellation_is_returned_and_the_next_call_reports() {
    under_seeds(SEEDS, |_| {
        let cond = Rc::new(Cond::new());
        let theirs = Rc::clone(&cond);
        let handle = rt::spawn(move || (theirs.wait(), rt::yield_now()));
        settle();
        assert!(cond.signal());
        handle.cancel();
        assert_eq!(handle.join().unwrap(), (Ok(()), CANCELLED));
    });
}

#[test]
fn a_time_that_came_before_the_cancellation_wins_too() {
    in_order(|| {
        let slot = Rc::new(Cell::new(None::<rt::JoinHandle<_>>));
        let theirs = Rc::clone(&slot);
        // Both are due in the same turn, and this one runs first.
        let canceller = rt::spawn(move || {
            rt::sleep(MS).unwrap();
            let sleeper = theirs.take().unwrap();
            sleeper.cancel();
            sleeper.join().unwrap()
        });
        slot.set(Some(rt::spawn(|| (rt::sleep(MS), rt::yield_now()))));
        assert_eq!(canceller.join().unwrap(), (Ok(()), CANCELLED));
    });
}

#[test]
fn a_permit_that_came_before_the_cancellation_wins_too() {
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    let slot = Rc::new(Cell::new(None));
    let theirs = Rc::clone(&slot);
    let parked = runtime.spawn(move || {
        theirs.set(Unparker::for_current());
        (rt::park(), rt::park())
    });
    let parked = parked.unwrap();
    runtime.turn(Some(Duration::ZERO)).unwrap();
    slot.take().unwrap().unpark();
    // The permit is taken at the beginning of a turn, before this coroutine runs in it.
    let parked = Rc::new(parked);
    let theirs = Rc::clone(&parked);
    drop(runtime.spawn(move || theirs.cancel()));
    runtime.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(parked.join().unwrap(), (Ok(()), CANCELLED));
}

#[test]
fn a_signal_to_a_waiter_that_was_cancelled_first_goes_on_to_the_next() {
    under_seeds(SEEDS, |_| {
        let cond = Rc::new(Cond::new());
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let cond = Rc::clone(&cond);
                let waiter = rt::spawn(move || cond.wait());
                rt::yield_now().unwrap();
                settle();
                waiter
            })
            .collect();
        // All in one go: nobody runs between these.
        waiters[0].cancel();
        waiters[2].cancel();
        assert!(cond.signal());
        assert!(cond.signal());
        assert!(!cond.signal());
        let ends: Vec<_> = waiters.iter().map(|waiter| waiter.join().unwrap()).collect();
        assert_eq!(ends, [CANCELLED, Ok(()), CANCELLED, Ok(())]);
    });
}

#[test]
fn a_signal_to_a_waiter_that_timed_out_first_goes_on_to_the_next() {
    in_order(|| {
        let cond = Rc::new(Cond::new());
        let (early, late) = (Rc::clone(&cond), Rc::clone(&cond));
        let at = in_ms(5);
        // Expires first, and signals before the others, whose time has come too, run.
        let signaller = Rc::clone(&cond);
        rt::spawn(move || {
            rt::sleep_until(at).unwrap();
            assert!(signaller.signal());
            assert!(!signaller.signal());
        });
        let early = rt::spawn(move || early.wait_until(at));
        let late = rt::spawn(move || late.wait_until(at + SECOND));
        assert!(matches!(early.join().unwrap(), Err(WaitError::TimedOut(_))));
        assert_eq!(late.join().unwrap(), Ok(()));
        assert_eq!(rt::now(), at);
    });
}

// Ignoring errors.

#[test]
fn a_loop_that_ignores_its_cancellation_starves_nobody_and_is_named_once() {
    let logs = logs::capture(|| {
        in_order(|| {
            let rounds = Rc::new(Cell::new(0_u32));
            let theirs = Rc::clone(&rounds);
            let stubborn = Builder::new().name("stubborn").spawn(move || {
                while theirs.get() < 3000 {
                    let _ignored = rt::sleep(SECOND);
                    theirs.set(theirs.get() + 1);
                }
            });
            let stubborn = stubborn.unwrap();
            stubborn.cancel();
            let mut seen = Vec::new();
            for _ in 0..100 {
                rt::yield_now().unwrap();
                seen.push(rounds.get());
            }
            // The first report comes at once, every later one after the others ran.
            let expected: Vec<_> = (1..=100).collect();
            assert_eq!(seen, expected);
            stubborn.join().unwrap();
        });
    });
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert!(logs[0].starts_with("WARN ignored 1000 errors"), "{logs:?}");
    assert!(logs[0].contains("\"stubborn\"") && logs[0].contains("cancelled"), "{logs:?}");
}

/// Whether another coroutine gets to run while `step` is called over and over.
fn lets_others_run(mut step: impl FnMut() -> Result<(), WaitError>) -> bool {
    let ran = Rc::new(Cell::new(false));
    let theirs = Rc::clone(&ran);
    rt::spawn(move || theirs.set(true));
    for _ in 0..10 {
        assert!(step().is_err());
    }
    ran.get()
}

#[test]
fn a_loop_that_ignores_a_passed_deadline_starves_nobody() {
    under_seeds(SEEDS, |_| {
        rt::timeout(MS, || {
            assert!(rt::sleep(SECOND).is_err());
            assert!(lets_others_run(rt::yield_now));
            assert!(lets_others_run(|| rt::timeout(SECOND, rt::yield_now)));
            assert!(lets_others_run(|| rt::deadline(in_ms(9), || Cond::new().wait())));
        });
        assert!(lets_others_run(|| rt::timeout(Duration::ZERO, || rt::sleep(SECOND))));
        assert!(lets_others_run(|| rt::shield(Duration::ZERO, || rt::sleep(SECOND))));
        assert!(lets_others_run(|| Cond::new().wait_until(rt::now())));
    });
}

#[test]
fn ordinary_timeouts_are_not_taken_for_ignored_errors() {
    let logs = logs::capture(|| {
        in_order(|| {
            let cond = Cond::new();
            for _ in 0..2500 {
                assert!(cond.wait_until(in_ms(1)).is_err());
                assert!(rt::timeout(MS, || cond.wait()).is_err());
            }
        });
    });
    assert!(logs.is_empty(), "{logs:?}");
}

// Shield.

#[test]
fn a_shield_keeps_the_cancellation_out_and_it_is_delivered_after() {
    under_seeds(SEEDS, |_| {
        let handle = rt::spawn(|| {
            let inside = rt::shield(SECOND, || {
                let first = rt::sleep(10 * MS);
                (first, rt::yield_now())
            });
            (inside, rt::yield_now())
        });
        settle();
        let before = rt::now();
        // Arrives while the shield is up, and must not end the sleep.
        handle.cancel();
        assert_eq!(handle.join().unwrap(), ((Ok(()), Ok(())), CANCELLED));
        assert_eq!(rt::now() - before, 9 * MS);
    });
}

#[test]
fn a_cancelled_coroutine_can_still_clean_up_under_a_shield_which_has_a_limit() {
    under_seeds(SEEDS, |_| {
        let handle = rt::spawn(|| {
            let end = rt::sleep(SECOND);
            let before = rt::now();
            let limited = rt::shield(7 * MS, || rt::sleep(SECOND));
            (end, limited, rt::now() - before, rt::yield_now())
        });
        settle();
        handle.cancel();
        let (end, limited, took, after) = handle.join().unwrap();
        assert_eq!((end, after), (CANCELLED, CANCELLED));
        assert!(matches!(limited, Err(WaitError::TimedOut(late)) if !late.is_outer()));
        assert_eq!(took, 7 * MS);
    });
}

#[test]
fn a_shield_hides_the_deadline_around_it_only_while_it_is_up() {
    under_seeds(SEEDS, |_| {
        let (inside, after) =
            rt::timeout(2 * MS, || (rt::shield(SECOND, || rt::sleep(10 * MS)), rt::yield_now()));
        assert_eq!(inside, Ok(()));
        assert!(matches!(after, Err(WaitError::TimedOut(late)) if !late.is_outer()));
        assert_eq!(rt::yield_now(), Ok(()));
    });
}

#[test]
fn shields_nest_and_each_has_its_own_limit() {
    under_seeds(SEEDS, |_| {
        let handle = rt::spawn(|| {
            rt::shield(20 * MS, || {
                // The inner one has the later limit: it is a shelter from the outer one's as well.
                let inner = rt::shield(SECOND, || rt::sleep(30 * MS));
                let outer = rt::yield_now();
                (inner, outer)
            })
        });
        settle();
        handle.cancel();
        let (inner, outer) = handle.join().unwrap();
        assert_eq!(inner, Ok(()));
        assert!(matches!(outer, Err(WaitError::TimedOut(_))), "the outer shield's limit");
    });
}

#[test]
fn a_deadline_inside_a_shield_counts() {
    under_seeds(SEEDS, |_| {
        let ended = rt::shield(SECOND, || rt::timeout(3 * MS, || rt::sleep(SECOND)));
        assert!(matches!(ended, Err(WaitError::TimedOut(late)) if !late.is_outer()));
        let ended = rt::shield(3 * MS, || rt::timeout(SECOND, || rt::sleep(2 * SECOND)));
        assert!(matches!(ended, Err(WaitError::TimedOut(late)) if late.is_outer()));
    });
}

#[test]
fn a_shield_that_panics_comes_down() {
    under_seeds(SEEDS, |_| {
        let handle = rt::spawn(|| {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                rt::shield(SECOND, || {
                    sleep_ms(2);
                    panic!("in the shield");
                });
            }));
            (panicked.is_err(), rt::yield_now())
        });
        settle();
        handle.cancel();
        assert_eq!(handle.join().unwrap(), (true, CANCELLED));
    });
}

#[test]
fn a_block_is_not_cancelled_any_more_when_it_is_used_again() {
    in_order(|| {
        let log = Log::new();
        for _ in 0..3 {
            let theirs = log.clone();
            let handle = rt::spawn(move || theirs.push(rt::yield_now()));
            handle.cancel();
            handle.join().unwrap();
            drop(handle);
            let theirs = log.clone();
            rt::spawn(move || theirs.push(rt::yield_now())).join().unwrap();
        }
        assert_eq!(log.take(), [CANCELLED, Ok(())].repeat(3));
    });
}

#[test]
fn outside_a_coroutine_shields_and_deadlines_only_call_their_function() {
    assert_eq!(rt::shield(SECOND, || 1), 1);
    assert_eq!(rt::timeout(SECOND, || 2), 2);
    assert_eq!(rt::deadline(rt::now(), || 3), 3);
}
