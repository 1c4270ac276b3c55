//! UDP, one datagram and many in a call.

mod support;

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use support::net::{elsewhere, run};
use thalweg_runtime::net::{Closed, Ecn, RecvMeta, Transmit, UdpSocket};
use thalweg_runtime::{self as rt, timed_out};

const MS: Duration = Duration::from_millis(1);

fn sockets() -> io::Result<(UdpSocket, UdpSocket)> {
    Ok((UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?))
}

/// Receives what is there or comes next, into buffers of `size` bytes.
fn recv_many(socket: &UdpSocket, size: usize) -> io::Result<Vec<(RecvMeta, Vec<u8>)>> {
    let mut data = vec![vec![0; size]; UdpSocket::BATCH];
    let mut meta = vec![RecvMeta::new(); UdpSocket::BATCH];
    let mut buffers: Vec<IoSliceMut<'_>> =
        data.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
    let count = socket.recv_many(&mut buffers, &mut meta)?;
    Ok(meta.into_iter().zip(data).take(count).collect())
}

#[test]
fn datagram_tells_its_sender_and_is_answered() {
    run(|| {
        let (near, far) = sockets()?;
        let (near_address, far_address) = (near.local_addr()?, far.local_addr()?);
        let answered = rt::spawn(move || -> io::Result<()> {
            let mut buf = [0; 64];
            let (len, peer) = far.recv_from(&mut buf)?;
            assert_eq!((peer, &buf[..len]), (near_address, &b"question"[..]));
            far.send_to(b"answer", peer)?;
            Ok(())
        });
        rt::yield_now()?; // it waits
        near.connect(far_address)?;
        assert_eq!(near.send(b"question")?, 8);
        let mut buf = [0; 64];
        let len = near.recv(&mut buf)?;
        assert_eq!(&buf[..len], b"answer");
        answered.join()??;
        Ok(())
    });
}

#[test]
fn several_datagrams_are_read_one_by_one() {
    run(|| {
        let (near, far) = sockets()?;
        let address = far.local_addr()?;
        let receiver = rt::spawn(move || -> io::Result<Vec<usize>> {
            let mut buf = [0; 64];
            (0..5).map(|_| Ok(far.recv_from(&mut buf)?.0)).collect()
        });
        rt::yield_now()?;
        for len in [4, 0, 60, 1] {
            near.send_to(&[0; 60][..len], address)?;
        }
        // Cut to the buffer; that it is shorter than the buffers before says nothing about more.
        near.send_to(&[0; 100], address)?;
        assert_eq!(receiver.join()??, [4, 0, 60, 1, 64]);
        Ok(())
    });
}

#[test]
fn many_datagrams_go_and_come_in_one_call_each() {
    run(|| {
        let (near, far) = sockets()?;
        let (near_address, far_address) = (near.local_addr()?, far.local_addr()?);
        let receiver = rt::spawn(move || recv_many(&far, 64));
        rt::yield_now()?; // it waits, and has asked for addresses and marks
        let payloads: Vec<Vec<u8>> = (0..UdpSocket::BATCH).map(|i| vec![i as u8; i]).collect();
        let transmits: Vec<Transmit<'_>> = payloads
            .iter()
            .map(|payload| Transmit::new(payload).to(far_address).ecn(Ecn::Ect0))
            .collect();
        assert_eq!(near.send_many(&transmits)?, UdpSocket::BATCH);
        let received = receiver.join()??;
        assert_eq!(received.len(), UdpSocket::BATCH);
        for ((meta, data), payload) in received.iter().zip(&payloads) {
            assert_eq!(&data[..meta.len], payload);
            assert_eq!((meta.source, meta.ecn), (near_address, Some(Ecn::Ect0)));
            assert_eq!(meta.local, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
            assert!(!meta.truncated);
        }
        Ok(())
    });
}

#[test]
fn answer_leaves_from_the_address_that_was_asked() {
    run(|| {
        let server = UdpSocket::bind("0.0.0.0:0")?;
        let port = server.local_addr()?.port();
        let client = UdpSocket::bind("127.0.0.1:0")?;
        rt::spawn(move || -> io::Result<()> {
            loop {
                for (meta, data) in recv_many(&server, 64)? {
                    let answer = Transmit::new(&data[..meta.len]);
                    server.send_many(&[answer.to(meta.source).from(meta.local)])?;
                }
            }
        });
        // Without the source address every answer would come from 127.0.0.1.
        for host in ["127.0.0.1", "127.0.0.2", "127.1.2.3"] {
            client.send_to(host.as_bytes(), (host, port))?;
            let mut buf = [0; 64];
            let (len, peer) = client.recv_from(&mut buf)?;
            assert_eq!(&buf[..len], host.as_bytes());
            assert_eq!((peer.ip().to_string(), peer.port()), (host.to_owned(), port));
        }
        Ok(())
    });
}

#[test]
fn large_payload_is_cut_on_the_way_out_and_joined_on_the_way_in() {
    run(|| {
        let (near, far) = sockets()?;
        if !near.has_segmentation()? {
            return Ok(());
        }
        let payload: Vec<u8> = (0..10_000).map(|i| (i / 1200) as u8).collect();
        near.connect(far.local_addr()?)?;
        let transmit = [Transmit::new(&payload).segment_size(1200)];

        // Cut: nine datagrams.
        assert_eq!(near.send_many(&transmit)?, 1);
        let received = recv_many(&far, 2048)?;
        let lens: Vec<usize> = received.iter().map(|(meta, _)| meta.len).collect();
        assert_eq!(lens, [1200, 1200, 1200, 1200, 1200, 1200, 1200, 1200, 400]);

        // And joined: as many segments, in fewer buffers.
        far.enable_gro()?;
        assert_eq!(near.send_many(&transmit)?, 1);
        let received = recv_many(&far, 65_535)?;
        assert!(received.len() < 9, "nothing was joined");
        let segments: Vec<&[u8]> =
            received.iter().flat_map(|(meta, data)| meta.segments(data)).collect();
        assert_eq!(segments.len(), 9);
        assert!(segments.iter().enumerate().all(|(i, s)| s.iter().all(|byte| *byte == i as u8)));
        Ok(())
    });
}

#[test]
fn transmit_that_cannot_be_sent_is_an_error_and_the_socket_goes_on() {
    run(|| {
        let (near, far) = sockets()?;
        let to = far.local_addr()?;
        let too_long = vec![0; 70_000];
        let wrong = [Transmit::new(&too_long).to(to)];
        assert_eq!(near.send_many(&wrong).unwrap_err().kind(), ErrorKind::InvalidInput);
        // What stands before a wrong one is sent; the next call reports it.
        let mixed = [Transmit::new(b"first").to(to), Transmit::new(&too_long).to(to)];
        assert_eq!(near.send_many(&mixed)?, 1);
        assert_eq!(near.send_many(&mixed[1..]).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(near.send_many(&[])?, 0);
        assert_eq!(far.recv(&mut [0; 64])?, 5);
        Ok(())
    });
}

#[test]
fn refused_datagram_is_reported_and_the_socket_goes_on() {
    run(|| {
        let (near, far) = sockets()?;
        let address = far.local_addr()?;
        near.connect(address)?;
        drop(far);
        near.send(b"to nobody")?;
        assert_eq!(near.recv(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let timeout = rt::timeout(MS, || near.recv(&mut [0; 8])).unwrap_err();
        assert!(timed_out(&timeout).is_some(), "{timeout}");
        Ok(())
    });
}

#[test]
fn read_timeout_ends_every_kind_of_receive() {
    run(|| {
        let (near, far) = sockets()?;
        near.set_read_timeout(Some(2 * MS))?;
        near.set_write_timeout(Some(2 * MS))?;
        let errors = [
            near.recv(&mut [0]).unwrap_err(),
            near.recv_from(&mut [0]).unwrap_err(),
            recv_many(&near, 8).unwrap_err(),
        ];
        assert!(errors.iter().all(|error| timed_out(error).is_some()), "{errors:?}");
        far.send_to(b"x", near.local_addr()?)?;
        assert_eq!(near.recv(&mut [0])?, 1);
        Ok(())
    });
}

#[test]
fn close_ends_a_receive() {
    run(|| {
        let (near, _far) = sockets()?;
        let receiver = near.clone();
        let received = rt::spawn(move || receiver.recv_from(&mut [0]).map(drop));
        rt::yield_now()?;
        near.close()?;
        let error = received.join()?.unwrap_err();
        assert!(error.get_ref().is_some_and(|inner| inner.is::<Closed>()), "{error}");
        let later = near.send_to(b"x", "127.0.0.1:9").unwrap_err();
        assert!(later.get_ref().is_some_and(|inner| inner.is::<Closed>()), "{later}");
        Ok(())
    });
}

#[test]
fn bind_to_a_used_port_names_the_address() {
    run(|| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        let taken = UdpSocket::bind(address).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        assert!(taken.to_string().contains(&address.to_string()), "{taken}");
        Ok(())
    });
}

#[test]
fn socket_is_refused_on_another_thread() {
    run(|| {
        let (near, _far) = sockets()?;
        let refused =
            elsewhere(move || [near.recv(&mut [0]).unwrap_err(), near.send(b"x").unwrap_err()])?;
        assert!(refused.iter().all(|error| error.kind() == ErrorKind::Unsupported));
        Ok(())
    });
}
