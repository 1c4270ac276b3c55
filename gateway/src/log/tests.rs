//! The log, whole and stalled.

#![expect(clippy::disallowed_types, reason = "the writer is a thread")]

use std::io::{BufRead, BufReader, PipeReader, Read, pipe};
use std::sync::{Arc, Mutex, mpsc};

use thalweg_runtime as rt;
use tracing::subscriber::with_default;
use tracing::{debug, info, info_span, warn};

use super::*;

/// What was logged while `f` ran.
fn logged(level: &str, format: LogFormat, f: impl FnOnce()) -> String {
    let settings = config::Log { level: level.into(), format, file: None };
    let (mut reader, output) = pipe().unwrap();
    let queue = Queue::new(QUEUE_BYTES_MAX);
    let writer = Writer::start(&queue, output, |_| {}, Duration::from_secs(10)).unwrap();
    with_default(subscriber(&settings, false, queue).unwrap().0, f);
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn each_line_carries_the_span_of_its_coroutine() {
    let text = logged("info", LogFormat::Text, || {
        let session = |id: u64| {
            let span = info_span!("client", id);
            let body = move || {
                for step in 0..3 {
                    info!(step, "goes on {id}");
                    rt::yield_now().unwrap();
                }
            };
            rt::Builder::new().span(span).spawn(body).unwrap()
        };
        let run: io::Result<()> = rt::run(move || {
            let sessions = [session(7), session(8)];
            sessions.into_iter().for_each(|handle| handle.join().unwrap());
            info!("outside");
            Ok(())
        });
        run.unwrap();
    });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 7, "{text}");
    for id in [7, 8] {
        let own = lines.iter().filter(|line| line.contains(&format!("goes on {id}")));
        let own = own.filter(|line| line.contains(&format!("client{{id={id}}}")));
        assert_eq!(own.count(), 3, "{text}");
    }
    assert!(!lines[6].contains("client"), "{text}");
}

#[test]
fn a_level_holds_for_lines_and_not_for_the_spans_around_them() {
    let speak = || {
        let _client = info_span!("client", id = 7).entered();
        let _detail = tracing::debug_span!("detail").entered();
        debug!("a debug line");
        info!("an info line");
        warn!("a warning");
    };
    let text = logged("warn", LogFormat::Text, speak);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("client{id=7}") && text.contains("a warning"), "{text}");
    assert!(!text.contains("detail"), "{text}");
    let text = logged("debug", LogFormat::Text, speak);
    assert!(text.lines().count() == 3 && text.contains("detail"), "{text}");
    let text = logged("off,thalweg_gateway::log=info", LogFormat::Text, speak);
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn json_is_an_object_a_line() {
    let text = logged("info", LogFormat::Json, || {
        let _client = info_span!("client", id = 7).entered();
        info!(bytes = 5, "line\nbreak");
        info!("second");
    });
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0]["fields"]["message"], "line\nbreak");
    assert_eq!(lines[0]["fields"]["bytes"], 5);
    assert_eq!(lines[0]["span"]["id"], 7);
    assert_eq!(lines[0]["level"], "INFO");
}

#[test]
fn what_a_peer_sends_cannot_forge_lines() {
    let text = logged("info", LogFormat::Text, || info!(name = "x\n2026 ERROR forged", "peer"));
    assert_eq!(text.lines().count(), 1, "{text}");
}

/// Lines as numbers, and what is reported about those between them.
fn read_lines(reader: PipeReader) -> Vec<String> {
    BufReader::new(reader).lines().map(|line| line.unwrap()).collect()
}

#[test]
fn a_pipe_that_nobody_reads_costs_lines_and_never_waits() {
    let (reader, output) = pipe().unwrap();
    let queue = Queue::new(1 << 16);
    let reporting = queue.clone();
    let report = move |lost| reporting.push(format!("lost {lost}\n").as_bytes());
    let writer = Writer::start(&queue, output, report, Duration::from_secs(10)).unwrap();
    // Far more than pipe and queue hold. That this returns at all is the point.
    let count: u64 = 100_000;
    for number in 0..count {
        queue.push(format!("line {number}\n").as_bytes());
    }
    let lost = queue.lost();
    assert!(lost > 0, "the pipe took everything");
    let reading = std::thread::spawn(move || read_lines(reader));
    drop(writer);
    #[expect(clippy::disallowed_methods, reason = "a plain test thread")]
    let lines = reading.join().unwrap();
    let (reports, kept): (Vec<_>, Vec<_>) =
        lines.iter().partition(|line| line.starts_with("lost "));
    let reported: u64 = reports.iter().map(|line| line[5..].parse::<u64>().unwrap()).sum();
    assert_eq!(kept.len() as u64 + reported, count, "every line is written or reported");
    assert_eq!(reported, lost);
    // What is written is whole and in order.
    let numbers: Vec<u64> = kept.iter().map(|line| line[5..].parse().unwrap()).collect();
    assert!(numbers.is_sorted());
}

#[test]
fn the_end_does_not_wait_for_a_stalled_output_for_ever() {
    let (reader, output) = pipe().unwrap();
    let queue = Queue::new(1 << 20);
    let writer = Writer::start(&queue, output, |_| {}, Duration::from_millis(1)).unwrap();
    for _ in 0..10_000 {
        queue.push(&[b'x'; 99]);
    }
    drop(writer);
    drop(reader);
}

/// An output that fails until it is repaired, and tells of each try.
struct Broken {
    is_broken: Arc<Mutex<bool>>,
    tried: mpsc::Sender<Vec<u8>>,
}

impl Write for Broken {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let is_broken = *self.is_broken.lock().unwrap();
        self.tried.send(buf.to_vec()).unwrap();
        if is_broken { Err(io::ErrorKind::StorageFull.into()) } else { Ok(buf.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a plain test thread")]
fn an_output_that_fails_is_tried_again_and_the_loss_told() {
    let is_broken = Arc::new(Mutex::new(true));
    let (tried, tries) = mpsc::channel();
    let queue = Queue::new(1 << 16);
    let reporting = queue.clone();
    let report = move |lost| reporting.push(format!("lost {lost}\n").as_bytes());
    let output = Broken { is_broken: Arc::clone(&is_broken), tried };
    let writer = Writer::start(&queue, output, report, Duration::from_secs(10)).unwrap();
    queue.push(b"one\n");
    assert_eq!(tries.recv().unwrap(), b"one\n");
    queue.push(b"two\n");
    assert_eq!(tries.recv().unwrap(), b"two\n");
    *is_broken.lock().unwrap() = false;
    queue.push(b"three\n");
    assert_eq!(tries.recv().unwrap(), b"three\n");
    assert_eq!(tries.recv().unwrap(), b"lost 2\n");
    drop(writer);
    assert_eq!(queue.lost(), 2);
}

#[test]
fn lines_go_to_another_output_from_one_moment_on() {
    let (first_reader, first) = pipe().unwrap();
    let (second_reader, second) = pipe().unwrap();
    let queue = Queue::new(1 << 16);
    let writer = Writer::start(&queue, first, |_| {}, Duration::from_secs(10)).unwrap();
    queue.push(b"one\n");
    let mut first_reader = BufReader::new(first_reader);
    let mut line = String::new();
    first_reader.read_line(&mut line).unwrap();
    assert_eq!(line, "one\n");
    queue.redirect(second);
    // It is closed without a further line.
    assert_eq!(first_reader.read_line(&mut line).unwrap(), 0);
    queue.push(b"two\n");
    drop(writer);
    assert_eq!(read_lines(second_reader), ["two"]);
}

#[test]
fn levels_change_while_lines_are_logged() {
    let settings =
        |level: &str| config::Log { level: level.into(), format: LogFormat::Text, file: None };
    let (mut reader, output) = pipe().unwrap();
    let queue = Queue::new(QUEUE_BYTES_MAX);
    let writer = Writer::start(&queue, output, |_| {}, Duration::from_secs(10)).unwrap();
    let (subscriber, level) = subscriber(&settings("warn"), false, queue).unwrap();
    with_default(subscriber, || {
        for number in 0..2 {
            debug!("line {number}");
            level.reload(Gate::parse("debug").unwrap()).unwrap();
        }
    });
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(!text.contains("line 0") && text.contains("line 1"), "{text}");
}

#[test]
fn a_line_without_end_is_cut() {
    let text = logged("info", LogFormat::Text, || {
        info!("{}", "ä".repeat(1 << 20));
        info!("next");
    });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].len() < 20_000 && lines[1].ends_with("next"));
}
