//! The page at `/`: where to publish, what is live, and where to watch it. No script.

use std::fmt::{self, Display};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::Admin;
use super::api::state_name;
use crate::http::{Exchange, Response, Router, header};
use crate::hub::Source;

/// How many streams the page lists; the API lists them all.
const STREAMS_MAX: usize = 100;

pub(super) fn route(admin: &Rc<Admin>, router: &mut Router) {
    let admin = Rc::clone(admin);
    router.get("/", move |exchange| page(&admin, exchange));
}

fn page(admin: &Admin, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let request = exchange.request();
    // The name by which this client reaches us; without one, the address at which it did.
    let local = exchange.peer().local;
    let authority = request.host().map_or_else(|| local.to_string(), str::to_owned);
    let scheme = if exchange.peer().is_secure { "https" } else { "http" };
    let html = Html {
        admin,
        host: host_of(&authority).to_owned(),
        base: format!("{scheme}://{authority}"),
    };
    let response = Response::bytes("text/html; charset=utf-8", html.to_string().into());
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";
    let response = response.with(header::CONTENT_SECURITY_POLICY, policy);
    exchange.respond(response.with(header::CACHE_CONTROL, "no-store"))
}

/// A host without its port; an IPv6 address keeps its brackets.
fn host_of(authority: &str) -> &str {
    let colon =
        authority.rfind(':').filter(|&at| !authority.get(at..).unwrap_or_default().contains(']'));
    authority.get(..colon.unwrap_or(authority.len())).unwrap_or(authority)
}

struct Html<'a> {
    admin: &'a Admin,
    host: String,
    /// Of HTTP addresses.
    base: String,
}

impl Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        f.write_str("<h2>Publish</h2>\n<ul>\n")?;
        for port in ports(&self.admin.addresses.srt) {
            item(f, &format!("srt://{}:{port}?streamid=#!::r=live/cam,m=publish", self.host))?;
        }
        for port in ports(&self.admin.addresses.rtmp) {
            item(f, &format!("rtmp://{}:{port}/live/cam", self.host))?;
        }
        f.write_str("</ul>\n<h2>Watch</h2>\n")?;
        let sources = self.admin.registry.list();
        if sources.is_empty() {
            f.write_str("<p>Nobody publishes anything at the moment.</p>\n")?;
        }
        for source in sources.iter().take(STREAMS_MAX) {
            self.stream(f, source)?;
        }
        if sources.len() > STREAMS_MAX {
            writeln!(f, "<p>… and {} more.</p>", sources.len() - STREAMS_MAX)?;
        }
        f.write_str(TAIL)
    }
}

impl Html<'_> {
    fn stream(&self, f: &mut fmt::Formatter<'_>, source: &Source) -> fmt::Result {
        let path = source.key().path();
        write!(f, "<h3>{}</h3>\n<p>{}", Escaped(path), state_name(source.state()))?;
        for track in source.tracks().iter() {
            write!(f, ", {}", track.codec)?;
            if let Some((width, height)) = track.config.as_ref().and_then(|c| c.dimensions()) {
                write!(f, " {width}×{height}")?;
            }
        }
        f.write_str("</p>\n<ul>\n")?;
        let encoded = encode(path);
        for extension in ["flv", "ts", "mp4"] {
            let url = format!("{}/{encoded}.{extension}", self.base);
            let url = Escaped(&url);
            writeln!(f, "<li><a href=\"{url}\"><code>{url}</code></a></li>")?;
        }
        for port in ports(&self.admin.addresses.rtmp) {
            item(f, &format!("rtmp://{}:{port}/{encoded}", self.host))?;
        }
        for port in ports(&self.admin.addresses.srt) {
            item(f, &format!("srt://{}:{port}?streamid=#!::r={path},m=request", self.host))?;
        }
        f.write_str("</ul>\n")
    }
}

fn item(f: &mut fmt::Formatter<'_>, url: &str) -> fmt::Result {
    writeln!(f, "<li><code>{}</code></li>", Escaped(url))
}

/// Each port once, whatever the addresses.
fn ports(addresses: &[SocketAddr]) -> Vec<u16> {
    let mut ports: Vec<u16> = addresses.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// A path for a URL: what is no plain character of one is percent-encoded (RFC 3986 §3.3), slashes stay.
fn encode(path: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(path, KEPT).to_string()
}

/// Text that is nothing but text in HTML.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => fmt::Write::write_char(f, c),
        })
    }
}

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Thalweg</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 50rem; padding: 0 1rem; }
code { overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>Thalweg</h1>
";

const TAIL: &str =
    "<p><a href=\"/api/v1/streams\">Streams</a> · <a href=\"/api/v1/clients\">Clients</a> ·
<a href=\"/api/v1/summaries\">Summary</a> · <a href=\"/metrics\">Metrics</a></p>
</body>
</html>
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_their_ports() {
        for (authority, host) in [
            ("h", "h"),
            ("h:80", "h"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]"),
            ("1.2.3.4:80", "1.2.3.4"),
        ] {
            assert_eq!(host_of(authority), host);
        }
    }

    #[test]
    fn names_are_text_in_urls_and_in_html() {
        assert_eq!(encode("live/a b<\"ä"), "live/a%20b%3C%22%C3%A4");
        assert_eq!(Escaped("<a href='x'>&\"").to_string(), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    }
}
