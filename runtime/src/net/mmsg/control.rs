//! The bytes beside a datagram: socket addresses and control messages, as Linux lays them out.
//!
//! Encodes what a send call passes and parses what a receive call left (`struct sockaddr_in`,
//! `sockaddr_in6`, `cmsghdr`; RFC 3542 §6, ip(7)), all in safe code: lengths are checked against
//! the bytes that there are, whatever they claim. Makes no system call, and knows nothing of message
//! headers, which are the parent's.

use std::io::{self, ErrorKind};
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::{Ecn, RecvMeta};

/// A `sockaddr_in` or `sockaddr_in6`, whose alignments are 4.
#[repr(C, align(8))]
pub(super) struct Name(pub(super) [u8; NAME_LEN]);

impl Name {
    pub(super) const fn new() -> Self {
        Self([0; NAME_LEN])
    }

    /// Writes `address` and returns its length.
    pub(super) fn encode(&mut self, address: SocketAddr) -> usize {
        self.0[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => {
                self.0[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                self.0[4..8].copy_from_slice(&v4.ip().octets());
                self.0[8..16].fill(0);
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                self.0[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                self.0[4..8].copy_from_slice(&v6.flowinfo().to_ne_bytes());
                self.0[8..24].copy_from_slice(&v6.ip().octets());
                self.0[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                size_of::<libc::sockaddr_in6>()
            }
        }
    }
}

/// A control buffer, aligned as `struct cmsghdr` is.
#[repr(C, align(8))]
pub(super) struct Control(pub(super) [u8; CONTROL_LEN]);

impl Control {
    pub(super) const fn new() -> Self {
        Self([0; CONTROL_LEN])
    }

    /// Adds to `meta` what the messages in the first `len` bytes say.
    ///
    /// Expects `meta` to have its source and length already: other fields follow from them.
    pub(super) fn apply(&self, len: usize, meta: &mut RecvMeta) {
        for entry in ControlReader(&self.0[..len.min(CONTROL_LEN)]) {
            entry.apply(meta);
        }
    }
}

/// Appends control messages to a buffer, at most one of each kind.
pub(super) struct ControlWriter<'a> {
    control: &'a mut Control,
    len: usize,
}

impl<'a> ControlWriter<'a> {
    pub(super) const fn new(control: &'a mut Control) -> Self {
        Self { control, len: 0 }
    }

    /// Appends the address to send from, for a destination of the same family.
    ///
    /// An IPv6 socket hands datagrams for IPv4-mapped destinations to the IPv4 code, which reads
    /// the messages of `IPPROTO_IP`, as an IPv4 socket does; datagrams for other destinations never
    /// meet that code. So the destination alone decides, and the socket's family need not be known.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where the families differ.
    pub(super) fn push_source(&mut self, source: IpAddr, destination: IpAddr) -> io::Result<()> {
        match (source.to_canonical(), destination.to_canonical()) {
            (IpAddr::V4(source), IpAddr::V4(_)) => {
                // struct in_pktinfo: interface, ipi_spec_dst (here: the source), ipi_addr.
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&source.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            (IpAddr::V6(source), IpAddr::V6(_)) => {
                // struct in6_pktinfo: address, interface (RFC 3542 §6).
                let mut info = [0; 20];
                info[..16].copy_from_slice(&source.octets());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
            _ => {
                return Err(io::Error::new(
                    ErrorKind::InvalidInput,
                    format!("source {source} and destination {destination} differ in family"),
                ));
            }
        }
        Ok(())
    }

    /// Appends the congestion mark, for a destination of which the same holds as for the source's.
    ///
    /// Without one it appends the messages of both families: the code ignores the other's.
    pub(super) fn push_ecn(&mut self, ecn: Ecn, destination: Option<IpAddr>) {
        let octet = libc::c_int::from(ecn.bits()).to_ne_bytes();
        let v4 = destination.map(|to| to.to_canonical().is_ipv4());
        if v4 != Some(false) {
            self.push(libc::IPPROTO_IP, libc::IP_TOS, octet);
        }
        if v4 != Some(true) {
            self.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, octet);
        }
    }

    /// Appends the size to cut the payload at (GSO).
    pub(super) fn push_segment_size(&mut self, size: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, size.to_ne_bytes());
    }

    /// Returns how many bytes the messages take.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Appends one message and the padding after it.
    fn push<const N: usize>(&mut self, level: libc::c_int, kind: libc::c_int, data: [u8; N]) {
        let space = align(HEADER_LEN + N);
        let (_, free) = self.control.0.split_at_mut(self.len);
        let entry = free.get_mut(..space).expect("CONTROL_LEN holds one message of each kind");
        entry.fill(0);
        entry[..LEVEL].copy_from_slice(&(HEADER_LEN + N).to_ne_bytes());
        entry[LEVEL..KIND].copy_from_slice(&level.to_ne_bytes());
        entry[KIND..HEADER_LEN].copy_from_slice(&kind.to_ne_bytes());
        entry[HEADER_LEN..][..N].copy_from_slice(&data);
        self.len += space;
    }
}

/// Iterates over the control messages in a buffer, up to the first that is cut or malformed.
struct ControlReader<'a>(&'a [u8]);

impl<'a> Iterator for ControlReader<'a> {
    type Item = ControlEntry<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (len, after) = self.0.split_first_chunk()?;
        let (level, after) = after.split_first_chunk()?;
        let (kind, _) = after.split_first_chunk()?;
        let len = usize::from_ne_bytes(*len);
        let data = self.0.get(HEADER_LEN..len)?;
        self.0 = self.0.get(align(len)..).unwrap_or_default();
        Some(ControlEntry {
            level: libc::c_int::from_ne_bytes(*level),
            kind: libc::c_int::from_ne_bytes(*kind),
            data,
        })
    }
}

/// One control message.
#[derive(Debug, PartialEq, Eq)]
struct ControlEntry<'a> {
    level: libc::c_int,
    kind: libc::c_int,
    data: &'a [u8],
}

impl ControlEntry<'_> {
    /// Adds to `meta` what the message says; ignores one that is unknown or too short.
    fn apply(&self, meta: &mut RecvMeta) {
        match (self.level, self.kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => self.apply_v4(meta),
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => self.apply_v6(meta),
            // The kernel passes one octet for IPv4 and an int for IPv6.
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                meta.ecn = self.data.first().and_then(|&octet| Ecn::from_bits(octet));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                meta.ecn = self.int().and_then(|class| Ecn::from_bits(class.to_le_bytes()[0]));
            }
            (libc::SOL_UDP, libc::UDP_GRO) => {
                let size = self.int().and_then(|size| usize::try_from(size).ok());
                // Cut to what there is, should the buffer have been smaller than a segment.
                meta.segment_size = size.filter(|&size| size > 0).unwrap_or(meta.len).min(meta.len);
            }
            _ => {}
        }
    }

    /// Applies a `struct in_pktinfo`: interface, the local address to answer from, the destination.
    ///
    /// An IPv6 socket with IPv4 traffic passes this one after `IPV6_PKTINFO`, and it knows more.
    fn apply_v4(&self, meta: &mut RecvMeta) {
        let Some((interface, after)) = self.data.split_first_chunk() else {
            return;
        };
        let Some((local, after)) = after.split_first_chunk::<4>() else {
            return;
        };
        let Some((destination, _)) = after.split_first_chunk::<4>() else {
            return;
        };
        let (local, destination) = (Ipv4Addr::from(*local), Ipv4Addr::from(*destination));
        let family = |ip: Ipv4Addr| match meta.source {
            SocketAddr::V4(_) => IpAddr::V4(ip),
            SocketAddr::V6(_) => IpAddr::V6(ip.to_ipv6_mapped()),
        };
        let local = (!local.is_unspecified()).then(|| family(local));
        let destination = Some(family(destination));
        meta.interface = Some(u32::from_ne_bytes(*interface)).filter(|&index| index != 0);
        meta.local = local;
        meta.destination = destination;
    }

    /// Applies a `struct in6_pktinfo`: the destination and the interface (RFC 3542 §6.2).
    fn apply_v6(&self, meta: &mut RecvMeta) {
        let Some((destination, after)) = self.data.split_first_chunk::<16>() else {
            return;
        };
        let Some((interface, _)) = after.split_first_chunk() else {
            return;
        };
        let destination = IpAddr::V6(Ipv6Addr::from(*destination));
        meta.interface = Some(u32::from_ne_bytes(*interface)).filter(|&index| index != 0);
        meta.local = Some(destination).filter(|to| !to.to_canonical().is_multicast());
        meta.destination = Some(destination);
    }

    /// Returns the C int at the start of the data.
    fn int(&self) -> Option<libc::c_int> {
        self.data.first_chunk().map(|bytes| libc::c_int::from_ne_bytes(*bytes))
    }
}

/// Reads a `sockaddr_in` or `sockaddr_in6`; `None` for another family or one cut short.
pub(super) fn parse_name(name: &[u8]) -> Option<SocketAddr> {
    let (family, after) = name.split_first_chunk()?;
    let (port, after) = after.split_first_chunk()?;
    let port = u16::from_be_bytes(*port);
    match libc::c_int::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => {
            let ip = after.first_chunk::<4>()?;
            Some(SocketAddr::new(Ipv4Addr::from(*ip).into(), port))
        }
        libc::AF_INET6 => {
            let (flow, after) = after.split_first_chunk()?;
            let (ip, after) = after.split_first_chunk::<16>()?;
            let (scope, _) = after.split_first_chunk()?;
            let (flow, scope) = (u32::from_ne_bytes(*flow), u32::from_ne_bytes(*scope));
            Some(SocketAddrV6::new(Ipv6Addr::from(*ip), port, flow, scope).into())
        }
        _ => None,
    }
}

/// Rounds up to where the next control message starts, as `CMSG_ALIGN`.
const fn align(len: usize) -> usize {
    len.next_multiple_of(align_of::<libc::cmsghdr>())
}

/// Room for an address of either family, rounded up to the alignment.
pub(super) const NAME_LEN: usize = 32;

/// Room for control messages. A receive needs 120 on an IPv6 socket with IPv4 traffic and GRO, a
/// send 88; what is over is for those that others turned on, such as time stamps, for the kernel
/// writes these first, and drops what does not fit.
pub(super) const CONTROL_LEN: usize = 192;

/// Offsets in a `struct cmsghdr` as Linux has it: `size_t` length, `int` level, `int` kind, data.
const LEVEL: usize = size_of::<usize>();
const KIND: usize = LEVEL + size_of::<libc::c_int>();
const HEADER_LEN: usize = KIND + size_of::<libc::c_int>();

// What the code above takes for granted about the C structs that it lays out by hand.
const _: () = {
    use libc::{cmsghdr, in_pktinfo, in6_pktinfo, sockaddr_in, sockaddr_in6};
    assert!(mem::offset_of!(cmsghdr, cmsg_level) == LEVEL);
    assert!(mem::offset_of!(cmsghdr, cmsg_type) == KIND);
    assert!(size_of::<cmsghdr>() == HEADER_LEN && align(HEADER_LEN) == HEADER_LEN);
    assert!(align_of::<cmsghdr>() <= align_of::<Control>());
    assert!(mem::offset_of!(in_pktinfo, ipi_spec_dst) == 4);
    assert!(mem::offset_of!(in_pktinfo, ipi_addr) == 8 && size_of::<in_pktinfo>() == 12);
    assert!(mem::offset_of!(in6_pktinfo, ipi6_ifindex) == 16);
    assert!(size_of::<in6_pktinfo>() == 20);
    assert!(mem::offset_of!(sockaddr_in, sin_port) == 2);
    assert!(mem::offset_of!(sockaddr_in, sin_addr) == 4);
    assert!(mem::offset_of!(sockaddr_in6, sin6_port) == 2);
    assert!(mem::offset_of!(sockaddr_in6, sin6_flowinfo) == 4);
    assert!(mem::offset_of!(sockaddr_in6, sin6_addr) == 8);
    assert!(mem::offset_of!(sockaddr_in6, sin6_scope_id) == 24);
    assert!(size_of::<sockaddr_in6>() <= NAME_LEN);
    assert!(align_of::<sockaddr_in6>() <= align_of::<Name>());
};

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(ip: &str) -> IpAddr {
        ip.parse().unwrap()
    }

    #[test]
    fn names_round_trip_and_truncations_are_refused() {
        for address in ["192.0.2.1:258", "[2001:db8::1]:65535", "[::ffff:192.0.2.1]:1"] {
            let address: SocketAddr = address.parse().unwrap();
            let mut name = Name::new();
            let len = name.encode(address);
            assert_eq!(parse_name(&name.0[..len]), Some(address));
            // Of a sockaddr_in the last 8 bytes are padding.
            let needed = if address.is_ipv4() { 8 } else { len };
            assert!((0..needed).all(|len| parse_name(&name.0[..len]).is_none()));
        }
        let scoped = SocketAddrV6::new("fe80::1".parse().unwrap(), 1, 0x0102_0304, 5).into();
        let mut name = Name::new();
        assert_eq!(name.encode(scoped), size_of::<libc::sockaddr_in6>());
        assert_eq!(parse_name(&name.0), Some(scoped));
        name.0[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
        assert_eq!(parse_name(&name.0), None);
    }

    /// Writes the messages of a receive on an IPv6 socket that takes IPv4 as well.
    fn received_control(control: &mut Control) -> usize {
        let mut writer = ControlWriter::new(control);
        writer.push_segment_size(0x1234);
        writer.push_source(ip("2001:db8::7"), ip("2001:db8::8")).unwrap();
        writer.push_source(ip("127.0.0.7"), ip("127.0.0.8")).unwrap();
        writer.push_ecn(Ecn::Ce, None);
        writer.len()
    }

    #[test]
    fn truncated_control_is_read_up_to_the_cut() {
        let mut control = Control::new();
        let len = received_control(&mut control);
        let whole: Vec<_> = ControlReader(&control.0[..len]).collect();
        assert_eq!(whole.len(), 5);
        assert_eq!(whole[0].data, 0x1234_u16.to_ne_bytes());
        for len in 0..len {
            let read: Vec<_> = ControlReader(&control.0[..len]).collect();
            assert!(whole.starts_with(&read));
            let mut meta = RecvMeta::new();
            control.apply(len, &mut meta);
        }
    }

    #[test]
    fn lying_lengths_end_the_reading() {
        let mut control = Control::new();
        let len = received_control(&mut control);
        let lies = [0, 1, HEADER_LEN - 1, len + 1, CONTROL_LEN + 1, usize::MAX, usize::MAX - 7];
        for lie in lies {
            control.0[..size_of::<usize>()].copy_from_slice(&lie.to_ne_bytes());
            assert_eq!(ControlReader(&control.0[..len]).next(), None, "{lie}");
            control.apply(usize::MAX, &mut RecvMeta::new());
        }
    }

    #[test]
    fn short_and_foreign_messages_are_ignored() {
        let mut control = Control::new();
        let mut writer = ControlWriter::new(&mut control);
        writer.push(libc::IPPROTO_IP, libc::IP_PKTINFO, [1; 11]);
        writer.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, [1; 19]);
        writer.push(libc::IPPROTO_IP, libc::IP_TOS, []);
        writer.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, [3; 3]);
        writer.push(libc::SOL_SOCKET, libc::IP_TOS, [3]);
        let len = writer.len();
        let mut meta = RecvMeta::new();
        control.apply(len, &mut meta);
        assert_eq!(meta, RecvMeta::new());
    }

    #[test]
    fn multicast_is_a_destination_and_no_local_address() {
        let table: [(&str, [u8; 16]); 2] = [
            ("ff02::1", "ff02::1".parse::<Ipv6Addr>().unwrap().octets()),
            ("::ffff:224.0.0.1", "::ffff:224.0.0.1".parse::<Ipv6Addr>().unwrap().octets()),
        ];
        for (group, octets) in table {
            let mut info = [0; 20];
            info[..16].copy_from_slice(&octets);
            info[16..].copy_from_slice(&3_u32.to_ne_bytes());
            let mut control = Control::new();
            let mut writer = ControlWriter::new(&mut control);
            writer.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            let len = writer.len();
            let mut meta = RecvMeta { source: "[::1]:1".parse().unwrap(), ..RecvMeta::new() };
            control.apply(len, &mut meta);
            assert_eq!((meta.local, meta.destination), (None, Some(ip(group))));
            assert_eq!(meta.interface, Some(3));
            // Of an IPv4 group the second message tells the local address.
            let mut writer = ControlWriter::new(&mut control);
            writer.push(
                libc::IPPROTO_IP,
                libc::IP_PKTINFO,
                [4, 0, 0, 0, 192, 0, 2, 1, 224, 0, 0, 1],
            );
            let len = writer.len();
            control.apply(len, &mut meta);
            assert_eq!(meta.local, Some(ip("::ffff:192.0.2.1")));
            assert_eq!(meta.destination, Some(ip("::ffff:224.0.0.1")));
        }
    }
}
