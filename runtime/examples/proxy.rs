//! A TCP proxy: two coroutines a connection, one for each direction.
//!
//! `cargo run --release -p thalweg-runtime --example proxy` listens on port 7001 and passes what
//! comes on to port 7000, where the example `echo` listens; then `nc localhost 7001`. Both
//! addresses may be given as arguments.
#![expect(clippy::print_stderr, reason = "it tells what it does")]

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use thalweg_runtime::{self as rt, net::TcpListener, net::TcpStream};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let here = arguments.next().unwrap_or_else(|| "127.0.0.1:7001".to_owned());
    let there = arguments.next().unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    rt::run(move || {
        let listener = TcpListener::bind(&here)?;
        eprintln!("proxy: {} -> {there}", listener.local_addr()?);
        loop {
            let (client, peer) = listener.accept()?;
            let there = there.clone();
            rt::spawn(move || match serve(&client, &there) {
                Ok((up, down)) => eprintln!("proxy: {peer}: {up} bytes there, {down} back"),
                Err(error) => eprintln!("proxy: {peer}: {error}"),
            });
        }
    })
}

/// Connects `client` through; the result is how many bytes went there and back.
fn serve(client: &TcpStream, there: &str) -> io::Result<(u64, u64)> {
    let server = rt::timeout(Duration::from_secs(5), || TcpStream::connect(there))?;
    rt::scope(|scope| {
        let up = scope.spawn(|| pass_on(client, &server));
        let down = pass_on(&server, client);
        Ok((up.join()??, down?))
    })
}

/// Copies until the end of the stream, and passes that on, too. The other direction goes on, unless
/// this one failed.
fn pass_on(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<u64> {
    let copied = io::copy(&mut from, &mut to);
    if copied.is_ok() {
        to.shutdown(Shutdown::Write)?;
    } else {
        from.close()?;
        to.close()?;
    }
    copied
}
