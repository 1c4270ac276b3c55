//! From what was asked for to what is applied: ranges, options that do not go together, sizes.
//!
//! Done as a whole and before a socket sees anything, since libsrt checks each option alone, when it comes,
//! and silently bends what does not fit.

use std::time::Duration;

use super::name::{Kind, OptionName, Rule};
use super::size::{BufferSizes, DEFAULT_WINDOW, MIN_PACKETS, Stream, UDP_HEADER};
use super::value::{Mode, OptionValue, Secret};
use super::{OptionError, Options};
use crate::stream_id::masked;

/// libsrt's default MSS (`DEF_MSS`).
const DEFAULT_MSS: i64 = 1500;
/// libsrt's default message in live mode (`SRT_LIVE_DEF_PLSIZE`).
const DEFAULT_PAYLOAD: i64 = 1316;
/// libsrt's default latency in live mode (`SRT_LIVE_DEF_LATENCY_MS`).
const DEFAULT_LATENCY_MS: i64 = 120;

/// The greatest message beside error correction (`FECFilterBuiltin::EXTRA_SIZE` is 4).
const FEC_PAYLOAD: i64 = 1452;

impl Options {
    /// Whether the options are in range and go together.
    ///
    /// # Errors
    ///
    /// The first fault found, with option, value and what would be allowed.
    pub fn check(&self) -> Result<(), OptionError> {
        self.plan().map(drop)
    }

    /// Whether the options can be set on a connected socket.
    ///
    /// # Errors
    ///
    /// [`OptionError::NotNow`] for the first option that cannot, else as [`Options::check`].
    pub fn check_connected(&self) -> Result<(), OptionError> {
        if self.mode.is_some() {
            return Err(OptionError::NotNow { option: OptionName::TransType, rule: Rule::PreBind });
        }
        let early = |name: &OptionName| name.spec().rule != Rule::Post;
        let asked = self.values.keys().copied().find(early);
        let option = match asked {
            Some(option) => Some(option),
            // A bitrate sizes buffers, for which it is too late as well.
            None => self.plan()?.into_iter().map(|(name, _)| name).find(early),
        };
        option
            .map_or(Ok(()), |option| Err(OptionError::NotNow { option, rule: option.spec().rule }))
    }

    /// What is to be set, in order.
    pub(crate) fn plan(&self) -> Result<Vec<(OptionName, OptionValue)>, OptionError> {
        for (&name, value) in &self.values {
            check_value(name, value)?;
        }
        self.check_timing()?;
        self.check_messages()?;
        self.check_keys()?;
        self.check_groups()?;
        let mut values = self.values.clone();
        if let Some(mode) = self.mode {
            let code = i64::from(mode != Mode::Live);
            values.entry(OptionName::TransType).or_insert(OptionValue::Number(code));
            if mode == Mode::Message {
                values.entry(OptionName::MessageApi).or_insert(OptionValue::Flag(true));
            }
        }
        for (name, number) in self.sizes()? {
            values.entry(name).or_insert(OptionValue::Number(number));
        }
        Ok(values.into_iter().collect())
    }

    /// Sizes of buffers for the bitrate given, as far as they are not set; `None` without a bitrate.
    #[must_use]
    pub fn buffer_sizes(&self) -> Option<BufferSizes> {
        let latency = self.latencies().into_iter().max().unwrap_or_default();
        let payload = match self.number_of(OptionName::PayloadSize, DEFAULT_PAYLOAD) {
            0 => self.number_of(OptionName::Mss, DEFAULT_MSS) - 44,
            bytes => bytes,
        };
        Some(BufferSizes::of(&Stream {
            bitrate: self.bitrate?,
            round_trip: self.round_trip,
            latency: Duration::from_millis(unsigned(latency)),
            payload_bytes: unsigned(payload),
            mss_bytes: unsigned(self.number_of(OptionName::Mss, DEFAULT_MSS)),
        }))
    }

    fn number_of(&self, name: OptionName, default: i64) -> i64 {
        self.value(name).and_then(OptionValue::number).unwrap_or(default)
    }

    fn flag_of(&self, name: OptionName, default: bool) -> bool {
        self.value(name).and_then(OptionValue::flag).unwrap_or(default)
    }

    fn is_live(&self) -> bool {
        match self.number_of(OptionName::TransType, -1) {
            -1 => matches!(self.mode, None | Some(Mode::Live)),
            code => code == 0,
        }
    }

    fn latencies(&self) -> [i64; 2] {
        let default = if self.is_live() { DEFAULT_LATENCY_MS } else { 0 };
        let both = self.number_of(OptionName::Latency, default);
        [
            self.number_of(OptionName::RecvLatency, both),
            self.number_of(OptionName::PeerLatency, both),
        ]
    }

    /// Timed delivery without dropping hangs libsrt at 100 % CPU at the first loss (ossrs/srs #4587).
    fn check_timing(&self) -> Result<(), OptionError> {
        let timed = self.flag_of(OptionName::TsbpdMode, self.is_live());
        let drop = self.flag_of(OptionName::TooLateDrop, self.is_live());
        if timed && !drop {
            return Err(OptionError::Conflict {
                option: OptionName::TooLateDrop,
                with: OptionName::TsbpdMode,
                why: "timed delivery that drops nothing stops for ever at the first lost packet; set both or neither",
            });
        }
        if self.number_of(OptionName::CryptoMode, 0) == 2 && !timed {
            return Err(OptionError::Conflict {
                option: OptionName::CryptoMode,
                with: OptionName::TsbpdMode,
                why: "AES-GCM needs timed delivery",
            });
        }
        Ok(())
    }

    fn check_messages(&self) -> Result<(), OptionError> {
        let live = self.is_live();
        let congestion = self.value(OptionName::Congestion).and_then(OptionValue::text);
        let live_congestion = congestion.map_or(live, |name| name == "live");
        let messages =
            self.flag_of(OptionName::MessageApi, live || self.mode == Some(Mode::Message));
        if live_congestion && !messages {
            return Err(OptionError::Conflict {
                option: OptionName::MessageApi,
                with: OptionName::Congestion,
                why: "live congestion control carries messages only",
            });
        }
        let mss = self.number_of(OptionName::Mss, DEFAULT_MSS);
        for buffer in [OptionName::UdpSendBuffer, OptionName::UdpRecvBuffer] {
            if self.number_of(buffer, i64::MAX) < mss {
                return Err(OptionError::Conflict {
                    option: buffer,
                    with: OptionName::Mss,
                    why: "the buffer must hold at least one packet",
                });
            }
        }
        let payload =
            self.number_of(OptionName::PayloadSize, if live { DEFAULT_PAYLOAD } else { 0 });
        if payload > mss - 44 {
            return Err(OptionError::Conflict {
                option: OptionName::PayloadSize,
                with: OptionName::Mss,
                why: "a message and 44 bytes of headers must fit one packet; set both",
            });
        }
        let filter = self.value(OptionName::PacketFilter).and_then(OptionValue::text);
        if filter.is_some_and(|filter| filter.starts_with("fec")) && payload > FEC_PAYLOAD {
            return Err(OptionError::Conflict {
                option: OptionName::PayloadSize,
                with: OptionName::PacketFilter,
                why: "error correction takes 4 bytes of each packet; 1452 are left",
            });
        }
        Ok(())
    }

    fn check_keys(&self) -> Result<(), OptionError> {
        let or_default = |number, default| if number == 0 { default } else { number };
        let refresh = or_default(self.number_of(OptionName::KmRefreshRate, 0), 1 << 24);
        let announce = self.number_of(OptionName::KmPreAnnounce, 0);
        if self.value(OptionName::KmPreAnnounce).is_some()
            && or_default(announce, 1 << 12) > (refresh - 1) / 2
        {
            return Err(OptionError::Conflict {
                option: OptionName::KmPreAnnounce,
                with: OptionName::KmRefreshRate,
                why: "a key is announced at most (refresh rate − 1) / 2 packets ahead",
            });
        }
        Ok(())
    }

    fn check_groups(&self) -> Result<(), OptionError> {
        let stable = self.number_of(OptionName::GroupMinStableTimeout, 0);
        if stable > self.number_of(OptionName::PeerIdleTimeout, 5000) {
            return Err(OptionError::Conflict {
                option: OptionName::GroupMinStableTimeout,
                with: OptionName::PeerIdleTimeout,
                why: "a link must become unstable before it is broken",
            });
        }
        Ok(())
    }

    /// Sizes that are not set: for the bitrate, and a flow window that a receive buffer needs.
    fn sizes(&self) -> Result<Vec<(OptionName, i64)>, OptionError> {
        let mut sizes = Vec::new();
        let slot = unsigned(self.number_of(OptionName::Mss, DEFAULT_MSS))
            .saturating_sub(UDP_HEADER)
            .max(1);
        let wanted = self.value(OptionName::RecvBuffer).and_then(OptionValue::number);
        let wanted_packets = wanted.map_or(0, |bytes| unsigned(bytes) / slot);
        let computed = self.buffer_sizes();
        let computed_window = computed.map_or(DEFAULT_WINDOW, |sizes| sizes.flow_window_packets);
        let window = self.value(OptionName::FlowWindow).and_then(OptionValue::number);
        match window {
            Some(window) if wanted_packets.max(MIN_PACKETS) > unsigned(window).max(MIN_PACKETS) => {
                return Err(OptionError::Conflict {
                    option: OptionName::RecvBuffer,
                    with: OptionName::FlowWindow,
                    why: "the receive buffer holds more packets than the flow window lets come, libsrt would cut it",
                });
            }
            None if self.bitrate.is_some() || wanted_packets > DEFAULT_WINDOW => {
                sizes.push((OptionName::FlowWindow, signed(wanted_packets.max(computed_window))));
            }
            _ => {}
        }
        if let Some(computed) = computed {
            let window_bytes =
                window.map_or(u64::MAX, |window| unsigned(window).saturating_mul(slot));
            sizes.push((OptionName::RecvBuffer, signed(computed.recv_bytes.min(window_bytes))));
            sizes.push((OptionName::SendBuffer, signed(computed.send_bytes)));
            sizes.push((OptionName::UdpRecvBuffer, signed(computed.udp_recv_bytes)));
            sizes.push((OptionName::UdpSendBuffer, signed(computed.udp_send_bytes)));
        }
        Ok(sizes)
    }
}

/// Whether `value` is one that option `name` takes, by its row of the table.
pub(crate) fn check_value(name: OptionName, value: &OptionValue) -> Result<(), OptionError> {
    let spec = name.spec();
    if matches!(spec.rule, Rule::Kept | Rule::ReadOnly) {
        return Err(OptionError::NotNow { option: name, rule: spec.rule });
    }
    let refuse = |allowed: String| {
        let value = match value {
            // It may hold a token.
            OptionValue::Text(text) if name == OptionName::StreamId => masked(text),
            _ => value.to_string(),
        };
        Err(OptionError::OutOfRange { option: name, value, allowed })
    };
    let fits = match (spec.kind, value) {
        (Kind::Flag, OptionValue::Flag(_)) => true,
        (Kind::Number { min, max, .. }, OptionValue::Number(number)) => {
            (min..=max).contains(number)
        }
        (Kind::Text { max_len }, OptionValue::Text(text)) => is_text(text, max_len),
        (Kind::Secret { max_len }, OptionValue::Secret(secret)) => {
            is_text(secret.reveal(), max_len)
        }
        _ => false,
    };
    if !fits {
        return refuse(spec.kind.to_string());
    }
    match (name, value) {
        (OptionName::Passphrase, OptionValue::Secret(secret)) if !is_passphrase(secret) => {
            refuse("a text of 10 to 79 bytes, or an empty one for none".to_owned())
        }
        (OptionName::KeyLength, OptionValue::Number(bytes)) if ![0, 16, 24, 32].contains(bytes) => {
            refuse("0, 16, 24 or 32 bytes".to_owned())
        }
        (OptionName::Congestion, OptionValue::Text(text)) if text != "live" && text != "file" => {
            refuse("live or file".to_owned())
        }
        _ => Ok(()),
    }
}

/// libsrt hands texts out as C strings: a NUL would cut them on the other side.
fn is_text(text: &str, max_len: usize) -> bool {
    text.len() <= max_len && !text.contains('\0')
}

fn is_passphrase(secret: &Secret) -> bool {
    secret.is_empty() || secret.reveal().len() >= 10
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Buffers are 32-bit numbers to libsrt.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX).min(i64::from(i32::MAX))
}
