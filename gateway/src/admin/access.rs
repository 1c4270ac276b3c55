//! Who may ask: what counts as local, credentials, and pages of other sites.
//!
//! Three questions are kept apart. *Who asks?* Somebody with a credential, a program on this machine, or anybody. *From
//! what page?* A browser sends requests for any page that it shows, with credentials that it knows: so what changes
//! something must not come from a page of another site. *Guessing?* Wrong credentials have a bound for each address,
//! and the answer to one is late; nobody else waits for that.
//!
//! A connection from the loopback is not yet a local program. A proxy on this machine speaks for others, and says so
//! in `Forwarded` and its kin (RFC 7239); and a page whose name was made to resolve to the loopback comes with the
//! `Host` of that name (DNS rebinding), which is on no list of ours.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thalweg_runtime as rt;

use crate::http::{Peer, Request, header};

/// Who may use API, metrics and the page's details.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// As `Authorization: Bearer` has it.
    pub token: Option<Credential>,
    /// As `Authorization: Basic` has it: the name, and name and password with a colon between them.
    pub user: Option<(String, Credential)>,
    /// Whether nobody needs a credential.
    pub is_open: bool,
    /// Whether nobody needs one for the metrics.
    pub metrics_open: bool,
    /// Names by which local programs and the page's own scripts may call this server.
    pub hosts: Vec<String>,
}

/// A secret to be compared with, of which nothing but that can be learnt.
#[derive(Clone)]
pub struct Credential([u8; digest::SHA256_OUTPUT_LEN]);

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// To know whether the gateway runs.
    Nothing,
    /// To see.
    Read,
    /// To see the metrics.
    Metrics,
    /// To change something.
    Change,
}

/// Who asks, as it was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// The bearer of the token.
    Token,
    /// The user with the password.
    User(String),
    /// A program on this machine.
    Local,
    /// Anybody: nobody needs a credential.
    Anybody,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// There is none, and it needs one.
    NoCredential,
    /// It is wrong.
    WrongCredential,
    /// Too many were wrong lately.
    TooMany(Duration),
    /// It comes from a page of another site.
    ForeignPage,
    /// It would change something, and nothing shows that its sender means that.
    NoProof,
}

/// So many wrong credentials an address may send at once,
const ATTEMPTS_MAX: f64 = 10.0;
/// and so long after one it may send another.
const PER_ATTEMPT: Duration = Duration::from_secs(2);
/// How late the answer to a wrong one is.
pub(super) const WRONG_DELAY: Duration = Duration::from_millis(500);
/// How many addresses are remembered. Those beyond share their attempts.
const ADDRESSES_MAX: usize = 4_096;

/// By which a proxy says for whom it speaks.
const FORWARDED: [&str; 7] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-real-ip",
];

/// Decides who may ask.
#[derive(Debug)]
pub(super) struct Access {
    settings: Settings,
    wrong: Attempts,
}

impl Access {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, wrong: Attempts::default() }
    }

    /// Whether nobody needs a credential.
    pub(super) const fn is_open(&self) -> bool {
        self.settings.is_open
    }

    /// Who asks, or why that gets no answer.
    pub(super) fn check(
        &self,
        request: &Request,
        peer: &Peer,
        needs: Needs,
    ) -> Result<Caller, Denied> {
        if needs == Needs::Nothing || (needs == Needs::Metrics && self.settings.metrics_open) {
            return Ok(Caller::Anybody);
        }
        if needs == Needs::Change && self.is_foreign(request, peer) {
            return Err(Denied::ForeignPage);
        }
        if let Some(caller) = self.authenticate(request, peer)? {
            return Ok(caller);
        }
        let caller = if self.settings.is_open {
            Caller::Anybody
        } else if self.is_local(request, peer) {
            Caller::Local
        } else {
            return Err(Denied::NoCredential);
        };
        let is_proven = needs != Needs::Change || self.is_same_origin(request, peer);
        if is_proven { Ok(caller) } else { Err(Denied::NoProof) }
    }

    /// The values of `WWW-Authenticate`: all of them for a browser that shows an answer, so that it asks its user; only
    /// that which makes none ask for a script, which has words of its own.
    pub(super) fn challenge(&self, request: &Request) -> &'static str {
        let mode = request.headers().get("sec-fetch-mode");
        let is_script = mode.is_some_and(|mode| mode != "navigate")
            || request.headers().contains_key("x-requested-with");
        if self.settings.user.is_some() && !is_script {
            r#"Basic realm="thalweg", charset="UTF-8", Bearer realm="thalweg""#
        } else {
            r#"Bearer realm="thalweg""#
        }
    }

    /// Whether there is a credential that would do.
    pub(super) const fn has_credential(&self) -> bool {
        self.settings.token.is_some() || self.settings.user.is_some()
    }

    fn authenticate(&self, request: &Request, peer: &Peer) -> Result<Option<Caller>, Denied> {
        // One that a proxy wants is nothing to us while there is none of ours.
        if !self.has_credential() || !request.headers().contains_key(header::AUTHORIZATION) {
            return Ok(None);
        }
        let address = peer.address.ip().to_canonical();
        if let Some(wait) = self.wrong.wait(address) {
            return Err(Denied::TooMany(wait));
        }
        let given = request.header(&header::AUTHORIZATION).unwrap_or_default();
        let caller = self.known(given);
        if caller.is_none() {
            self.wrong.note(address);
            return Err(Denied::WrongCredential);
        }
        Ok(caller)
    }

    /// Whose credential it is (RFC 6750 §2.1, RFC 7617 §2).
    fn known(&self, given: &str) -> Option<Caller> {
        let (scheme, value) = given.split_once(' ')?;
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            let token = self.settings.token.as_ref()?;
            return token.is(value.as_bytes()).then_some(Caller::Token);
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let (name, credential) = self.settings.user.as_ref()?;
        let pair = STANDARD.decode(value).ok()?;
        credential.is(&pair).then(|| Caller::User(name.clone()))
    }

    fn is_local(&self, request: &Request, peer: &Peer) -> bool {
        let speaks_for_another = FORWARDED.iter().any(|name| request.headers().contains_key(*name));
        peer.address.ip().to_canonical().is_loopback()
            && !speaks_for_another
            && request.host().is_some_and(|host| self.is_listed(host, peer))
    }

    /// Whether the request is of a page that this server has given out.
    fn is_same_origin(&self, request: &Request, peer: &Peer) -> bool {
        let origin = request.header(&header::ORIGIN).and_then(origin_host);
        let Some((origin, host)) = origin.zip(request.host()) else { return false };
        origin.eq_ignore_ascii_case(host) && self.is_listed(host, peer)
    }

    /// Whether a browser says that a page of another site asks (Fetch Standard, "Origin header"; Fetch Metadata,
    /// "Sec-Fetch-Site"). One behind a proxy may know us by another name, which is on the list then.
    fn is_foreign(&self, request: &Request, peer: &Peer) -> bool {
        let site = request.headers().get("sec-fetch-site");
        let is_cross = site.is_some_and(|site| site != "same-origin" && site != "none");
        let Some(origin) = request.headers().get(header::ORIGIN) else { return is_cross };
        let origin = origin.to_str().ok().and_then(origin_host);
        let is_own = origin.is_some_and(|origin| {
            let is_host = request.host().is_some_and(|host| host.eq_ignore_ascii_case(origin));
            is_host || self.is_listed(origin, peer)
        });
        is_cross || !is_own
    }

    /// Whether `authority`, with or without its port, is a name of this server: one that was configured, or the very
    /// address that the connection came to.
    fn is_listed(&self, authority: &str, peer: &Peer) -> bool {
        let host = without_port(authority);
        let is_named =
            |name: &String| name.eq_ignore_ascii_case(authority) || name.eq_ignore_ascii_case(host);
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let is_ours = address.is_ok_and(|ip| ip.to_canonical() == peer.local.ip().to_canonical());
        is_ours || self.settings.hosts.iter().any(is_named)
    }
}

impl Credential {
    /// Of the secret itself.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(sha256(secret.as_bytes()))
    }

    /// Of a user's name and password.
    #[must_use]
    pub fn of_user(name: &str, password: &str) -> Self {
        Self::new(&format!("{name}:{password}"))
    }

    /// Takes as long whatever is given: neither length nor first difference show.
    fn is(&self, given: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &sha256(given)).is_ok()
    }
}

fn sha256(bytes: &[u8]) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().try_into().expect("a digest has the length of its algorithm")
}

/// How many wrong credentials came from where.
#[derive(Debug, Default)]
struct Attempts(RefCell<HashMap<IpAddr, Bucket>>);

/// So many attempts were left at a time; they come back one by one.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn left(&self) -> f64 {
        let since = rt::now().saturating_duration_since(self.at);
        (self.left + since.div_duration_f64(PER_ATTEMPT)).min(ATTEMPTS_MAX)
    }
}

impl Attempts {
    /// How long an address has to wait that has no attempt left.
    fn wait(&self, address: IpAddr) -> Option<Duration> {
        let buckets = self.0.borrow();
        let left = buckets.get(&self.place(&buckets, address))?.left();
        (left < 1.0).then(|| PER_ATTEMPT.mul_f64(1.0 - left))
    }

    fn note(&self, address: IpAddr) {
        let mut buckets = self.0.borrow_mut();
        if buckets.len() >= ADDRESSES_MAX {
            buckets.retain(|_, bucket| bucket.left() < ATTEMPTS_MAX);
        }
        let place = self.place(&buckets, address);
        let fresh = Bucket { left: ATTEMPTS_MAX, at: rt::now() };
        let bucket = buckets.entry(place).or_insert(fresh);
        *bucket = Bucket { left: bucket.left() - 1.0, at: rt::now() };
    }

    /// Whose attempts are counted together: those of an IPv6 network of 64 bits, which is what one customer has at
    /// least, and of all newcomers when too many are remembered.
    fn place(&self, buckets: &HashMap<IpAddr, Bucket>, address: IpAddr) -> IpAddr {
        let place = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64))),
        };
        let is_full = buckets.len() >= ADDRESSES_MAX && !buckets.contains_key(&place);
        if is_full { Ipv6Addr::UNSPECIFIED.into() } else { place }
    }
}

/// The host of an origin, with its port.
fn origin_host(origin: &str) -> Option<&str> {
    origin.split_once("://").map(|(_, host)| host)
}

/// A host without its port; an IPv6 address keeps its brackets.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("token"),
            Self::User(name) => write!(f, "user {name}"),
            Self::Local => f.write_str("local"),
            Self::Anybody => f.write_str("anybody"),
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCredential => "this needs a credential: api.token as a bearer, or api.user with api.password",
            Self::WrongCredential => "the credential is wrong",
            Self::TooMany(_) => "too many wrong credentials came from this address; wait",
            Self::ForeignPage => "not for pages of other sites",
            Self::NoProof => {
                "to change something takes the credential, or an Origin header of this server as its own pages send it"
            }
        })
    }
}
