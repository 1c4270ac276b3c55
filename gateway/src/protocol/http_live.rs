//! Streams over HTTP without end: `/live/cam.flv`, `.ts` and `.mp4`.
//!
//! The connection is the handler's from the head of the answer on. One coroutine writes; the other waits for the
//! player to go away, since a source that is silent gives no occasion to notice.

use super::{
    Session,
    http_access::{ask, refusal},
    play::{Admit, PlayError, write_stream},
};
use crate::{
    auth::{Action, Gate, Refused},
    container::{Select, flv::FlvMux, fmp4::Fmp4, ts::TsMux},
    http::{Exchange, Heard, Response, TakenOver},
    hub::{Format, PlayEnd, Registry, Role, Start, SubscribeError, Subscriber},
    key::StreamKey,
};
use http::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use std::{cell::RefCell, io, rc::Rc, time::Duration};
use thalweg_runtime::{self as rt, JoinError, select};
use tracing::{info, warn};

/// How players over HTTP are served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may play.
    pub gate: Gate,
    /// Where they begin, unless they say so.
    pub start: Start,
    /// How long a player may wait for a stream that nobody publishes.
    pub wait: Duration,
    /// How long it may take nothing.
    pub stall: Duration,
}

/// What a player asked for.
struct Request {
    key: StreamKey,
    select: Select,
    start: Start,
}

/// Answers requests for live streams, with their paths as the parameter `path`, each by the settings of its moment.
pub fn handler(
    registry: &Registry,
    settings: &Rc<RefCell<Settings>>,
) -> impl Fn(&mut Exchange<'_, '_>) -> io::Result<()> + use<> {
    let (registry, settings) = (registry.clone(), Rc::clone(settings));
    move |exchange| {
        let settings = settings.borrow().clone();
        live(exchange, &registry, &settings)
    }
}

fn live(
    exchange: &mut Exchange<'_, '_>,
    registry: &Registry,
    settings: &Settings,
) -> io::Result<()> {
    let path = exchange.parameter("path").unwrap_or_default().to_owned();
    let not_found = || Response::text(StatusCode::NOT_FOUND, "there is nothing at this path\n");
    let Some((name, extension)) = path.rsplit_once('.') else {
        return exchange.respond(not_found());
    };
    let play = match extension {
        "flv" => play::<FlvMux>,
        "ts" => play::<TsMux>,
        "mp4" => play::<Fmp4>,
        _ => return exchange.respond(not_found()),
    };
    match request(exchange, name, settings) {
        Ok(request) => play(exchange, registry, &request, settings),
        Err(wrong) => {
            exchange.respond(Response::text(StatusCode::BAD_REQUEST, &format!("{wrong}\n")))
        }
    }
}

fn request(
    exchange: &Exchange<'_, '_>,
    name: &str,
    settings: &Settings,
) -> Result<Request, String> {
    let key = name.parse::<StreamKey>().map_err(|error| error.to_string())?;
    let target = exchange.request().target();
    let select = match target.parameter("only").as_deref() {
        None => Select::All,
        Some("audio") => Select::AudioOnly,
        Some("video") => Select::VideoOnly,
        Some(other) => return Err(format!("only={other}: it is audio or video")),
    };
    let start = match target.parameter("start").as_deref() {
        None => settings.start,
        Some("gop") => Start::Gop,
        Some("live") => Start::Live,
        Some(other) => return Err(format!("start={other}: it is gop or live")),
    };
    Ok(Request { key, select, start })
}

fn play<M: Format + Media>(
    exchange: &mut Exchange<'_, '_>,
    registry: &Registry,
    request: &Request,
    settings: &Settings,
) -> io::Result<()> {
    let Some(session) = Session::current() else {
        return Err(io::Error::other("a request outside a session"));
    };
    let client = &session.client;
    client.set_protocol(M::NAME);
    let ask = ask(exchange, Action::Play, &request.key, M::NAME, client);
    // It counts as a player while it waits, so that the API shows who waits for what.
    client.set_role(Role::Player(request.key.clone()));
    // The connection goes on after a refusal and may ask for something else.
    let refuse = |exchange: &mut Exchange<'_, '_>, answer: Response| {
        client.clear_role();
        client.set_protocol("http");
        exchange.respond(answer)
    };
    let grant = match ask.and_then(|ask| settings.gate.play(&ask)) {
        Ok(grant) => grant,
        Err(Refused::Wait(error)) => return Err(error.into()),
        Err(refused) => {
            info!(stream = %request.key, format = M::NAME, %refused, "refused");
            return refuse(exchange, refusal(&refused));
        }
    };
    let source = match registry.wait_for(&grant, rt::now() + settings.wait) {
        Ok(source) => source,
        Err(SubscribeError::Wait(error)) => return Err(error.into()),
        Err(error) => {
            client.note_refusal(Some(grant.key()), &error, None);
            return refuse(exchange, Response::text(StatusCode::NOT_FOUND, &format!("{error}\n")));
        }
    };
    let subscribed = source.subscribe::<M>(request.select, request.start);
    let subscriber = subscribed.map_err(|end| io::Error::other(end.to_string()))?;
    client.begin_play(Some(subscriber.lag()));
    client.end_at(grant.until());
    info!(stream = %request.key, format = M::NAME, "plays");
    let head = Response::new(StatusCode::OK)
        .with(CONTENT_TYPE, M::media_type(request.select))
        .with(CACHE_CONTROL, "no-store");
    let Some(mut connection) = exchange.take_over(head)? else { return Ok(()) };
    let end = write_while_watched::<M>(subscriber, &mut connection, &session, settings.stall);
    match end {
        Ok(()) => session.set_cause("the player left"),
        Err(error) => {
            let is_over = matches!(error, PlayError::End(PlayEnd::Unpublished));
            session.set_cause(error);
            if is_over {
                return connection.finish();
            }
        }
    }
    Ok(())
}

/// Writes until the source or the connection ends; `Ok` when it was the player who closed it.
fn write_while_watched<M: Media>(
    mut subscriber: Subscriber,
    connection: &mut TakenOver<'_, '_>,
    session: &Session,
    stall: Duration,
) -> Result<(), PlayError> {
    let Some(watch) = connection.watch() else {
        return write_stream(&mut subscriber, M::admit(), connection, &session.client, stall);
    };
    rt::scope(|scope| {
        let writer = scope.spawn(|| {
            write_stream(&mut subscriber, M::admit(), connection, &session.client, stall)
        });
        loop {
            let ended = select! {
                readable = watch.net_fd().becoming_readable() => match readable.map(|()| watch.look()) {
                    Ok(Heard::Nothing) => None,
                    Ok(Heard::Data) => Some(Watched::Talks),
                    Ok(Heard::End) | Err(_) => Some(Watched::Left),
                },
                ended = writer.ending() => Some(Watched::Ended(ended)),
            };
            match ended {
                Ok(None) => {}
                // It sent something that nobody waits for. That it left will show when a write fails.
                Ok(Some(Watched::Talks)) => return written(writer.join()),
                Ok(Some(Watched::Ended(result))) => return written(result),
                Ok(Some(Watched::Left)) | Err(_) => {
                    writer.cancel();
                    return Ok(());
                }
            }
        }
    })
}

/// What a player did while it was being written to.
enum Watched {
    /// It closed the connection.
    Left,
    /// It sent something.
    Talks,
    /// Writing has ended.
    Ended(Result<Result<(), PlayError>, JoinError>),
}

/// A writer that panicked has been logged by the runtime; its player's session ends like any other.
fn written(result: Result<Result<(), PlayError>, JoinError>) -> Result<(), PlayError> {
    result.unwrap_or_else(|error| {
        warn!(%error, "the writer failed");
        Ok(())
    })
}

/// What a format is called in HTTP.
pub trait Media {
    /// The media type of an output with these tracks.
    fn media_type(select: Select) -> &'static str;

    /// What a reader gets of the feed.
    fn admit() -> Admit {
        Admit::All
    }
}

impl Media for FlvMux {
    fn media_type(_select: Select) -> &'static str {
        "video/x-flv"
    }

    fn admit() -> Admit {
        Admit::flv()
    }
}

impl Media for TsMux {
    fn media_type(_select: Select) -> &'static str {
        "video/mp2t"
    }

    fn admit() -> Admit {
        Admit::ts()
    }
}

impl Media for Fmp4 {
    fn media_type(select: Select) -> &'static str {
        if select == Select::AudioOnly { "audio/mp4" } else { "video/mp4" }
    }
}
