//! The web console: its files as they are in the folder, and what a daemon answers for them. `tests/console` uses it in a browser.

mod files;
mod served;
