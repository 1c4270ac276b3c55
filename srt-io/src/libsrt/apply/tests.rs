//! Each option on a real socket: set and read back, and refused when its time has passed, as the table says.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::libsrt::ffi::RawSocket;
use crate::options::{Kind, Secret};

fn socket() -> RawSocket {
    ffi::startup().unwrap();
    RawSocket::new().unwrap()
}

fn bound() -> RawSocket {
    let socket = socket();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    socket
}

fn settable() -> impl Iterator<Item = OptionName> {
    OptionName::all().filter(|name| !matches!(name.spec().rule, Rule::Kept | Rule::ReadOnly))
}

fn is_built_in(name: OptionName) -> bool {
    ffi::knows_option(&socket(), symbol(name).0)
        && (needed_feature(name) != Some("ENABLE_BONDING") || ffi::has_groups())
}

/// A value that is not the default.
fn sample(name: OptionName) -> OptionValue {
    use OptionName as N;
    match name {
        N::TransType | N::RetransmitAlgorithm => OptionValue::Number(0),
        N::UdpSendBuffer | N::UdpRecvBuffer => OptionValue::Number(200_000),
        N::Mss => OptionValue::Number(1400),
        N::FlowWindow => OptionValue::Number(30_000),
        // Whole slots of 1500 − 28 bytes.
        N::SendBuffer | N::RecvBuffer => OptionValue::Number(1000 * 1472),
        N::BindToDevice => OptionValue::Text("lo".into()),
        N::IpTos => OptionValue::Number(0x20),
        N::IpTtl => OptionValue::Number(33),
        N::Congestion => OptionValue::Text("file".into()),
        N::PacketFilter => OptionValue::Text("fec,cols:10,rows:5".into()),
        N::StreamId => OptionValue::Text("#!::r=live/cam".into()),
        N::Passphrase => OptionValue::Secret(Secret::new("correct horse")),
        N::KeyLength => OptionValue::Number(32),
        N::MinVersion => OptionValue::Number(0x01_03_00),
        N::PayloadSize => OptionValue::Number(1000),
        N::OverheadBandwidth => OptionValue::Number(50),
        N::SendDropDelay | N::MaxBandwidth => OptionValue::Number(777),
        N::KmPreAnnounce => OptionValue::Number(300),
        N::ReuseAddress | N::MessageApi | N::TsbpdMode | N::TooLateDrop | N::NakReport => {
            OptionValue::Flag(false)
        }
        N::DriftTracer | N::EnforcedEncryption => OptionValue::Flag(false),
        N::Sender => OptionValue::Flag(true),
        N::Linger => OptionValue::Number(7),
        _ => match name.spec().kind {
            Kind::Number { max, .. } => OptionValue::Number(max.min(777)),
            other => unreachable!("no sample of {name}, {other:?}"),
        },
    }
}

#[test]
fn every_option_is_set_and_read_back() {
    for name in settable().filter(|name| is_built_in(*name)) {
        let socket = socket();
        let value = sample(name);
        if name.spec().readable {
            assert_ne!(read(socket.id(), name).as_ref(), Ok(&value), "{name} by default");
        }
        assert_eq!(set(socket.id(), name, &value), Ok(()), "{name}");
        if name.spec().readable {
            assert_eq!(read(socket.id(), name), Ok(value), "{name}");
        } else {
            assert_eq!(read(socket.id(), name), Err(OptionError::WriteOnly { option: name }));
        }
    }
}

#[test]
fn what_can_only_be_read_is_read() {
    let (socket, none) = (socket(), OptionValue::Number(0));
    for name in OptionName::all().filter(|name| name.spec().rule == Rule::ReadOnly) {
        if name != OptionName::GroupType || is_built_in(name) {
            assert!(read(socket.id(), name).is_ok(), "{name}");
        }
        assert_eq!(
            set(socket.id(), name, &none),
            Err(OptionError::NotNow { option: name, rule: Rule::ReadOnly })
        );
    }
    let version = read(socket.id(), OptionName::Version).unwrap().number();
    assert_eq!(version, Some(i64::from(ffi::version())));
    let state = read(socket.id(), OptionName::State).unwrap().number();
    assert_eq!(state, Some(i64::from(sys::SRTS_INIT)));
}

#[test]
fn the_limits_of_each_range_are_the_librarys() {
    for name in settable().filter(|name| is_built_in(*name)) {
        let Kind::Number { min, max, .. } = name.spec().kind else { continue };
        let lowest = if matches!(name, OptionName::KmPreAnnounce) { 1 } else { min };
        // The library has rules of its own for these two, which `Options::check` knows.
        let greatest = match name {
            OptionName::KmPreAnnounce => 1000,
            OptionName::GroupMinStableTimeout => 5000,
            _ => max,
        };
        for value in [lowest, greatest] {
            assert_eq!(
                set(socket().id(), name, &OptionValue::Number(value)),
                Ok(()),
                "{name} {value}"
            );
        }
    }
}

#[test]
fn bound_sockets_refuse_what_must_come_before() {
    let socket = bound();
    for name in settable().filter(|name| is_built_in(*name)) {
        let expected = match name.spec().rule {
            Rule::PreBind => Err(OptionError::NotNow { option: name, rule: Rule::PreBind }),
            _ => Ok(()),
        };
        assert_eq!(set(socket.id(), name, &sample(name)), expected, "{name}");
    }
}

#[test]
fn listening_sockets_take_post_options_only() {
    let socket = bound();
    socket.listen(1).unwrap();
    for name in settable().filter(|name| is_built_in(*name)) {
        let expected = match name.spec().rule {
            Rule::Post => Ok(()),
            rule => Err(OptionError::NotNow { option: name, rule }),
        };
        assert_eq!(set(socket.id(), name, &sample(name)), expected, "{name}");
    }
}

#[test]
fn what_the_library_lacks_is_named() {
    for name in settable().filter(|name| needed_feature(*name).is_some() && !is_built_in(*name)) {
        let error = set(socket().id(), name, &sample(name)).unwrap_err();
        assert!(
            matches!(error, OptionError::Unsupported { option, .. } if option == name),
            "{error}"
        );
        assert!(error.to_string().contains("was built without ENABLE_"), "{error}");
        let error = read(socket().id(), name).unwrap_err();
        assert!(matches!(error, OptionError::Unsupported { .. }), "{error}");
    }
}

#[test]
fn modes_bring_the_defaults_that_the_checks_assume() {
    let number = |socket: &RawSocket, name| read(socket.id(), name).unwrap().number();
    let flag = |socket: &RawSocket, name| read(socket.id(), name).unwrap().flag();
    for (options, live, messages) in [
        (Options::live(), true, true),
        (Options::message(), false, true),
        (Options::file(), false, false),
    ] {
        let socket = socket();
        apply(socket.id(), &options).unwrap();
        assert_eq!(flag(&socket, OptionName::TsbpdMode), Some(live), "{options:?}");
        assert_eq!(flag(&socket, OptionName::TooLateDrop), Some(live), "{options:?}");
        assert_eq!(flag(&socket, OptionName::MessageApi), Some(messages), "{options:?}");
        assert_eq!(number(&socket, OptionName::RecvLatency), Some(if live { 120 } else { 0 }));
        assert_eq!(number(&socket, OptionName::PayloadSize), Some(if live { 1316 } else { 0 }));
        assert_eq!(number(&socket, OptionName::Mss), Some(1500));
        assert_eq!(number(&socket, OptionName::FlowWindow), Some(25_600));
        assert_eq!(number(&socket, OptionName::RecvBuffer), Some(8192 * 1472));
        assert_eq!(number(&socket, OptionName::PeerIdleTimeout), Some(5000));
    }
}

#[test]
fn sizes_computed_for_a_bitrate_arrive_whole() {
    use crate::options::Bandwidth;
    let options = Options::long_haul().bitrate(Bandwidth::from_bits_per_s(400_000_000));
    let sizes = options.buffer_sizes().unwrap();
    let socket = socket();
    apply(socket.id(), &options).unwrap();
    let number = |name| {
        read(socket.id(), name).unwrap().number().and_then(|number| u64::try_from(number).ok())
    };
    assert!(sizes.flow_window_packets > 25_600);
    assert_eq!(number(OptionName::FlowWindow), Some(sizes.flow_window_packets));
    // Had the window come later, the library would have cut it.
    assert_eq!(number(OptionName::RecvBuffer), Some(sizes.recv_bytes));
    assert_eq!(number(OptionName::SendBuffer), Some(sizes.send_bytes));
}

#[test]
fn a_filter_that_the_library_does_not_know_is_refused_in_its_words() {
    let error = apply(socket().id(), &Options::live().packet_filter("magic,cols:1")).unwrap_err();
    let OptionError::Refused { option: OptionName::PacketFilter, code, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(code, sys::SRT_EINVPARAM);
}
