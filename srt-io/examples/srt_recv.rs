//! Receives every SRT stream that somebody sends and prints how much came, once a second.
//!
//! ```sh
//! cargo run -p thalweg-srt-io --example srt_recv
//! ffmpeg -re -f lavfi -i testsrc2 -c:v libx264 -f mpegts 'srt://127.0.0.1:10080?streamid=live/test'
//! ```
//!
//! Takes another address as its argument.

#![expect(clippy::print_stdout, reason = "an example reports to whoever runs it")]

use std::time::Duration;

use thalweg_runtime as rt;
use thalweg_srt_io::{self as srt, OptionName, Options};

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:10080".to_owned());
    rt::run(move || {
        let options = Options::live().latency(Duration::from_millis(120));
        let listener = srt::Listener::bind(address, &options)?;
        println!("listening on {}", listener.local_addr());
        loop {
            let (socket, peer) = listener.accept()?;
            let stream = socket.option(OptionName::StreamId).map(|value| value.to_string());
            println!("{peer} sends {}", stream.unwrap_or_default());
            rt::spawn(move || {
                let end = receive(&socket);
                println!("{peer}: {end}");
            });
        }
    })
}

/// Receives until the connection ends; the result is why.
fn receive(socket: &srt::Socket) -> srt::RecvError {
    let mut buf = [0; 1500];
    let (mut messages, mut bytes, mut next) = (0_u64, 0_u64, rt::now());
    loop {
        match socket.recv(&mut buf) {
            Ok(length) => {
                messages += 1;
                bytes += length as u64;
            }
            Err(error) => {
                println!("{messages} messages, {bytes} bytes");
                return error;
            }
        }
        if rt::now() >= next {
            println!("{messages} messages, {bytes} bytes");
            next = rt::now() + Duration::from_secs(1);
        }
    }
}
