//! What no value shows alone: keys that contradict each other.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use toml::de::DeValue;

use super::fault::Fault;
use super::layer::{Leaf, Leaves};
use super::settings::Config;

/// Adds a fault for each contradiction in `config`, which the values in `leaves` make up.
pub(super) fn contradictions(config: &Config, leaves: &Leaves<'_>, faults: &mut Vec<Fault>) {
    let Some(check) = Check::new(config, leaves) else { return };
    check.listen_twice(faults);
    check.ports_without_address(faults);
    check.ring_over_memory(faults);
    check.window_over_ring(faults);
    check.proxies_without_trust(faults);
    check.half_a_credential(faults);
    check.tls_without_certificate(faults);
    check.record_without_folder(faults);
}

struct Check<'a> {
    config: &'a Config,
    leaves: &'a Leaves<'a>,
}

/// An address that something listens on, and where that is said.
struct Place<'a> {
    leaf: &'a Leaf<'a>,
    span: Range<usize>,
    is_udp: bool,
    address: SocketAddr,
}

impl<'a> Check<'a> {
    fn new(config: &'a Config, leaves: &'a Leaves<'a>) -> Option<Self> {
        // Without the defaults there is nothing to compare with; the layers' own faults say why.
        super::schema::keys()
            .all(|key| leaves.contains_key(key.path))
            .then_some(Self { config, leaves })
    }

    fn leaf(&self, path: &str) -> &'a Leaf<'a> {
        self.leaves.get(path).expect("`new` has seen every key")
    }

    fn listen_twice(&self, faults: &mut Vec<Fault>) {
        let mut places = self.places();
        // What somebody wrote is to blame, not the default that it collides with.
        places.sort_by_key(|place| place.leaf.rank);
        for (at, place) in places.iter().enumerate() {
            let other = places.iter().take(at).find(|other| other.collides_with(place));
            let Some(other) = other else { continue };
            let what = format!("`{}` cannot be listened on twice", place.address);
            let hint = format!("`{}` of `{}` takes it already", other.address, other.leaf.key.path);
            faults.push(place.leaf.layer.fault(place.span.clone(), what, Some(hint)));
        }
    }

    fn places(&self) -> Vec<Place<'a>> {
        let Config { srt, rtmp, http, https, rtmps, udp, webrtc, .. } = self.config;
        let mut places = Vec::new();
        for (path, is_udp, addresses) in [
            ("srt.listen", true, &srt.listen),
            ("rtmp.listen", false, &rtmp.listen),
            ("http.listen", false, &http.listen),
            ("https.listen", false, &https.listen),
            ("rtmps.listen", false, &rtmps.listen),
            ("webrtc.tcp_listen", false, &webrtc.tcp_listen),
        ] {
            let leaf = self.leaf(path);
            places.extend(
                addresses
                    .iter()
                    .enumerate()
                    .map(|(at, &address)| Place::new(leaf, at, is_udp, address)),
            );
        }
        let leaf = self.leaf("udp");
        places.extend(
            udp.iter().enumerate().map(|(at, input)| Place::new(leaf, at, true, input.listen)),
        );
        let leaf = self.leaf("srt.ports");
        for &port in srt.ports.keys() {
            let mut ips: Vec<IpAddr> = srt.listen.iter().map(SocketAddr::ip).collect();
            ips.sort_unstable();
            ips.dedup();
            let span = leaf.span_of_key(&port.to_string());
            places.extend(ips.into_iter().map(|ip| Place {
                leaf,
                span: span.clone(),
                is_udp: true,
                address: SocketAddr::new(ip, port),
            }));
        }
        places
    }

    fn ports_without_address(&self, faults: &mut Vec<Fault>) {
        let srt = &self.config.srt;
        if !srt.ports.is_empty() && srt.listen.is_empty() {
            let leaf = self.leaf("srt.ports");
            let hint = "the ports are opened on the IP addresses of `srt.listen`, and it has none";
            let what = "`srt.ports` needs an address in `srt.listen`".into();
            faults.push(leaf.layer.fault(leaf.value.span(), what, Some(hint.into())));
        }
    }

    fn tls_without_certificate(&self, faults: &mut Vec<Fault>) {
        let Config { tls, https, rtmps, .. } = self.config;
        if tls.certificate.is_none() && !tls.self_signed {
            for (path, addresses) in
                [("https.listen", &https.listen), ("rtmps.listen", &rtmps.listen)]
            {
                if !addresses.is_empty() {
                    let leaf = self.leaf(path);
                    let what = format!("`{path}` needs a certificate");
                    let hint =
                        "set `tls.certificate`, or `tls.self_signed = true` to try things out";
                    faults.push(leaf.layer.fault(leaf.value.span(), what, Some(hint.into())));
                }
            }
            for (path, is_set) in
                [("tls.key", tls.key.is_some()), ("tls.more", !tls.more.is_empty())]
            {
                if is_set {
                    let leaf = self.leaf(path);
                    let what = format!("`{path}` is set, `tls.certificate` is not");
                    faults.push(leaf.layer.fault(leaf.value.span(), what, None));
                }
            }
        }
        if tls.certificate.is_some() && tls.self_signed {
            let leaf = self.later_of("tls.self_signed", "tls.certificate");
            let what = "`tls.self_signed` and `tls.certificate` exclude each other".into();
            faults.push(leaf.layer.fault(leaf.value.span(), what, None));
        }
    }

    fn ring_over_memory(&self, faults: &mut Vec<Fault>) {
        let ring = self.config.hub.ring_bytes;
        if self.config.limits.memory_bytes.is_some_and(|limit| limit < ring) {
            let leaf = self.later_of("limits.memory", "hub.ring_bytes");
            let what =
                "`limits.memory` is less than `hub.ring_bytes`, what a single stream may take"
                    .into();
            faults.push(leaf.layer.fault(leaf.value.span(), what, None));
        }
    }

    fn window_over_ring(&self, faults: &mut Vec<Fault>) {
        if self.config.play.merge_window >= self.config.hub.ring_time {
            let leaf = self.later_of("play.merge_window_ms", "hub.ring_s");
            let what = "`play.merge_window_ms` holds back more than `hub.ring_s` keeps".into();
            faults.push(leaf.layer.fault(leaf.value.span(), what, None));
        }
    }

    fn half_a_credential(&self, faults: &mut Vec<Fault>) {
        let api = &self.config.api;
        if api.user.is_some() != api.password.is_some() {
            let leaf = self.later_of("api.user", "api.password");
            let what = "`api.user` and `api.password` are one credential: set both or none".into();
            faults.push(leaf.layer.fault(leaf.value.span(), what, None));
        }
    }

    fn proxies_without_trust(&self, faults: &mut Vec<Fault>) {
        let Config { rtmp, http, .. } = self.config;
        for (path, is_on) in [
            ("http.proxy_protocol", http.proxy_protocol),
            ("rtmp.proxy_protocol", rtmp.proxy_protocol),
        ] {
            if is_on && http.trusted_proxies.is_empty() {
                let leaf = self.leaf(path);
                let what = format!("with `{path}` nobody is let in but `http.trusted_proxies`");
                let hint = "and it is empty: name the networks of the proxies there";
                faults.push(leaf.layer.fault(leaf.value.span(), what, Some(hint.into())));
            }
        }
    }

    fn record_without_folder(&self, faults: &mut Vec<Fault>) {
        let record = &self.config.record;
        if !record.streams.is_empty() && record.dir.is_none() {
            let leaf = self.leaf("record.streams");
            let what = "`record.streams` needs a folder in `record.dir`".into();
            faults.push(leaf.layer.fault(leaf.value.span(), what, None));
        }
    }

    fn later_of(&self, one: &str, other: &str) -> &'a Leaf<'a> {
        let (one, other) = (self.leaf(one), self.leaf(other));
        if one.rank >= other.rank { one } else { other }
    }
}

impl<'a> Place<'a> {
    fn new(leaf: &'a Leaf<'a>, at: usize, is_udp: bool, address: SocketAddr) -> Self {
        Self { leaf, span: leaf.span_of_item(at), is_udp, address }
    }

    fn collides_with(&self, other: &Self) -> bool {
        // IPv6 listeners take no IPv4, so `[::]` leaves `0.0.0.0` free.
        let (one, other_ip) = (self.address.ip(), other.address.ip());
        let same_ip = one == other_ip
            || (one.is_ipv4() == other_ip.is_ipv4()
                && (one.is_unspecified() || other_ip.is_unspecified()));
        let port = self.address.port();
        self.is_udp == other.is_udp && port != 0 && port == other.address.port() && same_ip
    }
}

impl Leaf<'_> {
    fn span_of_item(&self, at: usize) -> Range<usize> {
        match self.value.get_ref() {
            DeValue::Array(list) => list.get(at).map(toml::Spanned::span),
            _ => None,
        }
        .unwrap_or_else(|| self.value.span())
    }

    fn span_of_key(&self, name: &str) -> Range<usize> {
        match self.value.get_ref() {
            DeValue::Table(table) => {
                table.keys().find(|key| &**key.get_ref() == name).map(toml::Spanned::span)
            }
            _ => None,
        }
        .unwrap_or_else(|| self.value.span())
    }
}
