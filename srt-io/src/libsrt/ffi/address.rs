//! Addresses between std's form and the system's.
//!
//! # Safety
//!
//! nix reads a `sockaddr` only as far as the length and the family that it is given say; both come from
//! libsrt or from the storage that was made here.
#![expect(unsafe_code, reason = "reads addresses that libsrt wrote")]

use std::mem;
use std::net::SocketAddr;

use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use super::{Result, check, length};
use crate::error::SrtError;

/// The system's form, with its length.
pub(super) fn to_system(address: SocketAddr) -> (SockaddrStorage, libc::c_int) {
    let storage = SockaddrStorage::from(address);
    let bytes = storage.len();
    (storage, length(bytes as usize))
}

/// What `ask` writes to where it is told.
pub(super) fn ask(
    ask: impl FnOnce(*mut libc::sockaddr, *mut libc::c_int) -> libc::c_int,
) -> Result<SocketAddr> {
    // SAFETY: all fields of `sockaddr_storage` are numbers, for which zero is a value.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut bytes = length(size_of::<libc::sockaddr_storage>());
    let address = (&raw mut storage).cast::<libc::sockaddr>();
    check(ask(address, &raw mut bytes))?;
    let bytes = libc::socklen_t::try_from(bytes).ok();
    // SAFETY: the storage is as large and as aligned as any address, and initialised.
    let known = unsafe { SockaddrStorage::from_raw(address, bytes) };
    known.and_then(|known| from_system(&known)).ok_or(SrtError::UNKNOWN)
}

/// The address that libsrt points to in a callback.
///
/// # Safety
///
/// `address` is null or points to a `sockaddr_in` or `sockaddr_in6`, as its family says.
pub(super) unsafe fn read(address: *const libc::sockaddr) -> Option<SocketAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: not null, so it points to a whole address by this function's contract; its family tells nix the size.
    from_system(&unsafe { SockaddrStorage::from_raw(address, None) }?)
}

fn from_system(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|&address| SocketAddr::V4(address.into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|&address| SocketAddr::V6(address.into())))
}
