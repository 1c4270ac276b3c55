//! From the NAL units of one access unit to the payload that the gateway passes on.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{Kind, Syntax, put_length_prefixed};

/// An access unit in the making: its NAL units after their lengths, its parameter sets aside.
///
/// One value serves a whole track: [`take`](Self::take) leaves it empty.
#[derive(Clone, Debug)]
pub struct Picture {
    syntax: Syntax,
    payload: Vec<u8>,
    parameter_sets: Vec<Vec<u8>>,
    random_access: bool,
    has_slice: bool,
    disposable: bool,
}

/// Parameter sets of one access unit beyond this number are left out; encoders send 2 to 10.
const MAX_SETS_A_UNIT: usize = 64;

impl Picture {
    /// With nothing in it.
    pub const fn new(syntax: Syntax) -> Self {
        Self {
            syntax,
            payload: Vec::new(),
            parameter_sets: Vec::new(),
            random_access: false,
            has_slice: false,
            disposable: true,
        }
    }

    /// Takes the next NAL unit, without start code or length. Units with no valid header are left out.
    pub fn push(&mut self, nal: &[u8]) {
        let Some(kind) = self.syntax.classify(nal) else { return };
        match kind {
            Kind::Slice(slice) => {
                self.has_slice = true;
                self.random_access |= slice.random_access;
                self.disposable &= slice.disposable;
            }
            Kind::Sei => self.random_access |= self.syntax.is_recovery_point(nal),
            Kind::ParameterSet(_) if self.parameter_sets.len() < MAX_SETS_A_UNIT => {
                self.parameter_sets.push(nal.to_vec());
            }
            _ => {}
        }
        if kind.is_payload() {
            put_length_prefixed(nal, &mut self.payload);
        }
    }

    /// The payload so far; the value starts afresh with the next unit, and room for as much.
    pub fn take(&mut self) -> Vec<u8> {
        let room = self.payload.len();
        let payload = std::mem::replace(&mut self.payload, Vec::with_capacity(room.min(1 << 20)));
        self.parameter_sets.clear();
        self.random_access = false;
        self.has_slice = false;
        self.disposable = true;
        payload
    }

    /// The parameter sets that came with it, to be merged into the configuration before [`take`](Self::take).
    pub fn parameter_sets(&self) -> &[Vec<u8>] {
        &self.parameter_sets
    }

    /// Whether decoding may begin here.
    pub const fn is_random_access(&self) -> bool {
        self.random_access && self.has_slice
    }

    /// Whether there is a picture at all, not only what precedes one.
    pub const fn has_slice(&self) -> bool {
        self.has_slice
    }

    /// Whether no other picture refers to this one.
    pub const fn is_disposable(&self) -> bool {
        self.has_slice && self.disposable
    }

    /// The length of the payload so far, in bytes.
    pub const fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether there is no payload yet.
    pub const fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }
}
