//! The series of recordings and of the disks that are written to.

use super::family::{Page, Values, float};
use crate::disk::Disk;
use crate::record::{Phase, Recorder};

impl Page {
    pub(super) fn recordings(&mut self, recorder: &Recorder) {
        let (running, library) = (recorder.list(), recorder.library());
        let phases = [Phase::Waiting, Phase::Recording, Phase::Failing, Phase::Stalled];
        let count = |phase: Phase| running.iter().filter(|status| status.phase == phase).count();
        let series = phases
            .map(|phase| (vec![("state", phase.name().to_owned())], float(count(phase) as u64)));
        let help = "Streams that are being recorded, by what the recording does.";
        self.add("thalweg_recorders", help, Values::Gauge(series.into()));
        let totals = recorder.totals();
        for (name, help, value) in [
            ("files_begun", "Files of recordings that were begun.", totals.files),
            ("written_bytes", "Bytes of recordings that were written.", totals.bytes),
            ("failures", "Times that a recording could not be written.", totals.failures),
            ("skips", "Times that a recording fell out of its stream's ring.", totals.skips),
            ("skipped_units", "Units, or pieces of them, that were lost by that.", totals.skipped),
            ("expired_files", "Files that were removed as too old or too many.", totals.expired),
        ] {
            self.counter(&format!("thalweg_recording_{name}"), help, float(value));
        }
        let help = "Files of recordings that there are.";
        self.gauge("thalweg_recording_files", help, float(library.count() as u64));
        let help = "Bytes of all recordings that there are.";
        self.gauge("thalweg_recording_bytes", help, float(library.bytes()));
    }

    pub(super) fn disks(&mut self, disks: &[Disk]) {
        let (mut free, mut total) = (Vec::new(), Vec::new());
        let (mut failures, mut failing, mut stalled) = (Vec::new(), Vec::new(), Vec::new());
        for disk in disks {
            let (labels, health) = (vec![("disk", disk.name().to_owned())], disk.health());
            if let Some(space) = health.space {
                free.push((labels.clone(), float(space.free)));
                total.push((labels.clone(), float(space.total)));
            }
            failures.push((labels.clone(), float(health.failures)));
            failing.push((labels.clone(), f64::from(u8::from(health.error.is_some()))));
            stalled.push((labels, health.stalled.unwrap_or_default().as_secs_f64()));
        }
        let help = "Room for more, as last measured.";
        self.add("thalweg_disk_free_bytes", help, Values::Gauge(free));
        self.add("thalweg_disk_size_bytes", "Size of the file system.", Values::Gauge(total));
        let help = "Writes that failed.";
        self.add("thalweg_disk_write_errors", help, Values::Counter(failures));
        let help = "Whether the last write failed.";
        self.add("thalweg_disk_failing", help, Values::Gauge(failing));
        let help = "For how long the disk has not answered; zero when it does.";
        self.add("thalweg_disk_stalled_seconds", help, Values::Gauge(stalled));
    }
}
