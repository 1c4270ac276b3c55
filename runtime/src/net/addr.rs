//! What may be given where a socket address is wanted. Names are not looked up: that would block.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// An IP address and port, or the text of one.
pub trait ToAddr {
    /// The address.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, naming the text, if that is not an IP address and a port.
    fn to_addr(&self) -> io::Result<SocketAddr>;
}

impl ToAddr for str {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        self.parse().map_err(|_syntax| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{self:?} is not an IP address with a port, such as 127.0.0.1:7000 or [::1]:7000"),
            )
        })
    }
}

impl ToAddr for String {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        self.as_str().to_addr()
    }
}

impl<T: ToAddr + ?Sized> ToAddr for &T {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        (**self).to_addr()
    }
}

impl ToAddr for (&str, u16) {
    fn to_addr(&self) -> io::Result<SocketAddr> {
        let (ip, port) = self;
        let ip: IpAddr = ip.parse().map_err(|_syntax| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{ip:?} is not an IP address, such as 127.0.0.1 or ::1"),
            )
        })?;
        Ok((ip, *port).into())
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
