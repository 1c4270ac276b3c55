//! Any number of channels to two: ITU-R BS.775-3, annex 4, without the low-frequency effects.

use syom::Channel;

/// 3 dB less, as the centre and the rear channels come through.
const MINUS_3_DB: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// Which channels there are in the order of Vorbis, in which Opus has them (RFC 7845 §5.1.1.2), when there are so many.
pub(super) const fn vorbis_order(channels: usize) -> &'static [Channel] {
    use Channel::{
        BackCenter, BackLeft, BackRight, FrontCenter, FrontLeft, FrontRight, Lfe, SideLeft,
        SideRight,
    };
    match channels {
        3 => &[FrontLeft, FrontCenter, FrontRight],
        4 => &[FrontLeft, FrontRight, BackLeft, BackRight],
        5 => &[FrontLeft, FrontCenter, FrontRight, BackLeft, BackRight],
        6 => &[FrontLeft, FrontCenter, FrontRight, BackLeft, BackRight, Lfe],
        7 => &[FrontLeft, FrontCenter, FrontRight, SideLeft, SideRight, BackCenter, Lfe],
        8 => &[FrontLeft, FrontCenter, FrontRight, SideLeft, SideRight, BackLeft, BackRight, Lfe],
        _ => &[],
    }
}

/// Appends what two loudspeakers play of these planes, left and right in turn. `labels` say which is which where there are
/// more than two.
pub(super) fn to_stereo(planes: &[&[f32]], labels: &[Channel], out: &mut Vec<f32>) {
    match planes {
        [] => {}
        [one] => out.extend(one.iter().flat_map(|&sample| [sample, sample])),
        [left, right] => out.extend(left.iter().zip(*right).flat_map(|(&l, &r)| [l, r])),
        more => mix(more, labels, out),
    }
}

fn mix(planes: &[&[f32]], labels: &[Channel], out: &mut Vec<f32>) {
    let count = planes.iter().map(|plane| plane.len()).min().unwrap_or(0);
    let start = out.len();
    out.resize(start + 2 * count, 0.0);
    let (mut lefts, mut rights) = (0.0_f32, 0.0_f32);
    let labels = labels.iter().copied().chain(std::iter::repeat(Channel::Other));
    for (plane, channel) in planes.iter().zip(labels) {
        let (left, right) = gains(channel);
        (lefts, rights) = (lefts + left, rights + right);
        let pairs = out.get_mut(start..).unwrap_or_default().chunks_exact_mut(2);
        for (pair, &sample) in pairs.zip(*plane) {
            if let [l, r] = pair {
                *l += left * sample;
                *r += right * sample;
            }
        }
    }
    // All channels at their loudest must not be louder than one.
    let scale = 1.0 / lefts.max(rights).max(1.0);
    out.iter_mut().skip(start).for_each(|sample| *sample *= scale);
}

/// How much of a channel is heard left and right.
const fn gains(channel: Channel) -> (f32, f32) {
    match channel {
        Channel::FrontLeft => (1.0, 0.0),
        Channel::FrontRight => (0.0, 1.0),
        Channel::FrontCenter | Channel::BackCenter | Channel::Other => (MINUS_3_DB, MINUS_3_DB),
        Channel::BackLeft | Channel::SideLeft => (MINUS_3_DB, 0.0),
        Channel::BackRight | Channel::SideRight => (0.0, MINUS_3_DB),
        _ => (0.0, 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_channel_is_heard_on_both_sides_and_two_as_they_are() {
        let mut out = Vec::new();
        to_stereo(&[&[0.5, -0.5]], &[], &mut out);
        assert_eq!(out, [0.5, 0.5, -0.5, -0.5]);
        out.clear();
        to_stereo(&[&[0.1, 0.2], &[0.3, 0.4]], &[], &mut out);
        assert_eq!(out, [0.1, 0.3, 0.2, 0.4]);
    }

    #[test]
    fn six_channels_keep_their_sides_and_do_not_clip() {
        use Channel::{BackLeft, BackRight, FrontCenter, FrontLeft, FrontRight, Lfe};
        let labels = [FrontLeft, FrontRight, FrontCenter, Lfe, BackLeft, BackRight];
        // The gains of BS.775, all of them divided by 1 + 2/√2.
        for (channel, left, right) in [
            (0, 0.414, 0.0),
            (1, 0.0, 0.414),
            (2, 0.293, 0.293),
            (3, 0.0, 0.0),
            (4, 0.293, 0.0),
            (5, 0.0, 0.293),
        ] {
            let mut planes = [&[0.0_f32][..]; 6];
            planes[channel] = &[1.0];
            let mut out = Vec::new();
            to_stereo(&planes, &labels, &mut out);
            assert!((out[0] - left).abs() < 0.001 && (out[1] - right).abs() < 0.001, "{out:?}");
        }
        let mut out = Vec::new();
        to_stereo(&[&[1.0][..]; 6], &labels, &mut out);
        assert!(out.iter().all(|&sample| sample > 0.999 && sample < 1.001), "{out:?}");
    }

    #[test]
    fn every_layout_of_vorbis_has_a_label_for_each_channel() {
        for channels in 3..=8 {
            assert_eq!(vorbis_order(channels).len(), channels);
        }
    }
}
