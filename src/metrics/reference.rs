//! Makes the tables of `docs/metrics.md` from the table of families. Only a test calls it.

use super::families;
use super::family::{Family, Origin};

/// The line of `docs/metrics.md` before the tables.
pub const TABLES_BEGIN: &str = "<!-- tables: made from the table of families, do not edit -->";

/// The line after the tables.
pub const TABLES_END: &str = "<!-- end of tables -->";

const SECTIONS: [(Origin, &str); 3] = [
    (Origin::Original, "Families of the original server"),
    (Origin::Ours, "Families of this server"),
    (Origin::Process, "Families of the process"),
];

pub fn tables() -> String {
    let mut out = String::new();
    for (origin, title) in SECTIONS {
        out.push_str(&format!("\n## {title}\n\n"));
        out.push_str("| name | type | labels | what it is |\n|---|---|---|---|\n");
        let mut rows: Vec<&Family> = families().filter(|family| family.origin == origin).collect();
        rows.sort_by_key(|family| family.name);
        for family in rows {
            let instance = (origin == Origin::Original).then_some("instance");
            let labels: Vec<String> =
                instance.iter().chain(family.labels).map(|label| format!("`{label}`")).collect();
            let help = family.help.trim_end_matches('.');
            let note = if family.note.is_empty() { String::new() } else { format!(" {}", family.note) };
            out.push_str(&format!(
                "| `{}` | {} | {} | {help}.{note} |\n",
                family.full_name(),
                family.kind.as_str(),
                labels.join(", ")
            ));
        }
    }
    out
}
