//! TCP under conditions that are against it: peers that dribble, hang, reset or leave, descriptors
//! that run out, signals, and crowds.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "some peers are plain threads with std's blocking sockets, and time is measured"
)]

mod support;

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use socket2::SockRef;
use support::net::{elsewhere, run, run_alone, tcp_pair};
use support::{is_under_valgrind, native, scaled};
use thalweg_runtime::net::{
    Incomplete, Interest, ListenOptions, Ready, RecvMeta, TcpListener, TcpStream, Transmit,
    UdpSocket, UnixStream, poll_many,
};
use thalweg_runtime::{self as rt, is_cancelled, timed_out};

const MS: Duration = Duration::from_millis(1);

/// More than the send and receive buffers of a connection hold together.
const PLENTY: usize = 32 << 20;

#[test]
fn deadline_covers_a_whole_read_full_from_a_dribbling_peer() {
    // Each wait alone is over long before the deadline; all of them together would take 5 s.
    dribble(|stream, buf| rt::timeout(50 * MS, || stream.read_full(buf)));
}

#[test]
fn socket_timeout_covers_a_whole_read_full_from_a_dribbling_peer() {
    dribble(|stream, buf| {
        stream.set_read_timeout(Some(50 * MS)).unwrap();
        stream.read_full(buf)
    });
}

fn dribble(read: impl FnOnce(&TcpStream, &mut [u8]) -> Result<(), Incomplete> + 'static) {
    run(|| {
        let (near, mut far) = tcp_pair()?;
        rt::spawn(move || {
            for byte in 0..=u8::MAX {
                if far.write_all(&[byte]).is_err() || rt::sleep(20 * MS).is_err() {
                    break;
                }
            }
        });
        let begin = Instant::now();
        let mut buf = [0; 256];
        let incomplete = read(&near, &mut buf).expect_err("it takes too long");
        let elapsed = begin.elapsed();
        assert!(!timed_out(&incomplete.error).expect("a deadline passed").is_outer());
        assert!(elapsed >= 50 * MS && elapsed < 1000 * MS, "{elapsed:?}");
        let arrived: Vec<u8> = (0..=u8::MAX).take(incomplete.done).collect();
        assert!(!arrived.is_empty());
        assert_eq!(buf[..incomplete.done], arrived);
        Ok(())
    });
}

#[test]
fn socket_timeout_ends_a_read_full_whose_peer_never_pauses() {
    run(|| {
        let (near, far) = tcp_pair()?;
        let sender = rt::spawn(move || {
            let chunk = vec![1; 4096];
            while far.write_full(&chunk).is_ok() {}
        });
        near.set_read_timeout(Some(5 * MS))?;
        let mut buf = vec![0; scaled(512 << 20, 64 << 20)];
        let incomplete = near.read_full(&mut buf).unwrap_err();
        assert!(timed_out(&incomplete.error).is_some(), "{incomplete}");
        assert!(incomplete.done > 0);
        drop(near);
        sender.join()?;
        Ok(())
    });
}

#[test]
fn socket_timeout_covers_a_whole_write_full_to_a_slow_reader() {
    run(|| {
        let (near, mut far) = tcp_pair()?;
        rt::spawn(move || {
            let mut buf = vec![0; 64 << 10];
            while matches!(far.read(&mut buf), Ok(1..)) && rt::sleep(5 * MS).is_ok() {}
        });
        near.set_write_timeout(Some(50 * MS))?;
        let begin = Instant::now();
        let incomplete = near.write_full(&vec![0; 4 * PLENTY]).unwrap_err();
        assert!(timed_out(&incomplete.error).is_some(), "{incomplete}");
        assert!((1..4 * PLENTY).contains(&incomplete.done));
        assert!(begin.elapsed() < 2000 * MS, "{:?}", begin.elapsed());
        Ok(())
    });
}

#[test]
fn data_that_is_queued_when_the_peer_closes_is_read_to_the_end() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let sent = scaled(8 << 20, 1 << 20);
        let sender = std::thread::spawn(move || {
            let mut client = std::net::TcpStream::connect(address).unwrap();
            let data: Vec<u8> = (0..sent).map(|i| i as u8).collect();
            client.write_all(&data).unwrap();
        });
        let (mut conn, _) = listener.accept()?;
        // Sizes of all kinds, so that reads end before, at and behind what is queued.
        let sizes = [1, 7, 4096, 100_000, 65_536, 3, 1 << 20];
        let mut got = 0;
        for size in sizes.iter().cycle() {
            let mut buf = vec![0; *size];
            let count = conn.read(&mut buf)?;
            assert!((0..count).all(|i| buf[i] == (got + i) as u8));
            got += count;
            if count == 0 {
                break;
            }
        }
        assert_eq!(got, sent);
        elsewhere(move || sender.join().is_ok())?;
        Ok(())
    });
}

#[test]
fn end_that_comes_together_with_data_is_seen() {
    run(|| {
        for _ in 0..scaled(100, 5) {
            let (mut near, mut far) = tcp_pair()?;
            let read = rt::spawn(move || -> io::Result<(usize, usize)> {
                let mut buf = [0; 64];
                // Waits, is woken by one event for both, and must not take the short read for the
                // last word.
                Ok((near.read(&mut buf)?, near.read(&mut buf)?))
            });
            rt::yield_now()?;
            far.write_all(b"last")?;
            drop(far);
            assert_eq!(read.join()??, (4, 0));
        }
        Ok(())
    });
}

#[test]
fn end_that_comes_between_a_short_read_and_the_next_is_seen() {
    run(|| {
        let (mut near, mut far) = tcp_pair()?;
        far.write_all(b"abc")?;
        let mut buf = [0; 64];
        assert_eq!(near.read(&mut buf)?, 3);
        drop(far);
        assert_eq!(near.read(&mut buf)?, 0);
        Ok(())
    });
}

#[test]
fn reset_is_reported_after_the_data_before_it() {
    run(|| {
        for before in [&b""[..], b"data"] {
            let (near, mut far) = tcp_pair()?;
            let mut reader = near.clone();
            let read = rt::spawn(move || {
                let mut buf = [0; 64];
                loop {
                    match reader.read(&mut buf) {
                        Ok(0) => break Ok(()),
                        Ok(count) => assert_eq!(&buf[..count], b"data"),
                        Err(error) => break Err(error),
                    }
                }
            });
            rt::yield_now()?;
            far.write_all(before)?;
            SockRef::from(&far).set_linger(Some(Duration::ZERO))?;
            drop(far);
            assert_eq!(read.join()?.unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert_eq!((&near).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        }
        Ok(())
    });
}

#[test]
fn half_closed_connection_goes_on_in_the_other_direction() {
    run(|| {
        let (near, mut far) = tcp_pair()?;
        near.shutdown(Shutdown::Write)?;
        assert_eq!(far.read(&mut [0; 8])?, 0);
        let size = scaled(4 << 20, 1 << 20);
        let sent = rt::spawn(move || far.write_full(&vec![5; size]));
        let mut got = Vec::new();
        (&near).read_to_end(&mut got)?;
        sent.join()??;
        assert_eq!(got.len(), size);
        Ok(())
    });
}

#[test]
fn urgent_data_does_not_hold_up_what_follows_it() {
    run(|| {
        let (mut near, far) = tcp_pair()?;
        let read = rt::spawn(move || -> io::Result<Vec<u8>> {
            let mut got = Vec::new();
            while got.len() < 8 {
                let mut buf = [0; 64];
                match near.read(&mut buf)? {
                    0 => break,
                    count => got.extend_from_slice(&buf[..count]),
                }
            }
            Ok(got)
        });
        rt::yield_now()?;
        let raw = SockRef::from(&far);
        raw.send(b"four")?;
        raw.send_out_of_band(b"!")?;
        raw.send(b"more")?;
        // The peer then waits for the answer, so nothing else ever comes.
        let got = read.join_until(Instant::now() + 5000 * MS)??;
        assert_eq!(got, b"fourmore");
        Ok(())
    });
}

#[test]
fn accept_without_descriptors_neither_spins_nor_dies() {
    run_alone("accept_without_descriptors_neither_spins_nor_dies", || {
        run(|| {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            let mut clients = Vec::new();
            for _ in 0..3 {
                clients.push(std::net::TcpStream::connect(address)?);
            }
            // The lowest free number, and so the next descriptor's, is beyond the limit.
            let free = clients[0].try_clone()?.as_raw_fd();
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
            setrlimit(Resource::RLIMIT_NOFILE, free as u64, hard)?;

            let acceptor = listener.clone();
            let accepted = rt::spawn(move || acceptor.accept().map(|(stream, _)| stream));
            let before = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
            rt::sleep(300 * MS)?;
            let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)? - before;
            assert!(!accepted.is_finished(), "it waits for descriptors");
            assert!(Duration::from(used) < 60 * MS, "it used {used:?} of CPU in 300 ms");

            listener.set_accept_timeout(Some(30 * MS))?;
            let begin = Instant::now();
            assert!(timed_out(&listener.accept().unwrap_err()).is_some());
            assert!((30 * MS..2000 * MS).contains(&begin.elapsed()), "{:?}", begin.elapsed());

            clients.pop();
            accepted.join()??;
            Ok(())
        });
    });
}

/// A listener whose backlog is full, and the connections that fill it: the system leaves further
/// ones unanswered.
fn black_hole() -> io::Result<(TcpListener, Vec<TcpStream>)> {
    let listener = ListenOptions::new().backlog(0).listen("127.0.0.1:0")?;
    let mut filling = Vec::new();
    while let Ok(stream) = rt::timeout(30 * MS, || TcpStream::connect(listener.local_addr()?)) {
        filling.push(stream);
        assert!(filling.len() < 16, "a backlog of 0 takes 16 connections");
    }
    Ok((listener, filling))
}

#[test]
fn connect_to_a_host_that_does_not_answer_ends_at_its_deadline() {
    run(|| {
        let (listener, _filling) = black_hole()?;
        let begin = Instant::now();
        let result = rt::timeout(30 * MS, || TcpStream::connect(listener.local_addr()?));
        assert!(timed_out(&result.unwrap_err()).is_some());
        assert!((30 * MS..1000 * MS).contains(&begin.elapsed()), "{:?}", begin.elapsed());

        let address = listener.local_addr()?;
        let waiting = rt::spawn(move || TcpStream::connect(address).map(drop));
        rt::yield_now()?;
        waiting.cancel();
        assert!(is_cancelled(&waiting.join()?.unwrap_err()));
        Ok(())
    });
}

#[test]
fn no_connection_of_two_hundred_falls_behind() {
    let (connections, rounds) = (scaled(200, 20), scaled(200, 20));
    run(move || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        rt::spawn(move || {
            while let Ok((mut conn, _)) = listener.accept() {
                rt::spawn(move || {
                    let mut buf = [0; 256];
                    while let Ok(n @ 1..) = conn.read(&mut buf) {
                        conn.write_all(&buf[..n]).unwrap();
                    }
                });
            }
        });
        let progress = Rc::new(RefCell::new(vec![0; connections]));
        let mut clients = Vec::new();
        for number in 0..connections {
            let mut stream = TcpStream::connect(address)?;
            let progress = Rc::clone(&progress);
            clients.push(rt::spawn(move || -> io::Result<usize> {
                for round in 1..=rounds {
                    stream.write_all(&[number as u8; 64])?;
                    let mut buf = [0; 64];
                    stream.read_full(&mut buf)?;
                    assert_eq!(buf, [number as u8; 64]);
                    progress.borrow_mut()[number] = round;
                }
                // How far the last one is when this one is through.
                Ok(progress.borrow().iter().copied().min().unwrap_or(0))
            }));
        }
        let mut last = rounds;
        for client in clients {
            last = last.min(client.join()??);
        }
        assert!(last * 2 >= rounds, "one had {last} of {rounds} rounds when another had all");
        Ok(())
    });
}

/// Goal: no call reports an interruption, and none loses what it did before it. Method: another
/// thread signals this one as fast as it can while traffic of all kinds flows.
#[test]
fn signals_during_system_calls_go_unnoticed() {
    run_alone("signals_during_system_calls_go_unnoticed", || {
        native::count_signals(Signal::SIGALRM);
        let target = pthread_self();
        let done = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&done);
        let storm = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                pthread_kill(target, Signal::SIGALRM).unwrap();
                std::thread::sleep(100 * Duration::from_micros(1));
            }
        });
        run(|| {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            rt::spawn(move || {
                loop {
                    let (mut conn, _) = listener.accept().unwrap();
                    rt::spawn(move || io::copy(&mut conn.clone(), &mut conn).unwrap());
                }
            });
            let until = scaled(2000, 200);
            while native::signals() < until {
                let stream = TcpStream::connect(address)?;
                let mut writer = stream.clone();
                let written = rt::spawn(move || writer.write_all(&vec![3; 300_000]));
                let mut echoed = vec![0; 300_000];
                stream.read_full(&mut echoed)?;
                assert!(echoed.iter().all(|byte| *byte == 3));
                written.join()??;
                assert!(timed_out(&(poll_one(&stream, MS).unwrap_err())).is_some());

                let (one, other) =
                    (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
                let to = other.local_addr()?;
                rt::spawn(move || one.send_many(&[Transmit::new(b"x").to(to)]));
                let (mut buf, mut meta) = ([0; 8], [RecvMeta::new()]);
                assert_eq!(other.recv_many(&mut [IoSliceMut::new(&mut buf)], &mut meta)?, 1);
            }
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        storm.join().unwrap();
    });
}

/// Waits for `stream` to be readable through `poll_many`.
fn poll_one(stream: &TcpStream, timeout: Duration) -> io::Result<Vec<Ready>> {
    poll_many(&[(stream.as_fd(), Interest::Readable)], Some(Instant::now() + timeout))
}

/// Goal: the fairness that ARCHITECTURE.md promises, in time. Machines stall for reasons of their
/// own, so the test runs alone in a process, does not count the time in which others had its CPU,
/// and takes the median of many tries.
#[test]
fn busy_sockets_and_busy_coroutines_delay_neither_timers_nor_new_connections() {
    let name = "busy_sockets_and_busy_coroutines_delay_neither_timers_nor_new_connections";
    run_alone(name, || {
        const TRIES: usize = 21;
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
        run(|| {
            let stop = crowd(scaled(1000, 50))?;
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            let accepted = Rc::new(Cell::new(None));
            let at = Rc::clone(&accepted);
            rt::spawn(move || {
                while listener.accept().is_ok() {
                    at.set(Some(Instant::now()));
                }
            });
            let (mut late, mut waited) = (Vec::new(), Vec::new());
            for _ in 0..TRIES {
                let delayed = delayed_by_others();
                let due = Instant::now() + 5 * MS;
                rt::sleep_until(due)?;
                late.push(due.elapsed().saturating_sub(delayed_by_others() - delayed));

                let delayed = delayed_by_others();
                let (client, begin) = elsewhere(move || {
                    let begin = Instant::now();
                    (std::net::TcpStream::connect(address), begin)
                })?;
                while accepted.get().is_none() {
                    rt::sleep(MS)?;
                }
                let waiting = accepted.take().unwrap().duration_since(begin);
                waited.push(waiting.saturating_sub(delayed_by_others() - delayed));
                drop(client?);
            }
            stop.set(true);
            late.sort_unstable();
            waited.sort_unstable();
            let slower = if is_under_valgrind() { 50 } else { 1 };
            assert!(late[TRIES / 2] <= 2 * MS * slower, "timers were late by {late:?}");
            assert!(waited[TRIES / 2] <= 5 * MS * slower, "connections waited {waited:?}");
            Ok(())
        });
    });
}

/// Starts `size` coroutines on sockets that are always ready and as many that only yield.
fn crowd(size: usize) -> io::Result<Rc<Cell<bool>>> {
    let stop = Rc::new(Cell::new(false));
    for _ in 0..size / 2 {
        let (near, far) = UnixStream::pair()?;
        near.write_full(b"!")?;
        far.write_full(b"!")?;
        for stream in [near, far] {
            let stop = Rc::clone(&stop);
            rt::spawn(move || while !stop.get() && stream.peek(&mut [0]).is_ok() {});
        }
    }
    for _ in 0..size {
        let stop = Rc::clone(&stop);
        rt::spawn(move || while !stop.get() && rt::yield_now().is_ok() {});
    }
    Ok(stop)
}

/// For how long this thread could have run, but another had its CPU (proc(5), `schedstat`).
fn delayed_by_others() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().nth(1).and_then(|delay| delay.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
