//! AV1: "RTP Payload Format For AV1" 1.0 of the Alliance for Open Media.

use super::Payload;
use crate::media::av1::Obus;

/// The first element continues one of the last packet (§4.4).
const CONTINUES: u8 = 0x80;
/// The last element goes on in the next packet.
const GOES_ON: u8 = 0x40;
/// There is one element, without a length.
const ONE_ELEMENT: u8 = 0x10;
/// A coded video sequence begins.
const NEW_SEQUENCE: u8 = 0x08;

/// `obu_has_size_field`.
const HAS_SIZE: u8 = 2;

/// `payload` is a temporal unit of OBUs with their sizes; `header` the sequence header where decoding may begin.
///
/// One OBU element a packet, so that no packet has lengths: frames are larger than packets, and what is not is rare.
pub(super) fn packetize(header: Option<&[u8]>, payload: &[u8], limit: usize) -> Vec<Payload> {
    let mut out = Vec::with_capacity(payload.len() / limit + 2);
    let begins = header.is_some();
    let has_header =
        Obus::new(payload).next().is_some_and(|obu| obu.is_ok_and(|obu| obu.kind == 1));
    let header = header.filter(|_| !has_header).unwrap_or_default();
    for obu in Obus::new(header).chain(Obus::new(payload)) {
        let Ok(obu) = obu else { break };
        let mut element = Vec::with_capacity(obu.body.len() + 2);
        // §5: elements should be without their sizes.
        let first = (obu.kind << 3) & 0x78 | u8::from(obu.extension.is_some()) << 2;
        element.push(first & !HAS_SIZE);
        element.extend(obu.extension);
        element.extend_from_slice(obu.body);
        let pieces = element.chunks(limit - 1);
        let count = pieces.len();
        for (index, piece) in pieces.enumerate() {
            let mut aggregation = ONE_ELEMENT;
            if index > 0 {
                aggregation |= CONTINUES;
            }
            if index + 1 < count {
                aggregation |= GOES_ON;
            }
            if begins && out.is_empty() {
                aggregation |= NEW_SEQUENCE;
            }
            let mut packet = Vec::with_capacity(piece.len() + 1);
            packet.push(aggregation);
            packet.extend_from_slice(piece);
            out.push(packet.into());
        }
    }
    out
}
