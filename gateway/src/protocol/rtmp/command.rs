//! Commands: a name, a number that pairs a call with its answer, and values.
//!
//! §7.2 of Adobe's "Real-Time Messaging Protocol (RTMP) specification" 1.0 of December 2012. Of commands in AMF3
//! (type 17) only those are understood whose values are in AMF0, which is what clients send there.

use crate::container::flv::amf0::{Amf0Error, Value};
use bytes::{Bytes, BytesMut};
use std::fmt;

/// One command, or the answer to one.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// What is called; `_result` and `_error` in an answer.
    pub name: String,
    /// Pairs a call with its answer; 0 when none is wanted.
    pub transaction: f64,
    /// The command object, then the arguments.
    pub values: Vec<Value>,
}

/// Why a message is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// It is not AMF0.
    Amf0(Amf0Error),
    /// It doesn't begin with a string and a number.
    Shape,
}

/// How many values a command may have at its top level. `play` has 7.
const MAX_VALUES: usize = 32;

impl Command {
    /// A call or an answer with these values after the number.
    pub fn new<const N: usize>(name: &str, transaction: f64, values: [Value; N]) -> Self {
        Self { name: name.to_owned(), transaction, values: values.into() }
    }

    /// `onStatus` of a stream (§7.2.2).
    pub fn on_status(level: &str, code: &str, description: &str) -> Self {
        Self::new("onStatus", 0.0, [Value::Null, status(level, code, description)])
    }

    /// Parses the body of a command message.
    ///
    /// # Errors
    ///
    /// [`CommandError`].
    pub fn parse(mut body: &[u8]) -> Result<Self, CommandError> {
        let mut values = Vec::new();
        while !body.is_empty() && values.len() < MAX_VALUES {
            match Value::parse(&mut body) {
                Ok(value) => values.push(value),
                // The rest is in AMF3. Of the commands we know, none needs it.
                Err(Amf0Error::Marker(SWITCH_TO_AMF3)) => break,
                Err(error) => return Err(CommandError::Amf0(error)),
            }
        }
        let mut values = values.into_iter();
        let (Some(Value::String(name)), Some(transaction)) = (values.next(), values.next()) else {
            return Err(CommandError::Shape);
        };
        let transaction = transaction.as_number().ok_or(CommandError::Shape)?;
        Ok(Self { name, transaction, values: values.collect() })
    }

    /// The body of a command message (type 20).
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256);
        Value::from(&*self.name).encode(&mut out);
        Value::from(self.transaction).encode(&mut out);
        self.values.iter().for_each(|value| value.encode(&mut out));
        out.freeze()
    }

    /// The command object, which for most commands is null.
    pub fn object(&self) -> &Value {
        self.values.first().unwrap_or(&Value::Null)
    }

    /// An argument after the command object, from 0.
    pub fn argument(&self, index: usize) -> &Value {
        self.values.get(index + 1).unwrap_or(&Value::Null)
    }

    /// The code of a status, such as `NetStream.Play.Start`, wherever in the values it is.
    pub fn status_code(&self) -> Option<&str> {
        self.values.iter().find_map(|value| value.property("code")?.as_str())
    }
}

/// What tells about success or failure (§7.2.2).
pub fn status(level: &str, code: &str, description: &str) -> Value {
    Value::object([
        ("level", level.into()),
        ("code", code.into()),
        ("description", description.into()),
    ])
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amf0(error) => write!(f, "a command: {error}"),
            Self::Shape => f.write_str("a command without a name or a transaction number"),
        }
    }
}

impl std::error::Error for CommandError {}

const SWITCH_TO_AMF3: u8 = 0x11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_parsed_again() {
        let command = Command::new("play", 4.0, [Value::Null, "cam".into(), (-2000.0).into()]);
        assert_eq!(Command::parse(&command.encode()), Ok(command.clone()));
        assert_eq!(command.argument(0).as_str(), Some("cam"));
        assert_eq!(command.argument(9), &Value::Null);
        let status = Command::on_status("error", "NetStream.Publish.BadName", "busy");
        assert_eq!(status.status_code(), Some("NetStream.Publish.BadName"));
    }

    #[test]
    fn a_command_that_goes_on_in_amf3_keeps_what_came_before() {
        let mut body = Command::new("connect", 1.0, [Value::object([("app", "live".into())])])
            .encode()
            .to_vec();
        body.extend([0x11, 0x0a, 0x0b]);
        let command = Command::parse(&body).unwrap();
        assert_eq!(command.object().property("app").and_then(Value::as_str), Some("live"));
    }

    #[test]
    fn what_is_no_command_is_refused() {
        assert_eq!(Command::parse(&[]), Err(CommandError::Shape));
        assert_eq!(Command::parse(b"\x02\0\x01a"), Err(CommandError::Shape));
        assert_eq!(Command::parse(b"\x02\0\x01a\x05"), Err(CommandError::Shape));
        assert_eq!(Command::parse(b"\x02\0\x09a"), Err(CommandError::Amf0(Amf0Error::Truncated)));
        let nulls = Command { name: "x".into(), transaction: 0.0, values: vec![Value::Null; 1000] };
        assert_eq!(Command::parse(&nulls.encode()).unwrap().values.len(), MAX_VALUES - 2);
    }
}
