//! Byte streams in memory, on the virtual clock and under many seeds.

#[expect(dead_code, reason = "this program uses a part of it")]
mod seeds;

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use seeds::{Random, in_ms, settle, under_seeds};
use thalweg_runtime::sync::duplex;
use thalweg_runtime::{self as rt};

const SEEDS: u64 = 24;

/// Pushes a stream through a small buffer in random pieces, both ways at once.
#[test]
fn bytes_arrive_in_order_through_any_pieces() {
    under_seeds(SEEDS, |seed| {
        let mut random = Random::new(seed);
        let capacity = usize::try_from(random.below(7)).unwrap() + 1;
        let (near, far) = duplex(capacity);
        let echo = rt::spawn(move || {
            let (mut buf, mut far) = ([0; 5], far);
            while let Ok(n @ 1..) = far.read(&mut buf) {
                assert!(n <= capacity);
                far.write_all(&buf[..n]).unwrap();
            }
        });
        let near = Rc::new(near);
        let writing = Rc::clone(&near);
        let writer = rt::spawn(move || {
            let sent: Vec<u8> = (0..200).collect();
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let piece = usize::try_from(random.below(9)).unwrap().min(rest.len());
                let n = (&*writing).write(&rest[..piece]).unwrap();
                assert!(n <= piece.min(capacity) && (n > 0 || piece == 0));
                rest = &rest[n..];
            }
            writing.shutdown_write();
            assert_eq!((&*writing).write(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
        let mut received = Vec::new();
        (&*near).read_to_end(&mut received).unwrap();
        assert!(received.into_iter().eq(0..200));
        echo.join().unwrap();
        writer.join().unwrap();
    });
}

#[test]
fn what_was_written_before_the_end_was_dropped_is_read_and_then_the_end() {
    under_seeds(SEEDS, |_| {
        let (mut near, mut far) = duplex(16);
        far.write_all(b"last words").unwrap();
        near.write_all(b"never read").unwrap();
        assert_eq!((near.readable_len(), near.writable_len()), (10, 6));
        drop(far);
        let mut text = String::new();
        near.read_to_string(&mut text).unwrap();
        assert_eq!(text, "last words");
        assert_eq!(near.read(&mut [0]).unwrap(), 0, "the end stays");
        assert_eq!(near.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(near.write(b"").unwrap(), 0);
        near.flush().unwrap();
    });
}

#[test]
fn dropping_an_end_wakes_who_waits_on_the_other() {
    under_seeds(SEEDS, |_| {
        let (near, far) = duplex(2);
        let near = Rc::new(near);
        let (reading, writing) = (Rc::clone(&near), Rc::clone(&near));
        let reader = rt::spawn(move || (&*reading).read(&mut [0; 4]).unwrap());
        let writer = rt::spawn(move || (&*writing).write_all(b"too much").unwrap_err().kind());
        settle();
        drop(far);
        assert_eq!(reader.join().unwrap(), 0);
        assert_eq!(writer.join().unwrap(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn deadlines_and_cancellations_end_reads_and_writes_and_move_nothing() {
    under_seeds(SEEDS, |_| {
        let (mut near, mut far) = duplex(3);
        let limit = Duration::from_millis(5);
        let start = rt::now();
        let error = rt::timeout(limit, || near.read(&mut [0; 3])).unwrap_err();
        assert!(rt::timed_out(&error).is_some());
        assert_eq!(rt::now() - start, limit);
        // An absolute deadline over the whole: it is not renewed by progress.
        let error = rt::deadline(in_ms(5), || near.write_all(b"four")).unwrap_err();
        assert!(rt::timed_out(&error).is_some());
        let cancelled = rt::spawn(move || {
            let error = near.write(b"x").unwrap_err();
            (rt::is_cancelled(&error), near)
        });
        settle();
        cancelled.cancel();
        let (was_cancelled, _near) = cancelled.join().unwrap();
        assert!(was_cancelled);
        let mut bytes = [0; 8];
        assert_eq!(far.read(&mut bytes).unwrap(), 3);
        assert_eq!(&bytes[..3], b"fou");
        assert_eq!(far.readable_len(), 0);
    });
}

#[test]
fn a_vectored_write_takes_what_fits_of_all_parts() {
    under_seeds(1, |_| {
        let (mut near, mut far) = duplex(6);
        let parts = [&b"one"[..], b"", b"two", b"three"].map(IoSlice::new);
        assert_eq!(near.write_vectored(&parts).unwrap(), 6);
        let mut bytes = [0; 8];
        // Partial reads leave the rest, across the wrap of the buffer too.
        assert_eq!(far.read(&mut bytes[..2]).unwrap(), 2);
        assert_eq!(near.write(b"XYZ").unwrap(), 2);
        assert_eq!(far.read(&mut bytes).unwrap(), 6);
        assert_eq!(&bytes[..6], b"etwoXY");
    });
}

#[test]
fn several_readers_share_a_stream_and_none_sleeps_on_bytes_that_are_there() {
    under_seeds(SEEDS, |_| {
        let (near, mut far) = duplex(16);
        let near = Rc::new(near);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let near = Rc::clone(&near);
                rt::spawn(move || (&*near).read(&mut [0; 2]).unwrap())
            })
            .collect();
        settle();
        far.write_all(b"abcdef").unwrap();
        assert!(readers.iter().all(|reader| reader.join().unwrap() == 2));
    });
}

#[test]
#[should_panic(expected = "room for at least one byte")]
fn no_capacity_is_refused() {
    drop(duplex(0));
}

#[test]
fn a_huge_capacity_costs_nothing() {
    under_seeds(1, |_| {
        let (mut near, mut far) = duplex(usize::MAX);
        near.write_all(b"x").unwrap();
        assert_eq!(far.read(&mut [0; 2]).unwrap(), 1);
        assert_eq!(far.writable_len(), usize::MAX);
    });
}
