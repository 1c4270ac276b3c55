//! A bad network on loopback: a UDP relay that loses, delays, reorders and repeats datagrams by a seed.
//!
//! ```
//! use std::net::UdpSocket;
//! use std::time::Duration;
//!
//! # fn main() -> std::io::Result<()> {
//! let server = UdpSocket::bind("127.0.0.1:0")?;
//! let link = thalweg_badlink::Link::builder()
//!     .loss(2.0)
//!     .delay(Duration::from_millis(5))
//!     .reorder(1.0, Duration::from_millis(20))
//!     .seed(7)
//!     .start(server.local_addr()?)?;
//! let client = UdpSocket::bind("127.0.0.1:0")?;
//! client.send_to(b"through the link", link.addr())?;
//! # Ok(())
//! # }
//! ```
//!
//! Callers send to [`Link::addr`] instead of the target's address; each of them gets a socket of its own
//! towards the target, which therefore tells them apart. Kernels without `netem` need nothing else, and
//! neither does a user without privileges.
//!
//! For tests and benchmarks. Works on threads of its own, so it serves peers of any kind and does not
//! disturb a runtime; a process under test sees nothing but a network. Knows nothing of what it
//! carries. `fate` decides on a datagram, `queue` keeps it until it is due, `relay` moves it.

mod fate;
mod link;
mod queue;
mod relay;
mod rng;
mod stats;

pub use link::{Link, LinkBuilder};
pub use rng::Rng;
pub use stats::{Counts, Stats};
