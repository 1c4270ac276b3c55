//! Time, real and virtual, and that a busy run queue keeps no timer waiting.

#[expect(dead_code, reason = "no test here needs all of it")]
mod seeds;
mod support;

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use seeds::{Log, Random, under_seeds};
use support::{scaled, virtual_runtime};
use thalweg_runtime::net::NetFd;
use thalweg_runtime::{self as rt, ClockKind, Runtime};

const MS: Duration = Duration::from_millis(1);

#[test]
fn virtual_time_jumps_to_the_next_deadline_and_stands_still_meanwhile() {
    let before = Runtime::builder().build().unwrap();
    under_seeds(16, |_| {
        let start = rt::now();
        let day = Duration::from_secs(24 * 3600);
        let other = rt::spawn(move || {
            rt::sleep(day / 2).unwrap();
            for _ in 0..1000 {
                rt::yield_now().unwrap();
            }
            rt::now() - start
        });
        rt::sleep(day).unwrap();
        assert_eq!(rt::now() - start, day);
        assert_eq!(other.join().unwrap(), day / 2);
    });
    drop(before);
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines_and_at_their_times() {
    under_seeds(16, |seed| {
        let log = Log::new();
        let start = rt::now();
        let mut random = Random::new(seed);
        let mut expected = Vec::new();
        for _ in 0..200 {
            let ms = u32::try_from(random.below(10_000)).unwrap();
            expected.push(ms * MS);
            let log = log.clone();
            rt::spawn(move || {
                rt::sleep(ms * MS).unwrap();
                log.push(rt::now() - start);
            });
        }
        rt::sleep(10_000 * MS).unwrap();
        rt::yield_now().unwrap();
        expected.sort_unstable();
        assert_eq!(log.take(), expected);
    });
}

#[test]
fn deadlines_round_up_to_the_slack_never_down() {
    for (slack, asked, slept) in [(1000, 1, 1000), (1000, 1001, 2000), (0, 1, 1), (300, 301, 600)] {
        let micros = Duration::from_micros;
        let runtime = Runtime::builder()
            .clock(ClockKind::Virtual)
            .timer_slack(micros(slack))
            .build()
            .unwrap();
        let took = runtime.block_on(move || {
            let start = rt::now();
            rt::sleep(micros(asked)).unwrap();
            rt::now() - start
        });
        assert_eq!(took.unwrap(), micros(slept), "{asked} µs with a slack of {slack} µs");
    }
}

#[test]
fn a_real_sleep_takes_at_least_its_time() {
    let runtime = Runtime::builder().timer_slack(Duration::ZERO).build().unwrap();
    runtime
        .block_on(|| {
            for micros in [0, 1, 50, 500, 1500] {
                #[expect(clippy::disallowed_methods, reason = "measures by the system's clock")]
                let before = std::time::Instant::now();
                rt::sleep(Duration::from_micros(micros)).unwrap();
                assert!(before.elapsed() >= Duration::from_micros(micros));
            }
        })
        .unwrap();
}

#[test]
fn the_turn_that_waits_for_a_timer_is_the_one_that_fires_it() {
    let runtime = Runtime::builder().build().unwrap();
    let sleeper = runtime.spawn(|| rt::sleep(2 * MS)).unwrap();
    runtime.turn(Some(Duration::ZERO)).unwrap();
    assert!(!sleeper.is_finished());
    // Ended by nothing but the timer: an edge of the eventfd would end it, too.
    runtime.turn(None).unwrap();
    assert!(sleeper.is_finished());
}

#[test]
fn sleeping_until_a_past_moment_lets_others_run_and_ends_at_once() {
    under_seeds(16, |_| {
        let (past, ran) = (rt::now(), Rc::new(Cell::new(false)));
        rt::sleep(MS).unwrap();
        let now = rt::now();
        let theirs = Rc::clone(&ran);
        rt::spawn(move || theirs.set(true));
        rt::sleep_until(past).unwrap();
        assert_eq!((rt::now(), ran.get()), (now, true));
    });
}

#[test]
fn a_wait_that_ends_early_leaves_no_timer_to_wake_a_later_one() {
    under_seeds(16, |_| {
        let cond = Rc::new(rt::sync::Cond::new());
        for ms in 1..50 {
            let signaller = Rc::clone(&cond);
            rt::spawn(move || signaller.signal());
            rt::timeout(10 * MS, || cond.wait()).unwrap();
            // Longer than what is left behind, and shorter.
            let before = rt::now();
            rt::sleep(ms * MS).unwrap();
            assert_eq!(rt::now() - before, ms * MS);
        }
    });
}

#[test]
fn timers_of_waits_that_ended_early_do_not_pile_up() {
    let runtime = virtual_runtime();
    let rounds = scaled(20_000, 1000);
    let handle = runtime.spawn(move || {
        let cond = Rc::new(rt::sync::Cond::new());
        for round in 0..rounds {
            let signaller = Rc::clone(&cond);
            rt::spawn(move || signaller.signal());
            // Each comes up before all that were left behind.
            let limit = Duration::from_secs((2 * rounds - round) as u64);
            rt::timeout(limit, || cond.wait()).unwrap();
        }
        rt::sleep(Duration::from_secs(2 * rounds as u64 + 1)).unwrap();
    });
    while !handle.as_ref().unwrap().is_finished() {
        runtime.turn(None).unwrap();
        assert!(runtime.stats().timers < 3000, "{:?}", runtime.stats());
    }
    assert_eq!(runtime.stats().timers, 0);
}

#[test]
fn real_descriptors_are_refused_under_a_virtual_clock() {
    under_seeds(1, |_| {
        let fd: OwnedFd = nix::sys::eventfd::EventFd::new().unwrap().into();
        let error = NetFd::from_fd(fd).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("virtual clock"), "{error}");
    });
}

// Fairness between queues; with sockets, see the tests of net.

#[test]
fn a_turn_that_begins_when_a_timer_is_due_fires_it_after_at_most_256_resumes_of_yielders() {
    let runtime = Runtime::builder().build().unwrap();
    let resumes = Rc::new(Cell::new(0_u32));
    for _ in 0..1000 {
        let resumes = Rc::clone(&resumes);
        drop(runtime.spawn(move || {
            while rt::yield_now().is_ok() {
                resumes.set(resumes.get() + 1);
            }
        }));
    }
    let parks = Rc::new(Cell::new(false));
    let theirs = Rc::clone(&parks);
    let sleeper = runtime.spawn(move || {
        theirs.set(true);
        rt::sleep(3 * MS)
    });
    let sleeper = sleeper.unwrap();
    let mut due = None;
    loop {
        let begun = rt::now();
        resumes.set(0);
        runtime.turn(None).unwrap();
        assert!(resumes.get() <= 256, "{} resumes in one turn", resumes.get());
        if sleeper.is_finished() {
            break;
        }
        assert!(due.is_none_or(|due| begun < due), "a turn passed over a due timer");
        if parks.get() && due.is_none() {
            // It has gone to sleep in this turn; 1 ms of slack is added.
            due = Some(rt::now() + 4 * MS);
        }
    }
}

#[test]
fn who_a_timer_wakes_runs_before_those_that_are_runnable_already() {
    let log = Log::new();
    let theirs = log.clone();
    virtual_runtime()
        .block_on(move || {
            let entries = theirs.clone();
            rt::spawn(move || {
                rt::sleep(MS).unwrap();
                entries.push("timer");
            });
            let entries = theirs.clone();
            // Wakes at the same time, first, and makes others runnable.
            rt::sleep(MS).unwrap();
            for _ in 0..3 {
                let entries = entries.clone();
                rt::spawn(move || entries.push("spawned"));
            }
            rt::yield_now().unwrap();
            entries.push("yielded");
        })
        .unwrap();
    assert_eq!(log.take(), ["timer", "spawned", "spawned", "spawned", "yielded"]);
}
