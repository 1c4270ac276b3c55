//! `thalweg health`: asks a gateway whether it is well, as a program of its own without a runtime.

#![expect(clippy::disallowed_types, reason = "no coroutine runs in this program")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// For each of connecting, asking and reading.
const LIMIT: Duration = Duration::from_secs(2);

/// Asks the HTTP listener at `url`, `http://host:port`, for `/healthz`.
///
/// Blocks the thread.
///
/// # Errors
///
/// When there is no answer, or another than 200.
pub(super) fn ask(url: &str) -> io::Result<()> {
    let refused = |text: String| io::Error::new(ErrorKind::InvalidInput, text);
    let Some(host) = url.strip_prefix("http://") else {
        return Err(refused("it has to begin with http://".into()));
    };
    let host = host.trim_end_matches('/');
    #[expect(clippy::disallowed_methods, reason = "no coroutine runs in this program")]
    let mut addresses = host.to_socket_addrs()?;
    let address = addresses.next().ok_or_else(|| refused(format!("{host} has no address")))?;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut head = [0; 16];
    stream.read_exact(&mut head)?;
    let head = String::from_utf8_lossy(&head);
    match head.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(io::Error::other(format!("it answers {head:?}"))),
    }
}
