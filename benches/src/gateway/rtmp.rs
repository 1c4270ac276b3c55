//! As much of an RTMP client as publishing and playing take. Section numbers refer to Adobe's "Real-Time
//! Messaging Protocol (RTMP) specification" 1.0.
//!
//! Nothing that the server says is waited for but its part of the handshake; commands are understood in their
//! order. The first stream of a connection is taken to have number 1.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;

use super::clip::{Kind, Unit};

/// A connection that publishes.
#[derive(Debug)]
pub(super) struct Publisher {
    stream: TcpStream,
    buf: Vec<u8>,
}

impl Publisher {
    /// Connects and says that it publishes `live/<name>`.
    pub(super) fn connect(port: u16, name: &str) -> io::Result<Self> {
        let stream = open(port, |commands| {
            message(
                commands,
                COMMAND,
                0,
                STREAM,
                &[text("publish"), number(4.0), NULL.to_vec(), text(name), text("live")].concat(),
            );
        })?;
        let mut answers = stream.try_clone()?;
        // Ends with the connection.
        thread::spawn(move || io::copy(&mut answers, &mut io::sink()));
        Ok(Self { stream, buf: Vec::new() })
    }

    /// Sends the body of a tag in one message.
    pub(super) fn send(&mut self, unit: &Unit) -> io::Result<()> {
        let kind = match unit.kind {
            Kind::Video => 9,
            Kind::Audio => 8,
            Kind::Script => return Ok(()),
        };
        let time_ms = u32::try_from(unit.at.as_millis()).map_err(io::Error::other)?;
        self.buf.clear();
        message(&mut self.buf, kind, time_ms, STREAM, &unit.bytes);
        self.stream.write_all(&self.buf)
    }
}

/// Connects and asks for `live/<name>`; what is to be read then are chunks.
pub(super) fn play(port: u16, name: &str) -> io::Result<TcpStream> {
    open(port, |commands| {
        message(
            commands,
            COMMAND,
            0,
            STREAM,
            &[text("play"), number(4.0), NULL.to_vec(), text(name)].concat(),
        );
    })
}

/// Shakes hands, connects to the application `live` and creates a stream.
fn open(port: u16, and: impl FnOnce(&mut Vec<u8>)) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    // §5.2: version, then time, zero and random bytes, which may be any.
    let mut hello = vec![0; 1 + HANDSHAKE_BYTES];
    hello[0] = 3;
    stream.write_all(&hello)?;
    let mut answer = vec![0; 1 + 2 * HANDSHAKE_BYTES];
    stream.read_exact(&mut answer)?;
    let mut out = answer[1..=HANDSHAKE_BYTES].to_vec();
    message(&mut out, SET_CHUNK_SIZE, 0, 0, &(CHUNK_BYTES as u32).to_be_bytes());
    let url = format!("rtmp://127.0.0.1:{port}/live");
    let object = [
        &[0x03][..],
        &property("app", "live"),
        &property("flashVer", "FMLE/3.0"),
        &property("tcUrl", &url),
        &[0, 0, 0x09],
    ]
    .concat();
    message(&mut out, COMMAND, 0, 0, &[text("connect"), number(1.0), object].concat());
    message(&mut out, COMMAND, 0, 0, &[text("createStream"), number(2.0), NULL.to_vec()].concat());
    and(&mut out);
    stream.write_all(&out)?;
    Ok(stream)
}

/// One message in chunks (§5.3): a whole header, then as many continuations as it takes.
fn message(out: &mut Vec<u8>, kind: u8, time_ms: u32, stream: u32, body: &[u8]) {
    // Audio and video take turns on connections of their own, or their continuations would be mixed up.
    let chunk_stream = match kind {
        SET_CHUNK_SIZE => 2,
        COMMAND => 3,
        media => media,
    };
    let [_, l2, l1, l0] = (body.len() as u32).to_be_bytes();
    let [t3, t2, t1, t0] = time_ms.to_be_bytes();
    debug_assert_eq!(t3, 0, "no clip is that long");
    out.extend([chunk_stream, t2, t1, t0, l2, l1, l0, kind]);
    out.extend(stream.to_le_bytes());
    for (index, chunk) in body.chunks(CHUNK_BYTES).enumerate() {
        if index > 0 {
            out.push(0xc0 | chunk_stream);
        }
        out.extend(chunk);
    }
}

/// Values of AMF0.
fn text(value: &str) -> Vec<u8> {
    [&[0x02][..], &bare_text(value)].concat()
}

fn number(value: f64) -> Vec<u8> {
    [&[0x00][..], &value.to_be_bytes()].concat()
}

fn property(name: &str, value: &str) -> Vec<u8> {
    [bare_text(name), text(value)].concat()
}

fn bare_text(value: &str) -> Vec<u8> {
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
    [&len.to_be_bytes()[..], value.as_bytes()].concat()
}

const NULL: &[u8] = &[0x05];
const HANDSHAKE_BYTES: usize = 1536;
const CHUNK_BYTES: usize = 65_536;
const SET_CHUNK_SIZE: u8 = 1;
const COMMAND: u8 = 20;
const STREAM: u32 = 1;
