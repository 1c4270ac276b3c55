//! `/api/v1/recordings` and `/api/v1/recorders`: the files of recordings, and what is being recorded.
//!
//! Answers have the form of the rest of the API. A file is sent as it is read, a quarter of a mebibyte at a time, with one
//! range of it if that is asked for; several ranges are answered with the whole, as a server may (RFC 9110 §14.2).

use std::io;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use thalweg_runtime as rt;

use super::Admin;
use super::access::Needs;
use super::answer::Failure;
use super::api::paging::Paging;
use crate::http::{Exchange, Method, Response, Router, StatusCode, header};
use crate::hub::EventKind;
use crate::key::StreamKey;
use crate::record::{
    Choice, Entry, Filter, LibraryError, Plan, Recorder, StartError, State, Status,
};

#[derive(Serialize)]
struct Recordings {
    total: usize,
    /// Of all there are, whatever was asked for.
    bytes: u64,
    recordings: Vec<RecordingInfo>,
}

#[derive(Serialize)]
struct RecordingInfo {
    id: String,
    vhost: String,
    app: String,
    name: String,
    stream: String,
    /// Below the folder of recordings.
    file: String,
    format: &'static str,
    state: &'static str,
    error: Option<String>,
    /// RFC 3339, in UTC.
    began: String,
    began_ms: i64,
    duration_s: f64,
    bytes: u64,
    /// Where it can be downloaded, for an hour also without a credential.
    url: String,
}

#[derive(Serialize)]
struct RecorderInfo {
    /// That of the stream.
    id: String,
    vhost: String,
    app: String,
    name: String,
    /// `rule` or `api`.
    by: &'static str,
    format: &'static str,
    plan: &'static str,
    segment_s: Option<f64>,
    /// `waiting`, `recording`, `failing` or `stalled`.
    state: &'static str,
    seconds: f64,
    recording: Option<String>,
    file: Option<String>,
    duration_s: Option<f64>,
    files: u64,
    bytes: u64,
    /// How often the disk was too slow, and units that were missed by that.
    skips: u64,
    skipped: u64,
    failures: u64,
    error: Option<String>,
    retry_in_s: Option<f64>,
    stalled_s: Option<f64>,
}

/// What `POST /api/v1/recorders` wants.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    stream: StreamKey,
    #[serde(default)]
    vhost: String,
    format: Option<String>,
    /// `session` or `segment`.
    plan: Option<String>,
    segment_s: Option<u32>,
}

const OFF: Failure =
    Failure::known(StatusCode::CONFLICT, 409, "nothing can be recorded: record.dir is not set");
const NO_RECORDING: Failure =
    Failure::known(StatusCode::NOT_FOUND, 404, "there is no such recording");
const IN_USE: Failure =
    Failure::known(StatusCode::CONFLICT, 409, "the recording is still being written; end it first");
const NO_STREAM: Failure = Failure::known(StatusCode::NOT_FOUND, 2048, "there is no such stream");
const NOT_RECORDED: Failure =
    Failure::known(StatusCode::NOT_FOUND, 404, "the stream is not recorded");
const RUNNING: Failure = Failure::known(StatusCode::CONFLICT, 409, "the stream is being recorded");
const BUSY: Failure =
    Failure::known(StatusCode::SERVICE_UNAVAILABLE, 503, "there is no room for another recording");
const HANGS: Failure = Failure::known(
    StatusCode::SERVICE_UNAVAILABLE,
    503,
    "the disk does not answer; try again later",
);
const BAD_FILTER: Failure = Failure::known(
    StatusCode::BAD_REQUEST,
    400,
    "stream is as `live/cam`, from and to are times as 2026-11-22T14:30:00Z or seconds since 1970",
);
const BAD_WISH: Failure = Failure::known(
    StatusCode::BAD_REQUEST,
    400,
    "the body is JSON: {\"stream\": \"live/cam\"}, with vhost, format (mp4, ts, flv), plan (session, segment) and segment_s (1 to 86400) if you like",
);

/// How long the disk may take for an answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// The most of a body that is read.
const BODY_MAX: u64 = 4096;

impl Admin {
    /// Adds the paths of recordings. Without a recorder they say that nothing can be recorded.
    pub fn route_recordings(self: &Rc<Self>, router: &mut Router, recorder: Option<Recorder>) {
        if let Some(recorder) = &recorder {
            let _set = self.recorder.set(recorder.clone());
        }
        let on =
            |router: &mut Router,
             method: Method,
             path: &str,
             handler: fn(&Self, &Recorder, &mut Exchange<'_, '_>) -> io::Result<()>| {
                let needs = if method == Method::GET { Needs::Read } else { Needs::Change };
                let recorder = recorder.clone();
                self.on(router, method, path, needs, move |admin, exchange| match &recorder {
                    Some(recorder) => handler(admin, recorder, exchange),
                    None => admin.fail(exchange, &OFF),
                });
            };
        for end in ["", "/"] {
            on(router, Method::GET, &format!("/api/v1/recordings{end}"), list);
            on(router, Method::GET, &format!("/api/v1/recorders{end}"), recorders);
            on(router, Method::POST, &format!("/api/v1/recorders{end}"), start);
        }
        on(router, Method::GET, "/api/v1/recordings/{id}", detail);
        on(router, Method::DELETE, "/api/v1/recordings/{id}", delete);
        on(router, Method::GET, "/api/v1/recorders/{id}", one);
        on(router, Method::DELETE, "/api/v1/recorders/{id}", stop);
        let path = "/api/v1/recordings/{id}/file";
        self.on(router, Method::GET, path, Needs::Nothing, move |admin, exchange| {
            let needs = if admin.has_ticket(exchange) { Needs::Nothing } else { Needs::Read };
            admin.serve(exchange, needs, &|admin, exchange| match &recorder {
                Some(recorder) => download(admin, recorder, exchange),
                None => admin.fail(exchange, &OFF),
            })
        });
    }

    /// Whether the address has a ticket for the file.
    fn has_ticket(&self, exchange: &Exchange<'_, '_>) -> bool {
        let ticket = exchange.request().target().parameter("ticket");
        let id = exchange.parameter("id").unwrap_or_default();
        ticket.is_some_and(|ticket| self.tickets.admits(id, &ticket, now_s()))
    }

    /// Where a file can be downloaded, by a link that needs no credential for an hour.
    fn download_url(&self, id: &str) -> String {
        let path = format!("/api/v1/recordings/{id}/file");
        let ticket = self.access.has_credential().then(|| self.tickets.issue(id, now_s()));
        match ticket.flatten() {
            Some(ticket) => format!("{path}?ticket={ticket}"),
            None => path,
        }
    }
}

fn now_s() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or(0)
}

fn list(admin: &Admin, recorder: &Recorder, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let paging = match Paging::of(exchange.request()) {
        Ok(paging) => paging,
        Err(wrong) => return admin.fail(exchange, &wrong),
    };
    let Some(filter) = filter_of(exchange) else { return admin.fail(exchange, &BAD_FILTER) };
    let library = recorder.library();
    let (total, found) = library.list(&filter, paging.start(), paging.count());
    let recordings = found.iter().map(|entry| RecordingInfo::of(entry, admin)).collect();
    admin.answer(exchange, Recordings { total, bytes: library.bytes(), recordings })
}

fn detail(admin: &Admin, recorder: &Recorder, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    match recorder.library().find(exchange.parameter("id").unwrap_or_default()) {
        Some(entry) => {
            admin.answer(exchange, json!({ "recording": RecordingInfo::of(&entry, admin) }))
        }
        None => admin.fail(exchange, &NO_RECORDING),
    }
}

fn delete(admin: &Admin, recorder: &Recorder, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let id = exchange.parameter("id").unwrap_or_default();
    match rt::timeout(PATIENCE, || recorder.library().delete(id)) {
        Ok(entry) => {
            tracing::info!(file = entry.file, "recording deleted");
            let detail = format_args!("{}: by an operator", entry.file);
            let events = admin.clients.events();
            events.note_stream(EventKind::RecordingDeleted, &entry.stream, detail);
            admin.answer(exchange, json!({}))
        }
        Err(error) => refuse(admin, exchange, error),
    }
}

fn download(admin: &Admin, recorder: &Recorder, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let library = recorder.library();
    let Some(entry) = library.find(exchange.parameter("id").unwrap_or_default()) else {
        return admin.fail(exchange, &NO_RECORDING);
    };
    let file = match rt::timeout(PATIENCE, || library.read(&entry)) {
        Ok(file) => file,
        Err(error) => return refuse(admin, exchange, error),
    };
    let name = entry.file.rsplit('/').next().unwrap_or_default();
    let name: String =
        name.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\')).collect();
    let head = Response::new(StatusCode::OK)
        .with(header::CONTENT_TYPE, entry.format.media_type())
        .with(header::CACHE_CONTROL, "no-cache")
        .with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .with_value(header::CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""))
        .tagged(&format!("{}-{}", entry.id, file.len));
    let mut body = exchange.respond_counted(head, file.len)?;
    while !body.wanted().is_empty() {
        let wanted = body.wanted();
        let read = || file.read_at(wanted.start, wanted.end - wanted.start);
        let bytes = rt::timeout(PATIENCE, read)?;
        if bytes.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the recording was cut short",
            ));
        }
        body.write(&bytes)?;
    }
    Ok(())
}

fn recorders(
    admin: &Admin,
    recorder: &Recorder,
    exchange: &mut Exchange<'_, '_>,
) -> io::Result<()> {
    let paging = match Paging::of(exchange.request()) {
        Ok(paging) => paging,
        Err(wrong) => return admin.fail(exchange, &wrong),
    };
    let all = recorder.list();
    let recorders: Vec<_> = paging.cut(&all).iter().map(RecorderInfo::of).collect();
    admin.answer(exchange, json!({ "total": all.len(), "recorders": recorders }))
}

fn one(admin: &Admin, recorder: &Recorder, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let id = exchange.parameter("id").unwrap_or_default();
    match recorder.list().iter().find(|status| status.stream.id() == id) {
        Some(status) => admin.answer(exchange, json!({ "recorder": RecorderInfo::of(status) })),
        None => admin.fail(exchange, &NOT_RECORDED),
    }
}

fn start(admin: &Admin, recorder: &Recorder, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let body = exchange.body(BODY_MAX).read_all()?;
    let wanted = serde_json::from_slice::<Wanted>(&body).ok();
    let Some((key, choice)) = wanted.and_then(|wanted| wanted.choice()) else {
        return admin.fail(exchange, &BAD_WISH);
    };
    match recorder.start(&key, choice) {
        Ok(()) => {
            let status = recorder.status(&key);
            admin.answer(exchange, json!({ "recorder": status.as_ref().map(RecorderInfo::of) }))
        }
        Err(StartError::NotFound(_)) => admin.fail(exchange, &NO_STREAM),
        Err(StartError::Running(_)) => admin.fail(exchange, &RUNNING),
        Err(_) => admin.fail(exchange, &BUSY),
    }
}

fn stop(admin: &Admin, recorder: &Recorder, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let id = exchange.parameter("id").unwrap_or_default();
    let found = recorder.list().into_iter().find(|status| status.stream.id() == id);
    let Some(status) = found else { return admin.fail(exchange, &NOT_RECORDED) };
    if !recorder.stop(&status.stream)? {
        return admin.fail(exchange, &NOT_RECORDED);
    }
    admin.answer(exchange, json!({}))
}

fn refuse(admin: &Admin, exchange: &mut Exchange<'_, '_>, error: LibraryError) -> io::Result<()> {
    match error {
        LibraryError::NotFound => admin.fail(exchange, &NO_RECORDING),
        LibraryError::InUse => admin.fail(exchange, &IN_USE),
        LibraryError::Disk(error) if rt::timed_out(&error).is_some() => {
            admin.fail(exchange, &HANGS)
        }
        error => {
            tracing::warn!(%error, "a recording cannot be used");
            let text = "the disk says no; the log says why";
            admin.fail(exchange, &Failure::new(StatusCode::INTERNAL_SERVER_ERROR, text))
        }
    }
}

fn filter_of(exchange: &Exchange<'_, '_>) -> Option<Filter> {
    let target = exchange.request().target();
    let given = |name: &str| target.parameter(name).filter(|text| !text.is_empty());
    let time =
        |name: &str| given(name).map(|text| time_ms(&text)).map_or(Some(None), |ms| ms.map(Some));
    let stream = match given("stream") {
        None => None,
        Some(text) => {
            let key: StreamKey = text.parse().ok()?;
            Some(key.on_vhost(&given("vhost").unwrap_or_default()).ok()?)
        }
    };
    Some(Filter { stream, from_ms: time("from")?, to_ms: time("to")? })
}

/// A time of RFC 3339, or in seconds since 1970, in milliseconds.
fn time_ms(text: &str) -> Option<i64> {
    match text.parse::<i64>() {
        Ok(seconds) => seconds.checked_mul(1000),
        Err(_) => text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond),
    }
}

impl Wanted {
    fn choice(self) -> Option<(StreamKey, Choice)> {
        let format = match self.format {
            None => None,
            Some(name) => Some(name.parse().ok()?),
        };
        let segment = match self.segment_s {
            None => None,
            Some(seconds @ 1..=86_400) => Some(Plan::Segment(Duration::from_secs(seconds.into()))),
            Some(_) => return None,
        };
        let plan = match (self.plan.as_deref(), segment) {
            (None, segment) => segment,
            (Some("session"), None) => Some(Plan::Session),
            (Some("segment"), Some(segment)) => Some(segment),
            _ => return None,
        };
        Some((self.stream.on_vhost(&self.vhost).ok()?, Choice { format, plan }))
    }
}

impl RecordingInfo {
    fn of(entry: &Entry, admin: &Admin) -> Self {
        let state = entry.state();
        let began = Timestamp::from_millisecond(entry.began_ms).unwrap_or_default();
        let key = &entry.stream;
        Self {
            id: entry.id.to_string(),
            vhost: key.vhost().into(),
            app: key.app().into(),
            name: key.name().into(),
            stream: key.id(),
            file: entry.file.clone(),
            format: entry.format.extension(),
            state: state.name(),
            error: match state {
                State::Failed(error) => Some(error),
                _ => None,
            },
            began: began.to_string(),
            began_ms: entry.began_ms,
            duration_s: entry.duration().as_secs_f64(),
            bytes: entry.bytes(),
            url: admin.download_url(&entry.id.to_string()),
        }
    }
}

impl RecorderInfo {
    fn of(status: &Status) -> Self {
        let key = &status.stream;
        let (plan, segment_s) = match status.plan {
            Plan::Session => ("session", None),
            Plan::Segment(length) => ("segment", Some(length.as_secs_f64())),
        };
        let current = status.current.as_ref();
        Self {
            id: key.id(),
            vhost: key.vhost().into(),
            app: key.app().into(),
            name: key.name().into(),
            by: status.by,
            format: status.format.extension(),
            plan,
            segment_s,
            state: status.phase.name(),
            seconds: status.age.as_secs_f64(),
            recording: current.map(|(id, ..)| id.to_string()),
            file: current.map(|(_, file, _)| file.clone()),
            duration_s: current.map(|(.., lasts)| lasts.as_secs_f64()),
            files: status.files,
            bytes: status.bytes,
            skips: status.skips,
            skipped: status.skipped,
            failures: status.failures,
            error: status.error.clone(),
            retry_in_s: status.retry_in.map(|pause| pause.as_secs_f64()),
            stalled_s: status.stalled.map(|since| since.as_secs_f64()),
        }
    }
}
