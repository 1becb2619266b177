//! The command line: which rows, on which stores, how long.

use std::time::Duration;

use crate::crowd;
use crate::floor::{Reads, Setup, Speaks};
use crate::node::Kind;
use crate::rows;

/// The test's name for `cargo test NAME`.
const TEST_NAME: &str = "bench_runs";

/// What the program was called for.
pub enum Asked {
    /// Measure.
    Rows(Options),
    /// Be the floor: answer every request with the recorded answer in this file.
    Floor(Setup),
    /// Hold watchers.
    Crowd(crowd::Setup),
    /// `cargo test` with the names of other tests.
    Nothing,
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct Options {
    rows: Vec<String>,
    stores: Vec<Kind>,
    /// Tiny counts: only whether it works.
    pub short: bool,
    /// Append to benches/RESULTS.md.
    pub save: bool,
    /// Rounds a figure is the best of.
    pub rounds: usize,
    /// Length of a round of wrk.
    pub round: Duration,
}

impl Options {
    fn new() -> Self {
        Self {
            rows: Vec::new(),
            stores: vec![Kind::Embedded, Kind::Etcd],
            short: false,
            save: false,
            rounds: 3,
            round: Duration::from_secs(3),
        }
    }

    fn short() -> Self {
        Self { short: true, rounds: 1, round: Duration::from_millis(200), ..Self::new() }
    }

    /// Whether a row is wanted: whether one of the given words begins its name.
    pub fn wants(&self, row: &str) -> bool {
        assert!(rows::names().any(|name| name == row), "{row} is not in the list of rows");
        self.rows.is_empty() || self.rows.iter().any(|word| row.starts_with(word.as_str()))
    }

    /// Whether one of some rows is wanted.
    pub fn wants_any(&self, rows: &[&str]) -> bool {
        rows.iter().any(|row| self.wants(row))
    }

    /// The stores to measure on.
    pub fn stores(&self) -> &[Kind] {
        &self.stores
    }

    /// The one that fits: a count in a real run, a count that only shows that it works.
    pub fn scale<T>(&self, full: T, short: T) -> T {
        if self.short { short } else { full }
    }
}

const USAGE: &str =
    "arguments: [--rows NAME,…] [--stores embedded,etcd] [--short] [--save] [--seconds N] [--rounds N]";

/// Reads the arguments behind the program's name.
pub fn asked(arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let arguments: Vec<String> = arguments.collect();
    match arguments.as_slice() {
        [word, speaks, reads, address, answer, certificate @ ..] if word == "floor" => {
            let speaks = Speaks::parse(speaks).ok_or_else(|| format!("floor {speaks}: http, https or h2"))?;
            let reads = Reads::parse(reads).ok_or_else(|| format!("floor {reads}: head or body"))?;
            let address = address.parse().map_err(|error| format!("floor {address}: {error}"))?;
            let certificate = certificate.first().map(Into::into);
            Ok(Asked::Floor(Setup { speaks, reads, address, answer: answer.into(), certificate }))
        }
        [word, control, node, consumer, watchers] if word == "crowd" => {
            let address = |text: &String| text.parse().map_err(|error| format!("crowd {text}: {error}"));
            let (control, node) = (address(control)?, address(node)?);
            let watchers = watchers.parse().map_err(|error| format!("crowd {watchers}: {error}"))?;
            Ok(Asked::Crowd(crowd::Setup { control, node, consumer: consumer.clone(), watchers }))
        }
        arguments if arguments.iter().any(|argument| argument == "--bench") => {
            let given = arguments.iter().filter(|argument| *argument != "--bench");
            options(given.map(String::as_str)).map(Asked::Rows)
        }
        arguments => Ok(as_test(arguments)),
    }
}

/// `cargo test` hands over what is meant for its own harness: of that only names count here.
fn as_test(arguments: &[String]) -> Asked {
    let mut names = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
    let is_listing = arguments.iter().any(|argument| argument == "--list");
    let is_named = names.peek().is_none() || names.any(|name| TEST_NAME.contains(name.as_str()));
    if is_named && !is_listing { Asked::Rows(Options::short()) } else { Asked::Nothing }
}

fn options<'a>(mut given: impl Iterator<Item = &'a str>) -> Result<Options, String> {
    let given: Vec<&str> = given.by_ref().collect();
    let mut options = if given.contains(&"--short") { Options::short() } else { Options::new() };
    let mut given = given.into_iter();
    while let Some(flag) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{flag} wants a value\n{USAGE}"));
        match flag {
            "--short" => {}
            "--save" => options.save = true,
            "--rows" => options.rows = rows(value()?)?,
            "--stores" => options.stores = value()?.split(',').map(Kind::parse).collect::<Result<_, _>>()?,
            "--seconds" => options.round = Duration::from_secs(number(flag, value()?, 60)?),
            "--rounds" => options.rounds = number(flag, value()?, 20)? as usize,
            other => return Err(format!("{other} is no argument\n{USAGE}")),
        }
    }
    Ok(options)
}

fn rows(value: &str) -> Result<Vec<String>, String> {
    let words: Vec<String> = value.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    match words.iter().find(|word| !rows::names().any(|row| row.starts_with(word.as_str()))) {
        Some(word) => {
            Err(format!("--rows {word}: there are {}", rows::names().collect::<Vec<_>>().join(", ")))
        }
        None => Ok(words),
    }
}

fn number(flag: &str, value: &str, most: u64) -> Result<u64, String> {
    match value.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(format!("{flag} {value}: a number from 1 to {most}")),
    }
}
