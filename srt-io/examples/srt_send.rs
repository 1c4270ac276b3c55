//! Sends a transport stream of null packets to an SRT listener at 2 Mbit/s for ten seconds.
//!
//! ```sh
//! cargo run -p thalweg-srt-io --example srt_recv &
//! cargo run -p thalweg-srt-io --example srt_send
//! ```
//!
//! Takes another address as its first argument, and a stream id as its second.

#![expect(clippy::print_stdout, reason = "an example reports to whoever runs it")]

use std::time::Duration;

use thalweg_runtime as rt;
use thalweg_srt_io::{self as srt, Options};

/// Seven transport packets, as every SRT sender puts into a message.
const MESSAGE_BYTES: usize = 7 * 188;
/// 2 Mbit/s.
const INTERVAL: Duration = Duration::from_micros(5264);

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:10080".to_owned());
    let stream_id = arguments.next().unwrap_or_else(|| "#!::r=live/test,m=publish".to_owned());
    rt::run(move || {
        let options = Options::live().stream_id(stream_id);
        let socket = srt::Socket::connect(address, &options)?;
        println!("connected");
        // A packet that carries nothing: PID 0x1fff (ISO/IEC 13818-1:2019 §2.4.3.3).
        let mut message = [0xff; MESSAGE_BYTES];
        for packet in message.chunks_exact_mut(188) {
            packet[..4].copy_from_slice(&[0x47, 0x1f, 0xff, 0x10]);
        }
        let (start, mut sent) = (rt::now(), 0_u32);
        while rt::now() - start < Duration::from_secs(10) {
            socket.send(&message)?;
            sent += 1;
            rt::sleep_until(start + INTERVAL * sent)?;
        }
        socket.finish(rt::now() + Duration::from_secs(5))?;
        println!("sent {sent} messages");
        Ok(())
    })
}
