//! What a link has done so far.

/// Counts of a [`Link`](crate::Link) since it was started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// From the callers to the target.
    pub up: Counts,
    /// From the target to the callers.
    pub down: Counts,
    /// Callers seen, each an address of its own.
    pub flows: usize,
}

/// Datagrams in one direction. `received + duplicated` is the sum of all others but `reordered`, once
/// nothing is under way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counts {
    /// Came in.
    pub received: u64,
    /// Went out.
    pub forwarded: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost because the link was cut.
    pub cut: u64,
    /// Lost because a queue was full: that of the bottleneck, or of all that is under way.
    pub overflowed: u64,
    /// Could not be sent on: the system refused.
    pub refused: u64,
    /// Sent twice by chance.
    pub duplicated: u64,
    /// Of those forwarded: overtaken by one of the same caller that had come in later.
    pub reordered: u64,
}
