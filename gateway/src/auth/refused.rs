//! Why a peer is not let in, in no protocol's words.

use std::fmt;
use thalweg_runtime::WaitError;

/// Why a peer may not do what it wants. The texts may be told to the peer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Refused {
    /// It showed no credentials, or wrong ones: with others it may be let in. HTTP's 401, SRT's 1401.
    Unauthorized(String),
    /// It may not, whoever it says it is: HTTP's 403, SRT's 1403.
    Forbidden(String),
    /// There is no such thing for it: HTTP's 404, SRT's 1404.
    NotFound(String),
    /// Who has to decide cannot be asked: HTTP's 503, SRT's 1503.
    Unavailable(String),
    /// The gateway ended the session while somebody was being asked.
    Wait(WaitError),
}

impl From<WaitError> for Refused {
    fn from(error: WaitError) -> Self {
        Self::Wait(error)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthorized(why)
            | Self::Forbidden(why)
            | Self::NotFound(why)
            | Self::Unavailable(why) => f.write_str(why),
            Self::Wait(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}
