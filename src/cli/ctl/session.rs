//! What a command works with: a node to ask, and a terminal to print to.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::time::Duration;

use serde_json::Value;

use super::super::terminal::Terminal;
use super::client::{Call, CallError, Client, EventStream, encode};
use super::failure::Failure;
use super::options::Place;
use super::output::{Output, items, text};
use crate::clock::{Clock, Stopwatch};

/// The most items that one page has.
const PAGE: usize = 200;
/// The most pages of one list.
const MAX_PAGES: usize = 10_000;
/// The longest answer of a user.
const MAX_TYPED: u64 = 64 << 10;

pub struct Session<'a, 't> {
    pub terminal: &'a mut Terminal<'t>,
    pub client: Client,
    pub output: Output,
    pub place: Place,
    pub clock: Clock,
    pub verbose: bool,
    /// Whether the user expects the columns of the original.
    pub is_scctl: bool,
    pub environment: &'a BTreeMap<String, String>,
}

impl Session<'_, '_> {
    /// A path below `/v4/{project}`.
    pub fn path(&self, rest: &str) -> String {
        format!("/v4/{}/{rest}", encode(&self.place.project))
    }

    /// Sends a request. Returns the JSON of the answer; `null` if it has no body.
    pub async fn call(&mut self, call: &Call) -> Result<Value, CallError> {
        let watch = Stopwatch::start();
        let answer = self.client.call(call).await;
        if self.verbose {
            let outcome = match &answer {
                Ok(body) => format!("{} bytes", body.len()),
                Err(error) => error.to_string(),
            };
            let place = format!("{} {}{}", call.method, self.client.address(), call.path);
            self.terminal.note(&format!("{place}: {outcome} in {:?}", watch.elapsed()));
        }
        let body = answer?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        let parsed = serde_json::from_slice(&body);
        parsed.map_err(|error| {
            CallError::NoAnswer(format!("the answer to '{} {}' is not JSON: {error}", call.method, call.path))
        })
    }

    pub async fn get(&mut self, rest: &str) -> Result<Value, Failure> {
        let path = self.path(rest);
        Ok(self.call(&Call::get(path)).await?)
    }

    /// As [`Self::get`], with `None` if the node says that it does not exist.
    pub async fn find(&mut self, rest: &str, absent: &[u32]) -> Result<Option<Value>, Failure> {
        let path = self.path(rest);
        match self.call(&Call::get(path)).await {
            Ok(value) => Ok(Some(value)),
            Err(CallError::Refused(refusal)) if absent.contains(&refusal.code) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All items of a list that comes in pages, or the first `most`.
    pub async fn pages(
        &mut self,
        rest: &str,
        query: &[(&str, String)],
        most: Option<usize>,
    ) -> Result<Vec<Value>, Failure> {
        let mut all: Vec<Value> = Vec::new();
        let mut after = None;
        let most = most.unwrap_or(usize::MAX);
        for _ in 0..MAX_PAGES {
            let mut pairs = query.to_vec();
            pairs.push(("limit", PAGE.min(most - all.len()).to_string()));
            pairs.extend(after.take().map(|after| ("after", after)));
            let page = self.get(&format!("{rest}{}", queried(&pairs))).await?;
            all.extend_from_slice(items(&page, "/items"));
            let next = text(&page, "/next");
            if next.is_empty() || all.len() >= most {
                return Ok(all);
            }
            after = Some(next.to_owned());
        }
        self.note(&format!("only the first {} items are shown; ask for fewer", all.len()));
        Ok(all)
    }

    /// Opens a stream of events.
    pub async fn stream(&mut self, rest: &str, last: Option<&str>) -> Result<EventStream, CallError> {
        let path = self.path(rest);
        self.client.stream(&path, last).await
    }

    /// Changes something. The node may answer so much later than usual.
    pub async fn change(&mut self, call: Call, patience: Duration) -> Result<Value, Failure> {
        match self.call(&call.patience(patience)).await {
            Err(CallError::NoAnswer(why)) => {
                let text = format!("{why}; the change may have been made all the same");
                Err(CallError::NoAnswer(text).into())
            }
            answer => Ok(answer?),
        }
    }

    /// A line of standard error.
    pub fn note(&mut self, line: &str) {
        self.terminal.note(line);
    }

    /// A line that the user types; `None` at the end of the input.
    pub fn typed(&mut self) -> Result<Option<String>, Failure> {
        let mut line = String::new();
        let mut input = std::io::Read::take(std::io::stdin().lock(), MAX_TYPED);
        let read = input.read_line(&mut line);
        let read = read.map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
        Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Shows a change, and asks whether to make it. Returns normally if the answer is yes.
    ///
    /// In a protected context the answer is its name, also with `--yes`.
    pub fn confirm(&mut self, is_confirmed: bool, facts: &[(&str, String)]) -> Result<(), Failure> {
        let context =
            self.place.context.as_ref().map(|name| format!(" (context {name})")).unwrap_or_default();
        let mut all = vec![("address", format!("{}{context}", self.client.address()))];
        all.extend_from_slice(facts);
        let width = all.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, value) in &all {
            self.terminal.note(&format!("{name:width$}  {value}"));
        }
        let question = match &self.place.protected {
            Some(name) => format!("the context '{name}' is protected; type its name to go on: "),
            None if is_confirmed => return Ok(()),
            None => "go on? [y/N] ".to_owned(),
        };
        self.terminal.prompt(&question);
        let Some(answer) = self.typed()? else {
            self.note("");
            let hint = if self.place.protected.is_some() { "" } else { "; --yes changes without a question" };
            return Err(Failure::no(format!(
                "nothing is changed, because standard input has no answer{hint}"
            )));
        };
        let is_yes = match &self.place.protected {
            Some(name) => answer.trim() == name,
            None => matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"),
        };
        if is_yes { Ok(()) } else { Err(Failure::no("nothing is changed")) }
    }
}

/// A query, with its question mark; empty without pairs. A pair without a value is left out.
pub fn queried(pairs: &[(&str, String)]) -> String {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", encode(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}
