//! A store of parameter sets: each identifier once, the newest sequence first.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::SetKind;
use crate::media::ParseError;
use bytes::Bytes;

/// What tells the parameter sets of a stream apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::media) struct SetKey {
    pub(in crate::media) kind: SetKind,
    pub(in crate::media) id: u8,
}

/// Parameter sets, by kind; within a kind, what came last or changed last stands first. The first sequence parameter
/// set is therefore the one that speaks for the stream.
#[derive(Clone, Debug, Default)]
pub(in crate::media) struct ParameterSets(Vec<(SetKey, Bytes)>);

/// The standards allow 16 to 32 SPS and 64 to 256 PPS; a peer that needs so many is none of ours.
const MAX_SETS: usize = 64;

/// `avcC` and `hvcC` have 16 bits for the length of a set.
const MAX_SET_LEN: usize = 0xffff;

impl ParameterSets {
    /// Takes all of `fresh`, in their order. Returns whether anything changed.
    pub(in crate::media) fn merge(
        &mut self,
        fresh: Vec<(SetKey, &[u8])>,
    ) -> Result<bool, ParseError> {
        let mut at = 0;
        let mut changed = false;
        for (key, nal) in fresh {
            if self.0.iter().any(|(known, bytes)| *known == key && bytes == nal) {
                continue;
            }
            if nal.len() > MAX_SET_LEN {
                return Err(ParseError::Unsupported("length of a parameter set"));
            }
            self.0.retain(|(known, _)| *known != key);
            self.0.insert(at.min(self.0.len()), (key, Bytes::copy_from_slice(nal)));
            at += 1;
            changed = true;
            if self.0.len() > MAX_SETS {
                return Err(ParseError::Unsupported("number of parameter sets"));
            }
        }
        // Stable: the order within a kind stays.
        self.0.sort_by_key(|(key, _)| key.kind);
        Ok(changed)
    }

    /// The sets of one kind.
    pub(in crate::media) fn of(&self, kind: SetKind) -> impl Iterator<Item = &Bytes> + Clone {
        self.0.iter().filter(move |(key, _)| key.kind == kind).map(|(_, nal)| nal)
    }

    /// All sets, in the order in which a decoder wants them.
    pub(in crate::media) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.0.iter().map(|(_, nal)| nal)
    }
}
