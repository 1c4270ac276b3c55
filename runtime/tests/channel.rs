//! Channels, on the virtual clock and under many seeds.

mod seeds;

use std::cell::Cell;
use std::io::{
    self,
    ErrorKind::{BrokenPipe, WouldBlock},
};
use std::rc::Rc;
use std::time::Duration;

use seeds::{Log, Random, in_ms, settle, sleep_ms, under_seeds};
use thalweg_runtime::sync::channel::{
    self, RecvError, SendError, Sender, TryRecvError, TrySendError,
};
use thalweg_runtime::{self as rt, JoinHandle, Refused, Runtime, WaitError};

const SEEDS: u64 = 24;

#[test]
fn messages_arrive_in_order_through_a_full_channel() {
    under_seeds(SEEDS, |seed| {
        let (tx, rx) = channel::bounded(usize::try_from(seed % 4).unwrap());
        let sender = rt::spawn(move || (0..100).try_for_each(|n| tx.send(n)));
        assert!(rx.iter().eq(0..100));
        sender.join().unwrap().unwrap();
        assert_eq!(rx.recv(), Err(RecvError::Closed));
    });
}

#[test]
fn receivers_are_served_in_order_of_arrival() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::unbounded();
        let arrived = Log::new();
        let receivers: Vec<_> = (0..5)
            .map(|n| {
                let (rx, arrived) = (rx.clone(), arrived.clone());
                rt::spawn(move || {
                    arrived.push(n);
                    rx.recv().is_ok()
                })
            })
            .collect();
        settle();
        for &next in &arrived.take() {
            tx.send(()).unwrap();
            assert_eq!(rx.try_recv(), Err(TryRecvError::Empty), "it is promised");
            assert!(rx.is_empty());
            settle();
            let finished = receivers.iter().map(JoinHandle::is_finished);
            assert!(receivers[next].is_finished(), "{:?}", finished.collect::<Vec<_>>());
        }
        assert!(receivers.iter().all(|receiver| receiver.join().unwrap()));
    });
}

#[test]
fn senders_that_wait_are_served_in_order_of_arrival() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::bounded(1);
        tx.send(usize::MAX).unwrap();
        let arrived = Log::new();
        let senders: Vec<_> = (0..5)
            .map(|n| {
                let (tx, arrived) = (tx.clone(), arrived.clone());
                rt::spawn(move || {
                    arrived.push(n);
                    tx.send(n).unwrap();
                })
            })
            .collect();
        settle();
        assert_eq!(tx.len(), 1);
        assert_eq!(rx.recv(), Ok(usize::MAX));
        assert!(matches!(tx.try_send(9), Err(TrySendError::Full(9))), "others came before");
        let received: Vec<_> = rx.iter().take(5).collect();
        assert_eq!(received, arrived.take());
        senders.iter().for_each(|sender| sender.join().unwrap());
    });
}

#[test]
fn without_capacity_sending_waits_for_a_receiver() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::bounded(0);
        assert_eq!((tx.capacity(), tx.len()), (Some(0), 0));
        assert!(matches!(tx.try_send(1), Err(TrySendError::Full(1))));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        let theirs = tx.clone();
        let sender = rt::spawn(move || theirs.send(2).is_ok());
        settle();
        assert!(!sender.is_finished());
        assert_eq!(rx.try_recv(), Ok(2));
        assert!(sender.join().unwrap());
        let receiver = rt::spawn(move || rx.recv());
        settle();
        assert_eq!(tx.try_send(3).map_err(TrySendError::into_inner), Ok(()));
        assert_eq!(tx.try_send(4).map_err(TrySendError::into_inner), Err(4));
        assert_eq!(receiver.join().unwrap(), Ok(3));
    });
}

#[test]
fn a_message_that_was_handed_over_wins_over_a_cancellation() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::bounded(1);
        let receiver = rt::spawn(move || (rx.recv(), rx.recv()));
        settle();
        tx.send(7).unwrap();
        tx.send(8).unwrap();
        receiver.cancel();
        let cancelled = Err(RecvError::Wait(WaitError::Cancelled));
        assert_eq!(receiver.join().unwrap(), (Ok(7), cancelled));
    });
}

#[test]
fn a_message_that_was_taken_wins_over_a_cancellation_of_its_sender() {
    under_seeds(SEEDS, |seed| {
        let (tx, rx) = channel::bounded(usize::try_from(seed % 2).unwrap());
        let _filled = tx.try_send(0);
        let sender = rt::spawn(move || {
            let first = tx.send(1);
            (first.is_ok(), tx.send(2).map_err(SendError::into_inner))
        });
        settle();
        let taken = rx.try_recv().unwrap();
        sender.cancel();
        assert_eq!(sender.join().unwrap(), (true, Err(2)));
        let rest: Vec<_> = rx.iter().collect();
        assert!(rest.iter().chain([&taken]).any(|&n| n == 1));
    });
}

#[test]
fn a_message_goes_to_the_next_receiver_when_the_first_timed_out_at_the_same_moment() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::unbounded();
        let end = in_ms(10);
        let first = rx.clone();
        let first = rt::spawn(move || first.recv_until(end));
        settle();
        let second = rt::spawn(move || rx.recv());
        rt::sleep_until(end).unwrap();
        tx.send(1).unwrap();
        assert!(matches!(first.join().unwrap(), Err(RecvError::Wait(WaitError::TimedOut(_)))));
        assert_eq!(second.join().unwrap(), Ok(1));
    });
}

#[test]
fn room_goes_to_the_next_sender_when_the_first_was_cancelled_at_the_same_moment() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::bounded(1);
        tx.send("before").unwrap();
        let theirs = tx.clone();
        let first = rt::spawn(move || theirs.send("first"));
        settle();
        let second = rt::spawn(move || tx.send("second"));
        settle();
        first.cancel();
        assert_eq!(rx.try_recv(), Ok("before"));
        assert_eq!(rx.recv(), Ok("second"));
        let Err(SendError::Wait("first", WaitError::Cancelled)) = first.join().unwrap() else {
            panic!("the message comes back");
        };
        assert!(second.join().unwrap().is_ok());
    });
}

#[test]
fn closing_wakes_everybody_and_keeps_what_is_in_the_channel() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::bounded(1);
        tx.send(1).unwrap();
        let senders: Vec<_> = (10..13)
            .map(|n| {
                let tx = tx.clone();
                rt::spawn(move || tx.send(n))
            })
            .collect();
        settle();
        rx.close();
        for (sender, n) in senders.iter().zip(10..) {
            let Err(SendError::Closed(value)) = sender.join().unwrap() else {
                panic!("it was closed");
            };
            assert_eq!(value, n);
        }
        assert!(matches!(tx.send(2), Err(SendError::Closed(2))));
        assert!(matches!(tx.try_send(2), Err(TrySendError::Closed(2))));
        assert!(tx.is_closed() && rx.is_closed());
        assert_eq!((rx.recv(), rx.recv()), (Ok(1), Err(RecvError::Closed)));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));

        let (tx, rx) = channel::unbounded::<()>();
        let receivers: Vec<_> = (0..3)
            .map(|_| {
                let rx = rx.clone();
                rt::spawn(move || rx.recv())
            })
            .collect();
        settle();
        tx.close();
        assert!(receivers.iter().all(|r| r.join().unwrap() == Err(RecvError::Closed)));
    });
}

#[test]
fn a_receiver_with_a_promised_message_gets_it_although_the_channel_closes() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::bounded(1);
        let receivers: Vec<_> = (0..3)
            .map(|_| {
                let rx = rx.clone();
                rt::spawn(move || rx.recv())
            })
            .collect();
        settle();
        tx.send(1).unwrap();
        drop(tx);
        let results = receivers.iter().map(|receiver| receiver.join().unwrap());
        assert_eq!(results.filter(Result::is_ok).count(), 1);
    });
}

#[test]
fn messages_outlive_the_senders_and_die_with_the_last_receiver() {
    under_seeds(SEEDS, |_| {
        let alive = Rc::new(());
        let (tx, rx) = channel::bounded(4);
        let others = (tx.clone(), rx.clone());
        tx.send(Rc::clone(&alive)).unwrap();
        tx.send(Rc::clone(&alive)).unwrap();
        drop((tx, others.0));
        drop(rx.recv().unwrap());
        assert_eq!(Rc::strong_count(&alive), 2);
        drop(others.1);
        assert!(!rx.is_empty());
        drop(rx);
        assert_eq!(Rc::strong_count(&alive), 1);

        let (tx, rx) = channel::bounded(0);
        let sender = rt::spawn(move || tx.send(1));
        settle();
        drop(rx);
        assert!(matches!(sender.join().unwrap(), Err(SendError::Closed(1))));
    });
}

#[test]
fn iterating_ends_at_a_cancellation() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::unbounded();
        tx.send(1).unwrap();
        let reader = rt::spawn(move || {
            let mut sum = 0;
            for n in &rx {
                sum += n;
            }
            (sum, rx.is_closed(), rx.into_iter().next())
        });
        settle();
        reader.cancel();
        assert_eq!(reader.join().unwrap(), (1, false, None));
        assert!(matches!(tx.send(1), Err(SendError::Closed(1))));
    });
}

#[test]
fn a_huge_bound_costs_nothing() {
    under_seeds(1, |_| {
        let (tx, rx) = channel::bounded(usize::MAX - 1);
        assert_eq!(tx.capacity(), Some(usize::MAX - 1));
        tx.send([0_u64; 16]).unwrap();
        assert_eq!(rx.recv().map(|message| message.len()), Ok(16));
        assert_eq!(channel::unbounded::<()>().0.capacity(), None);
    });
}

#[test]
fn outside_a_coroutine_only_what_does_not_wait_works() {
    let (tx, rx) = channel::bounded(1);
    let refused = WaitError::Refused(Refused::NoCoroutine);
    assert!(matches!(tx.send(1), Err(SendError::Wait(1, error)) if error == refused));
    tx.try_send(1).unwrap();
    assert_eq!(rx.recv(), Err(RecvError::Wait(refused)));
    assert_eq!(rx.try_recv(), Ok(1));
    assert!(format!("{tx:?} {rx:?}").contains("capacity"));
}

#[test]
fn a_channel_works_across_two_runtimes_of_a_thread() {
    let (tx, rx) = channel::bounded(0);
    let (one, other) = (Runtime::builder().build().unwrap(), Runtime::builder().build().unwrap());
    let sender = one.spawn(move || (0..10).try_for_each(|n| tx.send(n))).unwrap();
    let receiver = other.spawn(move || rx.iter().sum::<i32>()).unwrap();
    while !receiver.is_finished() {
        one.turn(Some(Duration::ZERO)).unwrap();
        other.turn(Some(Duration::ZERO)).unwrap();
    }
    sender.join().unwrap().unwrap();
    assert_eq!(receiver.join().unwrap(), 45);
}

#[test]
fn errors_convert_to_io_errors_that_tell_why() {
    let wait = WaitError::Cancelled;
    let of_sending: [io::Error; 2] =
        [SendError::Wait((), wait).into(), SendError::Closed(()).into()];
    assert!(rt::is_cancelled(&of_sending[0]));
    assert_eq!(of_sending[1].kind(), BrokenPipe);
    assert!(rt::is_cancelled(&RecvError::Wait(wait).into()));
    let kinds = [
        io::Error::from(RecvError::Closed).kind(),
        io::Error::from(TryRecvError::Empty).kind(),
        io::Error::from(TrySendError::Full(())).kind(),
        io::Error::from(TrySendError::Closed(())).kind(),
    ];

    assert_eq!(kinds, [BrokenPipe, WouldBlock, WouldBlock, BrokenPipe]);
    under_seeds(1, |_| {
        let (_tx, rx) = channel::bounded::<()>(1);
        let error = rx.recv_until(in_ms(1)).unwrap_err();
        assert!(!rt::timed_out(&error.into()).unwrap().is_outer());
        let outer = rt::timeout(Duration::from_millis(1), || rx.recv_until(in_ms(50)));
        assert!(rt::timed_out(&outer.unwrap_err().into()).unwrap().is_outer());
    });
}

// Oneshot.

#[test]
fn a_oneshot_message_is_not_lost_when_its_receiver_times_out() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::oneshot();
        let end = in_ms(5);
        let receiver = rt::spawn(move || {
            let first = rx.recv_until(end);
            (first, rx.recv())
        });
        rt::sleep_until(end).unwrap();
        tx.send(1).unwrap();
        match receiver.join().unwrap() {
            (Err(RecvError::Wait(WaitError::TimedOut(_))), Ok(1)) => {}
            (Ok(1), Err(RecvError::Closed)) => {}
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_oneshot_end_that_is_dropped_tells_the_other() {
    under_seeds(SEEDS, |_| {
        let (tx, rx) = channel::oneshot::<i32>();
        let receiver = rt::spawn(move || rx.recv());
        settle();
        drop(tx);
        assert_eq!(receiver.join().unwrap(), Err(RecvError::Closed));

        let (tx, rx) = channel::oneshot();
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        assert!(!tx.is_closed());
        drop(rx);
        assert!(tx.is_closed());
        assert_eq!(tx.send(3), Err(3));

        let (tx, rx) = channel::oneshot();
        let alive = Rc::new(());
        tx.send(Rc::clone(&alive)).unwrap();
        drop(rx);
        assert_eq!(Rc::strong_count(&alive), 1);
    });
}

// Everything at once.

/// Counts the messages in existence.
struct Message(Rc<Cell<i64>>);

impl Message {
    fn new(alive: &Rc<Cell<i64>>) -> Self {
        alive.set(alive.get() + 1);
        Self(Rc::clone(alive))
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Random sending and receiving with random deadlines and cancellations: what was sent is what was
/// received and what is left, and nothing exists twice or never goes away.
#[test]
fn messages_are_neither_lost_nor_doubled_by_cancellations_and_deadlines() {
    under_seeds(60, |seed| {
        let alive = Rc::new(Cell::new(0));
        let (tx, rx) = channel::bounded(usize::try_from(seed % 4).unwrap());
        let senders: Vec<JoinHandle<u32>> = (0..6)
            .map(|n| {
                let (tx, alive) = (tx.clone(), Rc::clone(&alive));
                rt::spawn(move || send_some(&tx, &alive, &mut Random::new(seed * 100 + n)))
            })
            .collect();
        let receivers: Vec<JoinHandle<u32>> = (0..6)
            .map(|n| {
                let rx = rx.clone();
                let mut random = Random::new(seed * 100 + 50 + n);
                rt::spawn(move || {
                    let mut received = 0;
                    loop {
                        match rx.recv_until(in_ms(random.below(4))) {
                            Ok(_message) => received += 1,
                            Err(RecvError::Wait(WaitError::TimedOut(_))) => {}
                            Err(_) => return received,
                        }
                        if random.below(3) == 0 && rt::sleep(Duration::from_millis(1)).is_err() {
                            return received;
                        }
                    }
                })
            })
            .collect();
        drop(tx);
        let mut random = Random::new(seed);
        for _ in 0..5 {
            sleep_ms(random.below(10));
            let victim = random.below(5) as usize;
            if random.below(2) == 0 { senders[victim].cancel() } else { receivers[victim].cancel() }
        }
        let sent: u32 = senders.iter().map(|sender| sender.join().unwrap()).sum();
        let received: u32 = receivers.iter().map(|receiver| receiver.join().unwrap()).sum();
        assert_eq!(rx.len(), 0, "the last receiver went on until the end");
        assert_eq!(sent, received);
        assert_eq!(alive.get(), 0);
    });
}

/// How many messages were sent by a sender that is cancelled or done.
fn send_some(tx: &Sender<Message>, alive: &Rc<Cell<i64>>, random: &mut Random) -> u32 {
    let mut sent = 0;
    for _ in 0..80 {
        match tx.send_until(Message::new(alive), in_ms(random.below(4))) {
            Ok(()) => sent += 1,
            Err(SendError::Wait(_message, WaitError::TimedOut(_))) => {}
            Err(_) => break,
        }
        if random.below(4) == 0 && rt::yield_now().is_err() {
            break;
        }
    }
    sent
}
