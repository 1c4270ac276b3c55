//! One call to one server.

use std::{
    cell::RefCell,
    fmt,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use thalweg_runtime as rt;
use tracing::{debug, info, warn};

use super::{Hook, Inner, answer, breaker::Breaker, sign};
use crate::http::client::{CallError, Url};

/// A server's URL, and what is known of its health.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) url: Url,
    /// Targets of the same origin have the same number.
    pub(super) origin: usize,
    pub(super) breaker: RefCell<Breaker>,
}

/// What is to be told.
pub(super) struct Event {
    pub(super) hook: Hook,
    /// Names it among all that were told; a repetition has the same.
    pub(super) delivery: String,
    pub(super) body: Vec<u8>,
}

/// What came of a call.
#[derive(Debug)]
pub(super) enum Outcome {
    Accepted,
    /// The server answered, and its answer does not accept.
    Refused,
    /// There is no answer, and no call will be let through until then.
    Failed(Option<Instant>),
    /// The coroutine was cancelled.
    Cancelled,
}

/// The longest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 << 10;

impl Inner {
    /// Calls `target`, unless that has failed too often of late.
    ///
    /// # Suspends
    ///
    /// Until there is an answer, at most for the timeout.
    pub(super) fn call(&self, target: &Target, event: &Event) -> Outcome {
        let hook = event.hook;
        if let Err(until) = target.breaker.borrow_mut().admit(rt::now()) {
            self.count(hook, |stats| stats.skipped += 1);
            debug!(%hook, url = %target.url, "not called: it failed too often");
            return Outcome::Failed(Some(until));
        }
        let begun = rt::now();
        let result = rt::timeout(self.settings.timeout, || self.post(target, event));
        let took = rt::now().saturating_duration_since(begun);
        let outcome = match result {
            Err(CallError::Cancelled) => {
                target.breaker.borrow_mut().abandoned();
                return Outcome::Cancelled;
            }
            Err(error) => self.failed(target, hook, &error),
            Ok(reply) => match answer::judge(reply.status, &reply.body) {
                Ok(()) => {
                    self.answered(target);
                    debug!(%hook, url = %target.url, ?took, "accepted");
                    self.count(hook, |stats| stats.accepted += 1);
                    Outcome::Accepted
                }
                Err(no) if no.is_failure() => self.failed(target, hook, &no),
                Err(no) => {
                    self.answered(target);
                    info!(%hook, url = %target.url, answer = %no, "a web hook refused");
                    self.count(hook, |stats| stats.refused += 1);
                    Outcome::Refused
                }
            },
        };
        self.count(hook, |stats| stats.latency.record(took));
        outcome
    }

    fn post(
        &self,
        target: &Target,
        event: &Event,
    ) -> Result<crate::http::client::Reply, CallError> {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let signer = self.settings.signer.as_ref();
        let signature =
            signer.map(|signer| signer.header(unix.as_secs(), &event.delivery, &event.body));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(signature.as_deref().map(|signature| (sign::HEADER, signature)));
        self.client.post(&target.url, &headers, &event.body, ANSWER_MAX)
    }

    fn answered(&self, target: &Target) {
        if target.breaker.borrow_mut().succeeded() {
            info!(url = %target.url, "a web hook answers again");
        }
    }

    fn failed(&self, target: &Target, hook: Hook, error: &dyn fmt::Display) -> Outcome {
        self.count(hook, |stats| stats.failed += 1);
        let (opened, is_open) = {
            let mut breaker = target.breaker.borrow_mut();
            (breaker.failed(rt::now()), breaker.is_open())
        };
        // While it is open, what fails is the one call now and then that sees whether it still does.
        if opened || !is_open {
            warn!(%hook, url = %target.url, %error, "a web hook did not answer");
        }
        if opened {
            warn!(url = %target.url, "left alone for a while: it failed too often");
        }
        Outcome::Failed(None)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.hook, self.delivery)
    }
}
