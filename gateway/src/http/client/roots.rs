//! Whom the client trusts to vouch for servers.
//!
//! By default those whom the system trusts: the bundle that the package `ca-certificates` keeps, so that an
//! authority that an operator added or took away there counts here too. A file may take its place.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use thalweg_runtime::fs;
use ureq::tls::{Certificate, PemItem, parse_pem};

/// Certificates of authorities.
#[derive(Clone, Default)]
pub struct Roots(Vec<Certificate<'static>>);

/// Why there are none.
#[derive(Debug)]
#[non_exhaustive]
pub enum RootsError {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// It is no file of PEM, or has no certificate.
    NoCertificate(PathBuf),
    /// The system keeps no bundle where one is looked for.
    NoBundle,
}

/// Where systems keep the bundle: Debian and its heirs, Fedora and its, openSUSE, Alpine.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl Roots {
    /// Those in a file of PEM.
    ///
    /// # Suspends
    ///
    /// While the file is read.
    ///
    /// # Errors
    ///
    /// [`RootsError`] names the file.
    pub fn read(path: &Path) -> Result<Self, RootsError> {
        let text = fs::read(path).map_err(|error| RootsError::Read(path.to_owned(), error))?;
        let items = parse_pem(&text).filter_map(Result::ok);
        let certificates = items.filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        });
        let roots = Self(certificates.collect());
        if roots.0.is_empty() {
            return Err(RootsError::NoCertificate(path.to_owned()));
        }
        Ok(roots)
    }

    /// Those that the system trusts.
    ///
    /// # Suspends
    ///
    /// While the file is read.
    ///
    /// # Errors
    ///
    /// [`RootsError::NoBundle`] when there is none, else as [`Roots::read`].
    pub fn of_system() -> Result<Self, RootsError> {
        for bundle in BUNDLES {
            match Self::read(Path::new(bundle)) {
                Err(RootsError::Read(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
                result => return result,
            }
        }
        Err(RootsError::NoBundle)
    }
}

impl From<Roots> for std::sync::Arc<Vec<Certificate<'static>>> {
    fn from(roots: Roots) -> Self {
        Self::new(roots.0)
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.0.len())
    }
}

impl fmt::Display for RootsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::NoCertificate(path) => {
                write!(f, "{} has no certificate in PEM", path.display())
            }
            Self::NoBundle => write!(
                f,
                "the system keeps no certificates of authorities at {}; install the package ca-certificates",
                BUNDLES.join(" or ")
            ),
        }
    }
}

impl std::error::Error for RootsError {}
