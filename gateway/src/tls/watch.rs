//! Certificates that are replaced on disk: inotify(7) tells, nobody looks.
//!
//! It is the folders that are watched. A file that is renamed over another, or a link that is set anew, as certbot and
//! Kubernetes do it, shows there and not in the file.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::unistd::read;
use thalweg_runtime::net::{Interest, NetFd};
use thalweg_runtime::{self as rt, blocking, select};
use tracing::{error, info, warn};

use super::store::{Certificates, Notice, Swapped};

/// Folders that are watched.
#[derive(Debug)]
struct Watch {
    fd: NetFd,
}

/// Certificate and key are written one after the other; it is time to read them when nothing was written for so long.
const SETTLE: Duration = Duration::from_millis(300);

/// However much is written, they are read after so long.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// How often it is said again that a certificate has expired or is about to.
const REMINDER: Duration = Duration::from_secs(24 * 60 * 60);

impl Watch {
    /// Begins to watch the folders of `files`.
    fn new(files: &[PathBuf]) -> io::Result<Self> {
        let mut folders: Vec<PathBuf> = files.iter().map(|file| folder(file).to_owned()).collect();
        folders.sort_unstable();
        folders.dedup();
        // Looking up a path may wait for a disk.
        let fd = blocking::run(move || -> io::Result<OwnedFd> {
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
            for folder in &folders {
                let changes = AddWatchFlags::IN_CLOSE_WRITE
                    | AddWatchFlags::IN_MOVED_TO
                    | AddWatchFlags::IN_CREATE
                    | AddWatchFlags::IN_ONLYDIR;
                inotify.add_watch(folder, changes).map_err(|error| {
                    io::Error::new(
                        io::Error::from(error).kind(),
                        format!("{}: {error}", folder.display()),
                    )
                })?;
            }
            Ok(inotify.into())
        })??;
        Ok(Self { fd: NetFd::from_fd(fd)? })
    }

    /// Takes what was told, which is of no interest by itself, and waits until no more comes.
    fn settle(&self) -> io::Result<()> {
        let end = rt::now() + SETTLE_MAX;
        loop {
            let mut events = [0; 1024];
            let told = self.fd.try_io(Interest::Readable, |fd| Ok(read(fd.as_fd(), &mut events)?));
            match told {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let until = end.min(rt::now() + SETTLE);
                    match rt::deadline(until, || self.fd.readable()) {
                        Err(error) if rt::timed_out(&error).is_some() => return Ok(()),
                        other => other?,
                    }
                }
                Err(error) => return Err(error),
            }
            if rt::now() >= end {
                return Ok(());
            }
        }
    }
}

impl Certificates {
    /// Reads the files again whenever they change, and says when a certificate is about to expire, until the coroutine
    /// is cancelled.
    ///
    /// # Suspends
    ///
    /// In between.
    ///
    /// # Errors
    ///
    /// That it was cancelled.
    pub fn keep(&self) -> io::Result<()> {
        let files = self.files();
        let watch = match Watch::new(&files) {
            Err(error) if rt::is_cancelled(&error) => return Err(error),
            Err(error) => {
                warn!(%error, "certificates are not watched; SIGHUP has them read again");
                None
            }
            Ok(watch) => Some(watch).filter(|_| !files.is_empty()),
        };
        loop {
            let (notices, until) = self.notices(Timestamp::now());
            notices.iter().for_each(say);
            let reminder = (!notices.is_empty()).then_some(REMINDER);
            let until = until.and_then(|until| Duration::try_from(until).ok());
            // Without either there is nothing to say ever: a year is as good as any time.
            let wait = [reminder, until].into_iter().flatten().min().unwrap_or(365 * REMINDER);
            let Some(watch) = &watch else {
                rt::sleep(wait)?;
                continue;
            };
            let changed = select! {
                told = watch.fd.becoming_readable() => Some(told),
                _ = select::after(wait) => None,
            }?;
            if let Some(told) = changed {
                told?;
                watch.settle()?;
                self.reload_and_say();
            }
        }
    }

    /// Reads the files again and logs what came of it; whether that was an error.
    ///
    /// # Suspends
    ///
    /// While files are read.
    pub fn reload_and_say(&self) -> bool {
        match self.reload() {
            Ok(Swapped::New) => {
                for (name, validity) in self.validities() {
                    info!(certificate = name, not_after = %validity.not_after, "in force for new connections");
                }
                false
            }
            Ok(Swapped::Same) => false,
            Err(error) => {
                error!(%error, "the certificates stay as they were");
                true
            }
        }
    }
}

fn say(notice: &Notice) {
    let Notice { name, not_after, is_over } = notice;
    if *is_over {
        error!(certificate = name, %not_after, "the certificate has expired");
    } else {
        warn!(certificate = name, %not_after, "the certificate expires soon");
    }
}

/// The folder of a file, as a path that can be opened.
fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}
