//! A clip whose pictures carry their number, so that who sees one knows which it is.
//!
//! The number stands in the upper left corner in two rows of sixteen blocks, one bit to a column: white above black is
//! one, black above white is zero. Whoever reads it needs no threshold, and a picture without a number shows as such.
//! `benches/browser/display.js` reads it. H.264 without B pictures and AAC, since browsers get it by WebRTC too; a
//! keyframe every two seconds.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use super::clip::{self, Kind, Unit};

/// A unit of the clip, and which picture it is.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) unit: Unit,
    /// From 0; `None` for what is no picture.
    pub(super) picture: Option<u32>,
}

/// What an encoder that speaks RTMP sends, for [`SECONDS`].
pub(super) fn units() -> Result<Vec<Numbered>, Box<dyn Error>> {
    let mut next = 0;
    let numbered = clip::flv_units(&prepare()?)?.into_iter().map(|unit| {
        // The second byte of AVC's tags tells its configuration from its pictures (Flash Video 10.1, E.4.3.1).
        let is_picture = unit.kind == Kind::Video && unit.bytes.get(1) == Some(&1);
        let picture = is_picture.then_some(next);
        next += u32::from(is_picture);
        Numbered { unit, picture }
    });
    Ok(numbered.collect())
}

/// The file, made when it is missing.
pub(super) fn prepare() -> Result<PathBuf, Box<dyn Error>> {
    let folder = crate::harness::folder()?;
    let path = folder.join("gateway-timecode.flv");
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(&folder)?;
    let numbers = folder.join("gateway-timecode.gray");
    fs::write(&numbers, (0..FPS * SECONDS).flat_map(blocks).collect::<Vec<u8>>())?;
    let numbers_path = numbers.to_str().ok_or("the folder's name is no text")?;
    let (fps, seconds) = (FPS.to_string(), SECONDS.to_string());
    let size = format!("{BITS}x2");
    let inputs = [
        &["-f", "rawvideo", "-pixel_format", "gray", "-video_size", &size, "-framerate", &fps][..],
        &["-i", numbers_path, "-t", &seconds],
    ];
    clip::make(&folder, &path, &[&inputs.concat()[..], ENCODE].concat())?;
    fs::remove_file(numbers)?;
    Ok(path)
}

/// The number of a picture as ffmpeg takes it, one byte a block.
fn blocks(number: u32) -> Vec<u8> {
    let bits = (0..BITS).rev().map(|bit| number >> bit & 1 == 1);
    let shade = |white: bool| if white { u8::MAX } else { 0 };
    bits.clone().map(shade).chain(bits.map(|bit| shade(!bit))).collect()
}

const BITS: u32 = 16;
pub(super) const FPS: u32 = 30;
/// A child that plays it has to end before.
pub(super) const SECONDS: u32 = 60;

#[rustfmt::skip]
const ENCODE: &[&str] = &[
    "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30",
    "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
    "-filter_complex", "[0]scale=256:32:flags=neighbor,format=yuv420p[number];[1][number]overlay=shortest=1[out]",
    "-map", "[out]", "-map", "2", "-t", "60",
    "-c:v", "libx264", "-preset", "veryfast", "-profile:v", "baseline", "-g", "60", "-sc_threshold", "0",
    "-pix_fmt", "yuv420p", "-b:v", "1M", "-maxrate", "1M", "-bufsize", "1M",
    "-c:a", "aac", "-b:a", "96k", "-ac", "2",
    "-f", "flv",
];

#[cfg(test)]
mod tests {
    use super::blocks;

    #[test]
    fn each_column_has_a_white_and_a_black_block() {
        let shown = blocks(0b1000_0000_0000_0101);
        let (above, below) = shown.split_at(16);
        assert!(above.iter().zip(below).all(|(above, below)| above.abs_diff(*below) == 255));
        assert_eq!([above[0], above[12], above[13], above[14], above[15]], [255, 0, 255, 0, 255]);
    }
}
