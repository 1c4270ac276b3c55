//! The certificates in force, and how others take their place.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Connection, ServerConfig, ServerConnection};
use thalweg_runtime::net::TcpStream;

use super::certificate::{CertificateError, Pair, Presentable};
use super::self_signed;
use super::stream::Stream;
use super::validity::Validity;

/// The certificates that are presented to clients. Clones are the same store.
#[derive(Clone)]
pub struct Certificates {
    shared: Rc<Shared>,
}

struct Shared {
    provider: Arc<CryptoProvider>,
    source: RefCell<Source>,
    /// Replaced as a whole; a connection keeps what it began with.
    current: RefCell<Rc<InForce>>,
}

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Pairs of files. A client gets the first that is for the name it asks for, or else the first.
    Files(Vec<Pair>),
    /// One of our own, for these names and addresses.
    SelfSigned(Vec<String>),
}

/// What is spoken over a connection, as ALPN has it (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// Something that has no name there, such as RTMP.
    Unnamed,
}

/// What came of reading certificates again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// They are the same as before.
    Same,
    /// Connections from now on get others.
    New,
}

/// Something about a certificate that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which certificate.
    pub name: String,
    /// The last moment in which it is valid.
    pub not_after: Timestamp,
    /// Whether that has passed.
    pub is_over: bool,
}

/// Makes TLS connections of TCP connections.
#[derive(Clone, Debug)]
pub struct Acceptor {
    certificates: Certificates,
    protocol: Protocol,
}

#[derive(Debug)]
struct InForce {
    certificates: Vec<Presentable>,
    http: Arc<ServerConfig>,
    unnamed: Arc<ServerConfig>,
}

#[derive(Debug)]
struct Resolver(Vec<Presentable>);

impl Certificates {
    /// Reads or makes them. One that has expired is taken: its clients can tell for themselves, and the gateway has more
    /// to do than to serve them.
    ///
    /// # Suspends
    ///
    /// While files are read.
    ///
    /// # Errors
    ///
    /// [`CertificateError`].
    pub fn load(source: Source) -> Result<Self, CertificateError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certificates = source.read(&provider)?;
        let current = RefCell::new(Rc::new(InForce::new(certificates, &provider)));
        Ok(Self { shared: Rc::new(Shared { provider, source: RefCell::new(source), current }) })
    }

    /// Reads the files again. After an error everything is as it was.
    ///
    /// # Suspends
    ///
    /// While files are read.
    ///
    /// # Errors
    ///
    /// [`CertificateError`]; `Expired` for one that is new.
    pub fn reload(&self) -> Result<Swapped, CertificateError> {
        let source = self.shared.source.borrow().clone();
        self.replace(source)
    }

    /// Takes certificates from elsewhere. After an error everything is as it was.
    ///
    /// # Suspends
    ///
    /// While files are read.
    ///
    /// # Errors
    ///
    /// [`CertificateError`]; `Expired` for one that is new.
    pub fn replace(&self, source: Source) -> Result<Swapped, CertificateError> {
        let is_own = matches!(source, Source::SelfSigned(_));
        if is_own && *self.shared.source.borrow() == source {
            return Ok(Swapped::Same);
        }
        let read = source.read(&self.shared.provider)?;
        let before = Rc::clone(&self.shared.current.borrow());
        let now = Timestamp::now();
        for certificate in &read {
            let is_known = before.certificates.iter().any(|known| known.is_same(certificate));
            if !is_known && certificate.validity.not_after < now {
                let (path, since) =
                    (certificate.name.clone().into(), certificate.validity.not_after);
                return Err(CertificateError::Expired { path, since });
            }
        }
        self.shared.source.replace(source);
        let is_same = before.certificates.len() == read.len()
            && before.certificates.iter().zip(&read).all(|(old, new)| old.is_same(new));
        if is_same {
            return Ok(Swapped::Same);
        }
        self.shared.current.replace(Rc::new(InForce::new(read, &self.shared.provider)));
        Ok(Swapped::New)
    }

    /// What takes connections.
    #[must_use]
    pub fn acceptor(&self, protocol: Protocol) -> Acceptor {
        Acceptor { certificates: self.clone(), protocol }
    }

    /// The files that they come from.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        match &*self.shared.source.borrow() {
            Source::Files(pairs) => {
                pairs.iter().flat_map(|pair| [pair.certificate.clone(), pair.key.clone()]).collect()
            }
            Source::SelfSigned(_) => Vec::new(),
        }
    }

    /// The name of each certificate, and from when until when it is valid.
    #[must_use]
    pub fn validities(&self) -> Vec<(String, Validity)> {
        let current = self.shared.current.borrow();
        let shown = current.certificates.iter();
        shown.map(|certificate| (certificate.name.clone(), certificate.validity)).collect()
    }

    /// The certificates themselves, each without those that lead to its authority.
    #[cfg(test)]
    pub(super) fn presented(&self) -> Vec<rustls::pki_types::CertificateDer<'static>> {
        let current = self.shared.current.borrow();
        current.certificates.iter().flat_map(|one| one.key.cert.first().cloned()).collect()
    }

    /// The certificates that have expired or are about to, and how long it is until that may change.
    #[must_use]
    pub fn notices(&self, now: Timestamp) -> (Vec<Notice>, Option<SignedDuration>) {
        let mut notices = Vec::new();
        let mut next: Option<Timestamp> = None;
        for (name, validity) in self.validities() {
            let Validity { not_after, .. } = validity;
            let from = validity.warning_from();
            if now >= from {
                notices.push(Notice { name, not_after, is_over: now > not_after });
            }
            let coming = [from, not_after].into_iter().find(|&time| time >= now);
            next = [next, coming].into_iter().flatten().min();
        }
        // The moment itself is the last valid one.
        let until = next.map(|next| next.duration_since(now) + SignedDuration::from_secs(1));
        (notices, until)
    }
}

impl Acceptor {
    /// Shakes hands with a client. A deadline is the caller's to set.
    ///
    /// # Suspends
    ///
    /// Until both ends agree.
    ///
    /// # Errors
    ///
    /// `InvalidData` when the peer speaks no TLS or none that we do; `UnexpectedEof` when it leaves; what the socket
    /// reports.
    pub fn accept(&self, socket: TcpStream) -> io::Result<Stream> {
        Stream::open(socket, self.session()?)
    }

    /// Boxed: the frame that makes it is gone before the handshake begins.
    #[expect(clippy::large_stack_frames, reason = "a session passes through it by value")]
    fn session(&self) -> io::Result<Box<Connection>> {
        let config = {
            let current = self.certificates.shared.current.borrow();
            match self.protocol {
                Protocol::Http => Arc::clone(&current.http),
                Protocol::Unnamed => Arc::clone(&current.unnamed),
            }
        };
        let session = ServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Box::new(session.into()))
    }
}

impl Source {
    fn read(&self, provider: &CryptoProvider) -> Result<Vec<Presentable>, CertificateError> {
        match self {
            Self::Files(pairs) => pairs.iter().map(|pair| pair.read(provider)).collect(),
            Self::SelfSigned(names) => Ok(vec![self_signed::make(names, provider)?]),
        }
    }
}

impl InForce {
    fn new(certificates: Vec<Presentable>, provider: &Arc<CryptoProvider>) -> Self {
        let resolver = Arc::new(Resolver(certificates.clone()));
        let config = |protocols: &[&[u8]]| {
            let resolver: Arc<dyn ResolvesServerCert> = Arc::<Resolver>::clone(&resolver);
            let versions = ServerConfig::builder_with_provider(Arc::clone(provider))
                .with_safe_default_protocol_versions();
            let mut config = versions
                .expect("the provider has cipher suites for both versions")
                .with_no_client_auth()
                .with_cert_resolver(resolver);
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Arc::new(config)
        };
        Self { certificates, http: config(&[b"http/1.1"]), unnamed: config(&[]) }
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let first = self.0.first()?;
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fitting = name.and_then(|name| self.0.iter().find(|one| one.is_for(&name)));
        Some(Arc::clone(&fitting.unwrap_or(first).key))
    }
}

impl Presentable {
    fn is_same(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("source", &self.shared.source)
            .field("validities", &self.validities())
            .finish_non_exhaustive()
    }
}
