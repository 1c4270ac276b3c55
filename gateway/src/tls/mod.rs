//! TLS on the runtime's sockets, with certificates that are replaced while connections go on.
//!
//! [`Certificates`] holds what is presented: pairs of PEM files, or a certificate of our own making to try things out.
//! It is read again when the files change or somebody asks for it; what does not fit together or has expired is refused,
//! and what was in force stays. [`Acceptor`] makes a [`Stream`] of a TCP connection with what is in force at that moment.
//! A [`Stream`] is read by one coroutine while another writes it, as a socket is.
//!
//! TLS 1.2 and 1.3 by rustls, with aws-lc-rs. Who a client is, is no business of this room: no certificates are asked for.

mod certificate;
mod self_signed;
mod store;
mod stream;
mod validity;
mod watch;

pub use certificate::{CertificateError, Pair};
pub use store::{Acceptor, Certificates, Notice, Protocol, Source, Swapped};
pub use stream::{Heard, Stream};
pub use validity::Validity;

#[cfg(test)]
mod tests;
