//! `/metrics`: what is counted, in the text format of OpenMetrics 1.0.
//!
//! Names that SRS's exporter has are kept. Whoever watches many streams must not fill a database by accident, so
//! streams and connections with series of their own are bounded, and what was left out is a series itself.

mod connections;
mod family;
mod hooks;
mod recordings;
mod streams;

use std::io;

use nix::sys::utsname::uname;
use thalweg_runtime::{self as rt, Stats, TURN_BUCKETS, TurnTimes};

use super::machine::Machine;
use super::process::Process;
use super::{Admin, WebRtcCounts};
use crate::hooks::Identity;
use crate::http::{Exchange, Response, header};
use family::{Histogram, Labels, Page, Values, float};

pub(super) fn metrics(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let process = Process::look()?;
    let mut page = Page::default();
    page.process(&process);
    if let Some(stats) = rt::stats() {
        page.runtime(&stats);
    }
    let cpu = admin.looks.shares(&Machine::look()?).process_cpu;
    page.of_srs(admin, &process, cpu);
    page.gateway(admin);
    page.overload(admin);
    if let Some(hooks) = admin.hooks.get() {
        page.hooks(&hooks.stats());
    }
    if let Some(certificates) = admin.certificates.get() {
        page.certificates(&certificates());
    }
    if let Some(counts) = admin.webrtc.get() {
        page.webrtc(counts());
    }
    if let Some(recorder) = admin.recorder.get() {
        page.recordings(recorder);
    }
    page.disks(admin.disks());
    let (sources, clients) = (admin.registry.list(), admin.clients.list());
    page.streams(admin, &sources, &clients, admin.settings.metrics_streams_max);
    page.connections(&clients);
    let text = page.into_text().map_err(io::Error::other)?;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    exchange
        .respond(Response::bytes(media_type, text.into()).with(header::CACHE_CONTROL, "no-store"))
}

/// The first bucket of turns in which a player would notice that others had to wait: from 131 ms on.
const STALL_BUCKET: usize = 18;

impl Page {
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
        let help = "Coroutines that a panic ended: a fault of the gateway each.";
        self.counter("thalweg_runtime_panics", help, float(stats.panicked));
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
        let stalls: u64 = times.counts.iter().skip(STALL_BUCKET).sum();
        let stall_help = "Turns that ran for 0.13 s or longer, in which nobody else could.";
        self.counter("thalweg_runtime_stalls", stall_help, float(stalls));
        self.add(
            "thalweg_runtime_turn_seconds",
            help,
            Values::Histogram(vec![(Labels::new(), Histogram { sum, count, buckets })]),
        );
    }

    /// What SRS's exporter has, in its names and units. It makes one number a counter whose name OpenMetrics has no place
    /// for beside that of another.
    fn of_srs(&mut self, admin: &Admin, process: &Process, cpu: f64) {
        if let Ok(system) = uname() {
            let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
            let labels = vec![
                ("sysname", text(system.sysname())),
                ("nodename", text(system.nodename())),
                ("release", text(system.release())),
                ("version", text(system.version())),
                ("machine", text(system.machine())),
            ];
            let help = "The system, as uname(2) tells.";
            self.add("srs_node_uname_info", help, Values::Gauge(vec![(labels, 1.0)]));
        }
        let Identity { server, service, pid } = &admin.identity;
        let labels = vec![
            ("server", server.clone()),
            ("service", service.clone()),
            ("pid", pid.clone()),
            ("major", env!("CARGO_PKG_VERSION_MAJOR").to_owned()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("code", "Thalweg".to_owned()),
        ];
        self.add("srs_build_info", "This run of the server.", Values::Gauge(vec![(labels, 1.0)]));
        let help = "CPU since the last look, 100 for a whole processor.";
        self.gauge("srs_cpu_percent", help, 100.0 * cpu);
        self.gauge("srs_memory", "Memory in RAM, in KiB.", float(process.resident_bytes / 1024));
        self.gauge("srs_streams", "Streams.", float(admin.registry.list().len() as u64));
        self.gauge("srs_clients", "Connections.", float(admin.clients.count() as u64));
        let help = "Connections since the start.";
        self.add("srs_clients_total", help, Values::Unknown(float(admin.clients.total())));
        let refused = float(admin.clients.events().refused());
        self.counter("srs_clients_errs", "Connections and requests that were refused.", refused);
        let sent = float(admin.clients.sent());
        self.counter("srs_send_bytes", "Bytes sent to all connections.", sent);
        let received = float(admin.clients.received());
        self.counter("srs_receive_bytes", "Bytes received from all connections.", received);
    }

    fn gateway(&mut self, admin: &Admin) {
        let info = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        self.add("thalweg_build_info", "The version that runs.", Values::Gauge(vec![(info, 1.0)]));
        let uptime = rt::now().saturating_duration_since(admin.started).as_secs_f64();
        self.gauge("thalweg_uptime_seconds", "Since the start.", uptime);
        let lost = float((admin.lost_log_lines)());
        self.counter("thalweg_log_lost_lines", "Lines of the log that could not be written.", lost);
    }

    fn certificates(&mut self, certificates: &[(String, i64)]) {
        #[expect(clippy::cast_precision_loss, reason = "2^53 seconds are far")]
        let series = |(name, until): &(String, i64)| (vec![("name", name.clone())], *until as f64);
        let help = "Until when a certificate of TLS is good, in seconds since 1970.";
        let series = certificates.iter().map(series).collect();
        self.add("thalweg_tls_certificate_expiry_seconds", help, Values::Gauge(series));
    }

    fn webrtc(&mut self, counts: WebRtcCounts) {
        #[expect(clippy::cast_precision_loss, reason = "2^53 of them are far")]
        let (pending, strays) = (counts.pending as f64, counts.strays as f64);
        let help = "Peers of WebRTC that are not connected yet.";
        self.gauge("thalweg_webrtc_pending", help, pending);
        let help =
            "Packets for WebRTC that were for no peer: forged, too late, or of something else.";
        self.counter("thalweg_webrtc_stray_packets", help, strays);
    }

    fn overload(&mut self, admin: &Admin) {
        let load = admin.registry.load();
        let help = "What is given up for too much load: 1 new viewers, 2 pictures that no other needs, 3 players.";
        self.gauge("thalweg_overload_level", help, f64::from(load.level().number()));
        let help = "Pictures left out of what players get, each for each format.";
        self.counter("thalweg_overload_dropped_pictures", help, float(load.dropped()));
        let help = "Players that were ended for too much load.";
        self.counter("thalweg_overload_ended_clients", help, float(load.ended()));
        // Without a mark nothing is measured.
        if let Some(measured) = load.measured() {
            let help = "CPU of the thread that runs everything, 1 for a whole processor.";
            self.gauge("thalweg_overload_cpu_ratio", help, measured.cpu_percent / 100.0);
            let help = "How late what is due runs.";
            self.gauge("thalweg_overload_lag_seconds", help, measured.lag.as_secs_f64());
        }
    }
}
