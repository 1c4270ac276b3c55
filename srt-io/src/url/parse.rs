//! Reading an SRT URL.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::{ConnectMode, SrtUrl, Units, UrlError, UrlWarning};
use crate::options::{Kind, OptionName, OptionValue, Options, Rule, Secret, SrtVersion, Unit};

/// Other names of options: ffmpeg's, those of SRS' configuration, and a spelling that both once had.
const ALIASES: &[(&str, OptionName)] = &[
    ("tlpkdrop", OptionName::TooLateDrop),
    ("tsbpd", OptionName::TsbpdMode),
    ("tsbpddelay", OptionName::Latency),
    ("recvlatency", OptionName::RecvLatency),
    ("connect_timeout", OptionName::ConnectTimeout),
    ("peer_idle_timeout", OptionName::PeerIdleTimeout),
    ("send_buffer_size", OptionName::UdpSendBuffer),
    ("recv_buffer_size", OptionName::UdpRecvBuffer),
    ("sendbuf", OptionName::SendBuffer),
    ("recvbuf", OptionName::RecvBuffer),
    ("pkt_size", OptionName::PayloadSize),
    ("payload_size", OptionName::PayloadSize),
    ("enforced_encryption", OptionName::EnforcedEncryption),
    ("ffs", OptionName::FlowWindow),
    ("smoother", OptionName::Congestion),
    ("srt_streamid", OptionName::StreamId),
];

/// Keys that are no options of the socket.
const SPECIAL: [&str; 7] =
    ["mode", "adapter", "bind", "port", "timeout", "listen_timeout", "blocking"];

/// Above this, a time in milliseconds is suspicious.
const LONG_MS: i64 = 10_000;
/// What the handshake can carry.
const MAX_LATENCY_MS: i64 = 65_535;
/// 7 packets of a transport stream, by ffmpeg's name for it.
const TS_SIZE: i64 = 1316;
/// The greatest message in live mode, by ffmpeg's name for it.
const MAX_SIZE: i64 = 1456;

pub(super) fn parse(text: &str, units: Units) -> Result<SrtUrl, UrlError> {
    let (scheme, rest) = text.split_at_checked(6).ok_or(UrlError::Scheme)?;
    if !scheme.eq_ignore_ascii_case("srt://") {
        return Err(UrlError::Scheme);
    }
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = address.split_once('/').unwrap_or((address, ""));
    if authority.contains('@') {
        return Err(UrlError::UserInfo);
    }
    if !path.is_empty() {
        return Err(UrlError::Path);
    }
    let mut parser = Parser { units, ..Parser::default() };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        parser.pair(pair)?;
    }
    parser.finish(authority)
}

/// What was read so far.
#[derive(Default)]
struct Parser {
    units: Units,
    seen: Vec<&'static str>,
    mode: Option<ConnectMode>,
    adapter: Option<String>,
    bind: Option<String>,
    local_port: Option<u16>,
    timeout: Option<Duration>,
    values: Vec<(OptionName, OptionValue)>,
    warnings: Vec<UrlWarning>,
}

/// A key of the URL, known by now.
enum Key {
    Special(&'static str),
    Option(&'static str, OptionName),
}

impl Key {
    fn find(key: &str) -> Option<Self> {
        let special = SPECIAL.into_iter().find(|special| *special == key).map(Self::Special);
        let alias = || {
            ALIASES
                .iter()
                .find(|(alias, _)| *alias == key)
                .map(|(alias, name)| Self::Option(alias, *name))
        };
        let option = || {
            let name =
                OptionName::from_key(key).filter(|name| name.spec().rule != Rule::ReadOnly)?;
            Some(Self::Option(name.key(), name))
        };
        special.or_else(alias).or_else(option)
    }
}

impl Parser {
    fn pair(&mut self, pair: &str) -> Result<(), UrlError> {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(found) = Key::find(key) else {
            return Err(UrlError::UnknownKey {
                key: key.to_owned(),
                suggestions: suggestions(key),
            });
        };
        let (key, canonical) = match &found {
            Key::Special(key) => (*key, *key),
            Key::Option(key, name) => (*key, name.key()),
        };
        if self.seen.contains(&canonical) {
            return Err(UrlError::DuplicateKey { key });
        }
        self.seen.push(canonical);
        let value = self.decode(key, value)?;
        match found {
            Key::Special(key) => self.special(key, &value),
            Key::Option(key, name) => self.option(key, name, value),
        }
    }

    fn decode(&self, key: &'static str, value: &str) -> Result<String, UrlError> {
        let value = match self.units {
            Units::Ffmpeg => Cow::Owned(value.replace('+', " ")),
            Units::Milliseconds => Cow::Borrowed(value),
        };
        let decoded = percent_decode_str(&value).decode_utf8();
        decoded.map(Cow::into_owned).map_err(|_| UrlError::Encoding { key })
    }

    fn special(&mut self, key: &'static str, value: &str) -> Result<(), UrlError> {
        let wrong = |allowed| UrlError::Value { key, value: value.to_owned(), allowed };
        match key {
            "mode" => {
                self.mode = Some(match value {
                    "caller" | "client" => ConnectMode::Caller,
                    "listener" | "server" => ConnectMode::Listener,
                    "rendezvous" => ConnectMode::Rendezvous,
                    _ => return Err(wrong("caller, listener or rendezvous")),
                });
            }
            "adapter" => self.adapter = Some(host(value).map_err(|_| wrong("a name or address"))?),
            "bind" => self.bind = Some(value.to_owned()),
            "port" => {
                self.local_port =
                    Some(value.parse().map_err(|_| wrong("a number from 0 to 65535"))?);
            }
            "timeout" | "listen_timeout" => {
                let time = number(value).ok_or_else(|| wrong("a time, or -1 for none"))?;
                let unit = match self.units {
                    Units::Milliseconds => Duration::from_millis,
                    Units::Ffmpeg => Duration::from_micros,
                };
                let time = u64::try_from(time).ok().map(unit);
                self.timeout = self.timeout.or(time);
            }
            _ => {
                flag(value).ok_or_else(|| wrong("yes or no"))?;
                let why = "no call of this crate blocks the thread";
                self.warnings.push(UrlWarning::NoEffect { key, why });
            }
        }
        Ok(())
    }

    fn option(
        &mut self,
        key: &'static str,
        name: OptionName,
        value: String,
    ) -> Result<(), UrlError> {
        if name.spec().rule == Rule::Kept {
            let instead = if name == OptionName::Rendezvous {
                "use mode=rendezvous"
            } else {
                "operations take deadlines"
            };
            return Err(UrlError::Kept { key, instead });
        }
        let value = match name.spec().kind {
            Kind::Flag => match flag(&value) {
                Some(flag) => OptionValue::Flag(flag),
                None => return Err(UrlError::Value { key, value, allowed: "yes or no" }),
            },
            Kind::Secret { .. } => OptionValue::Secret(Secret::new(value)),
            Kind::Text { .. } => OptionValue::Text(value),
            Kind::Number { unit, .. } => {
                let Some(number) = named_number(name, &value) else {
                    let allowed =
                        if name == OptionName::TransType { "live or file" } else { "a number" };
                    return Err(UrlError::Value { key, value, allowed });
                };
                OptionValue::Number(if unit == Unit::Milliseconds {
                    self.time(key, name, number)?
                } else {
                    number
                })
            }
        };
        self.values.push((name, value));
        Ok(())
    }

    /// A time in SRT's milliseconds. ffmpeg has microseconds for all but one.
    fn time(&mut self, key: &'static str, name: OptionName, number: i64) -> Result<i64, UrlError> {
        let latency =
            matches!(name, OptionName::Latency | OptionName::RecvLatency | OptionName::PeerLatency);
        match self.units {
            Units::Ffmpeg if name != OptionName::ConnectTimeout && number > 0 => {
                if number < 1000 {
                    let time = Duration::from_micros(number.unsigned_abs());
                    self.warnings.push(UrlWarning::ShortTime { key, time });
                }
                Ok(number.unsigned_abs().div_ceil(1000).try_into().unwrap_or(i64::MAX))
            }
            Units::Milliseconds if latency && number > MAX_LATENCY_MS => {
                Err(UrlError::Microseconds { key, value: number })
            }
            Units::Milliseconds
                if number > LONG_MS && (latency || name == OptionName::SendDropDelay) =>
            {
                let time = Duration::from_millis(number.unsigned_abs());
                self.warnings.push(UrlWarning::LongTime { key, time });
                Ok(number)
            }
            _ => Ok(number),
        }
    }

    fn finish(mut self, authority: &str) -> Result<SrtUrl, UrlError> {
        let (mut host, port) = split_authority(authority)?;
        if let Some(bind) = self.bind.take() {
            self.bind(&bind)?;
        }
        let mode = match (self.mode, self.units) {
            (Some(mode), _) => mode,
            (None, Units::Ffmpeg) => ConnectMode::Caller,
            (None, Units::Milliseconds) if host.is_empty() => ConnectMode::Listener,
            (None, Units::Milliseconds) if self.adapter.is_some() => ConnectMode::Rendezvous,
            (None, Units::Milliseconds) => ConnectMode::Caller,
        };
        if mode == ConnectMode::Listener {
            // The adapter stands for an empty host.
            let adapter = self.adapter.take();
            host = if host.is_empty() { adapter.unwrap_or_default() } else { host };
            if self.seen.contains(&"streamid") {
                let why = "the caller sends the stream id";
                self.warnings.push(UrlWarning::NoEffect { key: "streamid", why });
            }
        } else if host.is_empty() {
            return Err(UrlError::Host);
        } else if port == 0 {
            return Err(UrlError::Port);
        }
        let options = self.options();
        options.check().map_err(UrlError::Option)?;
        let Self { adapter, local_port, timeout, warnings, .. } = self;
        Ok(SrtUrl { host, port, mode, adapter, local_port, timeout, options, warnings })
    }

    /// `bind=address` or `bind=address:port`.
    fn bind(&mut self, bind: &str) -> Result<(), UrlError> {
        let key = "bind";
        if self.adapter.is_some() {
            return Err(UrlError::DuplicateKey { key });
        }
        let wrong = |_| UrlError::Value {
            key,
            value: bind.to_owned(),
            allowed: "an address, with or without a port",
        };
        let bare = bind.parse::<Ipv6Addr>().is_ok() || !bind.contains(':') || bind.ends_with(']');
        if bare {
            self.adapter =
                Some(host(bind.trim_start_matches('[').trim_end_matches(']')).map_err(wrong)?);
            return Ok(());
        }
        let (adapter, port) = split_authority(bind).map_err(wrong)?;
        self.adapter = (!adapter.is_empty()).then_some(adapter);
        if self.local_port.replace(port).is_some() {
            return Err(UrlError::DuplicateKey { key });
        }
        Ok(())
    }

    /// The mode of the options follows from transmission type and message API, which then are not kept apart.
    fn options(&mut self) -> Options {
        let find = |name| {
            self.values.iter().find(|(found, _)| *found == name).map(|(_, value)| value.clone())
        };
        let file = find(OptionName::TransType) == Some(OptionValue::Number(1));
        let messages = find(OptionName::MessageApi) == Some(OptionValue::Flag(true));
        let (options, known) = match (file, messages) {
            (false, _) => (Options::live(), None),
            (true, true) => (Options::message(), Some(OptionName::MessageApi)),
            (true, false) => (Options::file(), None),
        };
        let rest = self
            .values
            .drain(..)
            .filter(|(name, _)| *name != OptionName::TransType && Some(*name) != known);
        rest.fold(options, |options, (name, value)| options.set(name, value))
    }
}

fn split_authority(authority: &str) -> Result<(String, u16), UrlError> {
    let (name, port) = authority.rsplit_once(':').ok_or(UrlError::Port)?;
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port =
        Some(port).filter(|_| digits).and_then(|port| port.parse().ok()).ok_or(UrlError::Port)?;
    let name =
        match name.strip_prefix('[').map(|inner| inner.strip_suffix(']').ok_or(UrlError::Host)) {
            Some(inner) => {
                let inner = inner?;
                Some(inner).filter(|inner| is_ipv6(inner)).ok_or(UrlError::Host)?.to_owned()
            }
            None if name.is_empty() => String::new(),
            None if name.contains(':') => return Err(UrlError::Host),
            None => host(name)?,
        };
    Ok((name, port))
}

/// A name or an address; whether it exists is another question.
fn host(text: &str) -> Result<String, UrlError> {
    let fits = |c: char| c.is_alphanumeric() || "-._:%".contains(c);
    let is_host = !text.is_empty() && text.len() <= 255 && text.chars().all(fits);
    if !is_host || text.contains(':') && !is_ipv6(text) {
        return Err(UrlError::Host);
    }
    Ok(text.to_owned())
}

/// An address, perhaps with its zone.
fn is_ipv6(text: &str) -> bool {
    text.split_once('%').map_or(text, |(address, _)| address).parse::<Ipv6Addr>().is_ok()
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "yes" | "on" | "true" => Some(true),
        "0" | "no" | "off" | "false" => Some(false),
        _ => None,
    }
}

fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        // `from_str_radix` takes a sign of its own.
        Some(hex) if hex.starts_with(['+', '-']) => None,
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A number that some options have words for.
fn named_number(name: OptionName, text: &str) -> Option<i64> {
    match (name, text) {
        (OptionName::TransType, "live") => Some(0),
        (OptionName::TransType, "file") => Some(1),
        (OptionName::PayloadSize, "ts_size") => Some(TS_SIZE),
        (OptionName::PayloadSize, "max_size") => Some(MAX_SIZE),
        (OptionName::MinVersion, text) if text.contains('.') => {
            let mut parts = text.split('.').map(str::parse::<u8>);
            let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
            let patch = parts.next().unwrap_or(Ok(0)).ok()?;
            parts.next().is_none().then(|| i64::from(SrtVersion::new(major, minor, patch).code()))
        }
        (OptionName::GroupConnect | OptionName::Ipv6Only, text) => {
            number(text).or_else(|| flag(text).map(i64::from))
        }
        (_, text) => number(text),
    }
}

/// Known keys that are spelt nearly like `key`, best first.
fn suggestions(key: &str) -> Vec<&'static str> {
    // What is far longer than any key is no slip of the pen, and would cost time to compare.
    if key.len() > 32 {
        return Vec::new();
    }
    let key = key.to_ascii_lowercase();
    let settable =
        OptionName::all().filter(|name| !matches!(name.spec().rule, Rule::ReadOnly | Rule::Kept));
    let known = SPECIAL
        .into_iter()
        .chain(ALIASES.iter().map(|(alias, _)| *alias))
        .chain(settable.map(OptionName::key));
    let mut near: Vec<_> = known
        .map(|known| (distance(&key, known), known))
        .filter(|(steps, known)| *steps <= 2 && steps * 3 <= known.len())
        .collect();
    near.sort_unstable();
    near.into_iter().map(|(_, known)| known).take(3).collect()
}

/// Letters to insert, remove or replace between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().zip(std::iter::once(None).chain(b.bytes().map(Some))) {
            let next = match y {
                None => i + 1,
                Some(y) => (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1),
            };
            diagonal = std::mem::replace(cell, next);
            left = next;
        }
    }
    row.last().copied().unwrap_or_default()
}
