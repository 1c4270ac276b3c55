//! HTTPS and RTMPS as ffmpeg, curl and openssl see them, and certificates that change under a stream.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use thalweg_tests::{
    gateway::{Gateway, Running, run, start, test_file, thalweg, until},
    media::{Seen, probe, seen},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// How long what is published is.
const SECONDS: u32 = 5;

const SECURE: [&str; 2] = ["https.listen=[\"127.0.0.1:0\"]", "rtmps.listen=[\"127.0.0.1:0\"]"];

/// Publishes a clip at the speed at which it plays.
fn publish(url: &str) -> Running {
    let length = SECONDS.to_string();
    let sources = ["testsrc2=size=320x240:rate=25", "sine=frequency=440:sample_rate=48000"];
    let sources =
        sources.map(|source| ["-re", "-f", "lavfi", "-t", &length, "-i", source]).concat();
    let coded = "-c:v libx264 -preset ultrafast -bf 0 -g 25 -c:a aac -f flv";
    let coded: Vec<&str> = coded.split(' ').collect();
    start("ffmpeg", &[&["-v", "error"], &sources[..], &coded, &[url]].concat())
}

/// Writes what plays at `url` to a file until it ends.
fn record(url: &str, extension: &str) -> (Running, PathBuf) {
    let path = test_file(extension);
    let file = path.to_str().expect("it is text");
    let more = if url.starts_with("https") { &["-tls_verify", "0"][..] } else { &[] };
    let copy = ["-i", url, "-map", "0", "-c", "copy", "-copyts", file];
    (start("ffmpeg", &[&["-v", "error"], more, &copy].concat()), path)
}

fn finish((player, path): (Running, PathBuf)) -> Seen {
    let (_, _) = player.finish(PATIENCE);
    seen(probe(path.to_str().expect("it is text")), PATIENCE)
}

/// What openssl says about a listener.
fn shaken(address: &str, more: &str) -> String {
    let command = format!("openssl s_client -connect {address} {more} </dev/null 2>&1");
    let output = Command::new("sh").args(["-c", &command]).output().expect("there is a shell");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What tells a certificate from others.
fn serial(address: &str) -> String {
    let command = format!(
        "openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    );
    let output = Command::new("sh").args(["-c", &command]).output().expect("there is a shell");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Makes a certificate and its key in a folder, with openssl.
fn make(folder: &Path, name: &str, days: &str) {
    let path = |end: &str| folder.join(format!("{name}.{end}")).display().to_string();
    let (certificate, key) = (path("pem"), path("key"));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"];
    let names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    let files = ["-days", days, "-keyout", &key, "-out", &certificate];
    let arguments = [&["req", "-x509"], &curve[..], &names, &files].concat();
    let (_, _) = run("openssl", &arguments, PATIENCE);
}

fn folder() -> PathBuf {
    let folder = test_file("d");
    fs::create_dir_all(&folder).expect("the folder of test files can be written");
    folder
}

/// A gateway with the pair `live` of a folder.
fn with_pair(folder: &Path) -> Gateway {
    let path = |end: &str| folder.join(format!("live.{end}")).display().to_string();
    let certificate = format!("tls.certificate=\"{}\"", path("pem"));
    let key = format!("tls.key=\"{}\"", path("key"));
    Gateway::start(&[SECURE[0], SECURE[1], &certificate, &key, "play.wait_ms=20000"])
}

fn copy(folder: &Path, from: &str, ends: &[&str]) {
    for end in ends {
        let (from, to) = (folder.join(format!("{from}.{end}")), folder.join(format!("live.{end}")));
        fs::copy(from, to).expect("both are ours");
    }
}

/// Every picture and every sound of the clip, once.
fn assert_whole(case: &str, seen: &Seen) {
    let (pictures, sounds) = (seen.count("video"), seen.count("audio"));
    let expected = usize::try_from(25 * SECONDS).expect("a few");
    assert_eq!(pictures, expected, "{case}: {seen:?}");
    assert!(
        sounds * 1024 >= 48_000 * usize::try_from(SECONDS).expect("a few") - 1024,
        "{case}: {sounds}"
    );
    for track in &seen.tracks {
        assert!(track.rises(), "{case}: {track:?}");
    }
}

#[test]
fn what_is_published_by_rtmps_is_watched_by_rtmps_and_https() {
    let gateway =
        Gateway::start(&[SECURE[0], SECURE[1], "tls.self_signed=true", "play.wait_ms=20000"]);
    let (rtmps, https) = (gateway.secure("rtmps"), gateway.secure("https"));
    let cam = format!("rtmps://{rtmps}/live/cam");
    let players: Vec<_> = ["flv", "ts", "mp4"]
        .map(|end| {
            (format!("https .{end}"), record(&format!("https://{https}/live/cam.{end}"), end))
        })
        .into_iter()
        .chain([("rtmps".to_owned(), record(&cam, "flv"))])
        .collect();
    until("four players to wait", || {
        let (clients, _) =
            run("curl", &["-sk", &format!("https://{https}/api/v1/clients")], PATIENCE);
        clients.matches("live/cam").count() >= 4
    });
    let (_, _) = publish(&cam).finish(PATIENCE);
    for (case, player) in players {
        assert_whole(&case, &finish(player));
    }
    let closed = gateway.log();
    assert!(closed.contains("protocol=\"rtmps\""), "{closed}");
}

#[test]
fn openssl_gets_what_it_asks_for() {
    let gateway = Gateway::start(&[SECURE[0], SECURE[1], "tls.self_signed=true"]);
    let https = gateway.secure("https").to_string();
    let said = shaken(&https, "-alpn h2,http/1.1");
    assert!(said.contains("TLSv1.3") && said.contains("ALPN protocol: http/1.1"), "{said}");
    let said = shaken(&https, "-tls1_2");
    assert!(said.contains("Protocol  : TLSv1.2"), "{said}");
    let said = shaken(&https, "-tls1_1");
    assert!(said.contains("alert") || said.contains("no protocols available"), "{said}");
    let said = shaken(&https, "-alpn h2");
    assert!(said.contains("no application protocol"), "{said}");
    let said = shaken(&gateway.secure("rtmps").to_string(), "");
    assert!(said.contains("TLSv1.3") && said.contains("No ALPN negotiated"), "{said}");
    let metrics = Command::new("curl").args(["-s", &gateway.http("metrics")]).output();
    let metrics = String::from_utf8_lossy(&metrics.expect("there is curl").stdout).into_owned();
    assert!(metrics.contains("thalweg_tls_certificate_expiry_seconds{name="), "{metrics}");
    // What speaks no TLS is told, and keeps nobody.
    let plain = format!("http://{https}/healthz");
    let spoken = Command::new("curl").args(["-s", &plain]).output().expect("there is curl");
    assert!(!spoken.status.success());
    gateway.wait_for_log(&["closed", "protocol=\"https\""]);
}

#[test]
fn a_certificate_changes_under_a_stream_and_only_for_one_that_fits() {
    let folder = folder();
    make(&folder, "live", "90");
    make(&folder, "next", "90");
    let gateway = with_pair(&folder);
    let (rtmps, https) = (gateway.secure("rtmps"), gateway.secure("https"));
    let cam = format!("rtmps://{rtmps}/live/cam");
    let player = record(&format!("https://{https}/live/cam.flv"), "flv");
    until("a player to wait", || {
        let (clients, _) =
            run("curl", &["-sk", &format!("https://{https}/api/v1/clients")], PATIENCE);
        clients.contains("live/cam")
    });
    let publisher = publish(&cam);
    gateway.wait_for_frames("live/cam", 10);

    let first = serial(&https.to_string());
    assert!(first.starts_with("serial="), "{first}");
    // A certificate that came without its key.
    copy(&folder, "next", &["pem"]);
    gateway.wait_for_log(&["ERROR", "stay as they were", "does not match the certificate"]);
    assert_eq!(serial(&https.to_string()), first);
    copy(&folder, "next", &["key"]);
    gateway.wait_for_log(&["INFO", "in force for new connections", "live.pem"]);
    for address in [https, rtmps] {
        assert_ne!(serial(&address.to_string()), first, "{address}");
    }

    let (_, _) = publisher.finish(PATIENCE);
    assert_whole("through both", &finish(player));
}

#[test]
fn a_gateway_without_a_usable_certificate_does_not_start() {
    let folder = folder();
    make(&folder, "live", "90");
    make(&folder, "next", "90");
    copy(&folder, "next", &["key"]);
    let pem = folder.join("live.pem").display().to_string();
    let key = folder.join("live.key").display().to_string();
    let certificate = format!("tls.certificate={pem}");
    for (settings, said) in [
        (&[SECURE[0]][..], "`https.listen` needs a certificate"),
        (
            &[SECURE[0], &certificate, &format!("tls.key={key}")],
            "live.key does not match the certificate",
        ),
        (&[SECURE[0], &certificate], "there is not a private key in it"),
        (&[SECURE[0], "tls.certificate=/nowhere/a.pem"], "cannot read /nowhere/a.pem"),
    ] {
        let output = thalweg(settings).output().expect("the program can be started");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{settings:?}: {errors}");
        assert!(errors.contains(said), "{settings:?}: {errors}");
    }
}
