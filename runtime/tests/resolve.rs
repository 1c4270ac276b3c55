//! Names: the cache in front of the resolver, and racing a host's addresses. No test needs a
//! network: all but one have a resolver of their own.

#![expect(clippy::unwrap_used, reason = "what a helper does not get fails its test")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "peers and resolvers are plain code of std, and time is measured"
)]

mod support;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use support::logs;
use thalweg_runtime::net::{Target, TcpListener, TcpStream, ToAddr, UdpSocket, resolve};
use thalweg_runtime::{
    self as rt, ClockKind, Runtime, RuntimeBuilder, blocking, is_cancelled, timed_out,
};

const MS: Duration = Duration::from_millis(1);

/// Runs `test` on a runtime made by `builder`. One that hangs fails.
fn run_on(builder: RuntimeBuilder, test: impl FnOnce() -> io::Result<()> + 'static) {
    const LIMIT: Duration = Duration::from_secs(100);
    builder.build().unwrap().block_on(|| rt::timeout(LIMIT, test)).unwrap().unwrap();
}

fn ips(list: &str) -> Vec<IpAddr> {
    list.split(' ').map(|ip| ip.parse().unwrap()).collect()
}

fn addresses(list: &str) -> Vec<SocketAddr> {
    list.split(' ').map(|address| address.parse().unwrap()).collect()
}

/// A runtime on which `resolver` is asked, which also gets to know how often it was before.
fn counting(
    resolver: impl Fn(&str, usize) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
) -> (RuntimeBuilder, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let builder = Runtime::builder()
        .resolver(move |host| resolver(host, count.fetch_add(1, Ordering::SeqCst)));
    (builder, asked)
}

// Looking up.

#[test]
fn literal_addresses_never_go_to_the_pool() {
    let runtime = Runtime::builder().resolver(|host| panic!("asked for {host}")).build().unwrap();
    runtime
        .block_on(|| {
            assert_eq!(resolve("127.0.0.1:80").unwrap(), addresses("127.0.0.1:80"));
            assert_eq!(resolve("[::1]:80").unwrap(), addresses("[::1]:80"));
            assert_eq!(resolve(("::1", 80)).unwrap(), addresses("[::1]:80"));
            let address = addresses("1.2.3.4:5")[0];
            assert_eq!(resolve(address).unwrap(), [address]);
        })
        .unwrap();
    assert_eq!(runtime.stats().pool_threads, 0);
    assert_eq!(resolve("127.0.0.1:80").unwrap(), addresses("127.0.0.1:80"), "nor need a runtime");
}

#[test]
fn the_systems_resolver_knows_localhost() {
    run_on(Runtime::builder(), || {
        let found = resolve(("localhost", 7000))?;
        assert!(!found.is_empty());
        for address in found {
            assert!(address.ip().is_loopback() && address.port() == 7000, "{address}");
        }
        Ok(())
    });
}

#[test]
fn what_cannot_be_a_host_and_a_port_is_refused_by_name() {
    let long = format!("{}:80", "a".repeat(255));
    let texts = [
        "",
        ":80",
        "host",
        "host:",
        "host:+1",
        "host:65536",
        "::1:80",
        " host:80",
        "a b:80",
        "http://host:80",
        "host\0:80",
        &long,
    ];
    for text in texts {
        let error = text.target().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text:?}");
        assert!(error.to_string().contains(&format!("{text:?} is not an IP address")), "{error}");
    }
    assert_eq!(("", 80).target().unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(matches!("Host.:80".target(), Ok(Target::Name { host: "Host.", port: 80, .. })));
    assert!(matches!(("münchen", 1).target(), Ok(Target::Name { .. })));
    run_on(Runtime::builder(), || {
        for result in [
            TcpListener::bind("localhost:0").map(drop),
            UdpSocket::bind(("localhost", 0)).map(drop),
        ] {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        Ok(())
    });
}

#[test]
fn answers_are_kept_for_their_time_and_failures_for_theirs() {
    let (builder, asked) = counting(|host, _| match host {
        "good" => Ok(ips("127.0.0.1 ::1")),
        "empty" => Ok(Vec::new()),
        _ => Err(io::Error::new(ErrorKind::NotFound, "no such name")),
    });
    let builder = builder.clock(ClockKind::Virtual).timer_slack(Duration::ZERO);
    run_on(builder.resolve_ttl(10_000 * MS, 1_000 * MS), move || {
        let is_asked = |times: usize| asked.swap(0, Ordering::SeqCst) == times;
        for _ in 0..2 {
            assert_eq!(resolve("good:1")?, addresses("127.0.0.1:1 [::1]:1"));
            assert_eq!(resolve(("GOOD", 2))?, addresses("127.0.0.1:2 [::1]:2"));
            assert!(is_asked(1));
            rt::sleep(9_999 * MS)?;
            resolve("good:3")?;
            assert!(is_asked(0));
            rt::sleep(MS)?;
        }
        for (name, text) in [
            ("bad:1", "cannot resolve \"bad\": no such name"),
            ("empty:1", "cannot resolve \"empty\": the name has no address"),
        ] {
            for _ in 0..2 {
                let errors = [resolve(name).unwrap_err(), resolve(name).unwrap_err()];
                assert!(errors.iter().all(|error| error.kind() == ErrorKind::NotFound));
                assert!(errors.iter().all(|error| error.to_string() == text), "{errors:?}");
                assert!(is_asked(1));
                rt::sleep(1_000 * MS)?;
            }
        }
        Ok(())
    });
}

#[test]
fn with_no_time_to_keep_them_every_answer_is_new() {
    let (builder, asked) = counting(|_, _| Ok(ips("127.0.0.1")));
    run_on(builder.resolve_ttl(Duration::ZERO, Duration::ZERO), move || {
        (0..3).try_for_each(|_| resolve("name:1").map(drop))?;
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        Ok(())
    });
}

#[test]
fn concurrent_lookups_of_a_name_share_one_job() {
    let (go, gone) = mpsc::channel();
    let gone = Mutex::new(gone);
    let (builder, asked) = counting(move |_, _| {
        gone.lock().unwrap().recv().unwrap();
        Ok(ips("10.0.0.1"))
    });
    run_on(builder.resolver_threads(1).blocking_queue(0), move || {
        let askers: Vec<_> =
            (0..50).map(|port| rt::spawn(move || resolve(("name", port)))).collect();
        let cancelled = rt::spawn(|| resolve("name:1"));
        rt::yield_now()?;
        cancelled.cancel();
        assert!(is_cancelled(&cancelled.join()?.unwrap_err()));
        go.send(()).unwrap();
        for (port, asker) in askers.into_iter().enumerate() {
            assert_eq!(asker.join()??, addresses(&format!("10.0.0.1:{port}")));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        Ok(())
    });
}

#[test]
fn a_deadline_is_honoured_while_the_resolver_hangs() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let (builder, asked) = counting(move |_, _| {
        let _told_or_gone = gone.lock().unwrap().recv();
        Ok(ips("127.0.0.1"))
    });
    run_on(builder, move || {
        for _ in 0..3 {
            let late = rt::timeout(5 * MS, || resolve("name:1")).unwrap_err();
            assert!(timed_out(&late).is_some_and(|passed| !passed.is_outer()), "{late}");
            let late = rt::timeout(5 * MS, || TcpStream::connect("name:1")).unwrap_err();
            assert!(timed_out(&late).is_some_and(|passed| !passed.is_outer()), "{late}");
        }
        // Those who come later join the lookup that hangs, and its answer serves them, too.
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        go.send(()).unwrap();
        assert_eq!(resolve("name:1")?, addresses("127.0.0.1:1"));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        Ok(())
    });
}

#[test]
fn a_lookup_that_everybody_left_before_it_began_never_runs() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let (builder, asked) = counting(move |host, _| {
        if host == "slow" {
            let _told_or_gone = gone.lock().unwrap().recv();
        }
        Ok(ips("127.0.0.1"))
    });
    run_on(builder.resolver_threads(1), move || {
        let busy = rt::spawn(|| resolve("slow:1"));
        rt::yield_now()?;
        let askers = [1, 2].map(|_| rt::spawn(|| resolve("name:1")));
        rt::yield_now()?;
        for asker in &askers {
            asker.cancel();
            assert!(is_cancelled(&asker.join()?.unwrap_err()));
        }
        drop(go);
        assert_eq!(busy.join()??, addresses("127.0.0.1:1"));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(resolve("name:1")?, addresses("127.0.0.1:1"));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        Ok(())
    });
}

/// Goal: a resolver that hangs holds up no file, nor a disk that hangs a name. Method: as many of
/// one kind as there may be threads and places for all kinds hang, and the other kind is done.
#[test]
fn names_that_hang_hold_up_no_file_and_files_that_hang_no_name() {
    const MANY: u16 = 8;
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let (builder, asked) = counting(move |host, _| {
        if host.starts_with("slow") {
            let _told_or_gone = gone.lock().unwrap().recv();
        }
        Ok(ips("127.0.0.1"))
    });
    let builder = builder.resolver_threads(2).blocking_threads(2).blocking_queue(2);
    run_on(builder, move || {
        let names: Vec<_> = (0..MANY)
            .map(|n| rt::spawn(move || resolve((format!("slow-{n}").as_str(), n))))
            .collect();
        rt::yield_now()?;
        assert!(!rt::fs::read("/proc/self/status")?.is_empty());
        assert_eq!(blocking::run(|| 1)?, 1);
        assert!(asked.load(Ordering::SeqCst) <= 2, "they take no more threads than their own");
        assert!(names.iter().all(|name| !name.is_finished()));
        drop(go);
        for (n, name) in names.into_iter().enumerate() {
            assert_eq!(name.join()??, addresses(&format!("127.0.0.1:{n}")));
        }

        let (end, ends) = mpsc::channel::<()>();
        let ends = Arc::new(Mutex::new(ends));
        let files: Vec<_> = (0..MANY)
            .map(|_| {
                let ends = Arc::clone(&ends);
                rt::spawn(move || blocking::run(move || ends.lock().unwrap().recv().is_err()))
            })
            .collect();
        rt::yield_now()?;
        assert_eq!(resolve("name:1")?, addresses("127.0.0.1:1"));
        assert!(files.iter().all(|file| !file.is_finished()));
        drop(end);
        for file in files {
            assert!(file.join()??);
        }
        Ok(())
    });
}

#[test]
fn the_threads_for_names_are_named_so_and_there_is_at_least_one() {
    let error = Runtime::builder().resolver_threads(0).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("resolver_threads"), "{error}");
    let builder = Runtime::builder().name("edge").resolver(|_| {
        assert_eq!(std::thread::current().name(), Some("edge-names-0"));
        Ok(ips("127.0.0.1"))
    });
    run_on(builder, || resolve("name:1").map(drop));
}

#[test]
fn a_resolver_that_panics_is_an_error_that_is_not_kept() {
    let (builder, _) = counting(|_, before| match before {
        0 => panic!("no idea"),
        _ => Ok(ips("127.0.0.1")),
    });
    run_on(builder, || {
        let error = resolve("name:1").unwrap_err().to_string();
        assert!(error.contains("cannot resolve \"name\"") && error.contains("no idea"), "{error}");
        assert_eq!(resolve("name:1")?, addresses("127.0.0.1:1"));
        Ok(())
    });
}

#[test]
fn no_more_names_and_addresses_are_kept_than_the_bounds_say() {
    let (builder, asked) =
        counting(|_, _| Ok((0..1000).map(|n: u32| IpAddr::from(n.to_be_bytes())).collect()));
    run_on(builder.clock(ClockKind::Virtual), move || {
        assert_eq!(resolve("name-0:1")?.len(), 64);
        for n in 1..1024 {
            rt::sleep(MS)?;
            resolve((format!("name-{n}").as_str(), 1))?;
        }
        resolve("name-0:1")?;
        assert_eq!(asked.load(Ordering::SeqCst), 1024);
        // One more takes the place of the oldest.
        resolve("another:1")?;
        resolve("name-1:1")?;
        assert_eq!(asked.load(Ordering::SeqCst), 1025);
        resolve("name-0:1")?;
        assert_eq!(asked.load(Ordering::SeqCst), 1026);
        Ok(())
    });
}

#[test]
fn a_name_that_is_looked_up_shows_in_the_list_of_a_deadlock_or_an_end() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let warnings = logs::capture(move || {
        let builder = Runtime::builder().shutdown_grace(Duration::ZERO).resolver(move |_| {
            let _told_or_gone = gone.lock().unwrap().recv();
            Ok(Vec::new())
        });
        run_on(builder, || {
            let hour = Duration::from_secs(3600);
            rt::spawn(move || rt::shield(hour, || resolve("name:1")));
            Ok(rt::yield_now()?)
        });
    });
    drop(go);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("waits for a name to be resolved"), "{warnings:?}");
}

// Connecting by name.

/// A host with `ips`, on a runtime of its own.
fn host(list: &str) -> RuntimeBuilder {
    let found = ips(list);
    Runtime::builder().resolver(move |_| Ok(found.clone()))
}

/// A listener whose backlog is full: the system drops further attempts, which hang.
struct BlackHole {
    listener: StdListener,
    _waiting: Vec<StdStream>,
}

impl BlackHole {
    fn new(ip: &str, port: u16) -> io::Result<Self> {
        let address = SocketAddr::new(ip.parse().unwrap(), port);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.bind(&address.into())?;
        socket.listen(0)?;
        let listener = StdListener::from(socket);
        let mut waiting = Vec::new();
        while let Ok(connection) =
            StdStream::connect_timeout(&listener.local_addr()?, Duration::from_millis(200))
        {
            waiting.push(connection);
        }
        Ok(Self { listener, _waiting: waiting })
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }
}

/// A port that is free on all loopback addresses, and a listener there.
fn listen(ip: &str) -> (StdListener, u16) {
    let listener = StdListener::bind((ip, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn a_host_is_connected_to_by_name() {
    let (_listener, port) = listen("127.0.0.1");
    run_on(host("127.0.0.1"), move || {
        let stream = TcpStream::connect(("name", port))?;
        assert_eq!(stream.peer_addr()?, addresses(&format!("127.0.0.1:{port}"))[0]);
        assert_eq!(TcpStream::connect(format!("name:{port}"))?.peer_addr()?.port(), port);
        Ok(())
    });
}

#[test]
fn an_address_that_refuses_is_followed_by_the_next_at_once() {
    let (_listener, port) = listen("127.0.0.1");
    let begin = Instant::now();
    run_on(host("127.0.0.2 127.0.0.3 ::1 127.0.0.1"), move || {
        let stream = TcpStream::connect(("name", port))?;
        assert_eq!(stream.peer_addr()?, addresses(&format!("127.0.0.1:{port}"))[0]);
        Ok(())
    });
    assert!(support::is_under_valgrind() || begin.elapsed() < 250 * MS, "{:?}", begin.elapsed());
}

#[test]
fn an_address_that_does_not_answer_holds_up_the_next_for_250_ms_only() {
    let hole = BlackHole::new("127.0.0.2", 0).unwrap();
    let port = hole.port();
    let _listener = StdListener::bind(("127.0.0.1", port)).unwrap();
    let begin = Instant::now();
    run_on(host("127.0.0.2 127.0.0.1"), move || {
        let stream = TcpStream::connect(("name", port))?;
        assert_eq!(stream.peer_addr()?, addresses(&format!("127.0.0.1:{port}"))[0]);
        Ok(())
    });
    let elapsed = begin.elapsed();
    assert!(elapsed >= 250 * MS && elapsed < 5_000 * MS, "{elapsed:?}");
    drop(hole);
}

#[test]
fn the_other_family_is_tried_second() {
    let hole = BlackHole::new("127.0.0.2", 0).unwrap();
    let port = hole.port();
    let second_hole = BlackHole::new("127.0.0.3", port).unwrap();
    let _listener = StdListener::bind(("::1", port)).unwrap();
    run_on(host("127.0.0.2 127.0.0.3 ::1"), move || {
        let begin = Instant::now();
        let stream = TcpStream::connect(("name", port))?;
        assert!(stream.peer_addr()?.is_ipv6());
        let elapsed = begin.elapsed();
        assert!(support::is_under_valgrind() || elapsed < 500 * MS, "{elapsed:?}");
        Ok(())
    });
    drop((hole, second_hole));
}

#[test]
fn when_all_addresses_fail_the_error_names_each() {
    let (listener, port) = listen("127.0.0.1");
    drop(listener);
    run_on(host("::1 127.0.0.1"), move || {
        let error = TcpStream::connect(("name", port)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let expected = format!(
            "cannot connect to name:{port}: [::1]:{port}: Connection refused (os error 111); \
             127.0.0.1:{port}: Connection refused (os error 111)"
        );
        assert_eq!(error.to_string(), expected);
        Ok(())
    });
}

#[test]
fn a_deadline_and_a_cancellation_end_a_race() {
    let hole = BlackHole::new("127.0.0.2", 0).unwrap();
    let port = hole.port();
    run_on(host("127.0.0.2 127.0.0.2 127.0.0.2"), move || {
        // One passes while one attempt is under way, the other while several are.
        for limit in [20 * MS, 300 * MS] {
            let late = rt::timeout(limit, || TcpStream::connect(("name", port))).unwrap_err();
            assert!(timed_out(&late).is_some_and(|passed| !passed.is_outer()), "{late}");
        }
        let connecting = rt::spawn(move || TcpStream::connect(("name", port)));
        rt::sleep(10 * MS)?;
        connecting.cancel();
        assert!(is_cancelled(&connecting.join()?.unwrap_err()));
        let outer = rt::timeout(20 * MS, || {
            rt::timeout(100 * MS, || TcpStream::connect(("name", port))).unwrap_err()
        });
        assert!(timed_out(&outer).is_some_and(|passed| passed.is_outer()), "{outer}");
        Ok(())
    });
    drop(hole);
}

#[test]
fn the_attempts_that_lost_are_closed() {
    let hole = BlackHole::new("127.0.0.2", 0).unwrap();
    let port = hole.port();
    let _listener = StdListener::bind(("127.0.0.1", port)).unwrap();
    support::net::run_alone("the_attempts_that_lost_are_closed", move || {
        run_on(host("127.0.0.2 127.0.0.1"), move || {
            // The threads of the pool and the resolver's files are there from now on.
            resolve(("name", port))?;
            let before = support::net::open_descriptors();
            let stream = TcpStream::connect(("name", port))?;
            assert_eq!(support::net::open_descriptors(), before + 1);
            drop(stream);
            Ok(())
        });
    });
    drop(hole);
}
