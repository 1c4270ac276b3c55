//! A process forked after a runtime was built: its copies are dead, and say so.
//!
//! Each test forks in a process of its own: a fork while another test holds a lock would never end.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use support::child;
use support::native::{exit, fork, fork_here};
use thalweg_runtime::{
    self as rt, Builder, ClockKind, Refused, RunError, Runtime, Unparker, WaitError,
};

const MS: Duration = Duration::from_millis(1);

/// The exit code of a child in which all was as it should be.
const FINE: u8 = 42;

fn code(is_fine: bool) -> u8 {
    if is_fine { FINE } else { 1 }
}

fn is_forked(result: Result<(), WaitError>) -> bool {
    result == Err(WaitError::Refused(Refused::Forked))
}

#[test]
fn in_a_child_forked_by_a_coroutine_nothing_suspends_and_the_parent_goes_on() {
    const TEST: &str = "in_a_child_forked_by_a_coroutine_nothing_suspends_and_the_parent_goes_on";
    if !child::is_child(TEST) {
        return child::run(TEST, &[]).assert_success();
    }
    for clock in [ClockKind::Real, ClockKind::Virtual] {
        let runtime = Runtime::builder().clock(clock).build().unwrap();
        let done = runtime.block_on(|| {
            let other = rt::spawn(|| rt::sleep(2 * MS));
            let unparker = Unparker::for_current().unwrap();
            rt::yield_now().unwrap();
            let code = fork(|| {
                unparker.unpark();
                other.cancel();
                code(
                    is_forked(rt::yield_now())
                        && is_forked(rt::sleep(MS))
                        && is_forked(rt::shield(MS, rt::park))
                        && Builder::new().spawn(|| ()).is_err()
                        && rt::current().is_none(),
                )
            });
            assert_eq!(code, i32::from(FINE));
            // Not unparked and not cancelled by the child, whose memory is its own.
            drop(unparker);
            let late = rt::park_until(rt::now() + MS);
            assert!(matches!(late, Err(WaitError::TimedOut(_))), "{late:?}");
            other.join().unwrap()
        });
        assert_eq!(done.unwrap(), Ok(()));
        assert_eq!(runtime.block_on(|| rt::sleep(MS)).unwrap(), Ok(()));
    }
}

#[test]
fn a_child_that_leaves_its_coroutine_gets_an_error_from_block_on_and_its_runtime_drops_cleanly() {
    const TEST: &str = "a_child_that_leaves_its_coroutine_gets_an_error_from_block_on_and_its_runtime_drops_cleanly";
    if !child::is_child(TEST) {
        return child::run(TEST, &[]).assert_success();
    }
    let code = fork(|| {
        let runtime = Runtime::builder().build().unwrap();
        let child = Rc::new(Cell::new(None));
        let theirs = Rc::clone(&child);
        let result = runtime.block_on(move || {
            let mut data = [0; 100];
            rt::scope(|s| {
                let parked = s.spawn(|| rt::sleep(3 * MS).map(|()| data.fill(1)));
                rt::yield_now().unwrap();
                theirs.set(Some(fork_here()));
                let joined = parked.join();
                drop(parked);
                joined.is_ok()
            })
        });
        match child.take().unwrap() {
            // The scope cannot wait in the child, so it panics, and nobody is left to tell.
            None => {
                let forked = matches!(result, Err(RunError::Forked));
                let quiet = support::logs::capture(|| drop(runtime)).is_empty();
                exit(code(forked && quiet))
            }
            Some(forked) => code(result.unwrap() && forked.wait() == i32::from(FINE)),
        }
    });
    assert_eq!(code, i32::from(FINE));
}

#[test]
fn a_runtime_of_the_parent_is_refused_in_the_child_and_a_new_one_works() {
    const TEST: &str = "a_runtime_of_the_parent_is_refused_in_the_child_and_a_new_one_works";
    if !child::is_child(TEST) {
        return child::run(TEST, &[]).assert_success();
    }
    let runtime = Runtime::builder().build().unwrap();
    let parked = runtime.spawn(|| rt::sleep(MS)).unwrap();
    runtime.turn(Some(Duration::ZERO)).unwrap();
    let code = fork(|| {
        let refused = matches!(runtime.block_on(|| ()), Err(RunError::Forked))
            && matches!(runtime.turn(None), Err(RunError::Forked))
            && runtime.spawn(|| ()).is_err();
        let new = Runtime::builder().build().unwrap();
        let works = new.block_on(|| {
            let child = rt::spawn(|| rt::sleep(MS).map(|()| 3));
            child.join().unwrap()
        });
        code(refused && works.unwrap() == Ok(3))
    });
    assert_eq!(code, i32::from(FINE));
    while !parked.is_finished() {
        runtime.turn(None).unwrap();
    }
    assert_eq!(parked.join().unwrap(), Ok(()));
}

#[test]
fn a_runtime_dropped_in_the_child_leaves_the_parents_alone() {
    const TEST: &str = "a_runtime_dropped_in_the_child_leaves_the_parents_alone";
    if !child::is_child(TEST) {
        return child::run(TEST, &[]).assert_success();
    }
    let mut runtime = Some(Runtime::builder().build().unwrap());
    let parked = runtime.as_ref().unwrap().spawn(|| {
        let unparker = Unparker::for_current().unwrap();
        drop(std::thread::spawn(move || unparker.unpark()));
        (rt::sleep(2 * MS), rt::park())
    });
    let parked = parked.unwrap();
    runtime.as_ref().unwrap().turn(Some(Duration::ZERO)).unwrap();
    let logs = |f: &mut dyn FnMut()| support::logs::capture(f).len();
    let code = fork(|| code(logs(&mut || drop(runtime.take())) == 0));
    assert_eq!(code, i32::from(FINE));
    let runtime = runtime.unwrap();
    while !parked.is_finished() {
        runtime.turn(None).unwrap();
    }
    assert_eq!(parked.join().unwrap(), (Ok(()), Ok(())));
}
