//! Descriptors and scoped coroutines as arms of `select!`, on real sockets.

use std::io::{Read, Write};
use std::time::Duration;

use thalweg_runtime::net::{Closed, UnixStream};
use thalweg_runtime::sync::channel;
use thalweg_runtime::{self as rt, WaitError, select};

#[derive(Debug, PartialEq, Eq)]
enum First {
    Readable,
    Message(u32),
    Closed,
}

fn first(stream: &UnixStream, messages: &channel::Receiver<u32>) -> Result<First, WaitError> {
    select! {
        ready = stream.net_fd().becoming_readable() => match ready {
            Ok(()) => First::Readable,
            Err(error) => {
                assert!(error.get_ref().is_some_and(|inner| inner.is::<Closed>()), "{error}");
                First::Closed
            }
        },
        message = messages.receiving() => First::Message(message.unwrap_or(0)),
    }
}

#[test]
fn a_descriptor_and_a_channel_are_waited_for_together() {
    rt::run(|| {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let (tx, rx) = channel::unbounded();
        for round in 0..100_u32 {
            let peer = if round % 2 == 0 {
                let mut theirs = theirs.clone();
                rt::spawn(move || theirs.write_all(b"x").unwrap())
            } else {
                let tx = tx.clone();
                rt::spawn(move || tx.send(round).unwrap())
            };
            let winner = first(&ours, &rx).unwrap();
            peer.join().unwrap();
            if round % 2 == 0 {
                assert_eq!(winner, First::Readable);
                let mut byte = [0; 1];
                ours.read_exact(&mut byte).unwrap();
            } else {
                assert_eq!(winner, First::Message(round));
            }
        }
        theirs.write_all(b"y").unwrap();
        assert_eq!(first(&ours, &rx), Ok(First::Readable), "ready before the select");
    });
}

#[test]
fn a_losing_descriptor_loses_no_data_and_wakes_nobody_later() {
    rt::run(|| {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let (tx, rx) = channel::unbounded();
        tx.send(1).unwrap();
        assert_eq!(first(&ours, &rx), Ok(First::Message(1)));
        theirs.write_all(b"kept").unwrap();
        let mut kept = [0; 4];
        ours.read_exact(&mut kept).unwrap();
        assert_eq!(&kept, b"kept");
    });
}

#[test]
fn closing_the_descriptor_ends_the_select_with_closed() {
    rt::run(|| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (_tx, rx) = channel::unbounded();
        let closer = ours.clone();
        let closing = rt::spawn(move || closer.close().unwrap());
        assert_eq!(first(&ours, &rx), Ok(First::Closed));
        closing.join().unwrap();
        assert_eq!(first(&ours, &rx), Ok(First::Closed), "also when it was closed before");
    });
}

#[test]
fn a_full_socket_becomes_writable_when_the_peer_reads() {
    rt::run(|| {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let filler = vec![0; 65_536];
        while ours.write(&filler).is_ok() {}
        let reading = rt::spawn(move || {
            let mut buf = vec![0; 65_536];
            for _ in 0..8 {
                theirs.read_exact(&mut buf).unwrap();
            }
        });
        let late = select! {
            ready = ours.net_fd().becoming_writable() => ready.is_err(),
            _ = select::after(Duration::from_secs(20)) => true,
        };
        assert_eq!(late, Ok(false));
        drop(reading);
    });
}

#[test]
fn a_select_on_a_descriptor_ends_by_deadline_and_cancellation() {
    rt::run(|| {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (_tx, rx) = channel::unbounded::<u32>();
        let timed_out = rt::timeout(Duration::from_millis(5), || first(&ours, &rx));
        assert!(matches!(timed_out, Err(WaitError::TimedOut(_))), "{timed_out:?}");
        let waiting = rt::spawn(move || first(&ours, &rx));
        rt::yield_now().unwrap();
        waiting.cancel();
        assert_eq!(waiting.join().unwrap(), Err(WaitError::Cancelled));
    });
}

#[test]
fn the_end_of_a_scoped_coroutine_is_an_arm_that_gives_its_value() {
    rt::run(|| {
        let text = String::from("borrowed");
        let length = rt::scope(|s| {
            let child = s.spawn(|| {
                rt::yield_now().unwrap();
                text.len()
            });
            select! {
                length = child.ending() => length.unwrap(),
                _ = select::after(Duration::from_secs(20)) => 0,
            }
        });
        assert_eq!(length, Ok(8));
    });
}

/// A reader that was woken together with another, and cancelled before it ran, used to park again
/// although it was cancelled, and stayed parked.
#[test]
fn a_reader_cancelled_after_a_wake_up_for_somebody_else_does_not_hang() {
    rt::run(|| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let read = |mut stream: UnixStream| {
            move || stream.read(&mut [0; 8]).map_err(|e| rt::is_cancelled(&e))
        };
        let second = rt::spawn({
            let mut first = ours.clone();
            move || {
                let second = rt::spawn(read(ours));
                assert_eq!(first.read(&mut [0; 8]).unwrap(), 1);
                second.cancel();
                second
            }
        });
        rt::yield_now().unwrap();
        rt::yield_now().unwrap();
        theirs.write_all(b"x").unwrap();
        let second = second.join().unwrap();
        let ended = rt::timeout(Duration::from_secs(20), || second.join()).unwrap();
        assert!(ended == Err(true) || ended == Ok(1), "{ended:?}");
    });
}
