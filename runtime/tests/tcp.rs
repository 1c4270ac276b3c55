//! TCP on the loopback: what calls promise. What goes wrong on a network is in `tcp_hostile`.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "some peers are plain threads with std's blocking sockets, and time is measured"
)]

mod support;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use socket2::{Domain, Socket, Type};
use support::net::{elsewhere, open_descriptors, run, run_alone, tcp_pair};
use thalweg_runtime::net::{
    Closed, Interest, ListenOptions, NetFd, TcpListener, TcpStream, UdpSocket, UnixListener,
    UnixStream, poll_many,
};
use thalweg_runtime::{self as rt, ClockKind, Runtime, is_cancelled, timed_out};

const MS: Duration = Duration::from_millis(1);

/// More than the send and receive buffers of a connection hold together.
const PLENTY: usize = 32 << 20;

fn is_closed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Closed>())
}

/// Writes until the connection takes no more.
fn fill(stream: &TcpStream) -> usize {
    let chunk = vec![7; PLENTY];
    let full = rt::timeout(20 * MS, || stream.write_full(&chunk)).expect_err("it is full");
    assert!(timed_out(&full.error).is_some(), "{full}");
    full.done
}

#[test]
fn echo_server_of_the_architecture_serves_a_std_client() {
    run(|| {
        let (address, addresses) = std::sync::mpsc::channel();
        let server = rt::spawn(move || -> io::Result<()> {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            address.send(listener.local_addr()?).unwrap();
            loop {
                let (mut conn, _peer) = listener.accept()?;
                rt::spawn(move || {
                    let mut buf = [0; 4096];
                    while let Ok(n @ 1..) = conn.read(&mut buf) {
                        if conn.write_all(&buf[..n]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        rt::yield_now()?;
        let server_address = addresses.recv().unwrap();
        let echoed = elsewhere(move || -> io::Result<Vec<u8>> {
            let mut client = std::net::TcpStream::connect(server_address)?;
            let mut echoed = Vec::new();
            for message in ["one ", "two ", "three"] {
                client.write_all(message.as_bytes())?;
                let mut buf = vec![0; message.len()];
                client.read_exact(&mut buf)?;
                echoed.extend(buf);
            }
            client.shutdown(Shutdown::Write)?;
            assert_eq!(client.read(&mut [0; 8])?, 0, "the server ends after the client");
            Ok(echoed)
        })??;
        assert_eq!(echoed, b"one two three");
        server.cancel();
        assert!(is_cancelled(&server.join().unwrap().unwrap_err()));
        Ok(())
    });
}

#[test]
fn timeout_does_not_count_time_before_the_call() {
    run(|| {
        let (near, far) = tcp_pair()?;
        near.set_read_timeout(Some(50 * MS))?;
        rt::spawn(move || {
            rt::sleep(5 * MS).unwrap();
            far.write_full(b"late").unwrap();
            rt::sleep(500 * MS).unwrap();
        });
        rt::yield_now()?;
        // Computes for longer than the timeout, without a look at the clock by the runtime.
        let begin = Instant::now();
        while begin.elapsed() < 60 * MS {
            std::hint::spin_loop();
        }
        let mut buf = [0; 4];
        near.read_full(&mut buf)?;
        assert_eq!(&buf, b"late");
        Ok(())
    });
}

#[test]
fn timeouts_are_told_and_zero_is_refused() {
    run(|| {
        let (near, _far) = tcp_pair()?;
        assert_eq!(near.read_timeout()?, None);
        near.set_read_timeout(Some(3 * MS))?;
        near.set_write_timeout(Some(4 * MS))?;
        assert_eq!((near.read_timeout()?, near.write_timeout()?), (Some(3 * MS), Some(4 * MS)));
        let refused = near.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        let begin = Instant::now();
        let error = (&near).read(&mut [0]).unwrap_err();
        assert!(timed_out(&error).is_some() && begin.elapsed() >= 3 * MS, "{error}");
        near.set_read_timeout(None)?;
        assert_eq!(near.read_timeout()?, None);
        Ok(())
    });
}

#[test]
fn read_full_tells_how_much_came_before_the_end() {
    run(|| {
        let (near, far) = tcp_pair()?;
        far.write_full(b"abc")?;
        drop(far);
        let mut buf = [0; 8];
        let incomplete = near.read_full(&mut buf).unwrap_err();
        assert_eq!((incomplete.done, incomplete.error.kind()), (3, ErrorKind::UnexpectedEof));
        assert_eq!(&buf[..3], b"abc");
        Ok(())
    });
}

#[test]
fn write_full_tells_how_much_the_peer_will_get() {
    run(|| {
        let (near, mut far) = tcp_pair()?;
        let taken = fill(&near);
        assert!((1..PLENTY).contains(&taken));
        drop(near);
        let mut got = Vec::new();
        far.read_to_end(&mut got)?;
        assert_eq!(got.len(), taken);
        Ok(())
    });
}

#[test]
fn two_coroutines_wait_on_one_connection_in_opposite_directions() {
    run(|| {
        let (near, mut far) = tcp_pair()?;
        let taken = fill(&near);
        let writer = near.try_clone()?;
        let written = rt::spawn(move || writer.write_full(&vec![8; 1 << 20]));
        let read = rt::spawn(move || {
            let mut buf = [0; 5];
            near.read_full(&mut buf).map(|()| buf)
        });
        rt::yield_now()?;
        far.write_all(b"hello")?;
        assert_eq!(&read.join()??, b"hello", "though the writer still waits");
        assert!(!written.is_finished());
        let mut rest = vec![0; taken + (1 << 20)];
        far.read_exact(&mut rest)?;
        written.join()??;
        assert!(rest[taken..].iter().all(|byte| *byte == 8));
        Ok(())
    });
}

#[test]
fn both_coroutines_that_wait_in_one_direction_are_served() {
    run(|| {
        let (near, mut far) = tcp_pair()?;
        let reader = || {
            let mut stream = near.clone();
            rt::spawn(move || {
                let mut buf = [0];
                stream.read(&mut buf).map(|_| buf[0])
            })
        };
        let (first, second) = (reader(), reader());
        rt::yield_now()?;
        far.write_all(b"x")?;
        rt::sleep(2 * MS)?;
        assert!(first.is_finished() != second.is_finished(), "one byte serves one reader");
        far.write_all(b"y")?;
        let mut got = [first.join()??, second.join()??];
        got.sort_unstable();
        assert_eq!(&got, b"xy");

        let taken = fill(&near);
        let writer = || {
            let stream = near.clone();
            rt::spawn(move || stream.write_full(&vec![9; 1 << 20]))
        };
        let (first, second) = (writer(), writer());
        rt::yield_now()?;
        far.read_exact(&mut vec![0; taken + (2 << 20)])?;
        first.join()??;
        second.join()??;
        Ok(())
    });
}

#[test]
fn both_coroutines_that_accept_get_a_connection() {
    run(|| {
        let listener = Rc::new(TcpListener::bind("127.0.0.1:0")?);
        let accept = || {
            let listener = Rc::clone(&listener);
            rt::spawn(move || listener.accept().map(|(_, peer)| peer))
        };
        let (first, second) = (accept(), accept());
        rt::yield_now()?;
        let one = TcpStream::connect(listener.local_addr()?)?;
        let two = TcpStream::connect(listener.local_addr()?)?;
        let mut peers = [first.join()??, second.join()??];
        let mut clients = [one.local_addr()?, two.local_addr()?];
        peers.sort_unstable();
        clients.sort_unstable();
        assert_eq!(peers, clients);
        Ok(())
    });
}

#[test]
fn close_wakes_who_waits_and_keeps_the_descriptor_until_the_last_handle_is_gone() {
    let name = "close_wakes_who_waits_and_keeps_the_descriptor_until_the_last_handle_is_gone";
    run_alone(name, || {
        run(|| {
            let (near, mut far) = tcp_pair()?;
            fill(&near);
            let (mut reader, writer) = (near.clone(), near.clone());
            let read = rt::spawn(move || reader.read(&mut [0; 8]));
            let written = rt::spawn(move || writer.write_full(&[0; 8]));
            rt::yield_now()?;
            let borrowed = near.as_fd();
            near.clone().close()?;
            assert!(is_closed(&read.join()?.unwrap_err()));
            assert!(is_closed(&written.join()?.unwrap_err().error));
            assert!(fcntl(borrowed, FcntlArg::F_GETFD).is_ok(), "a borrowed fd stays open");
            let later = (&near).read(&mut [0; 8]).unwrap_err();
            assert!(is_closed(&later) && later.kind() == ErrorKind::NotConnected, "{later}");
            near.close()?;

            far.read_to_end(&mut Vec::new())?; // what was queued, and the end
            let in_proc = format!("/proc/self/fd/{}", borrowed.as_raw_fd());
            assert!(Path::new(&in_proc).is_symlink());
            drop(near);
            assert!(!Path::new(&in_proc).is_symlink());
            Ok(())
        });
    });
}

#[test]
fn closing_a_listener_ends_its_accept_and_refuses_later_connections() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let acceptor = listener.clone();
        let accepted = rt::spawn(move || acceptor.accept().map(drop));
        rt::yield_now()?;
        listener.close()?;
        assert!(is_closed(&accepted.join()?.unwrap_err()));
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    });
}

#[test]
fn nodelay_is_set_on_what_is_accepted() {
    run(|| {
        for nodelay in [false, true] {
            let listener = ListenOptions::new().nodelay(nodelay).listen("127.0.0.1:0")?;
            let client = TcpStream::connect(listener.local_addr()?)?;
            let (conn, peer) = listener.accept()?;
            assert_eq!(conn.nodelay()?, nodelay);
            assert_eq!((peer, conn.peer_addr()?), (client.local_addr()?, client.local_addr()?));
            conn.set_nodelay(!nodelay)?;
            assert_eq!(conn.nodelay()?, !nodelay);
        }
        Ok(())
    });
}

#[test]
fn listeners_share_an_address_only_when_asked_to() {
    run(|| {
        let alone = TcpListener::bind("127.0.0.1:0")?;
        let address = alone.local_addr()?;
        let refused = TcpListener::bind(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        assert!(refused.to_string().contains(&address.to_string()), "{refused}");

        let options = ListenOptions::new().reuse_port(true);
        let first = options.listen("127.0.0.1:0")?;
        let second = options.listen(first.local_addr()?)?;
        let client = TcpStream::connect(first.local_addr()?)?;
        let ready = poll_many(
            &[(first.as_fd(), Interest::Readable), (second.as_fd(), Interest::Readable)],
            None,
        )?;
        assert!(ready[0].readable != ready[1].readable, "one of them has the connection");
        drop(client);
        Ok(())
    });
}

#[test]
fn listener_that_takes_only_ipv6_leaves_the_port_to_ipv4() {
    run(|| {
        let Ok(v6) = ListenOptions::new().only_v6(true).listen("[::]:0") else {
            return Ok(()); // a machine without IPv6
        };
        let port = v6.local_addr()?.port();
        TcpListener::bind(("127.0.0.1", port))?;
        Ok(())
    });
}

#[test]
fn refused_connection_names_the_address() {
    run(|| {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        bound.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())?;
        let address = bound.local_addr()?.as_socket().unwrap();
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(refused.to_string().contains(&address.to_string()), "{refused}");
        Ok(())
    });
}

#[test]
fn what_is_not_an_ip_address_with_a_port_is_refused_by_name() {
    run(|| {
        for text in ["localhost:-1", "", "127.0.0.1", "127.0.0.1:65536", "::1:7000", " 127.0.0.1:1"]
        {
            let connect = TcpStream::connect(text).map(drop);
            let listen = TcpListener::bind(text).map(drop);
            let udp = UdpSocket::bind(text.to_owned()).map(drop);
            for result in [connect, listen, udp] {
                let error = result.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text:?}");
                assert!(error.to_string().contains(&format!("{text:?} is not an IP address")));
            }
        }
        let error = TcpListener::bind(("localhost", 7000)).unwrap_err();
        assert!(error.to_string().contains("\"localhost\" is not an IP address"), "{error}");
        Ok(())
    });
}

#[test]
fn vectored_io_scatters_and_gathers() {
    run(|| {
        let (mut near, mut far) = tcp_pair()?;
        let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        assert_eq!(near.write_vectored(&parts)?, 5);
        let (mut first, mut second) = ([0; 3], [0; 8]);
        let mut bufs = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(far.read_vectored(&mut bufs)?, 5);
        assert_eq!((&first, &second[..2]), (b"abc", &b"de"[..]));
        Ok(())
    });
}

#[test]
fn more_buffers_than_the_system_takes_at_once_do_not_stall_the_connection() {
    run(|| {
        let (mut near, mut far) = tcp_pair()?;
        // A wait in either direction registers the socket, after which events are edges.
        rt::timeout(MS, || near.read(&mut [0])).unwrap_err();
        rt::timeout(MS, || far.read(&mut [0])).unwrap_err();
        let many = vec![IoSlice::new(b"x"); 3000];
        let mut written = 0;
        while written < many.len() {
            written += rt::timeout(1000 * MS, || near.write_vectored(&many[written..]))?;
        }
        let mut cells = vec![[0]; 3000];
        let mut read = 0;
        while read < cells.len() {
            let mut bufs: Vec<IoSliceMut<'_>> =
                cells[read..].iter_mut().map(|cell| IoSliceMut::new(cell)).collect();
            read += rt::timeout(1000 * MS, || far.read_vectored(&mut bufs))?;
        }
        assert!(cells.iter().all(|cell| cell == b"x"));
        Ok(())
    });
}

#[test]
fn peek_leaves_the_bytes_in_the_stream() {
    run(|| {
        let (mut near, mut far) = tcp_pair()?;
        let peeker = near.clone();
        let peeked = rt::spawn(move || {
            let mut buf = [0; 8];
            peeker.peek(&mut buf).map(|count| (count, buf))
        });
        rt::yield_now()?;
        far.write_all(b"seen")?;
        let (count, buf) = peeked.join()??;
        assert_eq!(&buf[..count], b"seen");
        let mut read = [0; 8];
        assert_eq!(near.peek(&mut read[..2])?, 2);
        assert_eq!(near.read(&mut read)?, 4);
        Ok(())
    });
}

#[test]
fn clone_is_the_same_connection() {
    run(|| {
        let (near, mut far) = tcp_pair()?;
        let mut clone = near.try_clone()?;
        assert_eq!(clone.as_fd().as_raw_fd(), near.as_fd().as_raw_fd());
        drop(near);
        clone.write_all(b"still open")?;
        drop(clone);
        let mut got = String::new();
        far.read_to_string(&mut got)?;
        assert_eq!(got, "still open");
        Ok(())
    });
}

#[test]
fn socket_is_refused_on_another_thread_and_closed_by_a_drop_there() {
    run(|| {
        let (near, mut far) = tcp_pair()?;
        let refused = elsewhere(move || {
            let outside = (&near).read(&mut [0]).unwrap_err();
            // Nor does a runtime of that thread own it.
            let inside = rt::run(move || -> io::Result<io::Error> {
                let error = near.read_full(&mut [0]).unwrap_err().error;
                assert_eq!(near.close().unwrap_err().kind(), ErrorKind::Unsupported);
                Ok(error)
            });
            [outside, inside.unwrap()]
        })?;
        for error in refused {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        }
        assert_eq!(far.read(&mut [0])?, 0, "the drop over there closed it");
        Ok(())
    });
}

#[test]
fn sockets_dropped_on_another_thread_leave_no_descriptors() {
    run_alone("sockets_dropped_on_another_thread_leave_no_descriptors", || {
        run(|| {
            elsewhere(|| ())?;
            let before = open_descriptors();
            for _ in 0..20 {
                let pairs: Vec<_> = (0..10).map(|_| tcp_pair()).collect::<io::Result<_>>()?;
                // Registered or not, both ways are to be cleaned up.
                let near = pairs[0].0.clone();
                rt::timeout(MS, || (&near).read(&mut [0])).unwrap_err();
                drop(near);
                elsewhere(move || drop(pairs))?;
            }
            // The next turn, or the one after that, hears of the drops.
            rt::timeout(Duration::from_secs(20), || {
                while open_descriptors() != before {
                    rt::yield_now().expect("the descriptors are closed in time");
                }
            });
            Ok(())
        });
    });
}

#[test]
fn socket_that_outlives_its_runtime_closes_when_dropped() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let runtime = Runtime::builder().build().unwrap();
    let stream = runtime.block_on(move || TcpStream::connect(address)).unwrap().unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_nonblocking(true).unwrap();
    drop(runtime);
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "still open");
    let error = (&stream).write(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    peer.set_nonblocking(false).unwrap();
    drop(stream);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn socket_of_one_runtime_is_refused_by_another_on_the_same_thread() {
    let (one, other) = (Runtime::builder().build().unwrap(), Runtime::builder().build().unwrap());
    let (near, far) = one.block_on(tcp_pair).unwrap().unwrap();
    let errors = other.block_on(move || {
        let read = (&near).read(&mut [0]).unwrap_err();
        let timeout = near.set_read_timeout(Some(MS)).unwrap_err();
        drop(near); // is passed on to its own runtime
        [read, timeout]
    });
    for error in errors.unwrap() {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("another runtime"), "{error}");
    }
    assert_eq!(one.block_on(move || (&far).read(&mut [0])).unwrap().unwrap(), 0);
}

#[test]
fn virtual_clock_refuses_real_sockets_before_they_have_any_effect() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let runtime = Runtime::builder().clock(ClockKind::Virtual).build().unwrap();
    let refused = runtime.block_on(move || {
        let path = std::env::temp_dir().join("thalweg-no-such-socket");
        let (pipe, _) = nix::unistd::pipe().unwrap();
        [
            TcpStream::connect(address).map(drop),
            TcpListener::bind("127.0.0.1:0").map(drop),
            UdpSocket::bind("127.0.0.1:0").map(drop),
            UnixStream::pair().map(drop),
            UnixStream::connect(path).map(drop),
            NetFd::from_fd(pipe).map(drop),
        ]
    });
    for result in refused.unwrap() {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody connected");
}

#[test]
fn sockets_outside_a_runtime_are_refused() {
    let refused = [
        TcpStream::connect("127.0.0.1:9").map(drop),
        TcpListener::bind("127.0.0.1:0").map(drop),
        UnixListener::bind("/nonexistent/socket").map(drop),
    ];
    assert!(refused.into_iter().all(|result| result.is_err()));
}

#[test]
#[expect(clippy::disallowed_types, reason = "sockets that another library made")]
fn sockets_made_elsewhere_are_taken_over() {
    rt::run(|| {
        let made_elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = made_elsewhere.local_addr().unwrap();
        let listener = TcpListener::from_fd(made_elsewhere.into()).unwrap();
        let connected_elsewhere = std::net::TcpStream::connect(address).unwrap();
        let mut client = TcpStream::from_fd(connected_elsewhere.into()).unwrap();
        let (mut served, peer) = listener.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        let reader = rt::spawn(move || {
            let mut buf = [0; 5];
            served.read_exact(&mut buf).map(|()| buf)
        });
        rt::yield_now().unwrap();
        client.write_all(b"hello").unwrap();
        assert_eq!(&reader.join().unwrap().unwrap(), b"hello");
    });
}
