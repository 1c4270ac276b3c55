//! What safe code may try, and that it meets an error and not undefined behaviour. `make sanitize`
//! runs this under valgrind.
#![expect(clippy::mem_forget, reason = "forgets handles and guards on purpose")]

#[expect(dead_code, reason = "no test here needs all of it")]
mod seeds;
mod support;

use std::cell::{Cell, RefCell};
use std::mem::forget;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use corosensei::Coroutine;
use corosensei::stack::DefaultStack;
use seeds::{Log, under_seeds};
use support::{Drops, virtual_runtime};
use thalweg_runtime::sync::Cond;
use thalweg_runtime::{
    self as rt, Builder, ClockKind, JoinError, JoinHandle, Refused, RunError, Runtime, Unparker,
    WaitError,
};

const SEEDS: u64 = 8;
const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn refused<T>(reason: Refused) -> Result<T, WaitError> {
    Err(WaitError::Refused(reason))
}

// Unwinding.

/// Does something in its destructor.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn suspending_while_unwinding_is_refused_everywhere() {
    under_seeds(SEEDS, |_| {
        let log = Log::new();
        let theirs = log.clone();
        let handle = rt::spawn(move || {
            let target = rt::spawn(|| rt::sleep(MS));
            let _in_drop = OnDrop(move || {
                theirs.push(rt::sleep(MS));
                theirs.push(rt::yield_now());
                theirs.push(rt::park());
                theirs.push(Cond::new().wait());
                theirs.push(rt::shield(SECOND, || rt::timeout(SECOND, rt::yield_now)));
                match target.join() {
                    Err(JoinError::Wait(error)) => theirs.push(Err(error)),
                    other => panic!("{other:?}"),
                }
            });
            panic!("unwind");
        });
        let other = rt::spawn(|| (rt::yield_now(), std::thread::panicking()));
        assert!(matches!(handle.join(), Err(JoinError::Panicked(_))));
        assert_eq!(log.take(), [refused(Refused::Unwinding); 6]);
        assert_eq!(other.join().unwrap(), (Ok(()), false));
    });
}

#[test]
fn in_a_destructor_that_runs_without_a_panic_suspending_is_fine() {
    under_seeds(SEEDS, |_| {
        let log = Log::new();
        drop(OnDrop(|| log.push(rt::sleep(MS))));
        assert_eq!(log.take(), [Ok(())]);
    });
}

#[test]
fn a_scope_while_unwinding_spawns_nothing() {
    under_seeds(SEEDS, |_| {
        let log = Log::new();
        let theirs = log.clone();
        let handle = rt::spawn(move || {
            let _in_drop = OnDrop(move || {
                let mut data = 1;
                let error = rt::scope(|s| {
                    Builder::new().spawn_scoped(s, || data += 1).map(drop).unwrap_err()
                });
                theirs.push((error.kind(), data));
            });
            panic!("unwind");
        });
        assert!(matches!(handle.join(), Err(JoinError::Panicked(_))));
        assert_eq!(log.take(), [(std::io::ErrorKind::Unsupported, 1)]);
    });
}

#[test]
fn spawning_cancelling_and_signalling_while_unwinding_work() {
    under_seeds(SEEDS, |_| {
        let cond = Rc::new(Cond::new());
        let theirs = Rc::clone(&cond);
        let waiter = rt::spawn(move || theirs.wait());
        let cancelled = Rc::new(rt::spawn(|| rt::sleep(SECOND)));
        rt::sleep(MS).unwrap();
        let log = Log::new();
        let (theirs, target) = (log.clone(), Rc::clone(&cancelled));
        let handle = rt::spawn(move || {
            let _in_drop = OnDrop(move || {
                target.cancel();
                assert!(cond.signal());
                let entries = theirs.clone();
                rt::spawn(move || entries.push("spawned"));
            });
            panic!("unwind");
        });
        assert!(handle.join().is_err());
        assert_eq!(waiter.join().unwrap(), Ok(()));
        assert_eq!(cancelled.join().unwrap(), Err(WaitError::Cancelled));
        rt::sleep(MS).unwrap();
        assert_eq!(log.take(), ["spawned"]);
    });
}

#[test]
fn a_runtime_cannot_run_while_its_thread_unwinds() {
    let runtime = virtual_runtime();
    let seen = RefCell::new(Vec::new());
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _in_drop = OnDrop(|| {
            seen.borrow_mut().push(runtime.block_on(|| ()).unwrap_err());
            seen.borrow_mut().push(runtime.turn(None).unwrap_err());
        });
        panic!("unwind");
    }));
    assert!(unwound.is_err());
    let seen = seen.take();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|error| matches!(error, RunError::Unwinding)), "{seen:?}");
    assert_eq!(runtime.block_on(|| 1).unwrap(), 1);
}

// Foreign stacks.

type Generator = Coroutine<(), (), (), DefaultStack>;

fn generator(body: impl FnOnce(&corosensei::Yielder<(), ()>) + 'static) -> Generator {
    // A debug build's test closures need more than a coroutine has to spare.
    let stack = DefaultStack::new(256 << 10).expect("there is memory for a stack");
    Generator::with_stack(stack, move |yielder, ()| body(yielder))
}

#[test]
fn suspending_on_a_generators_stack_is_refused() {
    under_seeds(SEEDS, |_| {
        let log = Log::new();
        let theirs = log.clone();
        let mut inner = generator(move |_| {
            theirs.push(rt::sleep(MS));
            theirs.push(rt::yield_now());
            theirs.push(rt::timeout(MS, || Cond::new().wait()));
            // What does not suspend works.
            rt::spawn(|| ());
            assert!(rt::current().is_some());
            assert_eq!(rt::trim_stack().unwrap_err().kind(), std::io::ErrorKind::Unsupported);
            let mut data = 1;
            let error =
                rt::scope(|s| Builder::new().spawn_scoped(s, || data += 1).map(drop).unwrap_err());
            assert_eq!((error.kind(), data), (std::io::ErrorKind::Unsupported, 1));
        });
        inner.resume(());
        assert!(inner.done());
        assert_eq!(log.take(), [refused(Refused::ForeignStack); 3]);
        rt::yield_now().unwrap();
    });
}

#[test]
fn a_generator_that_leaves_a_deadline_half_way_takes_it_nowhere() {
    let mut kept = virtual_runtime()
        .block_on(|| {
            let mut inner = generator(|yielder| {
                rt::timeout(MS, || rt::shield(MS, || yielder.suspend(())));
            });
            inner.resume(());
            // Neither is in force outside the generator.
            let handle = rt::spawn(move || {
                assert_eq!(rt::sleep(SECOND), Ok(()));
                inner
            });
            assert_eq!(rt::sleep(SECOND), Ok(()));
            handle.join().unwrap()
        })
        .unwrap();
    // Its runtime is gone; whatever it restores must not be there.
    kept.resume(());
    assert!(kept.done());
}

#[test]
fn a_runtime_may_be_started_on_a_generators_stack() {
    let mut outer = generator(|yielder| {
        let runtime = virtual_runtime();
        assert_eq!(runtime.block_on(|| rt::sleep(MS)).unwrap(), Ok(()));
        yielder.suspend(());
        assert_eq!(runtime.block_on(|| rt::sleep(MS)).unwrap(), Ok(()));
    });
    outer.resume(());
    outer.resume(());
    assert!(outer.done());
}

// no_suspend.

#[test]
fn suspending_under_no_suspend_panics_with_both_places_in_debug_builds() {
    under_seeds(SEEDS, |_| {
        let panicked = catch_unwind(|| {
            let _guard = rt::no_suspend();
            rt::yield_now()
        });
        if !cfg!(debug_assertions) {
            assert_eq!(panicked.unwrap(), Ok(()));
            return;
        }
        let payload = panicked.unwrap_err();
        let message = payload.downcast_ref::<String>().unwrap();
        let guarded = line!() - 9;
        assert!(message.contains(&format!("tests/safety.rs:{guarded}:")), "{message}");
        assert!(message.contains(&format!("tests/safety.rs:{}:", guarded + 1)), "{message}");
        // It was dropped by the unwinding.
        rt::yield_now().unwrap();
    });
}

/// What a panic in `f` says of the place where it suspended.
#[cfg(debug_assertions)]
fn place_of<T>(f: impl FnOnce() -> T) -> String {
    let guard = rt::no_suspend();
    let Err(payload) = catch_unwind(AssertUnwindSafe(f)) else { panic!("it may not suspend") };
    drop(guard);
    let message = payload.downcast::<String>().expect("the panic has arguments");
    message.split(" while ").next().unwrap_or_default().to_owned()
}

#[test]
#[cfg(debug_assertions)]
fn whatever_suspends_under_no_suspend_names_the_call_and_not_the_runtimes_own_code() {
    use std::io::{Read, Write};

    use rt::net::{self, Interest, TcpListener, TcpStream, UdpSocket, UnixStream};
    use rt::sync::{Event, Mutex, RwLock, Semaphore, WaitGroup, channel, duplex};
    use rt::{blocking, fs, select};

    let runtime = Runtime::builder().build().unwrap();
    let places = runtime.block_on(|| {
        let at = rt::now() + SECOND;
        let (mutex, lock, semaphore) = (Mutex::new(0), RwLock::new(0), Semaphore::new(1));
        let (event, group) = (Event::new(), WaitGroup::new());
        let (tx, rx) = channel::bounded(1);
        let (_tx, once) = channel::oneshot::<()>();
        let (_tx, remote) = channel::remote::<()>(1);
        let (mut near, mut far) = duplex(8);
        let (mut stream, _peer) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = udp.local_addr().unwrap();
        [
            place_of(|| (mutex.lock().is_ok(), mutex.lock_until(at).is_ok())),
            place_of(|| lock.read().is_ok()),
            place_of(|| lock.write_until(at).is_ok()),
            place_of(|| semaphore.acquire(1).is_ok()),
            place_of(|| event.wait()),
            place_of(|| group.wait_until(at)),
            place_of(|| tx.send(1)),
            place_of(|| rx.recv()),
            place_of(|| rx.iter().next()),
            place_of(|| once.recv()),
            place_of(|| remote.recv_until(at)),
            place_of(|| near.write(b"x")),
            place_of(|| far.read(&mut [0])),
            place_of(|| stream.read(&mut [0])),
            place_of(|| stream.write(b"x")),
            place_of(|| stream.read_full(&mut [0])),
            place_of(|| stream.net_fd().poll(Interest::Readable, None)),
            place_of(|| listener.accept()),
            place_of(|| TcpStream::connect(to)),
            place_of(|| TcpStream::connect("name:1")),
            place_of(|| net::resolve("name:1")),
            place_of(|| udp.recv_from(&mut [0])),
            place_of(|| udp.send_to(b"x", to)),
            place_of(|| blocking::run(|| ())),
            place_of(|| fs::read("/dev/null")),
            place_of(|| rt::dump().is_ok()),
            place_of(|| select! { _ = event.becoming_set() => () }),
        ]
    });
    for place in places.unwrap() {
        assert!(place.contains("tests/safety.rs:"), "{place}");
    }
}

#[test]
fn no_suspend_guards_nest_in_any_order_and_a_forgotten_one_binds_nobody_else() {
    under_seeds(SEEDS, |_| {
        let suspends = || catch_unwind(rt::yield_now).is_ok();
        let (first, second) = (rt::no_suspend(), rt::no_suspend());
        drop(first);
        assert_eq!(suspends(), !cfg!(debug_assertions));
        drop(second);
        assert!(suspends());
        rt::spawn(|| forget(rt::no_suspend())).join().unwrap();
        assert!(suspends());
        // One that another coroutine made and dropped at another time does nothing here.
        let foreign = rt::spawn(rt::no_suspend).join().unwrap();
        assert!(suspends());
        let own = rt::no_suspend();
        drop(foreign);
        assert_eq!(suspends(), !cfg!(debug_assertions));
        drop(own);
        assert!(suspends());
    });
    drop(rt::no_suspend());
}

#[test]
fn what_does_not_suspend_is_allowed_under_no_suspend() {
    under_seeds(SEEDS, |_| {
        let cond = Rc::new(Cond::new());
        let theirs = Rc::clone(&cond);
        let waiter = rt::spawn(move || theirs.wait());
        rt::sleep(MS).unwrap();
        let guard = rt::no_suspend();
        assert!(cond.signal());
        let child = rt::spawn(|| 1);
        child.cancel();
        drop(guard);
        assert_eq!((waiter.join().unwrap(), child.join().unwrap()), (Ok(()), 1));
    });
}

// Handles.

#[test]
fn forgetting_handles_of_every_kind_is_harmless() {
    let drops = Drops::default();
    let guards = drops.guard();
    // The real clock: an unparker that is forgotten holds a virtual one still for ever.
    let runtime = Runtime::builder().build().unwrap();
    runtime
        .block_on(move || {
            let guards = Rc::new(guards);
            let theirs = Rc::clone(&guards);
            forget(rt::spawn(move || drop(theirs)));
            forget(Unparker::for_current());
            let mut data = [1, 2, 3];
            rt::scope(|s| {
                forget(s.spawn(|| {
                    rt::sleep(MS).unwrap();
                    data[0] = 9;
                }));
            });
            assert_eq!(data, [9, 2, 3]);
        })
        .unwrap();
    assert_eq!(drops.count(), 1);
    drop(runtime);
}

#[test]
fn a_handle_dropped_by_the_coroutine_it_refers_to_is_fine() {
    under_seeds(SEEDS, |_| {
        let slot: Rc<RefCell<Option<JoinHandle<Vec<u8>>>>> = Rc::default();
        let theirs = Rc::clone(&slot);
        slot.replace(Some(rt::spawn(move || {
            rt::yield_now().unwrap();
            drop(theirs.take());
            vec![1; 1000]
        })));
        rt::sleep(MS).unwrap();
        assert!(slot.borrow().is_none());
        // Held by the coroutine's own value.
        let theirs = Rc::clone(&slot);
        let cyclic = Rc::new(Cell::new(None));
        let own = Rc::clone(&cyclic);
        cyclic.set(Some(rt::spawn(move || {
            drop::<Option<JoinHandle<()>>>(own.take());
            drop(theirs);
        })));
        rt::sleep(MS).unwrap();
        assert!(cyclic.take().is_none());
    });
}

#[test]
fn values_that_spawn_and_cancel_in_their_destructors_are_fine() {
    under_seeds(SEEDS, |_| {
        let count = Rc::new(Cell::new(0));
        let theirs = Rc::clone(&count);
        let handle = rt::spawn(move || {
            OnDrop(move || {
                theirs.set(theirs.get() + 1);
                let again = Rc::clone(&theirs);
                let child = rt::spawn(move || again.set(again.get() + 1));
                child.cancel();
                rt::yield_now().unwrap();
            })
        });
        rt::sleep(MS).unwrap();
        drop(handle);
        rt::sleep(MS).unwrap();
        assert_eq!(count.get(), 2);
    });
}

#[test]
fn a_payload_that_panics_in_its_destructor_ends_nobody_else() {
    under_seeds(SEEDS, |_| {
        let handle = rt::spawn(|| OnDrop(|| panic!("in the destructor")));
        rt::sleep(MS).unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| drop(handle))).is_err());
        drop(rt::spawn(|| OnDrop(|| panic!("in the destructor"))));
        rt::sleep(MS).unwrap();
        assert_eq!(rt::spawn(|| 3).join().unwrap(), 3);
    });
}

// Two runtimes.

#[test]
fn a_cond_with_waiters_of_a_runtime_that_is_gone_still_works_for_others() {
    let cond = Rc::new(Cond::new());
    let logs = support::logs::capture(|| {
        let gone =
            Runtime::builder().clock(ClockKind::Virtual).shutdown_grace(Duration::ZERO).build();
        let gone = gone.unwrap();
        for _ in 0..3 {
            let theirs = Rc::clone(&cond);
            drop(gone.spawn(move || theirs.wait()));
        }
        gone.turn(Some(Duration::ZERO)).unwrap();
    });
    assert_eq!(logs.len(), 1, "{logs:?}");
    let runtime = virtual_runtime();
    let theirs = Rc::clone(&cond);
    let waiter = runtime.spawn(move || theirs.wait()).unwrap();
    runtime.turn(Some(Duration::ZERO)).unwrap();
    assert!(cond.signal());
    assert!(!cond.signal());
    runtime.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(waiter.join().unwrap(), Ok(()));
}

#[test]
fn a_coroutine_cancels_and_drops_handles_of_another_runtime() {
    let [here, there] = [virtual_runtime(), virtual_runtime()];
    let target = there.spawn(|| rt::sleep(SECOND)).unwrap();
    let detached = there.spawn(|| vec![1]).unwrap();
    there.turn(Some(Duration::ZERO)).unwrap();
    let target = Rc::new(target);
    let theirs = Rc::clone(&target);
    here.block_on(move || {
        theirs.cancel();
        assert_eq!(detached.join().unwrap(), [1]);
        drop(detached);
    })
    .unwrap();
    there.turn(None).unwrap();
    assert_eq!(target.join().unwrap(), Err(WaitError::Cancelled));
}

#[test]
fn a_runtime_dropped_inside_a_coroutine_of_another_does_no_harm() {
    let logs = support::logs::capture(|| {
        let outer = virtual_runtime();
        outer
            .block_on(|| {
                let inner = virtual_runtime();
                drop(inner.spawn(|| rt::sleep(SECOND)));
                drop(inner);
                drop(virtual_runtime());
                rt::sleep(MS).unwrap();
            })
            .unwrap();
    });
    assert_eq!(logs.len(), 1, "it cannot run its coroutines there: {logs:?}");
}

// Shutdown.

#[test]
fn coroutines_that_spawn_more_while_they_are_ended_all_end() {
    let runtime = virtual_runtime();
    let count = Rc::new(Cell::new(0));
    let theirs = Rc::clone(&count);
    fn spawner(depth: u32, count: Rc<Cell<u32>>) {
        count.set(count.get() + 1);
        let _cancelled = rt::sleep(MS);
        if depth > 0 {
            rt::spawn(move || spawner(depth - 1, count));
        }
    }
    runtime
        .block_on(move || {
            rt::spawn(move || spawner(5, theirs));
            rt::yield_now().unwrap();
        })
        .unwrap();
    assert_eq!((count.get(), runtime.live()), (6, 0));
}
