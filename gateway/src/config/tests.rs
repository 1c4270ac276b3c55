//! Configurations, right and wrong.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

fn file(text: &str) -> Result<Loaded, ConfigError> {
    load(Sources { file: Some(("gw.toml".into(), text.into())), ..Sources::default() })
}

fn set(arguments: &[&str]) -> Result<Loaded, ConfigError> {
    let arguments = arguments.iter().map(|&text| text.to_owned()).collect();
    load(Sources { arguments, ..Sources::default() })
}

fn variable(name: &str, value: &str) -> Result<Loaded, ConfigError> {
    load(Sources { environment: vec![(name.into(), value.into())], ..Sources::default() })
}

#[test]
fn the_defaults_stand_without_any_source() {
    let Loaded { config, in_force, .. } = defaults();
    assert_eq!(
        config.srt.listen,
        ["0.0.0.0:10080".parse().unwrap(), "[::]:10080".parse().unwrap()]
    );
    assert_eq!(config.srt.passphrase, None);
    assert_eq!(config.limits.memory_bytes, None);
    assert_eq!(config.hub.ring_bytes, 64 << 20);
    assert_eq!(config.play.merge_window, Duration::ZERO);
    assert_eq!(in_force.len(), schema::keys().count());
}

#[test]
fn every_key_goes_to_a_setting_of_its_own() {
    // The value of each key is changed in turn, and the configuration must notice.
    for key in schema::keys() {
        // Without which others it would be a contradiction.
        let beside: &[&str] = match key.path {
            "http.proxy_protocol" | "rtmp.proxy_protocol" => &["http.trusted_proxies=[\"::1\"]"],
            "https.listen" | "rtmps.listen" => &["tls.self_signed=true"],
            "tls.key" | "tls.more" => &["tls.certificate=a.pem"],
            "api.user" => &["api.password=\"another secret\""],
            "api.password" => &["api.user=\"somebody\""],
            "record.streams" => &["record.dir=r"],
            _ => &[],
        };
        // Half a contradiction may be one: then the defaults do.
        let plain = set(beside).unwrap_or_else(|_| defaults()).config;
        let changed = match key.kind {
            Kind::Boolean => (key.default == "false").to_string(),
            Kind::Integer { max, .. } if key.path == "play.merge_window_ms" => {
                (max / 2).to_string()
            }
            Kind::Integer { max, .. } => max.to_string(),
            Kind::Size { .. } => "\"1Gi\"".into(),
            Kind::Choice(choices) => {
                let other = choices.iter().find(|choice| format!("\"{choice}\"") != key.default);
                format!("\"{}\"", other.unwrap())
            }
            Kind::Secret { .. } => "\"a new and longer secret\"".into(),
            Kind::Path | Kind::LogFilter => "\"error\"".into(),
            Kind::Stream => "\"live/other\"".into(),
            Kind::Patterns => "[\"live/*\"]".into(),
            Kind::PathTemplate => "\"{app}-{stream}.{ext}\"".into(),
            Kind::Addresses => "[\"127.0.0.1:0\"]".into(),
            Kind::Name => "\"admin\"".into(),
            Kind::Hosts => "[\"gw.example.com\"]".into(),
            Kind::Address => "\"127.0.0.1:0\"".into(),
            Kind::Ips => "[\"192.0.2.1\"]".into(),
            Kind::Urls => "[\"http://hooks.example/\"]".into(),
            Kind::Ports => "{ 10090 = \"live/cam\" }".into(),
            Kind::Certificates => "[{ certificate = \"b.pem\", key = \"b.key\" }]".into(),
            Kind::Networks => "[\"10.0.0.0/8\"]".into(),
            Kind::Access => "[{ streams = \"live/*\", publish = false }]".into(),
            Kind::Inputs => "[{ listen = \"127.0.0.1:5000\", stream = \"cam\" }]".into(),
        };
        let changed = format!("{}={changed}", key.path);
        let loaded =
            set(&[beside, &[&*changed]].concat()).unwrap_or_else(|error| panic!("{error}"));
        assert_ne!(loaded.config, plain, "{} changes nothing", key.path);
    }
}

#[test]
fn half_a_credential_is_none() {
    for half in ["api.user=\"admin\"", "api.password=\"correct horse\""] {
        let error = set(&[half]).unwrap_err().to_string();
        assert!(error.contains("are one credential"), "{error}");
    }
    for wrong in [
        "api.user=\"a:b\"",
        "api.hosts=[\"::1\"]",
        "api.hosts=[\"http://x/\"]",
        "api.token=\"short\"",
    ] {
        assert!(set(&[wrong]).is_err(), "{wrong}");
    }
}

#[test]
fn later_sources_prevail() {
    let sources = |environment: &[(&str, &str)], arguments: &[&str]| Sources {
        file: Some(("gw.toml".into(), "[srt]\nlatency_ms = 1\n".into())),
        environment: environment.iter().map(|&(n, v)| (n.into(), v.into())).collect(),
        arguments: arguments.iter().map(|&text| text.into()).collect(),
    };
    let latency = |sources| load(sources).unwrap().config.srt.latency.as_millis();
    assert_eq!(latency(sources(&[], &[])), 1);
    assert_eq!(latency(sources(&[("THALWEG_SRT_LATENCY_MS", "2")], &[])), 2);
    assert_eq!(latency(sources(&[("THALWEG_SRT_LATENCY_MS", "2")], &["srt.latency_ms=3"])), 3);
    assert_eq!(latency(sources(&[], &["srt.latency_ms=3", "srt.latency_ms = 4"])), 4);
}

#[test]
fn a_file_may_set_all_there_is() {
    let loaded = file(
        r#"
        [[udp]]
        listen = "127.0.0.1:5000"
        stream = "studio"
        [srt]
        listen = ["[::1]:9000"]
        passphrase = "correct horse"
        default_mode = "publish"
        [srt.ports]
        9001 = "live/one"
        9002 = "eu/two"
        [limits]
        bitrate_per_publisher = "20Mbit/s"
        memory = "2GiB"
        "#,
    );
    let config = loaded.unwrap_or_else(|error| panic!("{error}")).config;
    assert_eq!(config.udp[0].stream.to_string(), "live/studio");
    assert_eq!(config.srt.ports[&9002].to_string(), "eu/two");
    assert_eq!(config.srt.default_mode, DefaultMode::Publish);
    assert_eq!(config.srt.passphrase.unwrap().reveal(), "correct horse");
    assert_eq!(config.limits.bitrate_per_publisher_bps, Some(20_000_000));
    assert_eq!(config.limits.memory_bytes, Some(2 << 30));
}

#[test]
fn what_a_shell_leaves_of_a_text_is_enough() {
    let config =
        set(&["log.level=debug", "log.format = json", "srt.passphrase=1234567890"]).unwrap().config;
    assert_eq!((&*config.log.level, config.log.format), ("debug", LogFormat::Json));
    assert_eq!(config.srt.passphrase.unwrap().reveal(), "1234567890");
    assert_eq!(
        variable("THALWEG_PUBLISH_SECOND", "takeover").unwrap().config.publish.second,
        SecondPublisher::Takeover
    );
    assert_eq!(set(&["log.file="]).unwrap().config.log.file, None);
}

/// Source, line, column, what is said, what was expected.
const WRONG: &[(&str, usize, usize, &str, &str)] = &[
    ("[srt]\nlatncy_ms = 20\n", 2, 1, "no key `latncy_ms` in [srt]", "did you mean `latency_ms`?"),
    ("[srt]\nmerge_window_ms = 20\n", 2, 1, "no key", "did you mean `play.merge_window_ms`?"),
    ("[srt]\nzzzzzzzzzzzz = 20\n", 2, 1, "no key", "expected one of listen, latency_ms"),
    ("\n[strt]\n", 2, 2, "no section `strt`", "did you mean `srt`?"),
    ("srt = 5\n", 1, 7, "is a section", "[srt]"),
    ("[srt]\nlatency_ms = \"20\"\n", 2, 14, "a text", "a whole number of ms, 0 to 60000"),
    ("[srt]\n  latency_ms = 70000\n", 2, 16, "out of range", "0 to 60000"),
    ("[srt]\nlatency_ms = -1\n", 2, 14, "out of range", "0 to 60000"),
    ("[srt]\nlatency_ms = 1.5\n", 2, 14, "fraction", "a whole number"),
    ("[srt]\nlatency_ms = 1\nlatency_ms = 2\n", 3, 1, "not TOML: duplicate key", ""),
    ("[srt\n", 1, 5, "not TOML", ""),
    (
        "[srt]\ndefault_mode = \"publsh\"\n",
        2,
        16,
        "did you mean `publish`?",
        "\"publish\" or \"request\"",
    ),
    ("[srt]\npassphrase = \"short\"\n", 2, 14, "5 bytes", "10 to 79"),
    ("[rtmp]\nlisten = \"0.0.0.0:1935\"\n", 2, 10, "a text", "a list of IP addresses"),
    (
        "[rtmp]\nlisten = [\"0.0.0.0:1935\", \"localhost\"]\n",
        2,
        27,
        "not an address",
        "0.0.0.0:1935",
    ),
    ("[rtmp]\nlisten = [1935]\n", 2, 11, "a whole number", "an IP address"),
    ("[srt.ports]\n0 = \"live/cam\"\n", 2, 1, "`0` is not a port", "1 to 65535"),
    ("[srt.ports]\n9000 = \"live/..\"\n", 2, 8, "`..`", "live/cam"),
    ("[[udp]]\nlisten = \"0.0.0.0:5000\"\n", 1, 1, "`stream` is missing", "`listen` and `stream`"),
    ("[[udp]]\nport = 5\n", 2, 1, "no key `port`", "`listen` and `stream`"),
    ("[hub]\nring_bytes = 5\n", 2, 14, "out of range", "at least 1048576"),
    ("[hub]\nring_bytes = \"5 parsecs\"\n", 2, 14, "not such a number", "64Mi"),
    ("[hub]\nring_bytes = \"99999999999Gi\"\n", 2, 14, "not such a number", "64Mi"),
    ("[log]\nlevel = \"info,a=loud\"\n", 2, 9, "expected one of", "a level"),
    ("[play]\ngop_cache = 1\n", 2, 13, "a whole number", "`true` or `false`"),
    ("[hooks]\non_play = \"http://h/\"\n", 2, 11, "a text", "a list of URLs"),
    ("[hooks]\non_play = [1]\n", 2, 12, "a whole number", "http://"),
    ("[hooks]\non_play = [\"http://a b/\"]\n", 2, 12, "not a URL", "http://"),
    ("[hooks]\non_play = [\"http://h/\", \"ftp://h/x\"]\n", 2, 25, "not such a URL", "http://"),
    ("[hooks]\nsecret = \"short\"\n", 2, 10, "5 bytes", "16 to 256"),
    // Contradictions.
    ("[http]\nlisten = [\"127.0.0.1:1935\"]\n", 2, 11, "twice", "`0.0.0.0:1935` of `rtmp.listen`"),
    ("[http]\nlisten = [\"[::1]:99\", \"[::1]:99\"]\n", 2, 23, "twice", "`http.listen`"),
    ("[srt.ports]\n10080 = \"live/cam\"\n", 2, 1, "twice", "`srt.listen`"),
    ("[srt]\nlisten = []\nports = { 1 = \"a\" }\n", 3, 9, "needs an address", ""),
    ("[limits]\nmemory = \"1Mi\"\n", 2, 10, "less than `hub.ring_bytes`", ""),
    ("[play]\nmerge_window_ms = 2000\n[hub]\nring_s = 2\n", 2, 19, "holds back more", ""),
];

#[test]
fn what_is_wrong_is_shown_where_it_stands() {
    for &(text, line, column, what, expected) in WRONG {
        let error = file(text).expect_err(text);
        let shown = error.to_string();
        let fault = &error.faults()[0];
        assert!(fault.what().contains(what), "{text}\n{shown}");
        assert!(fault.expected().contains(expected), "{text}\n{shown}");
        assert_eq!((fault.line(), fault.column()), (line, column), "{text}\n{shown}");
        assert!(shown.contains(&format!("gw.toml:{line}:{column}")), "{text}\n{shown}");
        assert!(shown.contains('^'), "{text}\n{shown}");
    }
}

#[test]
fn ports_that_do_not_collide_are_left_alone() {
    for arguments in [
        &["srt.listen=[\"0.0.0.0:1935\"]"][..], // UDP beside TCP
        &["rtmp.listen=[\"127.0.0.1:0\", \"127.0.0.1:0\"]"], // any free port, twice
        &["rtmp.listen=[\"127.0.0.1:99\", \"127.0.0.2:99\"]"], // two addresses
        &["rtmp.listen=[\"0.0.0.0:99\", \"[::]:99\"]"], // two families
    ] {
        assert!(set(arguments).is_ok(), "{arguments:?}");
    }
}

#[test]
fn all_faults_are_reported_at_once() {
    let error = file("[srt]\nlatency = 1\n[log]\nformat = 7\n[nope]\n").unwrap_err();
    assert_eq!(error.faults().len(), 3, "{error}");
}

#[test]
fn an_argument_is_shown_as_it_was_given() {
    let error = set(&["srt.latncy_ms=20"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "error: there is no key `latncy_ms` in [srt]\n --> --set:1:5\n  |\n1 | srt.latncy_ms=20\n  |     \
         ^^^^^^^^^ did you mean `latency_ms`?"
    );
    let error = set(&["srt.latency_ms"]).unwrap_err().to_string();
    assert!(error.contains("expected `key=value`"), "{error}");
    let error = set(&["srt.listen=[\"127.0.0.1:1\""]).unwrap_err().to_string();
    assert!(error.contains("not TOML") && error.contains("--set:1:"), "{error}");
    let error = set(&["log.level=lou=d=er"]).unwrap_err();
    assert_eq!(error.faults()[0].column(), 11, "{error}");
}

#[test]
fn a_variable_is_shown_with_its_name() {
    let error = variable("THALWEG_SRT_LATENCY_MS", "abc").unwrap_err().to_string();
    assert!(error.contains("$THALWEG_SRT_LATENCY_MS:1:1"), "{error}");
    assert!(error.contains("a whole number of ms"), "{error}");
    let error = variable("THALWEG_SRT_LATENCY", "20").unwrap_err().to_string();
    assert!(error.contains("did you mean `THALWEG_SRT_LATENCY_MS`?"), "{error}");
    assert!(variable("THALWEG_VALGRIND", "1").is_ok(), "it is none of ours");
}

#[test]
fn no_secret_is_shown() {
    let hidden = "correct horse";
    let loaded = set(&[&format!("srt.passphrase={hidden}")]).unwrap();
    let shown = format!("{:?} {}", loaded, reference::in_force(&loaded.in_force));
    assert!(!shown.contains(hidden), "{shown}");
    assert!(shown.contains("passphrase = \"***\"  # --set"), "{shown}");
    let urls = "hooks.on_play=[\"https://me:horse@h/x?token=horse\", 'http://h/y']";
    let loaded = set(&[urls]).unwrap();
    let shown = format!("{:?} {}", loaded, reference::in_force(&loaded.in_force));
    assert!(!shown.contains("horse"), "{shown}");
    assert!(
        shown.contains("on_play = [\"https://********@h/x?***********\", 'http://h/y']"),
        "{shown}"
    );
    let long = hidden.repeat(10);
    let told = |result: Result<Loaded, ConfigError>| {
        let error = result.unwrap_err();
        format!("{error} {error:?}")
    };
    for text in [
        told(set(&[&format!("srt.passphrase={long}")])),
        told(set(&[&format!("srt.passphrase=\"{long}")])),
        told(variable("THALWEG_SRT_PASSPHRASE", &long)),
        told(variable("THALWEG_SRT_PASSPHRASE", &format!("\"{long}"))),
        told(file(&format!("[srt]\npassphrase = \"{long}\"\n"))),
        told(file(&format!("[srt]\npassphrase = \"{hidden}\nx"))),
        told(file(&format!("[srt]\npassphrase = ['{hidden}']"))),
        told(file("[hooks]\non_play = [\"https://me:horse@h/x?token=horse\", \"x\"]\n")),
        told(file("[hooks]\non_play = [\"ftp://me:horse@h/x?token=horse\"]\n")),
        told(variable("THALWEG_HOOKS_ON_PLAY", "[\"https://me:horse@h/x\"")),
        told(file(&format!("srt = {{ passphrase = \"{hidden}\", nope = 1 }}"))),
    ] {
        assert!(!text.contains("horse"), "{text}");
    }
}

#[test]
fn what_is_in_force_is_a_configuration_itself() {
    let loaded =
        set(&["udp=[{listen=\"127.0.0.1:5000\",stream=\"cam\"}]", "srt.ports.9000=\"live/x\""])
            .unwrap();
    let shown = reference::in_force(&loaded.in_force);
    let again = file(&shown).unwrap_or_else(|error| panic!("{error}\n{shown}"));
    assert_eq!(again.config, loaded.config);
}

#[test]
fn the_documentation_tells_of_every_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let expected = reference::markdown();
    if std::env::var_os("THALWEG_BLESS").is_some() {
        #[expect(clippy::disallowed_methods, reason = "a plain test thread")]
        std::fs::write(path, &expected).unwrap();
    }
    #[expect(clippy::disallowed_methods, reason = "a plain test thread")]
    let written = std::fs::read_to_string(path).unwrap();
    let headings: BTreeSet<&str> =
        written.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    for key in schema::keys() {
        assert!(headings.contains(&*format!("`{}`", key.path)), "{} is not documented", key.path);
    }
    assert!(
        written == expected,
        "docs/configuration.md is not what the keys say; write it anew with \
         `THALWEG_BLESS=1 cargo test -p thalweg-gateway --lib config`"
    );
}
