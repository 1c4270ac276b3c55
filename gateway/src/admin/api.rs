//! `/api/v1`: streams and connections as JSON, and ending a connection.
//!
//! Names, order and types of fields are those of SRS 5 and later (its `SrsStatistic`, as documented under "HTTP API");
//! fields that it does not have come last. An answer that is not `"code":0` says why in `data`.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};
use thalweg_runtime as rt;

use super::describe::{Audio, TrackInfo, Video};
use super::process::Process;
use super::rates::{Kbps, Reading};
use super::{Admin, Identity, name};
use crate::container::{LeftOut, Select};
use crate::http::{Exchange, Method, Request, Response, Router, StatusCode, header};
use crate::hub::{Client, ClientId, FeedState, Role, Source, SourceState};
use crate::key::StreamKey;
use crate::media::TrackId;

/// What every answer begins with, and what it is about.
#[derive(Serialize)]
struct Envelope<'a, T> {
    code: u32,
    server: &'a str,
    service: &'a str,
    pid: &'a str,
    #[serde(flatten)]
    content: T,
}

/// A part of a list, under the name of what it lists.
#[derive(Serialize)]
struct Streams {
    total: usize,
    streams: Vec<StreamInfo>,
}

#[derive(Serialize)]
struct Clients {
    total: usize,
    clients: Vec<ClientInfo>,
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
    tracks: Vec<TrackInfo>,
    ring: RingInfo,
    feeds: Vec<FeedInfo>,
}

#[derive(Serialize)]
struct KbpsInfo {
    recv_30s: u64,
    send_30s: u64,
}

#[derive(Serialize)]
struct PublishInfo {
    active: bool,
    cid: String,
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

#[derive(Serialize)]
struct ClientInfo {
    id: String,
    vhost: String,
    stream: String,
    ip: String,
    #[serde(rename = "pageUrl")]
    page_url: &'static str,
    #[serde(rename = "swfUrl")]
    swf_url: &'static str,
    #[serde(rename = "tcUrl")]
    tc_url: String,
    url: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    publish: bool,
    /// In seconds.
    alive: f64,
    send_bytes: u64,
    recv_bytes: u64,
    kbps: KbpsInfo,
    // What SRS does not have.
    port: u16,
    protocol: &'static str,
    /// How often it was too slow, and skipped to the newest random-access point.
    skips: u64,
    /// What its transport tells.
    transport: Value,
}

/// What the connections of one stream amount to.
#[derive(Clone, Copy, Default)]
struct Share {
    clients: usize,
    sent: u64,
    /// The latest that publishes: one that was taken over may still be saying goodbye.
    publisher: Option<ClientId>,
}

/// A failure with the number that SRS gives it.
struct Failure {
    status: StatusCode,
    code: u32,
    text: &'static str,
}

const NO_STREAM: Failure =
    Failure { status: StatusCode::NOT_FOUND, code: 2048, text: "there is no such stream" };
const NO_CLIENT: Failure =
    Failure { status: StatusCode::NOT_FOUND, code: 2049, text: "there is no such client" };
const NOT_ENDED: Failure =
    Failure { status: StatusCode::CONFLICT, code: 409, text: "the client cannot be ended" };
const BAD_PAGE: Failure =
    Failure { status: StatusCode::BAD_REQUEST, code: 400, text: "start and count are numbers" };
const FOREIGN: Failure =
    Failure { status: StatusCode::FORBIDDEN, code: 403, text: "not for pages of other sites" };

/// How many entries a list has that does not say how many it wants, and at most. The first is SRS's.
const COUNT_DEFAULT: usize = 10;
const COUNT_MAX: usize = 1000;

pub(super) fn route(admin: &Rc<Admin>, router: &mut Router) {
    let on = |router: &mut Router,
              method: Method,
              path: &str,
              handler: fn(&Admin, &mut Exchange<'_, '_>) -> _| {
        let admin = Rc::clone(admin);
        router.on(method, path, move |exchange| handler(&admin, exchange));
    };
    // SRS's clients write the slash at the end or leave it out.
    for end in ["", "/"] {
        on(router, Method::GET, &format!("/api/v1/streams{end}"), streams);
        on(router, Method::GET, &format!("/api/v1/clients{end}"), clients);
        on(router, Method::GET, &format!("/api/v1/versions{end}"), versions);
        on(router, Method::GET, &format!("/api/v1/summaries{end}"), summaries);
    }
    on(router, Method::GET, "/api/v1/streams/{id}", stream);
    on(router, Method::GET, "/api/v1/clients/{id}", client);
    on(router, Method::DELETE, "/api/v1/clients/{id}", end_client);
}

/// Whether the gateway runs: it answers.
pub(super) fn healthz(exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    exchange.respond(Response::text(StatusCode::OK, "ok").with(header::CACHE_CONTROL, "no-store"))
}

fn streams(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let Ok(page) = Page::of(exchange.request()) else { return admin.fail(exchange, &BAD_PAGE) };
    let (all, shares) = (admin.registry.list(), admin.shares());
    let streams = page.cut(&all).iter().map(|source| admin.stream_info(source, &shares)).collect();
    admin.answer(exchange, Streams { total: all.len(), streams })
}

fn stream(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let id = exchange.parameter("id").unwrap_or_default();
    let found = admin.registry.list().into_iter().find(|source| stream_id(source.key()) == id);
    match found {
        Some(source) => {
            let stream = admin.stream_info(&source, &admin.shares());
            admin.answer(exchange, json!({ "stream": stream }))
        }
        None => admin.fail(exchange, &NO_STREAM),
    }
}

fn clients(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let Ok(page) = Page::of(exchange.request()) else { return admin.fail(exchange, &BAD_PAGE) };
    // Like SRS, without those that neither publish nor play, such as the one that asks.
    let mut all = admin.clients.list();
    all.retain(|client| client.role().is_some());
    let clients = page.cut(&all).iter().map(|client| admin.client_info(client)).collect();
    admin.answer(exchange, Clients { total: all.len(), clients })
}

fn client(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    match admin.named_client(exchange) {
        Some(client) => admin.answer(exchange, json!({ "client": admin.client_info(&client) })),
        None => admin.fail(exchange, &NO_CLIENT),
    }
}

fn end_client(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    if !is_own_page(exchange.request()) {
        return admin.fail(exchange, &FOREIGN);
    }
    let Some(client) = admin.named_client(exchange) else {
        return admin.fail(exchange, &NO_CLIENT);
    };
    let is_ended = client.kick();
    tracing::info!(client = client.id.0, by = %exchange.peer().address, is_ended, "asked to end a client");
    if is_ended { admin.answer(exchange, json!({})) } else { admin.fail(exchange, &NOT_ENDED) }
}

fn versions(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    let data = json!({
        "major": number(env!("CARGO_PKG_VERSION_MAJOR")),
        "minor": number(env!("CARGO_PKG_VERSION_MINOR")),
        "revision": number(env!("CARGO_PKG_VERSION_PATCH")),
        "version": env!("CARGO_PKG_VERSION"),
        "name": "thalweg",
    });
    admin.answer(exchange, json!({ "data": data }))
}

fn summaries(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let process = Process::look()?;
    let uptime = rt::now().saturating_duration_since(admin.started);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    let memory_share = process.resident_bytes as f64 / process.memory_bytes.max(1) as f64;
    let [load_1m, load_5m, load_15m] = process.load;
    let data = json!({
        "ok": true,
        "now_ms": now_ms(),
        "self": {
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "ppid": std::os::unix::process::parent_id(),
            // Neither where it lies nor its arguments, which may hold a passphrase.
            "argv": "thalweg",
            "mem_kbyte": process.resident_bytes / 1024,
            "mem_percent": memory_share,
            "cpu_percent": process.cpu.as_secs_f64() / uptime.as_secs_f64().max(0.001),
            "srs_uptime": uptime.as_secs(),
        },
        "system": {
            "mem_ram_kbyte": process.memory_bytes / 1024,
            "cpus": cpus,
            "cpus_online": cpus,
            "uptime": process.uptime_s,
            "load_1m": load_1m,
            "load_5m": load_5m,
            "load_15m": load_15m,
            "srs_send_bytes": admin.clients.sent(),
            "srs_recv_bytes": admin.clients.received(),
            "conn_srs": admin.clients.count(),
        },
    });
    admin.answer(exchange, json!({ "data": data }))
}

impl Admin {
    fn answer(&self, exchange: &mut Exchange<'_, '_>, content: impl Serialize) -> io::Result<()> {
        let Identity { server, service, pid } = &self.identity;
        exchange.respond(Response::json(&Envelope { code: 0, server, service, pid, content }))
    }

    fn fail(&self, exchange: &mut Exchange<'_, '_>, failure: &Failure) -> io::Result<()> {
        let Identity { server, service, pid } = &self.identity;
        let content = json!({ "data": failure.text });
        let answer = Envelope { code: failure.code, server, service, pid, content };
        exchange.respond(Response::json(&answer).with_status(failure.status))
    }

    fn named_client(&self, exchange: &Exchange<'_, '_>) -> Option<Rc<Client>> {
        let id = exchange.parameter("id")?.parse().ok()?;
        self.clients.find(ClientId(id))
    }

    /// What connections have to do with each stream, in one pass over them.
    fn shares(&self) -> HashMap<StreamKey, Share> {
        let mut shares = HashMap::<_, Share>::new();
        for client in self.clients.list() {
            let (key, publisher) = match client.role() {
                Some(Role::Publisher(key)) => (key, Some(client.id)),
                Some(Role::Player(key)) => (key, None),
                None => continue,
            };
            let share = shares.entry(key).or_default();
            share.clients += 1;
            share.sent += client.sent.get();
            share.publisher = share.publisher.max(publisher);
        }
        shares
    }

    fn stream_info(&self, source: &Source, shares: &HashMap<StreamKey, Share>) -> StreamInfo {
        let key = source.key();
        let share = shares.get(key).copied().unwrap_or_default();
        let (send_bytes, recv_bytes) = (share.sent, source.received());
        let id = stream_id(key);
        let reading = Reading { at: rt::now(), received: recv_bytes, sent: send_bytes };
        let kbps = self.rates.of(&id, source.since(), reading).into();
        let tracks = source.tracks();
        let (bytes, span) = source.fill();
        StreamInfo {
            id,
            name: key.name().into(),
            vhost: vhost_id(key),
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
            tracks: tracks.iter().map(TrackInfo::of).collect(),
            ring: RingInfo { bytes, ms: span.ms() },
            feeds: source.feeds().iter().map(FeedInfo::of).collect(),
        }
    }

    fn client_info(&self, client: &Client) -> ClientInfo {
        let role = client.role();
        let key = role.as_ref().map(key_of);
        let id = client.id.to_string();
        let (sent, received) = (client.sent.get(), client.received.get());
        let reading = Reading { at: rt::now(), received, sent };
        let kbps = self.rates.of(&id, client.since, reading).into();
        let transport =
            client.detail().into_iter().map(|(name, value)| (name.to_owned(), json!(value)));
        ClientInfo {
            id,
            vhost: key.map(vhost_id).unwrap_or_default(),
            stream: key.map(stream_id).unwrap_or_default(),
            ip: client.peer().ip().to_canonical().to_string(),
            page_url: "",
            swf_url: "",
            tc_url: key.map(tc_url).unwrap_or_default(),
            url: key.map(|key| format!("/{}", key.path())).unwrap_or_default(),
            name: key.map(|key| key.name().to_owned()).unwrap_or_default(),
            kind: kind(client.protocol(), role.as_ref()),
            publish: matches!(role, Some(Role::Publisher(_))),
            alive: rt::now().saturating_duration_since(client.since).as_secs_f64(),
            send_bytes: sent,
            recv_bytes: received,
            kbps,
            port: client.peer().port(),
            protocol: client.protocol(),
            skips: client.skips.get(),
            transport: Value::Object(transport.collect()),
        }
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

impl From<Kbps> for KbpsInfo {
    fn from(kbps: Kbps) -> Self {
        Self { recv_30s: kbps.received, send_30s: kbps.sent }
    }
}

/// Which part of a list is wanted.
struct Page {
    start: usize,
    count: usize,
}

/// `start` or `count` is no number.
struct BadPage;

impl Page {
    fn of(request: &Request) -> Result<Self, BadPage> {
        let number = |name: &str, default: usize| match request.target().parameter(name) {
            None => Ok(default),
            Some(text) if text.is_empty() => Ok(default),
            Some(text) => text.parse().map_err(|_| BadPage),
        };
        let count = number("count", COUNT_DEFAULT)?.clamp(1, COUNT_MAX);
        Ok(Self { start: number("start", 0)?, count })
    }

    fn cut<'l, T>(&self, list: &'l [T]) -> &'l [T] {
        let rest = list.get(self.start..).unwrap_or_default();
        rest.get(..self.count).unwrap_or(rest)
    }
}

/// Whether no browser says that a page of another site asks (Fetch Standard, "Origin header").
fn is_own_page(request: &Request) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, host)| request.host().is_some_and(|own| own.eq_ignore_ascii_case(host)))
}

fn key_of(role: &Role) -> &StreamKey {
    match role {
        Role::Publisher(key) | Role::Player(key) => key,
    }
}

/// SRS's word for what a connection does.
fn kind(protocol: &str, role: Option<&Role>) -> String {
    match (protocol, role) {
        (_, None) => "unknown".into(),
        ("rtmp", Some(Role::Publisher(_))) => "fmle-publish".into(),
        (_, Some(Role::Publisher(_))) => format!("{protocol}-publish"),
        (_, Some(Role::Player(_))) => format!("{protocol}-play"),
    }
}

pub(super) const fn state_name(state: SourceState) -> &'static str {
    match state {
        SourceState::Live => "live",
        SourceState::Waiting => "waiting",
        SourceState::Ended => "ended",
    }
}

/// A name for a stream that has no slash, the same for as long as it has its own name.
fn stream_id(key: &StreamKey) -> String {
    name("vid-", fnv(key.to_string().as_bytes()))
}

fn vhost_id(key: &StreamKey) -> String {
    name("vid-", fnv(key.vhost().as_bytes()))
}

fn tc_url(key: &StreamKey) -> String {
    format!("rtmp://{}/{}", key.vhost(), key.app())
}

/// FNV-1a, 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
