//! The client against servers of the test's own, well-behaved and not.

use std::{
    cell::{Cell, RefCell},
    io::{Read, Write},
    rc::Rc,
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use thalweg_runtime::net::{TcpListener, TcpStream};

use super::*;

/// A server on loopback that runs `serve` for each connection, and how many there were.
fn serve(serve: impl Fn(TcpStream) + 'static) -> (String, Rc<Cell<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let connections = Rc::new(Cell::new(0));
    let (counted, serve) = (Rc::clone(&connections), Rc::new(serve));
    rt::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            counted.set(counted.get() + 1);
            let serve = Rc::clone(&serve);
            rt::spawn(move || serve(stream));
        }
    });
    (at, connections)
}

/// Reads one request; `None` at the end of the connection.
fn request(stream: &mut impl Read) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    loop {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
        let Some(head) = text.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let shown = String::from_utf8_lossy(&text).to_lowercase();
        let length = shown.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        if text.len() == head + 4 + length {
            return Some(String::from_utf8(text).unwrap());
        }
    }
}

fn answer(stream: &mut impl Write, body: &str) {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    stream.flush().unwrap();
}

fn run(test: impl FnOnce() + 'static) {
    rt::run(|| rt::timeout(Duration::from_secs(20), test));
}

fn post(client: &Client, url: &str, body: &str) -> Result<Reply, CallError> {
    client.post(&Url::parse(url).unwrap(), &[("content-type", "text/plain")], body.as_bytes(), 100)
}

#[test]
fn a_call_brings_its_answer_and_its_connection_serves_the_next() {
    run(|| {
        let (at, connections) = serve(|mut stream| {
            while let Some(request) = request(&mut stream) {
                assert!(request.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{request}");
                let lower = request.to_lowercase();
                assert!(lower.contains("\r\ncontent-type: text/plain\r\n"), "{request}");
                assert!(lower.contains("\r\nauthorization: basic bwu6cw==\r\n"), "{request}");
                answer(&mut stream, request.rsplit("\r\n").next().unwrap());
            }
        });
        let client = Client::new(Roots::default());
        let url = format!("http://me:s@{at}/hook?x=1");
        for body in ["one", "two", "three"] {
            let reply = post(&client, &url, body).unwrap();
            assert_eq!((reply.status, &*reply.body), (200, body.as_bytes()));
        }
        assert_eq!(connections.get(), 1);
    });
}

#[test]
fn a_connection_that_the_server_closed_meanwhile_is_replaced() {
    run(|| {
        // Each connection serves one call and is closed without a word, the second time only when the next call is there.
        let served = Rc::new(Cell::new(0));
        let (at, connections) = serve(move |mut stream| {
            request(&mut stream).unwrap();
            answer(&mut stream, "0");
            served.set(served.get() + 1);
            if served.get() > 1 {
                stream.net_fd().readable().unwrap();
            }
        });
        let client = Client::new(Roots::default());
        for _ in 0..3 {
            assert_eq!(post(&client, &format!("http://{at}/"), "").unwrap().body, b"0");
            rt::yield_now().unwrap();
        }
        assert_eq!(connections.get(), 3);
    });
}

#[test]
fn a_server_that_misbehaves_gives_an_error_and_not_more() {
    run(|| {
        let (at, _) = serve(|mut stream| {
            let Some(request) = request(&mut stream) else { return };
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let mut say = |text: &str| stream.write_all(text.as_bytes()).is_ok();
            match &*path {
                "/close" => {}
                "/junk" => _ = say("\x16\x03\x01 what is this\r\n\r\n"),
                "/half" => _ = say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n0"),
                "/long" => _ = say("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"),
                "/endless" => {
                    say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                    while say("5\r\n00000\r\n") {}
                }
                "/head" => {
                    say("HTTP/1.1 200 OK\r\n");
                    while say("X-Header: 0123456789012345678901234567890123456789\r\n") {}
                }
                "/trickle" => {
                    say("HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n");
                    while say("0") {
                        rt::sleep(Duration::from_millis(20)).unwrap();
                    }
                }
                "/hang" => drop(stream.read(&mut [0; 10])),
                "/redirect" => {
                    _ = say("HTTP/1.1 302 Found\r\nLocation: /close\r\nContent-Length: 0\r\n\r\n");
                }
                other => panic!("{other}"),
            }
        });
        let client = Client::new(Roots::default());
        let call = |path: &str| {
            rt::timeout(Duration::from_millis(300), || {
                post(&client, &format!("http://{at}{path}"), "x")
            })
        };
        assert!(matches!(call("/close"), Err(CallError::Io(_) | CallError::Protocol(_))));
        assert!(matches!(call("/junk"), Err(CallError::Protocol(_))), "{:?}", call("/junk"));
        assert!(matches!(call("/half"), Err(CallError::Io(_))), "{:?}", call("/half"));
        assert!(matches!(call("/long"), Err(CallError::TooLong(100))));
        assert!(matches!(call("/endless"), Err(CallError::TooLong(100))));
        assert!(matches!(call("/head"), Err(CallError::TooLong(_) | CallError::Protocol(_))));
        assert!(matches!(call("/trickle"), Err(CallError::TimedOut)));
        assert!(matches!(call("/hang"), Err(CallError::TimedOut)));
        assert_eq!(call("/redirect").unwrap().status, 302);
    });
}

#[test]
fn nobody_listening_is_an_error_that_names_the_address() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap().to_string();
        drop(listener);
        let client = Client::new(Roots::default());
        let Err(CallError::Io(error)) = post(&client, &format!("http://{at}/"), "") else {
            panic!()
        };
        assert!(error.to_string().contains(&at), "{error}");
    });
}

#[test]
fn a_cancelled_call_ends_at_once() {
    run(|| {
        let (at, _) = serve(|mut stream| {
            drop(stream.read(&mut [0; 4096]).and_then(|_| stream.read(&mut [0])));
        });
        let client = Client::new(Roots::default());
        let caller = rt::spawn(move || post(&client, &format!("http://{at}/"), ""));
        rt::yield_now().unwrap();
        caller.cancel();
        assert!(matches!(caller.join(), Ok(Err(CallError::Cancelled))));
    });
}

/// A server of https whose certificate names `name`, and that certificate as PEM.
fn serve_tls(name: &str) -> (String, String, Rc<RefCell<Vec<String>>>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let requests = Rc::clone(&seen);
    let (at, _) = serve(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        while let Some(request) = request(&mut stream) {
            requests.borrow_mut().push(request);
            answer(&mut stream, "0");
        }
    });
    (at, made.cert.pem(), seen)
}

fn roots(pem: &str) -> Roots {
    let path =
        std::env::temp_dir().join(format!("thalweg-roots-{}-{}", std::process::id(), pem.len()));
    thalweg_runtime::fs::write(&path, pem).unwrap();
    let roots = Roots::read(&path).unwrap();
    thalweg_runtime::fs::remove_file(&path).unwrap();
    roots
}

#[test]
fn https_works_with_a_certificate_that_is_trusted_and_with_no_other() {
    run(|| {
        let (at, pem, seen) = serve_tls("localhost");
        let port = at.rsplit(':').next().unwrap();
        let trusting = Client::new(roots(&pem));
        for _ in 0..2 {
            let reply = post(&trusting, &format!("https://localhost:{port}/x"), "body").unwrap();
            assert_eq!(reply.body, b"0");
        }
        assert_eq!(seen.borrow().len(), 2);
        assert!(seen.borrow()[0].ends_with("\r\n\r\nbody"));

        let (_, other, _) = serve_tls("localhost");
        let strange = post(&Client::new(roots(&other)), &format!("https://localhost:{port}/"), "");
        assert!(matches!(strange, Err(CallError::Tls(_))), "{strange:?}");
        let by_address = post(&trusting, &format!("https://127.0.0.1:{port}/"), "");
        assert!(matches!(by_address, Err(CallError::Tls(_))), "{by_address:?}");
        assert_eq!(seen.borrow().len(), 2);
    });
}

#[test]
fn a_call_over_tls_leaves_room_on_the_stack() {
    run(|| {
        let (at, pem, _) = serve_tls("localhost");
        let port = at.rsplit(':').next().unwrap().to_owned();
        let client = Client::new(roots(&pem));
        let caller = rt::spawn(move || {
            post(&client, &format!("https://localhost:{port}/"), "").unwrap();
            rt::stack_high_water().unwrap()
        });
        let used = caller.join().unwrap();
        // Of the 192 KiB that a coroutine has; its session needs the rest.
        assert!(used < 150 << 10, "{used} bytes of stack");
    });
}

#[test]
fn a_file_without_certificates_is_no_file_of_roots() {
    run(|| {
        let empty = std::env::temp_dir().join(format!("thalweg-no-roots-{}", std::process::id()));
        thalweg_runtime::fs::write(&empty, "nothing").unwrap();
        assert!(matches!(Roots::read(&empty), Err(RootsError::NoCertificate(_))));
        thalweg_runtime::fs::remove_file(&empty).unwrap();
        assert!(matches!(Roots::read(&empty), Err(RootsError::Read(..))));
    });
}
