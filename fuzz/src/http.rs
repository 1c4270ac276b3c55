//! The HTTP server: a whole connection, from the first byte to its end, on a stream in memory and a virtual clock.
//!
//! The first byte decides how the rest is cut; however it is cut, the same requests must be found in it, or two programs
//! would see different ones.

use crate::{
    script::{Script, pieces},
    simulation::simulate,
};
use std::io::{self, Read, Write};
use thalweg_gateway::http::{Method, Peer, Response, Router, Server, Settings, StatusCode};
use thalweg_runtime::{self as rt, sync::duplex};

pub(crate) fn run(input: &[u8]) {
    let mut script = Script(input);
    let seed = script.byte();
    let whole = converse(vec![script.0.to_vec()]);
    let cut = converse(pieces(script.0, seed).map(<[u8]>::to_vec).collect());
    assert_eq!(whole.0, cut.0, "how the bytes arrive decides what is answered");
    assert_eq!(whole.1, cut.1, "how the bytes arrive decides how it ends");
}

/// The statuses of the answers, and how the connection ended.
fn converse(pushes: Vec<Vec<u8>>) -> (Vec<u16>, String) {
    let (answers, ended) = simulate(move || serve(pushes));
    (statuses(&answers), ended)
}

fn serve(pushes: Vec<Vec<u8>>) -> (Vec<u8>, String) {
    let server = Server::new(router(), Settings::default());
    let (mut near, mut far) = duplex(1 << 16);
    let client = rt::spawn(move || {
        for push in pushes {
            // The server may have hung up; what it said is still to be read.
            if near.write_all(&push).is_err() || rt::yield_now().is_err() {
                break;
            }
        }
        near.shutdown_write();
        let mut answers = Vec::new();
        // A connection that was cut off says so after what it said.
        let _cut_off = near.read_to_end(&mut answers);
        answers
    });
    let address = "192.0.2.1:1234".parse().expect("it is an address");
    let ended = server.serve(&mut far, &Peer { address, local: address, is_secure: false });
    drop(far);
    let answers = client.join().expect("the client does not panic");
    (answers, format!("{}: {} requests", ended.cause, ended.requests))
}

/// The statuses of a row of answers, each of them whole.
fn statuses(mut bytes: &[u8]) -> Vec<u16> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.expect("the head of an answer ends");
        let head = str::from_utf8(&bytes[..end]).expect("our heads are text");
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status: u16 = status.expect("an answer begins with its status");
        bytes = &bytes[end + 4..];
        found.push(status);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
        // An answer to HEAD has none of the body that it announces, and the next begins right behind it.
        if !bytes.starts_with(b"HTTP/1.1 ") {
            bytes = bytes.get(length..).unwrap_or_default();
        }
    }
    found
}

fn router() -> Router {
    let mut router = Router::new();
    router.get("/hello", |x| x.respond(Response::text(StatusCode::OK, "hello")));
    router.get("/name/{name}", |x| {
        let name = x.parameter("name").unwrap_or_default().to_owned();
        let target = x.request().target();
        let _all = target.parameters().count();
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
    router.get("/fails", |_| Err(io::ErrorKind::NotFound.into()));
    router.make_public("/hello");
    router
}
