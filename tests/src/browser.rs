//! Chromium as a test uses it: headless, driven by Node and playwright-core, which `make setup` installs.
//!
//! A [`Browser`] opens [`Page`]s and tells what they show, what they complained about (errors in the console, exceptions
//! that nobody caught, violations of the content security policy) and what they look like. [`Players`] serves a page on
//! the loopback that plays one address with one of the players of the world; its [`Page::playing`] is what a test
//! asserts. A missing tool fails the test and says what to install.

use crate::gateway::{lines, test_file};
use serde_json::{Value, json};
use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Component, Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

/// A headless Chromium with an empty profile. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    driver: Mutex<Driver>,
    log: PathBuf,
}

/// The driver's both ends.
#[derive(Debug)]
struct Driver {
    /// `None` once it was told to end.
    input: Option<ChildStdin>,
    answers: mpsc::Receiver<String>,
}

/// On what a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// In CSS pixels.
    pub width: u32,
    /// In CSS pixels.
    pub height: u32,
    /// Pixels of the device to one of CSS.
    pub scale: f32,
    /// The user prefers dark colours.
    pub dark: bool,
    /// It is a phone.
    pub touch: bool,
    /// Scripts of pages run.
    pub script: bool,
}

/// A page in a browsing context of its own.
#[derive(Debug)]
pub struct Page<'b> {
    browser: &'b Browser,
    index: u64,
}

/// A player of the page that [`Players`] serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Player {
    /// mpegts.js, for FLV and MPEG-TS over HTTP.
    Mpegts,
    /// hls.js.
    Hls,
    /// `<video src>`.
    Native,
    /// Media Source Extensions, fed with all that the address answers.
    Mse,
}

/// What a playing page shows of its `<video>`.
#[derive(Clone, Debug)]
pub struct Playing {
    /// Pictures that were decoded.
    pub frames: u64,
    /// Of these, those that came too late to be shown.
    pub dropped: u64,
    /// Bytes of sound that were decoded.
    pub audio_bytes: u64,
    /// Where it is, in seconds of the media.
    pub time_s: f64,
    /// Up to where there is something to show, in seconds of the media.
    pub buffered_s: f64,
    /// Width and height; zero before the first picture.
    pub size: (u64, u64),
    /// What went wrong.
    pub faults: Vec<String>,
}

/// Serves the page that plays, and the players, to browsers on this machine. Its thread ends with the test.
#[derive(Debug)]
pub struct Players {
    address: SocketAddr,
}

/// How long the driver may take to answer: longer than it waits itself.
const PATIENCE: Duration = Duration::from_secs(45);

/// How long it may take to end.
const ENDING: Duration = Duration::from_secs(10);

/// Where Debian's Chromium is.
const CHROMIUM: &str = "/usr/bin/chromium";

impl View {
    /// A screen on a desk.
    pub const DESK: Self =
        Self { width: 1280, height: 900, scale: 1.0, dark: false, touch: false, script: true };

    /// A small phone.
    pub const PHONE: Self = Self { width: 375, height: 812, scale: 2.0, touch: true, ..Self::DESK };

    /// The same in the dark.
    #[must_use]
    pub const fn dark(self) -> Self {
        Self { dark: true, ..self }
    }
}

impl Browser {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// When something is not installed, or it does not start.
    #[must_use]
    pub fn start() -> Self {
        let playwright = modules().join("playwright-core");
        for needed in [&playwright, Path::new(CHROMIUM)] {
            assert!(
                needed.exists(),
                "{} is missing: `make setup` installs what tests need",
                needed.display()
            );
        }
        let log = test_file("browser.log");
        let errors = fs::File::create(&log).expect("the folder of test files can be written");
        let mut child = Command::new("node")
            .args([&scripts().join("driver.mjs"), &playwright, Path::new(CHROMIUM)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("node: {error}; `make setup` installs what tests need"));
        let input = child.stdin.take();
        let answers = lines(child.stdout.take().expect("it was asked for"));
        Self { child, driver: Mutex::new(Driver { input, answers }), log }
    }

    /// Opens an address, and waits until all that it names is loaded.
    ///
    /// # Panics
    ///
    /// When it cannot be loaded.
    #[must_use]
    pub fn open(&self, url: &str, view: View) -> Page<'_> {
        let View { width, height, scale, dark, touch, script } = view;
        let view = json!({
            "width": width, "height": height, "scale": scale, "dark": dark, "touch": touch, "script": script,
        });
        let index = self.ask(&json!({ "command": "open", "url": url, "view": view }));
        let index = index.unwrap_or_else(|error| panic!("{url}: {error}"));
        Page { browser: self, index: index.as_u64().expect("pages have numbers") }
    }

    /// Has the driver do something.
    fn ask(&self, command: &Value) -> Result<Value, String> {
        let mut driver = self.driver.lock().expect("nobody panics with it");
        let gone =
            |what: String| format!("{what}\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        let input = driver.input.as_mut().expect("only dropping takes it");
        writeln!(input, "{command}").map_err(|error| gone(format!("driver: {error}")))?;
        let answer = driver.answers.recv_timeout(PATIENCE);
        let answer = answer.map_err(|error| gone(format!("driver: {error}")))?;
        let mut answer: Value = serde_json::from_str(&answer).expect("the driver speaks JSON");
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["value"].take()),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends with its input, and clears away what it wrote. A browser that hangs ends with it.
        if let Ok(mut driver) = self.driver.lock() {
            driver.input = None;
            while driver.answers.recv_timeout(ENDING).is_ok() {}
        }
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Page<'_> {
    fn ask(&self, command: &str, rest: &Value) -> Result<Value, String> {
        let mut whole = json!({ "command": command, "page": self.index });
        for (name, value) in rest.as_object().into_iter().flatten() {
            whole[name] = value.clone();
        }
        self.browser.ask(&whole)
    }

    /// Fails the test with what the page had to say.
    fn fail(&self, what: &str) -> ! {
        let shown = self.screenshot(&format!("failed-{}-{}", std::process::id(), self.index));
        panic!("{what}\ncomplaints: {:#?}\nit looked like {}", self.complaints(), shown.display());
    }

    /// What a JavaScript expression says there; promises are waited for.
    ///
    /// # Panics
    ///
    /// When it throws.
    #[must_use]
    pub fn evaluate(&self, expression: &str) -> Value {
        let value = self.ask("evaluate", &json!({ "expression": expression }));
        value.unwrap_or_else(|error| self.fail(&format!("{expression}: {error}")))
    }

    /// Waits until a JavaScript expression is true; its value.
    ///
    /// # Panics
    ///
    /// When that takes more than half a minute, or it throws.
    pub fn until(&self, expression: &str) -> Value {
        let value = self.ask("until", &json!({ "expression": expression }));
        value.unwrap_or_else(|error| self.fail(&format!("{expression}: {error}")))
    }

    /// Clicks, or taps, on the element of a selector, as soon as it can be.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn click(&self, selector: &str) {
        self.perform("click", &json!({ "selector": selector }));
    }

    /// Fills in a field.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn fill(&self, selector: &str, text: &str) {
        self.perform("fill", &json!({ "selector": selector, "text": text }));
    }

    /// Presses a key: `Tab`, `Enter`.
    ///
    /// # Panics
    ///
    /// When there is no such key.
    pub fn press(&self, key: &str) {
        self.perform("press", &json!({ "key": key }));
    }

    /// What is written in the element of a selector, also where scripts do not run.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn text(&self, selector: &str) -> String {
        let text = self.ask("text", &json!({ "selector": selector }));
        let text = text.unwrap_or_else(|error| self.fail(&format!("{selector}: {error}")));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Closes it.
    ///
    /// # Panics
    ///
    /// When the browser is gone.
    pub fn close(self) {
        self.perform("close", &json!({}));
    }

    fn perform(&self, command: &str, rest: &Value) {
        if let Err(error) = self.ask(command, rest) {
            self.fail(&format!("{command} {rest}: {error}"));
        }
    }

    /// Keeps a picture of what is in view as `<name>.png`; where.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    #[must_use]
    pub fn screenshot(&self, name: &str) -> PathBuf {
        self.picture(name, false)
    }

    /// Keeps a picture of the whole page as `<name>.png`; where.
    ///
    /// # Panics
    ///
    /// When it cannot be made.
    #[must_use]
    pub fn whole_screenshot(&self, name: &str) -> PathBuf {
        self.picture(name, true)
    }

    fn picture(&self, name: &str, full: bool) -> PathBuf {
        let path = artefacts().join(format!("{name}.png"));
        let made = self.ask("screenshot", &json!({ "path": path, "full": full }));
        made.unwrap_or_else(|error| panic!("no picture {name}: {error}"));
        path
    }

    /// What it complained about so far.
    ///
    /// # Panics
    ///
    /// When the browser is gone.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let all = self.ask("complaints", &json!({})).expect("the browser runs");
        let all = all.as_array().cloned().unwrap_or_default();
        all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Fails the test if it complained.
    ///
    /// # Panics
    ///
    /// When it did.
    pub fn assert_silent(&self) {
        let complaints = self.complaints();
        if !complaints.is_empty() {
            self.fail("there are complaints");
        }
    }

    /// What a page of [`Players`] shows.
    ///
    /// # Panics
    ///
    /// When it is another page.
    #[must_use]
    pub fn playing(&self) -> Playing {
        let state = self.evaluate("state()");
        let number = |name: &str| state[name].as_u64().unwrap_or(0);
        let last = state["buffered"].as_array().and_then(|spans| spans.last()).cloned();
        let faults = state["faults"].as_array().cloned().unwrap_or_default();
        Playing {
            frames: number("frames"),
            dropped: number("dropped"),
            audio_bytes: number("audio"),
            time_s: state["time"].as_f64().unwrap_or(0.0),
            buffered_s: last.and_then(|span| span[1].as_f64()).unwrap_or(0.0),
            size: (state["size"][0].as_u64().unwrap_or(0), state["size"][1].as_u64().unwrap_or(0)),
            faults: faults.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }

    /// Waits until a page of [`Players`] has decoded so many pictures and its time goes on; what it shows then.
    ///
    /// # Panics
    ///
    /// When that does not come about, or something goes wrong before.
    pub fn wait_for_pictures(&self, count: u64) -> Playing {
        let begun = self.until("faults.length || state().frames > 0 && [state().time]");
        let time = begun[0].as_f64().unwrap_or(0.0);
        self.until(&format!("faults.length || state().frames >= {count} && state().time > {time}"));
        let playing = self.playing();
        if !playing.faults.is_empty() {
            self.fail(&format!("{:#?}", playing.faults));
        }
        playing
    }
}

impl Player {
    const fn name(self) -> &'static str {
        match self {
            Self::Mpegts => "mpegts",
            Self::Hls => "hls",
            Self::Native => "native",
            Self::Mse => "mse",
        }
    }
}

impl Players {
    /// Starts to serve.
    ///
    /// # Panics
    ///
    /// When there is no port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has ports");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A browser that leaves early is its own affair.
                thread::spawn(move || serve(&stream));
            }
        });
        Self { address }
    }

    /// The address of a page that plays `url` at once, muted.
    #[must_use]
    pub fn page(&self, player: Player, url: &str) -> String {
        self.page_with(player, url, &[])
    }

    /// As [`Players::page`], with more for its script: `codecs` for [`Player::Mse`] as RFC 6381 names them, `config`
    /// with settings of hls.js or mpegts.js in JSON.
    #[must_use]
    pub fn page_with(&self, player: Player, url: &str, more: &[(&str, &str)]) -> String {
        let query =
            [("player", player.name()), ("url", url)].into_iter().chain(more.iter().copied());
        let query: Vec<_> =
            query.map(|(name, value)| format!("{name}={}", percent_encode(value))).collect();
        format!("http://{}/player.html?{}", self.address, query.join("&"))
    }
}

impl Players {
    /// The address of a page that watches and publishes by WebRTC when it is told to.
    #[must_use]
    pub fn webrtc_page(&self) -> String {
        format!("http://{}/webrtc.html", self.address)
    }
}

/// Answers one request for a file of ours, or of a module: `/player.html`, `/modules/hls.js/dist/hls.js`.
fn serve(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    // The head is read to its end, since a connection that is closed with something unread is reset.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default();
    let path = Path::new(path.split('?').next().unwrap_or_default().trim_start_matches('/'));
    let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
    let file = match path.strip_prefix("modules") {
        Ok(module) => modules().join(module),
        Err(_) => scripts().join(path),
    };
    let body = if is_below { fs::read(file) } else { Err(io::ErrorKind::NotFound.into()) };
    let kind = match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        _ => "application/octet-stream",
    };
    let (status, body) = body.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)
}

/// A value for a query (RFC 3986 §3.4).
#[must_use]
pub fn percent_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encode = |byte: u8| {
        if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(encode).collect()
}

/// Where tests keep what somebody may want to look at: `target/test-artefacts`.
///
/// # Panics
///
/// When it cannot be made.
#[must_use]
pub fn artefacts() -> PathBuf {
    // The binary of a test lies in `<target>/<profile>/deps`.
    let test = env::current_exe().expect("a test knows where it is");
    let target = test.ancestors().nth(3).expect("Cargo puts tests that deep");
    let folder = target.join("test-artefacts");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    folder
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("browser")
}

fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/web/node_modules")
}
