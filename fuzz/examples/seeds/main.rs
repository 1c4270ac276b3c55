//! Makes the seeds in `fuzz/corpus` anew: `cargo run -p thalweg-fuzz --example seeds`.
//!
//! Media come from ffmpeg 5.1, at a size at which a picture is a few hundred bytes; the rest is written here. Seeds
//! of other names stay.

mod clips;
mod codecs;
mod rtcp;
mod rtmp;
mod texts;

use std::{fs, path::Path};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = Corpus(root.join("corpus"));
    let scratch = std::env::temp_dir().join(format!("thalweg-seeds-{}", std::process::id()));
    fs::create_dir_all(&scratch).expect("a folder for temporary files");
    clips::transport_streams(&scratch, &corpus);
    codecs::configurations(&scratch, &corpus);
    rtcp::all(&corpus);
    rtmp::all(&scratch, &corpus);
    texts::all(&corpus);
    fs::remove_dir_all(&scratch).expect("the folder is ours");
}

/// The folder of all seeds.
struct Corpus(std::path::PathBuf);

impl Corpus {
    /// Writes a seed of a target.
    fn put(&self, target: &str, name: &str, bytes: &[u8]) {
        assert!(
            !bytes.is_empty() && bytes.len() <= thalweg_fuzz::LEN_MAX,
            "{target}/{name}: {} bytes",
            bytes.len()
        );
        let folder = self.0.join(target);
        fs::create_dir_all(&folder).expect("the corpus can be written");
        fs::write(folder.join(name), bytes).expect("the corpus can be written");
    }
}
