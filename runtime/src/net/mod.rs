//! Sockets that suspend only the coroutine that waits for them.
//!
//! They work like std's: the streams implement [`std::io::Read`] and [`std::io::Write`], also by
//! shared reference, so whatever is written against those runs on a coroutine unchanged.

mod accept;
mod addr;
mod connect;
mod mmsg;
mod resolve;
mod stream;
mod tcp;
mod udp;
mod unix;

pub use crate::fd::{Closed, Interest, NetFd, Ready, poll_many};
pub use accept::ListenOptions;
pub use addr::{Target, ToAddr};
pub use mmsg::{Ecn, RecvMeta, Transmit};
pub use resolve::resolve;
pub use stream::Incomplete;
pub use tcp::{TcpListener, TcpStream};
pub use udp::UdpSocket;
pub use unix::{UnixListener, UnixStream};

pub(crate) use resolve::{Names, NamesSettings};
