//! Where a stream is: what `rtmp://host/app/name?params` says, however the client split it.
//!
//! Clients cut an address into `app` and `tcUrl` in "connect", and a name in "publish" or "play", each with or without
//! parameters. The app may have several parts; the virtual host may be the host of `tcUrl` or a parameter.

use std::fmt;

/// A stream as a client names it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// The virtual host: the parameter `vhost`, else the host of `tcUrl`; empty when neither is there.
    pub vhost: String,
    /// The application; may have several parts.
    pub app: String,
    /// The stream in it.
    pub name: String,
    /// Parameters, as `a=1&b=2`, those of the application first. They may hold secrets.
    pub query: String,
}

impl Address {
    /// What the three texts of a client mean together.
    ///
    /// A name that is empty is taken from the last part of the application, since encoders with one field for the
    /// whole address have none.
    pub fn new(tc_url: &str, app: &str, name: &str) -> Self {
        let (app, app_query) = split_query(app);
        let (name, name_query) = split_query(name);
        let (url, url_query) = split_query(tc_url);
        // Clients put the parameters of the application into both `app` and `tcUrl`.
        let app_query = if app_query.is_empty() { url_query } else { app_query };
        let queries = [app_query, name_query].into_iter().filter(|query| !query.is_empty());
        let query = queries.collect::<Vec<_>>().join("&");
        let (mut app, mut name) = (app.trim_matches('/'), strip_format(name.trim_matches('/')));
        if name.is_empty() {
            (app, name) = app.rsplit_once('/').unwrap_or(("", app));
        }
        let vhost = parameter(&query, "vhost").or_else(|| host(url)).unwrap_or_default();
        Self { vhost: vhost.to_owned(), app: app.to_owned(), name: name.to_owned(), query }
    }

    /// The application alone, before a stream is named.
    pub fn of_app(tc_url: &str, app: &str) -> Self {
        // A name that is there keeps the application as it is.
        Self { name: String::new(), ..Self::new(tc_url, app, "-") }
    }

    /// The value of a parameter, as it is written.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        parameter(&self.query, name)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.name)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vhost, app, name, query } = self;
        let query = if query.is_empty() { "" } else { "***" };
        write!(f, "Address({vhost:?}, {app:?}, {name:?}, {query})")
    }
}

/// What stands before and after the first `?`.
fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    // Some clients start a second list with another question mark.
    let mut pairs = query.split(['&', '?']).filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value).filter(|value| !value.is_empty())
}

/// The host of a URL, without user and port.
fn host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => host.split(':').next()?,
    };
    (!host.is_empty()).then_some(host)
}

/// Flash players put the kind of file before the name.
fn strip_format(name: &str) -> &str {
    ["mp4:", "flv:", "mp3:"].iter().find_map(|format| name.strip_prefix(format)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(tc_url: &str, app: &str, name: &str) -> [String; 4] {
        let Address { vhost, app, name, query } = Address::new(tc_url, app, name);
        [vhost, app, name, query]
    }

    #[test]
    fn the_forms_that_clients_use_mean_the_same() {
        let url = "rtmp://media.example:1935/live";
        assert_eq!(address(url, "live", "cam"), ["media.example", "live", "cam", ""]);
        assert_eq!(address(url, "live/", "/cam"), ["media.example", "live", "cam", ""]);
        assert_eq!(address(url, "live", "mp4:cam"), ["media.example", "live", "cam", ""]);
        assert_eq!(address("", "live", "cam"), ["", "live", "cam", ""]);
        assert_eq!(address("rtmp://me:x@[::1]:1935/live", "live", "cam")[0], "::1");
    }

    #[test]
    fn parameters_may_stand_anywhere() {
        let url = "rtmp://h/live?a=1";
        assert_eq!(address(url, "live?a=1", "cam?b=2"), ["h", "live", "cam", "a=1&b=2"]);
        assert_eq!(address(url, "live", "cam")[3], "a=1");
        assert_eq!(address("rtmp://1.2.3.4/live", "live?vhost=tv", "cam")[0], "tv");
        assert_eq!(address("rtmp://1.2.3.4/live", "live", "cam?key=x&vhost=tv")[0], "tv");
        let with_key = Address::new("", "live", "cam?key=s3cret&x=");
        assert_eq!(with_key.parameter("key"), Some("s3cret"));
        assert_eq!(with_key.parameter("x"), None);
        assert!(!format!("{with_key:?} {with_key}").contains("s3cret"));
    }

    #[test]
    fn an_application_may_have_several_parts() {
        let url = "rtmp://h/tv/region/one";
        assert_eq!(address(url, "tv/region/one", "cam")[1..3], ["tv/region/one", "cam"]);
        assert_eq!(address(url, "tv/region/one", "")[1..3], ["tv/region", "one"]);
        assert_eq!(address("rtmp://h/one", "one", "")[1..3], ["", "one"]);
    }
}
