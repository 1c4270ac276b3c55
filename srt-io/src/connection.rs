//! What both ends of a connection have agreed on.

use std::time::Duration;

/// How long after it was sent a message is handed over, in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Latency {
    /// Of what this side receives.
    pub recv: Duration,
    /// Of what this side sends.
    pub send: Duration,
}

/// Whether each direction is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encryption {
    /// What this side receives.
    pub recv: KeyState,
    /// What this side sends.
    pub send: KeyState,
}

/// Where the exchange of keys stands (`SRT_KM_STATE` of libsrt 1.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyState {
    /// Nobody has a passphrase: nothing is encrypted.
    Unsecured,
    /// Keys are being exchanged.
    Securing,
    /// Keys are known: data is encrypted.
    Secured,
    /// The peer encrypts, and this side has no passphrase.
    NoSecret,
    /// The passphrases differ.
    BadSecret,
}

impl KeyState {
    pub(crate) const fn from_code(code: i64) -> Self {
        match code {
            1 => Self::Securing,
            2 => Self::Secured,
            3 => Self::NoSecret,
            4 => Self::BadSecret,
            _ => Self::Unsecured,
        }
    }
}
