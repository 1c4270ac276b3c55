//! The table's order and ranges, options that do not go together, and sizes.

use std::time::Duration;

use super::*;

fn planned(options: &Options, name: OptionName) -> Option<i64> {
    let plan = options.plan().expect("options are right");
    plan.iter().find(|(found, _)| *found == name).and_then(|(_, value)| value.number())
}

#[test]
fn the_table_agrees_with_its_names() {
    for name in OptionName::all() {
        assert_eq!(name.spec().name, name);
        assert_eq!(OptionName::from_key(name.key()), Some(name));
    }
    assert_eq!(OptionName::all().count(), 61);
}

#[test]
fn the_transmission_type_comes_first_and_the_filter_before_the_payload() {
    let options = Options::message()
        .payload_size(1000)
        .packet_filter("fec,cols:10")
        .mss(1500)
        .flow_window(64);
    let order: Vec<_> = options.plan().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        order,
        [
            OptionName::TransType,
            OptionName::Mss,
            OptionName::FlowWindow,
            OptionName::MessageApi,
            OptionName::PacketFilter,
            OptionName::PayloadSize,
        ]
    );
}

#[test]
fn times_are_rounded_up_to_milliseconds() {
    let latency = |time| planned(&Options::live().latency(time), OptionName::Latency);
    assert_eq!(latency(Duration::from_micros(200)), Some(1));
    assert_eq!(latency(Duration::from_millis(120)), Some(120));
    assert_eq!(latency(Duration::ZERO), Some(0));
    let linger = |time| planned(&Options::file().linger(time), OptionName::Linger);
    assert_eq!(linger(Some(Duration::from_millis(1))), Some(1));
    assert_eq!(linger(None), Some(-1));
}

#[test]
fn what_is_out_of_range_is_named_with_value_and_range() {
    let cases: &[(Options, &str)] = &[
        (
            Options::live().latency(Duration::from_secs(66)),
            "option latency cannot be 66000: allowed is 0…65535 ms",
        ),
        (
            Options::live().latency(Duration::MAX),
            "option latency cannot be 9223372036854775807: allowed is 0…65535 ms",
        ),
        (Options::live().overhead_percent(4), "option oheadbw cannot be 4: allowed is 5…100 %"),
        (Options::live().flow_window(31), "option fc cannot be 31: allowed is 32… packets"),
        (
            Options::live().payload_size(1457),
            "option payloadsize cannot be 1457: allowed is 0…1456 bytes",
        ),
        (
            Options::live().passphrase("short"),
            "option passphrase cannot be ***: allowed is a text of 10 to 79 bytes, or an empty one for none",
        ),
        (Options::live().ip_ttl(0), "option ipttl cannot be 0: allowed is 1…255 hops"),
        (Options::live().mss(75), "option mss cannot be 75: allowed is 76…65535 bytes"),
        (
            Options::live().bind_to_device("a-very-long-device"),
            "option bindtodevice cannot be \"a-very-long-device\": allowed is a text of at most 15 bytes",
        ),
        (
            Options::live().set(OptionName::KeyLength, OptionValue::Number(17)),
            "option pbkeylen cannot be 17: allowed is 0, 16, 24 or 32 bytes",
        ),
        (
            Options::live().set(OptionName::NakReport, OptionValue::Number(1)),
            "option nakreport cannot be 1: allowed is yes or no",
        ),
        (
            Options::live().set(OptionName::SendSync, OptionValue::Flag(true)),
            "option sndsyn is kept by this crate",
        ),
        (
            Options::live().set(OptionName::State, OptionValue::Number(1)),
            "option state can only be read",
        ),
    ];
    for (options, message) in cases {
        assert_eq!(options.check().unwrap_err().to_string(), *message);
    }
    assert!(Options::live().stream_id("x".repeat(512)).check().is_ok());
    assert!(Options::live().stream_id("x".repeat(513)).check().is_err());
    assert!(Options::live().stream_id("a\0b").check().is_err());
    assert!(Options::live().packet_filter("f".repeat(65)).check().is_err());
    assert!(Options::live().passphrase("").check().is_ok());
    assert!(Options::live().passphrase("p".repeat(79)).check().is_ok());
    assert!(Options::live().passphrase("p".repeat(80)).check().is_err());
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let pair = |options: Options| match options.check() {
        Err(OptionError::Conflict { option, with, .. }) => (option, with),
        other => panic!("{options:?}: {other:?}"),
    };
    use OptionName as N;
    assert_eq!(pair(Options::live().too_late_drop(false)), (N::TooLateDrop, N::TsbpdMode));
    assert_eq!(pair(Options::file().timed_delivery(true)), (N::TooLateDrop, N::TsbpdMode));
    assert!(Options::live().timed_delivery(false).too_late_drop(false).check().is_ok());
    assert!(Options::message().timed_delivery(true).too_late_drop(true).check().is_ok());
    assert_eq!(pair(Options::live().message_api(false)), (N::MessageApi, N::Congestion));
    assert_eq!(pair(Options::file().congestion(Congestion::Live)), (N::MessageApi, N::Congestion));
    assert_eq!(pair(Options::live().mss(1000)), (N::PayloadSize, N::Mss));
    assert!(Options::live().mss(1000).payload_size(900).check().is_ok());
    assert_eq!(pair(Options::live().mss(1500).udp_send_buffer(1499)), (N::UdpSendBuffer, N::Mss));
    let fec = Options::live().packet_filter("fec,cols:10");
    assert_eq!(pair(fec.clone().payload_size(1453)), (N::PayloadSize, N::PacketFilter));
    assert!(fec.payload_size(1452).check().is_ok());
    let keys = Options::live().key_refresh_packets(1000);
    assert_eq!(pair(keys.clone().key_announce_packets(500)), (N::KmPreAnnounce, N::KmRefreshRate));
    assert!(keys.key_announce_packets(499).check().is_ok());
    assert_eq!(
        pair(Options::live().recv_buffer(64 * 1472).flow_window(63)),
        (N::RecvBuffer, N::FlowWindow)
    );
    let gcm = Options::live().crypto_mode(CryptoMode::AesGcm);
    assert!(gcm.check().is_ok());
    assert_eq!(pair(gcm.timed_delivery(false)), (N::CryptoMode, N::TsbpdMode));
    let group = Options::live().group_min_stable_timeout(Duration::from_secs(6));
    assert_eq!(pair(group), (N::GroupMinStableTimeout, N::PeerIdleTimeout));
}

#[test]
fn only_post_options_change_a_connected_socket() {
    let late = Options::changes().loss_max_ttl(40).max_bandwidth(MaxBandwidth::RelativeToInput);
    assert!(late.check_connected().is_ok());
    let error = late.latency(Duration::ZERO).check_connected().unwrap_err();
    assert_eq!(error, OptionError::NotNow { option: OptionName::Latency, rule: Rule::Pre });
    assert_eq!(
        error.to_string(),
        "option latency can be set only before the socket connects or listens"
    );
    let error = Options::live().check_connected().unwrap_err();
    assert_eq!(error, OptionError::NotNow { option: OptionName::TransType, rule: Rule::PreBind });
    assert!(Options::changes().bitrate(Bandwidth::from_bits_per_s(1)).check_connected().is_err());
}

#[test]
fn buffers_hold_bitrate_times_round_trip_and_latency() {
    // 100 Mbit/s × (200 ms + 2 s) / 1316 bytes = 20 896.6 packets, and a quarter more.
    let options = Options::live()
        .bitrate(Bandwidth::from_bits_per_s(100_000_000))
        .round_trip(Duration::from_millis(200))
        .latency(Duration::from_secs(2));
    let window = 26_121;
    assert_eq!(planned(&options, OptionName::FlowWindow), Some(window));
    assert_eq!(planned(&options, OptionName::RecvBuffer), Some(window * 1472));
    assert_eq!(planned(&options, OptionName::SendBuffer), Some(window * 1472));
    // Never below libsrt's defaults, and never over what is set.
    let slow = Options::live().bitrate(Bandwidth::from_bits_per_s(1_000_000));
    assert_eq!(planned(&slow, OptionName::FlowWindow), Some(25_600));
    assert_eq!(planned(&slow, OptionName::RecvBuffer), Some(8192 * 1472));
    let own = options.flow_window(1000).send_buffer(5000);
    assert_eq!(planned(&own, OptionName::FlowWindow), Some(1000));
    assert_eq!(planned(&own, OptionName::RecvBuffer), Some(1000 * 1472));
    assert_eq!(planned(&own, OptionName::SendBuffer), Some(5000));
    // A receive buffer takes its window along.
    let deep = Options::live().recv_buffer(30_000 * 1472);
    assert_eq!(planned(&deep, OptionName::FlowWindow), Some(30_000));
    assert_eq!(planned(&Options::live(), OptionName::FlowWindow), None);
    // What no buffer can hold is bounded by what libsrt can count.
    let absurd = Options::live().bitrate(Bandwidth::from_bytes_per_s(u64::MAX));
    assert_eq!(planned(&absurd, OptionName::FlowWindow), Some(i64::from(i32::MAX)));
}

#[test]
fn long_haul_goes_together() {
    let options = Options::long_haul().bitrate(Bandwidth::from_bits_per_s(20_000_000));
    assert_eq!(planned(&options, OptionName::RetransmitAlgorithm), Some(1));
    assert_eq!(planned(&options, OptionName::LossMaxTtl), Some(40));
    assert_eq!(planned(&options, OptionName::UdpSendBuffer), Some(1 << 20));
}

#[test]
fn secrets_do_not_print() {
    let options = Options::live().passphrase("correct horse");
    let options =
        options.stream_id("#!::r=live/cam,token=hunter2").latency(Duration::from_millis(7));
    let shown = format!("{options:?}");
    assert!(!shown.contains("horse") && !shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("r=live/cam,token=***") && shown.contains("latency: 7"), "{shown}");
    let long = Options::live().stream_id(format!("#!::token={}", "h".repeat(512)));
    let error = long.check().unwrap_err().to_string();
    assert!(error.contains("*** (522 bytes)") && !error.contains("hh"), "{error}");
    assert_eq!(format!("{} {:?}", Secret::new("a"), Secret::from("b")), "*** ***");
}

#[test]
fn units_are_converted() {
    assert_eq!(Bandwidth::from_bits_per_s(9).bytes_per_s(), 2);
    assert_eq!(Bandwidth::from_bytes_per_s(2).bits_per_s(), 16);
    assert_eq!(SrtVersion::new(1, 5, 1).code(), 0x01_05_01);
    assert_eq!(SrtVersion::from_code(0x01_05_01).to_string(), "1.5.1");
    let latency = OptionValue::Number(120);
    assert_eq!(latency.duration(OptionName::Latency), Some(Duration::from_millis(120)));
    assert_eq!(latency.duration(OptionName::FlowWindow), None);
    assert_eq!(OptionValue::Number(-1).duration(OptionName::Linger), None);
    // "No bandwidth" must not become "relative to the input".
    let nothing =
        Options::live().max_bandwidth(MaxBandwidth::Limit(Bandwidth::from_bytes_per_s(0)));
    assert_eq!(planned(&nothing, OptionName::MaxBandwidth), Some(1));
}
