//! The echo server: one connection is one straight-line function.
//!
//! `cargo run --release -p thalweg-runtime --example echo`, then `nc localhost 7000`. The address
//! may be given as an argument.
#![expect(clippy::print_stderr, reason = "it tells where it listens")]

use std::io::{Read, Write};
use thalweg_runtime::{self as rt, net::TcpListener};

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    rt::run(move || {
        let listener = TcpListener::bind(&address)?;
        let address = listener.local_addr()?;
        eprintln!("echo: listening on {address}; try: nc {} {}", address.ip(), address.port());
        loop {
            let (mut conn, _peer) = listener.accept()?; // suspends this coroutine only
            rt::spawn(move || {
                let mut buf = [0; 4096];
                while let Ok(n @ 1..) = conn.read(&mut buf) {
                    if conn.write_all(&buf[..n]).is_err() {
                        break;
                    }
                }
            });
        }
    })
}
