//! The SRT library that is in use: which it is, what it can do, and how it ends.

use std::sync::OnceLock;

use crate::error::StartError;
use crate::libsrt;
use crate::options::SrtVersion;

/// The SRT library in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Library {
    /// Its version, which need not be the one that this was built with.
    pub version: SrtVersion,
    /// What it was built with.
    pub features: Features,
}

/// What a library may lack. Asking for one that it lacks is an [`OptionError`](crate::OptionError) that
/// names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Features {
    /// Bonding several paths into one connection.
    pub bonding: bool,
    /// AES-GCM, which authenticates what it encrypts.
    pub aes_gcm: bool,
    /// A limit for the bandwidth of retransmission.
    pub max_retransmit_bandwidth: bool,
}

/// Asks the library what it is, starting it if need be.
///
/// # Errors
///
/// When it cannot be started.
pub fn library() -> Result<Library, StartError> {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    if let Some(library) = LIBRARY.get() {
        return Ok(*library);
    }
    let library = libsrt::probe()?;
    Ok(*LIBRARY.get_or_init(|| library))
}

/// Closes every connection and ends the library, for good: whatever is asked of it later is an error.
///
/// It blocks the thread for up to seconds, and is not needed: a process that exits does the same. It is for
/// those who want the library's threads gone before something else happens, and not for
/// coroutines; have them call it by [`thalweg_runtime::blocking`].
pub fn cleanup() {
    libsrt::cleanup();
}
