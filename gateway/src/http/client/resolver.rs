//! Names of servers, looked up by the runtime's resolver.

use thalweg_runtime::net;
use ureq::{
    Error,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};

use super::url::host_and_port;

/// The runtime's resolver: it suspends the coroutine and not the thread, and keeps answers for a while.
#[derive(Debug)]
pub(super) struct RuntimeResolver;

impl Resolver for RuntimeResolver {
    /// The deadline around the call is in force here; there is no other.
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = host_and_port(uri).ok_or(Error::HostNotFound)?;
        let mut found = self.empty();
        // A host has a few addresses, ureq has room for 16.
        for address in net::resolve(host)?.into_iter().take(16) {
            found.push(address);
        }
        if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) }
    }
}
