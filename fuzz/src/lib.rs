//! Fuzz targets for every parser that a peer can reach.
//!
//! A target takes bytes and panics when the parser breaks a promise. All of them may use only so much memory, which
//! [`Target::check`] enforces. `scripts/fuzz.sh` runs them under libFuzzer, which grows inputs from `corpus/`, guided
//! by what they cover; `tests/corpus.rs` runs every seed once in an ordinary build; the program `thalweg-fuzz`
//! replays single inputs. README.md says how seeds are made.

mod amf0;
mod codecs;
mod config;
mod flv;
mod http;
mod outputs;
mod pes;
mod rtcp;
mod rtmp;
mod script;
mod simulation;
mod srt_url;
mod stream_id;
mod ts;

use cap::Cap;
use std::{alloc::System, panic, sync::Once};

/// Counts what is allocated, and refuses what is beyond the limit in force; a refused allocation aborts the process.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// One parser, and what it may use.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also that of its folder in `corpus/`.
    pub name: &'static str,
    /// What may be allocated at a time, in bytes: well above what inputs of [`LEN_MAX`] need, and
    /// far below what their length fields may announce.
    heap_max: usize,
    run: fn(&[u8]),
}

/// How long inputs are, in bytes. `scripts/fuzz.sh` has the same number.
pub const LEN_MAX: usize = 16 << 10;

const MIB: usize = 1 << 20;

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "amf0", heap_max: 2 * MIB, run: amf0::run },
    Target { name: "codecs", heap_max: 2 * MIB, run: codecs::run },
    Target { name: "config", heap_max: 8 * MIB, run: config::run },
    Target { name: "flv", heap_max: 4 * MIB, run: flv::run },
    Target { name: "http", heap_max: 4 * MIB, run: http::run },
    Target { name: "pes", heap_max: 4 * MIB, run: pes::run },
    Target { name: "rtcp", heap_max: 4 * MIB, run: rtcp::run },
    Target { name: "rtmp", heap_max: 4 * MIB, run: rtmp::run },
    Target { name: "srt_url", heap_max: MIB, run: srt_url::run },
    Target { name: "stream_id", heap_max: MIB, run: stream_id::run },
    Target { name: "ts", heap_max: 4 * MIB, run: ts::run },
];

impl Target {
    /// The one of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Runs it on `input`. An allocation beyond the bound aborts the process.
    ///
    /// # Panics
    ///
    /// When the parser breaks a promise.
    pub fn check(&self, input: &[u8]) {
        // To report a panic takes memory, too.
        static REPORTS: Once = Once::new();
        REPORTS.call_once(|| {
            let report = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                HEAP.set_limit(usize::MAX).expect("nothing is above this limit");
                report(panic);
            }));
        });
        let limit = HEAP.allocated() + self.heap_max;
        HEAP.set_limit(limit).expect("the limit is above what is allocated");
        (self.run)(input);
        HEAP.set_limit(usize::MAX).expect("nothing is above this limit");
    }
}
