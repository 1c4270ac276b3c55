//! From an offer to an answer (RFC 8829, RFC 9725 §4.2): what of the stream a viewer gets, and in which form.

use super::{addresses::Local, keys, stage::Stage};
use crate::media::{Codec, CodecConfig, TrackId};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use std::{fmt, sync::Arc, time::Duration};
use str0m::{
    IceCreds, Rtc, RtcConfig, RtcError,
    change::SdpOffer,
    config::DtlsCert,
    crypto::CryptoProvider,
    format::{self, PayloadParams},
    media::{Direction, MediaKind, Mid, Pt},
    rtp::Extension,
};
use thalweg_runtime as rt;

/// What all sessions of a gateway have in common.
#[derive(Debug)]
pub(super) struct Identity {
    certificate: DtlsCert,
    crypto: Arc<CryptoProvider>,
}

/// What was agreed with a viewer.
pub(super) struct Viewing {
    pub(super) rtc: Box<Rtc>,
    pub(super) answer: String,
    pub(super) credentials: IceCreds,
    pub(super) video: Option<Outgoing>,
    pub(super) audio: Option<Outgoing>,
    /// What its streams have in common, as the answer says it.
    pub(super) cname: String,
}

/// One stream to a viewer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    pub(super) mid: Mid,
    /// Payload type and source of its packets, and of those that are sent again.
    pub(super) pt: u8,
    pub(super) ssrc: u32,
    pub(super) resend: Option<(u32, u8)>,
    /// Ticks a second.
    pub(super) clock: u32,
    /// How the viewer knows a packet's number across streams, and the section's name, in a header.
    pub(super) number_id: Option<u8>,
    pub(super) mid_id: Option<u8>,
}

/// What was agreed with a publisher.
pub(super) struct Publishing {
    pub(super) rtc: Box<Rtc>,
    pub(super) answer: String,
    pub(super) credentials: IceCreds,
    pub(super) tracks: Vec<Incoming>,
}

/// One stream from a publisher.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub(super) mid: Mid,
    pub(super) track: TrackId,
    pub(super) codec: Codec,
}

/// Why an offer was not taken.
#[derive(Debug)]
pub(super) enum OfferError {
    /// It is no offer that we understand.
    Malformed(String),
    /// It asks for nothing that the stream has.
    NotAcceptable(String),
}

/// More sections than this has no offer of a browser.
const SECTIONS_MAX: usize = 32;

/// More candidates than this has no machine.
const CANDIDATES_MAX: usize = 256;

/// How often a peer's figures are looked at: as often as feedback comes at least, which tells whether its link carries the
/// stream.
const STATS: Duration = Duration::from_millis(250);

/// How many packets are kept to be sent again: a second and a half of 10 Mbit/s. They are shared with the other viewers.
pub(super) const RESEND_PACKETS: usize = 1_500;

impl Identity {
    /// With a certificate of its own, which peers know by its fingerprint in the answer.
    pub(super) fn new() -> Option<Self> {
        let crypto = Arc::new(keys::provider());
        let certificate = crypto.dtls_provider.generate_certificate()?;
        Some(Self { certificate, crypto })
    }

    pub(super) fn config(&self, credentials: &IceCreds) -> RtcConfig {
        RtcConfig::new()
            .set_crypto_provider(Arc::clone(&self.crypto))
            .set_dtls_cert(self.certificate.clone())
            .set_ice_lite(true)
            .set_local_ice_credentials(credentials.clone())
            .set_stats_interval(Some(STATS))
            .clear_codecs()
    }
}

#[expect(
    clippy::large_stack_frames,
    reason = "sessions have stacks for it, which are trimmed later"
)]
/// Agrees with a viewer's offer on what of the stream it gets.
pub(super) fn view(
    identity: &Identity,
    offer: &str,
    candidates: &[Local],
    stage: &Stage,
) -> Result<Viewing, OfferError> {
    let offer = parse(offer)?;
    let credentials = credentials();
    let video = stage.video();
    let may_be_heard = stage.may_be_heard();
    // Of what may stand in each packet's header, what is of use.
    let mut config = identity
        .config(&credentials)
        .set_rtp_mode(true)
        .clear_extension_map()
        .set_extension(3, Extension::TransportSequenceNumber)
        .set_extension(4, Extension::RtpMid);
    config = match video.as_deref().map(CodecConfig::codec) {
        Some(Codec::H264) => config.enable_h264(true),
        Some(Codec::Hevc) => config.enable_h265(true),
        Some(Codec::Vp8) => config.enable_vp8(true),
        Some(Codec::Vp9) => config.enable_vp9(true),
        Some(Codec::Av1) => config.enable_av1(true),
        _ => config,
    };
    config = config.enable_opus(may_be_heard, false);
    let mut rtc = Box::new(config.build(rt::now()));
    add_candidates(&mut rtc, candidates);
    let answer = rtc.sdp_api().accept_offer(offer).map_err(|error| malformed(&error))?;
    let answer = of_one_stream(&answer.to_sdp_string());
    let (mut sees, mut hears) = (None, None);
    let sections = sections(&rtc, &answer);
    for &(mid, kind, direction) in &sections {
        let slot = if kind == MediaKind::Video { &mut sees } else { &mut hears };
        if direction.is_sending() && slot.is_none() {
            *slot = Some(mid);
        }
    }
    let sees =
        sees.and_then(|mid| outgoing(&mut rtc, mid, |params| fits(params, video.as_deref())));
    if let (Some(out), Some(CodecConfig::H264(config))) = (&sees, video.as_deref()) {
        remark_profile(&rtc, out.pt.into(), config.profile(), stage);
    }
    let hears = hears.and_then(|mid| {
        outgoing(&mut rtc, mid, |params| Some(u8::from(is_opus(params))).filter(|&fit| fit > 0))
    });
    // The stack would report on streams that it sends nothing of.
    let mut direct = rtc.direct_api();
    for (mid, ..) in sections {
        let ssrc = direct.stream_tx_by_mid(mid, None).map(|stream| stream.ssrc());
        ssrc.map(|ssrc| direct.remove_stream_tx(ssrc));
    }
    if let Some(video) = video.as_deref()
        && sees.is_none()
    {
        let codec = video.codec();
        let why = format!("the stream's pictures are {codec}, of which the offer takes none");
        return Err(OfferError::NotAcceptable(why));
    }
    if sees.is_none() && hears.is_none() {
        let why = "the offer takes nothing that the stream has".to_owned();
        return Err(OfferError::NotAcceptable(why));
    }
    let cname = cname(&answer).to_owned();
    Ok(Viewing { rtc, answer, credentials, video: sees, audio: hears, cname })
}

/// Agrees with a publisher's offer: one stream of pictures, one of sound, in the first codec of those it prefers that we
/// know.
#[expect(
    clippy::large_stack_frames,
    reason = "sessions have stacks for it, which are trimmed later"
)]
pub(super) fn publish(
    identity: &Identity,
    offer: &str,
    candidates: &[Local],
) -> Result<Publishing, OfferError> {
    let offer = parse(offer)?;
    let credentials = credentials();
    let config = identity.config(&credentials).enable_h264(true).enable_h265(true).enable_vp8(true);
    let config = config.enable_vp9(true).enable_av1(true).enable_opus(true, false);
    let mut rtc = Box::new(config.build(rt::now()));
    add_candidates(&mut rtc, candidates);
    let answer = rtc.sdp_api().accept_offer(offer).map_err(|error| malformed(&error))?;
    let answer = answer.to_sdp_string();
    let mut tracks = Vec::new();
    for (mid, kind, direction) in sections(&rtc, &answer) {
        let is_first = tracks
            .iter()
            .all(|known: &Incoming| is_video(known.codec) != (kind == MediaKind::Video));
        if !direction.is_receiving() || !is_first {
            continue;
        }
        let number = u16::try_from(tracks.len() + 1).unwrap_or(u16::MAX);
        if let Some(codec) = first_codec(&rtc, mid) {
            tracks.push(Incoming { mid, track: TrackId(number), codec });
        }
    }
    if tracks.is_empty() {
        let why = "the offer sends nothing in a codec that we know".to_owned();
        return Err(OfferError::NotAcceptable(why));
    }
    Ok(Publishing { rtc, answer, credentials, tracks })
}

fn is_video(codec: Codec) -> bool {
    codec.kind() == crate::media::MediaKind::Video
}

/// The codec that the peer likes best of those agreed on.
fn first_codec(rtc: &Rtc, mid: Mid) -> Option<Codec> {
    let agreed = rtc.media(mid)?.remote_pts();
    agreed.iter().find_map(|pt| {
        let params = rtc.codec_config().params().iter().find(|params| params.pt() == *pt)?;
        match params.spec().codec {
            format::Codec::H264 => Some(Codec::H264),
            format::Codec::H265 => Some(Codec::Hevc),
            format::Codec::Vp8 => Some(Codec::Vp8),
            format::Codec::Vp9 => Some(Codec::Vp9),
            format::Codec::Av1 => Some(Codec::Av1),
            format::Codec::Opus => Some(Codec::Opus),
            _ => None,
        }
    })
}

pub(super) fn parse(offer: &str) -> Result<SdpOffer, OfferError> {
    let count = |prefix: &str| offer.lines().filter(|line| line.starts_with(prefix)).count();
    if count("m=") > SECTIONS_MAX {
        return Err(OfferError::Malformed(format!("it has more than {SECTIONS_MAX} m= sections")));
    }
    if count("a=candidate") > CANDIDATES_MAX {
        return Err(OfferError::Malformed(format!("it has more than {CANDIDATES_MAX} candidates")));
    }
    SdpOffer::from_sdp_string(offer).map_err(|error| OfferError::Malformed(error.to_string()))
}

pub(super) fn malformed(error: &RtcError) -> OfferError {
    OfferError::Malformed(error.to_string())
}

pub(super) fn add_candidates(rtc: &mut Rtc, candidates: &[Local]) {
    for candidate in candidates.iter().filter_map(Local::candidate) {
        rtc.add_local_candidate(candidate);
    }
}

/// The addresses as SDP writes them.
pub(super) fn candidates_as_text(candidates: &[Local]) -> Vec<String> {
    let candidates = candidates.iter().filter_map(Local::candidate);
    candidates.map(|candidate| candidate.to_sdp_string()).collect()
}

/// The media sections of an answer. The stack tells of them only once the peer is connected.
pub(super) fn sections(rtc: &Rtc, answer: &str) -> Vec<(Mid, MediaKind, Direction)> {
    let mids = answer.lines().filter_map(|line| line.strip_prefix("a=mid:"));
    let sections = mids.filter_map(|mid| {
        let mid = Mid::from(mid.trim());
        rtc.media(mid).map(|media| (mid, media.kind(), media.direction()))
    });
    sections.collect()
}

/// An answer whose sections all belong to one stream of media (RFC 8830 §2): browsers keep sound and pictures together only
/// within one, and the stack has one for each section.
fn of_one_stream(answer: &str) -> String {
    let id = |line: &str| {
        let (id, track) = line.strip_prefix("a=msid:")?.split_once(' ')?;
        Some((id.to_owned(), track.to_owned()))
    };
    let Some((first, _)) = answer.lines().find_map(id) else { return answer.to_owned() };
    let line = |line: &str| match id(line) {
        Some((_, track)) => format!("a=msid:{first} {track}\r\n"),
        None if line.starts_with("a=msid-semantic:") => format!("a=msid-semantic: WMS {first}\r\n"),
        None => format!("{line}\r\n"),
    };
    answer.lines().map(line).collect()
}

/// The name that the answer gives to the source of all its streams (RFC 5576 §6.1).
fn cname(answer: &str) -> &str {
    let sources = answer.lines().filter_map(|line| line.strip_prefix("a=ssrc:"));
    let mut names = sources.filter_map(|source| source.split_once(" cname:"));
    names.next().map_or("thalweg", |(_, name)| name.trim())
}

/// What is sent in a section, with the payload type that fits best.
fn outgoing(
    rtc: &mut Rtc,
    mid: Mid,
    fit: impl Fn(&PayloadParams) -> Option<u8>,
) -> Option<Outgoing> {
    let media = rtc.media(mid)?;
    let agreed = media.remote_pts();
    let (number_id, mid_id) = {
        let id = |extension| media.remote_extmap().id_of(extension);
        (id(Extension::TransportSequenceNumber), id(Extension::RtpMid))
    };
    let params = rtc.codec_config().params().iter().filter(|params| agreed.contains(&params.pt()));
    let best = params.filter_map(|params| Some((fit(params)?, params))).max_by_key(|it| it.0);
    let (pt, again, clock) =
        best.map(|(_, params)| (*params.pt(), params.resend(), params.spec().clock_rate))?;
    let mut direct = rtc.direct_api();
    let stream = direct.stream_tx_by_mid(mid, None)?;
    let (ssrc, resend) = (*stream.ssrc(), stream.rtx().zip(again));
    let resend = resend.map(|(ssrc, pt)| (*ssrc, *pt));
    let clock = clock.get();
    Some(Outgoing { mid, pt, ssrc, resend, clock, number_id, mid_id })
}

fn is_opus(params: &PayloadParams) -> bool {
    params.spec().codec == format::Codec::Opus
}

/// How well what is offered fits the stream, more is better; `None` for another codec.
///
/// Browsers decode every profile of H.264 whatever they offer, but for none of them is packetization mode 0 of use.
fn fits(params: &PayloadParams, video: Option<&CodecConfig>) -> Option<u8> {
    let spec = params.spec();
    match (video?, spec.codec) {
        (CodecConfig::H264(config), format::Codec::H264) => {
            let is_usable = spec.format.packetization_mode == Some(1);
            is_usable.then(|| nearness(config.profile(), offered_profile(params)))
        }
        (CodecConfig::Hevc(_), format::Codec::H265)
        | (CodecConfig::Vp8(_), format::Codec::Vp8)
        | (CodecConfig::Vp9(_), format::Codec::Vp9)
        | (CodecConfig::Av1(_), format::Codec::Av1) => Some(1),
        _ => None,
    }
}

/// `profile_idc` of what is offered. RFC 6184 §8.1: what says nothing is Baseline.
fn offered_profile(params: &PayloadParams) -> u8 {
    const BASELINE: u32 = 0x42_0010;
    let [_, profile, _, _] =
        params.spec().format.profile_level_id.unwrap_or(BASELINE).to_be_bytes();
    profile
}

/// `profile_idc`s from the least to the most, and what they are called (H.264 (08/2021) §A.2).
const PROFILES: [(u8, &str); 6] = [
    (66, "Baseline"),
    (77, "Main"),
    (100, "High"),
    (110, "High 10"),
    (122, "High 4:2:2"),
    (244, "High 4:4:4 Predictive"),
];

/// How near an offered profile is to the stream's: best the same, then the next above, which includes it, then the next
/// below.
fn nearness(profile: u8, offered: u8) -> u8 {
    const SAME: u8 = 100;
    let rank = |profile| PROFILES.iter().zip(1..).find(|((it, _), _)| *it == profile);
    match (rank(profile), rank(offered)) {
        _ if profile == offered => SAME,
        (Some((_, own)), Some((_, theirs))) if theirs > own => SAME - 10 - (theirs - own),
        (Some((_, own)), Some((_, theirs))) => SAME - 20 - (own - theirs),
        _ => 0,
    }
}

/// Says once that the profile of a stream is not the one that its viewers were told.
fn remark_profile(rtc: &Rtc, pt: Pt, profile: u8, stage: &Stage) {
    let all = rtc.codec_config().params();
    let Some(params) = all.iter().find(|params| params.pt() == pt) else { return };
    let offered = offered_profile(params);
    if offered == profile {
        return;
    }
    let name = |profile| {
        let known = PROFILES.iter().find(|(it, _)| *it == profile);
        known.map_or_else(|| format!("profile {profile}"), |(_, name)| (*name).to_owned())
    };
    let (own, theirs) = (name(profile), name(offered));
    let text =
        format!("H.264 {own} goes to WebRTC's viewers as {theirs}, the nearest that they offer");
    stage.mention("webrtc.profile", &text);
}

/// A name and a password for checks of ICE (RFC 8445 §5.3: at least 24 and 128 bits); nobody can guess the name either,
/// which finds the peer.
pub(super) fn credentials() -> IceCreds {
    IceCreds { ufrag: random_text::<12>(), pass: random_text::<24>() }
}

/// Random bytes, as text of letters and digits.
pub(super) fn random_text<const BYTES: usize>() -> String {
    random_bytes::<BYTES>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Random bytes.
pub(super) fn random_bytes<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).expect("the system has random numbers");
    bytes
}

impl fmt::Display for OfferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "the offer is wrong: {why}"),
            Self::NotAcceptable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for OfferError {}

impl fmt::Debug for Publishing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publishing").field("tracks", &self.tracks).finish_non_exhaustive()
    }
}

impl fmt::Debug for Viewing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewing")
            .field("video", &self.video)
            .field("audio", &self.audio)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_and_pictures_are_of_one_stream() {
        let answer = "v=0\r\na=msid-semantic: WMS one two\r\nm=video 9\r\na=msid:one v\r\nm=audio 9\r\na=msid:two a\r\n";
        let expected = "v=0\r\na=msid-semantic: WMS one\r\nm=video 9\r\na=msid:one v\r\nm=audio 9\r\na=msid:one a\r\n";
        assert_eq!(of_one_stream(answer), expected);
        assert_eq!(of_one_stream("v=0\r\nm=video 0\r\n"), "v=0\r\nm=video 0\r\n");
    }

    #[test]
    fn the_nearest_profile_is_the_same_then_the_next_above_then_the_next_below() {
        let nearest = |profile: u8, offered: &[u8]| {
            offered.iter().copied().max_by_key(|&offered| nearness(profile, offered))
        };
        assert_eq!(nearest(100, &[66, 77, 100]), Some(100));
        assert_eq!(nearest(100, &[66, 77]), Some(77));
        assert_eq!(nearest(77, &[66, 100, 244]), Some(100));
        assert_eq!(nearest(66, &[77, 100]), Some(77));
        assert_eq!(nearest(122, &[66, 77, 100]), Some(100));
        assert_eq!(nearest(77, &[66]), Some(66));
        assert_eq!(nearest(88, &[66]), Some(66));
    }
}
