//! What happened lately, and who was turned away.

use std::io;

use serde::Serialize;

use super::paging::{Paging, number};
use super::unix_ms;
use crate::admin::Admin;
use crate::admin::answer::Failure;
use crate::http::{Exchange, Request};
use crate::hub::Event;

#[derive(Serialize)]
struct Events {
    /// To be given as `since` the next time.
    last: u64,
    events: Vec<EventInfo>,
}

#[derive(Serialize)]
struct Rejections {
    /// Of all times; the list has only the last.
    total: u64,
    rejections: Vec<EventInfo>,
}

#[derive(Serialize)]
struct EventInfo {
    id: u64,
    at_ms: u64,
    event: &'static str,
    stream: Option<String>,
    client: Option<String>,
    ip: Option<String>,
    port: Option<u16>,
    protocol: Option<&'static str>,
    detail: String,
    srt_code: Option<i32>,
}

pub(super) fn list(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let (since, count) = match wanted(exchange.request()) {
        Ok(wanted) => wanted,
        Err(wrong) => return admin.fail(exchange, &wrong),
    };
    let events = admin.clients.events();
    let found = events.after(since, count);
    // What was cut off comes the next time.
    let last = found.last().map_or_else(|| events.last(), |event| event.id);
    admin.answer(exchange, Events { last, events: found.iter().map(EventInfo::of).collect() })
}

pub(super) fn rejections(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let paging = match Paging::of(exchange.request()) {
        Ok(paging) => paging,
        Err(wrong) => return admin.fail(exchange, &wrong),
    };
    let events = admin.clients.events();
    let all = events.refusals();
    let rejections = paging.cut(&all).iter().map(EventInfo::of).collect();
    admin.answer(exchange, Rejections { total: events.refused(), rejections })
}

/// From which number on, and how many.
fn wanted(request: &Request) -> Result<(u64, usize), Failure> {
    let since = number(request, "since")?.unwrap_or(0);
    let count = match number(request, "count")? {
        Some(_) => Paging::of(request)?.count(),
        None => usize::MAX,
    };
    Ok((since.into(), count))
}

impl EventInfo {
    fn of(event: &Event) -> Self {
        Self {
            id: event.id,
            at_ms: unix_ms(event.at),
            event: event.kind.name(),
            stream: event.stream.clone(),
            client: event.client.map(|id| id.to_string()),
            ip: event.peer.map(|peer| peer.ip().to_canonical().to_string()),
            port: event.peer.map(|peer| peer.port()),
            protocol: event.protocol,
            detail: event.detail.clone(),
            srt_code: event.srt_code,
        }
    }
}
