//! ffmpeg, publishing to us and playing from us, in both roles.
//!
//! What is published is checked packet by packet; what is played is decoded by ffmpeg, which counts frames.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use thalweg_runtime as rt;
use thalweg_srt_io::{Listener, RecvError, Socket};

use super::support::exchange::{Meeting, ROLES};
use super::support::tool::{Ended, Tool, free_addr};
use super::support::{LATENCY, Outcome, live, message, run};

/// Two seconds of picture and tone at 25 frames a second.
const SOURCE: [&str; 4] = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=2"];
const FRAMES: usize = 50;

#[test]
fn it_publishes_in_both_roles() {
    run(|| {
        for role in ROLES {
            let (tool, socket) = meet(role, "", publish)?;
            check_publication(tool, &socket)?;
        }
        Ok(())
    });
}

#[test]
fn it_publishes_encrypted_and_its_stream_id_arrives() {
    run(|| {
        let options = live().passphrase("0123456789");
        let listener = Listener::bind("127.0.0.1:0", &options)?;
        let params = "&passphrase=0123456789&pbkeylen=32&streamid=live/cam";
        let tool = publish(&url(listener.local_addr(), "caller", params))?;
        let (socket, _peer) = listener.accept()?;
        assert_eq!(socket.stream_id_text(), "live/cam");
        check_publication(tool, &socket)
    });
}

#[test]
fn it_plays_in_both_roles() {
    run(|| {
        let programme = programme()?;
        for role in ROLES {
            let (tool, socket) = meet(role, "", play)?;
            send_at_pace(&socket, &programme)?;
            socket.finish(rt::now() + FINISH_LIMIT)?;
            let ended = tool.finish()?;
            assert!(ended.status.success(), "{}", ended.said);
            assert_eq!(frames(&ended), FRAMES, "{}", ended.said);
        }
        Ok(())
    });
}

fn publish(url: &str) -> Outcome<Tool> {
    let mut args = vec!["-nostdin", "-loglevel", "warning", "-re"];
    args.extend(SOURCE);
    args.extend(["-c:v", "mpeg2video", "-f", "mpegts", url]);
    Ok(Tool::start("ffmpeg", &args)?)
}

/// Decodes everything and writes a line for each frame.
fn play(url: &str) -> Outcome<Tool> {
    let args =
        ["-nostdin", "-loglevel", "warning", "-f", "mpegts", "-i", url, "-f", "framecrc", "-"];
    Ok(Tool::start("ffmpeg", &args)?)
}

fn meet(role: Meeting, params: &str, start: fn(&str) -> Outcome<Tool>) -> Outcome<(Tool, Socket)> {
    if let Meeting::WeListen = role {
        let listener = Listener::bind("127.0.0.1:0", &live())?;
        let tool = start(&url(listener.local_addr(), "caller", params))?;
        Ok((tool, listener.accept()?.0))
    } else {
        let addr = free_addr("127.0.0.1")?;
        let tool = start(&url(addr, "listener", params))?;
        Ok((tool, Socket::connect(addr, &live())?))
    }
}

/// ffmpeg counts the latency in microseconds, where all others take milliseconds.
fn url(addr: SocketAddr, mode: &str, params: &str) -> String {
    format!("srt://{addr}?mode={mode}&latency={}&pkt_size=1316{params}", LATENCY.as_micros())
}

/// Receives until ffmpeg has left; every TS packet must be whole, and none missing.
fn check_publication(tool: Tool, socket: &Socket) -> Outcome {
    let mut buf = [0; message::BYTES];
    let mut packets = Vec::new();
    let end = loop {
        match socket.recv(&mut buf) {
            Ok(len) => packets.extend_from_slice(&buf[..len]),
            Err(end) => break end,
        }
    };
    assert!(matches!(end, RecvError::Disconnected), "{end:?}");
    let ended = tool.finish()?;
    assert!(ended.status.success(), "{}", ended.said);
    assert_eq!(packets.len() % TS_PACKET_BYTES, 0);
    let mut counters = vec![None; 1 << 13];
    for packet in packets.chunks(TS_PACKET_BYTES) {
        assert_eq!(packet[0], 0x47, "sync_byte, ISO/IEC 13818-1:2019 §2.4.3.2");
        let pid = usize::from(u16::from_be_bytes([packet[1] & 0x1f, packet[2]]));
        let has_payload = packet[3] & 0x10 != 0;
        let counter = packet[3] & 0x0f;
        if has_payload {
            let expected = counters[pid].replace(counter).map(|last: u8| (last + 1) & 0x0f);
            assert!(expected.is_none_or(|expected| expected == counter), "PID {pid}: a gap");
        }
    }
    // Two seconds of 320 by 180 take some hundred kilobytes.
    assert!(packets.len() > 50_000, "{} bytes", packets.len());
    Ok(())
}

/// What ffmpeg plays: a TS of its own making.
fn programme() -> Outcome<Vec<u8>> {
    let mut args = vec!["-nostdin", "-loglevel", "warning"];
    args.extend(SOURCE);
    args.extend(["-c:v", "mpeg2video", "-f", "mpegts", "-"]);
    let ended = Tool::start("ffmpeg", &args)?.finish()?;
    assert!(ended.status.success(), "{}", ended.said);
    Ok(ended.output)
}

/// Sends it within about two seconds, as a live source would.
fn send_at_pace(socket: &Socket, programme: &[u8]) -> Outcome {
    let messages = programme.len().div_ceil(message::BYTES);
    let spacing = Duration::from_secs(2) / u32::try_from(messages)?;
    let mut due: Instant = rt::now();
    for message in programme.chunks(message::BYTES) {
        socket.send(message)?;
        due += spacing;
        rt::sleep_until(due)?;
    }
    Ok(())
}

fn frames(ended: &Ended) -> usize {
    let lines = String::from_utf8_lossy(&ended.output);
    lines.lines().filter(|line| line.starts_with("0,")).count()
}

const TS_PACKET_BYTES: usize = 188;
const FINISH_LIMIT: Duration = Duration::from_secs(5);
