//! Files and folders. A disk has no readiness to wait for, so every call runs on a thread of the
//! [`blocking`] pool, and only its caller waits.
//!
//! Each call suspends until it is done, a deadline passes or the coroutine is cancelled. In the last
//! two cases it returns at once: what no thread had begun does not happen, and what one had begun
//! goes on there and may still happen, however long the disk hangs. Paths and contents move to the
//! thread and back, they are not copied. Errors are those of std; a cancellation, a passed
//! deadline and a pool without a thread are told as by [`blocking::run`].
//!
//! What is not here runs as well with [`blocking::run`] around std's.
#![expect(clippy::disallowed_methods, reason = "they are called on threads of the pool")]

mod dir;
mod file;

use std::fs::Metadata;
use std::io;
use std::path::Path;

use crate::blocking;

pub use dir::{DirEntry, ReadDir, read_dir};
pub use file::{File, OpenOptions};

/// Reads a whole file.
///
/// # Suspends
///
/// Until it is done, a deadline passes or the coroutine is cancelled.
///
/// # Errors
///
/// As [`std::fs::read`] and [`blocking::run`].
#[cfg_attr(debug_assertions, track_caller)]
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let path = path.as_ref().to_owned();
    offload(move || std::fs::read(path))
}

/// Writes `contents` as the whole of a file, which is made if there is none. A `Vec` is not copied.
///
/// Cut short, or by a crash, it may leave a part of them in the file; write to another file and
/// [`rename`] it where that matters.
///
/// # Suspends
///
/// Until it is done, a deadline passes or the coroutine is cancelled.
///
/// # Errors
///
/// As [`std::fs::write`] and [`blocking::run`].
#[cfg_attr(debug_assertions, track_caller)]
pub fn write(path: impl AsRef<Path>, contents: impl Into<Vec<u8>>) -> io::Result<()> {
    let (path, contents) = (path.as_ref().to_owned(), contents.into());
    offload(move || std::fs::write(path, contents))
}

/// Renames a file or folder, and replaces what has the new name.
///
/// # Suspends
///
/// Until it is done, a deadline passes or the coroutine is cancelled.
///
/// # Errors
///
/// As [`std::fs::rename`] and [`blocking::run`].
#[cfg_attr(debug_assertions, track_caller)]
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let (from, to) = (from.as_ref().to_owned(), to.as_ref().to_owned());
    offload(move || std::fs::rename(from, to))
}

/// Removes a file.
///
/// # Suspends
///
/// Until it is done, a deadline passes or the coroutine is cancelled.
///
/// # Errors
///
/// As [`std::fs::remove_file`] and [`blocking::run`].
#[cfg_attr(debug_assertions, track_caller)]
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    offload(move || std::fs::remove_file(path))
}

/// Makes a folder and those that it lies in, as far as they are not there.
///
/// # Suspends
///
/// Until it is done, a deadline passes or the coroutine is cancelled.
///
/// # Errors
///
/// As [`std::fs::create_dir_all`] and [`blocking::run`].
#[cfg_attr(debug_assertions, track_caller)]
pub fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    offload(move || std::fs::create_dir_all(path))
}

/// Removes a folder and all that is in it; links are removed and not followed.
///
/// # Suspends
///
/// Until it is done, a deadline passes or the coroutine is cancelled.
///
/// # Errors
///
/// As [`std::fs::remove_dir_all`] and [`blocking::run`].
#[cfg_attr(debug_assertions, track_caller)]
pub fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    offload(move || std::fs::remove_dir_all(path))
}

/// What the file system tells of a file or folder. Links are followed.
///
/// # Suspends
///
/// Until it is done, a deadline passes or the coroutine is cancelled.
///
/// # Errors
///
/// As [`std::fs::metadata`] and [`blocking::run`].
#[cfg_attr(debug_assertions, track_caller)]
pub fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
    let path = path.as_ref().to_owned();
    offload(move || std::fs::metadata(path))
}

#[cfg_attr(debug_assertions, track_caller)]
fn offload<F, T>(f: F) -> io::Result<T>
where
    F: FnOnce() -> io::Result<T> + Send + 'static,
    T: Send + 'static,
{
    blocking::run(f)?
}
