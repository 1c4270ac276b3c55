//! Streams, as SRS tells of them and more.

use std::collections::HashMap;
use std::io;

use serde::Serialize;
use serde_json::{Map, Value, json};
use thalweg_runtime as rt;

use super::paging::Paging;
use super::{KbpsInfo, NO_STREAM, figures, now_ms, state_name, tc_url, vhost_id};
use crate::admin::Admin;
use crate::admin::describe::{Audio, TrackInfo, Video};
use crate::admin::rates::Reading;
use crate::container::{LeftOut, Select};
use crate::http::Exchange;
use crate::hub::{ClientId, FeedState, Role, Source, SourceState};
use crate::key::StreamKey;
use crate::media::TrackId;
use crate::record::Status;

/// A part of a list, under the name of what it lists.
#[derive(Serialize)]
struct Streams {
    total: usize,
    streams: Vec<StreamInfo>,
}

#[derive(Serialize)]
struct StreamInfo {
    id: String,
    name: String,
    vhost: String,
    app: String,
    #[serde(rename = "tcUrl")]
    tc_url: String,
    url: String,
    /// The time of the answer, as in SRS.
    live_ms: u64,
    clients: usize,
    frames: u64,
    send_bytes: u64,
    recv_bytes: u64,
    kbps: KbpsInfo,
    publish: PublishInfo,
    video: Option<Video>,
    audio: Option<Audio>,
    // What SRS does not have.
    /// `live`, or `waiting` for its publisher to come back.
    state: &'static str,
    seconds: f64,
    /// How often the publisher's times jumped.
    jumps: u64,
    /// How often players were too slow and skipped.
    skips: u64,
    tracks: Vec<TrackInfo>,
    ring: RingInfo,
    feeds: Vec<FeedInfo>,
    remarks: Vec<RemarkInfo>,
    /// Null when it is not recorded.
    record: Option<RecordInfo>,
    /// What taking it apart has counted, by name.
    demux: Map<String, Value>,
}

#[derive(Serialize)]
struct PublishInfo {
    active: bool,
    cid: String,
}

/// A recording at a glance; `recorders` has all of it.
#[derive(Serialize)]
struct RecordInfo {
    /// `waiting`, `recording`, `failing` or `stalled`.
    state: &'static str,
    /// Present file, below the folder of recordings.
    file: Option<String>,
    error: Option<String>,
}

#[derive(Serialize)]
struct RingInfo {
    bytes: usize,
    ms: i64,
}

#[derive(Serialize)]
struct FeedInfo {
    format: &'static str,
    tracks: &'static str,
    readers: usize,
    bytes: usize,
    ms: i64,
    left_out: Vec<LeftOutInfo>,
}

#[derive(Serialize)]
struct LeftOutInfo {
    track: u16,
    why: String,
}

/// What its publisher should know.
#[derive(Serialize)]
struct RemarkInfo {
    about: &'static str,
    text: String,
}

/// What the connections of one stream amount to.
#[derive(Clone, Copy, Default)]
pub(in crate::admin) struct Share {
    pub(in crate::admin) clients: usize,
    pub(in crate::admin) sent: u64,
    pub(in crate::admin) skips: u64,
    /// The latest that publishes: one that was taken over may still be saying goodbye.
    publisher: Option<ClientId>,
}

pub(super) fn list(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let paging = match Paging::of(exchange.request()) {
        Ok(paging) => paging,
        Err(wrong) => return admin.fail(exchange, &wrong),
    };
    let (all, shares) = (admin.registry.list(), admin.shares());
    let streams =
        paging.cut(&all).iter().map(|source| admin.stream_info(source, &shares)).collect();
    admin.answer(exchange, Streams { total: all.len(), streams })
}

pub(super) fn one(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let id = exchange.parameter("id").unwrap_or_default();
    let found = admin.registry.list().into_iter().find(|source| source.key().id() == id);
    match found {
        Some(source) => {
            let stream = admin.stream_info(&source, &admin.shares());
            admin.answer(exchange, json!({ "stream": stream }))
        }
        None => admin.fail(exchange, &NO_STREAM),
    }
}

impl Admin {
    /// What connections have to do with each stream, in one pass over them.
    pub(in crate::admin) fn shares(&self) -> HashMap<StreamKey, Share> {
        let mut shares = HashMap::<_, Share>::new();
        for client in self.clients.list() {
            let (key, publisher) = match client.role() {
                Some(Role::Publisher(key)) => (key, Some(client.id)),
                Some(Role::Player(key)) => (key, None),
                None => continue,
            };
            let share = shares.entry(key).or_default();
            share.clients += 1;
            let (sent, skips) = client.played();
            share.sent += sent;
            share.skips += skips;
            share.publisher = share.publisher.max(publisher);
        }
        shares
    }

    fn stream_info(&self, source: &Source, shares: &HashMap<StreamKey, Share>) -> StreamInfo {
        let key = source.key();
        let share = shares.get(key).copied().unwrap_or_default();
        let (sent, skips) = source.gone();
        let (send_bytes, recv_bytes) = (share.sent + sent, source.received());
        let id = key.id();
        let reading = Reading { at: rt::now(), received: recv_bytes, sent: send_bytes };
        let kbps = self.rates.of(&id, source.since(), reading).into();
        let tracks = source.tracks();
        let (bytes, span) = source.fill();
        StreamInfo {
            id,
            name: key.name().into(),
            vhost: vhost_id(key.vhost()),
            app: key.app().into(),
            tc_url: tc_url(key),
            url: format!("/{}", key.path()),
            live_ms: now_ms(),
            clients: share.clients,
            frames: source.frames(),
            send_bytes,
            recv_bytes,
            kbps,
            publish: PublishInfo {
                active: source.state() == SourceState::Live,
                cid: share.publisher.map(|id| id.to_string()).unwrap_or_default(),
            },
            video: tracks.video().map(Video::of),
            audio: tracks.audio().map(Audio::of),
            state: state_name(source.state()),
            seconds: rt::now().saturating_duration_since(source.since()).as_secs_f64(),
            jumps: source.jumps(),
            skips: share.skips + skips,
            tracks: tracks.iter().map(TrackInfo::of).collect(),
            ring: RingInfo { bytes, ms: span.ms() },
            feeds: source.feeds().iter().map(FeedInfo::of).collect(),
            remarks: (source.remarks().into_iter())
                .map(|(about, text)| RemarkInfo { about, text })
                .collect(),
            record: self.recorder.get().and_then(|all| all.status(key)).map(RecordInfo::of),
            demux: figures(source.detail()),
        }
    }
}

impl RecordInfo {
    fn of(status: Status) -> Self {
        let file = status.current.map(|(_, file, _)| file);
        Self { state: status.phase.name(), file, error: status.error }
    }
}

impl FeedInfo {
    fn of(feed: &FeedState) -> Self {
        let tracks = match feed.select {
            Select::All => "all",
            Select::AudioOnly => "audio",
            Select::VideoOnly => "video",
        };
        Self {
            format: feed.name,
            tracks,
            readers: feed.readers,
            bytes: feed.bytes,
            ms: feed.span.ms(),
            left_out: feed.left_out.iter().map(LeftOutInfo::of).collect(),
        }
    }
}

impl LeftOutInfo {
    fn of((track, why): &(TrackId, LeftOut)) -> Self {
        Self { track: track.0, why: why.to_string() }
    }
}
