//! Starting and ending a runtime, driving it from a foreign loop, and several of them at once.

#[expect(dead_code, reason = "nothing but the log is needed here")]
mod seeds;
mod support;

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use seeds::Log;
use support::{Drops, logs, virtual_runtime};
use thalweg_runtime::sync::Cond;
use thalweg_runtime::{
    self as rt, Builder, ClockKind, JoinError, Refused, RunError, Runtime, Unparker, WaitError,
};

const MS: Duration = Duration::from_millis(1);

fn is_readable(runtime: &Runtime) -> bool {
    let mut fds = [PollFd::new(runtime.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).expect("the descriptor is open") == 1
}

// Starting.

#[test]
fn run_returns_what_its_function_returns() {
    let result: io::Result<u32> = rt::run(|| {
        rt::sleep(MS)?;
        Ok(7)
    });
    assert_eq!(result.unwrap(), 7);
    let done = Rc::new(Cell::new(false));
    let theirs = Rc::clone(&done);
    rt::run(move || theirs.set(rt::yield_now().is_ok()));
    assert!(done.get());
}

#[test]
fn block_on_works_again_and_again_on_one_runtime() {
    let runtime = virtual_runtime();
    for round in 0..3 {
        let value = runtime.block_on(move || {
            let child = rt::spawn(move || rt::sleep(MS).map(|()| round));
            child.join().unwrap().unwrap()
        });
        assert_eq!(value.unwrap(), round);
        assert_eq!(runtime.live(), 0);
    }
}

#[test]
fn a_runtime_inside_a_runtime_is_refused_and_does_no_harm() {
    let runtime = Rc::new(virtual_runtime());
    let same = Rc::clone(&runtime);
    runtime
        .block_on(move || {
            assert!(matches!(same.block_on(|| ()), Err(RunError::Nested)));
            assert!(matches!(same.turn(None), Err(RunError::Nested)));
            let other = virtual_runtime();
            assert!(matches!(other.block_on(|| ()), Err(RunError::Nested)));
            assert!(matches!(other.turn(None), Err(RunError::Nested)));
            let result: Result<(), RunError> = rt::run(|| Ok(()));
            assert!(matches!(result, Err(RunError::Nested)));
            // A program that cannot return the error panics with it.
            let panic = catch_unwind(|| rt::run(|| ())).unwrap_err();
            let message = panic.downcast_ref::<String>().unwrap();
            assert!(message.contains("already running on this thread"), "{message}");
            rt::yield_now().unwrap();
        })
        .unwrap();
}

#[test]
fn wrong_stack_sizes_are_refused_by_the_builder() {
    for size in [0, 1, 64 << 10, (128 << 10) - 1, (1 << 30) + 1, usize::MAX] {
        let error = Runtime::builder().stack_size(size).build().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("a stack of {size} bytes")), "{error}");
    }
}

#[test]
fn the_builders_name_and_stack_size_are_the_runtimes() {
    let builder = Runtime::builder().name("edge").stack_size(300 << 10);
    let runtime = builder.build().unwrap();
    assert_eq!(runtime.name(), Some("edge"));
    assert!(format!("{runtime:?}").contains("edge"), "{runtime:?}");
    let (name, size) = runtime
        .block_on(|| {
            let current = rt::current().unwrap();
            (current.name().map(str::to_owned), current.stack_size())
        })
        .unwrap();
    assert_eq!((name.as_deref(), size), (Some("main"), 512 << 10));
}

// Ending.

#[test]
fn others_are_cancelled_when_the_root_returns_and_may_clean_up() {
    let log = Log::new();
    let theirs = log.clone();
    virtual_runtime()
        .block_on(move || {
            rt::spawn(move || {
                theirs.push(rt::sleep(Duration::from_secs(100)).unwrap_err().to_string());
                rt::shield(4 * Duration::from_secs(1), || {
                    rt::sleep(Duration::from_secs(3)).unwrap();
                    theirs.push("cleaned up".into());
                });
                theirs.push(rt::yield_now().unwrap_err().to_string());
            });
            rt::yield_now().unwrap();
        })
        .unwrap();
    let cancelled = "the coroutine was cancelled".to_owned();
    assert_eq!(log.take(), [cancelled.clone(), "cleaned up".into(), cancelled]);
}

#[test]
fn coroutines_that_never_ran_still_run_at_the_end_and_are_cancelled() {
    let log = Log::new();
    let theirs = log.clone();
    let runtime = virtual_runtime();
    drop(runtime.spawn(move || theirs.push(rt::yield_now())).unwrap());
    drop(runtime);
    assert_eq!(log.take(), [Err(WaitError::Cancelled)]);
}

#[test]
fn coroutines_spawned_while_others_are_ended_are_cancelled_too_but_for_those_of_a_shield() {
    let log = Log::new();
    let theirs = log.clone();
    let logs = logs::capture(|| {
        let runtime = virtual_runtime();
        runtime
            .block_on(move || {
                rt::spawn(move || {
                    let _cancelled = rt::sleep(Duration::from_secs(1));
                    let late = theirs.clone();
                    rt::spawn(move || late.push(("late", Cond::new().wait())));
                    rt::shield(Duration::from_secs(1), || {
                        rt::scope(|s| {
                            s.spawn(|| theirs.push(("shielded", rt::sleep(MS))));
                        });
                    });
                });
                rt::yield_now().unwrap();
            })
            .unwrap();
        // Only while they are ended.
        assert_eq!(runtime.block_on(|| rt::spawn(rt::yield_now).join().unwrap()).unwrap(), Ok(()));
    });
    assert_eq!(logs, [] as [&str; 0]);
    assert_eq!(log.take(), [("late", Err(WaitError::Cancelled)), ("shielded", Ok(()))]);
}

#[test]
fn a_panic_of_the_root_comes_out_of_block_on_after_the_others_have_ended() {
    let drops = Drops::default();
    let guard = drops.guard();
    let runtime = virtual_runtime();
    let payload = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(move || {
            rt::spawn(move || {
                let _guard = guard;
                let _cancelled = rt::sleep(Duration::from_secs(1));
            });
            rt::yield_now().unwrap();
            panic_any(42_u32);
        })
    }))
    .unwrap_err();
    assert_eq!(payload.downcast_ref::<u32>(), Some(&42));
    assert_eq!((drops.count(), runtime.live()), (1, 0));
}

#[test]
fn what_outlasts_the_grace_is_left_behind_with_one_warning_that_names_it() {
    let drops = Drops::default();
    let guard = drops.guard();
    let logs = logs::capture(|| {
        let runtime = virtual_runtime();
        let slow = runtime.block_on(move || {
            let slow = Builder::new().name("slow").spawn(move || {
                let _guard = guard;
                rt::shield(Duration::from_secs(60), || rt::sleep(Duration::from_secs(50)))
            });
            rt::spawn(|| {
                rt::shield(Duration::from_secs(9), || rt::sleep(Duration::from_secs(4))).unwrap();
            });
            rt::yield_now().unwrap();
            slow.unwrap()
        });
        let slow = slow.unwrap();
        let counts = runtime.stats();
        assert_eq!((counts.live, counts.stacks_in_use, counts.timers), (0, 1, 0));
        assert!(!slow.is_finished());
        assert!(matches!(slow.join(), Err(JoinError::LeftBehind)));
        slow.cancel();
        // The runtime goes on without it.
        assert_eq!(runtime.block_on(|| rt::sleep(MS)).unwrap(), Ok(()));
        let error = runtime.block_on(move || slow.join()).unwrap().unwrap_err();
        assert!(matches!(error, JoinError::LeftBehind), "{error}");
    });
    assert_eq!(logs.len(), 1, "{logs:?}");
    assert!(logs[0].starts_with("WARN"), "{logs:?}");
    assert!(logs[0].contains("\"slow\" waits for a timer"), "{logs:?}");
    // Never unwound, also not when the runtime was dropped.
    assert_eq!(drops.count(), 0);
}

#[test]
fn a_loop_that_catches_all_and_never_ends_is_left_behind_after_the_grace() {
    for clock in [ClockKind::Real, ClockKind::Virtual] {
        let rounds = Rc::new(Cell::new(0_u64));
        let theirs = Rc::clone(&rounds);
        let runtime = Runtime::builder().clock(clock).shutdown_grace(20 * MS).build().unwrap();
        let logs = logs::capture(|| {
            runtime
                .block_on(move || {
                    rt::spawn(move || {
                        loop {
                            let _ignored = catch_unwind(|| rt::sleep(Duration::from_secs(1)));
                            theirs.set(theirs.get() + 1);
                        }
                    });
                    rt::yield_now().unwrap();
                })
                .unwrap();
        });
        assert!(rounds.get() > 1, "{clock:?}");
        assert_eq!(logs.iter().filter(|line| line.contains("left behind")).count(), 1, "{logs:?}");
        let ended_at = rounds.get();
        runtime.block_on(|| rt::sleep(MS)).unwrap().unwrap();
        assert_eq!(rounds.get(), ended_at, "a coroutine that was left behind ran");
    }
}

#[test]
fn the_grace_ends_also_while_an_unparker_holds_a_virtual_clock_still() {
    let runtime =
        Runtime::builder().clock(ClockKind::Virtual).shutdown_grace(20 * MS).build().unwrap();
    let unparker = Rc::new(RefCell::new(None));
    let theirs = Rc::clone(&unparker);
    let logs = logs::capture(|| {
        runtime
            .block_on(move || {
                rt::spawn(move || {
                    theirs.replace(Unparker::for_current());
                    rt::shield(Duration::from_secs(9), || rt::sleep(Duration::from_secs(1)))
                });
                rt::yield_now().unwrap();
            })
            .unwrap();
    });
    assert_eq!(logs.len(), 1, "{logs:?}");
}

#[test]
fn dropping_a_runtime_while_its_thread_unwinds_leaves_its_coroutines_behind() {
    let drops = Drops::default();
    let guard = drops.guard();
    let logs = logs::capture(|| {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let runtime = virtual_runtime();
            let _parked = runtime.spawn(move || {
                let _guard = guard;
                rt::sleep(MS)
            });
            runtime.turn(Some(Duration::ZERO)).unwrap();
            panic!("the embedder fails");
        }));
        assert!(unwound.is_err());
    });
    assert_eq!((logs.len(), drops.count()), (1, 0), "{logs:?}");
}

// Deadlock.

#[test]
fn a_deadlock_is_reported_with_who_waits_for_what() {
    let drops = Drops::default();
    let guard = drops.guard();
    let runtime = virtual_runtime();
    let error = runtime
        .block_on(move || {
            let consumer = Builder::new().name("consumer").spawn(move || {
                let _guard = guard;
                Cond::new().wait()
            });
            drop(consumer.unwrap().join());
        })
        .unwrap_err();
    let RunError::Deadlock(dump) = &error else { panic!("{error:?}") };
    let lines: Vec<&str> = dump.lines().collect();
    assert_eq!(lines.len(), 2, "{dump}");
    assert!(lines[0].contains("coroutine 1 \"main\" waits for coroutine 2"), "{dump}");
    assert!(lines[1].contains("coroutine 2 \"consumer\" waits for a Cond"), "{dump}");
    assert!(lines.iter().all(|line| line.contains("spawned at")), "{dump}");
    assert!(lines.iter().all(|line| line.contains("tests/runtime.rs:")), "{dump}");
    assert!(error.to_string().starts_with("deadlock: "), "{error}");
    // All were cancelled and have ended, and the runtime can be used again.
    assert_eq!((runtime.live(), drops.count()), (0, 1));
    assert_eq!(runtime.block_on(|| 5).unwrap(), 5);
    // A coroutine cannot wait for ever with the longest of sleeps either.
    let error = runtime.block_on(|| rt::sleep(Duration::MAX)).unwrap_err();
    assert!(matches!(error, RunError::Deadlock(_)), "{error}");
}

// Embedding.

#[test]
fn a_foreign_loop_drives_the_runtime() {
    let runtime = Runtime::builder().build().unwrap();
    let handle = runtime
        .spawn(|| {
            let unparker = Unparker::for_current().unwrap();
            let thread = thread::spawn(move || unparker.unpark());
            rt::park().unwrap();
            rt::sleep(3 * MS).unwrap();
            thread
        })
        .unwrap();
    while !handle.is_finished() {
        let timeout = runtime.next_deadline().map_or(PollTimeout::NONE, |due| {
            let left = due.saturating_duration_since(rt::now());
            u16::try_from(left.as_millis() + 1).unwrap().into()
        });
        let runnable = runtime.next_deadline().is_some_and(|due| due <= rt::now());
        let timeout = if runnable { PollTimeout::ZERO } else { timeout };
        let mut fds = [PollFd::new(runtime.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, timeout).unwrap();
        runtime.turn(Some(Duration::ZERO)).unwrap();
    }
    let thread = handle.join().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the thread has ended, or is about to")]
    thread.join().unwrap();
}

#[test]
fn the_descriptor_is_readable_from_an_event_until_the_turn_that_takes_it() {
    let runtime = Runtime::builder().build().unwrap();
    let unparker = Rc::new(RefCell::new(None));
    let theirs = Rc::clone(&unparker);
    let handle = runtime
        .spawn(move || {
            theirs.replace(Unparker::for_current());
            (rt::park(), rt::park())
        })
        .unwrap();
    assert!(runtime.next_deadline().is_some_and(|due| due <= rt::now()), "runnable");
    // The spawn does not show in the descriptor: that is what `next_deadline` is for.
    runtime.turn(Some(Duration::ZERO)).unwrap();
    let unparker = unparker.take().unwrap();
    for _ in 0..2 {
        assert_eq!(runtime.next_deadline(), None, "waits for events only");
        assert!(!is_readable(&runtime));
        unparker.unpark();
        unparker.unpark();
        assert!(is_readable(&runtime));
        assert!(runtime.next_deadline().is_some(), "an event is there");
        let mut turns = 0;
        while is_readable(&runtime) || runtime.next_deadline().is_some() {
            runtime.turn(Some(Duration::ZERO)).unwrap();
            turns += 1;
            assert!(turns < 5, "an event that was taken keeps the descriptor readable");
        }
    }
    assert_eq!(handle.join().unwrap(), (Ok(()), Ok(())));
}

#[test]
fn next_deadline_is_that_of_the_earliest_timer() {
    let runtime = Runtime::builder().timer_slack(Duration::ZERO).build().unwrap();
    let due = Rc::new(Cell::new(None));
    for ms in [50_000, 20_000, 30_000] {
        let due = Rc::clone(&due);
        drop(runtime.spawn(move || {
            let at = rt::now() + ms * MS;
            due.set(Some(due.get().map_or(at, |earlier: Instant| earlier.min(at))));
            rt::sleep_until(at)
        }));
    }
    runtime.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(runtime.next_deadline(), due.get());
}

#[test]
fn a_turn_waits_no_longer_than_it_may() {
    let runtime = Runtime::builder().build().unwrap();
    let before = rt::now();
    runtime.turn(Some(5 * MS)).unwrap();
    assert!(rt::now() - before >= 5 * MS);
    let handle = runtime.spawn(|| 1).unwrap();
    // Whoever is runnable is run without waiting for events first.
    runtime.turn(None).unwrap();
    assert_eq!(handle.join().unwrap(), 1);
}

#[test]
fn a_virtual_clock_moves_no_further_than_a_turn_may_wait() {
    let runtime = virtual_runtime();
    let handle = runtime.spawn(|| rt::sleep(10 * MS)).unwrap();
    for _ in 0..3 {
        runtime.turn(Some(Duration::ZERO)).unwrap();
    }
    let due = runtime.next_deadline().unwrap();
    runtime.turn(Some(4 * MS)).unwrap();
    runtime.turn(Some(5 * MS)).unwrap();
    assert!(!handle.is_finished());
    assert_eq!(runtime.next_deadline(), Some(due));
    runtime.turn(Some(5 * MS)).unwrap();
    assert!(handle.is_finished());
}

#[test]
fn spawn_from_outside_runs_in_the_next_turn_and_can_be_joined_when_it_has_ended() {
    let runtime = virtual_runtime();
    let handle = runtime.spawn(|| rt::current().unwrap().id()).unwrap();
    let early = handle.join().unwrap_err();
    assert!(matches!(early, JoinError::Wait(WaitError::Refused(Refused::NoCoroutine))), "{early}");
    assert_eq!(runtime.live(), 1);
    runtime.turn(None).unwrap();
    assert_eq!(handle.join().unwrap(), handle.id());
}

// Several runtimes.

#[test]
fn threads_have_a_runtime_each() {
    let threads: Vec<_> = (0..4_u64)
        .map(|n| {
            thread::spawn(move || {
                let result: Result<u64, RunError> = rt::run(move || {
                    let parts: Vec<_> = (0..50)
                        .map(|part| rt::spawn(move || rt::sleep(MS).map(|()| part * n)))
                        .collect();
                    Ok(parts.iter().map(|part| part.join().unwrap().unwrap()).sum())
                });
                result.unwrap()
            })
        })
        .collect();
    for (n, thread) in (0..).zip(threads) {
        #[expect(clippy::disallowed_methods, reason = "no coroutine runs on this thread")]
        let sum = thread.join().unwrap();
        assert_eq!(sum, n * (0..50).sum::<u64>());
    }
}

#[test]
fn two_runtimes_take_turns_on_one_thread_and_wake_each_other() {
    let [left, right] = [virtual_runtime(), virtual_runtime()];
    let conds = Rc::new([Cond::new(), Cond::new()]);
    let log = Log::new();
    for (side, runtime) in [&left, &right].into_iter().enumerate() {
        let (conds, log) = (Rc::clone(&conds), log.clone());
        drop(runtime.spawn(move || {
            for round in 0..3 {
                conds[side].wait().unwrap();
                log.push((round, side));
                conds[1 - side].signal();
            }
        }));
        runtime.turn(Some(Duration::ZERO)).unwrap();
        assert!(!is_readable(runtime));
    }
    // From outside both.
    assert!(conds[0].signal());
    for _ in 0..3 {
        assert!(is_readable(&left), "the signal ends the left one's wait for events");
        left.turn(None).unwrap();
        assert!(is_readable(&right), "the signal ends the right one's wait for events");
        right.turn(None).unwrap();
    }
    assert_eq!(log.take(), [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
    assert_eq!((left.live(), right.live()), (0, 0));
}

#[test]
fn a_join_reaches_over_to_a_coroutine_of_another_runtime() {
    let [here, there] = [virtual_runtime(), virtual_runtime()];
    let target = Rc::new(there.spawn(|| rt::sleep(MS).map(|()| 9)).unwrap());
    let joined = Rc::clone(&target);
    let joiner = here.spawn(move || joined.join()).unwrap();
    here.turn(Some(Duration::ZERO)).unwrap();
    while !target.is_finished() {
        there.turn(None).unwrap();
    }
    here.turn(None).unwrap();
    assert_eq!(joiner.join().unwrap().unwrap(), Ok(9));
}

#[test]
fn a_deadlock_over_to_another_runtime_is_told_without_naming_a_coroutine_of_ones_own() {
    let [here, there] = [virtual_runtime(), virtual_runtime()];
    let targets: Vec<_> = (0..1000).map(|_| there.spawn(|| Cond::new().wait()).unwrap()).collect();
    // Its slot is one that the runtime here does not even have.
    let error = here.block_on(move || drop(targets[999].join())).unwrap_err().to_string();
    let expected = "\"main\" waits for a coroutine of another runtime to end";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_join_over_to_a_runtime_that_leaves_its_coroutine_behind_says_so() {
    let here = virtual_runtime();
    let there = Runtime::builder()
        .clock(ClockKind::Virtual)
        .shutdown_grace(Duration::ZERO)
        .build()
        .unwrap();
    let target = Rc::new(there.spawn(|| Cond::new().wait()).unwrap());
    let joined = Rc::clone(&target);
    let joiner = here.spawn(move || joined.join()).unwrap();
    there.turn(Some(Duration::ZERO)).unwrap();
    here.turn(Some(Duration::ZERO)).unwrap();
    drop(logs::capture(|| drop(there)));
    here.turn(None).unwrap();
    assert!(matches!(joiner.join().unwrap(), Err(JoinError::LeftBehind)));
}
