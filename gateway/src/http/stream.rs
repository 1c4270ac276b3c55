//! What HTTP runs over.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::{MsgFlags, recv};
use thalweg_runtime::net::{Interest, NetFd, TcpStream, UnixStream};
use thalweg_runtime::sync::DuplexStream;

/// A connection that carries bytes both ways.
///
/// Its reads and writes suspend the coroutine, and report a deadline or a cancellation as the runtime's sockets do.
/// `write_vectored` should write more than the first piece: live streams leave by it.
pub trait Stream: Read + Write {
    /// Tells the peer that nothing more comes; reading goes on.
    ///
    /// # Suspends
    ///
    /// Perhaps, where telling takes a message of its own, as in TLS.
    ///
    /// # Errors
    ///
    /// When the connection has ended already.
    fn finish(&mut self) -> io::Result<()>;

    /// What looks after the peer while somebody else writes. `None` where there is no such thing.
    fn watch(&self) -> Option<Box<dyn Watch>> {
        None
    }
}

/// Looks whether the peer of a [`Stream`] is still there.
pub trait Watch {
    /// The socket: when it becomes readable it is time to look.
    fn net_fd(&self) -> &NetFd;

    /// What has come, without waiting.
    fn look(&self) -> Heard;
}

/// What [`Watch::look`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing.
    Nothing,
    /// The peer has sent something, which is still there.
    Data,
    /// The peer has closed the connection, or it has failed.
    End,
}

impl Stream for TcpStream {
    fn finish(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn watch(&self) -> Option<Box<dyn Watch>> {
        Some(Box::new(self.net_fd().clone()))
    }
}

impl Stream for UnixStream {
    fn finish(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn watch(&self) -> Option<Box<dyn Watch>> {
        Some(Box::new(self.net_fd().clone()))
    }
}

/// A socket that carries what is read as it is.
impl Watch for NetFd {
    fn net_fd(&self) -> &NetFd {
        self
    }

    fn look(&self) -> Heard {
        let mut byte = [0];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        let peek = |fd: BorrowedFd<'_>| Ok(recv(fd.as_raw_fd(), &mut byte, flags)?);
        match self.try_io(Interest::Readable, peek) {
            Ok(0) => Heard::End,
            Ok(_) => Heard::Data,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Heard::Nothing,
            Err(_) => Heard::End,
        }
    }
}

impl Stream for DuplexStream {
    fn finish(&mut self) -> io::Result<()> {
        self.shutdown_write();
        Ok(())
    }
}
