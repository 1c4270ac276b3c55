//! WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-03): an offer by `POST`, the answer, and the session at its own URL; and
//! the same under SRS's paths.

use super::{
    Settings, WebRtc,
    addresses::Local,
    crowd::Place,
    fragment::{self, Fragment},
    negotiate::{self, OfferError},
    peer::{Limits, Peer, PeerEnd},
    publisher::{self, Terms},
    reorder::Verdict,
    resource::{Control, Entered, Entry},
    routes::Mailbox,
    stage::{ReferenceB, Share},
    viewer,
};
use crate::{
    auth::{Action, PlayGrant, PublishGrant, Refused},
    http::{Exchange, HeaderName, Method, Response, Router, StatusCode, header},
    hub::{Client, PublishError, Role, SubscribeError},
    key::StreamKey,
    protocol::{Session, accept, http_access},
};
use serde::{Deserialize, Serialize};
use std::{io, rc::Rc};
use thalweg_runtime::{
    self as rt,
    sync::channel::{self, OneshotSender},
};
use tracing::{debug, info};

/// The largest offer that is read.
const OFFER_BYTES: u64 = 64 << 10;

/// Reading an offer, making an answer and DTLS take most of this in a build that is not optimised.
const STACK_BYTES: usize = 1 << 20;

const REFERENCE_B: &str = "the stream's pictures refer to B pictures, which WebRTC cannot show in time; encoder \
                           setting: no B frames (x264: bframes=0, or b-pyramid=none)";

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

/// What an offer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    View,
    Publish,
}

/// Adds the paths of WHIP and WHEP, and those that SRS has for them.
pub(super) fn route(router: &mut Router, webrtc: &Rc<WebRtc>) {
    for purpose in [Purpose::View, Purpose::Publish] {
        let on = |router: &mut Router, method, pattern: &str, handler: Handler| {
            let webrtc = Rc::clone(webrtc);
            router.on(method, pattern, move |exchange| handler(&webrtc, purpose, exchange));
            router.make_public(pattern);
        };
        let (name, srs) = (purpose.name(), purpose.srs_name());
        let pattern = format!("/{name}/{{*path}}");
        on(router, Method::POST, &pattern, offered);
        on(router, Method::PATCH, &pattern, patched);
        on(router, Method::DELETE, &pattern, deleted);
        for slash in ["", "/"] {
            on(router, Method::POST, &format!("/rtc/v1/{name}{slash}"), offered_by_query);
            on(router, Method::POST, &format!("/rtc/v1/{srs}{slash}"), offered_in_json);
        }
    }
}

type Handler = fn(&Rc<WebRtc>, Purpose, &mut Exchange<'_, '_>) -> io::Result<()>;

/// `POST /whep/live/cam`, `POST /whip/live/cam`
fn offered(
    webrtc: &Rc<WebRtc>,
    purpose: Purpose,
    exchange: &mut Exchange<'_, '_>,
) -> io::Result<()> {
    let path = exchange.parameter("path").unwrap_or_default().to_owned();
    let key = path.parse::<StreamKey>().map_err(|error| Refusal::bad(error.to_string()));
    let answer = key.and_then(|key| {
        let offer = read_sdp(exchange, SDP)?;
        let_in(webrtc, purpose, exchange, &key, &offer)
    });
    respond(exchange, answer)
}

/// `POST /rtc/v1/whep/?app=live&stream=cam`, as SRS has it.
fn offered_by_query(
    webrtc: &Rc<WebRtc>,
    purpose: Purpose,
    exchange: &mut Exchange<'_, '_>,
) -> io::Result<()> {
    let target = exchange.request().target();
    let parameter = |name| target.parameter(name).unwrap_or_default().into_owned();
    let key = StreamKey::new(&parameter("app"), &parameter("stream"));
    let key = key.and_then(|key| key.on_vhost(&parameter("vhost")));
    let key = key.map_err(|error| Refusal::bad(error.to_string()));
    let answer = key.and_then(|key| {
        let offer = read_sdp(exchange, SDP)?;
        let_in(webrtc, purpose, exchange, &key, &offer)
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
fn offered_in_json(
    webrtc: &Rc<WebRtc>,
    purpose: Purpose,
    exchange: &mut Exchange<'_, '_>,
) -> io::Result<()> {
    let body = exchange.body(2 * OFFER_BYTES).read_all()?;
    let offer = serde_json::from_slice::<SrsOffer>(&body)
        .map_err(|error| Refusal::bad(format!("the body is no offer: {error}")));
    let answer = offer.and_then(|offer| {
        let key = key_of_url(&offer.streamurl)?;
        let_in(webrtc, purpose, exchange, &key, &offer.sdp)
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

/// Lets a peer in.
fn let_in(
    webrtc: &Rc<WebRtc>,
    purpose: Purpose,
    exchange: &Exchange<'_, '_>,
    key: &StreamKey,
    offer: &str,
) -> Result<Accepted, Refusal> {
    let peer = exchange.peer().address;
    if let Some(full) = webrtc.clients.refusal(peer.ip()) {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, full.to_string()));
    }
    let client = webrtc.clients.enter("webrtc", peer);
    let settings = webrtc.settings();
    match purpose {
        Purpose::View => {
            let ask = http_access::ask(exchange, Action::Play, key, "webrtc", &client)?;
            let grant = settings.gate.play(&ask)?;
            client.set_role(Role::Player(key.clone()));
            client.end_at(grant.until());
            let source = webrtc.registry.wait_for(&grant, rt::now() + settings.wait);
            let source = source.map_err(|error| {
                client.note_refusal(Some(key), &error, None);
                Refusal::from(error)
            })?;
            let share = webrtc.stages.open(&source).map_err(|error| Refusal::failed(&error))?;
            let is_refused = share.stage.verdict() == Verdict::ReferenceB
                && settings.reference_b == ReferenceB::Refuse;
            if is_refused {
                client.note_refusal(Some(key), REFERENCE_B, None);
                return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, REFERENCE_B.to_owned()));
            }
            begin(webrtc, &client, offer, move |begun| begun.view(&grant, &share))
        }
        Purpose::Publish => {
            let ask = http_access::ask(exchange, Action::Publish, key, "webrtc", &client)?;
            let grant = settings.gate.publish(&ask)?;
            begin(webrtc, &client, offer, move |begun| begun.publish(&grant))
        }
    }
}

/// A session that has a coroutine, and nothing else yet.
struct Begun<'a> {
    webrtc: &'a WebRtc,
    client: &'a Rc<Client>,
    offer: &'a str,
    /// Who waits for the answer.
    answer: OneshotSender<Result<Accepted, Refusal>>,
    /// Among those who are not connected yet.
    place: Place,
}

/// Begins a session, which agrees with the peer before anything else: what that takes of a stack is more than a connection of
/// HTTP has.
fn begin(
    webrtc: &Rc<WebRtc>,
    client: &Rc<Client>,
    offer: &str,
    session: impl FnOnce(Begun<'_>) -> PeerEnd + 'static,
) -> Result<Accepted, Refusal> {
    let coroutine =
        rt::Builder::new().name(format!("webrtc {}", client.peer())).stack_size(STACK_BYTES);
    let pending = webrtc.pending.enter(client.peer().ip(), webrtc.settings().pending);
    let place = pending.map_err(|full| {
        client.note_refusal(None, full, None);
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, full.to_string())
    })?;
    let (sender, agreed) = channel::oneshot();
    let (webrtc, offer) = (Rc::clone(webrtc), offer.to_owned());
    let run = move |begun: &Session| {
        let (webrtc, client, offer) = (&*webrtc, &begun.client, &*offer);
        Err(session(Begun { webrtc, client, offer, answer: sender, place }))
    };
    accept::spawn(coroutine, client, None, run).map_err(|error| Refusal::failed(&error))?;
    agreed.recv().unwrap_or_else(|_| {
        let why = "the session ended before it began".to_owned();
        Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why))
    })
}

impl Begun<'_> {
    fn view(self, grant: &PlayGrant, share: &Share) -> PeerEnd {
        let candidates = self.candidates();
        let identity = &self.webrtc.identity;
        let viewing = match negotiate::view(identity, self.offer, &candidates, &share.stage) {
            Ok(viewing) => viewing,
            Err(error) => return self.refuse(error.into()),
        };
        let stream = grant.key();
        info!(%stream, video = viewing.video.is_some(), audio = viewing.audio.is_some(), "plays");
        self.client.begin_play(None);
        let mailbox = Mailbox::new(&self.webrtc.port, &viewing.credentials);
        let entered = self.enter(Purpose::View, stream);
        let (client, limits) = (self.client, self.limits());
        let place = self.accept(viewing.answer, &entered);
        let control = &entered.control;
        let peer = Peer::new(viewing.rtc, &mailbox, control, candidates, client, limits, place);
        viewer::watch(peer, [viewing.video, viewing.audio], viewing.cname, share)
    }

    fn publish(self, grant: &PublishGrant) -> PeerEnd {
        let candidates = self.candidates();
        let agreed = negotiate::publish(&self.webrtc.identity, self.offer, &candidates);
        let publishing = match agreed {
            Ok(publishing) => publishing,
            Err(error) => return self.refuse(error.into()),
        };
        let settings = self.webrtc.settings();
        let publisher = match self.webrtc.registry.publish(grant, settings.takes_over) {
            Ok(publisher) => publisher,
            Err(error) => {
                let status = match error {
                    PublishError::Busy(_) => StatusCode::CONFLICT,
                    _ => StatusCode::SERVICE_UNAVAILABLE,
                };
                return self.refuse(Refusal::new(status, error.to_string()));
            }
        };
        let stream = grant.key();
        info!(%stream, tracks = ?publishing.tracks.iter().map(|it| it.codec).collect::<Vec<_>>(), "publishes");
        self.client.set_role(Role::Publisher(stream.clone()));
        self.client.end_at(grant.until());
        let mailbox = Mailbox::new(&self.webrtc.port, &publishing.credentials);
        let entered = self.enter(Purpose::Publish, stream);
        publisher.set_ask(entered.asking());
        let (client, limits) = (self.client, self.limits());
        let Settings { publisher_silence: silence, random_access, .. } = *settings;
        let place = self.accept(publishing.answer, &entered);
        let control = &entered.control;
        let peer = Peer::new(publishing.rtc, &mailbox, control, candidates, client, limits, place);
        publisher::publish(peer, &publishing.tracks, publisher, Terms { silence, random_access })
    }

    fn candidates(&self) -> Vec<Local> {
        self.webrtc.port.candidates(self.client.peer().ip().to_canonical().is_loopback())
    }

    fn limits(&self) -> Limits {
        let settings = self.webrtc.settings();
        Limits { connect: settings.connect, silence: settings.silence }
    }

    fn enter(&self, purpose: Purpose, stream: &StreamKey) -> Entered {
        let path = format!("/{}/{}", purpose.name(), stream.path());
        let ufrag = fragment::ufrag_of(self.offer).unwrap_or_default().to_owned();
        self.webrtc.sessions.enter(path, Rc::clone(self.client), ufrag)
    }

    /// When nobody hears it any more, the peer will not come.
    fn accept(self, answer: String, entered: &Entered) -> Place {
        let accepted = Accepted { answer, location: entered.location(), tag: entered.tag() };
        let _unheard = self.answer.send(Ok(accepted));
        // Many never get further than this.
        if let Err(error) = rt::trim_stack() {
            debug!(%error, "the stack is not trimmed");
        }
        self.place
    }

    fn refuse(self, refusal: Refusal) -> PeerEnd {
        self.client.note_refusal(None, &refusal.why, None);
        let end = PeerEnd::Refused(refusal.why.clone());
        let _unheard = self.answer.send(Err(refusal));
        end
    }
}

impl Purpose {
    /// The first part of its paths.
    const fn name(self) -> &'static str {
        match self {
            Self::View => "whep",
            Self::Publish => "whip",
        }
    }

    /// What SRS called it before there was WHIP.
    const fn srs_name(self) -> &'static str {
        match self {
            Self::View => "play",
            Self::Publish => "publish",
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
fn session_of(
    webrtc: &WebRtc,
    purpose: Purpose,
    exchange: &Exchange<'_, '_>,
) -> Result<Rc<Entry>, Refusal> {
    let (path, id) =
        exchange.parameter("path").and_then(|path| path.rsplit_once('/')).unwrap_or_default();
    webrtc.sessions.find(&format!("/{}/{path}", purpose.name()), id).ok_or_else(|| {
        Refusal::new(StatusCode::NOT_FOUND, "there is no such session, or no more".to_owned())
    })
}

/// `DELETE`: the viewer leaves.
fn deleted(
    webrtc: &Rc<WebRtc>,
    purpose: Purpose,
    exchange: &mut Exchange<'_, '_>,
) -> io::Result<()> {
    match session_of(webrtc, purpose, exchange) {
        Ok(entry) => {
            entry.client.kick();
            exchange.respond(Response::new(StatusCode::OK))
        }
        Err(refusal) => exchange.respond(refusal.response()),
    }
}

/// `PATCH`: further addresses of the viewer, or a restart of ICE.
fn patched(
    webrtc: &Rc<WebRtc>,
    purpose: Purpose,
    exchange: &mut Exchange<'_, '_>,
) -> io::Result<()> {
    let answer = session_of(webrtc, purpose, exchange).and_then(|entry| patch(&entry, exchange));
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
    let tell = |control| match entry.control.try_send(control) {
        Ok(()) => Ok(()),
        Err(_) if entry.control.is_closed() => Err(over()),
        Err(_) => {
            let why = "the session has not taken up what it was told before".to_owned();
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why))
        }
    };
    match fragment.credentials {
        Some(credentials) if is_restart => {
            let ufrag = credentials.ufrag.clone();
            let (sender, fresh) = channel::oneshot();
            tell(Control::Restart(credentials, sender))?;
            let fresh = fresh.recv().map_err(|_| over())?;
            entry.remote_ufrag.replace(ufrag);
            entry.tag.replace(negotiate::random_text::<8>());
            debug!(client = entry.client.id.0, "restarts ICE");
            let response = Response::bytes(SDP_FRAGMENT, fragment::answer(&fresh).into());
            Ok(response.with_value(header::ETAG, &format!("\"{}\"", entry.tag.borrow())))
        }
        _ => {
            let mut candidates = fragment.candidates;
            entry.admit(&mut candidates);
            tell(Control::Candidates(candidates))?;
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

impl From<SubscribeError> for Refusal {
    fn from(error: SubscribeError) -> Self {
        let status = match error {
            SubscribeError::NotFound(_) => StatusCode::NOT_FOUND,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
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
