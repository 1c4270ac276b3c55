//! What H.264 and HEVC have in common: NAL units, what they are, their byte streams and length prefixes.
//!
//! Numbers of sections refer to H.264 (08/2021) and H.265 (08/2021). [`Syntax`] says which of the two a stream follows;
//! all that differs between them in here hangs on it. What is within a parameter set or a slice header is left to
//! `h264` and `h265`.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

mod byte_stream;
mod parameter_sets;
mod picture;

pub use byte_stream::{AnnexB, LengthPrefixed, LengthSize, find_start_code, put_length_prefixed};
pub(super) use parameter_sets::{ParameterSets, SetKey};
pub use picture::Picture;

use std::borrow::Cow;

/// The standard that a NAL unit follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Syntax {
    /// H.264.
    H264,
    /// HEVC.
    Hevc,
}

/// What a NAL unit is, as far as a gateway must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Coded macroblocks or coding tree units of the base layer.
    Slice(Slice),
    /// A parameter set.
    ParameterSet(SetKind),
    /// Supplemental information that precedes its picture.
    Sei,
    /// Supplemental information that follows its picture's slices (HEVC).
    SuffixSei,
    /// An access unit delimiter.
    Delimiter,
    /// The end of a coded sequence, or of the whole stream.
    EndOfSequence,
    /// Bytes that mean nothing.
    Filler,
    /// Anything else, of which the standard says that it may begin an access unit.
    OtherFirst,
    /// Anything else.
    Other,
}

/// What the first bytes of a slice tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// It belongs to a picture at which decoding may begin: IDR, or any IRAP picture of HEVC.
    pub random_access: bool,
    /// It is the first of its picture. A picture of H.264 whose first slice was lost, or whose slices come in
    /// arbitrary order, needs [`h264::SliceHead`](super::h264::SliceHead).
    pub first: bool,
    /// No other picture refers to its picture; in HEVC, none of its own temporal sub-layer.
    pub disposable: bool,
}

/// The kinds of parameter sets, in the order in which a decoder wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetKind {
    /// Of the video (HEVC).
    Video,
    /// Of the sequence.
    Sequence,
    /// Extends that of a sequence (H.264).
    SequenceExtension,
    /// Of the picture.
    Picture,
}

impl Syntax {
    /// What this NAL unit is; `None` when it has no whole header or one that is forbidden.
    pub fn classify(self, nal: &[u8]) -> Option<Kind> {
        match self {
            Self::H264 => classify_h264(nal),
            Self::Hevc => classify_hevc(nal),
        }
    }

    /// An access unit delimiter that allows slices of any type (§7.3.2.4 of H.264, §7.3.2.5 of H.265), without a start code.
    pub const fn delimiter(self) -> &'static [u8] {
        match self {
            Self::H264 => &[0x09, 0xf0],
            Self::Hevc => &[0x46, 0x01, 0x50],
        }
    }

    /// Whether this unit says that decoding may begin at its picture, which is not an IDR picture: a recovery point
    /// (H.264 §D.2.8). Streams with open GOPs or with gradual refresh have no other random access points.
    pub fn is_recovery_point(self, nal: &[u8]) -> bool {
        const RECOVERY_POINT: u32 = 6;
        match self {
            Self::H264 => {
                nal.first().is_some_and(|first| first & 0x1f == 6)
                    && has_sei(nal, 1, RECOVERY_POINT)
            }
            // An IRAP picture says so itself.
            Self::Hevc => false,
        }
    }
}

impl Kind {
    /// Whether it belongs into the payload of an access unit: parameter sets are kept beside it, and the rest
    /// means nothing outside of a byte stream.
    pub const fn is_payload(self) -> bool {
        !matches!(
            self,
            Self::ParameterSet(_) | Self::Delimiter | Self::EndOfSequence | Self::Filler
        )
    }

    /// Whether a unit of this kind, after a slice, is the first of the next access unit
    /// (H.264 §7.4.1.2.3, H.265 §7.4.2.4.4). Slices of H.264 that do not begin with the first macroblock aside.
    pub const fn begins_unit(self) -> bool {
        match self {
            Self::Slice(slice) => slice.first,
            Self::ParameterSet(kind) => !matches!(kind, SetKind::SequenceExtension),
            Self::Sei | Self::Delimiter | Self::OtherFirst => true,
            Self::SuffixSei | Self::EndOfSequence | Self::Filler | Self::Other => false,
        }
    }
}

/// H.264 §7.3.1 and table 7-1.
fn classify_h264(nal: &[u8]) -> Option<Kind> {
    let header = *nal.first()?;
    if header & 0x80 != 0 {
        return None;
    }
    let disposable = header & 0x60 == 0;
    Some(match header & 0x1f {
        kind @ (1 | 2 | 5) => Kind::Slice(Slice {
            random_access: kind == 5,
            // `first_mb_in_slice` is the first field, and its zero is a single set bit.
            first: nal.get(1)? & 0x80 != 0,
            disposable,
        }),
        6 => Kind::Sei,
        7 => Kind::ParameterSet(SetKind::Sequence),
        8 => Kind::ParameterSet(SetKind::Picture),
        9 => Kind::Delimiter,
        10 | 11 => Kind::EndOfSequence,
        12 => Kind::Filler,
        13 => Kind::ParameterSet(SetKind::SequenceExtension),
        14..=18 => Kind::OtherFirst,
        _ => Kind::Other,
    })
}

/// H.265 §7.3.1.2 and table 7-1.
fn classify_hevc(nal: &[u8]) -> Option<Kind> {
    let (&[first, second], rest) = nal.split_first_chunk()?;
    // `nuh_temporal_id_plus1` is never zero.
    if first & 0x80 != 0 || second & 7 == 0 {
        return None;
    }
    let kind = (first >> 1) & 0x3f;
    if (first & 1, second >> 3) != (0, 0) {
        // Of another layer than the base.
        return Some(Kind::Other);
    }
    Some(match kind {
        0..=31 => Kind::Slice(Slice {
            random_access: (16..=23).contains(&kind),
            first: rest.first()? & 0x80 != 0,
            // The types whose names end in `_N`.
            disposable: kind < 15 && kind.is_multiple_of(2),
        }),
        32 => Kind::ParameterSet(SetKind::Video),
        33 => Kind::ParameterSet(SetKind::Sequence),
        34 => Kind::ParameterSet(SetKind::Picture),
        35 => Kind::Delimiter,
        36 | 37 => Kind::EndOfSequence,
        38 => Kind::Filler,
        39 => Kind::Sei,
        40 => Kind::SuffixSei,
        41..=44 | 48..=55 => Kind::OtherFirst,
        _ => Kind::Other,
    })
}

/// Whether an SEI unit has a message of this type (H.264 §7.3.2.3.1).
fn has_sei(nal: &[u8], header_len: usize, wanted: u32) -> bool {
    let rbsp = rbsp(nal.get(header_len..).unwrap_or_default());
    let mut rest: &[u8] = &rbsp;
    while let Some((kind, after)) = sei_number(rest) {
        let Some((size, body)) = sei_number(after) else { return false };
        if kind == wanted {
            return true;
        }
        let Some((_, next)) = body.split_at_checked(size as usize) else { return false };
        rest = next;
    }
    false
}

/// A type or size of an SEI message: bytes of 255 and one that is less, summed. Not the trailing bits.
fn sei_number(mut rest: &[u8]) -> Option<(u32, &[u8])> {
    if rest == [0x80] {
        return None;
    }
    let mut sum = 0_u32;
    loop {
        let (&byte, after) = rest.split_first()?;
        sum = sum.checked_add(u32::from(byte))?;
        rest = after;
        if byte != 255 {
            return Some((sum, rest));
        }
    }
}

/// The raw bytes of a NAL unit or of the front of one: without the emulation prevention bytes (H.264 §7.3.1).
pub fn rbsp(nal: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = nal.windows(3).position(|three| three == [0, 0, 3]) else {
        return Cow::Borrowed(nal);
    };
    let (clean, rest) = nal.split_at(first);
    let mut raw = Vec::with_capacity(nal.len());
    raw.extend_from_slice(clean);
    let mut zeros = 0;
    for &byte in rest {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        raw.push(byte);
    }
    Cow::Owned(raw)
}

#[cfg(test)]
mod tests;
