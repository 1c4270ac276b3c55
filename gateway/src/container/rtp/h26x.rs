//! H.264 (RFC 6184, packetization mode 1) and HEVC (RFC 7798): single NAL units, aggregates of parameter sets,
//! fragments.

use super::Payload;
use crate::media::nal::{LengthPrefixed, LengthSize};
use bytes::Bytes;

/// Which header NAL units have; all that differs between the two formats hangs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// One byte.
    H264,
    /// Two bytes.
    Hevc,
}

/// STAP-A, RFC 6184 §5.7.1, with `nal_ref_idc` 3: it holds parameter sets.
const STAP_A: u8 = 0x78;
/// FU-A, RFC 6184 §5.8.
const FU_A: u8 = 28;
/// Aggregation packet, RFC 7798 §4.4.2, of layer 0 and `nuh_temporal_id_plus1` 1.
const AP: [u8; 2] = [48 << 1, 1];
/// Fragmentation unit, RFC 7798 §4.4.3.
const FU: u8 = 49;

/// `payload` is NAL units with their lengths in four bytes; `sets` precede it in the same picture.
pub(super) fn packetize<'a>(
    header: Header,
    sets: Option<impl Iterator<Item = &'a Bytes>>,
    payload: &[u8],
    limit: usize,
) -> Vec<Payload> {
    let mut out = Vec::with_capacity(payload.len() / limit + 2);
    if let Some(sets) = sets {
        aggregate(header, sets, limit, &mut out);
    }
    for nal in LengthPrefixed::new(payload, LengthSize::Four) {
        // What is cut off is not sent; what came before it is.
        let Ok(nal) = nal else { break };
        single_or_fragments(header, nal, limit, &mut out);
    }
    out
}

/// Parameter sets, together as long as they fit.
fn aggregate<'a>(
    header: Header,
    sets: impl Iterator<Item = &'a Bytes>,
    limit: usize,
    out: &mut Vec<Payload>,
) {
    let begin = || match header {
        Header::H264 => vec![STAP_A],
        Header::Hevc => AP.to_vec(),
    };
    let mut packet = begin();
    let empty = packet.len();
    for set in sets {
        let Ok(length) = u16::try_from(set.len()) else { continue };
        if packet.len() > empty && packet.len() + 2 + set.len() > limit {
            out.push(std::mem::replace(&mut packet, begin()).into());
        }
        if empty + 2 + set.len() > limit {
            single_or_fragments(header, set, limit, out);
            continue;
        }
        packet.extend(length.to_be_bytes());
        packet.extend_from_slice(set);
    }
    if packet.len() > empty {
        out.push(packet.into());
    }
}

fn single_or_fragments(header: Header, nal: &[u8], limit: usize, out: &mut Vec<Payload>) {
    if nal.len() <= limit {
        if !nal.is_empty() {
            out.push(nal.into());
        }
        return;
    }
    match header {
        Header::H264 => {
            let Some((&[first], body)) = nal.split_first_chunk() else { return };
            let (indicator, kind) = ((first & 0xe0) | FU_A, first & 0x1f);
            fragments(body, limit, out, |start, end| {
                ([indicator].into_iter(), flags(start, end) | kind)
            });
        }
        Header::Hevc => {
            let Some((&[first, second], body)) = nal.split_first_chunk() else { return };
            let indicator = [(first & 0x81) | (FU << 1), second];
            let kind = (first >> 1) & 0x3f;
            fragments(body, limit, out, |start, end| {
                (indicator.into_iter(), flags(start, end) | kind)
            });
        }
    }
}

/// The S and E bits of a fragment's header.
const fn flags(start: bool, end: bool) -> u8 {
    (start as u8) << 7 | (end as u8) << 6
}

/// All fragments but the last are as long as they may be, so that a run of them is one segmented datagram.
fn fragments<I: ExactSizeIterator<Item = u8>>(
    body: &[u8],
    limit: usize,
    out: &mut Vec<Payload>,
    head: impl Fn(bool, bool) -> (I, u8),
) {
    let head_len = head(true, true).0.len() + 1;
    let pieces = body.chunks(limit.saturating_sub(head_len).max(1));
    let count = pieces.len();
    for (index, piece) in pieces.enumerate() {
        let (indicator, fu) = head(index == 0, index + 1 == count);
        let mut packet = Vec::with_capacity(head_len + piece.len());
        packet.extend(indicator);
        packet.push(fu);
        packet.extend_from_slice(piece);
        out.push(packet.into());
    }
}
