//! Seeds of the targets `flv`, `rtmp` and `amf0`: files, and what both sides of conversations say.

use crate::{
    Corpus,
    clips::{PICTURES, SOUND, X264, ffmpeg},
};
use std::{fs, path::Path};
use thalweg_gateway::{
    container::{
        Chunk, Mux, Select, Sink,
        flv::{Carriage, FileFraming, Tag, TagKind, TagMux, TagReader, amf0::Value},
        ts::{Demuxer, PACKET_LEN, PacketInfo, Programme, TsSink},
    },
    media::{AccessUnit, Tracks},
    protocol::rtmp::{
        client::{ClientSide, Wish},
        command::Command,
        server::{Request, ServerSide},
    },
};

pub(crate) fn all(folder: &Path, corpus: &Corpus) {
    let tail = "-t 0.6 -flags bitexact -fflags bitexact -f flv";
    let aac = format!("-c:a aac -b:a 16k {tail}");
    let legacy = [
        ("h264_aac", format!("{PICTURES} {SOUND} {X264} {aac}")),
        ("h264_b_frames", format!("{PICTURES} -c:v libx264 -bf 2 -x264-params threads=1 {tail}")),
        ("mp3", format!("-f lavfi -i sine=sample_rate=44100 -c:a libmp3lame -b:a 32k {tail}")),
    ];
    for (name, arguments) in &legacy {
        let file = ffmpeg(folder, &format!("{name}.flv"), arguments);
        corpus.put("flv", name, &[&[3], &file[..file.len().min(6 << 10)]].concat());
    }
    for name in ["hevc_ac3", "opus", "eac3"] {
        let clip = fs::read(folder.join(format!("{name}.ts"))).expect("clips come first");
        let file = enhanced(&clip);
        let name = format!("enhanced_{name}");
        corpus.put("flv", &name, &[&[3], &file[..file.len().min(6 << 10)]].concat());
    }
    let file = fs::read(folder.join("h264_aac.flv")).expect("it was just made");
    conversations(&tags(&file), corpus);
    values(&file, corpus);
}

/// What a transport stream is in Enhanced FLV.
fn enhanced(clip: &[u8]) -> Vec<u8> {
    struct Tags(TagMux<FileFraming>, Vec<Chunk>);

    impl Sink for Tags {
        fn tracks(&mut self, tracks: &Tracks) {
            self.0.tracks(tracks);
        }

        fn unit(&mut self, unit: AccessUnit) {
            self.0.unit(&unit, &mut self.1);
        }
    }

    impl TsSink for Tags {
        fn packet(&mut self, _: &[u8; PACKET_LEN], _: &PacketInfo) {}
    }

    let mux = TagMux::with_framing(FileFraming, Select::All, Carriage::Multitrack);
    let mut tags = Tags(mux, Vec::new());
    let mut demuxer = Demuxer::new(Programme::First);
    demuxer.push(clip, &mut tags);
    demuxer.finish(&mut tags);
    let head = tags.1.iter().find_map(|chunk| chunk.head.clone()).expect("there is a beginning");
    let parts = tags.1.iter().flat_map(|chunk| &chunk.parts);
    head.iter().chain(parts).flatten().copied().collect()
}

fn tags(file: &[u8]) -> Vec<Tag> {
    let mut reader = TagReader::default();
    reader.push(file);
    std::iter::from_fn(|| reader.next_tag().expect("ffmpeg is right")).collect()
}

/// Has both sides of our own talk, and takes down what each says after the handshake.
fn conversations(tags: &[Tag], corpus: &Corpus) {
    for publishes in [true, false] {
        let mut client = ClientSide::new(Wish {
            publishes,
            app: "live".to_owned(),
            tc_url: "rtmp://192.0.2.1/live".to_owned(),
            name: "cam?k=v".to_owned(),
            is_enhanced: !publishes,
        });
        let mut server = ServerSide::new();
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        for _ in 0..8 {
            let said = client.take_output();
            asked.extend_from_slice(&said);
            let mut said = &said[..];
            while let Some(request) = server.receive(&mut said).expect("our client is right") {
                match request {
                    Request::Connect => server.accept(),
                    Request::Publish(_) => server.publish_started(),
                    Request::Play(_) => server.play_started(),
                    _ => {}
                }
            }
            let said = server.take_output();
            answered.extend_from_slice(&said);
            let mut said = &said[..];
            while client.receive(&mut said).expect("our server is right").is_some() {}
        }
        if publishes {
            tags.iter().take(12).for_each(|tag| client.send(tag));
            client.stop();
            asked.extend_from_slice(&client.take_output());
        }
        let name = if publishes { "publish" } else { "play" };
        corpus.put("rtmp", &format!("session_{name}"), &[&[0, 3], &asked[..]].concat());
        corpus.put("rtmp", &format!("server_{name}"), &[&[1, 3], &asked[..]].concat());
        corpus.put("rtmp", &format!("client_{name}"), &[&[2, 3], &answered[..]].concat());
        if publishes {
            // In chunks of 64 KiB, as after the client's first message.
            corpus.put("rtmp", "chunks", &[&[3, 3, 0xff, 0xff], &asked[..]].concat());
        }
    }
    corpus.put("rtmp", "chunks_of_every_type", &chunks_of_every_type());
    corpus.put("rtmp", "interleaved", &interleaved());
    corpus.put("rtmp", "aggregate", &aggregate(tags));
    corpus.put(
        "rtmp",
        "handshake",
        &[&[4, 0, 0, 16][..], &[1, 2, 3, 4, 9, 0, 124, 2], &[7; 8]].concat(),
    );
}

/// Adobe's specification §5.3: all headers, both long ids, an extended timestamp that is repeated.
fn chunks_of_every_type() -> Vec<u8> {
    let mut out = vec![3, 3, 0, 4];
    out.extend([0x03, 0, 0, 1, 0, 0, 6, 8, 1, 0, 0, 0, 1, 2, 3, 4, 0xc3, 5, 6]);
    out.extend([0x43, 0, 0, 20, 0, 0, 2, 8, 1, 2, 0x83, 0, 0, 20, 3, 4, 0xc3, 5, 6]);
    out.extend([0x00, 10, 0xff, 0xff, 0xff, 0, 0, 5, 9, 1, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4]);
    out.extend([0xc0, 10, 1, 0, 0, 0, 5]);
    out.extend([0x01, 10, 1, 0, 0, 9, 0, 0, 1, 18, 1, 0, 0, 0, 7]);
    out
}

/// Two messages in turns, one of which is aborted (§5.4.2), then a ping, said to a server that nobody has connected to.
fn interleaved() -> Vec<u8> {
    let mut out = vec![1, 3];
    out.extend([0x02, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 4]);
    out.extend([0x06, 0, 0, 0, 0, 0, 6, 9, 1, 0, 0, 0, 0x17, 1, 0, 0]);
    out.extend([0x04, 0, 0, 0, 0, 0, 6, 8, 1, 0, 0, 0, 0xaf, 1, 2, 3]);
    out.extend([0x42, 0, 0, 0, 0, 0, 4, 2, 0, 0, 0, 6]);
    out.extend([0xc4, 4, 5]);
    out.extend([0x42, 0, 0, 0, 0, 0, 4, 5, 0, 0, 0x10, 0]);
    out.extend([0x42, 0, 0, 0, 0, 0, 6, 4, 0, 6, 0, 0, 0xc2, 0, 9]);
    out
}

/// A message with tags in it, sent to a server that admitted us (§7.1.6).
fn aggregate(tags: &[Tag]) -> Vec<u8> {
    let mut body = Vec::new();
    for tag in tags.iter().filter(|tag| tag.kind != TagKind::Script).take(4) {
        let len = u32::try_from(tag.body.len()).expect("a seed is short").to_be_bytes();
        body.push(tag.kind as u8);
        body.extend_from_slice(&len[1..]);
        body.extend_from_slice(&[0, 0, 10, 0, 0, 0, 0]);
        body.extend_from_slice(&tag.body);
        body.extend_from_slice(&(u32::from_be_bytes(len) + 11).to_be_bytes());
    }
    let mut out = vec![1, 3, 0x02, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    out.extend_from_slice(&[0x04, 0, 0, 10]);
    out.extend_from_slice(&u32::try_from(body.len()).expect("a seed is short").to_be_bytes()[1..]);
    out.extend_from_slice(&[22, 1, 0, 0, 0]);
    out.extend_from_slice(&body);
    out
}

fn values(file: &[u8], corpus: &Corpus) {
    let script = tags(file).into_iter().find(|tag| tag.kind == TagKind::Script);
    corpus.put("amf0", "metadata", &script.expect("ffmpeg writes some").body);
    let connect = Value::object([
        ("app", "live".into()),
        ("capsEx", 6.0.into()),
        ("fourCcList", Value::StrictArray(vec!["hvc1".into(), "*".into()])),
        ("map", Value::EcmaArray(vec![("1".to_owned(), Value::Date(1e12))])),
        ("nothing", Value::Undefined),
    ]);
    corpus.put("amf0", "connect", &Command::new("connect", 1.0, [connect]).encode());
    let play =
        Command::new("play", 4.0, [Value::Null, "cam".into(), (-2000.0).into(), true.into()]);
    corpus.put("amf0", "play", &play.encode());
    let status = Command::on_status("error", "NetStream.Publish.BadName", "busy");
    corpus.put("amf0", "status", &status.encode());
    corpus.put(
        "amf0",
        "typed_and_long",
        b"\x10\0\x01a\0\x01b\x0c\0\0\0\x02cd\0\0\x09\x0d\x0f\0\0\0\x01e",
    );
    corpus.put("amf0", "array_without_end", b"\x08\0\0\0\x01\0\x05width\0\x40\x94\0\0\0\0\0\0");
}
