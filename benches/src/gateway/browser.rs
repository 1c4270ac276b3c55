//! Headless Chromium that plays, and tells of each picture of `timecode` when it shows it.
//!
//! `benches/browser/` has the page and the script for Node and playwright-core, which `make setup` installs; the page and
//! hls.js are served from here on the loopback. Chromium says when a picture will be on the display
//! (`requestVideoFrameCallback`), by the clock that this process has too.

use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A page that plays; dropping it ends the browser.
#[derive(Debug)]
pub(super) struct Browser {
    child: Child,
    /// It ends when this does.
    stdin: Option<ChildStdin>,
    told: mpsc::Receiver<Told>,
}

/// What the page says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    /// A picture of the clip was shown, so many microseconds after 1970.
    Shown { picture: u32, at_us: i64 },
    /// What the player says of itself, in JSON; once a second.
    State(String),
    /// Something went wrong.
    Fault(String),
}

impl Browser {
    /// Plays an address with a player of `display.js`. `config` is what the player is given, in JSON.
    pub(super) fn play(player: &str, url: &str, config: &str) -> Result<Self, Box<dyn Error>> {
        let playwright = modules().join("playwright-core");
        for needed in [&playwright, Path::new(CHROMIUM)] {
            if !needed.exists() {
                let needed = needed.display();
                return Err(format!("{needed} is missing: `make setup` installs it").into());
            }
        }
        let site = serve()?;
        let query = [("player", player), ("url", url), ("config", config)];
        let query = query.map(|(name, value)| format!("{name}={}", percent_encode(value)));
        let page = format!("http://{site}/display.html?{}", query.join("&"));
        let mut command = Command::new("node");
        command.arg(folder().join("driver.mjs")).args([&playwright, Path::new(CHROMIUM)]);
        let mut child = command.arg(page).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("the browser has no stdout")?;
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            for told in lines.filter_map(|line| Told::parse(&line)) {
                if tell.send(told).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, stdin, told })
    }

    /// What the page has said since this was asked last.
    pub(super) fn told(&self) -> impl Iterator<Item = Told> {
        self.told.try_iter()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.stdin = None;
        let begun = Instant::now();
        while begun.elapsed() < ENDING && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        // Either fails only when it is gone already. Chromium ends with the pipe to its driver.
        let _gone = self.child.kill().is_err() || self.child.wait().is_err();
    }
}

impl Told {
    fn parse(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once('\t')?;
        match kind {
            "shown" => {
                let (picture, at_ms) = rest.split_once('\t')?;
                let at = Duration::from_secs_f64(at_ms.parse::<f64>().ok()? / 1e3);
                let at_us = i64::try_from(at.as_micros()).ok()?;
                Some(Self::Shown { picture: picture.parse().ok()?, at_us })
            }
            "state" => Some(Self::State(rest.to_owned())),
            "fault" => Some(Self::Fault(rest.to_owned())),
            _ => None,
        }
    }
}

/// Serves the page and the modules until this process ends.
fn serve() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A browser that leaves early is its own affair.
            let _left = answer(&stream);
        }
    });
    Ok(address)
}

/// Answers one request for a file of ours, or of a module: `/display.html`, `/modules/hls.js/dist/hls.js`.
fn answer(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(ENDING))?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    // The head is read to its end, since a connection that is closed with something unread is reset.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default();
    let path = Path::new(path.split('?').next().unwrap_or_default().trim_start_matches('/'));
    let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
    let module = path.strip_prefix("modules");
    let file = module.map_or_else(|_ours| folder().join(path), |it| modules().join(it));
    let body = if is_below { fs::read(file) } else { Err(io::ErrorKind::NotFound.into()) };
    let kind = match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        _ => "text/javascript; charset=utf-8",
    };
    let (status, body) = body.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}

/// A value for a query (RFC 3986 §3.4).
fn percent_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encode = |byte: u8| {
        if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(encode).collect()
}

/// The scripts and the page.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("browser")
}

/// What Node finds its modules in.
pub(super) fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/web/node_modules")
}

/// Where Debian's Chromium is.
pub(super) const CHROMIUM: &str = "/usr/bin/chromium";
const ENDING: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::{Told, percent_encode};

    #[test]
    fn what_the_page_says_is_understood() {
        let shown = Told::Shown { picture: 17, at_us: 1_700_000_000_123_456 };
        assert_eq!(Told::parse("shown\t17\t1700000000123.456"), Some(shown));
        assert_eq!(Told::parse("fault\tno\tmore"), Some(Told::Fault("no\tmore".to_owned())));
        assert_eq!(Told::parse("shown\tseventeen\t1"), None);
        assert_eq!(Told::parse("hello"), None);
    }

    #[test]
    fn values_of_queries_are_encoded() {
        assert_eq!(percent_encode("{\"a\": 1}&b"), "%7B%22a%22%3A%201%7D%26b");
    }
}
