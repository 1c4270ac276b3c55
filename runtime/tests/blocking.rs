//! Blocking work on the pool: its bounds, and callers that leave early.

#![expect(clippy::needless_collect, reason = "all are begun before the first is waited for")]
#![expect(clippy::unwrap_used, reason = "what a helper does not get fails its test")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "jobs block their threads on purpose, with std's means"
)]

mod support;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use support::{logs, scaled};
use thalweg_runtime::blocking::{self, BlockingError};
use thalweg_runtime::sync::channel::{
    self, RecvError, RemoteSender, SendError, TryRecvError, TrySendError,
};
use thalweg_runtime::{
    self as rt, ClockKind, JoinHandle, Refused, RunError, Runtime, RuntimeBuilder, Unparker,
    WaitError, select,
};

const MS: Duration = Duration::from_millis(1);

/// Runs `test` on a runtime made by `builder`. One that hangs fails.
fn run_on(builder: RuntimeBuilder, test: impl FnOnce() + 'static) {
    const LIMIT: Duration = Duration::from_secs(120);
    builder.build().unwrap().block_on(|| rt::timeout(LIMIT, test)).unwrap();
}

fn run(test: impl FnOnce() + 'static) {
    run_on(Runtime::builder(), test);
}

/// A job that tells when it runs and ends when it is told.
struct Held {
    begun: Receiver<()>,
    end: Sender<()>,
    caller: JoinHandle<Result<u32, BlockingError>>,
}

impl Held {
    /// Begins the job with a coroutine of its own, and waits until a thread has it.
    fn begin(value: u32) -> Self {
        let held = Self::queue(value, |value| value);
        held.wait_for_begin();
        held
    }

    /// Has a coroutine ask for the job, whose `value` `f` makes into its result.
    fn queue(value: u32, f: impl FnOnce(u32) -> u32 + Send + 'static) -> Self {
        let (begins, begun) = mpsc::channel();
        let (end, ends) = mpsc::channel();
        let unparker = Unparker::for_current().unwrap();
        let caller = rt::spawn(move || {
            blocking::run(move || {
                begins.send(()).unwrap();
                unparker.unpark();
                let _told_or_gone = ends.recv();
                f(value)
            })
        });
        // The caller runs, and gets as far as it can.
        rt::yield_now().unwrap();
        Self { begun, end, caller }
    }

    fn wait_for_begin(&self) {
        while self.begun.try_recv().is_err() {
            rt::park().unwrap();
        }
    }

    fn finish(self) -> u32 {
        self.end.send(()).unwrap();
        self.caller.join().unwrap().unwrap()
    }
}

/// Tells which thread dropped it.
struct TellsDrop(Sender<ThreadId>);

impl Drop for TellsDrop {
    fn drop(&mut self) {
        let _nobody_asks = self.0.send(thread::current().id());
    }
}

// Running.

#[test]
fn the_result_comes_back_from_a_thread_named_after_the_runtime() {
    run_on(Runtime::builder().name("ingest"), || {
        let caller = thread::current().id();
        let (id, name) = blocking::run(|| {
            let thread = thread::current();
            (thread.id(), thread.name().map(str::to_owned))
        })
        .unwrap();
        assert_ne!(id, caller);
        assert_eq!(name.as_deref(), Some("ingest-pool-0"));
    });
}

#[test]
fn other_coroutines_run_while_a_job_blocks() {
    run(|| {
        let job = Held::begin(7);
        let other = rt::spawn(|| (0..100).try_for_each(|_| rt::yield_now()));
        other.join().unwrap().unwrap();
        assert!(!job.caller.is_finished());
        assert_eq!(job.finish(), 7);
    });
}

#[test]
fn a_panic_is_an_error_with_its_message_and_place() {
    run(|| {
        let error = blocking::run(|| -> u32 { panic!("the disk is on fire") }).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("tests/blocking.rs:"), "{text}");
        assert!(text.contains(": the disk is on fire"), "{text}");
        let BlockingError::Panicked(panic) = error else { panic!("{error:?}") };
        assert_eq!(panic.message(), Some("the disk is on fire"));
        assert_eq!(panic.into_payload().downcast_ref::<&str>(), Some(&"the disk is on fire"));
        // The thread goes on.
        assert_eq!(blocking::run(|| 1).unwrap(), 1);
    });
}

#[test]
fn outside_a_coroutine_it_is_refused() {
    let error = blocking::run(|| ()).unwrap_err();
    assert!(matches!(error, BlockingError::Wait(WaitError::Refused(Refused::NoCoroutine))));
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Unsupported);
}

#[test]
fn a_cancelled_caller_has_no_effect() {
    run(|| {
        let ran = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&ran);
        let caller =
            rt::spawn(move || blocking::run(move || theirs.fetch_add(1, Ordering::SeqCst)));
        caller.cancel();
        let error = caller.join().unwrap().unwrap_err();
        assert!(matches!(error, BlockingError::Wait(WaitError::Cancelled)), "{error:?}");
        assert!(rt::is_cancelled(&error.into()));
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn no_more_threads_than_allowed_run_jobs() {
    run_on(Runtime::builder().blocking_threads(3), || {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let callers: Vec<_> = (0..scaled(300, 60))
            .map(|_| {
                let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                rt::spawn(move || {
                    blocking::run(move || {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    })
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap().unwrap());
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    });
}

#[test]
fn zero_threads_are_refused() {
    let error = Runtime::builder().blocking_threads(0).build().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

// A full queue.

#[test]
fn a_full_queue_suspends_callers_first_come_first_served() {
    run_on(Runtime::builder().blocking_threads(1).blocking_queue(1), || {
        let order = Arc::new(Mutex::new(Vec::new()));
        let running = Held::begin(0);
        let callers: Vec<_> = (1..=6)
            .map(|n| {
                let order = Arc::clone(&order);
                let caller =
                    rt::spawn(move || blocking::run(move || order.lock().unwrap().push(n)));
                rt::yield_now().unwrap();
                caller
            })
            .collect();
        running.finish();
        callers.into_iter().for_each(|caller| caller.join().unwrap().unwrap());
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4, 5, 6]);
    });
}

#[test]
fn without_a_queue_a_caller_waits_for_a_thread() {
    run_on(Runtime::builder().blocking_threads(1).blocking_queue(0), || {
        let running = Held::begin(1);
        let second = Held::queue(2, |value| value);
        let late = rt::timeout(MS, || blocking::run(|| 3)).unwrap_err();
        assert!(matches!(late, BlockingError::Wait(WaitError::TimedOut(_))), "{late:?}");
        assert_eq!(running.finish(), 1);
        second.wait_for_begin();
        assert_eq!(second.finish(), 2);
    });
}

#[test]
fn a_caller_that_waits_for_room_honours_deadline_and_cancellation() {
    let runtime = Runtime::builder().blocking_threads(1).blocking_queue(1).build().unwrap();
    let stats = runtime
        .block_on(|| {
            let running = Held::begin(1);
            let queued = Held::queue(2, |value| value);
            let late = rt::timeout(MS, || blocking::run(|| panic!("it never runs")));
            assert!(matches!(late, Err(BlockingError::Wait(WaitError::TimedOut(_)))));
            let cancelled = rt::spawn(|| blocking::run(|| panic!("it never runs")));
            let last = rt::spawn(|| blocking::run(|| 4));
            rt::yield_now().unwrap();
            cancelled.cancel();
            let error = cancelled.join().unwrap();
            assert!(matches!(error, Err(BlockingError::Wait(WaitError::Cancelled))));
            // Whoever waits behind them gets the room.
            assert_eq!(running.finish(), 1);
            assert_eq!(queued.finish(), 2);
            assert_eq!(last.join().unwrap().unwrap(), 4);
        })
        .map(|()| runtime.stats())
        .unwrap();
    assert_eq!(stats.live, 0);
}

#[test]
fn a_job_cancelled_in_the_queue_never_runs_and_is_dropped_by_its_caller() {
    run_on(Runtime::builder().blocking_threads(1).blocking_queue(1), || {
        let running = Held::begin(1);
        let (drops, dropped) = mpsc::channel();
        let tells = TellsDrop(drops);
        let queued = rt::spawn(move || {
            blocking::run(move || {
                drop(tells);
                unreachable!("it was taken back")
            })
        });
        let behind = rt::spawn(|| blocking::run(|| 3));
        rt::yield_now().unwrap();
        queued.cancel();
        let error: Result<(), _> = queued.join().unwrap();
        assert!(matches!(error, Err(BlockingError::Wait(WaitError::Cancelled))), "{error:?}");
        assert_eq!(dropped.try_recv(), Ok(thread::current().id()));
        // Its room went to the next at once, but the thread is still busy.
        assert!(!behind.is_finished());
        assert_eq!(running.finish(), 1);
        assert_eq!(behind.join().unwrap().unwrap(), 3);
    });
}

// Callers that leave.

#[test]
fn a_result_that_nobody_waits_for_is_dropped_on_its_thread() {
    run(|| {
        let (drops, dropped) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        let (begins, begun) = channel::remote(1);
        let caller = rt::spawn(move || {
            blocking::run(move || {
                begins.send(thread::current().id()).unwrap();
                ends.recv().unwrap();
                TellsDrop(drops)
            })
        });
        let pool_thread = begun.recv().unwrap();
        caller.cancel();
        let error = caller.join().unwrap().err().unwrap();
        assert!(matches!(error, BlockingError::Wait(WaitError::Cancelled)), "{error:?}");
        assert!(dropped.try_recv().is_err(), "the job still runs");
        end.send(()).unwrap();
        let dropped_by = blocking::run(move || dropped.recv().unwrap()).unwrap();
        assert_eq!(dropped_by, pool_thread);
        assert_ne!(dropped_by, thread::current().id());
    });
}

#[test]
fn a_panic_in_the_drop_of_an_unwanted_result_is_logged_and_harms_no_thread() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped on thread {:?}", thread::current().name());
        }
    }
    run_on(Runtime::builder().blocking_threads(1), || {
        let (end, ends) = mpsc::channel();
        let (begins, begun) = channel::remote(1);
        let caller = rt::spawn(move || {
            blocking::run(move || {
                begins.send(()).unwrap();
                drop(begins);
                ends.recv().unwrap();
                Bomb
            })
        });
        begun.recv().unwrap();
        caller.cancel();
        assert!(caller.join().unwrap().is_err());
        end.send(()).unwrap();
        assert_eq!(
            blocking::run(|| thread::current().name().map(str::to_owned)).unwrap().unwrap(),
            "thalweg-pool-0"
        );
    });
}

#[test]
fn a_deadline_ends_the_wait_for_a_disk_that_hangs_and_others_go_on() {
    run_on(Runtime::builder().blocking_threads(2), || {
        let (end, ends) = mpsc::channel::<()>();
        let hung = rt::spawn(move || rt::timeout(5 * MS, || blocking::run(move || ends.recv())));
        let error = hung.join().unwrap().unwrap_err();
        let BlockingError::Wait(WaitError::TimedOut(passed)) = error else { panic!("{error:?}") };
        assert!(!passed.is_outer());
        for n in 0..scaled(100, 10) {
            assert_eq!(blocking::run(move || n).unwrap(), n);
        }
        drop(end);
    });
}

#[test]
fn a_result_that_is_there_wins_over_a_cancellation() {
    run_on(Runtime::builder().blocking_threads(1), || {
        let caller = rt::spawn(|| blocking::run(|| 5));
        let (begins, begun) = mpsc::channel();
        let behind = rt::spawn(move || blocking::run(move || begins.send(())));
        rt::yield_now().unwrap();
        // The only thread has begun the second job, so the first has its result. Its caller was not
        // told, since this thread ran no turn meanwhile (unless starting the other took very long).
        begun.recv().unwrap();
        caller.cancel();
        assert_eq!(caller.join().unwrap().unwrap(), 5);
        behind.join().unwrap().unwrap().unwrap();
    });
}

#[test]
fn the_end_of_a_runtime_waits_for_no_job() {
    let (drops, dropped) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let begin = Instant::now();
    run_on(Runtime::builder().blocking_threads(1), move || {
        let (begins, begun) = channel::remote(1);
        rt::spawn(move || {
            blocking::run(move || {
                begins.send(()).unwrap();
                drop(begins);
                ends.recv().unwrap();
                TellsDrop(drops)
            })
        });
        begun.recv().unwrap();
    });
    assert!(begin.elapsed() < Duration::from_secs(4), "no grace was waited for");
    // The thread goes on, and drops what it made.
    end.send(()).unwrap();
    assert_ne!(dropped.recv().unwrap(), thread::current().id());
}

#[test]
fn a_runtime_that_leaves_a_caller_behind_drops_its_queued_job() {
    let (drops, dropped) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let warnings = logs::capture(|| {
        let builder = Runtime::builder().blocking_threads(1).shutdown_grace(Duration::ZERO);
        run_on(builder, move || {
            let (begins, begun) = channel::remote(1);
            rt::spawn(move || {
                blocking::run(move || {
                    begins.send(()).unwrap();
                    ends.recv()
                })
            });
            begun.recv().unwrap();
            let tells = TellsDrop(drops);
            rt::spawn(move || {
                let hour = Duration::from_secs(3600);
                rt::shield(hour, || blocking::run(move || drop(tells)))
            });
            rt::yield_now().unwrap();
        });
    });
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("waits for the pool"), "{warnings:?}");
    assert_eq!(dropped.recv().unwrap(), thread::current().id());
    drop(end);
}

// Threads.

thread_local! {
    /// How many threads may still be started by the runtime of this thread.
    static ALLOWED: Cell<usize> = const { Cell::new(0) };
}

fn start_if_allowed(builder: thread::Builder, work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    let left = ALLOWED.get().checked_sub(1);
    ALLOWED.set(left.ok_or_else(|| io::Error::from_raw_os_error(libc::EAGAIN))?);
    builder.spawn(work).map(drop)
}

#[test]
fn without_any_thread_the_error_tells_and_the_next_call_tries_again() {
    run_on(Runtime::builder().blocking_spawner(start_if_allowed), || {
        let (drops, dropped) = mpsc::channel();
        let tells = TellsDrop(drops);
        let error = blocking::run(move || drop(tells)).unwrap_err();
        assert!(matches!(error, BlockingError::NoThread(_)), "{error:?}");
        assert!(error.to_string().contains("cannot start a thread"), "{error}");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::WouldBlock);
        assert_eq!(dropped.try_recv(), Ok(thread::current().id()));
        ALLOWED.set(1);
        assert_eq!(blocking::run(|| 1).unwrap(), 1);
    });
}

#[test]
fn with_fewer_threads_than_allowed_it_works_on() {
    let warnings = logs::capture(|| {
        ALLOWED.set(2);
        run_on(Runtime::builder().blocking_spawner(start_if_allowed), || {
            let (first, second) = (Held::begin(1), Held::begin(2));
            let queued: Vec<_> = (3..6).map(|n| Held::queue(n, |value| value)).collect();
            assert_eq!(first.finish() + second.finish(), 3);
            let values = queued.into_iter().map(Held::finish);
            assert_eq!(values.collect::<Vec<_>>(), [3, 4, 5]);
        });
    });
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("cannot start another thread"), "{warnings:?}");
}

#[test]
fn idle_threads_end() {
    let runtime = Runtime::builder().blocking_idle(MS).build().unwrap();
    assert_eq!(runtime.stats().pool_threads, 0);
    runtime.block_on(|| blocking::run(|| ()).unwrap()).unwrap();
    while runtime.stats().pool_threads > 0 {
        runtime.block_on(|| rt::sleep(MS).unwrap()).unwrap();
    }
    runtime.block_on(|| assert_eq!(blocking::run(|| 1).unwrap(), 1)).unwrap();
}

// The clock and deadlocks.

#[test]
fn a_virtual_clock_stands_still_while_a_job_is_waited_for() {
    run_on(Runtime::builder().clock(ClockKind::Virtual), || {
        let (end, ends) = mpsc::channel::<()>();
        let begin = rt::now();
        let sleeper = rt::spawn(move || {
            rt::sleep(60 * 1000 * MS).unwrap();
            drop(end);
        });
        let job = rt::spawn(|| {
            blocking::run(|| thread::sleep(5 * MS)).unwrap();
            rt::now()
        });
        assert_eq!(job.join().unwrap(), begin);
        // One that nobody waits for does not hold it.
        let (begins, begun) = channel::remote(1);
        let left = rt::spawn(move || {
            blocking::run(move || {
                begins.send(()).unwrap();
                drop(begins);
                ends.recv()
            })
        });
        begun.recv().unwrap();
        left.cancel();
        sleeper.join().unwrap();
        assert_eq!(rt::now(), begin + 60 * 1000 * MS);
    });
}

#[test]
fn a_job_that_nobody_waits_for_hides_no_deadlock() {
    let (end, ends) = mpsc::channel::<()>();
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    let result = runtime.block_on(move || {
        let (begins, begun) = channel::remote(1);
        let left = rt::spawn(move || {
            blocking::run(move || {
                begins.send(()).unwrap();
                drop(begins);
                ends.recv()
            })
        });
        begun.recv().unwrap();
        left.cancel();
        assert!(left.join().unwrap().is_err());
        rt::sync::Cond::new().wait()
    });
    assert!(matches!(result, Err(RunError::Deadlock(_))), "{result:?}");
    drop(end);
}

// Under load.

#[test]
fn ten_thousand_jobs_with_random_cancellations_leave_nothing_behind() {
    let jobs = scaled(10_000, 500);
    let runtime = Runtime::builder().blocking_threads(4).blocking_queue(64).build().unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&ran);
    let gave = runtime
        .block_on(move || {
            let mut random = 1_u64;
            let mut next = || {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                random >> 33
            };
            let mut gave = 0;
            let mut callers = Vec::new();
            for n in 0..jobs {
                let ran = Arc::clone(&theirs);
                let caller: JoinHandle<Result<usize, BlockingError>> = rt::spawn(move || {
                    blocking::run(move || {
                        ran.fetch_add(1, Ordering::Relaxed);
                        n
                    })
                });
                callers.push((n, caller));
                if next() % 4 == 0 {
                    let (_, caller) = &callers[next() as usize % callers.len()];
                    caller.cancel();
                }
                if next() % 8 == 0 {
                    rt::yield_now().unwrap();
                }
                if callers.len() > 200 {
                    for (n, caller) in callers.drain(..) {
                        gave += usize::from(came_back(&caller, n));
                    }
                }
            }
            for (n, caller) in callers {
                gave += usize::from(came_back(&caller, n));
            }
            gave
        })
        .unwrap();
    let ran_all = || runtime.stats().pool_jobs == 0;
    while !ran_all() {
        runtime.block_on(|| rt::sleep(MS).unwrap()).unwrap();
    }
    assert!(gave > jobs / 4 && gave <= ran.load(Ordering::Relaxed), "{gave}");
    let stats = runtime.stats();
    // The bell of the pool itself stays.
    assert_eq!((stats.live, stats.pool_jobs, stats.bells), (0, 0, 1), "{stats:?}");
    assert_eq!(Arc::strong_count(&ran), 1, "every job was run or dropped");
}

fn came_back(caller: &JoinHandle<Result<usize, BlockingError>>, n: usize) -> bool {
    match caller.join().unwrap() {
        Ok(result) => {
            assert_eq!(result, n);
            true
        }
        Err(BlockingError::Wait(WaitError::Cancelled)) => false,
        Err(error) => panic!("{error}"),
    }
}

// Channels from other threads.

#[test]
fn messages_of_a_thread_arrive_in_order_and_its_end_closes_the_channel() {
    run(|| {
        let messages = scaled(100_000, 2_000);
        let (tx, rx) = channel::remote(64);
        thread::spawn(move || (0..messages).try_for_each(|n| tx.send(n)).unwrap());
        for n in 0..messages {
            assert_eq!(rx.recv(), Ok(n));
        }
        assert_eq!(rx.recv(), Err(RecvError::Closed));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    });
}

#[test]
fn every_message_of_several_threads_reaches_one_of_several_coroutines() {
    run(|| {
        let (threads, messages) = (4, scaled(10_000, 200));
        let (tx, rx) = channel::remote(8);
        let rx = Rc::new(rx);
        let receivers: Vec<_> = (0..3)
            .map(|_| {
                let rx = Rc::clone(&rx);
                rt::spawn(move || std::iter::from_fn(|| rx.recv().ok()).sum::<usize>())
            })
            .collect();
        for _ in 0..threads {
            let tx = tx.clone();
            thread::spawn(move || (0..messages).try_for_each(|n| tx.send(n)).unwrap());
        }
        drop(tx);
        let sum: usize = receivers.into_iter().map(|receiver| receiver.join().unwrap()).sum();
        assert_eq!(sum, threads * (messages - 1) * messages / 2);
    });
}

#[test]
fn try_send_never_waits_and_works_on_the_runtimes_own_thread() {
    run(|| {
        let (tx, rx) = channel::remote(2);
        tx.try_send(1).unwrap();
        tx.try_send(2).unwrap();
        let full = tx.try_send(3).unwrap_err();
        assert!(matches!(full, TrySendError::Full(3)), "{full:?}");
        assert_eq!(rx.len(), 2);
        assert_eq!(rx.recv(), Ok(1));
        tx.try_send(3).unwrap();
        drop(tx);
        assert_eq!((rx.try_recv(), rx.try_recv()), (Ok(2), Ok(3)));
        assert!(rx.is_closed() && rx.is_empty());
    });
}

#[test]
fn a_blocking_send_on_a_thread_with_coroutines_is_refused() {
    run(|| {
        let (tx, _rx) = channel::remote(1);
        let error = tx.send(1).unwrap_err();
        assert!(
            matches!(error, SendError::Wait(1, WaitError::Refused(Refused::BlocksRuntime))),
            "{error:?}"
        );
    });
}

#[test]
fn a_receiver_that_goes_frees_threads_that_wait_to_send() {
    run(|| {
        let (tx, rx) = channel::remote(1);
        let (ends, end) = channel::remote(1);
        tx.try_send(0).unwrap();
        thread::spawn(move || ends.send(matches!(tx.send(1), Err(SendError::Closed(1)))).unwrap());
        rt::yield_now().unwrap();
        drop(rx);
        assert_eq!(end.recv(), Ok(true));
    });
}

#[test]
fn a_closed_channel_still_gives_what_is_in_it() {
    run(|| {
        let (tx, rx) = channel::remote(2);
        tx.try_send(1).unwrap();
        rx.close();
        assert!(tx.is_closed());
        assert!(matches!(tx.try_send(2), Err(TrySendError::Closed(2))));
        assert_eq!((rx.recv(), rx.recv()), (Ok(1), Err(RecvError::Closed)));
    });
}

#[test]
fn the_end_of_the_runtime_closes_the_channel_of_a_receiver_left_behind() {
    let (give, given) = mpsc::channel::<RemoteSender<u32>>();
    let sender = thread::spawn(move || {
        let tx = given.recv().unwrap();
        while tx.send(1).is_ok() {}
        tx.is_closed()
    });
    let warnings = logs::capture(|| {
        run_on(Runtime::builder().shutdown_grace(Duration::ZERO), move || {
            rt::spawn(move || {
                let (tx, rx) = channel::remote(1);
                give.send(tx).unwrap();
                let hour = Duration::from_secs(3600);
                let _left_behind = rt::shield(hour, || rt::sync::Cond::new().wait());
                drop(rx);
            });
            rt::yield_now().unwrap();
        });
    });
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(sender.join().unwrap(), "the thread is not left waiting");
}

#[test]
fn receiving_honours_deadline_and_cancellation_and_loses_nothing() {
    run(|| {
        let (tx, rx) = channel::remote(4);
        let rx = Rc::new(rx);
        let late = rx.recv_until(rt::now() + MS).unwrap_err();
        assert!(matches!(late, RecvError::Wait(WaitError::TimedOut(_))), "{late:?}");
        let outer = rt::timeout(MS, || {
            rt::sleep(MS * 9).unwrap_err();
            rx.recv_until(rt::now() + MS).unwrap_err()
        });
        let is_outer = |late: rt::TimedOut| late.is_outer();
        assert!(matches!(outer, RecvError::Wait(WaitError::TimedOut(late)) if is_outer(late)));
        let theirs = Rc::clone(&rx);
        let cancelled = rt::spawn(move || theirs.recv());
        rt::yield_now().unwrap();
        cancelled.cancel();
        tx.try_send(1).unwrap();
        assert_eq!(cancelled.join().unwrap(), Err(RecvError::Wait(WaitError::Cancelled)));
        assert_eq!(rx.recv(), Ok(1));
    });
}

#[test]
fn the_longest_waiting_coroutine_gets_the_message_before_a_newcomer() {
    run(|| {
        let (tx, rx) = channel::remote(4);
        let rx = Rc::new(rx);
        let theirs = Rc::clone(&rx);
        let waiting = rt::spawn(move || theirs.recv());
        rt::yield_now().unwrap();
        tx.try_send(1).unwrap();
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(waiting.join().unwrap(), Ok(1));
    });
}

#[test]
fn select_takes_messages_of_other_threads() {
    run(|| {
        let messages = scaled(10_000, 200);
        let (tx, rx) = channel::remote(4);
        let (local, locals) = channel::bounded(4);
        thread::spawn(move || (0..messages).try_for_each(|n| tx.send(n)).unwrap());
        rt::spawn(move || (0..messages).try_for_each(|n| local.send(n)));
        let (mut sum, mut open) = (0, 2);
        while open > 0 {
            select! {
                result = rx.receiving() => match result {
                    Ok(n) => sum += n,
                    Err(_closed) => break,
                },
                result = locals.receiving() => match result {
                    Ok(n) => sum += n,
                    Err(_closed) => open -= 1,
                },
            }
            .unwrap();
            if open == 1 {
                break;
            }
        }
        let rest =
            std::iter::from_fn(|| rx.recv().ok()).sum::<usize>() + locals.iter().sum::<usize>();
        assert_eq!(sum + rest, (messages - 1) * messages);
    });
}

#[test]
fn a_sender_holds_a_virtual_clock_and_hides_deadlocks_until_it_is_gone() {
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    let result = runtime.block_on(|| {
        let (tx, rx) = channel::remote(1);
        let begin = rt::now();
        thread::spawn(move || {
            thread::sleep(5 * MS);
            tx.send(1).unwrap();
        });
        assert_eq!(rx.recv_until(begin + MS), Ok(1));
        assert_eq!(rt::now(), begin);
        rt::sync::Cond::new().wait()
    });
    assert!(matches!(result, Err(RunError::Deadlock(_))), "{result:?}");
}

#[test]
fn messages_and_senders_that_are_in_a_dropped_channel_are_dropped() {
    run(|| {
        let (tx, rx) = channel::remote::<Box<dyn FnOnce() + Send>>(4);
        let theirs = tx.clone();
        tx.try_send(Box::new(move || drop(theirs))).unwrap();
        drop(rx);
        assert!(tx.is_closed());
    });
}
