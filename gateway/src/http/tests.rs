//! Conversations with the server over a stream in memory, on the virtual clock.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use thalweg_runtime as rt;
use thalweg_runtime::sync::{DuplexStream, duplex};

use super::*;

/// What a server did with a conversation.
struct Heard {
    /// All that the client got.
    text: String,
    ended: Ended,
}

impl Heard {
    /// The statuses of the answers, in their order.
    fn statuses(&self) -> Vec<u16> {
        let lines = self.text.split("HTTP/1.1 ").skip(1);
        // The texts for people name the version too.
        lines.filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
    }
}

fn router() -> Router {
    let mut router = Router::new();
    router.get("/hello", |x| x.respond(Response::text(StatusCode::OK, "hello")));
    router.get("/name/{name}", |x| {
        let name = x.parameter("name").unwrap_or_default().to_owned();
        x.respond(Response::text(StatusCode::OK, &name))
    });
    router.on(Method::POST, "/echo", |x| {
        let body = x.body(1000).read_all()?;
        x.respond(Response::bytes("text/plain", body.into()))
    });
    router.on(Method::POST, "/ignore", |x| x.respond(Response::text(StatusCode::OK, "ignored")));
    router.get("/tagged", |x| {
        x.respond(Response::bytes("text/plain", "0123456789".into()).tagged("v1"))
    });
    router.get("/pieces", |x| {
        let mut body = x.respond_chunked(Response::new(StatusCode::OK))?;
        body.write_all(b"one")?;
        body.write_all(b"")?;
        body.write_all(&[b'x'; 20])?;
        body.finish()
    });
    router.get("/broken", |x| {
        let mut body = x.respond_chunked(Response::new(StatusCode::OK))?;
        body.write_all(b"one")?;
        Err(io::ErrorKind::NotFound.into())
    });
    router.get("/endless", |x| {
        let Some(mut raw) = x.take_over(Response::new(StatusCode::OK))? else { return Ok(()) };
        raw.write_all(b"raw bytes")
    });
    router.make_public("/endless");
    router.get("/finished", |x| {
        let Some(mut raw) = x.take_over(Response::new(StatusCode::OK))? else { return Ok(()) };
        raw.write_all(&[b'y'; 260])?;
        raw.finish()
    });
    router.get("/silent", |_| Ok(()));
    router.get("/fails", |_| Err(io::ErrorKind::NotFound.into()));
    router.get("/large", |x| {
        x.respond(Response::bytes("application/octet-stream", vec![b'x'; 1 << 20].into()))
    });
    router
}

fn peer() -> Peer {
    let address = "192.0.2.1:1234".parse().unwrap();
    Peer { address, local: "192.0.2.2:80".parse().unwrap(), is_secure: false }
}

/// Runs `f` on a virtual clock.
fn simulate<T: 'static>(f: impl FnOnce() -> T + 'static) -> T {
    let builder = rt::Runtime::builder().clock(rt::ClockKind::Virtual).timer_slack(Duration::ZERO);
    builder.build().unwrap().block_on(f).unwrap()
}

/// Has a client talk to the server in its own coroutine.
fn converse(client: impl FnOnce(&mut DuplexStream) -> io::Result<()> + 'static) -> Heard {
    converse_with(Server::new(router(), Settings::default()), 1 << 16, client)
}

fn converse_with(
    server: Server,
    capacity: usize,
    client: impl FnOnce(&mut DuplexStream) -> io::Result<()> + 'static,
) -> Heard {
    simulate(move || {
        let (mut near, mut far) = duplex(capacity);
        let text = Rc::new(RefCell::new(Vec::new()));
        let heard = Rc::clone(&text);
        let client = rt::spawn(move || {
            client(&mut near)?;
            near.shutdown_write();
            let mut bytes = Vec::new();
            near.read_to_end(&mut bytes)?;
            heard.borrow_mut().extend(bytes);
            io::Result::Ok(())
        });
        let ended = server.serve(&mut far, &peer());
        drop(far);
        client.join().unwrap().unwrap();
        let bytes = text.take();
        Heard { text: String::from_utf8_lossy(&bytes).into_owned(), ended }
    })
}

/// Sends a text, and reads all that comes.
fn say(request: &str) -> Heard {
    let request = request.to_owned();
    converse(move |near| near.write_all(request.as_bytes()))
}

/// A request with a `Host` and what else is given.
fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n")
}

fn post(target: &str, headers: &str, body: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n{body}")
}

#[test]
fn a_request_gets_its_answer() {
    let heard = say(&get("/hello", ""));
    let (head, body) = heard.text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-length: 6"), "{head}");
    assert!(head.contains("\r\ndate: "), "{head}");
    assert!(!head.contains("connection"), "{head}");
    assert_eq!(body, "hello\n");
    assert!(matches!(heard.ended.cause, Cause::Closed), "{:?}", heard.ended);
    assert_eq!((heard.ended.requests, heard.ended.sent), (1, heard.text.len() as u64));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let requests =
        [get("/name/a", ""), post("/echo", "Content-Length: 3\r\n", "b/b"), get("/name/c", "")];
    let heard = say(&requests.concat());
    let places: Vec<usize> =
        ["a\n", "b/b", "c\n"].iter().map(|t| heard.text.find(t).unwrap()).collect();
    assert!(places.is_sorted(), "{}", heard.text);
    assert_eq!(heard.statuses(), [200, 200, 200]);
}

#[test]
fn a_head_that_comes_byte_by_byte_is_a_head() {
    let heard = converse(|near| {
        for byte in ["\r\n\r\n", &get("/hello", "A: b\r\n")].concat().bytes() {
            near.write_all(&[byte])?;
            rt::yield_now()?;
        }
        Ok(())
    });
    assert_eq!(heard.statuses(), [200]);
}

#[test]
fn parameters_of_the_path_are_decoded() {
    assert!(say(&get("/name/k%C3%A4se", "")).text.ends_with("\r\n\r\nkäse\n"));
}

#[test]
fn head_is_get_without_the_body() {
    for (target, has_length) in [("/hello", true), ("/pieces", false), ("/endless", false)] {
        let heard = say(&format!("HEAD {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(heard.statuses(), [200], "{target}");
        assert!(heard.text.ends_with("\r\n\r\n"), "{}", heard.text);
        assert_eq!(heard.text.contains("content-length"), has_length, "{}", heard.text);
    }
}

#[test]
fn what_there_is_not_is_said() {
    assert_eq!(say(&get("/nowhere", "")).statuses(), [404]);
    let heard = say(&post("/hello", "", ""));
    assert_eq!(heard.statuses(), [405]);
    assert!(heard.text.contains("allow: OPTIONS, GET, HEAD"), "{}", heard.text);
    assert_eq!(say("BREW /hello HTTP/1.1\r\nHost: h\r\n\r\n").statuses(), [405]);
    assert_eq!(say("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").statuses(), [204]);
    assert_eq!(say("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n").statuses(), [501]);
}

#[test]
fn pages_of_other_origins_may_use_public_paths_only() {
    let preflight =
        |path| say(&format!("OPTIONS {path} HTTP/1.1\r\nHost: h\r\nOrigin: http://o\r\n\r\n"));
    let public = preflight("/endless");
    assert_eq!(public.statuses(), [204]);
    for header in
        ["access-control-allow-origin: *", "access-control-allow-methods: OPTIONS, GET, HEAD"]
    {
        assert!(public.text.contains(header), "{}", public.text);
    }
    assert!(say(&get("/endless", "")).text.contains("access-control-allow-origin: *"));
    assert!(!preflight("/hello").text.contains("access-control"));
    assert!(!say(&get("/hello", "Origin: http://o\r\n")).text.contains("access-control"));
}

#[test]
fn a_connection_lives_as_long_as_both_want() {
    let after = get("/hello", "");
    for (first, answers) in [
        (get("/hello", ""), 2),
        (get("/hello", "Connection: keep-alive, x\r\n"), 2),
        (get("/hello", "Connection: x, Close\r\n"), 1),
        ("GET /hello HTTP/1.0\r\n\r\n".into(), 1),
        ("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".into(), 2),
        (get("/endless", ""), 1),
        (get("/broken", ""), 1),
        (get("/fails", ""), 1),
        (get("/silent", ""), 1),
    ] {
        let heard = say(&[first.clone(), after.clone()].concat());
        assert_eq!(heard.statuses().len(), answers, "{first}\n{}", heard.text);
        // Half an answer was to be followed by its other half.
        let says_so = answers == 1 && !first.contains("/broken");
        assert_eq!(heard.text.contains("connection: close"), says_so, "{first}");
    }
    let settings = Settings { requests_max: 2, ..Settings::default() };
    let heard = converse_with(Server::new(router(), settings), 1 << 16, move |near| {
        near.write_all(after.repeat(5).as_bytes())
    });
    assert_eq!((heard.statuses().len(), heard.ended.requests), (2, 2));
    assert_eq!(heard.text.matches("connection: close").count(), 1);
}

#[test]
fn handlers_that_fail_end_the_connection_with_a_word() {
    let heard = say(&get("/silent", ""));
    assert_eq!(heard.statuses(), [500]);
    let heard = say(&get("/fails", ""));
    assert_eq!(heard.statuses(), [500]);
    assert!(matches!(heard.ended.cause, Cause::Failed(_)), "{:?}", heard.ended);
    // The body lacks its end, so that nobody takes it for whole.
    let heard = say(&get("/broken", ""));
    assert!(heard.text.ends_with("3\r\none\r\n"), "{}", heard.text);
}

#[test]
fn a_body_in_pieces_is_chunked_or_ends_with_the_connection() {
    let heard = say(&get("/pieces", ""));
    let chunks = format!("\r\n\r\n3\r\none\r\n14\r\n{}\r\n0\r\n\r\n", "x".repeat(20));
    assert!(heard.text.ends_with(&chunks), "{}", heard.text);
    assert!(heard.text.contains("transfer-encoding: chunked"));
    let heard = say("GET /pieces HTTP/1.0\r\n\r\n");
    assert!(heard.text.ends_with(&format!("\r\n\r\none{}", "x".repeat(20))), "{}", heard.text);
    assert!(!heard.text.contains("transfer-encoding"));
}

#[test]
fn an_answer_without_end_is_the_rest_of_the_connection() {
    let heard = say("GET /endless HTTP/1.0\r\n\r\n");
    assert!(heard.text.ends_with("\r\n\r\nraw bytes"), "{}", heard.text);
    assert!(!heard.text.contains("content-length") && !heard.text.contains("transfer-encoding"));
    assert!(matches!(heard.ended.cause, Cause::TakenOver));
}

#[test]
fn an_answer_without_end_breaks_off_without_the_last_chunk_unless_it_is_finished() {
    let heard = say(&get("/endless", ""));
    assert!(heard.text.ends_with("\r\n\r\n9\r\nraw bytes\r\n"), "{}", heard.text);
    let heard = say(&get("/finished", ""));
    let tail = format!("\r\n\r\n104\r\n{}\r\n0\r\n\r\n", "y".repeat(260));
    assert!(heard.text.ends_with(&tail), "{}", heard.text);
    assert!(heard.text.contains("connection: close"));
    assert!(matches!(heard.ended.cause, Cause::TakenOver));
}

#[test]
fn entity_tags_and_ranges_save_bytes() {
    let of = |headers: &str| say(&get("/tagged", headers)).text;
    assert!(of("").contains("etag: \"v1\""));
    let unchanged = of("If-None-Match: \"v1\"\r\n");
    assert!(
        unchanged.starts_with("HTTP/1.1 304") && !unchanged.contains("content-length"),
        "{unchanged}"
    );
    assert!(of("If-None-Match: \"v2\"\r\n").starts_with("HTTP/1.1 200"));
    let part = of("Range: bytes=2-4\r\n");
    assert!(part.starts_with("HTTP/1.1 206") && part.ends_with("\r\n\r\n234"), "{part}");
    assert!(
        part.contains("content-range: bytes 2-4/10") && part.contains("content-length: 3"),
        "{part}"
    );
    assert!(of("Range: bytes=2-4\r\nIf-Range: \"v2\"\r\n").starts_with("HTTP/1.1 200"));
    assert!(of("Range: bytes=2-4\r\nIf-Range: \"v1\"\r\n").starts_with("HTTP/1.1 206"));
    let beyond = of("Range: bytes=10-\r\n");
    assert!(
        beyond.starts_with("HTTP/1.1 416") && beyond.contains("content-range: bytes */10"),
        "{beyond}"
    );
}

#[test]
fn a_body_is_read_to_its_end_and_no_further() {
    let after = get("/hello", "");
    for (headers, body, echoed) in [
        ("Content-Length: 5\r\n", "12345", "12345"),
        ("Content-Length: 0\r\n", "", ""),
        ("", "", ""),
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n", ""),
        (
            "Transfer-Encoding: Chunked\r\n",
            "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n",
            "abcde",
        ),
        ("Transfer-Encoding: chunked\r\n", "00A\r\n0123456789\r\n0;last\r\n\r\n", "0123456789"),
    ] {
        let heard = say(&[post("/echo", headers, body), after.clone()].concat());
        assert_eq!(heard.statuses(), [200, 200], "{headers}{body}");
        assert!(
            heard.text.contains(&format!("\r\n\r\n{echoed}HTTP/1.1")),
            "{body}\n{}",
            heard.text
        );
    }
}

#[test]
fn a_body_that_nobody_reads_is_skipped_or_ends_the_connection() {
    let after = get("/hello", "");
    let small = post("/ignore", "Content-Length: 500\r\n", &"x".repeat(500));
    assert_eq!(say(&[small, after.clone()].concat()).statuses(), [200, 200]);
    let chunked = post("/ignore", "Transfer-Encoding: chunked\r\n", "3\r\nGET\r\n0\r\n\r\n");
    assert_eq!(say(&[chunked, after.clone()].concat()).statuses(), [200, 200]);
    let large = post("/ignore", "Content-Length: 100000\r\n", "x");
    assert_eq!(say(&[large, after.clone()].concat()).statuses(), [200]);
    // Whether the client will send it, nobody knows: what comes next may be either.
    let waiting = post("/ignore", "Expect: 100-continue\r\nContent-Length: 5\r\n", "");
    assert_eq!(say(&[waiting, after].concat()).statuses(), [200]);
}

#[test]
fn bodies_that_are_refused_say_why() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (headers, body, status) in [
        ("Content-Length: 1001\r\n", "x", 413),
        ("Content-Length: 18446744073709551615\r\n", "x", 413),
        (chunked, "3e9\r\n", 400),
        (chunked, "\r\n", 400),
        (chunked, "x\r\n", 400),
        (chunked, "-1\r\n", 400),
        (chunked, "+1\r\n", 400),
        (chunked, "0x1\r\n", 400),
        (chunked, "1 1\r\n", 400),
        (chunked, "3\nabc\r\n0\r\n\r\n", 400),
        (chunked, "3\r\nabcd\r\n0\r\n\r\n", 400),
        (chunked, "3\r\nabc\n0\r\n\r\n", 400),
        (chunked, "1;\rx\r\na\r\n0\r\n\r\n", 400),
        (chunked, "ffffffffffffffffffff\r\n", 400),
        (chunked, "3\r\nab", 400),
        ("Content-Length: 3\r\n", "ab", 400),
    ] {
        let heard = say(&post("/echo", headers, body));
        assert_eq!(heard.statuses(), [status], "{headers}{body:?}\n{}", heard.text);
        assert!(
            matches!(heard.ended.cause, Cause::Body(_)),
            "{headers}{body:?}: {:?}",
            heard.ended
        );
    }
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(300));
    assert_eq!(say(&post("/echo", chunked, &long)).statuses(), [400]);
    let trailers = format!("0\r\n{}\r\n", "Trailer: x\r\n".repeat(500));
    assert_eq!(say(&post("/echo", chunked, &trailers)).statuses(), [400]);
    // Small chunks, but too many of them.
    let many = "64\r\n".to_owned() + &"x".repeat(100) + "\r\n";
    assert_eq!(say(&post("/echo", chunked, &many.repeat(11))).statuses(), [413]);
}

#[test]
fn a_client_that_waits_is_told_to_go_on() {
    let heard = converse(|near| {
        near.write_all(
            post("/echo", "Expect: 100-Continue\r\nContent-Length: 3\r\n", "").as_bytes(),
        )?;
        let mut interim = [0; 25];
        near.read_exact(&mut interim)?;
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        near.write_all(b"abc")
    });
    assert!(heard.text.ends_with("\r\n\r\nabc"), "{}", heard.text);
    // Not to send what is refused anyway.
    let heard = say(&post("/echo", "Expect: 100-continue\r\nContent-Length: 5000\r\n", ""));
    assert_eq!(heard.statuses(), [413]);
    assert_eq!(say(&get("/hello", "Expect: tea\r\n")).statuses(), [417]);
}

/// Forms that two servers may read differently, and what breaks the grammar.
#[test]
fn ambiguous_and_malformed_heads_are_refused() {
    let smuggled = get("/name/smuggled", "");
    for (head, status) in [
        // RFC 9112 §11.2: who decides where the body ends?
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 5, 5\r\n", 400),
        ("Content-Length: +5\r\n", 400),
        ("Content-Length: -5\r\n", 400),
        ("Content-Length: 0x5\r\n", 400),
        ("Content-Length: 5 5\r\n", 400),
        ("Content-Length: 99999999999999999999\r\n", 400),
        ("Content-Length:\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: identity\r\n", 400),
        ("Transfer-Encoding: xchunked\r\n", 400),
        ("Transfer-Encoding: chunked, identity\r\n", 400),
        ("Transfer-Encoding: \"chunked\"\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding : chunked\r\n", 400),
        (" Transfer-Encoding: chunked\r\n", 400),
        ("X: y\r\n Transfer-Encoding: chunked\r\n", 400),
        ("X: y\r\n\tContent-Length: 5\r\n", 400),
        ("X: y\nContent-Length: 5\r\n", 400),
        ("X: y\rContent-Length: 5\r\n", 400),
        ("X: y\0\r\n", 400),
        ("X y\r\n", 400),
        (": y\r\n", 400),
        ("X\x7f: y\r\n", 400),
        ("Host: other\r\n", 400),
    ] {
        let heard = say(&["POST /echo HTTP/1.1\r\nHost: h\r\n", head, "\r\n", &smuggled].concat());
        assert_eq!(heard.statuses(), [status], "{head:?}\n{}", heard.text);
        assert!(!heard.text.contains("smuggled"), "{head:?}\n{}", heard.text);
        assert!(matches!(heard.ended.cause, Cause::Bad(_)), "{head:?}: {:?}", heard.ended);
    }
}

#[test]
fn what_is_no_request_is_refused() {
    for (request, status) in [
        ("GET /hello HTTP/1.1\r\n\r\n", 400),
        ("GET /hello HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET /hello HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET /hello HTTP/1.1\r\nHost: u@h\r\n\r\n", 400),
        ("GET /hello HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("GET /hello HTTP/1.2\r\nHost: h\r\n\r\n", 505),
        ("GET /hello HTTP/0.9\r\nHost: h\r\n\r\n", 505),
        ("GET /hello\r\n\r\n", 400),
        ("GET  /hello HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /hello  HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (" GET /hello HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /hello HTTP/1.1 \r\nHost: h\r\n\r\n", 400),
        ("GET\t/hello HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("G\u{e9}T /hello HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET hello HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /../hello HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /%2e%2e/hello HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /hello HTTP/1.1\nHost: h\n\n", 400),
        ("\n", 400),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\r\n\r\n", 400),
        ("\r\n\r\n\r\n\r\nx\r\n\r\n", 400),
        ("POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ] {
        let heard = say(request);
        assert_eq!(heard.statuses(), [status], "{request:?}\n{}", heard.text);
        assert!(heard.text.contains("connection: close"), "{}", heard.text);
    }
    assert_eq!(say("GET http://example.com/hello HTTP/1.1\r\nHost: h\r\n\r\n").statuses(), [200]);
}

#[test]
fn heads_have_a_bound() {
    let filler = |len: usize| get("/hello", &format!("X: {}\r\n", "x".repeat(len)));
    let rest = filler(0).len();
    assert_eq!(say(&filler(16384 - rest)).statuses(), [200]);
    assert_eq!(say(&filler(16385 - rest)).statuses(), [431]);
    assert_eq!(say(&"x".repeat(100_000)).statuses(), [431]);
    assert_eq!(say(&get(&"/x".repeat(20_000), "")).statuses(), [431]);
    assert_eq!(say(&get("/hello", &"A: b\r\n".repeat(63))).statuses(), [200]);
    assert_eq!(say(&get("/hello", &"A: b\r\n".repeat(64))).statuses(), [431]);
    // Empty lines without end count too.
    assert_eq!(say(&"\r\n".repeat(20_000)).statuses(), [431]);
}

#[test]
fn every_truncation_of_a_request_ends_without_an_answer() {
    let whole = post("/echo", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n");
    let head = whole.find("\r\n\r\n").unwrap() + 4;
    for len in 0..whole.len() {
        let heard = say(&whole[..len]);
        let expected: &[u16] = if len < head { &[] } else { &[400] };
        assert_eq!(heard.statuses(), expected, "{len} bytes: {:?}", heard.ended);
    }
}

#[test]
fn any_changed_byte_is_survived() {
    let whole =
        post("/echo?a=%20", "Transfer-Encoding: chunked\r\nX: y\r\n", "3\r\nabc\r\n0\r\n\r\n");
    for at in 0..whole.len() {
        for change in [0x01_u8, 0x20, 0x80, 0xff] {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= change;
            let heard = converse(move |near| near.write_all(&bytes));
            assert!(heard.statuses().len() <= 2, "byte {at} ^ {change}: {}", heard.text);
        }
    }
}

/// How long a conversation took, in simulated seconds.
fn time_of(client: impl FnOnce(&mut DuplexStream) -> io::Result<()> + 'static) -> (Heard, u64) {
    simulate(move || {
        let (mut near, mut far) = duplex(4096);
        let start = rt::now();
        let client = rt::spawn(move || {
            // The server's end is what ends it.
            let _cut_off = client(&mut near);
            let mut bytes = Vec::new();
            let _cut_off = near.read_to_end(&mut bytes);
            bytes
        });
        let ended = Server::new(router(), Settings::default()).serve(&mut far, &peer());
        let seconds = (rt::now() - start).as_secs();
        drop(far);
        let text = String::from_utf8(client.join().unwrap()).unwrap();
        (Heard { text, ended }, seconds)
    })
}

/// Sends one byte a second, for ever.
fn drip(near: &mut DuplexStream, text: &str) -> io::Result<()> {
    for byte in text.bytes().chain(std::iter::repeat(b'x')) {
        near.write_all(&[byte])?;
        rt::sleep(Duration::from_secs(1))?;
    }
    Ok(())
}

#[test]
fn a_head_that_drips_in_is_cut_off() {
    let (heard, seconds) = time_of(|near| drip(near, "GET /hello HTTP/1.1\r\nX: "));
    assert!(matches!(heard.ended.cause, Cause::HeadTimedOut), "{:?}", heard.ended);
    assert_eq!((heard.statuses(), seconds), (vec![408], 10 + 2));
}

#[test]
fn a_client_that_says_nothing_is_cut_off_without_a_word() {
    let (heard, seconds) = time_of(|_| Ok(()));
    assert!(matches!(heard.ended.cause, Cause::HeadTimedOut), "{:?}", heard.ended);
    assert_eq!((&*heard.text, seconds), ("", 10));
}

#[test]
fn a_body_that_drips_in_is_cut_off() {
    let (heard, seconds) = time_of(|near| {
        near.write_all(post("/echo", "Content-Length: 900\r\n", "").as_bytes())?;
        drip(near, "")
    });
    assert!(matches!(heard.ended.cause, Cause::Body(BodyError::TimedOut)), "{:?}", heard.ended);
    assert_eq!((heard.statuses(), seconds), (vec![408], 30 + 2));
}

#[test]
fn a_body_that_drips_in_unread_is_cut_off() {
    let (heard, seconds) = time_of(|near| {
        near.write_all(post("/ignore", "Content-Length: 900\r\n", "").as_bytes())?;
        drip(near, "")
    });
    assert!(matches!(heard.ended.cause, Cause::Last), "{:?}", heard.ended);
    assert_eq!((heard.statuses(), seconds), (vec![200], 30 + 2));
}

#[test]
fn a_connection_without_further_requests_is_closed() {
    let (heard, seconds) = time_of(|near| near.write_all(get("/hello", "").as_bytes()));
    assert!(matches!(heard.ended.cause, Cause::Idle), "{:?}", heard.ended);
    assert_eq!((heard.statuses(), seconds), (vec![200], 60));
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    // 1 MiB in 17 steps of 30 s is the longest that the answer may take.
    let (heard, seconds) = time_of(|near| {
        near.write_all(get("/large", "").as_bytes())?;
        rt::sleep(Duration::from_secs(3600))?;
        Ok(())
    });
    assert!(matches!(heard.ended.cause, Cause::Failed(_)), "{:?}", heard.ended);
    assert_eq!(seconds, 17 * 30 + 2);
}

#[test]
fn cancellation_ends_a_connection_at_once() {
    let seconds = simulate(|| {
        let (near, mut far) = duplex(4096);
        let serving =
            rt::spawn(move || Server::new(router(), Settings::default()).serve(&mut far, &peer()));
        rt::sleep(Duration::from_secs(1)).unwrap();
        serving.cancel();
        let start = rt::now();
        let ended = serving.join().unwrap();
        assert!(
            matches!(&ended.cause, Cause::Failed(error) if rt::is_cancelled(error)),
            "{ended:?}"
        );
        drop(near);
        (rt::now() - start).as_secs()
    });
    assert_eq!(seconds, 0);
}

#[test]
fn a_server_that_drains_answers_once_more() {
    let server = Server::new(router(), Settings::default());
    server.drain();
    let requests = get("/hello", "").repeat(3);
    let heard = converse_with(server, 1 << 16, move |near| near.write_all(requests.as_bytes()));
    assert_eq!(heard.statuses(), [200]);
    assert!(heard.text.contains("connection: close"));
}
