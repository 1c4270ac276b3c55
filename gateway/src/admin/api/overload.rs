//! How much load there is, and what is given up for it.

use std::io;

use serde::Serialize;

use super::unix_ms;
use crate::admin::Admin;
use crate::http::Exchange;
use crate::hub::Measured;

#[derive(Serialize)]
struct Overload {
    level: &'static str,
    /// `null` when that is since the start.
    since_ms: Option<u64>,
    /// `null` when there is no mark to compare it with.
    measured: Option<MeasuredInfo>,
    dropped_pictures: u64,
    ended_clients: u64,
}

#[derive(Serialize)]
struct MeasuredInfo {
    cpu_percent: f64,
    memory_bytes: u64,
    lag_ms: f64,
}

pub(super) fn overload(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let load = admin.registry.load();
    let overload = Overload {
        level: load.level().name(),
        since_ms: load.since().map(unix_ms),
        measured: load.measured().map(MeasuredInfo::of),
        dropped_pictures: load.dropped(),
        ended_clients: load.ended(),
    };
    admin.answer(exchange, serde_json::json!({ "overload": overload }))
}

impl MeasuredInfo {
    fn of(measured: Measured) -> Self {
        Self {
            cpu_percent: measured.cpu_percent,
            memory_bytes: measured.memory_bytes,
            lag_ms: measured.lag.as_secs_f64() * 1000.0,
        }
    }
}
