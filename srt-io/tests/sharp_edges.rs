//! What libsrt does that a user must not meet: each test is one trap, and hangs or fails where we fall into it.
#![expect(clippy::disallowed_methods, reason = "reads what /proc has in memory")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use support::{listener, number, numbered, pair, pair_of, quick, run, until};
use thalweg_runtime as rt;
use thalweg_srt_io::options::CryptoMode;
use thalweg_srt_io::{
    AcceptError, BindError, ConnectError, Listener, OptionError, OptionName, Options, RecvError,
    SendError, Socket, library,
};

#[test]
fn a_connection_made_before_anybody_accepts_is_accepted() {
    run(|| {
        let listener = listener(&quick());
        let callers: Vec<_> =
            (0..3).map(|_| Socket::connect(listener.local_addr(), &quick()).unwrap()).collect();
        // All events were reported before: accepting has to be tried first, each time.
        for _ in &callers {
            listener.accept().unwrap();
        }
        let parked = rt::spawn(move || listener.accept().map(|_| ()));
        rt::yield_now().unwrap();
        parked.cancel();
        assert!(matches!(parked.join().unwrap(), Err(AcceptError::Wait(_))));
    });
}

#[test]
fn own_close_wakes_who_waits_to_receive() {
    run(|| {
        let (caller, called) = pair(&quick());
        let called = Rc::new(called);
        let theirs = Rc::clone(&called);
        let receiver = rt::spawn(move || theirs.recv(&mut [0; 1500]));
        rt::yield_now().unwrap();
        called.close();
        assert!(matches!(receiver.join().unwrap(), Err(RecvError::Closed)));
        assert!(matches!(called.recv(&mut [0; 1500]), Err(RecvError::Closed)));
        assert!(matches!(called.send(&[0; 100]), Err(SendError::Closed)));
        assert!(matches!(caller.recv(&mut [0; 1500]), Err(RecvError::Disconnected)));
    });
}

#[test]
fn own_close_wakes_who_waits_to_send() {
    run(|| {
        let (caller, called) = pair(&Options::file());
        let caller = Rc::new(caller);
        let theirs = Rc::clone(&caller);
        let sender = rt::spawn(move || {
            loop {
                if let Err(error) = theirs.send(&[1; 1000]) {
                    return error;
                }
            }
        });
        // Nobody receives, so what both buffers hold is all that can be sent.
        until("the buffers to be full", || {
            rt::dump().is_ok_and(|dump| dump.to_string().contains("a message"))
        });
        caller.close();
        assert!(matches!(sender.join().unwrap(), SendError::Closed));
        drop(called);
    });
}

#[test]
fn own_close_wakes_who_waits_to_accept() {
    run(|| {
        let listener = Rc::new(listener(&quick()));
        let theirs = Rc::clone(&listener);
        let first = Rc::new(rt::sync::Event::new());
        let accepted = Rc::clone(&first);
        let acceptor = rt::spawn(move || {
            let _kept = theirs.accept().unwrap();
            accepted.set();
            theirs.accept().map(|_| ())
        });
        let _caller = Socket::connect(listener.local_addr(), &quick()).unwrap();
        first.wait().unwrap();
        listener.close();
        assert!(matches!(acceptor.join().unwrap(), Err(AcceptError::Closed)));
    });
}

#[test]
fn closing_with_unsent_data_does_not_wait_for_the_linger() {
    run(|| {
        // 180 s by libsrt's default, which a close would block the thread for.
        let (caller, called) = pair(&Options::file());
        while rt::timeout(Duration::from_millis(50), || caller.send(&[1; 1456])).is_ok() {}
        let before = rt::now();
        drop(caller);
        rt::yield_now().unwrap();
        assert!(rt::now() - before < Duration::from_secs(5));
        drop(called);
    });
}

#[test]
fn what_is_not_due_yet_is_received_after_the_peer_closed() {
    run(|| {
        let options = Options::live().latency(Duration::from_millis(500));
        let (caller, called) = pair(&options);
        for message in 0..20 {
            caller.send(&numbered(message)).unwrap();
        }
        let unsent = || caller.option(OptionName::SendData).unwrap().number().unwrap();
        until("all to be acknowledged", || unsent() == 0);
        caller.close();
        let (mut buf, mut got) = ([0; 1500], Vec::new());
        let end = loop {
            match called.recv(&mut buf) {
                Ok(length) => got.push(number(&buf[..length])),
                Err(error) => break error,
            }
        };
        assert_eq!(got, (0..20).collect::<Vec<_>>());
        assert!(matches!(end, RecvError::Disconnected), "{end:?}");
    });
}

#[test]
fn threads_of_the_library_take_no_signals() {
    run(|| {
        let (_caller, _called) = pair(&quick());
        let mut threads = Vec::new();
        for task in fs::read_dir("/proc/self/task").unwrap() {
            let Ok(status) = fs::read_to_string(task.unwrap().path().join("status")) else {
                continue;
            };
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.trim_start_matches(':').trim().to_owned()
            };
            let name = field("Name");
            if name.starts_with("SRT:") || name == "srt-bridge" {
                let blocked = u64::from_str_radix(&field("SigBlk"), 16).unwrap();
                // SIGKILL and SIGSTOP cannot be blocked, and 32 and 33 are glibc's own.
                let never = [9, 19, 32, 33].map(|signal| 1_u64 << (signal - 1)).iter().sum::<u64>();
                assert_eq!(blocked | never, u64::MAX, "{name} takes signals");
                threads.push(name);
            }
        }
        for name in ["SRT:GC", "SRT:SndQ", "SRT:RcvQ", "srt-bridge"] {
            assert!(threads.iter().any(|thread| thread.starts_with(name)), "{name} in {threads:?}");
        }
    });
}

#[test]
fn callers_share_a_port_unless_their_options_differ() {
    run(|| {
        let listener = listener(&quick());
        let address = listener.local_addr();
        let port = |socket: &Socket| socket.local_addr().unwrap().port();
        let one = Socket::connect(address, &quick()).unwrap();
        let two = Socket::connect(address, &quick()).unwrap();
        assert_eq!(port(&one), port(&two));
        let other = Socket::connect(address, &quick().ip_tos(0xb8)).unwrap();
        assert_ne!(port(&other), port(&one));
        let own = Socket::connect_from("0.0.0.0:0", address, &quick()).unwrap();
        assert_ne!(port(&own), port(&one));
        // All of them work, over one port or several.
        let called: Vec<_> = (0..4).map(|_| listener.accept().unwrap().0).collect();
        for socket in &called {
            socket.send(&numbered(9)).unwrap();
        }
        for socket in [&one, &two, &other, &own] {
            assert_eq!(socket.recv(&mut [0; 1500]).unwrap(), 1316);
        }
    });
}

#[test]
fn late_packets_that_are_kept_for_ever_are_refused() {
    run(|| {
        let hangs = Options::live().too_late_drop(false);
        let refused = Listener::bind("127.0.0.1:0", &hangs);
        assert!(
            matches!(refused, Err(BindError::Option(OptionError::Conflict { .. }))),
            "{refused:?}"
        );
        let refused = Socket::connect("127.0.0.1:9", &hangs);
        assert!(
            matches!(refused, Err(ConnectError::Option(OptionError::Conflict { .. }))),
            "{refused:?}"
        );
    });
}

#[test]
fn what_the_library_lacks_is_named() {
    run(|| {
        let library = library().unwrap();
        assert!((library.version.major, library.version.minor) >= (1, 5), "{library:?}");
        let options = quick().passphrase("correct horse").crypto_mode(CryptoMode::AesGcm);
        match Listener::bind("127.0.0.1:0", &options) {
            Ok(_) => assert!(library.features.aes_gcm),
            Err(BindError::Option(OptionError::Unsupported { option, .. })) => {
                assert_eq!(option, OptionName::CryptoMode);
                assert!(!library.features.aes_gcm);
            }
            Err(error) => panic!("{error}"),
        }
    });
}

#[test]
fn a_buffer_that_could_not_hold_a_message_is_refused_and_nothing_lost() {
    run(|| {
        let (caller, called) = pair(&quick());
        caller.send(&numbered(3)).unwrap();
        let refused = called.recv(&mut [0; 100]);
        assert!(matches!(refused, Err(RecvError::BufferTooSmall { needed: 1316 })), "{refused:?}");
        let mut buf = [0; 1316];
        called.recv(&mut buf).unwrap();
        assert_eq!(number(&buf), 3);
        let refused = caller.send(&[0; 1400]);
        assert!(
            matches!(refused, Err(SendError::TooLarge { size: 1400, limit: 1316 })),
            "{refused:?}"
        );
    });
}

#[test]
fn the_wildcard_of_ipv6_takes_both_families() {
    run(|| {
        let listener = Listener::bind("[::]:0", &quick()).unwrap();
        let port = listener.local_addr().port();
        for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
            let caller = Socket::connect(address.as_str(), &quick()).unwrap();
            let (called, peer) = listener.accept().unwrap();
            assert!(peer.ip().to_canonical().is_loopback(), "{peer}");
            caller.send(&numbered(1)).unwrap();
            assert_eq!(called.recv(&mut [0; 1500]).unwrap(), 1316);
        }
    });
}

#[test]
fn a_port_that_is_taken_is_told_from_other_errors() {
    run(|| {
        let first = listener(&quick());
        let again = Listener::bind(first.local_addr(), &quick());
        assert!(matches!(again, Err(BindError::InUse { .. })), "{again:?}");
        let foreign = rt::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let taken = Listener::bind(foreign.local_addr().unwrap(), &quick());
        assert!(matches!(taken, Err(BindError::InUse { .. })), "{taken:?}");
    });
}

#[test]
fn names_are_resolved() {
    run(|| {
        let listener = Listener::bind("localhost:0", &quick()).unwrap();
        let name = format!("localhost:{}", listener.local_addr().port());
        let (_caller, called) = {
            let options = quick().connect_timeout(Duration::from_millis(500));
            let caller = Socket::connect(name.as_str(), &options).unwrap();
            (caller, listener.accept().unwrap().0)
        };
        assert!(called.peer_addr().unwrap().ip().is_loopback());
    });
}

#[test]
fn two_that_meet_by_rendezvous_are_connected() {
    run(|| {
        let free = || rt::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (one, two): (SocketAddr, SocketAddr) = (free(), free());
        let other = rt::spawn(move || Socket::rendezvous(two, one, &quick()).unwrap());
        let here = Socket::rendezvous(one, two, &quick()).unwrap();
        let there = other.join().unwrap();
        here.send(&numbered(5)).unwrap();
        assert_eq!(there.recv(&mut [0; 1500]).unwrap(), 1316);
    });
}

#[test]
fn a_stream_carries_bytes_without_bounds_and_has_an_end() {
    const BYTES: usize = 3_000_000;
    run(|| {
        let (caller, called) = pair(&Options::file());
        let sender = rt::spawn(move || {
            let bytes: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let sent = caller.send(rest).unwrap();
                rest = &rest[sent..];
            }
            caller.finish(rt::now() + Duration::from_secs(20)).unwrap();
        });
        let (mut buf, mut got) = (vec![0; 20_000], 0);
        let end = loop {
            match called.recv(&mut buf) {
                Ok(length) => {
                    let right = buf[..length]
                        .iter()
                        .zip(got..)
                        .all(|(byte, n)| usize::from(*byte) == n % 251);
                    assert!(right, "bytes after {got}");
                    got += length;
                }
                Err(error) => break error,
            }
        };
        assert_eq!(got, BYTES);
        assert!(matches!(end, RecvError::Disconnected), "{end:?}");
        sender.join().unwrap();
    });
}

#[test]
fn messages_keep_their_bounds() {
    run(|| {
        let (caller, called) = pair(&Options::message());
        let sizes = [1, 1456, 10_000, 100_000, 7];
        for size in sizes {
            caller.send(&vec![3; size]).unwrap();
        }
        let mut buf = vec![0; 200_000];
        for size in sizes {
            assert_eq!(called.recv(&mut buf).unwrap(), size);
        }
    });
}

#[test]
fn a_call_without_a_coroutine_is_refused_and_has_no_effect() {
    let outside = Listener::bind("127.0.0.1:0", &quick());
    assert!(matches!(outside, Err(BindError::Wait(_))), "{outside:?}");
    let (caller, called) = run(|| pair_of(&listener(&quick()), &quick()));
    let outside = called.recv(&mut [0; 1500]);
    assert!(matches!(outside, Err(RecvError::Wait(_))), "{outside:?}");
    drop(caller);
}
