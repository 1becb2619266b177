//! An example of each command, for its help, its man page and `docs/cli.md`.

use clap::Command;

use super::Program;

/// Command and arguments of each example.
const EXAMPLES: [(&str, &str); 31] = [
    ("get service", "--status noneUp --sort instances"),
    ("get instance", "shop/orders@1.0.0 --host node-17 -o wide"),
    ("get schema", "--app shop --name orders --save-dir contracts"),
    ("get cluster", ""),
    ("get node", "-o wide"),
    ("get watcher", "shop/orders@1.0.0 --all-nodes"),
    ("get expiry", "shop/orders@1.0.0"),
    ("get alarm", "-o json"),
    ("get account", ""),
    ("get role", "-o yaml"),
    ("describe service", "shop/orders"),
    ("describe instance", "10.12.0.7:8080"),
    ("history", "7062417bf9ebd4c646bb23059003cea42180894a/i-17"),
    ("explain", "production/shop/cart@2.1.0 production/shop/orders --version 1.0.0+"),
    ("events", "--kind instance.expired --since 2h -w"),
    ("diagnose", "--all-nodes"),
    ("health", "--addr https://sc.example.com:30100"),
    ("top", "--once --status someDown"),
    ("set status", "7062417bf9ebd4c646bb23059003cea42180894a/i-17 OUTOFSERVICE"),
    ("drain", "7062417bf9ebd4c646bb23059003cea42180894a/i-17 --wait 1m --yes"),
    ("delete service", "shop/orders@1.0.0 --force"),
    ("delete instance", "7062417bf9ebd4c646bb23059003cea42180894a/i-17 --wait 30s"),
    ("delete expiry", "shop/orders@1.0.0"),
    ("debug", "report.tar.gz"),
    ("login", "alice --context prod --lifetime 8h"),
    ("context list", ""),
    ("context use", "prod"),
    ("context set", "prod --addr https://10.12.0.1:30100,https://10.12.0.2:30100 --ca ca.cer --protected"),
    ("completion", "bash"),
    ("version", ""),
    ("man", "pages"),
];

/// Adds its example to each command of a tree.
pub(super) fn add(root: Command, program: Program) -> Command {
    EXAMPLES.iter().fold(root, |root, (path, arguments)| {
        let words: Vec<&str> = path.split(' ').collect();
        let line = format!("{} {path} {arguments}", program.name());
        add_to(root, &words, &format!("Example: {}", line.trim_end()))
    })
}

fn add_to(command: Command, path: &[&str], example: &str) -> Command {
    match path.split_first() {
        Some((name, rest)) => command.mut_subcommand(name, |command| add_to(command, rest, example)),
        None => command.after_help(example.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::command;
    use super::*;

    fn leaves(command: &Command, path: &str, out: &mut Vec<(String, bool)>) {
        let children: Vec<&Command> = command.get_subcommands().collect();
        if children.is_empty() {
            out.push((path.to_owned(), command.get_after_help().is_some()));
        }
        children
            .into_iter()
            .for_each(|child| leaves(child, format!("{path} {}", child.get_name()).trim(), out));
    }

    #[test]
    fn each_command_has_an_example_that_it_takes() {
        let mut found = Vec::new();
        leaves(&command(Program::Scctl), "", &mut found);
        let without: Vec<_> = found.iter().filter(|(_, has_example)| !has_example).collect();
        assert!(without.is_empty() && found.len() == EXAMPLES.len(), "{without:?}");
        for (path, arguments) in EXAMPLES {
            let words = ["scctl"].into_iter().chain(path.split(' ')).chain(arguments.split_whitespace());
            let parsed = command(Program::Scctl).try_get_matches_from(words);
            assert!(parsed.is_ok(), "{path} {arguments}: {parsed:?}");
        }
    }
}
