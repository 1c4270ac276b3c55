//! The TCP sockets, and the coroutines that accept on them: HTTP and RTMP, each plain and over TLS, and WebRTC's media.
//!
//! A change of the configuration ends these coroutines and starts others on the same sockets, so that connections from
//! then on are served by the new settings; none is refused meanwhile, since the sockets stay open.

use super::{
    Gateway,
    listeners::{proxies, rtmp_settings, start, unusable},
    secure::Cover,
};
use crate::{
    config::Config,
    http::{self, Cause},
    protocol::{accept, proxy, rtmp, webrtc},
    tls,
};
use std::{io, net::SocketAddr, rc::Rc};
use thalweg_runtime::{
    self as rt, JoinHandle,
    net::{ListenOptions, TcpListener, TcpStream},
};

/// What is listened on. Clones share the sockets, which close with the last of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tcp {
    pub(super) rtmp: Vec<Port>,
    pub(super) rtmps: Vec<Port>,
    pub(super) http: Vec<Port>,
    pub(super) https: Vec<Port>,
    /// For WebRTC's media.
    pub(super) webrtc: Vec<Port>,
}

/// One socket.
#[derive(Clone, Debug)]
pub(super) struct Port {
    /// As the configuration has it; the port may be 0 there.
    wanted: SocketAddr,
    listener: TcpListener,
}

impl Tcp {
    /// Binds what the configuration names, but for what is bound in `before`.
    pub(super) fn bind(config: &Config, before: &Self) -> io::Result<Self> {
        Ok(Self {
            rtmp: listen("rtmp.listen", &config.rtmp.listen, &before.rtmp)?,
            rtmps: listen("rtmps.listen", &config.rtmps.listen, &before.rtmps)?,
            http: listen("http.listen", &config.http.listen, &before.http)?,
            https: listen("https.listen", &config.https.listen, &before.https)?,
            webrtc: listen("webrtc.tcp_listen", &config.webrtc.tcp_listen, &before.webrtc)?,
        })
    }

    /// Starts to accept.
    pub(super) fn serve(
        &self,
        gateway: &Rc<Gateway>,
        http: &Rc<http::Server>,
        webrtc: Option<&Rc<webrtc::Port>>,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let mut coroutines = Vec::new();
        let settings = Rc::new(rtmp_settings(gateway));
        for Port { listener, .. } in self.rtmp.clone() {
            let (gateway, settings) = (Rc::clone(gateway), Rc::clone(&settings));
            coroutines.push(start("rtmp accept", move || {
                let Gateway { clients, registry, .. } = &*gateway;
                rtmp::serve(&listener, clients, registry, &settings)
            })?);
        }
        for Port { listener, .. } in self.http.clone() {
            coroutines.push(start_http(listener, Cover::Plain, gateway, http)?);
        }
        if let Some(port) = webrtc {
            coroutines.extend(self.serve_webrtc(gateway, port)?);
        }
        let Some(certificates) = gateway.certificates.clone() else { return Ok(coroutines) };
        for Port { listener, .. } in self.https.clone() {
            let cover = Cover::Tls(certificates.acceptor(tls::Protocol::Http));
            coroutines.push(start_http(listener, cover, gateway, http)?);
        }
        for Port { listener, .. } in self.rtmps.clone() {
            let (gateway, settings) = (Rc::clone(gateway), Rc::clone(&settings));
            let acceptor = certificates.acceptor(tls::Protocol::Unnamed);
            coroutines.push(start("rtmps accept", move || {
                let Gateway { clients, registry, .. } = &*gateway;
                let cover = move |socket| acceptor.accept(socket);
                rtmp::serve_over("rtmps", &listener, cover, clients, registry, &settings)
            })?);
        }
        coroutines.push(start("certificates", move || certificates.keep())?);
        Ok(coroutines)
    }

    /// Tells peers of these sockets from now on, and accepts what they make of it.
    fn serve_webrtc(
        &self,
        gateway: &Rc<Gateway>,
        port: &Rc<webrtc::Port>,
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let addresses = self.webrtc.iter().map(Port::local_addr).collect::<io::Result<_>>()?;
        port.set_tcp(addresses);
        let timeouts = &gateway.config.timeouts;
        let settings = webrtc::TcpSettings { first: timeouts.handshake, stall: timeouts.player };
        let serve = |Port { listener, .. }: &Port| {
            let (listener, gateway, port) = (listener.clone(), Rc::clone(gateway), Rc::clone(port));
            start("webrtc accept", move || {
                webrtc::serve_tcp(&listener, &gateway.clients, &port, settings)
            })
        };
        self.webrtc.iter().map(serve).collect()
    }
}

impl Port {
    /// Where it really listens.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

fn listen(key: &str, addresses: &[SocketAddr], before: &[Port]) -> io::Result<Vec<Port>> {
    let listen = |&wanted: &SocketAddr| {
        if let Some(port) = before.iter().find(|port| port.wanted == wanted) {
            return Ok(port.clone());
        }
        let options = ListenOptions::new().nodelay(true);
        let options = if wanted.is_ipv6() { options.only_v6(true) } else { options };
        let listener = options.listen(wanted).map_err(|error| unusable(key, wanted, &error))?;
        Ok(Port { wanted, listener })
    };
    addresses.iter().map(listen).collect()
}

fn start_http(
    listener: TcpListener,
    cover: Cover,
    gateway: &Rc<Gateway>,
    server: &Rc<http::Server>,
) -> io::Result<JoinHandle<()>> {
    let (gateway, server) = (Rc::clone(gateway), Rc::clone(server));
    start("http accept", move || serve_http(&listener, &cover, &gateway, &server))
}

fn serve_http(
    listener: &TcpListener,
    cover: &Cover,
    gateway: &Gateway,
    server: &Rc<http::Server>,
) -> io::Result<()> {
    let (server, cover) = (Rc::clone(server), cover.clone());
    let limit = gateway.config.timeouts.handshake;
    let proxies = proxies(&gateway.config, gateway.config.http.proxy_protocol);
    let protocol = if cover.is_secure() { "https" } else { "http" };
    let accept = || listener.accept();
    accept::serve(protocol, &gateway.clients, accept, move |socket, session| {
        let mut socket: TcpStream = socket;
        let local = socket.local_addr().unwrap_or_else(|_| session.client.peer());
        let refusal = match &proxies {
            Some(proxies) => proxy::identify(&mut socket, session, proxies)
                .map_err(|error| Cause::TurnedAway(error.to_string()))?,
            None => session.refusal,
        };
        let is_secure = cover.is_secure();
        let peer = http::Peer { address: session.client.peer(), local, is_secure };
        let before = session.client.sent.get();
        let mut stream = rt::timeout(limit, || cover.put_over(socket)).map_err(Cause::Failed)?;
        let ended = match refusal {
            Some(refusal) => server.turn_away(&mut *stream, &refusal.to_string()),
            None => server.serve(&mut *stream, &peer),
        };
        // What a player got is counted as it goes; what came before it is counted here.
        session.client.received.set(ended.received);
        session.client.sent.set(ended.sent.max(before).saturating_sub(session.credited()));
        Err::<(), _>(ended.cause)
    })
}
