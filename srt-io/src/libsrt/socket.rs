//! A connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use libsrt_sys as sys;
use thalweg_runtime::{now, sleep};

use super::apply;
use super::bridge;
use super::clock;
use super::ffi::MessageOptions;
use super::heard::Heard;
use super::ports::PortLease;
use super::source::{Failure, Left, Source};
use crate::error::{RecvError, SendError};
use crate::message::{Batch, Message, Received};
use crate::options::{OptionName, OptionValue};

/// An SRT connection.
///
/// Every call suspends only its caller, and all take `&self`: one coroutine may receive while another
/// sends, sharing the socket by reference or `Rc`. A socket belongs to no runtime: it may be moved to another thread
/// and used there. Dropping it closes it, without waiting for what is not sent yet; [`Socket::finish`] waits.
pub struct Socket {
    pub(super) source: Arc<Source>,
    traits: Traits,
    stream_id: String,
    heard: Heard,
    /// A place at a port that callers share.
    _port: Option<PortLease>,
}

/// What is fixed when the connection is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits {
    peer: Option<SocketAddr>,
    /// Messages are handed over at their time, and late ones dropped.
    timed: bool,
    /// Messages keep their bounds; otherwise the connection is a stream of bytes.
    messages: bool,
    /// The largest message of live mode, in bytes; none in other modes.
    live_limit: Option<usize>,
    peer_idle: Duration,
}

impl Traits {
    /// Reads them from a connected socket.
    fn of(source: &Source) -> Self {
        let id = source.raw.id();
        let read = |name| apply::read(id, name).ok();
        let flag = |name| read(name).and_then(|value: OptionValue| value.flag()).unwrap_or(false);
        let number = |name| read(name).and_then(|value: OptionValue| value.number());
        let congestion = read(OptionName::Congestion);
        let is_live = congestion.is_some_and(|control| control.text() == Some("live"));
        let limit = number(OptionName::PayloadSize).and_then(|bytes| usize::try_from(bytes).ok());
        let limit = limit.filter(|limit| *limit > 0).unwrap_or(LIVE_LIMIT);
        let idle_ms = number(OptionName::PeerIdleTimeout).and_then(|ms| u64::try_from(ms).ok());
        Self {
            peer: source.raw.peer_addr().ok(),
            timed: flag(OptionName::TsbpdMode),
            messages: flag(OptionName::MessageApi),
            live_limit: is_live.then_some(limit),
            peer_idle: Duration::from_millis(idle_ms.unwrap_or(5000)),
        }
    }
}

impl Socket {
    /// Takes over a connected socket.
    pub(super) fn new(source: Arc<Source>, port: Option<PortLease>) -> Self {
        let traits = Traits::of(&source);
        let stream_id = apply::read(source.raw.id(), OptionName::StreamId).ok();
        let stream_id =
            stream_id.and_then(|text| text.text().map(str::to_owned)).unwrap_or_default();
        Self { source, traits, stream_id, heard: Heard::new(now()), _port: port }
    }

    /// Receives the next message into `buf`; the result is its length. On a stream (file mode without
    /// messages), the next bytes.
    ///
    /// In live mode `buf` has to hold the largest message that the options allow: 1456 bytes do in any
    /// case. In message mode the rest of a message that is longer than `buf` is lost.
    ///
    /// # Suspends
    ///
    /// Until a message is due, the connection ends, a deadline passes or the caller is cancelled.
    ///
    /// # Errors
    ///
    /// All of [`RecvError`]. When the connection ends, what is due and what becomes due within the
    /// latency is still received before [`RecvError::Disconnected`] or [`RecvError::Broken`].
    pub fn recv(&self, buf: &mut [u8]) -> Result<usize, RecvError> {
        self.recv_timed(buf).map(|(bytes, _due_us)| bytes)
    }

    /// Receives like [`Socket::recv`], and tells when the message was due.
    ///
    /// # Suspends
    ///
    /// As [`Socket::recv`].
    ///
    /// # Errors
    ///
    /// As [`Socket::recv`].
    pub fn recv_message(&self, buf: &mut [u8]) -> Result<Received, RecvError> {
        let (bytes, due_us) = self.recv_timed(buf)?;
        Ok(Received { bytes, due: self.traits.timed.then(|| clock::instant(due_us)) })
    }

    fn recv_timed(&self, buf: &mut [u8]) -> Result<(usize, i64), RecvError> {
        loop {
            let input = &self.source.input;
            let received = self.source.perform(input, |raw| {
                let received = raw.recv(buf)?;
                // Asking costs a fiftieth of a call that has nothing to give. Without times a peer may
                // take messages back, unseen between the two looks, so there the call itself must say it.
                let left =
                    if self.traits.timed && !raw.is_due() { Left::Nothing } else { Left::More };
                Ok((received, left))
            });
            match received {
                Ok((0, _)) if !self.traits.messages => return Err(RecvError::Disconnected),
                Ok(received) => {
                    self.heard.received(now());
                    return Ok(received);
                }
                Err(Failure::Srt(error)) if error.is_gone() && self.has_tail() => sleep(TAIL_STEP)?,
                Err(failure) => return Err(self.recv_error(failure, buf.len())),
            }
        }
    }

    /// Receives messages into `batch`, replacing what is in it: the next one and those that are due already,
    /// as many as there is room for. The result is how many, at least one.
    ///
    /// # Suspends
    ///
    /// As [`Socket::recv`], for the first message only.
    ///
    /// # Errors
    ///
    /// As [`Socket::recv`]; what came before an error is in the batch, and the next call reports the error.
    pub fn recv_batch(&self, batch: &mut Batch) -> Result<usize, RecvError> {
        batch.clear();
        batch.fill_next(|buf| self.recv(buf))?;
        while batch.has_room() && self.source.raw.is_due() {
            // Due, so this does not wait, and an error would come again.
            if batch.fill_next(|buf| self.recv(buf)).is_err() {
                break;
            }
        }
        Ok(batch.len())
    }

    /// Sends `buf` as one message. On a stream, as many bytes as there is room for; the result is how many.
    ///
    /// # Suspends
    ///
    /// While the send buffer is full: until there is room, the connection ends, a deadline passes or the
    /// caller is cancelled.
    ///
    /// # Errors
    ///
    /// All of [`SendError`]. Nothing of `buf` was taken then.
    pub fn send(&self, buf: &[u8]) -> Result<usize, SendError> {
        self.send_message(buf, &Message::new())
    }

    /// Sends `buf` as one message that may expire or overtake others, in message mode.
    ///
    /// # Suspends
    ///
    /// As [`Socket::send`].
    ///
    /// # Errors
    ///
    /// As [`Socket::send`].
    pub fn send_message(&self, buf: &[u8], message: &Message) -> Result<usize, SendError> {
        if buf.is_empty() {
            // To libsrt it is the end of the stream in one mode and nothing in another.
            return Ok(0);
        }
        if let Some(limit) = self.traits.live_limit.filter(|limit| buf.len() > *limit) {
            return Err(SendError::TooLarge { size: buf.len(), limit });
        }
        let options = MessageOptions { ttl: message.ttl, in_order: message.in_order };
        let output = &self.source.output;
        let sent = self.source.perform(output, |raw| {
            let sent = raw.send(buf, options)?;
            self.heard.sent(now(), raw);
            Ok((sent, Left::More))
        });
        sent.map_err(|failure| match failure {
            Failure::Closed => SendError::Closed,
            Failure::Wait(error) => SendError::Wait(error),
            Failure::Srt(error) if error.code() == sys::SRT_ELARGEMSG => {
                SendError::TooLarge { size: buf.len(), limit: self.send_buffer_bytes() }
            }
            Failure::Srt(error) if error.is_gone() => match self.end() {
                End::Closed => SendError::Closed,
                End::Disconnected => SendError::Disconnected,
                End::Broken => SendError::Broken,
            },
            Failure::Srt(error) => SendError::Failed(error),
        })
    }

    /// Closes the connection at once: coroutines that wait in its calls get an error, and so does every later call.
    /// What is not sent yet, and what the peer has not played yet, is lost.
    pub fn close(&self) {
        bridge::forget(&self.source);
        self.source.close();
    }

    /// The peer's address.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.traits.peer
    }

    /// What the caller of the connection wants, as it was written there; empty for nothing.
    #[must_use]
    pub fn stream_id_text(&self) -> &str {
        &self.stream_id
    }

    pub(super) const fn is_timed(&self) -> bool {
        self.traits.timed
    }

    /// Why the connection ended, once a call has said that it did.
    pub(super) fn end(&self) -> End {
        if self.source.is_closed() {
            End::Closed
        } else if self
            .heard
            .closed_by_peer(self.traits.peer_idle, self.source.broken_at().unwrap_or_else(now))
        {
            End::Disconnected
        } else {
            End::Broken
        }
    }

    /// Whether messages of an ended connection are still to come: libsrt keeps those that were
    /// received and are not due yet, though it wakes nobody for them any more.
    fn has_tail(&self) -> bool {
        if self.source.is_closed() || !self.traits.timed {
            return false;
        }
        let broken_at = self.source.broken_at().unwrap_or_else(now);
        let age = now().saturating_duration_since(broken_at);
        age <= self.recv_latency() + TAIL_SLACK
            && self.source.raw.unread_packets().is_ok_and(|packets| packets > 0)
    }

    fn recv_latency(&self) -> Duration {
        self.latency().map(|latency| latency.recv).unwrap_or_default()
    }

    fn send_buffer_bytes(&self) -> usize {
        let bytes = self.option(OptionName::SendBuffer).ok().and_then(|bytes| bytes.number());
        bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
    }

    fn recv_error(&self, failure: Failure, room: usize) -> RecvError {
        match failure {
            Failure::Closed => RecvError::Closed,
            Failure::Wait(error) => RecvError::Wait(error),
            Failure::Srt(error) if error.is_gone() => match self.end() {
                End::Closed => RecvError::Closed,
                End::Disconnected => RecvError::Disconnected,
                End::Broken => RecvError::Broken,
            },
            Failure::Srt(error) => match self.traits.live_limit.filter(|limit| room < *limit) {
                Some(needed) if error.code() == sys::SRT_EINVALMSGAPI => {
                    RecvError::BufferTooSmall { needed }
                }
                _ => RecvError::Failed(error),
            },
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.traits.peer.map(|peer| peer.to_string());
        write!(f, "Socket({})", peer.as_deref().unwrap_or("?"))
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Disconnected,
    Broken,
}

/// What fits a packet of 1500 bytes (`SRT_LIVE_MAX_PLSIZE`), where the options set no limit.
const LIVE_LIMIT: usize = 1456;

/// How often the rest of an ended connection is looked for.
const TAIL_STEP: Duration = Duration::from_millis(5);

/// How much longer than the latency that is done, for the drift of clocks and late ticks.
const TAIL_SLACK: Duration = Duration::from_millis(100);
