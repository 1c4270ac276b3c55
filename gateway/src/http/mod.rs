//! An HTTP/1.1 server over anything that reads and writes: sockets, TLS on sockets, pipes in memory.
//!
//! One coroutine serves one connection, top to bottom: read a head, find the handler, let it answer, go on with what
//! came after it. A handler is a plain function over an [`Exchange`]; it may read a body, answer at once, answer in
//! pieces, or take the connection over and write to it as long as it likes, which is how live streams leave.
//!
//! Section numbers are those of RFC 9112 (HTTP/1.1, June 2022) and RFC 9110 (HTTP semantics). Where the RFC lets a
//! server be lenient about framing, this one refuses: a request that two programs may read differently is how one is
//! smuggled past a proxy (§11.2). HTTP/2 is left to proxies.

mod body;
pub mod client;
mod conn;
mod date;
mod exchange;
mod forwarded;
mod range;
mod request;
mod response;
mod router;
mod server;
mod stream;
mod target;

pub use body::{Body, BodyError};
pub use exchange::{Chunked, Counted, Exchange, TakenOver};
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
pub use range::{Slice, slice};
pub use request::{BadRequest, Request};
pub use response::Response;
pub use router::{Handler, Router};
pub use server::{Cause, Ended, Peer, Server, Settings};
pub use stream::{Heard, Stream, Watch};
pub use target::Target;

#[cfg(test)]
mod tests;
