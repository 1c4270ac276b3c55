//! WebRTC: streams to browsers and from them, in less than a quarter of a second.
//!
//! `str0m` speaks SDP, ICE and DTLS, and for publishers SRTP and RTCP, and does no I/O; what it gets and when it is called is
//! decided here. All peers share one UDP port, and the addresses of TCP beside it. Each peer is one coroutine that owns its
//! part of the stack, top to bottom; an offer comes by HTTP, and what it takes to answer it happens there, too. A source's
//! units are taken apart once (`stage`), and its viewers share the payloads; what is done for each is headers and SRTP
//! (`sender`), straight into what the socket is given.

mod aac;
mod addresses;
mod crowd;
mod figures;
mod fragment;
mod frames;
mod keys;
mod link;
mod negotiate;
mod offers;
mod outbox;
mod peer;
mod playout;
mod port;
mod publisher;
mod register;
mod reorder;
mod resource;
mod routes;
mod rtcp;
mod sender;
mod sound;
mod srtp;
mod stage;
mod stream;
mod stun;
mod tcp;
mod tray;
mod viewer;
mod wire;

pub use crowd::Most;
pub use port::Port;
pub use stage::ReferenceB;
pub use tcp::{Settings as TcpSettings, serve as serve_tcp};

use crate::{
    auth::Gate,
    http::Router,
    hub::{Clients, Registry},
};
use crowd::Crowd;
use negotiate::Identity;
use resource::Sessions;
use stage::Stages;
use std::{cell::RefCell, io, rc::Rc, time::Duration};

/// How WebRTC's peers are served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may publish and play.
    pub gate: Gate,
    /// How long a viewer may wait for a stream that nobody publishes.
    pub wait: Duration,
    /// From the answer until a peer is connected.
    pub connect: Duration,
    /// How long a peer may be silent.
    pub silence: Duration,
    /// How long a publisher may send no media.
    pub publisher_silence: Duration,
    /// Whether a second publisher replaces the first.
    pub takes_over: bool,
    /// How many peers there may be that are not connected yet.
    pub pending: Most,
    /// How often publishers are asked for a random-access point.
    pub random_access: Duration,
    /// What becomes of streams whose pictures refer to B pictures.
    pub reference_b: ReferenceB,
}

/// All that the sessions of WebRTC share.
#[derive(Debug)]
pub struct WebRtc {
    port: Rc<Port>,
    identity: Identity,
    registry: Registry,
    clients: Clients,
    sessions: Sessions,
    pending: Rc<Crowd>,
    stages: Stages,
    settings: RefCell<Rc<Settings>>,
}

impl WebRtc {
    /// On a port, which somebody has to serve.
    ///
    /// # Errors
    ///
    /// When no certificate can be made.
    pub fn new(
        port: Rc<Port>,
        registry: &Registry,
        clients: &Clients,
        settings: Settings,
    ) -> io::Result<Rc<Self>> {
        let no_certificate = || io::Error::other("webrtc: no certificate can be made");
        let identity = Identity::new().ok_or_else(no_certificate)?;
        let (registry, clients) = (registry.clone(), clients.clone());
        let (sessions, pending) = Default::default();
        let stages = Stages::new(settings.reference_b);
        let settings = RefCell::new(Rc::new(settings));
        Ok(Rc::new(Self { port, identity, registry, clients, sessions, pending, stages, settings }))
    }

    /// Adds the paths at which offers are answered.
    pub fn route(self: &Rc<Self>, router: &mut Router) {
        offers::route(router, self);
    }

    /// Serves those who come from now on by other settings.
    pub fn set_settings(&self, settings: Settings) {
        self.stages.set_policy(settings.reference_b);
        self.settings.replace(Rc::new(settings));
    }

    /// The port that it is on.
    pub const fn port(&self) -> &Rc<Port> {
        &self.port
    }

    fn settings(&self) -> Rc<Settings> {
        Rc::clone(&self.settings.borrow())
    }

    /// How many peers are not connected yet.
    pub fn pending(&self) -> usize {
        self.pending.count()
    }
}
