//! What may be given where a socket address is wanted. Reading it looks no name up: that is for
//! `resolve` and `connect`, which suspend meanwhile.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// An IP address and port, or the text of one; also a host and a port where names are looked up,
/// as [`TcpStream::connect`](crate::net::TcpStream::connect) and [`resolve`](crate::net::resolve())
/// do.
pub trait ToAddr {
    /// The address.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, naming the text, if that is not an IP address and a port.
    fn to_addr(&self) -> io::Result<SocketAddr>;

    /// The address, or the host whose addresses are to be looked up.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, naming the text, if that cannot be either.
    fn target(&self) -> io::Result<Target<'_>> {
        self.to_addr().map(Target::Addr)
    }
}

/// What [`ToAddr`] stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target<'a> {
    /// An address.
    Addr(SocketAddr),
    /// A host that has addresses.
    #[non_exhaustive]
    Name {
        /// Its name, which is not an address.
        host: &'a str,
        /// The port there.
        port: u16,
    },
}

impl ToAddr for str {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        self.parse().map_err(|_syntax| {
            invalid(format!(
                "{self:?} is not an IP address with a port, such as 127.0.0.1:7000 or [::1]:7000"
            ))
        })
    }

    fn target(&self) -> io::Result<Target<'_>> {
        if let Ok(address) = self.parse() {
            return Ok(Target::Addr(address));
        }
        let parts = self.rsplit_once(':').filter(|(host, _)| may_be_host(host));
        match parts.and_then(|(host, text)| Some((host, port(text)?))) {
            Some((host, port)) => Ok(Target::Name { host, port }),
            None => Err(invalid(format!(
                "{self:?} is not an IP address or a name with a port, such as 127.0.0.1:7000, \
                 [::1]:7000 or localhost:7000"
            ))),
        }
    }
}

impl ToAddr for String {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        self.as_str().to_addr()
    }

    fn target(&self) -> io::Result<Target<'_>> {
        self.as_str().target()
    }
}

impl<T: ToAddr + ?Sized> ToAddr for &T {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        (**self).to_addr()
    }

    fn target(&self) -> io::Result<Target<'_>> {
        (**self).target()
    }
}

impl ToAddr for (&str, u16) {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        let (ip, port) = self;
        let ip: IpAddr = ip.parse().map_err(|_syntax| {
            invalid(format!("{ip:?} is not an IP address, such as 127.0.0.1 or ::1"))
        })?;
        Ok((ip, *port).into())
    }

    fn target(&self) -> io::Result<Target<'_>> {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(ip) => Ok(Target::Addr((ip, port).into())),
            Err(_) if may_be_host(host) => Ok(Target::Name { host, port }),
            Err(_) => Err(invalid(format!("{host:?} is not an IP address or the name of a host"))),
        }
    }
}

macro_rules! is_addr {
    ($($ty:ty),*) => {$(
        impl ToAddr for $ty {
            fn to_addr(&self) -> io::Result<SocketAddr> {
                Ok((*self).into())
            }
        }
    )*};
}

is_addr!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

/// The port in decimal digits; std's parser would take a sign, too.
fn port(text: &str) -> Option<u16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Whether a resolver may be asked for `text`. Which names there are is for that to say; this
/// keeps out what is an address or a URL gone wrong.
fn may_be_host(text: &str) -> bool {
    /// RFC 1035 §3.1 allows 255 bytes on the wire, which are 253 characters and a dot at the end.
    const LONGEST: usize = 254;
    let is_foreign = |b: u8| b.is_ascii_control() || b" \"#%/:<>?@[\\]^`{|}".contains(&b);
    !text.is_empty() && text.len() <= LONGEST && !text.bytes().any(is_foreign)
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
