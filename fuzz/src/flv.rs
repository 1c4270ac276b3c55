//! FLV files, legacy and Enhanced: tags, and the access units in them.
//!
//! The first byte decides which muxer gets the units and how the rest is cut, which must not matter.

use crate::{
    outputs::Outputs,
    script::{Script, pieces},
};
use thalweg_gateway::container::flv::{FlvDemux, FlvError, Tag, TagReader};

pub(crate) fn run(input: &[u8]) {
    let mut script = Script(input);
    let seed = script.byte();
    let bytes = script.0;
    let whole = read(std::iter::once(bytes));
    let cut = read(pieces(bytes, seed));
    assert!(whole == cut, "how a file is cut decides what is in it");

    let mut demux = FlvDemux::new();
    let mut outputs = Outputs::new(seed);
    for tag in whole.0 {
        demux.tag(tag, &mut outputs);
    }
    while let Some(fault) = demux.take_fault() {
        assert!(!fault.to_string().is_empty());
    }
    outputs.finish(bytes.len());
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Tag>, Option<FlvError>) {
    let mut reader = TagReader::default();
    let mut tags = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_tag() {
                Ok(Some(tag)) => tags.push(tag),
                Ok(None) => break,
                Err(error) => return (tags, Some(error)),
            }
        }
    }
    (tags, None)
}
