//! What the values of keys may be, and the check of one value: the answer is the value in its plain form, or what was
//! expected instead.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use http::Uri;
use toml::de::{DeArray, DeTable, DeValue};
use toml::{Spanned, Table, Value};
use tracing_subscriber::EnvFilter;

use super::access;
use super::nearest::nearest;
use crate::key::{Pattern, StreamKey};
use crate::naming::Template;

/// What the values of a key are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer {
        /// The least.
        min: u32,
        /// The greatest.
        max: u32,
        /// What it counts, empty for things.
        unit: &'static str,
        /// Whether 0 stands for no value.
        zero_is_none: bool,
    },
    /// A large number, which may be written as a text with a unit: `"64MiB"`, `"20M"`.
    Size {
        /// The least.
        min: u64,
        /// What it counts.
        unit: &'static str,
        /// Whether 0 stands for no value.
        zero_is_none: bool,
    },
    /// One of several words.
    Choice(&'static [&'static str]),
    /// A text that is not shown; empty for none.
    Secret {
        /// The least length in bytes.
        min_len: usize,
        /// The greatest length in bytes.
        max_len: usize,
    },
    /// A short text without a colon; empty for none.
    Name,
    /// A path; empty for none.
    Path,
    /// Which lines are logged.
    LogFilter,
    /// The name of a stream.
    Stream,
    /// A list of patterns of streams.
    Patterns,
    /// How paths of files are made.
    PathTemplate,
    /// A list of IP addresses with ports.
    Addresses,
    /// An IP address with a port; empty for none.
    Address,
    /// A list of IP addresses.
    Ips,
    /// A list of host names or addresses, with or without ports.
    Hosts,
    /// A list of URLs of http and https, shown without what may be secret in them.
    Urls,
    /// A table from ports to streams.
    Ports,
    /// A list of tables with an address and a stream each.
    Inputs,
    /// A list of tables with the paths of a certificate and of its key.
    Certificates,
    /// A list of networks.
    Networks,
    /// A list of rules about who may publish and play.
    Access,
}

/// What is wrong with a value, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) span: Range<usize>,
    pub(super) what: String,
    pub(super) expected: String,
}

pub(super) type Checked<T> = Result<T, Wrong>;

impl Kind {
    /// The value in its plain form; `None` where it stands for no value.
    pub(super) fn check(self, value: &Spanned<DeValue<'_>>) -> Checked<Option<Value>> {
        let wrong = |what: String| Wrong { span: value.span(), what, expected: self.to_string() };
        let mismatch = || wrong(format!("this is {}", describe(value.get_ref())));
        match (self, value.get_ref()) {
            (Self::Boolean, DeValue::Boolean(value)) => Ok(Some(Value::Boolean(*value))),
            (Self::Integer { min, max, zero_is_none, .. }, DeValue::Integer(given)) => {
                let number = i64::from_str_radix(given.as_str(), given.radix()).ok();
                let number = number.filter(|n| (i64::from(min)..=i64::from(max)).contains(n));
                number
                    .map(|n| present(n, zero_is_none))
                    .ok_or_else(|| wrong("this is out of range".into()))
            }
            (Self::Size { min, zero_is_none, .. }, DeValue::Integer(given)) => {
                let number = i64::from_str_radix(given.as_str(), given.radix()).ok();
                size(number, min).map(|n| present(n, zero_is_none)).map_err(|e| wrong(e.into()))
            }
            (Self::Size { min, zero_is_none, .. }, DeValue::String(text)) => {
                size(parse_size(text), min)
                    .map(|n| present(n, zero_is_none))
                    .map_err(|e| wrong(e.into()))
            }
            (Self::Choice(choices), DeValue::String(text)) => {
                if choices.contains(&&**text) {
                    return Ok(Some(Value::String(text.to_string())));
                }
                let near = nearest(text, choices.iter().copied());
                Err(wrong(near.map_or_else(
                    || format!("`{text}` is none of them"),
                    |near| format!("`{text}` is none of them; did you mean `{near}`?"),
                )))
            }
            (Self::Secret { min_len, max_len }, DeValue::String(text)) => match text.len() {
                0 => Ok(None),
                len if (min_len..=max_len).contains(&len) => {
                    Ok(Some(Value::String(text.to_string())))
                }
                len => Err(wrong(format!("this has {len} bytes"))),
            },
            (Self::Name, DeValue::String(text)) => name(text).map_err(|what| wrong(what.into())),
            (Self::Path, DeValue::String(text)) => {
                Ok((!text.is_empty()).then(|| Value::String(text.to_string())))
            }
            (Self::LogFilter, DeValue::String(text)) => match EnvFilter::builder().parse(text) {
                Ok(_) => Ok(Some(Value::String(text.to_string()))),
                Err(error) => Err(wrong(error.to_string())),
            },
            (Self::Stream, DeValue::String(_)) => stream(value).map(Some),
            (Self::Patterns, DeValue::Array(list)) => patterns(list).map(Some),
            (Self::PathTemplate, DeValue::String(text)) => match text.parse::<Template>() {
                Ok(_) => Ok(Some(Value::String(text.to_string()))),
                Err(error) => Err(wrong(error.to_string())),
            },
            (Self::Addresses, DeValue::Array(list)) => addresses(list).map(Some),
            (Self::Hosts, DeValue::Array(list)) => hosts(list).map(Some),
            (Self::Address, DeValue::String(text)) if text.is_empty() => Ok(None),
            (Self::Address, DeValue::String(_)) => address(value).map(Some),
            (Self::Ips, DeValue::Array(list)) => ips(list).map(Some),
            (Self::Urls, DeValue::Array(list)) => {
                list.iter().map(url).collect::<Checked<_>>().map(|urls| Some(Value::Array(urls)))
            }
            (Self::Ports, DeValue::Table(table)) => ports(table).map(Some),
            (Self::Inputs, DeValue::Array(list)) => inputs(list).map(Some),
            (Self::Certificates, DeValue::Array(list)) => certificates(list).map(Some),
            (Self::Networks, DeValue::Array(_)) => access::networks(value).map(Some),
            (Self::Access, DeValue::Array(list)) => access::rules(list).map(Some),
            _ => Err(mismatch()),
        }
    }

    /// Whether a text that is given outside of TOML's quotes can only mean itself.
    pub(super) const fn is_text(self) -> bool {
        matches!(
            self,
            Self::Choice(_)
                | Self::Secret { .. }
                | Self::Name
                | Self::Path
                | Self::LogFilter
                | Self::Stream
                | Self::PathTemplate
                | Self::Address
        )
    }
}

/// A sentence's worth of what is expected.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("`true` or `false`"),
            Self::Integer { min, max, unit: "", .. } => write!(f, "a whole number, {min} to {max}"),
            Self::Integer { min, max, unit, .. } => write!(f, "a whole number of {unit}, {min} to {max}"),
            Self::Size { min, unit, .. } => {
                write!(f, "a number of {unit}")?;
                if *min > 0 {
                    write!(f, ", at least {min}")?;
                }
                f.write_str(r#", or a text with a unit such as "20M" (millions) or "64Mi" (times 1024 × 1024)"#)
            }
            Self::Choice(choices) => {
                for (at, choice) in choices.iter().enumerate() {
                    let between = match at {
                        0 => "",
                        _ if at + 1 == choices.len() => " or ",
                        _ => ", ",
                    };
                    write!(f, "{between}\"{choice}\"")?;
                }
                Ok(())
            }
            Self::Secret { min_len, max_len } => {
                write!(f, "a text of {min_len} to {max_len} bytes, or \"\" for none")
            }
            Self::Name => write!(f, "a name of at most {NAME_LEN_MAX} bytes without a colon, or \"\" for none"),
            Self::Path => f.write_str("a path, or \"\" for none"),
            Self::LogFilter => f.write_str(r#"a level such as "info", or levels of modules such as "warn,thalweg_gateway=debug""#),
            Self::Stream => f.write_str(STREAM),
            Self::Patterns => f.write_str(PATTERNS),
            Self::PathTemplate => f.write_str(r#"a path with fields, such as "{app}/{stream}/%Y-%m-%d.{ext}""#),
            Self::Addresses => f.write_str(r#"a list of IP addresses with ports, such as ["0.0.0.0:1935", "[::]:1935"]"#),
            Self::Hosts => f.write_str(r#"a list of names or addresses, such as ["localhost", "gw.example.com:8080", "[::1]"]"#),
            Self::Address => f.write_str(r#"an IP address with a port, such as "[::]:8000", or "" for none"#),
            Self::Ips => f.write_str(r#"a list of IP addresses, such as ["192.0.2.1", "2001:db8::1"]"#),
            Self::Urls => f.write_str(r#"a list of URLs, such as ["https://hooks.example/srs"]"#),
            Self::Ports => f.write_str(r#"a table from ports to streams, such as { 10090 = "live/cam" }"#),
            Self::Certificates => f.write_str(r#"a list of tables such as { certificate = "b.pem", key = "b.key" }"#),
            Self::Inputs => f.write_str(r#"a list of tables such as { listen = "0.0.0.0:5000", stream = "live/cam" }"#),
            Self::Networks => f.write_str(access::NETWORKS),
            Self::Access => f.write_str(r#"a list of tables such as { streams = "live/*", publish = { users = [{ name = "me", password = "…" }] } }"#),
        }
    }
}

/// What a value of the wrong kind is.
pub(super) fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn present(number: i64, zero_is_none: bool) -> Option<Value> {
    (number != 0 || !zero_is_none).then_some(Value::Integer(number))
}

fn size(number: Option<i64>, min: u64) -> Result<i64, &'static str> {
    let number = number.ok_or("this is not such a number")?;
    match u64::try_from(number) {
        Ok(size) if size >= min => Ok(number),
        _ => Err("this is out of range"),
    }
}

/// A number with a unit: decimal or binary multiples, what they count left out or not.
fn parse_size(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.trim_start();
    let unit = ["bit/s", "bit", "B"].iter().find_map(|end| unit.strip_suffix(end)).unwrap_or(unit);
    let factor: i64 = match unit {
        "" => 1,
        "k" | "K" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

fn addresses(list: &DeArray<'_>) -> Checked<Value> {
    list.iter().map(address).collect::<Checked<Vec<Value>>>().map(Value::Array)
}

fn address(item: &Spanned<DeValue<'_>>) -> Checked<Value> {
    let wrong = |what: String| Wrong {
        span: item.span(),
        what,
        expected: r#"an IP address with a port, such as "0.0.0.0:1935" or "[::1]:1935""#.into(),
    };
    let DeValue::String(text) = item.get_ref() else {
        return Err(wrong(format!("this is {}", describe(item.get_ref()))));
    };
    match text.parse::<SocketAddr>() {
        Ok(address) => Ok(Value::String(address.to_string())),
        Err(_) => Err(wrong(format!("`{text}` is not an address"))),
    }
}

/// The most bytes of a name.
const NAME_LEN_MAX: usize = 64;

fn name(text: &str) -> Result<Option<Value>, &'static str> {
    if text.len() > NAME_LEN_MAX {
        return Err("this is too long");
    }
    if text.contains(|c: char| c == ':' || c.is_control()) {
        return Err("a name has no colon and no control character");
    }
    Ok((!text.is_empty()).then(|| Value::String(text.to_owned())))
}

fn hosts(list: &DeArray<'_>) -> Checked<Value> {
    list.iter().map(host).collect::<Checked<Vec<Value>>>().map(Value::Array)
}

fn host(item: &Spanned<DeValue<'_>>) -> Checked<Value> {
    let wrong = |what: String| Wrong {
        span: item.span(),
        what,
        expected: r#"a name or address, such as "localhost", "gw.example.com:8080" or "[::1]""#
            .into(),
    };
    let DeValue::String(text) = item.get_ref() else {
        return Err(wrong(format!("this is {}", describe(item.get_ref()))));
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let is_whole = (1..=255).contains(&text.len()) && text.chars().all(is_host);
    // Without brackets the last group of an address would be taken for a port.
    if !is_whole || (text.matches(':').count() > 1 && !text.starts_with('[')) {
        return Err(wrong(format!("`{text}` is not a host")));
    }
    Ok(Value::String(text.to_string()))
}

fn ips(list: &DeArray<'_>) -> Checked<Value> {
    list.iter().map(ip).collect::<Checked<Vec<Value>>>().map(Value::Array)
}

fn ip(item: &Spanned<DeValue<'_>>) -> Checked<Value> {
    let wrong = |what: String| Wrong {
        span: item.span(),
        what,
        expected: r#"an IP address, such as "192.0.2.1""#.into(),
    };
    let DeValue::String(text) = item.get_ref() else {
        return Err(wrong(format!("this is {}", describe(item.get_ref()))));
    };
    match text.parse::<IpAddr>() {
        Ok(ip) => Ok(Value::String(ip.to_string())),
        Err(_) => Err(wrong(format!("`{text}` is not an IP address"))),
    }
}

fn url(item: &Spanned<DeValue<'_>>) -> Checked<Value> {
    // The text is not repeated: it may hold a password or a token.
    let wrong = |what: &str| Wrong {
        span: item.span(),
        what: what.to_owned(),
        expected: "a URL that begins with http:// or https:// and names a host".into(),
    };
    let DeValue::String(text) = item.get_ref() else {
        return Err(wrong(&format!("this is {}", describe(item.get_ref()))));
    };
    let url: Uri = text.parse().map_err(|_syntax| wrong("this is not a URL"))?;
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => {
            Ok(Value::String(text.to_string()))
        }
        _ => Err(wrong("this is not such a URL")),
    }
}

/// What is expected for a stream.
const STREAM: &str = r#"the name of a stream, such as "live/cam""#;

fn stream(item: &Spanned<DeValue<'_>>) -> Checked<Value> {
    let wrong = |what: String| Wrong { span: item.span(), what, expected: STREAM.into() };
    let DeValue::String(text) = item.get_ref() else {
        return Err(wrong(format!("this is {}", describe(item.get_ref()))));
    };
    let key: StreamKey = text.parse().map_err(|error| wrong(format!("{error}")))?;
    Ok(Value::String(key.to_string()))
}

/// What is expected for patterns.
const PATTERNS: &str = r#"a list of patterns of streams, such as ["live/*"]"#;

fn patterns(list: &DeArray<'_>) -> Checked<Value> {
    list.iter().map(pattern).collect::<Checked<Vec<Value>>>().map(Value::Array)
}

fn pattern(item: &Spanned<DeValue<'_>>) -> Checked<Value> {
    let wrong = |what: String| Wrong { span: item.span(), what, expected: PATTERNS.into() };
    let DeValue::String(text) = item.get_ref() else {
        return Err(wrong(format!("this is {}", describe(item.get_ref()))));
    };
    match text.parse::<Pattern>() {
        Ok(_) => Ok(Value::String(text.to_string())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn ports(table: &DeTable<'_>) -> Checked<Value> {
    let mut checked = Table::new();
    for (port, name) in table {
        let number = port.get_ref().parse::<u16>().ok().filter(|&number| number > 0);
        let number = number.ok_or_else(|| Wrong {
            span: port.span(),
            what: format!("`{}` is not a port", port.get_ref()),
            expected: "a port, 1 to 65535".into(),
        })?;
        checked.insert(number.to_string(), stream(name)?);
    }
    Ok(Value::Table(checked))
}

fn inputs(list: &DeArray<'_>) -> Checked<Value> {
    list.iter().map(input).collect::<Checked<Vec<Value>>>().map(Value::Array)
}

fn certificates(list: &DeArray<'_>) -> Checked<Value> {
    list.iter().map(certificate).collect::<Checked<Vec<Value>>>().map(Value::Array)
}

fn certificate(item: &Spanned<DeValue<'_>>) -> Checked<Value> {
    let wrong =
        |span, what| Wrong { span, what, expected: "the keys `certificate` and `key`".into() };
    let DeValue::Table(table) = item.get_ref() else {
        return Err(wrong(item.span(), format!("this is {}", describe(item.get_ref()))));
    };
    let mut checked = Table::new();
    for (key, value) in table {
        match (&**key.get_ref(), value.get_ref()) {
            (name @ ("certificate" | "key"), DeValue::String(path)) if !path.is_empty() => {
                checked.insert(name.to_owned(), Value::String(path.to_string()));
            }
            (name @ ("certificate" | "key"), _) => {
                return Err(wrong(value.span(), format!("`{name}` is no path")));
            }
            (other, _) => return Err(wrong(key.span(), format!("there is no key `{other}` here"))),
        }
    }
    if !checked.contains_key("certificate") {
        return Err(wrong(item.span(), "`certificate` is missing".into()));
    }
    Ok(Value::Table(checked))
}

/// The keys of a table in a list of inputs.
const INPUT_KEYS: [&str; 2] = ["listen", "stream"];

fn input(item: &Spanned<DeValue<'_>>) -> Checked<Value> {
    let wrong =
        |span, what| Wrong { span, what, expected: "the keys `listen` and `stream`".into() };
    let DeValue::Table(table) = item.get_ref() else {
        return Err(wrong(item.span(), format!("this is {}", describe(item.get_ref()))));
    };
    let mut checked = Table::new();
    for (key, value) in table {
        let value = match &**key.get_ref() {
            "listen" => address(value)?,
            "stream" => stream(value)?,
            other => return Err(wrong(key.span(), format!("there is no key `{other}` here"))),
        };
        checked.insert(key.get_ref().to_string(), value);
    }
    match INPUT_KEYS.iter().find(|&&key| !checked.contains_key(key)) {
        Some(missing) => Err(wrong(item.span(), format!("`{missing}` is missing"))),
        None => Ok(Value::Table(checked)),
    }
}
