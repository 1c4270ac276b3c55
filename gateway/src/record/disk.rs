//! What is done in the folder of recordings, by paths that cannot lead out of it. All of it blocks: threads of the pool do it.
//!
//! A path is walked from the folder down, one part at a time, and no part may be a symbolic link: `openat(2)` with
//! `O_NOFOLLOW`. Only the folder itself may be one. A file is made with `O_EXCL`, so none is ever written over.

use bytes::Bytes;
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, openat, renameat},
    sys::stat::{Mode, mkdirat},
    unistd::{UnlinkatFlags, unlinkat},
};
use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::Path,
};

/// How many names are tried for a file before it fails.
const NAMES_MAX: u32 = 1_000;

/// Splits a path below the folder into the parts of its folders and the file's name.
fn split(path: &str) -> io::Result<(Vec<&str>, &str)> {
    let mut parts: Vec<&str> = path.split('/').collect();
    let is_wrong =
        |part: &&str| part.is_empty() || *part == "." || *part == ".." || part.contains('\0');
    if parts.iter().any(is_wrong) {
        let text = format!("`{path}` is no path below the folder");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let name = parts.pop().unwrap_or_default();
    Ok((parts, name))
}

const FOLDER: OFlag =
    OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC).union(OFlag::O_RDONLY);

/// Opens the folder with these parts below `root`, and makes those that are missing if `make`.
fn folder(root: &Path, parts: &[&str], make: bool) -> io::Result<OwnedFd> {
    // The root itself may be a link: the operator named it.
    let flags = FOLDER.difference(OFlag::O_NOFOLLOW);
    let mut at = openat(AT_FDCWD, root, flags, Mode::empty())
        .map_err(|error| told(error, root.display()))?;
    let mut path = root.to_owned();
    for &part in parts {
        path.push(part);
        let open = |at: &OwnedFd| openat(at, part, FOLDER, Mode::empty());
        let next = match open(&at) {
            Err(Errno::ENOENT) if make => match mkdirat(&at, part, Mode::from_bits_truncate(0o777))
            {
                Ok(()) | Err(Errno::EEXIST) => open(&at),
                Err(error) => Err(error),
            },
            opened => opened,
        };
        at = next.map_err(|error| told(error, path.display()))?;
    }
    Ok(at)
}

/// An error with the path that it is about. A link is told as such.
fn told(error: Errno, path: impl std::fmt::Display) -> io::Error {
    let kind = io::Error::from(error).kind();
    let text = match error {
        Errno::ELOOP | Errno::ENOTDIR => {
            format!("{path}: is a symbolic link or no folder; links are not followed")
        }
        error => format!("{path}: {}", error.desc()),
    };
    io::Error::new(kind, text)
}

/// Makes a file that was not there, in folders that may be made for it. When there is one of that name it gets a number:
/// the result says what it is called. Blocks.
pub(super) fn create(root: &Path, path: &str) -> io::Result<(File, String)> {
    let (parts, name) = split(path)?;
    let at = folder(root, &parts, true)?;
    let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
    let flags =
        OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    for number in 0..NAMES_MAX {
        let name = match number {
            0 => name.to_owned(),
            number => format!("{stem}-{number}.{end}"),
        };
        let mode = Mode::from_bits_truncate(0o666);
        match openat(&at, name.as_str(), flags, mode) {
            Ok(file) => {
                let path =
                    parts.iter().copied().chain([name.as_str()]).collect::<Vec<_>>().join("/");
                return Ok((file.into(), path));
            }
            Err(Errno::EEXIST) => {}
            Err(error) => return Err(told(error, root.join(path).display())),
        }
    }
    let text = format!("{}: there are {NAMES_MAX} files of this name", root.join(path).display());
    Err(io::Error::new(io::ErrorKind::AlreadyExists, text))
}

/// Opens a file to read. Blocks.
pub(super) fn open(root: &Path, path: &str) -> io::Result<File> {
    let (parts, name) = split(path)?;
    let at = folder(root, &parts, false)?;
    // What is no file (a FIFO in its place) must not make the caller wait for its other end.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let file = openat(&at, name, flags, Mode::empty());
    let file = File::from(file.map_err(|error| told(error, root.join(path).display()))?);
    if !file.metadata()?.is_file() {
        let text = format!("{}: is no file", root.join(path).display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(file)
}

/// Removes a file, and the folders that are empty without it. Blocks.
pub(super) fn remove(root: &Path, path: &str) -> io::Result<()> {
    let (parts, name) = split(path)?;
    let at = folder(root, &parts, false)?;
    let removed = unlinkat(&at, name, UnlinkatFlags::NoRemoveDir);
    removed.map_err(|error| told(error, root.join(path).display()))?;
    for count in (1..=parts.len()).rev() {
        let (Some(above), Some(last)) = (parts.get(..count - 1), parts.get(count - 1)) else {
            break;
        };
        let above = folder(root, above, false)?;
        // One that is not empty ends it.
        if unlinkat(&above, *last, UnlinkatFlags::RemoveDir).is_err() {
            break;
        }
    }
    Ok(())
}

/// Writes all of `parts` at `offset`, or leaves the file as it was. The result is where they end. Blocks.
pub(super) fn append(file: &File, parts: &[Bytes], offset: u64) -> io::Result<u64> {
    // One call for all of them: a process that is killed has written the piece or not.
    let piece = parts.concat();
    if let Err(error) = file.write_all_at(&piece, offset) {
        // What was written of it would be half a piece at the end of the file.
        let _cut = file.set_len(offset);
        return Err(error);
    }
    Ok(offset + piece.len() as u64)
}

/// Writes a file as a whole, in place of one that may be there: whoever reads it sees the one or the other. Blocks.
pub(super) fn replace(root: &Path, path: &str, contents: &[u8]) -> io::Result<()> {
    let (parts, name) = split(path)?;
    let at = folder(root, &parts, true)?;
    let fresh = format!("{name}.new");
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let told = |error: Errno| told(error, root.join(path).display());
    let file = openat(&at, fresh.as_str(), flags, Mode::from_bits_truncate(0o666)).map_err(told)?;
    let about = |error: io::Error| {
        io::Error::new(error.kind(), format!("{}: {error}", root.join(path).display()))
    };
    let replaced = File::from(file).write_all_at(contents, 0).map_err(about);
    let replaced = replaced.and_then(|()| renameat(&at, fresh.as_str(), &at, name).map_err(told));
    if replaced.is_err() {
        let _removed = unlinkat(&at, fresh.as_str(), UnlinkatFlags::NoRemoveDir);
    }
    replaced
}
