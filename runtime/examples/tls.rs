//! HTTPS in one process: rustls and httparse on our `TcpStream`, without a line of glue.
//!
//! `cargo run --release -p thalweg-runtime --example tls` ends by itself. The server makes its own
//! certificate at start, which the client trusts; both are coroutines of one runtime.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it shows what happens")]

use std::error::Error;
use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use thalweg_runtime::{self as rt, net::TcpListener, net::TcpStream};

fn main() -> Result<(), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())?;
    rt::run(move || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server = Arc::new(server);
        rt::spawn(move || -> io::Result<()> {
            loop {
                let (conn, peer) = listener.accept()?;
                let config = Arc::clone(&server);
                rt::spawn(move || {
                    if let Err(error) = serve(conn, config) {
                        eprintln!("tls: {peer}: {error}");
                    }
                });
            }
        });
        print!("{}", fetch(TcpStream::connect(address)?, certificate)?);
        Ok(())
    })
}

/// Answers one request.
#[expect(clippy::large_stack_frames, reason = "a session passes through it by value")]
fn serve(conn: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    let session = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut tls = Box::new(StreamOwned::new(session, conn));
    let path = read_request(&mut tls)?;
    // The handshake went deep into the stack; a connection that stays would give that back.
    rt::trim_stack()?;
    let body = format!("You asked for {path}.\n");
    let length = body.len();
    write!(tls, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
    tls.conn.send_close_notify();
    tls.flush()
}

/// Reads the head of a request; the result is the path that it asks for.
fn read_request(stream: &mut impl Read) -> io::Result<String> {
    const LONGEST: usize = 8192;
    let mut head = Vec::new();
    while head.len() < LONGEST {
        let mut buf = [0; 1024];
        let count = stream.read(&mut buf)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&buf[..count]);
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        if request.parse(&head).map_err(io::Error::other)?.is_complete() {
            return Ok(request.path.unwrap_or("/").to_owned());
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the request's head is too long"))
}

/// Asks for a page; the result is the whole answer.
#[expect(clippy::large_stack_frames, reason = "a session passes through it by value")]
fn fetch(conn: TcpStream, certificate: CertificateDer<'static>) -> Result<String, Box<dyn Error>> {
    let config = Arc::new(trusting(certificate)?);
    let session = ClientConnection::new(config, "localhost".try_into()?)?;
    let mut tls = Box::new(StreamOwned::new(session, conn));
    tls.write_all(b"GET /coroutines HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    tls.read_to_string(&mut answer)?;
    Ok(answer)
}

/// What a client needs that trusts only `certificate`.
fn trusting(certificate: CertificateDer<'static>) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}
