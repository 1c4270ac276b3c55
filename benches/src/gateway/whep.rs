//! An encoder that sends by SRT, and headless Chromium that watches by WHEP: how soon there is a picture, and how late each
//! one is on the screen.
//!
//! Pictures show their own number, which the page reads off the screen's content; when a picture was handed to libsrt, the
//! encoder has noted on the same clock. So SRT's latency, the gateway, the network and all that the browser does are in
//! the figure; encoding is not, since the clip was encoded before.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::browser::{CHROMIUM, folder, modules};
use super::clip::{CODE_BITS, CODE_SIDE, Footage, Kind, Unit};
use super::publish::{Encoder, units};
use super::server::Process;
use crate::child::{argument, write_note, write_samples};
use crate::measure::{JOIN_MAX, JOIN_P50, SHOWN_P50, SHOWN_P99, Sample};
use crate::sys;

/// Runs `gateway-whep <join|shown> <port of SRT> <port of HTTP> <clip> <ms>`: measures for so long.
pub(super) fn run(args: &[String]) -> Result<(), Box<dyn Error>> {
    let what: String = argument(args, 0)?;
    let (in_port, out_port) = (argument(args, 1)?, argument::<u16>(args, 2)?);
    let footage: Footage = argument(args, 3)?;
    let last = Duration::from_millis(argument(args, 4)?);
    sys::end_after(super::CHILD_LIMIT);
    let mut browser = start(out_port)?;
    let stream = Stream::begin(in_port, footage)?;
    let samples = match what.as_str() {
        "join" => join_again_and_again(&mut browser, &stream, last)?,
        _ => look_again_and_again(&mut browser, &stream, last)?,
    };
    write_samples(&samples);
    io::stdout().flush()?;
    drop(browser);
    // A thread still sends by libsrt.
    sys::end_at_once()
}

/// What the encoder sends, in a thread of its own.
struct Stream {
    begin: Instant,
    /// When which picture was handed to libsrt, in milliseconds of Unix time.
    sent_ms: Arc<Mutex<Vec<f64>>>,
}

impl Stream {
    fn begin(port: u16, footage: Footage) -> Result<Self, Box<dyn Error>> {
        let units = units("srt", footage)?;
        let encoder = Encoder::connect("srt", port, 0, &mut 0)?;
        let (begin, sent_ms) = (Instant::now(), Arc::default());
        let sent = Arc::clone(&sent_ms);
        thread::spawn(move || {
            if let Err(error) = send(encoder, &units, begin, &sent) {
                write_note(&format!("the encoder ended: {error}"));
            }
        });
        Ok(Self { begin, sent_ms })
    }

    /// Waits until so much of the clip has been sent.
    fn wait_for(&self, at: Duration) {
        thread::sleep((self.begin + at).saturating_duration_since(Instant::now()));
    }
}

fn send(
    mut encoder: Encoder,
    units: &[Unit],
    begin: Instant,
    sent_ms: &Mutex<Vec<f64>>,
) -> Result<(), Box<dyn Error>> {
    for unit in units {
        thread::sleep((begin + unit.at).saturating_duration_since(Instant::now()));
        if unit.kind == Kind::Video {
            let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3;
            sent_ms.lock().unwrap_or_else(PoisonError::into_inner).push(now_ms);
        }
        encoder.send(unit, || {})?;
    }
    Ok(())
}

/// One viewer after the other, each on a new page, at all places of a GOP.
fn join_again_and_again(
    browser: &mut Process,
    stream: &Stream,
    last: Duration,
) -> Result<Vec<Sample>, Box<dyn Error>> {
    let (mut at, mut took_ms) = (FIRST, Vec::new());
    while at < last {
        stream.wait_for(at);
        took_ms.push(ask(browser, "join")?.parse()?);
        ask(browser, "leave")?;
        at = (at + JOIN_STEP).max(stream.begin.elapsed());
    }
    quantiles(took_ms, [(JOIN_P50, 50), (JOIN_MAX, 100)])
}

/// One viewer after the other, each of whom comes in the middle of a GOP and is looked at a while later.
fn look_again_and_again(
    browser: &mut Process,
    stream: &Stream,
    last: Duration,
) -> Result<Vec<Sample>, Box<dyn Error>> {
    let (mut at, mut late_ms) = (FIRST, Vec::new());
    while at + SETTLING + LOOK <= last {
        stream.wait_for(at);
        ask(browser, "join")?;
        thread::sleep(SETTLING);
        let seen = ask(browser, &format!("look {}", LOOK.as_millis()))?;
        ask(browser, "leave")?;
        let sent_ms = stream.sent_ms.lock().unwrap_or_else(PoisonError::into_inner);
        late_ms.extend(late(&seen, &sent_ms)?);
        at += LOOK_STEP;
    }
    quantiles(late_ms, [(SHOWN_P50, 50), (SHOWN_P99, 99)])
}

/// How late each picture was, of those seen: `<number>,<Unix time in ms>,<RTP time>` each. A picture's number and its RTP
/// time have to agree, which they don't when a newer one was read than the time is of.
fn late(seen: &str, sent_ms: &[f64]) -> Result<Vec<f64>, Box<dyn Error>> {
    let (mut pictures, mut all, mut first_90k) = (Vec::new(), 0, None);
    for picture in seen.split_whitespace() {
        let fields: Vec<&str> = picture.split(',').collect();
        let [number, at_ms, rtp_90k] = fields[..] else { return Err("fields are missing".into()) };
        let (at_ms, rtp_90k): (f64, u32) = (at_ms.parse()?, rtp_90k.parse()?);
        all += 1;
        if let Ok(number) = number.parse::<u32>() {
            let origin_90k = rtp_90k.wrapping_sub(number.wrapping_mul(PICTURE_90K));
            let first_90k = *first_90k.get_or_insert(origin_90k);
            pictures.push((number, at_ms, origin_90k.wrapping_sub(first_90k).cast_signed()));
        }
    }
    let mut origins_90k: Vec<i32> = pictures.iter().map(|&(_, _, origin_90k)| origin_90k).collect();
    origins_90k.sort_unstable();
    let middle_90k = origins_90k.get(origins_90k.len() / 2).copied().unwrap_or_default();
    // Containers round times to milliseconds.
    pictures.retain(|&(_, _, origin_90k)| origin_90k.abs_diff(middle_90k) < PICTURE_90K / 2);
    if pictures.len() < all {
        let dropped = all - pictures.len();
        write_note(&format!("{dropped} of {all} pictures dropped: another was read, or none"));
    }
    let late = pictures.iter().filter_map(|&(number, at_ms, _)| {
        Some(at_ms - sent_ms.get(usize::try_from(number).ok()?)?)
    });
    Ok(late.collect())
}

fn quantiles<const N: usize>(
    mut values: Vec<f64>,
    which: [(&'static str, usize); N],
) -> Result<Vec<Sample>, Box<dyn Error>> {
    values.sort_unstable_by(f64::total_cmp);
    let most = values.len().checked_sub(1).ok_or("there was no picture")?;
    let sample = |(unit, per_cent)| Sample { unit, value: values[most * per_cent / 100] };
    Ok(which.map(sample).to_vec())
}

fn start(port: u16) -> Result<Process, Box<dyn Error>> {
    let playwright = modules().join("playwright-core");
    for needed in [&playwright, Path::new(CHROMIUM)] {
        if !needed.exists() {
            return Err(format!("{} is missing: scripts/setup.sh bench", needed.display()).into());
        }
    }
    let mut command = Command::new("node");
    command.args([&folder().join("whep.mjs"), &playwright, Path::new(CHROMIUM)]);
    command.args([port.to_string(), CODE_BITS.to_string(), CODE_SIDE.to_string()]);
    let (process, ()) = Process::start(command, |line| (line.trim() == "ready").then_some(()))?;
    Ok(process)
}

/// Has the page do something; what it answers.
fn ask(browser: &mut Process, command: &str) -> Result<String, Box<dyn Error>> {
    let answer = browser.tell(command)?;
    let ok = answer.strip_prefix("ok ");
    Ok(ok.map(|ok| ok.trim().to_owned()).ok_or_else(|| format!("{command}: {}", answer.trim()))?)
}

/// In the middle of a GOP of 4 s.
const FIRST: Duration = Duration::from_secs(6);
/// No multiple of a GOP of 1 s.
const JOIN_STEP: Duration = Duration::from_millis(2_300);
/// So that each comes at the same place of a GOP of 4 s.
const LOOK_STEP: Duration = Duration::from_secs(8);
/// From when a viewer has its first picture until it is looked at.
const SETTLING: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(3_500);
/// At 30 pictures a second.
const PICTURE_90K: u32 = 3_000;

#[cfg(test)]
mod tests {
    use super::late;

    #[test]
    fn a_picture_whose_time_is_of_another_is_not_counted() {
        let sent_ms = [1_000.0, 1_033.0, 1_066.0, 1_100.0];
        let seen = "0,1080,7000 1,1113,9970 3,1146,13000 -,1150,14000 3,1180,16030";
        assert_eq!(late(seen, &sent_ms).unwrap(), [80.0, 80.0, 80.0]);
    }
}
