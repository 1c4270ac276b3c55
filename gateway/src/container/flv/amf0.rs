//! AMF0, the value notation of RTMP commands and of FLV script tags.
//!
//! Section numbers refer to Adobe's "Action Message Format – AMF 0" of December 2007. Nesting and the number of
//! values are bounded, so that a small message cannot become a large tree. References and the switch to AMF3
//! are refused: nobody sends them in what we read.

use bytes::{BufMut, BytesMut};
use std::fmt;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number, also where an integer is meant.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// A string; bytes that are not UTF-8 are replaced.
    String(String),
    /// Names and values, in the sender's order. Typed objects lose their class name.
    Object(Vec<(String, Self)>),
    /// Nothing.
    Null,
    /// Even less; also what an "unsupported" marker becomes.
    Undefined,
    /// An associative array. On the wire it differs from an object by a count that nobody relies on.
    EcmaArray(Vec<(String, Self)>),
    /// A plain array.
    StrictArray(Vec<Self>),
    /// Milliseconds since 1970, in UTC.
    Date(f64),
}

/// Why bytes are not AMF0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Amf0Error {
    /// The value ends after the bytes do.
    Truncated,
    /// Values are nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// There are more than [`MAX_VALUES`] values.
    TooMany,
    /// A marker that is reserved, or that we refuse.
    Marker(u8),
}

/// How deep values may be nested. `onMetaData` with track maps needs 3.
pub const MAX_DEPTH: usize = 16;

/// How many values one message may hold. An `onMetaData` has some thirty.
pub const MAX_VALUES: usize = 4096;

impl Value {
    /// Parses one value and advances `bytes` past it.
    ///
    /// # Errors
    ///
    /// [`Amf0Error`]; `bytes` is then somewhere inside the value.
    pub fn parse(bytes: &mut &[u8]) -> Result<Self, Amf0Error> {
        Parser { bytes, left: MAX_VALUES }.value(0)
    }

    /// Parses values until the bytes end.
    ///
    /// # Errors
    ///
    /// [`Amf0Error`] when any of them is not well-formed.
    pub fn parse_all(mut bytes: &[u8]) -> Result<Vec<Self>, Amf0Error> {
        let mut values = Vec::new();
        let mut parser = Parser { bytes: &mut bytes, left: MAX_VALUES };
        while !parser.bytes.is_empty() {
            values.push(parser.value(0)?);
        }
        Ok(values)
    }

    /// Appends the value in AMF0.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Number(number) => {
                out.put_u8(marker::NUMBER);
                out.put_f64(*number);
            }
            Self::Boolean(boolean) => {
                out.put_u8(marker::BOOLEAN);
                out.put_u8(u8::from(*boolean));
            }
            Self::String(string) => encode_string(string, out),
            Self::Object(properties) => {
                out.put_u8(marker::OBJECT);
                encode_properties(properties, out);
            }
            Self::Null => out.put_u8(marker::NULL),
            Self::Undefined => out.put_u8(marker::UNDEFINED),
            Self::EcmaArray(properties) => {
                out.put_u8(marker::ECMA_ARRAY);
                out.put_u32(u32::try_from(properties.len()).unwrap_or(u32::MAX));
                encode_properties(properties, out);
            }
            Self::StrictArray(values) => {
                out.put_u8(marker::STRICT_ARRAY);
                out.put_u32(u32::try_from(values.len()).unwrap_or(u32::MAX));
                values.iter().for_each(|value| value.encode(out));
            }
            Self::Date(ms) => {
                out.put_u8(marker::DATE);
                out.put_f64(*ms);
                out.put_i16(0);
            }
        }
    }

    /// An object of these properties.
    pub fn object<const N: usize>(properties: [(&str, Self); N]) -> Self {
        Self::Object(properties.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(string) => Some(string),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub const fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Names and values of an object or an associative array; nothing for all else.
    pub fn properties(&self) -> &[(String, Self)] {
        match self {
            Self::Object(properties) | Self::EcmaArray(properties) => properties,
            _ => &[],
        }
    }

    /// The property of this name, of an object or an associative array.
    pub fn property(&self, name: &str) -> Option<&Self> {
        self.properties().iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

impl From<&str> for Value {
    fn from(string: &str) -> Self {
        Self::String(string.to_owned())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

struct Parser<'a, 'b> {
    bytes: &'a mut &'b [u8],
    /// How many more values there may be.
    left: usize,
}

impl Parser<'_, '_> {
    /// Recursion is bounded by [`MAX_DEPTH`].
    fn value(&mut self, depth: usize) -> Result<Value, Amf0Error> {
        if depth > MAX_DEPTH {
            return Err(Amf0Error::TooDeep);
        }
        self.left = self.left.checked_sub(1).ok_or(Amf0Error::TooMany)?;
        let [marker] = self.take()?;
        Ok(match marker {
            marker::NUMBER => Value::Number(f64::from_be_bytes(self.take()?)),
            marker::BOOLEAN => Value::Boolean(self.take::<1>()? != [0]),
            marker::STRING => Value::String(self.short_string()?),
            marker::OBJECT => Value::Object(self.properties(depth, None)?),
            marker::NULL => Value::Null,
            marker::UNDEFINED | marker::UNSUPPORTED => Value::Undefined,
            marker::ECMA_ARRAY => {
                let count = u32::from_be_bytes(self.take()?);
                Value::EcmaArray(self.properties(depth, Some(count))?)
            }
            marker::STRICT_ARRAY => {
                let count = u32::from_be_bytes(self.take()?);
                let values: Result<_, _> = (0..count).map(|_| self.value(depth + 1)).collect();
                Value::StrictArray(values?)
            }
            marker::DATE => {
                let ms = f64::from_be_bytes(self.take()?);
                // The time zone is reserved and 0 (§2.13).
                self.take::<2>()?;
                Value::Date(ms)
            }
            marker::LONG_STRING | marker::XML_DOCUMENT => {
                let len = u32::from_be_bytes(self.take()?);
                Value::String(self.string(len as usize)?)
            }
            marker::TYPED_OBJECT => {
                self.short_string()?;
                Value::Object(self.properties(depth, None)?)
            }
            other => return Err(Amf0Error::Marker(other)),
        })
    }

    /// Names and values up to an empty name and the end marker (§2.5, §2.10, §2.11).
    ///
    /// Deviates: an associative array that has as many elements as it says may lack the end marker when the
    /// message ends there, since some encoders forget it.
    fn properties(
        &mut self,
        depth: usize,
        count: Option<u32>,
    ) -> Result<Vec<(String, Value)>, Amf0Error> {
        let mut properties = Vec::new();
        loop {
            if self.bytes.is_empty()
                && count.is_some_and(|count| properties.len() as u64 == u64::from(count))
            {
                return Ok(properties);
            }
            let name = self.short_string()?;
            if name.is_empty() && self.bytes.first() == Some(&marker::OBJECT_END) {
                self.take::<1>()?;
                return Ok(properties);
            }
            properties.push((name, self.value(depth + 1)?));
        }
    }

    fn short_string(&mut self) -> Result<String, Amf0Error> {
        let len = u16::from_be_bytes(self.take()?);
        self.string(usize::from(len))
    }

    fn string(&mut self, len: usize) -> Result<String, Amf0Error> {
        let (string, rest) = self.bytes.split_at_checked(len).ok_or(Amf0Error::Truncated)?;
        *self.bytes = rest;
        Ok(String::from_utf8_lossy(string).into_owned())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Amf0Error> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(Amf0Error::Truncated)?;
        *self.bytes = rest;
        Ok(*taken)
    }
}

impl fmt::Display for Amf0Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the AMF0 value is cut off"),
            Self::TooDeep => write!(f, "AMF0 values are nested deeper than {MAX_DEPTH}"),
            Self::TooMany => write!(f, "there are more than {MAX_VALUES} AMF0 values"),
            Self::Marker(marker) => write!(f, "AMF0 marker {marker:#04x} is not accepted"),
        }
    }
}

impl std::error::Error for Amf0Error {}

fn encode_string(string: &str, out: &mut BytesMut) {
    if let Ok(len) = u16::try_from(string.len()) {
        out.put_u8(marker::STRING);
        out.put_u16(len);
    } else {
        out.put_u8(marker::LONG_STRING);
        out.put_u32(u32::try_from(string.len()).expect("no string of ours has 4 GiB"));
    }
    out.put_slice(string.as_bytes());
}

fn encode_properties(properties: &[(String, Value)], out: &mut BytesMut) {
    for (name, value) in properties {
        let Ok(len) = u16::try_from(name.len()) else { continue };
        out.put_u16(len);
        out.put_slice(name.as_bytes());
        value.encode(out);
    }
    out.put_u16(0);
    out.put_u8(marker::OBJECT_END);
}

/// §2.1.
mod marker {
    pub(super) const NUMBER: u8 = 0x00;
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const OBJECT: u8 = 0x03;
    pub(super) const NULL: u8 = 0x05;
    pub(super) const UNDEFINED: u8 = 0x06;
    pub(super) const ECMA_ARRAY: u8 = 0x08;
    pub(super) const OBJECT_END: u8 = 0x09;
    pub(super) const STRICT_ARRAY: u8 = 0x0a;
    pub(super) const DATE: u8 = 0x0b;
    pub(super) const LONG_STRING: u8 = 0x0c;
    pub(super) const UNSUPPORTED: u8 = 0x0d;
    pub(super) const XML_DOCUMENT: u8 = 0x0f;
    pub(super) const TYPED_OBJECT: u8 = 0x10;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: &Value) -> Vec<u8> {
        let mut out = BytesMut::new();
        value.encode(&mut out);
        out.to_vec()
    }

    fn sample() -> Value {
        Value::object([
            ("app", "live".into()),
            ("fpad", false.into()),
            ("capabilities", 15.0.into()),
            ("nothing", Value::Null),
            ("less", Value::Undefined),
            ("list", Value::StrictArray(vec!["hvc1".into(), Value::Date(1e12)])),
            ("map", Value::EcmaArray(vec![("1".into(), Value::object([("width", 2.0.into())]))])),
        ])
    }

    #[test]
    fn what_is_encoded_is_parsed_again() {
        let long = Value::String("x".repeat(70_000));
        for value in [sample(), long] {
            let bytes = encoded(&value);
            assert_eq!(Value::parse_all(&bytes), Ok(vec![value]));
        }
    }

    #[test]
    fn the_bytes_of_a_command_are_those_of_the_specification() {
        let mut out = BytesMut::new();
        for value in ["connect".into(), 1.0.into(), Value::object([("app", "a".into())])] {
            Value::encode(&value, &mut out);
        }
        let expected = b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x03\0\x03app\x02\0\x01a\0\0\x09";
        assert_eq!(out.as_ref(), expected);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = encoded(&sample());
        for len in 0..bytes.len() {
            assert_eq!(Value::parse(&mut &bytes[..len]), Err(Amf0Error::Truncated), "{len} bytes");
        }
    }

    #[test]
    fn an_array_without_its_end_is_accepted_at_the_end_of_the_message() {
        let value = Value::EcmaArray(vec![("width".into(), 1280.0.into())]);
        let bytes = encoded(&value);
        assert_eq!(Value::parse_all(&bytes[..bytes.len() - 3]), Ok(vec![value]));
    }

    #[test]
    fn bombs_are_refused() {
        let deep = b"\x03\0\x01a".repeat(1000);
        assert_eq!(Value::parse(&mut &deep[..]), Err(Amf0Error::TooDeep));
        let mut wide = vec![marker::STRICT_ARRAY, 0xff, 0xff, 0xff, 0xff];
        wide.resize(1 << 20, marker::NULL);
        assert_eq!(Value::parse(&mut &wide[..]), Err(Amf0Error::TooMany));
        assert_eq!(Value::parse_all(&vec![marker::NULL; 5000]), Err(Amf0Error::TooMany));
        assert_eq!(
            Value::parse(&mut &[0x0c, 0xff, 0xff, 0xff, 0xff][..]),
            Err(Amf0Error::Truncated)
        );
        assert_eq!(Value::parse(&mut &[0x11, 1][..]), Err(Amf0Error::Marker(0x11)));
    }

    #[test]
    fn text_that_is_not_utf_8_does_not_end_the_message() {
        let parsed = Value::parse(&mut &b"\x02\0\x02a\xff"[..]);
        assert_eq!(parsed, Ok(Value::from("a\u{fffd}")));
    }
}
