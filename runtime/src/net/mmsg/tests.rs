//! Tests over loopback sockets.
//!
//! The sockets are plain ones; `poll(2)` stands in for the runtime that parks.

#![expect(clippy::disallowed_types, reason = "sockets without a runtime; none of them blocks")]

use std::net::UdpSocket;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Socket, Type};

use super::*;

/// A socket with its features on, and a scratch.
struct Endpoint {
    socket: UdpSocket,
    scratch: Scratch,
}

/// One received datagram or coalesced run.
struct Received {
    data: Vec<u8>,
    meta: RecvMeta,
}

impl Endpoint {
    fn bind(address: &str) -> Self {
        Self::over(UdpSocket::bind(address).unwrap())
    }

    /// Binds an IPv6 socket; `None` where the machine has no IPv6, so there is nothing to test.
    fn bind_v6(address: &str, only_v6: bool) -> Option<Self> {
        let address: SocketAddr = address.parse().unwrap();
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).ok()?;
        socket.set_only_v6(only_v6).unwrap();
        socket.bind(&address.into()).ok()?;
        Some(Self::over(socket.into()))
    }

    fn over(socket: UdpSocket) -> Self {
        socket.set_nonblocking(true).unwrap();
        enable(socket.as_fd()).unwrap();
        Self { socket, scratch: Scratch::new() }
    }

    fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }

    /// The endpoint's port at `ip`.
    fn at(&self, ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), self.port())
    }

    fn send(&mut self, transmits: &[Transmit<'_>]) -> io::Result<usize> {
        send_many(self.socket.as_fd(), &mut self.scratch, transmits)
    }

    /// Sends one transmit and returns the error that this must give.
    fn refusal(&mut self, transmit: Transmit<'_>) -> io::Error {
        self.send(&[transmit]).unwrap_err()
    }

    /// Makes one call, when something has come, with buffers of `size` bytes.
    fn receive_once(&mut self, size: usize) -> Vec<Received> {
        let mut events = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut events, PollTimeout::from(5_000_u16)), Ok(1), "nothing arrives");
        let mut buffers = vec![vec![0; size]; BATCH];
        let mut slices: Vec<_> = buffers.iter_mut().map(|b| IoSliceMut::new(b)).collect();
        let mut meta = [RecvMeta::new(); BATCH];
        let fd = self.socket.as_fd();
        let count = recv_many(fd, &mut self.scratch, &mut slices, &mut meta).unwrap();
        buffers.truncate(count);
        let received = buffers.into_iter().zip(meta);
        received.map(|(data, meta)| Received { data: data[..meta.len].to_vec(), meta }).collect()
    }

    /// Receives until `count` datagrams or runs are there.
    fn receive(&mut self, count: usize) -> Vec<Received> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.receive_once(65_535));
        }
        assert_eq!(all.len(), count);
        all
    }

    fn assert_empty(&mut self) {
        let mut buffer = [0; 16];
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let mut meta = [RecvMeta::new()];
        let fd = self.socket.as_fd();
        let error = recv_many(fd, &mut self.scratch, &mut slices, &mut meta).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert_eq!(meta, [RecvMeta::new()]);
    }
}

fn ip(ip: &str) -> IpAddr {
    ip.parse().unwrap()
}

#[test]
fn one_call_moves_datagrams_of_several_sources() {
    // Loopback delivers before the send returns, save where the kernel defers it: so several tries.
    let mut receiver = Endpoint::bind("127.0.0.1:0");
    let mut senders = [Endpoint::bind("127.0.0.1:0"), Endpoint::bind("127.0.0.1:0")];
    let to = receiver.at("127.0.0.1");
    let in_one_call = (0..100).any(|_| {
        let (one, two) = (
            [Transmit::new(b"one").to(to), Transmit::new(b"").to(to)],
            [Transmit::new(b"three").to(to)],
        );
        assert_eq!(senders[0].send(&one).unwrap(), 2);
        assert_eq!(senders[1].send(&two).unwrap(), 1);
        let mut received = receiver.receive_once(64);
        let in_first = received.len();
        if received.len() < 3 {
            received.extend(receiver.receive(3 - in_first));
        }
        let sources: Vec<_> = received.iter().map(|r| (r.data.as_slice(), r.meta.source)).collect();
        let [first, second] = [senders[0].at("127.0.0.1"), senders[1].at("127.0.0.1")];
        assert_eq!(sources.len(), 3);
        assert!(sources.contains(&(b"one", first)) && sources.contains(&(b"", first)));
        assert!(sources.contains(&(b"three", second)));
        in_first == 3
    });
    assert!(in_one_call);
}

#[test]
fn at_most_a_batch_is_moved_in_one_call() {
    let mut receiver = Endpoint::bind("127.0.0.1:0");
    let mut sender = Endpoint::bind("127.0.0.1:0");
    let payloads: Vec<_> = (0..=BATCH).map(|n| [n as u8; 4]).collect();
    let to = receiver.at("127.0.0.1");
    let transmits: Vec<_> = payloads.iter().map(|p| Transmit::new(p).to(to)).collect();
    assert_eq!(sender.send(&transmits).unwrap(), BATCH);
    assert_eq!(sender.send(&transmits[BATCH..]).unwrap(), 1);
    let received = receiver.receive(BATCH + 1);
    assert!(received.iter().map(|r| r.data.as_slice()).eq(&payloads));
    receiver.assert_empty();
}

#[test]
fn fewer_buffers_or_metas_bound_a_call() {
    let mut receiver = Endpoint::bind("127.0.0.1:0");
    let mut sender = Endpoint::bind("127.0.0.1:0");
    let transmit = Transmit::new(b"datagram").to(receiver.at("127.0.0.1"));
    assert_eq!(sender.send(&[transmit; 3]).unwrap(), 3);
    let mut buffers = [[0; 8]; 2];
    let mut slices = buffers.each_mut().map(|b| IoSliceMut::new(b));
    let mut meta = [RecvMeta::new(); 3];
    let (fd, scratch) = (receiver.socket.as_fd(), &mut receiver.scratch);
    assert_eq!(recv_many(fd, scratch, &mut slices, &mut []).unwrap(), 0);
    assert_eq!(recv_many(fd, scratch, &mut [], &mut meta).unwrap(), 0);
    assert_eq!(recv_many(fd, scratch, &mut slices, &mut meta[..1]).unwrap(), 1);
    assert_eq!((meta[0].len, meta[1].len), (8, 0));
    receiver.receive(2);
}

#[test]
fn local_address_is_the_one_sent_to() {
    let mut receiver = Endpoint::bind("0.0.0.0:0");
    let mut sender = Endpoint::bind("127.0.0.1:0");
    for address in ["127.0.0.1", "127.0.0.2"] {
        let transmit = Transmit::new(b"x").to(receiver.at(address));
        assert_eq!(sender.send(&[transmit]).unwrap(), 1);
        let meta = receiver.receive(1)[0].meta;
        assert_eq!(meta.source, sender.at("127.0.0.1"));
        assert_eq!((meta.local, meta.destination), (Some(ip(address)), Some(ip(address))));
        assert!(meta.interface.is_some_and(|index| index > 0));
    }
}

#[test]
fn source_address_is_the_one_asked_for() {
    let mut receiver = Endpoint::bind("127.0.0.1:0");
    let mut sender = Endpoint::bind("0.0.0.0:0");
    let transmit = Transmit::new(b"x").to(receiver.at("127.0.0.1")).from(ip("127.0.0.3"));
    assert_eq!(sender.send(&[transmit]).unwrap(), 1);
    assert_eq!(receiver.receive(1)[0].meta.source, sender.at("127.0.0.3"));
}

#[test]
fn source_address_of_another_host_is_refused_by_the_kernel() {
    let mut sender = Endpoint::bind("0.0.0.0:0");
    let transmit = Transmit::new(b"x").to(sender.at("127.0.0.1"));
    let error = sender.refusal(transmit.from(ip("192.0.2.199")));
    // As the route is looked up with the source, the one or the other.
    let kinds = [ErrorKind::NetworkUnreachable, ErrorKind::InvalidInput];
    assert!(kinds.contains(&error.kind()), "{error}");
    sender.assert_empty();
}

#[test]
fn marks_arrive_as_sent() {
    let mut receiver = Endpoint::bind("127.0.0.1:0");
    let mut sender = Endpoint::bind("127.0.0.1:0");
    let transmit = Transmit::new(b"x").to(receiver.at("127.0.0.1"));
    let marks = [None, Some(Ecn::Ect0), Some(Ecn::Ect1), Some(Ecn::Ce)];
    assert_eq!(sender.send(&marks.map(|mark| transmit.ecn(mark))).unwrap(), 4);
    assert!(receiver.receive(4).iter().map(|r| r.meta.ecn).eq(marks));
}

#[test]
fn ipv6_passes_addresses_and_marks() {
    let Some(mut receiver) = Endpoint::bind_v6("[::]:0", true) else {
        return;
    };
    let Some(mut sender) = Endpoint::bind_v6("[::]:0", true) else {
        return;
    };
    let transmit = Transmit::new(b"x").to(receiver.at("::1")).from(ip("::1")).ecn(Ecn::Ect1);
    assert_eq!(sender.send(&[transmit]).unwrap(), 1);
    let meta = receiver.receive(1)[0].meta;
    assert_eq!(meta.source, sender.at("::1"));
    assert_eq!((meta.local, meta.destination), (Some(ip("::1")), Some(ip("::1"))));
    assert_eq!(meta.ecn, Some(Ecn::Ect1));
    assert!(meta.interface.is_some());
    let foreign = transmit.from(ip("2001:db8::1"));
    assert_eq!(sender.refusal(foreign).raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn dual_stack_receives_ipv4_as_mapped() {
    let Some(mut receiver) = Endpoint::bind_v6("[::]:0", false) else {
        return;
    };
    let mut sender = Endpoint::bind("127.0.0.1:0");
    let transmit = Transmit::new(b"x").to(receiver.at("127.0.0.2")).ecn(Ecn::Ce);
    assert_eq!(sender.send(&[transmit]).unwrap(), 1);
    let meta = receiver.receive(1)[0].meta;
    assert_eq!(meta.source, sender.at("::ffff:127.0.0.1"));
    assert_eq!(meta.local, Some(ip("::ffff:127.0.0.2")));
    assert_eq!(meta.destination, meta.local);
    assert_eq!(meta.ecn, Some(Ecn::Ce));
    // And the answer comes from there.
    let answer = Transmit::new(b"y").to(meta.source).from(meta.local);
    assert_eq!(receiver.send(&[answer]).unwrap(), 1);
    assert_eq!(sender.receive(1)[0].meta.source, receiver.at("127.0.0.2"));
}

#[test]
fn dual_stack_sends_ipv4_from_any_spelling_of_the_source() {
    let Some(mut sender) = Endpoint::bind_v6("[::]:0", false) else {
        return;
    };
    let mut receiver = Endpoint::bind("127.0.0.1:0");
    for to in ["127.0.0.1", "::ffff:127.0.0.1"] {
        for from in ["127.0.0.3", "::ffff:127.0.0.3"] {
            let transmit = Transmit::new(b"x").to(receiver.at(to)).from(ip(from)).ecn(Ecn::Ect0);
            assert_eq!(sender.send(&[transmit]).unwrap(), 1);
            let meta = receiver.receive(1)[0].meta;
            assert_eq!((meta.source, meta.ecn), (sender.at("127.0.0.3"), Some(Ecn::Ect0)));
        }
    }
}

#[test]
fn connected_socket_sends_to_its_peer() {
    // IPv4, IPv6, and IPv4 on an IPv6 socket: the family of the messages follows the peer.
    let mut endpoints = vec![(Endpoint::bind("0.0.0.0:0"), Endpoint::bind("127.0.0.1:0"))];
    for peer in ["[::1]:0", "[::ffff:127.0.0.1]:0"] {
        let sender = Endpoint::bind_v6("[::]:0", false);
        endpoints.extend(sender.zip(Endpoint::bind_v6(peer, false)));
    }
    for (mut sender, mut receiver) in endpoints {
        let peer = receiver.socket.local_addr().unwrap();
        sender.socket.connect(peer).unwrap();
        let plain = Transmit::new(b"x").ecn(Ecn::Ce);
        assert_eq!(sender.send(&[plain, plain.from(peer.ip())]).unwrap(), 2);
        for received in receiver.receive(2) {
            assert_eq!(received.meta.source, SocketAddr::new(peer.ip(), sender.port()));
            assert_eq!(received.meta.ecn, Some(Ecn::Ce));
        }
        let other = if peer.ip().to_canonical().is_ipv4() { "::1" } else { "127.0.0.1" };
        let error = sender.refusal(plain.from(ip(other)));
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn refused_datagram_is_reported_on_a_connected_socket() {
    let gone = Endpoint::bind("127.0.0.1:0").at("127.0.0.1");
    let mut sender = Endpoint::bind("127.0.0.1:0");
    sender.socket.connect(gone).unwrap();
    assert_eq!(sender.send(&[Transmit::new(b"x")]).unwrap(), 1);
    let mut events = [PollFd::new(sender.socket.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut events, PollTimeout::from(5_000_u16)), Ok(1));
    let error = sender.refusal(Transmit::new(b"x"));
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn cut_payload_arrives_as_datagrams() {
    // IPv4, IPv6, and IPv4 from an IPv6 socket.
    let receiver = Endpoint::bind("127.0.0.1:0");
    let mut ways = vec![(Endpoint::bind("127.0.0.1:0"), receiver, "127.0.0.1")];
    for address in ["::1", "::ffff:127.0.0.1"] {
        let sender = Endpoint::bind_v6("[::]:0", false);
        let receiver = Endpoint::bind_v6("[::]:0", false);
        ways.extend(sender.zip(receiver).map(|(sender, receiver)| (sender, receiver, address)));
    }
    let payload: Vec<_> = (0..5_001_u16).map(|n| n.to_le_bytes()[0]).collect();
    for (mut sender, mut receiver, address) in ways {
        assert!(enable(sender.socket.as_fd()).unwrap().gso);
        let transmit = Transmit::new(&payload).to(receiver.at(address)).segment_size(1_000);
        let transmit = transmit.ecn(Ecn::Ect0).from(ip(address));
        assert_eq!(sender.send(&[transmit]).unwrap(), 1);
        let received = receiver.receive(6);
        assert!(received.iter().map(|r| r.data.as_slice()).eq(payload.chunks(1_000)));
        for Received { data, meta } in received {
            assert_eq!((meta.segment_size, meta.len), (data.len(), data.len()));
            assert_eq!((meta.source, meta.ecn), (sender.at(address), Some(Ecn::Ect0)));
        }
        receiver.assert_empty();
    }
}

#[test]
fn cut_payload_arrives_coalesced_with_gro() {
    let mut receiver = Endpoint::bind("127.0.0.1:0");
    let mut sender = Endpoint::bind("127.0.0.1:0");
    enable_gro(receiver.socket.as_fd()).unwrap();
    let payload: Vec<_> = (0..5_001_u16).map(|n| n.to_le_bytes()[0]).collect();
    let to = receiver.at("127.0.0.1");
    let transmit = Transmit::new(&payload).to(to).segment_size(1_000).ecn(Ecn::Ce);
    assert_eq!(sender.send(&[transmit, Transmit::new(b"lone").to(to)]).unwrap(), 2);
    // What the kernel coalesces is its own affair; what comes out of the segments is not.
    let mut received = receiver.receive_once(65_535);
    let count = |r: &[Received]| r.iter().map(|r| r.meta.segments(&r.data).count()).sum::<usize>();
    while count(&received) < 7 {
        received.extend(receiver.receive_once(65_535));
    }
    let segments: Vec<_> = received.iter().flat_map(|r| r.meta.segments(&r.data)).collect();
    assert!(segments.iter().copied().eq(payload.chunks(1_000).chain([&b"lone"[..]])));
    assert!(received.iter().any(|r| r.meta.segment_size == 1_000 && r.meta.len > 1_000));
    assert_eq!(received[0].meta.ecn, Some(Ecn::Ce));
    assert_eq!(received[0].meta.local, Some(ip("127.0.0.1")));
    assert_eq!(received.last().unwrap().meta.segment_size, 4);
}

#[test]
fn truncation_is_flagged() {
    let mut receiver = Endpoint::bind("127.0.0.1:0");
    let mut sender = Endpoint::bind("127.0.0.1:0");
    let transmit = Transmit::new(b"0123456789").to(receiver.at("127.0.0.1"));
    sender.send(&[transmit]).unwrap();
    let short = receiver.receive_once(4);
    assert_eq!(short[0].data, b"0123");
    assert!(short[0].meta.truncated);
    assert_eq!((short[0].meta.len, short[0].meta.segment_size), (4, 4));
    sender.send(&[transmit]).unwrap();
    let fitting = receiver.receive_once(10);
    assert_eq!(fitting[0].data, b"0123456789");
    assert!(!fitting[0].meta.truncated);
}

#[test]
fn truncated_run_has_no_segment_beyond_the_buffer() {
    let mut receiver = Endpoint::bind("127.0.0.1:0");
    let mut sender = Endpoint::bind("127.0.0.1:0");
    enable_gro(receiver.socket.as_fd()).unwrap();
    let payload = [7; 3_000];
    let transmit = Transmit::new(&payload).to(receiver.at("127.0.0.1")).segment_size(1_000);
    sender.send(&[transmit]).unwrap();
    let received = &receiver.receive_once(600)[0];
    assert!(received.meta.truncated);
    assert_eq!((received.meta.len, received.meta.segment_size), (600, 600));
}

#[test]
fn empty_socket_would_block() {
    Endpoint::bind("127.0.0.1:0").assert_empty();
}

#[test]
fn full_send_buffer_would_block_after_the_accepted_ones() {
    // A Unix datagram socket, as loopback UDP drops at the receiver and never blocks the sender.
    let (near, _far) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
    let mut scratch = Scratch::new();
    let payload = [0; 1_000];
    let transmits = [Transmit::new(&payload); BATCH];
    let mut sent = 0;
    let error = loop {
        match send_many(near.as_fd(), &mut scratch, &transmits) {
            Ok(0) => panic!("nothing sent, and no error"),
            Ok(count) => sent += count,
            Err(error) => break error,
        }
    };
    assert!(sent > 0);
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn transmits_before_one_that_the_kernel_refuses_count_as_sent() {
    let mut receiver = Endpoint::bind("127.0.0.1:0");
    let mut sender = Endpoint::bind("127.0.0.1:0");
    let to = receiver.at("127.0.0.1");
    let huge = vec![0; MAX_PAYLOAD];
    let good = Transmit::new(b"good").to(to);
    let transmits = [good, good, Transmit::new(&huge).to(to), good];
    assert_eq!(sender.send(&transmits).unwrap(), 2);
    assert_eq!(sender.refusal(transmits[2]).raw_os_error(), Some(libc::EMSGSIZE));
    assert_eq!(sender.send(&transmits[3..]).unwrap(), 1);
    receiver.receive(3);
}

#[test]
fn transmits_before_an_invalid_one_count_as_sent() {
    let mut receiver = Endpoint::bind("127.0.0.1:0");
    let mut sender = Endpoint::bind("127.0.0.1:0");
    let good = Transmit::new(b"good").to(receiver.at("127.0.0.1"));
    let transmits = [good, good.from(ip("::1")), good];
    assert_eq!(sender.send(&transmits).unwrap(), 1);
    assert_eq!(sender.send(&transmits[1..]).unwrap_err().kind(), ErrorKind::InvalidInput);
    receiver.receive(1);
    receiver.assert_empty();
}

#[test]
fn no_transmits_are_no_call() {
    assert_eq!(Endpoint::bind("127.0.0.1:0").send(&[]).unwrap(), 0);
}

#[test]
fn bad_input_is_refused_with_its_reason() {
    let mut sender = Endpoint::bind("127.0.0.1:0");
    let huge = vec![0; MAX_PAYLOAD + 1];
    let to = sender.at("127.0.0.1");
    let cases = [
        (Transmit::new(&huge).to(to), "65536 bytes"),
        (Transmit::new(&huge[..65]).to(to).segment_size(1), "more than 64 datagrams"),
        (Transmit::new(b"x").to(to).segment_size(0), "segment size of 0"),
        (Transmit::new(b"x").to(to).from(ip("::1")), "source ::1 and destination 127.0.0.1"),
        (Transmit::new(b"x").to(sender.at("::1")).from(ip("127.0.0.1")), "source 127.0.0.1 and"),
    ];
    for (transmit, reason) in cases {
        let error = sender.refusal(transmit);
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(reason), "{error}");
    }
    sender.assert_empty();
}

#[test]
fn source_without_destination_or_peer_is_not_connected() {
    let mut sender = Endpoint::bind("127.0.0.1:0");
    let transmit = Transmit::new(b"x");
    assert_eq!(sender.refusal(transmit).raw_os_error(), Some(libc::EDESTADDRREQ));
    let error = sender.refusal(transmit.from(ip("127.0.0.1")));
    assert_eq!(error.kind(), ErrorKind::NotConnected);
}

#[test]
fn payload_of_one_segment_is_not_cut() {
    let cut = |len, size| Transmit::new(&[0; 128][..len]).segment_size(size).cut().unwrap();
    assert_eq!((cut(0, 1), cut(1, 1), cut(2, 1)), (None, None, Some(1)));
    assert_eq!((cut(64, 1), cut(128, 2)), (Some(1), Some(2)));
}

#[test]
fn kernel_errors_of_a_cut_payload_are_explained() {
    let whole = Transmit::new(b"1234");
    let cases = [(libc::EIO, ErrorKind::Unsupported), (libc::EINVAL, ErrorKind::InvalidInput)];
    for (code, kind) in cases {
        let error = || io::Error::from_raw_os_error(code);
        let explained = explain(error(), &whole.segment_size(2));
        assert_eq!((explained.kind(), explained.raw_os_error()), (kind, None));
        assert!(explained.to_string().starts_with("4 bytes in segments of 2"), "{explained}");
        assert_eq!(explain(error(), &whole).raw_os_error(), Some(code));
    }
    let error = explain(ErrorKind::WouldBlock.into(), &whole.segment_size(2));
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn other_sockets_are_refused() {
    let (socket, other) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
    assert_eq!(enable(socket.as_fd()).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(enable_gro(socket.as_fd()).unwrap_err().kind(), ErrorKind::Unsupported);
    other.send(b"x").unwrap();
    let mut buffer = [0; 4];
    let (mut slices, mut meta) = ([IoSliceMut::new(&mut buffer)], [RecvMeta::new()]);
    let error = recv_many(socket.as_fd(), &mut Scratch::new(), &mut slices, &mut meta).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[test]
fn interrupted_call_is_repeated() {
    let mut left = 3;
    let value = retry(|| {
        left -= 1;
        if left > 0 { Err(ErrorKind::Interrupted.into()) } else { Ok(left) }
    });
    assert_eq!(value.unwrap(), 0);
}

#[test]
fn codepoints_are_those_of_rfc_3168() {
    let table = [None, Some(Ecn::Ect1), Some(Ecn::Ect0), Some(Ecn::Ce)];
    for bits in 0..=u8::MAX {
        assert_eq!(Ecn::from_bits(bits), table[usize::from(bits & 3)]);
        assert_eq!(Ecn::from_bits(bits).map_or(0, Ecn::bits), bits & 3);
    }
}

#[test]
fn metas_of_a_batch_fit_a_small_array() {
    assert!(size_of::<[RecvMeta; BATCH]>() <= 4_096);
}

#[test]
fn segments_follow_the_stride() {
    let cut = |len, segment_size| {
        let meta = RecvMeta { len, segment_size, ..RecvMeta::new() };
        meta.segments(b"0123456789").collect::<Vec<_>>()
    };
    assert_eq!(cut(10, 4), [&b"0123"[..], b"4567", b"89"]);
    assert_eq!(cut(4, 4), [b"0123"]);
    assert_eq!(cut(0, 0), [b""]);
    assert_eq!(cut(99, 99), [b"0123456789"], "a buffer other than the one received into");
}
