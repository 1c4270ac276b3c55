//! Stream ids as they come: what each dialect yields, and that nothing of a peer's can break the parser.

use super::*;

struct Case {
    from: &'static str,
    text: &'static str,
    dialect: Dialect,
    host: Option<&'static str>,
    resource: Option<&'static str>,
    user: Option<&'static str>,
    mode: Option<StreamMode>,
    params: &'static [(&'static str, &'static str)],
}

const NOTHING: Case = Case {
    from: "",
    text: "",
    dialect: Dialect::Empty,
    host: None,
    resource: None,
    user: None,
    mode: None,
    params: &[],
};
const STANDARD: Case = Case { dialect: Dialect::Standard, ..NOTHING };
const BARE: Case = Case { dialect: Dialect::Bare, ..NOTHING };
const PUBLISH: Option<StreamMode> = Some(StreamMode::Publish);
const REQUEST: Option<StreamMode> = Some(StreamMode::Request);

const CASES: &[Case] = &[
    Case { from: "VLC, Avid, Makito without access control", ..NOTHING },
    Case {
        from: "access-control.md",
        text: "#!::u=admin,r=bluesbrothers1_hi",
        user: Some("admin"),
        resource: Some("bluesbrothers1_hi"),
        ..STANDARD
    },
    Case {
        from: "access-control.md",
        text: "#!::u=johnny,t=file,m=publish,r=results.csv",
        user: Some("johnny"),
        resource: Some("results.csv"),
        mode: PUBLISH,
        ..STANDARD
    },
    Case {
        from: "OBS to SRS",
        text: "#!::r=live/livestream,m=publish",
        resource: Some("live/livestream"),
        mode: PUBLISH,
        ..STANDARD
    },
    Case {
        from: "ffplay from SRS",
        text: "#!::h=vhost.example.com,r=live/livestream,m=request",
        host: Some("vhost.example.com"),
        resource: Some("live/livestream"),
        mode: REQUEST,
        ..STANDARD
    },
    Case {
        from: "SRS with a secret",
        text: "#!::r=live/livestream?secret=xxx&a=1,m=publish",
        resource: Some("live/livestream"),
        mode: PUBLISH,
        params: &[("secret", "xxx"), ("a", "1")],
        ..STANDARD
    },
    Case {
        from: "SRS with a key of its own",
        text: "#!::r=live/livestream,m=publish,token=abc",
        resource: Some("live/livestream"),
        mode: PUBLISH,
        params: &[("token", "abc")],
        ..STANDARD
    },
    Case {
        from: "SRS 4",
        text: "#!::h=live/livestream,m=publish",
        dialect: Dialect::SrsLegacy,
        resource: Some("live/livestream"),
        mode: PUBLISH,
        ..NOTHING
    },
    Case {
        from: "SRS 4 with a virtual host",
        text: "#!::h=srs.srt.com.cn/live/livestream?secret=x,m=publish",
        dialect: Dialect::SrsLegacy,
        host: Some("srs.srt.com.cn"),
        resource: Some("live/livestream"),
        mode: PUBLISH,
        params: &[("secret", "x")],
        ..NOTHING
    },
    Case {
        from: "Blackmagic Web Presenter",
        text: "#!::bmd_uuid=3b1e,bmd_name=Web Presenter,r=live/cam1,m=publish",
        resource: Some("live/cam1"),
        mode: PUBLISH,
        params: &[("bmd_uuid", "3b1e"), ("bmd_name", "Web Presenter")],
        ..STANDARD
    },
    Case {
        from: "Haivision Makito X4",
        text: "#!::r=Encoder1/HD,u=operator",
        resource: Some("Encoder1/HD"),
        user: Some("operator"),
        ..STANDARD
    },
    Case {
        from: "Larix Broadcaster",
        text: "#!::r=live/phone,m=publish,u=larix,s=pw",
        resource: Some("live/phone"),
        user: Some("larix"),
        mode: PUBLISH,
        ..STANDARD
    },
    Case {
        from: "libsrt's block",
        text: "#!:{u=a,x={k=1,l=2},m=publish}",
        dialect: Dialect::Nested,
        user: Some("a"),
        mode: PUBLISH,
        params: &[("x", "{k=1,l=2}")],
        ..NOTHING
    },
    Case {
        from: "a block without the colon",
        text: "#!{r=live/s,m=request}",
        dialect: Dialect::Nested,
        resource: Some("live/s"),
        mode: REQUEST,
        ..NOTHING
    },
    Case {
        from: "a block that was cut",
        text: "#!:{r=live/s,m=publish,x={k=1",
        dialect: Dialect::Nested,
        resource: Some("live/s"),
        mode: PUBLISH,
        params: &[("x", "{k=1")],
        ..NOTHING
    },
    Case { from: "vMix", text: "live/camera", resource: Some("live/camera"), ..BARE },
    Case { from: "vMix", text: "camera", resource: Some("camera"), ..BARE },
    Case { from: "a leading slash", text: "/live/camera", resource: Some("live/camera"), ..BARE },
    Case {
        from: "ffmpeg to SRS with a secret",
        text: "live/camera?secret=a%26b",
        resource: Some("live/camera"),
        params: &[("secret", "a&b")],
        ..BARE
    },
    Case {
        from: "three parts, no host",
        text: "live/room/camera",
        resource: Some("live/room/camera"),
        ..BARE
    },
    Case {
        from: "two parts with a dot",
        text: "studio.one/camera",
        resource: Some("studio.one/camera"),
        ..BARE
    },
    Case {
        from: "OBS to MediaMTX",
        text: "publish:mystream",
        dialect: Dialect::Action,
        resource: Some("mystream"),
        mode: PUBLISH,
        ..NOTHING
    },
    Case {
        from: "MediaMTX with a user",
        text: "publish:my/stream:me:pw",
        dialect: Dialect::Action,
        resource: Some("my/stream"),
        user: Some("me"),
        mode: PUBLISH,
        params: &[("pass", "pw")],
        ..NOTHING
    },
    Case {
        from: "MediaMTX with a query",
        text: "read:mystream:a=1&b=2",
        dialect: Dialect::Action,
        resource: Some("mystream"),
        mode: REQUEST,
        params: &[("a", "1"), ("b", "2")],
        ..NOTHING
    },
    Case {
        from: "MediaMTX with all",
        text: "publish:mystream:me:pw:a=1:2",
        dialect: Dialect::Action,
        resource: Some("mystream"),
        user: Some("me"),
        mode: PUBLISH,
        params: &[("pass", "pw"), ("a", "1:2")],
        ..NOTHING
    },
    Case {
        from: "a player's mark",
        text: "read:mystream#feedbackplay",
        dialect: Dialect::Action,
        resource: Some("mystream"),
        mode: REQUEST,
        ..NOTHING
    },
    Case {
        from: "SLS",
        text: "uplive.sls.com/live/test",
        dialect: Dialect::HostPath,
        host: Some("uplive.sls.com"),
        resource: Some("live/test"),
        ..NOTHING
    },
    Case {
        from: "OvenMediaEngine",
        text: "default/app/stream/playlist",
        dialect: Dialect::HostPath,
        host: Some("default"),
        resource: Some("app/stream/playlist"),
        ..NOTHING
    },
    Case {
        from: "OvenMediaEngine, whole",
        text: "srt%3A%2F%2F192.168.0.1%3A9999%2Fapp%2Fstream%3Fpolicy%3Dabc%26signature%3Ddef",
        dialect: Dialect::Url,
        host: Some("192.168.0.1"),
        resource: Some("app/stream"),
        params: &[("policy", "abc"), ("signature", "def")],
        ..NOTHING
    },
    Case {
        from: "OvenMediaEngine, not encoded",
        text: "srt://[::1]:9999/app/stream",
        dialect: Dialect::Url,
        host: Some("[::1]"),
        resource: Some("app/stream"),
        ..NOTHING
    },
    Case {
        from: "Restreamer",
        text: "mystream,mode:publish,token:abc",
        dialect: Dialect::CommaColon,
        resource: Some("mystream"),
        mode: PUBLISH,
        params: &[("token", "abc")],
        ..NOTHING
    },
    Case {
        from: "VLC's URL box",
        text: "%23!::r=live/livestream,m=request",
        resource: Some("live/livestream"),
        mode: REQUEST,
        ..STANDARD
    },
    Case {
        from: "Moblin",
        text: "%23%21%3A%3Ar%3Dlive%2Fphone%2Cm%3Dpublish",
        resource: Some("live/phone"),
        mode: PUBLISH,
        ..STANDARD
    },
    Case {
        from: "a name that was encoded",
        text: "live%2Fcamera",
        resource: Some("live/camera"),
        ..BARE
    },
    Case {
        from: "a percent sign that is meant",
        text: "live/100%25",
        resource: Some("live/100%25"),
        ..BARE
    },
    Case {
        from: "a percent sign that encodes nothing",
        text: "%FF%FE",
        resource: Some("%FF%FE"),
        ..BARE
    },
    Case {
        from: "OBS, cut at an ampersand",
        text: "#!::r=live/livestream?secret=abc",
        resource: Some("live/livestream"),
        params: &[("secret", "abc")],
        ..STANDARD
    },
    Case {
        from: "cut after a key",
        text: "#!::r=live/livestream,m",
        resource: Some("live/livestream"),
        ..STANDARD
    },
    Case {
        from: "cut after an equals sign",
        text: "#!::r=live/livestream,m=",
        resource: Some("live/livestream"),
        ..STANDARD
    },
    Case { from: "nothing but the mark", text: "#!::", ..STANDARD },
    Case {
        from: "a value with an equals sign",
        text: "#!::r=a,token=YWJj==",
        resource: Some("a"),
        params: &[("token", "YWJj==")],
        ..STANDARD
    },
    Case {
        from: "other scripts",
        text: "#!::r=直播/相机,m=publish",
        resource: Some("直播/相机"),
        mode: PUBLISH,
        ..STANDARD
    },
];

#[test]
fn each_encoder_is_understood() {
    for case in CASES {
        let id =
            StreamId::parse(case.text).unwrap_or_else(|error| panic!("{}: {error}", case.from));
        let params: Vec<_> =
            id.params().iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(id.dialect(), case.dialect, "{}", case.from);
        assert_eq!(id.host(), case.host, "{}", case.from);
        assert_eq!(id.resource(), case.resource, "{}", case.from);
        assert_eq!(id.user(), case.user, "{}", case.from);
        assert_eq!(id.mode(), case.mode, "{}", case.from);
        assert_eq!(params, case.params, "{}", case.from);
        assert_eq!(id.original(), case.text, "{}", case.from);
    }
}

#[test]
fn what_would_be_guessed_is_refused() {
    let error = |text: &str| StreamId::parse(text).expect_err(text);
    assert_eq!(error("#!::r=a,m=publsh"), StreamIdError::UnknownMode("publsh".into()));
    assert_eq!(error("#!::r=a,r=b"), StreamIdError::DuplicateKey("r".into()));
    assert_eq!(error("#!::m=request,m=publish"), StreamIdError::DuplicateKey("m".into()));
    assert_eq!(error("a,mode:publish,mode:request"), StreamIdError::DuplicateKey("mode".into()));
    assert_eq!(error("#!X=1"), StreamIdError::UnknownFormat);
    assert_eq!(error("a\nb"), StreamIdError::ControlCharacter);
    assert_eq!(error("a%0Ab"), StreamIdError::ControlCharacter);
    assert_eq!(error("#!::r=a?x=%0A"), StreamIdError::ControlCharacter);
    assert_eq!(error(&"x".repeat(513)), StreamIdError::TooLong { len: 513 });
    assert_eq!(StreamId::parse_bytes(b"\xFF"), Err(StreamIdError::NotUtf8));
    assert!(StreamId::parse(&"x".repeat(512)).is_ok());
}

#[test]
fn truncations_and_noise_never_panic() {
    for case in CASES {
        for end in 0..=case.text.len() {
            let cut = case.text.as_bytes().get(..end).expect("within the text");
            // Whatever it is taken for, it keeps what came.
            if let Ok(id) = StreamId::parse_bytes(cut) {
                assert_eq!(id.original().as_bytes(), cut);
            }
        }
    }
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5EED_u64);
    let mut state = seed | 1;
    let mut next = move || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let alphabet = b"#!:{}=,%?&/rhustm23AFab.\xC3\xA9\x00srt://publish:";
    for _ in 0..50_000 {
        let len = usize::try_from(next() % 40).unwrap();
        let bytes: Vec<u8> =
            (0..len).map(|_| alphabet[usize::try_from(next()).unwrap() % alphabet.len()]).collect();
        if let Ok(id) = StreamId::parse_bytes(&bytes) {
            drop(id.encode().map(|text| StreamId::parse(&text)));
            let shown = format!("{id} {id:?}");
            assert!(!shown.contains(char::is_control), "{shown:?}, replay with SEED={seed}");
        }
    }
}

#[test]
fn what_is_written_is_read_back() {
    let id = StreamId::new(StreamMode::Publish, "live/a b")
        .with_host("example.com")
        .with_user("me")
        .with_session("s3")
        .with_param("acme_tag", "x=1");
    let text = id.encode().unwrap();
    assert_eq!(text, "#!::h=example.com,r=live/a b,u=me,s=s3,m=publish,acme_tag=x=1");
    let back = StreamId::parse(&text).unwrap();
    assert_eq!(back.pairs().collect::<Vec<_>>(), id.pairs().collect::<Vec<_>>());
    let colon = StreamId::new(StreamMode::Publish, "cam:").encode().unwrap();
    assert_eq!(colon, "#!::r=cam:,m=publish");
    let unwritable = StreamId::new(StreamMode::Request, "a,m=publish");
    assert_eq!(unwritable.encode(), Err(StreamIdError::Unwritable("r".into())));
}

#[test]
fn a_parameter_does_not_become_a_standard_key() {
    for text in ["a?m=publish", "#!::r=a?m=publish", "a?=x", "a?%20m=publish"] {
        let id = StreamId::parse(text).unwrap();
        assert_eq!(id.mode(), None);
        assert!(matches!(id.encode(), Err(StreamIdError::Unwritable(_))), "{text}");
    }
}

#[test]
fn secrets_are_masked_in_logs() {
    for text in [
        "#!::r=a,token=hunter2",
        "#!::r=a,s=hunter2",
        "publish:a:me:hunter2",
        "a?Secret=hunter2",
        "a,mode:publish,stream_key:hunter2",
    ] {
        let id = StreamId::parse(text).unwrap();
        let shown = format!("{id} {id:?}");
        assert!(!shown.contains("hunter2") && shown.contains("***"), "{shown}");
    }
}

#[test]
fn the_first_part_is_the_host_where_the_user_says_so() {
    let id = StreamId::parse("edge/live/cam").unwrap().with_host_first();
    assert_eq!((id.host(), id.resource()), (Some("edge"), Some("live/cam")));
    let short = StreamId::parse("live/cam").unwrap().with_host_first();
    assert_eq!((short.host(), short.resource()), (None, Some("live/cam")));
}
