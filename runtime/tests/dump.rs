//! What `dump` and `stats` tell of coroutines and of the runtime.

#![expect(clippy::unwrap_used, reason = "what a helper does not get fails its test")]

mod support;

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use support::child;
use thalweg_runtime::net::UnixStream;
use thalweg_runtime::signal::Signal;
use thalweg_runtime::sync::Cond;
use thalweg_runtime::{
    self as rt, Builder, ClockKind, CoroutineInfo, CoroutineState, Dump, JoinHandle, Runtime,
    Trace, TurnTimes, WaitError, WaitsFor, blocking,
};

/// Large sets of coroutines are smaller where each instruction costs fifty.
fn many(count: usize) -> usize {
    if std::env::var_os("THALWEG_VALGRIND").is_some() { count / 50 } else { count }
}

fn named<'a>(dump: &'a Dump, name: &str) -> &'a CoroutineInfo {
    let found = dump.coroutines.iter().find(|coroutine| coroutine.name.as_deref() == Some(name));
    found.unwrap_or_else(|| panic!("no coroutine {name:?} in {dump}"))
}

fn spawn_named<T: 'static>(name: &str, f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    Builder::new().name(name).spawn(f).expect("a stack can be had")
}

#[test]
fn each_coroutine_is_told_with_what_it_waits_for() {
    rt::run(|| {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let fd = {
            use std::os::fd::{AsFd, AsRawFd};
            theirs.as_fd().as_raw_fd()
        };
        let reader = spawn_named("reader", move || theirs.peek(&mut [0; 1]).unwrap());
        let sleeper = spawn_named("sleeper", || rt::sleep(Duration::from_secs(3600)));
        let cond = Rc::new(Cond::new());
        let waiter = spawn_named("waiter", {
            let cond = Rc::clone(&cond);
            move || cond.wait()
        });
        let joiner = spawn_named("joiner", move || {
            let id = sleeper.id();
            (id, sleeper.join().unwrap(), sleeper)
        });
        rt::yield_now().unwrap();
        let ready = spawn_named("ready", || ());
        let dump = rt::dump().unwrap();

        assert_eq!(dump.coroutines.len(), 6, "{dump}");
        assert!(dump.coroutines.is_sorted_by_key(|coroutine| coroutine.id));
        let state = |name: &str| named(&dump, name).state;
        assert_eq!(state("main"), CoroutineState::Running);
        assert_eq!(state("ready"), CoroutineState::Runnable);
        assert_eq!(state("reader"), CoroutineState::Parked(WaitsFor::Readable(fd)));
        assert_eq!(state("waiter"), CoroutineState::Parked(WaitsFor::Other("a Cond")));
        let sleeper = named(&dump, "sleeper");
        assert_eq!(state("joiner"), CoroutineState::Parked(WaitsFor::Join(sleeper.id)));
        let left = sleeper.times_out_in.unwrap();
        assert!(left > Duration::from_secs(3590) && left <= Duration::from_secs(3601), "{left:?}");
        assert_eq!(named(&dump, "waiter").times_out_in, None);
        let place = sleeper.spawned_at.unwrap();
        assert!(place.file().ends_with("dump.rs"), "{place}");
        assert_eq!(sleeper.stack_size, 256 * 1024);
        assert!(sleeper.stack_high_water >= 4096);
        assert!(!sleeper.cancelled && sleeper.cpu_time.is_none() && sleeper.backtrace.is_none());

        let text = dump.to_string();
        assert_eq!(text.lines().count(), 7, "{text}");
        assert!(text.contains(&format!("\"reader\" waits for fd {fd} to be readable")), "{text}");
        ready.join().unwrap();
        cond.signal();
        waiter.join().unwrap().unwrap();
        ours.write_all(b"x").unwrap();
        reader.join().unwrap();
        joiner.cancel();
    });
}

#[inline(never)]
fn wait_deep_inside(cond: &Cond) {
    cond.wait().expect("nobody cancels it");
}

#[test]
fn a_backtrace_shows_where_a_coroutine_is_parked_and_leaves_its_wait_alone() {
    rt::run(|| {
        let cond = Rc::new(Cond::new());
        let woken = Rc::new(Cell::new(0));
        let waiting = spawn_named("waiting", {
            let (cond, woken) = (Rc::clone(&cond), Rc::clone(&woken));
            move || {
                for _ in 0..3 {
                    wait_deep_inside(&cond);
                    woken.set(woken.get() + 1);
                }
            }
        });
        rt::yield_now().unwrap();
        for round in 0..3 {
            let dump = rt::dump_with_backtraces().unwrap();
            let waiting = named(&dump, "waiting");
            assert!(matches!(waiting.backtrace, Some(Trace::Taken(_))));
            let text = waiting.to_string();
            assert!(text.contains("wait_deep_inside"), "{text}");
            assert!(!text.contains("dump_with_backtraces"), "frames of the dumper: {text}");
            assert!(named(&dump, "main").backtrace.is_none(), "it is not parked");
            assert_eq!(woken.get(), round, "a report is not a wake-up");
            rt::yield_now().unwrap();
            assert_eq!(woken.get(), round);
            assert!(cond.signal(), "it still waits");
            rt::yield_now().unwrap();
            assert_eq!(woken.get(), round + 1);
        }
        waiting.join().unwrap();
    });
}

/// Waits where the stack is `depth` bytes deeper than at `top`.
fn wait_at_depth(top: usize, depth: usize, cond: &Cond) {
    let frame = std::hint::black_box([0_u8; 512]);
    if top - std::ptr::from_ref(&frame).addr() >= depth {
        cond.wait().expect("nobody cancels it");
    } else {
        wait_at_depth(top, depth, cond);
    }
    std::hint::black_box(frame);
}

#[test]
fn a_stack_that_is_nearly_full_is_not_made_to_report() {
    rt::run(|| {
        let cond = Rc::new(Cond::new());
        let full = Builder::new().name("full").stack_size(128 * 1024);
        let full = full.spawn({
            let cond = Rc::clone(&cond);
            move || {
                // 64 KiB can be used.
                let top = std::hint::black_box(0_u8);
                wait_at_depth(std::ptr::from_ref(&top).addr(), 46 * 1024, &cond);
            }
        });
        rt::yield_now().unwrap();
        let dump = rt::dump_with_backtraces().unwrap();
        let info = named(&dump, "full");
        assert!(matches!(info.backtrace, Some(Trace::StackTooFull)), "{info}");
        cond.signal();
        full.unwrap().join().unwrap();
    });
}

#[test]
fn a_dump_of_many_lets_others_run_meanwhile() {
    let count = many(20_000);
    rt::run(move || {
        let cond = Rc::new(Cond::new());
        let handles: Vec<_> = (0..count)
            .map(|_| {
                let cond = Rc::clone(&cond);
                rt::spawn(move || cond.wait())
            })
            .collect();
        let turns = Rc::new(Cell::new(0_u32));
        let ticker = rt::spawn({
            let turns = Rc::clone(&turns);
            move || {
                while rt::yield_now().is_ok() {
                    turns.set(turns.get() + 1);
                }
            }
        });
        rt::yield_now().unwrap();
        let before = turns.get();
        let turns_before = rt::stats().unwrap().turns;
        let dump = rt::dump().unwrap();
        let scheduler_turns = rt::stats().unwrap().turns - turns_before;
        // At 1 µs a coroutine at the least, in slices of 0.5 ms.
        let slices = turns.get() - before;
        assert!(slices as usize >= count / 2000, "{slices} slices of {count}");
        assert!(scheduler_turns >= count as u64 / 2000, "{scheduler_turns} turns for {count}");
        assert!(dump.coroutines.len() >= count);
        ticker.cancel();
        cond.broadcast();
        for handle in handles {
            handle.join().unwrap().unwrap();
        }
    });
}

/// On a clock that stands still it is not time that ends a slice, but what was done in it.
#[test]
fn a_dump_with_backtraces_takes_a_turn_for_each_few_coroutines() {
    let count = many(10_000);
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    let dumped = runtime.block_on(move || {
        let cond = Rc::new(Cond::new());
        for _ in 0..count {
            let cond = Rc::clone(&cond);
            rt::spawn(move || cond.wait());
        }
        rt::yield_now().unwrap();
        let turns = || rt::stats().unwrap().turns;
        let before = turns();
        let dump = rt::dump_with_backtraces().unwrap();
        let taken = turns() - before;
        assert!(taken >= count as u64 / 64, "{taken} turns for {count}");
        assert_eq!(dump.coroutines.len(), count + 1);
        let traced = |one: &&CoroutineInfo| matches!(one.backtrace, Some(Trace::Taken(_)));
        assert_eq!(dump.coroutines.iter().filter(traced).count(), count);

        let dumping = rt::spawn(rt::dump_with_backtraces);
        rt::yield_now().unwrap();
        assert!(!dumping.is_finished());
        dumping.cancel();
        assert!(matches!(dumping.join().unwrap(), Err(WaitError::Cancelled)));
        cond.broadcast();
    });
    dumped.unwrap();
}

#[test]
fn coroutines_may_start_and_end_while_a_dump_is_taken() {
    let count = many(1000);
    rt::run(move || {
        let end = Rc::new(Cell::new(false));
        let churn = rt::spawn({
            let end = Rc::clone(&end);
            move || {
                while !end.get() {
                    let some: Vec<_> = (0..count).map(|_| rt::spawn(rt::yield_now)).collect();
                    for handle in some {
                        handle.join().unwrap().unwrap();
                    }
                }
            }
        });
        for round in 0..20 {
            let dump = if round % 2 == 0 { rt::dump() } else { rt::dump_with_backtraces() };
            let dump = dump.unwrap();
            let mut ids: Vec<u64> = dump.coroutines.iter().map(|one| one.id).collect();
            ids.dedup();
            assert_eq!(ids.len(), dump.coroutines.len(), "each is told once");
            rt::yield_now().unwrap();
        }
        end.set(true);
        churn.join().unwrap();
    });
}

#[test]
fn time_spent_running_is_counted_when_it_is_asked_for() {
    // Running code for the first time takes valgrind milliseconds.
    let busy_for = Duration::from_millis(if many(100) == 100 { 20 } else { 1000 });
    let runtime = Runtime::builder().cpu_accounting(true).build().unwrap();
    let dump = runtime.block_on(move || {
        let busy = spawn_named("busy", move || {
            let end = rt::now() + busy_for;
            while rt::now() < end {
                std::hint::black_box((0..1000).sum::<u64>());
                rt::yield_now().unwrap();
            }
            rt::sleep(Duration::from_secs(3600))
        });
        let idle = spawn_named("idle", || rt::sleep(Duration::from_secs(3600)));
        rt::sleep(2 * busy_for).unwrap();
        let dump = rt::dump().unwrap();
        busy.cancel();
        idle.cancel();
        dump
    });
    let dump = dump.unwrap();
    let busy = named(&dump, "busy").cpu_time.unwrap();
    let idle = named(&dump, "idle").cpu_time.unwrap();
    assert!(busy > 10 * idle, "busy {busy:?}, idle {idle:?}");
    assert!(busy >= Duration::from_millis(1), "{busy:?}");
}

#[test]
fn statistics_count_what_happened() {
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    let counted = runtime.block_on(|| {
        let before = rt::stats().unwrap();
        let cond = Rc::new(Cond::new());
        let waiter = rt::spawn({
            let cond = Rc::clone(&cond);
            move || (0..5).for_each(|_| cond.wait().unwrap())
        });
        for _ in 0..5 {
            rt::sleep(Duration::from_secs(1)).unwrap();
            cond.signal();
        }
        waiter.join().unwrap();
        let sleeper = rt::spawn(|| rt::sleep(Duration::from_secs(10)));
        rt::yield_now().unwrap();
        sleeper.cancel();
        sleeper.join().unwrap().unwrap_err();
        rt::spawn(|| panic!("as it should")).join().unwrap_err();
        (before, rt::stats().unwrap())
    });
    let (before, after) = counted.unwrap();
    assert_eq!(after.spawned - before.spawned, 3);
    assert_eq!(after.panicked - before.panicked, 1);
    assert_eq!(after.wakeups_by_timers - before.wakeups_by_timers, 5);
    // Five signals, three ends that were joined.
    assert_eq!(after.wakeups_by_fellows - before.wakeups_by_fellows, 8);
    assert_eq!(after.wakeups_by_cancellation - before.wakeups_by_cancellation, 1);
    assert!(after.turns > before.turns);
    assert_eq!((after.live, after.stacks_in_use, after.runnable), (1, 1, 0));
    let turns: u64 = after.turn_times.counts.iter().sum();
    assert_eq!(turns, after.turns);
    assert_eq!(TurnTimes::bound(10), Duration::from_micros(1024));
    assert_eq!(runtime.stats().live, 0);
    assert!(runtime.stats().switches > after.switches);
    assert_eq!(runtime.dump().coroutines.len(), 0);
}

/// Sends SIGQUIT, for which a dump is installed, and waits until that is written: its coroutine,
/// once woken, waits for the next signal.
fn have_a_dump_written() {
    let waits = || {
        let dump = rt::dump().unwrap();
        let waiting = CoroutineState::Parked(WaitsFor::Other("a signal of the process"));
        named(&dump, "dump").state == waiting
    };
    let events = || rt::stats().unwrap().wakeups_by_events;
    rt::yield_now().unwrap();
    assert!(waits());
    let before = events();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGQUIT).unwrap();
    rt::timeout(Duration::from_secs(60), || {
        while events() == before || !waits() {
            rt::yield_now().unwrap();
        }
    });
}

#[test]
fn a_signal_has_a_dump_written_to_standard_error_each_time() {
    const TEST: &str = "a_signal_has_a_dump_written_to_standard_error_each_time";
    if !child::is_child(TEST) {
        let ended = child::run(TEST, &[]);
        ended.assert_success();
        assert_eq!(ended.stderr.matches("dump on SIGQUIT: 3 coroutines").count(), 2);
        assert_eq!(ended.stderr.matches("\"parked\" waits for a timer").count(), 2);
        assert!(ended.stderr.contains("wait_deep_inside") || ended.stderr.contains("sleep"));
        return;
    }
    rt::run(|| {
        let parked = spawn_named("parked", || rt::sleep(Duration::from_secs(3600)));
        let dumping = rt::install_dump_on(Signal::Quit).unwrap();
        for _ in 0..2 {
            have_a_dump_written();
        }
        dumping.cancel();
        parked.cancel();
    });
}

#[test]
fn a_dump_on_a_signal_is_written_while_blocking_work_hangs() {
    const TEST: &str = "a_dump_on_a_signal_is_written_while_blocking_work_hangs";
    if !child::is_child(TEST) {
        let ended = child::run(TEST, &[]);
        ended.assert_success();
        assert!(ended.stderr.contains("\"hanging\" waits for the pool"), "{}", ended.stderr);
        return;
    }
    let runtime = Runtime::builder().blocking_threads(1).blocking_queue(0).build().unwrap();
    let done = runtime.block_on(|| {
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let hanging = spawn_named("hanging", move || blocking::run(move || ends.iter().next()));
        rt::yield_now().unwrap();
        let dumping = rt::install_dump_on(Signal::Quit).unwrap();
        have_a_dump_written();
        drop(end);
        hanging.join().unwrap().unwrap();
        dumping.cancel();
    });
    done.unwrap();
}
