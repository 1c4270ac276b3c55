//! How options travel to and from libsrt: symbol and C type of each, and what its refusals mean.
//!
//! [`Options`] knows rules and ranges; this file knows `SRTO_*`. Values are written in the order of
//! [`OptionName`], the transmission type first because it resets a dozen others. The types are those of
//! `srtcore/core.cpp` `CUDT::getOpt` and `srtcore/socketconfig.cpp` of libsrt 1.5.1: a number of the wrong
//! width is refused there.

#[cfg(test)]
mod tests;

use libsrt_sys as sys;

use super::ffi;
use crate::options::{OptionError, OptionName, OptionValue, Options, Rule, check_value};

/// The C type of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Bool,
    Int,
    Long,
    Linger,
    Text,
}

/// A value as libsrt takes it; the wrapper lends it out with its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawOption<'a> {
    /// A C++ `bool`.
    Bool(bool),
    /// An `int32_t`.
    Int(i32),
    /// An `int64_t`.
    Long(i64),
    /// A `struct linger`; `None` is off.
    Linger(Option<i32>),
    /// Bytes without a NUL at the end.
    Text(&'a [u8]),
}

/// Sets all options on a fresh socket, after checking them as a whole.
pub(crate) fn apply(socket: sys::SRTSOCKET, options: &Options) -> Result<(), OptionError> {
    options.plan()?.iter().try_for_each(|(name, value)| set(socket, *name, value))
}

/// Sets options on a connected socket.
pub(crate) fn apply_connected(
    socket: sys::SRTSOCKET,
    options: &Options,
) -> Result<(), OptionError> {
    options.check_connected()?;
    apply(socket, options)
}

/// Sets one option; whether it is too late for it, libsrt says.
pub(crate) fn set(
    socket: sys::SRTSOCKET,
    name: OptionName,
    value: &OptionValue,
) -> Result<(), OptionError> {
    check_value(name, value)?;
    let (symbol, wire) = symbol(name);
    let int = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
    let raw = match (wire, value) {
        (Wire::Bool, OptionValue::Flag(flag)) => RawOption::Bool(*flag),
        (Wire::Int, OptionValue::Number(number)) => RawOption::Int(int(*number)),
        (Wire::Long, OptionValue::Number(number)) => RawOption::Long(*number),
        (Wire::Linger, OptionValue::Number(-1)) => RawOption::Linger(None),
        (Wire::Linger, OptionValue::Number(seconds)) => RawOption::Linger(Some(int(*seconds))),
        (Wire::Text, OptionValue::Text(text)) => RawOption::Text(text.as_bytes()),
        (Wire::Text, OptionValue::Secret(secret)) => RawOption::Text(secret.reveal().as_bytes()),
        _ => unreachable!("check_value lets only values of the option's kind pass"),
    };
    ffi::set_option(socket, symbol, raw).map_err(|error| refusal(name, error))
}

/// Reads one option.
pub(crate) fn read(socket: sys::SRTSOCKET, name: OptionName) -> Result<OptionValue, OptionError> {
    if !name.spec().readable {
        return Err(OptionError::WriteOnly { option: name });
    }
    let (symbol, wire) = symbol(name);
    let value = match wire {
        Wire::Bool => ffi::option_bool(socket, symbol).map(OptionValue::Flag),
        Wire::Int => {
            ffi::option_int(socket, symbol).map(|number| OptionValue::Number(i64::from(number)))
        }
        Wire::Long => ffi::option_long(socket, symbol).map(OptionValue::Number),
        Wire::Linger => ffi::option_linger(socket, symbol)
            .map(|seconds| OptionValue::Number(seconds.map_or(-1, i64::from))),
        Wire::Text => ffi::option_text(socket, symbol)
            .map(|bytes| OptionValue::Text(String::from_utf8_lossy(&bytes).into_owned())),
    };
    value.map_err(|error| refusal(name, error))
}

/// What libsrt's refusal of a value that is in range means.
fn refusal(option: OptionName, error: ffi::SrtError) -> OptionError {
    let too_late = OptionError::NotNow { option, rule: option.spec().rule };
    match (error.code(), option.spec().rule) {
        (sys::SRT_EBOUNDSOCK, _) => OptionError::NotNow { option, rule: Rule::PreBind },
        (sys::SRT_ECONNSOCK, _) => too_late,
        // Where an option is not built in, it is an unknown number (`SRTO_E_SIZE` and `dispatchSet`) or
        // an operation that is not supported (`getOpt`).
        (sys::SRT_EINVPARAM | sys::SRT_EINVOP, _) if needed_feature(option).is_some() => {
            OptionError::Unsupported { option, needs: needed_feature(option).unwrap_or_default() }
        }
        _ => OptionError::Refused { option, code: error.code(), message: error.message() },
    }
}

/// What libsrt must be built with to know an option; `None` for those it always knows.
fn needed_feature(name: OptionName) -> Option<&'static str> {
    match name {
        OptionName::CryptoMode => Some("ENABLE_AEAD_API_PREVIEW (and is 1.5.2 at least)"),
        OptionName::MaxRetransmitBandwidth => Some("ENABLE_MAXREXMITBW (and is 1.5.3 at least)"),
        OptionName::GroupConnect | OptionName::GroupMinStableTimeout | OptionName::GroupType => {
            Some("ENABLE_BONDING")
        }
        _ => None,
    }
}

/// libsrt's number for an option, and its C type.
fn symbol(name: OptionName) -> (sys::SRT_SOCKOPT, Wire) {
    use OptionName as N;
    use Wire::{Bool, Int, Linger, Long, Text};
    match name {
        N::TransType => (sys::SRTO_TRANSTYPE, Int),
        N::UdpSendBuffer => (sys::SRTO_UDP_SNDBUF, Int),
        N::UdpRecvBuffer => (sys::SRTO_UDP_RCVBUF, Int),
        N::Mss => (sys::SRTO_MSS, Int),
        N::FlowWindow => (sys::SRTO_FC, Int),
        N::SendBuffer => (sys::SRTO_SNDBUF, Int),
        N::RecvBuffer => (sys::SRTO_RCVBUF, Int),
        N::ReuseAddress => (sys::SRTO_REUSEADDR, Bool),
        N::BindToDevice => (sys::SRTO_BINDTODEVICE, Text),
        N::IpTos => (sys::SRTO_IPTOS, Int),
        N::IpTtl => (sys::SRTO_IPTTL, Int),
        N::Ipv6Only => (sys::SRTO_IPV6ONLY, Int),
        N::Congestion => (sys::SRTO_CONGESTION, Text),
        N::MessageApi => (sys::SRTO_MESSAGEAPI, Bool),
        N::Sender => (sys::SRTO_SENDER, Bool),
        N::Rendezvous => (sys::SRTO_RENDEZVOUS, Bool),
        N::TsbpdMode => (sys::SRTO_TSBPDMODE, Bool),
        N::Latency => (sys::SRTO_LATENCY, Int),
        N::RecvLatency => (sys::SRTO_RCVLATENCY, Int),
        N::PeerLatency => (sys::SRTO_PEERLATENCY, Int),
        N::TooLateDrop => (sys::SRTO_TLPKTDROP, Bool),
        N::SendDropDelay => (sys::SRTO_SNDDROPDELAY, Int),
        N::NakReport => (sys::SRTO_NAKREPORT, Bool),
        N::RetransmitAlgorithm => (sys::SRTO_RETRANSMITALGO, Int),
        N::LossMaxTtl => (sys::SRTO_LOSSMAXTTL, Int),
        N::DriftTracer => (sys::SRTO_DRIFTTRACER, Bool),
        N::MaxBandwidth => (sys::SRTO_MAXBW, Long),
        N::InputBandwidth => (sys::SRTO_INPUTBW, Long),
        N::MinInputBandwidth => (sys::SRTO_MININPUTBW, Long),
        N::OverheadBandwidth => (sys::SRTO_OHEADBW, Int),
        N::MaxRetransmitBandwidth => (sys::SRTO_MAXREXMITBW, Long),
        N::PacketFilter => (sys::SRTO_PACKETFILTER, Text),
        N::PayloadSize => (sys::SRTO_PAYLOADSIZE, Int),
        N::EnforcedEncryption => (sys::SRTO_ENFORCEDENCRYPTION, Bool),
        N::KeyLength => (sys::SRTO_PBKEYLEN, Int),
        N::CryptoMode => (sys::SRTO_CRYPTOMODE, Int),
        N::Passphrase => (sys::SRTO_PASSPHRASE, Text),
        N::KmRefreshRate => (sys::SRTO_KMREFRESHRATE, Int),
        N::KmPreAnnounce => (sys::SRTO_KMPREANNOUNCE, Int),
        N::MinVersion => (sys::SRTO_MINVERSION, Int),
        N::StreamId => (sys::SRTO_STREAMID, Text),
        N::ConnectTimeout => (sys::SRTO_CONNTIMEO, Int),
        N::PeerIdleTimeout => (sys::SRTO_PEERIDLETIMEO, Int),
        N::Linger => (sys::SRTO_LINGER, Linger),
        N::GroupConnect => (sys::SRTO_GROUPCONNECT, Int),
        N::GroupMinStableTimeout => (sys::SRTO_GROUPMINSTABLETIMEO, Int),
        N::SendSync => (sys::SRTO_SNDSYN, Bool),
        N::RecvSync => (sys::SRTO_RCVSYN, Bool),
        N::SendTimeout => (sys::SRTO_SNDTIMEO, Int),
        N::RecvTimeout => (sys::SRTO_RCVTIMEO, Int),
        N::Event => (sys::SRTO_EVENT, Int),
        N::GroupType => (sys::SRTO_GROUPTYPE, Int),
        N::InitialSequenceNumber => (sys::SRTO_ISN, Int),
        N::KmState => (sys::SRTO_KMSTATE, Int),
        N::SendKmState => (sys::SRTO_SNDKMSTATE, Int),
        N::RecvKmState => (sys::SRTO_RCVKMSTATE, Int),
        N::PeerVersion => (sys::SRTO_PEERVERSION, Int),
        N::Version => (sys::SRTO_VERSION, Int),
        N::SendData => (sys::SRTO_SNDDATA, Int),
        N::RecvData => (sys::SRTO_RCVDATA, Int),
        N::State => (sys::SRTO_STATE, Int),
    }
}
