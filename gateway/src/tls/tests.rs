//! TLS over loopback: both directions at once, certificates that change, and peers that speak something else.

#![expect(clippy::disallowed_methods, reason = "the tests' own few files")]

use std::env;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use thalweg_runtime::net::{TcpListener, TcpStream};
use thalweg_runtime::{self as rt};

use super::*;

/// A folder with certificates, which goes with this.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("thalweg-tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn pair(&self, name: &str) -> Pair {
        let path = |end: &str| self.0.join(format!("{name}.{end}"));
        Pair { certificate: path("pem"), key: path("key") }
    }

    /// Writes a certificate for `host` that is valid until the end of a year, and its key.
    fn write(&self, name: &str, host: &str, until: i32) -> Pair {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().unwrap();
        let pair = self.pair(name);
        fs::write(&pair.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn certificate_in(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(&fs::read(path).unwrap()).unwrap()
}

/// A client that trusts these certificates only.
fn client(trusted: &[CertificateDer<'static>], protocols: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn connect(listener: &TcpListener, config: &Arc<ClientConfig>, name: &str) -> io::Result<Stream> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    Stream::open(TcpStream::connect(listener.local_addr()?)?, Box::new(session.into()))
}

/// Runs `server` on an accepted connection and `client` on the other end of it.
fn pair_up(
    acceptor: Acceptor,
    server: impl FnOnce(io::Result<Stream>) + 'static,
    client: impl FnOnce(&TcpListener) + 'static,
) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = listener.clone();
    let handle = rt::spawn(move || {
        let (socket, _) = ours.accept().unwrap();
        server(rt::timeout(Duration::from_secs(10), || acceptor.accept(socket)));
    });
    client(&listener);
    handle.join().unwrap();
}

fn run(f: impl FnOnce() + 'static) {
    rt::run(|| -> io::Result<()> {
        rt::timeout(Duration::from_secs(60), || {
            f();
            Ok(())
        })
    })
    .unwrap();
}

/// Far more than all buffers on the way hold.
const MUCH: usize = 8 << 20;

/// Bytes by which a loss, a repetition or a swap shows.
fn pattern(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Sends and receives at the same time, on two coroutines.
fn exchange(stream: &Stream, sends: u32, expects: u32) {
    rt::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut to = stream;
            to.write_all(&pattern(sends, MUCH)).unwrap();
            stream.finish().unwrap();
        });
        let mut got = Vec::new();
        let mut from = stream;
        from.read_to_end(&mut got).unwrap();
        writer.join().unwrap();
        assert!(got == pattern(expects, MUCH), "what came is not what was sent");
    });
}

#[test]
fn both_directions_run_at_once() {
    let folder = Folder::new();
    let pair = folder.write("a", "localhost", 2090);
    run(move || {
        let trusted = client(&[certificate_in(&pair.certificate)], &[]);
        let certificates = Certificates::load(Source::Files(vec![pair])).unwrap();
        // Each writes more than fits on the way before it would read: with one lock around both it would stall.
        pair_up(
            certificates.acceptor(Protocol::Unnamed),
            |stream| exchange(&stream.unwrap(), 1, 2),
            move |listener| exchange(&connect(listener, &trusted, "localhost").unwrap(), 2, 1),
        );
        drop(folder);
    });
}

#[test]
fn what_a_deadline_interrupts_is_neither_lost_nor_sent_twice() {
    let folder = Folder::new();
    let pair = folder.write("a", "localhost", 2090);
    run(move || {
        let trusted = client(&[certificate_in(&pair.certificate)], &[]);
        let certificates = Certificates::load(Source::Files(vec![pair])).unwrap();
        let (began, begin) = rt::sync::channel::bounded(1);
        pair_up(
            certificates.acceptor(Protocol::Unnamed),
            move |stream| {
                let stream = stream.unwrap();
                let whole = pattern(3, MUCH);
                let (mut to, mut sent, mut interrupted) = (&stream, 0, 0);
                while sent < whole.len() {
                    // Nobody reads until a deadline has passed.
                    let wrote = rt::timeout(Duration::from_millis(20), || to.write(&whole[sent..]));
                    match wrote {
                        Ok(count) => sent += count,
                        Err(error) => {
                            assert!(rt::timed_out(&error).is_some(), "{error}");
                            interrupted += 1;
                            let _reads = began.try_send(());
                        }
                    }
                }
                assert!(interrupted > 0);
                stream.finish().unwrap();
            },
            move |listener| {
                let mut stream = connect(listener, &trusted, "localhost").unwrap();
                begin.recv().unwrap();
                let mut got = Vec::new();
                stream.read_to_end(&mut got).unwrap();
                assert!(got == pattern(3, MUCH), "what came is not what was sent");
            },
        );
        drop(folder);
    });
}

/// Which certificate a client of this name is shown: trust is what tells.
fn is_shown(
    certificates: &Certificates,
    certificate: &CertificateDer<'static>,
    name: &str,
) -> bool {
    let config = client(std::slice::from_ref(certificate), &[]);
    let (answer, is_trusted) = rt::sync::channel::bounded(1);
    let name = name.to_owned();
    pair_up(certificates.acceptor(Protocol::Http), drop, move |listener| {
        answer.send(connect(listener, &config, &name).is_ok()).unwrap();
    });
    is_trusted.recv().unwrap()
}

#[test]
fn a_client_gets_the_certificate_for_the_name_it_asks_for() {
    let folder = Folder::new();
    let pairs = [
        folder.write("a", "a.example", 2090),
        folder.write("b", "b.example", 2090),
        folder.write("c", "*.c.example", 2090),
    ];
    run(move || {
        let [a, b, c] = pairs.clone().map(|pair| certificate_in(&pair.certificate));
        let certificates = Certificates::load(Source::Files(pairs.to_vec())).unwrap();
        assert!(is_shown(&certificates, &a, "a.example"));
        assert!(is_shown(&certificates, &b, "b.example"));
        assert!(is_shown(&certificates, &c, "eu.c.example"));
        assert!(!is_shown(&certificates, &b, "a.example"));
        drop(folder);
    });
}

#[test]
fn a_pair_that_fits_replaces_the_old_one_and_no_other_does() {
    let folder = Folder::new();
    let pair = folder.write("live", "localhost", 2090);
    run(move || {
        let old = certificate_in(&pair.certificate);
        let certificates = Certificates::load(Source::Files(vec![pair.clone()])).unwrap();
        assert_eq!(certificates.reload().unwrap(), Swapped::Same);

        // A certificate whose key has not come yet.
        let next = folder.write("next", "localhost", 2091);
        fs::copy(&next.certificate, &pair.certificate).unwrap();
        let error = certificates.reload().unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, CertificateError::Mismatch(_)), "{text}");
        assert!(text.contains("live.key does not match the certificate in"), "{text}");
        assert!(is_shown(&certificates, &old, "localhost"));

        fs::copy(&next.key, &pair.key).unwrap();
        assert_eq!(certificates.reload().unwrap(), Swapped::New);
        let new = certificate_in(&next.certificate);
        assert!(is_shown(&certificates, &new, "localhost"));

        folder.write("live", "localhost", 2021);
        let text = certificates.reload().unwrap_err().to_string();
        assert!(text.contains("has expired at 2021-12-31T00:00:00Z"), "{text}");
        fs::write(&pair.certificate, "no PEM").unwrap();
        let text = certificates.reload().unwrap_err().to_string();
        assert!(text.contains("live.pem: there is not a certificate in it"), "{text}");
        fs::remove_file(&pair.certificate).unwrap();
        let text = certificates.reload().unwrap_err().to_string();
        assert!(text.contains("cannot read") && text.contains("live.pem"), "{text}");
        assert!(is_shown(&certificates, &new, "localhost"));
        drop(folder);
    });
}

#[test]
fn files_that_change_are_read_without_being_asked_to() {
    let folder = Folder::new();
    let pair = folder.write("live", "localhost", 2090);
    run(move || {
        let certificates = Certificates::load(Source::Files(vec![pair.clone()])).unwrap();
        let keeper = certificates.clone();
        let keeping = rt::spawn(move || keeper.keep());
        // The watch begins at some time; what changes before is not seen by it.
        let mut year = 2091;
        let is_changed = || {
            let (_, validity) = certificates.validities().remove(0);
            validity.not_after.to_string().as_str() > "2091"
        };
        while !is_changed() {
            let next = folder.write("next", "localhost", year);
            year += 1;
            // As certbot does it: the names stay, what they mean changes.
            fs::rename(&next.certificate, &pair.certificate).unwrap();
            fs::rename(&next.key, &pair.key).unwrap();
            for _ in 0..100 {
                if !is_changed() {
                    rt::sleep(Duration::from_millis(20)).unwrap();
                }
            }
        }
        keeping.cancel();
        assert!(rt::is_cancelled(&keeping.join().unwrap().unwrap_err()));
        drop(folder);
    });
}

#[test]
fn an_end_that_comes_near_is_told() {
    let folder = Folder::new();
    let pair = folder.write("live", "localhost", 2090);
    run(move || {
        let certificates = Certificates::load(Source::Files(vec![pair])).unwrap();
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let (notices, until) = certificates.notices(at("2090-12-01T00:00:00Z"));
        assert!(notices.is_empty());
        assert_eq!(until, Some(SignedDuration::from_secs(9 * 24 * 3600 + 1)));
        let (notices, until) = certificates.notices(at("2090-12-30T00:00:00Z"));
        assert!(matches!(&*notices, [Notice { is_over: false, .. }]), "{notices:?}");
        assert_eq!(until, Some(SignedDuration::from_secs(24 * 3600 + 1)));
        let (notices, until) = certificates.notices(at("2091-01-01T00:00:00Z"));
        assert!(matches!(&*notices, [Notice { is_over: true, .. }]), "{notices:?}");
        assert_eq!(until, None);
        drop(folder);
    });
}

#[test]
fn one_of_our_own_names_what_it_was_asked_for() {
    run(|| {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificates = Certificates::load(Source::SelfSigned(names)).unwrap();
        let acceptor = certificates.acceptor(Protocol::Http);
        let shown = {
            let current = certificates.validities();
            assert!(current[0].1.not_after > Timestamp::now());
            certificates.presented()
        };
        let config = client(&shown, &["h2", "http/1.1"]);
        for name in ["localhost", "127.0.0.1"] {
            let config = Arc::clone(&config);
            pair_up(acceptor.clone(), drop, move |listener| {
                let stream = connect(listener, &config, name).unwrap();
                assert_eq!(stream.agreed().1.as_deref(), Some(&b"http/1.1"[..]));
            });
        }
        assert_eq!(certificates.reload().unwrap(), Swapped::Same);
    });
}

#[test]
fn a_peer_that_speaks_something_else_is_told_so() {
    run(|| {
        let certificates =
            Certificates::load(Source::SelfSigned(vec!["localhost".into()])).unwrap();
        let plain = |stream: io::Result<Stream>| {
            let error = stream.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        };
        pair_up(certificates.acceptor(Protocol::Http), plain, |listener| {
            let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            socket.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            let _reset = socket.read_to_end(&mut answer);
            // A fatal alert of TLS.
            assert_eq!(answer.first(), Some(&0x15), "{answer:x?}");
        });
        let gone = |stream: io::Result<Stream>| {
            assert_eq!(stream.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        };
        pair_up(certificates.acceptor(Protocol::Http), gone, |listener| {
            drop(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        });
    });
}

#[test]
fn whoever_looks_sees_the_peer_speak_and_leave() {
    run(|| {
        let certificates =
            Certificates::load(Source::SelfSigned(vec!["localhost".into()])).unwrap();
        let config = client(&certificates.presented(), &[]);
        let (said, says) = rt::sync::channel::bounded(1);
        pair_up(
            certificates.acceptor(Protocol::Http),
            move |stream| {
                let mut stream = stream.unwrap();
                assert_eq!(stream.look(), Heard::Nothing);
                said.send(()).unwrap();
                let wait = |stream: &Stream| loop {
                    stream.net_fd().readable().unwrap();
                    match stream.look() {
                        Heard::Nothing => {}
                        heard => break heard,
                    }
                };
                assert_eq!(wait(&stream), Heard::Data);
                // It is still there.
                let mut word = [0; 5];
                stream.read_exact(&mut word).unwrap();
                assert_eq!(&word, b"hello");
                assert_eq!(wait(&stream), Heard::End);
            },
            move |listener| {
                let mut stream = connect(listener, &config, "localhost").unwrap();
                says.recv().unwrap();
                stream.write_all(b"hello").unwrap();
                rt::sleep(Duration::from_millis(20)).unwrap();
                stream.finish().unwrap();
                let _end = stream.read(&mut [0; 16]);
            },
        );
    });
}
