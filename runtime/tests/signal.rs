//! Signals of the process. They are the whole process's, so each test runs in one of its own.

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigEvent, SigevNotify, Signal as Native, kill, raise};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use nix::unistd::Pid;
use support::net::{elsewhere, open_descriptors, run, run_alone, tcp_pair};
use support::{child, native, scaled};
use thalweg_runtime::net::{RecvMeta, TcpListener, TcpStream, Transmit, UdpSocket, UnixStream};
use thalweg_runtime::signal::{Signal, Signals};
use thalweg_runtime::{self as rt, ClockKind, Runtime, is_cancelled, select, timed_out};

const MS: Duration = Duration::from_millis(1);

const ALL: [Signal; 8] = [
    Signal::Interrupt,
    Signal::Terminate,
    Signal::Hangup,
    Signal::Quit,
    Signal::User1,
    Signal::User2,
    Signal::Child,
    Signal::WindowChange,
];

/// Runs `test` on a runtime in a process of its own, where the test `name` is alone.
fn alone(name: &str, test: impl FnOnce() -> io::Result<()> + 'static) {
    run_alone(name, || run(test));
}

fn to_nix(signal: Signal) -> Native {
    Native::try_from(signal.number()).expect("it is a signal's number")
}

/// Sends `signal` to this process, of which any thread may handle it, now or soon.
fn send(signal: Signal) {
    kill(Pid::this(), to_nix(signal)).expect("a process may send itself signals");
}

/// Has this thread handle `signal` now.
fn strike(signal: Signal) {
    raise(to_nix(signal)).expect("a thread may send itself signals");
}

/// Has `signal`, when nobody listens for it, do no harm: the last one of a storm may come late.
fn outlive(signal: Signal) {
    native::count_signals(to_nix(signal));
}

/// Sends this process `signal` a thousand times a second, until it is dropped.
fn storm(signal: Signal) -> Timer {
    let event = SigEvent::new(SigevNotify::SigevSignal { signal: to_nix(signal), si_value: 0 });
    let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, event).expect("there is room for a timer");
    let every = Expiration::Interval(TimeSpec::from(MS));
    timer.set(every, TimerSetTimeFlags::empty()).expect("the timer was made just now");
    timer
}

// Receiving.

#[test]
fn each_signal_is_received() {
    alone("each_signal_is_received", || {
        for signal in ALL {
            let signals = Signals::new([signal])?;
            assert_eq!(signals.try_recv(), None);
            send(signal);
            assert_eq!(signals.recv()?, signal);
            strike(signal);
            assert_eq!((signals.recv()?, signals.try_recv()), (signal, None), "before the wait");
            rt::spawn(move || strike(signal));
            assert_eq!(signals.recv()?, signal, "during the wait");
            elsewhere(move || strike(signal))?;
            assert_eq!(signals.recv()?, signal, "on another thread");
        }
        Ok(())
    });
}

#[test]
fn a_signal_wakes_a_runtime_that_sleeps() {
    alone("a_signal_wakes_a_runtime_that_sleeps", || {
        outlive(Signal::User1);
        let signals = Signals::new([Signal::User1])?;
        let _storm = storm(Signal::User1);
        // Nothing else would end the wait for events, and it is no deadlock.
        for _ in 0..scaled(500, 50) {
            assert_eq!(signals.recv()?, Signal::User1);
        }
        Ok(())
    });
}

#[test]
fn a_signal_arrives_from_a_thread_without_a_signal_stack() {
    alone("a_signal_arrives_from_a_thread_without_a_signal_stack", || {
        let signals = Signals::new([Signal::User2])?;
        native::on_foreign_thread(|| strike(Signal::User2));
        assert_eq!(signals.recv()?, Signal::User2);
        Ok(())
    });
}

#[test]
fn signals_of_different_kinds_are_told_one_by_one() {
    alone("signals_of_different_kinds_are_told_one_by_one", || {
        let signals = Signals::new(ALL)?;
        ALL.into_iter().rev().for_each(strike);
        for signal in ALL {
            assert_eq!(signals.recv()?, signal);
        }
        assert_eq!(signals.try_recv(), None);
        Ok(())
    });
}

#[test]
fn after_the_last_signal_of_a_burst_at_least_one_is_told() {
    alone("after_the_last_signal_of_a_burst_at_least_one_is_told", || {
        let signals = Signals::new([Signal::User1])?;
        for round in 0..scaled(20, 2) {
            let burst = scaled(10_000, 500);
            let sent = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&sent);
            let sender = thread::spawn(move || {
                for _ in 0..burst {
                    counter.fetch_add(1, Ordering::SeqCst);
                    strike(Signal::User1);
                }
            });
            // How many had been sent when one was told last.
            let mut told_at = 0;
            while !sender.is_finished() {
                match signals.recv_until(rt::now() + MS) {
                    Ok(_) => told_at = sent.load(Ordering::SeqCst),
                    Err(error) => assert!(timed_out(&error).is_some(), "{error}"),
                }
            }
            if signals.try_recv().is_some() {
                told_at = sent.load(Ordering::SeqCst);
            }
            assert_eq!(told_at, burst, "in round {round}");
            assert_eq!(signals.try_recv(), None);
            send(Signal::User1);
            assert_eq!(signals.recv()?, Signal::User1);
        }
        Ok(())
    });
}

#[test]
fn no_signal_of_many_single_ones_is_lost() {
    alone("no_signal_of_many_single_ones_is_lost", || {
        let signals = Signals::new([Signal::User1, Signal::User2])?;
        let (received, receive) = mpsc::channel();
        let rounds = scaled(10_000, 500);
        let sender = thread::spawn(move || {
            // Each is sent when the one before was received, so each has to be told.
            for round in 0..rounds {
                send(if round % 2 == 0 { Signal::User1 } else { Signal::User2 });
                receive.iter().next().expect("the receiver goes on to the end");
            }
        });
        for round in 0..rounds {
            let expected = if round % 2 == 0 { Signal::User1 } else { Signal::User2 };
            assert_eq!(signals.recv()?, expected, "in round {round}");
            received.send(()).expect("the sender waits for it");
        }
        while !sender.is_finished() {
            rt::sleep(MS)?;
        }
        Ok(())
    });
}

// Under fire.

#[test]
fn a_storm_of_signals_disturbs_no_connection_and_none_is_lost() {
    alone("a_storm_of_signals_disturbs_no_connection_and_none_is_lost", || {
        outlive(Signal::User1);
        let signals = Signals::new([Signal::User1, Signal::Hangup])?;
        let storm = storm(Signal::User1);
        let mut told = 0;
        let connections: Vec<_> = (0..8)
            .map(|n| {
                let (near, far) = tcp_pair()?;
                rt::spawn(move || echo(far));
                Ok(rt::spawn(move || talk(near, n)))
            })
            .collect::<io::Result<_>>()?;
        while told < scaled(500, 50) {
            told += usize::from(signals.recv()? == Signal::User1);
        }
        connections.iter().for_each(rt::JoinHandle::cancel);
        for connection in connections {
            let (rounds, error) = connection.join()?;
            assert!(is_cancelled(&error), "{error}");
            assert!(rounds > 0);
        }
        drop(storm);
        while signals.try_recv().is_some() {}
        send(Signal::Hangup);
        assert_eq!(signals.recv()?, Signal::Hangup);
        Ok(())
    });
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = vec![0; 4000];
    loop {
        match stream.read(&mut buf)? {
            0 => return Ok(()),
            count => stream.write_all(&buf[..count])?,
        }
    }
}

/// Sends and gets back until something fails; the result is how often it did not, and what failed.
fn talk(mut stream: TcpStream, seed: u8) -> (usize, io::Error) {
    let sent: Vec<u8> = (0..20_000_usize).map(|i| seed.wrapping_add(i as u8)).collect();
    let mut got = vec![0; sent.len()];
    for round in 0.. {
        let result = stream.write_all(&sent).and_then(|()| stream.read_exact(&mut got));
        match result {
            Ok(()) => assert_eq!(got, sent),
            Err(error) => return (round, error),
        }
    }
    unreachable!("it goes on until something fails")
}

#[test]
fn signals_during_every_kind_of_call_make_none_fail() {
    alone("signals_during_every_kind_of_call_make_none_fail", || {
        [Signal::User1, Signal::User2].into_iter().for_each(outlive);
        let signals = Signals::new([Signal::User1, Signal::User2])?;
        let _storms = (storm(Signal::User1), storm(Signal::User2));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (left, right) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        let mut told = 0;
        while told < scaled(500, 50) {
            let near = TcpStream::connect(listener.local_addr()?)?;
            let (far, _) = listener.accept()?;
            near.shutdown(std::net::Shutdown::Write)?;
            assert_eq!((&far).read(&mut [0; 8])?, 0);
            let (mut near, mut far) = UnixStream::pair()?;
            let writer = rt::spawn(move || near.write_all(&vec![7; 300_000]));
            let mut got = Vec::new();
            far.read_to_end(&mut got)?;
            writer.join()??;
            assert_eq!(got.len(), 300_000);
            left.send_many(&[Transmit::new(b"many").to(right.local_addr()?); 8])?;
            let mut bufs: [[u8; 8]; 8] = [[0; 8]; 8];
            let mut bufs: Vec<_> = bufs.iter_mut().map(|buf| io::IoSliceMut::new(buf)).collect();
            let mut metas = [RecvMeta::new(); 8];
            assert!(right.recv_many(&mut bufs, &mut metas)? > 0);
            while right.net_fd().poll(thalweg_runtime::net::Interest::Either, None)?.readable {
                right.recv(&mut [0; 8])?;
            }
            rt::sleep(MS / 4)?;
            while signals.try_recv().is_some() {
                told += 1;
            }
        }
        Ok(())
    });
}

// The handler.

/// Goes deeper until less than 1 KiB is left above `end`, and strikes there.
fn strike_above(end: usize, victim: native::Victim, signal: Signal) {
    let frame = std::hint::black_box([0_u8; 32]);
    if std::ptr::from_ref(&frame).addr() - end < 1024 {
        native::strike(victim, signal.number(), 0);
    } else {
        strike_above(end, victim, signal);
    }
    std::hint::black_box(frame);
}

/// A signal that is handled on the stack where it strikes needs more of it than that: the registers
/// alone are saved in some 2 KiB. It would end in the guard, and that would end the process.
#[test]
fn a_signal_that_strikes_at_the_end_of_a_stack_is_handled_on_another() {
    alone("a_signal_that_strikes_at_the_end_of_a_stack_is_handled_on_another", || {
        const SIZE: usize = 128 * 1024;
        const GUARD: usize = 64 * 1024;
        let signals = Signals::new([Signal::User1])?;
        let victim = native::Victim::here();
        let deep = rt::Builder::new().stack_size(SIZE).spawn(move || {
            // Stacks are aligned to their size, and the guard is the lowest part.
            let top = std::hint::black_box(0_u8);
            let end = (std::ptr::from_ref(&top).addr() & !(SIZE - 1)) + GUARD;
            strike_above(end, victim, Signal::User1);
        })?;
        deep.join()?;
        assert_eq!(signals.recv()?, Signal::User1);
        Ok(())
    });
}

/// The eventfds that the process has open.
fn eventfds() -> Vec<RawFd> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    let number = |path: PathBuf| {
        let target = std::fs::read_link(&path).ok()?;
        let is_event = target.to_str()?.contains("[eventfd]");
        path.file_name()?.to_str()?.parse().ok().filter(|_| is_event)
    };
    entries.filter_map(|entry| number(entry.ok()?.path())).collect()
}

/// Goal: code that a signal interrupts between a call and its look at `errno` sees what the call
/// left. Method: the handler's own write fails, as the counter of its eventfd is full.
#[test]
fn the_handler_leaves_errno_as_it_was() {
    alone("the_handler_leaves_errno_as_it_was", || {
        let before = eventfds();
        let signals = Signals::new([Signal::User1])?;
        let new = eventfds().into_iter().find(|fd| !before.contains(fd));
        native::fill_eventfd(new.expect("a listener has an eventfd"));
        for errno in [0, 4, 77] {
            let after = native::strike(native::Victim::here(), Signal::User1.number(), errno);
            assert_eq!(after, errno);
            assert_eq!(signals.try_recv(), Some(Signal::User1), "it is noted all the same");
        }
        Ok(())
    });
}

// Several listeners.

#[test]
fn every_runtime_is_told() {
    run_alone("every_runtime_is_told", || {
        let (ready, readies) = mpsc::channel();
        let (told, tellings) = mpsc::channel();
        let listen = |n: usize| {
            let (ready, told) = (ready.clone(), told.clone());
            move || {
                run(move || {
                    let signals = Signals::new([Signal::User1, Signal::Terminate])?;
                    let second = Signals::new([Signal::User1])?;
                    ready.send(()).expect("the test waits for it");
                    while signals.recv()? == Signal::User1 {
                        assert_eq!(second.recv()?, Signal::User1);
                        told.send(n).expect("the test waits for it");
                    }
                    assert_eq!(second.try_recv(), None);
                    Ok(())
                });
            }
        };
        thread::scope(|scope| {
            for n in 0..3 {
                scope.spawn(listen(n));
            }
            assert_eq!(readies.iter().take(3).count(), 3);
            for _ in 0..scaled(1000, 50) {
                send(Signal::User1);
                let mut who: Vec<_> = tellings.iter().take(3).collect();
                who.sort_unstable();
                assert_eq!(who, [0, 1, 2]);
            }
            send(Signal::Terminate);
        });
    });
}

#[test]
fn of_those_who_wait_on_one_value_each_takes_another_signal() {
    alone("of_those_who_wait_on_one_value_each_takes_another_signal", || {
        let signals = Rc::new(Signals::new([Signal::User1, Signal::User2])?);
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let signals = Rc::clone(&signals);
                rt::spawn(move || signals.recv())
            })
            .collect();
        rt::yield_now()?;
        // One that goes away takes nothing along.
        waiters[0].cancel();
        strike(Signal::User2);
        strike(Signal::User1);
        let error = waiters[0].join()?.expect_err("it was cancelled");
        assert!(is_cancelled(&error), "{error}");
        assert_eq!(waiters[1].join()??, Signal::User1);
        assert_eq!(waiters[2].join()??, Signal::User2);
        Ok(())
    });
}

#[test]
fn a_value_may_be_dropped_while_another_is_waited_on() {
    alone("a_value_may_be_dropped_while_another_is_waited_on", || {
        let first = Signals::new([Signal::Terminate])?;
        let second = Signals::new([Signal::Terminate])?;
        let waiter = rt::spawn(move || second.recv());
        rt::yield_now()?;
        drop(first);
        send(Signal::Terminate);
        assert_eq!(waiter.join()??, Signal::Terminate);
        Ok(())
    });
}

#[test]
fn a_new_value_is_not_told_of_what_came_before() {
    alone("a_new_value_is_not_told_of_what_came_before", || {
        let keeper = Signals::new([Signal::User1])?;
        let early = Signals::new([Signal::User1])?;
        strike(Signal::User1);
        drop(early);
        let late = Signals::new([Signal::User1])?;
        assert_eq!((late.try_recv(), keeper.try_recv()), (None, Some(Signal::User1)));
        strike(Signal::User1);
        assert_eq!((late.recv()?, keeper.recv()?), (Signal::User1, Signal::User1));
        Ok(())
    });
}

// Waiting.

#[test]
fn a_wait_ends_at_its_deadline_and_by_cancellation() {
    alone("a_wait_ends_at_its_deadline_and_by_cancellation", || {
        let signals = Rc::new(Signals::new([Signal::User1])?);
        let error = signals.recv_until(rt::now() + MS).expect_err("no signal comes");
        assert_eq!(timed_out(&error).map(|late| late.is_outer()), Some(false));
        let error = rt::timeout(MS, || signals.recv()).expect_err("no signal comes");
        assert!(timed_out(&error).is_some(), "{error}");
        let theirs = Rc::clone(&signals);
        let waiter = rt::spawn(move || theirs.recv());
        rt::yield_now()?;
        waiter.cancel();
        assert!(is_cancelled(&waiter.join()?.expect_err("it was cancelled")));
        // What comes later is not lost to those waits.
        strike(Signal::User1);
        let late = rt::now() - MS;
        assert_eq!(signals.recv_until(late)?, Signal::User1, "what is there wins");
        Ok(())
    });
}

#[test]
fn select_takes_signals_among_other_events() {
    alone("select_takes_signals_among_other_events", || {
        let signals = Signals::new([Signal::User1, Signal::Terminate])?;
        let (tx, rx) = rt::sync::channel::bounded(1);
        let feeder = rt::spawn(move || -> io::Result<()> {
            for n in 0..scaled(1000, 50) {
                tx.send(n).map_err(|error| io::Error::other(error.to_string()))?;
                strike(Signal::User1);
                rt::yield_now()?;
            }
            rt::sleep(MS)?;
            strike(Signal::Terminate);
            Ok(())
        });
        let (mut told, mut sum) = (0, 0);
        let mut open = true;
        loop {
            let step = select! {
                signal = signals.receiving() => ControlFlow::Continue(Some(signal?)),
                message = open.then(|| rx.receiving()) => match message {
                    Ok(_) => ControlFlow::Continue(None),
                    Err(_closed) => ControlFlow::Break(()),
                },
            }?;
            match step {
                ControlFlow::Continue(Some(Signal::User1)) => told += 1,
                ControlFlow::Continue(None) => sum += 1,
                ControlFlow::Continue(Some(other)) => {
                    assert_eq!(other, Signal::Terminate);
                    break;
                }
                ControlFlow::Break(()) => open = false,
            }
        }
        feeder.join()??;
        assert_eq!(sum, scaled(1000, 50));
        assert!(told > 0);
        let nothing = select! {
            _ = signals.receiving() => false,
            _ = select::after(MS) => true,
        };
        assert!(nothing?);
        let at_once = select! { _ = signals.receiving() => false, default => true };
        assert!(at_once);
        Ok(())
    });
}

#[test]
fn a_signal_that_another_arm_outran_is_kept() {
    alone("a_signal_that_another_arm_outran_is_kept", || {
        let signals = Signals::new([Signal::User1])?;
        let event = Rc::new(rt::sync::Event::new());
        let setter = Rc::clone(&event);
        rt::spawn(move || {
            strike(Signal::User1);
            setter.set();
        });
        select! {
            _ = event.becoming_set() => {}
            _ = signals.receiving() => panic!("the event woke the select first"),
        }?;
        assert_eq!(signals.try_recv(), Some(Signal::User1));
        Ok(())
    });
}

#[test]
fn a_dump_says_who_waits_for_a_signal() {
    alone("a_dump_says_who_waits_for_a_signal", || {
        let signals = Signals::new([Signal::User1])?;
        let waiter = rt::spawn(move || signals.recv());
        rt::yield_now()?;
        let dump = rt::dump()?.to_string();
        assert!(dump.contains("a signal of the process"), "{dump}");
        strike(Signal::User1);
        assert_eq!(waiter.join()??, Signal::User1);
        Ok(())
    });
}

// Where it is refused.

#[test]
fn listening_is_refused_outside_a_runtime_on_a_virtual_clock_and_for_nothing() {
    let kind = |result: io::Result<Signals>| result.expect_err("it is refused").kind();
    assert_eq!(kind(Signals::new([Signal::User1])), ErrorKind::Unsupported);
    let virtual_clock = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    let refused = virtual_clock.block_on(|| Signals::new([Signal::User1])).unwrap();
    assert_eq!(kind(refused), ErrorKind::Unsupported);
    run(move || {
        assert_eq!(kind(Signals::new([])), ErrorKind::InvalidInput);
        Ok(())
    });
}

#[test]
fn another_runtime_cannot_wait_for_the_signals_of_one() {
    run_alone("another_runtime_cannot_wait_for_the_signals_of_one", || {
        let build = || Runtime::builder().build().unwrap();
        let (one, other) = (build(), build());
        let signals = one.block_on(|| Signals::new([Signal::User1])).unwrap().unwrap();
        let signals = other
            .block_on(move || {
                let error = signals.recv().expect_err("it is refused");
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                let selected = select! { result = signals.receiving() => result }.unwrap();
                assert_eq!(selected.expect_err("it is refused").kind(), ErrorKind::Unsupported);
                signals
            })
            .unwrap();
        send(Signal::User1);
        assert_eq!(one.block_on(move || signals.recv()).unwrap().unwrap(), Signal::User1);
    });
}

#[test]
fn there_is_an_end_to_the_number_of_listeners_and_to_their_descriptors() {
    alone("there_is_an_end_to_the_number_of_listeners_and_to_their_descriptors", || {
        let mut all: Vec<_> =
            (0..256).map(|_| Signals::new([Signal::User1])).collect::<io::Result<_>>()?;
        let error = Signals::new([Signal::User1]).expect_err("256 exist");
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
        strike(Signal::User1);
        assert!(all.iter().all(|signals| signals.try_recv() == Some(Signal::User1)));
        let open = open_descriptors();
        for round in 0..scaled(1000, 50) {
            drop(all.swap_remove(round * 7 % all.len()));
            all.push(Signals::new([Signal::User1])?);
        }
        assert_eq!(open_descriptors(), open);
        Ok(())
    });
}

// Dispositions.

#[test]
fn after_the_last_listener_the_signal_ends_the_process_again() {
    const NAME: &str = "after_the_last_listener_the_signal_ends_the_process_again";
    if child::is_child(NAME) {
        run(|| {
            let first = Signals::new([Signal::Terminate])?;
            let second = Signals::new([Signal::Terminate, Signal::Interrupt])?;
            strike(Signal::Terminate);
            assert_eq!((first.recv()?, second.recv()?), (Signal::Terminate, Signal::Terminate));
            drop(first);
            strike(Signal::Terminate);
            assert_eq!(second.recv()?, Signal::Terminate);
            drop(second);
            strike(Signal::Terminate);
            unreachable!("the signal ends the process before it goes on")
        });
    } else {
        let ended = child::run(NAME, &[]);
        assert_eq!(ended.signal(), Some(Signal::Terminate.number()), "{}", ended.stderr);
    }
}

#[test]
fn a_handler_that_was_there_is_not_called_meanwhile_and_comes_back() {
    alone("a_handler_that_was_there_is_not_called_meanwhile_and_comes_back", || {
        native::count_signals(Native::SIGUSR1);
        for round in 1..=3 {
            let signals = Signals::new([Signal::User1])?;
            strike(Signal::User1);
            assert_eq!(signals.recv()?, Signal::User1);
            assert_eq!(native::signals(), round - 1);
            drop(signals);
            strike(Signal::User1);
            assert_eq!(native::signals(), round);
        }
        Ok(())
    });
}

#[test]
fn a_handler_that_came_later_stays() {
    alone("a_handler_that_came_later_stays", || {
        let signals = Signals::new([Signal::User1])?;
        native::count_signals(Native::SIGUSR1);
        strike(Signal::User1);
        assert_eq!((signals.try_recv(), native::signals()), (None, 1));
        // Who listens anew takes the signal back, for all.
        let second = Signals::new([Signal::User1])?;
        strike(Signal::User1);
        assert_eq!((signals.recv()?, second.recv()?), (Signal::User1, Signal::User1));
        native::count_signals(Native::SIGUSR1);
        drop((signals, second));
        strike(Signal::User1);
        assert_eq!(native::signals(), 2);
        Ok(())
    });
}

#[test]
fn signals_of_a_forked_child_are_its_own() {
    alone("signals_of_a_forked_child_are_its_own", || {
        let signals = Signals::new([Signal::User1])?;
        let code = native::fork(|| {
            (0..100).for_each(|_| send(Signal::User1));
            0
        });
        assert_eq!(code, 0);
        let error = signals.recv_until(rt::now() + MS).expect_err("none was sent to the parent");
        assert!(timed_out(&error).is_some(), "{error}");
        send(Signal::User1);
        assert_eq!(signals.recv()?, Signal::User1);
        Ok(())
    });
}

#[test]
fn listeners_come_and_go_on_many_threads_while_signals_keep_coming() {
    run_alone("listeners_come_and_go_on_many_threads_while_signals_keep_coming", || {
        [Signal::User1, Signal::User2].into_iter().for_each(outlive);
        let _storms = (storm(Signal::User1), storm(Signal::User2));
        thread::scope(|scope| {
            for n in 0..4 {
                scope.spawn(move || run(move || come_and_go(n)));
            }
        });
    });
}

fn come_and_go(n: usize) -> io::Result<()> {
    let signal = if n.is_multiple_of(2) { Signal::User1 } else { Signal::User2 };
    for round in 0..scaled(2000, 50) {
        let signals = Signals::new([signal])?;
        if round % 100 == 0 {
            assert_eq!(signals.recv()?, signal);
        }
    }
    Ok(())
}
