//! Whether pictures are shown in the order in which they come, and which may be left out where they are not.
//!
//! RTP has one time for a picture, when it is shown. A browser holds pictures back as long as the stream says that others
//! may have to be shown first, and shows none in time when it does not. A B picture that no other refers to
//! (H.264 (08/2021) §7.4.1: `nal_ref_idc` 0; H.265 (08/2021) §7.4.2.2: a sub-layer non-reference picture) can be left
//! out. One that others refer to cannot.

use crate::media::{
    AccessUnit, Codec, Timestamp,
    nal::{Kind, LengthPrefixed, LengthSize, Syntax},
};

/// What the pictures so far tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are shown as they come.
    #[default]
    InOrder,
    /// Some are shown before others that came earlier; nothing refers to them.
    DisposableB,
    /// Some of those are referred to.
    ReferenceB,
}

impl Verdict {
    /// What there is to be told of it.
    pub(super) const fn remark(self) -> Option<&'static str> {
        match self {
            Self::InOrder => None,
            Self::DisposableB => Some(
                "B pictures are left out for WebRTC; encoder setting: no B frames (x264: bframes=0)",
            ),
            Self::ReferenceB => Some(
                "pictures refer to B pictures, which WebRTC cannot show in time; encoder setting: no B frames \
                 (x264: bframes=0, or b-pyramid=none)",
            ),
        }
    }
}

/// Watches the order of the pictures of one stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Reorder {
    /// The latest time at which a picture since the last random-access point is shown.
    latest: Option<Timestamp>,
    verdict: Verdict,
}

impl Reorder {
    pub(super) const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether this picture, the next in the order of decoding, may be sent.
    pub(super) fn shows(&mut self, unit: &AccessUnit) -> bool {
        if unit.random_access {
            // Pictures of the last GOP may still be shown before it; those of an open GOP come after it.
            self.latest = Some(unit.pts);
            return true;
        }
        let is_early = self.latest.is_some_and(|latest| unit.pts < latest);
        if !is_early {
            self.latest = Some(unit.pts);
            return true;
        }
        let found = if is_disposable(unit) { Verdict::DisposableB } else { Verdict::ReferenceB };
        if self.verdict != Verdict::ReferenceB {
            self.verdict = found;
        }
        false
    }
}

/// Whether no other picture refers to this one.
fn is_disposable(unit: &AccessUnit) -> bool {
    let syntax = match unit.config.codec() {
        Codec::H264 => Syntax::H264,
        Codec::Hevc => Syntax::Hevc,
        _ => return false,
    };
    let mut slices = LengthPrefixed::new(&unit.payload, LengthSize::Four)
        .map_while(Result::ok)
        .filter_map(|nal| match syntax.classify(nal) {
            Some(Kind::Slice(slice)) => Some(slice.disposable),
            _ => None,
        });
    let first = slices.next();
    first.is_some_and(|first| first && slices.all(|disposable| disposable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{CodecConfig, TrackId, h264, hex};
    use std::rc::Rc;

    /// A picture of one slice, by its first byte.
    fn picture(nal: u8, pts: i64) -> AccessUnit {
        let sps = hex("6764001facd9405005bb0110000003001000000303c0f1831960");
        let config = h264::Config::from_parameter_sets([&sps[..], &hex("68ebe3cb22c0")]).unwrap();
        AccessUnit {
            track: TrackId(1),
            dts: Timestamp::ZERO,
            pts: Timestamp::from_ms(pts),
            random_access: nal == 0x65,
            config: Rc::new(CodecConfig::H264(config)),
            payload: vec![0, 0, 0, 3, nal, 0x9a, 0x22].into(),
        }
    }

    fn shown(pictures: &[(u8, i64)]) -> (Vec<i64>, Verdict) {
        let mut reorder = Reorder::default();
        let shown = pictures.iter().filter(|&&(nal, pts)| reorder.shows(&picture(nal, pts)));
        (shown.map(|&(_, pts)| pts).collect(), reorder.verdict())
    }

    #[test]
    fn pictures_in_order_are_all_shown() {
        let pictures = [(0x65, 0), (0x41, 40), (0x01, 80), (0x41, 120), (0x65, 160)];
        assert_eq!(shown(&pictures), (vec![0, 40, 80, 120, 160], Verdict::InOrder));
    }

    #[test]
    fn b_pictures_to_which_none_refers_are_left_out() {
        let pictures =
            [(0x65, 80), (0x41, 200), (0x01, 120), (0x01, 160), (0x41, 320), (0x01, 240)];
        assert_eq!(shown(&pictures), (vec![80, 200, 320], Verdict::DisposableB));
    }

    #[test]
    fn a_b_picture_to_which_others_refer_is_found() {
        let pictures = [(0x65, 80), (0x41, 240), (0x21, 160), (0x01, 120), (0x01, 200)];
        assert_eq!(shown(&pictures).1, Verdict::ReferenceB);
    }
}
