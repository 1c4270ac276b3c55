//! What each case starts, and what it reads off the kernel.

use std::error::Error;
use std::io;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::ANY_CORE;
use super::clip::{self, Clip, Footage};
use super::hls::{RamDisk, start_nginx};
use super::server::{Gateway, Process, port_of};
use super::slow_disk::SlowDisk;
use crate::case::{Case, ContenderName};
use crate::harness::STARVED;
use crate::measure::{KIB_RSS, MB_GROWN, MB_RSS, Plan, SLEEPS, US_CPU};
use crate::suite::Measured;

/// Makes the clips, so that their making disturbs nobody.
pub(crate) fn prepare() {
    let numbered = [JOIN_GOP_S, SHOWN_GOP_S].map(Footage::Numbered);
    for footage in [Footage::Usual, Footage::InOrder].into_iter().chain(numbered) {
        if let Err(error) = Clip::prepare(footage) {
            crate::harness::progress(&format!("no clip: {error}"));
        }
    }
}

/// Measures a case.
pub(crate) fn measure(case: Case, contender: ContenderName, plan: Plan) -> Measured {
    match case {
        Case::DelaySrtFlv => delay("srt", "flv", plan),
        Case::DelaySrtSrt => delay("srt", "srt", plan),
        Case::DelaySrtTs => delay("srt", "ts", plan),
        Case::DelaySrtFmp4 => delay("srt", "mp4", plan),
        Case::DelayRtmpFlv => delay("rtmp", "flv", plan),
        Case::Flv0 => fan_out("flv", 0, contender, plan),
        Case::Flv100 => fan_out("flv", 100, contender, plan),
        Case::Flv350 => fan_out("flv", 350, contender, plan),
        Case::Rtmp0 => fan_out("rtmp", 0, contender, plan),
        Case::Rtmp100 => fan_out("rtmp", 100, contender, plan),
        Case::Rtmp350 => fan_out("rtmp", 350, contender, plan),
        Case::Publish => publish_many(contender, plan),
        Case::Play => play_many(contender, plan),
        Case::Idle => idle(plan),
        Case::Viewers => viewers("flv", Footage::Usual, plan),
        Case::Source => source(plan),
        Case::DelaySrtWebRtc => delay("srt", "webrtc", plan),
        Case::WebRtc => fan_out("webrtc", 0, contender, plan),
        Case::WebRtcViewers => viewers("webrtc", Footage::InOrder, plan),
        Case::WebRtcJoin => in_browser("join", JOIN_GOP_S, plan),
        Case::WebRtcBrowser => in_browser("shown", SHOWN_GOP_S, plan),
        Case::HlsBlocked => hls_blocked(plan),
        Case::Hls => hls_viewers(contender, plan),
        Case::RecordSlow => record_slow(contender, plan),
        Case::HlsDisplay => hls_display("{}", plan),
        Case::HlsDisplayTuned => hls_display(TUNED, plan),
        _ => Err(format!("{case} is of another suite").into()),
    }
}

/// From the arrival of a picture at the gateway to its arrival at a player.
fn delay(ingest: &str, output: &str, plan: Plan) -> Measured {
    delay_through(&Gateway::start(None, &[])?, ingest, output, plan)
}

/// The same beside other streams, all of which are recorded to a disk that is too slow for them; or, of the contender, are not.
fn record_slow(contender: ContenderName, plan: Plan) -> Measured {
    let disk = SlowDisk::new()?;
    let is_recorded = contender != ContenderName::Unrecorded;
    let folder = format!("record.dir={}", disk.path().display());
    let set = [folder.as_str(), "record.streams=[\"live/*\"]"];
    let gateway = Gateway::start(None, if is_recorded { &set } else { &[] })?;
    let per_second = disk.try_out()?;
    disk.slow_down(gateway.process.id())?;
    let (port, others) = (gateway.port("srt")?.to_string(), (plan.n - 1).to_string());
    let clip = Footage::Usual.to_string();
    let args = ["gateway-publish", "srt", &port, &others, &clip, "1"];
    let _encoders = Process::start_self(&args)?;
    let mut lines = delay_through(&gateway, "srt", "flv", plan)?;
    if is_recorded {
        let (recorded, pace) = (disk.bytes()? as f64 / 1e6, per_second / 1e6);
        lines.push(format!("note\tthe disk takes {pace:.2} MB/s and has got {recorded:.1} MB"));
    }
    // Before its disk.
    drop(gateway);
    Ok(lines)
}

fn delay_through(gateway: &Gateway, ingest: &str, output: &str, plan: Plan) -> Measured {
    let ports = [gateway.port(ingest)?, gateway.port(scheme(output))?].map(|port| port.to_string());
    // The gateway learns what ends a picture within 64 of them.
    let first = WARM_UP_OF_DELAY.min(plan.rep * 3);
    let times = [first, first + plan.rep].map(|time| time.as_millis().to_string());
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["gateway-delay", ingest, &ports[0], output, &ports[1], &times[0], &times[1]]);
    lines_of(command)
}

/// All that a process says.
fn lines_of(command: Command) -> Measured {
    let mut lines = Vec::new();
    let (process, ()) = Process::start(command, |line| {
        lines.push(line.trim_end().to_owned());
        Some(())
    })?;
    lines.extend(process.finish()?);
    Ok(lines)
}

/// One stream to many. What the gateway uses without a viewer is not counted.
fn fan_out(output: &str, window_ms: u32, contender: ContenderName, plan: Plan) -> Measured {
    let footage = if output == "webrtc" { Footage::InOrder } else { Footage::Usual };
    let clip = Clip::prepare(footage)?;
    if contender == ContenderName::Loop {
        let schedule = clip.schedule("tags", &clip::flv_tags(&clip.flv())?)?;
        let mut command = Command::new(env!("THALWEG_FAN_OUT_C"));
        command.arg(schedule).args([plan.n.to_string(), window_ms.to_string()]);
        let (server, port) = start_pinned(command)?;
        let mut sink = start_sink("bare", port, plan.n, 1, SINK_CORE)?;
        return Ok(measure_viewers(&server, &mut sink, plan)?.lines(Duration::ZERO, plan));
    }
    let window = format!("play.merge_window_ms={window_ms}");
    let gateway = Gateway::start(Some(SERVER_CORE), &[&window, WITHOUT_SRT])?;
    let _encoder = start_encoders("rtmp", &gateway, 1, footage)?;
    thread::sleep(WARM_UP.min(plan.rep));
    // Before and after, since it is no less than what a single viewer adds.
    let before = cpu_over(&gateway.process, plan.rep / 2)?;
    let mut sink = start_sink(output, gateway.port(scheme(output))?, plan.n, 1, SINK_CORE)?;
    let with_viewers = measure_viewers(&gateway.process, &mut sink, plan)?;
    drop(sink);
    // Viewers of WebRTC that end without a word are served until they have been silent for long.
    if output == "webrtc" {
        return Ok(with_viewers.lines(before * 2, plan));
    }
    thread::sleep(WARM_UP.min(plan.rep));
    let after = cpu_over(&gateway.process, plan.rep / 2)?;
    Ok(with_viewers.lines(before + after, plan))
}

/// What serving viewers took, and what they got.
struct WithViewers {
    used: Duration,
    /// By each of them.
    bits_per_second: f64,
    /// For so much of the time they waited for a core.
    starved: f64,
}

impl WithViewers {
    /// CPU for each second of a viewer without `base`, and whether the viewers got the stream. A server whose viewers had
    /// no core to read on has less to do, or more, than one whose viewers read.
    fn lines(&self, base: Duration, plan: Plan) -> Vec<String> {
        if self.starved > STARVED_MAX {
            return vec![STARVED.to_owned()];
        }
        let mut lines = vec![per_second(self.used.saturating_sub(base), plan)];
        if self.bits_per_second < BITS_PER_SECOND_MIN {
            let mbit = self.bits_per_second / 1e6;
            lines.push(format!("note\ta viewer got {mbit:.2} Mbit/s only"));
        }
        lines
    }
}

fn measure_viewers(
    server: &Process,
    sink: &mut Process,
    plan: Plan,
) -> Result<WithViewers, Box<dyn Error>> {
    thread::sleep(WARM_UP.min(plan.rep));
    let (before, begin) = (taken(sink)?, Instant::now());
    let used = cpu_over(server, plan.rep)?;
    let (after, seconds) = (taken(sink)?, begin.elapsed().as_secs_f64());
    let got = (after.bytes - before.bytes) / seconds;
    let starved = (after.starved_ns - before.starved_ns) / 1e9 / seconds;
    Ok(WithViewers { used, bits_per_second: got * 8.0 / plan.n as f64, starved })
}

/// Many publishers by SRT; with us each has a viewer.
fn publish_many(contender: ContenderName, plan: Plan) -> Measured {
    let count = plan.n.to_string();
    if contender == ContenderName::Thread {
        let mut command = Command::new(env!("THALWEG_THREADS_C"));
        command.args(["receive", &count]);
        let (server, port) = Process::start(command, port_of)?;
        let clip = Footage::Usual.to_string();
        let args = ["gateway-publish", "srt", &port.to_string(), &count, &clip];
        let (_encoders, _port) = Process::start_self(&args)?;
        // As long as the keyframes take to be spread.
        thread::sleep(WARM_UP_OF_MANY);
        return Ok(vec![per_second(cpu_over(&server, plan.rep)?, plan)]);
    }
    let gateway = Gateway::start(None, &[])?;
    let _encoders = start_encoders("srt", &gateway, plan.n, Footage::Usual)?;
    let mut sink = start_sink("flv", gateway.port("http")?, plan.n, plan.n, ANY_CORE)?;
    thread::sleep(WARM_UP_OF_MANY);
    Ok(measure_viewers(&gateway.process, &mut sink, plan)?.lines(Duration::ZERO, plan))
}

/// Many players by SRT of one stream.
fn play_many(contender: ContenderName, plan: Plan) -> Measured {
    if contender == ContenderName::Thread {
        let clip = Clip::prepare(Footage::Usual)?;
        let schedule = clip.schedule("units", &clip::ts_units(&clip.ts())?)?;
        let mut command = Command::new(env!("THALWEG_THREADS_C"));
        command.args(["send", &plan.n.to_string()]).arg(schedule);
        let (server, port) = Process::start(command, port_of)?;
        let mut sink = start_sink("srt", port, plan.n, 1, ANY_CORE)?;
        thread::sleep(WARM_UP.min(plan.rep));
        return Ok(measure_viewers(&server, &mut sink, plan)?.lines(Duration::ZERO, plan));
    }
    let gateway = Gateway::start(None, &[])?;
    let _encoder = start_encoders("udp", &gateway, 1, Footage::Usual)?;
    thread::sleep(WARM_UP.min(plan.rep));
    let base = cpu_over(&gateway.process, plan.rep)?;
    let mut sink = start_sink("srt", gateway.port("srt")?, plan.n, 1, ANY_CORE)?;
    thread::sleep(WARM_UP.min(plan.rep));
    Ok(measure_viewers(&gateway.process, &mut sink, plan)?.lines(base, plan))
}

/// From the arrival of a part's last picture to the answer that waited for it.
fn hls_blocked(plan: Plan) -> Measured {
    let set = ["hls.part_ms=200", "hls.target_s=2", "hls.sessions=false"];
    let gateway = Gateway::start(None, &set)?;
    let ports = [gateway.port("rtmp")?, gateway.port("http")?].map(|port| port.to_string());
    let first = WARM_UP_OF_DELAY.min(plan.rep * 3);
    let times = [first, first + plan.rep].map(|time| time.as_millis().to_string());
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["gateway-blocked", &ports[0], &ports[1], &times[0], &times[1]]);
    lines_of(command)
}

/// From the arrival of a picture to its display by hls.js in Chromium.
fn hls_display(config: &str, plan: Plan) -> Measured {
    let gateway = Gateway::start(None, &["hls.part_ms=200"])?;
    let url = format!("http://127.0.0.1:{}/live/cam0.m3u8", gateway.port("http")?);
    display(&gateway, "hls", &url, config, plan)
}

/// What Chromium shows of a stream; measured once the player has had its time to settle.
fn display(gateway: &Gateway, player: &str, url: &str, config: &str, plan: Plan) -> Measured {
    let first = JOIN_OF_DISPLAY + WARM_UP_OF_DISPLAY;
    let times = [JOIN_OF_DISPLAY, first, first + plan.rep].map(|time| time.as_millis().to_string());
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["gateway-display", player, &gateway.port("rtmp")?.to_string(), url, config]);
    command.args(times);
    lines_of(command)
}

/// Plain HLS to many, of segments in memory or, from nginx, of the same segments on a RAM disk.
fn hls_viewers(contender: ContenderName, plan: Plan) -> Measured {
    let disk = RamDisk::new()?;
    let directory = format!("hls.directory={}", disk.path().display());
    let plain = ["hls.part_ms=0", "hls.target_s=2", "hls.sessions=false", WITHOUT_SRT];
    let gateway = if contender == ContenderName::Nginx {
        Gateway::start(None, &[&plain[..], &[&directory]].concat())?
    } else {
        Gateway::start(Some(SERVER_CORE), &[&plain[..], &["hls.always=true"]].concat())?
    };
    let _encoder = start_encoders("rtmp", &gateway, 1, Footage::Usual)?;
    let nginx;
    let (server, port) = if contender == ContenderName::Nginx {
        disk.wait_for_segments(2)?;
        nginx = start_nginx(&disk, SERVER_CORE)?;
        (&nginx.0, nginx.1)
    } else {
        thread::sleep(WARM_UP_OF_DELAY);
        (&gateway.process, gateway.port("http")?)
    };
    // What segmenting takes is no viewer's.
    let base = cpu_over(server, plan.rep)?;
    let args = ["gateway-hls-sink", &port.to_string(), &plan.n.to_string(), SINK_CORE];
    let (mut sink, _port) = Process::start_self(&args)?;
    Ok(measure_viewers(server, &mut sink, plan)?.lines(base, plan))
}

/// Nobody is there.
fn idle(plan: Plan) -> Measured {
    let gateway = Gateway::start(None, &[])?;
    thread::sleep(WARM_UP.min(plan.rep));
    let before = gateway.process.sleeps()?;
    thread::sleep(plan.rep);
    let sleeps = gateway.process.sleeps()? - before;
    let rss_mb = gateway.process.rss_kib()? as f64 / 1024.0;
    Ok(vec![sample(SLEEPS, sleeps as f64), sample(MB_RSS, rss_mb)])
}

/// What viewers add to the memory of a gateway.
fn viewers(output: &str, footage: Footage, plan: Plan) -> Measured {
    let gateway = Gateway::start(Some(SERVER_CORE), &[WITHOUT_SRT])?;
    let _encoder = start_encoders("rtmp", &gateway, 1, footage)?;
    // One viewer has the feed made.
    let _first = start_sink(output, gateway.port("http")?, 1, 1, SINK_CORE)?;
    thread::sleep(plan.rep);
    let before = gateway.process.rss_kib()?;
    let _sink = start_sink(output, gateway.port("http")?, plan.n, 1, SINK_CORE)?;
    thread::sleep(WARM_UP.min(plan.rep));
    // The source goes on to fill its ring meanwhile, which is no viewer's.
    let grown = gateway.process.rss_kib()?.saturating_sub(before);
    Ok(vec![sample(KIB_RSS, grown as f64 / plan.n as f64)])
}

/// What Chromium shows of a stream that comes by SRT: how soon, or how late.
fn in_browser(what: &str, gop_s: u32, plan: Plan) -> Measured {
    let gateway = Gateway::start(None, &[])?;
    let ports = [gateway.port("srt")?, gateway.port("http")?].map(|port| port.to_string());
    let (clip, for_ms) = (Footage::Numbered(gop_s).to_string(), plan.rep.as_millis().to_string());
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["gateway-whep", what, &ports[0], &ports[1], &clip, &for_ms]);
    lines_of(command)
}

/// What a source still grows by when its ring, of two seconds, is full.
fn source(plan: Plan) -> Measured {
    let gateway = Gateway::start(None, &["hub.ring_s=2"])?;
    let _encoder = start_encoders("udp", &gateway, 1, Footage::Usual)?;
    let _viewers = ["ts", "flv", "mp4"]
        .map(|output| start_sink(output, gateway.port("http")?, 1, 1, ANY_CORE));
    thread::sleep(WARM_UP_OF_SOURCE.min(plan.rep * 4));
    let before = gateway.process.rss_kib()?;
    thread::sleep(plan.rep);
    let grown = gateway.process.rss_kib()?.saturating_sub(before);
    Ok(vec![sample(MB_GROWN, grown as f64 / 1024.0)])
}

fn start_encoders(
    ingest: &str,
    gateway: &Gateway,
    count: usize,
    footage: Footage,
) -> Result<Process, Box<dyn Error>> {
    let (port, count) = (gateway.port(ingest)?.to_string(), count.to_string());
    let args = ["gateway-publish", ingest, &port, &count, &footage.to_string()];
    Ok(Process::start_self(&args)?.0)
}

fn start_sink(
    output: &str,
    port: u16,
    viewers: usize,
    streams: usize,
    core: &str,
) -> Result<Process, Box<dyn Error>> {
    let [port, viewers, streams] = [port.into(), viewers, streams].map(|number| number.to_string());
    Ok(Process::start_self(&["gateway-sink", output, &port, &viewers, &streams, core])?.0)
}

/// Starts a program on the core of the gateway.
fn start_pinned(command: Command) -> Result<(Process, u16), Box<dyn Error>> {
    let mut pinned = Command::new("taskset");
    pinned.args(["--cpu-list", &SERVER_CORE.to_string()]);
    pinned.arg(command.get_program()).args(command.get_args());
    Process::start(pinned, port_of)
}

/// What the viewers say of themselves.
struct Taken {
    bytes: f64,
    starved_ns: f64,
}

fn taken(sink: &mut Process) -> Result<Taken, Box<dyn Error>> {
    let line = sink.ask()?;
    let (bytes, starved_ns) = line.trim().split_once('\t').ok_or("the viewers say too little")?;
    Ok(Taken { bytes: bytes.parse()?, starved_ns: starved_ns.parse()? })
}

/// What a process uses while a time passes.
fn cpu_over(process: &Process, time: Duration) -> io::Result<Duration> {
    let (before, begin) = (process.cpu()?, Instant::now());
    thread::sleep(time);
    let used = process.cpu()?.saturating_sub(before);
    Ok(used.mul_f64(time.as_secs_f64() / begin.elapsed().as_secs_f64()))
}

fn per_second(used: Duration, plan: Plan) -> String {
    sample(US_CPU, used.as_secs_f64() * 1e6 / plan.rep.as_secs_f64() / plan.n as f64)
}

fn sample(unit: &str, value: f64) -> String {
    format!("sample\t{unit}\t{value}")
}

/// The protocol that carries an output.
fn scheme(output: &str) -> &str {
    if matches!(output, "srt" | "rtmp") { output } else { "http" }
}

/// libsrt's threads are never quite idle.
const WITHOUT_SRT: &str = "srt.listen=[]";
const SERVER_CORE: usize = 0;
const SINK_CORE: &str = "1";
/// The least that the page needs to begin with at any time, and what many encoders make.
const JOIN_GOP_S: u32 = 1;
const SHOWN_GOP_S: u32 = 4;
/// From the last connection on.
const WARM_UP: Duration = Duration::from_secs(1);
const WARM_UP_OF_DELAY: Duration = Duration::from_secs(5);
/// What docs/hls.md tells to give hls.js.
const TUNED: &str = r#"{"maxLiveSyncPlaybackRate": 1.1}"#;
/// In the middle of a group of pictures of a stream that has been there for a while.
const JOIN_OF_DISPLAY: Duration = Duration::from_secs(7);
const WARM_UP_OF_DISPLAY: Duration = Duration::from_secs(10);
const WARM_UP_OF_MANY: Duration = Duration::from_secs(3);
const WARM_UP_OF_SOURCE: Duration = Duration::from_secs(8);
/// The viewers' thread sleeps most of the time; one that waits for a core for longer than this is late to read.
const STARVED_MAX: f64 = 0.1;
/// The clip has 2.1 Mbit/s.
const BITS_PER_SECOND_MIN: f64 = 1.9e6;
