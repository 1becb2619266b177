//! What a family of metrics is: its name, type, help and labels.

/// The prefix of all names but those of the process.
pub const PREFIX: &str = "service_center_";

/// The most labels that a cell has.
pub const MOST_LABELS: usize = 3;

/// The values of a cell's labels, in the order of the family's labels. The rest is empty.
pub type LabelValues = [&'static str; MOST_LABELS];

/// A cell without labels.
pub const UNLABELED: LabelValues = [""; MOST_LABELS];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

/// Where a family comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This server alone has it. Units are seconds and bytes.
    Ours,
    /// The original server has it too, with the same name, type and labels. It gets the label `instance`: the address of this node.
    Original,
    /// Every process that Prometheus watches has it. The name has no prefix.
    Process,
}

#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The name without [`PREFIX`].
    pub name: &'static str,
    pub kind: Kind,
    /// Without the label `instance`.
    pub labels: &'static [&'static str],
    pub help: &'static str,
    /// What the help does not say: limits, and what is counted how. For `docs/metrics.md`.
    pub note: &'static str,
    pub origin: Origin,
}

impl Family {
    pub fn full_name(&self) -> String {
        match self.origin {
            Origin::Ours | Origin::Original => format!("{PREFIX}{}", self.name),
            Origin::Process => self.name.to_owned(),
        }
    }
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}
