//! How everything under `/api` answers: the envelope of SRS, failures in it, and the guard before each handler.

use std::borrow::Cow;
use std::io;
use std::rc::Rc;

use serde::Serialize;
use serde_json::json;
use thalweg_runtime as rt;

use super::Admin;
use super::access::{Caller, Denied, Needs, WRONG_DELAY};
use crate::hooks::Identity;
use crate::http::{Exchange, Method, Response, Router, StatusCode, header};

/// What every answer begins with, and what it is about.
#[derive(Serialize)]
struct Envelope<'a, T> {
    code: u32,
    server: &'a str,
    service: &'a str,
    pid: &'a str,
    #[serde(flatten)]
    content: T,
}

/// A failure, with the number that SRS gives it where it has one, else that of the status.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) code: u32,
    pub(super) text: Cow<'static, str>,
}

impl Failure {
    /// One that SRS has a number for.
    pub(super) const fn known(status: StatusCode, code: u32, text: &'static str) -> Self {
        Self { status, code, text: Cow::Borrowed(text) }
    }

    /// One whose number is its status.
    pub(super) fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code: status.as_u16().into(), text: text.into() }
    }

    /// A parameter of the query is wrong.
    pub(super) fn parameter(name: &str, expected: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("{name}: expected {expected}"))
    }
}

/// So long a name of a function may be, for JSONP.
const CALLBACK_LEN_MAX: usize = 64;

impl Admin {
    /// Adds a handler for those who may ask. Methods that a path does not have are refused in the envelope.
    pub(super) fn on(
        self: &Rc<Self>,
        router: &mut Router,
        method: Method,
        pattern: &str,
        needs: Needs,
        handler: impl Fn(&Self, &mut Exchange<'_, '_>) -> io::Result<()> + 'static,
    ) {
        let admin = Rc::clone(self);
        router.on(method, pattern, move |exchange| admin.serve(exchange, needs, &handler));
        let admin = Rc::clone(self);
        router.otherwise(pattern, move |exchange| {
            let failure =
                Failure::new(StatusCode::METHOD_NOT_ALLOWED, "this path has other methods");
            let allowed = exchange.allowed().to_owned();
            let answer = admin.failure(&failure).with_value(header::ALLOW, &allowed);
            exchange.respond(answer)
        });
    }

    pub(super) fn serve(
        &self,
        exchange: &mut Exchange<'_, '_>,
        needs: Needs,
        handler: &dyn Fn(&Self, &mut Exchange<'_, '_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let caller = match self.access.check(exchange.request(), exchange.peer(), needs) {
            Ok(caller) => caller,
            Err(denied) => return self.deny(exchange, needs, denied),
        };
        let result = handler(self, exchange);
        if needs == Needs::Change {
            audit(exchange, &caller);
        }
        result
    }

    /// Whether whoever asks may see what there is, for a page that shows less to others.
    pub fn may_read(&self, exchange: &Exchange<'_, '_>) -> bool {
        self.access.check(exchange.request(), exchange.peer(), Needs::Read).is_ok()
    }

    fn deny(
        &self,
        exchange: &mut Exchange<'_, '_>,
        needs: Needs,
        denied: Denied,
    ) -> io::Result<()> {
        if needs == Needs::Change || denied == Denied::WrongCredential {
            let request = exchange.request();
            tracing::warn!(
                target: "audit",
                from = %exchange.peer().address,
                method = %request.method(),
                path = request.target().path(),
                %denied,
                "denied"
            );
        }
        let status = match denied {
            Denied::NoCredential | Denied::WrongCredential => StatusCode::UNAUTHORIZED,
            Denied::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Denied::ForeignPage | Denied::NoProof => StatusCode::FORBIDDEN,
        };
        let mut text = denied.to_string();
        if denied == Denied::NoCredential && !self.access.has_credential() {
            text.push_str("; none is configured, so only programs on the same machine may ask");
        }
        let mut answer = self.failure(&Failure::new(status, text));
        if status == StatusCode::UNAUTHORIZED {
            let challenge = self.access.challenge(exchange.request());
            answer = answer.with(header::WWW_AUTHENTICATE, challenge);
        }
        if let Denied::TooMany(wait) = denied {
            let seconds = wait.as_secs() + 1;
            answer = answer.with_value(header::RETRY_AFTER, &seconds.to_string());
        }
        if denied == Denied::WrongCredential {
            // Of this coroutine's time, and of nobody else's.
            rt::sleep(WRONG_DELAY)?;
        }
        exchange.respond(answer)
    }

    /// Answers with `content` in the envelope.
    pub(super) fn answer(
        &self,
        exchange: &mut Exchange<'_, '_>,
        content: impl Serialize,
    ) -> io::Result<()> {
        let Identity { server, service, pid } = &self.identity;
        let answer = Envelope { code: 0, server, service, pid, content };
        match self.callback(exchange) {
            Ok(None) => exchange.respond(guarded(Response::json(&answer))),
            Ok(Some(callback)) => {
                let json = serde_json::to_string(&answer)?;
                // What would make a file of another type of it must not come first.
                let script = format!("/**/{callback}({json});");
                let script = Response::bytes("text/javascript; charset=utf-8", script.into());
                exchange.respond(guarded(script.with(header::CACHE_CONTROL, "no-store")))
            }
            Err(failure) => self.fail(exchange, &failure),
        }
    }

    /// Answers that there is nothing to answer, and why.
    pub(super) fn fail(
        &self,
        exchange: &mut Exchange<'_, '_>,
        failure: &Failure,
    ) -> io::Result<()> {
        exchange.respond(self.failure(failure))
    }

    fn failure(&self, failure: &Failure) -> Response {
        let Identity { server, service, pid } = &self.identity;
        let content = json!({ "data": failure.text });
        let answer = Envelope { code: failure.code, server, service, pid, content };
        guarded(Response::json(&answer).with_status(failure.status))
    }

    /// The function that a script wants to be called with the answer. Any page can load a script from anywhere, so
    /// that is only for what anybody may see.
    fn callback(&self, exchange: &Exchange<'_, '_>) -> Result<Option<String>, Failure> {
        let request = exchange.request();
        let Some(name) = request.target().parameter("callback") else { return Ok(None) };
        if *request.method() != Method::GET || !self.access.is_open() {
            return Err(Failure::parameter("callback", "none: JSONP takes api.open, and GET"));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '.');
        let is_right = (1..=CALLBACK_LEN_MAX).contains(&name.len()) && name.chars().all(is_name);
        if is_right {
            Ok(Some(name.into_owned()))
        } else {
            Err(Failure::parameter("callback", "the name of a function"))
        }
    }
}

/// No browser may guess that an answer is something else.
fn guarded(response: Response) -> Response {
    response.with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}

/// Who changed what, from where, and whether it worked. A query may hold tokens; what is asked of `raw` is no secret.
fn audit(exchange: &Exchange<'_, '_>, caller: &Caller) {
    let request = exchange.request();
    tracing::info!(
        target: "audit",
        who = %caller,
        from = %exchange.peer().address,
        method = %request.method(),
        path = request.target().path(),
        rpc = request.target().parameter("rpc").as_deref(),
        status = exchange.status().map(|status| status.as_u16()),
        "changed"
    );
}
