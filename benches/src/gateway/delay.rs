//! An encoder and a player in one process, so that one clock tells how long a picture took.
//!
//! A picture is known by its last bytes, which are the same in every container. By RTMP it arrives at the gateway when the
//! encoder begins to write its message. By SRT, libsrt holds messages back by design; a picture arrives when libsrt hands
//! its last message to a reader, and when that is, a blocking reader tells that gets the same messages over a connection
//! of the same kind (the reference). At the player a picture arrives with its last byte; by SRT, when its last message is
//! due, without the latency of that connection.
//!
//! Where the player or the reference had to wait for a core, the time of its picture says nothing about the gateway: it is
//! dropped, and a note says how many were.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::clip::{End, Footage, Unit};
use super::ends::{Form, Packets};
use super::publish::{Encoder, MESSAGE_BYTES, units};
use super::{LATENCY_MS, sink, webrtc};
use crate::child::{argument, write_note, write_samples};
use crate::measure::{LATE_P50, LATE_P99, Sample};
use crate::process::Starvation;
use crate::srt::raw;
use crate::sys;

/// Runs `gateway-delay <ingest> <port> <output> <port> <first ms> <last ms>`: measures what is sent between these.
pub(super) fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let ingest: String = argument(args, 0)?;
    let output: String = argument(args, 2)?;
    let (in_port, out_port) = (argument(args, 1)?, argument(args, 3)?);
    let [first, last] = [argument(args, 4)?, argument(args, 5)?].map(Duration::from_millis);
    sys::end_after(super::CHILD_LIMIT);
    let footage = if output == "webrtc" { Footage::InOrder } else { Footage::Usual };
    let units = units(&ingest, footage)?;
    let mut encoder = Encoder::connect(&ingest, in_port, 0, &mut 0)?;
    let (arrivals, arrived) = mpsc::channel();
    thread::spawn(move || {
        // The stream is there first.
        thread::sleep(JOIN_AFTER);
        let over = watch(&output, out_port, |end, at| {
            let _nobody = arrivals.send((end, at));
        });
        if let Err(error) = over {
            write_note(&format!("the player ended: {error}"));
        }
    });
    let mut reference = (ingest == "srt").then(Reference::connect).transpose()?;
    let begin = Instant::now();
    let mut sent = Vec::new();
    for unit in units.iter().take_while(|unit| unit.at < last) {
        thread::sleep((begin + unit.at).saturating_duration_since(Instant::now()));
        if let Some(reference) = &mut reference {
            reference.send(unit)?;
        }
        let mut sent_us = 0;
        encoder.send(unit, || sent_us = raw::now_us())?;
        let arrival = match &reference {
            Some(reference) => Arrival::AtReference(reference.messages - 1),
            None => Arrival::At(sent_us),
        };
        sent.extend(unit.end.filter(|_end| unit.at >= first).map(|end| (end, arrival)));
    }
    thread::sleep(TAIL);
    let at_reference = reference.map(Reference::finish).transpose()?.unwrap_or_default();
    let sent = sent.into_iter().map(|(end, arrival)| {
        let at = match arrival {
            Arrival::At(us) => Seen { us, is_starved: false },
            Arrival::AtReference(message) => at_reference[message],
        };
        (end, at)
    });
    let sent: Vec<(End, Seen)> = sent.collect();
    // Later ones are the same picture again: a parameter of a container may follow it.
    let mut seen = HashMap::new();
    for (end, at) in arrived.try_iter() {
        seen.entry(end).or_insert(at);
    }
    report(&sent, &seen)?;
    io::stdout().flush()?;
    // A thread still reads by libsrt, whose destructors would pull away what it and libsrt's own threads use.
    sys::end_at_once()
}

/// When a picture arrived at the gateway.
enum Arrival {
    At(i64),
    /// With the message of this number.
    AtReference(usize),
}

/// When something was there.
#[derive(Clone, Copy)]
struct Seen {
    us: i64,
    /// Who saw it had waited for a core before.
    is_starved: bool,
}

/// A connection beside that to the gateway, with a blocking reader at its other end.
struct Reference {
    encoder: Encoder,
    messages: usize,
    arrived: mpsc::Receiver<Seen>,
}

impl Reference {
    fn connect() -> Result<Self, Box<dyn Error>> {
        let listener = raw::Socket::listen(LATENCY_MS, 1)?;
        let port = listener.port()?;
        let (arrivals, arrived) = mpsc::channel();
        thread::spawn(move || -> io::Result<()> {
            let socket = listener.accept()?;
            let mut buf = [0; 1456];
            let mut starvation = Starvation::begin()?;
            while socket.recv(&mut buf)?.is_some() {
                let us = raw::now_us();
                let is_starved = starvation.since_last()? > STARVED;
                if arrivals.send(Seen { us, is_starved }).is_err() {
                    break;
                }
            }
            Ok(())
        });
        let encoder = Encoder::connect("srt", port, 0, &mut 0)?;
        Ok(Self { encoder, messages: 0, arrived })
    }

    fn send(&mut self, unit: &Unit) -> io::Result<()> {
        self.messages += unit.bytes.chunks(MESSAGE_BYTES).len();
        self.encoder.send(unit, || {})
    }

    /// When each message arrived, if none was lost.
    fn finish(self) -> Result<Vec<Seen>, Box<dyn Error>> {
        let arrived: Vec<Seen> = self.arrived.try_iter().collect();
        if arrived.len() != self.messages {
            let (count, messages) = (arrived.len(), self.messages);
            return Err(format!("the reference got {count} of {messages} messages").into());
        }
        Ok(arrived)
    }
}

fn report(sent: &[(End, Seen)], seen: &HashMap<End, Seen>) -> Result<(), Box<dyn Error>> {
    let both: Vec<_> = sent.iter().filter_map(|(end, from)| Some((from, seen.get(end)?))).collect();
    let fed = both.iter().filter(|(from, to)| !from.is_starved && !to.is_starved);
    let mut took_us: Vec<i64> = fed.map(|(from, to)| to.us - from.us).collect();
    took_us.sort_unstable();
    let (missing, starved) = (sent.len() - both.len(), both.len() - took_us.len());
    if starved > 0 {
        let all = both.len();
        write_note(&format!(
            "{starved} of {all} pictures dropped: who timed them waited for a core"
        ));
    }
    if missing > 0 {
        write_note(&format!("{missing} of {} pictures never came", sent.len()));
    }
    let most = took_us.len().checked_sub(1).ok_or("no picture came in time to be counted")?;
    let samples = [(LATE_P50, 50), (LATE_P99, 99)].map(|(unit, per_cent)| {
        let value = took_us[most * per_cent / 100] as f64;
        Sample { unit, value }
    });
    write_samples(&samples);
    Ok(())
}

/// Plays, and calls `arrived` with the end of whatever may be a picture and when it was there.
fn watch(
    output: &str,
    port: u16,
    mut arrived: impl FnMut(End, Seen),
) -> Result<(), Box<dyn Error>> {
    if output == "webrtc" {
        return watch_webrtc(port, arrived);
    }
    let mut buf = vec![0; 1 << 20];
    if output == "srt" {
        let socket = sink::request_srt(port, "cam0", &mut 0)?;
        let mut packets = Packets::default();
        loop {
            let (count, due_us) = socket.recv_message(&mut buf[..1456])?;
            let sent_us = due_us - i64::from(LATENCY_MS) * 1000;
            // libsrt says when it was due, whenever we come to read it.
            let at = Seen { us: sent_us, is_starved: false };
            packets.push(&buf[..count], &mut |end| arrived(end, at));
        }
    }
    // Without the chunks of HTTP/1.1.
    let mut stream = sink::request(output, port, "cam0", "HTTP/1.0")?;
    let mut form = Form::of(output);
    let mut bytes = Vec::new();
    let mut in_head = true;
    let mut starvation = Starvation::begin()?;
    loop {
        let count = stream.read(&mut buf)?;
        let us = raw::now_us();
        let at = Seen { us, is_starved: starvation.since_last()? > STARVED };
        if count == 0 {
            return Ok(());
        }
        bytes.extend(&buf[..count]);
        if in_head {
            let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            bytes.drain(..at + 4);
            in_head = false;
        }
        form.take(&mut bytes, &mut |end| arrived(end, at));
    }
}

/// By WebRTC a picture arrives when its last packet has been decrypted.
fn watch_webrtc(port: u16, mut arrived: impl FnMut(End, Seen)) -> Result<(), Box<dyn Error>> {
    let mut starvation = Starvation::begin()?;
    webrtc::watch(port, |end| {
        let us = raw::now_us();
        let is_starved = starvation.since_last().is_ok_and(|waited| waited > STARVED);
        arrived(end, Seen { us, is_starved });
    })
}

const JOIN_AFTER: Duration = Duration::from_millis(300);
/// Who waited longer for a core since the last thing it timed has timed that, not the gateway.
const STARVED: Duration = Duration::from_micros(300);
/// For what is under way when the last picture has been sent.
const TAIL: Duration = Duration::from_millis(500);
