//! The PROXY protocol, versions 1 and 2: a header in front of a connection by which a proxy tells whose it is.
//!
//! After "The PROXY protocol, Versions 1 & 2" of `HAProxy` (2020-03-05). The header comes before anything else, TLS included. It
//! is read to its last byte and not beyond, so that what follows is the protocol's own. Only proxies that are
//! trusted are let in where it is wanted; without it nobody is.

use super::Session;
use crate::hub::Refusal;
use ipnet::IpNet;
use std::{
    fmt,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};
use thalweg_runtime as rt;
use tracing::Span;

/// Who may say whose a connection is.
#[derive(Clone, Debug)]
pub struct Proxies {
    /// Where they are.
    pub networks: Rc<[IpNet]>,
    /// How long the header may take.
    pub limit: Duration,
}

/// Why a connection is not served.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProxyError {
    /// It does not come from a trusted proxy.
    NotTrusted,
    /// It does not begin with the header.
    NoHeader,
    /// The header is malformed.
    Malformed,
    /// It did not come in time, or the connection broke.
    Io(io::Error),
}

/// What opens a header of version 2 (§2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, with its end (§2.1).
const LINE_MAX: usize = 107;

/// The longest rest of a header of version 2 that is read: addresses, and more than any proxy adds to them.
const REST_MAX: usize = 4_096;

/// Reads the header that a session begins with, and gives the session the address that it tells. The result is why the connection must
/// be refused, if it must.
///
/// # Suspends
///
/// Until the header is there.
///
/// # Errors
///
/// All of [`ProxyError`].
pub fn identify(
    stream: &mut impl Read,
    session: &Session,
    proxies: &Proxies,
) -> Result<Option<Refusal>, ProxyError> {
    let proxy = session.client.peer().ip();
    if !proxies.networks.iter().any(|network| network.contains(&proxy)) {
        return Err(ProxyError::NotTrusted);
    }
    let origin = rt::timeout(proxies.limit, || read_header(stream))?;
    // What a proxy asks for itself, to see whether we live, is its own.
    let refusal = origin.and_then(|origin| session.client.comes_from(origin));
    let peer = session.client.peer();
    Span::current().record("origin", tracing::field::display(peer));
    Ok(session.refusal.or(refusal))
}

/// Reads a header of either version; `None` when it tells of no other than the proxy itself.
///
/// # Suspends
///
/// As `stream` does.
///
/// # Errors
///
/// All of [`ProxyError`] but the first.
pub fn read_header(stream: &mut impl Read) -> Result<Option<SocketAddr>, ProxyError> {
    // No header of either version is shorter.
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).map_err(cut)?;
    if start == SIGNATURE {
        return read_binary(stream);
    }
    if !start.starts_with(b"PROXY ") {
        return Err(ProxyError::NoHeader);
    }
    let mut line = start.to_vec();
    while line.last() != Some(&b'\n') {
        if line.len() == LINE_MAX {
            return Err(ProxyError::Malformed);
        }
        let mut byte = [0];
        stream.read_exact(&mut byte).map_err(cut)?;
        line.extend(byte);
    }
    parse_line(&line).ok_or(ProxyError::Malformed)
}

/// The end of the connection within a header.
fn cut(error: io::Error) -> ProxyError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        ProxyError::NoHeader
    } else {
        ProxyError::Io(error)
    }
}

/// A line of version 1 (§2.1): `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`, and `PROXY UNKNOWN`.
fn parse_line(line: &[u8]) -> Option<Option<SocketAddr>> {
    let text = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
    let mut words = text.strip_prefix("PROXY ")?.split(' ');
    let ip = |text: &str, is_v4: bool| {
        text.parse::<IpAddr>().ok().filter(|address| address.is_ipv4() == is_v4)
    };
    let port = |text: &str| {
        // No sign, no zeros in front.
        text.parse::<u16>().ok().filter(|port| port.to_string() == text)
    };
    let is_v4 = match words.next()? {
        "TCP4" => true,
        "TCP6" => false,
        "UNKNOWN" => return Some(None),
        _ => return None,
    };
    let (source, _ours) = (ip(words.next()?, is_v4)?, ip(words.next()?, is_v4)?);
    let (source_port, _our_port) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then(|| Some(SocketAddr::new(source, source_port)))
}

/// What follows the signature of version 2 (§2.2).
fn read_binary(stream: &mut impl Read) -> Result<Option<SocketAddr>, ProxyError> {
    let mut fixed = [0; 4];
    stream.read_exact(&mut fixed).map_err(cut)?;
    let [version, family, high, low] = fixed;
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > REST_MAX {
        return Err(ProxyError::Malformed);
    }
    let mut rest = vec![0; len];
    stream.read_exact(&mut rest).map_err(cut)?;
    parse_binary(version, family, &rest).ok_or(ProxyError::Malformed)
}

/// Version and command, family and transport, addresses and what may stand behind them.
fn parse_binary(version: u8, family: u8, rest: &[u8]) -> Option<Option<SocketAddr>> {
    const LOCAL: u8 = 0x20;
    const PROXY: u8 = 0x21;
    match version {
        LOCAL => return Some(None),
        PROXY => {}
        _ => return None,
    }
    // The upper half is the family; which transport it was does not matter.
    match family >> 4 {
        1 => {
            let (addresses, rest) = rest.split_first_chunk::<8>()?;
            let (source, _ours) = addresses.split_first_chunk::<4>()?;
            Some(Some(SocketAddr::new(Ipv4Addr::from(*source).into(), first_port(rest)?)))
        }
        2 => {
            let (addresses, rest) = rest.split_first_chunk::<32>()?;
            let (source, _ours) = addresses.split_first_chunk::<16>()?;
            Some(Some(SocketAddr::new(Ipv6Addr::from(*source).into(), first_port(rest)?)))
        }
        // Of Unix sockets and of what is not told there is no address that could be used.
        0 | 3 => Some(None),
        _ => None,
    }
}

/// The first of two ports.
fn first_port(rest: &[u8]) -> Option<u16> {
    let (ports, _more) = rest.split_first_chunk::<4>()?;
    let [high, low, ..] = *ports;
    Some(u16::from_be_bytes([high, low]))
}

impl From<io::Error> for ProxyError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTrusted => f.write_str(
                "refused: it is wanted of a proxy, and this is none of http.trusted_proxies",
            ),
            Self::NoHeader => f.write_str("refused: there is no header of the PROXY protocol"),
            Self::Malformed => {
                f.write_str("refused: the header of the PROXY protocol is malformed")
            }
            Self::Io(error) => write!(f, "waiting for the header of the PROXY protocol: {error}"),
        }
    }
}

impl std::error::Error for ProxyError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(mut bytes: &[u8]) -> (Result<Option<String>, String>, usize) {
        let result = read_header(&mut bytes);
        let result = result.map(|origin| origin.map(|origin| origin.to_string()));
        (result.map_err(|error| error.to_string()), bytes.len())
    }

    fn binary(version: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version, family], &len, rest].concat()
    }

    #[test]
    fn a_line_tells_whose_the_connection_is() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", Some("192.0.2.7:56324")),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n", Some("[2001:db8::7]:56324")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        ] {
            let (origin, left) = read(format!("{line}GET /").as_bytes());
            assert_eq!((origin, left), (Ok(expected.map(str::to_owned)), 5), "{line}");
        }
    }

    #[test]
    fn lines_that_are_none_are_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_MAX));
        for (line, word) in [
            ("GET /live/cam.flv HTTP/1.1\r\n", "no header"),
            ("PROXY", "no header"),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 56324", "no header"),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n", "malformed"),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n", "malformed"),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 056324 443\r\n", "malformed"),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n", "malformed"),
            ("PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n", "malformed"),
            ("PROXY TCP4 192.0.2.7 198.51.100.1 99999 443\r\n", "malformed"),
            ("PROXY UDP4 192.0.2.7 198.51.100.1 5 443\r\n", "malformed"),
            (&long, "malformed"),
        ] {
            let error = read(line.as_bytes()).0.unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }

    #[test]
    fn a_binary_header_tells_whose_the_connection_is() {
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 1, 0xbb];
        let v6 = [&[0x20, 1, 0xd, 0xb8], &[0; 11][..], &[7], &[0; 16], &[0, 5, 0, 6]].concat();
        let more = [&v4[..], &[4, 0, 1, 0]].concat();
        for (header, expected) in [
            (binary(0x21, 0x11, &v4), Some("192.0.2.7:56324")),
            (binary(0x21, 0x11, &more), Some("192.0.2.7:56324")),
            (binary(0x21, 0x21, &v6), Some("[2001:db8::7]:5")),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x21, 0x00, &[]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ] {
            let (origin, left) = read(&[&header[..], b"RTMP"].concat());
            assert_eq!((origin, left), (Ok(expected.map(str::to_owned)), 4));
        }
        for header in [
            binary(0x11, 0x11, &v4),
            binary(0x22, 0x11, &v4),
            binary(0x21, 0x41, &v4),
            binary(0x21, 0x11, &v4[..11]),
            binary(0x21, 0x21, &v4),
            binary(0x21, 0x11, &vec![0; REST_MAX + 1]),
        ] {
            assert!(read(&header).0.unwrap_err().contains("malformed"));
        }
        let whole = binary(0x21, 0x11, &v4);
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).0.unwrap_err().contains("no header"));
        }
    }

    proptest! {
        #[test]
        fn nothing_but_a_header_is_taken_for_one(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let is_header = bytes.starts_with(b"PROXY ") || bytes.starts_with(&SIGNATURE);
            prop_assert_eq!(read(&bytes).0.is_ok() && !is_header, false);
        }
    }
}
