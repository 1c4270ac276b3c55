//! The typed setters of [`Options`], one an option, each with its unit.
//!
//! Times are rounded up to SRT's milliseconds (a 200 µs latency must not become none). The rule of each
//! option (before binding, before connecting, at any time) is in [`OptionName::spec`].

use std::time::Duration;

use super::value::{
    Bandwidth, Congestion, CryptoMode, KeyLength, MaxBandwidth, OptionValue, RetransmitAlgorithm,
    Secret, SrtVersion,
};
use super::{OptionName, Options};

impl Options {
    fn flag(self, name: OptionName, flag: bool) -> Self {
        self.set(name, OptionValue::Flag(flag))
    }

    fn number(self, name: OptionName, number: impl TryInto<i64>) -> Self {
        self.set(name, OptionValue::Number(number.try_into().unwrap_or(i64::MAX)))
    }

    fn text(self, name: OptionName, text: impl Into<String>) -> Self {
        self.set(name, OptionValue::Text(text.into()))
    }

    fn milliseconds(self, name: OptionName, time: Duration) -> Self {
        self.number(name, time.as_nanos().div_ceil(1_000_000))
    }

    /// Least latency in both directions (`SRTO_LATENCY`); the greater of both peers' wishes counts.
    /// At most 65 535 ms: the handshake has 16 bits for it.
    #[must_use]
    pub fn latency(self, latency: Duration) -> Self {
        self.milliseconds(OptionName::Latency, latency)
    }

    /// Least latency of what this side receives (`SRTO_RCVLATENCY`).
    #[must_use]
    pub fn recv_latency(self, latency: Duration) -> Self {
        self.milliseconds(OptionName::RecvLatency, latency)
    }

    /// Least latency that the peer shall apply to what it receives (`SRTO_PEERLATENCY`).
    #[must_use]
    pub fn peer_latency(self, latency: Duration) -> Self {
        self.milliseconds(OptionName::PeerLatency, latency)
    }

    /// Time to connect (`SRTO_CONNTIMEO`, 3 s by default); a rendezvous takes ten times as much.
    #[must_use]
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.milliseconds(OptionName::ConnectTimeout, timeout)
    }

    /// Silence of the peer after which the connection is broken (`SRTO_PEERIDLETIMEO`, 5 s by default).
    #[must_use]
    pub fn peer_idle_timeout(self, timeout: Duration) -> Self {
        self.milliseconds(OptionName::PeerIdleTimeout, timeout)
    }

    /// Extra time before the sender drops what is too late (`SRTO_SNDDROPDELAY`), on top of the latency
    /// and 20 ms, at least 1 s in all; `None` never drops.
    #[must_use]
    pub fn send_drop_delay(self, delay: Option<Duration>) -> Self {
        match delay {
            Some(delay) => self.milliseconds(OptionName::SendDropDelay, delay),
            None => self.number(OptionName::SendDropDelay, -1),
        }
    }

    /// Time that libsrt goes on sending after a close (`SRTO_LINGER`), rounded up to whole seconds; `None`
    /// is off. `Socket::finish` is the better way: it can be waited for.
    #[must_use]
    pub fn linger(self, linger: Option<Duration>) -> Self {
        let seconds = linger.map_or(-1, |time| {
            i64::try_from(time.as_nanos().div_ceil(1_000_000_000)).unwrap_or(i64::MAX)
        });
        self.number(OptionName::Linger, seconds)
    }

    /// The shared secret that both sides must have (`SRTO_PASSPHRASE`): 10 to 79 bytes; empty is none.
    #[must_use]
    pub fn passphrase(self, passphrase: impl Into<Secret>) -> Self {
        self.set(OptionName::Passphrase, OptionValue::Secret(passphrase.into()))
    }

    /// Length of the AES key (`SRTO_PBKEYLEN`). Set it on the sender, or on one side only.
    #[must_use]
    pub fn key_length(self, length: KeyLength) -> Self {
        let bytes = match length {
            KeyLength::Default => 0,
            KeyLength::Aes128 => 16,
            KeyLength::Aes192 => 24,
            KeyLength::Aes256 => 32,
        };
        self.number(OptionName::KeyLength, bytes)
    }

    /// Mode of the cipher (`SRTO_CRYPTOMODE`, libsrt ≥ 1.5.2 built with `ENABLE_AEAD_API_PREVIEW`).
    #[must_use]
    pub fn crypto_mode(self, mode: CryptoMode) -> Self {
        let code = match mode {
            CryptoMode::Auto => 0,
            CryptoMode::AesCtr => 1,
            CryptoMode::AesGcm => 2,
        };
        self.number(OptionName::CryptoMode, code)
    }

    /// Whether a peer with another passphrase, or with none, is refused (`SRTO_ENFORCEDENCRYPTION`).
    /// libsrt's default is yes; no works only if both sides say so.
    #[must_use]
    pub fn enforced_encryption(self, enforced: bool) -> Self {
        self.flag(OptionName::EnforcedEncryption, enforced)
    }

    /// Packets sent with one key (`SRTO_KMREFRESHRATE`); 0 is 2²⁴.
    #[must_use]
    pub fn key_refresh_packets(self, packets: u32) -> Self {
        self.number(OptionName::KmRefreshRate, packets)
    }

    /// Packets between announcing a new key and using it (`SRTO_KMPREANNOUNCE`); 0 is 2¹². At most
    /// `(refresh − 1) / 2`, and it should not be less than the flow window.
    #[must_use]
    pub fn key_announce_packets(self, packets: u32) -> Self {
        self.number(OptionName::KmPreAnnounce, packets)
    }

    /// What the caller wants (`SRTO_STREAMID`): at most 512 bytes, without a NUL.
    #[must_use]
    pub fn stream_id(self, stream_id: impl Into<String>) -> Self {
        self.text(OptionName::StreamId, stream_id)
    }

    /// Forward error correction (`SRTO_PACKETFILTER`), for example `fec,cols:10,rows:5`; at most 64 bytes.
    #[must_use]
    pub fn packet_filter(self, filter: impl Into<String>) -> Self {
        self.text(OptionName::PacketFilter, filter)
    }

    /// Network device (`SRTO_BINDTODEVICE`); Linux only, and a matter of privilege.
    #[must_use]
    pub fn bind_to_device(self, device: impl Into<String>) -> Self {
        self.text(OptionName::BindToDevice, device)
    }

    /// Congestion controller (`SRTO_CONGESTION`); the mode of the socket chooses it as a rule.
    #[must_use]
    pub fn congestion(self, congestion: Congestion) -> Self {
        let name = match congestion {
            Congestion::Live => "live",
            Congestion::File => "file",
        };
        self.text(OptionName::Congestion, name)
    }

    /// Messages rather than a stream of bytes (`SRTO_MESSAGEAPI`); the mode of the socket chooses it.
    #[must_use]
    pub fn message_api(self, messages: bool) -> Self {
        self.flag(OptionName::MessageApi, messages)
    }

    /// Greatest message in live mode, in bytes (`SRTO_PAYLOADSIZE`): 1316 by default, at most 1456, less
    /// with a packet filter; 0 sets no limit (file modes).
    #[must_use]
    pub fn payload_size(self, bytes: u32) -> Self {
        self.number(OptionName::PayloadSize, bytes)
    }

    /// Whether each packet is delivered at its time (`SRTO_TSBPDMODE`).
    #[must_use]
    pub fn timed_delivery(self, timed: bool) -> Self {
        self.flag(OptionName::TsbpdMode, timed)
    }

    /// Whether packets that come too late are dropped (`SRTO_TLPKTDROP`).
    #[must_use]
    pub fn too_late_drop(self, drop: bool) -> Self {
        self.flag(OptionName::TooLateDrop, drop)
    }

    /// Whether loss reports are repeated (`SRTO_NAKREPORT`).
    #[must_use]
    pub fn nak_report(self, repeat: bool) -> Self {
        self.flag(OptionName::NakReport, repeat)
    }

    /// When a lost packet is sent again (`SRTO_RETRANSMITALGO`).
    #[must_use]
    pub fn retransmit_algorithm(self, algorithm: RetransmitAlgorithm) -> Self {
        let code = match algorithm {
            RetransmitAlgorithm::Aggressive => 0,
            RetransmitAlgorithm::Efficient => 1,
        };
        self.number(OptionName::RetransmitAlgorithm, code)
    }

    /// Greatest reorder tolerance in packets (`SRTO_LOSSMAXTTL`); 0 reports every gap at once.
    /// [`crate::reorder`] tells how it moves.
    #[must_use]
    pub fn loss_max_ttl(self, packets: u32) -> Self {
        self.number(OptionName::LossMaxTtl, packets)
    }

    /// Whether the drift of the sender's clock is followed (`SRTO_DRIFTTRACER`).
    #[must_use]
    pub fn drift_tracer(self, follow: bool) -> Self {
        self.flag(OptionName::DriftTracer, follow)
    }

    /// Limit of what is sent (`SRTO_MAXBW`).
    #[must_use]
    pub fn max_bandwidth(self, max: MaxBandwidth) -> Self {
        match max {
            MaxBandwidth::Unlimited => self.number(OptionName::MaxBandwidth, -1),
            MaxBandwidth::RelativeToInput => self.number(OptionName::MaxBandwidth, 0),
            // A limit of nothing would read as "relative": the least limit stands for it.
            MaxBandwidth::Limit(limit) => {
                self.number(OptionName::MaxBandwidth, limit.bytes_per_s().max(1))
            }
        }
    }

    /// Rate of the input (`SRTO_INPUTBW`); 0 measures it. Counts with [`MaxBandwidth::RelativeToInput`].
    #[must_use]
    pub fn input_bandwidth(self, rate: Bandwidth) -> Self {
        self.number(OptionName::InputBandwidth, rate.bytes_per_s())
    }

    /// Least rate that is assumed where the input is measured (`SRTO_MININPUTBW`).
    #[must_use]
    pub fn min_input_bandwidth(self, rate: Bandwidth) -> Self {
        self.number(OptionName::MinInputBandwidth, rate.bytes_per_s())
    }

    /// Room for recovery above the rate of the input, in percent, 5 to 100 (`SRTO_OHEADBW`).
    #[must_use]
    pub fn overhead_percent(self, percent: u32) -> Self {
        self.number(OptionName::OverheadBandwidth, percent)
    }

    /// Limit of what is sent again (`SRTO_MAXREXMITBW`, libsrt ≥ 1.5.3 built with `ENABLE_MAXREXMITBW`);
    /// `None` is no limit, a rate of 0 sends nothing again.
    #[must_use]
    pub fn max_retransmit_bandwidth(self, max: Option<Bandwidth>) -> Self {
        match max {
            Some(max) => self.number(OptionName::MaxRetransmitBandwidth, max.bytes_per_s()),
            None => self.number(OptionName::MaxRetransmitBandwidth, -1),
        }
    }

    /// Greatest number of packets in flight (`SRTO_FC`), 32 at least.
    #[must_use]
    pub fn flow_window(self, packets: u32) -> Self {
        self.number(OptionName::FlowWindow, packets)
    }

    /// Send buffer in bytes (`SRTO_SNDBUF`).
    #[must_use]
    pub fn send_buffer(self, bytes: usize) -> Self {
        self.number(OptionName::SendBuffer, bytes)
    }

    /// Receive buffer in bytes (`SRTO_RCVBUF`); the flow window grows with it unless set.
    #[must_use]
    pub fn recv_buffer(self, bytes: usize) -> Self {
        self.number(OptionName::RecvBuffer, bytes)
    }

    /// Send buffer of the UDP socket in bytes (`SRTO_UDP_SNDBUF`); the system may grant less.
    #[must_use]
    pub fn udp_send_buffer(self, bytes: usize) -> Self {
        self.number(OptionName::UdpSendBuffer, bytes)
    }

    /// Receive buffer of the UDP socket in bytes (`SRTO_UDP_RCVBUF`); the system may grant less.
    #[must_use]
    pub fn udp_recv_buffer(self, bytes: usize) -> Self {
        self.number(OptionName::UdpRecvBuffer, bytes)
    }

    /// Greatest IP packet in bytes, headers included (`SRTO_MSS`), 76 at least; the lesser of both peers'.
    #[must_use]
    pub fn mss(self, bytes: u32) -> Self {
        self.number(OptionName::Mss, bytes)
    }

    /// Type of service or traffic class of what is sent (`SRTO_IPTOS`, 0xB8 by default).
    #[must_use]
    pub fn ip_tos(self, tos: u8) -> Self {
        self.number(OptionName::IpTos, tos)
    }

    /// Time to live or hop limit of what is sent (`SRTO_IPTTL`, 64 by default), not 0.
    #[must_use]
    pub fn ip_ttl(self, hops: u8) -> Self {
        self.number(OptionName::IpTtl, hops)
    }

    /// Whether an IPv6 listener refuses IPv4 (`SRTO_IPV6ONLY`); `None` leaves it to the system.
    #[must_use]
    pub fn ipv6_only(self, only: Option<bool>) -> Self {
        self.number(OptionName::Ipv6Only, only.map_or(-1, i64::from))
    }

    /// Whether a local address in use by another socket of this process is shared (`SRTO_REUSEADDR`).
    #[must_use]
    pub fn reuse_address(self, reuse: bool) -> Self {
        self.flag(OptionName::ReuseAddress, reuse)
    }

    /// This side sends (`SRTO_SENDER`): only for peers before SRT 1.3.0.
    #[must_use]
    pub fn sender(self, sender: bool) -> Self {
        self.flag(OptionName::Sender, sender)
    }

    /// Least version of the peer (`SRTO_MINVERSION`).
    #[must_use]
    pub fn min_version(self, version: SrtVersion) -> Self {
        self.number(OptionName::MinVersion, version.code())
    }

    /// Whether a listener takes bonded connections (`SRTO_GROUPCONNECT`, libsrt built with
    /// `ENABLE_BONDING`).
    #[must_use]
    pub fn group_connect(self, accept: bool) -> Self {
        self.number(OptionName::GroupConnect, i64::from(accept))
    }

    /// Least time after which a silent backup link is unstable, 60 ms at least and not above the peer idle
    /// timeout (`SRTO_GROUPMINSTABLETIMEO`, libsrt built with `ENABLE_BONDING`).
    #[must_use]
    pub fn group_min_stable_timeout(self, timeout: Duration) -> Self {
        self.milliseconds(OptionName::GroupMinStableTimeout, timeout)
    }

    /// Expected rate of the stream: buffers that are not set otherwise are sized for it, see
    /// [`BufferSizes`](super::BufferSizes). A local matter, not an option of SRT.
    #[must_use]
    pub fn bitrate(mut self, bitrate: Bandwidth) -> Self {
        self.bitrate = Some(bitrate);
        self
    }

    /// Expected round-trip time, with [`Options::bitrate`]; 100 ms unless set.
    #[must_use]
    pub fn round_trip(mut self, round_trip: Duration) -> Self {
        self.round_trip = round_trip;
        self
    }
}
