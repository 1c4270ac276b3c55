//! Local ports that callers share.
//!
//! libsrt starts two threads for each UDP port. Sockets whose settings of the UDP socket are equal may be bound
//! to one, and tell their packets apart by SRT's own socket numbers. So callers that ask for no
//! address of their own get a port that others have, as long as its users are few enough for its one pair of threads.
#![expect(
    clippy::disallowed_types,
    reason = "shared between runtimes; held for a look into a list"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libsrt_sys as sys;

use super::ffi::{self, RawSocket};
use super::wildcard_family;
use crate::error::SrtError;

/// A place at a shared port, given up when it is dropped.
#[derive(Debug)]
pub(super) struct PortLease(Arc<AtomicUsize>);

#[derive(Debug)]
struct Port {
    settings: Settings,
    number: u16,
    users: Arc<AtomicUsize>,
}

/// What sockets at one port have to agree on (`CSrtMuxerConfig` of libsrt 1.5.1, the family, and the MSS that
/// its buffers are made for).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    is_ipv4: bool,
    numbers: [i32; 7],
    device: Vec<u8>,
}

/// Callers at one port at most. One thread receives for all of them.
const USERS: usize = 256;

static PORTS: Mutex<Vec<Port>> = Mutex::new(Vec::new());

/// Binds `socket`, whose options are set, to a port for callers of peers like `peer`.
pub(super) fn bind(socket: &RawSocket, peer: SocketAddr) -> Result<PortLease, SrtError> {
    let wildcard: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    wildcard_family(socket, (wildcard, 0).into(), false)?;
    let settings = Settings::of(socket, peer);
    while let Some((number, lease)) = find(&settings) {
        if socket.bind((wildcard, number).into()).is_ok() {
            return Ok(lease);
        }
        // Nobody had used it for a while, and another process has it now.
        ports().retain(|port| port.number != number || port.settings != settings);
    }
    socket.bind((wildcard, 0).into())?;
    let number = socket.local_addr()?.port();
    let users = Arc::new(AtomicUsize::new(1));
    ports().push(Port { settings, number, users: Arc::clone(&users) });
    Ok(PortLease(users))
}

fn find(settings: &Settings) -> Option<(u16, PortLease)> {
    let ports = ports();
    let has_place =
        |port: &&Port| port.settings == *settings && port.users.load(Ordering::SeqCst) < USERS;
    let port = ports.iter().find(has_place)?;
    port.users.fetch_add(1, Ordering::SeqCst);
    Some((port.number, PortLease(Arc::clone(&port.users))))
}

fn ports() -> MutexGuard<'static, Vec<Port>> {
    // No code that could panic runs under the lock.
    PORTS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Settings {
    fn of(socket: &RawSocket, peer: SocketAddr) -> Self {
        let number = |symbol| ffi::option_int(socket.id(), symbol).unwrap_or(-1);
        let reuse = ffi::option_bool(socket.id(), sys::SRTO_REUSEADDR).unwrap_or(true);
        Self {
            is_ipv4: peer.is_ipv4(),
            numbers: [
                number(sys::SRTO_IPTTL),
                number(sys::SRTO_IPTOS),
                number(sys::SRTO_IPV6ONLY),
                number(sys::SRTO_UDP_SNDBUF),
                number(sys::SRTO_UDP_RCVBUF),
                number(sys::SRTO_MSS),
                i32::from(reuse),
            ],
            device: ffi::option_text(socket.id(), sys::SRTO_BINDTODEVICE).unwrap_or_default(),
        }
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
