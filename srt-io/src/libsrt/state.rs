//! What can be asked of a connection, and set on it while it stands.

use std::net::SocketAddr;
use std::time::Duration;

use libsrt_sys as sys;

use super::socket::Socket;
use super::{apply, perf};
use crate::connection::{Encryption, KeyState, Latency};
use crate::error::SrtError;
use crate::options::{OptionError, OptionName, OptionValue, Options};
use crate::stats::Stats;
use crate::stream_id::{StreamId, StreamIdError};

impl Socket {
    /// Whether the connection stands, as far as is known.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        !self.source.is_closed() && self.source.raw.state() == sys::SRTS_CONNECTED
    }

    /// This end's address, while the connection stands.
    ///
    /// # Errors
    ///
    /// What the library says.
    pub fn local_addr(&self) -> Result<SocketAddr, SrtError> {
        self.source.raw.local_addr()
    }

    /// What the caller of the connection wants, parsed.
    ///
    /// # Errors
    ///
    /// When the text cannot be understood; [`Socket::stream_id_text`] has it as it is.
    pub fn stream_id(&self) -> Result<StreamId, StreamIdError> {
        StreamId::parse(self.stream_id_text())
    }

    /// Everything that is counted, while the connection stands. Nothing is reset.
    ///
    /// # Errors
    ///
    /// What the library says: there are no statistics of a connection that ended.
    pub fn stats(&self) -> Result<Stats, SrtError> {
        self.source.raw.stats(false, true).map(|stats| perf::stats(&stats))
    }

    /// Like [`Socket::stats`], and begins the next interval.
    ///
    /// # Errors
    ///
    /// As [`Socket::stats`].
    pub fn take_stats(&self) -> Result<Stats, SrtError> {
        self.source.raw.stats(true, true).map(|stats| perf::stats(&stats))
    }

    /// The latencies that both peers agreed on.
    ///
    /// # Errors
    ///
    /// What the library says of a connection that ended.
    pub fn latency(&self) -> Result<Latency, OptionError> {
        let read = |name| -> Result<Duration, OptionError> {
            Ok(self.option(name)?.duration(name).unwrap_or_default())
        };
        Ok(Latency { recv: read(OptionName::RecvLatency)?, send: read(OptionName::PeerLatency)? })
    }

    /// Whether what is sent and received is encrypted.
    ///
    /// # Errors
    ///
    /// What the library says of a connection that ended.
    pub fn encryption(&self) -> Result<Encryption, OptionError> {
        let read = |name| -> Result<KeyState, OptionError> {
            Ok(KeyState::from_code(self.option(name)?.number().unwrap_or(0)))
        };
        Ok(Encryption {
            recv: read(OptionName::RecvKmState)?,
            send: read(OptionName::SendKmState)?,
        })
    }

    /// Sets options that can be set while connected; see [`Options::check_connected`].
    ///
    /// # Errors
    ///
    /// As [`Options::check_connected`], and what the library refuses.
    pub fn set_options(&self, options: &Options) -> Result<(), OptionError> {
        apply::apply_connected(self.source.raw.id(), options)
    }

    /// Reads an option, as it is in force.
    ///
    /// # Errors
    ///
    /// For options that cannot be read, and what the library refuses.
    pub fn option(&self, name: OptionName) -> Result<OptionValue, OptionError> {
        apply::read(self.source.raw.id(), name)
    }
}
