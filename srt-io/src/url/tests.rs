//! SRT URLs as they are pasted, those that trap, and those that are refused.

use super::*;
use crate::options::{OptionError, Secret};

fn parse(text: &str) -> SrtUrl {
    SrtUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn number(url: &SrtUrl, name: OptionName) -> Option<i64> {
    url.options().value(name).and_then(OptionValue::number)
}

#[test]
fn the_mode_follows_from_host_and_adapter() {
    let cases = [
        ("srt://:5000", ConnectMode::Listener, "", None),
        ("srt://:5000?adapter=10.0.0.1", ConnectMode::Listener, "10.0.0.1", None),
        ("srt://10.0.0.1:5000?mode=listener", ConnectMode::Listener, "10.0.0.1", None),
        ("srt://example.com:5000", ConnectMode::Caller, "example.com", None),
        ("srt://[::]:5000", ConnectMode::Caller, "::", None),
        ("srt://[::]:5000?mode=server", ConnectMode::Listener, "::", None),
        (
            "srt://example.com:5000?adapter=10.0.0.1",
            ConnectMode::Rendezvous,
            "example.com",
            Some(5000),
        ),
        ("srt://h:5000?mode=rendezvous&port=4001", ConnectMode::Rendezvous, "h", Some(4001)),
        (
            "srt://h:5000?mode=caller&adapter=10.0.0.1&port=4001",
            ConnectMode::Caller,
            "h",
            Some(4001),
        ),
        ("SRT://h:5000/?mode=client&bind=[::1]:4001", ConnectMode::Caller, "h", Some(4001)),
    ];
    for (text, mode, host, local_port) in cases {
        let url = parse(text);
        assert_eq!((url.mode(), url.host(), url.local_port()), (mode, host, local_port), "{text}");
        assert_eq!(url.port(), 5000, "{text}");
    }
    assert_eq!(parse("srt://h:5000?mode=caller&bind=::1").adapter(), Some("::1"));
    let ffmpeg = SrtUrl::parse_as("srt://h:5000?adapter=10.0.0.1", Units::Ffmpeg).unwrap();
    assert_eq!(ffmpeg.mode(), ConnectMode::Caller);
}

#[test]
fn every_settable_option_has_a_key() {
    for name in OptionName::all() {
        use crate::options::{Kind, Rule};
        if matches!(name.spec().rule, Rule::ReadOnly | Rule::Kept) {
            continue;
        }
        let value = match (name, name.spec().kind) {
            (OptionName::Congestion, _) => "live".to_owned(),
            (OptionName::Passphrase, _) => "correct horse".to_owned(),
            (OptionName::PacketFilter, _) => "fec,cols:10".to_owned(),
            (OptionName::KmPreAnnounce, _) => "100".to_owned(),
            (OptionName::Mss, _) => "1500".to_owned(),
            (OptionName::UdpSendBuffer | OptionName::UdpRecvBuffer, _) => "100000".to_owned(),
            (_, Kind::Flag) => "1".to_owned(),
            (_, Kind::Number { min, .. }) => min.to_string(),
            (_, _) => "text".to_owned(),
        };
        let url = parse(&format!("srt://h:1?{}={value}", name.key()));
        let known = url.options().value(name).is_some() || name == OptionName::TransType;
        assert!(known, "{name}");
    }
}

#[test]
fn other_spellings_mean_the_same() {
    let url =
        parse("srt://h:1?tlpkdrop=yes&ffs=30000&pkt_size=ts_size&smoother=live&minversion=1.3.0");
    assert_eq!(url.options().value(OptionName::TooLateDrop), Some(&OptionValue::Flag(true)));
    assert_eq!(number(&url, OptionName::FlowWindow), Some(30_000));
    assert_eq!(number(&url, OptionName::PayloadSize), Some(1316));
    assert_eq!(number(&url, OptionName::MinVersion), Some(0x01_03_00));
    let error = SrtUrl::parse("srt://h:1?tlpkdrop=1&tlpktdrop=1").unwrap_err();
    assert_eq!(error, UrlError::DuplicateKey { key: "tlpktdrop" });
}

#[test]
fn microseconds_are_told_from_milliseconds() {
    assert_eq!(number(&parse("srt://h:1?latency=120"), OptionName::Latency), Some(120));
    let error = SrtUrl::parse("srt://h:1?latency=120000").unwrap_err();
    assert_eq!(error, UrlError::Microseconds { key: "latency", value: 120_000 });
    assert!(
        error.to_string().contains("microseconds in URLs for ffmpeg (there it means 120 ms)"),
        "{error}"
    );
    let long = parse("srt://h:1?rcvlatency=20000");
    assert_eq!(number(&long, OptionName::RecvLatency), Some(20_000));
    assert!(matches!(long.warnings(), [UrlWarning::LongTime { key: "rcvlatency", .. }]));

    let text = "srt://h:1?latency=120000&connect_timeout=4000&timeout=2000000&snddropdelay=-1";
    let ffmpeg = SrtUrl::parse_as(text, Units::Ffmpeg).unwrap();
    assert_eq!(number(&ffmpeg, OptionName::Latency), Some(120));
    assert_eq!(number(&ffmpeg, OptionName::ConnectTimeout), Some(4000));
    assert_eq!(number(&ffmpeg, OptionName::SendDropDelay), Some(-1));
    assert_eq!(ffmpeg.timeout(), Some(Duration::from_secs(2)));
    assert!(ffmpeg.warnings().is_empty());
    let short = SrtUrl::parse_as("srt://h:1?latency=120", Units::Ffmpeg).unwrap();
    assert_eq!(number(&short, OptionName::Latency), Some(1));
    assert!(matches!(short.warnings(), [UrlWarning::ShortTime { key: "latency", .. }]));
}

#[test]
fn stream_ids_come_encoded_and_as_they_are() {
    for text in [
        "srt://h:1?streamid=#!::r=live/cam,m=publish",
        "srt://h:1?streamid=%23!::r%3Dlive/cam%2Cm=publish&latency=200",
        "srt://h:1?srt_streamid=#!::r=live/cam,m=publish",
    ] {
        let id = parse(text).options().value(OptionName::StreamId).cloned();
        assert_eq!(id, Some(OptionValue::Text("#!::r=live/cam,m=publish".into())), "{text}");
    }
    let plus = |units| SrtUrl::parse_as("srt://h:1?streamid=a+b", units).unwrap();
    let id = |units| plus(units).options().value(OptionName::StreamId).cloned();
    assert_eq!(id(Units::Milliseconds), Some(OptionValue::Text("a+b".into())));
    assert_eq!(id(Units::Ffmpeg), Some(OptionValue::Text("a b".into())));
}

fn error(text: &str) -> UrlError {
    SrtUrl::parse(text).expect_err(text)
}

#[test]
fn what_is_no_srt_url_is_refused() {
    for (text, expected) in [
        ("udp://h:1", UrlError::Scheme),
        ("srt:", UrlError::Scheme),
        ("srt://me:pw@h:1", UrlError::UserInfo),
        ("srt://h", UrlError::Port),
        ("srt://h:0", UrlError::Port),
        ("srt://h:+1", UrlError::Port),
        ("srt://h:65536", UrlError::Port),
        ("srt://:1?mode=caller", UrlError::Host),
        ("srt://::1:1", UrlError::Host),
        ("srt://[::g]:1", UrlError::Host),
        ("srt://a b:1", UrlError::Host),
        ("srt://h:1/live/cam", UrlError::Path),
        ("srt://h:1?streamid=%FF", UrlError::Encoding { key: "streamid" }),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn keys_and_values_that_are_wrong_are_refused_by_name() {
    assert!(matches!(error("srt://h:1?mode=push"), UrlError::Value { key: "mode", .. }));
    assert!(matches!(error("srt://h:1?rcvsyn=1"), UrlError::Kept { .. }));
    assert!(matches!(
        error("srt://h:1?tlpktdrop=0"),
        UrlError::Option(OptionError::Conflict { .. })
    ));
    assert!(matches!(
        error("srt://h:1?oheadbw=4"),
        UrlError::Option(OptionError::OutOfRange { .. })
    ));
    let unknown = error("srt://h:1?latancy=120");
    assert!(unknown.to_string().ends_with("no key \"latancy\"; is it latency?"), "{unknown}");
    let unknown = error("srt://h:1?pasphrase=correct+horse");
    assert!(unknown.to_string().contains("passphrase") && !unknown.to_string().contains("horse"));
    assert_eq!(error("srt://h:1?x=1").to_string(), "an SRT URL has no key \"x\"");
    let short = error("srt://h:1?passphrase=short");
    assert!(short.to_string().contains("***") && !short.to_string().contains("short"), "{short}");
}

#[test]
fn what_is_written_is_read_back_and_secrets_are_masked() {
    let text = "srt://[::1]:5000?adapter=::1&port=4000&mode=rendezvous&timeout=500&latency=200\
                &passphrase=correct%20%26+horse&pbkeylen=32&streamid=#!::r=a,token=hunter2&transtype=live";
    let url = parse(text);
    let secret = url.options().value(OptionName::Passphrase);
    assert_eq!(secret, Some(&OptionValue::Secret(Secret::new("correct &+horse"))));
    assert_eq!(parse(&url.to_string()), url);
    let shown = format!("{url:?}");
    assert!(!shown.contains("horse") && !shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("pbkeylen=32") && shown.contains("passphrase=***"), "{shown}");
    assert!(SrtUrl::parse("srt://:1?adapter=127.0:0:1").is_err(), "it would be written as IPv6");
    for text in ["srt://:1?transtype=file", "srt://:1?transtype=file&messageapi=1", "srt://:0"] {
        assert_eq!(parse(&parse(text).to_string()), parse(text), "{text}");
    }
}

#[test]
fn truncations_never_panic() {
    let text = "srt://[::1]:5000?bind=[::1]:4&mode=rendezvous&streamid=%23!::r=é&latency=0x78&minversion=1.3.0";
    for units in [Units::Milliseconds, Units::Ffmpeg] {
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            if let Ok(url) = SrtUrl::parse_as(text.get(..end).expect("on a boundary"), units) {
                assert_eq!(parse(&url.to_string()).host(), url.host());
            }
        }
    }
}
