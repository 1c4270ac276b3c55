//! A raw level-triggered epoll loop, as one would write it in C: the floor of the echo cases.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use crate::contender::Contender;
use crate::measure::{ECHO_BUF_BYTES, Outcome};
use crate::sys;

/// The contender `epoll`.
#[derive(Debug)]
pub(crate) struct Epoll;

impl Contender for Epoll {
    fn echo(&self, listener: TcpListener) -> Outcome {
        let epoll = sys::Epoll::new()?;
        listener.set_nonblocking(true)?;
        let listener_fd = listener.as_raw_fd();
        epoll.add_readable(listener_fd, token(listener_fd))?;
        let mut connections: Vec<Option<TcpStream>> = Vec::new();
        let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; 1024];
        let mut buf = [0; ECHO_BUF_BYTES];
        loop {
            for event in epoll.wait(&mut events, -1)? {
                let fd = i32::try_from(event.u64)?;
                if fd == listener_fd {
                    accept_all(&listener, &epoll, &mut connections)?;
                } else if !echo_once(fd, &mut buf) {
                    connections[usize::try_from(fd)?] = None;
                }
            }
        }
    }
}

fn accept_all(
    listener: &TcpListener,
    epoll: &sys::Epoll,
    connections: &mut Vec<Option<TcpStream>>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    loop {
        let connection = match listener.accept() {
            Ok((connection, _peer)) => connection,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        connection.set_nonblocking(true)?;
        connection.set_nodelay(true)?;
        let fd = connection.as_raw_fd();
        epoll.add_readable(fd, token(fd))?;
        let index = usize::try_from(fd)?;
        if connections.len() <= index {
            connections.resize_with(index + 1, || None);
        }
        connections[index] = Some(connection);
    }
}

/// Answers what has arrived; false when the connection is over. 64 bytes always fit the socket's
/// buffer.
#[inline]
fn echo_once(fd: RawFd, buf: &mut [u8]) -> bool {
    match sys::read(fd, buf) {
        Ok(0) => false,
        Ok(len) => matches!(sys::write(fd, &buf[..len]), Ok(written) if written == len),
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

fn token(fd: RawFd) -> u64 {
    u64::from(fd.unsigned_abs())
}
