//! Which programme is followed, and where its map is (ISO/IEC 13818-1:2019 §2.4.4).

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::cast_possible_truncation))]

use super::{
    super::{
        packet::{Packet, Pid},
        psi::{Pat, Pmt, Sections},
    },
    Stats,
};

/// Which programme of a transport stream is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Programme {
    /// The first one in the programme association table.
    #[default]
    First,
    /// The one of this number.
    Number(u16),
}

/// Follows the two tables.
#[derive(Debug)]
pub(super) struct Selection {
    wanted: Programme,
    pat: Sections,
    pmt: Sections,
    /// Number of the programme that is followed, and the PID of its map.
    current: Option<(u16, Pid)>,
    pcr_pid: Option<Pid>,
    /// The last map, whose repetitions say nothing.
    last: Vec<u8>,
}

impl Selection {
    pub(super) fn new(wanted: Programme) -> Self {
        Self {
            wanted,
            pat: Sections::default(),
            pmt: Sections::default(),
            current: None,
            pcr_pid: None,
            last: Vec::new(),
        }
    }

    /// Where the map is.
    pub(super) fn pmt_pid(&self) -> Option<Pid> {
        self.current.map(|(_, pid)| pid)
    }

    /// Where the programme's clock is.
    pub(super) fn pcr_pid(&self) -> Option<Pid> {
        self.pcr_pid
    }

    /// Takes a packet of the PAT; returns whether a section ended in it.
    pub(super) fn pat(&mut self, packet: Packet<'_>, stats: &mut Stats) -> bool {
        let Self { pat, wanted, current, .. } = self;
        let before = (pat.errors, *current);
        let mut whole = false;
        pat.push(packet.is_unit_start(), packet.payload(), |section| {
            let Some(table) = Pat::parse(section) else { return };
            whole = true;
            let found = match *wanted {
                Programme::Number(number) => {
                    table.programmes.iter().find(|(known, _)| *known == number)
                }
                Programme::First if table.section.0 == 0 => table.programmes.first(),
                Programme::First => None,
            };
            // A map where another table already is would never be read.
            if let Some(found) = found.filter(|(_, pid)| *pid != Pid::PAT && *pid != Pid::NULL) {
                *current = Some(*found);
            }
        });
        stats.psi_errors += pat.errors - before.0;
        if before.1 != *current {
            self.pmt.reset();
            self.last.clear();
        }
        whole
    }

    /// Takes a packet of the PMT; returns whether a section of the programme ended in it, and the map if it is new.
    pub(super) fn pmt(&mut self, packet: Packet<'_>, stats: &mut Stats) -> (bool, Option<Pmt>) {
        let Self { pmt, current, last, .. } = self;
        let errors = pmt.errors;
        let (mut whole, mut fresh) = (false, None);
        pmt.push(packet.is_unit_start(), packet.payload(), |section| {
            if section == last.as_slice() {
                whole = true;
                return;
            }
            // Maps of several programmes may share a PID (§2.4.4.9).
            let Some(map) = Pmt::parse(section) else { return };
            if current.is_some_and(|(number, _)| number == map.programme) {
                whole = true;
                last.clear();
                last.extend_from_slice(section);
                fresh = Some(map);
            }
        });
        stats.psi_errors += pmt.errors - errors;
        if let Some(map) = &fresh {
            self.pcr_pid = Some(map.pcr_pid).filter(|pid| *pid != Pid::NULL);
        }
        (whole, fresh)
    }

    /// Packets of the PAT, or of the PMT, are missing.
    pub(super) fn damage(&mut self, pat: bool) {
        if pat { self.pat.reset() } else { self.pmt.reset() }
    }
}
