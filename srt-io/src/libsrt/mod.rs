//! libsrt as the engine: the only part of the crate that knows it.
//!
//! `ffi` makes it safe, `bridge` hears its events, `source` has coroutines wait for them; `listener`, `connect`,
//! `socket` and `finish` are what users call, `gate` and `ports` serve them. `apply` and `perf` translate
//! options and statistics.

pub(crate) mod apply;
mod bridge;
mod clock;
mod connect;
pub(crate) mod ffi;
mod finish;
mod gate;
mod heard;
mod listener;
mod perf;
mod ports;
mod socket;
mod source;
mod state;

use std::net::SocketAddr;

use libsrt_sys as sys;

pub use gate::{Refusal, Refusals};
pub use listener::Listener;
pub use socket::Socket;

use crate::error::{SrtError, StartError};
use crate::library::{Features, Library};
use crate::options::SrtVersion;
use apply::RawOption;
use ffi::RawSocket;

/// libsrt binds to `[::]` only when it was told whether IPv4 is meant, too.
fn wildcard_family(socket: &RawSocket, local: SocketAddr, both: bool) -> Result<(), SrtError> {
    const UNDECIDED: i32 = -1;
    if local.is_ipv4() || !local.ip().is_unspecified() {
        return Ok(());
    }
    if ffi::option_int(socket.id(), sys::SRTO_IPV6ONLY)? == UNDECIDED {
        let only = RawOption::Int(i32::from(!both));
        ffi::set_option(socket.id(), sys::SRTO_IPV6ONLY, only)?;
    }
    Ok(())
}

/// What the library is and can do.
pub(crate) fn probe() -> Result<Library, StartError> {
    bridge::start()?;
    let socket = RawSocket::new().map_err(StartError::Library)?;
    let features = Features {
        bonding: ffi::has_groups(),
        aes_gcm: ffi::knows_option(&socket, sys::SRTO_CRYPTOMODE),
        max_retransmit_bandwidth: ffi::knows_option(&socket, sys::SRTO_MAXREXMITBW),
    };
    Ok(Library { version: SrtVersion::from_code(ffi::version()), features })
}

/// Closes every socket and ends the library.
pub(crate) fn cleanup() {
    if bridge::end() {
        ffi::cleanup();
    }
}
