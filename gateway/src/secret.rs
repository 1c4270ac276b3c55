//! Texts that nobody is to read in a log, an error or an answer of the API.
//!
//! What the configuration and the peers give to be compared or computed with is a [`Secret`]. Where secrets stand inside of
//! other texts, who shows those masks them: `config` in its faults, `thalweg-srt-io` in stream ids.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// A passphrase, key or token. It prints as `***`; [`Secret::reveal`] is the one way to its text.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether there is no text.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text itself, for who has to use it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// What stands for a secret wherever values are shown.
pub const MASK: &str = "***";

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_itself_to_nobody() {
        let secret = Secret::new("correct horse".into());
        let shown = format!("{secret} {secret:?} {:#?}", Some(&secret));
        assert!(!shown.contains("horse"), "{shown}");
        assert_eq!(serde_json::to_string(&secret).unwrap(), r#""***""#);
        assert_eq!(secret.reveal(), "correct horse");
    }
}
