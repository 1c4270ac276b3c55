//! From the arrival of a picture at the gateway to its display in Chromium.
//!
//! The encoder (RTMP) and the page (`browser`) have one clock. A picture, known by its number (`timecode`), arrives when the
//! encoder begins to write its message, and is there when Chromium shows it. Each picture of the time that is measured
//! counts; a note tells of those that were never shown, and what the player said of itself at the end.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::browser::{Browser, Told};
use super::publish::Encoder;
use super::timecode;
use crate::child::{argument, write_note, write_samples};
use crate::measure::{LATE_P50, LATE_P99, Sample};
use crate::sys;

/// Runs `gateway-display <player> <RTMP port> <address> <config> <join ms> <first ms> <last ms>`: the viewer joins at one
/// time of the stream, and what is sent between the other two is measured.
pub(super) fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let [player, url, config]: [String; 3] =
        [argument(args, 0)?, argument(args, 2)?, argument(args, 3)?];
    let port = argument(args, 1)?;
    let [join, first, last] =
        [argument(args, 4)?, argument(args, 5)?, argument(args, 6)?].map(Duration::from_millis);
    sys::end_after(super::CHILD_LIMIT);
    let units = timecode::units()?;
    let mut encoder = Encoder::connect("rtmp", port, 0, &mut 0)?;
    let begin = Instant::now();
    let encoder = thread::spawn(move || -> io::Result<_> {
        let mut sent = Vec::new();
        for timecode::Numbered { unit, picture } in units.iter().take_while(|it| it.unit.at < last)
        {
            thread::sleep((begin + unit.at).saturating_duration_since(Instant::now()));
            let sent_us = now_us();
            encoder.send(unit, || {})?;
            sent.extend(picture.filter(|_| unit.at >= first).map(|picture| (picture, sent_us)));
        }
        Ok((encoder, sent))
    });
    thread::sleep((begin + join).saturating_duration_since(Instant::now()));
    let browser = Browser::play(&player, &url, &config)?;
    let (_encoder, sent) = encoder.join().map_err(|_panic| "the encoder panicked")??;
    thread::sleep(TAIL);
    report(&sent, browser.told())?;
    drop(browser);
    io::stdout().flush()?;
    sys::end_at_once()
}

/// What took how long, and what else is worth knowing.
fn report(sent: &[(u32, i64)], told: impl Iterator<Item = Told>) -> Result<(), Box<dyn Error>> {
    let mut shown = HashMap::new();
    let (mut said, mut state) = (None, None);
    for told in told {
        match told {
            Told::Shown { picture, at_us } => {
                shown.entry(picture).or_insert(at_us);
                // Not what it says once nothing comes any more.
                state = said.take().or(state);
            }
            Told::State(text) => said = Some(text),
            Told::Fault(text) => write_note(&text),
        }
    }
    let took = sent.iter().filter_map(|(picture, from)| Some(shown.get(picture)? - from));
    let mut took_us: Vec<i64> = took.collect();
    took_us.sort_unstable();
    let missing = sent.len() - took_us.len();
    if missing > 0 {
        write_note(&format!("{missing} of {} pictures were never shown", sent.len()));
    }
    state.iter().for_each(|state| write_note(state));
    let most = took_us.len().checked_sub(1).ok_or("no picture was shown")?;
    let samples = [(LATE_P50, 50), (LATE_P99, 99)].map(|(unit, per_cent)| {
        let value = took_us[most * per_cent / 100] as f64;
        Sample { unit, value }
    });
    write_samples(&samples);
    Ok(())
}

/// Since 1970, as the page has it.
fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Until what was sent last is shown.
const TAIL: Duration = Duration::from_secs(4);
