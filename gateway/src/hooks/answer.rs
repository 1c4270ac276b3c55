//! What an answer means.
//!
//! It is SRS's rule: status 200 or 201, and a body that is `0`, byte for byte, or a JSON object whose `code` is the
//! integer 0. All else is a refusal. One thing is told apart from it: a server that says of itself that it cannot
//! answer now has not refused.

use std::fmt;

use serde_json::Value;

/// Why an answer does not accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum No {
    /// The status is neither 200 nor 201.
    Status(u16),
    /// Nothing is in the body.
    Empty,
    /// The body is neither `0` nor a JSON object with an integer `code`; this is how it begins.
    Unknown(String),
    /// The code is not 0.
    Code(i64),
}

impl No {
    /// Whether the server did not refuse but could not answer (RFC 9110 §15.5.9 and §15.6, RFC 6585 §4).
    pub(super) const fn is_failure(&self) -> bool {
        matches!(self, Self::Status(408 | 429 | 500..))
    }
}

/// How much of an answer is shown.
const EXCERPT: usize = 80;

/// Whether an answer accepts.
pub(super) fn judge(status: u16, body: &[u8]) -> Result<(), No> {
    if !matches!(status, 200 | 201) {
        return Err(No::Status(status));
    }
    match body {
        b"" => return Err(No::Empty),
        b"0" => return Ok(()),
        _ => {}
    }
    let unknown = || No::Unknown(excerpt(body));
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => match object.get("code").and_then(Value::as_i64) {
            Some(0) => Ok(()),
            Some(code) => Err(No::Code(code)),
            None => Err(unknown()),
        },
        // SRS takes the body for an error number.
        Ok(Value::Number(number)) => {
            Err(number.as_i64().filter(|&n| n != 0).map_or_else(unknown, No::Code))
        }
        _ => Err(unknown()),
    }
}

fn excerpt(body: &[u8]) -> String {
    let start = body.get(..EXCERPT).unwrap_or(body);
    String::from_utf8_lossy(start).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Empty => f.write_str("an answer without a body"),
            Self::Unknown(text) => {
                write!(f, "an answer that is neither 0 nor an object with a code: {text:?}")
            }
            Self::Code(code) => write!(f, "code {code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_zero_accepts() {
        for (status, body) in [
            (200, "0"),
            (201, "0"),
            (200, r#"{"code":0}"#),
            (201, r#" {"data":{"x":[1]},"code":0,"msg":"ok"}"#),
        ] {
            assert_eq!(judge(status, body.as_bytes()), Ok(()), "{status} {body}");
        }
        for (status, body, no) in [
            (204, "0", No::Status(204)),
            (302, "0", No::Status(302)),
            (403, r#"{"code":0}"#, No::Status(403)),
            (503, "0", No::Status(503)),
            (200, "", No::Empty),
            (200, "1", No::Code(1)),
            (200, r#"{"code":7}"#, No::Code(7)),
            (200, "0\n", No::Unknown("0 ".into())),
            (200, "-0.0", No::Unknown("-0.0".into())),
            (200, r#"{"code":"0"}"#, No::Unknown(r#"{"code":"0"}"#.into())),
            (200, r#"{"code":0.0}"#, No::Unknown(r#"{"code":0.0}"#.into())),
            (200, r#"{"Code":0}"#, No::Unknown(r#"{"Code":0}"#.into())),
            (200, "[0]", No::Unknown("[0]".into())),
            (200, "ok", No::Unknown("ok".into())),
            (200, r#""0""#, No::Unknown(r#""0""#.into())),
            (200, r#"{"code":0"#, No::Unknown(r#"{"code":0"#.into())),
        ] {
            assert_eq!(judge(status, body.as_bytes()), Err(no), "{status} {body}");
        }
    }

    #[test]
    fn a_server_that_cannot_answer_has_not_refused() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(No::Status(status).is_failure(), "{status}");
        }
        for no in [No::Status(404), No::Status(302), No::Status(401), No::Empty, No::Code(1)] {
            assert!(!no.is_failure(), "{no}");
        }
    }

    proptest! {
        #[test]
        fn no_other_body_accepts(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let is_zero = body == b"0";
            let object: Option<Value> = serde_json::from_slice(&body).ok();
            let has_code = object.is_some_and(|object| object["code"].as_i64() == Some(0));
            prop_assert_eq!(judge(200, &body).is_ok(), is_zero || has_code);
            prop_assert!(judge(404, &body).is_err());
        }
    }
}
