//! `/api/v1`: what there is as JSON, and the few things to do about it.
//!
//! Names, order and types of fields are those of SRS 5 and later (its `SrsStatistic`, as documented under "HTTP API");
//! fields that it does not have come last. An answer that is not `"code":0` says why in `data`.
//!
//! `openapi.json` describes all of it for programs, and is checked against the routes.

mod clients;
mod config;
mod coroutines;
mod events;
mod overload;
pub(super) mod paging;
mod raw;
mod streams;
mod system;
mod vhosts;

use std::io;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::Admin;
use super::access::Needs;
use super::answer::Failure;
use super::disks;
use super::rates::Kbps;
use crate::http::{Exchange, Method, Response, Router, StatusCode, header};
use crate::hub::{Figures, SourceState};
use crate::key::{StreamKey, fnv, short_name};

pub use config::Entry;
pub(super) use raw::{Reload, Reloaded};

#[derive(Serialize)]
struct KbpsInfo {
    recv_30s: u64,
    send_30s: u64,
}

const NO_STREAM: Failure = Failure::known(StatusCode::NOT_FOUND, 2048, "there is no such stream");
const NO_CLIENT: Failure = Failure::known(StatusCode::NOT_FOUND, 2049, "there is no such client");
const NO_VHOST: Failure =
    Failure::known(StatusCode::NOT_FOUND, 2047, "there is no such virtual host");
const NOT_ENDED: Failure = Failure::known(StatusCode::CONFLICT, 409, "the client cannot be ended");

type Handler = fn(&Admin, &mut Exchange<'_, '_>) -> io::Result<()>;

/// What there is to see below `/api/v1`. Clients of SRS write the slash at the end or leave it out.
const LISTS: [(&str, &str, Handler); 16] = [
    ("versions", "the version of this server", system::versions),
    ("summaries", "process and machine at a glance", system::summaries),
    ("rusages", "what the process has used", system::rusages),
    ("self_proc_stats", "the process, as proc(5) tells", system::self_proc_stats),
    ("system_proc_stats", "the processors of the machine", system::system_proc_stats),
    ("meminfos", "the memory of the machine", system::meminfos),
    ("authors", "licence and authors", system::authors),
    ("features", "what this server can", system::features),
    ("vhosts", "virtual hosts", vhosts::list),
    ("streams", "streams", streams::list),
    ("clients", "connections that publish or play", clients::list),
    // What SRS does not have.
    ("events", "what happened lately", events::list),
    ("rejections", "who was turned away lately", events::rejections),
    ("config", "the configuration in force", config::in_force),
    ("disks", "disks that are written to, and how it is with them", disks::list),
    ("overload", "how much load there is, and what is given up for it", overload::overload),
];

pub(super) fn route(admin: &Rc<Admin>, router: &mut Router) {
    let read = |router: &mut Router, path: &str, handler: Handler| {
        admin.on(router, Method::GET, path, Needs::Read, handler);
    };
    for end in ["", "/"] {
        read(router, &format!("/api{end}"), index);
        read(router, &format!("/api/v1{end}"), index_of_v1);
        for (path, _, handler) in LISTS {
            read(router, &format!("/api/v1/{path}{end}"), handler);
        }
    }
    read(router, "/api/v1/vhosts/{id}", vhosts::one);
    read(router, "/api/v1/streams/{id}", streams::one);
    read(router, "/api/v1/clients/{id}", clients::one);
    read(router, "/api/v1/coroutines", coroutines::dump);
    let one = "/api/v1/clients/{id}";
    admin.on(router, Method::DELETE, one, Needs::Change, clients::end);
    // SRS has all of it behind GET, also what changes something; it asks for that itself.
    read(router, "/api/v1/raw", raw::raw);
    admin.on(router, Method::POST, "/api/v1/raw", Needs::Read, raw::raw);
    admin.on(router, Method::GET, "/api/openapi.json", Needs::Nothing, openapi);
    let nothing = Rc::clone(admin);
    router.otherwise("/api/{*path}", move |exchange| {
        let failure = Failure::new(StatusCode::NOT_FOUND, "there is nothing at this path");
        nothing.fail(exchange, &failure)
    });
}

/// Whether the gateway runs: it answers.
pub(super) fn healthz(exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    exchange.respond(Response::text(StatusCode::OK, "ok").with(header::CACHE_CONTROL, "no-store"))
}

fn index(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let urls = json!({ "v1": "the first version of the API", "openapi.json": "its description" });
    admin.answer(exchange, json!({ "urls": urls }))
}

fn index_of_v1(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let mut urls: Map<String, Value> =
        LISTS.iter().map(|(path, what, _)| ((*path).to_owned(), json!(what))).collect();
    urls.insert("coroutines".into(), json!("what every coroutine is doing"));
    urls.insert("raw".into(), json!("?rpc=reload reads the configuration again"));
    admin.answer(exchange, json!({ "urls": urls }))
}

/// The description of the API, of this version.
fn openapi(_admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let text = document();
    let tag = format!("openapi-{}", env!("CARGO_PKG_VERSION"));
    exchange.respond(Response::bytes("application/json", text.into()).tagged(&tag))
}

pub(super) fn document() -> String {
    include_str!("openapi.json")
        .replace("\"0.0.0\"", concat!("\"", env!("CARGO_PKG_VERSION"), "\""))
}

/// Figures as an object.
fn figures(figures: Figures) -> Map<String, Value> {
    figures.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

impl From<Kbps> for KbpsInfo {
    fn from(kbps: Kbps) -> Self {
        Self { recv_30s: kbps.received, send_30s: kbps.sent }
    }
}

pub(super) const fn state_name(state: SourceState) -> &'static str {
    match state {
        SourceState::Live => "live",
        SourceState::Waiting => "waiting",
        SourceState::Ended => "ended",
    }
}

fn vhost_id(vhost: &str) -> String {
    short_name("vid-", fnv(vhost.as_bytes()))
}

fn tc_url(key: &StreamKey) -> String {
    format!("rtmp://{}/{}", key.vhost(), key.app())
}

fn now_ms() -> u64 {
    unix_ms(SystemTime::now())
}

fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
