//! The library on a real folder, and recordings whose disk hangs, on the virtual clock.

#![expect(clippy::disallowed_methods, reason = "a test's own files; nobody else runs")]

use super::{
    Choice, Filter, Format, Library, LibraryError, Phase, Plan, Recorder, Settings, State, disk,
    library::Naming, note, retention,
};
use crate::{
    auth::{Action, Ask, Gate},
    container::{Select, Sink as _, flv::FlvMux},
    disk::Disk,
    hub::{self, Batch, Bounds, Events, Publisher, Registry, Start},
    key::StreamKey,
    media::{AccessUnit, Codec, CodecConfig, Span, Timestamp, Track, TrackId, Tracks, vpx},
    naming::Template,
};
use bytes::Bytes;
use std::{
    cell::{Cell, RefCell},
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use thalweg_runtime::{self as rt, ClockKind, Runtime};

/// A folder of a test's own, removed with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("thalweg-record-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        list(&self.0, "", &mut names);
        names.sort();
        names
    }
}

fn disk_of(root: &Path) -> Disk {
    Disk::new("record.dir", root.into(), Rc::new(|_, _| {}))
}

fn list(at: &Path, below: &str, names: &mut Vec<String>) {
    for entry in fs::read_dir(at).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => list(&entry.path(), &format!("{name}/"), names),
            false => names.push(name),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}

fn key(name: &str) -> StreamKey {
    name.parse().unwrap()
}

/// Makes a file of so many bytes that lasts a second and has ended.
fn record(library: &Library, stream: &str, template: &str, bytes: usize) -> Rc<super::Entry> {
    record_behind(library, stream, template, bytes, Duration::ZERO)
}

/// As [`record`], but it began a while ago.
fn record_behind(
    library: &Library,
    stream: &str,
    template: &str,
    bytes: usize,
    behind: Duration,
) -> Rc<super::Entry> {
    let template: Template = template.parse().unwrap();
    let stream = key(stream);
    let format = Format::Ts;
    let naming = Naming { stream: &stream, format, template: &template, behind };
    let stalled = Cell::new(None);
    let (entry, file) = library.begin(naming, &stalled).unwrap();
    let parts = [Bytes::from(vec![7; bytes])];
    disk::append(&file, &parts, 0).unwrap();
    library.grow(&entry, bytes as u64, Duration::from_secs(1));
    library.end(&entry, State::Finished);
    library.note(&entry, &stalled).unwrap();
    entry
}

#[test]
fn a_file_that_is_there_is_never_written_over() {
    let folder = Folder::new();
    fs::create_dir(folder.0.join("live")).unwrap();
    fs::write(folder.0.join("live/x.ts"), "somebody's").unwrap();
    let root = folder.0.clone();
    rt::run(move || {
        let library = Library::new(disk_of(&root));
        let names = [1, 2].map(|_| record(&library, "live/cam", "live/x.{ext}", 3).file.clone());
        assert_eq!(names, ["live/x-1.ts", "live/x-2.ts"]);
    });
    assert_eq!(fs::read(folder.0.join("live/x.ts")).unwrap(), b"somebody's");
}

#[test]
fn links_below_the_folder_are_not_followed() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    symlink(&elsewhere.0, folder.0.join("live")).unwrap();
    symlink(elsewhere.0.join("made"), folder.0.join("x.ts")).unwrap();
    let made = disk::create(&folder.0, "live/cam.ts").unwrap_err();
    assert!(made.to_string().contains("live: is a symbolic link"), "{made}");
    assert!(disk::open(&folder.0, "x.ts").is_err());
    assert!(disk::remove(&folder.0, "live/x").is_err());
    let (_, name) = disk::create(&folder.0, "x.ts").unwrap();
    assert_eq!(name, "x-1.ts", "a link is a name that is taken");
    for path in ["../x.ts", "/etc/x.ts", "a/../../x.ts", "a//x.ts", "", "a/\0.ts"] {
        assert!(disk::create(&folder.0, path).is_err(), "{path:?}");
    }
    assert_eq!(elsewhere.names(), Vec::<String>::new());
    // The folder itself may be one.
    let link = elsewhere.0.join("link");
    symlink(&folder.0, &link).unwrap();
    assert!(disk::create(&link, "a/b/c.ts").is_ok());
}

#[test]
fn a_library_knows_its_files_again_and_no_others() {
    let folder = Folder::new();
    let root = folder.0.clone();
    rt::run(move || {
        let library = Library::new(disk_of(&root));
        record(&library, "live/a", "{app}/{stream}.{ext}", 10);
        record(&library, "live/b", "{app}/{stream}.{ext}", 20);
        let gone = record(&library, "live/c", "{app}/{stream}.{ext}", 30);
        fs::remove_file(root.join(&gone.file)).unwrap();
        let again = Library::new(disk_of(&root)).open(&Cell::new(None)).unwrap_err();
        assert!(again.to_string().contains("another gateway records there"), "{again}");
    });
    fs::write(folder.0.join("live/d.ts"), "not ours").unwrap();
    fs::write(folder.0.join(".thalweg/x.json"), "{}").unwrap();
    let root = folder.0.clone();
    rt::run(move || {
        let library = Library::new(disk_of(&root));
        library.open(&Cell::new(None)).unwrap();
        assert_eq!((library.count(), library.bytes()), (2, 30));
        let filter = Filter { stream: Some(key("live/b")), ..Filter::default() };
        let (total, found) = library.list(&filter, 0, 10);
        assert_eq!((total, found[0].bytes(), found[0].state()), (1, 20, State::Finished));
        let (total, found) = library.list(&Filter::default(), 1, 10);
        assert_eq!((total, found.len()), (2, 1));
        let late = Filter { from_ms: Some(i64::MAX), ..Filter::default() };
        assert_eq!(library.list(&late, 0, 10).0, 0);
        for id in ["", "../x", "x", "20261122T145932422Z-0"] {
            assert!(matches!(library.delete(id), Err(LibraryError::NotFound)), "{id}");
        }
        let id = library.list(&filter, 0, 1).1[0].id.to_string();
        library.delete(&id).unwrap();
        assert_eq!((library.count(), library.bytes()), (1, 10));
    });
    let notes = folder.names().into_iter().filter(|name| name.starts_with(note::FOLDER)).count();
    assert_eq!(notes, 3, "one of ours, one not understood, and the lock");
    assert!(folder.0.join("live/a.ts").exists() && folder.0.join("live/d.ts").exists());
    assert!(!folder.0.join("live/b.ts").exists());
}

#[test]
fn the_oldest_go_when_there_are_too_many_bytes_or_days() {
    let folder = Folder::new();
    let root = folder.0.clone();
    rt::run(move || {
        let library = Library::new(disk_of(&root));
        library.open(&Cell::new(None)).unwrap();
        fs::write(root.join("a-file-of-somebody.ts"), vec![0; 500]).unwrap();
        let kept = |keep, max| {
            // Cut short once it waits for the next occasion.
            let _waits = rt::timeout(Duration::from_millis(50), || {
                retention::keep(&library, keep, max, &Events::default())
            });
            library.list(&Filter::default(), 0, 10).1.iter().map(|e| e.bytes()).collect::<Vec<_>>()
        };
        for bytes in [100, 50, 70] {
            record(&library, "live/a", "{app}/{stream}.{ext}", bytes);
        }
        assert_eq!(kept(None, None), [70, 50, 100]);
        assert_eq!(kept(Some(Duration::from_secs(60)), Some(220)), [70, 50, 100]);
        assert_eq!(kept(None, Some(219)), [70, 50]);
        // They end a second after they began.
        rt::sleep(Duration::from_millis(1_100)).unwrap();
        assert_eq!(kept(Some(Duration::from_millis(10)), None), Vec::<u64>::new());
    });
    assert_eq!(folder.names(), [".thalweg/lock", "a-file-of-somebody.ts"]);
}

#[test]
fn a_file_that_could_not_be_removed_is_removed_later_though_others_come_due_meanwhile() {
    let folder = Folder::new();
    let root = folder.0.clone();
    let minutes = |count: u64| Duration::from_secs(count * 60);
    run(move || {
        let library = Library::new(disk_of(&root));
        let old = record_behind(&library, "live/a", "a.{ext}", 3, minutes(120));
        record(&library, "live/b", "b.{ext}", 3);
        // No file that could be removed.
        fs::rename(root.join(&old.file), root.join("aside")).unwrap();
        fs::create_dir(root.join(&old.file)).unwrap();
        let kept = library.clone();
        let keep = rt::spawn(move || {
            // The other one is due half an hour from now, again and again: days have a clock of their own.
            retention::keep(&kept, Some(minutes(30)), None, &Events::default())
        });
        rt::sleep(minutes(1)).unwrap();
        assert_eq!(library.count(), 2);
        fs::remove_dir(root.join(&old.file)).unwrap();
        fs::rename(root.join("aside"), root.join(&old.file)).unwrap();
        rt::sleep(minutes(150)).unwrap();
        assert_eq!(library.count(), 1);
        keep.cancel();
    });
    assert_eq!(folder.names().iter().filter(|name| name.ends_with(".ts")).count(), 1);
}

const VIDEO: TrackId = TrackId(1);

fn config(width: u8) -> Rc<CodecConfig> {
    // The head of a key frame (RFC 6386 §9.1).
    let key_frame = [0x10, 0, 0, 0x9d, 0x01, 0x2a, width, 0, 16, 0];
    Rc::new(CodecConfig::Vp8(vpx::Config::from_vp8(&key_frame).unwrap()))
}

fn picture(ms: i64, random_access: bool) -> AccessUnit {
    let at = Timestamp::from_ms(ms);
    let payload = Bytes::from(vec![0x5a; 1_000]);
    AccessUnit { track: VIDEO, dts: at, pts: at, random_access, config: config(16), payload }
}

fn settings(dir: &Path) -> Settings {
    Settings {
        disk: disk_of(dir),
        template: "{app}/{stream}.{ext}".parse().unwrap(),
        streams: vec!["live/*".parse().unwrap()],
        format: Format::Mp4,
        plan: Plan::Session,
        sync: None,
        keep: None,
        max_bytes: None,
        events: Events::default(),
        on_file: Rc::new(|_| {}),
    }
}

/// A recorder, and what it tells of files that have ended.
fn recorder_that_tells(
    registry: &Registry,
    root: &Path,
) -> (Recorder, Rc<RefCell<Vec<super::Finished>>>) {
    let finished = Rc::new(RefCell::new(Vec::new()));
    let told = Rc::clone(&finished);
    let on_file = Rc::new(move |file: &super::Finished| told.borrow_mut().push(file.clone()));
    (Recorder::new(registry.clone(), Settings { on_file, ..settings(root) }), finished)
}

fn registry() -> Registry {
    Registry::new(hub::Settings {
        bounds: Bounds { bytes: 1 << 20, span: Span::from_ms(5_000) },
        grace: Duration::from_secs(2),
        merge_window: Duration::ZERO,
        streams_max: 9,
        publishers_max: 9,
        publisher_rate_bps: None,
    })
}

fn publish(registry: &Registry) -> Publisher {
    let ask = Ask::new(Action::Publish, &key("live/cam"), "test", "192.0.2.1:5".parse().unwrap());
    let grant = Gate::open().publish(&ask).unwrap();
    let mut publisher = registry.publish(&grant, false).unwrap();
    let track = Track { id: VIDEO, codec: Codec::Vp8, language: None, config: Some(config(16)) };
    publisher.tracks(&Tracks::from_iter([track]));
    publisher
}

/// 25 pictures a second with a random-access point in each, over `seconds` of the clock.
fn push(publisher: &mut Publisher, seconds: std::ops::Range<i64>) {
    for n in seconds.start * 25..seconds.end * 25 {
        publisher.unit(picture(n * 40, n % 25 == 0));
        rt::sleep(Duration::from_millis(40)).unwrap();
    }
}

fn run(f: impl FnOnce() + 'static) {
    Runtime::builder().clock(ClockKind::Virtual).build().unwrap().block_on(f).unwrap();
}

#[test]
fn a_disk_that_hangs_costs_the_recording_what_the_ring_does_not_hold_and_players_nothing() {
    let folder = Folder::new();
    let root = folder.0.clone();
    run(move || {
        let registry = registry();
        let (recorder, finished) = recorder_that_tells(&registry, &root);
        let rules = recorder.clone();
        let _rules = rt::spawn(move || rules.follow_rules());
        rt::yield_now().unwrap();
        let mut publisher = publish(&registry);
        let source = Rc::clone(publisher.source());
        let viewer = rt::spawn(move || {
            let mut subscriber = source.subscribe::<FlvMux>(Select::All, Start::Gop).unwrap();
            let (mut batch, mut seen) = (Batch::default(), 0);
            while subscriber.recv(&mut batch).is_ok() {
                seen += batch.chunks.len();
            }
            (seen, subscriber.skips())
        });
        push(&mut publisher, 0..4);
        assert_eq!(recorder.list()[0].phase, Phase::Recording);
        let disk = recorder.library().disk().clone();
        let hangs = disk.hang().unwrap();
        push(&mut publisher, 4..24);
        assert_eq!(recorder.list()[0].phase, Phase::Stalled);
        drop(hangs);
        push(&mut publisher, 24..30);
        let status = &recorder.list()[0];
        assert_eq!((status.phase, status.skips, status.files), (Phase::Recording, 1, 1));
        assert!((350..=500).contains(&status.skipped), "{status:?}");
        drop(publisher);
        assert_eq!(viewer.join().unwrap(), (750, 0), "players saw every picture");
        while recorder.running() > 0 {
            rt::sleep(Duration::from_millis(100)).unwrap();
        }
        let file = finished.borrow()[0].clone();
        assert_eq!((file.error.as_ref(), file.duration.as_secs()), (None, 30), "with the gap");
        assert_eq!(fs::metadata(root.join(&file.file)).unwrap().len(), file.bytes);
    });
}

#[test]
fn a_recording_that_is_stopped_by_hand_is_not_started_again_by_a_rule() {
    let folder = Folder::new();
    let root = folder.0.clone();
    run(move || {
        let registry = registry();
        let recorder = Recorder::new(registry.clone(), settings(&root));
        let rules = recorder.clone();
        let _rules = rt::spawn(move || rules.follow_rules());
        rt::yield_now().unwrap();
        let mut first = publish(&registry);
        push(&mut first, 0..3);
        assert!(recorder.stop(&key("live/cam")).unwrap());
        assert!(!recorder.stop(&key("live/cam")).unwrap());
        let stopped = recorder.library().list(&Filter::default(), 0, 1).1[0].clone();
        assert_eq!((stopped.state(), stopped.duration().as_secs()), (State::Finished, 3));
        drop(first);
        let mut second = publish(&registry);
        push(&mut second, 3..4);
        assert_eq!(recorder.running(), 0, "the stream goes on, and so does the wish");
        let choice = Choice { format: Some(Format::Flv), plan: None };
        recorder.start(&key("live/cam"), choice).unwrap();
        assert!(recorder.start(&key("live/cam"), choice).is_err());
        assert!(recorder.start(&key("live/none"), choice).is_err());
        push(&mut second, 4..6);
        drop(second);
        rt::sleep(Duration::from_secs(10)).unwrap();
        assert_eq!(recorder.running(), 0);
        let mut third = publish(&registry);
        push(&mut third, 0..1);
        assert_eq!(recorder.list()[0].by, "rule", "another stream of that name");
    });
}

#[test]
fn a_folder_that_cannot_be_used_is_tried_again() {
    let folder = Folder::new();
    let root = folder.0.join("recordings");
    fs::write(&root, "a file in its place").unwrap();
    run(move || {
        let registry = registry();
        let recorder = Recorder::new(registry.clone(), settings(&root));
        let rules = recorder.clone();
        let _rules = rt::spawn(move || rules.follow_rules());
        let mut publisher = publish(&registry);
        push(&mut publisher, 0..5);
        let status = recorder.list().remove(0);
        assert_eq!(status.phase, Phase::Failing);
        assert!(status.error.unwrap().contains("recordings"));
        fs::remove_file(&root).unwrap();
        push(&mut publisher, 5..12);
        let status = recorder.list().remove(0);
        assert_eq!((status.phase, status.error), (Phase::Recording, None));
    });
    assert!(folder.0.join("recordings/live/cam.mp4").exists());
}

#[test]
fn an_error_of_a_disk_is_said_with_the_path() {
    let error = disk::open(Path::new("/nonexistent"), "a/b.ts").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("/nonexistent"), "{error}");
}

#[test]
fn a_folder_that_was_removed_is_made_again_and_taken() {
    let folder = Folder::new();
    let root = folder.0.join("recordings");
    run(move || {
        let registry = registry();
        let recorder = Recorder::new(registry.clone(), settings(&root));
        let rules = recorder.clone();
        let _rules = rt::spawn(move || rules.follow_rules());
        let mut publisher = publish(&registry);
        push(&mut publisher, 0..4);
        fs::remove_dir_all(&root).unwrap();
        push(&mut publisher, 4..12);
        let status = recorder.list().remove(0);
        assert_eq!((status.phase, status.files), (Phase::Recording, 2));
        assert_eq!(recorder.library().count(), 1, "what is gone is not listed");
        let theirs = Library::new(disk_of(&root)).open(&Cell::new(None)).unwrap_err();
        assert!(theirs.to_string().contains("another gateway records there"), "{theirs}");
    });
}

#[test]
fn what_a_stream_left_waits_for_the_disk_beside_the_next_of_its_name() {
    let folder = Folder::new();
    let root = folder.0.clone();
    run(move || {
        let registry = registry();
        let (recorder, finished) = recorder_that_tells(&registry, &root);
        let rules = recorder.clone();
        let _rules = rt::spawn(move || rules.follow_rules());
        let mut publisher = publish(&registry);
        push(&mut publisher, 0..3);
        let disk = recorder.library().disk().clone();
        let hangs = disk.hang().unwrap();
        push(&mut publisher, 3..6);
        drop(publisher);
        rt::sleep(Duration::from_secs(30)).unwrap();
        assert_eq!((registry.list().len(), recorder.running()), (0, 1));
        let mut publisher = publish(&registry);
        push(&mut publisher, 0..3);
        assert_eq!(recorder.running(), 2);
        drop(hangs);
        push(&mut publisher, 3..5);
        assert_eq!(recorder.running(), 1);
        drop(publisher);
        while recorder.running() > 0 {
            rt::sleep(Duration::from_millis(100)).unwrap();
        }
        let seconds = |file: &super::Finished| (file.duration.as_secs(), file.error.clone());
        let all: Vec<_> = finished.borrow().iter().map(seconds).collect();
        assert_eq!(all, [(6, None), (5, None)]);
    });
}

#[test]
fn what_could_not_be_noted_is_noted_later() {
    let folder = Folder::new();
    let root = folder.0.clone();
    rt::run(move || {
        let library = Library::new(disk_of(&root));
        let entry = record(&library, "live/cam", "{stream}.{ext}", 3);
        let stalled = Cell::new(None);
        // Nobody can write there.
        let place = root.join(note::path(&entry.id.to_string()) + ".new");
        fs::create_dir(&place).unwrap();
        library.end(&entry, State::Failed("the disk was full".into()));
        assert!(library.note(&entry, &stalled).is_err());
        assert!(library.note_rest(&stalled).is_err());
        let health = library.disk().health();
        assert_eq!((health.failures, health.error.is_some()), (2, true), "an operator is told");
        fs::remove_dir(&place).unwrap();
        library.note_rest(&stalled).unwrap();
        let text = fs::read(root.join(note::path(&entry.id.to_string()))).unwrap();
        let noted = note::Note::parse(&text).unwrap().state();
        assert_eq!(noted, State::Failed("the disk was full".into()));
    });
}
