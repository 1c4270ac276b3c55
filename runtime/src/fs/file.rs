//! Open files.
//!
//! The position in a file is kept here and not in the kernel: calls read and write at a position, so
//! one that is cut short has moved nothing. What a thread had begun to write when its caller left
//! may still be written. So the next call that uses the position waits for the end of that, and
//! calls do not overtake each other.

use std::fmt;
use std::fs::Metadata;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use crate::blocking::{self, Job};
use crate::net::Incomplete;
use crate::scheduler::Scheduler;
use crate::sync::{Mutex, MutexGuard};
use crate::wait;

/// Bytes that one job reads or writes at most: so many are copied at once on the runtime's thread,
/// in about 25 µs.
const CHUNK: usize = 256 * 1024;

/// An open file.
///
/// It implements [`Read`], [`Write`] and [`Seek`], also by shared reference, like std's. One call
/// reads or writes up to 256 KiB, which are copied to and from the thread; [`fs::read`](crate::fs::read) and
/// [`fs::write`](crate::fs::write()) copy nothing. Dropping the file closes it on a thread of the
/// pool; only [`File::close`] tells how that went. It is for what has positions: for pipes,
/// terminals and sockets there is [`NetFd`](crate::net::NetFd).
pub struct File {
    /// There until the drop.
    file: Option<Arc<std::fs::File>>,
    /// Locked by calls that use the position, and by those that are to come after what such
    /// calls began.
    cursor: Mutex<Cursor>,
}

#[derive(Debug)]
struct Cursor {
    position: u64,
    /// What a thread had begun when the caller left.
    unfinished: Option<Job<Transfer>>,
}

/// How many bytes a job has moved, and those that it read.
type Transfer = io::Result<(usize, Vec<u8>)>;

/// How a file is to be opened, as [`std::fs::OpenOptions`].
#[derive(Clone, Debug)]
#[must_use = "options open nothing until `open`"]
pub struct OpenOptions(std::fs::OpenOptions);

impl OpenOptions {
    /// Nothing is set.
    pub fn new() -> Self {
        Self(std::fs::OpenOptions::new())
    }

    /// For reading.
    pub fn read(mut self, read: bool) -> Self {
        self.0.read(read);
        self
    }

    /// For writing.
    pub fn write(mut self, write: bool) -> Self {
        self.0.write(write);
        self
    }

    /// For writing at the end, wherever the position is.
    pub fn append(mut self, append: bool) -> Self {
        self.0.append(append);
        self
    }

    /// Cuts the file to nothing.
    pub fn truncate(mut self, truncate: bool) -> Self {
        self.0.truncate(truncate);
        self
    }

    /// Makes the file if there is none.
    pub fn create(mut self, create: bool) -> Self {
        self.0.create(create);
        self
    }

    /// Makes the file, and fails if there is one.
    pub fn create_new(mut self, create_new: bool) -> Self {
        self.0.create_new(create_new);
        self
    }

    /// The permissions of a file that is made, before the umask: 0o666 by default.
    pub fn mode(mut self, mode: u32) -> Self {
        self.0.mode(mode);
        self
    }

    /// Further flags for `open(2)`.
    pub fn custom_flags(mut self, flags: i32) -> Self {
        self.0.custom_flags(flags);
        self
    }

    /// Opens the file.
    ///
    /// # Suspends
    ///
    /// Until it is open, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// As [`std::fs::OpenOptions::open`] and [`blocking::run`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn open(self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref().to_owned();
        let file = blocking::run(move || self.0.open(path))??;
        Ok(File::new(file))
    }
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl File {
    fn new(file: std::fs::File) -> Self {
        let cursor = Mutex::new(Cursor { position: 0, unfinished: None });
        Self { file: Some(Arc::new(file)), cursor }
    }

    /// Opens a file for reading.
    ///
    /// # Suspends
    ///
    /// Until it is open, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file for writing: an empty one, whether there was one or not.
    ///
    /// # Suspends
    ///
    /// Until it is open, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// As [`OpenOptions::open`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path)
    }

    /// Reads up to 256 KiB at `offset`, without the position; 0 bytes are the end of the file.
    ///
    /// # Suspends
    ///
    /// Until it is done, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// As [`FileExt::read_at`] and [`blocking::run`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let (file, len) = (self.handle(), buf.len().min(CHUNK));
        let (count, read) = blocking::run(move || read_at(&file, len, offset))??;
        buf[..count].copy_from_slice(&read);
        Ok(count)
    }

    /// Writes up to 256 KiB at `offset`, without the position; the result is how many bytes were
    /// written. Cut short, it may still happen later.
    ///
    /// # Suspends
    ///
    /// Until it is done, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// As [`FileExt::write_at`] and [`blocking::run`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let (file, data) = (self.handle(), buf[..buf.len().min(CHUNK)].to_vec());
        blocking::run(move || retry(|| file.write_at(&data, offset)))?
    }

    /// Fills `buf`, however many reads that takes. A deadline counts over the whole.
    ///
    /// # Suspends
    ///
    /// Until it is done, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// [`Incomplete`] with the number of bytes read and the error, `UnexpectedEof` at the end of the
    /// file. The position is behind what was read.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn read_full(&self, buf: &mut [u8]) -> Result<(), Incomplete> {
        let mut done = 0;
        while done < buf.len() {
            match (&*self).read(&mut buf[done..]) {
                Ok(0) => {
                    return Err(Incomplete { done, error: io::ErrorKind::UnexpectedEof.into() });
                }
                Ok(count) => done += count,
                Err(error) => return Err(Incomplete { done, error }),
            }
        }
        Ok(())
    }

    /// Writes all of `buf`, however many writes that takes. A deadline counts over the whole.
    ///
    /// # Suspends
    ///
    /// Until it is done, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// [`Incomplete`] with the number of bytes written and the error. The position is behind what was
    /// written; of what comes after that up to 256 KiB may be written, too.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn write_full(&self, buf: &[u8]) -> Result<(), Incomplete> {
        let mut done = 0;
        while done < buf.len() {
            match (&*self).write(&buf[done..]) {
                Ok(0) => return Err(Incomplete { done, error: io::ErrorKind::WriteZero.into() }),
                Ok(count) => done += count,
                Err(error) => return Err(Incomplete { done, error }),
            }
        }
        Ok(())
    }

    /// Waits until all that was written to the file is on the disk, what is known about it
    /// (`metadata`) included.
    ///
    /// # Suspends
    ///
    /// Until it is done, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::sync_all`] and [`blocking::run`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn sync_all(&self) -> io::Result<()> {
        self.change(|file| file.sync_all())
    }

    /// Waits until all that was written to the file is on the disk.
    ///
    /// # Suspends
    ///
    /// Until it is done, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::sync_data`] and [`blocking::run`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn sync_data(&self) -> io::Result<()> {
        self.change(|file| file.sync_data())
    }

    /// Cuts the file to `len` bytes, or lengthens it with zeros. The position stays.
    ///
    /// # Suspends
    ///
    /// Until it is done, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::set_len`] and [`blocking::run`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(move |file| file.set_len(len))
    }

    /// What the file system tells of the file.
    ///
    /// # Suspends
    ///
    /// Until it is done, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// As [`std::fs::File::metadata`] and [`blocking::run`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn metadata(&self) -> io::Result<Metadata> {
        let file = self.handle();
        blocking::run(move || file.metadata())?
    }

    /// Closes the file and tells what the system reports of that: some file systems tell only here
    /// that a write failed. Whatever the result, the file is closed, at the latest when calls on it
    /// that were cut short have ended.
    ///
    /// # Suspends
    ///
    /// Until it is done, a deadline passes or the coroutine is cancelled.
    ///
    /// # Errors
    ///
    /// What `close(2)` reports, and as [`blocking::run`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn close(mut self) -> io::Result<()> {
        drop(self.lock()?);
        let Some(file) = self.file.take() else { return Ok(()) };
        blocking::run(move || match Arc::into_inner(file) {
            // The descriptor is closed also when that was interrupted (close(2), Linux).
            Some(file) => match nix::unistd::close(OwnedFd::from(file)) {
                Ok(()) | Err(nix::errno::Errno::EINTR) => Ok(()),
                Err(error) => Err(error.into()),
            },
            None => Ok(()),
        })?
    }

    fn handle(&self) -> Arc<std::fs::File> {
        Arc::clone(self.file.as_ref().expect("it is there until the drop"))
    }

    /// Locks the position and waits for the end of what was begun with it and left.
    #[cfg_attr(debug_assertions, track_caller)]
    fn lock(&self) -> io::Result<MutexGuard<'_, Cursor>> {
        let mut cursor = self.cursor.lock()?;
        if let Some(job) = &cursor.unfinished {
            job.wait(wait::enter()?)?;
            cursor.unfinished = None;
        }
        Ok(cursor)
    }

    /// Does `f` after all that was begun before.
    #[cfg_attr(debug_assertions, track_caller)]
    fn change(
        &self,
        f: impl FnOnce(&std::fs::File) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let file = self.handle();
        self.lock()?.perform(move || f(&file).map(|()| (0, Vec::new()))).map(drop)
    }
}

impl Cursor {
    /// Has a thread do `f`, and keeps what it had begun when the wait is cut short.
    #[cfg_attr(debug_assertions, track_caller)]
    fn perform(&mut self, f: impl FnOnce() -> Transfer + Send + 'static) -> Transfer {
        let here = wait::enter()?;
        let job = Job::submit(here, &here.scheduler.pools.work, f)?;
        if let Err(error) = job.wait(here) {
            self.unfinished = (!job.withdraw()).then_some(job);
            return Err(error.into());
        }
        job.take()?
    }
}

impl Drop for File {
    /// Closing may block, so a thread does it; without a runtime it is done here.
    fn drop(&mut self) {
        if let (Some(file), Some(scheduler)) = (self.file.take(), Scheduler::current()) {
            scheduler.pools.work.discard(file);
        }
    }
}

impl Read for &File {
    /// Reads up to 256 KiB. Cut short by a deadline or a cancellation it leaves the position.
    #[cfg_attr(debug_assertions, track_caller)]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (file, len) = (self.handle(), buf.len().min(CHUNK));
        let mut cursor = self.lock()?;
        let position = cursor.position;
        let (count, read) = cursor.perform(move || read_at(&file, len, position))?;
        buf[..count].copy_from_slice(&read);
        cursor.position += count as u64;
        Ok(count)
    }
}

impl Write for &File {
    /// Writes up to 256 KiB. Cut short by a deadline or a cancellation it leaves the position, so
    /// the same write again goes to the same place, but not when appending: then the data may be
    /// there twice.
    #[cfg_attr(debug_assertions, track_caller)]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let (file, data) = (self.handle(), buf[..buf.len().min(CHUNK)].to_vec());
        let mut cursor = self.lock()?;
        let position = cursor.position;
        let write = move || Ok((retry(|| file.write_at(&data, position))?, Vec::new()));
        let (count, _) = cursor.perform(write)?;
        cursor.position += count as u64;
        Ok(count)
    }

    /// Does nothing: nothing is kept back. See [`File::sync_data`].
    #[cfg_attr(debug_assertions, track_caller)]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for &File {
    /// Moves the position; from the end it asks the file system, which suspends.
    #[cfg_attr(debug_assertions, track_caller)]
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let mut cursor = self.lock()?;
        let moved = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => cursor.position.checked_add_signed(by),
            SeekFrom::End(by) => self.metadata()?.len().checked_add_signed(by),
        };
        let negative = || io::Error::new(io::ErrorKind::InvalidInput, "a position before the file");
        cursor.position = moved.ok_or_else(negative)?;
        Ok(cursor.position)
    }
}

impl Read for File {
    #[cfg_attr(debug_assertions, track_caller)]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for File {
    #[cfg_attr(debug_assertions, track_caller)]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    #[cfg_attr(debug_assertions, track_caller)]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    #[cfg_attr(debug_assertions, track_caller)]
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self).seek(to)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.file).finish()
    }
}

fn read_at(file: &std::fs::File, len: usize, offset: u64) -> Transfer {
    let mut buffer = vec![0; len];
    let count = retry(|| file.read_at(&mut buffer, offset))?;
    buffer.truncate(count);
    Ok((count, buffer))
}

/// No error of ours is `Interrupted`, which std's loops retry for ever.
fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::sync::channel;

    #[test]
    fn a_call_that_was_cut_short_is_over_before_the_next_begins() {
        crate::run(|| -> io::Result<()> {
            let file = Rc::new(OpenOptions::new().read(true).open("Cargo.toml")?);
            let (begins, begun) = channel::remote(1);
            let (end, ends) = mpsc::channel();
            let theirs = Rc::clone(&file);
            let slow = crate::spawn(move || {
                theirs.change(move |_| {
                    begins.send(()).expect("it is received");
                    ends.recv().expect("it is told to end");
                    Ok(())
                })
            });
            begun.recv()?;
            slow.cancel();
            assert!(crate::is_cancelled(&slow.join()?.unwrap_err()));
            let late = crate::timeout(Duration::from_millis(5), || file.sync_data());
            assert!(crate::timed_out(&late.unwrap_err()).is_some());
            // Calls that do not use the position do not wait.
            assert_eq!(file.read_at(&mut [0; 4], 0)?, 4);
            end.send(()).expect("the call goes on");
            (&*file).read_exact(&mut [0; 4])?;
            assert_eq!((&*file).stream_position()?, 4);
            Ok(())
        })
        .unwrap();
    }
}
