//! The table of dialects, and what each makes of a text.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{StreamId, StreamIdError, StreamMode, StreamType};

/// A way to write a stream id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Nothing at all: VLC, and much hardware.
    Empty,
    /// `#!::k=v,…`.
    Standard,
    /// `#!:{k=v,…}`, or without the colon; values may be blocks again, which are kept as texts.
    Nested,
    /// `#!::h=app/stream,…` or `#!::h=vhost/app/stream?…`: SRS before it knew `r`.
    SrsLegacy,
    /// `publish:path[:user:pass][:query]` or `read:…`: `MediaMTX`.
    Action,
    /// `name,mode:publish,token:…`: datarhei Restreamer.
    CommaColon,
    /// `srt://host/app/stream?…` as a whole: `OvenMediaEngine`.
    Url,
    /// `host/app/stream[/playlist][?…]`: SLS, `OvenMediaEngine`.
    HostPath,
    /// `stream` or `app/stream[?…]`.
    Bare,
}

/// One row: whether a text is of the dialect, and how it is read.
struct Row {
    dialect: Dialect,
    claims: fn(&str) -> bool,
    read: fn(&str, &mut StreamId) -> Result<(), StreamIdError>,
}

/// The first row that claims a text reads it; the last claims everything.
const ROWS: &[Row] = &[
    Row { dialect: Dialect::Empty, claims: str::is_empty, read: |_, _| Ok(()) },
    Row { dialect: Dialect::SrsLegacy, claims: is_srs_legacy, read: read_srs_legacy },
    Row {
        dialect: Dialect::Standard,
        claims: |text| text.starts_with("#!::"),
        read: read_standard,
    },
    Row { dialect: Dialect::Nested, claims: |text| block(text).is_some(), read: read_nested },
    Row {
        dialect: Dialect::Standard,
        claims: |text| text.starts_with("#!"),
        read: |_, _| Err(StreamIdError::UnknownFormat),
    },
    Row { dialect: Dialect::Url, claims: |text| strip_scheme(text).is_some(), read: read_url },
    Row { dialect: Dialect::Action, claims: |text| action(text).is_some(), read: read_action },
    Row { dialect: Dialect::CommaColon, claims: is_comma_colon, read: read_comma_colon },
    Row {
        dialect: Dialect::HostPath,
        claims: |text| host_path(text).is_some(),
        read: read_host_path,
    },
    Row { dialect: Dialect::Bare, claims: |_| true, read: read_bare },
];

pub(super) fn parse(original: &str) -> Result<StreamId, StreamIdError> {
    let decoded = decode_whole(original);
    if decoded.contains(char::is_control) {
        return Err(StreamIdError::ControlCharacter);
    }
    // A mark that some players add to ask for the way back; MediaMTX strips it too.
    let text = decoded.strip_suffix("#feedbackplay").unwrap_or(&decoded);
    let row = ROWS.iter().find(|row| (row.claims)(text)).expect("the last row claims everything");
    let mut id = StreamId::empty(original.to_owned(), row.dialect);
    (row.read)(text, &mut id)?;
    // Queries are decoded part by part.
    if id
        .params
        .iter()
        .any(|(key, value)| [key, value].iter().any(|p| p.contains(char::is_control)))
    {
        return Err(StreamIdError::ControlCharacter);
    }
    Ok(id)
}

/// Undoes a client that sent its percent-encoded form as it was.
fn decode_whole(text: &str) -> Cow<'_, str> {
    let starts = |prefix: &str| {
        text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let left_alone = |c: char| c.is_ascii_alphanumeric() || "-_.~!*'()%".contains(c);
    let encoded = ["%23!", "%23%21", "#%21", "#!%3A", "#!%7B", "srt%3A"].into_iter().any(starts)
        || (text.contains('%') && text.chars().all(left_alone));
    if !encoded {
        return Cow::Borrowed(text);
    }
    // What does not decode to UTF-8 was not encoded.
    percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), Cow::into_owned)
}

fn read_standard(text: &str, id: &mut StreamId) -> Result<(), StreamIdError> {
    read_pairs(text.strip_prefix("#!::").unwrap_or(text), id)
}

fn read_nested(text: &str, id: &mut StreamId) -> Result<(), StreamIdError> {
    read_pairs(block(text).unwrap_or_default(), id)
}

/// The inside of the outer block; a cut text has no closing brace.
fn block(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("#!:{").or_else(|| text.strip_prefix("#!{"))?;
    Some(inner.strip_suffix('}').unwrap_or(inner))
}

fn is_srs_legacy(text: &str) -> bool {
    let Some(pairs) = text.strip_prefix("#!::") else { return false };
    let value = |key: &str| split_pairs(pairs).find_map(|pair| pair.strip_prefix(key));
    value("r=").is_none() && value("h=").is_some_and(|host| host.contains('/'))
}

/// `h` holds the whole address: two parts are application and stream, more start with the virtual host.
fn read_srs_legacy(text: &str, id: &mut StreamId) -> Result<(), StreamIdError> {
    read_standard(text, id)?;
    let address = id.host.take().unwrap_or_default();
    let (path, query) = split_query(&address);
    match path.split_once('/') {
        Some((host, resource)) if resource.contains('/') => {
            id.host = non_empty(host);
            id.resource = resource_of(resource);
        }
        _ => id.resource = resource_of(path),
    }
    // The query stood before what follows it.
    let tail = std::mem::take(&mut id.params);
    read_query(query, id);
    id.params.extend(tail);
    Ok(())
}

/// Splits at commas outside of braces.
fn split_pairs(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

fn read_pairs(text: &str, id: &mut StreamId) -> Result<(), StreamIdError> {
    for pair in split_pairs(text).filter(|pair| !pair.trim().is_empty()) {
        // A key without a value is what a cut leaves.
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        set(id, key.trim(), value)?;
    }
    Ok(())
}

fn set(id: &mut StreamId, key: &str, value: &str) -> Result<(), StreamIdError> {
    let known = match key {
        "r" => id.resource.is_some(),
        "h" => id.host.is_some(),
        "u" => id.user.is_some(),
        "s" => id.session.is_some(),
        "t" => id.stream_type.is_some(),
        "m" => id.mode.is_some(),
        _ => false,
    };
    if known {
        return Err(StreamIdError::DuplicateKey(key.to_owned()));
    }
    match key {
        "r" => {
            let (path, query) = split_query(value);
            id.resource = resource_of(path);
            read_query(query, id);
        }
        "h" => id.host = non_empty(value),
        "u" => id.user = non_empty(value),
        "s" => id.session = non_empty(value),
        "t" => id.stream_type = stream_type(value),
        "m" => id.mode = mode(value)?,
        _ => id.params.push((key.to_owned(), value.to_owned())),
    }
    Ok(())
}

fn stream_type(word: &str) -> Option<StreamType> {
    match word {
        "" => None,
        "stream" => Some(StreamType::Stream),
        "file" => Some(StreamType::File),
        "auth" => Some(StreamType::Auth),
        other => Some(StreamType::Other(other.to_owned())),
    }
}

fn mode(word: &str) -> Result<Option<StreamMode>, StreamIdError> {
    match word {
        "" => Ok(None),
        "request" => Ok(Some(StreamMode::Request)),
        "publish" => Ok(Some(StreamMode::Publish)),
        "bidirectional" => Ok(Some(StreamMode::Bidirectional)),
        other => Err(StreamIdError::UnknownMode(other.to_owned())),
    }
}

/// `srt://host[:port]/path?query`.
fn strip_scheme(text: &str) -> Option<&str> {
    text.strip_prefix("srt://")
}

fn read_url(text: &str, id: &mut StreamId) -> Result<(), StreamIdError> {
    let (address, query) = split_query(strip_scheme(text).unwrap_or(text));
    let (authority, path) = address.split_once('/').unwrap_or((address, ""));
    let port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let host = match authority.rsplit_once(':') {
        Some((host, digits)) if port(digits) => host,
        _ => authority,
    };
    id.host = non_empty(host);
    id.resource = resource_of(path);
    read_query(query, id);
    Ok(())
}

/// `MediaMTX`' two words, and what follows.
fn action(text: &str) -> Option<(StreamMode, &str)> {
    let request = || Some((StreamMode::Request, text.strip_prefix("read:")?));
    text.strip_prefix("publish:").map(|rest| (StreamMode::Publish, rest)).or_else(request)
}

/// Three parts are a query after the path, four a user and a password, five both
/// (`internal/servers/srt/streamid.go` of `MediaMTX`).
fn read_action(text: &str, id: &mut StreamId) -> Result<(), StreamIdError> {
    let Some((mode, rest)) = action(text) else { return Ok(()) };
    id.mode = Some(mode);
    let mut parts = rest.splitn(4, ':');
    id.resource = resource_of(parts.next().unwrap_or_default());
    match (parts.next(), parts.next(), parts.next()) {
        (Some(query), None, _) => read_query(query, id),
        (Some(user), Some(password), query) => {
            id.user = non_empty(user);
            id.params.push(("pass".to_owned(), password.to_owned()));
            read_query(query.unwrap_or_default(), id);
        }
        _ => {}
    }
    Ok(())
}

fn is_comma_colon(text: &str) -> bool {
    text.split_once(',').is_some_and(|(_, rest)| rest.split(',').all(|pair| pair.contains(':')))
}

fn read_comma_colon(text: &str, id: &mut StreamId) -> Result<(), StreamIdError> {
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    id.resource = resource_of(name);
    for pair in rest.split(',').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(':').unwrap_or((pair, ""));
        match key {
            "mode" if id.mode.is_some() => return Err(StreamIdError::DuplicateKey(key.to_owned())),
            "mode" => id.mode = mode(value)?,
            _ => id.params.push((key.to_owned(), value.to_owned())),
        }
    }
    Ok(())
}

/// Host and rest of a path whose first part looks like a host, and that has two parts more.
fn host_path(text: &str) -> Option<(&str, &str)> {
    let (path, _) = split_query(text);
    let (host, rest) = path.trim_start_matches('/').split_once('/')?;
    let known = ["localhost", "default", "__defaultVhost__"];
    let looks_like_host = host.contains(['.', ':']) || known.contains(&host);
    (looks_like_host && rest.contains('/')).then_some((host, rest))
}

fn read_host_path(text: &str, id: &mut StreamId) -> Result<(), StreamIdError> {
    let (host, resource) = host_path(text).unwrap_or_default();
    id.host = non_empty(host);
    id.resource = resource_of(resource);
    read_query(split_query(text).1, id);
    Ok(())
}

fn read_bare(text: &str, id: &mut StreamId) -> Result<(), StreamIdError> {
    let (path, query) = split_query(text);
    id.resource = resource_of(path);
    read_query(query, id);
    Ok(())
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

fn read_query(query: &str, id: &mut StreamId) {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    id.params.extend(pairs.map(|(key, value)| (decode(key), decode(value))));
}

fn resource_of(path: &str) -> Option<String> {
    non_empty(path.trim_start_matches('/'))
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
