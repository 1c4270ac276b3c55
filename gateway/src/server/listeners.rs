//! The sockets that the gateway listens on, and the coroutines that accept.

use super::{
    Gateway,
    limits::most,
    tcp::{Port, Tcp},
};
use crate::{
    admin::{self, AccessSettings, Addresses, Admin, Credential, WebRtcCounts},
    config::{self, Config, InForce},
    container::flv::Carriage,
    http,
    hub::{Elsewhere, Rejection, Start},
    key::StreamKey,
    protocol::{hls::Hls, http_live, proxy::Proxies, rtmp, srt, udp, webrtc},
};
use nix::sys::socket::{setsockopt, sockopt};
use std::{
    cell::RefCell,
    collections::HashMap,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};
use thalweg_runtime::{self as rt, JoinHandle, WaitError, net::UdpSocket};
use thalweg_srt_io::{Listener, Options, stream_id::StreamMode};
use tracing::error;

/// All that is listened on. Bound before anything is served, so that a wrong address ends the start and not the
/// evening.
#[derive(Debug)]
pub(super) struct Listeners {
    srt: Vec<SrtPort>,
    tcp: Tcp,
    udp: Vec<(UdpSocket, StreamKey)>,
    webrtc: Option<Rc<webrtc::Port>>,
}

/// A port of SRT.
#[derive(Debug)]
struct SrtPort {
    listener: Rc<Listener>,
    settings: Rc<srt::Settings>,
    /// It takes IPv4 too, though its address is one of IPv6.
    is_dual: bool,
}

/// A browser checks every few seconds whether we are there (RFC 7675 §5.1); one that did not for so long is gone.
const WEBRTC_SILENCE: Duration = Duration::from_secs(20);

/// What serves.
#[derive(Debug)]
pub(super) struct Serving {
    /// Coroutines that go on through a change of the configuration.
    lasting: Vec<JoinHandle<()>>,
    /// Those that accept, each with the settings of its beginning.
    accepting: Vec<JoinHandle<()>>,
    srt: Rc<[SrtPort]>,
    tcp: Tcp,
    webrtc: Option<Rc<webrtc::WebRtc>>,
    http: Rc<http::Server>,
    live: Rc<RefCell<http_live::Settings>>,
    admin: Rc<Admin>,
}

impl Listeners {
    pub(super) fn bind(gateway: &Gateway) -> io::Result<Self> {
        let config = &gateway.config;
        let srt = bind_srt(gateway)?;
        let tcp = Tcp::bind(config, &Tcp::default())?;
        let input =
            |input: &config::UdpInput| Ok((bind_udp("udp", input.listen)?, input.stream.clone()));
        let udp = config.udp.iter().map(input).collect::<io::Result<_>>()?;
        let webrtc = bind_webrtc(&config.webrtc)?;
        Ok(Self { srt, tcp, udp, webrtc })
    }

    /// Prints where to publish to and where to watch.
    pub(super) fn announce(&self) -> io::Result<()> {
        let mut publish = Vec::new();
        let mut watch = Vec::new();
        for port in &self.srt {
            for at in port.addresses().map(reachable) {
                match &port.settings.naming.published {
                    Some(key) => publish.push(format!("srt://{at}   as {key}")),
                    None => {
                        publish.push(format!("srt://{at}?streamid=#!::r=live/cam,m=publish"));
                        watch.push(format!("srt://{at}?streamid=#!::r=live/cam,m=request"));
                    }
                }
            }
        }
        for (scheme, listeners) in [("rtmp", &self.tcp.rtmp), ("rtmps", &self.tcp.rtmps)] {
            for listener in listeners {
                let at = reachable(listener.local_addr()?);
                publish.push(format!("{scheme}://{at}/live/cam"));
                watch.push(format!("{scheme}://{at}/live/cam"));
            }
        }
        for (scheme, listeners) in [("http", &self.tcp.http), ("https", &self.tcp.https)] {
            for listener in listeners {
                let at = reachable(listener.local_addr()?);
                watch.push(format!("{scheme}://{at}/live/cam.flv   also .ts, .mp4 and .m3u8"));
                if let Some(media) = self.webrtc.as_ref().map(|port| reachable(port.local_addr())) {
                    let mut tail = format!("by WebRTC, media at udp://{media}");
                    for listener in &self.tcp.webrtc {
                        tail.push_str(&format!(", tcp://{}", reachable(listener.local_addr()?)));
                    }
                    publish.push(format!("{scheme}://{at}/whip/live/cam   {tail}"));
                    watch.push(format!("{scheme}://{at}/whep/live/cam   {tail}"));
                }
            }
        }
        for (socket, key) in &self.udp {
            publish.push(format!("udp://{}   as {key}", reachable(socket.local_addr()?)));
        }
        let mut text = format!("thalweg {}\n\nPublish to\n", env!("CARGO_PKG_VERSION"));
        publish.iter().for_each(|url| text.push_str(&format!("  {url}\n")));
        text.push_str("\nWatch at\n");
        watch.iter().for_each(|url| text.push_str(&format!("  {url}\n")));
        let mut out = io::stdout().lock();
        // Standard output may be closed, as under a service manager; the log has the addresses too.
        let _shown = writeln!(out, "{text}").and_then(|()| out.flush());
        Ok(())
    }

    fn addresses(&self, config: &Config) -> io::Result<Addresses> {
        let local =
            |ports: &[Port]| ports.iter().map(Port::local_addr).collect::<io::Result<Vec<_>>>();
        Ok(Addresses {
            srt: self.srt.iter().flat_map(SrtPort::addresses).collect(),
            rtmp: local(&self.tcp.rtmp)?,
            http: local(&self.tcp.http)?,
            rtmps: local(&self.tcp.rtmps)?,
            https: local(&self.tcp.https)?,
            webrtc: self.webrtc.iter().map(|port| port.local_addr()).collect(),
            has_hls: config.hls.enabled,
        })
    }

    /// Starts to accept everywhere.
    pub(super) fn serve(self, gateway: &Rc<Gateway>) -> io::Result<Serving> {
        let addresses = self.addresses(&gateway.config)?;
        let mut lasting = Vec::new();
        let live = Rc::new(RefCell::new(live_settings(gateway)));
        let hls = super::hls::new(gateway);
        if let Some(hls) = hls.clone() {
            lasting.push(start("hls streams", move || hls.watch())?);
        }
        let (mut router, admin) = routes(gateway, &addresses, &live, hls);
        let webrtc = self.webrtc.map(|port| serve_webrtc(port, gateway, &mut router));
        let (webrtc, port) = webrtc.transpose()?.unzip();
        lasting.extend(port);
        if let Some(webrtc) = webrtc.clone() {
            admin.set_webrtc(move || WebRtcCounts {
                pending: webrtc.pending(),
                strays: webrtc.port().strays(),
            });
        }
        let http = Rc::new(http::Server::new(router, http_settings(&gateway.config)));
        http.set_proxies(gateway.config.http.trusted_proxies.clone());
        for (socket, key) in self.udp {
            let gateway = Rc::clone(gateway);
            lasting.push(start("udp input", move || {
                let Gateway { clients, registry, gate, config, .. } = &*gateway;
                udp::serve(&socket, clients, registry, gate, &key, config.timeouts.publisher)
            })?);
        }
        gateway.clients.events().set_elsewhere(handshake_refusals(&self.srt));
        let (srt, tcp) = (self.srt.into(), self.tcp);
        let accepting = Vec::new();
        let mut serving = Serving { lasting, accepting, srt, tcp, webrtc, http, live, admin };
        serving.accept(gateway)?;
        Ok(serving)
    }
}

impl Serving {
    /// Has connections from now on served by the configuration of `gateway`, on these sockets.
    pub(super) fn renew(&mut self, gateway: &Rc<Gateway>, tcp: Tcp) -> io::Result<()> {
        self.accepting.drain(..).for_each(|coroutine| coroutine.cancel());
        let renewed = self.srt.iter().map(|port| SrtPort {
            listener: Rc::clone(&port.listener),
            settings: Rc::new(srt_settings(gateway, port.settings.naming.published.clone())),
            is_dual: port.is_dual,
        });
        self.srt = renewed.collect();
        self.tcp = tcp;
        self.http.set_settings(http_settings(&gateway.config));
        self.http.set_proxies(gateway.config.http.trusted_proxies.clone());
        self.live.replace(live_settings(gateway));
        if let Some(webrtc) = &self.webrtc {
            webrtc.port().set_announced(gateway.config.webrtc.candidates.clone());
            webrtc.set_settings(webrtc_settings(gateway));
        }
        self.admin.set_config(gateway.in_force.iter().map(shown).collect());
        self.accept(gateway)
    }

    fn accept(&mut self, gateway: &Rc<Gateway>) -> io::Result<()> {
        self.accepting.extend(serve_srt(&self.srt, gateway)?);
        let port = self.webrtc.as_deref().map(webrtc::WebRtc::port);
        self.accepting.extend(self.tcp.serve(gateway, &self.http, port)?);
        Ok(())
    }

    /// The TCP sockets.
    pub(super) const fn tcp(&self) -> &Tcp {
        &self.tcp
    }

    /// What an operator sees.
    pub(super) const fn admin(&self) -> &Rc<Admin> {
        &self.admin
    }

    /// Takes no more connections; those that are there go on.
    pub(super) fn stop(&self) {
        self.http.drain();
        self.lasting.iter().chain(&self.accepting).for_each(JoinHandle::cancel);
        self.srt.iter().for_each(|port| port.listener.close());
    }
}

impl SrtPort {
    /// Where it can be reached: IPv4 first, where the socket takes both.
    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let local = self.listener.local_addr();
        let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), local.port());
        self.is_dual.then_some(v4).into_iter().chain([local])
    }
}

/// Binds the ports of SRT. libsrt has one socket for all addresses of a port where both families are wanted.
fn bind_srt(gateway: &Gateway) -> io::Result<Vec<SrtPort>> {
    let config = &gateway.config;
    let options = srt_options(&config.srt);
    let bind = |key, address: SocketAddr, is_dual: bool, settings: &Rc<_>| -> io::Result<SrtPort> {
        let only_v6 = address.is_ipv6().then_some(!is_dual);
        let options = options.clone().ipv6_only(only_v6);
        let table = srt::admission(&gateway.registry, &gateway.clients, settings);
        let bound = Listener::bind_with(address, &options, table);
        let listener = Rc::new(bound.map_err(|error| unusable(key, address, &error.into()))?);
        Ok(SrtPort { listener, settings: Rc::clone(settings), is_dual })
    };
    let settings = Rc::new(srt_settings(gateway, None));
    let every = |ip: IpAddr, port| config.srt.listen.contains(&SocketAddr::new(ip, port));
    let mut ports = Vec::new();
    for &address in &config.srt.listen {
        let (v4, v6) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
        let both = every(v4, address.port()) && every(v6, address.port());
        if both && address.ip() == v4 {
            continue;
        }
        let is_dual = both && address.ip() == v6;
        ports.push(bind("srt.listen", address, is_dual, &settings)?);
        for (&port, key) in &config.srt.ports {
            let address = SocketAddr::new(address.ip(), port);
            let settings = Rc::new(srt_settings(gateway, Some(key.clone())));
            ports.push(bind("srt.ports", address, is_dual, &settings)?);
        }
    }
    Ok(ports)
}

/// Answers offers from now on, and serves the port.
fn serve_webrtc(
    port: Rc<webrtc::Port>,
    gateway: &Gateway,
    router: &mut http::Router,
) -> io::Result<(Rc<webrtc::WebRtc>, JoinHandle<()>)> {
    let Gateway { registry, clients, .. } = gateway;
    let served = Rc::clone(&port);
    let webrtc = webrtc::WebRtc::new(port, registry, clients, webrtc_settings(gateway))?;
    webrtc.route(router);
    Ok((webrtc, start("webrtc port", move || served.serve())?))
}

fn bind_webrtc(config: &config::WebRtc) -> io::Result<Option<Rc<webrtc::Port>>> {
    let Some(address) = config.listen else { return Ok(None) };
    webrtc::Port::new(bind_udp("webrtc.listen", address)?, config.candidates.clone()).map(Some)
}

/// A socket with room for what comes while the thread has other things to do. The kernel gives up to `net.core.rmem_max`.
fn bind_udp(key: &str, address: SocketAddr) -> io::Result<UdpSocket> {
    const ROOM_BYTES: usize = 4 << 20;
    let socket = UdpSocket::bind(address).map_err(|error| unusable(key, address, &error))?;
    setsockopt(&socket, sockopt::RcvBuf, &ROOM_BYTES)?;
    Ok(socket)
}

/// Names the address that cannot be had, and the key that asked for it.
pub(super) fn unusable(key: &str, address: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{key}: cannot listen on {address}: {error}"))
}

/// Starts a coroutine that serves until it is cancelled; that it ended otherwise is said.
pub(super) fn start(
    name: &'static str,
    serve: impl FnOnce() -> io::Result<()> + 'static,
) -> io::Result<JoinHandle<()>> {
    rt::Builder::new().name(name).spawn(move || match serve() {
        Err(error) if !rt::is_cancelled(&error) => error!(%error, "{name} has ended"),
        _ => {}
    })
}

/// What fetches who was refused in SRT's handshakes, on libsrt's threads, since it was called last.
fn handshake_refusals(ports: &[SrtPort]) -> impl Fn() -> Elsewhere + 'static {
    let listeners: Vec<_> = ports.iter().map(|port| Rc::downgrade(&port.listener)).collect();
    let seen = RefCell::new(HashMap::<usize, u64>::new());
    move || {
        let mut elsewhere = Elsewhere::default();
        for (at, listener) in listeners.iter().enumerate() {
            let Some(listener) = listener.upgrade() else { continue };
            let refusals = listener.refusals();
            let count: u64 = refusals.counts.values().sum();
            let before = seen.borrow_mut().insert(at, count).unwrap_or_default();
            let new = count.saturating_sub(before);
            elsewhere.count += new;
            // The latest are last.
            let known =
                refusals.last.len().saturating_sub(usize::try_from(new).unwrap_or(usize::MAX));
            elsewhere.rejections.extend(refusals.last.into_iter().skip(known).map(|refusal| {
                Rejection {
                    at: refusal.at,
                    peer: refusal.peer,
                    protocol: "srt",
                    stream: refusal.stream_id,
                    reason: format!("in the handshake: {}", refusal.reason),
                    srt_code: Some(refusal.reason.code()),
                }
            }));
        }
        elsewhere
    }
}

/// Starts to accept for SRT.
fn serve_srt(ports: &Rc<[SrtPort]>, gateway: &Rc<Gateway>) -> io::Result<Vec<JoinHandle<()>>> {
    let mut coroutines = Vec::new();
    for at in 0..ports.len() {
        let (ports, gateway) = (Rc::clone(ports), Rc::clone(gateway));
        coroutines.push(start("srt accept", move || {
            let Some(SrtPort { listener, settings, .. }) = ports.get(at) else { return Ok(()) };
            srt::serve(listener, &gateway.clients, &gateway.registry, settings)
        })?);
    }
    if !ports.is_empty() {
        let (kept, ports_kept) = (Rc::clone(gateway), Rc::clone(ports));
        coroutines.push(start("srt admission, streams", move || {
            keep_admission(&ports_kept, &kept, |seen| kept.registry.wait_changed(seen))
        })?);
        let (kept, ports_kept) = (Rc::clone(gateway), Rc::clone(ports));
        coroutines.push(start("srt admission, connections", move || {
            keep_admission(&ports_kept, &kept, |seen| kept.clients.wait_changed(seen))
        })?);
        let (kept, ports_kept) = (Rc::clone(gateway), Rc::clone(ports));
        coroutines.push(start("srt admission, rules", move || {
            keep_admission(&ports_kept, &kept, |seen| kept.gate.wait_changed(seen))
        })?);
    }
    Ok(coroutines)
}

/// Puts a new table of who may connect in force whenever `changed` tells, given the number of the last change that it told of.
fn keep_admission(
    ports: &[SrtPort],
    gateway: &Gateway,
    changed: impl Fn(u64) -> Result<u64, WaitError>,
) -> io::Result<()> {
    let mut seen = 0;
    loop {
        seen = changed(seen)?;
        for SrtPort { listener, settings, .. } in ports {
            let table = srt::admission(&gateway.registry, &gateway.clients, settings);
            listener.set_admission(table);
        }
    }
}

fn routes(
    gateway: &Rc<Gateway>,
    addresses: &Addresses,
    live: &Rc<RefCell<http_live::Settings>>,
    hls: Option<Hls>,
) -> (http::Router, Rc<Admin>) {
    let mut router = http::Router::new();
    let log = Rc::clone(&gateway.log);
    let lost = move || log.lost();
    let (registry, clients) = (gateway.registry.clone(), gateway.clients.clone());
    let settings = admin_settings(&gateway.config);
    let admin = Admin::new(registry, clients, addresses.clone(), settings, lost);
    admin.set_hooks(gateway.hooks.clone());
    admin.set_disks(gateway.disks.list());
    if let Some(certificates) = gateway.certificates.clone() {
        admin.set_certificates(move || {
            let validities = certificates.validities().into_iter();
            validities.map(|(name, validity)| (name, validity.not_after.as_second())).collect()
        });
    }
    admin.set_config(gateway.in_force.iter().map(shown).collect());
    admin.route(&mut router);
    admin.route_recordings(&mut router, gateway.recorder.clone());
    let live = http_live::handler(&gateway.registry, live);
    router.get(STREAMS, move |exchange| {
        let path = exchange.parameter("path").unwrap_or_default().to_owned();
        let answered = hls.as_ref().and_then(|hls| hls.answer(exchange, &path));
        answered.unwrap_or_else(|| live(exchange))
    });
    router.make_public(STREAMS);
    (router, admin)
}

fn live_settings(gateway: &Gateway) -> http_live::Settings {
    http_live::Settings {
        gate: gateway.gate.clone(),
        start: start_of(&gateway.config.play),
        wait: gateway.config.play.wait,
        stall: gateway.config.timeouts.player,
    }
}

/// The paths of streams are all that are nothing else.
const STREAMS: &str = "/{*path}";

fn admin_settings(config: &Config) -> admin::Settings {
    let api = &config.api;
    let user = api.user.as_ref().zip(api.password.as_ref());
    let access = AccessSettings {
        token: api.token.as_ref().map(|token| Credential::new(token.reveal())),
        user: user
            .map(|(name, password)| (name.clone(), Credential::of_user(name, password.reveal()))),
        is_open: api.open,
        metrics_open: api.metrics_open,
        hosts: api.hosts.clone(),
    };
    admin::Settings { access, metrics_streams_max: most(Some(api.metrics_streams_max)) }
}

/// A key as the API shows it.
fn shown(value: &InForce) -> admin::Entry {
    let InForce { key, value, origin, .. } = value;
    admin::Entry { key: key.path, value: value.clone(), origin: origin.to_string() }
}

fn http_settings(config: &Config) -> http::Settings {
    http::Settings {
        head_timeout: config.timeouts.handshake,
        idle_timeout: config.timeouts.http_idle,
        ..http::Settings::default()
    }
}

fn start_of(play: &config::Play) -> Start {
    if play.gop_cache { Start::Gop } else { Start::Live }
}

/// Who tells whose a connection is, where that `is_wanted`.
pub(super) fn proxies(config: &Config, is_wanted: bool) -> Option<Proxies> {
    let networks = config.http.trusted_proxies.clone().into();
    is_wanted.then_some(Proxies { networks, limit: config.timeouts.handshake })
}

pub(super) fn rtmp_settings(gateway: &Gateway) -> rtmp::Settings {
    let config = &gateway.config;
    rtmp::Settings {
        gate: gateway.gate.clone(),
        proxies: proxies(config, config.rtmp.proxy_protocol),
        handshake: config.timeouts.handshake,
        start: start_of(&config.play),
        wait: config.play.wait,
        silence: config.timeouts.publisher,
        stall: config.timeouts.player,
        takes_over: config.publish.second == config::SecondPublisher::Takeover,
        silent_player: match config.rtmp.silent_player {
            config::SilentPlayer::Enhanced => Carriage::Enhanced,
            config::SilentPlayer::Legacy => Carriage::Legacy,
        },
    }
}

fn webrtc_settings(gateway: &Gateway) -> webrtc::Settings {
    let config = &gateway.config;
    webrtc::Settings {
        gate: gateway.gate.clone(),
        wait: config.play.wait,
        connect: config.timeouts.handshake,
        silence: WEBRTC_SILENCE.min(config.timeouts.player),
        publisher_silence: config.timeouts.publisher,
        takes_over: config.publish.second == config::SecondPublisher::Takeover,
        pending: webrtc::Most {
            in_all: most(config.limits.webrtc_pending),
            per_ip: most(config.limits.webrtc_pending_per_ip),
        },
        random_access: config.webrtc.random_access,
        reference_b: match config.webrtc.reference_b {
            config::ReferenceB::Refuse => webrtc::ReferenceB::Refuse,
            config::ReferenceB::Keyframes => webrtc::ReferenceB::Keyframes,
        },
    }
}

fn srt_options(srt: &config::Srt) -> Options {
    let options = Options::live().latency(srt.latency);
    match &srt.passphrase {
        Some(passphrase) => options.passphrase(passphrase.reveal()),
        None => options,
    }
}

fn srt_settings(gateway: &Gateway, published: Option<StreamKey>) -> srt::Settings {
    let config = &gateway.config;
    let start = match config.play.ts_start {
        config::TsStart::Gop => start_of(&config.play),
        config::TsStart::Live => Start::Live,
    };
    let naming = srt::Naming {
        default_mode: match config.srt.default_mode {
            config::DefaultMode::Publish => StreamMode::Publish,
            config::DefaultMode::Request => StreamMode::Request,
        },
        default_stream: config.srt.default_stream.clone(),
        published,
    };
    srt::Settings {
        gate: gateway.gate.clone(),
        naming,
        start,
        wait: config.play.wait,
        silence: config.timeouts.publisher,
        stall: config.timeouts.player,
        takes_over: config.publish.second == config::SecondPublisher::Takeover,
    }
}

/// An address that a player on this machine can use where all were bound.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
