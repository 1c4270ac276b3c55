//! Any number of channels to two: ITU-R BS.775-3, annex 4, without the low-frequency effects.

use syom::{Channel, FrameMeta};

/// 3 dB less, as the centre and the rear channels come through.
const MINUS_3_DB: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// Appends what two loudspeakers play of these planes, left and right in turn.
pub(super) fn to_stereo(planes: &[&[f32]], meta: &FrameMeta, out: &mut Vec<f32>) {
    match planes {
        [] => {}
        [one] => out.extend(one.iter().flat_map(|&sample| [sample, sample])),
        [left, right] => out.extend(left.iter().zip(*right).flat_map(|(&l, &r)| [l, r])),
        more => mix(more, meta, out),
    }
}

fn mix(planes: &[&[f32]], meta: &FrameMeta, out: &mut Vec<f32>) {
    let count = planes.iter().map(|plane| plane.len()).min().unwrap_or(0);
    let start = out.len();
    out.resize(start + 2 * count, 0.0);
    let mut total = 1.0_f32;
    for (plane, channel) in planes.iter().zip(meta.labels()) {
        let (left, right) = gains(channel);
        if channel != Channel::FrontLeft && channel != Channel::FrontRight {
            total += left.max(right) / if left > 0.0 && right > 0.0 { 1.0 } else { 2.0 };
        }
        let pairs = out.get_mut(start..).unwrap_or_default().chunks_exact_mut(2);
        for (pair, &sample) in pairs.zip(*plane) {
            if let [l, r] = pair {
                *l += left * sample;
                *r += right * sample;
            }
        }
    }
    // All channels at their loudest must not be louder than one.
    let scale = 1.0 / total;
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
    use syom::Layout;

    #[test]
    fn one_channel_is_heard_on_both_sides_and_two_as_they_are() {
        let mut out = Vec::new();
        to_stereo(&[&[0.5, -0.5]], &FrameMeta::EMPTY, &mut out);
        assert_eq!(out, [0.5, 0.5, -0.5, -0.5]);
        out.clear();
        to_stereo(&[&[0.1, 0.2], &[0.3, 0.4]], &FrameMeta::EMPTY, &mut out);
        assert_eq!(out, [0.1, 0.3, 0.2, 0.4]);
    }

    #[test]
    fn six_channels_keep_their_sides_and_do_not_clip() {
        let labels = [
            Channel::FrontLeft,
            Channel::FrontRight,
            Channel::FrontCenter,
            Channel::Lfe,
            Channel::BackLeft,
            Channel::BackRight,
        ];
        let meta = FrameMeta::from_labels(Layout::Mpeg(6), 48_000, 48_000, &labels);
        let mut out = Vec::new();
        let (silent, loud) = ([0.0], [1.0]);
        to_stereo(&[&loud, &silent, &silent, &loud, &silent, &silent], &meta, &mut out);
        assert!(out[0] > 0.3 && out[1] == 0.0, "{out:?}");
        out.clear();
        to_stereo(&[&loud[..]; 6], &meta, &mut out);
        assert!(out.iter().all(|&sample| sample > 0.9 && sample < 1.001), "{out:?}");
    }
}
