//! Where pictures end in what a player gets: in packets, tags or boxes.
//!
//! Every end of something that may be a picture is told, of sound as well; who looks for pictures knows their ends.

use super::clip::{
    self, END_BYTES, End, FLV_HEADER_BYTES, PACKET_BYTES, TAG_HEADER_BYTES, TAG_SIZE_BYTES,
    VIDEO_PID,
};

/// How far a stream of one form has been read.
#[derive(Debug)]
pub(super) enum Form {
    Packets(Packets),
    /// Before the header of the file.
    FileOfTags,
    Tags,
    Boxes,
}

impl Form {
    /// By the extension of a path.
    pub(super) fn of(output: &str) -> Self {
        match output {
            "ts" => Self::Packets(Packets::default()),
            "flv" => Self::FileOfTags,
            _ => Self::Boxes,
        }
    }

    /// Takes all that is complete off the front.
    pub(super) fn take(&mut self, bytes: &mut Vec<u8>, arrived: &mut dyn FnMut(End)) {
        match self {
            Self::Packets(packets) => {
                let whole = bytes.len() / PACKET_BYTES * PACKET_BYTES;
                packets.push(&bytes[..whole], arrived);
                bytes.drain(..whole);
            }
            Self::FileOfTags if bytes.len() < FLV_HEADER_BYTES => {}
            Self::FileOfTags => {
                bytes.drain(..FLV_HEADER_BYTES);
                *self = Self::Tags;
                self.take(bytes, arrived);
            }
            Self::Tags => while take_tag(bytes, arrived) {},
            Self::Boxes => while take_box(bytes, arrived) {},
        }
    }
}

/// Follows the video in a transport stream.
#[derive(Debug, Default)]
pub(super) struct Packets {
    end: [u8; END_BYTES],
}

impl Packets {
    pub(super) fn push(&mut self, packets: &[u8], arrived: &mut dyn FnMut(End)) {
        for packet in packets.chunks_exact(PACKET_BYTES) {
            if clip::pid(packet) == VIDEO_PID {
                clip::push_end(&mut self.end, clip::payload(packet));
                arrived(self.end);
            }
        }
    }
}

/// Takes a tag off the front, if it is complete.
fn take_tag(bytes: &mut Vec<u8>, arrived: &mut dyn FnMut(End)) -> bool {
    let Some(header) = bytes.first_chunk::<TAG_HEADER_BYTES>() else { return false };
    let (len, _time_ms) = clip::tag_fields(header);
    let (end, whole) = (TAG_HEADER_BYTES + len, TAG_HEADER_BYTES + len + TAG_SIZE_BYTES);
    let Some(tag) = bytes.get(..whole) else { return false };
    clip::end_of(&tag[..end]).into_iter().for_each(arrived);
    bytes.drain(..whole);
    true
}

/// Takes a box (ISO/IEC 14496-12:2022 §4.2) off the front, if it is complete.
fn take_box(bytes: &mut Vec<u8>, arrived: &mut dyn FnMut(End)) -> bool {
    let Some(&size) = bytes.first_chunk() else { return false };
    let size = u32::from_be_bytes(size).max(8) as usize;
    let Some(whole) = bytes.get(..size) else { return false };
    clip::end_of(whole).into_iter().for_each(arrived);
    bytes.drain(..size);
    true
}

#[cfg(test)]
mod tests {
    use super::{END_BYTES, FLV_HEADER_BYTES, Form};

    /// Feeds `bytes` in pieces and collects the ends.
    fn ends(output: &str, bytes: &[u8], piece: usize) -> Vec<u8> {
        let (mut form, mut rest, mut firsts) = (Form::of(output), Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            rest.extend(piece);
            form.take(&mut rest, &mut |end| firsts.push(end[0]));
        }
        firsts
    }

    #[test]
    fn ends_are_found_however_the_stream_is_cut() {
        let tag = |fill: u8| {
            let mut tag = vec![9, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0];
            tag.extend([fill; 30]);
            tag.extend([0, 0, 0, 41]);
            tag
        };
        let tags = [vec![0; FLV_HEADER_BYTES], tag(1), tag(2)].concat();
        let mut boxes = vec![0, 0, 0, 38];
        boxes.extend([3; 34]);
        boxes.extend([0, 0, 0, 40]);
        boxes.extend([4; 36]);
        let mut packets = vec![4; 188 * 2];
        for packet in packets.chunks_exact_mut(188) {
            packet[..4].copy_from_slice(&[0x47, 0x01, 0x00, 0x10]);
        }
        for piece in [1, 5, END_BYTES, 1000] {
            assert_eq!(ends("flv", &tags, piece), [1, 2], "pieces of {piece}");
            assert_eq!(ends("mp4", &boxes, piece), [3, 4], "pieces of {piece}");
            assert_eq!(ends("ts", &packets, piece), [4, 4], "pieces of {piece}");
        }
    }
}
