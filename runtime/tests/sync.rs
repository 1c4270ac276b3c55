//! Locks, semaphores, events and wait groups, on the virtual clock and under many seeds.

mod seeds;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use seeds::{Log, Random, in_ms, settle, sleep_ms, under_seeds};
use thalweg_runtime::sync::{Cond, Event, Mutex, RwLock, Semaphore, WaitGroup};
use thalweg_runtime::{self as rt, ClockKind, JoinError, JoinHandle, Refused, Runtime, WaitError};

const SEEDS: u64 = 24;

fn is_timeout<T>(result: Result<T, WaitError>) -> bool {
    matches!(result, Err(WaitError::TimedOut(_)))
}

fn is_cancel<T>(result: Result<T, WaitError>) -> bool {
    matches!(result, Err(WaitError::Cancelled))
}

// Mutex.

#[test]
fn a_mutex_goes_to_those_who_wait_in_order_of_arrival() {
    under_seeds(SEEDS, |_| {
        let mutex = Rc::new(Mutex::new(()));
        let (arrived, served) = (Log::new(), Log::new());
        let held = mutex.lock().unwrap();
        let waiters: Vec<_> = (0..6)
            .map(|n| {
                let (mutex, arrived, served) = (Rc::clone(&mutex), arrived.clone(), served.clone());
                rt::spawn(move || {
                    arrived.push(n);
                    let _held = mutex.lock().unwrap();
                    served.push(n);
                    rt::yield_now().unwrap();
                })
            })
            .collect();
        settle();
        drop(held);
        waiters.iter().for_each(|waiter| waiter.join().unwrap());
        let arrived = arrived.take();
        assert_eq!(arrived.len(), 6);
        assert_eq!(arrived, served.take());
        assert!(!mutex.is_locked());
    });
}

#[test]
fn a_mutex_that_was_handed_over_is_kept_by_a_coroutine_cancelled_since() {
    under_seeds(SEEDS, |_| {
        let mutex = Rc::new(Mutex::new(0));
        let held = mutex.lock().unwrap();
        let theirs = Rc::clone(&mutex);
        let waiter = rt::spawn(move || {
            *theirs.lock().unwrap() = 1;
            is_cancel(theirs.lock())
        });
        settle();
        drop(held);
        waiter.cancel();
        assert!(waiter.join().unwrap(), "the next wait reports the cancellation");
        assert_eq!(*mutex.lock().unwrap(), 1);
    });
}

#[test]
fn a_mutex_that_was_handed_over_is_not_for_others() {
    under_seeds(SEEDS, |_| {
        let mutex = Rc::new(Mutex::new(()));
        let held = mutex.lock().unwrap();
        let theirs = Rc::clone(&mutex);
        let waiter = rt::spawn(move || drop(theirs.lock().unwrap()));
        settle();
        drop(held);
        assert!(mutex.is_locked());
        assert!(mutex.try_lock().is_none());
        // Locking again waits for the other, and is not taken for locking twice.
        drop(mutex.lock().unwrap());
        assert!(waiter.is_finished());
    });
}

#[test]
fn a_mutex_goes_to_the_next_when_the_first_timed_out_at_the_same_moment() {
    under_seeds(SEEDS, |_| {
        let mutex = Rc::new(Mutex::new(()));
        let end = in_ms(10);
        let held = mutex.lock().unwrap();
        let first = Rc::clone(&mutex);
        let first = rt::spawn(move || is_timeout(first.lock_until(end)));
        settle();
        let second = Rc::clone(&mutex);
        let second = rt::spawn(move || second.lock().is_ok());
        rt::sleep_until(end).unwrap();
        drop(held);
        assert!(first.join().unwrap());
        assert!(second.join().unwrap());
        assert!(!mutex.is_locked());
    });
}

#[test]
fn a_waiter_cancelled_in_the_middle_leaves_the_queue_in_order() {
    under_seeds(SEEDS, |_| {
        let mutex = Rc::new(Mutex::new(()));
        let served = Log::new();
        let held = mutex.lock().unwrap();
        let waiters: Vec<_> = (0..5)
            .map(|n| {
                let (mutex, served) = (Rc::clone(&mutex), served.clone());
                let waiter = rt::spawn(move || mutex.lock().map(|_held| served.push(n)));
                settle();
                waiter
            })
            .collect();
        waiters[2].cancel();
        waiters[4].cancel();
        drop(held);
        let results: Vec<bool> = waiters.iter().map(|w| w.join().unwrap().is_ok()).collect();
        assert_eq!(results, [true, true, false, true, false]);
        assert_eq!(served.take(), [0, 1, 3]);
        assert!(!mutex.is_locked());
    });
}

#[test]
fn a_panic_or_a_cancellation_with_the_lock_held_poisons_nothing() {
    under_seeds(SEEDS, |_| {
        let mutex = Rc::new(Mutex::new(1));
        let theirs = Rc::clone(&mutex);
        let panics = rt::spawn(move || {
            let _held = theirs.lock().unwrap();
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(matches!(panics.join(), Err(JoinError::Panicked(_))));
        let theirs = Rc::clone(&mutex);
        let cancelled = rt::spawn(move || {
            let mut held = theirs.lock()?;
            *held = 2;
            rt::sleep(Duration::from_secs(1))
        });
        settle();
        assert!(mutex.is_locked());
        cancelled.cancel();
        assert!(is_cancel(cancelled.join().unwrap()));
        assert_eq!(*mutex.lock().unwrap(), 2);
    });
}

#[test]
fn locking_a_mutex_again_panics_and_names_the_coroutine() {
    under_seeds(1, |_| {
        let locks_twice = rt::Builder::new().name("twice").spawn(|| {
            let mutex = Mutex::new(());
            let _held = mutex.lock().unwrap();
            let _again = mutex.lock_until(in_ms(1));
        });
        let Err(JoinError::Panicked(panic)) = locks_twice.unwrap().join() else {
            panic!("it did not panic");
        };
        let message = panic.message().unwrap();
        assert!(message.contains("locked again by the coroutine that holds it"), "{message}");
        assert!(message.contains("\"twice\""), "{message}");
        let writes_twice = rt::spawn(|| {
            let lock = RwLock::new(());
            let _held = lock.write().unwrap();
            let _again = lock.read();
        });
        assert!(matches!(writes_twice.join(), Err(JoinError::Panicked(_))));
    });
}

#[test]
fn outside_a_coroutine_only_what_does_not_wait_works() {
    let mutex = Mutex::new(3);
    assert_eq!(mutex.lock().err(), Some(WaitError::Refused(Refused::NoCoroutine)));
    let held = mutex.try_lock().unwrap();
    assert!(mutex.try_lock().is_none());
    assert_eq!(format!("{mutex:?} {held} {held:?}"), "Mutex(<locked>) 3 3");
    drop(held);
    assert_eq!(format!("{mutex:?}"), "Mutex(3)");
    let mut mutex = mutex;
    *mutex.get_mut() += 1;
    assert_eq!(mutex.into_inner(), 4);

    let semaphore = Semaphore::new(1);
    assert!(semaphore.acquire(1).is_err());
    assert!(semaphore.try_acquire(1).is_some());
    let lock = RwLock::new(());
    assert!(lock.write().is_err());
    assert!(lock.try_write().is_some());
    let event = Event::new();
    event.set();
    assert!(event.wait().is_err() && event.is_set());
    let unsized_value: &Mutex<[i32]> = &Mutex::new([1, 2]);
    assert_eq!(unsized_value.try_lock().unwrap().len(), 2);
}

#[test]
fn a_lock_works_across_two_runtimes_of_a_thread() {
    let mutex = Rc::new(Mutex::new(0));
    let build = || Runtime::builder().build().unwrap();
    let (one, other) = (build(), build());
    let ours = Rc::clone(&mutex);
    let holder = one.spawn(move || {
        let mut held = ours.lock().unwrap();
        rt::sleep(Duration::from_millis(2)).unwrap();
        *held += 1;
    });
    one.turn(Some(Duration::ZERO)).unwrap();
    let theirs = Rc::clone(&mutex);
    let waiter = other.spawn(move || *theirs.lock().unwrap() += 1).unwrap();
    other.turn(Some(Duration::ZERO)).unwrap();
    while !waiter.is_finished() {
        one.turn(Some(Duration::from_millis(5))).unwrap();
        other.turn(Some(Duration::ZERO)).unwrap();
    }
    holder.unwrap().join().unwrap();
    assert_eq!(*mutex.try_lock().unwrap(), 2);
}

/// A coroutine that ignores its cancellation is left behind at the end of its runtime. What it
/// waits for does not go to it, and it keeps nobody out.
#[test]
fn a_waiter_that_was_left_behind_is_passed_over() {
    let semaphore = Rc::new(Semaphore::new(1));
    let lock = Rc::new(RwLock::new(()));
    let reading = lock.try_read().unwrap();
    for _ in 0..2 {
        let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
        let (semaphore, lock) = (Rc::clone(&semaphore), Rc::clone(&lock));
        let test = move || {
            drop(semaphore.acquire_until(1, in_ms(5)).unwrap());
            drop(lock.read_until(in_ms(5)).unwrap());
            rt::spawn(move || rt::shield(Duration::MAX, || semaphore.acquire(2).map(drop)));
            rt::spawn(move || rt::shield(Duration::MAX, || lock.write().map(drop)));
            settle();
        };
        runtime.block_on(test).unwrap();
    }
    assert_eq!(semaphore.try_acquire(1).map(|permit| permit.permits()), Some(1));
    drop(reading);
    assert!(lock.try_write().is_some());
}

// RwLock.

#[test]
fn readers_share_and_a_writer_that_waits_keeps_later_readers_out() {
    under_seeds(SEEDS, |_| {
        let lock = Rc::new(RwLock::new(0));
        let reading = (lock.read().unwrap(), lock.read().unwrap());
        let log = Log::new();
        let spawn = |name: &'static str, write: bool| {
            let (lock, log) = (Rc::clone(&lock), log.clone());
            let handle = rt::spawn(move || {
                if write {
                    let mut value = lock.write().unwrap();
                    *value += 1;
                    log.push(name);
                    rt::yield_now().unwrap();
                } else {
                    let value = lock.read().unwrap();
                    log.push(name);
                    rt::yield_now().unwrap();
                    assert_eq!(*value, 1);
                }
            });
            settle();
            handle
        };
        let handles = [spawn("writer", true), spawn("reader", false), spawn("reader", false)];
        assert!(lock.try_read().is_none(), "the writer came before");
        assert!(lock.try_write().is_none());
        assert!(log.take().is_empty());
        drop(reading);
        handles.iter().for_each(|handle| handle.join().unwrap());
        assert_eq!(log.take(), ["writer", "reader", "reader"]);
        assert!(lock.try_write().is_some());
    });
}

#[test]
fn readers_behind_a_writer_that_gives_up_are_let_in() {
    under_seeds(SEEDS, |seed| {
        let lock = Rc::new(RwLock::new(0));
        let reading = lock.read().unwrap();
        let theirs = Rc::clone(&lock);
        let writer = rt::spawn(move || theirs.write_until(in_ms(20)).map(drop));
        settle();
        let theirs = Rc::clone(&lock);
        let reader = rt::spawn(move || theirs.read().map(|value| *value));
        settle();
        assert!(!reader.is_finished());
        if seed % 2 == 0 {
            writer.cancel();
            assert!(is_cancel(writer.join().unwrap()));
        } else {
            assert!(is_timeout(writer.join().unwrap()));
        }
        assert_eq!(reader.join().unwrap(), Ok(0));
        drop(reading);
        assert!(lock.try_write().is_some());
    });
}

#[test]
fn a_lock_for_writing_that_was_handed_over_wins_over_a_cancellation() {
    under_seeds(SEEDS, |_| {
        let lock = Rc::new(RwLock::new(0));
        let reading = lock.read().unwrap();
        let theirs = Rc::clone(&lock);
        let writer = rt::spawn(move || theirs.write().map(|mut value| *value = 1));
        settle();
        drop(reading);
        writer.cancel();
        assert_eq!(writer.join().unwrap(), Ok(()));
        assert_eq!(*lock.read_until(in_ms(1)).unwrap(), 1);
        let theirs = Rc::clone(&lock);
        let panics = rt::spawn(move || {
            let _held = theirs.write().unwrap();
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(panics.join().is_err());
        assert_eq!(*lock.write().unwrap(), 1, "a panic poisons nothing");
    });
}

// Semaphore.

#[test]
fn a_big_request_is_not_starved_by_small_ones() {
    under_seeds(SEEDS, |_| {
        let semaphore = Rc::new(Semaphore::new(3));
        let held = semaphore.acquire(1).unwrap();
        let log = Log::new();
        let spawn = |permits: u32| {
            let (semaphore, log) = (Rc::clone(&semaphore), log.clone());
            let handle = rt::spawn(move || {
                let permit = semaphore.acquire(permits).unwrap();
                log.push(permit.permits());
                rt::yield_now().unwrap();
            });
            settle();
            handle
        };
        let handles = [spawn(3), spawn(1), spawn(2)];
        assert!(semaphore.try_acquire(1).is_none(), "two are there, but others came before");
        assert_eq!(semaphore.try_acquire(0).map(|permit| permit.permits()), Some(0));
        assert!(log.take().is_empty());
        drop(held);
        handles.iter().for_each(|handle| handle.join().unwrap());
        let log = log.take();
        assert_eq!(log[0], 3);
        assert_eq!(log.len(), 3);
        assert_eq!(semaphore.available_permits(), 3);
    });
}

#[test]
fn small_requests_behind_a_big_one_that_gives_up_are_served() {
    under_seeds(SEEDS, |seed| {
        let semaphore = Rc::new(Semaphore::new(1));
        let theirs = Rc::clone(&semaphore);
        let big = rt::spawn(move || theirs.acquire_until(2, in_ms(20)).map(drop));
        settle();
        let theirs = Rc::clone(&semaphore);
        let small = rt::spawn(move || theirs.acquire(1).map(drop));
        settle();
        assert!(!small.is_finished());
        if seed % 2 == 0 {
            big.cancel();
        }
        assert!(big.join().unwrap().is_err());
        assert_eq!(small.join().unwrap(), Ok(()));
        assert_eq!(semaphore.available_permits(), 1);
    });
}

#[test]
fn permits_can_be_added_forgotten_and_moved_into_a_coroutine() {
    under_seeds(SEEDS, |_| {
        let semaphore = Rc::new(Semaphore::new(1));
        let permit = semaphore.acquire_owned(1).unwrap();
        let worker = rt::spawn(move || {
            sleep_ms(5);
            drop(permit);
        });
        drop(semaphore.acquire(1).unwrap());
        assert!(worker.is_finished());
        semaphore.acquire(1).unwrap().forget();
        assert_eq!(semaphore.available_permits(), 0);
        assert!(is_timeout(semaphore.acquire_until(u32::MAX, in_ms(5))));
        semaphore.add_permits(u32::MAX);
        semaphore.acquire_owned(u32::MAX).unwrap().forget();
        assert_eq!(semaphore.available_permits(), 0);
    });
}

#[test]
#[should_panic(expected = "at most u32::MAX permits")]
fn more_permits_than_can_be_counted_are_refused() {
    Semaphore::new(1).add_permits(u32::MAX);
}

#[test]
fn permits_that_were_handed_over_win_over_a_cancellation() {
    under_seeds(SEEDS, |_| {
        let semaphore = Rc::new(Semaphore::new(0));
        let theirs = Rc::clone(&semaphore);
        let waiter = rt::spawn(move || theirs.acquire(2).map(|permit| permit.permits()));
        settle();
        semaphore.add_permits(2);
        assert_eq!(semaphore.available_permits(), 0, "they belong to the waiter");
        waiter.cancel();
        assert_eq!(waiter.join().unwrap(), Ok(2));
        assert_eq!(semaphore.available_permits(), 2);
    });
}

// Event, WaitGroup, Cond.

#[test]
fn setting_an_event_wakes_all_even_if_it_is_reset_at_once() {
    under_seeds(SEEDS, |_| {
        let event = Rc::new(Event::default());
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let event = Rc::clone(&event);
                rt::spawn(move || event.wait())
            })
            .collect();
        settle();
        event.set();
        event.reset();
        waiters.iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), Ok(())));
        assert!(is_timeout(event.wait_until(in_ms(3))));
        event.set();
        assert_eq!(event.wait(), Ok(()));
    });
}

#[test]
fn a_wait_group_ends_when_every_worker_is_gone_also_by_a_panic() {
    under_seeds(SEEDS, |_| {
        let group = WaitGroup::new();
        assert_eq!(group.wait(), Ok(()), "there is no work");
        let workers: Vec<_> = (0..4)
            .map(|n| {
                let worker = group.worker();
                rt::spawn(move || {
                    let _worker = worker;
                    sleep_ms(n);
                    if n == 2 {
                        std::panic::resume_unwind(Box::new("on purpose"));
                    }
                })
            })
            .collect();
        assert_eq!(group.count(), 4);
        assert!(is_timeout(group.wait_until(in_ms(1))));
        assert_eq!(group.wait(), Ok(()));
        assert!(workers.iter().all(JoinHandle::is_finished));
        group.add(2);
        let clone = group.clone();
        clone.done();
        group.done();
        assert_eq!(group.count(), 0);
    });
}

#[test]
#[should_panic(expected = "more often than work was added")]
fn more_done_than_added_panics() {
    WaitGroup::new().done();
}

#[test]
fn a_signal_goes_to_the_next_when_the_first_timed_out_at_the_same_moment() {
    under_seeds(SEEDS, |_| {
        let cond = Rc::new(Cond::new());
        let end = in_ms(10);
        let first = Rc::clone(&cond);
        let first = rt::spawn(move || first.wait_until(end));
        settle();
        let second = Rc::clone(&cond);
        let second = rt::spawn(move || second.wait());
        rt::sleep_until(end).unwrap();
        assert!(cond.signal());
        assert!(is_timeout(first.join().unwrap()));
        assert_eq!(second.join().unwrap(), Ok(()));
        assert!(!cond.signal());
    });
}

// Everything at once.

struct Shared {
    mutex: Mutex<u32>,
    inside: Cell<u32>,
    lock: RwLock<u32>,
    readers: Cell<u32>,
    semaphore: Semaphore,
    busy: Cell<u32>,
}

/// Random locking with random deadlines and cancellations: exclusion holds throughout, and in the
/// end everything is free and nobody waits.
#[test]
fn locks_and_permits_survive_random_cancellations_and_deadlines() {
    const PERMITS: u32 = 4;
    under_seeds(40, |seed| {
        let shared = Rc::new(Shared {
            mutex: Mutex::new(0),
            inside: Cell::new(0),
            lock: RwLock::new(0),
            readers: Cell::new(0),
            semaphore: Semaphore::new(PERMITS),
            busy: Cell::new(0),
        });
        let workers: Vec<_> = (0..12)
            .map(|n| {
                let shared = Rc::clone(&shared);
                rt::spawn(move || work(&shared, &mut Random::new(seed * 1000 + n)))
            })
            .collect();
        let mut random = Random::new(seed);
        for _ in 0..6 {
            rt::sleep(Duration::from_millis(random.below(12))).unwrap();
            workers[random.below(12) as usize].cancel();
        }
        let (mut locked, mut written) = (0, 0);
        for worker in workers {
            let (locks, writes) = worker.join().unwrap();
            locked += locks;
            written += writes;
        }
        assert_eq!(*shared.mutex.try_lock().expect("it is free"), locked);
        assert_eq!(*shared.lock.try_write().expect("it is free"), written);
        assert_eq!(shared.semaphore.available_permits(), PERMITS);
        assert_eq!((shared.inside.get(), shared.readers.get(), shared.busy.get()), (0, 0, 0));
    });
}

/// Counts up while it lives.
struct Count<'a>(&'a Cell<u32>, u32);

impl<'a> Count<'a> {
    fn new(cell: &'a Cell<u32>, by: u32) -> Self {
        cell.set(cell.get() + by);
        Self(cell, by)
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - self.1);
    }
}

/// Does random steps until it is cancelled or done; how often it locked and wrote.
fn work(shared: &Shared, random: &mut Random) -> (u32, u32) {
    let (mut locked, mut written) = (0, 0);
    for _ in 0..60 {
        let until = in_ms(random.below(4));
        let step = |random: &mut Random| match random.below(3) {
            0 => Ok(()),
            1 => rt::yield_now(),
            _ => rt::sleep(Duration::from_millis(random.below(3))),
        };
        let result = match random.below(4) {
            0 => shared.mutex.lock_until(until).and_then(|mut value| {
                let _inside = Count::new(&shared.inside, 1);
                assert_eq!(shared.inside.get(), 1);
                (*value, locked) = (*value + 1, locked + 1);
                step(random)
            }),
            1 => shared.lock.read_until(until).and_then(|_value| {
                let _reading = Count::new(&shared.readers, 1);
                step(random)
            }),
            2 => shared.lock.write_until(until).and_then(|mut value| {
                assert_eq!(shared.readers.get(), 0);
                (*value, written) = (*value + 1, written + 1);
                step(random)
            }),
            _ => {
                let permits = u32::try_from(random.below(4)).expect("it is small") + 1;
                shared.semaphore.acquire_until(permits, until).and_then(|_permit| {
                    let _busy = Count::new(&shared.busy, permits);
                    assert!(shared.busy.get() <= 4);
                    step(random)
                })
            }
        };
        if is_cancel(result) {
            break;
        }
    }
    (locked, written)
}
