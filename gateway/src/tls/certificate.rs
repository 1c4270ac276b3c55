//! A certificate and its key, as they stand in PEM files (RFC 7468).

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use thalweg_runtime as rt;

use super::validity::Validity;

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, followed by those that lead to its authority.
    pub certificate: PathBuf,
    /// The key; it may stand in the same file.
    pub key: PathBuf,
}

/// Why a certificate is of no use.
#[derive(Debug)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read.
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A file is not PEM, or nothing of the kind is in it.
    Pem {
        /// Which.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
        /// What is wrong.
        error: pem::Error,
    },
    /// The certificate cannot be read, or the key is of a kind that we cannot use.
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        error: TlsError,
    },
    /// The key is another certificate's.
    Mismatch(Pair),
    /// The certificate's time is over.
    Expired {
        /// Which.
        path: PathBuf,
        /// Since when.
        since: Timestamp,
    },
    /// A certificate of our own cannot be made.
    Unmade(rcgen::Error),
}

/// A certificate that can be presented.
#[derive(Clone, Debug)]
pub(super) struct Presentable {
    /// Where it comes from, for people.
    pub(super) name: String,
    pub(super) key: Arc<CertifiedKey>,
    pub(super) validity: Validity,
}

/// No file of ours is as large; what is named by mistake may be.
const FILE_LEN_MAX: u64 = 1 << 20;

impl Pair {
    /// Reads both files.
    ///
    /// # Suspends
    ///
    /// While they are read.
    ///
    /// # Errors
    ///
    /// [`CertificateError`], all but `Expired`.
    pub(super) fn read(&self, provider: &CryptoProvider) -> Result<Presentable, CertificateError> {
        let text = read(&self.certificate)?;
        let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
        let chain = chain.and_then(|chain| {
            if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) }
        });
        let (path, wanted) = (&self.certificate, "a certificate");
        let chain =
            chain.map_err(|error| CertificateError::Pem { path: path.clone(), wanted, error })?;
        let text = if self.key == self.certificate { text } else { read(&self.key)? };
        let (path, wanted) = (&self.key, "a private key");
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| CertificateError::Pem {
            path: path.clone(),
            wanted,
            error,
        })?;
        self.join(chain, key, provider)
    }

    fn join(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Presentable, CertificateError> {
        let unusable =
            |path: &Path, error| CertificateError::Unusable { path: path.to_owned(), error };
        let bad = || TlsError::InvalidCertificate(rustls::CertificateError::BadEncoding);
        let leaf = chain.first().and_then(|leaf| Validity::of(leaf));
        let validity = leaf.ok_or_else(|| unusable(&self.certificate, bad()))?;
        let key = provider.key_provider.load_private_key(key);
        let key = CertifiedKey::new(chain, key.map_err(|error| unusable(&self.key, error))?);
        match key.keys_match() {
            Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(TlsError::InconsistentKeys(_)) => {
                return Err(CertificateError::Mismatch(self.clone()));
            }
            Err(error) => return Err(unusable(&self.certificate, error)),
        }
        let name = self.certificate.display().to_string();
        Ok(Presentable { name, key: Arc::new(key), validity })
    }
}

impl Presentable {
    /// Whether it is for this name.
    pub(super) fn is_for(&self, name: &ServerName<'_>) -> bool {
        let leaf = self.key.end_entity_cert().and_then(ParsedCertificate::try_from);
        leaf.is_ok_and(|leaf| verify_server_name(&leaf, name).is_ok())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |error| CertificateError::Read { path: path.to_owned(), error };
    let len = rt::fs::metadata(path).map_err(failed)?.len();
    if len > FILE_LEN_MAX {
        let text = format!("{len} bytes are too many for a certificate or a key");
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, text)));
    }
    rt::fs::read(path).map_err(failed)
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::Pem { path, wanted, error: pem::Error::NoItemsFound } => {
                write!(f, "{}: there is not {wanted} in it, in PEM", path.display())
            }
            Self::Pem { path, error, .. } => write!(f, "{}: not PEM: {error}", path.display()),
            Self::Unusable { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Mismatch(Pair { certificate, key }) => write!(
                f,
                "the key in {} does not match the certificate in {}",
                key.display(),
                certificate.display()
            ),
            Self::Expired { path, since } => {
                write!(f, "the certificate in {} has expired at {since}", path.display())
            }
            Self::Unmade(error) => write!(f, "cannot make a self-signed certificate: {error}"),
        }
    }
}

impl Error for CertificateError {}
