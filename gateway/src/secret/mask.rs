//! Addresses fit to be shown: what may be secret in them is masked, the rest stays as it came.
//!
//! Tokens come in queries of URLs, in the names that RTMP clients publish, in SRT's stream ids and in front of hosts.
//! Whoever shows one of these to anybody (log, API, page, error, name of a coroutine) shows what these functions make of
//! it. They are total, keep what they do not understand and mask rather too much: a value is taken for a secret by the
//! name before it.

use super::MASK;
use std::borrow::Cow;

/// What the name of a secret contains.
const PARTS: [&str; 11] = [
    "token",
    "secret",
    "pass",
    "pwd",
    "key",
    "sign",
    "auth",
    "session",
    "credential",
    "jwt",
    "hash",
];

/// Names that say it as a whole.
const WHOLE: [&str; 7] = ["s", "sig", "st", "pw", "code", "otp", "hmac"];

/// Whether what stands behind this name must not be shown.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    WHOLE.contains(&&*name) || PARTS.iter().any(|part| name.contains(part))
}

/// Parameters, `a=1&token=x`, with and without a question mark in front.
#[must_use]
pub fn mask_query(query: &str) -> String {
    let mut text = String::with_capacity(query.len());
    for piece in query.split_inclusive(['&', '?', ';', ',']) {
        mask_pair(piece, &mut text);
    }
    text
}

/// A URL, or a part of one from any of its places on: `scheme://user:password@host/path?query`, `cam?token=x`. What looks like a password before the host is
/// masked, and what [`mask_query`] masks behind the first question mark.
#[must_use]
pub fn mask_url(url: &str) -> String {
    let (address, query) = match url.split_once('?') {
        Some((address, query)) => (address, Some(query)),
        None => (url, None),
    };
    let mut text = mask_userinfo(address).into_owned();
    if let Some(query) = query {
        text.push('?');
        text.push_str(&mask_query(query));
    }
    text
}

/// A stream id of SRT, in whichever dialect: `#!::r=live/cam,m=publish,token=x`, `live/cam?token=x`,
/// `publish:live/cam:user:password`.
#[must_use]
pub fn mask_stream_id(text: &str) -> String {
    if let Some(rest) = text.strip_prefix("#!") {
        return format!("#!{}", mask_pairs(rest));
    }
    if text.starts_with("publish:") || text.starts_with("read:") {
        // Two parts are public; behind them come user and password, or a query.
        let mut parts = text.splitn(3, ':');
        let shown: Vec<&str> = parts.by_ref().take(2).collect();
        return match parts.next() {
            Some(_) => format!("{}:{MASK}", shown.join(":")),
            None => shown.join(":"),
        };
    }
    mask_pairs(&mask_url(text))
}

/// Pairs with commas between them, in braces or not, with an equals sign or a colon in each.
fn mask_pairs(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    for piece in text.split_inclusive([',', '{', '}', '&', '?']) {
        mask_pair(piece, &mut masked);
    }
    masked
}

/// One `name=value` with the separator behind it.
fn mask_pair(piece: &str, out: &mut String) {
    let end = piece.trim_end_matches([',', '{', '}', '&', '?', ';']).len();
    let (pair, separator) = piece.split_at_checked(end).unwrap_or((piece, ""));
    // What opens a stream id stands before its first name.
    let start = pair.len() - pair.trim_start_matches([':', '!', '#']).len();
    let found = pair.get(start..).and_then(|named| named.find(['=', ':']));
    match found.and_then(|at| pair.split_at_checked(start + at)) {
        Some((name, value)) if value.len() > 1 && is_secret_name(&decoded(name)) => {
            out.push_str(name);
            out.extend(value.chars().take(1));
            out.push_str(MASK);
        }
        _ => out.push_str(pair),
    }
    out.push_str(separator);
}

/// A name as it is meant: it may hide behind an encoding.
fn decoded(name: &str) -> String {
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    name.trim_start_matches([':', '!', '#']).to_owned()
}

/// Masks the password in `scheme://user:password@host`.
fn mask_userinfo(address: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = address.split_once("://") else { return Cow::Borrowed(address) };
    let authority_len = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(authority_len).unwrap_or((rest, ""));
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            Cow::Owned(format!("{scheme}://{user}:{MASK}@{host}{path}"))
        }
        None => Cow::Borrowed(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_in_queries_are_masked_and_the_rest_stays() {
        for (query, masked) in [
            ("", ""),
            ("a=1&b=2", "a=1&b=2"),
            ("token=abc", "token=***"),
            ("?vhost=x&token=abc&only=audio", "?vhost=x&token=***&only=audio"),
            ("user=u&pass=p&expires=1&sign=0a", "user=u&pass=***&expires=1&sign=***"),
            ("to%6ben=abc&x", "to%6ben=***&x"),
            ("Access_Token=abc;x=1", "Access_Token=***;x=1"),
            ("token=&a", "token=&a"),
            ("token=a=b==", "token=***"),
        ] {
            assert_eq!(mask_query(query), masked, "{query}");
        }
    }

    #[test]
    fn secrets_in_urls_are_masked_and_the_rest_stays() {
        for (url, masked) in [
            ("rtmp://host/live/cam", "rtmp://host/live/cam"),
            ("rtmp://u:p@host:1935/live?token=x", "rtmp://u:***@host:1935/live?token=***"),
            ("https://u:p@q@host/", "https://u:***@host/"),
            ("cam?token=x?vhost=y", "cam?token=***?vhost=y"),
            ("/live/cam.flv?sign=0&only=video", "/live/cam.flv?sign=***&only=video"),
        ] {
            assert_eq!(mask_url(url), masked, "{url}");
        }
    }

    #[test]
    fn secrets_in_stream_ids_are_masked_in_every_dialect() {
        for (id, masked) in [
            ("", ""),
            ("#!::r=live/cam,m=publish", "#!::r=live/cam,m=publish"),
            ("#!::r=live/cam,u=me,s=pw,token=x", "#!::r=live/cam,u=me,s=***,token=***"),
            ("#!::token=x,r=live/cam", "#!::token=***,r=live/cam"),
            ("#!::r=live/cam?token=x,m=request", "#!::r=live/cam?token=***,m=request"),
            ("#!:{r=live/cam,token=x}", "#!:{r=live/cam,token=***}"),
            ("live/cam?token=x", "live/cam?token=***"),
            ("cam,mode:publish,token:x", "cam,mode:publish,token:***"),
            ("publish:live/cam:me:pw", "publish:live/cam:***"),
            ("read:live/cam:token=x", "read:live/cam:***"),
            ("srt://h/live/cam?pass=x", "srt://h/live/cam?pass=***"),
        ] {
            assert_eq!(mask_stream_id(id), masked, "{id}");
        }
    }

    proptest! {
        #[test]
        fn no_secret_comes_through_whatever_stands_around_it(
            before in "[ -~]{0,20}",
            after in "[ -~]{0,20}",
            name in "(token|pass|jwt|sign|api_key)",
        ) {
            let text = format!("{before}?a=1&{name}=correcthorse&{after}");
            for masked in [mask_url(&text), mask_query(&text), mask_stream_id(&text)] {
                prop_assert!(!masked.contains("correcthorse"), "{masked}");
            }
        }
    }
}
