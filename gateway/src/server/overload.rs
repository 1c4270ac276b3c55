//! Too much load: measured while there is a mark to compare it with, and what is given up for it, step by step.
//!
//! A mark that is exceeded twice in a row makes the first step at once; each further one takes as long as the
//! configuration says, and so does taking one back, for which everything has to be a tenth below its mark. Between both
//! nothing changes, so that what a step achieves is not its own end.

use super::{Gateway, limits::resident_bytes};
use crate::{
    auth::{Action, Gate, Refused},
    config,
    hub::{ClientId, Clients, EventKind, Level, Measured, Registry, Role},
};
use nix::time::{ClockId, clock_gettime};
use std::{
    io,
    rc::Rc,
    time::{Duration, Instant},
};
use thalweg_runtime::{self as rt, JoinHandle, TURN_BUCKETS, TurnTimes, blocking};
use tracing::{info, warn};

/// How often it is measured.
const LOOK: Duration = Duration::from_millis(500);

/// All is well below this share of each mark.
const CALM: f64 = 0.9;

/// One in so many players is ended at a look, and at least one.
const ENDED_AT_ONCE: usize = 20;

/// Has the gate refuse by the load, before anybody else is asked, and all refusals noted.
pub(super) fn guard(gate: &Gate, registry: &Registry, clients: &Clients) {
    let load = registry.load().clone();
    gate.add_check(move |ask| {
        let least = match ask.action {
            Action::Play => Level::RefuseViewers,
            Action::Publish => Level::EndViewers,
        };
        if load.level() < least {
            return Ok(None);
        }
        Err(Refused::Unavailable("there is too much load for one more".into()))
    });
    let clients = clients.clone();
    gate.set_on_refused(move |ask, refused| {
        if let Some(client) = clients.find(ClientId(ask.client)) {
            client.note_refusal(Some(&ask.key), refused, None);
        }
    });
}

/// Measures and steps, while there is any mark.
pub(super) fn watch(gateway: &Rc<Gateway>) -> io::Result<Option<JoinHandle<()>>> {
    let marks = gateway.config.overload;
    let has_mark =
        marks.cpu_percent.is_some() || marks.memory_bytes.is_some() || marks.lag_ms.is_some();
    if !has_mark {
        return Ok(None);
    }
    let gateway = Rc::clone(gateway);
    let watch = rt::Builder::new().name("overload").spawn(move || {
        // It is cancelled when the gateway ends; without a thread to look there is nothing to decide by.
        if let Err(error) = look_after(&gateway, &marks)
            && !rt::is_cancelled(&error)
        {
            warn!(%error, "the load is not watched any more");
            gateway.registry.set_load(Level::Normal);
        }
    })?;
    Ok(Some(watch))
}

fn look_after(gateway: &Gateway, marks: &config::Overload) -> io::Result<()> {
    let mut meter = Meter::begin();
    let mut ladder = Ladder::new(marks.step);
    loop {
        let due = rt::now() + LOOK;
        rt::sleep_until(due)?;
        let measured = meter.measure(due, marks.memory_bytes.is_some())?;
        gateway.registry.load().set_measured(measured);
        let excess = Excess::of(&measured, marks);
        if let Some(level) = ladder.step(rt::now(), excess.share) {
            let what = excess.to_string();
            if level == Level::Normal {
                info!("the load is normal again: {what}");
            } else {
                warn!(level = level.name(), "too much load: {what}");
            }
            let events = gateway.clients.events();
            events.note(EventKind::Overload, format_args!("{}: {what}", level.name()));
            gateway.registry.set_load(level);
        }
        if ladder.level == Level::EndViewers && excess.share >= 1.0 {
            end_some(gateway);
        }
    }
}

/// Ends a few players, the latest first: who has watched longest is let watch.
fn end_some(gateway: &Gateway) {
    let mut players = gateway.clients.list();
    players.retain(|client| matches!(client.role(), Some(Role::Player(_))));
    let count = players.len().div_ceil(ENDED_AT_ONCE);
    for client in players.iter().rev().take(count) {
        let events = gateway.clients.events();
        events.note_client(EventKind::Overload, client, "ended: there is too much load");
        if client.kick() {
            gateway.registry.load().note_ended();
        }
    }
}

/// Measures from one look to the next.
struct Meter {
    at: Instant,
    cpu: Duration,
    turns: TurnTimes,
}

impl Meter {
    fn begin() -> Self {
        Self { at: rt::now(), cpu: cpu_time(), turns: turn_times() }
    }

    /// What was since the last call. It was to be at `due`.
    fn measure(&mut self, due: Instant, wants_memory: bool) -> io::Result<Measured> {
        let before = std::mem::replace(self, Self::begin());
        let passed = self.at.saturating_duration_since(before.at).as_secs_f64().max(0.001);
        let used = self.cpu.saturating_sub(before.cpu).as_secs_f64();
        let late = self.at.saturating_duration_since(due);
        let memory_bytes = if wants_memory { blocking::run(resident_bytes)? } else { 0 };
        Ok(Measured {
            cpu_percent: 100.0 * used / passed,
            memory_bytes,
            lag: late.max(longest_turn(&before.turns, &self.turns)),
        })
    }
}

/// CPU time of this thread, which runs everything.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

fn turn_times() -> TurnTimes {
    rt::stats().map(|stats| stats.turn_times).unwrap_or_default()
}

/// At least how long the longest turn took between two looks: nobody else ran during it.
fn longest_turn(before: &TurnTimes, now: &TurnTimes) -> Duration {
    let grown = |&bucket: &usize| now.counts.get(bucket) > before.counts.get(bucket);
    match (0..TURN_BUCKETS).rev().find(grown) {
        Some(bucket) if bucket > 0 => TurnTimes::bound(bucket - 1),
        _ => Duration::ZERO,
    }
}

/// What comes closest to its mark, or exceeds it most.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Excess {
    /// 1 is the mark.
    share: f64,
    what: &'static str,
    measured: f64,
    mark: f64,
}

impl Excess {
    #[expect(clippy::cast_precision_loss, reason = "compared with marks, not counted with")]
    fn of(measured: &Measured, marks: &config::Overload) -> Self {
        let each = [
            ("CPU %", measured.cpu_percent, marks.cpu_percent.map(f64::from)),
            ("bytes of memory", measured.memory_bytes as f64, marks.memory_bytes.map(|b| b as f64)),
            ("ms of lag", measured.lag.as_secs_f64() * 1000.0, marks.lag_ms.map(f64::from)),
        ];
        let excesses = each.into_iter().filter_map(|(what, measured, mark)| {
            mark.map(|mark| Self { share: measured / mark, what, measured, mark })
        });
        let none = Self { share: 0.0, what: "", measured: 0.0, mark: 0.0 };
        excesses.fold(none, |most, one| if one.share > most.share { one } else { most })
    }
}

impl std::fmt::Display for Excess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, measured, mark, .. } = self;
        write!(f, "{measured:.0} {what}, the mark is {mark:.0}")
    }
}

/// Which step is taken when.
struct Ladder {
    level: Level,
    step: Duration,
    /// The mark was exceeded at the last look.
    was_over: bool,
    /// Since when it has been exceeded without a step, or all has been calm.
    over_since: Option<Instant>,
    calm_since: Option<Instant>,
}

impl Ladder {
    const fn new(step: Duration) -> Self {
        Self { level: Level::Normal, step, was_over: false, over_since: None, calm_since: None }
    }

    /// The level from now on, if it is another; `share` is 1 at the mark.
    fn step(&mut self, now: Instant, share: f64) -> Option<Level> {
        let is_over = share >= 1.0;
        let was_over = std::mem::replace(&mut self.was_over, is_over);
        let is_calm = share < CALM;
        self.calm_since = is_calm.then(|| self.calm_since.unwrap_or(now));
        self.over_since = is_over.then(|| self.over_since.unwrap_or(now));
        let lasts = |since: Option<Instant>| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= self.step)
        };
        let next = match self.level {
            Level::Normal if is_over && was_over => self.level.above(),
            Level::Normal => return None,
            level if lasts(self.over_since) => level.above(),
            level if lasts(self.calm_since) => level.below(),
            level => level,
        };
        if next == self.level {
            return None;
        }
        self.level = next;
        (self.over_since, self.calm_since) = (is_over.then_some(now), is_calm.then_some(now));
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(5);

    /// The levels that looks at these shares lead to, half a second apart.
    fn levels(shares: &[f64]) -> Vec<Level> {
        let start = rt::now();
        let mut ladder = Ladder::new(STEP);
        let looks = shares.iter().zip(0_u32..);
        looks
            .map(|(&share, n)| {
                ladder.step(start + n * LOOK, share);
                ladder.level
            })
            .collect()
    }

    #[test]
    fn steps_are_taken_one_by_one_and_taken_back_one_by_one() {
        let seen = levels(&[[1.2; 30], [0.5; 30], [0.5; 30]].concat());
        let firsts: Vec<usize> = [Level::RefuseViewers, Level::DropPictures, Level::EndViewers]
            .iter()
            .map(|level| seen.iter().position(|seen| seen == level).unwrap())
            .collect();
        assert_eq!(firsts, [1, 11, 21]);
        let back = |level| seen.iter().rposition(|&seen| seen == level).unwrap();
        assert_eq!(back(Level::EndViewers), 39);
        assert_eq!(back(Level::DropPictures), 49);
        assert_eq!(back(Level::RefuseViewers), 59);
        assert_eq!(seen.last(), Some(&Level::Normal));
    }

    #[test]
    fn one_peak_is_no_load_and_a_little_less_is_no_calm() {
        assert!(levels(&[0.9, 1.5, 0.9, 1.5, 0.0]).iter().all(|&level| level == Level::Normal));
        let held = levels(&[&[1.5, 1.5][..], &[0.95; 100]].concat());
        assert_eq!(held.last(), Some(&Level::RefuseViewers));
    }

    #[test]
    fn what_exceeds_its_mark_most_is_named() {
        let marks = config::Overload {
            cpu_percent: Some(50),
            memory_bytes: Some(1000),
            lag_ms: None,
            step: STEP,
        };
        let measured =
            Measured { cpu_percent: 60.0, memory_bytes: 3000, lag: Duration::from_secs(9) };
        let excess = Excess::of(&measured, &marks);
        assert_eq!(excess.to_string(), "3000 bytes of memory, the mark is 1000");
        assert!((excess.share - 3.0).abs() < 1e-9);
        let none = config::Overload { cpu_percent: None, memory_bytes: None, ..marks };
        assert!(Excess::of(&measured, &none).share < 1.0);
    }

    #[test]
    fn the_longest_turn_is_that_of_the_highest_bucket_that_grew() {
        let (before, mut now) = (TurnTimes::default(), TurnTimes::default());
        assert_eq!(longest_turn(&before, &now), Duration::ZERO);
        now.counts[17] = 1;
        now.counts[3] = 100;
        assert_eq!(longest_turn(&before, &now), TurnTimes::bound(16));
    }
}
