//! Copies in a real folder, whose disk fails or hangs, on the virtual clock.

use super::*;
use thalweg_runtime::{ClockKind, Runtime};

#[test]
fn a_stream_has_one_write_on_its_way_however_long_the_disk_hangs() {
    run(|| {
        let disk = Disk::new("hls.directory", std::env::temp_dir(), Rc::new(|_, _| {}));
        let folder = Folder::new(disk.clone());
        let hangs = disk.hang().unwrap();
        let write = |name: &str| {
            let begun = rt::now();
            let written = folder.run(&name.parse().unwrap(), |_| Ok(()));
            (written.map_err(|error| error.kind()), (rt::now() - begun).as_secs())
        };
        assert_eq!(write("live/a"), (Err(io::ErrorKind::TimedOut), 10));
        for _ in 0..100 {
            assert_eq!(write("live/a"), (Err(io::ErrorKind::ResourceBusy), 0));
        }
        assert_eq!(write("live/b"), (Err(io::ErrorKind::TimedOut), 10));
        drop(hangs);
        rt::sleep(Duration::from_millis(1)).unwrap();
        assert_eq!(write("live/a"), (Ok(()), 0));
    });
}

const STREAM: &str = "live/cam";

/// A folder of a test's own, removed with this value.
struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("thalweg-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join(STREAM)).unwrap();
        Self(path)
    }

    fn folder(&self) -> Folder {
        let tell = Rc::new(|_: &Disk, _: crate::disk::Change<'_>| {});
        Folder::new(Disk::new("hls.directory", self.0.clone(), tell))
    }

    /// Who comes to this place finds that no playlist can be written.
    fn obstacle(&self) -> PathBuf {
        self.0.join(STREAM).join("media.m3u8.new")
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own files; nobody else runs")]
    fn playlist(&self) -> String {
        fs::read_to_string(self.0.join(STREAM).join("media.m3u8")).unwrap_or_default()
    }

    fn segments(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(STREAM)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.starts_with("hls-")).collect();
        names.sort();
        names
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}

fn segment(number: usize) -> String {
    format!("hls-{number:02}.ts")
}

/// The segment of this number, with a playlist that names it and two before.
fn copy(number: usize) -> Copy {
    let listed: String = (number.saturating_sub(2)..=number).map(segment).collect();
    Copy {
        files: vec![(segment(number), Bytes::from_static(b"media"))],
        playlist: ("media.m3u8".into(), listed.into()),
        multivariant: Bytes::from_static(b"all"),
        done: None,
    }
}

/// Waits until the folder has what was put.
fn settle() {
    rt::sleep(Duration::from_millis(100)).unwrap();
}

fn run(f: impl FnOnce() + 'static) {
    Runtime::builder().clock(ClockKind::Virtual).build().unwrap().block_on(f).unwrap();
}

#[test]
fn a_disk_that_fails_for_a_while_leaves_no_old_segments_behind() {
    run(|| {
        let root = Root::new("hls-old");
        let copies = root.folder().start(&STREAM.parse().unwrap(), 4, None).unwrap();
        for number in 0..20 {
            match number {
                8 => fs::create_dir(root.obstacle()).unwrap(),
                12 => fs::remove_dir(root.obstacle()).unwrap(),
                _ => {}
            }
            assert!(copies.put(copy(number)));
            settle();
        }
        assert_eq!(root.segments(), [16, 17, 18, 19].map(segment));
    });
}

#[test]
fn the_end_of_a_stream_is_written_when_the_disk_works_again() {
    run(|| {
        let root = Root::new("hls-end");
        let copies = root.folder().start(&STREAM.parse().unwrap(), 4, None).unwrap();
        assert!(copies.put(copy(0)));
        settle();
        fs::create_dir(root.obstacle()).unwrap();
        assert!(copies.put(copy(1)));
        drop(copies);
        rt::sleep(Duration::from_secs(60)).unwrap();
        assert_eq!(root.playlist(), segment(0));
        fs::remove_dir(root.obstacle()).unwrap();
        rt::sleep(Duration::from_secs(60)).unwrap();
        assert_eq!(root.playlist(), segment(0) + &segment(1));
    });
}

#[test]
fn streams_of_one_name_on_two_hosts_have_folders_of_their_own() {
    run(|| {
        let root = Root::new("hls-hosts");
        let folder = root.folder();
        let plain: StreamKey = STREAM.parse().unwrap();
        let hosted = plain.clone().on_vhost("example.com").unwrap();
        for (stream, number) in [(plain, 1), (hosted, 2)] {
            assert!(folder.start(&stream, 4, None).unwrap().put(copy(number)));
            settle();
        }
        assert_eq!(root.segments(), [segment(1)]);
        assert!(root.0.join("#example.com").join(STREAM).join(segment(2)).exists());
    });
}

#[test]
fn what_a_stream_left_takes_no_place_of_the_next_of_its_name() {
    run(|| {
        let root = Root::new("hls-next");
        let folder = root.folder();
        let start = || folder.start(&STREAM.parse().unwrap(), 4, None).unwrap();
        let first = start();
        settle();
        let second = start();
        assert!(second.put(copy(9)));
        settle();
        let listed = root.playlist();
        assert!(first.put(copy(5)));
        drop(first);
        rt::sleep(Duration::from_secs(60)).unwrap();
        assert_eq!((root.playlist(), root.segments()), (listed, vec![segment(9)]));
        assert!(second.put(copy(10)));
        settle();
        assert!(root.playlist().ends_with(&segment(10)));
    });
}
