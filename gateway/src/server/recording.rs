//! Recording, as the configuration has it.

use super::Gateway;
use crate::{
    config::{self, RecordFormat, RecordPlan},
    disk::Disk,
    hooks::Hooks,
    hub::{Events, Registry},
    record::{Format, Plan, Recorder, Settings},
};
use std::{io, rc::Rc, time::Duration};
use thalweg_runtime::{self as rt, JoinHandle};
use tracing::error;

const DAY: Duration = Duration::from_secs(86_400);

/// What records, when there is a folder for it.
pub(super) fn recorder(
    config: &config::Record,
    registry: &Registry,
    hooks: &Hooks,
    events: &Events,
    disk: Option<&Disk>,
) -> Option<Recorder> {
    let disk = disk?.clone();
    let hooks = hooks.clone();
    let settings = Settings {
        disk,
        template: config.path.clone(),
        streams: config.streams.clone(),
        format: match config.format {
            RecordFormat::Mp4 => Format::Mp4,
            RecordFormat::Ts => Format::Ts,
            RecordFormat::Flv => Format::Flv,
        },
        plan: match config.plan {
            RecordPlan::Session => Plan::Session,
            RecordPlan::Segment => Plan::Segment(config.segment),
        },
        sync: config.sync_s.map(|seconds| Duration::from_secs(seconds.into())),
        keep: config.keep_days.map(|days| DAY * days),
        max_bytes: config.max_bytes,
        events: events.clone(),
        on_file: Rc::new(move |finished| {
            let file = finished.cwd.join(&finished.file);
            hooks.recorded(&finished.stream, &file.to_string_lossy());
        }),
    };
    Some(Recorder::new(registry.clone(), settings))
}

/// Starts what follows the rules and what removes old files.
pub(super) fn start(gateway: &Gateway) -> io::Result<Vec<JoinHandle<()>>> {
    let Some(recorder) = &gateway.recorder else { return Ok(Vec::new()) };
    let (rules, bounds) = (recorder.clone(), recorder.clone());
    Ok(vec![
        spawn("recording rules", move || rules.follow_rules())?,
        spawn("recording bounds", move || bounds.keep_bounds())?,
    ])
}

fn spawn(
    name: &'static str,
    run: impl FnOnce() -> io::Result<()> + 'static,
) -> io::Result<JoinHandle<()>> {
    rt::Builder::new().name(name).spawn(move || match run() {
        Err(error) if !rt::is_cancelled(&error) => error!(%error, "{name} ended"),
        _ => {}
    })
}
