//! What HTTP runs over.

use std::io::{self, Read, Write};
use std::net::Shutdown;

use thalweg_runtime::net::{NetFd, TcpStream, UnixStream};
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

    /// The socket below, for waiting until there is something to read. `None` where there is none.
    fn net_fd(&self) -> Option<&NetFd> {
        None
    }
}

impl Stream for TcpStream {
    fn finish(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn net_fd(&self) -> Option<&NetFd> {
        Some(Self::net_fd(self))
    }
}

impl Stream for UnixStream {
    fn finish(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn net_fd(&self) -> Option<&NetFd> {
        Some(Self::net_fd(self))
    }
}

impl Stream for DuplexStream {
    fn finish(&mut self) -> io::Result<()> {
        self.shutdown_write();
        Ok(())
    }
}
