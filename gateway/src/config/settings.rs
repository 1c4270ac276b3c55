//! The configuration as the rest of the gateway sees it: plain values, checked.
//!
//! What each key means and which values it may have stands in [`schema`](super::schema); here is only where it goes.

#![expect(
    clippy::large_stack_frames,
    reason = "what serde generates for the whole: a dozen kilobytes, once for each configuration that is read"
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::ParseIntError;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

use crate::key::{Pattern, StreamKey};
use crate::naming::Template;
use crate::secret::Secret;

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// SRT.
    pub srt: Srt,
    /// RTMP.
    pub rtmp: Rtmp,
    /// HTTP.
    pub http: Http,
    /// API, metrics and page.
    pub api: Api,
    /// WebRTC.
    pub webrtc: WebRtc,
    /// HTTPS.
    pub https: Https,
    /// RTMPS.
    pub rtmps: Rtmps,
    /// Certificates.
    pub tls: Tls,
    /// HLS.
    pub hls: Hls,
    /// What players get.
    pub play: Play,
    /// What publishers may do.
    pub publish: Publish,
    /// Recording.
    pub record: Record,
    /// What is kept of each stream.
    pub hub: Hub,
    /// How much is too much.
    pub limits: Limits,
    /// Marks above which less is done.
    pub overload: Overload,
    /// How long is too long.
    pub timeouts: Timeouts,
    /// Web hooks.
    pub hooks: Box<Hooks>,
    /// Logging.
    pub log: Log,
    /// Inputs of MPEG-TS over UDP.
    pub udp: Vec<UdpInput>,
    /// Who may publish and play; the first rule that fits decides.
    pub access: Vec<AccessRule>,
}

/// `[srt]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Srt {
    /// Where to listen; not at all when empty.
    pub listen: Vec<SocketAddr>,
    /// The least latency of a connection.
    #[serde(rename = "latency_ms", deserialize_with = "milliseconds")]
    pub latency: Duration,
    /// Encrypts connections.
    pub passphrase: Option<Secret>,
    /// What peers want that do not say so.
    pub default_mode: DefaultMode,
    /// The stream of peers that name none.
    pub default_stream: StreamKey,
    /// Further ports, and what is published there.
    #[serde(deserialize_with = "ports")]
    pub ports: BTreeMap<u16, StreamKey>,
}

/// What an SRT peer wants whose stream id does not say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultMode {
    /// To publish.
    Publish,
    /// To play.
    Request,
}

/// `[rtmp]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rtmp {
    /// Where to listen; not at all when empty.
    pub listen: Vec<SocketAddr>,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// What players get that announce nothing.
    pub silent_player: SilentPlayer,
}

/// What an RTMP player gets that does not say what it understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SilentPlayer {
    /// All codecs of Enhanced RTMP.
    Enhanced,
    /// What RTMP always carried.
    Legacy,
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where to listen; not at all when empty.
    pub listen: Vec<SocketAddr>,
    /// Whether each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Who is believed about the addresses of others.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
}

/// `[api]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// The credential of programs.
    pub token: Option<Secret>,
    /// The user.
    pub user: Option<String>,
    /// Their password.
    pub password: Option<Secret>,
    /// Whether nobody needs a credential.
    pub open: bool,
    /// Whether nobody needs one for the metrics.
    pub metrics_open: bool,
    /// So many streams have series of their own.
    pub metrics_streams_max: u32,
    /// Names of this server for local programs and pages.
    pub hosts: Vec<String>,
}

/// `[webrtc]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebRtc {
    /// Where media comes and goes, if at all.
    pub listen: Option<SocketAddr>,
    /// What browsers are told instead of the machine's addresses.
    pub candidates: Vec<IpAddr>,
    /// Where media may come by TCP too.
    pub tcp_listen: Vec<SocketAddr>,
    /// How often publishers are asked for a random-access point.
    #[serde(rename = "random_access_ms", deserialize_with = "milliseconds")]
    pub random_access: Duration,
    /// What becomes of streams whose pictures refer to B pictures.
    pub reference_b: ReferenceB,
}

/// What viewers get of a stream whose pictures refer to B pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReferenceB {
    /// Nothing.
    Refuse,
    /// The random-access points.
    Keyframes,
}

/// `[https]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Https {
    /// Where to listen; not at all when empty.
    pub listen: Vec<SocketAddr>,
}

/// `[rtmps]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rtmps {
    /// Where to listen; not at all when empty.
    pub listen: Vec<SocketAddr>,
}

/// `[tls]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The file of the certificate.
    pub certificate: Option<PathBuf>,
    /// The file of its key, when that is another.
    pub key: Option<PathBuf>,
    /// Certificates for further names.
    pub more: Vec<CertificateFiles>,
    /// Whether one of our own is made.
    pub self_signed: bool,
}

/// A certificate and its key, in PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The file of the certificate.
    pub certificate: PathBuf,
    /// The file of its key, when that is another.
    pub key: Option<PathBuf>,
}

/// `[hls]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hls {
    /// Whether there is HLS.
    pub enabled: bool,
    /// What segments are made of.
    pub segments: HlsSegments,
    /// How long a segment is at most.
    #[serde(rename = "target_s", deserialize_with = "seconds")]
    pub target: Duration,
    /// How long parts are; `None` for none.
    #[serde(rename = "part_ms", default, deserialize_with = "some_milliseconds")]
    pub part: Option<Duration>,
    /// How many segments a playlist names.
    pub segments_kept: usize,
    /// How much memory the segments of a playlist may take.
    pub stream_bytes: u64,
    /// Whether streams are segmented while nobody watches.
    pub always: bool,
    /// How long they are after anybody asked.
    #[serde(rename = "idle_s", deserialize_with = "seconds")]
    pub idle: Duration,
    /// Whether viewers are counted.
    pub sessions: bool,
    /// Whether segments are encrypted.
    pub encrypt: bool,
    /// How many segments have the same key.
    pub key_segments: u64,
    /// Where copies are written, if anywhere.
    pub directory: Option<PathBuf>,
}

/// What segments of HLS are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HlsSegments {
    /// What plays best.
    Auto,
    /// Fragmented MP4.
    Fmp4,
    /// MPEG-TS.
    Ts,
}

/// `[play]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Play {
    /// How long data may wait for more, to be written together.
    #[serde(rename = "merge_window_ms", deserialize_with = "milliseconds")]
    pub merge_window: Duration,
    /// How long a player may wait for a stream that nobody publishes.
    #[serde(rename = "wait_ms", deserialize_with = "milliseconds")]
    pub wait: Duration,
    /// Whether players start with the last random-access point.
    pub gop_cache: bool,
    /// Where players of MPEG-TS start.
    pub ts_start: TsStart,
}

/// Where players of MPEG-TS start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TsStart {
    /// With the last random-access point.
    Gop,
    /// With what comes in now.
    Live,
}

/// `[publish]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// How long a stream outlives its publisher.
    #[serde(rename = "grace_s", deserialize_with = "seconds")]
    pub grace: Duration,
    /// What happens to a second publisher.
    pub second: SecondPublisher,
}

/// What happens to the second that publishes the same stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondPublisher {
    /// It is rejected.
    Reject,
    /// The first is disconnected.
    Takeover,
}

/// `[record]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The folder of recordings; nothing is recorded without one.
    pub dir: Option<PathBuf>,
    /// The streams that are recorded without being asked for.
    pub streams: Vec<Pattern>,
    /// What files are called.
    pub path: Template,
    /// The container.
    pub format: RecordFormat,
    /// When files end.
    pub plan: RecordPlan,
    /// How long segments are.
    #[serde(rename = "segment_s", deserialize_with = "seconds")]
    pub segment: Duration,
    /// How often files are written through, in seconds.
    pub sync_s: Option<u32>,
    /// How many days recordings are kept after their end.
    pub keep_days: Option<u32>,
    /// How many bytes all recordings may have together.
    pub max_bytes: Option<u64>,
}

/// The container of recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordFormat {
    /// Fragmented MP4.
    Mp4,
    /// MPEG-TS.
    Ts,
    /// FLV.
    Flv,
}

/// When files of a recording end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordPlan {
    /// With the stream.
    Session,
    /// After a time.
    Segment,
}

/// `[hub]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hub {
    /// How much of a stream is kept, in bytes.
    pub ring_bytes: u64,
    /// How much of a stream is kept, in time.
    #[serde(rename = "ring_s", deserialize_with = "seconds")]
    pub ring_time: Duration,
}

/// `[limits]`: `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Connections of all protocols.
    pub connections: Option<u32>,
    /// Connections from one IP address.
    pub connections_per_ip: Option<u32>,
    /// Streams that are published.
    pub publishers: Option<u32>,
    /// Streams that exist.
    pub streams: Option<u32>,
    /// What one publisher may send, in bits a second.
    #[serde(rename = "bitrate_per_publisher")]
    pub bitrate_per_publisher_bps: Option<u64>,
    /// Memory of the process.
    #[serde(rename = "memory")]
    pub memory_bytes: Option<u64>,
    /// Peers of WebRTC that are not connected yet.
    pub webrtc_pending: Option<u32>,
    /// Those of them from one IP address.
    pub webrtc_pending_per_ip: Option<u32>,
}

/// `[overload]`: `None` is no mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overload {
    /// Of one processor, by the runtime's thread.
    pub cpu_percent: Option<u32>,
    /// Of the process.
    #[serde(rename = "memory")]
    pub memory_bytes: Option<u64>,
    /// Of what is due.
    pub lag_ms: Option<u32>,
    /// Between two steps.
    #[serde(rename = "step_ms", deserialize_with = "milliseconds")]
    pub step: Duration,
}

/// `[timeouts]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// From the connection until the peer has said what it wants.
    #[serde(rename = "handshake_ms", deserialize_with = "milliseconds")]
    pub handshake: Duration,
    /// Between two HTTP requests.
    #[serde(rename = "http_idle_ms", deserialize_with = "milliseconds")]
    pub http_idle: Duration,
    /// Without anything from a publisher.
    #[serde(rename = "publisher_ms", deserialize_with = "milliseconds")]
    pub publisher: Duration,
    /// Without a player taking anything.
    #[serde(rename = "player_ms", deserialize_with = "milliseconds")]
    pub player: Duration,
    /// For the peers at the end.
    #[serde(rename = "shutdown_ms", deserialize_with = "milliseconds")]
    pub shutdown: Duration,
}

/// `[hooks]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    /// Whom to ask when somebody connects.
    pub on_connect: Vec<Secret>,
    /// Whom to tell when they are gone.
    pub on_close: Vec<Secret>,
    /// Whom to ask when somebody wants to publish.
    pub on_publish: Vec<Secret>,
    /// Whom to tell when they have stopped.
    pub on_unpublish: Vec<Secret>,
    /// Whom to ask when somebody wants to play.
    pub on_play: Vec<Secret>,
    /// Whom to tell when they have stopped.
    pub on_stop: Vec<Secret>,
    /// Whom to tell of finished segments.
    pub on_hls: Vec<Secret>,
    /// Whom to tell of finished recordings.
    pub on_dvr: Vec<Secret>,
    /// How long a call may take.
    #[serde(rename = "timeout_ms", deserialize_with = "milliseconds")]
    pub timeout: Duration,
    /// What holds without an answer.
    pub on_failure: HookFailure,
    /// Signs the calls.
    pub secret: Option<Secret>,
    /// Who vouches for servers, if not those whom the system trusts.
    pub ca_file: Option<PathBuf>,
    /// How many events may wait.
    pub queue: usize,
    /// For how long an event is told again.
    #[serde(rename = "retry_s", deserialize_with = "seconds")]
    pub retry: Duration,
}

/// What holds when a web hook that decides does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookFailure {
    /// Nobody gets in.
    Refuse,
    /// Everybody does.
    Accept,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Directives of `tracing_subscriber::EnvFilter`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
    /// Where lines go, if not to the standard error output.
    pub file: Option<PathBuf>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// One of `[[udp]]`: MPEG-TS over UDP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UdpInput {
    /// Where it arrives.
    pub listen: SocketAddr,
    /// What it becomes.
    pub stream: StreamKey,
}

/// One of `[[access]]`: what holds for some streams.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRule {
    /// For which.
    pub streams: Vec<Pattern>,
    /// Who may publish.
    pub publish: Option<AccessTerms>,
    /// Who may play.
    pub play: Option<AccessTerms>,
}

/// Who may do something.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessTerms {
    /// Nobody may.
    #[serde(default)]
    pub closed: bool,
    /// From these addresses only, unless there are none.
    #[serde(default, deserialize_with = "networks")]
    pub allow: Vec<IpNet>,
    /// Not from these addresses.
    #[serde(default, deserialize_with = "networks")]
    pub deny: Vec<IpNet>,
    /// By name and password.
    #[serde(default)]
    pub users: Vec<AccessUser>,
    /// By an address that is signed with one of these secrets.
    #[serde(default)]
    pub signed: Vec<Secret>,
    /// By a token.
    pub jwt: Option<AccessTokens>,
    /// SRT: the passphrase in place of `srt.passphrase`; empty for none.
    pub passphrase: Option<Secret>,
    /// Whether what a token or a signed address allowed ends when it expires.
    #[serde(default)]
    pub end_at_expiry: bool,
}

/// A name and a password.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// What tokens are checked with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessTokens {
    /// How they are signed.
    pub algorithm: TokenAlgorithm,
    /// The secret of HS256.
    pub secret: Option<Secret>,
    /// A public key of the form PEM.
    pub key_file: Option<PathBuf>,
    /// A set of public keys.
    pub jwks_file: Option<PathBuf>,
    /// What their `iss` has to be.
    pub issuer: Option<String>,
    /// What their `aud` has to be.
    pub audience: Option<String>,
}

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// RSA with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

fn some_milliseconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    milliseconds(deserializer).map(Some)
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_secs)
}

/// The keys of a TOML table are texts.
fn ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<u16, StreamKey>, D::Error> {
    let table = BTreeMap::<String, StreamKey>::deserialize(deserializer)?;
    let numbered = table.into_iter().map(|(port, key)| Ok((port.parse()?, key)));
    numbered.collect::<Result<_, ParseIntError>>().map_err(de::Error::custom)
}
