//! Waking a coroutine from other threads.

#[expect(dead_code, reason = "nothing but the log is needed here")]
mod seeds;
mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use seeds::Log;
use support::{scaled, virtual_runtime};
use thalweg_runtime::{self as rt, RunError, Runtime, Unparker, WaitError};

const MS: Duration = Duration::from_millis(1);

/// A coroutine on `runtime` that parks over and over until it fails, and its unparker.
fn parking(runtime: &Runtime) -> (Rc<Cell<u32>>, Unparker) {
    let count = Rc::new(Cell::new(0));
    let unparker = Rc::new(RefCell::new(None));
    let (theirs, slot) = (Rc::clone(&count), Rc::clone(&unparker));
    let body = move || {
        slot.replace(Unparker::for_current());
        while rt::park().is_ok() {
            theirs.set(theirs.get() + 1);
        }
    };
    drop(runtime.spawn(body).expect("there are stacks"));
    runtime.turn(Some(Duration::ZERO)).expect("epoll works");
    let unparker = unparker.take();
    (count, unparker.expect("it has run"))
}

#[test]
fn a_thread_wakes_a_parked_coroutine() {
    let value = Arc::new(AtomicU32::new(0));
    let theirs = Arc::clone(&value);
    let runtime = Runtime::builder().build().unwrap();
    runtime
        .block_on(move || {
            let unparker = Unparker::for_current().unwrap();
            let writes = Arc::clone(&theirs);
            let thread = thread::spawn(move || {
                writes.store(5, Ordering::Relaxed);
                unparker.unpark();
            });
            rt::park().unwrap();
            assert_eq!(theirs.load(Ordering::Relaxed), 5);
            drop(thread);
        })
        .unwrap();
    assert!(Unparker::for_current().is_none());
}

#[test]
fn a_permit_given_before_the_park_is_kept_and_a_second_one_changes_nothing() {
    let runtime = virtual_runtime();
    runtime
        .block_on(|| {
            let unparker = Unparker::for_current().unwrap();
            let again = unparker.clone();
            unparker.unpark();
            again.unpark();
            // Taken by the runtime in its next turn, while the coroutine does other things.
            rt::yield_now().unwrap();
            rt::yield_now().unwrap();
            drop((unparker, again));
            assert_eq!(rt::park(), Ok(()));
            let late = rt::park_until(rt::now() + MS);
            assert!(matches!(late, Err(WaitError::TimedOut(_))), "{late:?}");
        })
        .unwrap();
}

#[test]
fn a_permit_does_not_end_another_wait_and_stays_for_the_next_park() {
    let runtime = Runtime::builder().build().unwrap();
    runtime
        .block_on(|| {
            let before = rt::now();
            Unparker::for_current().unwrap().unpark();
            rt::sleep(3 * MS).unwrap();
            assert!(rt::now() - before >= 3 * MS);
            assert_eq!(rt::park(), Ok(()));
        })
        .unwrap();
}

#[test]
fn a_burst_of_unparks_costs_one_turn() {
    let runtime = virtual_runtime();
    let parked: Vec<_> = (0..50).map(|_| parking(&runtime)).collect();
    for (_, unparker) in &parked {
        for _ in 0..20 {
            unparker.unpark();
        }
    }
    runtime.turn(Some(Duration::ZERO)).unwrap();
    assert!(parked.iter().all(|(count, _)| count.get() == 1));
    runtime.turn(Some(Duration::ZERO)).unwrap();
    assert!(parked.iter().all(|(count, _)| count.get() == 1), "each got one permit");
    assert_eq!(runtime.next_deadline(), None);
}

#[test]
fn an_unparker_of_an_ended_coroutine_does_nothing_to_the_next_one_in_its_block() {
    let runtime = virtual_runtime();
    let ended = runtime.spawn(|| Unparker::for_current().unwrap()).unwrap();
    runtime.turn(Some(Duration::ZERO)).unwrap();
    let stale = ended.join().unwrap();
    stale.unpark();
    runtime.turn(Some(Duration::ZERO)).unwrap();
    drop(ended);
    let (count, unparker) = parking(&runtime);
    stale.unpark();
    runtime.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(count.get(), 0);
    unparker.unpark();
    runtime.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(count.get(), 1);
}

#[test]
fn a_permit_is_not_inherited_by_the_next_coroutine_in_the_block() {
    let runtime = virtual_runtime();
    runtime
        .block_on(|| {
            for _ in 0..3 {
                let child = rt::spawn(|| {
                    Unparker::for_current().unwrap().unpark();
                    rt::yield_now().unwrap();
                    rt::yield_now().unwrap();
                });
                child.join().unwrap();
                drop(child);
                let late = rt::spawn(|| rt::park_until(rt::now() + MS)).join().unwrap();
                assert!(matches!(late, Err(WaitError::TimedOut(_))), "{late:?}");
            }
        })
        .unwrap();
}

#[test]
fn an_unparker_outlives_its_runtime() {
    let runtime = virtual_runtime();
    let (_, unparker) = parking(&runtime);
    drop(runtime);
    unparker.unpark();
    drop(unparker.clone());
    drop(unparker);
}

#[test]
fn a_deadlock_is_found_when_the_last_unparker_is_dropped() {
    let runtime = virtual_runtime();
    let dropped = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&dropped);
    let error = runtime.block_on(move || {
        let unparker = Unparker::for_current().unwrap();
        let clone = unparker.clone();
        drop(thread::spawn(move || {
            drop(unparker);
            thread::yield_now();
            dropped.store(true, Ordering::SeqCst);
            drop(clone);
        }));
        let _cancelled = rt::park();
    });
    assert!(matches!(error, Err(RunError::Deadlock(_))), "{error:?}");
    assert!(seen.load(Ordering::SeqCst), "one was left, and yet it was called a deadlock");
}

#[test]
fn an_unparker_that_is_used_and_dropped_at_once_wakes_its_coroutine() {
    for _ in 0..scaled(200, 10) {
        let runtime = virtual_runtime();
        let result = runtime.block_on(|| {
            let unparker = Unparker::for_current().unwrap();
            drop(thread::spawn(move || unparker.unpark()));
            rt::park()
        });
        assert_eq!(result.unwrap(), Ok(()));
    }
}

#[test]
fn a_virtual_clock_stands_still_while_an_unparker_exists() {
    let runtime = virtual_runtime();
    let log = Log::new();
    let theirs = log.clone();
    runtime
        .block_on(move || {
            let entries = theirs.clone();
            let start = rt::now();
            let sleeper = rt::spawn(move || {
                rt::sleep(MS).unwrap();
                entries.push(("sleeper", rt::now() - start));
            });
            let unparker = Unparker::for_current().unwrap();
            drop(thread::spawn(move || unparker.unpark()));
            rt::park().unwrap();
            theirs.push(("unparked", rt::now() - start));
            sleeper.join().unwrap();
        })
        .unwrap();
    assert_eq!(log.take(), [("unparked", Duration::ZERO), ("sleeper", MS)]);
}

#[test]
fn a_deadline_and_a_cancellation_end_a_park() {
    let runtime = virtual_runtime();
    runtime
        .block_on(|| {
            let late = rt::timeout(MS, rt::park);
            assert!(matches!(late, Err(WaitError::TimedOut(late)) if !late.is_outer()));
            let parked = rt::spawn(rt::park);
            rt::yield_now().unwrap();
            parked.cancel();
            assert_eq!(parked.join().unwrap(), Err(WaitError::Cancelled));
        })
        .unwrap();
}

#[test]
fn many_threads_lose_no_wake_up() {
    let threads = 4;
    let rounds = u32::try_from(scaled(2_000, 50)).unwrap();
    let runtime = Runtime::builder().build().unwrap();
    runtime
        .block_on(move || {
            let counters: Vec<_> = (0..threads)
                .map(|_| {
                    rt::spawn(move || {
                        let asked = Arc::new(AtomicU32::new(0));
                        let answered = Arc::new(AtomicU32::new(0));
                        let unparker = Unparker::for_current().unwrap();
                        let (asks, answers) = (Arc::clone(&asked), Arc::clone(&answered));
                        drop(thread::spawn(move || {
                            for round in 1..=rounds {
                                asks.store(round, Ordering::Release);
                                unparker.unpark();
                                while answers.load(Ordering::Acquire) < round {
                                    thread::yield_now();
                                }
                            }
                        }));
                        while answered.load(Ordering::Relaxed) < rounds {
                            rt::park().unwrap();
                            answered.store(asked.load(Ordering::Acquire), Ordering::Release);
                        }
                    })
                })
                .collect();
            counters.iter().for_each(|counter| counter.join().unwrap());
        })
        .unwrap();
}
