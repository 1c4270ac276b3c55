//! What a request is about: path and query, out of any of the forms in which a target may come (RFC 9112 §3.2).

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use super::request::BadRequest;

/// The target of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Decoded; begins with a slash, except for the `*` of `OPTIONS *`.
    path: String,
    /// As it came, without the question mark.
    query: String,
    /// Of a target in absolute form, which says it better than the header `Host` does.
    pub(super) authority: Option<String>,
}

impl Target {
    pub(super) fn parse(method: &Method, raw: &str) -> Result<Self, BadRequest> {
        if method == Method::CONNECT {
            return Err(BadRequest::Connect);
        }
        if raw == "*" {
            return if method == Method::OPTIONS {
                Ok(Self { path: raw.into(), query: String::new(), authority: None })
            } else {
                Err(BadRequest::Target)
            };
        }
        let (authority, rest) = split_authority(raw)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let is_barred = |c: char| c == '#' || c.is_control() || c == ' ';
        if query.contains(is_barred) {
            return Err(BadRequest::Target);
        }
        let path = if path.is_empty() { "/".into() } else { decode(path)? };
        Ok(Self { path, query: query.into(), authority })
    }

    /// The path, decoded. It has no `.` or `..`, no control characters and no slashes that were hidden by an encoding.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query as it came, without the question mark; empty when there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        &self.query
    }

    /// The first value of a parameter in the query.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        self.parameters().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// All parameters in the query, decoded, in their order.
    pub fn parameters(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.query.as_bytes())
    }
}

/// Takes `http://host` off a target in absolute form (RFC 9112 §3.2.2).
fn split_authority(raw: &str) -> Result<(Option<String>, &str), BadRequest> {
    if raw.starts_with('/') {
        return Ok((None, raw));
    }
    let (scheme, rest) = raw.split_once("://").ok_or(BadRequest::Target)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(BadRequest::Target);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).ok_or(BadRequest::Target)?;
    if authority.is_empty() || !is_host(authority) {
        return Err(BadRequest::Target);
    }
    Ok((Some(authority.into()), rest))
}

/// Decodes a path, and refuses what two programs would take for different paths: dots between slashes, and slashes that
/// are encoded.
fn decode(raw: &str) -> Result<String, BadRequest> {
    let mut rest = raw;
    while let Some((_, after)) = rest.split_once('%') {
        let digits = after.get(..2).filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
        if digits.ok_or(BadRequest::Target)?.eq_ignore_ascii_case("2f") {
            return Err(BadRequest::Target);
        }
        rest = after;
    }
    let path = percent_decode_str(raw).decode_utf8().map_err(|_| BadRequest::Target)?;
    // A space or a `?` may be encoded; a fragment never comes to a server.
    let is_barred = |c: char| c.is_control() || c == '\\';
    if raw.contains(['#', ' ']) || path.contains(is_barred) {
        return Err(BadRequest::Target);
    }
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(BadRequest::Target);
    }
    Ok(path.into_owned())
}

/// Whether a text may be a host, with or without a port. It need not exist.
pub(super) fn is_host(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_come_in_several_forms() {
        for (raw, path, query, authority) in [
            ("/", "/", "", None),
            ("/live/cam.flv", "/live/cam.flv", "", None),
            ("/live/cam.flv?start=live&x=1", "/live/cam.flv", "start=live&x=1", None),
            ("/live/k%C3%A4se%20%3F", "/live/käse ?", "", None),
            ("/a//b", "/a//b", "", None),
            ("/..a/b..", "/..a/b..", "", None),
            ("http://example.com/x?y", "/x", "y", Some("example.com")),
            ("HTTPS://[::1]:80", "/", "", Some("[::1]:80")),
            ("http://h?q", "/", "q", Some("h")),
        ] {
            let target = Target::parse(&Method::GET, raw).unwrap_or_else(|e| panic!("{raw}: {e}"));
            assert_eq!((target.path(), target.query()), (path, query), "{raw}");
            assert_eq!(target.authority.as_deref(), authority, "{raw}");
        }
        assert_eq!(Target::parse(&Method::OPTIONS, "*").unwrap().path(), "*");
    }

    #[test]
    fn targets_that_may_be_misread_are_refused() {
        for raw in [
            "",
            "*",
            "x",
            "live/cam",
            "/..",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/x",
            "/%2E/x",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/%",
            "/%4",
            "/%zz",
            "/%ff",
            "/a%00b",
            "/a%0d%0ab",
            "/a#b",
            "/a?b#c",
            "ftp://h/",
            "http:///x",
            "http://u@h/x",
            "http://a b/",
            "//",
            "/a b",
        ] {
            // Two slashes in a row are a path like any other, which no route has.
            let expected = (raw != "//").then_some(BadRequest::Target);
            assert_eq!(Target::parse(&Method::GET, raw).err(), expected, "{raw:?}");
        }
        assert_eq!(Target::parse(&Method::CONNECT, "h:80").err(), Some(BadRequest::Connect));
    }

    #[test]
    fn parameters_are_decoded() {
        let target = Target::parse(&Method::GET, "/x?a=1&b=x%20y+z&a=2&c").unwrap();
        assert_eq!(target.parameter("a").as_deref(), Some("1"));
        assert_eq!(target.parameter("b").as_deref(), Some("x y z"));
        assert_eq!(target.parameter("c").as_deref(), Some(""));
        assert_eq!(target.parameter("d"), None);
    }
}
