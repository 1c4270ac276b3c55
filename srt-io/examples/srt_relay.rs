//! Takes SRT streams on one port and passes each on to another listener.
//!
//! ```sh
//! cargo run -p thalweg-srt-io --example srt_recv -- 127.0.0.1:10090 &
//! cargo run -p thalweg-srt-io --example srt_relay
//! ffmpeg -re -f lavfi -i testsrc2 -c:v libx264 -f mpegts 'srt://127.0.0.1:10080?streamid=live/test'
//! ```
//!
//! Takes the address to listen on and the address to call as its arguments.

#![expect(clippy::print_stdout, reason = "an example reports to whoever runs it")]

use std::time::Duration;

use thalweg_runtime as rt;
use thalweg_srt_io::{self as srt, Batch, Options, RecvError};

/// The largest message of live mode, in bytes. Some senders fill it, though 1316 is the default.
const LARGEST: usize = 1456;

fn options() -> Options {
    Options::live().payload_size(LARGEST as u32)
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let input = arguments.next().unwrap_or_else(|| "127.0.0.1:10080".to_owned());
    let output = arguments.next().unwrap_or_else(|| "127.0.0.1:10090".to_owned());
    rt::run(move || {
        let listener = srt::Listener::bind(input, &options())?;
        println!("from {} to {output}", listener.local_addr());
        loop {
            let (from, peer) = listener.accept()?;
            let output = output.clone();
            rt::spawn(move || match relay(&from, &output) {
                Ok(messages) => println!("{peer}: passed {messages} messages on"),
                Err(error) => println!("{peer}: {error}"),
            });
        }
    })
}

/// Passes on what comes from `from` until it ends; the result is how many messages that were.
fn relay(from: &srt::Socket, output: &str) -> std::io::Result<u64> {
    let to = srt::Socket::connect(output, &options().stream_id(from.stream_id_text()))?;
    let (mut batch, mut messages) = (Batch::new(32, LARGEST), 0);
    loop {
        match from.recv_batch(&mut batch) {
            Ok(_) => {}
            Err(RecvError::Disconnected) => break,
            Err(error) => return Err(error.into()),
        }
        for message in batch.iter() {
            to.send(message)?;
            messages += 1;
        }
    }
    to.finish(rt::now() + Duration::from_secs(5)).map_err(std::io::Error::from)?;
    Ok(messages)
}
