//! What real clients send, and what they are told.

use super::*;
use crate::protocol::rtmp::{
    chunk::{ChunkReader, Message, write_message},
    connection::kind,
};

const FFMPEG_5_PUBLISH: &[u8] =
    include_bytes!("../../../../tests/captures/rtmp/ffmpeg-5.1-publish.bin");
const FFMPEG_9_PUBLISH: &[u8] =
    include_bytes!("../../../../tests/captures/rtmp/ffmpeg-9-enhanced-publish.bin");
const FFMPEG_5_PLAY: &[u8] = include_bytes!("../../../../tests/captures/rtmp/ffmpeg-5.1-play.bin");

/// Lets everything in; the requests, and what was answered.
fn converse(input: &[u8]) -> Result<(ServerSide, Vec<Request>, Vec<Command>), ServerError> {
    let (mut side, mut requests, mut rest) = (ServerSide::new(), Vec::new(), input);
    while let Some(request) = side.receive(&mut rest)? {
        match &request {
            Request::Connect => side.accept(),
            Request::Publish(_) => side.publish_started(),
            Request::Play(_) => side.play_started(),
            Request::Stop => side.publish_stopped(),
            Request::Media(_) => {}
        }
        requests.push(request);
    }
    let commands = answers(&side.take_output());
    Ok((side, requests, commands))
}

/// The commands in what a server sent.
fn answers(mut output: &[u8]) -> Vec<Command> {
    let (mut reader, mut commands) = (ChunkReader::new(), Vec::new());
    while let Some(message) = reader.read(&mut output).unwrap() {
        match message.kind {
            kind::SET_CHUNK_SIZE => reader.set_chunk_size(65_536).unwrap(),
            kind::COMMAND_AMF0 => commands.push(Command::parse(&message.body).unwrap()),
            _ => {}
        }
    }
    commands
}

fn names(requests: &[Request]) -> Vec<String> {
    let mut names: Vec<_> = requests
        .iter()
        .map(|request| match request {
            Request::Publish(address) => format!("publish {address}?{}", address.query),
            Request::Play(address) => format!("play {address}"),
            Request::Media(tag) => format!("{:?}", tag.kind),
            other => format!("{other:?}"),
        })
        .collect();
    names.dedup();
    names
}

/// A script of commands as a client sends them, all on chunk stream 3.
fn script(commands: &[(u32, Command)]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    for (stream, command) in commands {
        let body = command.encode();
        let message = Message { kind: kind::COMMAND_AMF0, timestamp_ms: 0, stream: *stream, body };
        write_message(3, &message, 128, &mut bytes);
    }
    bytes.to_vec()
}

fn call<const N: usize>(name: &str, transaction: f64, arguments: [Value; N]) -> (u32, Command) {
    let mut command = Command::new(name, transaction, [Value::Null]);
    command.values.extend(arguments);
    (0, command)
}

fn connect(app: &str, more: &[(&str, Value)]) -> (u32, Command) {
    let mut object = vec![
        ("app".to_owned(), app.into()),
        ("tcUrl".to_owned(), Value::String(format!("rtmp://media.example/{app}"))),
    ];
    object.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    (0, Command::new("connect", 1.0, [Value::Object(object)]))
}

fn on_stream((_, command): (u32, Command)) -> (u32, Command) {
    (STREAM, command)
}

#[test]
fn ffmpeg_publishes() {
    let (side, requests, answers) = converse(FFMPEG_5_PUBLISH).unwrap();
    let names = names(&requests);
    assert_eq!(names[..3], ["Connect", "publish live/cam?token=x", "Script"]);
    assert_eq!(names.last().unwrap(), "Stop");
    assert!(requests.iter().filter(|request| matches!(request, Request::Media(_))).count() > 8);
    assert_eq!(side.abilities(), &Abilities::default());
    let codes: Vec<_> = answers.iter().filter_map(Command::status_code).collect();
    let expected = [
        "NetConnection.Connect.Success",
        "NetStream.Publish.Start",
        "NetStream.Publish.Start",
        "NetStream.Unpublish.Success",
        "NetStream.Unpublish.Success",
    ];
    assert_eq!(codes, expected, "onFCPublish, onStatus, onFCUnpublish, onStatus");
}

#[test]
fn ffmpeg_publishes_enhanced_with_several_tracks() {
    let (side, requests, answers) = converse(FFMPEG_9_PUBLISH).unwrap();
    assert!(names(&requests)[1].starts_with("publish live/multi"));
    assert_eq!(side.abilities().codecs, [Codec::Hevc, Codec::Av1, Codec::Vp9]);
    let properties = answers[0].object();
    let listed = properties.property("fourCcList");
    assert!(matches!(listed, Some(Value::StrictArray(list)) if list.contains(&"hvc1".into())));
    assert_eq!(properties.property("capsEx"), Some(&Value::Number(14.0)));
    let multitrack = |request: &&Request| matches!(request, Request::Media(tag) if tag.kind == TagKind::Audio && tag.body[0] == 0x95);
    assert!(requests.iter().filter(multitrack).count() > 4);
}

#[test]
fn ffmpeg_plays() {
    let (_, requests, answers) = converse(FFMPEG_5_PLAY).unwrap();
    assert_eq!(names(&requests), ["Connect", "play live/p", "Stop"]);
    let length = answers.iter().find(|answer| answer.transaction == 3.0).unwrap();
    assert_eq!(length.argument(0).as_number(), Some(0.0), "getStreamLength");
    let codes: Vec<_> = answers.iter().filter_map(Command::status_code).collect();
    assert_eq!(codes[1..3], ["NetStream.Play.Reset", "NetStream.Play.Start"]);
}

/// OBS, and all that use its librtmp (`rtmp.c`: `SendConnectPacket`, `SendReleaseStream`, `SendFCPublish`,
/// `RTMP_SendCreateStream`, `SendPublish`, `SendFCUnpublish`, `SendDeleteStream`).
#[test]
fn obs_publishes_and_stops() {
    let list = ["av01", "vp09", "hvc1"].map(Value::from).to_vec();
    let connect = connect(
        "live",
        &[
            ("type", "nonprivate".into()),
            ("flashVer", "FMLE/3.0 (compatible; FMSc/1.0)".into()),
            ("swfUrl", "rtmp://media.example/live".into()),
            ("fourCcList", Value::StrictArray(list)),
        ],
    );
    let bytes = script(&[
        connect,
        call("releaseStream", 2.0, ["key".into()]),
        call("FCPublish", 3.0, ["key".into()]),
        call("createStream", 4.0, []),
        on_stream(call("publish", 5.0, ["key".into(), "live".into()])),
        call("FCUnpublish", 6.0, ["key".into()]),
        call("deleteStream", 7.0, [1.0.into()]),
    ]);
    let (side, requests, answers) = converse(&bytes).unwrap();
    assert_eq!(names(&requests), ["Connect", "publish live/key?", "Stop"]);
    assert!(side.abilities().is_enhanced);
    let answered: Vec<_> = answers.iter().map(|a| a.transaction).filter(|&t| t != 0.0).collect();
    assert_eq!(answered, [1.0, 2.0, 3.0, 4.0, 6.0]);
}

/// Adobe's Flash Media Live Encoder and those that say they are it, vMix and Larix among them: an object of many properties,
/// `_checkbw`, the stream closed and deleted, and `FCPublish` only sometimes.
#[test]
fn encoders_like_fmle_publish_stop_and_publish_again() {
    let connect = connect(
        "live",
        &[
            ("flashVer", "FMLE/3.0 (compatible; FMSc/1.0)".into()),
            ("swfUrl", "rtmp://media.example/live".into()),
            ("fpad", false.into()),
            ("capabilities", 239.0.into()),
            ("audioCodecs", 3575.0.into()),
            ("videoCodecs", 252.0.into()),
            ("videoFunction", 1.0.into()),
            ("pageUrl", Value::Undefined),
            ("objectEncoding", 0.0.into()),
        ],
    );
    let bytes = script(&[
        connect,
        call("_checkbw", 2.0, []),
        call("createStream", 3.0, []),
        on_stream(call("publish", 0.0, ["mp4:one".into()])),
        on_stream(call("closeStream", 0.0, [])),
        on_stream(call("publish", 0.0, ["two".into(), "record".into()])),
        call("deleteStream", 0.0, [1.0.into()]),
        call("deleteStream", 0.0, [1.0.into()]),
    ]);
    let (_, requests, _) = converse(&bytes).unwrap();
    let expected = ["Connect", "publish live/one?", "Stop", "publish live/two?", "Stop"];
    assert_eq!(names(&requests), expected);
}

#[test]
fn players_may_pause_and_call_what_they_like() {
    let bytes = script(&[
        connect("live", &[]),
        call("createStream", 2.0, []),
        call("FCSubscribe", 3.0, ["cam".into()]),
        on_stream(call("play", 0.0, ["cam".into(), (-2000.0).into()])),
        on_stream(call("pause", 0.0, [true.into(), 0.0.into()])),
        on_stream(call("pause", 0.0, [false.into(), 0.0.into()])),
        on_stream(call("receiveAudio", 0.0, [false.into()])),
        call("somethingNew", 9.0, []),
    ]);
    let (_, requests, answers) = converse(&bytes).unwrap();
    assert_eq!(names(&requests), ["Connect", "play live/cam"]);
    let codes: Vec<_> = answers.iter().filter_map(Command::status_code).collect();
    assert_eq!(codes[3..], ["NetStream.Pause.Notify", "NetStream.Unpause.Notify"]);
    assert_eq!(answers.last().unwrap().transaction, 9.0);
}

#[test]
fn nothing_goes_before_connect_and_nothing_twice() {
    let early = script(&[call("createStream", 2.0, [])]);
    assert_eq!(converse(&early).unwrap_err(), ServerError::NotConnected("createStream".into()));
    let twice = script(&[connect("a", &[]), connect("b", &[])]);
    assert_eq!(converse(&twice).unwrap_err(), ServerError::Connect);
    let without = script(&[(0, Command::new("connect", 1.0, [Value::Null]))]);
    assert_eq!(converse(&without).unwrap_err(), ServerError::Connect);
    let two = script(&[
        connect("a", &[]),
        call("publish", 2.0, ["x".into()]),
        call("play", 3.0, ["x".into()]),
    ]);
    assert_eq!(converse(&two).unwrap_err(), ServerError::Twice);
}

#[test]
fn refusals_are_in_the_clients_words() {
    for (status, code) in [
        (Status::BadName, "NetStream.Publish.BadName"),
        (Status::StreamNotFound, "NetStream.Play.StreamNotFound"),
        (Status::PublishDenied, "NetStream.Publish.Denied"),
        (Status::PlayFailed, "NetStream.Play.Failed"),
        (Status::Shutdown, "NetConnection.Connect.AppShutdown"),
    ] {
        let mut side = ServerSide::new();
        side.refuse(status, "why");
        let [answer] = &answers(&side.take_output())[..] else { panic!() };
        assert_eq!((answer.name.as_str(), answer.status_code()), ("onStatus", Some(code)));
    }
    let (mut side, _, _) = converse(&script(&[])).unwrap();
    side.reject("too many");
    let [answer] = &answers(&side.take_output())[..] else { panic!() };
    assert_eq!(answer.name, "_error");
    assert_eq!(answer.status_code(), Some("NetConnection.Connect.Rejected"));
}

#[test]
fn abilities_are_found_in_lists_and_maps() {
    let abilities = |properties: &[(&str, Value)]| {
        let (_, connect) = connect("a", properties);
        Abilities::from_connect(connect.object())
    };
    let all = abilities(&[("fourCcList", Value::StrictArray(vec!["*".into(), Value::Null]))]);
    assert!(all.is_enhanced && all.any_codec && !all.multitrack);
    let mapped = abilities(&[
        ("videoFourCcInfoMap", Value::object([("av01", 1.0.into()), ("xxxx", 1.0.into())])),
        ("audioFourCcInfoMap", Value::object([("Opus", 1.0.into())])),
        ("capsEx", 2.0.into()),
    ]);
    assert_eq!(mapped.codecs, [Codec::Av1, Codec::Opus]);
    assert!(mapped.multitrack);
    assert_eq!(abilities(&[]).carriage(Carriage::Legacy), Carriage::Legacy);
    assert_eq!(all.carriage(Carriage::Legacy), Carriage::Enhanced);
    assert_eq!(mapped.carriage(Carriage::Legacy), Carriage::Multitrack);
    for strange in [f64::NAN, -1.0, 1e300] {
        assert!(abilities(&[("capsEx", strange.into())]).is_enhanced);
    }
}

#[test]
fn captures_with_any_byte_flipped_or_cut_off_never_panic() {
    for capture in [FFMPEG_5_PUBLISH, FFMPEG_5_PLAY] {
        for at in 0..capture.len() {
            let mut bytes = capture.to_vec();
            bytes[at] ^= 1 << (at % 8);
            let _result = converse(&bytes);
            let _result = converse(&capture[..at]);
        }
    }
}
