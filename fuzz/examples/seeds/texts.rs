//! Seeds of what is written by people: HTTP requests, stream ids, URLs, configurations.

use crate::Corpus;
use thalweg_gateway::config::reference;

pub(crate) fn all(corpus: &Corpus) {
    for (name, text) in REQUESTS {
        corpus.put("http", name, &[&[1], text.as_bytes()].concat());
    }
    for (name, text) in STREAM_IDS {
        corpus.put("stream_id", name, text.as_bytes());
    }
    for (name, text) in URLS {
        corpus.put("srt_url", name, text.as_bytes());
    }
    let defaults = reference::toml();
    // As many lines of them as a seed may have.
    let mut len = 0;
    let fits = |line: &&str| {
        len += line.len() + 1;
        len < thalweg_fuzz::LEN_MAX
    };
    let defaults = defaults.lines().take_while(fits).collect::<Vec<_>>().join("\n");
    corpus.put("config", "defaults", &[&[0], defaults.as_bytes()].concat());
    for (name, text) in CONFIGURATIONS {
        corpus.put("config", name, text.as_bytes());
    }
}

const REQUESTS: &[(&str, &str)] = &[
    ("get", "GET /hello HTTP/1.1\r\nHost: h\r\nUser-Agent: a\r\nAccept: */*\r\n\r\n"),
    (
        "pipelined",
        "GET /hello HTTP/1.1\r\nHost: h\r\n\r\nHEAD /hello HTTP/1.1\r\nHost: h\r\n\r\nGET /name/x%2Fy?a=b&c=%41 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ),
    ("old", "GET http://example.org:80/hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
    (
        "sized_body",
        "POST /echo HTTP/1.1\r\nHost: [::1]:8080\r\nContent-Length: 5\r\n\r\nhelloGET /hello HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    (
        "chunked_body",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: t\r\n\r\nGET /hello HTTP/1.1\r\nHost: h\r\n\r\n",
    ),
    (
        "body_nobody_reads",
        "POST /ignore HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nPOST /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
    ),
    (
        "expects_continue",
        "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    ),
    ("range", "GET /tagged HTTP/1.1\r\nHost: h\r\nRange: bytes=2-5\r\nIf-Range: \"v1\"\r\n\r\n"),
    (
        "suffix_range",
        "GET /tagged HTTP/1.1\r\nHost: h\r\nRange: bytes=-3\r\n\r\nGET /tagged HTTP/1.1\r\nHost: h\r\nRange: bytes=10-\r\n\r\n",
    ),
    ("if_none_match", "GET /tagged HTTP/1.1\r\nHost: h\r\nIf-None-Match: \"v2\", W/\"v1\"\r\n\r\n"),
    (
        "options",
        "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\nOPTIONS /hello HTTP/1.1\r\nHost: h\r\nOrigin: o\r\nAccess-Control-Request-Method: GET\r\n\r\n",
    ),
    (
        "both_lengths",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "two_lengths",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\nContent-Length: 3\r\n\r\nabc",
    ),
    (
        "upgrade",
        "GET /hello HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ),
];

const STREAM_IDS: &[(&str, &str)] = &[
    ("standard", "#!::h=example.org,r=live/cam,u=me,s=secret-session,t=stream,m=publish"),
    ("nested", "#!:{h=host,r=live/cam,x={a=b,c={d=e}},m=request}"),
    ("srs_with_query", "#!::r=live/cam?token=abcdefghijkl&vhost=v,m=publish"),
    ("mediamtx", "publish:live/cam:user:password:token=x"),
    ("sls", "uplive.example.org/live/cam"),
    ("ome_encoded", "srt%3A%2F%2Fhost%3A9999%2Fapp%2Fstream"),
    ("ome", "srt://example.org:9999/app/stream"),
    ("restreamer", "cam,mode:publish,token:secret-token"),
    ("bare", "live/cam"),
    ("encoded", "%23!%3A%3Ar%3Dlive%2Fcam%2Cm%3Dpublish"),
    ("three_parts", "example.org/live/cam?k=v&l=w"),
];

const URLS: &[(&str, &str)] = &[
    (
        "caller",
        "srt://example.org:10080?streamid=#!::r=live/cam,m=publish&latency=120&passphrase=0123456789&pbkeylen=16",
    ),
    (
        "ffmpeg",
        "srt://[::1]:9000?mode=caller&latency=120000&connect_timeout=3000&pkt_size=1316&transtype=live&maxbw=1000000",
    ),
    ("listener", "srt://:9000?mode=listener&adapter=127.0.0.1&tlpktdrop=1&rcvbuf=8192000"),
    ("rendezvous", "srt://192.0.2.1:9000?mode=rendezvous&port=9001&timeout=5000&nakreport=0"),
    ("file", "srt://h:1?transtype=file&messageapi=1&congestion=file&streamid=a%20b%26c"),
];

const CONFIGURATIONS: &[(&str, &str)] = &[
    (
        "values",
        "\0[srt]\nlisten = [\"127.0.0.1:10080\", \"[::1]:0\"]\nlatency_ms = 20\npassphrase = \"0123456789\"\n\n[play]\nmerge_window_ms = 100\nts_start = \"live\"\n[limits]\nmemory = \"64 MiB\"\n",
    ),
    (
        "faults",
        "\0[srt]\nlatenzy_ms = 20\nlatency_ms = \"20\"\n[nothing]\nx = 1\n[http]\nlisten = [\"nowhere\"]\n",
    ),
    ("broken", "\0[srt\nlisten = [\"\n"),
    ("inline", "\0srt = { latency_ms = 20, listen = [] }\nrtmp.listen = ['127.0.0.1:1935']\n"),
    (
        "arguments",
        "\x01srt.latency_ms=20\nhttp.listen=[\"127.0.0.1:0\"]\nTHALWEG_SRT_LISTEN=127.0.0.1:1\nTHALWEG_LOG_FORMAT=json\nplay.merge_window_ms=x\n",
    ),
];
