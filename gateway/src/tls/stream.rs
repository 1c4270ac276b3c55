//! One connection: rustls without I/O in the middle, the runtime's socket at one end.
//!
//! What one coroutine reads and another writes passes through one [`Connection`] of rustls, which keeps both directions
//! in one value. It is borrowed only inside calls that cannot suspend: `read_tls` and `write_tls` get the bare
//! descriptor and try it once, and it is [`NetFd::io`] that waits in between, when nothing is borrowed. So neither
//! direction ever waits for the other, and what is sealed leaves in the order in which it was sealed, whoever sends it.
//!
//! An end without `close_notify` is an end like any other: HTTP and RTMP know by themselves whether a message is whole
//! (RFC 9112 §9.8), and many clients leave without a word.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;

use nix::sys::socket::{MsgFlags, SockaddrStorage, recv, sendmsg};
use rustls::Connection;
use thalweg_runtime::net::{Interest, NetFd, TcpStream};
use thalweg_runtime::{self as rt};

/// A TLS connection. Clones are the same connection.
///
/// One coroutine may read while another writes. Of several that write at once, each call's bytes stay together up to
/// what it reports as written.
#[derive(Clone)]
pub struct Stream {
    shared: Rc<Shared>,
}

struct Shared {
    socket: TcpStream,
    session: RefCell<Box<Connection>>,
}

/// What [`Stream::look`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing so far.
    Nothing,
    /// Data, which is still there to be read.
    Data,
    /// The end: the peer has closed, or the connection has failed.
    End,
}

impl Stream {
    /// Shakes hands. A deadline is the caller's to set.
    ///
    /// # Suspends
    ///
    /// Until both ends agree.
    ///
    /// # Errors
    ///
    /// `InvalidData` when the peer speaks no TLS or none that we do; `UnexpectedEof` when it leaves; what the socket
    /// reports. The peer has been told where TLS has a word for it.
    pub(super) fn open(socket: TcpStream, session: Box<Connection>) -> io::Result<Self> {
        let stream = Self { shared: Rc::new(Shared { socket, session: RefCell::new(session) }) };
        loop {
            stream.shared.drain()?;
            if !stream.shared.session.borrow().is_handshaking() {
                break;
            }
            if stream.shared.receive()? == 0 && stream.shared.session.borrow().is_handshaking() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        // Signatures went deep into the stack, and the connection may stay for days.
        rt::trim_stack()?;
        Ok(stream)
    }

    /// Tells the peer that nothing more comes; reading goes on.
    ///
    /// # Suspends
    ///
    /// Until what was written has been sent.
    ///
    /// # Errors
    ///
    /// When the connection has ended already.
    pub fn finish(&self) -> io::Result<()> {
        self.shared.session.borrow_mut().send_close_notify();
        self.shared.drain()?;
        self.shared.socket.shutdown(Shutdown::Write)
    }

    /// Looks whether the peer has said something or left, without waiting. Nobody else may be reading.
    #[must_use]
    pub fn look(&self) -> Heard {
        loop {
            let shared = &self.shared;
            let received = shared.socket.net_fd().try_io(Interest::Readable, |fd| {
                shared.session.borrow_mut().read_tls(&mut Bare(fd))
            });
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
                Ok(0) | Err(_) => return Heard::End,
                Ok(_) => {}
            }
            match shared.session.borrow_mut().process_new_packets() {
                Ok(state) if state.plaintext_bytes_to_read() > 0 => return Heard::Data,
                Ok(state) if !state.peer_has_closed() => {}
                Ok(_) | Err(_) => return Heard::End,
            }
        }
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// What `getsockname(2)` reports.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket.local_addr()
    }

    /// The socket, for waiting until there may be something to [`look`](Self::look) at.
    #[must_use]
    pub fn net_fd(&self) -> &NetFd {
        self.shared.socket.net_fd()
    }

    /// The version, and the protocol that both chose.
    #[must_use]
    pub fn agreed(&self) -> (Option<rustls::ProtocolVersion>, Option<Vec<u8>>) {
        let session = self.shared.session.borrow();
        (session.protocol_version(), session.alpn_protocol().map(<[u8]>::to_vec))
    }
}

impl Shared {
    /// Takes in what has come, at least something or the end: how many bytes of TLS that were.
    fn receive(&self) -> io::Result<usize> {
        let count = self
            .socket
            .net_fd()
            .io(Interest::Readable, |fd| self.session.borrow_mut().read_tls(&mut Bare(fd)))?;
        let processed = self.session.borrow_mut().process_new_packets();
        if let Err(error) = processed {
            // The connection ends with this, whether the alert gets through or not.
            let _told = self.try_drain();
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(count)
    }

    /// Sends what is sealed.
    fn drain(&self) -> io::Result<()> {
        while self.session.borrow().wants_write() {
            let sent = self.socket.net_fd().io(Interest::Writable, |fd| {
                let mut session = self.session.borrow_mut();
                // While this waited another may have sent it all.
                if session.wants_write() { session.write_tls(&mut Bare(fd)) } else { Ok(1) }
            })?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Sends of what is sealed as much as goes without waiting.
    fn try_drain(&self) -> io::Result<()> {
        while self.session.borrow().wants_write() {
            self.socket.net_fd().try_io(Interest::Writable, |fd| {
                self.session.borrow_mut().write_tls(&mut Bare(fd))
            })?;
        }
        Ok(())
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.borrow_mut().reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            self.receive()?;
            // An answer to a change of keys (RFC 8446 §4.6.3). One that has to wait leaves with what is written next.
            match self.try_drain() {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }

    /// What is sealed counts as written: a deadline or cancellation that comes before it is sent is reported by the
    /// next call, which sends the rest first.
    fn write(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.drain()?;
        let count = self.session.borrow_mut().writer().write_vectored(bufs)?;
        match self.drain() {
            Err(error) if rt::is_cancelled(&error) || rt::timed_out(&error).is_some() => Ok(count),
            Err(error) => Err(error),
            Ok(()) => Ok(count),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.shared.read(buf)
    }
}

impl Write for &Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.shared.write(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.shared.write(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.shared.drain()
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.shared.read(buf)
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.shared.write(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.shared.write(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.shared.drain()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("socket", &self.shared.socket).finish_non_exhaustive()
    }
}

/// The bare descriptor, tried once.
struct Bare<'a>(BorrowedFd<'a>);

impl Read for Bare<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT)?)
    }
}

impl Write for Bare<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        Ok(sendmsg::<SockaddrStorage>(self.0.as_raw_fd(), bufs, &[], flags, None)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
