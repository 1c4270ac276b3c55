//! Coroutines that borrow from their parent, and the parent's wait for them.

#[expect(dead_code, reason = "no test here needs random numbers")]
mod seeds;
mod support;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use seeds::{Log, in_ms, settle, sleep_ms, under_seeds};
use support::{Drops, logs, scaled};
use thalweg_runtime::sync::Cond;
use thalweg_runtime::{self as rt, Builder, ClockKind, JoinError, Runtime, WaitError};

const SEEDS: u64 = 16;
const SECOND: Duration = Duration::from_secs(1);

fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload.downcast_ref::<&str>().copied().unwrap_or("no text")
}

#[test]
fn children_borrow_their_parents_locals_and_all_have_ended_when_scope_returns() {
    under_seeds(SEEDS, |_| {
        let mut sums = [0; 8];
        let factor = 3;
        let result = rt::scope(|s| {
            for (n, sum) in (0..).zip(&mut sums) {
                s.spawn(move || {
                    for _ in 0..n {
                        sleep_ms(1);
                        *sum += factor;
                    }
                });
            }
            "done"
        });
        assert_eq!(result, "done");
        assert_eq!(sums, [0, 3, 6, 9, 12, 15, 18, 21]);
    });
}

#[test]
fn a_childs_value_may_borrow_too() {
    under_seeds(SEEDS, |_| {
        let text = String::from("left right");
        let (left, right) = rt::scope(|s| {
            let left = s.spawn(|| text.split(' ').next().unwrap());
            let right = s.spawn(|| {
                sleep_ms(1);
                text.split(' ').nth(1).unwrap()
            });
            let words = (left.join().unwrap(), right.join().unwrap());
            assert!(matches!(left.join(), Err(JoinError::Taken)));
            words
        });
        assert_eq!((left, right), ("left", "right"));
    });
}

#[test]
fn a_value_that_nobody_takes_is_dropped_before_scope_returns() {
    under_seeds(SEEDS, |_| {
        let drops = Drops::default();
        rt::scope(|s| {
            drop(s.spawn(|| drops.guard()));
            let kept = s.spawn(|| drops.guard());
            drop(kept.join_until(in_ms(1)).unwrap());
        });
        assert_eq!(drops.count(), 2);
    });
}

#[test]
fn a_scope_without_children_does_not_suspend() {
    under_seeds(SEEDS, |_| {
        let log = Log::new();
        let theirs = log.clone();
        rt::spawn(move || theirs.push("other"));
        assert_eq!(rt::scope(|_| 5), 5);
        assert_eq!(log.take(), [] as [&str; 0]);
    });
    // Nor does it need a runtime.
    assert_eq!(rt::scope(|_| 6), 6);
}

#[test]
fn a_child_spawns_into_its_own_scope_and_into_one_of_its_own() {
    under_seeds(SEEDS, |_| {
        let count = Cell::new(0);
        let add = || count.set(count.get() + 1);
        rt::scope(|s| {
            s.spawn(|| {
                sleep_ms(1);
                s.spawn(|| {
                    sleep_ms(1);
                    s.spawn(add);
                    add();
                });
                let mut own = 0;
                rt::scope(|inner| {
                    inner.spawn(|| {
                        sleep_ms(3);
                        own += 1;
                    });
                });
                assert_eq!(own, 1);
                add();
            });
        });
        assert_eq!(count.get(), 3);
    });
}

// Panics.

#[test]
fn a_panic_of_the_parent_waits_for_parked_children_which_are_cancelled() {
    under_seeds(SEEDS, |_| {
        let mut seen = Vec::new();
        let payload = catch_unwind(AssertUnwindSafe(|| {
            rt::scope(|s| {
                s.spawn(|| {
                    seen.push(rt::sleep(100 * SECOND));
                    // Its locals are still there while it cleans up.
                    rt::shield(SECOND, || sleep_ms(5));
                    seen.push(rt::yield_now());
                });
                settle();
                panic!("the parent");
            });
        }))
        .unwrap_err();
        assert_eq!(message(&*payload), "the parent");
        assert_eq!(seen, [Err(WaitError::Cancelled), Err(WaitError::Cancelled)]);
    });
}

#[test]
fn a_panic_of_the_parent_keeps_its_place_when_children_panic_later() {
    under_seeds(SEEDS, |_| {
        let outer = rt::spawn(|| {
            rt::scope(|s| {
                s.spawn(|| {
                    let _cancelled = rt::sleep(SECOND);
                    panic!("the child");
                });
                settle();
                panic!("the parent");
            });
        });
        let JoinError::Panicked(panic) = outer.join().unwrap_err() else { panic!("no panic") };
        assert_eq!(panic.message(), Some("the parent"));
        let place = panic.location().unwrap();
        assert!(place.contains("tests/scope.rs:"), "{place}");
    });
}

#[test]
fn a_panic_of_a_child_that_nobody_joined_comes_out_of_scope_when_all_have_ended() {
    under_seeds(SEEDS, |_| {
        let mut others = 0;
        let payload = catch_unwind(AssertUnwindSafe(|| {
            rt::scope(|s| {
                s.spawn(|| panic!("the child"));
                s.spawn(|| {
                    sleep_ms(5);
                    others += 1;
                });
            });
        }))
        .unwrap_err();
        assert_eq!(message(&*payload), "a scoped coroutine panicked");
        assert_eq!(others, 1);
    });
}

#[test]
fn a_panic_of_a_child_that_was_joined_is_an_error_for_the_joiner_alone() {
    under_seeds(SEEDS, |_| {
        let mut others = 0;
        let caught = rt::scope(|s| {
            let child = s.spawn(|| panic!("the child"));
            s.spawn(|| {
                sleep_ms(5);
                others += 1;
            });
            match child.join() {
                Err(JoinError::Panicked(panic)) => panic.message().map(str::to_owned),
                _ => None,
            }
        });
        assert_eq!(caught.as_deref(), Some("the child"));
        assert_eq!(others, 1);
    });
}

// Cancellation and deadlines.

#[test]
fn cancelling_the_parent_cancels_the_children_and_it_waits_for_them() {
    under_seeds(SEEDS, |_| {
        let parent = rt::spawn(|| {
            let mut ends = Vec::new();
            rt::scope(|s| {
                s.spawn(|| {
                    let ended = rt::sleep(SECOND);
                    rt::shield(SECOND, || sleep_ms(7));
                    ends.push(ended);
                });
            });
            (ends, rt::yield_now())
        });
        settle();
        let before = rt::now();
        parent.cancel();
        let cancelled = Err(WaitError::Cancelled);
        assert_eq!(parent.join().unwrap(), (vec![cancelled], cancelled));
        assert_eq!(rt::now() - before, Duration::from_millis(7));
    });
}

#[test]
fn a_child_in_shield_is_waited_for_while_the_parent_is_cancelled_again_and_again() {
    under_seeds(SEEDS, |_| {
        let parent = rt::spawn(|| {
            let mut data = vec![1; 1000];
            rt::scope(|s| {
                s.spawn(|| {
                    rt::shield(SECOND, || {
                        sleep_ms(20);
                        data.fill(2);
                    });
                });
            });
            data.iter().sum::<i32>()
        });
        for _ in 0..5 {
            settle();
            parent.cancel();
        }
        assert_eq!(parent.join().unwrap(), 2000);
    });
}

#[test]
fn a_shield_around_a_scope_shelters_its_children_until_its_limit() {
    under_seeds(SEEDS, |_| {
        let parent = rt::spawn(|| {
            rt::shield(Duration::from_millis(10), || {
                rt::scope(|s| {
                    let short = s.spawn(|| rt::sleep(Duration::from_millis(5)));
                    let long = s.spawn(|| rt::sleep(SECOND));
                    (short.join().unwrap(), long.join())
                })
            })
        });
        settle();
        parent.cancel();
        let (short, long) = parent.join().unwrap();
        assert_eq!(short, Ok(()));
        assert!(matches!(long, Err(JoinError::Wait(WaitError::TimedOut(_)))), "{long:?}");
    });
}

#[test]
fn a_deadline_that_passes_while_scope_waits_ends_the_children_and_not_the_wait() {
    under_seeds(SEEDS, |_| {
        let before = rt::now();
        let mut stubborn = None;
        let mut meek = None;
        rt::timeout(Duration::from_millis(10), || {
            rt::scope(|s| {
                s.spawn(|| meek = Some(rt::sleep(SECOND)));
                s.spawn(|| {
                    rt::shield(SECOND, || sleep_ms(30));
                    stubborn = Some(rt::yield_now());
                });
            });
            assert!(matches!(rt::yield_now(), Err(WaitError::TimedOut(_))));
        });
        assert_eq!(rt::now() - before, Duration::from_millis(30));
        assert!(
            matches!(meek, Some(Err(WaitError::TimedOut(late))) if late.is_outer()),
            "{meek:?}"
        );
        assert_eq!(stubborn, Some(Err(WaitError::Cancelled)));
        rt::yield_now().unwrap();
    });
}

#[test]
fn scope_cancel_reaches_the_children_that_live() {
    under_seeds(SEEDS, |_| {
        let log = Log::new();
        rt::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| log.push(rt::sleep(SECOND)));
            }
            let one = s.spawn(|| log.push(Ok(())));
            one.join().unwrap();
            assert!(one.is_finished());
            s.cancel();
            // One that is spawned later is not cancelled.
            s.spawn(|| log.push(rt::sleep(2 * SECOND)));
        });
        let cancelled = Err(WaitError::Cancelled);
        assert_eq!(log.take(), [Ok(()), cancelled, cancelled, cancelled, Ok(())]);
    });
}

// The end of the runtime.

#[test]
fn a_parent_in_scope_outlives_its_children_when_the_root_returns() {
    for seed in 0..SEEDS {
        let log = Log::new();
        let theirs = log.clone();
        let runtime = Runtime::builder().clock(ClockKind::Virtual).seed(seed).build().unwrap();
        runtime
            .block_on(move || {
                rt::spawn(move || {
                    let mut data = [0_u8; 512];
                    rt::scope(|s| {
                        s.spawn(|| {
                            let _cancelled = rt::sleep(SECOND);
                            rt::shield(SECOND, || sleep_ms(9));
                            data.fill(9);
                        });
                    });
                    theirs.push(data.iter().map(|byte| u32::from(*byte)).sum::<u32>());
                });
                settle();
            })
            .unwrap();
        assert_eq!(log.take(), [512 * 9]);
    }
}

#[test]
fn a_child_that_ignores_cancellation_is_left_behind_with_its_parent() {
    for seed in 0..SEEDS {
        let drops = Drops::default();
        let (parents, childs) = (drops.guard(), drops.guard());
        let mut logs = logs::capture(|| {
            let runtime = Runtime::builder()
                .clock(ClockKind::Virtual)
                .shutdown_grace(Duration::from_millis(5))
                .seed(seed)
                .build()
                .unwrap();
            runtime
                .block_on(move || {
                    let parent = Builder::new().name("parent").spawn(move || {
                        let _parents = parents;
                        let mut data = [0_u8; 512];
                        rt::scope(|s| {
                            let child = Builder::new().name("child");
                            let body = || {
                                let _childs = childs;
                                loop {
                                    let _ignored = rt::sleep(SECOND);
                                    data[7] = data[7].wrapping_add(1);
                                }
                            };
                            drop(child.spawn_scoped(s, body));
                        });
                    });
                    drop(parent);
                    settle();
                })
                .unwrap();
            assert_eq!(runtime.stats().stacks_in_use, 2);
        });
        logs.retain(|line| line.contains("left behind"));
        assert_eq!((logs.len(), drops.count()), (1, 0), "{logs:?}");
        assert!(logs[0].contains("\"parent\" waits for its scope's coroutines"), "{logs:?}");
        assert!(logs[0].contains("\"child\""), "{logs:?}");
    }
}

#[test]
fn a_scope_that_nobody_can_end_is_a_deadlock_that_names_it() {
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    let never = Rc::new(Cond::new());
    let error = runtime.block_on(move || rt::scope(|s| drop(s.spawn(|| never.wait()))));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("\"main\" waits for its scope's coroutines to end"), "{error}");
}

// Memory.

#[test]
fn many_short_lived_children_do_not_pile_up() {
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    let rounds = scaled(5_000, 200);
    runtime
        .block_on(move || {
            let count = Cell::new(0);
            rt::scope(|s| {
                for round in 0..rounds {
                    s.spawn(|| count.set(count.get() + 1));
                    if round % 4 == 0 {
                        rt::yield_now().unwrap();
                    }
                }
            });
            assert_eq!(count.get(), rounds);
        })
        .unwrap();
    let counts = runtime.stats();
    assert_eq!((counts.live, counts.stacks_in_use, counts.timers), (0, 0, 0));
    assert!(counts.stacks_pooled <= 6, "{counts:?}");
}
