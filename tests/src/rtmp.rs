//! RTMP as a test speaks it: a handshake, commands, and a look at what comes back (Adobe's RTMP 1.0).

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// Bytes of a chunk's payload before anybody says otherwise (§5.4.1).
const CHUNK_LEN: usize = 128;

/// A connection after the handshake.
#[derive(Debug)]
pub struct Conversation {
    /// The connection, for what is no command.
    pub stream: TcpStream,
    got: Vec<u8>,
}

/// A value of AMF0 (§2 of its specification).
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A number.
    Number(f64),
    /// A text.
    Text(&'a str),
    /// An object of texts.
    Object(&'a [(&'a str, &'a str)]),
    /// Nothing.
    Null,
}

impl Conversation {
    /// Connects and shakes hands the simple way (§5.2).
    ///
    /// # Panics
    ///
    /// When the gateway does not answer.
    #[must_use]
    pub fn begin(rtmp: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(rtmp).expect("the gateway listens");
        stream.set_read_timeout(Some(ANSWER)).expect("it is not zero");
        let mut c0_c1 = vec![0; 1 + 1536];
        c0_c1[0] = 3;
        stream.write_all(&c0_c1).expect("the gateway reads");
        let mut answer = vec![0; 1 + 2 * 1536];
        stream.read_exact(&mut answer).expect("the gateway shakes hands");
        stream.write_all(&answer[1..=1536]).expect("the gateway reads");
        Self { stream, got: Vec::new() }
    }

    /// Asks for an application.
    pub fn connect(&mut self, app: &str) {
        let url = format!("rtmp://127.0.0.1/{app}");
        let object = [("app", app), ("tcUrl", &url), ("flashVer", "FMLE/3.0")];
        self.command(0, &[Value::Text("connect"), Value::Number(1.0), Value::Object(&object)]);
    }

    /// Asks to publish `app/name`, once connected.
    pub fn publish(&mut self, name: &str) {
        let number = Value::Number;
        self.command(0, &[Value::Text("createStream"), number(2.0), Value::Null]);
        let publish = [Value::Text("publish"), number(3.0), Value::Null, Value::Text(name)];
        self.command(1, &publish);
    }

    /// Asks to play `app/name`, once connected.
    pub fn play(&mut self, name: &str) {
        let number = Value::Number;
        self.command(0, &[Value::Text("createStream"), number(2.0), Value::Null]);
        self.command(1, &[Value::Text("play"), number(3.0), Value::Null, Value::Text(name)]);
    }

    /// Sends a command (§5.4.1, §7.2).
    ///
    /// # Panics
    ///
    /// When the gateway has hung up.
    pub fn command(&mut self, stream_id: u8, values: &[Value<'_>]) {
        let payload: Vec<u8> = values.iter().flat_map(|value| value.encode()).collect();
        let len = u32::try_from(payload.len()).expect("commands are short").to_be_bytes();
        let mut bytes = vec![0x03, 0, 0, 0, len[1], len[2], len[3], 20, stream_id, 0, 0, 0];
        for (at, part) in payload.chunks(CHUNK_LEN).enumerate() {
            if at > 0 {
                bytes.push(0xc3);
            }
            bytes.extend_from_slice(part);
        }
        self.stream.write_all(&bytes).expect("the gateway reads");
    }

    /// Reads until `text` has come, in whatever message.
    ///
    /// # Panics
    ///
    /// When the connection ends before, or it takes too long.
    pub fn wait_for(&mut self, text: &str) {
        let begun = Instant::now();
        let mut buf = [0; 4096];
        while !self.got.windows(text.len()).any(|window| window == text.as_bytes()) {
            let got = || String::from_utf8_lossy(&self.got).into_owned();
            assert!(begun.elapsed() < ANSWER, "no {text}: {}", got());
            match self.stream.read(&mut buf) {
                Ok(len @ 1..) => self.got.extend(&buf[..len]),
                end => panic!("no {text} before the end, {end:?}: {}", got()),
            }
        }
    }
}

impl Value<'_> {
    fn encode(&self) -> Vec<u8> {
        let name = |text: &str| {
            let len = u16::try_from(text.len()).expect("names are short");
            [&len.to_be_bytes(), text.as_bytes()].concat()
        };
        let text = |text: &str| [&[2], name(text).as_slice()].concat();
        match self {
            Self::Number(number) => [&[0], number.to_be_bytes().as_slice()].concat(),
            Self::Text(value) => text(value),
            Self::Object(properties) => {
                let mut bytes = vec![3];
                for (key, value) in *properties {
                    bytes.extend(name(key));
                    bytes.extend(text(value));
                }
                bytes.extend([0, 0, 9]);
                bytes
            }
            Self::Null => vec![5],
        }
    }
}
