//! The suites, one for each binary: what they measure and how, what is to be reached.
//!
//! A suite is a table of values; `harness` runs any of them and `report` judges it.

mod gateway;
mod runtime;
mod srt;

use std::error::Error;

pub(crate) use gateway::GATEWAY;
pub(crate) use runtime::RUNTIME;
pub(crate) use srt::SRT;

use crate::case::{Case, ContenderName};
use crate::harness::Run;
use crate::measure::Plan;
use crate::target::{KnownRatio, Target};

/// What one binary measures.
#[derive(Debug)]
pub(crate) struct Suite {
    /// Of the binary, and of the file with the figures.
    pub(crate) name: &'static str,
    pub(crate) cases: &'static [Case],
    pub(crate) contenders: &'static [ContenderName],
    /// Of a full run.
    pub(crate) rounds: usize,
    /// Called once, before all else.
    pub(crate) prepare: fn(),
    /// How long to measure a contender in a case of a size; `None` leaves it out of this round.
    pub(crate) plan: fn(Case, ContenderName, usize, Run) -> Option<Plan>,
    /// Runs the processes of one measurement.
    pub(crate) measure: fn(Case, ContenderName, Plan) -> Measured,
    pub(crate) targets: &'static [Target],
    /// What earlier measurements say of the contenders.
    pub(crate) known_ratios: &'static [KnownRatio],
    /// Where these are written down.
    pub(crate) numbers: &'static str,
}

/// The lines that child processes have printed: samples and notes.
pub(crate) type Measured = Result<Vec<String>, Box<dyn Error>>;
