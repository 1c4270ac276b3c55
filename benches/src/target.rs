//! What is to be reached, and what is known of the contenders: the forms; the tables are in
//! `suite`.

use crate::case::{Case, ContenderName};
use crate::harness::{Figures, Key};
use Against::{Absolute, AddedTo, MoreThan, Own, Peer};
use ContenderName::Thalweg;

/// One cell of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) case: Case,
    pub(crate) n: usize,
    pub(crate) unit: &'static str,
    pub(crate) against: Against,
    /// Ours may be this much at most, as a multiple of the other, a difference to it or absolute.
    pub(crate) at_most: f64,
}

/// What ours is compared with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Against {
    /// The same row of another contender.
    Peer(ContenderName),
    /// Our own `echo` with this many connections: idle ones must change nothing.
    Own(usize),
    /// The figure itself.
    Absolute,
    /// The same row of another contender, which is subtracted.
    MoreThan(ContenderName),
    /// What the peer adds to the figure of the base; what ours adds to it is a multiple of that.
    AddedTo { base: ContenderName, peer: ContenderName },
}

impl Target {
    /// Returns our minimum set against what it is compared with; `None` when anything is missing.
    pub(crate) fn reached(&self, figures: &Figures) -> Option<f64> {
        let ours = Key { case: self.case, n: self.n, unit: self.unit, contender: Thalweg };
        let min = |key| Some(figures.summary(key)?.min);
        let of = |contender| min(Key { contender, ..ours });
        let own = min(ours)?;
        Some(match self.against {
            Peer(contender) => own / of(contender)?,
            Own(n) => own / min(Key { case: Case::Echo, n, ..ours })?,
            Absolute => own,
            MoreThan(contender) => own - of(contender)?,
            AddedTo { base, peer } => {
                let base = of(base)?;
                (own - base) / (of(peer)? - base)
            }
        })
    }

    /// The contender in whose row of the table the target stands.
    pub(crate) fn row(&self) -> ContenderName {
        match self.against {
            Peer(contender) | MoreThan(contender) | AddedTo { peer: contender, .. } => contender,
            Own(_) | Absolute => Thalweg,
        }
    }
}

/// The ratio of two contenders' minima in earlier measurements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownRatio {
    pub(crate) case: Case,
    pub(crate) n: usize,
    pub(crate) unit: &'static str,
    pub(crate) over: ContenderName,
    pub(crate) under: ContenderName,
    pub(crate) ratio: f64,
}

impl KnownRatio {
    /// Returns the same ratio in this run; `None` when either is missing.
    pub(crate) fn measured(&self, figures: &Figures) -> Option<f64> {
        let key = |contender| Key { case: self.case, n: self.n, unit: self.unit, contender };
        let over = figures.summary(key(self.over))?.min;
        let under = figures.summary(key(self.under))?.min;
        Some(over / under)
    }
}

/// A run in which a known ratio is off by more than this factor is not to be trusted.
pub(crate) const TRUSTED_FACTOR: f64 = 1.4;

pub(crate) const fn target(
    case: Case,
    n: usize,
    unit: &'static str,
    against: Against,
    at_most: f64,
) -> Target {
    Target { case, n, unit, against, at_most }
}

pub(crate) const fn known(
    case: Case,
    n: usize,
    unit: &'static str,
    (over, under): (ContenderName, ContenderName),
    (over_value, under_value): (f64, f64),
) -> KnownRatio {
    KnownRatio { case, n, unit, over, under, ratio: over_value / under_value }
}
