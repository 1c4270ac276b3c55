//! What a peer wants, and what it shows for it.

use crate::{key::StreamKey, secret::Secret};
use std::{borrow::Cow, fmt, net::SocketAddr};

/// What a peer wants to do with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// To send it.
    Publish,
    /// To receive it.
    Play,
}

/// A peer's wish. It prints without what may be secret in it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The stream.
    pub key: StreamKey,
    /// What it wants to do.
    pub action: Action,
    /// How it came, as the API names it: `srt`, `rtmp`, `flv`, `ts`, `mp4`, `hls`, `udp`.
    pub protocol: &'static str,
    /// The connection's number, as in the log and the API.
    pub client: u64,
    /// Where it comes from; behind proxies that are trusted, where these say it does.
    pub peer: SocketAddr,
    /// Who it says it is.
    pub credentials: Credentials,
    /// All parameters as they came: the query of a URL, or of a stream id what is not its own, as `a=1&b=2`.
    pub params: Secret,
    /// RTMP: the URL that the client connected to.
    pub tc_url: Secret,
    /// RTMP and HTTP: the page that the player is on.
    pub page_url: Secret,
}

/// A peer that has connected to an application and has named no stream yet, as in RTMP. It prints without what may be secret.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The virtual host.
    pub vhost: String,
    /// The application.
    pub app: String,
    /// The connection's number, as in the log and the API.
    pub client: u64,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// The parameters of the application.
    pub params: Secret,
    /// The URL that the client connected to.
    pub tc_url: Secret,
    /// The page that the player is on.
    pub page_url: Secret,
}

/// What a peer shows to be let in. Each kind is what it was called, whether or not anybody asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// A name.
    pub user: Option<String>,
    /// The password for it.
    pub password: Option<Secret>,
    /// A token that somebody issued who is trusted.
    pub token: Option<Secret>,
    /// Until when a signed address is good, in seconds since 1970.
    pub expires: Option<String>,
    /// What makes a signed address good.
    pub signature: Option<Secret>,
}

impl Ask {
    /// A wish without credentials and parameters.
    #[must_use]
    pub fn new(action: Action, key: &StreamKey, protocol: &'static str, peer: SocketAddr) -> Self {
        Self {
            key: key.clone(),
            action,
            protocol,
            client: 0,
            peer,
            credentials: Credentials::default(),
            params: Secret::default(),
            tc_url: Secret::default(),
            page_url: Secret::default(),
        }
    }

    /// The same of a connection with this number.
    #[must_use]
    pub fn of_client(mut self, client: u64) -> Self {
        self.client = client;
        self
    }

    /// The same with the parameters of a URL, and the credentials among them.
    #[must_use]
    pub fn with_query(mut self, query: &str) -> Self {
        self.credentials = Credentials::of_query(query);
        self.params = query.into();
        self
    }
}

impl Credentials {
    /// Those among the parameters of a URL.
    #[must_use]
    pub fn of_query(query: &str) -> Self {
        // Some clients of RTMP start a second list with another question mark.
        let lists = query.split('?');
        Self::of_pairs(lists.flat_map(|list| form_urlencoded::parse(list.as_bytes())))
    }

    /// Those among pairs of names and values. Of several with one name the first counts.
    #[must_use]
    pub fn of_pairs<'a>(pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Self {
        let mut found = Self::default();
        for (name, value) in pairs {
            match &*name {
                "user" | "username" | "u" => keep(&mut found.user, || value.into_owned()),
                "pass" | "password" | "s" => keep(&mut found.password, || secret(value)),
                "token" | "jwt" | "access_token" => keep(&mut found.token, || secret(value)),
                "expires" => keep(&mut found.expires, || value.into_owned()),
                "sign" => keep(&mut found.signature, || secret(value)),
                _ => {}
            }
        }
        found
    }
}

fn secret(text: Cow<'_, str>) -> Secret {
    Secret::new(text.into_owned())
}

fn keep<T>(slot: &mut Option<T>, value: impl FnOnce() -> T) {
    slot.get_or_insert_with(value);
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish",
            Self::Play => "play",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_among_parameters() {
        let found = Credentials::of_query("user=me&pass=a%20b&token=t&x=1&expires=7&sign=00");
        assert_eq!(found.user.as_deref(), Some("me"));
        assert_eq!(found.password, Some("a b".into()));
        assert_eq!(found.token, Some("t".into()));
        assert_eq!((found.expires.as_deref(), found.signature), (Some("7"), Some("00".into())));
        assert_eq!(Credentials::of_query("token=1&token=2").token, Some("1".into()));
        assert_eq!(Credentials::of_query("vhost=a?token=2").token, Some("2".into()));
        assert_eq!(Credentials::of_query("x=1"), Credentials::default());
    }

    #[test]
    fn a_wish_prints_without_its_secrets() {
        let peer = "192.0.2.1:5".parse().unwrap();
        let ask = Ask::new(Action::Play, &"live/cam".parse().unwrap(), "flv", peer);
        let ask = ask.with_query("user=me&pass=horse&token=horse&sign=horse&x=horse");
        assert!(!format!("{ask:?} {ask:#?}").contains("horse"));
    }
}
