//! Connections, as SRS tells of them and more, and ending one.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use serde::Serialize;
use serde_json::{Map, Value, json};
use thalweg_runtime as rt;

use super::paging::Paging;
use super::{KbpsInfo, NO_CLIENT, NOT_ENDED, figures, tc_url, vhost_id};
use crate::admin::Admin;
use crate::admin::rates::Reading;
use crate::http::Exchange;
use crate::hub::{Client, ClientId, EventKind, Lag, Path, Role};
use crate::key::StreamKey;

/// A part of a list, under the name of what it lists.
#[derive(Serialize)]
struct Clients {
    total: usize,
    clients: Vec<ClientInfo>,
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
    /// What waits for it in the feed that it reads; `null` when it reads none.
    lag: Option<LagInfo>,
    /// What its transport tells, by name.
    transport: Map<String, Value>,
    /// The way of its media; `null` where that is the connection's own.
    path: Option<PathInfo>,
}

#[derive(Serialize)]
struct PathInfo {
    network: &'static str,
    local: SocketAddr,
    remote: SocketAddr,
}

#[derive(Serialize)]
struct LagInfo {
    format: &'static str,
    chunks: u64,
    ms: i64,
}

pub(super) fn list(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let paging = match Paging::of(exchange.request()) {
        Ok(paging) => paging,
        Err(wrong) => return admin.fail(exchange, &wrong),
    };
    // Like SRS, without those that neither publish nor play, such as the one that asks.
    let mut all = admin.clients.list();
    all.retain(|client| client.role().is_some());
    let clients = paging.cut(&all).iter().map(|client| admin.client_info(client)).collect();
    admin.answer(exchange, Clients { total: all.len(), clients })
}

pub(super) fn one(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    match admin.named_client(exchange) {
        Some(client) => admin.answer(exchange, json!({ "client": admin.client_info(&client) })),
        None => admin.fail(exchange, &NO_CLIENT),
    }
}

pub(super) fn end(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let Some(client) = admin.named_client(exchange) else {
        return admin.fail(exchange, &NO_CLIENT);
    };
    if !client.kick() {
        return admin.fail(exchange, &NOT_ENDED);
    }
    let by = exchange.peer().address;
    admin.clients.events().note_client(EventKind::Kicked, &client, format_args!("by {by}"));
    admin.answer(exchange, json!({}))
}

impl Admin {
    fn named_client(&self, exchange: &Exchange<'_, '_>) -> Option<Rc<Client>> {
        let id = exchange.parameter("id")?.parse().ok()?;
        self.clients.find(ClientId(id))
    }

    fn client_info(&self, client: &Client) -> ClientInfo {
        let role = client.role();
        let key = role.as_ref().map(key_of);
        let id = client.id.to_string();
        let (sent, received) = (client.sent.get(), client.received.get());
        let reading = Reading { at: rt::now(), received, sent };
        let kbps = self.rates.of(&id, client.since, reading).into();
        ClientInfo {
            id,
            vhost: key.map(|key| vhost_id(key.vhost())).unwrap_or_default(),
            stream: key.map(StreamKey::id).unwrap_or_default(),
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
            lag: client.lag().and_then(|lag| lag.now()).map(LagInfo::from),
            transport: figures(client.detail()),
            path: client.path().map(PathInfo::from),
        }
    }
}

impl From<Lag> for LagInfo {
    fn from(lag: Lag) -> Self {
        Self { format: lag.format, chunks: lag.chunks, ms: lag.span.ms() }
    }
}

impl From<Path> for PathInfo {
    fn from(Path { network, local, remote }: Path) -> Self {
        Self { network, local, remote }
    }
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
