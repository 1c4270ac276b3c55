//! What one connection goes through, from its first request to its end.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE, ALLOW,
};
use http::{Method, StatusCode};
use ipnet::IpNet;
use thalweg_runtime as rt;

use super::body::{BodyError, BodyState};
use super::conn::Conn;
use super::date::DateCache;
use super::exchange::{Exchange, State};
use super::forwarded;
use super::request::{BadRequest, HeadError, Request};
use super::response::Response;
use super::router::{Handler, Router};
use super::stream::Stream;

/// Serves connections by one set of routes.
#[derive(Debug)]
pub struct Server {
    router: Router,
    settings: Cell<Settings>,
    /// Who is believed about who asks.
    proxies: RefCell<Vec<IpNet>>,
    date: DateCache,
    is_draining: Cell<bool>,
}

/// How long a client may keep the server waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// From the first byte of a request, or from the beginning of the connection, until its head is there.
    pub head_timeout: Duration,
    /// Between two requests.
    pub idle_timeout: Duration,
    /// From the first byte of a body until its last.
    pub body_timeout: Duration,
    /// For each 64 KiB of an answer.
    pub write_timeout: Duration,
    /// How long the client may take to read the last answer before the connection closes.
    pub linger: Duration,
    /// How many requests a connection may carry.
    pub requests_max: u32,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
    /// Whether the connection is encrypted.
    pub is_secure: bool,
}

/// A connection that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Why.
    pub cause: Cause,
    /// How many requests were answered in full.
    pub requests: u32,
    /// Bytes that came in.
    pub received: u64,
    /// Bytes that went out.
    pub sent: u64,
}

/// Why a connection ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The client ended it between two requests.
    Closed,
    /// The client sent no further request in time.
    Idle,
    /// The client, or the server, wanted no further request on it.
    Last,
    /// The handler that had taken it over was done.
    TakenOver,
    /// The head of a request did not come in time.
    HeadTimedOut,
    /// A request was refused.
    Bad(BadRequest),
    /// A body was refused.
    Body(BodyError),
    /// There was no room for it, for the reason that the text gives.
    TurnedAway(String),
    /// The connection failed, a handler did, or the coroutine was cancelled.
    Failed(io::Error),
    /// A handler returned without an answer, or with half of one.
    Unanswered,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            requests_max: 10_000,
        }
    }
}

impl Server {
    /// One that answers by `router`.
    #[must_use]
    pub fn new(router: Router, settings: Settings) -> Self {
        let (settings, date) = (Cell::new(settings), DateCache::default());
        let proxies = RefCell::default();
        Self { router, settings, proxies, date, is_draining: Cell::new(false) }
    }

    /// From now on what proxies of these networks say about who asks is believed: handlers see that address as the
    /// peer's.
    pub fn set_proxies(&self, proxies: Vec<IpNet>) {
        self.proxies.replace(proxies);
    }

    /// Has these settings from now on, also for connections that are there.
    pub fn set_settings(&self, settings: Settings) {
        self.settings.set(settings);
    }

    /// Makes the next answer of each connection its last.
    pub fn drain(&self) {
        self.is_draining.set(true);
    }

    /// Serves one connection until it ends. Whoever drops `stream` then closes it.
    ///
    /// # Suspends
    ///
    /// Until the connection ends, or the coroutine is cancelled.
    pub fn serve(&self, stream: &mut dyn Stream, peer: &Peer) -> Ended {
        let mut conn = Conn::new(stream, self.settings.get().write_timeout);
        let mut requests = 0;
        let cause = loop {
            match self.serve_next(&mut conn, peer, requests) {
                Ok(()) => requests += 1,
                Err(cause) => break cause,
            }
        };
        if !matches!(cause, Cause::Closed | Cause::Idle) {
            conn.linger(self.settings.get().linger);
        }
        if matches!(cause, Cause::Last | Cause::TakenOver) {
            requests += 1;
        }
        Ended { cause, requests, received: conn.received(), sent: conn.sent() }
    }

    /// Reads one request, and answers that there is no room for it. Whoever drops `stream` then closes it.
    ///
    /// # Suspends
    ///
    /// As [`Server::serve`].
    pub fn turn_away(&self, stream: &mut dyn Stream, why: &str) -> Ended {
        let mut conn = Conn::new(stream, self.settings.get().write_timeout);
        let cause = match self.await_request(&mut conn, 0) {
            Ok(_) => {
                self.tell(&mut conn, StatusCode::SERVICE_UNAVAILABLE, why);
                Cause::TurnedAway(why.to_owned())
            }
            Err(cause) => cause,
        };
        conn.linger(self.settings.get().linger);
        Ended { cause, requests: 0, received: conn.received(), sent: conn.sent() }
    }

    /// Serves one request; an error is the end of the connection.
    fn serve_next(&self, conn: &mut Conn<'_>, peer: &Peer, before: u32) -> Result<(), Cause> {
        let request = self.await_request(conn, before).and_then(|request| {
            let origin = forwarded::origin(request.headers(), peer.address, &self.proxies.borrow());
            let address = origin.map_err(|_| Cause::Bad(BadRequest::Forwarded))?;
            Ok((request, Peer { address, ..peer.clone() }))
        });
        let (request, peer) = match request {
            Ok(request) => request,
            Err(cause) => {
                self.refuse(conn, &cause);
                return Err(cause);
            }
        };
        let peer = &peer;
        let body = BodyState::new(
            request.framing,
            request.expects_continue,
            self.settings.get().body_timeout,
        );
        let is_last = self.is_draining.get() || before + 1 >= self.settings.get().requests_max;
        let mut exchange = Exchange {
            conn,
            request,
            parameters: Vec::new(),
            allowed: String::new(),
            peer,
            body,
            date: self.date.value(),
            is_public: false,
            may_keep_alive: !is_last,
            state: State::Unanswered,
            status: None,
        };
        let outcome = self.answer(&mut exchange);
        note(&exchange, &outcome);
        let Exchange { state, mut body, .. } = exchange;
        match (outcome, state) {
            (Err(cause), _) => Err(cause),
            (Ok(()), State::Done) if body.skip(conn) => Ok(()),
            (Ok(()), State::Done | State::Last) => Err(Cause::Last),
            (Ok(()), State::TakenOver) => Err(Cause::TakenOver),
            (Ok(()), State::Unanswered | State::Open) => Err(Cause::Unanswered),
        }
    }

    fn await_request(&self, conn: &mut Conn<'_>, before: u32) -> Result<Request, Cause> {
        if before > 0 && conn.unread().is_empty() {
            conn.release();
            match rt::timeout(self.settings.get().idle_timeout, || conn.fill()) {
                Ok(0) => return Err(Cause::Closed),
                Ok(_) => {}
                Err(error) if is_ours(&error) => return Err(Cause::Idle),
                Err(error) => return Err(Cause::Failed(error)),
            }
        }
        match rt::timeout(self.settings.get().head_timeout, || Request::read(conn)) {
            Ok(request) => Ok(request),
            Err(HeadError::Bad(bad)) => Err(Cause::Bad(bad)),
            Err(HeadError::Io(error)) if is_ours(&error) => Err(Cause::HeadTimedOut),
            Err(HeadError::Io(error))
                if error.kind() == io::ErrorKind::UnexpectedEof && conn.unread().is_empty() =>
            {
                Err(Cause::Closed)
            }
            Err(HeadError::Io(error)) => Err(Cause::Failed(error)),
        }
    }

    fn answer(&self, exchange: &mut Exchange<'_, '_>) -> Result<(), Cause> {
        let handler = match self.route(exchange) {
            Ok(handler) => handler,
            Err(answer) => return exchange.respond(*answer).map_err(Cause::Failed),
        };
        let Err(error) = handler(exchange) else {
            if exchange.state == State::Unanswered {
                tracing::error!(
                    path = exchange.request.target().path(),
                    "a handler gave no answer"
                );
                self.fail(exchange, StatusCode::INTERNAL_SERVER_ERROR, "the server has failed");
            }
            return Ok(());
        };
        match BodyError::inside(&error) {
            Some(body) => {
                self.fail(exchange, body.status(), &body.to_string());
                Err(Cause::Body(body))
            }
            None => {
                // A connection that has failed takes no answer, and says so again.
                self.fail(exchange, StatusCode::INTERNAL_SERVER_ERROR, "the server has failed");
                Err(Cause::Failed(error))
            }
        }
    }

    /// Answers for a handler that did not, as the last thing on the connection.
    fn fail(&self, exchange: &mut Exchange<'_, '_>, status: StatusCode, text: &str) {
        if exchange.state == State::Unanswered {
            exchange.may_keep_alive = false;
            // The connection ends either way.
            let _told = exchange.respond(Response::text(status, text));
        }
    }

    /// The handler, or what answers in its place.
    fn route(&self, exchange: &mut Exchange<'_, '_>) -> Result<Rc<Handler>, Box<Response>> {
        let method = exchange.request.method().clone();
        let path = exchange.request.target().path();
        if path == "*" {
            return Err(Response::new(StatusCode::NO_CONTENT)
                .with(ALLOW, "GET, HEAD, OPTIONS")
                .into());
        }
        let Some((route, parameters)) = self.router.find(path) else {
            return Err(
                Response::text(StatusCode::NOT_FOUND, "there is nothing at this path").into()
            );
        };
        exchange.parameters = parameters;
        exchange.is_public = route.is_public;
        if let Some(handler) = route.handler(&method) {
            return Ok(Rc::clone(handler));
        }
        if let Some(otherwise) = &route.otherwise
            && (method != Method::OPTIONS || route.has_no_method())
        {
            if !route.has_no_method() {
                exchange.allowed = route.allowed();
            }
            return Ok(Rc::clone(otherwise));
        }
        let allowed = route.allowed();
        let answer = if method != Method::OPTIONS {
            Response::text(StatusCode::METHOD_NOT_ALLOWED, "this path has other methods")
        } else if route.is_public {
            // Fetch Standard, "CORS-preflight fetch"; the star does not stand for `Authorization`.
            let answer = Response::new(StatusCode::NO_CONTENT);
            let answer = answer.with_value(ACCESS_CONTROL_ALLOW_METHODS, &allowed);
            answer
                .with(ACCESS_CONTROL_ALLOW_HEADERS, "*, Authorization")
                .with(ACCESS_CONTROL_MAX_AGE, "86400")
        } else {
            Response::new(StatusCode::NO_CONTENT)
        };
        Err(answer.with_value(ALLOW, &allowed).into())
    }

    /// Tells the client why there is no answer to a request that could not be read.
    fn refuse(&self, conn: &mut Conn<'_>, cause: &Cause) {
        let (status, text) = match cause {
            Cause::Bad(bad) => (bad.status(), bad.to_string()),
            // Nobody is told that did not begin.
            Cause::HeadTimedOut if !conn.unread().is_empty() => {
                (StatusCode::REQUEST_TIMEOUT, "the request did not come in time".into())
            }
            _ => return,
        };
        self.tell(conn, status, &text);
    }

    /// The last answer of a connection.
    fn tell(&self, conn: &mut Conn<'_>, status: StatusCode, text: &str) {
        let date = self.date.value();
        let reason = status.canonical_reason().unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {} {reason}\r\ndate: {}\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n\
             content-length: {}\r\n\r\n{text}\n",
            status.as_str(),
            date.to_str().unwrap_or_default(),
            text.len() + 1
        );
        // The connection ends either way.
        let _told = conn.send(&[head.as_bytes()]);
    }
}

/// Whether the innermost deadline passed, which is one of this file's.
fn is_ours(error: &io::Error) -> bool {
    rt::timed_out(error).is_some_and(|passed| !passed.is_outer())
}

/// One line on what was asked and answered. A query may hold tokens, so it is left out.
fn note(exchange: &Exchange<'_, '_>, outcome: &Result<(), Cause>) {
    let request = exchange.request();
    tracing::debug!(
        method = %request.method(),
        path = request.target().path(),
        status = exchange.status.map(|status| status.as_u16()),
        failure = outcome.as_ref().err().map(tracing::field::display),
        "request"
    );
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the client closed the connection"),
            Self::Idle => f.write_str("no further request came in time"),
            Self::Last => f.write_str("the last answer was given"),
            Self::TakenOver => f.write_str("the answer without end has ended"),
            Self::HeadTimedOut => f.write_str("the head of a request did not come in time"),
            Self::Bad(bad) => bad.fmt(f),
            Self::Body(body) => body.fmt(f),
            Self::TurnedAway(why) => write!(f, "refused: {why}"),
            Self::Failed(error) => error.fmt(f),
            Self::Unanswered => f.write_str("a request was not answered"),
        }
    }
}
