//! The commands of `docs/troubleshooting.md`.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// A section of the page that answers a question.
pub struct Answer {
    pub heading: String,
    /// The command, as the page has it.
    pub command: String,
    /// The first line of the answer that the page shows: the headings of a table.
    pub shown: String,
}

/// The sections that have a command.
pub fn answers() -> Vec<Answer> {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md")).unwrap();
    let sections = text.split("\n## ").skip(1);
    let answer = |section: &str| {
        let heading = section.lines().next().unwrap().to_owned();
        let block = |kind: &str| {
            let blocks: Vec<&str> = section.split(&format!("```{kind}\n")).skip(1).collect();
            assert_eq!(blocks.len(), 1, "'{heading}' has one block of {kind}");
            blocks[0].split("```").next().unwrap().trim_end().to_owned()
        };
        let (command, shown) = (block("sh"), block("text"));
        assert_eq!(command.lines().count(), 1, "'{heading}' is answered by one command: {command}");
        assert!(command.starts_with("scctl "), "{command}");
        Answer { command, shown: shown.lines().next().unwrap_or_default().to_owned(), heading }
    };
    sections.map(answer).collect()
}

/// The arguments of a command, with values for the words in capitals.
pub fn arguments(command: &str, values: &Value) -> Vec<String> {
    let argument = |word: &str| values.get(word).and_then(Value::as_str).unwrap_or(word).to_owned();
    command.split(' ').skip(1).map(argument).collect()
}
