//! A tone through every way: what comes out lasts as long, is as loud, and has the times of what went in.

use super::*;
use crate::media::{Span, TrackId};
use std::time::Duration;
use thalweg_runtime as rt;

/// Frames of a tone, coded by the encoder that the other way decodes.
fn tone(target: Target, seconds: usize) -> (Rc<CodecConfig>, Vec<Bytes>, usize) {
    let mut encoder = encode::Encoder::new(target).unwrap();
    let frame = encoder.frame_samples();
    let mut frames = Vec::new();
    for at in (0..seconds * 48_000).step_by(frame) {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let sample = |at: usize| 0.5 * (at as f32 * 440.0 * std::f32::consts::TAU / 48_000.0).sin();
        let samples: Vec<f32> = (at..at + frame).flat_map(|at| [sample(at); 2]).collect();
        frames.extend(encoder.encode(&samples));
    }
    (Rc::new(target.config().unwrap()), frames, frame)
}

fn through(source: Target, target: Target) -> Vec<Coded> {
    let (config, payloads, frame) = tone(source, 2);
    pass(&config, payloads, frame, target)
}

/// What becomes of these units, of so many samples each, the first of them heard at 5 s.
fn pass(
    config: &Rc<CodecConfig>,
    payloads: Vec<Bytes>,
    frame: usize,
    target: Target,
) -> Vec<Coded> {
    let config = Rc::clone(config);
    let run = move || -> io::Result<Vec<Coded>> {
        let (transcoder, frames) = Transcoder::start(&config, target)?;
        let count = payloads.len();
        let mut coded = Vec::new();
        for (index, payload) in payloads.into_iter().enumerate() {
            let samples = i64::try_from(index * frame).unwrap();
            let pts = Timestamp::from_ms(5_000) + Span::from_units(samples, 48_000);
            let unit = AccessUnit {
                track: TrackId(1),
                dts: pts,
                pts,
                random_access: true,
                config: Rc::clone(&config),
                payload,
            };
            transcoder.push(&unit).unwrap();
            // Not so much faster than the thread that units are left out.
            let next = || Ok::<_, rt::WaitError>(frames.recv());
            let begun = Timestamp::from_ms(5_000);
            while coded.last().map_or(begun, |last: &Coded| last.pts) + Span::from_ms(200) < pts
                && let Ok(Ok(frame)) = rt::timeout(Duration::from_secs(10), next)
            {
                coded.push(frame);
            }
        }
        assert_eq!(transcoder.left_out(), 0, "of {count}");
        Ok(coded)
    };
    rt::run(run).unwrap()
}

/// Loudness of the second half, when decoders have settled.
fn loudness(target: Target, coded: &[Coded]) -> f32 {
    let config = target.config().unwrap();
    let mut decoder = decode::Decoder::new(&decode::Format::of(&config).unwrap()).unwrap();
    let mut pcm = decode::Pcm::default();
    let mut all = Vec::new();
    for frame in coded {
        assert!(decoder.decode(&frame.payload, &mut pcm));
        all.extend_from_slice(&pcm.samples);
    }
    let half = &all[all.len() / 2..];
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let mean = half.iter().map(|sample| sample * sample).sum::<f32>() / half.len() as f32;
    mean.sqrt()
}

fn assert_same_sound(source: Target, target: Target) {
    let coded = through(source, target);
    let step = if target == Target::Opus { 1_800 } else { 1_920 };
    for pair in coded.windows(2) {
        assert_eq!((pair[1].pts - pair[0].pts).ticks(), step, "no gap and no overlap");
    }
    let lag = (Timestamp::from_ms(5_000) - coded[0].pts).ms();
    assert!((0..60).contains(&lag), "it begins {lag} ms early, which is what coding delays it");
    assert!(coded.len() > 80, "{} frames", coded.len());
    let loud = loudness(target, &coded);
    assert!((0.3..0.4).contains(&loud), "a tone of 0.5 has a mean of 0.354, this has {loud}");
}

#[test]
fn aac_becomes_opus_with_the_same_sound_at_the_same_time() {
    assert_same_sound(Target::Aac, Target::Opus);
}

#[test]
fn opus_becomes_aac_with_the_same_sound_at_the_same_time() {
    assert_same_sound(Target::Opus, Target::Aac);
}

#[test]
fn units_that_cannot_be_decoded_end_nothing() {
    let (config, payloads, _) = tone(Target::Opus, 1);
    let run = move || -> io::Result<Coded> {
        let (transcoder, frames) = Transcoder::start(&config, Target::Aac)?;
        let unit = |index: usize, payload: Bytes| AccessUnit {
            track: TrackId(1),
            dts: Timestamp::ZERO,
            pts: Timestamp::from_ms(20 * i64::try_from(index).unwrap()),
            random_access: true,
            config: Rc::clone(&config),
            payload,
        };
        transcoder.push(&unit(0, Bytes::new())).unwrap();
        transcoder.push(&unit(1, Bytes::from_static(&[0xff; 3]))).unwrap();
        for (index, payload) in payloads.into_iter().take(10).enumerate() {
            transcoder.push(&unit(index + 2, payload)).unwrap();
        }
        frames.recv().map_err(io::Error::other)
    };
    let coded = rt::run(run).unwrap();
    assert!(!coded.payload.is_empty());
}

#[test]
fn what_is_no_sound_has_no_decoder() {
    let key = [0x10, 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xf0, 0];
    let config = crate::media::vpx::Config::from_vp8(&key).unwrap();
    let config = Rc::new(CodecConfig::Vp8(config));
    let refused = rt::run(move || Transcoder::start(&config, Target::Opus).map(|_| ()));
    assert_eq!(refused.unwrap_err().to_string(), "there is no decoder for VP8");
}

/// When a tone of 1 kHz that begins after `silent` samples is first heard in what was decoded, as samples from the start.
fn onset(samples: &[f32]) -> usize {
    samples.iter().step_by(2).position(|sample| sample.abs() > 0.1).expect("it is heard")
}

fn decoded(config: &CodecConfig, payloads: &[Bytes]) -> Vec<f32> {
    let mut decoder = decode::Decoder::new(&decode::Format::of(config).unwrap()).unwrap();
    let mut pcm = decode::Pcm::default();
    let mut all = Vec::new();
    for payload in payloads {
        assert!(decoder.decode(payload, &mut pcm));
        all.extend_from_slice(&pcm.samples);
    }
    all
}

#[test]
fn a_beep_is_heard_when_it_was_whatever_coding_delays_it() {
    for (source, target) in [(Target::Aac, Target::Opus), (Target::Opus, Target::Aac)] {
        let mut encoder = encode::Encoder::new(source).unwrap();
        let frame = encoder.frame_samples();
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let sample = |at: usize| match at {
            0..48_000 => 0.0,
            at => 0.5 * (at as f32 * 1_000.0 * std::f32::consts::TAU / 48_000.0).sin(),
        };
        let pieces = (0..72_000).step_by(frame);
        let payloads: Vec<Bytes> = pieces
            .filter_map(|at| {
                let samples: Vec<f32> = (at..at + frame).flat_map(|at| [sample(at); 2]).collect();
                encoder.encode(&samples)
            })
            .collect();
        let config = Rc::new(source.config().unwrap());
        let before = onset(&decoded(&config, &payloads));
        let coded = pass(&config, payloads, frame, target);
        let first = coded[0].pts;
        let payloads: Vec<Bytes> = coded.into_iter().map(|coded| coded.payload).collect();
        let after = onset(&decoded(&target.config().unwrap(), &payloads));
        let heard = first + lasting(after) - (Timestamp::from_ms(5_000) + lasting(before));
        assert!(heard.abs() < Span::from_ms(5), "{source:?}: {} ms late", heard.ms());
    }
}

#[test]
fn a_decoder_that_panics_costs_a_unit_and_not_the_sound() {
    let (config, _, _) = tone(Target::Opus, 1);
    let run = move || -> io::Result<(Coded, u32)> {
        let (transcoder, frames) =
            Transcoder::begin(&config, decode::Format::Faulty, Target::Opus)?;
        let push = |index: i64, payload: &'static [u8]| {
            let pts = Timestamp::from_ms(20 * index);
            let (config, payload) = (Rc::clone(&config), Bytes::from_static(payload));
            let track = TrackId(1);
            transcoder.push(&AccessUnit {
                track,
                dts: pts,
                pts,
                random_access: true,
                config,
                payload,
            })
        };
        push(0, &[0]).unwrap();
        push(1, &[1]).unwrap();
        let coded = frames.recv().map_err(io::Error::other)?;
        Ok((coded, transcoder.failed()))
    };
    let (coded, failed) = rt::run(run).unwrap();
    assert!(coded.pts > Timestamp::ZERO && failed == 0, "{coded:?}, {failed} failed");
}

#[test]
fn units_that_come_faster_than_the_thread_works_wait_for_nobody_and_are_counted() {
    let (config, payloads, frame) = tone(Target::Aac, 1);
    let run = move || -> io::Result<(u64, Vec<Coded>)> {
        let (transcoder, frames) = Transcoder::start(&config, Target::Opus)?;
        let mut at = 0;
        // Far more than may wait, at once, and then one of much later.
        for payload in payloads.iter().cycle().take(2_000).chain(payloads.last()) {
            let pts = Timestamp::ZERO + lasting(at);
            at += frame;
            let (track, config, payload) = (TrackId(1), Rc::clone(&config), payload.clone());
            let unit = AccessUnit { track, dts: pts, pts, random_access: true, config, payload };
            transcoder.push(&unit).map_err(io::Error::other)?;
        }
        let left_out = transcoder.left_out();
        drop(transcoder);
        Ok((left_out, std::iter::from_fn(|| frames.recv().ok()).collect()))
    };
    let (left_out, coded) = rt::run(run).unwrap();
    assert!(left_out > 1_000, "{left_out} left out");
    let mut times = coded.iter().map(|coded| coded.pts);
    assert!(times.next().is_some_and(|first| times.all(|time| time > first)), "{coded:?}");
}

#[test]
fn sound_goes_on_when_its_codec_changes() {
    let (aac, opus) = (tone(Target::Aac, 1), tone(Target::Opus, 1));
    let run = move || -> io::Result<Vec<Coded>> {
        let (transcoder, frames) = Transcoder::start(&aac.0, Target::Opus)?;
        let mut at = 0;
        for (config, payloads, frame) in [aac, opus] {
            for payload in payloads.into_iter().take(20) {
                let pts = Timestamp::ZERO + lasting(at);
                at += frame;
                let (track, config) = (TrackId(1), Rc::clone(&config));
                let unit =
                    AccessUnit { track, dts: pts, pts, random_access: true, config, payload };
                transcoder.push(&unit).map_err(io::Error::other)?;
            }
        }
        assert_eq!(transcoder.left_out(), 0);
        drop(transcoder);
        Ok(std::iter::from_fn(|| frames.recv().ok()).collect())
    };
    let coded = rt::run(run).unwrap();
    // 20 × 1 024 and 20 × 960 samples, but for what is fewer than a frame.
    assert!((40..=42).contains(&coded.len()), "{} frames", coded.len());
    for pair in coded.windows(2) {
        assert_eq!(pair[1].pts - pair[0].pts, Span::from_ms(20), "no gap and no overlap");
    }
}
