//! Files through the pool.

#![expect(clippy::unwrap_used, reason = "what a helper does not get fails its test")]
#![expect(
    clippy::disallowed_methods,
    reason = "what was written is looked at with std, and a FIFO stands for a disk that hangs"
)]

mod support;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::stat::Mode;
use support::scaled;
use thalweg_runtime::fs::{self, File, OpenOptions};
use thalweg_runtime::{self as rt, Runtime, blocking, is_cancelled, timed_out};

const MS: Duration = Duration::from_millis(1);

/// A folder of a test's own, which is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("thalweg-fs-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// A FIFO: opening it hangs until another opens its other end.
    fn hanging(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Runs `test` with a folder of its own. One that hangs fails.
fn run(name: &'static str, test: impl FnOnce(&Folder) -> io::Result<()> + 'static) {
    const LIMIT: Duration = Duration::from_secs(60);
    rt::run(move || {
        let folder = Folder::new(name);
        rt::timeout(LIMIT, || test(&folder))
    })
    .unwrap();
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

#[test]
fn what_was_written_is_read_again() {
    run("whole", |folder| {
        let contents = pattern(3_000_000);
        fs::write(folder.at("a"), contents.clone())?;
        assert_eq!(fs::read(folder.at("a"))?, contents);
        assert_eq!(fs::metadata(folder.at("a"))?.len(), 3_000_000);
        fs::rename(folder.at("a"), folder.at("b"))?;
        assert_eq!(fs::read(folder.at("a")).unwrap_err().kind(), ErrorKind::NotFound);
        fs::remove_file(folder.at("b"))?;
        assert_eq!(fs::metadata(folder.at("b")).unwrap_err().kind(), ErrorKind::NotFound);
        fs::create_dir_all(folder.at("c/d/e"))?;
        fs::write(folder.at("c/d/e/f"), "text")?;
        fs::remove_dir_all(folder.at("c"))?;
        assert!(!folder.at("c").exists());
        Ok(())
    });
}

#[test]
fn a_file_is_read_and_written_through_stds_traits() {
    run("traits", |folder| {
        let contents = pattern(1_000_000);
        let mut file = File::create(folder.at("a"))?;
        file.write_all(&contents)?;
        file.sync_data()?;
        file.sync_all()?;
        file.close()?;
        let mut file = File::open(folder.at("a"))?;
        let mut read = Vec::new();
        file.read_to_end(&mut read)?;
        assert_eq!(read, contents);
        assert_eq!(file.seek(SeekFrom::End(-3))?, 999_997);
        assert_eq!(file.stream_position()?, 999_997);
        read.clear();
        file.read_to_end(&mut read)?;
        assert_eq!(read, contents[999_997..]);
        assert_eq!(file.seek(SeekFrom::Start(5))?, 5);
        assert_eq!(file.seek(SeekFrom::Current(-2))?, 3);
        let before = file.seek(SeekFrom::Current(-4)).unwrap_err();
        assert_eq!(before.kind(), ErrorKind::InvalidInput);
        assert_eq!(file.write(b"x").unwrap_err().raw_os_error(), Some(libc::EBADF));
        Ok(())
    });
}

#[test]
fn full_reads_and_writes_report_how_far_they_got() {
    run("full", |folder| {
        let contents = pattern(700_000);
        let options = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600);
        let mut file = options.clone().open(folder.at("a"))?;
        file.write_full(&contents).unwrap();
        assert_eq!(options.open(folder.at("a")).unwrap_err().kind(), ErrorKind::AlreadyExists);
        file.seek(SeekFrom::Start(0))?;
        let mut read = vec![0; 700_000];
        file.read_full(&mut read).unwrap();
        assert_eq!(read, contents);
        file.seek(SeekFrom::Start(600_000))?;
        let short = file.read_full(&mut read).unwrap_err();
        assert_eq!((short.done, short.error.kind()), (100_000, ErrorKind::UnexpectedEof));
        Ok(())
    });
}

#[test]
fn positioned_calls_leave_the_position() {
    run("positioned", |folder| {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).open(folder.at("a"))?;
        file.write_all(b"0123456789")?;
        assert_eq!(file.write_at(b"abc", 2)?, 3);
        let mut buf = [0; 4];
        assert_eq!(file.read_at(&mut buf, 1)?, 4);
        assert_eq!(&buf, b"1abc");
        assert_eq!(file.read_at(&mut buf, 100)?, 0);
        assert_eq!(file.stream_position()?, 10);
        file.set_len(4)?;
        assert_eq!(file.metadata()?.len(), 4);
        assert_eq!(fs::read(folder.at("a"))?, b"01ab");
        Ok(())
    });
}

#[test]
fn appended_data_goes_to_the_end() {
    run("append", |folder| {
        fs::write(folder.at("a"), "one ")?;
        let mut file = OpenOptions::new().append(true).open(folder.at("a"))?;
        file.write_all(b"two ")?;
        file.write_all(b"three")?;
        assert_eq!(fs::read(folder.at("a"))?, b"one two three");
        Ok(())
    });
}

#[test]
fn writes_of_several_coroutines_do_not_overlap() {
    run("shared", |folder| {
        let (writers, lines) = (8, scaled(50, 10));
        let file = Rc::new(File::create(folder.at("log"))?);
        let writers: Vec<_> = (0..writers)
            .map(|writer| {
                let file = Rc::clone(&file);
                rt::spawn(move || {
                    (0..lines)
                        .try_for_each(|_| (&*file).write_all(format!("{writer}\n").as_bytes()))
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap()?;
        }
        let log = String::from_utf8(fs::read(folder.at("log"))?).unwrap();
        for writer in 0..8 {
            assert_eq!(log.lines().filter(|line| *line == writer.to_string()).count(), lines);
        }
        Ok(())
    });
}

#[test]
fn a_folder_of_many_entries_is_listed_whole() {
    run("list", |folder| {
        let files = scaled(1_000, 300);
        for n in 0..files {
            std::fs::File::create(folder.at(n.to_string()))?;
        }
        fs::create_dir_all(folder.at("folder"))?;
        let mut names = BTreeSet::new();
        let mut folders = 0;
        for entry in fs::read_dir(&folder.0)? {
            let entry = entry?;
            assert_eq!(entry.path(), folder.at(entry.file_name()));
            folders += usize::from(entry.file_type().unwrap().is_dir());
            names.insert(entry.file_name().to_owned());
        }
        assert_eq!((names.len(), folders), (files + 1, 1));
        assert_eq!(fs::read_dir(folder.at("none")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::read_dir(folder.at("folder"))?.count(), 0);
        Ok(())
    });
}

#[test]
fn a_listing_that_was_cut_short_goes_on_where_it_was() {
    run("cut", |folder| {
        let files = 600;
        for n in 0..files {
            std::fs::File::create(folder.at(n.to_string()))?;
        }
        let mut listing = fs::read_dir(&folder.0)?;
        let (mut seen, mut cut) = (0, 0);
        loop {
            // A deadline that has passed cuts every wait short.
            match rt::timeout(Duration::ZERO, || listing.next()) {
                Some(Ok(_)) => seen += 1,
                Some(Err(error)) => {
                    assert!(timed_out(&error).is_some(), "{error}");
                    cut += 1;
                    seen += usize::from(listing.next().transpose()?.is_some());
                }
                None => break,
            }
        }
        assert_eq!(seen, files);
        assert!(cut >= 2, "{cut}");
        Ok(())
    });
}

#[test]
fn a_disk_that_hangs_holds_up_only_those_who_use_it() {
    run("hang", |folder| {
        let path = folder.hanging("disk");
        let theirs = path.clone();
        let hung = rt::spawn(move || fs::read(theirs));
        let late = rt::timeout(5 * MS, || fs::read(&path)).unwrap_err();
        assert!(timed_out(&late).is_some_and(|passed| !passed.is_outer()), "{late}");
        fs::write(folder.at("a"), "others go on")?;
        hung.cancel();
        assert!(is_cancelled(&hung.join().unwrap().unwrap_err()));
        // Lets the threads end.
        drop(OpenOptions::new().read(true).write(true).open(path)?);
        Ok(())
    });
}

#[test]
fn a_write_that_was_cancelled_before_it_began_does_not_happen() {
    let folder = Folder::new("cancel");
    let path = folder.at("a");
    let runtime = Runtime::builder().blocking_threads(1).build().unwrap();
    runtime
        .block_on(move || {
            let file = Rc::new(File::create(&path).unwrap());
            let (end, ends) = mpsc::channel::<()>();
            let busy = rt::spawn(move || blocking::run(move || ends.recv()));
            let theirs = Rc::clone(&file);
            let writer = rt::spawn(move || (&*theirs).write_all(b"lost"));
            rt::yield_now().unwrap();
            writer.cancel();
            assert!(is_cancelled(&writer.join().unwrap().unwrap_err()));
            drop(end);
            assert!(busy.join().unwrap().unwrap().is_err());
            (&*file).write_all(b"kept").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"kept");
        })
        .unwrap();
}

#[test]
fn files_are_closed_on_the_pool_and_counted_nowhere_after() {
    let folder = Folder::new("close");
    let path = folder.at("a");
    let runtime = Runtime::builder().build().unwrap();
    runtime
        .block_on(move || {
            for _ in 0..scaled(200, 20) {
                let mut file = File::create(&path).unwrap();
                file.write_all(b"x").unwrap();
                drop(file);
            }
            // Jobs begin in order, so on one thread the closes would be over; here they are soon.
            blocking::run(|| ()).unwrap();
        })
        .unwrap();
    while runtime.stats().pool_jobs > 0 {
        runtime.block_on(|| rt::sleep(MS).unwrap()).unwrap();
    }
    let open = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    assert_eq!(open.filter(|target| target.starts_with(&folder.0)).count(), 0);
}

#[test]
fn a_file_outlives_its_runtime() {
    let folder = Folder::new("outlive");
    let path = folder.at("a");
    let kept = Rc::new(Cell::new(None));
    let theirs = Rc::clone(&kept);
    rt::run(move || -> io::Result<()> {
        theirs.set(Some(File::create(path)?));
        Ok(())
    })
    .unwrap();
    let mut file = kept.take().unwrap();
    assert_eq!(file.write(b"x").unwrap_err().kind(), ErrorKind::Unsupported);
    drop(file);
}

#[test]
fn outside_a_runtime_files_are_refused() {
    assert_eq!(File::open("Cargo.toml").unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(fs::read("Cargo.toml").unwrap_err().kind(), ErrorKind::Unsupported);
}
