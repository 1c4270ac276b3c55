//! `NetFd` over descriptors of all kinds, waiting for several, and every wait of the socket calls
//! ended by a cancellation or a deadline.

#![expect(clippy::disallowed_methods, reason = "time is measured")]

mod support;

use std::cell::Cell;
use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::unistd::{pipe, read, write};
use support::net::{SocketPath, elsewhere, open_descriptors, run, run_alone, tcp_pair};
use thalweg_runtime::net::{
    Closed, Interest, ListenOptions, NetFd, Ready, RecvMeta, TcpListener, TcpStream, UdpSocket,
    UnixListener, UnixStream, poll_many,
};
use thalweg_runtime::{self as rt, Runtime, Unparker, is_cancelled, timed_out};

const MS: Duration = Duration::from_millis(1);

fn net_pipe() -> io::Result<(NetFd, NetFd)> {
    let (reader, writer) = pipe()?;
    Ok((NetFd::from_fd(reader)?, NetFd::from_fd(writer)?))
}

/// Reads at most 64 bytes, waiting for them.
fn read_some(fd: &NetFd) -> io::Result<Vec<u8>> {
    let mut buf = [0; 64];
    let count = fd.io(Interest::Readable, |fd| Ok(read(fd, &mut buf)?))?;
    Ok(buf[..count].to_vec())
}

fn write_some(fd: &NetFd, data: &[u8]) -> io::Result<usize> {
    fd.io(Interest::Writable, |fd| Ok(write(fd, data)?))
}

/// Writes until the descriptor takes no more.
fn fill(fd: &NetFd) -> io::Result<()> {
    loop {
        match fd.try_io(Interest::Writable, |fd| Ok(write(fd, &[0; 4096])?)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            result => result?,
        };
    }
}

#[test]
fn pipe_is_waited_for_in_both_directions() {
    run(|| {
        let (reader, writer) = net_pipe()?;
        let other_end = reader.clone();
        let got = rt::spawn(move || read_some(&other_end));
        rt::yield_now()?;
        write_some(&writer, b"through the pipe")?;
        assert_eq!(got.join()??, b"through the pipe");

        fill(&writer)?;
        let blocked = writer.clone();
        let written = rt::spawn(move || write_some(&blocked, &[1; 4096]));
        rt::yield_now()?;
        assert!(!written.is_finished());
        while !written.is_finished() {
            read_some(&reader)?;
            rt::yield_now()?;
        }
        assert_eq!(written.join()??, 4096);

        drop(writer);
        while !read_some(&reader)?.is_empty() {}
        Ok(())
    });
}

#[test]
fn eventfd_wakes_whoever_waits_for_it() {
    run(|| {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?;
        let remote = event.as_fd().try_clone_to_owned()?;
        let event = NetFd::from_fd(OwnedFd::from(event))?;
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let event = event.clone();
                rt::spawn(move || event.readable())
            })
            .collect();
        rt::yield_now()?;
        elsewhere(move || write(remote, &2_u64.to_ne_bytes()))??;
        for waiter in waiters {
            waiter.join()??;
        }
        assert_eq!(read_some(&event)?, 2_u64.to_ne_bytes());
        Ok(())
    });
}

#[test]
fn timerfd_is_readable_when_it_expires() {
    run(|| {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
        let begin = Instant::now();
        let after = Expiration::OneShot(TimeSpec::from_duration(5 * MS));
        timer.set(after, TimerSetTimeFlags::empty())?;
        let timer = NetFd::from_fd(timer.into())?;
        timer.readable()?;
        assert!(begin.elapsed() >= 5 * MS);
        assert_eq!(read_some(&timer)?, 1_u64.to_ne_bytes());
        Ok(())
    });
}

#[test]
fn regular_file_is_always_ready() {
    run(|| {
        let mut file = elsewhere(|| {
            let path = std::env::temp_dir().join(format!("thalweg-fd-{}", std::process::id()));
            let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path);
            std::fs::remove_file(path).unwrap();
            file
        })??;
        file.write_all(b"contents")?;
        let file = NetFd::from_fd(file.into())?;
        file.readable()?;
        file.writable()?;
        assert_eq!(file.poll(Interest::Either, None)?, both());
        // An operation that claims that it would block is tried again and again.
        let mut tries = 0;
        file.io(Interest::Readable, |_| {
            tries += 1;
            if tries < 1000 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        })?;
        let (empty_pipe, _writer) = pipe()?;
        let fds = [(empty_pipe.as_fd(), Interest::Readable), (file.as_fd(), Interest::Readable)];
        let ready = poll_many(&fds, None)?;
        assert_eq!((ready[0], ready[1].readable), (Ready::default(), true));
        Ok(())
    });
}

fn both() -> Ready {
    let mut both = Ready::default();
    (both.readable, both.writable) = (true, true);
    both
}

#[test]
fn readable_asks_the_system_when_other_code_reads_the_descriptor() {
    run(|| {
        let (reader, writer) = pipe()?;
        let foreign = reader.try_clone()?;
        let reader = NetFd::from_fd(reader)?;
        for _ in 0..3 {
            write(&writer, b"x")?;
            reader.readable()?;
            reader.readable()?; // nobody has read it
            read(&foreign, &mut [0; 8])?;
            let timeout = rt::timeout(MS, || reader.readable()).unwrap_err();
            assert!(timed_out(&timeout).is_some(), "what was ready is not any more");
        }
        Ok(())
    });
}

#[test]
fn foreign_reader_that_was_woken_first_sends_the_other_back_to_wait() {
    run(|| {
        let (reader, writer) = pipe()?;
        let reader = Rc::new(NetFd::from_fd(reader)?);
        let served = Rc::new(Cell::new(0));
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let (reader, served) = (Rc::clone(&reader), Rc::clone(&served));
                rt::spawn(move || -> io::Result<()> {
                    reader.readable()?;
                    assert_eq!(read(reader.as_fd(), &mut [0; 8])?, 1, "it is really readable");
                    served.set(served.get() + 1);
                    Ok(())
                })
            })
            .collect();
        rt::yield_now()?;
        write(&writer, b"1")?;
        rt::sleep(2 * MS)?;
        assert_eq!(served.get(), 1);
        write(&writer, b"2")?;
        for waiter in waiters {
            waiter.join()??;
        }
        Ok(())
    });
}

#[test]
fn try_io_tries_once_and_remembers_that_it_would_block() {
    run(|| {
        let (reader, writer) = net_pipe()?;
        let tries = Cell::new(0);
        let try_read = || {
            reader.try_io(Interest::Readable, |fd| {
                tries.set(tries.get() + 1);
                Ok(read(fd, &mut [0; 8])?)
            })
        };
        assert_eq!(try_read().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(try_read().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(tries.get(), 1, "nothing happened that would make it ready");
        write_some(&writer, b"x")?;
        reader.readable()?; // knows of it before the event
        assert_eq!(try_read()?, 1);
        assert_eq!(tries.get(), 2);

        write_some(&writer, b"y")?;
        assert_eq!(try_read()?, 1);
        assert_eq!(try_read().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        write_some(&writer, b"z")?;
        rt::sleep(MS)?; // events are taken when others run
        assert_eq!(try_read()?, 1);
        Ok(())
    });
}

#[test]
fn try_io_needs_neither_leave_to_suspend_nor_an_uncancelled_coroutine() {
    run(|| {
        let (reader, writer) = net_pipe()?;
        write_some(&writer, b"abc")?;
        let cancelled = rt::spawn(move || -> io::Result<Vec<usize>> {
            let mut got = Vec::new();
            let _guard = rt::no_suspend();
            for _ in 0..3 {
                got.push(reader.try_io(Interest::Readable, |fd| Ok(read(fd, &mut [0])?))?);
            }
            Ok(got)
        });
        cancelled.cancel();
        assert_eq!(cancelled.join()??, [1, 1, 1]);
        Ok(())
    });
}

#[test]
fn operation_in_either_direction_is_refused() {
    run(|| {
        let (near, _far) = tcp_pair()?;
        let fd = near.net_fd();
        for error in [fd.io(Interest::Either, |_| Ok(())), fd.try_io(Interest::Either, |_| Ok(()))]
        {
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        Ok(())
    });
}

#[test]
fn poll_for_either_ends_with_the_first() {
    run(|| {
        let (near, mut far) = tcp_pair()?;
        fill(near.net_fd())?;
        let waiting = near.clone();
        let polled = rt::spawn(move || waiting.net_fd().poll(Interest::Either, None));
        rt::yield_now()?;
        assert!(!polled.is_finished());
        far.write_all(b"x")?;
        let ready = polled.join()??;
        assert!(ready.readable && !ready.writable && !ready.hung_up, "{ready:?}");

        (&near).read_exact(&mut [0])?;
        let polled = rt::spawn(move || near.net_fd().poll(Interest::Either, None));
        rt::yield_now()?;
        far.shutdown(std::net::Shutdown::Write)?;
        assert!(polled.join()??.readable, "the end can be read");

        Ok(())
    });
}

#[test]
fn poll_tells_of_a_reset_connection() {
    run(|| {
        let (near, far) = tcp_pair()?;
        socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO))?;
        drop(far);
        let ready = near.net_fd().poll(Interest::Readable, None)?;
        assert!(ready.hung_up && ready.readable && ready.writable, "{ready:?}");
        Ok(())
    });
}

#[test]
fn poll_ends_at_its_deadline() {
    run(|| {
        let (reader, _writer) = net_pipe()?;
        for interest in [Interest::Readable, Interest::Either] {
            let begin = Instant::now();
            let error = reader.poll(interest, Some(begin + 5 * MS)).unwrap_err();
            assert!(!timed_out(&error).expect("it timed out").is_outer());
            assert!(begin.elapsed() >= 5 * MS);
            let error =
                rt::timeout(MS, || reader.poll(interest, Some(begin + 1000 * MS))).unwrap_err();
            assert!(timed_out(&error).expect("it timed out").is_outer());
        }
        Ok(())
    });
}

#[test]
fn close_wakes_every_kind_of_wait_on_a_descriptor_that_is_no_socket() {
    run(|| {
        let (reader, _writer) = net_pipe()?;
        let waits: [fn(&NetFd) -> io::Result<()>; 4] = [
            |fd| fd.readable(),
            |fd| fd.poll(Interest::Either, None).map(drop),
            |fd| fd.poll(Interest::Writable, None).map(drop),
            |fd| read_some(fd).map(drop),
        ];
        let waiters: Vec<_> = waits
            .into_iter()
            .map(|wait| {
                let fd = reader.clone();
                rt::spawn(move || wait(&fd))
            })
            .collect();
        rt::yield_now()?;
        reader.close()?;
        for waiter in waiters {
            let error = waiter.join()?.unwrap_err();
            assert!(error.get_ref().is_some_and(|inner| inner.is::<Closed>()), "{error}");
        }
        let error = reader.try_io(Interest::Readable, |_| Ok(())).unwrap_err();
        assert!(error.get_ref().is_some_and(|inner| inner.is::<Closed>()), "{error}");
        Ok(())
    });
}

#[test]
fn operation_that_had_to_let_others_run_first_is_not_performed_on_a_closed_descriptor() {
    run(|| {
        let (_reader, writer) = net_pipe()?;
        let closed = Rc::new(Cell::new(false));
        let (fd, is_closed) = (writer.clone(), Rc::clone(&closed));
        let busy = rt::spawn(move || {
            loop {
                let done = fd.io(Interest::Writable, |_| {
                    assert!(!is_closed.get());
                    Ok(())
                });
                if let Err(error) = done {
                    return error;
                }
            }
        });
        rt::yield_now()?; // it runs until its share of the turn is used up
        closed.set(true);
        writer.close()?;
        let error = busy.join()?;
        assert!(error.get_ref().is_some_and(|inner| inner.is::<Closed>()), "{error}");
        Ok(())
    });
}

#[test]
fn poll_many_tells_which_descriptors_are_ready() {
    run(|| {
        let pipes: Vec<_> = (0..5).map(|_| pipe()).collect::<Result<_, _>>()?;
        let readers = || pipes.iter().map(|(reader, _)| (reader.as_fd(), Interest::Readable));
        for number in [3, 0, 4] {
            let writer = pipes[number].1.try_clone()?;
            rt::spawn(move || write(writer, b"x"));
            let ready = poll_many(&readers().collect::<Vec<_>>(), None)?;
            let which: Vec<usize> = (0..5).filter(|i| ready[*i].readable).collect();
            assert_eq!(which, [number]);
            assert!(ready.iter().all(|ready| !ready.writable && !ready.hung_up));
            read(&pipes[number].0, &mut [0; 8])?;
        }
        // Nothing about the descriptors was changed: they still block.
        let flags = nix::fcntl::fcntl(&pipes[0].0, nix::fcntl::FcntlArg::F_GETFL)?;
        assert_eq!(flags & nix::fcntl::OFlag::O_NONBLOCK.bits(), 0);
        Ok(())
    });
}

#[test]
fn poll_many_takes_the_same_descriptor_twice() {
    run(|| {
        let (near, far) = tcp_pair()?;
        fill(near.net_fd())?;
        let twice = [
            (near.as_fd(), Interest::Readable),
            (near.as_fd(), Interest::Writable),
            (near.as_fd(), Interest::Readable),
        ];
        rt::spawn(move || {
            rt::yield_now().unwrap();
            far.write_full(b"x").unwrap();
            rt::sleep(20 * MS)
        });
        let ready = poll_many(&twice, None)?;
        let readable: Vec<bool> = ready.iter().map(|ready| ready.readable).collect();
        assert_eq!(readable, [true, false, true]);
        Ok(())
    });
}

#[test]
fn poll_many_ends_at_its_deadline() {
    run(|| {
        let (first, second) = (pipe()?, pipe()?);
        let fds = [(first.0.as_fd(), Interest::Readable), (second.0.as_fd(), Interest::Readable)];
        let begin = Instant::now();
        let error = poll_many(&fds, Some(begin + 5 * MS)).unwrap_err();
        assert!(timed_out(&error).is_some() && begin.elapsed() >= 5 * MS);
        assert!(timed_out(&poll_many(&[], Some(begin)).unwrap_err()).is_some());
        Ok(())
    });
}

#[test]
fn polling_what_is_always_ready_lets_others_run() {
    run(|| {
        let (_reader, writer) = net_pipe()?;
        let done = Rc::new(Cell::new(false));
        let other = Rc::clone(&done);
        rt::spawn(move || other.set(true));
        while !done.get() {
            writer.writable()?;
        }
        let other = Rc::clone(&done);
        rt::spawn(move || other.set(false));
        while done.get() {
            poll_many(&[(writer.as_fd(), Interest::Writable)], None)?;
        }
        Ok(())
    });
}

/// A suspending call, what lets it succeed, and what it has to be tried on.
struct Case {
    name: &'static str,
    wait: Rc<dyn Fn() -> io::Result<()>>,
    release: Rc<dyn Fn() -> io::Result<()>>,
}

impl Case {
    fn new(
        name: &'static str,
        wait: impl Fn() -> io::Result<()> + 'static,
        release: impl Fn() -> io::Result<()> + 'static,
    ) -> Self {
        Self { name, wait: Rc::new(wait), release: Rc::new(release) }
    }

    /// The call fails as it should however its wait is ended, and afterwards still works.
    fn check(&self) -> io::Result<()> {
        let name = self.name;
        let started = || {
            let wait = Rc::clone(&self.wait);
            rt::spawn(move || wait())
        };
        let cancelled = started();
        cancelled.cancel();
        let error = cancelled.join()?.expect_err(name);
        assert!(is_cancelled(&error), "{name}, cancelled before it began: {error}");

        let cancelled = started();
        rt::sleep(2 * MS)?;
        assert!(!cancelled.is_finished(), "{name} waits");
        cancelled.cancel();
        let error = cancelled.join()?.expect_err(name);
        assert!(is_cancelled(&error), "{name}, cancelled while it waited: {error}");

        let passed = rt::deadline(rt::now(), || (self.wait)()).expect_err(name);
        assert!(timed_out(&passed).is_some(), "{name}, too late before it began: {passed}");

        let passed = rt::timeout(2 * MS, || (self.wait)()).expect_err(name);
        let passed = timed_out(&passed).unwrap_or_else(|| panic!("{name}: {passed}"));
        assert!(!passed.is_outer(), "{name}");

        let outer = rt::timeout(2 * MS, || rt::timeout(1000 * MS, || (self.wait)()));
        let outer = timed_out(&outer.expect_err(name)).expect(name);
        assert!(outer.is_outer(), "{name}");

        let waiting = started();
        rt::sleep(MS)?;
        (self.release)()?;
        waiting.join_until(rt::now() + 5000 * MS)?
    }
}

#[test]
fn every_wait_ends_by_cancellation_and_deadline_and_can_be_made_again() {
    run(|| {
        let listening = [accept_cases()?, unix_cases()?].concat();
        let cases = [listening, read_cases()?, write_cases()?, udp_cases()?, fd_cases()?].concat();
        for case in cases {
            case.check()?;
        }
        Ok(())
    });
}

impl Clone for Case {
    fn clone(&self) -> Self {
        Self { name: self.name, wait: Rc::clone(&self.wait), release: Rc::clone(&self.release) }
    }
}

fn accept_cases() -> io::Result<Vec<Case>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let accept = Case::new(
        "TcpListener::accept",
        move || listener.accept().map(drop),
        move || TcpStream::connect(address).map(drop),
    );
    // The backlog is full until the listener accepts.
    let listener = ListenOptions::new().backlog(0).listen("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut filling = Vec::new();
    while let Ok(stream) = rt::timeout(30 * MS, || TcpStream::connect(address)) {
        filling.push(stream);
    }
    let connect = Case::new(
        "TcpStream::connect",
        move || TcpStream::connect(address).map(drop),
        move || (0..filling.len()).try_for_each(|_| listener.accept().map(drop)),
    );
    Ok(vec![accept, connect])
}

fn unix_cases() -> io::Result<Vec<Case>> {
    let path = SocketPath::new("fd-accept");
    let listener = UnixListener::bind(&path)?;
    let accept = Case::new(
        "UnixListener::accept",
        move || listener.accept().map(drop),
        move || UnixStream::connect(&path).map(drop),
    );
    // The backlog is full until the listener accepts.
    let path = SocketPath::new("fd-full");
    let listener = UnixListener::bind(&path)?;
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(1)?)?;
    let mut filling = Vec::new();
    while let Ok(stream) = rt::timeout(20 * MS, || UnixStream::connect(&path)) {
        filling.push(stream);
    }
    let connect = Case::new(
        "UnixStream::connect",
        move || UnixStream::connect(&path).map(drop),
        move || {
            filling.len(); // they stay until then
            listener.accept().map(drop)
        },
    );
    Ok(vec![accept, connect])
}

fn read_cases() -> io::Result<Vec<Case>> {
    type Read = fn(&TcpStream) -> io::Result<()>;
    let reads: [(&'static str, Read); 5] = [
        ("read", |mut stream| stream.read(&mut [0; 8]).map(drop)),
        ("read_vectored", |mut stream| {
            stream.read_vectored(&mut [IoSliceMut::new(&mut [0; 8])]).map(drop)
        }),
        ("peek", |stream| stream.peek(&mut [0; 8]).map(drop)),
        ("read_full", |stream| Ok(stream.read_full(&mut [0; 4])?)),
        ("read_exact", |mut stream| stream.read_exact(&mut [0; 4])),
    ];
    let case = |(name, read): (&'static str, Read)| {
        let (near, far) = tcp_pair()?;
        Ok(Case::new(name, move || read(&near), move || Ok(far.write_full(b"data")?)))
    };
    reads.into_iter().map(case).collect()
}

fn write_cases() -> io::Result<Vec<Case>> {
    type Write = fn(&TcpStream) -> io::Result<()>;
    let writes: [(&'static str, Write); 4] = [
        ("write", |mut stream| stream.write(&[0; 8]).map(drop)),
        ("write_vectored", |mut stream| {
            stream.write_vectored(&[io::IoSlice::new(&[0; 8])]).map(drop)
        }),
        ("write_full", |stream| Ok(stream.write_full(&[0; 8])?)),
        ("writable", |stream| stream.net_fd().writable()),
    ];
    let case = |(name, write): (&'static str, Write)| {
        let (near, far) = tcp_pair()?;
        fill(near.net_fd())?;
        let drain = move || {
            let mut buf = vec![0; 1 << 20];
            let everything = || while (&far).read(&mut buf).is_ok() {};
            rt::timeout(20 * MS, everything);
            Ok(())
        };
        Ok(Case::new(name, move || write(&near), drain))
    };
    writes.into_iter().map(case).collect()
}

fn udp_cases() -> io::Result<Vec<Case>> {
    type Receive = fn(&UdpSocket) -> io::Result<()>;
    let receives: [(&'static str, Receive); 3] = [
        ("recv_from", |socket| socket.recv_from(&mut [0; 8]).map(drop)),
        ("recv", |socket| socket.recv(&mut [0; 8]).map(drop)),
        ("recv_many", |socket| {
            let mut buf = [0; 64];
            let mut buffers = [IoSliceMut::new(&mut buf)];
            socket.recv_many(&mut buffers, &mut [RecvMeta::new()]).map(drop)
        }),
    ];
    let case = |(name, receive): (&'static str, Receive)| {
        let (near, far) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        near.connect(far.local_addr()?)?;
        let address = near.local_addr()?;
        Ok(Case::new(name, move || receive(&near), move || far.send_to(b"data", address).map(drop)))
    };
    receives.into_iter().map(case).collect()
}

fn fd_cases() -> io::Result<Vec<Case>> {
    type Wait = fn(&NetFd) -> io::Result<()>;
    let waits: [(&'static str, Wait); 5] = [
        ("io", |fd| read_some(fd).map(drop)),
        ("readable", NetFd::readable),
        ("poll", |fd| fd.poll(Interest::Readable, None).map(drop)),
        ("poll for either", |fd| fd.poll(Interest::Either, None).map(drop)),
        ("poll_many", |fd| poll_many(&[(fd.as_fd(), Interest::Readable)], None).map(drop)),
    ];
    let case = |(name, wait): (&'static str, Wait)| {
        let (reader, writer) = net_pipe()?;
        Ok(Case::new(name, move || wait(&reader), move || write_some(&writer, b"x").map(drop)))
    };
    waits.into_iter().map(case).collect()
}

#[test]
fn event_of_a_closed_descriptor_does_not_reach_the_next_one_of_its_number() {
    run_alone("event_of_a_closed_descriptor_does_not_reach_the_next_one_of_its_number", || {
        run(|| {
            for keep_a_duplicate in [false, true] {
                let (stale, mut peer) = UnixStream::pair()?;
                rt::timeout(MS, || (&stale).read(&mut [0])).unwrap_err(); // registers it
                let number = stale.as_fd().as_raw_fd();
                // Keeps the description, and so its registration, alive.
                let duplicate =
                    if keep_a_duplicate { Some(stale.as_fd().try_clone_to_owned()?) } else { None };
                peer.write_all(b"the event that nobody has taken yet")?;
                drop(stale);

                let (next, writer) = net_pipe()?;
                assert_eq!(next.as_fd().as_raw_fd(), number, "the number is used again");
                let tries = Cell::new(0);
                let try_read = || {
                    next.try_io(Interest::Readable, |fd| {
                        tries.set(tries.get() + 1);
                        Ok(read(fd, &mut [0; 8])?)
                    })
                };
                try_read().unwrap_err();
                if duplicate.is_some() {
                    peer.write_all(b"and another")?;
                }
                rt::sleep(2 * MS)?; // has events reported
                try_read().unwrap_err();
                assert_eq!(tries.get(), 1, "no event made it ready");
                write_some(&writer, b"its own")?;
                assert_eq!(read_some(&next)?, b"its own");
                drop(duplicate);
            }
            Ok(())
        });
    });
}

#[test]
fn descriptors_and_waits_of_all_kinds_leave_nothing_open() {
    run_alone("descriptors_and_waits_of_all_kinds_leave_nothing_open", || {
        let before = open_descriptors();
        for _ in 0..2 {
            run(|| {
                let cases = [accept_cases()?, unix_cases()?, read_cases()?, udp_cases()?];
                for case in [cases.concat(), fd_cases()?].concat() {
                    rt::timeout(MS, || (case.wait)()).unwrap_err();
                    (case.release)()?;
                }
                // One that still waits when the runtime ends.
                let (near, far) = tcp_pair()?;
                rt::spawn(move || {
                    let _far = far;
                    (&near).read(&mut [0])
                });
                rt::yield_now()?;
                Ok(())
            });
            assert_eq!(open_descriptors(), before);
        }
    });
}

#[test]
fn descriptor_of_the_runtime_is_not_left_readable_for_a_foreign_loop() {
    let runtime = Runtime::builder().build().unwrap();
    let (unparker, unparkers) = std::sync::mpsc::channel();
    let parked = runtime.spawn(move || {
        unparker.send(Unparker::for_current().unwrap()).unwrap();
        rt::park()
    });
    runtime.turn(Some(Duration::ZERO)).unwrap();
    unparkers.try_recv().unwrap().unpark();
    assert!(is_readable(&runtime), "a message from elsewhere shows in the descriptor");
    let mut turns = 0;
    while is_readable(&runtime) {
        runtime.turn(Some(Duration::ZERO)).unwrap();
        turns += 1;
        assert!(turns < 10, "the foreign loop spins");
    }
    parked.unwrap().join().unwrap().unwrap();
}

fn is_readable(fd: impl AsFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).expect("one descriptor can be polled") == 1
}
