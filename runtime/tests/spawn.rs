//! Making coroutines, and joining them.
#![expect(clippy::mem_forget, reason = "forgets handles on purpose")]

#[expect(dead_code, reason = "no test here needs random numbers")]
mod seeds;
mod support;

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::forget;
use std::panic::{panic_any, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use seeds::{Log, in_ms, settle, sleep_ms, under_seeds};
use support::{Drops, child, logs, scaled, virtual_runtime};
use thalweg_runtime::{
    self as rt, Builder, ClockKind, JoinError, JoinHandle, Refused, Runtime, WaitError,
};

const SEEDS: u64 = 16;

/// Runs `test` as the root coroutine, first come first served.
fn in_order(test: impl FnOnce() + 'static) {
    virtual_runtime().block_on(test).expect("the test does not deadlock");
}

// Order.

#[test]
fn coroutines_run_in_the_order_they_were_spawned_when_the_spawner_suspends() {
    in_order(|| {
        let log = Log::new();
        for n in 0..100 {
            let log = log.clone();
            rt::spawn(move || log.push(n));
        }
        assert!(log.take().is_empty(), "nothing runs before the spawner suspends");
        rt::yield_now().unwrap();
        assert_eq!(log.take(), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn those_who_yield_take_turns() {
    in_order(|| {
        let log = Log::new();
        let yielders: Vec<_> = (0..3)
            .map(|n| {
                let log = log.clone();
                rt::spawn(move || {
                    for _ in 0..1000 {
                        log.push(n);
                        rt::yield_now().unwrap();
                    }
                })
            })
            .collect();
        yielders.iter().for_each(|yielder| yielder.join().unwrap());
        let rounds: Vec<_> = log.take();
        assert_eq!(rounds, [0, 1, 2].repeat(1000));
    });
}

#[test]
fn a_seed_repeats_its_order_and_seeds_differ() {
    let order = |seed| {
        let log = Log::new();
        let theirs = log.clone();
        let runtime = Runtime::builder().clock(ClockKind::Virtual).seed(seed).build().unwrap();
        runtime
            .block_on(move || {
                for n in 0..20 {
                    let log = theirs.clone();
                    rt::spawn(move || log.push(n));
                }
                settle();
            })
            .unwrap();
        log.take()
    };
    let orders: Vec<_> = (0..8).map(order).collect();
    assert!(orders.iter().enumerate().all(|(n, first)| *first == order(n as u64)));
    assert!(orders.iter().any(|other| *other != orders[0]), "{orders:?}");
}

// What a coroutine is told of itself.

#[test]
fn a_coroutine_knows_its_number_name_and_stack() {
    assert!(rt::current().is_none());
    in_order(|| {
        let main = rt::current().unwrap();
        assert_eq!((main.name(), main.stack_size()), (Some("main"), 256 << 10));
        let builder = Builder::new().name("worker").stack_size((128 << 10) + 1);
        let worker = builder.spawn(|| rt::current().unwrap()).unwrap();
        let nameless = rt::spawn(|| rt::current().unwrap());
        let id = worker.id();
        let worker = worker.join().unwrap();
        assert_eq!(worker.id(), id);
        assert_eq!((worker.name(), worker.stack_size()), (Some("worker"), 256 << 10));
        let nameless = nameless.join().unwrap();
        assert_eq!((nameless.name(), nameless.stack_size()), (None, 256 << 10));
        // A block that is used again has a new number and no name.
        let again = rt::spawn(|| rt::current().unwrap()).join().unwrap();
        assert_eq!(again.name(), None);
        assert!(again.id() > nameless.id() && nameless.id() > worker.id());
        assert!(worker.id() > main.id());
    });
}

// Bad input.

#[test]
fn a_wrong_stack_size_is_a_clear_error_and_spawns_nothing() {
    in_order(|| {
        for size in [0, 64 << 10, (128 << 10) - 1, (1 << 30) + 1, usize::MAX] {
            let drops = Drops::default();
            let guard = drops.guard();
            let error = Builder::new().stack_size(size).spawn(move || drop(guard)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let text = error.to_string();
            assert!(text.contains(&format!("a stack of {size} bytes is out of range")), "{text}");
            assert!(text.contains("128 KiB to 1048576 KiB"), "{text}");
            assert_eq!(drops.count(), 1);
        }
        let largest = Builder::new().stack_size(1 << 30).spawn(|| rt::current().unwrap());
        assert_eq!(largest.unwrap().join().unwrap().stack_size(), 1 << 30);
    });
}

#[test]
fn spawning_outside_a_runtime_is_an_error() {
    let error = Builder::new().spawn(|| ()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<Refused>());
    assert_eq!(refused, Some(&Refused::NoCoroutine));
    assert_eq!(rt::yield_now(), Err(WaitError::Refused(Refused::NoCoroutine)));
    let panic = std::panic::catch_unwind(|| rt::spawn(|| ())).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.starts_with("cannot spawn a coroutine: only a coroutine"), "{message}");
}

// Joining.

#[test]
fn join_returns_the_value_whether_or_not_the_coroutine_has_ended() {
    under_seeds(SEEDS, |_| {
        let early = rt::spawn(|| String::from("early"));
        let late = rt::spawn(|| rt::sleep(Duration::from_millis(5)).map(|()| "late"));
        settle();
        assert_eq!((early.is_finished(), late.is_finished()), (true, false));
        assert_eq!(early.join().unwrap(), "early");
        assert_eq!(late.join().unwrap(), Ok("late"));
        assert!(late.is_finished());
        assert!(matches!(early.join(), Err(JoinError::Taken)));
        assert!(matches!(late.join(), Err(JoinError::Taken)));
    });
}

#[test]
fn a_coroutine_cannot_join_itself() {
    under_seeds(SEEDS, |_| {
        let own: Rc<RefCell<Option<JoinHandle<bool>>>> = Rc::default();
        let theirs = Rc::clone(&own);
        let handle = rt::spawn(move || {
            let own = theirs.take().unwrap();
            let refused = matches!(own.join(), Err(JoinError::Itself))
                && matches!(own.join_until(in_ms(5)), Err(JoinError::Itself));
            theirs.replace(Some(own));
            refused
        });
        own.replace(Some(handle));
        settle();
        let handle = own.take().unwrap();
        assert!(handle.join().unwrap());
    });
}

#[test]
fn a_joiner_that_is_cancelled_or_late_leaves_the_value() {
    under_seeds(SEEDS, |_| {
        let target = Rc::new(rt::spawn(|| rt::sleep(Duration::from_millis(10)).map(|()| 3)));
        let theirs = Rc::clone(&target);
        let joiner = rt::spawn(move || theirs.join());
        settle();
        joiner.cancel();
        assert!(matches!(joiner.join().unwrap(), Err(JoinError::Wait(WaitError::Cancelled))));
        let late = target.join_until(in_ms(2)).unwrap_err();
        assert!(matches!(late, JoinError::Wait(WaitError::TimedOut(_))), "{late}");
        let late = rt::timeout(Duration::from_millis(2), || target.join()).unwrap_err();
        assert!(matches!(late, JoinError::Wait(WaitError::TimedOut(_))), "{late}");
        assert!(!target.is_finished());
        assert_eq!(target.join_until(in_ms(20)).unwrap(), Ok(3));
    });
}

#[test]
fn a_joiner_cancelled_after_the_target_ended_still_gets_the_value() {
    in_order(|| {
        let target = Rc::new(rt::spawn(|| 5));
        let theirs = Rc::clone(&target);
        let joiner = rt::spawn(move || (theirs.join(), rt::yield_now()));
        // The joiner parks first, then the target's end wakes it, then it is cancelled.
        let order = Log::new();
        let log = order.clone();
        let late = Rc::new(rt::spawn(move || log.push("late")));
        let theirs = Rc::clone(&late);
        let second = rt::spawn(move || (theirs.join(), rt::yield_now()));
        joiner.cancel();
        assert!(matches!(
            joiner.join().unwrap(),
            (Err(JoinError::Wait(WaitError::Cancelled)), Err(WaitError::Cancelled))
        ));
        assert_eq!(target.join().unwrap(), 5);
        assert!(matches!(second.join().unwrap(), (Ok(()), Ok(()))));
    });
}

#[test]
fn of_several_joiners_all_are_woken_and_one_gets_the_value() {
    under_seeds(SEEDS, |_| {
        let target = Rc::new(rt::spawn(|| {
            sleep_ms(3);
            Box::new(8)
        }));
        let joiners: Vec<_> = (0..5)
            .map(|_| {
                let target = Rc::clone(&target);
                rt::spawn(move || target.join())
            })
            .collect();
        let results: Vec<_> = joiners.iter().map(|joiner| joiner.join().unwrap()).collect();
        assert_eq!(
            results.iter().filter(|got| matches!(got, Ok(value) if **value == 8)).count(),
            1
        );
        let taken = results.iter().filter(|got| matches!(got, Err(JoinError::Taken)));
        assert_eq!(taken.count(), 4);
    });
}

#[test]
fn a_dropped_handle_detaches_and_a_forgotten_one_does_no_harm() {
    let done = Rc::new(Cell::new(0));
    let theirs = Rc::clone(&done);
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    runtime
        .block_on(move || {
            for n in 0..10 {
                let done = Rc::clone(&theirs);
                let handle = rt::spawn(move || {
                    sleep_ms(1);
                    done.set(done.get() + 1);
                    vec![n; 100]
                });
                if n % 2 == 0 { drop(handle) } else { forget(handle) }
            }
            sleep_ms(5);
        })
        .unwrap();
    assert_eq!(done.get(), 10);
    assert_eq!(runtime.stats().stacks_in_use, 0);
}

#[test]
fn handles_outlive_their_runtime() {
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    let drops = Drops::default();
    let guard = drops.guard();
    let (kept, dropped) = runtime
        .block_on(move || {
            let kept = rt::spawn(|| 6);
            let dropped = rt::spawn(move || guard);
            sleep_ms(1);
            (kept, dropped)
        })
        .unwrap();
    drop(runtime);
    assert!(kept.is_finished());
    kept.cancel();
    assert_eq!(kept.join().unwrap(), 6);
    assert_eq!(drops.count(), 0);
    drop(dropped);
    assert_eq!(drops.count(), 1);
}

// Values that nobody takes.

/// Suspends in its destructor, and tells where and with what result.
struct SuspendsInDrop(Log<(u64, Result<(), WaitError>)>);

impl Drop for SuspendsInDrop {
    fn drop(&mut self) {
        let result = rt::sleep(Duration::from_millis(1));
        self.0.push((rt::current().map_or(0, |current| current.id()), result));
    }
}

#[test]
fn a_value_without_a_handle_is_dropped_on_its_coroutine_where_it_may_suspend() {
    in_order(|| {
        let log = Log::new();
        let value = SuspendsInDrop(log.clone());
        let handle = rt::spawn(move || value);
        let id = handle.id();
        drop(handle);
        sleep_ms(5);
        assert_eq!(log.take(), [(id, Ok(()))]);
    });
}

#[test]
fn a_value_whose_handle_is_dropped_later_is_dropped_by_who_drops_the_handle() {
    in_order(|| {
        let log = Log::new();
        let value = SuspendsInDrop(log.clone());
        let handle = rt::spawn(move || value);
        sleep_ms(1);
        assert!(handle.is_finished());
        assert_eq!(log.take(), []);
        drop(handle);
        assert_eq!(log.take(), [(rt::current().unwrap().id(), Ok(()))]);
    });
}

// Panics.

#[test]
fn a_panic_is_a_join_error_with_its_message_and_place_and_nobody_else_notices() {
    under_seeds(SEEDS, |_| {
        let bystander = rt::spawn(|| rt::sleep(Duration::from_millis(3)));
        let text = rt::spawn(|| panic!("number {}", 7));
        let JoinError::Panicked(panic) = text.join().unwrap_err() else { panic!("no panic") };
        assert_eq!(panic.message(), Some("number 7"));
        let place = panic.location().unwrap();
        assert!(place.contains("tests/spawn.rs:"), "{place}");
        assert!(
            panic.to_string().starts_with(&format!("panicked at {place}: number 7")),
            "{panic}"
        );
        assert!(matches!(text.join(), Err(JoinError::Taken)));
        let number = rt::spawn(|| panic_any(7));
        let error = number.join().unwrap_err();
        assert!(error.to_string().contains("a value that is not text"), "{error}");
        let JoinError::Panicked(panic) = error else { panic!("no panic") };
        assert_eq!(panic.message(), None);
        assert_eq!(panic.into_payload().downcast_ref::<i32>(), Some(&7));
        assert_eq!(bystander.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_panic_that_is_passed_on_is_not_given_the_place_of_another_ones() {
    in_order(|| {
        // This one is caught by the coroutine itself, and stays the last that was seen.
        let caught = rt::spawn(|| std::panic::catch_unwind(|| panic!("caught")).is_err());
        assert!(caught.join().unwrap());
        let passed_on = rt::spawn(|| -> () { resume_unwind(Box::new("passed on")) });
        let JoinError::Panicked(panic) = passed_on.join().unwrap_err() else { panic!("no panic") };
        assert_eq!((panic.message(), panic.location()), (Some("passed on"), None));
    });
}

#[test]
fn a_detached_panic_is_logged_with_the_coroutines_name() {
    let logs = logs::capture(|| {
        in_order(|| {
            drop(Builder::new().name("doomed").spawn(|| panic!("first")));
            // Detached after it has ended: the drop of the handle is the last chance.
            let ended = Builder::new().name("forgotten").spawn(|| panic!("second")).unwrap();
            sleep_ms(1);
            drop(ended);
            let joined = Builder::new().name("joined").spawn(|| panic!("third")).unwrap();
            assert!(joined.join().is_err());
        });
    });
    assert_eq!(logs.len(), 2, "{logs:?}");
    assert!(logs.iter().all(|line| line.starts_with("ERROR")), "{logs:?}");
    assert!(logs[0].contains("\"doomed\"") && logs[0].contains(": first"), "{logs:?}");
    assert!(logs[1].contains("\"forgotten\"") && logs[1].contains(": second"), "{logs:?}");
}

#[inline(never)]
fn a_function_that_panics() {
    panic!("deep down");
}

#[test]
fn a_panic_has_a_backtrace_when_the_environment_asks_for_one() {
    const TEST: &str = "a_panic_has_a_backtrace_when_the_environment_asks_for_one";
    if !child::is_child(TEST) {
        child::run(TEST, &[("RUST_BACKTRACE", "1"), ("EXPECTED", "1")]).assert_success();
        return child::run(TEST, &[("RUST_BACKTRACE", "0")]).assert_success();
    }
    in_order(|| {
        // The smallest stack: capturing and printing must fit in its 64 usable KiB.
        let builder = Builder::new().stack_size(128 << 10);
        let handle = builder.spawn(a_function_that_panics).unwrap();
        let JoinError::Panicked(panic) = handle.join().unwrap_err() else { panic!("no panic") };
        let text = panic.to_string();
        let expected = std::env::var_os("EXPECTED").is_some();
        assert_eq!(text.contains("a_function_that_panics"), expected, "{text}");
        let trace = panic.backtrace().unwrap().status();
        assert_eq!(trace == std::backtrace::BacktraceStatus::Captured, expected);
    });
}

// Reuse.

#[test]
fn short_lived_coroutines_use_the_same_stacks_and_blocks_again() {
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    let rounds = scaled(20_000, 500);
    runtime
        .block_on(move || {
            for round in 0..rounds {
                let first = rt::spawn(move || round);
                let second = rt::spawn(rt::yield_now);
                assert_eq!(first.join().unwrap(), round);
                second.join().unwrap().unwrap();
            }
        })
        .unwrap();
    let counts = runtime.stats();
    assert_eq!((counts.live, counts.stacks_in_use, counts.stacks_pooled), (0, 0, 3));
}

#[test]
fn join_errors_fit_into_the_boxes_that_errors_travel_in() {
    fn fits<E: std::error::Error + Send + Sync + 'static>() {}
    fits::<JoinError>();
    let joined =
        virtual_runtime().block_on(|| -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
            Ok(rt::spawn(|| -> u32 { panic!("in a box") }).join()?)
        });
    assert!(joined.unwrap().unwrap_err().to_string().contains("in a box"));
}

/// A closure of a few kilobytes used to be a panic, since it was taken for one that fits where the stack begins.
#[test]
fn closures_of_any_size_are_spawned() {
    fn holds<const LEN: usize>() -> usize {
        let data = [1_u8; LEN];
        rt::spawn(move || data.iter().map(|&byte| usize::from(byte)).sum()).join().unwrap()
    }
    in_order(|| {
        assert_eq!(holds::<900>(), 900);
        assert_eq!(holds::<960>(), 960);
        assert_eq!(holds::<1000>(), 1000);
        assert_eq!(holds::<2000>(), 2000);
        assert_eq!(holds::<4096>(), 4096);
    });
}
