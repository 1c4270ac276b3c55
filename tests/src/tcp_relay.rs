//! A relay of TCP that is as slow as it is told to be, and breaks connections when it is told to.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// Connections to it are made to its target. Its threads end with their connections, the one that accepts with the test.
#[derive(Debug)]
pub struct TcpRelay {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

/// Bytes that pass between two waits of a slow relay.
const STEP_BYTES: usize = 1_024;

impl TcpRelay {
    /// Relays to `target`; what comes back passes at `bytes_per_s`, if that is given.
    ///
    /// # Panics
    ///
    /// When the loopback has no port.
    #[must_use]
    pub fn start(target: SocketAddr, bytes_per_s: Option<u32>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has ports");
        let address = listener.local_addr().expect("it is bound");
        let connections = Arc::<Mutex<Vec<TcpStream>>>::default();
        let kept = Arc::clone(&connections);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // Who cannot be served sees its connection closed.
                let _failed = relay(near, target, bytes_per_s, &kept);
            }
        });
        Self { address, connections }
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Ends the connections that there are; how many.
    ///
    /// # Panics
    ///
    /// When a thread of it has.
    #[must_use]
    pub fn cut(&self) -> usize {
        let mut connections = self.connections.lock().expect("nobody panics with it");
        let cut = connections.drain(..).filter(|it| it.shutdown(Shutdown::Both).is_ok());
        cut.count()
    }
}

fn relay(
    near: TcpStream,
    target: SocketAddr,
    bytes_per_s: Option<u32>,
    kept: &Mutex<Vec<TcpStream>>,
) -> io::Result<()> {
    let far = TcpStream::connect(target)?;
    let ways = [(near.try_clone()?, far.try_clone()?, None), (far, near.try_clone()?, bytes_per_s)];
    kept.lock().expect("nobody panics with it").push(near);
    for (from, to, bytes_per_s) in ways {
        thread::spawn(move || {
            let _ended = pass(&from, &to, bytes_per_s);
            // The other way may have ended it.
            let _shut = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        });
    }
    Ok(())
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, bytes_per_s: Option<u32>) -> io::Result<()> {
    let mut bytes = vec![0; STEP_BYTES];
    loop {
        let len = from.read(&mut bytes)?;
        if len == 0 {
            return Ok(());
        }
        to.write_all(&bytes[..len])?;
        if let Some(rate) = bytes_per_s {
            let len = u32::try_from(len).expect("a step is short");
            thread::sleep(Duration::from_secs(1) * len / rate);
        }
    }
}
