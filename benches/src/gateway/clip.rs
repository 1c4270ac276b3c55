//! The streams of all cases: generated clips, cut into what an encoder would send at a time.
//!
//! ffmpeg makes each once, 720p30 H.264 and AAC at 2.1 Mbit/s, as FLV and the same as MPEG-TS; both are kept
//! beside the figures. One PES packet holds one access unit, as hardware encoders do it. Only what ffmpeg
//! writes is understood here: fixed PIDs, one PES packet after the other.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::str::FromStr;
use std::time::Duration;

/// What is sent at one time: an access unit with its packets or as a tag.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// Since the first.
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    /// TS packets, or the body of an FLV tag.
    pub(crate) bytes: Vec<u8>,
    /// The end of the access unit, for pictures: by it they are found again.
    pub(crate) end: Option<End>,
}

/// What a unit is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Video,
    Audio,
    /// Of FLV.
    Script,
}

/// The last bytes of an access unit. They are the same in every container.
pub(crate) type End = [u8; END_BYTES];

/// So many bytes of compressed pictures do not come twice.
pub(crate) const END_BYTES: usize = 24;
pub(crate) const PACKET_BYTES: usize = 188;
/// As ffmpeg numbers them.
pub(crate) const VIDEO_PID: u16 = 0x100;
const AUDIO_PID: u16 = 0x101;

/// Which clip.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Footage {
    /// With B pictures, a keyframe every 2 s.
    Usual,
    /// Without B pictures, as WebRTC takes it.
    InOrder,
    /// Without B pictures; each picture shows its own number, see [`CODE_BITS`]. A keyframe every so many seconds.
    Numbered(u32),
}

/// The files of one clip, made when they are missing.
#[derive(Clone, Debug)]
pub(crate) struct Clip {
    folder: PathBuf,
    footage: Footage,
}

impl Clip {
    pub(crate) fn prepare(footage: Footage) -> Result<Self, Box<dyn Error>> {
        let folder = crate::harness::folder()?;
        fs::create_dir_all(&folder)?;
        let clip = Self { folder, footage };
        if !clip.flv().exists() {
            make(&clip.folder, &clip.flv(), &footage.encoding())?;
        }
        if !clip.ts().exists() {
            let flv = clip.flv();
            let input = ["-i", flv.to_str().ok_or("the folder's name is no text")?];
            make(&clip.folder, &clip.ts(), &[&input[..], PACK].concat())?;
        }
        Ok(clip)
    }

    pub(crate) fn ts(&self) -> PathBuf {
        self.folder.join(format!("gateway-{}.ts", self.footage))
    }

    pub(crate) fn flv(&self) -> PathBuf {
        self.folder.join(format!("gateway-{}.flv", self.footage))
    }

    /// Writes units as the C programs read them: microseconds (64 bits), length (32), bytes.
    pub(crate) fn schedule(&self, name: &str, units: &[Unit]) -> io::Result<PathBuf> {
        let mut bytes = Vec::new();
        for unit in units {
            let at_us = u64::try_from(unit.at.as_micros()).map_err(io::Error::other)?;
            let len = u32::try_from(unit.bytes.len()).map_err(io::Error::other)?;
            bytes.extend(at_us.to_ne_bytes());
            bytes.extend(len.to_ne_bytes());
            bytes.extend(&unit.bytes);
        }
        let path = self.folder.join(format!("gateway-{name}.schedule"));
        fs::write(&path, bytes)?;
        Ok(path)
    }
}

/// Runs ffmpeg; the file gets its name when it is complete.
pub(super) fn make<S: AsRef<OsStr>>(
    folder: &Path,
    path: &Path,
    args: &[S],
) -> Result<(), Box<dyn Error>> {
    let part = folder.join(format!("gateway-clip-{}.part", process::id()));
    let status =
        Command::new("ffmpeg").args(["-v", "error", "-y"]).args(args).arg(&part).status()?;
    if !status.success() {
        return Err(format!("ffmpeg ended with {status}").into());
    }
    fs::rename(part, path)?;
    Ok(())
}

impl Footage {
    /// What ffmpeg is told to make of it: a minute.
    fn encoding(self) -> Vec<String> {
        let mut pictures = "testsrc2=size=1280x720:rate=30".to_owned();
        if let Self::Numbered(_) = self {
            pictures.push_str(&numbers());
        }
        let gop = match self {
            Self::Usual | Self::InOrder => 60,
            Self::Numbered(seconds) => seconds * 30,
        };
        let mut args = vec!["-f".to_owned(), "lavfi".to_owned(), "-i".to_owned(), pictures];
        let rest = ENCODE.iter().map(|&arg| arg.to_owned());
        args.extend(rest.chain(["-g".to_owned(), gop.to_string()]));
        if self != Self::Usual {
            args.extend(["-bf", "0"].map(str::to_owned));
        }
        args.extend(["-f", "flv"].map(str::to_owned));
        args
    }
}

/// Names of files and arguments.
impl fmt::Display for Footage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usual => f.write_str("clip"),
            Self::InOrder => f.write_str("in-order"),
            Self::Numbered(seconds) => write!(f, "numbered-{seconds}"),
        }
    }
}

impl FromStr for Footage {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "clip" => Ok(Self::Usual),
            "in-order" => Ok(Self::InOrder),
            _ => {
                let seconds = name.strip_prefix("numbered-").and_then(|it| it.parse().ok());
                seconds.map(Self::Numbered).ok_or_else(|| format!("no clip is called {name:?}"))
            }
        }
    }
}

/// The filters that draw a picture's number over its top: squares of [`CODE_SIDE`] in a row, white for 1, the lowest bit
/// first, and below each the opposite, by which a reader tells that it read well.
fn numbers() -> String {
    let width = CODE_BITS * CODE_SIDE;
    let mut filters = format!(",drawbox=x=0:y=0:w={width}:h={}:color=black:t=fill", 2 * CODE_SIDE);
    for bit in 0..CODE_BITS {
        let (x, half, whole) = (bit * CODE_SIDE, 1_u32 << bit, 2_u32 << bit);
        for (y, when) in [(0, "gte"), (CODE_SIDE, "lt")] {
            let _infallible = write!(
                filters,
                ",drawbox=x={x}:y={y}:w={CODE_SIDE}:h={CODE_SIDE}:color=white:t=fill:\
                 enable='{when}(mod(n\\,{whole})\\,{half})'"
            );
        }
    }
    filters
}

/// Of a picture's number; a minute has 1 800 pictures.
pub(crate) const CODE_BITS: u32 = 11;
/// In pixels: as coarse as that, compression leaves it alone.
pub(crate) const CODE_SIDE: u32 = 32;

#[rustfmt::skip]
const ENCODE: &[&str] = &[
    "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100",
    "-t", "60",
    "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p",
    "-b:v", "2M", "-maxrate", "2M", "-bufsize", "2M",
    "-c:a", "aac", "-b:a", "96k",
];
/// A PES packet for each access unit.
const PACK: &[&str] = &["-c", "copy", "-muxdelay", "0", "-pes_payload_size", "0", "-f", "mpegts"];

/// Cuts a transport stream before each PES packet. Tables go with what follows them.
pub(crate) fn ts_units(path: &Path) -> io::Result<Vec<Unit>> {
    let bytes = fs::read(path)?;
    let mut units = Vec::<Unit>::new();
    let mut tables = Vec::new();
    let mut first_90k = None;
    for packet in bytes.chunks_exact(PACKET_BYTES) {
        let (pid, begins) = (pid(packet), packet[1] & 0x40 != 0);
        let kind = match pid {
            VIDEO_PID => Kind::Video,
            AUDIO_PID => Kind::Audio,
            _ => {
                tables.extend(packet);
                continue;
            }
        };
        let payload = payload(packet);
        if begins {
            let time_90k = decoding_time_90k(payload).ok_or(io::ErrorKind::InvalidData)?;
            let first_90k = *first_90k.get_or_insert(time_90k);
            let at = Duration::from_micros(time_90k.saturating_sub(first_90k) * 100 / 9);
            // ffmpeg interleaves by time but for rounding.
            let at = units.last().map_or(at, |last| at.max(last.at));
            let end = (kind == Kind::Video).then_some([0; END_BYTES]);
            units.push(Unit { at, kind, bytes: std::mem::take(&mut tables), end });
        }
        let unit = units.last_mut().ok_or(io::ErrorKind::InvalidData)?;
        unit.bytes.extend(packet);
        if let Some(end) = &mut unit.end {
            push_end(end, payload);
        }
    }
    Ok(units)
}

/// The tags of an FLV file.
pub(crate) fn flv_units(path: &Path) -> io::Result<Vec<Unit>> {
    let bytes = fs::read(path)?;
    let mut rest = bytes.get(FLV_HEADER_BYTES..).ok_or(io::ErrorKind::InvalidData)?;
    let mut units = Vec::<Unit>::new();
    while let Some((header, tag)) = rest.split_first_chunk::<TAG_HEADER_BYTES>() {
        let (len, time_ms) = tag_fields(header);
        let Some((body, after)) = tag.split_at_checked(len) else { break };
        let kind = match header[0] {
            8 => Kind::Audio,
            9 => Kind::Video,
            _ => Kind::Script,
        };
        let at = Duration::from_millis(time_ms.into());
        let at = units.last().map_or(at, |last| at.max(last.at));
        let end = (kind == Kind::Video).then(|| end_of(body)).flatten();
        units.push(Unit { at, kind, bytes: body.to_vec(), end });
        rest = after.get(TAG_SIZE_BYTES..).unwrap_or_default();
    }
    Ok(units)
}

/// The same with all that stands around a body in a file, since that is what players get.
pub(crate) fn flv_tags(path: &Path) -> io::Result<Vec<Unit>> {
    let mut units = flv_units(path)?;
    for unit in &mut units {
        let room = TAG_HEADER_BYTES + TAG_SIZE_BYTES;
        unit.bytes.splice(0..0, vec![0; room]);
    }
    Ok(units)
}

/// The length of a tag's body and its time in milliseconds (Adobe Flash Video File Format 10.1, E.4.1).
pub(crate) fn tag_fields(header: &[u8; TAG_HEADER_BYTES]) -> (usize, u32) {
    let [_kind, l2, l1, l0, t2, t1, t0, t3, ..] = *header;
    let len = u32::from_be_bytes([0, l2, l1, l0]) as usize;
    (len, u32::from_be_bytes([t3, t2, t1, t0]))
}

/// A file's header and the size of the tag before the first.
pub(crate) const FLV_HEADER_BYTES: usize = 13;
pub(crate) const TAG_HEADER_BYTES: usize = 11;
pub(crate) const TAG_SIZE_BYTES: usize = 4;

pub(crate) fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff
}

/// What a packet carries (ISO/IEC 13818-1:2019 §2.4.3.2).
pub(crate) fn payload(packet: &[u8]) -> &[u8] {
    let skip = if packet[3] & 0x20 == 0 { 4 } else { 5 + usize::from(packet[4]) };
    packet.get(skip..).unwrap_or_default()
}

/// DTS of a PES header, or PTS when it has none (ISO/IEC 13818-1:2019 §2.4.3.6).
fn decoding_time_90k(pes: &[u8]) -> Option<u64> {
    let at = if *pes.get(7)? & 0x40 == 0 { 9 } else { 14 };
    let field: [u8; 5] = pes.get(at..at + 5)?.try_into().ok()?;
    let [a, b, c, d, e] = field.map(u64::from);
    Some((a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1)
}

/// Keeps the last bytes of what is appended piece by piece.
pub(crate) fn push_end(end: &mut End, piece: &[u8]) {
    let taken = &piece[piece.len().saturating_sub(END_BYTES)..];
    end.copy_within(taken.len().., 0);
    end[END_BYTES - taken.len()..].copy_from_slice(taken);
}

pub(crate) fn end_of(bytes: &[u8]) -> Option<End> {
    bytes.last_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::{END_BYTES, decoding_time_90k, payload, push_end};

    #[test]
    fn end_is_the_same_however_the_pieces_are_cut() {
        let whole: Vec<u8> = (0..100).collect();
        for len in [1, 7, 24, 50, 100] {
            let mut end = [0; END_BYTES];
            whole.chunks(len).for_each(|piece| push_end(&mut end, piece));
            assert_eq!(end[..], whole[100 - END_BYTES..], "pieces of {len}");
        }
    }

    #[test]
    fn decoding_time_is_dts_where_there_is_one() {
        let with_dts = [0, 0, 1, 0xe0, 0, 0, 0x84, 0xc0, 10, 0x31, 0, 3, 0, 5, 0x11, 0, 1, 0, 3];
        assert_eq!(decoding_time_90k(&with_dts), Some(1));
        let without = [0, 0, 1, 0xc0, 0, 0, 0x84, 0x80, 5, 0x21, 0, 3, 0, 5];
        assert_eq!(decoding_time_90k(&without), Some((1 << 15) + 2));
    }

    #[test]
    fn payload_begins_after_the_adaptation_field() {
        let mut packet = [0xaa; 188];
        packet[3] = 0x30;
        packet[4] = 7;
        assert_eq!(payload(&packet).len(), 188 - 12);
        packet[3] = 0x10;
        assert_eq!(payload(&packet).len(), 184);
    }
}
