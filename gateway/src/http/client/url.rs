//! Where a call goes, and how that is shown without what is secret in it.

use std::{borrow::Cow, fmt};

use http::Uri;

/// An absolute URL of http or https.
///
/// It prints without user, password and query, and with `***` for what looks like a token in its path.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    uri: Uri,
    origin: String,
}

/// Why a text is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// It is no URL at all.
    Syntax,
    /// It does not begin with `http://` or `https://`.
    Scheme,
    /// It names no host.
    Host,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// [`UrlError`], without the text, which may hold secrets.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.parse().map_err(|_syntax| UrlError::Syntax)?;
        let scheme = uri.scheme_str().unwrap_or_default().to_owned();
        if !matches!(&*scheme, "http" | "https") {
            return Err(UrlError::Scheme);
        }
        let host = host_and_port(&uri).ok_or(UrlError::Host)?;
        Ok(Self { origin: format!("{scheme}://{host}"), uri })
    }

    /// Scheme, host and port: what one server is known by.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether the server has to prove who it is.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    pub(super) const fn uri(&self) -> &Uri {
        &self.uri
    }
}

/// `host:port`, with the port that the scheme stands for when there is none. The brackets of IPv6 stay.
pub(super) fn host_and_port(uri: &Uri) -> Option<String> {
    let host = uri.host().filter(|host| !host.is_empty())?;
    let port = uri.port_u16().or_else(|| match uri.scheme_str() {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    })?;
    Some(format!("{host}:{port}"))
}

/// The least length of what may be a token.
const TOKEN_LEN: usize = 16;

/// A part of a path, unless it looks like a token: long, and no plain words.
fn masked(part: &str) -> Cow<'_, str> {
    let is_token = part.len() >= TOKEN_LEN
        && (part.contains(|c: char| c.is_ascii_digit()) || part.len() >= 2 * TOKEN_LEN);
    if is_token { Cow::Borrowed("***") } else { Cow::Borrowed(part) }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        for part in self.uri.path().split('/').skip(1) {
            write!(f, "/{}", masked(part))?;
        }
        if self.uri.query().is_some() { f.write_str("?***") } else { Ok(()) }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "this is not a URL",
            Self::Scheme => "the URL does not begin with http:// or https://",
            Self::Host => "the URL names no host",
        })
    }
}

impl std::error::Error for UrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_and_a_host() {
        for (text, error) in [
            ("", UrlError::Syntax),
            ("http://", UrlError::Syntax),
            ("http://a b/", UrlError::Syntax),
            ("/hooks", UrlError::Scheme),
            ("hooks.example", UrlError::Scheme),
            ("ftp://hooks.example/", UrlError::Scheme),
            ("https://:8080/", UrlError::Syntax),
        ] {
            let parsed = Url::parse(text);
            assert!(parsed.is_err(), "{text}");
            if error != UrlError::Syntax {
                assert_eq!(parsed, Err(error), "{text}");
            }
        }
    }

    #[test]
    fn the_port_is_that_of_the_scheme() {
        assert_eq!(Url::parse("http://h/x").unwrap().origin(), "http://h:80");
        assert_eq!(Url::parse("https://h").unwrap().origin(), "https://h:443");
        assert_eq!(Url::parse("http://[::1]:8085/x").unwrap().origin(), "http://[::1]:8085");
    }

    #[test]
    fn what_is_secret_is_not_shown() {
        for (text, shown) in [
            ("https://me:s3cret@h/hook?token=s3cret", "https://h:443/hook?***"),
            ("http://h:8085/api/v1/streams", "http://h:8085/api/v1/streams"),
            (
                "https://h/services/T0S3CRET0/B0S3CRET0AAAAAAAAAAA/x",
                "https://h:443/services/T0S3CRET0/***/x",
            ),
            ("https://h/a-plain-path-of-words", "https://h:443/a-plain-path-of-words"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("s3cret"));
        }
    }
}
