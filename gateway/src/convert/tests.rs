//! Files of SRS as its documentation writes them, and junk.

use super::*;

fn converted(text: &str) -> Converted {
    convert(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// What the gateway makes of it.
fn in_force(text: &str) -> config::Config {
    let toml = converted(text).toml;
    let file = Some(("gateway.toml".into(), toml.clone()));
    let loaded = config::load(Sources { file, ..Sources::default() });
    *loaded.unwrap_or_else(|error| panic!("{error}\n{toml}")).config
}

fn addresses(list: &[std::net::SocketAddr]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

const CONSOLE: &str = "
listen              1935;
max_connections     1000;
daemon              off;
srs_log_tank        console;
http_api { enabled on; listen 1985; }
http_server { enabled on; listen 8080; dir ./objs/nginx/html; }
rtc_server { enabled on; listen 8000; candidate 192.0.2.7; }
srt_server { enabled on; listen 10080; latency 200; peerlatency 300; passphrase 'correct horse';
    default_streamid \"#!::r=live/studio,m=publish\"; }
vhost __defaultVhost__ {
    http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }
    play { gop_cache off; queue_length 10; mw_latency 350; }
    publish { normal_timeout 7000; }
    min_latency on;
}
";

#[test]
fn a_usual_file_becomes_one_of_ours() {
    let config = in_force(CONSOLE);
    assert_eq!(addresses(&config.rtmp.listen), ["0.0.0.0:1935", "[::]:1935"]);
    let http = ["0.0.0.0:1985", "0.0.0.0:8080", "[::]:1985", "[::]:8080"];
    assert_eq!(addresses(&config.http.listen), http);
    assert_eq!(addresses(&config.srt.listen), ["0.0.0.0:10080", "[::]:10080"]);
    assert_eq!(config.srt.latency.as_millis(), 300);
    assert_eq!(config.srt.passphrase.unwrap().reveal(), "correct horse");
    assert_eq!(config.srt.default_stream.to_string(), "live/studio");
    assert_eq!(config.webrtc.listen.unwrap().to_string(), "[::]:8000");
    assert_eq!(config.webrtc.candidates[0].to_string(), "192.0.2.7");
    assert_eq!(config.limits.connections, Some(1000));
    assert!(!config.play.gop_cache);
    assert_eq!(config.hub.ring_time.as_secs(), 10);
    assert_eq!(config.play.merge_window.as_millis(), 350);
    assert_eq!(config.timeouts.publisher.as_secs(), 7);
    assert_eq!(config.log.file, None);
    let notes = converted(CONSOLE).notes;
    let about = |line: usize| notes.iter().find(|note| note.line == line).map(|note| &*note.text);
    assert!(about(4).unwrap().contains("`daemon` is not needed"), "{notes:?}");
    assert!(about(7).unwrap().contains("files are not served"), "{notes:?}");
}

#[test]
fn webrtc_by_tcp_is_taken_over_where_it_is_on() {
    let tcp = |tcp: &str| {
        let text = format!("rtc_server {{ enabled on; listen 8000; tcp {{ {tcp} }} }}");
        addresses(&in_force(&text).webrtc.tcp_listen)
    };
    assert_eq!(tcp("enabled on; listen 8443;"), ["0.0.0.0:8443", "[::]:8443"]);
    assert_eq!(tcp("enabled on;"), ["0.0.0.0:8000", "[::]:8000"]);
    assert_eq!(tcp("enabled off; listen 8443;"), [""; 0]);
}

#[test]
fn what_is_not_there_is_off_as_in_srs() {
    let config = in_force("listen 1935;\nvhost __defaultVhost__ { }\n");
    assert!(config.srt.listen.is_empty() && config.http.listen.is_empty());
    assert_eq!(config.webrtc.listen, None);
}

#[test]
fn tls_log_credentials_and_inputs_come_along() {
    let config = in_force(
        "listen 10.0.0.1:1935 [::1]:1936;
        srs_log_file /var/log/srs.log; srs_log_level warn;
        http_server { enabled on; https { enabled on; listen 443; key ./a.key; cert ./a.crt; } }
        http_api { enabled off; }
        stream_caster { enabled on; caster mpegts_over_udp; listen 8935;
            output rtmp://127.0.0.1/live/studio; }",
    );
    assert_eq!(addresses(&config.rtmp.listen), ["10.0.0.1:1935", "[::1]:1936"]);
    assert_eq!(addresses(&config.https.listen), ["0.0.0.0:443", "[::]:443"]);
    assert_eq!(config.tls.certificate.unwrap().to_str(), Some("./a.crt"));
    assert_eq!(config.tls.key.unwrap().to_str(), Some("./a.key"));
    assert_eq!(config.log.file.unwrap().to_str(), Some("/var/log/srs.log"));
    assert_eq!(config.log.level, "warn");
    assert_eq!(config.udp[0].stream.to_string(), "live/studio");
    let config = in_force(
        "http_api { enabled on; listen 1985; auth { enabled on; username admin; password 'a long one'; } }",
    );
    assert_eq!(config.api.user.as_deref(), Some("admin"));
    assert_eq!(config.api.password.unwrap().reveal(), "a long one");
}

#[test]
fn address_rules_become_rules_of_access() {
    let config = in_force(
        "vhost __defaultVhost__ { security { enabled on; allow publish 10.0.0.0/8; deny play 192.0.2.1; } }",
    );
    let rule = &config.access[0];
    let (publish, play) = (rule.publish.as_ref().unwrap(), rule.play.as_ref().unwrap());
    assert_eq!((publish.allow[0].to_string(), publish.deny.len()), ("10.0.0.0/8".into(), 0));
    assert!(play.allow.is_empty() && play.deny[0].to_string().starts_with("192.0.2.1"));
    let config = in_force(
        "vhost __defaultVhost__ { security { enabled on; deny publish all; allow play all; } }",
    );
    assert!(config.access[0].publish.as_ref().unwrap().closed);
    assert!(config.access[0].play.is_none());
}

#[test]
fn what_has_no_equivalent_is_listed_with_its_line() {
    let text = "listen 1935;
vhost __defaultVhost__ {
    forward { enabled on; destination 127.0.0.1:19350; }
    transcode live { enabled on; ffmpeg ./ffmpeg; }
    refer { enabled on; all example.com; }
    dash { enabled off; }
    wonder { enabled on; }
}
vhost second.example { }
mystery on;
";
    let notes = converted(text).notes;
    let lines: Vec<usize> = notes.iter().map(|note| note.line).collect();
    assert_eq!(lines, [3, 4, 5, 7, 9, 10], "{notes:?}");
    assert!(notes[0].text.contains("`forward` has no equivalent"), "{notes:?}");
}

#[test]
fn what_the_gateway_would_not_take_is_left_out_and_told() {
    let text =
        "listen 1935;\nmax_connections 99999999;\nsrt_server { enabled on; passphrase short; }\n";
    let Converted { toml, notes } = converted(text);
    assert!(!toml.contains("connections =") && !toml.contains("passphrase"), "{toml}");
    assert!(
        notes.iter().any(|note| note.line == 2 && note.text.contains("limits.connections")),
        "{notes:?}"
    );
    assert!(
        notes.iter().any(|note| note.line == 3 && note.text.contains("srt.passphrase")),
        "{notes:?}"
    );
    assert!(!notes.iter().any(|note| note.text.contains("short")), "{notes:?}");
}

#[test]
fn what_is_no_file_of_srs_is_refused_with_its_line() {
    for (text, line) in [
        ("listen 1935", 1),
        ("vhost a {\n", 2),
        ("listen 1935;\n}\n", 2),
        ("\n;\n", 2),
        ("a \"b\n\";", 1),
        ("vhost a { b }", 1),
    ] {
        assert_eq!(convert(text).unwrap_err().line, line, "{text}");
    }
    let deep = "a {".repeat(1000);
    assert!(convert(&deep).is_err());
}

proptest::proptest! {
    #[test]
    fn junk_is_converted_or_refused_and_never_a_panic(text in "[a-z_ {};#\"'.:0-9/\\[\\]\n]{0,200}") {
        let _any = convert(&text);
    }

    #[test]
    fn values_of_all_kinds_are_converted_or_told(
        name in proptest::sample::select(&[
            "listen", "max_connections", "srs_log_level", "srs_log_file",
            "http_server { enabled on; listen", "srt_server { enabled on; latency",
            "srt_server { enabled on; default_streamid", "rtc_server { enabled on; candidate",
            "vhost __defaultVhost__ { dvr { enabled on; dvr_path",
            "vhost __defaultVhost__ { http_hooks { enabled on; on_publish",
            "vhost __defaultVhost__ { security { enabled on; allow publish",
            "vhost __defaultVhost__ { hls { enabled on; hls_fragment",
        ][..]),
        value in "[^;{}#\"'\\s]{1,40}",
    ) {
        let closing = "}".repeat(name.matches('{').count());
        let text = format!("{name} {value};{closing}");
        convert(&text).unwrap();
    }
}
