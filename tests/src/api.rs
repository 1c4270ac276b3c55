//! HTTP as a test speaks it: one request on one connection, and what the API of a gateway says.

use crate::gateway::{Gateway, until};
use serde_json::Value;
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(20);

/// An answer to one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status; zero when there was none.
    pub status: u16,
    /// The head as it came.
    pub head: String,
    /// What came after the head until the end, freed of its chunks.
    pub body: Vec<u8>,
    /// Whether the answer said that this is its end, and the connection did not just break.
    pub is_whole: bool,
}

/// Asks for a path and reads to the end of the connection.
///
/// # Errors
///
/// When the connection breaks, or the answer does not end in time.
pub fn request(http: SocketAddr, method: &str, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(http)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "{method} /{path} HTTP/1.1\r\nhost: {http}\r\nconnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    Ok(Answer::of(&bytes))
}

impl Answer {
    /// The answer in what a server sent.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let (head, body) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 4..]));
        let head = String::from_utf8_lossy(head).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let field = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            lines
                .into_iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
        };
        let (body, is_whole) = if field("transfer-encoding") == Some("chunked") {
            unchunk(body)
        } else {
            let length = field("content-length").and_then(|length| length.parse().ok());
            (body.to_owned(), length == Some(body.len()))
        };
        Self { status, head, body, is_whole }
    }
}

/// What is in chunks (RFC 9112 §7.1), and whether the last of them has come.
fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else {
            return (body, false);
        };
        let size = std::str::from_utf8(&rest[..end]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("a chunk begins with its size");
        rest = &rest[end + 2..];
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        let Some(next) = rest.get(size + 2..) else { return (body, false) };
        rest = next;
    }
}

/// A client as the API shows it.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its name in the API.
    pub id: String,
    /// `srt`, `rtmp`, `flv`, `ts`, `mp4`.
    pub protocol: String,
    /// Whether it publishes.
    pub publishes: bool,
    /// How often it was too slow.
    pub skips: u64,
}

impl Gateway {
    /// What the API answers.
    ///
    /// # Panics
    ///
    /// When it does not answer with JSON.
    #[must_use]
    pub fn api(&self, path: &str) -> Value {
        let answer = request(self.http, "GET", path).expect("the API answers");
        serde_json::from_slice(&answer.body).expect("the API answers with JSON")
    }

    /// Who publishes or plays the stream: `live/cam`.
    #[must_use]
    pub fn clients(&self, stream: &str) -> Vec<Client> {
        let answer = self.api("api/v1/clients?count=1000");
        let all = answer.get("clients").and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |client: &Value, name: &str| {
            client.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        all.iter()
            .filter(|client| text(client, "url") == format!("/{stream}"))
            .map(|client| Client {
                id: text(client, "id"),
                protocol: text(client, "protocol"),
                publishes: client.get("publish").and_then(Value::as_bool).unwrap_or(false),
                skips: client.get("skips").and_then(Value::as_u64).unwrap_or(0),
            })
            .collect()
    }

    /// The stream as the API shows it; `None` when there is none of that name.
    #[must_use]
    pub fn stream(&self, stream: &str) -> Option<Value> {
        let answer = self.api("api/v1/streams?count=1000");
        let all = answer.get("streams").and_then(Value::as_array).cloned().unwrap_or_default();
        let url = format!("/{stream}");
        all.into_iter().find(|found| found.get("url").and_then(Value::as_str) == Some(&url))
    }

    /// How many pictures of the stream came in so far.
    #[must_use]
    pub fn frames(&self, stream: &str) -> u64 {
        self.stream(stream)
            .and_then(|stream| stream.get("frames").and_then(Value::as_u64))
            .unwrap_or(0)
    }

    /// Waits until so many players are attached to the stream, published or not.
    ///
    /// # Panics
    ///
    /// When that does not come about in time.
    pub fn wait_for_players(&self, stream: &str, count: usize) {
        until(&format!("{count} players of {stream}"), || {
            self.clients(stream).iter().filter(|client| !client.publishes).count() >= count
        });
    }

    /// Waits until so many pictures of the stream have come in.
    ///
    /// # Panics
    ///
    /// When that does not come about in time.
    pub fn wait_for_frames(&self, stream: &str, count: u64) {
        until(&format!("{count} pictures of {stream}"), || self.frames(stream) >= count);
    }

    /// Waits until nobody publishes the stream.
    ///
    /// # Panics
    ///
    /// When that does not come about in time.
    pub fn wait_for_leave(&self, stream: &str) {
        until(&format!("the publisher of {stream} to leave"), || {
            !self.clients(stream).iter().any(|client| client.publishes)
        });
    }

    /// Waits until there is no such stream any more.
    ///
    /// # Panics
    ///
    /// When that does not come about in time.
    pub fn wait_for_end(&self, stream: &str) {
        until(&format!("the end of {stream}"), || self.stream(stream).is_none());
    }

    /// Waits until a line of the log contains all these words.
    ///
    /// # Panics
    ///
    /// When that does not come about in time.
    pub fn wait_for_log(&self, words: &[&str]) {
        let has_all = |line: &str| words.iter().all(|word| line.contains(word));
        until(&format!("a line with {words:?}"), || self.log().lines().any(has_all));
    }

    /// How much memory its process has in use, in bytes (`VmRSS` of proc(5)).
    ///
    /// # Panics
    ///
    /// When the process is gone.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("the gateway runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse::<u64>().ok()).expect("VmRSS is in KiB") * 1024
    }
}
