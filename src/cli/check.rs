//! `check-config`: prints each effective value and its source, then the warnings, then the mistakes.

use super::EXIT_USAGE;
use super::terminal::Terminal;
use crate::config::logging::printable;
use crate::config::{Loaded, Mistakes, Warning};

/// Returns the exit code.
pub(super) fn report(loaded: &Loaded, terminal: &mut Terminal<'_>) -> u8 {
    let width =
        loaded.effective.iter().map(|e| e.key.len() + e.value.chars().count()).max().unwrap_or(0).min(72);
    for effective in &loaded.effective {
        let setting = format!("{} = {}", effective.key, effective.value);
        let derived = effective.derived.map(|from| format!(": {from}")).unwrap_or_default();
        let line = format!("{setting:<width$}  # {}{derived}", effective.origin, width = width + 3);
        terminal.say(&printable(&line));
    }
    match &loaded.config {
        Ok(_) => {
            warn(&loaded.warnings, terminal);
            terminal
                .say(&format!("# the configuration has no mistakes; {} warning(s)", loaded.warnings.len()));
            0
        }
        Err(mistakes) => {
            complain(mistakes, &loaded.warnings, terminal);
            EXIT_USAGE
        }
    }
}

/// Prints the warnings, then the mistakes. The end of the output is what an operator sees first.
pub(super) fn complain(mistakes: &Mistakes, warnings: &[Warning], terminal: &mut Terminal<'_>) {
    warn(warnings, terminal);
    for mistake in &mistakes.0 {
        terminal.complain(&format!("mistake: {mistake}"));
    }
    terminal.complain(&mistakes.to_string());
}

fn warn(warnings: &[Warning], terminal: &mut Terminal<'_>) {
    for warning in warnings {
        terminal.complain(&format!("warning: {warning}"));
    }
}
