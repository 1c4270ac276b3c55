//! The parameter sets of a video track, as they come in the stream.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::Context;
use crate::media::{CodecConfig, ParseError, Span, h264, h264::SliceHead, h265, nal::Syntax};
use std::rc::Rc;

/// What is in force, and what has come since.
#[derive(Debug)]
pub(super) struct Parameters {
    syntax: Syntax,
    /// Came since the last slice.
    fresh: Vec<Vec<u8>>,
    config: Option<Rc<CodecConfig>>,
}

impl Parameters {
    pub(super) fn new(syntax: Syntax) -> Self {
        Self { syntax, fresh: Vec::new(), config: None }
    }

    /// Takes a parameter set. It is in force from the next slice on.
    pub(super) fn collect(&mut self, nal: &[u8]) {
        // Before the first configuration they wait for one another; the newest count.
        if self.fresh.len() == MAX_FRESH {
            self.fresh.remove(0);
        }
        if nal.len() <= MAX_SET_LEN {
            self.fresh.push(nal.to_vec());
        }
    }

    /// A slice comes: what was collected is in force.
    pub(super) fn apply(&mut self, context: &mut Context) {
        if self.fresh.is_empty() {
            return;
        }
        let merged = match (self.config.as_deref(), self.syntax) {
            (Some(CodecConfig::H264(config)), _) => {
                config.merged(self.sets()).map(|new| new.map(CodecConfig::H264))
            }
            (Some(CodecConfig::Hevc(config)), _) => {
                config.merged(self.sets()).map(|new| new.map(CodecConfig::Hevc))
            }
            (_, Syntax::H264) => h264::Config::from_parameter_sets(self.sets())
                .map(|new| Some(CodecConfig::H264(new))),
            (_, Syntax::Hevc) => h265::Config::from_parameter_sets(self.sets())
                .map(|new| Some(CodecConfig::Hevc(new))),
        };
        if self.take(merged, context) || self.config.is_some() {
            self.fresh.clear();
        }
    }

    /// Returns whether the sets were understood.
    fn take(
        &mut self,
        merged: Result<Option<CodecConfig>, ParseError>,
        context: &mut Context,
    ) -> bool {
        match merged {
            Ok(Some(config)) => self.config = Some(Rc::new(config)),
            Ok(None) => {}
            Err(_) => {
                context.stats.parameter_errors += 1;
                return false;
            }
        }
        true
    }

    fn sets(&self) -> impl Iterator<Item = &[u8]> {
        self.fresh.iter().map(Vec::as_slice)
    }

    /// What is in force.
    pub(super) fn config(&self) -> Option<Rc<CodecConfig>> {
        self.config.clone()
    }

    /// The head of a slice of H.264, if it can be read.
    pub(super) fn slice_head(&self, nal: &[u8]) -> Option<SliceHead> {
        match self.config.as_deref()? {
            CodecConfig::H264(config) => config.slice_head(nal).ok(),
            _ => None,
        }
    }
}

/// The distance of frames, if the stream says it.
pub(super) fn frame_span(config: &CodecConfig) -> Option<Span> {
    let rate = match config {
        CodecConfig::H264(config) => config.frame_rate()?,
        CodecConfig::Hevc(config) => config.frame_rate()?,
        _ => return None,
    };
    // Both keep to 0.1 to 1000 frames a second.
    #[expect(clippy::cast_possible_truncation, reason = "bounded by the rates that there are")]
    let ticks = (90_000.0 / rate).round() as i64;
    Some(Span::from_ticks(ticks))
}

/// Encoders send 2 to 10 at a time.
const MAX_FRESH: usize = 64;

/// As many bytes as `avcC` and `hvcC` have room for.
const MAX_SET_LEN: usize = 0xffff;
