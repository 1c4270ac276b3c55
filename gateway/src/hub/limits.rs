//! How many connections there may be, and what is said to one too many.

use std::fmt;

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In all.
    pub connections: usize,
    /// From one address.
    pub connections_per_ip: usize,
}

/// Why a connection may not be served. Its protocol says so in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `limits.connections` is reached.
    Connections(usize),
    /// `limits.connections_per_ip` is reached.
    ConnectionsPerIp(usize),
    /// `limits.memory` is reached.
    Memory,
}

/// No limits.
impl Default for Limits {
    fn default() -> Self {
        Self { connections: usize::MAX, connections_per_ip: usize::MAX }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connections(most) => {
                write!(f, "there are {most} connections, as many as limits.connections allows")
            }
            Self::Memory => f.write_str("the process has as much memory as limits.memory allows"),
            Self::ConnectionsPerIp(most) => write!(
                f,
                "{most} connections come from this address, as many as limits.connections_per_ip allows"
            ),
        }
    }
}

impl std::error::Error for Refusal {}
