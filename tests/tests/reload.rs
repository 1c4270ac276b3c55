//! A configuration that changes while the gateway runs, and a log that is rotated.

use serde_json::Value;
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};
use thalweg_tests::{
    api::request,
    gateway::{Gateway, Running, start, test_file, thalweg, until},
    play::{Out, Recorder, record},
};

const CAM: &str = "live/cam";
const SECONDS: u32 = 6;
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that reads this file, besides what it is given to listen on.
fn with_file(text: &str, more: &[&str]) -> (Gateway, PathBuf) {
    let path = test_file("toml");
    fs::write(&path, text).expect("the folder of test files can be written");
    let mut command = thalweg(more);
    command.arg("--config").arg(&path);
    (Gateway::start_by(&mut command), path)
}

/// Has it read another text; what it says of that in the API.
fn reload(gateway: &Gateway, path: &Path, text: &str) -> Value {
    let before = last(gateway);
    fs::write(path, text).expect("it is ours");
    gateway.signal("HUP");
    let mut after = Value::Null;
    until("the configuration to be read again", || {
        after = last(gateway);
        after["data"]["at_ms"] != before["data"]["at_ms"]
    });
    after["data"].clone()
}

fn last(gateway: &Gateway) -> Value {
    let mut last = Value::Null;
    // There may be no room for one more connection at the moment.
    until("the API to answer", || {
        let answer = request(gateway.http, "GET", "api/v1/raw?rpc=reload-fetch");
        let whole = answer.ok().filter(|answer| answer.status == 200);
        let parsed = whole.and_then(|answer| serde_json::from_slice(&answer.body).ok());
        last = parsed.unwrap_or_default();
        !last.is_null()
    });
    last
}

fn text(value: &Value) -> String {
    value["msg"].as_str().unwrap_or_default().to_owned()
}

/// Publishes a clip at the speed at which it plays.
fn publish(url: &str) -> Running {
    let length = SECONDS.to_string();
    let source = ["-re", "-f", "lavfi", "-t", &length, "-i", "testsrc2=size=320x240:rate=25"];
    let coded = "-c:v libx264 -preset ultrafast -bf 0 -g 25 -f flv";
    let coded: Vec<&str> = coded.split(' ').collect();
    start("ffmpeg", &[&["-v", "error"], &source[..], &coded, &[url]].concat())
}

#[test]
fn a_configuration_that_changes_under_load_costs_no_frame() {
    let (gateway, path) = with_file("[play]\nwait_ms = 20000\n", &["publish.grace_s=0"]);
    let outs = [Out::Srt, Out::Rtmp, Out::Flv, Out::Ts, Out::Mp4];
    let players = outs.map(|out| record(&gateway, out, CAM));
    until("five players to wait", || {
        let answer = request(gateway.http, "GET", "api/v1/clients").expect("it answers");
        String::from_utf8_lossy(&answer.body).matches(CAM).count() >= 5
    });
    let publisher = publish(&gateway.rtmp(CAM));
    gateway.wait_for_frames(CAM, 5);
    for round in 0..8 {
        // Every kind of change: listeners come and go, limits below what is there, log, times.
        let text = if round % 2 == 0 {
            "[rtmps]\nlisten = ['127.0.0.1:0']\n[https]\nlisten = ['127.0.0.1:0']\n[tls]\nself_signed = true\n\
             [limits]\nconnections = 2\n[log]\nlevel = 'debug'\n[play]\nwait_ms = 10\ngop_cache = false\n\
             [timeouts]\nplayer_ms = 20000\n[hub]\nring_s = 10\n"
        } else {
            "[play]\nwait_ms = 20000\n"
        };
        fs::write(&path, text).expect("it is ours");
        gateway.signal("HUP");
        until("the change to be told", || {
            gateway.log().matches("configuration: changed").count() > round
        });
    }
    let (_, _) = publisher.finish(PATIENCE);
    let expected = usize::try_from(25 * SECONDS).expect("a few");
    for recording in players.map(Recorder::finish) {
        let seen = recording.probe();
        assert_eq!(seen.count("video"), expected, "{}", recording.case);
        assert!(seen.tracks.iter().all(|track| track.rises()), "{}", recording.case);
    }
}

#[test]
fn what_is_half_right_changes_nothing_and_is_told() {
    let (gateway, path) = with_file("[play]\nwait_ms = 100\n", &[]);
    let busy = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let address = busy.local_addr().expect("it is bound");
    let secure = format!("[tls]\nself_signed = true\n[https]\nlisten = ['{address}']\n");
    for (wrong, said) in [
        ("[limits]\nconnections = 1\n[play]\nwait_ms = 'soon'\n", ":4:11"),
        ("[limits]\nconnections = 1\n[nonsense]\n", "nonsense"),
        (&format!("{secure}[limits]\nconnections = 1\n"), "https.listen: cannot listen on"),
        (
            "[tls]\ncertificate = '/nowhere/a.pem'\n[https]\nlisten = ['127.0.0.1:0']\n",
            "/nowhere/a.pem",
        ),
        ("[limits]\nconnections = 1\n[log]\nfile = '/nowhere/log'\n", "/nowhere/log"),
    ] {
        let outcome = reload(&gateway, &path, wrong);
        assert_ne!(outcome["err"], 0, "{wrong}: {outcome}");
        assert!(text(&outcome).contains(said), "{wrong}: {outcome}");
        gateway.wait_for_log(&["ERROR", "the configuration stays as it was"]);
        // Two connections at once: the limit of one is not in force.
        let _one = TcpStream::connect(gateway.http).expect("it listens");
        let answer = request(gateway.http, "GET", "healthz").expect("it answers");
        assert_eq!(answer.status, 200, "{wrong}");
    }
    let outcome = reload(&gateway, &path, "[play]\nwait_ms = 200\n");
    assert_eq!(outcome["err"], 0, "{outcome}");
    assert!(text(&outcome).contains("changed: play.wait_ms"), "{outcome}");
}

#[test]
fn what_changes_and_what_takes_a_restart_is_told_by_name() {
    let (gateway, path) = with_file("", &[]);
    let changed = "[srt]\nlatency_ms = 200\npassphrase = 'correct horse'\n[limits]\nconnections = 1\n\
                   [tls]\nself_signed = true\n[rtmps]\nlisten = ['127.0.0.1:0']\n";
    for _ in 0..2 {
        let outcome = text(&reload(&gateway, &path, changed));
        let (live, restart) = outcome.split_once(';').expect("some take a restart");
        assert!(restart.contains("takes a restart: srt.latency_ms srt.passphrase"), "{outcome}");
        assert!(!live.contains("srt."), "{outcome}");
        // What takes a restart is told as long as it has not come.
        fs::write(&path, "").expect("it is ours");
        if live.contains("limits.connections") {
            let _one = TcpStream::connect(gateway.http).expect("it listens");
            until("the second connection to be refused", || {
                request(gateway.http, "GET", "healthz").is_ok_and(|answer| answer.status == 503)
            });
        }
    }
    let outcome = text(&reload(&gateway, &path, ""));
    assert!(!outcome.contains("restart"), "{outcome}");
    assert!(outcome.contains("rtmps.listen"), "{outcome}");
    gateway.wait_for_log(&["WARN", "these take a restart", "srt.latency_ms"]);
    assert!(!gateway.log().contains("correct horse"));
}

#[test]
fn a_log_that_is_rotated_goes_on_in_a_new_file() {
    let log = test_file("rotated");
    let old = log.with_extension("1");
    let gateway = Gateway::start(&[&format!("log.file=\"{}\"", log.display())]);
    let said = |path: &Path, what: &str| {
        until(what, || fs::read_to_string(path).is_ok_and(|text| text.contains(what)));
    };
    said(&log, "RLIMIT_NOFILE");
    for signal in ["USR1", "HUP"] {
        fs::rename(&log, &old).expect("both are ours");
        gateway.signal(signal);
        let what = if signal == "USR1" {
            "the log has been opened anew"
        } else {
            "configuration: changed"
        };
        said(&log, what);
        let kept = fs::read_to_string(&old).expect("it is still there");
        assert!(!kept.contains(what), "{kept}");
    }
}
