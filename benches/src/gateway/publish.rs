//! The encoders, in a process of their own: any number of them send the clip in real time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use super::clip::{self, Clip, Footage, PACKET_BYTES, Unit};
use super::{LATENCY_MS, rtmp};
use crate::child::{argument, write_port};
use crate::srt::raw;
use crate::sys;

/// One encoder.
pub(super) enum Encoder {
    Srt(raw::Socket),
    Udp(UdpSocket),
    Rtmp(rtmp::Publisher),
}

impl Encoder {
    /// Connects as the publisher of `live/cam<index>`. `local_port` is shared by SRT's, with which libsrt needs
    /// one pair of threads for all; 0 at first.
    pub(super) fn connect(
        ingest: &str,
        port: u16,
        index: usize,
        local_port: &mut u16,
    ) -> Result<Self, Box<dyn Error>> {
        Ok(match ingest {
            "srt" => {
                let socket = raw::Socket::new(LATENCY_MS)?;
                socket.set_stream_id(&format!("#!::r=live/cam{index},m=publish"))?;
                socket.bind(*local_port)?;
                *local_port = socket.port()?;
                socket.connect(port)?;
                Self::Srt(socket)
            }
            "udp" => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
                socket.connect((Ipv4Addr::LOCALHOST, port))?;
                Self::Udp(socket)
            }
            "rtmp" => Self::Rtmp(rtmp::Publisher::connect(port, &format!("cam{index}"))?),
            _ => return Err(format!("no way in is called {ingest:?}").into()),
        })
    }

    /// Sends a unit; `before_last` is called before that with which it is complete.
    pub(super) fn send(&mut self, unit: &Unit, before_last: impl FnOnce()) -> io::Result<()> {
        let messages = unit.bytes.chunks(MESSAGE_BYTES);
        let mut left = messages.len();
        let mut before_last = Some(before_last);
        let mut count_down = || {
            left -= 1;
            if left == 0 {
                before_last.take().into_iter().for_each(|before_last| before_last());
            }
        };
        match self {
            Self::Srt(socket) => {
                for message in messages {
                    count_down();
                    socket.send(message)?;
                }
            }
            Self::Udp(socket) => {
                for message in messages {
                    count_down();
                    socket.send(message)?;
                }
            }
            Self::Rtmp(publisher) => {
                before_last.take().into_iter().for_each(|before_last| before_last());
                publisher.send(unit)?;
            }
        }
        Ok(())
    }
}

/// The units that an encoder of this kind sends.
pub(super) fn units(ingest: &str, footage: Footage) -> Result<Vec<Unit>, Box<dyn Error>> {
    let clip = Clip::prepare(footage)?;
    Ok(if ingest == "rtmp" { clip::flv_units(&clip.flv())? } else { clip::ts_units(&clip.ts())? })
}

/// Runs `gateway-publish <ingest> <port> <encoders> <clip> [<first>]` until the clip ends: they publish `live/cam<first>` and
/// on. Their keyframes are spread evenly.
pub(super) fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let ingest: String = argument(args, 0)?;
    let (port, count) = (argument(args, 1)?, argument::<usize>(args, 2)?);
    let first_name: usize = args.get(4).map_or(Ok(0), |_given| argument(args, 4))?;
    sys::end_after(super::CHILD_LIMIT);
    let units = units(&ingest, argument(args, 3)?)?;
    let mut local_port = 0;
    let mut encoders = (0..count)
        .map(|index| Encoder::connect(&ingest, port, first_name + index, &mut local_port))
        .collect::<Result<Vec<_>, _>>()?;
    write_port(0);
    let begin = Instant::now();
    let step = GOP / u32::try_from(count)?;
    // When the next unit of which encoder is due, and which it is.
    let mut queue = BinaryHeap::new();
    let mut first = begin;
    for index in 0..count {
        queue.push(Reverse((first, index, 0)));
        first += step;
    }
    while let Some(Reverse((due, index, at))) = queue.pop() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        encoders[index].send(&units[at], || {})?;
        if let Some(next) = units.get(at + 1) {
            queue.push(Reverse((due + (next.at - units[at].at), index, at + 1)));
        }
    }
    Ok(())
}

/// Of the clip.
const GOP: Duration = Duration::from_secs(2);
pub(super) const MESSAGE_BYTES: usize = 7 * PACKET_BYTES;
