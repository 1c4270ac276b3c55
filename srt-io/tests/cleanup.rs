//! Ending the library while it is in use. Alone in its process, as it is for good.

mod support;

use std::time::Duration;

use support::{listener, number, numbered, pair, pair_of, quick, run, until};
use thalweg_runtime as rt;
use thalweg_srt_io::{
    AcceptError, BindError, ConnectError, Listener, RecvError, SendError, Socket, StartError,
    cleanup,
};

#[test]
fn cleanup_ends_every_wait_and_every_later_call_says_so() {
    run(|| {
        let listener = listener(&quick());
        let (caller, called) = pair_of(&listener, &quick());
        let other = pair(&quick());
        caller.send(&numbered(3)).unwrap();
        let mut buf = [0; 1500];
        called.recv(&mut buf).unwrap();
        assert_eq!(number(&buf), 3);

        let acceptor = rt::spawn(move || listener.accept().map(|_| ()));
        let receiver = rt::spawn(move || called.recv(&mut [0; 1500]));
        rt::yield_now().unwrap();
        rt::blocking::run(cleanup).unwrap();
        assert!(matches!(acceptor.join().unwrap(), Err(AcceptError::Closed)));
        assert!(matches!(receiver.join().unwrap(), Err(RecvError::Closed)));
        assert!(matches!(caller.send(&numbered(4)), Err(SendError::Closed)));
        assert!(!caller.is_connected() && caller.stats().is_err() && caller.latency().is_err());

        let again = Listener::bind("127.0.0.1:0", &quick());
        assert!(matches!(again, Err(BindError::Start(StartError::Ended))), "{again:?}");
        let again = Socket::connect("127.0.0.1:9", &quick());
        assert!(matches!(again, Err(ConnectError::Start(StartError::Ended))), "{again:?}");
        until("the library's threads to end", || threads() == 0);
        drop(other);
        rt::timeout(Duration::from_secs(5), || rt::blocking::run(cleanup)).unwrap();
    });
}

/// Threads of libsrt and its bridge.
#[expect(clippy::disallowed_methods, reason = "reads what /proc has in memory")]
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is there").flatten();
    // A thread may have ended since the list was made.
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("SRT:") || name.starts_with("srt-")).count()
}
