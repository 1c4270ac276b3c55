//! The page at `/`: what is live, who watches, a player for each stream, and where to publish.
//!
//! Plain HTML, a style sheet and scripts of ours, in the program itself. They ask the API like anybody else; what is told
//! here is only which ports there are. Names of streams never go into the HTML: scripts put them in as text, under a policy
//! that lets nothing else in (CSP Level 3; Trusted Types).

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;

use super::{Addresses, Admin};
use crate::http::{Exchange, Response, Router, header};

/// A file that is the same for all who ask: its path, its media type, what is in it.
type File = (&'static str, &'static str, &'static str);

const SCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: &[File] = &[
    ("/page.css", "text/css; charset=utf-8", include_str!("page.css")),
    ("/page.js", SCRIPT, include_str!("page.js")),
    ("/page/addresses.js", SCRIPT, include_str!("addresses.js")),
    ("/page/api.js", SCRIPT, include_str!("api.js")),
    ("/page/clients.js", SCRIPT, include_str!("clients.js")),
    ("/page/document.js", SCRIPT, include_str!("document.js")),
    ("/page/events.js", SCRIPT, include_str!("events.js")),
    ("/page/figures.js", SCRIPT, include_str!("figures.js")),
    ("/page/hls.js", SCRIPT, include_str!("hls.js")),
    ("/page/mp4.js", SCRIPT, include_str!("mp4.js")),
    ("/page/offer.js", SCRIPT, include_str!("offer.js")),
    ("/page/recordings.js", SCRIPT, include_str!("recordings.js")),
    ("/page/screen.js", SCRIPT, include_str!("screen.js")),
    ("/page/stream.js", SCRIPT, include_str!("stream.js")),
    ("/page/whep.js", SCRIPT, include_str!("whep.js")),
    ("/page/whip.js", SCRIPT, include_str!("whip.js")),
];

/// Holds `{srt}`, `{rtmp}`, `{rtmps}`, `{webrtc}`: ports; `{hls}`: whether there is HLS; `{publish}`, `{play}`: items of lists.
const PAGE: &str = include_str!("page.html");

/// What the page may load, and who may show it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    media-src 'self' blob:; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; \
    form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

pub(super) fn route(admin: &Rc<Admin>, router: &mut Router) {
    let addresses = admin.addresses.clone();
    router.get("/", move |exchange| page(&addresses, exchange));
    for &(path, media_type, text) in FILES {
        router.get(path, move |exchange| {
            exchange.respond(answer(media_type, Bytes::from_static(text.as_bytes())))
        });
    }
}

fn page(addresses: &Addresses, exchange: &mut Exchange<'_, '_>) -> io::Result<()> {
    let request = exchange.request();
    // The name by which this client reaches us; without one, the address at which it did.
    let local = exchange.peer().local;
    let authority = request.host().map_or_else(|| local.to_string(), str::to_owned);
    let scheme = if exchange.peer().is_secure { "https" } else { "http" };
    let html = html(addresses, scheme, &authority);
    let response = answer("text/html; charset=utf-8", html.into());
    let response = response.with(header::CONTENT_SECURITY_POLICY, POLICY);
    exchange.respond(response.with(header::REFERRER_POLICY, "no-referrer"))
}

/// An answer that browsers keep, and ask about each time whether it is still the same.
fn answer(media_type: &'static str, body: Bytes) -> Response {
    // Its keys are always the same, and nobody gains by two versions of ours with one tag.
    let mut hasher = DefaultHasher::new();
    hasher.write(&body);
    let tag = format!("{:016x}", hasher.finish());
    let response = Response::bytes(media_type, body).tagged(&tag);
    response.with(header::CACHE_CONTROL, "no-cache").with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}

fn html(addresses: &Addresses, scheme: &str, authority: &str) -> String {
    let host = host_of(authority);
    let [srt, rtmp, rtmps] =
        [&addresses.srt, &addresses.rtmp, &addresses.rtmps].map(|all| ports(all));
    let srt_with =
        |mode| move |port| format!("srt://{host}:{port}?streamid=#!::r=live/cam,m={mode}");
    let by_rtmp = || {
        let plain = rtmp.iter().map(|port| ("rtmp", port));
        let secure = rtmps.iter().map(|port| ("rtmps", port));
        plain.chain(secure).map(|(scheme, port)| format!("{scheme}://{host}:{port}/live/cam"))
    };
    let publish = srt.iter().map(srt_with("publish")).chain(by_rtmp());
    let hls = addresses.has_hls.then_some("m3u8");
    let by_http = hls
        .into_iter()
        .chain(["flv", "ts", "mp4"])
        .map(|extension| format!("{scheme}://{authority}/live/cam.{extension}"));
    let play = by_http.chain(by_rtmp()).chain(srt.iter().map(srt_with("request")));
    let (publish, play) = (items(publish), items(play));
    PAGE.replace("{srt}", &list(&srt))
        .replace("{rtmp}", &list(&rtmp))
        .replace("{rtmps}", &list(&rtmps))
        .replace("{webrtc}", &list(&ports(&addresses.webrtc)))
        .replace("{hls}", hls.unwrap_or_default())
        .replace("{publish}", &publish)
        .replace("{play}", &play)
}

fn items(urls: impl Iterator<Item = String>) -> String {
    urls.fold(String::new(), |mut html, url| {
        let _infallible = write!(html, "<li><code>{}</code></li>", escaped(&url));
        html
    })
}

fn list(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" ")
}

/// Each port once, whatever the addresses.
fn ports(addresses: &[SocketAddr]) -> Vec<u16> {
    let mut ports: Vec<u16> = addresses.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// A host without its port; an IPv6 address keeps its brackets.
fn host_of(authority: &str) -> &str {
    let colon =
        authority.rfind(':').filter(|&at| !authority.get(at..).unwrap_or_default().contains(']'));
    authority.get(..colon.unwrap_or(authority.len())).unwrap_or(authority)
}

/// Text that is nothing but text in HTML.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut html, c| {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
        html
    })
}

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
    fn what_a_client_calls_us_is_text_in_the_page() {
        let html = html(&Addresses::default(), "http", "<a href='x'>&\"");
        assert!(
            html.contains("http://&lt;a href=&#39;x&#39;&gt;&amp;&quot;/live/cam.flv"),
            "{html}"
        );
    }

    #[test]
    fn nothing_in_the_page_is_from_elsewhere_or_against_its_policy() {
        for &(path, _, text) in FILES.iter().chain(&[("/", "", PAGE)]) {
            for barred in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!text.contains(barred), "{path} has {barred}");
            }
            let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!elsewhere.contains("https://") && !elsewhere.contains("http://"), "{path}");
            let is_inline = text.contains("style=") || text.contains("onclick=\"");
            assert!(!is_inline, "{path} has inline style or script");
        }
    }

    #[test]
    fn every_script_that_another_imports_is_served() {
        for &(path, _, text) in FILES {
            for (_, from) in text.lines().filter_map(|line| line.split_once(" from './")) {
                let name = from.trim_end_matches("';").trim_start_matches("page/");
                let served = format!("/page/{name}");
                assert!(FILES.iter().any(|file| file.0 == served), "{path} imports {served}");
            }
        }
    }
}
