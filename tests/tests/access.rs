//! Who may publish and play: what each kind of client is told that may not, in its own words, and that no secret leaves the
//! gateway.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use thalweg_srt_io::RejectReason;
use thalweg_tests::{
    api::{Answer, request},
    gateway::{Gateway, Running, run, start},
    play::ask,
    rtmp::Conversation,
    srt::knock,
};

/// The texts that must not be seen.
const SECRETS: [&str; 4] = [
    "studio-password",
    "signing-secret-horse",
    "shared-token-secret-of-32-bytes!",
    "stream-passphrase",
];

/// Rules of all kinds.
fn rules() -> String {
    let [password, signing, token, passphrase] = SECRETS;
    format!(
        r#"access=[
        {{ streams = "live/closed", publish = false, play = false }},
        {{ streams = "live/far", publish = {{ deny = ["127.0.0.0/8"] }}, play = {{ allow = ["192.0.2.0/24"] }} }},
        {{ streams = "live/secret", publish = {{ passphrase = "{passphrase}" }} }},
        {{ streams = "live/*",
           publish = {{ users = [{{ name = "studio", password = "{password}" }}],
                        jwt = {{ algorithm = "HS256", secret = "{token}" }} }},
           play = {{ signed = "{signing}" }} }},
        ]"#
    )
    .replace('\n', " ")
}

/// Runs `openssl` in a shell, as docs/security.md has it, and gives what it prints.
fn shell(script: &str) -> String {
    run("sh", &["-c", script], Duration::from_secs(20)).0.trim().to_owned()
}

/// The parameters of an address that is good for so long.
fn signed(message: &str, seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("1970 is over").as_secs();
    let expires = now.checked_add_signed(seconds).expect("it is a while yet");
    let secret = SECRETS[1];
    let hmac = "openssl dgst -sha256 -r -hmac";
    let sign = shell(&format!("printf %s '{message}:{expires}' | {hmac} '{secret}' | cut -c1-64"));
    format!("expires={expires}&sign={sign}")
}

/// A token with these parts, signed by the shared secret or not at all.
fn token(header: &str, claims: &str, secret: Option<&str>) -> String {
    let encode = "openssl base64 -A | tr '+/' '-_' | tr -d '='";
    let part = |json: &str| shell(&format!("printf %s '{json}' | {encode}"));
    let message = format!("{}.{}", part(header), part(claims));
    let sign = |secret: &str| {
        let hmac = format!("openssl dgst -sha256 -binary -hmac '{secret}'");
        shell(&format!("printf %s '{message}' | {hmac} | {encode}"))
    };
    format!("{message}.{}", secret.map(sign).unwrap_or_default())
}

const CLAIMS: &str = r#"{"exp":4102444800,"streams":"live/*","actions":"publish"}"#;
const HS256: &str = r#"{"alg":"HS256"}"#;

/// The status that curl sees.
fn status(gateway: &Gateway, path: &str, arguments: &[&str]) -> String {
    let url = gateway.http(path);
    let fixed = ["-s", "-o", "/dev/null", "-m", "10", "-w", "%{http_code}"];
    let arguments: Vec<&str> = fixed.iter().chain(arguments).copied().chain([&*url]).collect();
    run("curl", &arguments, Duration::from_secs(20)).0
}

#[test]
fn srt_is_told_by_its_numbers_before_the_handshake_ends() {
    let gateway = Gateway::start(&[&rules(), "play.wait_ms=0"]);
    let good = token(HS256, CLAIMS, Some(SECRETS[2]));
    let expired = token(HS256, &CLAIMS.replace("4102444800", "1"), Some(SECRETS[2]));
    let unsigned = token(r#"{"alg":"none"}"#, CLAIMS, None);
    let player = signed("play:live/cam", 60).replace('&', ",");
    let too_late = signed("play:live/cam", -60).replace('&', ",");
    let cases = [
        ("r=live/cam,m=publish".to_owned(), Err(RejectReason::UNAUTHORIZED)),
        ("r=live/cam,m=publish,u=studio,s=wrong".into(), Err(RejectReason::UNAUTHORIZED)),
        (format!("r=live/one,m=publish,u=studio,s={}", SECRETS[0]), Ok(())),
        (format!("r=live/two,m=publish,token={good}"), Ok(())),
        (format!("r=other/cam,m=publish,token={good}"), Ok(())),
        (format!("r=live/cam,m=publish,token={expired}"), Err(RejectReason::UNAUTHORIZED)),
        (format!("r=live/cam,m=publish,token={unsigned}"), Err(RejectReason::UNAUTHORIZED)),
        (format!("r=live/cam,m=request,{player}"), Err(RejectReason::NOT_FOUND)),
        (format!("r=live/cam,m=request,{too_late}"), Err(RejectReason::UNAUTHORIZED)),
        ("r=live/closed,m=publish".into(), Err(RejectReason::FORBIDDEN)),
        ("r=live/far,m=publish".into(), Err(RejectReason::FORBIDDEN)),
        ("r=live/..,m=publish".into(), Err(RejectReason::BAD_REQUEST)),
    ];
    for (id, expected) in cases {
        assert_eq!(knock(gateway.srt, &format!("#!::{id}")), expected, "{id}");
    }
    gateway.wait_for_log(&["refused in the handshake", "(1401)"]);
    assert_keeps_secrets(&gateway, &[&good, &expired]);
}

#[test]
fn a_passphrase_of_its_own_is_wanted_for_a_stream() {
    let gateway = Gateway::start(&[&rules()]);
    let url = gateway.srt_publish("live/secret");
    for (passphrase, said) in [
        (None, "Password required or unexpected"),
        (Some("not-the-passphrase"), "Incorrect passphrase"),
    ] {
        let url = passphrase.map_or_else(|| url.clone(), |text| format!("{url}&passphrase={text}"));
        let arguments = ["-v", "-a:no", "-t:2", &url, "file://con"];
        let (output, _) = start("srt-live-transmit", &arguments).end();
        assert!(output.contains(said), "{output}");
    }
    let url = format!("{url}&passphrase={}", SECRETS[3]);
    let arguments =
        ["-v", "error", "-f", "lavfi", "-i", "sine=duration=1", "-f", "mpegts", url.as_str()];
    let _said = run("ffmpeg", &arguments, Duration::from_secs(30));
    gateway.wait_for_log(&["publishes", "live/secret"]);
    // For other streams it is not wanted.
    assert_eq!(knock(gateway.srt, "#!::r=open/cam,m=publish"), Ok(()));
    assert_keeps_secrets(&gateway, &[]);
}

#[test]
fn rtmp_is_told_by_a_status_with_a_description() {
    let gateway = Gateway::start(&[&rules()]);
    let publish = |name: &str, answer: &[&str]| {
        let mut conversation = Conversation::begin(gateway.rtmp);
        conversation.connect("live");
        conversation.wait_for("NetConnection.Connect.Success");
        conversation.publish(name);
        answer.iter().for_each(|text| conversation.wait_for(text));
    };
    publish("cam", &["NetStream.Publish.Denied", "this needs user and password or a token"]);
    publish("closed", &["NetStream.Publish.Denied", "nobody may publish live/closed"]);
    publish("far", &["NetStream.Publish.Denied", "not from the address 127.0.0.1"]);
    publish("cam?user=studio&pass=wrong", &["NetStream.Publish.Denied", "do not fit"]);
    publish(&format!("cam?user=studio&pass={}", SECRETS[0]), &["NetStream.Publish.Start"]);
    let mut player = Conversation::begin(gateway.rtmp);
    player.connect("live");
    player.wait_for("NetConnection.Connect.Success");
    player.play("cam");
    player.wait_for("NetStream.Play.Failed");
    player.wait_for("this needs a signed address");
    let url = gateway.rtmp("live/cam?user=studio&pass=wrong");
    let arguments = ["-v", "error", "-f", "lavfi", "-i", "sine=duration=1", "-f", "flv", &url];
    let (said, is_well) = start("ffmpeg", &arguments).end();
    assert!(!is_well && said.contains("Server error: user and password do not fit"), "{said}");
    assert_keeps_secrets(&gateway, &[]);
}

#[test]
fn http_is_told_by_status_and_how_to_do_better() {
    let gateway = Gateway::start(&[&rules(), "play.wait_ms=0"]);
    let good = signed("play:live/cam", 60);
    for (path, expected) in [
        ("live/cam.flv".to_owned(), "401"),
        (format!("live/cam.flv?{}", signed("play:live/cam", -60)), "401"),
        (format!("live/cam.flv?{}", signed("publish:live/cam", 60)), "401"),
        (format!("live/other.flv?{good}"), "401"),
        ("live/closed.flv".into(), "403"),
        ("live/far.flv".into(), "403"),
        // Let in; but nobody publishes.
        (format!("live/cam.flv?{good}"), "404"),
        ("open/cam.flv".into(), "404"),
    ] {
        assert_eq!(status(&gateway, &path, &[]), expected, "{path}");
    }
    let answer = request(gateway.http, "GET", "live/cam.flv").expect("it is answered");
    assert!(answer.head.contains("www-authenticate: Basic realm="), "{}", answer.head);
    assert_keeps_secrets(&gateway, &[good.rsplit('=').next().expect("a signature")]);
}

#[test]
fn what_a_link_allowed_ends_with_it_where_the_rule_says_so() {
    let [_, signing, ..] = SECRETS;
    let rule = |ends: bool| {
        let play = format!(r#"{{ signed = "{signing}", end_at_expiry = {ends} }}"#);
        format!(r#"access=[{{ streams = "live/cam", play = {play} }}]"#)
    };
    let gateways = [true, false].map(|ends| Gateway::start(&[&rule(ends), "play.wait_ms=20000"]));
    let links = gateways.each_ref().map(|gateway| {
        let path = format!("live/cam.flv?{}", signed("play:live/cam", 3));
        ask(gateway, &path)
    });
    let encoders = gateways.each_ref().map(|gateway| {
        let url = gateway.rtmp("live/cam");
        let source = "-v error -re -f lavfi -i testsrc2=size=160x120:rate=25";
        let coded = "-c:v libx264 -preset ultrafast -g 25 -f flv";
        let fixed = source.split(' ').chain(coded.split(' '));
        let arguments: Vec<&str> = fixed.chain([&*url]).collect();
        start("ffmpeg", &arguments)
    });
    let [ending, lasting] = &gateways;
    lasting.wait_for_frames("live/cam", 1);
    ending.wait_for_log(&["is ended: what let it in has expired"]);
    ending.wait_for_log(&["closed", "protocol=\"flv\""]);
    let before = lasting.frames("live/cam");
    lasting.wait_for_frames("live/cam", before + 25);
    assert_eq!(lasting.clients("live/cam").len(), 2, "the player goes on");
    encoders.into_iter().for_each(Running::kill);
    drop(links);
}

#[test]
fn only_trusted_proxies_are_believed_about_addresses() {
    let far = ["-H", "X-Forwarded-For: 192.0.2.7"];
    let none = Gateway::start(&[&rules(), "play.wait_ms=0"]);
    assert_eq!(status(&none, "live/far.flv", &far), "403", "nobody is trusted");
    let settings = [&*rules(), "play.wait_ms=0", "http.trusted_proxies=[\"127.0.0.0/8\"]"];
    let gateway = Gateway::start(&settings);
    for (headers, expected) in [
        (&far[..], "404"),
        (&["-H", "Forwarded: for=192.0.2.7"], "404"),
        (&["-H", "X-Forwarded-For: 192.0.2.7, 198.51.100.1"], "403"),
        (&["-H", "X-Forwarded-For: 192.0.2.7, 198.51.100.1, 127.0.0.1"], "403"),
        (&["-H", "X-Forwarded-For: 192.0.2.7", "-H", "Forwarded: for=127.0.0.1"], "400"),
        (&["-H", "X-Forwarded-For: unknown"], "400"),
        (&[], "403"),
    ] {
        assert_eq!(status(&gateway, "live/far.flv", headers), expected, "{headers:?}");
    }
    gateway.wait_for_log(&["origin=192.0.2.7"]);
}

#[test]
fn the_proxy_protocol_tells_whose_a_connection_is() {
    let gateway = Gateway::start(&[
        &rules(),
        "play.wait_ms=0",
        "http.trusted_proxies=[\"127.0.0.0/8\"]",
        "http.proxy_protocol=true",
        "rtmp.proxy_protocol=true",
    ]);
    let status_of = |header: &str| {
        let mut stream = TcpStream::connect(gateway.http).expect("the gateway listens");
        let head = "GET /live/far.flv HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(format!("{header}{head}").as_bytes()).expect("the gateway reads");
        let mut bytes = Vec::new();
        // A connection that is closed at once may be reset.
        let _read = stream.read_to_end(&mut bytes);
        (!bytes.is_empty()).then(|| Answer::of(&bytes).status)
    };
    assert_eq!(status_of("PROXY TCP4 192.0.2.7 127.0.0.1 5 80\r\n"), Some(404));
    assert_eq!(status_of("PROXY TCP4 198.51.100.1 127.0.0.1 5 80\r\n"), Some(403));
    assert_eq!(status_of(""), None, "without the header nobody is served");
    gateway.wait_for_log(&["there is no header of the PROXY protocol"]);
    let mut stream = TcpStream::connect(gateway.rtmp).expect("the gateway listens");
    let mut hello = b"PROXY TCP4 192.0.2.9 127.0.0.1 7 1935\r\n\x03".to_vec();
    hello.resize(hello.len() + 1536, 0);
    stream.write_all(&hello).expect("the gateway reads");
    let mut answer = [0; 1];
    stream.read_exact(&mut answer).expect("the gateway shakes hands");
    drop(stream);
    gateway.wait_for_log(&["origin=192.0.2.9:7", "closed"]);
}

/// Neither the log nor the API shows a secret, nor any of `more`.
fn assert_keeps_secrets(gateway: &Gateway, more: &[&str]) {
    let mut shown = gateway.log() + &gateway.announced;
    for path in ["clients", "streams", "config", "coroutines", "events", "summaries", "rejections"]
    {
        let answer = request(gateway.http, "GET", &format!("api/v1/{path}"));
        let answer = answer.expect("it is answered");
        assert_ne!(answer.status, 401, "{path} is looked at from this machine");
        shown.push_str(&String::from_utf8_lossy(&answer.body));
    }
    for secret in SECRETS.iter().chain(more) {
        let at = shown.find(secret);
        assert_eq!(at, None, "{secret} in {}", shown.get(at.unwrap_or(0)..).unwrap_or_default());
    }
}
