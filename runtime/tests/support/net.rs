//! What the tests with real sockets share.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;
use std::time::Duration;

use thalweg_runtime::net::{TcpListener, TcpStream};
use thalweg_runtime::{self as rt, Unparker};

use super::child;

/// Runs `test` on a runtime of its own. One that hangs fails.
pub(crate) fn run(test: impl FnOnce() -> io::Result<()> + 'static) {
    const LIMIT: Duration = Duration::from_secs(60);
    rt::run(|| rt::timeout(LIMIT, test)).expect("the test runs to its end in time");
}

/// Runs `body` in a process of its own, where the test `name` is alone.
pub(crate) fn run_alone(name: &str, body: impl FnOnce()) {
    if child::is_child(name) {
        body();
    } else {
        child::run(name, &[]).assert_success();
    }
}

/// Runs `f` on another thread while only the calling coroutine waits.
pub(crate) fn elsewhere<T: Send + 'static>(
    f: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let unparker = Unparker::for_current().expect("a coroutine waits for other threads");
    let (result, results) = channel();
    thread::spawn(move || {
        result.send(f()).expect("the coroutine waits for the result");
        unparker.unpark();
    });
    loop {
        match results.try_recv() {
            Ok(result) => return Ok(result),
            Err(TryRecvError::Empty) => rt::park()?,
            Err(TryRecvError::Disconnected) => panic!("the other thread panicked"),
        }
    }
}

/// The two ends of a TCP connection over the loopback.
pub(crate) fn tcp_pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    Ok((near, far))
}

/// How many descriptors the process has open.
pub(crate) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

/// A path for a socket, which is removed at the end.
pub(crate) struct SocketPath(PathBuf);

impl SocketPath {
    pub(crate) fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("thalweg-{}-{name}", std::process::id())))
    }
}

impl AsRef<Path> for SocketPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _was_not_made = std::fs::remove_file(&self.0);
    }
}
