//! An HTTP/1.1 client for calls of the gateway to other servers, over http and https.
//!
//! The conversation is ureq's; what it runs on is ours: sockets of the runtime, its resolver, its deadlines. So a call
//! suspends its coroutine and nobody else. A deadline around the whole call bounds names, connection, TLS, request and
//! answer together, however slowly each byte of it comes. Connections are kept and used again. Redirects are answers
//! like others, and no variable of the environment names a proxy: where a call goes is what its URL says.
//!
//! TLS is rustls with aws-lc-rs. It trusts what it is given, see [`Roots`]. Section numbers are those of RFC 9110.

mod resolver;
mod roots;
mod transport;
mod url;

use std::{
    fmt,
    io::{self, Read},
    sync::Arc,
};

use rustls::crypto::aws_lc_rs;
use thalweg_runtime as rt;
use ureq::{
    Agent, Body, Error,
    config::Config,
    tls::{RootCerts, TlsConfig},
    unversioned::transport::{Connector, RustlsConnector},
};

use http::{Response, header};
pub use roots::{Roots, RootsError};
pub use url::{Url, UrlError};

/// Makes calls, and keeps connections for the next. Clones are the same client.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why a call has no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError {
    /// The deadline around the call passed.
    TimedOut,
    /// The coroutine was cancelled.
    Cancelled,
    /// Connecting failed, or the connection broke.
    Io(io::Error),
    /// The peer's certificate or its TLS is not acceptable.
    Tls(String),
    /// What came is no answer of HTTP.
    Protocol(String),
    /// The answer is longer than this many bytes.
    TooLong(usize),
}

/// What the head of an answer may have, in bytes.
const HEAD_MAX: usize = 16 << 10;

/// How many connections wait for another call, to one server and to all.
const IDLE_PER_HOST: usize = 8;
const IDLE: usize = 32;

/// How long they do.
const IDLE_AGE: std::time::Duration = std::time::Duration::from_secs(15);

/// What is read and written at once: calls and answers are small.
const BUFFER: usize = 8 << 10;

impl Client {
    /// A client that trusts servers whose certificate leads to one of `roots`.
    #[must_use]
    pub fn new(roots: Roots) -> Self {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(roots.into()))
            .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
            .build();
        let config = Config::builder()
            .tls_config(tls)
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("Thalweg/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .max_response_header_size(HEAD_MAX)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_idle_connections(IDLE)
            .max_idle_connections_per_host(IDLE_PER_HOST)
            .max_idle_age(IDLE_AGE)
            .build();
        let connector = transport::TcpConnector.chain(RustlsConnector::default());
        Self { agent: Agent::with_parts(config, connector, resolver::RuntimeResolver) }
    }

    /// Posts `body` and reads an answer of at most `limit` bytes.
    ///
    /// A connection that was kept may have been closed by the server just now. Then the call is made once more on a new one,
    /// which RFC 9110 §9.2.2 leaves to a client that knows the request to be harmless when it comes twice.
    ///
    /// # Suspends
    ///
    /// Until the answer is there, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// [`CallError`] says why there is none.
    pub fn post(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        body: &[u8],
        limit: usize,
    ) -> Result<Reply, CallError> {
        match self.post_once(url, headers, body, limit) {
            Err(CallError::Io(error)) if transport::is_stale(&error) => {
                self.post_once(url, headers, body, limit)
            }
            result => result,
        }
    }

    fn post_once(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        body: &[u8],
        limit: usize,
    ) -> Result<Reply, CallError> {
        let mut request = self.agent.post(url.uri());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send(body).map_err(CallError::from)?;
        read(response, limit)
    }
}

fn read(response: Response<Body>, limit: usize) -> Result<Reply, CallError> {
    let status = response.status().as_u16();
    let length = response.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    // Otherwise it would be taken off the wire only to be thrown away.
    if length.is_some_and(|length| length > limit as u64) {
        return Err(CallError::TooLong(limit));
    }
    let mut body = Vec::new();
    let reader = response.into_body().into_reader();
    let result = reader.take(limit as u64 + 1).read_to_end(&mut body);
    result.map_err(|error| CallError::from(Error::from(error)))?;
    if body.len() > limit {
        return Err(CallError::TooLong(limit));
    }
    Ok(Reply { status, body })
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error.into(),
            Error::Timeout(_) => Self::TimedOut,
            Error::Rustls(error) => Self::Tls(error.to_string()),
            Error::Tls(text) => Self::Tls(text.to_owned()),
            Error::LargeResponseHeader(_, most) => Self::TooLong(most),
            other => Self::Protocol(other.to_string()),
        }
    }
}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> Self {
        if rt::is_cancelled(&error) {
            return Self::Cancelled;
        }
        if rt::timed_out(&error).is_some() {
            return Self::TimedOut;
        }
        // What rustls reports comes wrapped where it fails in the midst of a conversation.
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(inner) => Self::Tls(inner.to_string()),
            None => Self::Io(error),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Io(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "TLS: {error}"),
            Self::Protocol(error) => write!(f, "no proper answer of HTTP: {error}"),
            Self::TooLong(most) => write!(f, "the answer has more than {most} bytes"),
        }
    }
}

impl std::error::Error for CallError {}

#[cfg(test)]
mod tests;
