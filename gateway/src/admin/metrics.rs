//! `/metrics`: what is counted, in the text format of OpenMetrics 1.0.
//!
//! Names that SRS's exporter has are kept. Whoever watches many streams must not fill a database by accident, so
//! streams and connections with series of their own are bounded, and what was left out is a series itself.

use std::fmt;
use std::io;
use std::rc::Rc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use thalweg_runtime::{self as rt, Stats, TURN_BUCKETS, TurnTimes};

use super::Admin;
use super::process::Process;
use crate::http::{Exchange, Response, header};
use crate::hub::{Client, Role, Source, SourceState};

/// How many connections have.
const CONNECTIONS_MAX: usize = 200;

pub(super) fn metrics(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let process = Process::look()?;
    let mut page = Page::default();
    page.process(&process);
    if let Some(stats) = rt::stats() {
        page.runtime(&stats);
    }
    page.gateway(admin);
    page.streams(&admin.registry.list(), admin.settings.metrics_streams_max);
    page.connections(&admin.clients.list());
    let text = page.into_text().map_err(io::Error::other)?;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    exchange
        .respond(Response::bytes(media_type, text.into()).with(header::CACHE_CONTROL, "no-store"))
}

/// All families of one scrape, in their order.
#[derive(Debug, Default)]
struct Page {
    families: Vec<Family>,
}

/// A metric with one value for each set of labels.
#[derive(Debug)]
struct Family {
    name: String,
    help: &'static str,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Counter(Vec<(Labels, f64)>),
    Gauge(Vec<(Labels, f64)>),
    /// A number that only SRS's name keeps from being a counter.
    Unknown(f64),
    Histogram {
        sum: f64,
        count: u64,
        buckets: Vec<(f64, u64)>,
    },
}

type Labels = Vec<(&'static str, String)>;

impl Page {
    fn add(&mut self, name: &str, help: &'static str, values: Values) {
        self.families.push(Family { name: name.into(), help, values });
    }

    fn counter(&mut self, name: &str, help: &'static str, value: f64) {
        self.add(name, help, Values::Counter(vec![(Labels::new(), value)]));
    }

    fn gauge(&mut self, name: &str, help: &'static str, value: f64) {
        self.add(name, help, Values::Gauge(vec![(Labels::new(), value)]));
    }

    fn process(&mut self, process: &Process) {
        self.counter("process_cpu_seconds", "CPU time of all threads.", process.cpu.as_secs_f64());
        self.gauge(
            "process_resident_memory_bytes",
            "Memory in RAM.",
            float(process.resident_bytes),
        );
        self.gauge("process_virtual_memory_bytes", "Address space.", float(process.virtual_bytes));
        self.gauge("process_threads", "Threads.", float(process.threads));
        self.gauge("process_open_fds", "Open descriptors.", float(process.fds));
        self.gauge("process_max_fds", "Descriptors that may be open.", float(process.fds_max));
    }

    fn runtime(&mut self, stats: &Stats) {
        self.counter("thalweg_runtime_turns", "Turns of the scheduler.", float(stats.turns));
        self.counter("thalweg_runtime_switches", "Resumes of coroutines.", float(stats.switches));
        self.counter(
            "thalweg_runtime_spawned",
            "Coroutines that were started.",
            float(stats.spawned),
        );
        let wakeups = [
            ("fellow", stats.wakeups_by_fellows),
            ("event", stats.wakeups_by_events),
            ("timer", stats.wakeups_by_timers),
            ("cancellation", stats.wakeups_by_cancellation),
        ];
        let wakeups = wakeups.map(|(by, count)| (vec![("by", by.to_owned())], float(count)));
        let help = "Coroutines that were woken, by what woke them.";
        self.add("thalweg_runtime_wakeups", help, Values::Counter(wakeups.into()));
        for (name, help, value) in [
            ("coroutines", "Coroutines that have not ended.", stats.live),
            ("runnable_coroutines", "Coroutines that wait for their turn.", stats.runnable),
            ("timers", "Deadlines to come.", stats.timers),
            ("stacks_in_use", "Stacks that coroutines run on.", stats.stacks_in_use),
            ("stacks_pooled", "Stacks that wait to be used again.", stats.stacks_pooled),
            ("pool_threads", "Threads for what blocks.", stats.pool_threads),
            ("pool_jobs", "Blocking calls that wait or run.", stats.pool_jobs),
        ] {
            self.gauge(&format!("thalweg_runtime_{name}"), help, float(value as u64));
        }
        self.turns(&stats.turn_times);
    }

    fn turns(&mut self, times: &TurnTimes) {
        let bound = |bucket: usize| TurnTimes::bound(bucket).as_secs_f64();
        let count: u64 = times.counts.iter().sum();
        let sum =
            times.counts.iter().enumerate().map(|(bucket, &n)| float(n) * bound(bucket)).sum();
        // The last bucket counts the longer ones, too.
        let bound_or_end =
            |at: usize| if at + 1 == TURN_BUCKETS { f64::INFINITY } else { bound(at) };
        let buckets =
            times.counts.iter().enumerate().map(|(at, &n)| (bound_or_end(at), n)).collect();
        let help = "How long turns ran. The sum is made of the buckets' bounds, so it is up to twice too large.";
        self.add("thalweg_runtime_turn_seconds", help, Values::Histogram { sum, count, buckets });
    }

    fn gateway(&mut self, admin: &Admin) {
        let info = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        self.add("thalweg_build_info", "The version that runs.", Values::Gauge(vec![(info, 1.0)]));
        let uptime = rt::now().saturating_duration_since(admin.started).as_secs_f64();
        self.gauge("thalweg_uptime_seconds", "Since the start.", uptime);
        self.gauge("srs_streams", "Streams.", float(admin.registry.list().len() as u64));
        self.gauge("srs_clients", "Connections.", float(admin.clients.count() as u64));
        let help = "Connections since the start.";
        self.add("srs_clients_total", help, Values::Unknown(float(admin.clients.total())));
        self.counter(
            "srs_send_bytes",
            "Bytes sent to all connections.",
            float(admin.clients.sent()),
        );
        let received = float(admin.clients.received());
        self.counter("srs_receive_bytes", "Bytes received from all connections.", received);
        let lost = float((admin.lost_log_lines)());
        self.counter("thalweg_log_lost_lines", "Lines of the log that could not be written.", lost);
    }

    fn streams(&mut self, sources: &[Rc<Source>], most: usize) {
        let left_out = sources.len().saturating_sub(most);
        self.gauge(
            "thalweg_streams_left_out",
            "Streams without series here.",
            float(left_out as u64),
        );
        let sources = sources.get(..most).unwrap_or(sources);
        let each = |value: &dyn Fn(&Source) -> f64| -> Vec<(Labels, f64)> {
            sources.iter().map(|source| (vec![stream_label(source)], value(source))).collect()
        };
        let live = each(&|source| f64::from(u8::from(source.state() == SourceState::Live)));
        self.add("thalweg_stream_live", "Whether somebody publishes it.", Values::Gauge(live));
        let frames = each(&|source| float(source.frames()));
        self.add("thalweg_stream_frames", "Pictures that came in.", Values::Counter(frames));
        let bytes = each(&|source| float(source.received()));
        self.add(
            "thalweg_stream_receive_bytes",
            "Bytes from its publishers.",
            Values::Counter(bytes),
        );
        let jumps = each(&|source| float(source.jumps()));
        self.add("thalweg_stream_time_jumps", "Jumps of its times.", Values::Counter(jumps));
        let bytes = each(&|source| float(source.fill().0 as u64));
        self.add("thalweg_stream_ring_bytes", "Bytes kept of it.", Values::Gauge(bytes));
        let seconds = each(&|source| source.fill().1.duration().as_secs_f64());
        self.add("thalweg_stream_ring_seconds", "Media time kept of it.", Values::Gauge(seconds));
        let readers = sources.iter().flat_map(|source| {
            let label = stream_label(source);
            let feeds = source.feeds().into_iter();
            feeds.map(move |feed| {
                let tracks = format!("{:?}", feed.select).to_lowercase();
                let labels =
                    vec![label.clone(), ("format", feed.name.to_owned()), ("tracks", tracks)];
                (labels, float(feed.readers as u64))
            })
        });
        self.add("thalweg_feed_readers", "Players of a format.", Values::Gauge(readers.collect()));
    }

    fn connections(&mut self, clients: &[Rc<Client>]) {
        self.kinds(clients);
        self.transports(clients);
    }

    fn kinds(&mut self, clients: &[Rc<Client>]) {
        let mut kinds: Vec<((&str, &str), u64)> = Vec::new();
        for client in clients {
            let kind = (client.protocol(), role_name(client));
            match kinds.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, count)) => *count += 1,
                None => kinds.push((kind, 1)),
            }
        }
        kinds.sort_unstable();
        let kinds = kinds.into_iter().map(|((protocol, role), count)| {
            (vec![("protocol", protocol.to_owned()), ("role", role.to_owned())], float(count))
        });
        let help = "Connections by protocol and by what they do.";
        self.add("thalweg_connections", help, Values::Gauge(kinds.collect()));
    }

    fn transports(&mut self, clients: &[Rc<Client>]) {
        let mut families: Vec<(String, Vec<(Labels, f64)>)> = Vec::new();
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
            for (name, value) in figures {
                let name = format!("thalweg_{}_{}", client.protocol(), long_unit(name));
                let value = (client_labels(client), value);
                match families.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, values)) => values.push(value),
                    None => families.push((name, vec![value])),
                }
            }
        }
        self.gauge(
            "thalweg_connections_left_out",
            "Connections without series here.",
            float(left_out),
        );
        for (name, values) in families {
            let values =
                if is_counter(&name) { Values::Counter(values) } else { Values::Gauge(values) };
            self.add(&name, "What the transport of a connection tells.", values);
        }
    }

    fn into_text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, help, values } in &self.families {
            let metric_type = match values {
                Values::Counter(_) => MetricType::Counter,
                Values::Gauge(_) => MetricType::Gauge,
                Values::Unknown(_) => MetricType::Unknown,
                Values::Histogram { .. } => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(name, help, None, metric_type)?;
            match values {
                Values::Counter(values) => {
                    for (labels, value) in values {
                        labelled(&mut metric, labels, &mut |metric| {
                            metric.encode_counter::<NoLabelSet, f64, f64>(value, None)
                        })?;
                    }
                }
                Values::Gauge(values) => {
                    for (labels, value) in values {
                        labelled(&mut metric, labels, &mut |metric| metric.encode_gauge(value))?;
                    }
                }
                Values::Unknown(value) => metric.encode_gauge(value)?,
                Values::Histogram { sum, count, buckets } => {
                    metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)?;
                }
            }
        }
        Ok(())
    }
}

/// Encodes one value, without empty braces where there are no labels.
fn labelled(
    metric: &mut MetricEncoder<'_>,
    labels: &Labels,
    encode: &mut dyn FnMut(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() { encode(metric) } else { encode(&mut metric.encode_family(labels)?) }
}

fn stream_label(source: &Source) -> (&'static str, String) {
    ("stream", source.key().to_string())
}

fn role_name(client: &Client) -> &'static str {
    match client.role() {
        Some(Role::Publisher(_)) => "publish",
        Some(Role::Player(_)) => "play",
        None => "none",
    }
}

fn client_labels(client: &Client) -> Labels {
    let stream = match client.role() {
        Some(Role::Publisher(key) | Role::Player(key)) => key.to_string(),
        None => String::new(),
    };
    let role = role_name(client).to_owned();
    vec![("client", client.id.to_string()), ("stream", stream), ("role", role)]
}

/// OpenMetrics writes units out.
fn long_unit(name: &str) -> String {
    match name.strip_suffix("_s") {
        Some(rate) if rate.ends_with("_per") => format!("{rate}_second"),
        Some(time) => format!("{time}_seconds"),
        None => name.to_owned(),
    }
}

/// Packets are counted, except those that are somewhere at the moment.
fn is_counter(name: &str) -> bool {
    let is_state = ["in_flight", "buffer", "tolerance"].iter().any(|word| name.contains(word));
    name.ends_with("_packets") && !is_state
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats; 2^53 bytes are far")]
const fn float(count: u64) -> f64 {
    count as f64
}
