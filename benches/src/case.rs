//! The names of cases and contenders, and which of them are measured at which size.

use std::fmt;
use std::str::FromStr;

/// What is measured; docs/benchmarks.md describes each.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Case {
    Yield,
    Cond,
    CondDeadline,
    Spawn,
    Timer,
    Echo,
    EchoIdle,
    Memory,
}

impl Case {
    pub(crate) const ALL: [Self; 8] = [
        Self::Yield,
        Self::Cond,
        Self::CondDeadline,
        Self::Spawn,
        Self::Timer,
        Self::Echo,
        Self::EchoIdle,
        Self::Memory,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Yield => "yield",
            Self::Cond => "cond",
            Self::CondDeadline => "cond-deadline",
            Self::Spawn => "spawn",
            Self::Timer => "timer",
            Self::Echo => "echo",
            Self::EchoIdle => "echo-idle",
            Self::Memory => "memory",
        }
    }

    /// The sizes of the full run: coroutines, connections, or coroutines alive at once.
    pub(crate) fn sizes(self) -> &'static [usize] {
        match self {
            Self::Yield => &[2, 100, 1_000, 10_000, 100_000],
            Self::Cond => &[2],
            Self::CondDeadline | Self::Timer => &[100_000],
            Self::Spawn => &[1, 10_000],
            Self::Echo => &[1, 100, 1_000],
            Self::EchoIdle => &[10_000],
            Self::Memory => &[100_000, 1_000_000],
        }
    }

    /// Whether the contender serves this case at this size. docs/benchmarks.md says why where it
    /// does not.
    pub(crate) fn applies_to(self, contender: ContenderName, n: usize) -> bool {
        match contender {
            ContenderName::Thalweg | ContenderName::Tokio => true,
            ContenderName::StateThreads => n <= 100_000,
            ContenderName::Corosensei => matches!(self, Self::Yield | Self::Spawn),
            ContenderName::Epoll => matches!(self, Self::Echo | Self::EchoIdle),
        }
    }

    /// Whether the measurement is of a server that a client loads.
    pub(crate) fn is_echo(self) -> bool {
        matches!(self, Self::Echo | Self::EchoIdle)
    }
}

/// Who is measured.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum ContenderName {
    Thalweg,
    Tokio,
    StateThreads,
    Corosensei,
    Epoll,
}

impl ContenderName {
    pub(crate) const ALL: [Self; 5] =
        [Self::Thalweg, Self::Tokio, Self::StateThreads, Self::Corosensei, Self::Epoll];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Thalweg => "thalweg",
            Self::Tokio => "tokio",
            Self::StateThreads => "state-threads",
            Self::Corosensei => "corosensei",
            Self::Epoll => "epoll",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for ContenderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|case| case.name() == name);
        found.ok_or_else(|| format!("no case is called {name:?}"))
    }
}

impl FromStr for ContenderName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|contender| contender.name() == name);
        found.ok_or_else(|| format!("no contender is called {name:?}"))
    }
}
