//! What can be wrong with options, and how it is said: option, value, and what would have been allowed.

use std::error::Error;
use std::fmt;

use super::name::{OptionName, Rule};

/// Why an option was not set or read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionError {
    /// The value is outside the option's range.
    OutOfRange {
        /// Which option.
        option: OptionName,
        /// The value as given; `***` for secrets.
        value: String,
        /// What would have been allowed.
        allowed: String,
    },
    /// Two options do not go together.
    Conflict {
        /// One.
        option: OptionName,
        /// The other.
        with: OptionName,
        /// What is wrong with the two, and what would be right.
        why: &'static str,
    },
    /// The option's time has passed, or never comes.
    NotNow {
        /// Which option.
        option: OptionName,
        /// Its rule.
        rule: Rule,
    },
    /// The option cannot be read.
    WriteOnly {
        /// Which option.
        option: OptionName,
    },
    /// The SRT library at hand was built without it.
    Unsupported {
        /// Which option.
        option: OptionName,
        /// What the library would have to be built with.
        needs: &'static str,
    },
    /// The SRT library refused, with its own code and words.
    Refused {
        /// Which option.
        option: OptionName,
        /// The library's error number.
        code: i32,
        /// The library's words.
        message: String,
    },
}

impl OptionError {
    /// The option that is at fault.
    #[must_use]
    pub fn option(&self) -> OptionName {
        match self {
            Self::OutOfRange { option, .. }
            | Self::Conflict { option, .. }
            | Self::NotNow { option, .. }
            | Self::WriteOnly { option }
            | Self::Unsupported { option, .. }
            | Self::Refused { option, .. } => *option,
        }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { option, value, allowed } => {
                write!(f, "option {option} cannot be {value}: allowed is {allowed}")
            }
            Self::Conflict { option, with, why } => {
                write!(f, "options {option} and {with} do not go together: {why}")
            }
            Self::NotNow { option, rule } => write!(f, "option {option} {rule}"),
            Self::WriteOnly { option } => write!(f, "option {option} cannot be read"),
            Self::Unsupported { option, needs } => {
                write!(
                    f,
                    "the SRT library at hand has no option {option}: it was built without {needs}"
                )
            }
            Self::Refused { option, code, message } => {
                write!(f, "the SRT library refused option {option}: {message} (error {code})")
            }
        }
    }
}

impl Error for OptionError {}
