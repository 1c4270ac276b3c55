//! A gateway of the test's own: the real program as a child process, on ports that the system chose.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

/// A running `thalweg serve`. Dropping it kills it.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    /// Where it listens.
    pub srt: SocketAddr,
    /// Where it listens.
    pub rtmp: SocketAddr,
    /// Where it listens.
    pub http: SocketAddr,
    /// What it printed when it had started.
    pub announced: String,
    log: PathBuf,
}

/// How long the gateway may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);

impl Gateway {
    /// Starts the program with these settings besides its addresses, each as after `--set`.
    ///
    /// # Panics
    ///
    /// When the program is not built, or does not start.
    #[must_use]
    pub fn start(settings: &[&str]) -> Self {
        let log = test_file("log");
        let file = fs::File::create(&log).expect("the folder of test files can be written");
        Self::start_with(&mut thalweg(settings), log, file.into())
    }

    /// As [`Gateway::start`], with a standard error output that is a pipe which nobody reads.
    ///
    /// # Panics
    ///
    /// When the program is not built, or does not start.
    #[must_use]
    pub fn start_unread(settings: &[&str]) -> Self {
        Self::start_with(&mut thalweg(settings), test_file("log"), Stdio::piped())
    }

    /// As [`Gateway::start`], with a command that was made by [`thalweg`] and has more in it.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start_by(command: &mut Command) -> Self {
        let log = test_file("log");
        let file = fs::File::create(&log).expect("the folder of test files can be written");
        Self::start_with(command, log, file.into())
    }

    fn start_with(command: &mut Command, log: PathBuf, errors: Stdio) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("the program can be started");
        let lines = lines(child.stdout.take().expect("it was asked for"));
        let (mut srt, mut rtmp, mut http, mut announced) = (None, None, None, String::new());
        while let Ok(line) = lines.recv_timeout(PATIENCE) {
            announced.push_str(&line);
            announced.push('\n');
            srt = srt.or_else(|| address(&line, "srt://"));
            rtmp = rtmp.or_else(|| address(&line, "rtmp://"));
            http = http.or_else(|| address(&line, "http://").filter(|_| line.contains(".flv")));
            // The addresses end with an empty line.
            if let (Some(srt), Some(rtmp), Some(http), "") = (srt, rtmp, http, &*line) {
                return Self { child, srt, rtmp, http, announced, log };
            }
        }
        let _killed = child.kill();
        let _reaped = child.wait();
        panic!("the gateway did not start:\n{}", fs::read_to_string(&log).unwrap_or_default());
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where it listens for `rtmps` or `https`.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[must_use]
    pub fn secure(&self, scheme: &str) -> SocketAddr {
        let scheme = format!("{scheme}://");
        let found = self.announced.lines().find_map(|line| address(line, &scheme));
        found.unwrap_or_else(|| panic!("no {scheme} in\n{}", self.announced))
    }

    /// Where media by WebRTC comes and goes.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[must_use]
    pub fn webrtc(&self) -> SocketAddr {
        let mut lines = self.announced.lines().filter(|line| line.contains("/whep/"));
        let found = lines.find_map(|line| address(line, "udp://"));
        found.unwrap_or_else(|| panic!("no WebRTC in\n{}", self.announced))
    }

    /// Where media by WebRTC comes and goes over TCP.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[must_use]
    pub fn webrtc_tcp(&self) -> SocketAddr {
        let mut lines = self.announced.lines().filter(|line| line.contains("/whep/"));
        let found = lines.find_map(|line| address(line, "tcp://"));
        found.unwrap_or_else(|| panic!("no WebRTC over TCP in\n{}", self.announced))
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The address to publish to by SRT.
    #[must_use]
    pub fn srt_publish(&self, stream: &str) -> String {
        format!("srt://{}?streamid=#!::r={stream},m=publish", self.srt)
    }

    /// The address to play from by SRT.
    #[must_use]
    pub fn srt_play(&self, stream: &str) -> String {
        format!("srt://{}?streamid=#!::r={stream},m=request", self.srt)
    }

    /// The address of a stream by RTMP, to publish and to play.
    #[must_use]
    pub fn rtmp(&self, stream: &str) -> String {
        format!("rtmp://{}/{stream}", self.rtmp)
    }

    /// The address of a stream over HTTP: `live/cam.flv`.
    #[must_use]
    pub fn http(&self, path: &str) -> String {
        format!("http://{}/{path}", self.http)
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status().expect("kill runs");
        assert!(sent.success(), "the gateway had ended before:\n{}", self.log());
    }

    /// Sends a signal and waits for the end; the result is the exit code, `None` when it was killed by a signal.
    ///
    /// # Panics
    ///
    /// When it does not end in time.
    pub fn end(&mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        self.wait()
    }

    /// Waits for the end; the result is the exit code, `None` when it was killed by a signal.
    ///
    /// # Panics
    ///
    /// When it does not end in time.
    pub fn wait(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.code();
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the gateway did not end:\n{}", self.log());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended; that is all that is wanted.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        if thread::panicking() {
            #[expect(clippy::print_stderr, reason = "what a failed test needs")]
            {
                eprintln!("log of the gateway:\n{}", self.log());
            }
        }
    }
}

/// The lines that a program prints, as they come; the thread that reads them ends with the program.
pub(crate) fn lines(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // When nobody wants them any more they are still read, so that the program can print.
            let _wanted = sender.send(line);
        }
    });
    receiver
}

/// `thalweg serve` on free ports of the loopback, with these settings besides.
#[must_use]
pub fn thalweg(settings: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.arg("serve");
    for protocol in ["srt", "rtmp", "http"] {
        command.arg("--set").arg(format!("{protocol}.listen=[\"127.0.0.1:0\"]"));
    }
    command.arg("--set").arg("webrtc.listen=\"127.0.0.1:0\"");
    for setting in settings {
        command.arg("--set").arg(setting);
    }
    command
}

/// The binary `thalweg` of this build.
///
/// # Panics
///
/// When it is not built.
#[must_use]
pub fn program() -> PathBuf {
    let mut path = env::current_exe().expect("a test knows where it is");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.push("thalweg");
    assert!(path.exists(), "{} is not built: cargo build -p thalweg-gateway", path.display());
    path
}

/// The address behind `scheme` in a line.
fn address(line: &str, scheme: &str) -> Option<SocketAddr> {
    let rest = line.split_once(scheme)?.1;
    let end = rest.find(|c: char| !(c.is_ascii_hexdigit() || ".:[]".contains(c)));
    rest.get(..end.unwrap_or(rest.len()))?.parse().ok()
}

/// A folder for what the tests of this process write. It is removed when the process ends, unless one of them failed.
///
/// # Panics
///
/// When it cannot be made.
#[must_use]
pub fn folder() -> PathBuf {
    static FOLDER: OnceLock<(PathBuf, Child)> = OnceLock::new();
    FOLDER.get_or_init(make_folder).0.clone()
}

/// Makes the folder. Nothing of a test process runs when it ends, so a shell waits for the end of the pipe that it holds, and
/// removes the folder then; a failure leaves a mark that it must not.
fn make_folder() -> (PathBuf, Child) {
    const FAILED: &str = "failed";
    let folder = env::temp_dir().join(format!("thalweg-tests-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
    let (mark, kept) = (folder.join(FAILED), folder.display().to_string());
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        // Without the mark the files are gone, which the next line says in its way.
        let _marked = fs::write(&mark, "");
        #[expect(clippy::print_stderr, reason = "what a failed test needs")]
        {
            eprintln!("files of the tests are kept in {kept}");
        }
    }));
    let remove = format!("cat; [ -e \"$0/{FAILED}\" ] || rm -rf -- \"$0\"");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(remove).arg(&folder).stdin(Stdio::piped());
    shell.stdout(Stdio::null()).stderr(Stdio::null());
    (folder, shell.spawn().expect("there is a shell"))
}

/// A path that no other test has, for a file of this kind.
#[must_use]
pub fn test_file(extension: &str) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    folder().join(format!("{number}.{extension}"))
}

/// Waits until `done`, looking every few milliseconds, as what is waited for tells nobody.
///
/// # Panics
///
/// When that takes too long.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a program to its end, at most as long as `limit`; the result is what it wrote to its standard output and to
/// its standard error output.
///
/// # Panics
///
/// When it is missing, takes longer, or fails.
#[must_use]
pub fn run(program: &str, arguments: &[&str], limit: Duration) -> (String, String) {
    start(program, arguments).finish(limit)
}

/// A program that runs beside the test.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    output: Option<thread::JoinHandle<String>>,
    errors: Option<thread::JoinHandle<String>>,
}

/// Starts a program beside the test.
///
/// # Panics
///
/// When it is missing.
#[must_use]
pub fn start(program: &str, arguments: &[&str]) -> Running {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{program}: {error}; `make setup` installs what tests need")
        });
    let output = child.stdout.take().map(read_all);
    let errors = child.stderr.take().map(read_all);
    Running { name: format!("{program} {}", arguments.join(" ")), child, output, errors }
}

fn read_all(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is all there is to see.
        let _read = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Running {
    /// Waits for its end; as [`run`].
    ///
    /// # Panics
    ///
    /// When it takes longer than `limit`, or fails.
    #[must_use]
    pub fn finish(mut self, limit: Duration) -> (String, String) {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            if begun.elapsed() >= limit {
                let _killed = self.child.kill();
                let (_, errors) = self.texts();
                panic!("{} took longer than {limit:?}:\n{errors}", self.name);
            }
            thread::sleep(Duration::from_millis(10));
        };
        let (output, errors) = self.texts();
        assert!(status.success(), "{}: {status}\n{errors}", self.name);
        (output, errors)
    }

    /// Waits for its end, which may be a failure; what it wrote to both outputs, and whether it was well.
    ///
    /// # Panics
    ///
    /// When it takes too long.
    #[must_use]
    pub fn end(mut self) -> (String, bool) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                let (output, errors) = self.texts();
                return (output + &errors, status.success());
            }
            assert!(begun.elapsed() < PATIENCE, "{} does not end", self.name);
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it at once.
    pub fn kill(mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _texts = self.texts();
    }

    fn texts(&mut self) -> (String, String) {
        let _reaped = self.child.wait();
        let text = |thread: Option<thread::JoinHandle<String>>| {
            thread.map(|thread| thread.join().expect("reading does not panic")).unwrap_or_default()
        };
        (text(self.output.take()), text(self.errors.take()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
