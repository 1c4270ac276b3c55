//! srt-file-transmit: a file as a stream of bytes, both directions and roles.
//!
//! It names what it receives by the stream id of whoever sends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thalweg_badlink::Rng;
use thalweg_runtime::{self as rt, fs};
use thalweg_srt_io::{Listener, Options, RecvError, Socket};

use super::support::exchange::{Meeting, ROLES};
use super::support::tool::{Tool, free_addr};
use super::support::{Outcome, run};

#[test]
fn a_file_arrives_from_it_in_both_roles() {
    run(|| {
        for role in ROLES {
            let folder = Folder::new()?;
            let path = folder.0.join(NAME);
            fs::write(&path, content())?;
            let from = format!("file://{}", path.display());
            let (tool, socket) = meet(role, |url| vec![from.clone(), url])?;
            let received = receive_all(&socket)?;
            assert!(received == content(), "{} bytes, not as sent", received.len());
            let ended = tool.finish()?;
            assert!(ended.status.success(), "{}", ended.said);
        }
        Ok(())
    });
}

#[test]
fn a_file_arrives_at_it_in_both_roles() {
    run(|| {
        for role in ROLES {
            let folder = Folder::new()?;
            let to = format!("file://{}/", folder.0.display());
            let (tool, socket) = meet(role, |url| vec![url, to.clone()])?;
            let content = content();
            let mut rest = content.as_slice();
            while !rest.is_empty() {
                let sent = socket.send(rest)?;
                rest = &rest[sent..];
            }
            socket.finish(rt::now() + FINISH_LIMIT)?;
            let ended = tool.finish()?;
            let received = fs::read(folder.0.join(NAME))
                .map_err(|error| format!("{error}: {}", ended.said))?;
            assert!(received == content, "{} bytes, not as sent", received.len());
        }
        Ok(())
    });
}

fn meet(role: Meeting, args: impl Fn(String) -> Vec<String>) -> Outcome<(Tool, Socket)> {
    let start = |addr: SocketAddr, mode: &str| -> Outcome<Tool> {
        let args = args(format!("srt://{addr}?mode={mode}&streamid={NAME}"));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Ok(Tool::start("srt-file-transmit", &args)?)
    };
    if let Meeting::WeListen = role {
        let listener = Listener::bind("127.0.0.1:0", &Options::file())?;
        let tool = start(listener.local_addr(), "caller")?;
        Ok((tool, listener.accept()?.0))
    } else {
        let addr = free_addr("127.0.0.1")?;
        let tool = start(addr, "listener")?;
        Ok((tool, Socket::connect(addr, &Options::file().stream_id(NAME))?))
    }
}

fn receive_all(socket: &Socket) -> Outcome<Vec<u8>> {
    let mut received = Vec::new();
    let mut buf = vec![0; 64 << 10];
    loop {
        match socket.recv(&mut buf) {
            Ok(len) => received.extend_from_slice(&buf[..len]),
            Err(RecvError::Disconnected) => return Ok(received),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Five megabytes that are not to be guessed.
fn content() -> Vec<u8> {
    let mut rng = Rng::new(11);
    (0..640_000).flat_map(|_index| rng.next_u64().to_be_bytes()).collect()
}

/// A folder of this test's own, which is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Outcome<Self> {
        let unique = format!("thalweg-file-{}-{:?}", std::process::id(), rt::now());
        let name: String = unique.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect();
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _was_not_made = std::fs::remove_dir_all(&self.0);
    }
}

const NAME: &str = "content.bin";
const FINISH_LIMIT: Duration = Duration::from_secs(20);
