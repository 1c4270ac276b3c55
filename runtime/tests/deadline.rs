//! Deadlines: absolute, nested, and told apart.

#[expect(dead_code, reason = "no test here needs random numbers")]
mod seeds;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use seeds::{in_ms, settle, sleep_ms, under_seeds};
use thalweg_runtime::sync::Cond;
use thalweg_runtime::{self as rt, JoinError, WaitError};

const SEEDS: u64 = 16;
const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// Whether `result` is a deadline that passed, and then whether an outer one.
fn is_outer<T: std::fmt::Debug>(result: Result<T, WaitError>) -> bool {
    match result {
        Err(WaitError::TimedOut(late)) => late.is_outer(),
        other => panic!("{other:?} is not a timeout"),
    }
}

#[test]
fn a_deadline_is_absolute_over_many_waits() {
    under_seeds(SEEDS, |_| {
        let before = rt::now();
        let rounds = rt::timeout(10 * MS, || {
            let mut rounds = 0;
            while rt::sleep(3 * MS).is_ok() {
                rounds += 1;
            }
            rounds
        });
        assert_eq!((rounds, rt::now() - before), (3, 10 * MS));
        assert_eq!(rt::sleep(MS), Ok(()));
    });
}

#[test]
fn it_is_checked_before_a_call_has_any_effect() {
    under_seeds(SEEDS, |_| {
        let cond = Rc::new(Cond::new());
        let theirs = Rc::clone(&cond);
        let waiter = rt::spawn(move || theirs.wait());
        settle();
        rt::timeout(Duration::ZERO, || {
            assert!(!is_outer(cond.wait()));
            assert!(!is_outer(rt::yield_now()));
            assert!(!is_outer(rt::sleep(Duration::ZERO)));
            assert!(!is_outer(rt::park()));
        });
        // The failed wait did not get in line, let alone before the waiter.
        assert_eq!((cond.broadcast(), waiter.join().unwrap()), (1, Ok(())));
    });
}

#[test]
fn of_nested_deadlines_the_earlier_is_in_force() {
    under_seeds(SEEDS, |_| {
        for (outer, inner) in [(5, 9), (9, 5), (5, 5)] {
            let before = rt::now();
            let ended = rt::timeout(outer * MS, || {
                let inside = rt::timeout(inner * MS, || rt::sleep(SECOND));
                assert_eq!(rt::now() - before, outer.min(inner) * MS);
                inside
            });
            assert_eq!(is_outer(ended), outer < inner, "{outer} around {inner}");
            rt::yield_now().unwrap();
        }
    });
}

#[test]
fn an_outer_deadline_stays_in_force_after_an_inner_one_has_passed() {
    under_seeds(SEEDS, |_| {
        let before = rt::now();
        rt::timeout(10 * MS, || {
            assert!(!is_outer(rt::timeout(2 * MS, || rt::sleep(SECOND))));
            assert!(!is_outer(rt::sleep(SECOND)));
        });
        assert_eq!(rt::now() - before, 10 * MS);
    });
}

#[test]
fn of_three_deadlines_only_the_innermost_is_not_outer() {
    under_seeds(SEEDS, |_| {
        let nested = |first: u32, second: u32, third: u32| {
            let before = rt::now();
            let ended = rt::timeout(first * MS, || {
                rt::timeout(second * MS, || rt::timeout(third * MS, || rt::sleep(SECOND)))
            });
            (is_outer(ended), (rt::now() - before).as_millis())
        };
        assert_eq!(nested(3, 5, 7), (true, 3));
        assert_eq!(nested(5, 3, 7), (true, 3));
        assert_eq!(nested(7, 5, 3), (false, 3));
        assert_eq!(nested(5, 7, 3), (false, 3));
    });
}

/// A call with a deadline of its own, as there are many.
type Call = fn(std::time::Instant) -> Result<(), WaitError>;

const CALLS: [Call; 3] = [
    |until| Cond::new().wait_until(until),
    |until| rt::park_until(until),
    |until| match rt::spawn(|| rt::sleep(SECOND)).join_until(until) {
        Err(JoinError::Wait(error)) => Err(error),
        other => panic!("{other:?}"),
    },
];

#[test]
fn a_calls_own_deadline_is_the_innermost_while_it_waits() {
    under_seeds(SEEDS, |_| {
        for call in CALLS {
            assert!(!is_outer(call(in_ms(3))));
            assert!(!is_outer(rt::timeout(5 * MS, || call(in_ms(3)))));
            assert!(!is_outer(rt::timeout(5 * MS, || call(in_ms(5)))));
            assert!(is_outer(rt::timeout(3 * MS, || call(in_ms(5)))));
            assert!(is_outer(rt::timeout(3 * MS, || rt::timeout(9 * MS, || call(in_ms(5))))));
            assert!(is_outer(rt::timeout(9 * MS, || rt::timeout(3 * MS, || call(in_ms(5))))));
            assert!(!is_outer(rt::timeout(9 * MS, || rt::timeout(7 * MS, || call(in_ms(5))))));
        }
    });
}

#[test]
fn a_calls_own_deadline_is_the_innermost_on_entry_too() {
    under_seeds(SEEDS, |_| {
        for call in CALLS {
            // Its own has passed, and nothing is around it.
            let past = rt::now();
            sleep_ms(1);
            assert!(!is_outer(call(past)));
            rt::timeout(2 * MS, || {
                sleep_ms(1);
                let _late = rt::sleep(SECOND);
                assert!(is_outer(call(in_ms(5))), "its own is still to come");
                assert!(!is_outer(call(past)), "its own passed first");
            });
        }
    });
}

#[test]
fn a_sleeps_own_end_is_no_deadline() {
    under_seeds(SEEDS, |_| {
        assert_eq!(rt::timeout(5 * MS, || rt::sleep(5 * MS)), Ok(()));
        assert!(!is_outer(rt::timeout(5 * MS, || rt::sleep(6 * MS))));
        assert!(is_outer(rt::timeout(5 * MS, || rt::timeout(8 * MS, || rt::sleep(6 * MS)))));
    });
}

#[test]
fn spawn_does_not_inherit_the_deadline_and_scope_does() {
    under_seeds(SEEDS, |_| {
        let spawned = rt::timeout(5 * MS, || rt::spawn(|| rt::sleep(20 * MS)));
        assert_eq!(spawned.join().unwrap(), Ok(()));
        let scoped = rt::timeout(5 * MS, || {
            let mut scoped = None;
            rt::scope(|s| {
                s.spawn(|| scoped = Some(rt::sleep(20 * MS)));
            });
            scoped.unwrap()
        });
        assert!(is_outer(scoped));
        // Children of children, too, and their own deadlines are the inner ones.
        rt::timeout(5 * MS, || {
            rt::scope(|s| {
                s.spawn(|| {
                    assert!(!is_outer(rt::timeout(2 * MS, || rt::sleep(SECOND))));
                    rt::scope(|s| {
                        s.spawn(|| assert!(is_outer(rt::sleep(SECOND))));
                    });
                });
            });
        });
    });
}

#[test]
fn the_deadline_around_is_back_after_a_panic() {
    under_seeds(SEEDS, |_| {
        let before = rt::now();
        rt::timeout(10 * MS, || {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                rt::timeout(2 * MS, || panic!("inside"));
            }));
            assert!(panicked.is_err());
            assert_eq!(rt::sleep(5 * MS), Ok(()));
            assert!(!is_outer(rt::sleep(SECOND)));
        });
        assert_eq!(rt::now() - before, 10 * MS);
        assert_eq!(rt::sleep(MS), Ok(()));
    });
}

#[test]
fn a_signal_that_came_by_the_deadline_is_returned_and_the_next_call_reports() {
    // The signaller's time comes first and the waiter's in the same turn; under every seed it is
    // the signal or the deadline, never both or neither.
    under_seeds(4 * SEEDS, |_| {
        let cond = Rc::new(Cond::new());
        let theirs = Rc::clone(&cond);
        let signaller = rt::spawn(move || {
            rt::sleep(5 * MS).unwrap();
            theirs.signal()
        });
        let (first, second) = rt::timeout(5 * MS, || (cond.wait(), rt::yield_now()));
        assert_eq!(first.is_ok(), signaller.join().unwrap());
        assert!(!is_outer(second));
    });
}

#[test]
fn far_deadlines_are_no_deadlines() {
    under_seeds(SEEDS, |_| {
        assert_eq!(rt::timeout(Duration::MAX, || rt::sleep(MS)), Ok(()));
        assert_eq!(rt::timeout(Duration::MAX, || rt::timeout(SECOND, rt::yield_now)), Ok(()));
    });
}

#[test]
fn a_passed_deadline_travels_in_an_io_error_and_is_never_interrupted() {
    under_seeds(SEEDS, |_| {
        let error = rt::timeout(MS, || rt::timeout(SECOND, || rt::sleep(2 * SECOND))).unwrap_err();
        let error = io::Error::from(error);
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(rt::timed_out(&error).is_some_and(rt::TimedOut::is_outer));
        assert!(!rt::is_cancelled(&error));
        let error = io::Error::from(WaitError::Cancelled);
        assert_eq!(error.kind(), io::ErrorKind::Other);
        assert!(rt::is_cancelled(&error) && rt::timed_out(&error).is_none());
    });
}
