//! Parameter sets, records and slices of x264.

use super::*;
use crate::media::hostile;

fn hex(text: &str) -> Vec<u8> {
    crate::media::hex(text)
}

/// `ffmpeg -f lavfi -i testsrc=s=1280x720:r=30 -c:v libx264 -pix_fmt yuv420p`
const HIGH: [&str; 2] = ["6764001facd9405005bb0110000003001000000303c0f1831960", "68ebe3cb22c0"];

/// `ffmpeg -f lavfi -i testsrc=s=720x576:r=25 -vf setsar=16/11 -c:v libx264 -flags +ilme+ildct
/// -x264-params interlaced=1:slices=2 -pix_fmt yuv422p`; two slices of its first picture and one of its second.
const INTERLACED: [&str; 2] = ["677a001ebcd940b424d8208000000300800000190f8a14cb", "68fba3cb22c0"];
const INTERLACED_SLICES: [&str; 2] = [
    "6588820b03bff6f74ebf029b54c2504468d7ee5d5cf4184ec117a3b63f2a46500267ceba68c07a4818c238f6",
    "6500cb08820b03bff6f74ebf029b54c2504468d7e6f741b66ffa8012c3923b06092e07a561d9a347db057b9a",
];

/// `ffmpeg -f lavfi -i testsrc=s=1918x1078:r=30000/1001 -c:v libx264 -profile:v baseline -pix_fmt yuv420p`
const BASELINE: [&str; 2] = ["6742c028d900780227a9b01100000303e90000ea600f183248", "68cb83cb20"];

fn config(sets: [&str; 2]) -> Config {
    let sets = sets.map(hex);
    Config::from_parameter_sets(sets.iter().map(Vec::as_slice)).expect("sets of a real encoder")
}

#[test]
fn parameter_sets_of_x264_say_what_was_encoded() {
    let high = config(HIGH);
    assert_eq!(high.dimensions(), (1280, 720));
    assert_eq!(high.codec_string(), "avc1.64001F");
    assert_eq!(high.frame_rate(), Some(30.0));
    assert_eq!(high.max_num_reorder_frames(), Some(2));
    assert_eq!((high.profile(), high.level()), (100, 31));

    let interlaced = config(INTERLACED);
    assert_eq!(interlaced.dimensions(), (720, 576));
    assert_eq!(interlaced.sample_aspect(), Some((16, 11)));
    assert_eq!(interlaced.codec_string(), "avc1.7A001E");

    let cropped = config(BASELINE);
    assert_eq!(cropped.dimensions(), (1918, 1078));
    assert_eq!(cropped.codec_string(), "avc1.42C028");
    assert!((cropped.frame_rate().unwrap() - 30_000.0 / 1_001.0).abs() < 1e-9);
}

#[test]
fn a_record_holds_what_it_was_made_from() {
    for sets in [HIGH, INTERLACED, BASELINE] {
        let made = config(sets);
        let (read, size) = Config::from_avcc(&made.avcc()).unwrap();
        assert_eq!(read, made);
        assert_eq!(size, LengthSize::Four);
        assert!(read.parameter_sets().eq(made.parameter_sets()));
    }
    // What ffmpeg 5.1 writes into MP4 for the same stream.
    let avcc = "0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f1831960010006\
                68ebe3cb22c0fdf8f800";
    assert_eq!(*config(HIGH).avcc(), hex(avcc));
}

#[test]
fn a_record_without_the_fields_of_high_profiles_is_accepted() {
    let avcc = config(HIGH).avcc();
    let (read, _) = Config::from_avcc(&avcc[..avcc.len() - 4]).unwrap();
    assert_eq!(read, config(HIGH));
}

#[test]
fn a_level_too_low_for_the_picture_is_the_encoders_affair() {
    let sps = hex("6764000aacd9405005bb0110000003001000000303c0f1831960");
    let pps = hex(HIGH[1]);
    let config = Config::from_parameter_sets([&sps[..], &pps]).unwrap();
    assert_eq!(config.dimensions(), (1280, 720));
    assert_eq!(config.codec_string(), "avc1.64000A");
}

#[test]
fn sets_that_are_known_change_nothing_and_others_replace_their_like() {
    let old = config(HIGH);
    let [sps, pps] = HIGH.map(hex);
    assert_eq!(old.merged([&sps[..], &pps]), Ok(None));
    assert_eq!(old.merged([&[0x09, 0xf0][..]]), Ok(None), "no parameter set at all");
    let [sps, pps] = BASELINE.map(hex);
    let new = old.merged([&sps[..], &pps]).unwrap().expect("another sequence");
    assert_eq!(new, config(BASELINE));
    assert_ne!(new, old);
}

#[test]
fn several_picture_sets_are_kept() {
    let [sps, pps] = HIGH.map(hex);
    // `pic_parameter_set_id` 1 instead of 0: `010` for `1`, all else two bits later.
    let second = hex("685af8f2c8b0");
    let config = Config::from_parameter_sets([&sps[..], &pps, &second]).unwrap();
    assert_eq!(config.parameter_sets().count(), 3);
    let (read, _) = Config::from_avcc(&config.avcc()).unwrap();
    assert_eq!(read.parameter_sets().count(), 3);
}

#[test]
fn slices_of_one_picture_are_told_from_the_next_picture() {
    let config = config(INTERLACED);
    let [first, second] = INTERLACED_SLICES.map(|slice| config.slice_head(&hex(slice)).unwrap());
    assert!(first.is_intra() && !first.is_field());
    assert_eq!(second.boundary(&first), Boundary::SamePicture);
    // Another IDR picture has another `idr_pic_id`, another picture another `frame_num`.
    let mut next = first.clone();
    next.idr_picture = Some(1);
    assert_eq!(next.boundary(&second), Boundary::NewFrame);
    next = first;
    next.frame_num += 1;
    assert_eq!(next.boundary(&second), Boundary::NewFrame);
}

#[test]
fn the_fields_of_a_frame_are_told_from_two_frames() {
    let base = config(INTERLACED).slice_head(&hex(INTERLACED_SLICES[0])).unwrap();
    let top = SliceHead { field: Some(slice::Parity::Top), ..base };
    let bottom = SliceHead { field: Some(slice::Parity::Bottom), idr_picture: None, ..base };
    assert_eq!(bottom.boundary(&top), Boundary::SecondField);
    let next_top = SliceHead { frame_num: base.frame_num + 1, idr_picture: None, ..top };
    assert_eq!(next_top.boundary(&bottom), Boundary::NewFrame);
    assert_eq!(base.boundary(&bottom), Boundary::NewFrame);
}

#[test]
fn hostile_records_and_sets_are_errors() {
    let avcc = config(INTERLACED).avcc();
    hostile::each_mutation(&avcc, |bytes| {
        if let Ok((config, _)) = Config::from_avcc(bytes) {
            let _ = config.slice_head(&hex(INTERLACED_SLICES[0]));
            let (again, _) = Config::from_avcc(&config.avcc()).expect("what we write, we read");
            assert_eq!(again.dimensions(), config.dimensions());
        }
    });
    let known = config(INTERLACED);
    hostile::each_mutation(&hex(INTERLACED_SLICES[1]), |bytes| {
        let _ = known.slice_head(bytes);
    });
}
