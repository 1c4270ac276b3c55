//! Clips made by ffmpeg, as the access units that a demuxer would find in them.
//!
//! The coded data come from elementary streams, which ffmpeg extracts and our codec rooms take apart; the times come from
//! ffprobe.

use bytes::Bytes;
use std::{fs, path::Path, process::Command, rc::Rc};
use thalweg_gateway::media::{
    AccessUnit, Codec, CodecConfig, MediaKind, Timestamp, Track, TrackId, aac, ac3, av1, h264,
    h265, mp3, nal, opus, vpx,
};

/// Runs a tool; its standard output. What it says besides is an error.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{program} {} said: {complaints}",
        arguments.join(" ")
    );
    output.stdout
}

/// One track of a clip.
pub(crate) struct Source {
    pub(crate) track: Track,
    pub(crate) units: Vec<AccessUnit>,
}

/// Makes a clip with `arguments`, and takes its stream number `index` out of it.
pub(crate) fn source(folder: &Path, clip: &Path, index: u16, codec: Codec) -> Source {
    let id = TrackId(256 + index);
    let times = packet_times(clip, index);
    let payloads = payloads(folder, clip, index, codec);
    assert_eq!(payloads.len(), times.len(), "{codec}: as many units as ffprobe has packets");
    let config = Rc::new(payloads[0].config.clone().expect("the first unit tells"));
    let mut current = Rc::clone(&config);
    let units = payloads.into_iter().zip(times).map(|(piece, (pts, dts))| {
        if let Some(config) = piece.config.filter(|config| *config != *current) {
            current = Rc::new(config);
        }
        AccessUnit {
            track: id,
            dts: Timestamp::from_ticks(dts),
            pts: Timestamp::from_ticks(pts),
            random_access: piece.random_access,
            config: Rc::clone(&current),
            payload: piece.payload,
        }
    });
    Source {
        units: units.collect(),
        track: Track { id, codec, language: None, config: Some(config) },
    }
}

/// `pts` and `dts` of each packet in ticks of 90 kHz, in decoding order.
pub(crate) fn packet_times(file: &Path, index: u16) -> Vec<(i64, i64)> {
    let stream = index.to_string();
    let text = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-select_streams",
            &stream,
            "-show_entries",
            "packet=pts_time,dts_time",
            "-of",
            "csv=p=0",
            file.to_str().unwrap(),
        ],
    );
    let ticks = |seconds: &str| (seconds.parse::<f64>().unwrap() * 90_000.0).round() as i64;
    let lines = String::from_utf8(text).unwrap();
    // Packets with side data are followed by a line of nothing.
    lines
        .lines()
        .filter(|line| line.len() > 1)
        .map(|line| {
            let mut fields = line.split(',');
            (ticks(fields.next().unwrap()), ticks(fields.next().unwrap()))
        })
        .collect()
}

struct Piece {
    payload: Bytes,
    random_access: bool,
    config: Option<CodecConfig>,
}

impl Piece {
    fn audio(payload: &[u8], config: CodecConfig) -> Self {
        Self { payload: Bytes::copy_from_slice(payload), random_access: true, config: Some(config) }
    }
}

fn payloads(folder: &Path, clip: &Path, index: u16, codec: Codec) -> Vec<Piece> {
    let form = match codec {
        Codec::H264 => "h264",
        Codec::Hevc => "hevc",
        Codec::Aac => "adts",
        Codec::Mp3 => "mp3",
        Codec::Ac3 => "ac3",
        Codec::Eac3 => "eac3",
        Codec::Opus => return opus_packets(clip, index),
        Codec::Av1 | Codec::Vp8 | Codec::Vp9 => "ivf",
    };
    let stream = folder.join(format!("stream-{index}"));
    let map = format!("0:{index}");
    let mut arguments =
        vec!["-v", "error", "-y", "-i", clip.to_str().unwrap(), "-map", &map, "-c", "copy"];
    if codec == Codec::Mp3 {
        arguments.extend(["-write_xing", "0", "-id3v2_version", "0"]);
    }
    arguments.extend(["-f", form, stream.to_str().unwrap()]);
    run("ffmpeg", &arguments);
    let bytes = fs::read(&stream).unwrap();
    match codec {
        Codec::H264 => pictures(&bytes, nal::Syntax::H264),
        Codec::Hevc => pictures(&bytes, nal::Syntax::Hevc),
        Codec::Aac => adts_frames(&bytes),
        Codec::Mp3 => mp3_frames(&bytes),
        Codec::Ac3 | Codec::Eac3 => ac3_units(&bytes, codec),
        _ => ivf_frames(&bytes, codec),
    }
}

/// Splits a byte stream where a NAL unit begins the next access unit.
fn pictures(stream: &[u8], syntax: nal::Syntax) -> Vec<Piece> {
    let mut picture = nal::Picture::new(syntax);
    let mut config: Option<CodecConfig> = None;
    let mut pieces = Vec::new();
    let mut finish = |picture: &mut nal::Picture| {
        let sets = picture.parameter_sets().iter().map(Vec::as_slice);
        if sets.len() > 0 {
            config = Some(match (&config, syntax) {
                (Some(CodecConfig::H264(old)), _) => {
                    CodecConfig::H264(old.merged(sets).unwrap().unwrap_or_else(|| old.clone()))
                }
                (Some(CodecConfig::Hevc(old)), _) => {
                    CodecConfig::Hevc(old.merged(sets).unwrap().unwrap_or_else(|| old.clone()))
                }
                (_, nal::Syntax::H264) => {
                    CodecConfig::H264(h264::Config::from_parameter_sets(sets).unwrap())
                }
                (_, nal::Syntax::Hevc) => {
                    CodecConfig::Hevc(h265::Config::from_parameter_sets(sets).unwrap())
                }
            });
        }
        let random_access = picture.is_random_access();
        pieces.push(Piece {
            payload: Bytes::from(picture.take()),
            random_access,
            config: config.clone(),
        });
    };
    for nal in nal::AnnexB::new(stream) {
        let kind = syntax.classify(nal).expect("ffmpeg writes valid headers");
        if picture.has_slice() && kind.begins_unit() {
            finish(&mut picture);
        }
        picture.push(nal);
    }
    finish(&mut picture);
    pieces
}

fn adts_frames(mut stream: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while !stream.is_empty() {
        let header = aac::AdtsHeader::parse(stream).unwrap();
        let (frame, rest) = stream.split_at(header.frame_len());
        let raw = &frame[header.header_len()..];
        pieces.push(Piece::audio(raw, CodecConfig::Aac(header.config(raw).unwrap())));
        stream = rest;
    }
    pieces
}

fn mp3_frames(mut stream: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while !stream.is_empty() {
        let header = mp3::FrameHeader::parse(stream).unwrap();
        let (frame, rest) = stream.split_at(header.frame_len());
        pieces.push(Piece::audio(frame, CodecConfig::Mp3(header.config())));
        stream = rest;
    }
    pieces
}

fn ac3_units(stream: &[u8], codec: Codec) -> Vec<Piece> {
    let wrap = if codec == Codec::Ac3 { CodecConfig::Ac3 } else { CodecConfig::Eac3 };
    ac3::units(stream)
        .map(|unit| Piece::audio(unit, wrap(ac3::Config::from_unit(unit).unwrap())))
        .collect()
}

/// IVF: a header of 32 bytes; then for each frame its length, a time of 8 bytes, and the frame.
fn ivf_frames(file: &[u8], codec: Codec) -> Vec<Piece> {
    let mut rest = &file[32..];
    let mut pieces = Vec::new();
    while let Some((head, body)) = rest.split_first_chunk::<12>() {
        let length = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        let (frame, after) = body.split_at(length);
        pieces.push(match codec {
            Codec::Av1 => {
                let unit = av1::TemporalUnit::parse(frame).unwrap();
                Piece {
                    payload: unit.payload,
                    random_access: unit.random_access,
                    config: unit.config.map(CodecConfig::Av1),
                }
            }
            Codec::Vp9 => Piece {
                payload: Bytes::copy_from_slice(frame),
                random_access: vpx::is_vp9_key(frame),
                config: vpx::Config::from_vp9(frame).ok().map(CodecConfig::Vp9),
            },
            _ => Piece {
                payload: Bytes::copy_from_slice(frame),
                random_access: vpx::is_vp8_key(frame),
                config: vpx::Config::from_vp8(frame).ok().map(CodecConfig::Vp8),
            },
        });
        rest = after;
    }
    pieces
}

/// The packets as ffprobe prints them: in hex, groups of 16 bytes a line between an offset and their characters.
fn opus_packets(clip: &Path, index: u16) -> Vec<Piece> {
    let stream = index.to_string();
    let probe = |what: &str| {
        let clip = clip.to_str().unwrap();
        let text =
            run("ffprobe", &["-v", "error", "-select_streams", &stream, what, "-show_data", clip]);
        String::from_utf8(text).unwrap()
    };
    let dumps = |text: &str, name: &str| -> Vec<Vec<u8>> {
        let title = format!("\n{name}=\n");
        let after = text.split(&title).skip(1);
        after
            .map(|dump| {
                dump.lines().take_while(|line| !line.is_empty()).flat_map(dump_line).collect()
            })
            .collect()
    };
    let head = &dumps(&probe("-show_streams"), "extradata")[0];
    let config = CodecConfig::Opus(opus::Config::from_head(head).unwrap());
    let packets = dumps(&probe("-show_packets"), "data");
    packets.iter().map(|packet| Piece::audio(packet, config.clone())).collect()
}

fn dump_line(line: &str) -> Vec<u8> {
    let digits: Vec<u8> = line[10..49].bytes().filter(|byte| *byte != b' ').collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The kind of a codec, for `-map`.
pub(crate) fn is_video(source: &Source) -> bool {
    source.track.codec.kind() == MediaKind::Video
}
