//! Requests and their answers. Section numbers are those of draft-pantos-hls-rfc8216bis-17.

use super::{
    Hls,
    name::{self, Item, ItemKind, Wanted},
    playlist,
    stream::{State, Stream},
    viewer::{Viewer, Viewers},
};
use crate::{
    auth::{Action, PlayGrant, Refused},
    http::{
        Exchange, Response, StatusCode,
        header::{CACHE_CONTROL, RETRY_AFTER, USER_AGENT},
    },
    hub::{Source, SubscribeError},
    key::StreamKey,
    protocol::{
        Session,
        http_access::{ask, refusal},
    },
};
use bytes::Bytes;
use std::{io, rc::Rc, time::Instant};
use thalweg_runtime::{self as rt, WaitError};
use tracing::info;

/// What a request for a media playlist asks for (§6.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reload {
    msn: Option<u64>,
    part: Option<usize>,
    is_delta: bool,
}

/// Why a request gets no media.
#[derive(Debug)]
enum NoAnswer {
    /// This is the answer.
    Told(Box<Response>),
    /// The session is over.
    Wait(WaitError),
}

type Answer = Result<Response, NoAnswer>;

/// Of playlists.
const PLAYLIST: &str = "application/vnd.apple.mpegurl";

/// Nothing else will ever have the name.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// So many target durations a request may be blocked (§6.2.5.2).
const PATIENCE_TARGETS: u32 = 3;

/// So many target durations what a blocked request got may be kept (§6.2.5.2: a player that asks for it later has the same
/// need).
const BLOCKED_TARGETS: u64 = 6;

impl Hls {
    /// Answers a request for the path `path`, if it is one for HLS; `None` when it is not.
    ///
    /// # Suspends
    ///
    /// Until the stream has what is asked for, and the answer is written.
    ///
    /// # Errors
    ///
    /// What writing reports; also when the session was cancelled.
    pub fn answer(&self, exchange: &mut Exchange<'_, '_>, path: &str) -> Option<io::Result<()>> {
        let (key, wanted) = name::parse(path)?;
        Some(self.answer_to(exchange, &key, &wanted))
    }

    fn answer_to(
        &self,
        exchange: &mut Exchange<'_, '_>,
        key: &StreamKey,
        wanted: &Wanted,
    ) -> io::Result<()> {
        let Some(session) = Session::current() else {
            return Err(io::Error::other("a request outside a session"));
        };
        let mut viewer = None;
        let answer = match wanted {
            Wanted::Multivariant => self.multivariant(exchange, key, &session, &mut viewer),
            Wanted::Media(lane) => self.media(exchange, key, lane, &session, &mut viewer),
            Wanted::Item(item) => {
                if self.settings().has_sessions {
                    viewer = self.viewers().of_connection(key, session.client.peer().ip());
                }
                self.item(key, item)
            }
        };
        let response = match answer {
            Ok(response) => response,
            Err(NoAnswer::Told(response)) => *response,
            Err(NoAnswer::Wait(error)) => return Err(error.into()),
        };
        let len = response.body_len();
        exchange.respond(response)?;
        if let Some(viewer) = viewer {
            viewer.add_sent(len);
            session.credit(len);
        }
        Ok(())
    }

    /// The multivariant playlist, which is made for the viewer.
    fn multivariant(
        &self,
        exchange: &Exchange<'_, '_>,
        key: &StreamKey,
        session: &Session,
        viewer: &mut Option<Rc<Viewer>>,
    ) -> Answer {
        let grant = self.admit(exchange, key, session)?;
        let source = self.source(&grant, session)?;
        let stream = self.stream(&source).map_err(|error| unavailable(&error.to_string()))?;
        let has_media = |state: &State| {
            let main = state.lanes.first();
            main.is_some_and(|main| main.rates_bps().0 > 0) || state.has_ended
        };
        self.wait(&stream, has_media)?;
        let mut query = String::new();
        if self.settings().has_sessions {
            if let Some(why) = self.viewers().refusal() {
                return Err(unavailable(&why));
            }
            let name = Viewers::new_name();
            query = format!("?session={name}");
            *viewer = Some(self.viewers().enter(name, session.client.peer(), grant));
        }
        let folder = name::escape(key.name());
        let text = playlist::multivariant(&stream.state.borrow().lanes, &folder, &query);
        let response = Response::bytes(PLAYLIST, Bytes::from(text));
        if self.settings().has_sessions {
            return Ok(response.with(CACHE_CONTROL, "no-store"));
        }
        Ok(response.with_value(CACHE_CONTROL, &self.max_age(1, 2)))
    }

    fn media(
        &self,
        exchange: &Exchange<'_, '_>,
        key: &StreamKey,
        lane: &str,
        session: &Session,
        viewer: &mut Option<Rc<Viewer>>,
    ) -> Answer {
        let reload = Reload::parse(exchange).map_err(|why| told(StatusCode::BAD_REQUEST, &why))?;
        if self.settings().has_sessions {
            let known = self.viewer(exchange, key, session)?;
            if known.is_kicked() {
                return Err(told(StatusCode::FORBIDDEN, "this viewer was disconnected"));
            }
            *viewer = Some(known);
        }
        let live = self.settings().registry.find(key);
        let stream = match live {
            Some(source) => Some(self.stream(&source).map_err(|e| unavailable(&e.to_string()))?),
            None => self.known(key),
        };
        let stream = stream.ok_or_else(not_found)?;
        self.wait(&stream, |state| {
            state.lanes.iter().any(|lane| lane.is_ready()) || state.has_ended
        })?;
        let at = stream.state.borrow().lane_at(lane).ok_or_else(not_found)?;
        self.wait(&stream, |state| {
            state.lanes.get(at).is_none_or(|lane| lane.is_ready()) || state.has_ended
        })?;
        if let Some(msn) = reload.msn {
            self.block(&stream, at, msn, reload.part)?;
        }
        let rendered = stream.state.borrow_mut().playlist(&stream.epoch, at, reload.is_delta);
        let (text, version) = rendered.ok_or_else(not_found)?;
        let delta = if reload.is_delta { "-delta" } else { "" };
        let tag = format!("{}-{lane}-{version}{delta}", stream.epoch);
        let age = match (reload.msn, self.settings().part) {
            (Some(_), _) => self.max_age(BLOCKED_TARGETS, 1),
            // Whoever does not block wants to know what there is now.
            (None, Some(_)) => "max-age=1".to_owned(),
            (None, None) => self.max_age(1, 2),
        };
        Ok(Response::bytes(PLAYLIST, text).tagged(&tag).with_value(CACHE_CONTROL, &age))
    }

    /// Waits until the playlist has what is asked for.
    fn block(
        &self,
        stream: &Stream,
        at: usize,
        msn: u64,
        part: Option<usize>,
    ) -> Result<(), NoAnswer> {
        {
            let state = stream.state.borrow();
            let Some(lane) = state.lanes.get(at) else { return Err(not_found()) };
            if !state.has_ended && lane.is_absurd(msn, part) {
                let growing = lane.growing_msn();
                let why = format!("_HLS_msn={msn} is too far ahead: segment {growing} is next");
                return Err(told(StatusCode::BAD_REQUEST, &why));
            }
        }
        self.wait(stream, |state| {
            let Some(lane) = state.lanes.get(at) else { return true };
            let part = part.filter(|_| lane.part_target().is_some());
            state.has_ended || lane.has(msn, part)
        })
    }

    /// A segment, a part, an init segment or a key.
    fn item(&self, key: &StreamKey, item: &Item) -> Answer {
        let known = self.known(key).filter(|stream| stream.epoch == item.epoch);
        let stream = known.ok_or_else(not_found)?;
        stream.asked.set(rt::now());
        if let ItemKind::Part { lane, msn, part } = &item.kind {
            self.wait_for_hinted(&stream, lane, *msn, *part)?;
        }
        let state = stream.state.borrow();
        let lane = |name: &str| state.lanes.iter().find(|lane| lane.name == name);
        let (body, media_type) = match &item.kind {
            ItemKind::Key(number) => {
                let key = state.lanes.iter().find_map(|lane| lane.key(*number));
                let bytes = key.ok_or_else(not_found)?.bytes();
                let answer = Response::bytes("application/octet-stream", bytes);
                return Ok(answer.with(CACHE_CONTROL, "no-store"));
            }
            ItemKind::Init { lane: name, version } => {
                let lane = lane(name).ok_or_else(not_found)?;
                let init = lane.init(*version).ok_or_else(not_found)?;
                (init.bytes(), lane.container.media_type(init.has_video()))
            }
            ItemKind::Segment { lane: name, msn } => {
                let lane = lane(name).ok_or_else(not_found)?;
                let segment = lane.segment(*msn).filter(|segment| !segment.body.is_empty());
                let body = segment.ok_or_else(not_found)?.body.clone();
                (body, lane.container.media_type(lane.init.has_video()))
            }
            ItemKind::Part { lane: name, msn, part } => {
                let lane = lane(name).ok_or_else(not_found)?;
                let part = lane.segment(*msn).and_then(|segment| segment.parts.get(*part));
                let body = part.ok_or_else(not_found)?.body.clone();
                (body, lane.container.media_type(lane.init.has_video()))
            }
        };
        // The name says all; a tag lets players ask for ranges.
        let response = Response::bytes(media_type, body).tagged("whole");
        Ok(response.with(CACHE_CONTROL, FOR_EVER))
    }

    /// The part that a playlist hinted at is waited for (§6.2.6). It may never come, when the segment ends before.
    fn wait_for_hinted(
        &self,
        stream: &Stream,
        lane: &str,
        msn: u64,
        part: usize,
    ) -> Result<(), NoAnswer> {
        let at = stream.state.borrow().lane_at(lane).ok_or_else(not_found)?;
        let is_hinted = |state: &State| {
            state.lanes.get(at).is_some_and(|lane| {
                let next = lane.open().map_or(0, |open| open.parts.len());
                !state.has_ended && msn == lane.growing_msn() && part == next
            })
        };
        if self.settings().part.is_none() || !is_hinted(&stream.state.borrow()) {
            return Ok(());
        }
        self.wait(stream, |state| !is_hinted(state))
    }

    /// Asks whether the peer may play.
    fn admit(
        &self,
        exchange: &Exchange<'_, '_>,
        key: &StreamKey,
        session: &Session,
    ) -> Result<PlayGrant, NoAnswer> {
        let ask = ask(exchange, Action::Play, key, "hls", &session.client);
        ask.and_then(|ask| self.settings().gate.play(&ask)).map_err(|refused| match refused {
            Refused::Wait(error) => NoAnswer::Wait(error),
            refused => {
                info!(stream = %key, format = "hls", %refused, "refused");
                NoAnswer::Told(Box::new(refusal(&refused)))
            }
        })
    }

    /// The viewer who asks for a media playlist. One that is not known is let in as by the multivariant playlist: it was not
    /// seen for a while, or the gateway has begun anew, or it brings no name at all.
    fn viewer(
        &self,
        exchange: &Exchange<'_, '_>,
        key: &StreamKey,
        session: &Session,
    ) -> Result<Rc<Viewer>, NoAnswer> {
        let request = exchange.request();
        let given = request.target().parameter("session").filter(|name| Viewers::is_name(name));
        let peer = session.client.peer();
        let agent = request.header(&USER_AGENT).unwrap_or_default();
        let name =
            given.map_or_else(|| Viewers::name_for(peer.ip(), agent, key), |n| n.into_owned());
        if let Some(known) = self.viewers().find(&name, key) {
            return Ok(known);
        }
        if let Some(why) = self.viewers().refusal() {
            return Err(unavailable(&why));
        }
        let grant = self.admit(exchange, key, session)?;
        Ok(self.viewers().enter(name, peer, grant))
    }

    fn source(&self, grant: &PlayGrant, session: &Session) -> Result<Rc<Source>, NoAnswer> {
        let settings = self.settings();
        match settings.registry.wait_for(grant, rt::now() + settings.wait) {
            Ok(source) => Ok(source),
            Err(SubscribeError::Wait(error)) => Err(NoAnswer::Wait(error)),
            Err(error) => {
                session.client.note_refusal(Some(grant.key()), &error, None);
                Err(told(StatusCode::NOT_FOUND, &error.to_string()))
            }
        }
    }

    /// Waits until `is_there`, but not for ever (§6.2.5.2).
    fn wait(&self, stream: &Stream, is_there: impl Fn(&State) -> bool) -> Result<(), NoAnswer> {
        let patience = self.settings().target.saturating_mul(PATIENCE_TARGETS);
        match wait_until(stream, rt::now() + patience, is_there) {
            Ok(true) => Ok(()),
            Ok(false) => Err(unavailable("the stream has had nothing new for too long")),
            Err(error) => Err(NoAnswer::Wait(error)),
        }
    }

    /// So many target durations, and a fraction of one.
    fn max_age(&self, targets: u64, fraction: u64) -> String {
        let seconds = self.settings().target.as_secs().saturating_mul(targets) / fraction;
        format!("max-age={}", seconds.max(1))
    }
}

impl Reload {
    fn parse(exchange: &Exchange<'_, '_>) -> Result<Self, String> {
        let target = exchange.request().target();
        Self::of(|name| target.parameter(name).map(std::borrow::Cow::into_owned))
    }

    fn of(parameter: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let number = |name: &str| match parameter(name) {
            None => Ok(None),
            Some(text) => match name::number(&text) {
                Some(number) => Ok(Some(number)),
                None => Err(format!("{name}={text:.40}: it is a number from 0 on")),
            },
        };
        let msn = number("_HLS_msn")?;
        let part = number("_HLS_part")?;
        if part.is_some() && msn.is_none() {
            return Err("_HLS_part needs _HLS_msn".to_owned());
        }
        let is_delta = match parameter("_HLS_skip").as_deref() {
            None => false,
            // There are no date ranges, which is all that `v2` is more.
            Some("YES" | "v2") => true,
            Some(other) => return Err(format!("_HLS_skip={other:.40}: it is YES or v2")),
        };
        let part = part.map(|part| usize::try_from(part).unwrap_or(usize::MAX));
        Ok(Self { msn, part, is_delta })
    }
}

/// Whether it was there before the deadline.
fn wait_until(
    stream: &Stream,
    deadline: Instant,
    is_there: impl Fn(&State) -> bool,
) -> Result<bool, WaitError> {
    loop {
        if is_there(&stream.state.borrow()) {
            return Ok(true);
        }
        if !stream.is_running.get() {
            return Ok(false);
        }
        match stream.changed.wait_until(deadline) {
            Ok(()) => {}
            Err(WaitError::TimedOut(_)) if rt::now() >= deadline => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

fn told(status: StatusCode, why: &str) -> NoAnswer {
    let response = Response::text(status, &format!("{why}\n"));
    NoAnswer::Told(Box::new(response.with(CACHE_CONTROL, "no-store")))
}

fn not_found() -> NoAnswer {
    told(StatusCode::NOT_FOUND, "there is no such thing in this stream")
}

fn unavailable(why: &str) -> NoAnswer {
    /// After so many seconds it is worth another try.
    const RETRY: &str = "1";
    let response = Response::text(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n"));
    let response = response.with(CACHE_CONTROL, "no-store").with(RETRY_AFTER, RETRY);
    NoAnswer::Told(Box::new(response))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reload(pairs: &[(&str, &str)]) -> Result<Reload, String> {
        Reload::of(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn directives_of_delivery_are_read_strictly() {
        assert_eq!(reload(&[]), Ok(Reload::default()));
        let all = reload(&[("_HLS_msn", "7"), ("_HLS_part", "2"), ("_HLS_skip", "YES")]);
        assert_eq!(all, Ok(Reload { msn: Some(7), part: Some(2), is_delta: true }));
        for wrong in [
            &[("_HLS_msn", "-1")][..],
            &[("_HLS_msn", "1.5")],
            &[("_HLS_msn", "")],
            &[("_HLS_msn", "99999999999999999999")],
            &[("_HLS_part", "1")],
            &[("_HLS_msn", "1"), ("_HLS_part", "x")],
            &[("_HLS_skip", "NO")],
        ] {
            assert!(reload(wrong).is_err(), "{wrong:?}");
        }
    }
}
