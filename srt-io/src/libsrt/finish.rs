//! Ending a connection so that the tail arrives.

use std::time::{Duration, Instant};

use libsrt_sys as sys;
use thalweg_runtime::{WaitError, deadline, sleep};

use super::socket::{End, Socket};
use super::source;
use crate::error::FinishError;

/// How often the send buffer is looked at: acknowledgements come every 10 ms, and libsrt tells nobody.
const STEP: Duration = Duration::from_millis(10);

/// How much longer than the latency the peer is given, for a late tick of its threads.
const SLACK: Duration = Duration::from_millis(20);

impl Socket {
    /// Closes the connection when everything was sent and played, or at `at`, whichever comes first.
    ///
    /// A peer drops what it has not played yet when the connection ends. So this waits until the peer has
    /// acknowledged everything, and for the latency and a round trip after that. The socket is closed in
    /// any case, also when the caller is cancelled meanwhile.
    ///
    /// # Suspends
    ///
    /// As said, or until `at`, another deadline, a cancellation, or the end of the connection.
    ///
    /// # Errors
    ///
    /// All of [`FinishError`]. None when the peer closes after it acknowledged everything.
    pub fn finish(&self, at: Instant) -> Result<(), FinishError> {
        let result = self.finish_by(at);
        self.close();
        result
    }

    fn finish_by(&self, at: Instant) -> Result<(), FinishError> {
        source::enter()?;
        match deadline(at, || self.drain()) {
            Err(FinishError::Wait(WaitError::TimedOut(passed))) if !passed.is_outer() => {
                // Should an outer deadline have passed as well, the next wait says so.
                Err(FinishError::Unsent { packets: self.unsent_packets() })
            }
            result => result,
        }
    }

    fn drain(&self) -> Result<(), FinishError> {
        let mut packets = self.unsent_packets();
        while packets > 0 {
            self.check_connected()?;
            sleep(STEP)?;
            packets = self.unsent_packets();
        }
        // Gone with nothing unsent: the peer had all it wanted.
        let Some(rest) = self.time_to_play() else { return Ok(()) };
        sleep(rest).map_err(FinishError::Wait)
    }

    /// How long the peer takes to play what it has just acknowledged; `None` if it is not there any more.
    fn time_to_play(&self) -> Option<Duration> {
        let stats = self.stats().ok()?;
        let latency = self.latency().ok()?.send;
        Some(if self.is_timed() { latency + stats.now.round_trip + SLACK } else { Duration::ZERO })
    }

    fn check_connected(&self) -> Result<(), FinishError> {
        if !self.source.is_closed() && self.source.raw.state() == sys::SRTS_CONNECTED {
            return Ok(());
        }
        Err(match self.end() {
            End::Closed => FinishError::Closed,
            End::Disconnected => FinishError::Disconnected,
            End::Broken => FinishError::Broken,
        })
    }

    fn unsent_packets(&self) -> usize {
        self.source.raw.unsent_packets().unwrap_or(0)
    }
}
