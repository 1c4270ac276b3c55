//! Bindings to libsrt 1.5.x, and nothing else: no types of our own, no policy. `thalweg-srt-io` makes them safe.
//!
//! `bindings.rs` is generated, from the headers of 1.5.1, by bindgen 0.73.2 (and libclang 14):
//!
//! ```sh
//! bindgen wrapper.h --use-core --default-enum-style consts --no-prepend-enum-name \
//!     --allowlist-function 'srt_.*' --allowlist-type 'SRT.*|CBytePerfMon' --allowlist-var 'SRT.*' \
//!     --blocklist-type 'sockaddr|sockaddr_storage|sa_family_t|__.*' \
//!     --raw-line 'use libc::{sockaddr, sockaddr_storage};' --no-layout-tests --no-doc-comments \
//!     --ctypes-prefix libc --rust-edition 2024 --rust-target 1.85 -o src/bindings.rs
//! ```
//!
//! Below a header of our own it is checked in, so that neither clang nor bindgen is needed to build. Headers up to 1.5.5 give the
//! same but for the version constants. What newer or differently configured libraries add is below, by hand;
//! whether the library at hand has it must be asked at run time.
//!
//! # Safety
//!
//! All functions are foreign and unsafe; their contracts are those of
//! <https://github.com/Haivision/srt/blob/v1.5.1/docs/API/API-functions.md>.

#[expect(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    missing_debug_implementations,
    clippy::unreadable_literal,
    reason = "generated"
)]
mod bindings;

pub use bindings::*;

/// `SRTO_CRYPTOMODE`: the cipher's mode. Only in libraries built with `ENABLE_AEAD_API_PREVIEW`.
pub const SRTO_CRYPTOMODE: SRT_SOCKOPT = 62;

/// `SRTO_MAXREXMITBW`: the most bandwidth that retransmission may take, in bytes/s. Only in libraries
/// built with `ENABLE_MAXREXMITBW`.
pub const SRTO_MAXREXMITBW: SRT_SOCKOPT = 63;
