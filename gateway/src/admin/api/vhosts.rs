//! Virtual hosts: what their streams amount to.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;
use serde_json::json;
use thalweg_runtime as rt;

use super::paging::Paging;
use super::{KbpsInfo, NO_VHOST, vhost_id};
use crate::admin::Admin;
use crate::admin::rates::Reading;
use crate::http::Exchange;
use crate::key::StreamKey;

#[derive(Serialize)]
struct Vhosts {
    total: usize,
    vhosts: Vec<Vhost>,
}

#[derive(Serialize)]
struct Vhost {
    id: String,
    name: String,
    /// There is none that is not.
    enabled: bool,
    clients: usize,
    streams: usize,
    send_bytes: u64,
    recv_bytes: u64,
    kbps: KbpsInfo,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    clients: usize,
    streams: usize,
    sent: u64,
    received: u64,
}

pub(super) fn list(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let paging = match Paging::of(exchange.request()) {
        Ok(paging) => paging,
        Err(wrong) => return admin.fail(exchange, &wrong),
    };
    let sums = admin.vhosts();
    let names: Vec<_> = sums.into_iter().collect();
    let vhosts = paging.cut(&names).iter().map(|(name, sum)| admin.vhost(name, *sum)).collect();
    admin.answer(exchange, Vhosts { total: names.len(), vhosts })
}

pub(super) fn one(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let id = exchange.parameter("id").unwrap_or_default();
    match admin.vhosts().into_iter().find(|(name, _)| vhost_id(name) == id) {
        Some((name, sum)) => admin.answer(exchange, json!({ "vhost": admin.vhost(&name, sum) })),
        None => admin.fail(exchange, &NO_VHOST),
    }
}

impl Admin {
    /// All of them by name: the default one, and those that have streams.
    fn vhosts(&self) -> BTreeMap<String, Sum> {
        let mut sums = BTreeMap::from([(StreamKey::VHOST_DEFAULT.to_owned(), Sum::default())]);
        let shares = self.shares();
        for (key, share) in &shares {
            let sum = sums.entry(key.vhost().to_owned()).or_default();
            sum.clients += share.clients;
            sum.sent += share.sent;
        }
        for source in self.registry.list() {
            let sum = sums.entry(source.key().vhost().to_owned()).or_default();
            sum.streams += 1;
            sum.sent += source.gone().0;
            sum.received += source.received();
        }
        sums
    }

    fn vhost(&self, name: &str, sum: Sum) -> Vhost {
        let id = vhost_id(name);
        let reading = Reading { at: rt::now(), received: sum.received, sent: sum.sent };
        let kbps = self.rates.of(&format!("vhost {id}"), self.started, reading).into();
        Vhost {
            id,
            name: name.to_owned(),
            enabled: true,
            clients: sum.clients,
            streams: sum.streams,
            send_bytes: sum.sent,
            recv_bytes: sum.received,
            kbps,
        }
    }
}
