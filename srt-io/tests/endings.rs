//! How calls and connections end: refused, given up, cancelled, finished, closed or broken, each told apart.

mod support;

use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use support::{listener, number, numbered, pair, pair_of, quick, run, until};
use thalweg_runtime as rt;
use thalweg_runtime::WaitError;
use thalweg_srt_io::stream_id::StreamMode;
use thalweg_srt_io::{
    AcceptError, Admission, ConnectError, FinishError, KeyState, Listener, Options, RecvError,
    RejectReason, SendError, Socket, StreamRule,
};

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn a_port_where_nobody_is_does_not_answer() {
    run(|| {
        let dead = rt::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let options = quick().connect_timeout(Duration::from_millis(300));
        let result = Socket::connect(dead.local_addr().unwrap(), &options);
        assert!(matches!(result, Err(ConnectError::NoAnswer { .. })), "{result:?}");
    });
}

#[test]
fn a_deadline_ends_every_wait_and_leaves_the_socket_usable() {
    run(|| {
        let listener = listener(&quick());
        let accept = rt::timeout(SHORT, || listener.accept());
        assert!(matches!(accept, Err(AcceptError::Wait(WaitError::TimedOut(_)))), "{accept:?}");
        let (caller, called) = pair_of(&listener, &quick());
        let recv = rt::timeout(SHORT, || called.recv(&mut [0; 1500]));
        assert!(matches!(recv, Err(RecvError::Wait(WaitError::TimedOut(_)))), "{recv:?}");
        caller.send(&numbered(1)).unwrap();
        assert_eq!(called.recv(&mut [0; 1500]).unwrap(), 1316);

        let dead = rt::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let connect = rt::timeout(SHORT, || Socket::connect(dead, &quick()));
        assert!(matches!(connect, Err(ConnectError::Wait(WaitError::TimedOut(_)))), "{connect:?}");

        let (caller, _called) = pair(&Options::file());
        let send = loop {
            match rt::timeout(SHORT, || caller.send(&[0; 1456])) {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(send, SendError::Wait(WaitError::TimedOut(_))), "{send:?}");
        let finish = caller.finish(rt::now() + SHORT);
        assert!(
            matches!(finish, Err(FinishError::Unsent { packets }) if packets > 0),
            "{finish:?}"
        );
        assert!(matches!(caller.send(&[0; 10]), Err(SendError::Closed)));
    });
}

#[test]
fn a_cancellation_ends_every_wait_and_is_seen_on_entry() {
    run(|| {
        let listener = Rc::new(listener(&quick()));
        let (_idle, called) = pair_of(&listener, &quick());
        // Finishing waits for the latency at least.
        let (caller, _playing) = pair(&quick().latency(Duration::from_secs(5)));
        let (full, _unread) = pair(&Options::file());
        let dead = rt::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let waits: Vec<Box<dyn FnOnce() -> bool>> = vec![
            Box::new(move || {
                matches!(listener.accept(), Err(AcceptError::Wait(WaitError::Cancelled)))
            }),
            Box::new(move || {
                let first = called.recv(&mut [0; 1500]);
                // Sticky: the next call says it at once.
                let next = called.send(&[0; 10]);
                matches!(first, Err(RecvError::Wait(WaitError::Cancelled)))
                    && matches!(next, Err(SendError::Wait(WaitError::Cancelled)))
            }),
            Box::new(move || {
                let connect = Socket::connect(dead, &quick());
                matches!(connect, Err(ConnectError::Wait(WaitError::Cancelled)))
            }),
            Box::new(move || {
                loop {
                    match full.send(&[0; 1456]) {
                        Ok(_) => {}
                        Err(error) => break matches!(error, SendError::Wait(WaitError::Cancelled)),
                    }
                }
            }),
            Box::new(move || {
                caller.send(&numbered(0)).unwrap();
                let finish = caller.finish(rt::now() + Duration::from_secs(20));
                matches!(finish, Err(FinishError::Wait(WaitError::Cancelled)))
            }),
        ];
        let waiting: Vec<_> = waits.into_iter().map(rt::spawn).collect();
        rt::sleep(Duration::from_millis(5)).unwrap();
        waiting.iter().for_each(|one| one.cancel());
        for (index, one) in waiting.into_iter().enumerate() {
            assert!(one.join().unwrap(), "wait {index}");
        }
    });
}

#[test]
fn a_wrong_passphrase_is_seen_at_both_ends() {
    run(|| {
        let secret = quick().passphrase("correct horse");
        let listener = listener(&secret);
        let cases = [
            (quick().passphrase("wrong horse!"), RejectReason::BAD_SECRET),
            (quick(), RejectReason::UNSECURE),
        ];
        for (options, expected) in cases {
            match Socket::connect(listener.local_addr(), &options) {
                Err(ConnectError::Rejected { reason, .. }) => assert_eq!(reason, expected),
                other => panic!("{other:?}"),
            }
            until("the listener to know", || listener.refusals().counts.contains_key(&expected));
        }
        let (caller, called) = pair_of(&listener, &secret);
        for end in [caller.encryption().unwrap(), called.encryption().unwrap()] {
            assert_eq!((end.recv, end.send), (KeyState::Secured, KeyState::Secured));
        }
        caller.send(&numbered(1)).unwrap();
        assert_eq!(called.recv(&mut [0; 1500]).unwrap(), 1316);
    });
}

#[test]
fn admission_refuses_with_its_own_reasons_and_is_swapped_at_run_time() {
    run(|| {
        let admission = Admission::new()
            .stream("live/secret", StreamRule::admit().passphrase("correct horse"))
            .stream("live/slow", StreamRule::admit().latency(Duration::from_millis(700)))
            .stream("live/play", StreamRule::admit().only(StreamMode::Request))
            .prefix("guest/", StreamRule::admit())
            .prefix("guest/locked/", StreamRule::reject(RejectReason::LOCKED))
            .other_streams(StreamRule::reject(RejectReason::NOT_FOUND))
            .busy("guest/busy");
        let listener = Listener::bind_with("127.0.0.1:0", &quick(), admission).unwrap();
        let address = listener.local_addr();
        let connect = |stream_id: &str| Socket::connect(address, &quick().stream_id(stream_id));
        let refused = |stream_id: &str| match connect(stream_id) {
            Err(ConnectError::Rejected { reason, .. }) => reason,
            other => panic!("{stream_id}: {other:?}"),
        };
        assert_eq!(refused("#!::r=live/other,m=publish"), RejectReason::NOT_FOUND);
        assert_eq!(refused("#!::r=guest/busy,m=publish"), RejectReason::CONFLICT);
        assert_eq!(refused("#!::r=guest/locked/one,m=publish"), RejectReason::LOCKED);
        assert_eq!(refused("#!::r=live/play,m=publish"), RejectReason::BAD_MODE);
        assert_eq!(refused("#!::r=live/secret,m=publish"), RejectReason::UNSECURE);

        connect("#!::r=guest/busy,m=request").unwrap();
        listener.accept().unwrap();
        let secret = quick().stream_id("#!::r=live/secret,m=publish").passphrase("correct horse");
        let (caller, called) = pair_of(&listener, &secret);
        assert_eq!(caller.encryption().unwrap().send, KeyState::Secured);
        assert_eq!(called.stream_id().unwrap().resource(), Some("live/secret"));
        let slow = pair_of(&listener, &quick().stream_id("#!::r=live/slow"));
        assert_eq!(slow.1.latency().unwrap().recv, Duration::from_millis(700));

        until("the last refusal to be noted", || listener.refusals().last.len() == 5);
        let refusals = listener.refusals();
        assert_eq!(refusals.counts[&RejectReason::NOT_FOUND], 1);
        assert_eq!(refusals.last[1].reason, RejectReason::CONFLICT);
        assert!(refusals.last[1].stream_id.contains("guest/busy"), "{refusals:?}");

        listener.set_admission(Admission::new());
        connect("#!::r=live/other,m=publish").unwrap();
        let network = "127.0.0.0/8".parse().unwrap();
        listener.set_admission(Admission::new().deny_network(network, RejectReason::FORBIDDEN));
        assert_eq!(refused("live/other"), RejectReason::FORBIDDEN);
    });
}

#[test]
fn finish_delivers_the_tail() {
    run(|| {
        let options = Options::live().latency(Duration::from_millis(300));
        let (caller, called) = pair(&options);
        let sender = rt::spawn(move || {
            for message in 0..200 {
                caller.send(&numbered(message)).unwrap();
            }
            caller.finish(rt::now() + Duration::from_secs(10)).unwrap();
        });
        let (mut buf, mut got) = ([0; 1500], 0);
        let end = loop {
            match called.recv(&mut buf) {
                Ok(length) => {
                    assert_eq!(number(&buf[..length]), got);
                    got += 1;
                }
                Err(error) => break error,
            }
        };
        assert_eq!(got, 200);
        assert!(matches!(end, RecvError::Disconnected), "{end:?}");
        sender.join().unwrap();
    });
}

#[test]
fn the_peers_close_is_told_to_who_sends_and_who_receives() {
    run(|| {
        let (caller, called) = pair(&quick());
        let caller = Rc::new(caller);
        let theirs = Rc::clone(&caller);
        let receiver = rt::spawn(move || theirs.recv(&mut [0; 1500]));
        rt::yield_now().unwrap();
        called.close();
        assert!(matches!(receiver.join().unwrap(), Err(RecvError::Disconnected)));
        assert!(matches!(caller.send(&[0; 100]), Err(SendError::Disconnected)));
        assert!(!caller.is_connected());
    });
}

#[test]
fn a_peer_that_is_killed_is_told_from_one_that_closes() {
    run(|| {
        let listener = listener(&quick().peer_idle_timeout(Duration::from_secs(1)));
        let url = format!("srt://{}?pkt_size=1316", listener.local_addr());
        let mut peer = Command::new("ffmpeg")
            .args(["-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=160x120"])
            .args(["-c:v", "mpeg2video", "-f", "mpegts", &url])
            .stdin(Stdio::null())
            .spawn()
            .expect("ffmpeg is installed by `make setup`");
        let (called, _) = listener.accept().unwrap();
        let mut buf = [0; 1500];
        called.recv(&mut buf).unwrap();
        peer.kill().unwrap();
        peer.wait().unwrap();
        let end = loop {
            if let Err(error) = called.recv(&mut buf) {
                break error;
            }
        };
        assert!(matches!(end, RecvError::Broken), "{end:?}");
    });
}

#[test]
fn connections_that_nobody_accepted_end_with_the_listener() {
    run(|| {
        let listener = listener(&quick());
        let caller = Socket::connect(listener.local_addr(), &quick()).unwrap();
        drop(listener);
        let end = caller.recv(&mut [0; 1500]);
        assert!(matches!(end, Err(RecvError::Disconnected | RecvError::Broken)), "{end:?}");
    });
}
