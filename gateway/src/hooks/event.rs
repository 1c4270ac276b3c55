//! What is told, and of whom: the events and their bodies.
//!
//! The fields, their types and their order are those of SRS 7 (`srs_app_http_hooks.cpp`, October 2024), so that a server
//! that was written for SRS works here.

use std::{
    collections::hash_map::RandomState, fmt, hash::BuildHasher, net::IpAddr, sync::OnceLock,
    time::Duration,
};

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::key::{StreamKey, short_name};

/// What may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// Somebody connected and wants something. The answer decides.
    Connect,
    /// Who connected is gone.
    Close,
    /// Somebody wants to publish. The answer decides.
    Publish,
    /// Who published has stopped.
    Unpublish,
    /// Somebody wants to play. The answer decides.
    Play,
    /// Who played has stopped.
    Stop,
    /// A segment of HLS is finished.
    Hls,
    /// A recorded file is finished.
    Dvr,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Close,
        Self::Publish,
        Self::Unpublish,
        Self::Play,
        Self::Stop,
        Self::Hls,
        Self::Dvr,
    ];

    /// Its name in the configuration and in the body.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "on_connect",
            Self::Close => "on_close",
            Self::Publish => "on_publish",
            Self::Unpublish => "on_unpublish",
            Self::Play => "on_play",
            Self::Stop => "on_stop",
            Self::Hls => "on_hls",
            Self::Dvr => "on_dvr",
        }
    }

    /// Whether somebody waits for the answer.
    #[must_use]
    pub const fn decides(self) -> bool {
        matches!(self, Self::Connect | Self::Publish | Self::Play)
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// What tells this process from others, and from itself after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `server_id`.
    pub server: String,
    /// `service_id`.
    pub service: String,
    /// The number of the process.
    pub pid: String,
}

impl Identity {
    /// That of this process, the same whenever it is asked for.
    #[must_use]
    pub fn of_process() -> &'static Self {
        static IDENTITY: OnceLock<Identity> = OnceLock::new();
        IDENTITY.get_or_init(|| {
            let pid = std::process::id();
            // The hasher's keys are random in each process.
            let random = || RandomState::new().hash_one(pid);
            let (server, service) = (short_name("vid-", random()), short_name("", random()));
            Self { server, service, pid: pid.to_string() }
        })
    }
}

/// Who connected, and what for: SRS calls it the request.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject {
    /// The connection.
    pub client: u64,
    /// Where it comes from.
    pub ip: IpAddr,
    /// The virtual host.
    pub vhost: String,
    /// The application.
    pub app: String,
    /// The stream; empty as long as nothing but the application is known.
    pub stream: String,
    /// The stream's id in the API.
    pub stream_id: String,
    /// The address of the application, as the client has it where the protocol tells that.
    pub tc_url: String,
    /// The page that the player is on.
    pub page_url: String,
    /// The parameters: `?k=v&k=v` of RTMP and HTTP, `k=v&k=v` of SRT.
    pub param: String,
}

/// A finished segment of HLS.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// How long it plays.
    pub duration: Duration,
    /// Its file; empty where it is kept in memory only.
    pub file: String,
    /// Its path in URLs.
    pub url: String,
    /// The file of the playlist; empty where it is kept in memory only.
    pub m3u8: String,
    /// The playlist's path in URLs.
    pub m3u8_url: String,
    /// Its media sequence number.
    pub seq_no: u64,
}

/// What an event tells besides its subject.
#[derive(Clone, Debug)]
pub(super) enum Detail<'a> {
    None,
    /// Bytes that were sent to the client and received from it.
    Traffic(u64, u64),
    Segment(&'a Segment),
    File(&'a str),
}

impl Subject {
    /// Of a connection that wants something of the stream `key`. What the protocol does not tell is as SRS fills it.
    #[must_use]
    pub fn of_stream(client: u64, ip: IpAddr, key: &StreamKey) -> Self {
        let app = Self::of_app(client, ip, key.vhost(), key.app());
        Self { stream: key.name().to_owned(), stream_id: key.id(), ..app }
    }

    /// Of a connection that has named no stream yet.
    #[must_use]
    pub fn of_app(client: u64, ip: IpAddr, vhost: &str, app: &str) -> Self {
        Self {
            client,
            ip,
            vhost: vhost.to_owned(),
            app: app.to_owned(),
            stream: String::new(),
            stream_id: String::new(),
            tc_url: format!("rtmp://{vhost}/{app}"),
            page_url: String::new(),
            param: String::new(),
        }
    }

    /// SRS leaves the default host out.
    fn stream_url(&self) -> String {
        let vhost = if self.vhost == StreamKey::VHOST_DEFAULT { "" } else { &*self.vhost };
        format!("{vhost}/{}/{}", self.app, self.stream)
    }
}

/// The body of an event, as JSON.
pub(super) fn body(hook: Hook, by: &Identity, of: &Subject, detail: &Detail<'_>) -> Vec<u8> {
    let mut fields = Fields(Vec::with_capacity(20));
    fields.text("server_id", &by.server);
    fields.text("service_id", &by.service);
    fields.text("action", hook.name());
    fields.text("client_id", &of.client.to_string());
    fields.text("ip", &of.ip.to_canonical().to_string());
    fields.text("vhost", &of.vhost);
    fields.text("app", &of.app);
    match hook {
        Hook::Connect => {
            fields.text("stream", &of.stream);
            fields.text("param", &of.param);
            fields.text("tcUrl", &of.tc_url);
            fields.text("pageUrl", &of.page_url);
        }
        Hook::Close => {}
        Hook::Play => {
            fields.text("stream", &of.stream);
            fields.text("tcUrl", &of.tc_url);
            fields.text("param", &of.param);
            fields.text("pageUrl", &of.page_url);
        }
        Hook::Publish | Hook::Unpublish | Hook::Stop | Hook::Hls | Hook::Dvr => {
            fields.text("tcUrl", &of.tc_url);
            fields.text("stream", &of.stream);
            fields.text("param", &of.param);
        }
    }
    fields.detail(detail);
    if !matches!(hook, Hook::Connect | Hook::Close) {
        fields.text("stream_url", &of.stream_url());
        fields.text("stream_id", &of.stream_id);
    }
    serde_json::to_vec(&fields).expect("texts and numbers can be written as JSON")
}

/// An object whose fields keep their order.
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn text(&mut self, name: &'static str, text: &str) {
        self.0.push((name, text.into()));
    }

    fn number(&mut self, name: &'static str, number: impl Into<Value>) {
        self.0.push((name, number.into()));
    }

    fn detail(&mut self, detail: &Detail<'_>) {
        match detail {
            Detail::None => {}
            Detail::Traffic(sent, received) => {
                self.number("send_bytes", *sent);
                self.number("recv_bytes", *received);
            }
            Detail::Segment(segment) => {
                // Whole milliseconds, as SRS has them.
                let ms = u32::try_from(segment.duration.as_millis()).unwrap_or(u32::MAX);
                self.number("duration", f64::from(ms) / 1000.0);
                self.text("cwd", &folder());
                self.text("file", &segment.file);
                self.text("url", &segment.url);
                self.text("m3u8", &segment.m3u8);
                self.text("m3u8_url", &segment.m3u8_url);
                self.number("seq_no", segment.seq_no);
            }
            Detail::File(file) => {
                self.text("cwd", &folder());
                self.text("file", file);
            }
        }
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The folder that relative paths count from.
fn folder() -> String {
    std::env::current_dir().unwrap_or_default().to_string_lossy().into_owned()
}

/// Without what may be secret.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, ip, vhost, app, stream, .. } = self;
        write!(f, "Subject({client} {ip} {vhost}/{app}/{stream})")
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
