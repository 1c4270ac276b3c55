//! What an operator sees of the gateway, and the few things to do about it: the API under `/api/v1`, metrics, a page.
//!
//! The API has the shape of SRS's (`code`, `server`, `service`, `pid`, then the data under its own name) and its field
//! names, so that what was written for that works here; what we know beyond it stands in fields of its own. Everything
//! is read at the moment of the request: nothing here runs when nobody asks.
//!
//! `access` decides who may ask; what changes something leaves a line for `audit` in the log.

mod access;
mod answer;
mod api;
mod describe;
mod disks;
mod machine;
mod metrics;
mod page;
mod process;
mod rates;
mod recordings;
mod tickets;

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use thalweg_runtime as rt;

use crate::disk::Disk;
use crate::hooks::{Hooks, Identity};
use crate::http::{Method, Router};
use crate::hub::{Clients, Registry};
use crate::record::Recorder;
use access::{Access, Needs};
use machine::Looks;
use rates::Rates;
use tickets::Tickets;

pub use access::{Credential, Settings as AccessSettings};
pub use api::Entry;

/// How all of this is set.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Who may use it.
    pub access: AccessSettings,
    /// So many streams have series of their own in the metrics.
    pub metrics_streams_max: usize,
}

/// What the rooms of this folder look at.
pub struct Admin {
    /// The streams.
    pub registry: Registry,
    /// The connections.
    pub clients: Clients,
    /// Where the gateway can be reached.
    pub addresses: Addresses,
    /// How many lines of the log were lost.
    pub lost_log_lines: Box<dyn Fn() -> u64>,
    settings: Settings,
    access: Access,
    /// The configuration in force.
    config: RefCell<Vec<Entry>>,
    reload: RefCell<Option<api::Reload>>,
    reloaded: RefCell<Option<api::Reloaded>>,
    identity: Identity,
    hooks: OnceCell<Hooks>,
    certificates: OnceCell<Box<Certificates>>,
    webrtc: OnceCell<Box<dyn Fn() -> WebRtcCounts>>,
    recorder: OnceCell<Recorder>,
    disks: OnceCell<Vec<Disk>>,
    tickets: Tickets,
    started: Instant,
    rates: Rates,
    looks: Looks,
}

/// The names of the certificates of TLS, and until when each is good, in seconds since 1970.
type Certificates = dyn Fn() -> Vec<(String, i64)>;

/// What there is of WebRTC besides its clients.
#[derive(Clone, Copy, Debug)]
pub struct WebRtcCounts {
    /// Peers that are not connected yet.
    pub pending: usize,
    /// Packets that came for no peer.
    pub strays: u64,
}

/// Where the gateway listens, with the ports that it really has.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// For SRT.
    pub srt: Vec<SocketAddr>,
    /// For RTMP.
    pub rtmp: Vec<SocketAddr>,
    /// For HTTP.
    pub http: Vec<SocketAddr>,
    /// For RTMP over TLS.
    pub rtmps: Vec<SocketAddr>,
    /// For HTTP over TLS.
    pub https: Vec<SocketAddr>,
    /// For media by WebRTC.
    pub webrtc: Vec<SocketAddr>,
    /// Whether there is HLS over HTTP.
    pub has_hls: bool,
}

impl Admin {
    /// Begins with what there is.
    #[must_use]
    pub fn new(
        registry: Registry,
        clients: Clients,
        addresses: Addresses,
        settings: Settings,
        lost_log_lines: impl Fn() -> u64 + 'static,
    ) -> Rc<Self> {
        Rc::new(Self {
            registry,
            clients,
            addresses,
            lost_log_lines: Box::new(lost_log_lines),
            access: Access::new(settings.access.clone()),
            settings,
            config: RefCell::default(),
            reload: RefCell::default(),
            reloaded: RefCell::default(),
            identity: Identity::of_process().clone(),
            hooks: OnceCell::new(),
            certificates: OnceCell::new(),
            webrtc: OnceCell::new(),
            recorder: OnceCell::new(),
            disks: OnceCell::new(),
            tickets: Tickets::new(),
            started: rt::now(),
            rates: Rates::default(),
            looks: Looks::default(),
        })
    }

    /// Adds the paths of API, metrics and page.
    pub fn route(self: &Rc<Self>, router: &mut Router) {
        api::route(self, router);
        self.on(router, Method::GET, "/metrics", Needs::Metrics, metrics::metrics);
        page::route(self, router);
        self.on(router, Method::GET, "/healthz", Needs::Nothing, |_, exchange| {
            api::healthz(exchange)
        });
    }

    /// The web hooks that the metrics tell of. Only the first call counts.
    pub fn set_hooks(&self, hooks: Hooks) {
        let _set = self.hooks.set(hooks);
    }

    /// The disks that are written to. Only the first call counts.
    pub fn set_disks(&self, disks: Vec<Disk>) {
        let _set = self.disks.set(disks);
    }

    fn disks(&self) -> &[Disk] {
        self.disks.get().map_or(&[], Vec::as_slice)
    }

    /// Until when the certificates are good that the metrics tell of. Only the first call counts.
    pub fn set_certificates(&self, certificates: impl Fn() -> Vec<(String, i64)> + 'static) {
        let _set = self.certificates.set(Box::new(certificates));
    }

    /// What the metrics tell of WebRTC besides its clients. Only the first call counts.
    pub fn set_webrtc(&self, counts: impl Fn() -> WebRtcCounts + 'static) {
        let _set = self.webrtc.set(Box::new(counts));
    }

    /// The configuration that is in force from now on, key by key, with its secrets masked.
    pub fn set_config(&self, config: Vec<Entry>) {
        *self.config.borrow_mut() = config;
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { addresses, identity, .. } = self;
        f.debug_struct("Admin")
            .field("addresses", addresses)
            .field("identity", identity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
