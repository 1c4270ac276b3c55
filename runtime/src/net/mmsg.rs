//! Batched datagram I/O: many UDP datagrams in one system call, each with its addresses and ECN.
//!
//! The floor under `UdpSocket::{recv_many, send_many}`: `recvmmsg(2)` and `sendmmsg(2)`, with
//! segmentation offload both ways (`UDP_SEGMENT`, `UDP_GRO`), the local address of every datagram
//! (`IP_PKTINFO`, `IPV6_PKTINFO`; RFC 3542 §6) and its congestion marks (RFC 3168 §5). Nothing here
//! suspends or waits: each function makes one call and hands `WouldBlock` to the caller, who parks.
//! Falling back where a device cannot segment, and retrying, are the caller's as well.
//!
//! Socket addresses and control messages are encoded and parsed as plain bytes in the safe code of
//! [`control`]; what is left to trust here is the two calls.
//!
//! # Safety
//!
//! The kernel is told where to read and write by raw pointers in [`Scratch`]'s headers. Three rules
//! keep them sound. Every header that a call covers is filled in the function that makes the call,
//! from borrows which that function holds until the call is over. A pointer goes only with the
//! length of the very field or slice it was taken from. And no header is followed by anyone but
//! the kernel: pointers left over from an earlier call are overwritten, never read.

#![expect(unsafe_code, reason = "recvmmsg and sendmmsg take arrays of headers with raw pointers")]

use std::fmt;
use std::io::{self, ErrorKind, IoSliceMut};
use std::iter;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use socket2::{Domain, SockRef};

use self::control::{CONTROL_LEN, Control, ControlWriter, NAME_LEN, Name, parse_name};

mod control;

/// Most datagrams (or transmits) that one call moves.
///
/// Past eight in a call a datagram's cost hardly falls (188 bytes over loopback, Linux 6.18: 1.1 µs
/// to receive one alone, 0.7 µs in eights and in 32s), and an array of [`RecvMeta`] of this length
/// still fits a coroutine's stack.
pub(crate) const BATCH: usize = 32;

/// An ECN codepoint of an ECN-capable datagram (RFC 3168 §5); not ECT is `None` of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// ECT(0): the sender understands ECN.
    Ect0,
    /// ECT(1): the same, or the mark of L4S (RFC 9331).
    Ect1,
    /// CE: a router on the way met congestion.
    Ce,
}

impl Ecn {
    /// Reads the codepoint from the low two bits of a TOS or traffic class octet; `None`: not ECT.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits & 0b11 {
            0b10 => Some(Self::Ect0),
            0b01 => Some(Self::Ect1),
            0b11 => Some(Self::Ce),
            _ => None,
        }
    }

    /// Returns the codepoint as the two low bits of a TOS or traffic class octet.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Ect0 => 0b10,
            Self::Ect1 => 0b01,
            Self::Ce => 0b11,
        }
    }
}

/// What came with one received datagram, or with one run of datagrams that GRO coalesced.
///
/// On an IPv6 socket that takes IPv4 too, all addresses are IPv6 ones, those of IPv4 datagrams
/// mapped (`::ffff:192.0.2.1`), as `recv_from` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecvMeta {
    /// Bytes that were written to the buffer.
    pub len: usize,
    /// The sender's address.
    pub source: SocketAddr,
    /// The address of this host to answer from ([`Transmit::from`]); for a broadcast or multicast
    /// datagram that of the interface in IPv4, `None` in IPv6.
    pub local: Option<IpAddr>,
    /// The address that the datagram was sent to, which may be a broadcast or multicast one.
    pub destination: Option<IpAddr>,
    /// Index of the interface through which it came.
    pub interface: Option<u32>,
    /// Its congestion mark; all datagrams of a coalesced run carry the same.
    pub ecn: Option<Ecn>,
    /// Length of each datagram in the buffer, of which only the last may be shorter; equal to `len`
    /// where nothing was coalesced. [`segments`](Self::segments) cuts the buffer accordingly.
    pub segment_size: usize,
    /// The buffer was too small, and the rest of what arrived is lost.
    pub truncated: bool,
}

impl RecvMeta {
    /// Returns a placeholder for arrays that a receive call is to fill.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            len: 0,
            source: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            local: None,
            destination: None,
            interface: None,
            ecn: None,
            segment_size: 0,
            truncated: false,
        }
    }

    /// Cuts the `buffer` that was received into along datagram boundaries.
    ///
    /// Yields one slice a datagram, so a single empty one for an empty datagram.
    pub fn segments<'b>(&self, buffer: &'b [u8]) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let data = buffer.get(..self.len).unwrap_or(buffer);
        let empty = data.is_empty().then_some(data);
        empty.into_iter().chain(data.chunks(self.segment_size.max(1)))
    }
}

impl Default for RecvMeta {
    fn default() -> Self {
        Self::new()
    }
}

/// One datagram to send, or with [`segment_size`](Self::segment_size) one run of datagrams.
///
/// # Examples
///
/// An answer that leaves from the address which the question came to:
///
/// ```
/// use thalweg_runtime::net::{RecvMeta, Transmit};
///
/// fn answer<'a>(reply: &'a [u8], question: &RecvMeta) -> Transmit<'a> {
///     Transmit::new(reply).to(question.source).from(question.local)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Transmit<'a> {
    /// The bytes to send; at most 65 507 over IPv4 and 65 527 over IPv6, also in total when cut.
    pub payload: &'a [u8],
    /// Where to; `None` for the peer of a connected socket.
    pub destination: Option<SocketAddr>,
    /// The address of this host to send from; `None` leaves it to the socket and the routes.
    pub source: Option<IpAddr>,
    /// The mark to send with. The TOS or traffic class is then nothing else: a DSCP set on the
    /// socket holds only where this is `None`.
    pub ecn: Option<Ecn>,
    /// Has the kernel cut the payload into datagrams of this size, the last of them shorter or
    /// equal (GSO). At most 64 datagrams, each of which must fit the path's MTU.
    pub segment_size: Option<u16>,
}

impl<'a> Transmit<'a> {
    /// Starts a transmit of `payload` to the peer of a connected socket.
    #[must_use]
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { payload, destination: None, source: None, ecn: None, segment_size: None }
    }

    /// Sets the destination.
    #[must_use]
    pub const fn to(mut self, destination: SocketAddr) -> Self {
        self.destination = Some(destination);
        self
    }

    /// Sets the address of this host to send from; takes [`RecvMeta::local`] as it is.
    #[must_use]
    pub fn from(mut self, source: impl Into<Option<IpAddr>>) -> Self {
        self.source = source.into();
        self
    }

    /// Sets the congestion mark; takes [`RecvMeta::ecn`] as it is.
    #[must_use]
    pub fn ecn(mut self, ecn: impl Into<Option<Ecn>>) -> Self {
        self.ecn = ecn.into();
        self
    }

    /// Has the kernel cut the payload into datagrams of `size` bytes (GSO).
    #[must_use]
    pub const fn segment_size(mut self, size: u16) -> Self {
        self.segment_size = Some(size);
        self
    }

    /// Returns the size to have the kernel cut at, `None` where one datagram holds the payload.
    ///
    /// # Errors
    ///
    /// `InvalidInput` where no kernel could send it.
    fn cut(&self) -> io::Result<Option<u16>> {
        let len = self.payload.len();
        if len > MAX_PAYLOAD {
            return Err(invalid(format!("a payload of {len} bytes is over {MAX_PAYLOAD}")));
        }
        match self.segment_size {
            Some(0) => Err(invalid("a segment size of 0".to_owned())),
            Some(size) if len.div_ceil(usize::from(size)) > MAX_SEGMENTS => Err(invalid(format!(
                "{len} bytes in segments of {size} are more than {MAX_SEGMENTS} datagrams"
            ))),
            Some(size) if len > usize::from(size) => Ok(Some(size)),
            _ => Ok(None),
        }
    }
}

/// What the kernel offers for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    /// [`Transmit::segment_size`] works, as far as the kernel is concerned (Linux 4.18); a device
    /// may still refuse.
    pub(crate) gso: bool,
}

/// The headers, addresses and control messages of one call; about 10 KB on the heap.
///
/// A call leaves nothing in it that another relies on, so one serves all sockets of a thread. It is
/// not `Send`, because of the pointers in the headers.
pub(crate) struct Scratch {
    headers: Box<[libc::mmsghdr]>,
    slots: Box<[Slot]>,
    /// A socket was seen to have `UDP_SEGMENT`.
    gso: bool,
}

impl Scratch {
    /// Allocates room for [`BATCH`] datagrams.
    pub(crate) fn new() -> Self {
        Self {
            headers: iter::repeat_with(empty_header).take(BATCH).collect(),
            slots: iter::repeat_with(Slot::new).take(BATCH).collect(),
            gso: false,
        }
    }

    /// Receives into the first [`BATCH`] of `buffers`.
    fn receive(&mut self, fd: BorrowedFd<'_>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let count = buffers.len().min(BATCH);
        let entries = self.headers.iter_mut().zip(&mut self.slots).zip(buffers);
        for ((header, slot), buffer) in entries {
            slot.vector =
                libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            slot.point(header, NAME_LEN, CONTROL_LEN);
        }
        // SAFETY: `recvmmsg` wants an array of `vlen` headers that it may write: `headers` has
        // BATCH ≥ `count` of them, borrowed mutably. Each header of those must give memory that is
        // valid for writes of the lengths beside it, for the time of the call: the loop above
        // pointed the first `count` at one slot's name, vector and control and, by the vector, at
        // one buffer, all distinct, and with the lengths of these very arrays; `self` and
        // `buffers` are borrowed mutably until this function returns. A null timeout is allowed.
        // Any `fd` and flags are sound; they are checked by the kernel.
        let received = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    /// Sends the first [`BATCH`] of `transmits`, or those before the first that is invalid.
    fn send(&mut self, fd: BorrowedFd<'_>, transmits: &[Transmit<'_>]) -> io::Result<usize> {
        let mut count = 0;
        let mut asked = Asked { fd, gso: &mut self.gso, peer: None };
        let entries = self.headers.iter_mut().zip(&mut self.slots).zip(transmits);
        for ((header, slot), transmit) in entries {
            match slot.load(header, transmit, &mut asked) {
                Ok(()) => count += 1,
                Err(error) if count == 0 => return Err(error),
                // It will be the first one, and be reported, when the caller sends the rest.
                Err(_) => break,
            }
        }
        // SAFETY: `sendmmsg` wants an array of `vlen` headers, of which it writes `msg_len`:
        // `headers` has BATCH ≥ `count` of them, borrowed mutably. Each header of those must give
        // memory that is valid for reads of the lengths beside it, for the time of the call: the
        // loop above had `load` point the first `count` at one slot's name, vector and control,
        // with lengths of at most these arrays, and the vector at one payload, with its length;
        // `self` is borrowed mutably and `transmits` shared until this function returns, and the
        // kernel does not write through `iov_base` when sending. Any `fd` and flags are sound.
        let sent = unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

/// What one header points to.
struct Slot {
    vector: libc::iovec,
    name: Name,
    control: Control,
}

impl Slot {
    fn new() -> Self {
        Self {
            vector: libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 },
            name: Name::new(),
            control: Control::new(),
        }
    }

    /// Fills the slot for `transmit`, and points `header` at it and, by it, at the payload.
    fn load(
        &mut self,
        header: &mut libc::mmsghdr,
        transmit: &Transmit<'_>,
        asked: &mut Asked<'_>,
    ) -> io::Result<()> {
        let mut control = ControlWriter::new(&mut self.control);
        if let Some(size) = transmit.cut()? {
            asked.require_gso()?;
            control.push_segment_size(size);
        }
        let mut destination = transmit.destination.map(|to| to.ip());
        if let Some(source) = transmit.source {
            let to = match destination {
                Some(to) => to,
                None => asked.peer()?,
            };
            control.push_source(source, to)?;
            destination = Some(to);
        }
        if let Some(ecn) = transmit.ecn {
            control.push_ecn(ecn, destination);
        }
        let control_len = control.len();
        let name_len = transmit.destination.map_or(0, |to| self.name.encode(to));
        self.vector = libc::iovec {
            iov_base: transmit.payload.as_ptr().cast_mut().cast(),
            iov_len: transmit.payload.len(),
        };
        self.point(header, name_len, control_len);
        Ok(())
    }

    /// Points `header` at this slot, with the given lengths, or fewer, of its name and control.
    ///
    /// The pointers hold until the slot is moved, dropped or borrowed again.
    fn point(&mut self, header: &mut libc::mmsghdr, name_len: usize, control_len: usize) {
        *header = empty_header();
        // Linux takes a null pointer where there is nothing to read.
        if name_len > 0 {
            header.msg_hdr.msg_name = self.name.0.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = name_len.min(NAME_LEN) as libc::socklen_t;
        }
        if control_len > 0 {
            header.msg_hdr.msg_control = self.control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = control_len.min(CONTROL_LEN);
        }
        header.msg_hdr.msg_iov = &raw mut self.vector;
        header.msg_hdr.msg_iovlen = 1;
    }

    /// Reads what a receive call left here.
    ///
    /// # Errors
    ///
    /// `InvalidData`: the sender has no IP address, as the socket is not one of IP.
    fn meta(&self, header: &libc::mmsghdr) -> io::Result<RecvMeta> {
        let message = &header.msg_hdr;
        let name_len = (message.msg_namelen as usize).min(NAME_LEN);
        let source = parse_name(&self.name.0[..name_len])
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "a sender without IP address"))?;
        let len = header.msg_len as usize;
        let mut meta = RecvMeta {
            len,
            source,
            segment_size: len,
            truncated: message.msg_flags & libc::MSG_TRUNC != 0,
            ..RecvMeta::new()
        };
        self.control.apply(message.msg_controllen, &mut meta);
        Ok(meta)
    }
}

/// What the kernel is asked about a socket, once a call and only where a transmit needs it.
struct Asked<'a> {
    fd: BorrowedFd<'a>,
    gso: &'a mut bool,
    peer: Option<IpAddr>,
}

impl Asked<'_> {
    /// Refuses to go on where a kernel without GSO would ignore the message, and send one huge
    /// datagram.
    fn require_gso(&mut self) -> io::Result<()> {
        *self.gso = *self.gso || has_gso(self.fd)?;
        if *self.gso {
            return Ok(());
        }
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "this kernel does not cut payloads into datagrams (UDP_SEGMENT)",
        ))
    }

    /// Returns the address that the socket is connected to.
    fn peer(&mut self) -> io::Result<IpAddr> {
        if let Some(peer) = self.peer {
            return Ok(peer);
        }
        let peer = SockRef::from(&self.fd).peer_addr()?.as_socket();
        let peer = peer.ok_or_else(|| invalid("not a socket of IPv4 or IPv6".to_owned()))?;
        Ok(*self.peer.insert(peer.ip()))
    }
}

/// Has the kernel pass addresses and congestion marks with each datagram of a UDP socket.
///
/// # Errors
///
/// `InvalidInput` where `fd` is not a socket of IPv4 or IPv6; else the operating system's error.
pub(crate) fn enable(fd: BorrowedFd<'_>) -> io::Result<Features> {
    let domain = SockRef::from(&fd).domain()?;
    if domain == Domain::IPV6 {
        setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true)?;
        setsockopt(&fd, sockopt::Ipv6RecvTClass, &true)?;
    } else if domain != Domain::IPV4 {
        return Err(invalid("not a socket of IPv4 or IPv6".to_owned()));
    }
    // On an IPv6 socket too, for the IPv4 datagrams that it gets.
    setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?;
    setsockopt(&fd, sockopt::IpRecvTos, &true)?;
    Ok(Features { gso: has_gso(fd)? })
}

/// Lets the kernel coalesce datagrams of one sender into one buffer (`UDP_GRO`).
///
/// Buffers must then hold 65 535 bytes: a run that does not fit is cut, and the rest lost.
///
/// # Errors
///
/// `Unsupported` on Linux before 5.0; else the operating system's error.
pub(crate) fn enable_gro(fd: BorrowedFd<'_>) -> io::Result<()> {
    match setsockopt(&fd, sockopt::UdpGroSegment, &true) {
        Err(Errno::ENOPROTOOPT) => Err(io::Error::new(
            ErrorKind::Unsupported,
            "this kernel does not coalesce datagrams (UDP_GRO)",
        )),
        result => Ok(result?),
    }
}

/// Receives datagrams that have arrived, one a buffer, and describes them in `meta`.
///
/// Returns how many there were: at most [`BATCH`], and at most the length of either slice; 0 only
/// where one of these is empty. Entries of `meta` beyond that are left alone. An interrupted call
/// is repeated.
///
/// # Errors
///
/// - `WouldBlock`: nothing has arrived.
/// - `InvalidData`: the socket is not one of IP.
/// - Else the operating system's: that of an earlier datagram which an ICMP message told about
///   (`ConnectionRefused` on a connected socket), after which the socket is still usable.
pub(crate) fn recv_many(
    fd: BorrowedFd<'_>,
    scratch: &mut Scratch,
    buffers: &mut [IoSliceMut<'_>],
    meta: &mut [RecvMeta],
) -> io::Result<usize> {
    let count = buffers.len().min(meta.len());
    if count == 0 {
        return Ok(0);
    }
    let received = retry(|| scratch.receive(fd, &mut buffers[..count]))?;
    let entries = scratch.headers.iter().zip(&scratch.slots).zip(meta);
    for ((header, slot), meta) in entries.take(received) {
        *meta = slot.meta(header)?;
    }
    Ok(received)
}

/// Sends datagrams, and returns how many of `transmits` the kernel took: at most [`BATCH`].
///
/// An error is always that of the first transmit; nothing was sent. Where a later one fails, those
/// before it count as sent, and the call for the rest reports the error. So a caller that goes on
/// at the count, and skips a transmit that fails, misses none. An interrupted call is repeated.
///
/// # Errors
///
/// - `WouldBlock`: the send buffer is full.
/// - `InvalidInput`, before the call: a payload over 65 535 bytes, a segment size of 0, more than
///   64 segments, or source and destination of different families (IPv4-mapped counts as IPv4).
/// - `InvalidInput` of the kernel (EINVAL): segments of this size cannot be sent on this socket,
///   for instance as they exceed the MTU, or the source is no address of this host (in IPv4 also
///   `NetworkUnreachable`).
/// - `Unsupported`: the kernel (before Linux 4.18) or the device that the route leads to (EIO: no
///   checksum offload) cannot cut the payload; send it as single datagrams.
/// - `NotConnected`: neither destination nor peer, but a source (without one: EDESTADDRREQ).
/// - Else the operating system's; among them one that an ICMP message told about an earlier
///   datagram (`ConnectionRefused` on a connected socket), which is thereby taken off the socket.
pub(crate) fn send_many(
    fd: BorrowedFd<'_>,
    scratch: &mut Scratch,
    transmits: &[Transmit<'_>],
) -> io::Result<usize> {
    let Some(first) = transmits.first() else {
        return Ok(0);
    };
    retry(|| scratch.send(fd, transmits)).map_err(|error| explain(error, first))
}

/// Says what the kernel's error means for a transmit that is to be cut.
fn explain(error: io::Error, transmit: &Transmit<'_>) -> io::Error {
    let Ok(Some(size)) = transmit.cut() else {
        return error;
    };
    let (kind, reason) = match error.raw_os_error() {
        Some(libc::EIO) => (ErrorKind::Unsupported, "the device has no checksum offload"),
        Some(libc::EINVAL) => (
            ErrorKind::InvalidInput,
            "the segments exceed the MTU, the socket cannot cut, or the source is not local",
        ),
        _ => return error,
    };
    let len = transmit.payload.len();
    io::Error::new(
        kind,
        format!("{len} bytes in segments of {size} (UDP_SEGMENT): {error}: {reason}"),
    )
}

/// Asks for the socket's segment size, an option that kernels without GSO do not know.
fn has_gso(fd: BorrowedFd<'_>) -> io::Result<bool> {
    match getsockopt(&fd, sockopt::UdpGsoSegment) {
        Ok(_) => Ok(true),
        Err(Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Repeats `call` while it is interrupted by a signal.
fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Returns a header that points nowhere.
fn empty_header() -> libc::mmsghdr {
    // SAFETY: `zeroed` wants all-zero bytes to be a value of the type: `mmsghdr` consists of
    // integers, raw pointers (null) and padding.
    unsafe { mem::zeroed() }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, message)
}

/// Most bytes in one UDP datagram or GSO run, headers included (RFC 768: a 16-bit length).
const MAX_PAYLOAD: usize = 65_535;

/// Most datagrams in a GSO run: `UDP_MAX_SEGMENTS` before Linux 6.9, which has 128.
const MAX_SEGMENTS: usize = 64;

#[cfg(test)]
mod tests;
