//! Where TLS meets what is served over it: certificates out of the configuration, TLS connections as HTTP and the accept
//! loop want them.

use crate::{
    config::{Config, Tls},
    http,
    tls::{self, Certificates, Pair, Source},
};
use nix::unistd::gethostname;
use std::{io, net::SocketAddr};
use thalweg_runtime::net::{NetFd, TcpStream};

/// What is done to a TCP connection before its protocol begins.
#[derive(Clone, Debug)]
pub(super) enum Cover {
    /// Nothing.
    Plain,
    /// A TLS handshake.
    Tls(tls::Acceptor),
}

/// The certificates that the configuration names; `None` when there is nothing to use them for.
///
/// # Suspends
///
/// While files are read.
pub(super) fn certificates(config: &Config) -> io::Result<Option<Certificates>> {
    let is_wanted = !config.https.listen.is_empty() || !config.rtmps.listen.is_empty();
    let source = source(config).filter(|_| is_wanted);
    source
        .map(Certificates::load)
        .transpose()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("tls: {error}")))
}

/// Where certificates come from; `None` when the configuration names none.
pub(super) fn source(config: &Config) -> Option<Source> {
    let Tls { certificate, key, more, self_signed } = &config.tls;
    if *self_signed {
        return Some(Source::SelfSigned(own_names(config)));
    }
    let certificate = certificate.clone()?;
    let key = key.clone().unwrap_or_else(|| certificate.clone());
    let first = Pair { certificate, key };
    let more = more.iter().map(|files| Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone().unwrap_or_else(|| files.certificate.clone()),
    });
    Some(Source::Files([first].into_iter().chain(more).collect()))
}

/// By what this machine may be called.
fn own_names(config: &Config) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    names.extend(gethostname().ok().and_then(|name| name.into_string().ok()));
    let listen = config.https.listen.iter().chain(&config.rtmps.listen);
    names.extend(
        listen.map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string()),
    );
    names.sort_unstable();
    names.dedup();
    names
}

impl Cover {
    /// Serves `plain` or what TLS makes of it.
    pub(super) const fn is_secure(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Puts the cover over a connection.
    ///
    /// # Suspends
    ///
    /// Until both ends agree on it. A deadline is the caller's to set.
    pub(super) fn put_over(&self, socket: TcpStream) -> io::Result<Box<dyn http::Stream>> {
        match self {
            Self::Plain => Ok(Box::new(socket)),
            Self::Tls(acceptor) => Ok(Box::new(acceptor.accept(socket)?)),
        }
    }
}

impl http::Stream for tls::Stream {
    fn finish(&mut self) -> io::Result<()> {
        Self::finish(self)
    }

    fn watch(&self) -> Option<Box<dyn http::Watch>> {
        Some(Box::new(self.clone()))
    }
}

impl http::Watch for tls::Stream {
    fn net_fd(&self) -> &NetFd {
        Self::net_fd(self)
    }

    fn look(&self) -> http::Heard {
        match Self::look(self) {
            tls::Heard::Nothing => http::Heard::Nothing,
            tls::Heard::Data => http::Heard::Data,
            tls::Heard::End => http::Heard::End,
        }
    }
}
