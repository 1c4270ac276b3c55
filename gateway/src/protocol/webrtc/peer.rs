//! What a viewer and a publisher have in common: a part of str0m, a mailbox, and a coroutine that waits for the next of what
//! may happen to them.

use super::{
    addresses::Local,
    crowd::Place,
    figures::Told,
    keys::{self, Keys},
    negotiate,
    outbox::Outbox,
    resource::{Control, Fresh},
    routes::{Datagram, Mailbox},
    sender::Out,
    stun,
};
use crate::hub::Client;
use std::{
    fmt, io, mem,
    net::SocketAddr,
    ops::RangeInclusive,
    time::{Duration, Instant},
};
use str0m::{
    Event, Input, Output, Rtc, RtcError, error::DtlsError, net::Receive, stats::PeerStats,
};
use thalweg_runtime::{
    self as rt, WaitError, select,
    sync::{Cond, channel::Receiver},
};
use tracing::debug;

/// Why a peer's session is over.
#[derive(Debug)]
pub(super) enum PeerEnd {
    /// Its offer was not taken, or it may not publish.
    Refused(String),
    /// It closed the connection.
    Left,
    /// The connection did not come about in time; what was last wrong with what came for it.
    NotConnected(Duration, Option<DtlsError>),
    /// It was not heard of for so long.
    Silent(Duration),
    /// The stream is over.
    Unpublished,
    /// What the peer has agreed to is not sent any more.
    Outdated,
    /// Another publisher took the stream over.
    TakenOver,
    /// It sent more than it may, in bits a second.
    TooFast(u64),
    /// It agreed on keys of which nothing is known.
    NoKeys,
    /// The WebRTC stack gave up.
    Rtc(RtcError),
    /// The socket failed.
    Io(io::Error),
    /// The gateway ended the session.
    Wait(WaitError),
}

/// What holds for every peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the answer until it is connected.
    pub(super) connect: Duration,
    /// How long it may be silent.
    pub(super) silence: Duration,
}

/// One peer and its part of the stack.
pub(super) struct Peer<'a> {
    pub(super) rtc: Box<Rtc>,
    pub(super) client: &'a Client,
    pub(super) is_connected: bool,
    /// What it sends now is the last.
    is_leaving: bool,
    /// Among those who are not connected yet.
    place: Option<Place>,
    /// Somebody asked for a random-access point of it.
    pub(super) is_asked: bool,
    /// Of the packets of media, which the stack does not get.
    keys: Option<Keys>,
    /// Its reports, where the stack does not get them, and when they came.
    reports: Option<Vec<(Instant, Datagram)>>,
    /// The stack was given something since it was asked for all that it has to tell.
    is_stirred: bool,
    mailbox: &'a Mailbox,
    control: &'a Receiver<Control>,
    /// The addresses that it was told.
    candidates: Vec<Local>,
    outbox: Outbox,
    limits: Limits,
    begun: Instant,
    heard: Instant,
    /// What was wrong with the last packet that was.
    wrong: Option<DtlsError>,
    /// When the stack wants to be called.
    timer: Instant,
    pub(super) told: Told,
}

/// What a peer was woken by.
enum Happened {
    Control(Control),
    Datagram(Datagram),
    /// What it waits for besides, or the time.
    Else,
}

/// Datagrams that are taken between two looks at what there is to send.
const BATCH: usize = 64;

/// The first byte of a packet of RTP or RTCP (RFC 7983 §7).
const MEDIA: RangeInclusive<u8> = 128..=191;

impl<'a> Peer<'a> {
    pub(super) fn new(
        rtc: Box<Rtc>,
        mailbox: &'a Mailbox,
        control: &'a Receiver<Control>,
        candidates: Vec<Local>,
        client: &'a Client,
        limits: Limits,
        place: Place,
    ) -> Self {
        let now = rt::now();
        Self {
            rtc,
            client,
            is_connected: false,
            is_leaving: false,
            place: Some(place),
            is_asked: false,
            keys: None,
            reports: None,
            is_stirred: true,
            mailbox,
            control,
            candidates,
            outbox: Outbox::default(),
            limits,
            begun: now,
            heard: now,
            timer: now,
            wrong: None,
            told: Told::of(client, now),
        }
    }

    #[expect(
        clippy::large_stack_frames,
        reason = "str0m's events are; sessions have stacks for it"
    )]
    /// The next that the stack has to tell; `None` when it has nothing more, and all that it wanted to be sent has been.
    pub(super) fn poll(&mut self) -> Result<Option<Event>, PeerEnd> {
        while self.is_stirred {
            let output = self.rtc.poll_output().map_err(PeerEnd::Rtc)?;
            self.take_keys();
            match output {
                Output::Transmit(transmit) => {
                    self.outbox.push(&transmit, self.mailbox);
                    self.make_room()?;
                }
                Output::Event(Event::Connected) => {
                    debug!("connected");
                    self.is_connected = true;
                    self.place = None;
                    // What was behind it took far more of the stack than what comes.
                    if let Err(error) = rt::trim_stack() {
                        debug!(%error, "the stack is not trimmed");
                    }
                    return Ok(Some(Event::Connected));
                }
                Output::Event(Event::PeerStats(stats)) => {
                    self.outbox.note_way(stats.selected_candidate_pair.as_ref());
                    return Ok(Some(Event::PeerStats(stats)));
                }
                Output::Event(Event::Closed) => return Err(PeerEnd::Left),
                Output::Event(event) => return Ok(Some(event)),
                Output::Timeout(at) => {
                    self.timer = at;
                    self.is_stirred = false;
                    self.flush()?;
                    if !self.rtc.is_alive() {
                        return Err(PeerEnd::Left);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Has the stack take up what was given to it: it wants one change between two polls.
    pub(super) fn settle(&mut self) -> Result<(), PeerEnd> {
        self.is_stirred = true;
        let result = self.rtc.handle_input(Input::Timeout(rt::now()));
        self.take_keys();
        result.map_err(PeerEnd::Rtc)
    }

    /// From now on, media and reports on it are not the stack's but the caller's. The keys are there once it is connected.
    pub(super) fn take_over_media(&mut self) -> Option<Keys> {
        self.reports.get_or_insert_default();
        self.keys.take()
    }

    /// The keys that the stack has just agreed on, if it has: before anybody else gets a turn.
    fn take_keys(&mut self) {
        if !self.is_connected
            && let Some(keys) = keys::take()
        {
            self.keys = Some(keys);
        }
    }

    /// The reports that have come.
    pub(super) fn take_reports(&mut self) -> Vec<(Instant, Datagram)> {
        self.reports.as_mut().map(mem::take).unwrap_or_default()
    }

    /// It sent something that only it can have sent.
    pub(super) fn note_heard(&mut self, datagram: &Datagram, at: Instant) {
        self.heard = self.heard.max(at);
        self.outbox.heard(datagram.source, datagram.local);
    }

    /// Where media is put; what was put there leaves at the next [`Peer::flush`].
    pub(super) const fn out(&mut self) -> Out<'_> {
        Out { outbox: &mut self.outbox, mailbox: self.mailbox }
    }

    /// Sends what was put, if that is much, which is the result.
    ///
    /// # Suspends
    ///
    /// While the socket's buffer is full.
    pub(super) fn make_room(&self) -> Result<bool, PeerEnd> {
        let is_full = self.mailbox.is_full();
        if is_full {
            self.flush()?;
        }
        Ok(is_full)
    }

    /// Notes what holds for the peer as a whole.
    pub(super) fn note(&self, stats: &PeerStats) {
        self.told.note_peer(stats, self.client);
        self.told.note_unsent(self.mailbox.unsent());
    }

    /// Takes what can wait until the peer is awake anyway; whether there was something.
    fn take_feedback(&mut self) -> Result<bool, PeerEnd> {
        let mut had_some = false;
        while let Some(datagram) = self.mailbox.take_feedback() {
            // It tells how long packets are on their way.
            let at = datagram.at;
            self.receive(datagram, at)?;
            had_some = true;
        }
        Ok(had_some)
    }

    /// Waits until something arrives, `more` is signalled, the stack wants to be called, or it is `wake`.
    pub(super) fn wait(
        &mut self,
        more: Option<&Cond>,
        wake: Option<Instant>,
    ) -> Result<(), PeerEnd> {
        if self.take_feedback()? {
            return Ok(());
        }
        let now = rt::now();
        if !self.is_connected && now >= self.begun + self.limits.connect {
            return Err(PeerEnd::NotConnected(self.limits.connect, self.wrong.take()));
        }
        if now >= self.heard + self.limits.silence {
            return Err(PeerEnd::Silent(self.limits.silence));
        }
        let mut until = self.timer.min(self.heard + self.limits.silence);
        if !self.is_connected {
            until = until.min(self.begun + self.limits.connect);
        }
        let until = wake.map_or(until, |wake| until.min(wake));
        let datagrams = self.mailbox.datagrams();
        let happened = select! {
            control = self.control.receiving() => control.map_or(Happened::Else, Happened::Control),
            datagram = datagrams.receiving() => datagram.map_or(Happened::Else, Happened::Datagram),
            () = more.map(Cond::being_signalled) => Happened::Else,
            () = select::until(until) => Happened::Else,
        };
        match happened.map_err(PeerEnd::Wait)? {
            Happened::Control(control) => self.obey(control),
            Happened::Datagram(datagram) => {
                let now = rt::now();
                self.receive(datagram, now)?;
                // Others may have come with it.
                for _ in 0..BATCH {
                    let Ok(datagram) = self.mailbox.datagrams().try_recv() else { break };
                    self.receive(datagram, now)?;
                }
            }
            Happened::Else => {
                if rt::now() >= self.timer {
                    self.settle()?;
                }
            }
        }
        Ok(())
    }

    /// Tells the peer that it is over, if it can be told at once.
    pub(super) fn say_goodbye(&mut self) {
        const PATIENCE: Duration = Duration::from_millis(200);
        self.is_leaving = true;
        self.is_stirred = true;
        // Also when the session was cancelled.
        rt::shield(PATIENCE, || {
            if self.rtc.close().is_ok() {
                while let Ok(Some(_)) = self.poll() {}
            }
        });
    }

    /// What came by HTTP.
    fn obey(&mut self, control: Control) {
        self.is_stirred = true;
        match control {
            Control::Candidates(candidates) => {
                for candidate in candidates {
                    self.rtc.add_remote_candidate(candidate);
                }
            }
            Control::Restart(theirs, answer) => {
                let credentials = negotiate::credentials();
                let mut direct = self.rtc.direct_api();
                direct.set_remote_ice_credentials(theirs);
                direct.set_local_ice_credentials(credentials.clone());
                self.mailbox.rename(&credentials);
                let candidates = negotiate::candidates_as_text(&self.candidates);
                // Who asked may be gone.
                let _unheard = answer.send(Fresh { credentials, candidates });
            }
            Control::RandomAccess => self.is_asked = true,
        }
    }

    fn receive(&mut self, datagram: Datagram, at: Instant) -> Result<(), PeerEnd> {
        self.client.add_received(datagram.bytes.len());
        if let Some(reports) = &mut self.reports
            && datagram.bytes.first().is_some_and(|first| MEDIA.contains(first))
        {
            reports.push((at, datagram));
            return Ok(());
        }
        let destination = self.candidate(&datagram);
        // What is no packet of WebRTC is not worth more than the count of its bytes.
        let Ok(receive) =
            Receive::new(datagram.transport.into(), datagram.source, destination, &datagram.bytes)
        else {
            return Ok(());
        };
        let input = Input::Receive(at, receive);
        if self.rtc.accepts(&input) {
            // Anybody can send what looks like DTLS from the peer's address; a viewer that is there tells of itself otherwise.
            if !self.is_connected || self.reports.is_none() || stun::is_stun(&datagram.bytes) {
                self.note_heard(&datagram, at);
            }
            self.is_stirred = true;
            let result = self.rtc.handle_input(input);
            self.take_keys();
            match result {
                // It may be from anybody who knows the peer's address (RFC 6347 §4.1.2.7, RFC 9147 §4.5.2). A peer with which
                // it goes wrong in earnest is not connected in time, or silent from then on.
                Err(RtcError::Dtls(wrong)) => {
                    debug!(%wrong, "left out");
                    self.wrong = Some(wrong);
                }
                result => result.map_err(PeerEnd::Rtc)?,
            }
        }
        Ok(())
    }

    /// Which of the addresses that the peer was told it has sent to. Behind NAT it is another than the one that it
    /// came to.
    fn candidate(&self, datagram: &Datagram) -> SocketAddr {
        let mut told = self.candidates.iter().filter(|told| told.transport == datagram.transport);
        let same = |told: &&Local| told.address.is_ipv4() == datagram.source.is_ipv4();
        let exact = told.clone().find(|told| datagram.local == Some(told.address.ip()));
        let any = || told.clone().find(same).or_else(|| told.next());
        exact.or_else(any).map_or(datagram.source, |told| told.address)
    }

    /// Sends what was put.
    ///
    /// # Suspends
    ///
    /// While the socket's buffer is full.
    pub(super) fn flush(&self) -> Result<(), PeerEnd> {
        self.client.sent.set(self.outbox.total());
        self.mailbox.flush(!self.is_connected || self.is_leaving).map_err(PeerEnd::Io)
    }
}

impl fmt::Display for PeerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Left => f.write_str("the peer closed the connection"),
            Self::NotConnected(limit, None) => write!(f, "no connection came about in {limit:?}"),
            Self::NotConnected(limit, Some(wrong)) => {
                write!(f, "no connection came about in {limit:?}, and what came was wrong: {wrong}")
            }
            Self::Silent(limit) => write!(f, "the peer was not heard of for {limit:?}"),
            Self::Unpublished => f.write_str("the publisher left"),
            Self::Outdated => f.write_str("the stream has changed: the viewer has to offer anew"),
            Self::TakenOver => f.write_str("another publisher took the stream over"),
            Self::TooFast(limit) => write!(
                f,
                "the publisher sent more than the {limit} bit/s of limits.bitrate_per_publisher"
            ),
            Self::NoKeys => f.write_str("the handshake ended without keys that are known"),
            Self::Rtc(error) => write!(f, "WebRTC: {error}"),
            Self::Io(error) => write!(f, "cannot send: {error}"),
            Self::Wait(error) => write!(f, "ended by the gateway: {error}"),
        }
    }
}

impl std::error::Error for PeerEnd {}
