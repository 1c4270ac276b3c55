//! The bridge between libsrt's events and coroutines: who waits is woken, whoever it is and wherever it runs.
#![expect(clippy::disallowed_methods, reason = "waits for threads with runtimes of their own")]

mod support;

use std::collections::HashSet;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use support::{listener, number, numbered, pair, pair_of, quick, run, until};
use thalweg_runtime as rt;
use thalweg_srt_io::{Batch, RecvError, Socket};

#[test]
fn one_coroutine_receives_while_another_sends_on_the_same_socket() {
    run(|| {
        let (caller, called) = pair(&quick());
        let (caller, called) = (Rc::new(caller), Rc::new(called));
        let mut receivers = Vec::new();
        for end in [&caller, &called] {
            let (ours, theirs) = (Rc::clone(end), Rc::clone(end));
            receivers.push(rt::spawn(move || receive(&theirs, 100)));
            rt::spawn(move || send(&ours, 100));
        }
        for receiver in receivers {
            assert_eq!(receiver.join().unwrap(), (0..100).collect::<Vec<_>>());
        }
    });
}

#[test]
fn several_runtimes_are_served_at_once() {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(|| {
                run(|| {
                    let (caller, called) = pair(&quick());
                    rt::spawn(move || {
                        send(&caller, 50);
                        caller.recv(&mut [0; 1500]).unwrap_err()
                    });
                    receive(&called, 50)
                })
            })
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), (0..50).collect::<Vec<_>>());
    }
}

#[test]
fn a_socket_accepted_on_one_runtime_is_used_on_another() {
    run(|| {
        let (caller, called) = pair(&quick());
        let thread = thread::spawn(move || run(move || receive(&called, 20)));
        send(&caller, 20);
        assert!(matches!(caller.recv(&mut [0; 1500]), Err(RecvError::Disconnected)));
        assert_eq!(thread.join().unwrap(), (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn a_runtime_that_only_waits_for_srt_sleeps_and_is_not_taken_for_deadlocked() {
    let (address, caller) = std::sync::mpsc::channel();
    let thread = thread::spawn(move || {
        run(move || {
            let listener = listener(&quick());
            address.send(listener.local_addr()).unwrap();
            let (called, _) = listener.accept().unwrap();
            let before = rt::stats().unwrap().turns;
            // Keepalives come meanwhile, and the bridge ticks: neither is for this runtime.
            let length = called.recv(&mut [0; 1500]).unwrap();
            (length, rt::stats().unwrap().turns - before)
        })
    });
    run(move || {
        let socket = Socket::connect(caller.recv().unwrap(), &quick()).unwrap();
        rt::sleep(Duration::from_millis(500)).unwrap();
        socket.send(&numbered(0)).unwrap();
        assert!(matches!(socket.recv(&mut [0; 1500]), Err(RecvError::Disconnected)));
    });
    let (length, turns) = thread.join().unwrap();
    assert_eq!(length, 1316);
    assert!(turns <= 5, "{turns} turns, of which one was due");
}

#[test]
fn no_event_is_lost_when_each_side_waits_for_the_other() {
    const PAIRS: u32 = 16;
    const HOPS: u32 = 60;
    run(|| {
        let listener = listener(&quick());
        let mut ends = Vec::new();
        for _ in 0..PAIRS {
            let (caller, called) = pair_of(&listener, &quick());
            rt::spawn(move || {
                let mut buf = [0; 1500];
                while let Ok(length) = called.recv(&mut buf) {
                    called.send(&buf[..length]).unwrap();
                }
            });
            ends.push(rt::spawn(move || {
                let mut buf = [0; 1500];
                for hop in 0..HOPS {
                    caller.send(&numbered(hop)).unwrap();
                    let length = caller.recv(&mut buf).unwrap();
                    assert_eq!(number(&buf[..length]), hop);
                }
            }));
        }
        for end in ends {
            end.join().unwrap();
        }
    });
}

#[test]
fn many_that_wait_in_one_socket_are_all_woken_and_share_what_comes() {
    run(|| {
        let (caller, called) = pair(&quick());
        let called = Rc::new(called);
        let mut receivers = Vec::new();
        for _ in 0..5 {
            let called = Rc::clone(&called);
            receivers.push(rt::spawn(move || {
                let mut buf = [0; 1500];
                called.recv(&mut buf).map(|length| number(&buf[..length])).unwrap()
            }));
        }
        rt::yield_now().unwrap();
        send(&caller, 5);
        let all: HashSet<u32> = receivers.into_iter().map(|one| one.join().unwrap()).collect();
        assert_eq!(all, (0..5).collect());
    });
}

#[test]
fn a_batch_takes_what_is_due_at_once() {
    run(|| {
        let (caller, called) = pair(&quick());
        send(&caller, 100);
        // Due since at least the latency.
        until("everything to be due", || called.stats().unwrap().now.recv_buffer_packets == 100);
        rt::sleep(Duration::from_millis(100)).unwrap();
        let (mut batch, mut got) = (Batch::new(32, 1456), Vec::new());
        let mut sizes = Vec::new();
        while got.len() < 100 {
            sizes.push(called.recv_batch(&mut batch).unwrap());
            got.extend(batch.iter().map(number));
        }
        assert_eq!(got, (0..100).collect::<Vec<_>>());
        assert_eq!(sizes, [32, 32, 32, 4]);
    });
}

#[test]
fn a_socket_that_always_has_something_starves_nobody() {
    run(|| {
        let (caller, called) = pair(&quick());
        send(&caller, 1000);
        until("everything to be there", || called.stats().unwrap().now.recv_buffer_packets == 1000);
        rt::sleep(Duration::from_millis(100)).unwrap();
        let turns = Rc::new(std::cell::Cell::new(0));
        let counted = Rc::clone(&turns);
        let fellow = rt::spawn(move || {
            while rt::yield_now().is_ok() {
                counted.set(counted.get() + 1);
            }
        });
        rt::yield_now().unwrap();
        let before = turns.get();
        assert_eq!(receive(&called, 1000).len(), 1000);
        assert!(
            turns.get() - before >= 10,
            "{} turns while 1000 messages came",
            turns.get() - before
        );
        fellow.cancel();
    });
}

fn send(socket: &Socket, messages: u32) {
    for message in 0..messages {
        socket.send(&numbered(message)).expect("the peer is there");
    }
}

fn receive(socket: &Socket, messages: u32) -> Vec<u32> {
    let mut buf = [0; 1500];
    let next = |_| {
        let length = socket.recv(&mut buf).expect("the peer is there");
        number(&buf[..length])
    };
    (0..messages).map(next).collect()
}
