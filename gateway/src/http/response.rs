//! Answers: a status, headers and a body, and what conditions of a request make of them.

use std::ops::Range;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;

use super::range::{Slice, slice};
use super::request::Request;

/// An answer. The server adds the date, the length, and what keeps the connection or ends it.
#[derive(Clone, Debug)]
pub struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Response {
    /// An answer without a body.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A text for people; it ends in a line feed.
    #[must_use]
    pub fn text(status: StatusCode, text: &str) -> Self {
        let body = format!("{}\n", text.trim_end_matches('\n')).into();
        Self { body, ..Self::new(status) }.with(CONTENT_TYPE, "text/plain; charset=utf-8")
    }

    /// A value as JSON.
    ///
    /// # Panics
    ///
    /// When the value cannot be JSON: a table whose keys are no texts, or a failing `Serialize` of its own.
    #[must_use]
    pub fn json(value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("values of ours can be JSON").into();
        let response = Self { body, ..Self::new(StatusCode::OK) };
        response.with(CONTENT_TYPE, "application/json").with(CACHE_CONTROL, "no-store")
    }

    /// Bytes of a media type.
    #[must_use]
    pub fn bytes(media_type: &'static str, body: Bytes) -> Self {
        Self { body, ..Self::new(StatusCode::OK) }.with(CONTENT_TYPE, media_type)
    }

    /// Its status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The same with a header that does not depend on any peer.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// The same with a header, left out when the value cannot stand in one (RFC 9110 §5.5).
    #[must_use]
    pub fn with_value(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The same with an entity tag, without its quotes: clients that have it need no body again, and may ask for
    /// parts.
    #[must_use]
    pub fn tagged(self, tag: &str) -> Self {
        self.with_value(ETAG, &format!("\"{tag}\"")).with(ACCEPT_RANGES, "bytes")
    }

    /// How long its body is, if all of it is wanted.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    /// What `request` gets of this: nothing when it has it already (RFC 9110 §13.1.2), or a part (§14.2).
    #[must_use]
    pub(super) fn answering(self, request: &Request) -> Self {
        let len = self.body.len();
        let (head, part) = self.answering_with(request, len as u64);
        // Both lie within the body.
        let at = |place: u64| usize::try_from(place).unwrap_or(len).min(len);
        let body = head.body.slice(at(part.start)..at(part.end));
        Self { body, ..head }
    }

    /// As [`Self::answering`] for a body of `len` bytes that is not in this value: the head of the answer, and which
    /// bytes belong to it.
    #[must_use]
    pub(super) fn answering_with(self, request: &Request, len: u64) -> (Self, Range<u64>) {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let Some(tag) = self.headers.get(ETAG).cloned() else { return (self, 0..len) };
        if !is_read || self.status != StatusCode::OK {
            return (self, 0..len);
        }
        let tag = tag.to_str().unwrap_or_default();
        if request.header(&IF_NONE_MATCH).is_some_and(|tags| has_tag(tags, tag)) {
            return (self.with_status(StatusCode::NOT_MODIFIED), 0..0);
        }
        // A part of another version is of no use (§13.1.5).
        let is_same = request.headers().get(IF_RANGE).is_none_or(|value| value == tag);
        let wanted = request.header(&RANGE).filter(|_| is_same).map(|range| slice(range, len));
        match wanted {
            None | Some(Slice::All) => (self, 0..len),
            Some(Slice::Part(part)) => {
                let shown = format!("bytes {}-{}/{len}", part.start, part.end.saturating_sub(1));
                let head = self.with_status(StatusCode::PARTIAL_CONTENT);
                (head.with_value(CONTENT_RANGE, &shown), part)
            }
            Some(Slice::Unsatisfiable) => {
                let head = Self::new(StatusCode::RANGE_NOT_SATISFIABLE);
                (head.with_value(CONTENT_RANGE, &format!("bytes */{len}")), 0..0)
            }
        }
    }

    /// Whether an answer of this status never has a body (RFC 9112 §6.3).
    pub(super) fn is_bodiless(status: StatusCode) -> bool {
        status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    }
}

/// Whether a list of entity tags holds `tag`, compared weakly (RFC 9110 §8.8.3.2).
fn has_tag(list: &str, tag: &str) -> bool {
    let strong = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    list.trim() == "*" || list.split(',').any(|listed| strong(listed.trim()) == strong(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_are_found_in_lists() {
        for (list, found) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
            ("", false),
        ] {
            assert_eq!(has_tag(list, "\"a\""), found, "{list}");
        }
    }

    #[test]
    fn a_header_cannot_be_split() {
        let response = Response::text(StatusCode::OK, "x").with_value(ETAG, "a\r\nSet-Cookie: b");
        assert!(!response.headers.contains_key(ETAG));
    }
}
