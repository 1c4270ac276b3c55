//! Parameter sets and records of x265; `scuffle-h265` as another opinion on them.

use super::*;
use crate::media::{hex, hostile};
use scuffle_h265::SpsNALUnit;

/// `ffmpeg -f lavfi -i testsrc=s=1280x720:r=25 -c:v libx265 -pix_fmt yuv420p`
const MAIN: [&str; 3] = [
    "40010c01ffff01600000030090000003000003005d959809",
    "42010101600000030090000003000003005da00280802d165959a4932bc05a020000030002000003003210",
    "4401c172b46240",
];

/// `ffmpeg -f lavfi -i testsrc=s=1918x1078:r=50 -vf setsar=4/3 -c:v libx265 -pix_fmt yuv420p10le
/// -x265-params scaling-list=default:temporal-layers=3:b-pyramid=1:hrd=1:vbv-bufsize=1000:vbv-maxrate=1000`
const MAIN_10: [&str; 3] = [
    "40010c01ffff02200000030090000003000003007b959809",
    "42010102200000030090000003000003007ba003c08010e754d96566924e57873404000003000400000300c9805261b8003d090007a122",
    "4401c172b46240",
];

fn config(sets: [&str; 3]) -> Config {
    let sets = sets.map(hex);
    Config::from_parameter_sets(sets.iter().map(Vec::as_slice)).expect("sets of a real encoder")
}

#[test]
fn parameter_sets_of_x265_say_what_was_encoded() {
    let main = config(MAIN);
    assert_eq!(main.dimensions(), (1280, 720));
    assert_eq!(main.frame_rate(), Some(25.0));
    assert_eq!(main.codec_string(), "hvc1.1.6.L93.90");
    assert_eq!((main.profile(), main.level(), main.bit_depth()), (1, 93, 8));
    assert_eq!(main.max_num_reorder_pics(), 2);

    let main_10 = config(MAIN_10);
    assert_eq!(main_10.dimensions(), (1918, 1078));
    assert_eq!(main_10.frame_rate(), Some(50.0));
    assert_eq!(main_10.sample_aspect(), Some((4, 3)));
    assert_eq!(main_10.codec_string(), "hvc1.2.4.L123.90");
    assert_eq!(main_10.bit_depth(), 10);
}

#[test]
fn another_parser_reads_the_same_from_the_sequence_set() {
    for sets in [MAIN, MAIN_10] {
        let ours = config(sets);
        let theirs = SpsNALUnit::parse(std::io::Cursor::new(hex(sets[1]))).unwrap().rbsp;
        assert_eq!(u64::from(ours.dimensions().0), theirs.cropped_width());
        assert_eq!(u64::from(ours.dimensions().1), theirs.cropped_height());
        assert_eq!(ours.bit_depth(), theirs.bit_depth_y());
        assert_eq!(ours.profile(), theirs.profile_tier_level.general_profile.profile_idc);
        assert_eq!(Some(ours.level()), theirs.profile_tier_level.general_profile.level_idc);
        let timing = theirs.vui_parameters.unwrap().vui_timing_info.unwrap();
        let rate = f64::from(timing.time_scale.get()) / f64::from(timing.num_units_in_tick.get());
        assert_eq!(ours.frame_rate(), Some(rate));
    }
}

#[test]
fn a_record_holds_what_it_was_made_from() {
    for sets in [MAIN, MAIN_10] {
        let made = config(sets);
        let (read, size) = Config::from_hvcc(&made.hvcc()).unwrap();
        assert_eq!(read, made);
        assert_eq!(size, LengthSize::Four);
    }
    // What ffmpeg 5.1 writes into MP4 for the same stream, without its array of SEI.
    let head = "01016000000090000000000 05df000fcfdf8f800000f03".replace(' ', "");
    let hvcc = config(MAIN).hvcc();
    assert_eq!(hvcc[..23], hex(&head));
    assert_eq!(hvcc[23..28], [0xa0, 0, 1, 0, 24]);
}

#[test]
fn a_configuration_without_one_of_its_sets_is_none() {
    for missing in 0..3 {
        let sets: Vec<_> = MAIN
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != missing)
            .map(|(_, set)| hex(set))
            .collect();
        assert!(Config::from_parameter_sets(sets.iter().map(Vec::as_slice)).is_err());
    }
}

#[test]
fn sets_that_are_known_change_nothing_and_others_replace_their_like() {
    let old = config(MAIN);
    let same = MAIN.map(hex);
    assert_eq!(old.merged(same.iter().map(Vec::as_slice)), Ok(None));
    let other = MAIN_10.map(hex);
    assert_eq!(old.merged(other.iter().map(Vec::as_slice)), Ok(Some(config(MAIN_10))));
}

#[test]
fn tier_space_and_constraints_are_part_of_the_name() {
    let mut sps = hex(MAIN[1]);
    // Profile space 1, high tier.
    sps[3] = 0x61;
    let [vps, _, pps] = MAIN.map(hex);
    let config = Config::from_parameter_sets([&vps[..], &sps, &pps]).unwrap();
    assert_eq!(config.codec_string(), "hvc1.A1.6.H93.90");
}

#[test]
fn hostile_records_and_sets_are_errors() {
    for sets in [MAIN, MAIN_10] {
        hostile::each_mutation(&config(sets).hvcc(), |bytes| {
            if let Ok((config, _)) = Config::from_hvcc(bytes) {
                drop((config.codec_string(), config.frame_rate()));
                let (again, _) = Config::from_hvcc(&config.hvcc()).expect("what we write, we read");
                assert_eq!(again, config);
            }
        });
    }
}
