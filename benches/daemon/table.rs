//! The table: one line a row and store, its figures, its target and whether it is met. Printed, and kept in RESULTS.md.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::compare::{Best, Comparison};
use crate::node::Kind;

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    row: String,
    store: &'static str,
    ours: Option<Best>,
    floor: Option<f64>,
    figure: String,
    target: String,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Met,
    Missed,
    /// No target: a figure beside others.
    None,
    /// Measured only to see that it works.
    Works,
    Failed,
}

impl Line {
    /// A line without figures.
    fn bare(row: &str, store: Kind) -> Self {
        Self {
            row: row.to_owned(),
            store: store.name(),
            ours: None,
            floor: None,
            figure: String::new(),
            target: String::new(),
            verdict: Verdict::None,
        }
    }

    /// Requests, with the floor's CPU beside ours.
    pub fn load(row: &str, store: Kind, measured: &Comparison) -> Self {
        Self { ours: Some(measured.ours), floor: Some(measured.floor.cpu), ..Self::bare(row, store) }
    }

    /// Any other figure.
    pub fn figure(row: &str, store: Kind, figure: String) -> Self {
        Self { figure, ..Self::bare(row, store) }
    }

    /// A row that could not be measured.
    pub fn failed(row: &str, store: Kind, why: &str) -> Self {
        let figure = why.replace(['\n', '|'], " ");
        Self { figure, verdict: Verdict::Failed, ..Self::bare(row, store) }
    }

    /// With a target.
    pub fn target(mut self, target: &str, met: bool) -> Self {
        self.target = target.to_owned();
        self.verdict = if met { Verdict::Met } else { Verdict::Missed };
        self
    }

    /// With the target of a CPU time of at most so many times the floor's.
    pub fn within(self, times: f64) -> Self {
        let ratio = self.ratio();
        self.target(&format!("CPU ≤ {times} × floor"), ratio.is_some_and(|ratio| ratio <= times))
    }

    /// With more to say.
    pub fn note(mut self, note: String) -> Self {
        self.figure = note;
        self
    }

    fn ratio(&self) -> Option<f64> {
        let (ours, floor) = (self.ours?.cpu, self.floor?);
        (floor > 0.0).then_some(ours / floor)
    }

    fn cells(&self) -> [String; 11] {
        let of = |figure: fn(&Best) -> String| self.ours.as_ref().map(figure).unwrap_or_default();
        let verdict = match self.verdict {
            Verdict::Met => "met",
            Verdict::Missed => "NOT MET",
            Verdict::None => "",
            Verdict::Works => "works",
            Verdict::Failed => "FAILED",
        };
        [
            self.row.clone(),
            self.store.to_owned(),
            of(|best| format!("{:.0}", best.rate)),
            of(|best| milliseconds(best.p50)),
            of(|best| milliseconds(best.p99)),
            of(|best| format!("{:.1}", best.cpu)),
            self.floor.map(|floor| format!("{floor:.1}")).unwrap_or_default(),
            self.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            self.figure.clone(),
            self.target.clone(),
            verdict.to_owned(),
        ]
    }
}

/// A duration for the table.
pub fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

/// All lines, and what they were measured on.
#[derive(Debug, Default)]
pub struct Table {
    lines: Vec<Line>,
    setting: String,
    judged: Judged,
}

/// What the figures are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Judged {
    /// To be held against their targets.
    #[default]
    ByTarget,
    /// To show that each row works: a tiny count says nothing of a target.
    Not,
}

impl Table {
    /// An empty one, on this machine at this moment.
    pub fn new(setting: String, judged: Judged) -> Self {
        Self { lines: Vec::new(), setting, judged }
    }

    /// One line more; it is shown at once, for whoever waits.
    pub fn push(&mut self, mut line: Line) {
        if self.judged == Judged::Not && line.verdict != Verdict::Failed {
            (line.target, line.verdict) = (String::new(), Verdict::Works);
        }
        let cells: Vec<String> = line.cells().into_iter().filter(|cell| !cell.is_empty()).collect();
        eprintln!("  {}", cells.join("  "));
        self.lines.push(line);
    }

    /// Whether there is a figure for every row that was asked for.
    pub fn is_complete(&self) -> bool {
        !self.lines.is_empty() && self.lines.iter().all(|line| line.verdict != Verdict::Failed)
    }

    /// Appends it to benches/RESULTS.md, with the commit it was measured at.
    pub fn save(&self) -> io::Result<PathBuf> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/RESULTS.md");
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        write!(file, "\n## {}\n\n{self}", commit())?;
        Ok(path)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = [
            "row",
            "store",
            "requests/s",
            "p50",
            "p99",
            "CPU µs",
            "floor µs",
            "ratio",
            "figures",
            "target",
            "verdict",
        ];
        let mut rows = vec![titles.map(str::to_owned)];
        rows.extend(self.lines.iter().map(Line::cells));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..titles.len()).map(width).collect();
        writeln!(f, "{}\n", self.setting)?;
        for (number, row) in rows.iter().enumerate() {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(f, "| {} |", cells.join(" | "))?;
            if number == 0 {
                let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                writeln!(f, "| {} |", rules.join(" | "))?;
            }
        }
        Ok(())
    }
}

/// The commit of the working copy and today's date.
fn commit() -> String {
    let says = |program: &str, arguments: &[&str]| {
        let output =
            Command::new(program).current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit =
        says("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown commit".to_owned());
    let today = says("date", &["+%Y-%m-%d"]).unwrap_or_default();
    // What the figures hang on; a changed README does not count.
    let files =
        ["status", "--porcelain", "--", "src", "benches/daemon", "benches/wrk", "Cargo.toml", "Cargo.lock"];
    let changed = says("git", &files);
    let changed =
        if changed.is_some_and(|files| files.is_empty()) { "" } else { ", with uncommitted changes" };
    format!("{commit}{changed}, {today}")
}
