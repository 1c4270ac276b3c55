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
            transcoder.push(&unit);
            // As fast as it is coded, not faster than the thread.
            while let Ok(Ok(frame)) =
                rt::timeout(Duration::from_millis(2), || Ok::<_, rt::WaitError>(frames.recv()))
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
        transcoder.push(&unit(0, Bytes::new()));
        transcoder.push(&unit(1, Bytes::from_static(&[0xff; 3])));
        for (index, payload) in payloads.into_iter().take(10).enumerate() {
            transcoder.push(&unit(index + 2, payload));
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
    assert!(!Transcoder::knows(&CodecConfig::Vp8(config)));
}
