//! Compounds of RTCP: what a receiver tells of what it got.

use thalweg_gateway::container::rtp::feedback::{self, Feedback};

pub(crate) fn run(input: &[u8]) {
    let all = told(input);
    // What comes behind changes nothing of what was told before.
    let half = told(input.get(..input.len() / 2).unwrap_or_default());
    assert!(all.starts_with(&half), "{half:?} is not where {all:?} begins");
}

/// Each thing that is told, as text.
fn told(input: &[u8]) -> Vec<String> {
    let mut told = Vec::new();
    feedback::read(input, |feedback| {
        told.push(format!("{feedback:?}"));
        match feedback {
            Feedback::Missing { packets, .. } => {
                assert!(packets.sequences().count() <= 17 * input.len() / 4);
            }
            Feedback::Arrivals(arrivals) => {
                let each = arrivals.each();
                let mut numbers = each.map(|(number, _)| number).collect::<Vec<_>>();
                assert!(numbers.len() <= usize::from(u16::MAX));
                let count = numbers.len();
                numbers.sort_unstable();
                numbers.dedup();
                assert_eq!(numbers.len(), count, "a packet is told of twice");
            }
            Feedback::Report(report) => assert!((0.0..1.0).contains(&report.loss)),
            Feedback::RandomAccess { .. } => {}
        }
    });
    told
}
