//! The HTTP server on real sockets, with curl as the client, and attacked while it serves.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the clients are plain threads and processes; the server has a thread of its own"
)]

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use thalweg_gateway::http::{
    Exchange, Method, Peer, Response, Router, Server, Settings, StatusCode,
};
use thalweg_runtime as rt;
use thalweg_runtime::net::TcpListener;

/// Runs a server on a thread of its own, which ends with the process.
fn start() -> SocketAddr {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let outcome: io::Result<()> = rt::run(move || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let local = listener.local_addr()?;
            tell.send(local).map_err(io::Error::other)?;
            let settings = Settings { head_timeout: Duration::from_secs(2), ..Settings::default() };
            let server = Rc::new(Server::new(router(), settings));
            loop {
                let (mut stream, address) = listener.accept()?;
                let server = Rc::clone(&server);
                rt::spawn(move || {
                    server.serve(&mut stream, &Peer { address, local, is_secure: false })
                });
            }
        });
        outcome.expect("the server runs for ever");
    });
    told.recv().expect("the server starts")
}

fn router() -> Router {
    let mut router = Router::new();
    router.get("/hello", |x| x.respond(Response::text(StatusCode::OK, "hello")));
    router.get("/page", |x| {
        x.respond(Response::bytes("text/html", vec![b'p'; 200_000].into()).tagged("v1"))
    });
    router.on(Method::POST, "/echo", |x| {
        let body = x.body(1 << 20).read_all()?;
        x.respond(Response::bytes("application/octet-stream", body.into()))
    });
    router.get("/live/{*name}", live);
    router
}

/// Writes numbered lines in vectored writes, as a live stream leaves.
fn live(x: &mut Exchange<'_, '_>) -> io::Result<()> {
    let Some(mut out) = x.take_over(Response::bytes("text/plain", "".into()))? else {
        return Ok(());
    };
    for number in 0..1000 {
        let number = format!("{number}");
        let parts = [IoSlice::new(b"line "), IoSlice::new(number.as_bytes()), IoSlice::new(b"\n")];
        let wanted: usize = parts.iter().map(|part| part.len()).sum();
        assert_eq!(out.write_vectored(&parts)?, wanted, "loopback takes a line");
        rt::yield_now()?;
    }
    out.finish()
}

/// What curl prints.
fn curl(arguments: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20"]).args(arguments);
    let output = curl.output().expect("curl is installed: see scripts/setup.sh");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("the answers here are text")
}

/// Sends bytes over a plain socket, and reads all that comes back.
fn exchange(server: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
    // A server that refuses may close before all is sent.
    let _refused = stream.write_all(request);
    let _refused = stream.shutdown(Shutdown::Write);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, then the end");
    answer
}

#[test]
fn curl_gets_answers_over_one_connection() {
    let server = start();
    let url = format!("http://{server}/hello");
    let connects = ["--write-out", "%{num_connects} "];
    let answer = curl(&[&connects[..], &[&*url, &url, &url]].concat());
    assert_eq!(answer, "hello\n1 hello\n0 hello\n0 ");
    assert_eq!(curl(&["--http1.0", &url]), "hello\n");
    let head = curl(&["--head", &url]);
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("content-length: 6\r\n"),
        "{head}"
    );
}

#[test]
fn curl_posts_bodies_of_every_framing() {
    let server = start();
    let url = format!("http://{server}/echo");
    // Over 1 MiB curl waits for `100 Continue` by itself.
    let body = "b".repeat(500_000);
    let path = std::env::temp_dir().join(format!("thalweg-http-body-{}", std::process::id()));
    std::fs::write(&path, &body).expect("a file can be written");
    let data = format!("@{}", path.display());
    for headers in
        [&[][..], &["-H", "Transfer-Encoding: chunked"], &["-H", "Expect: 100-continue"], &["-0"]]
    {
        let answer = curl(&[headers, &["--data-binary", &data, &url]].concat());
        assert!(answer == body, "{headers:?}: {} bytes came back", answer.len());
    }
    std::fs::write(&path, vec![b'b'; 2 << 20]).expect("a file can be written");
    let status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    assert_eq!(curl(&[&status[..], &["--data-binary", &data, &url]].concat()), "413");
    std::fs::remove_file(&path).expect("it was written");
}

#[test]
fn curl_asks_for_parts_and_for_what_changed() {
    let server = start();
    let url = format!("http://{server}/page");
    assert_eq!(curl(&["--range", "199990-", &url]), "p".repeat(10));
    let status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    assert_eq!(curl(&[&status[..], &["-H", "If-None-Match: \"v1\"", &url]].concat()), "304");
    assert_eq!(curl(&[&status[..], &["-H", "Range: bytes=200000-", &url]].concat()), "416");
}

#[test]
fn a_live_answer_ends_with_its_connection() {
    let server = start();
    let answer = curl(&[&format!("http://{server}/live/eu/cam")]);
    let expected: String = (0..1000).map(|number| format!("line {number}\n")).collect();
    assert!(answer == expected, "{} bytes came", answer.len());
}

#[test]
fn a_refusal_is_read_even_when_more_was_sent() {
    // Without lingering, the unread megabytes reset the connection and take the answer along.
    let server = start();
    let mut request =
        b"POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"
            .to_vec();
    request.extend(vec![b'x'; 40_000]);
    let answer = exchange(server, &request);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn others_are_served_while_a_thousand_say_nothing() {
    // Both ends of each connection are in this process.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a process may ask");
    assert!(hard >= 3000, "the test needs 3000 descriptors, and the system allows {hard}");
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(3000), hard).expect("up to the hard limit it may");
    let server = start();
    let mut half_open = Vec::new();
    for number in 0..1000 {
        let mut stream = TcpStream::connect(server).expect("the server listens");
        stream.write_all(&b"GET /hello HT"[..number % 14]).expect("the kernel takes it");
        half_open.push(stream);
    }
    assert_eq!(curl(&[&format!("http://{server}/hello")]), "hello\n");
    // The server ends them, after the 2 s that it gives them here.
    for mut stream in half_open {
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer or none, then the end");
    }
}
