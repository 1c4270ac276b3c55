//! Sound that ffmpeg has coded, made Opus: every codec and layout is heard when it was, on the side where it was, at the
//! pitch that it had.

#![expect(clippy::disallowed_methods, reason = "plain test threads run ffmpeg")]
#![expect(clippy::unwrap_used, reason = "what a helper does not get fails its test")]

mod ffmpeg;

use ffmpeg::{ffmpeg, scratch};
use std::{fs, io, path::Path, time::Duration};
use thalweg_gateway::{
    audio::{Coded, Target, Transcoder},
    container::{
        Sink,
        ts::{Demuxer, Jump, PACKET_LEN, PacketInfo, Programme, TsSink},
    },
    media::{AccessUnit, MediaKind, Span, Timestamp, Tracks},
};
use thalweg_runtime as rt;

/// A beep of 1 kHz, from half a second to 0.7 s of each second.
const BEEP: &str = "0.5*sin(2*PI*1000*t)*between(mod(t,1),0.5,0.7)";

/// What ffmpeg adds to all times, so that none is before zero.
const OFFSET_S: f64 = 10.0;

#[derive(Default)]
struct Found(Vec<AccessUnit>);

impl Sink for Found {
    fn tracks(&mut self, _: &Tracks) {}

    fn unit(&mut self, unit: AccessUnit) {
        self.0.push(unit);
    }
}

impl TsSink for Found {
    fn packet(&mut self, _: &[u8; PACKET_LEN], _: &PacketInfo) {}

    fn jump(&mut self, _: Jump) {}
}

/// What viewers hear, at 48 kHz.
struct Heard {
    begins_s: f64,
    left: Vec<f32>,
    right: Vec<f32>,
}

/// Makes a transport stream of these arguments, and Opus of its sound.
fn heard(name: &str, input: &[&str], coding: &[&str]) -> Heard {
    let path = scratch("sound").join(format!("{name}.ts"));
    let offset = OFFSET_S.to_string();
    let mut arguments = input.to_vec();
    arguments.extend(coding);
    arguments.extend(["-muxdelay", "0", "-muxpreload", "0", "-output_ts_offset", &offset]);
    arguments.extend(["-f", "mpegts", path.to_str().unwrap()]);
    ffmpeg(&arguments);
    // From the middle on, as viewers come.
    let begun = Timestamp::from_ms(10_250);
    let units: Vec<_> = units(&path).into_iter().filter(|unit| unit.pts > begun).collect();
    assert!(units.len() > 20, "{name}: {} units", units.len());
    decode(&transcode(name, units))
}

/// What a generator of `lavfi` sounds like, three seconds of it.
fn generated(name: &str, generator: &str, coding: &str) -> Heard {
    let generator = format!("{generator}:d=3");
    let coding: Vec<_> = coding.split(' ').collect();
    heard(name, &["-f", "lavfi", "-i", &generator], &coding)
}

fn units(path: &Path) -> Vec<AccessUnit> {
    let mut found = Found::default();
    let mut demuxer = Demuxer::new(Programme::First);
    demuxer.push(&fs::read(path).unwrap(), &mut found);
    demuxer.finish(&mut found);
    let is_sound = |unit: &AccessUnit| unit.config.codec().kind() == MediaKind::Audio;
    found.0.into_iter().filter(is_sound).collect()
}

fn transcode(name: &str, units: Vec<AccessUnit>) -> Vec<Coded> {
    // What a unit is of stays on one thread.
    let (units, name) = (SendUnits(units), name.to_owned());
    rt::run(move || -> io::Result<Vec<Coded>> {
        let units = units;
        let SendUnits(units) = units;
        let (transcoder, frames) = Transcoder::start(&units[0].config, Target::Opus)?;
        let (mut coded, first) = (Vec::new(), units[0].pts);
        for unit in units {
            transcoder.push(&unit).map_err(io::Error::other)?;
            // Not so much faster than the thread that units are left out.
            let next = || Ok::<_, rt::WaitError>(frames.recv());
            while coded.last().map_or(first, |last: &Coded| last.pts) + AHEAD < unit.pts
                && let Ok(Ok(frame)) = rt::timeout(Duration::from_secs(10), next)
            {
                coded.push(frame);
            }
        }
        assert_eq!((transcoder.left_out(), transcoder.failed()), (0, 0), "{name}");
        drop(transcoder);
        coded.extend(std::iter::from_fn(|| frames.recv().ok()));
        Ok(coded)
    })
    .unwrap()
}

/// So much may be on its way through the thread.
const AHEAD: Span = Span::from_ms(200);

struct SendUnits(Vec<AccessUnit>);

fn decode(coded: &[Coded]) -> Heard {
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Stereo).unwrap();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for frame in coded {
        let mut samples = vec![0.0; 2 * 960];
        assert_eq!(decoder.decode_float(&frame.payload, &mut samples, false).unwrap(), 960);
        left.extend(samples.iter().step_by(2));
        right.extend(samples.iter().skip(1).step_by(2));
    }
    for pair in coded.windows(2) {
        assert_eq!(pair[1].pts - pair[0].pts, Span::from_ms(20), "no gap and no overlap");
    }
    let begins = coded[0].pts - Timestamp::ZERO;
    Heard { begins_s: begins.ticks() as f64 / 90_000.0, left, right }
}

impl Heard {
    /// How many ms after `at_s` of the source a side is first heard, within the half second around it.
    fn late_ms(&self, side: &[f32], at_s: f64) -> f64 {
        let from = ((at_s + OFFSET_S - 0.25 - self.begins_s) * 48_000.0) as usize;
        let found = side[from..from + 24_000].iter().position(|sample| sample.abs() > 0.05);
        (found.expect("it is heard") as f64 / 48_000.0 - 0.25) * 1_000.0
    }

    fn assert_beeps(&self, name: &str) {
        for side in [&self.left, &self.right] {
            for at_s in [0.5, 1.5] {
                let late = self.late_ms(side, at_s);
                assert!(late.abs() < 10.0, "{name}: the beep at {at_s} s is {late:.1} ms late");
            }
            self.assert_pitch(name, side);
        }
    }

    /// That the beep at 1.5 s is one of 1 kHz.
    fn assert_pitch(&self, name: &str, side: &[f32]) {
        let from = ((1.55 + OFFSET_S - self.begins_s) * 48_000.0) as usize;
        let crossings =
            side[from..from + 4_800].windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0);
        let count = crossings.count();
        assert!((99..=101).contains(&count), "{name}: {count} waves in a tenth of a second");
    }
}

#[test]
fn what_every_codec_carries_is_heard_when_it_was() {
    for (name, rate, layout, coding) in [
        ("aac-48000", 48_000, "stereo", "-c:a aac"),
        ("aac-44100", 44_100, "stereo", "-c:a aac"),
        ("aac-22050-mono", 22_050, "mono", "-c:a aac"),
        ("mp3-48000", 48_000, "stereo", "-c:a libmp3lame"),
        ("mp3-44100-variable", 44_100, "stereo", "-c:a libmp3lame -q:a 4"),
        ("mp3-22050-mono", 22_050, "mono", "-c:a libmp3lame"),
        ("mp2-48000", 48_000, "stereo", "-c:a mp2"),
        ("mp2-44100-mono", 44_100, "mono", "-c:a mp2 -b:a 96k"),
    ] {
        let both = if layout == "stereo" { format!("{BEEP}|{BEEP}") } else { BEEP.to_owned() };
        let generator = format!("aevalsrc=exprs='{both}':s={rate}:c={layout}");
        generated(name, &generator, coding).assert_beeps(name);
    }
}

#[test]
fn surround_is_heard_from_where_it_comes() {
    for (codec, coding) in [("aac", "-c:a aac"), ("opus", "-c:a libopus -mapping_family 1")] {
        // Front left, front right, centre, low frequencies, rear left, rear right.
        for (channel, is_left, is_right) in [
            (0, true, false),
            (1, false, true),
            (2, true, true),
            (4, true, false),
            (5, false, true),
        ] {
            let name = format!("{codec}-surround-{channel}");
            let exprs: Vec<_> = (0..6).map(|at| if at == channel { BEEP } else { "0" }).collect();
            let generator = format!("aevalsrc=exprs='{}':s=48000:c=5.1", exprs.join("|"));
            let heard = generated(&name, &generator, coding);
            for (side, is_heard) in [(&heard.left, is_left), (&heard.right, is_right)] {
                let loudest = side.iter().fold(0.0_f32, |loudest, it| loudest.max(it.abs()));
                if is_heard {
                    assert!((0.1..0.3).contains(&loudest), "{name}: {loudest}");
                    let late = heard.late_ms(side, 1.5);
                    assert!(late.abs() < 10.0, "{name}: {late:.1} ms late");
                    heard.assert_pitch(&name, side);
                } else {
                    assert!(loudest < 0.03, "{name}: {loudest} on the other side");
                }
            }
        }
    }
}

/// ffmpeg has no encoder of HE-AAC; it carries and knows what another has made.
#[test]
fn high_efficiency_aac_is_heard_at_its_pitch_and_with_its_treble() {
    let directory = scratch("sound");
    for (name, parametric) in [("he", false), ("he-v2", true)] {
        // The beep, and in the other half of each second one that only spectral band replication carries.
        let sample = |at: usize| {
            let t = at as f32 / 48_000.0;
            let into = t.fract();
            let tone = |hz: f32| (t * hz * std::f32::consts::TAU).sin();
            match into {
                0.5..0.7 => 0.5 * tone(1_000.0),
                0.8..1.0 => 0.2 * tone(9_500.0),
                _ => 0.0,
            }
        };
        let plane: Vec<f32> = (0..3 * 48_000).map(sample).collect();
        let options =
            syom::EncodeOptions::adts().with_bitrate_bps(if parametric { 32_000 } else { 64_000 });
        let options = if parametric { options.with_he_v2(true) } else { options.with_he(true) };
        let coded = syom::encode_with(&[&plane, &plane], 48_000, &options).unwrap();
        let path = directory.join(format!("{name}.aac"));
        fs::write(&path, coded).unwrap();
        let heard = heard(name, &["-i", path.to_str().unwrap()], &["-c", "copy"]);
        // What comes before the first sample is not told in ADTS: 3 018 samples (`with_he_v2`), and so every player is late.
        let late = heard.late_ms(&heard.left, 1.5) - 3_018.0 / 48.0;
        assert!(late.abs() < 15.0, "{name}: {late:.1} ms late");
        let from = ((1.7 + OFFSET_S - heard.begins_s) * 48_000.0) as usize;
        let crossings = |side: &[f32]| {
            let side = &side[from - 4_800..from];
            side.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count()
        };
        let count = crossings(&heard.left);
        assert!((98..=102).contains(&count), "{name}: {count} waves");
        let treble = &heard.left[from + 4_800 + 3_018..from + 12_000 + 3_018];
        let loudest = treble.iter().fold(0.0_f32, |loudest, it| loudest.max(it.abs()));
        assert!(loudest > 0.05, "{name}: the treble has {loudest}");
    }
}
