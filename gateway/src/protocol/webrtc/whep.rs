//! WHEP: a viewer's offer by `POST`, the answer, and the session at its own URL (draft-ietf-wish-whep-03; RFC 9725 for
//! what both have in common).

use super::{
    WebRtc,
    fragment::{self, Fragment},
    negotiate::{self, OfferError},
    reorder::Verdict,
    resource::{Control, Entry},
    stage::{ReferenceB, Share},
    viewer::{self, Limits, ViewerEnd},
};
use crate::{
    auth::{Action, PlayGrant, Refused},
    http::{Exchange, HeaderName, Method, Response, Router, StatusCode, header},
    hub::{Client, Role, SubscribeError},
    key::StreamKey,
    protocol::{Session, accept, http_access},
};
use serde::{Deserialize, Serialize};
use std::{io, rc::Rc};
use thalweg_runtime::{self as rt, sync::channel};
use tracing::{debug, info};

/// The largest offer that is read.
const OFFER_BYTES: u64 = 64 << 10;

/// Reading an offer, making an answer and DTLS take most of this in a build that is not optimised.
const STACK_BYTES: usize = 1 << 20;

const SDP: &str = "application/sdp";
const SDP_FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// An answer that says why there is no other.
struct Refusal {
    status: StatusCode,
    why: String,
    /// The answer as it goes out, where it says more than that.
    answer: Option<Box<Response>>,
}

/// What became of an offer.
struct Accepted {
    answer: String,
    /// The path of the session.
    location: String,
    tag: String,
}

/// Adds the paths of WHEP, and those that SRS has for it.
pub(super) fn route(router: &mut Router, webrtc: &Rc<WebRtc>) {
    let on = |router: &mut Router, method, pattern: &str, handler: Handler| {
        let webrtc = Rc::clone(webrtc);
        router.on(method, pattern, move |exchange| handler(&webrtc, exchange));
        router.make_public(pattern);
    };
    on(router, Method::POST, "/whep/{*path}", offered);
    on(router, Method::PATCH, "/whep/{*path}", patched);
    on(router, Method::DELETE, "/whep/{*path}", deleted);
    for pattern in ["/rtc/v1/whep", "/rtc/v1/whep/"] {
        on(router, Method::POST, pattern, offered_by_query);
    }
    for pattern in ["/rtc/v1/play", "/rtc/v1/play/"] {
        on(router, Method::POST, pattern, offered_in_json);
    }
}

type Handler = fn(&Rc<WebRtc>, &mut Exchange<'_, '_>) -> io::Result<()>;

/// `POST /whep/live/cam`
fn offered(webrtc: &Rc<WebRtc>, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let path = exchange.parameter("path").unwrap_or_default().to_owned();
    let key = path.parse::<StreamKey>().map_err(|error| Refusal::bad(error.to_string()));
    let answer = key.and_then(|key| {
        let offer = read_sdp(exchange, SDP)?;
        view(webrtc, exchange, &key, &offer)
    });
    respond(exchange, answer)
}

/// `POST /rtc/v1/whep/?app=live&stream=cam`, as SRS has it.
fn offered_by_query(webrtc: &Rc<WebRtc>, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let target = exchange.request().target();
    let parameter = |name| target.parameter(name).unwrap_or_default().into_owned();
    let key = StreamKey::new(&parameter("app"), &parameter("stream"));
    let key = key.and_then(|key| key.on_vhost(&parameter("vhost")));
    let key = key.map_err(|error| Refusal::bad(error.to_string()));
    let answer = key.and_then(|key| {
        let offer = read_sdp(exchange, SDP)?;
        view(webrtc, exchange, &key, &offer)
    });
    respond(exchange, answer)
}

/// What SRS's own players send to `/rtc/v1/play/`.
#[derive(Deserialize)]
struct SrsOffer {
    sdp: String,
    streamurl: String,
}

/// What they get.
#[derive(Serialize)]
struct SrsAnswer<'a> {
    code: u32,
    server: &'a str,
    sdp: &'a str,
    sessionid: &'a str,
}

/// `POST /rtc/v1/play/`, as SRS had it before WHEP.
fn offered_in_json(webrtc: &Rc<WebRtc>, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let body = exchange.body(2 * OFFER_BYTES).read_all()?;
    let offer = serde_json::from_slice::<SrsOffer>(&body)
        .map_err(|error| Refusal::bad(format!("the body is no offer: {error}")));
    let answer = offer.and_then(|offer| {
        let key = key_of_url(&offer.streamurl)?;
        view(webrtc, exchange, &key, &offer.sdp)
    });
    match answer {
        Ok(accepted) => exchange.respond(Response::json(&SrsAnswer {
            code: 0,
            server: "thalweg",
            sdp: &accepted.answer,
            sessionid: accepted.location.rsplit('/').next().unwrap_or_default(),
        })),
        Err(refusal) => {
            let body = serde_json::json!({ "code": refusal.status.as_u16(), "data": refusal.why });
            exchange.respond(Response::json(&body).with_status(refusal.status))
        }
    }
}

/// The stream of `webrtc://host/live/cam?vhost=x`.
fn key_of_url(url: &str) -> Result<StreamKey, Refusal> {
    let wrong = || Refusal::bad(format!("streamurl: {url:?} is not webrtc://HOST/APP/STREAM"));
    let rest = url.strip_prefix("webrtc://").ok_or_else(wrong)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (_, path) = rest.split_once('/').ok_or_else(wrong)?;
    let vhost = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "vhost");
    let vhost = vhost.map(|(_, vhost)| vhost.into_owned()).unwrap_or_default();
    let key = path.parse::<StreamKey>().and_then(|key| key.on_vhost(&vhost));
    key.map_err(|error| Refusal::bad(format!("streamurl: {error}")))
}

/// A body of this media type, as text.
fn read_sdp(exchange: &mut Exchange<'_, '_>, media_type: &'static str) -> Result<String, Refusal> {
    let given = exchange.request().header(&header::CONTENT_TYPE).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if !given.eq_ignore_ascii_case(media_type) {
        let why = format!("Content-Type: it must be {media_type}");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let body = exchange.body(OFFER_BYTES).read_all().map_err(|error| {
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body cannot be read: {error}"))
    })?;
    String::from_utf8(body).map_err(|_| Refusal::bad("the body is no text".to_owned()))
}

/// Lets a viewer in.
fn view(
    webrtc: &Rc<WebRtc>,
    exchange: &Exchange<'_, '_>,
    key: &StreamKey,
    offer: &str,
) -> Result<Accepted, Refusal> {
    let settings = &webrtc.settings;
    // Behind a proxy the connection's client knows better where the viewer is.
    let peer =
        Session::current().map_or_else(|| exchange.peer().address, |session| session.client.peer());
    if let Some(full) = webrtc.clients.refusal(peer.ip()) {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, full.to_string()));
    }
    let client = webrtc.clients.enter("webrtc", peer);
    let ask = http_access::ask(exchange, Action::Play, key, "webrtc", &client);
    let grant = settings.gate.play(&ask).map_err(Refusal::from)?;
    client.set_role(Role::Player(key.clone()));
    let source = webrtc.registry.wait_for(&grant, rt::now() + settings.wait).map_err(|error| {
        let status = match error {
            SubscribeError::NotFound(_) => StatusCode::NOT_FOUND,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Refusal::new(status, error.to_string())
    })?;
    let share = webrtc.stages.open(&source).map_err(|error| Refusal::failed(&error))?;
    if share.stage.verdict() == Verdict::ReferenceB && settings.reference_b == ReferenceB::Refuse {
        let why = "the stream's pictures refer to B pictures, which WebRTC cannot show in time; encoder setting: \
                   no B frames (x264: bframes=0, or b-pyramid=none)";
        return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, why.to_owned()));
    }
    begin(webrtc, &client, grant, share, offer)
}

/// Begins the session, which agrees with the viewer on what it gets before anything else: what that takes of a stack is more
/// than a connection of HTTP has.
fn begin(
    webrtc: &Rc<WebRtc>,
    client: &Rc<Client>,
    grant: PlayGrant,
    share: Rc<Share>,
    offer: &str,
) -> Result<Accepted, Refusal> {
    let coroutine =
        rt::Builder::new().name(format!("webrtc {}", client.peer())).stack_size(STACK_BYTES);
    let (sender, agreed) = channel::oneshot();
    let (webrtc, offer) = (Rc::clone(webrtc), offer.to_owned());
    let run = move |session: &Session| {
        let client = &session.client;
        let candidates = webrtc.port.candidates(client.peer().ip().to_canonical().is_loopback());
        let viewing = match negotiate::view(&webrtc.identity, &offer, &candidates, &share.stage) {
            Ok(viewing) => viewing,
            Err(error) => {
                let end = ViewerEnd::Offer(error.to_string());
                let _unheard = sender.send(Err(error));
                return Err(end);
            }
        };
        let mailbox = webrtc.port.enter(&viewing.credentials.ufrag);
        let path = format!("/whep/{}", grant.key().path());
        let ufrag = fragment::ufrag_of(&offer).unwrap_or_default().to_owned();
        let entered = webrtc.sessions.enter(path, Rc::clone(client), ufrag);
        let accepted = Accepted {
            answer: viewing.answer.clone(),
            location: entered.location(),
            tag: entered.tag(),
        };
        drop(offer);
        info!(
            stream = %grant.key(),
            video = viewing.video.is_some(),
            audio = viewing.audio.is_some(),
            "plays"
        );
        // When nobody hears it any more, the viewer will not come.
        let _unheard = sender.send(Ok(accepted));
        let limits = Limits { connect: webrtc.settings.connect, silence: webrtc.settings.silence };
        Err(viewer::watch(viewing, &mailbox, &entered.control, candidates, &share, client, limits))
    };
    accept::spawn(coroutine, client, None, run).map_err(|error| Refusal::failed(&error))?;
    match agreed.recv() {
        Ok(Ok(accepted)) => Ok(accepted),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            let why = "the session ended before it began".to_owned();
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why))
        }
    }
}

fn respond(exchange: &mut Exchange<'_, '_>, answer: Result<Accepted, Refusal>) -> io::Result<()> {
    let accepted = match answer {
        Ok(accepted) => accepted,
        Err(refusal) => return exchange.respond(refusal.response()),
    };
    let response = Response::bytes(SDP, accepted.answer.into()).with_status(StatusCode::CREATED);
    let response = response.with_value(header::LOCATION, &accepted.location);
    let response = response.with_value(header::ETAG, &format!("\"{}\"", accepted.tag));
    exchange.respond(response.with(ACCEPT_PATCH, SDP_FRAGMENT))
}

/// The session that a request is about.
fn session_of(webrtc: &WebRtc, exchange: &Exchange<'_, '_>) -> Result<Rc<Entry>, Refusal> {
    let (path, id) =
        exchange.parameter("path").and_then(|path| path.rsplit_once('/')).unwrap_or_default();
    webrtc.sessions.find(&format!("/whep/{path}"), id).ok_or_else(|| {
        Refusal::new(StatusCode::NOT_FOUND, "there is no such session, or no more".to_owned())
    })
}

/// `DELETE`: the viewer leaves.
fn deleted(webrtc: &Rc<WebRtc>, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    match session_of(webrtc, exchange) {
        Ok(entry) => {
            entry.client.kick();
            exchange.respond(Response::new(StatusCode::OK))
        }
        Err(refusal) => exchange.respond(refusal.response()),
    }
}

/// `PATCH`: further addresses of the viewer, or a restart of ICE.
fn patched(webrtc: &Rc<WebRtc>, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let answer = session_of(webrtc, exchange).and_then(|entry| patch(&entry, exchange));
    exchange.respond(answer.unwrap_or_else(Refusal::response))
}

fn patch(entry: &Entry, exchange: &mut Exchange<'_, '_>) -> Result<Response, Refusal> {
    let text = read_sdp(exchange, SDP_FRAGMENT)?;
    let wanted = exchange.request().header(&header::IF_MATCH).map(str::to_owned);
    let fragment = Fragment::parse(&text);
    let is_restart = fragment
        .credentials
        .as_ref()
        .is_some_and(|credentials| credentials.ufrag != *entry.remote_ufrag.borrow());
    // RFC 9725 §4.3.1: both say which session of ICE they are about, a restart possibly `*`.
    match wanted.as_deref().map(|tag| tag.trim().trim_matches('"')) {
        None => {
            return Err(Refusal::new(
                StatusCode::PRECONDITION_REQUIRED,
                "If-Match is missing".to_owned(),
            ));
        }
        Some("*") => {}
        Some(tag) if tag == *entry.tag.borrow() => {}
        Some(_) => {
            return Err(Refusal::new(
                StatusCode::PRECONDITION_FAILED,
                "If-Match names another session of ICE".to_owned(),
            ));
        }
    }
    let over = || Refusal::new(StatusCode::NOT_FOUND, "the session is over".to_owned());
    match fragment.credentials {
        Some(credentials) if is_restart => {
            entry.remote_ufrag.replace(credentials.ufrag.clone());
            let (sender, fresh) = channel::oneshot();
            entry.control.try_send(Control::Restart(credentials, sender)).map_err(|_| over())?;
            let fresh = fresh.recv().map_err(|_| over())?;
            entry.tag.replace(negotiate::random_text::<8>());
            debug!(client = entry.client.id.0, "restarts ICE");
            let response = Response::bytes(SDP_FRAGMENT, fragment::answer(&fresh).into());
            Ok(response.with_value(header::ETAG, &format!("\"{}\"", entry.tag.borrow())))
        }
        _ => {
            entry.control.try_send(Control::Candidates(fragment.candidates)).map_err(|_| over())?;
            Ok(Response::new(StatusCode::NO_CONTENT))
        }
    }
}

impl Refusal {
    const fn new(status: StatusCode, why: String) -> Self {
        Self { status, why, answer: None }
    }

    const fn bad(why: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    fn failed(error: &io::Error) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }

    fn response(self) -> Response {
        if let Some(answer) = self.answer {
            return *answer;
        }
        let response = Response::text(self.status, &self.why);
        match self.status {
            // As long as it may take an encoder to come back.
            StatusCode::NOT_FOUND | StatusCode::SERVICE_UNAVAILABLE => {
                response.with(header::RETRY_AFTER, "5")
            }
            _ => response,
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let answer = http_access::refusal(&refused);
        Self { status: answer.status(), why: refused.to_string(), answer: Some(Box::new(answer)) }
    }
}

impl From<OfferError> for Refusal {
    fn from(error: OfferError) -> Self {
        let status = match error {
            OfferError::Malformed(_) => StatusCode::BAD_REQUEST,
            OfferError::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
        };
        Self::new(status, error.to_string())
    }
}
