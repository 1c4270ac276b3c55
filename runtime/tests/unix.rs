//! Unix stream sockets.

#![expect(clippy::disallowed_types, reason = "a peer is a plain thread with std's socket")]

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileTypeExt;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use support::net::{SocketPath, elsewhere, run};
use support::scaled;
use thalweg_runtime::net::{Closed, UnixListener, UnixStream};
use thalweg_runtime::{self as rt, timed_out};

const MS: Duration = Duration::from_millis(1);

#[test]
fn pair_carries_data_both_ways() {
    run(|| {
        let (mut near, mut far) = UnixStream::pair()?;
        let size = scaled(4 << 20, 1 << 18);
        let echo = rt::spawn(move || -> io::Result<()> {
            let mut buf = vec![0; 5000];
            loop {
                match far.read(&mut buf)? {
                    0 => return Ok(()),
                    count => far.write_all(&buf[..count])?,
                }
            }
        });
        let mut writer = near.try_clone()?;
        let written = rt::spawn(move || -> io::Result<()> {
            let data: Vec<u8> = (0..size).map(|i| i as u8).collect();
            writer.write_all(&data)?;
            writer.shutdown(std::net::Shutdown::Write)
        });
        let mut got = Vec::new();
        near.read_to_end(&mut got)?;
        assert!(got.len() == size && got.iter().enumerate().all(|(i, byte)| *byte == i as u8));
        written.join()??;
        echo.join()??;
        Ok(())
    });
}

#[test]
fn listener_serves_a_std_client() {
    run(|| {
        let path = Rc::new(SocketPath::new("unix-echo"));
        let listener = UnixListener::bind(&*path)?;
        assert!(std::fs::metadata(&*path)?.file_type().is_socket());
        let address = (*path).as_ref().to_path_buf();
        rt::spawn(move || -> io::Result<()> {
            let mut conn = listener.accept()?;
            let mut line = [0; 4];
            conn.read_full(&mut line)?;
            conn.write_all(&line)
        });
        let echoed = elsewhere(move || -> io::Result<String> {
            let mut client = std::os::unix::net::UnixStream::connect(address)?;
            client.write_all(b"line")?;
            let mut echoed = String::new();
            client.read_to_string(&mut echoed)?;
            Ok(echoed)
        })??;
        assert_eq!(echoed, "line");
        Ok(())
    });
}

#[test]
fn connect_waits_while_the_backlog_is_full() {
    run(|| {
        let path = Rc::new(SocketPath::new("unix-full"));
        let listener = UnixListener::bind(&*path)?;
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(1)?)?;
        let mut filling = Vec::new();
        let full = loop {
            match rt::timeout(20 * MS, || UnixStream::connect(&*path)) {
                Ok(stream) => filling.push(stream),
                Err(error) => break error,
            }
            assert!(filling.len() < 16, "a backlog of 1 takes 16 connections");
        };
        assert!(timed_out(&full).is_some(), "{full}");

        let waiting_path = Rc::clone(&path);
        let waiting = rt::spawn(move || UnixStream::connect(&*waiting_path));
        rt::sleep(8 * MS)?;
        assert!(!waiting.is_finished());
        listener.accept()?;
        waiting.join()??.write_full(b"x")?;
        Ok(())
    });
}

#[test]
fn errors_name_the_path() {
    run(|| {
        let path = SocketPath::new("unix-names");
        let shown = path.as_ref().display().to_string();
        let missing = UnixStream::connect(&path).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let _listener = UnixListener::bind(&path)?;
        let taken = UnixListener::bind(&path).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        let long = "x".repeat(200);
        let too_long = UnixListener::bind(&long).unwrap_err();
        let texts = [(missing, &shown), (taken, &shown), (too_long, &long)];
        assert!(texts.iter().all(|(error, name)| error.to_string().contains(*name)), "{texts:?}");
        Ok(())
    });
}

#[test]
fn socket_nobody_listens_on_any_more_refuses() {
    run(|| {
        let path = SocketPath::new("unix-left");
        drop(UnixListener::bind(&path)?);
        let refused = UnixStream::connect(&path).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    });
}

#[test]
fn close_ends_accept_and_reads() {
    run(|| {
        let path = SocketPath::new("unix-close");
        let listener = UnixListener::bind(&path)?;
        let (near, _far) = UnixStream::pair()?;
        let (acceptor, mut reader) = (listener.clone(), near.clone());
        let accepted = rt::spawn(move || acceptor.accept().map(drop));
        let read = rt::spawn(move || reader.read(&mut [0]).map(drop));
        rt::yield_now()?;
        listener.close()?;
        near.close()?;
        for error in [accepted.join()?.unwrap_err(), read.join()?.unwrap_err()] {
            assert!(error.get_ref().is_some_and(|inner| inner.is::<Closed>()), "{error}");
        }
        Ok(())
    });
}

#[test]
fn end_that_comes_together_with_data_is_seen() {
    run(|| {
        let (mut near, mut far) = UnixStream::pair()?;
        let read = rt::spawn(move || -> io::Result<(usize, usize)> {
            let mut buf = [0; 64];
            Ok((near.read(&mut buf)?, near.read(&mut buf)?))
        });
        rt::yield_now()?;
        far.write_all(b"last")?;
        drop(far);
        assert_eq!(read.join()??, (4, 0));
        Ok(())
    });
}

#[test]
fn descriptor_that_a_peer_sends_along_does_not_hold_up_what_follows_it() {
    run(|| {
        let (mut near, far) = UnixStream::pair()?;
        let read = rt::spawn(move || -> io::Result<Vec<u8>> {
            let mut got = Vec::new();
            while got.len() < 8 {
                let mut buf = [0; 64];
                let count = near.read(&mut buf)?;
                got.extend_from_slice(&buf[..count]);
            }
            Ok(got)
        });
        rt::yield_now()?;
        // The kernel ends a read after a message with descriptors, though more is there.
        let sent_along = [far.as_fd().as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&sent_along)];
        let data = [io::IoSlice::new(b"four")];
        sendmsg::<()>(far.as_fd().as_raw_fd(), &data, &rights, MsgFlags::empty(), None)?;
        (&far).write_all(b"more")?;
        assert_eq!(read.join_until(rt::now() + 5000 * MS)??, b"fourmore");
        Ok(())
    });
}
