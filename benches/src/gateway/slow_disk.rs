//! A disk that takes a megabyte a second: a file as a block device (`losetup`), which the kernel throttles for one process
//! (`io.max` of cgroup v2, `blkio.throttle.write_bps_device` of v1).
//!
//! The kernel throttles whoever submits a write. Of what a process leaves in the page cache that is some thread of the
//! kernel's, so the file system is mounted with `sync`: every write goes to the device before it returns, at the pace of
//! the disk. There is no journal, which another thread would write. The file is in memory, so that the machine's own disk
//! has no say. All that needs root and no package that Debian does not install anyway (mount, util-linux, e2fsprogs).

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::thread;
use std::time::{Duration, Instant};

/// The disk, mounted; gone when dropped, for which nobody may use it any more.
#[derive(Debug)]
pub(super) struct SlowDisk {
    image: PathBuf,
    device: Option<String>,
    folder: PathBuf,
    group: PathBuf,
}

impl SlowDisk {
    pub(super) fn new() -> Result<Self, Box<dyn Error>> {
        let id = process::id();
        let mut disk = Self {
            image: PathBuf::from(format!("/dev/shm/thalweg-bench-{id}.img")),
            device: None,
            folder: std::env::temp_dir().join(format!("thalweg-bench-disk-{id}")),
            group: group(id).map_err(|error| format!("{error} (this needs root)"))?,
        };
        fs::File::create(&disk.image)?.set_len(DISK_BYTES)?;
        let device = output("losetup", &["--find", "--show", text(&disk.image)?])?;
        disk.device = Some(device.clone());
        output("mkfs.ext4", &["-q", "-O", "^has_journal", &device])?;
        fs::create_dir_all(&disk.folder)?;
        output("mount", &["-o", "sync", &device, text(&disk.folder)?])?;
        disk.throttle(&device)?;
        Ok(disk)
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    /// Has the process, with all its threads, write at the pace of the disk.
    pub(super) fn slow_down(&self, pid: u32) -> io::Result<()> {
        fs::write(self.group.join("cgroup.procs"), pid.to_string())
    }

    /// How many bytes the files on it have.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        bytes_below(&self.folder)
    }

    /// Tells by trying how many bytes it takes in a second.
    pub(super) fn try_out(&self) -> Result<f64, Box<dyn Error>> {
        let file = self.folder.join("tried");
        let begun = Instant::now();
        // The shell joins the group, and with it what it begins.
        let script = "echo $$ > \"$1\"; exec dd if=/dev/zero of=\"$2\" bs=64k count=24 status=none";
        let procs = self.group.join("cgroup.procs");
        output("sh", &["-c", script, "sh", text(&procs)?, text(&file)?])?;
        let taken = f64::from(24 << 16) / begun.elapsed().as_secs_f64();
        fs::remove_file(file)?;
        if taken > 1.2 * BYTES_PER_SECOND as f64 {
            return Err(
                format!("the disk takes {:.1} MB/s: it is not throttled", taken / 1e6).into()
            );
        }
        Ok(taken)
    }

    fn throttle(&self, device: &str) -> Result<(), Box<dyn Error>> {
        let name = device.trim_start_matches("/dev/");
        let number = fs::read_to_string(format!("/sys/block/{name}/dev"))?;
        let number = number.trim();
        let (file, line) = if self.group.starts_with(VERSION_1) {
            ("blkio.throttle.write_bps_device", format!("{number} {BYTES_PER_SECOND}"))
        } else {
            ("io.max", format!("{number} wbps={BYTES_PER_SECOND}"))
        };
        // What is written must be one call.
        fs::OpenOptions::new()
            .write(true)
            .open(self.group.join(file))?
            .write_all(line.as_bytes())?;
        Ok(())
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // What is left is in memory, and told by its name.
        let folder = self.folder.display().to_string();
        let _unmounted = output("umount", &[&folder]);
        if let Some(device) = &self.device {
            let _freed = output("losetup", &["--detach", device]);
        }
        let _removed = fs::remove_file(&self.image).is_ok() && fs::remove_dir(&self.folder).is_ok();
        // A process of it that was killed may take a moment to be gone.
        let begun = Instant::now();
        while fs::remove_dir(&self.group).is_err()
            && self.group.exists()
            && begun.elapsed() < GROUP_LIMIT
        {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Makes the group of processes whose writes are throttled.
fn group(id: u32) -> Result<PathBuf, Box<dyn Error>> {
    let name = format!("thalweg-bench-{id}");
    let one = Path::new(VERSION_1);
    if one.join("cgroup.procs").exists() {
        let group = one.join(name);
        fs::create_dir_all(&group)?;
        return Ok(group);
    }
    let two = Path::new(VERSION_2);
    let controllers = fs::read_to_string(two.join("cgroup.controllers")).unwrap_or_default();
    if !controllers.split_whitespace().any(|controller| controller == "io") {
        return Err("no cgroup of this machine throttles disks".into());
    }
    fs::write(two.join("cgroup.subtree_control"), "+io")?;
    let group = two.join(name);
    fs::create_dir_all(&group)?;
    Ok(group)
}

/// What a program has printed, without space around it.
fn output(program: &str, args: &[&str]) -> Result<String, Box<dyn Error>> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} {args:?}: {} (this needs root)", said.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn bytes_below(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let (path, meta) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
        bytes += if meta.is_dir() { bytes_below(&path)? } else { meta.len() };
    }
    Ok(bytes)
}

fn text(path: &Path) -> Result<&str, &'static str> {
    path.to_str().ok_or("a folder's name is no text")
}

const BYTES_PER_SECOND: u64 = 1_000_000;
const DISK_BYTES: u64 = 512 << 20;
const VERSION_1: &str = "/sys/fs/cgroup/blkio";
const VERSION_2: &str = "/sys/fs/cgroup";
const GROUP_LIMIT: Duration = Duration::from_secs(5);
