//! Series of connections: how many of each kind, and what the transport of each tells.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::family::{Labels, Page, Values, float};
use crate::hub::{Client, Role};

/// How many connections have series of their own.
const CONNECTIONS_MAX: usize = 200;

impl Page {
    pub(super) fn connections(&mut self, clients: &[Rc<Client>]) {
        self.kinds(clients);
        self.transports(clients);
        self.paths(clients);
    }

    fn kinds(&mut self, clients: &[Rc<Client>]) {
        let mut kinds = BTreeMap::<(&str, &str), u64>::new();
        for client in clients {
            *kinds.entry((client.protocol(), role_name(client))).or_default() += 1;
        }
        let kinds = kinds.into_iter().map(|((protocol, role), count)| {
            (vec![("protocol", protocol.to_owned()), ("role", role.to_owned())], float(count))
        });
        let help = "Connections by protocol and by what they do.";
        self.add("thalweg_connections", help, Values::Gauge(kinds.collect()));
    }

    fn transports(&mut self, clients: &[Rc<Client>]) {
        let mut families = BTreeMap::<String, Vec<(Labels, f64)>>::new();
        let (mut shown, mut left_out) = (Vec::new(), 0_u64);
        for client in clients {
            // To ask a transport is not free, so those beyond the bound are only counted.
            if shown.len() >= CONNECTIONS_MAX {
                left_out += u64::from(shown.contains(&client.protocol()));
                continue;
            }
            let figures = client.detail();
            if !figures.is_empty() {
                shown.push(client.protocol());
            }
            // Whoever scrapes makes rates itself, of what counts on.
            for (name, value) in figures.into_iter().filter(|(name, _)| !is_interval(name)) {
                let name = format!("thalweg_{}_{}", client.protocol(), long_unit(name));
                families.entry(name).or_default().push((labels(client), value));
            }
        }
        let help = "Connections without series here.";
        self.gauge("thalweg_connections_left_out", help, float(left_out));
        for (name, values) in families {
            let values =
                if counts_up(&name) { Values::Counter(values) } else { Values::Gauge(values) };
            self.add(&name, "What the transport of a connection tells.", values);
        }
    }

    /// A value of 1 for each, as OpenMetrics tells of what is no number.
    fn paths(&mut self, clients: &[Rc<Client>]) {
        let paths = clients.iter().filter_map(|client| {
            let path = client.path()?;
            let mut labels = labels(client);
            labels.push(("network", path.network.to_owned()));
            labels.push(("local", path.local.to_string()));
            labels.push(("remote", path.remote.to_string()));
            Some((labels, 1.0))
        });
        let paths: Vec<_> = paths.take(CONNECTIONS_MAX).collect();
        if !paths.is_empty() {
            let help = "The way of a connection's media.";
            self.add("thalweg_connection_path", help, Values::Gauge(paths));
        }
    }
}

fn role_name(client: &Client) -> &'static str {
    match client.role() {
        Some(Role::Publisher(_)) => "publish",
        Some(Role::Player(_)) => "play",
        None => "none",
    }
}

fn labels(client: &Client) -> Labels {
    let stream = client.key().map(|key| key.to_string()).unwrap_or_default();
    let role = role_name(client).to_owned();
    vec![("client", client.id.to_string()), ("stream", stream), ("role", role)]
}

/// Since somebody asked last, who need not be the same.
fn is_interval(name: &str) -> bool {
    name.starts_with("interval_")
}

/// OpenMetrics writes units out.
fn long_unit(name: &str) -> String {
    match name.strip_suffix("_s") {
        Some(rate) if rate.ends_with("_per") => format!("{rate}_second"),
        Some(time) => format!("{time}_seconds"),
        None => name.to_owned(),
    }
}

/// Packets, bytes and requests are counted, except those that are somewhere at the moment, or may be.
fn counts_up(name: &str) -> bool {
    const COUNTED: [&str; 5] = ["_packets", "_bytes", "_frames", "_nacks", "_plis"];
    let is_state = ["in_flight", "buffer", "window", "tolerance", "distance", "mss"];
    let is_state = is_state.iter().any(|word| name.contains(word));
    COUNTED.iter().any(|unit| name.ends_with(unit)) && !is_state
}
