//! The table with its verdicts, the check whether the run can be trusted, and the file of figures.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use crate::case::ContenderName;
use crate::harness::{Figures, Key, Summary};
use crate::machine;
use crate::suite::Suite;
use crate::target::{Against, TRUSTED_FACTOR, Target};

#[expect(clippy::print_stdout, reason = "the table is the output of the program")]
pub(crate) fn print(suite: &Suite, figures: &Figures) {
    println!("{}", table(suite, figures));
    println!("{}", verdicts(suite, figures));
    println!("{}", trust(suite, figures));
    for note in figures.notes() {
        println!("note: {note}");
    }
}

/// Writes a list of `{case, contender, n, unit, min, median}`.
pub(crate) fn write_json(figures: &Figures, path: &Path) -> io::Result<()> {
    let rows: Vec<String> = figures
        .rows()
        .map(|(key, Summary { min, median })| {
            let Key { case, n, unit, contender } = key;
            format!(
                "  {{\"case\": \"{case}\", \"contender\": \"{contender}\", \"n\": {n}, \
                 \"unit\": \"{unit}\", \"min\": {min:.3}, \"median\": {median:.3}}}"
            )
        })
        .collect();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, format!("[\n{}\n]\n", rows.join(",\n")))
}

fn table(suite: &Suite, figures: &Figures) -> String {
    let mut out = String::new();
    line(
        &mut out,
        ["case", "n", "contender", "unit", "min", "median", "ours:it", "(median)", "reach", ""],
    );
    let mut group = None;
    for (key, summary) in figures.rows() {
        if group.replace((key.case, key.n, key.unit)) != Some((key.case, key.n, key.unit)) {
            out.push('\n');
        }
        let ours = figures.summary(Key { contender: ContenderName::Thalweg, ..key });
        let is_peer = key.contender != ContenderName::Thalweg;
        let ratio = |of: fn(Summary) -> f64| match ours {
            Some(ours) if is_peer && of(summary) > 0.0 => {
                format!("{:.2}", of(ours) / of(summary))
            }
            _ => String::new(),
        };
        let (reach, verdict) = cells(suite, figures, key);
        line(
            &mut out,
            [
                key.case.name(),
                &key.n.to_string(),
                key.contender.name(),
                key.unit,
                &number(summary.min),
                &number(summary.median),
                &ratio(|summary| summary.min),
                &ratio(|summary| summary.median),
                &reach,
                &verdict,
            ],
        );
    }
    out
}

/// The last two columns of a row: its targets and what became of them.
fn cells(suite: &Suite, figures: &Figures, key: Key) -> (String, String) {
    let of_row = suite.targets.iter().filter(|target| {
        let row = (target.case, target.n, target.unit, target.row());
        row == (key.case, key.n, key.unit, key.contender)
    });
    let (reach, verdict): (Vec<String>, Vec<String>) =
        of_row.map(|target| (reach(target), verdict(target, figures))).unzip();
    (reach.join("; "), verdict.join("; "))
}

fn reach(target: &Target) -> String {
    let at_most = target.at_most;
    match target.against {
        Against::Peer(_) => format!("≤ {at_most:.2}"),
        Against::Own(n) => format!("≤ {at_most:.2} × ours at {n}"),
        Against::Absolute => format!("≤ {at_most}"),
        Against::MoreThan(_) => format!("≤ it + {at_most}"),
        Against::AddedTo { base, .. } => format!("≤ {at_most:.2} over {base}"),
    }
}

fn verdict(target: &Target, figures: &Figures) -> String {
    match target.reached(figures) {
        Some(reached) if reached <= target.at_most => "met".to_owned(),
        Some(reached) if matches!(target.against, Against::MoreThan(_)) => {
            format!("MISSED by {}", number(reached - target.at_most))
        }
        Some(reached) => format!("MISSED by {:.1} %", (reached / target.at_most - 1.0) * 100.0),
        None => "unmeasured".to_owned(),
    }
}

/// One line for each target that is not met, and the count of those that are.
fn verdicts(suite: &Suite, figures: &Figures) -> String {
    let mut out = String::new();
    let mut met = 0;
    for target in suite.targets {
        let Target { case, n, unit, .. } = *target;
        let verdict = verdict(target, figures);
        if verdict == "met" {
            met += 1;
            continue;
        }
        let peer = match target.against {
            Against::Peer(contender) => format!(" × {contender}"),
            Against::MoreThan(contender) => format!(", it being {contender}"),
            Against::AddedTo { peer, .. } => format!(" × {peer}"),
            Against::Own(_) | Against::Absolute => String::new(),
        };
        let reached =
            target.reached(figures).map_or_else(String::new, |at| format!(", is {}", number(at)));
        add(
            &mut out,
            &format!("{case} n={n} {unit}: {}{peer}{reached}: {verdict}\n", reach(target)),
        );
    }
    format!("{met} of {} targets met.\n{out}", suite.targets.len())
}

/// Compares the contenders with each other: a ratio that is far from what is known shows a
/// disturbed run.
fn trust(suite: &Suite, figures: &Figures) -> String {
    let mut out = String::new();
    let mut checked = 0;
    for known in suite.known_ratios {
        let Some(measured) = known.measured(figures) else {
            continue;
        };
        checked += 1;
        let factor = measured / known.ratio;
        if !(TRUSTED_FACTOR.recip()..=TRUSTED_FACTOR).contains(&factor) {
            let (case, n, unit) = (known.case, known.n, known.unit);
            let names = format!("{} : {}", known.over, known.under);
            let ratio = known.ratio;
            add(
                &mut out,
                &format!("  {case} n={n} {unit}: {names} is {measured:.2}, known is {ratio:.2}\n"),
            );
        }
    }
    if out.is_empty() {
        format!("Trust: all {checked} known ratios between contenders are within 40 %.")
    } else {
        let machine = machine::describe();
        format!(
            "THIS RUN IS NOT TO BE TRUSTED: of {checked} known ratios, off by more than 40 % are\n\
             {out}Either something disturbed it, or this is another machine than that of \
             {}.\n{machine}\n",
            suite.numbers
        )
    }
}

fn line(out: &mut String, cells: [&str; 10]) {
    let [case, n, contender, unit, min, median, ratio, ratio_median, reach, verdict] = cells;
    let left = format!("{case:<14}{n:>8}  {contender:<14}{unit:<13}{min:>10}{median:>10}");
    let right = format!("{ratio:>9}{ratio_median:>10}  {reach:<12}  {verdict}");
    let whole = left + &right;
    add(out, whole.trim_end());
    out.push('\n');
}

fn number(value: f64) -> String {
    match value {
        ..100.0 => format!("{value:.2}"),
        ..1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn add(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _infallible = write!(out, "{text}").is_ok();
}

#[cfg(test)]
mod tests {
    use super::{table, trust, verdicts};
    use crate::case::{Case, ContenderName};
    use crate::harness::{Figures, Key};
    use crate::measure::NS;
    use crate::suite::RUNTIME;

    fn figures(thalweg: f64, tokio: f64, corosensei: f64) -> Figures {
        let mut figures = Figures::default();
        let key = Key { case: Case::Yield, n: 2, unit: NS, contender: ContenderName::Thalweg };
        figures.add(key, thalweg);
        figures.add(Key { contender: ContenderName::Tokio, ..key }, tokio);
        figures.add(Key { contender: ContenderName::Corosensei, ..key }, corosensei);
        figures
    }

    #[test]
    fn target_is_met_or_missed_by_so_much() {
        let text = table(&RUNTIME, &figures(10.5, 60.0, 5.0));
        assert!(text.contains("0.17      0.17  ≤ 0.35        met"), "{text}");
        assert!(text.contains("MISSED by 50.0 %"), "{text}");
    }

    #[test]
    fn row_without_figures_is_unmeasured() {
        let text = verdicts(&RUNTIME, &figures(5.0, 60.0, 5.0));
        assert!(text.contains("2 of"), "{text}");
        assert!(text.contains("spawn n=1 ns: ≤ 0.35 × tokio: unmeasured"), "{text}");
    }

    #[test]
    fn run_with_a_strange_ratio_is_not_trusted() {
        assert!(trust(&RUNTIME, &figures(5.0, 27.0, 6.6)).contains("within 40 %"));
        let text = trust(&RUNTIME, &figures(5.0, 27.0, 13.0));
        assert!(text.contains("NOT TO BE TRUSTED"), "{text}");
        assert!(text.contains("tokio : corosensei is 2.08, known is 4.09"), "{text}");
    }
}
