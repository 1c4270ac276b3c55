//! The addresses that peers are told to send to: what was configured, or the machine's own.

use nix::{ifaddrs, net::if_::InterfaceFlags};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};
use str0m::{
    Candidate,
    net::{Protocol, TcpType},
};

/// How packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Transport {
    /// A datagram each.
    Udp,
    /// In frames on a connection that the peer made (RFC 6544, RFC 4571).
    Tcp,
}

/// An address that a peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Local {
    pub(super) transport: Transport,
    pub(super) address: SocketAddr,
}

/// The addresses at which a socket that is bound to `bound` can be reached; `announced` takes their place, where it has some.
pub(super) fn of_socket(
    transport: Transport,
    bound: SocketAddr,
    announced: &[IpAddr],
    is_peer_here: bool,
) -> Vec<Local> {
    let at = |ip| Local { transport, address: SocketAddr::new(ip, bound.port()) };
    let ip = bound.ip().to_canonical();
    // A socket of IPv6 for UDP takes both families, one for TCP its own.
    let takes = |other: &IpAddr| match transport {
        Transport::Udp => other.is_ipv4() || bound.is_ipv6(),
        Transport::Tcp => other.is_ipv4() == ip.is_ipv4(),
    };
    if !announced.is_empty() {
        return announced.iter().copied().filter(takes).map(at).collect();
    }
    if !ip.is_unspecified() {
        return vec![at(ip)];
    }
    let own = of_machine().filter(takes).filter(|ip| is_peer_here || !ip.is_loopback());
    own.map(at).collect()
}

fn of_machine() -> impl Iterator<Item = IpAddr> {
    let interfaces = ifaddrs::getifaddrs().into_iter().flatten();
    let up = interfaces.filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP));
    let addresses = up.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    });
    // An address that holds on one link only needs to be told which link.
    addresses.filter(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()))
}

impl Local {
    /// As ICE has it; `None` for an address that it does not take.
    pub(super) fn candidate(&self) -> Option<Candidate> {
        let candidate = match self.transport {
            Transport::Udp => Candidate::builder().udp().host(self.address).build(),
            // Browsers only make connections (RFC 8835 §3.4), so we take them.
            Transport::Tcp => {
                Candidate::builder().tcp().host(self.address).tcptype(TcpType::Passive).build()
            }
        };
        candidate.ok()
    }
}

impl From<Transport> for Protocol {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::Udp => Self::Udp,
            Transport::Tcp => Self::Tcp,
        }
    }
}

impl From<Protocol> for Transport {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Udp => Self::Udp,
            // With TLS around it or not: that is not told apart elsewhere either.
            _ => Self::Tcp,
        }
    }
}

impl Transport {
    /// As SDP and the API have it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(transport: Transport, bound: &str, announced: &[&str]) -> Vec<String> {
        let announced: Vec<_> = announced.iter().map(|ip| ip.parse().unwrap()).collect();
        let locals = of_socket(transport, bound.parse().unwrap(), &announced, true);
        locals.iter().map(|local| local.address.to_string()).collect()
    }

    #[test]
    fn what_is_configured_is_told_with_the_port_of_each_socket_that_takes_its_family() {
        let announced = ["203.0.113.7", "2001:db8::7"];
        let both = ["203.0.113.7:8000", "[2001:db8::7]:8000"];
        assert_eq!(texts(Transport::Udp, "[::]:8000", &announced), both);
        assert_eq!(texts(Transport::Udp, "0.0.0.0:8000", &announced), both[..1]);
        assert_eq!(texts(Transport::Tcp, "0.0.0.0:8000", &announced), both[..1]);
        assert_eq!(texts(Transport::Tcp, "[::]:8000", &announced), both[1..]);
        assert_eq!(texts(Transport::Tcp, "192.0.2.1:443", &[]), ["192.0.2.1:443"]);
    }

    #[test]
    fn tcp_is_told_as_passive_and_comes_after_udp() {
        let text = |transport| {
            let local = Local { transport, address: "192.0.2.1:8000".parse().unwrap() };
            let candidate = local.candidate().unwrap();
            (candidate.to_sdp_string(), candidate.prio())
        };
        let ((udp, first), (tcp, second)) = (text(Transport::Udp), text(Transport::Tcp));
        assert!(udp.ends_with("192.0.2.1 8000 typ host"), "{udp}");
        assert!(tcp.ends_with("192.0.2.1 8000 typ host tcptype passive"), "{tcp}");
        assert!(first > second);
    }
}
