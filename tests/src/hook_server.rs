//! A server of web hooks of the test's own: it records what it is told and answers as it is bidden.

use crate::gateway::until;
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

/// What it does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Answers with this status and body.
    Say(u16, &'static str),
    /// Accepts after a while.
    Late(Duration),
    /// Says nothing.
    Hang,
    /// Closes the connection in the midst of its answer.
    Break,
    /// Answers with what is no HTTP.
    Junk,
    /// Answers with 10 MB.
    Flood,
    /// Answers a byte a second.
    Trickle,
}

/// Accepts.
pub const YES: Answer = Answer::Say(200, "0");

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The head of the request.
    pub head: String,
    /// Its body, as it came.
    pub text: String,
    /// The same as JSON.
    pub body: Value,
}

type Script = dyn Fn(&Call) -> Answer + Send + Sync;

/// A running server. Its threads end with the test.
#[derive(Clone)]
pub struct HookServer {
    at: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    script: Arc<Script>,
}

impl HookServer {
    /// Starts one that answers as `script` says.
    ///
    /// # Panics
    ///
    /// When there is no port for it.
    #[must_use]
    pub fn start(script: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let at = listener.local_addr().expect("it is bound");
        let server = Self { at, calls: Arc::default(), script: Arc::new(script) };
        let serving = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = serving.clone();
                thread::spawn(move || server.serve(stream));
            }
        });
        server
    }

    /// A setting of the gateway that calls it for each of these hooks.
    #[must_use]
    pub fn settings(&self, hooks: &[&str]) -> Vec<String> {
        let setting = |hook: &&str| format!("hooks.{hook}=[\"http://{}/{hook}\"]", self.at);
        hooks.iter().map(setting).collect()
    }

    /// What it was called for so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The actions so far of one client.
    #[must_use]
    pub fn actions(&self, client: &str) -> Vec<String> {
        let calls = self.calls();
        calls.iter().filter(|call| call.is_of(client)).map(Call::action).collect()
    }

    /// Waits for a call of this action, and gives it.
    ///
    /// # Panics
    ///
    /// When none comes.
    #[must_use]
    pub fn wait_for(&self, action: &str) -> Call {
        let find = || self.calls().into_iter().find(|call| call.action() == action);
        until(action, || find().is_some());
        find().expect("it is there")
    }

    fn serve(&self, mut stream: TcpStream) {
        while let Some(call) = read(&mut stream) {
            self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
            let answer = (self.script)(&call);
            // The gateway may have hung up.
            let Ok(true) = say(&mut stream, answer) else { return };
        }
    }
}

impl Call {
    /// Its field `action`.
    #[must_use]
    pub fn action(&self) -> String {
        self.text("action")
    }

    /// A field that is a text; empty if there is none.
    #[must_use]
    pub fn text(&self, field: &str) -> String {
        self.body.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The names of its fields, in their order.
    #[must_use]
    pub fn fields(&self) -> Vec<&str> {
        // Values have no commas followed by quotes here.
        let pairs = self.text.trim_matches(['{', '}']).split(",\"");
        pairs.filter_map(|pair| pair.trim_start_matches('"').split('"').next()).collect()
    }

    fn is_of(&self, client: &str) -> bool {
        self.text("client_id") == client
    }
}

impl std::fmt::Debug for HookServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HookServer({})", self.at)
    }
}

/// Reads one request; `None` at the end of the connection.
fn read(stream: &mut TcpStream) -> Option<Call> {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 2048];
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(buffer.get(..count)?);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        if body.len() >= length.parse().ok()? {
            let value = serde_json::from_str(body).ok()?;
            return Some(Call { head: head.to_owned(), text: body.to_owned(), body: value });
        }
    }
}

/// Answers; whether the connection goes on.
fn say(stream: &mut TcpStream, answer: Answer) -> std::io::Result<bool> {
    let head = |status: u16, length: usize| {
        format!("HTTP/1.1 {status} Hook\r\ncontent-length: {length}\r\n\r\n")
    };
    match answer {
        Answer::Say(status, body) => write!(stream, "{}{body}", head(status, body.len()))?,
        Answer::Late(after) => {
            thread::sleep(after);
            write!(stream, "{}0", head(200, 1))?;
        }
        Answer::Hang => {
            // Until the gateway has hung up.
            let _count = stream.read(&mut [0])?;
            return Ok(false);
        }
        Answer::Break => {
            write!(stream, "HTTP/1.1 2")?;
            stream.shutdown(Shutdown::Both)?;
            return Ok(false);
        }
        Answer::Junk => {
            stream.write_all(b"\x16\x03\x01\xff\0 no HTTP\r\n\r\n")?;
            return Ok(false);
        }
        Answer::Flood => {
            write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            for _ in 0..10_000 {
                stream.write_all(&[b'0'; 1000])?;
            }
            return Ok(false);
        }
        Answer::Trickle => {
            write!(stream, "{}", head(200, 60))?;
            for _ in 0..60 {
                stream.write_all(b"0")?;
                thread::sleep(Duration::from_secs(1));
            }
        }
    }
    Ok(true)
}
