//! What every coroutine is doing, for programs and for people.
//!
//! The runtime takes the dump in slices between which others run; texts and symbols are made on another thread.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::Serialize;
use thalweg_runtime::{self as rt, CoroutineInfo, CoroutineState, Dump, blocking};

use super::paging::{Paging, truth};
use crate::admin::Admin;
use crate::admin::answer::Failure;
use crate::http::{Exchange, Request, Response, StatusCode, header};

/// With more coroutines than this there are no backtraces: all of them would be recorded to show a few.
const TRACED_MAX: usize = 2_000;

#[derive(Serialize)]
struct Coroutines {
    total: usize,
    /// How many do what.
    states: BTreeMap<String, usize>,
    coroutines: Vec<Info>,
}

#[derive(Serialize)]
struct Info {
    id: u64,
    name: Option<String>,
    /// `running`, `runnable` or `parked`.
    state: &'static str,
    waits_for: Option<String>,
    parked_ms: u64,
    times_out_in_ms: Option<u64>,
    cancelled: bool,
    stack_bytes: usize,
    /// Those that it holds in memory.
    stack_used_bytes: usize,
    spawned_at: Option<String>,
    cpu_us: Option<u64>,
    backtrace: Option<String>,
}

/// What of a dump is wanted.
struct Wanted {
    paging: Paging,
    as_text: bool,
    backtraces: bool,
}

pub(super) fn dump(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let Wanted { paging, as_text, backtraces } = match wanted(exchange.request()) {
        Ok(wanted) => wanted,
        Err(wrong) => return admin.fail(exchange, &wrong),
    };
    let live = rt::stats().map_or(0, |stats| stats.live);
    if backtraces && live > TRACED_MAX {
        let text = format!("backtraces: there are {live} coroutines, too many for them");
        return admin.fail(exchange, &Failure::new(StatusCode::CONFLICT, text));
    }
    let dump = if backtraces { rt::dump_with_backtraces()? } else { rt::dump()? };
    if as_text {
        let text = blocking::run(move || text_of(&dump, &paging))?;
        let text = Response::text(StatusCode::OK, &text);
        return exchange.respond(text.with(header::CACHE_CONTROL, "no-store"));
    }
    let coroutines = blocking::run(move || Coroutines::of(&dump, &paging))?;
    admin.answer(exchange, coroutines)
}

fn wanted(request: &Request) -> Result<Wanted, Failure> {
    let as_text = match request.target().parameter("format").as_deref() {
        None | Some("json") => false,
        Some("text") => true,
        Some(_) => return Err(Failure::parameter("format", "json or text")),
    };
    let backtraces = truth(request, "backtraces")?;
    Ok(Wanted { paging: Paging::of(request)?, as_text, backtraces })
}

fn text_of(dump: &Dump, paging: &Paging) -> String {
    let shown = paging.cut(&dump.coroutines).iter().map(|coroutine| format!("  {coroutine}\n"));
    let lines = shown.collect::<String>();
    format!("{} coroutines\n{lines}", dump.coroutines.len())
}

impl Coroutines {
    fn of(dump: &Dump, paging: &Paging) -> Self {
        let mut states = BTreeMap::<_, usize>::new();
        for coroutine in &dump.coroutines {
            let state = match coroutine.state {
                // The numbers of descriptors and coroutines would make each a state of its own.
                CoroutineState::Parked(waits_for) => match waits_for {
                    rt::WaitsFor::Readable(_) => "waits to read".to_owned(),
                    rt::WaitsFor::Writable(_) => "waits to write".to_owned(),
                    rt::WaitsFor::Join(_) => "waits for another to end".to_owned(),
                    other => format!("waits for {other}"),
                },
                other => other.to_string(),
            };
            *states.entry(state).or_default() += 1;
        }
        let coroutines = paging.cut(&dump.coroutines).iter().map(Info::of).collect();
        Self { total: dump.coroutines.len(), states, coroutines }
    }
}

impl Info {
    fn of(coroutine: &CoroutineInfo) -> Self {
        let (state, waits_for) = match coroutine.state {
            CoroutineState::Running => ("running", None),
            CoroutineState::Runnable => ("runnable", None),
            CoroutineState::Parked(waits_for) => ("parked", Some(waits_for.to_string())),
        };
        Self {
            id: coroutine.id,
            name: coroutine.name.clone(),
            state,
            waits_for,
            parked_ms: millis(coroutine.parked_for),
            times_out_in_ms: coroutine.times_out_in.map(millis),
            cancelled: coroutine.cancelled,
            stack_bytes: coroutine.stack_size,
            stack_used_bytes: coroutine.stack_high_water,
            spawned_at: coroutine.spawned_at.map(ToString::to_string),
            cpu_us: coroutine.cpu_time.map(micros),
            backtrace: coroutine.backtrace.as_ref().map(ToString::to_string),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
