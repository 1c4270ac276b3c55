//! The socket options of SRT as one table: name, rule, unit, range, and which way it may be asked for.
//!
//! Everything else that knows options (setters, checks, URLs, the binding to libsrt) reads this table, so
//! a row is the only place where a rule stands. Names, units, ranges and rules are those of
//! `docs/API/API-socket-options.md` of libsrt 1.5.1 (and 1.5.5 for the two that came later); where that
//! document and `srtcore/core.cpp` or `srtcore/socketconfig.*` of 1.5.1 disagree, the row follows the source
//! and its comment says so. Rows stand in the order in which they must be applied.

use std::fmt;

/// Until when an option can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Only before the socket is bound, by `bind` or implicitly by `connect`.
    PreBind,
    /// Only before the socket connects or listens.
    Pre,
    /// At any time, also while connected.
    Post,
    /// This crate keeps it: see the option's own words for what replaces it.
    Kept,
    /// It can only be read.
    ReadOnly,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreBind => "can be set only before the socket is bound",
            Self::Pre => "can be set only before the socket connects or listens",
            Self::Post => "can be set at any time",
            Self::Kept => "is kept by this crate",
            Self::ReadOnly => "can only be read",
        })
    }
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// Packets.
    Packets,
    /// Routers passed.
    Hops,
    /// Hundredths.
    Percent,
    /// A value of an enumeration, a set of bits, or a plain number.
    Code,
    /// A version as `0x00XXYYZZ`.
    Version,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Milliseconds => " ms",
            Self::Seconds => " s",
            Self::Bytes => " bytes",
            Self::BytesPerSecond => " bytes/s",
            Self::Packets => " packets",
            Self::Hops => " hops",
            Self::Percent => " %",
            Self::Code | Self::Version => "",
        })
    }
}

/// What values an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Yes or no.
    Flag,
    /// A whole number of `unit` between `min` and `max`, both included.
    Number {
        /// What it counts.
        unit: Unit,
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// A text of at most `max_len` bytes.
    Text {
        /// Greatest length in bytes.
        max_len: usize,
    },
    /// A text that no log may show.
    Secret {
        /// Greatest length in bytes.
        max_len: usize,
    },
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("yes or no"),
            Self::Number { unit, min, max } if *max >= INT => write!(f, "{min}…{unit}"),
            Self::Number { unit, min, max } => write!(f, "{min}…{max}{unit}"),
            Self::Text { max_len } | Self::Secret { max_len } => {
                write!(f, "a text of at most {max_len} bytes")
            }
        }
    }
}

/// One row of the table of options.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OptionSpec {
    /// Which option.
    pub name: OptionName,
    /// libsrt's name in lower case and without `SRTO_`, which is also its key in URLs.
    pub key: &'static str,
    /// Until when it can be set.
    pub rule: Rule,
    /// What values it takes.
    pub kind: Kind,
    /// Whether it can be read back.
    pub readable: bool,
}

/// Greatest 32-bit number, libsrt's usual limit.
pub(crate) const INT: i64 = i32::MAX as i64;
/// The handshake carries latencies in 16 bits of milliseconds (draft-sharabayko-srt-01 §3.2.1.1.1).
pub(crate) const MAX_LATENCY_MS: i64 = u16::MAX as i64;

const fn number(unit: Unit, min: i64, max: i64) -> Kind {
    Kind::Number { unit, min, max }
}

macro_rules! options {
    ($($(#[doc = $doc:literal])* $name:ident, $key:literal, $rule:ident, $kind:expr, $readable:literal;)*) => {
        /// The name of a socket option; its words are those of libsrt's documentation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum OptionName { $($(#[doc = $doc])* $name,)* }

        const SPECS: &[OptionSpec] = &[$(OptionSpec {
            name: OptionName::$name, key: $key, rule: Rule::$rule, kind: $kind, readable: $readable,
        },)*];
    };
}

options! {
    /// `SRTO_TRANSTYPE`: live or file; sets a dozen others, hence the first to be applied.
    /// The document says "pre", the source refuses it once bound.
    TransType, "transtype", PreBind, number(Unit::Code, 0, 1), false;
    /// `SRTO_UDP_SNDBUF`: send buffer of the UDP socket.
    UdpSendBuffer, "udp_sndbuf", PreBind, number(Unit::Bytes, 1, INT), true;
    /// `SRTO_UDP_RCVBUF`: receive buffer of the UDP socket.
    UdpRecvBuffer, "udp_rcvbuf", PreBind, number(Unit::Bytes, 1, INT), true;
    /// `SRTO_MSS`: greatest IP packet, headers included; never above either UDP buffer.
    Mss, "mss", PreBind, number(Unit::Bytes, 76, 65_535), true;
    /// `SRTO_FC`: greatest number of packets in flight.
    FlowWindow, "fc", Pre, number(Unit::Packets, 32, INT), true;
    /// `SRTO_SNDBUF`: send buffer.
    SendBuffer, "sndbuf", PreBind, number(Unit::Bytes, 1, INT), true;
    /// `SRTO_RCVBUF`: receive buffer, at most the flow window (Haivision/srt #700).
    RecvBuffer, "rcvbuf", PreBind, number(Unit::Bytes, 1, INT), true;
    /// `SRTO_REUSEADDR`: share a local address that another socket of this process has bound.
    ReuseAddress, "reuseaddr", PreBind, Kind::Flag, true;
    /// `SRTO_BINDTODEVICE`: network device by name.
    BindToDevice, "bindtodevice", PreBind, Kind::Text { max_len: 15 }, true;
    /// `SRTO_IPTOS`: type of service or traffic class.
    IpTos, "iptos", PreBind, number(Unit::Code, 0, 255), true;
    /// `SRTO_IPTTL`: time to live or hop limit.
    IpTtl, "ipttl", PreBind, number(Unit::Hops, 1, 255), true;
    /// `SRTO_IPV6ONLY`: whether an IPv6 listener refuses IPv4; −1 leaves it to the system.
    Ipv6Only, "ipv6only", PreBind, number(Unit::Code, -1, 1), true;
    /// `SRTO_CONGESTION`: congestion controller.
    Congestion, "congestion", Pre, Kind::Text { max_len: 16 }, true;
    /// `SRTO_MESSAGEAPI`: messages rather than a stream of bytes.
    MessageApi, "messageapi", Pre, Kind::Flag, true;
    /// `SRTO_SENDER`: this side sends; only for peers before 1.3.0.
    Sender, "sender", Pre, Kind::Flag, true;
    /// `SRTO_RENDEZVOUS`: kept, because only a rendezvous socket sets it.
    Rendezvous, "rendezvous", Kept, Kind::Flag, true;
    /// `SRTO_TSBPDMODE`: deliver each packet at its time.
    TsbpdMode, "tsbpdmode", Pre, Kind::Flag, true;
    /// `SRTO_LATENCY`: the next two at once.
    Latency, "latency", Pre, number(Unit::Milliseconds, 0, MAX_LATENCY_MS), true;
    /// `SRTO_RCVLATENCY`: least latency of what this side receives.
    RecvLatency, "rcvlatency", Pre, number(Unit::Milliseconds, 0, MAX_LATENCY_MS), true;
    /// `SRTO_PEERLATENCY`: least latency of what the peer receives.
    PeerLatency, "peerlatency", Pre, number(Unit::Milliseconds, 0, MAX_LATENCY_MS), true;
    /// `SRTO_TLPKTDROP`: drop packets that come too late.
    TooLateDrop, "tlpktdrop", Pre, Kind::Flag, true;
    /// `SRTO_SNDDROPDELAY`: extra time before the sender drops; −1 never drops.
    SendDropDelay, "snddropdelay", Post, number(Unit::Milliseconds, -1, INT), true;
    /// `SRTO_NAKREPORT`: repeat loss reports.
    NakReport, "nakreport", Pre, Kind::Flag, true;
    /// `SRTO_RETRANSMITALGO`: 0 on every report, 1 at most once per round trip.
    RetransmitAlgorithm, "retransmitalgo", Pre, number(Unit::Code, 0, 1), true;
    /// `SRTO_LOSSMAXTTL`: greatest reorder tolerance.
    LossMaxTtl, "lossmaxttl", Post, number(Unit::Packets, 0, INT), true;
    /// `SRTO_DRIFTTRACER`: follow the drift of the sender's clock.
    DriftTracer, "drifttracer", Post, Kind::Flag, true;
    /// `SRTO_MAXBW`: bandwidth limit; −1 none, 0 relative to the input.
    MaxBandwidth, "maxbw", Post, number(Unit::BytesPerSecond, -1, i64::MAX), true;
    /// `SRTO_INPUTBW`: rate of the input; 0 measures it.
    InputBandwidth, "inputbw", Post, number(Unit::BytesPerSecond, 0, i64::MAX), true;
    /// `SRTO_MININPUTBW`: least measured rate of the input.
    MinInputBandwidth, "mininputbw", Post, number(Unit::BytesPerSecond, 0, i64::MAX), true;
    /// `SRTO_OHEADBW`: room for recovery above the rate of the input.
    OverheadBandwidth, "oheadbw", Post, number(Unit::Percent, 5, 100), true;
    /// `SRTO_MAXREXMITBW`: bandwidth limit of retransmission; −1 none. Since 1.5.3, where built in.
    MaxRetransmitBandwidth, "maxrexmitbw", Post, number(Unit::BytesPerSecond, -1, i64::MAX), true;
    /// `SRTO_PACKETFILTER`: forward error correction. The document says 512 bytes, the source keeps 64
    /// (`MAX_PFILTER_LENGTH`) and silently forgets what is longer.
    PacketFilter, "packetfilter", Pre, Kind::Text { max_len: 64 }, true;
    /// `SRTO_PAYLOADSIZE`: greatest message in live mode; after the filter, which takes room from it.
    PayloadSize, "payloadsize", Pre, number(Unit::Bytes, 0, 1456), true;
    /// `SRTO_ENFORCEDENCRYPTION`: refuse peers whose passphrase differs.
    EnforcedEncryption, "enforcedencryption", Pre, Kind::Flag, true;
    /// `SRTO_PBKEYLEN`: length of the key; 0 leaves it to the peer.
    KeyLength, "pbkeylen", Pre, number(Unit::Bytes, 0, 32), true;
    /// `SRTO_CRYPTOMODE`: mode of the cipher. Since 1.5.2, where built in.
    CryptoMode, "cryptomode", Pre, number(Unit::Code, 0, 2), true;
    /// `SRTO_PASSPHRASE`: 10 to 79 bytes, or none.
    Passphrase, "passphrase", Pre, Kind::Secret { max_len: 79 }, false;
    /// `SRTO_KMREFRESHRATE`: packets per key; 0 means 2²⁴.
    KmRefreshRate, "kmrefreshrate", Pre, number(Unit::Packets, 0, INT), true;
    /// `SRTO_KMPREANNOUNCE`: packets between a new key's announcement and its use; 0 means 2¹².
    KmPreAnnounce, "kmpreannounce", Pre, number(Unit::Packets, 0, INT), true;
    /// `SRTO_MINVERSION`: least version of the peer.
    MinVersion, "minversion", Pre, number(Unit::Version, 0, 0x00FF_FFFF), true;
    /// `SRTO_STREAMID`: what the caller wants.
    StreamId, "streamid", Pre, Kind::Text { max_len: 512 }, true;
    /// `SRTO_CONNTIMEO`: time to connect, ten times as much for a rendezvous.
    ConnectTimeout, "conntimeo", Pre, number(Unit::Milliseconds, 0, INT), true;
    /// `SRTO_PEERIDLETIMEO`: silence of the peer that breaks a connection.
    PeerIdleTimeout, "peeridletimeo", Pre, number(Unit::Milliseconds, 0, INT), true;
    /// `SRTO_LINGER`: time that a close goes on sending; −1 stands for off. One place of the document says
    /// "pre", its table and the source "post".
    Linger, "linger", Post, number(Unit::Seconds, -1, INT), true;
    /// `SRTO_GROUPCONNECT`: a listener takes bonded connections. Where bonding is built in.
    GroupConnect, "groupconnect", Pre, number(Unit::Code, 0, 1), true;
    /// `SRTO_GROUPMINSTABLETIMEO`: least time after which a silent backup link is unstable. Where bonding is
    /// built in.
    GroupMinStableTimeout, "groupminstabletimeo", Pre, number(Unit::Milliseconds, 60, INT), true;
    /// `SRTO_SNDSYN`: kept false, because a blocking call would stop every coroutine.
    SendSync, "sndsyn", Kept, Kind::Flag, true;
    /// `SRTO_RCVSYN`: kept false, because a blocking call would stop every coroutine.
    RecvSync, "rcvsyn", Kept, Kind::Flag, true;
    /// `SRTO_SNDTIMEO`: kept, because each operation takes a deadline.
    SendTimeout, "sndtimeo", Kept, number(Unit::Milliseconds, -1, INT), true;
    /// `SRTO_RCVTIMEO`: kept, because each operation takes a deadline.
    RecvTimeout, "rcvtimeo", Kept, number(Unit::Milliseconds, -1, INT), true;
    /// `SRTO_EVENT`: readiness: 1 readable, 4 writable, 8 broken.
    Event, "event", ReadOnly, number(Unit::Code, 0, 15), true;
    /// `SRTO_GROUPTYPE`: kind of bonding that a caller asks for. Where bonding is built in.
    GroupType, "grouptype", ReadOnly, number(Unit::Code, 0, 3), true;
    /// `SRTO_ISN`: first sequence number.
    InitialSequenceNumber, "isn", ReadOnly, number(Unit::Code, -1, INT), true;
    /// `SRTO_KMSTATE`: state of the keys, in the direction that `SRTO_SENDER` says.
    KmState, "kmstate", ReadOnly, number(Unit::Code, 0, 5), true;
    /// `SRTO_SNDKMSTATE`: state of the keys for what is sent.
    SendKmState, "sndkmstate", ReadOnly, number(Unit::Code, 0, 5), true;
    /// `SRTO_RCVKMSTATE`: state of the keys for what is received.
    RecvKmState, "rcvkmstate", ReadOnly, number(Unit::Code, 0, 5), true;
    /// `SRTO_PEERVERSION`: version of the peer.
    PeerVersion, "peerversion", ReadOnly, number(Unit::Version, 0, INT), true;
    /// `SRTO_VERSION`: version of the library. The source lets it be set, the document does not.
    Version, "version", ReadOnly, number(Unit::Version, 0, INT), true;
    /// `SRTO_SNDDATA`: packets not acknowledged yet.
    SendData, "snddata", ReadOnly, number(Unit::Packets, 0, INT), true;
    /// `SRTO_RCVDATA`: packets that wait to be received.
    RecvData, "rcvdata", ReadOnly, number(Unit::Packets, 0, INT), true;
    /// `SRTO_STATE`: state of the socket.
    State, "state", ReadOnly, number(Unit::Code, 0, 9), true;
}

impl OptionName {
    /// All options, in the order in which they are applied.
    pub fn all() -> impl Iterator<Item = Self> {
        SPECS.iter().map(|spec| spec.name)
    }

    /// This option's row of the table.
    #[must_use]
    pub fn spec(self) -> &'static OptionSpec {
        // The macro writes the enumeration and the table from the same rows.
        &SPECS[self as usize]
    }

    /// libsrt's name in lower case, as in URLs.
    #[must_use]
    pub fn key(self) -> &'static str {
        self.spec().key
    }

    /// Finds an option by libsrt's name in lower case.
    #[must_use]
    pub fn from_key(key: &str) -> Option<Self> {
        SPECS.iter().find(|spec| spec.key == key).map(|spec| spec.name)
    }
}

impl fmt::Display for OptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}
