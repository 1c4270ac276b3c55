//! RTMP: chunks, messages, commands, handshakes, and whole sessions on a stream in memory and a virtual clock.
//!
//! The first byte says which, the second how the rest is cut, which must not matter.

use crate::{
    script::{Script, pieces},
    simulation::simulate,
};
use std::io::{Read, Write};
use std::time::Duration;
use thalweg_gateway::{
    auth::Gate,
    container::flv::{Carriage, Tag, TagKind},
    hub::{self, Bounds, Clients, Registry, Start},
    media::Span,
    protocol::rtmp::{
        Settings,
        chunk::{ChunkError, ChunkReader, Message},
        client::{ClientSide, Incoming, Wish},
        connection::{Connection, Event},
        converse,
        handshake::{self, PART_LEN, Part},
        server::{Request, ServerSide, Status},
    },
};
use thalweg_runtime::{self as rt, sync::duplex};

pub(crate) fn run(input: &[u8]) {
    let mut script = Script(input);
    let (what, seed) = (script.byte(), script.byte());
    let bytes = script.0;
    let whole = || std::iter::once(bytes);
    let cut = || pieces(bytes, seed);
    match what % 5 {
        0 => session(cut().map(<[u8]>::to_vec).collect()),
        1 => assert_eq!(server(whole()), server(cut())),
        2 => assert_eq!(client(whole()), client(cut())),
        3 => chunks(bytes, seed),
        _ => shake_hands(bytes),
    }
}

/// A client that shakes hands properly, and then says these bytes.
fn session(pushes: Vec<Vec<u8>>) {
    let ended = simulate(move || {
        let (mut near, far) = duplex(1 << 16);
        let client = rt::spawn(move || {
            let greeting = [&[handshake::VERSION][..], &[0; 2 * PART_LEN]].concat();
            for push in std::iter::once(greeting).chain(pushes) {
                // The server may have hung up.
                if near.write_all(&push).is_err() || rt::yield_now().is_err() {
                    break;
                }
            }
            near.shutdown_write();
            let mut answers = Vec::new();
            let _cut_off = near.read_to_end(&mut answers);
        });
        let registry = Registry::new(hub::Settings {
            bounds: Bounds { bytes: 1 << 20, span: Span::from_ms(10_000) },
            grace: Duration::from_secs(1),
            merge_window: Duration::ZERO,
            streams_max: 10,
            publishers_max: 4,
            publisher_rate_bps: None,
        });
        let address = "192.0.2.1:1234".parse().expect("it is an address");
        let entry = Clients::default().enter("rtmp", address);
        let ended = converse(&far, &entry, None, &registry, &settings());
        drop(far);
        client.join().expect("the client does not panic");
        ended.map_err(|end| end.to_string())
    });
    let end = ended.expect_err("a session ends for a reason");
    assert!(!end.is_empty());
}

fn settings() -> Settings {
    Settings {
        gate: Gate::open(),
        proxies: None,
        handshake: Duration::from_secs(10),
        start: Start::default(),
        wait: Duration::from_secs(5),
        silence: Duration::from_secs(10),
        stall: Duration::from_secs(10),
        takes_over: false,
        silent_player: Carriage::Enhanced,
    }
}

/// What a server hears that admits almost everything, and how it ends.
fn server<'a>(pushes: impl Iterator<Item = &'a [u8]>) -> (Vec<Request>, String) {
    let mut side = ServerSide::new();
    let mut requests = Vec::new();
    for mut push in pushes {
        loop {
            match side.receive(&mut push) {
                Ok(Some(request)) => {
                    answer(&mut side, &request);
                    requests.push(request);
                }
                Ok(None) => break,
                Err(error) => return (requests, error.to_string()),
            }
        }
        assert!(push.is_empty(), "bytes are left although nothing came of them");
        let _said = side.take_output();
    }
    (requests, String::new())
}

fn answer(side: &mut ServerSide, request: &Request) {
    match request {
        Request::Connect => side.accept(),
        Request::Publish(address) if address.name == "no" => side.refuse(Status::BadName, "busy"),
        Request::Publish(_) => side.publish_started(),
        Request::Play(address) if address.name == "no" => {
            side.refuse(Status::StreamNotFound, "nobody publishes there");
        }
        Request::Play(_) => side.play_started(),
        _ => {}
    }
}

/// What a client hears that wants to play, and how it ends.
fn client<'a>(pushes: impl Iterator<Item = &'a [u8]>) -> (Vec<Incoming>, String) {
    let mut side = ClientSide::new(Wish {
        publishes: false,
        app: "live".to_owned(),
        tc_url: "rtmp://192.0.2.1/live".to_owned(),
        name: "cam".to_owned(),
        is_enhanced: true,
    });
    let mut heard = Vec::new();
    for mut push in pushes {
        loop {
            match side.receive(&mut push) {
                Ok(Some(incoming)) => heard.push(incoming),
                Ok(None) => break,
                Err(error) => return (heard, error.to_string()),
            }
        }
        let _said = side.take_output();
    }
    (heard, String::new())
}

/// Messages in chunks, and the same in chunks of our own.
fn chunks(bytes: &[u8], seed: u8) {
    let mut script = Script(bytes);
    let size = u32::from(script.word());
    let bytes = script.0;
    let whole = read_chunks(std::iter::once(bytes), size);
    assert_eq!(whole, read_chunks(pieces(bytes, seed), size));
    for message in whole.0 {
        let Some(kind) = TagKind::new(message.kind) else { continue };
        let tag = Tag { kind, timestamp_ms: message.timestamp_ms, body: message.body };
        let mut sender = Connection::new();
        sender.send_media(1, &tag);
        let mut receiver = Connection::new();
        let sent = sender.take_output();
        let heard = pieces(&sent, seed).find_map(|mut piece| {
            let event = receiver.receive(&mut piece).expect("what is written is read");
            assert!(piece.is_empty());
            event
        });
        assert_eq!(heard, Some(Event::Media(tag)));
    }
}

fn read_chunks<'a>(
    pushes: impl Iterator<Item = &'a [u8]>,
    size: u32,
) -> (Vec<Message>, Option<ChunkError>) {
    let mut reader = ChunkReader::new();
    let mut messages = Vec::new();
    if let Err(error) = reader.set_chunk_size(size) {
        return (messages, Some(error));
    }
    for mut push in pushes {
        loop {
            match reader.read(&mut push) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

/// Both sides of the handshake, on parts that are made of what there is.
fn shake_hands(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut part = || -> Box<Part> {
        let mut part = script.sized_piece().to_vec();
        part.resize(PART_LEN, 0);
        part.try_into().expect("it is as long as a part")
    };
    let (c1, s1, s2) = (part(), part(), part());
    let answer = handshake::answer_client(&c1).expect("there are random bytes");
    assert_eq!(answer.len(), 1 + 2 * PART_LEN);
    let _answer = handshake::answer_server(&c1, &s1, &s2);
}
