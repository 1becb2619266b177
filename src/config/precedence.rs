//! Decides which source wins: the first of flag, environment, `.env`, `app.conf` and `app.yaml`, with one exception.
//!
//! The release folder of the reference holds an `app.yaml` that sets nearly every key, and its cluster guide says to edit
//! `app.conf`. There, `app.yaml` wins silently, and the edits of the guide have no effect. Here, if a key is set in both files, the
//! value that differs from the shipped value wins. If both values differ from it, the value in `app.conf` wins.

use super::keys::ConfigKey;
use super::origin::{ValueOrigin, Warning};
use super::sources::{FoundValue, Layer};

/// The value that wins (`None`: the default) and its source.
pub(super) fn choose(
    key: &ConfigKey,
    found: &[FoundValue],
    warnings: &mut Vec<Warning>,
) -> (Option<String>, ValueOrigin) {
    let mut sorted: Vec<&FoundValue> = found.iter().collect();
    sorted.sort_by_key(|found| found.layer);
    let winner = match sorted.as_slice() {
        [] => return (None, ValueOrigin::Default),
        [conf, rest @ ..] if conf.layer == Layer::AppConf => {
            match rest.iter().find(|f| f.layer == Layer::AppYaml) {
                Some(yaml) => of_two_files(key, conf, yaml, warnings),
                None => conf,
            }
        }
        [first, ..] => first,
    };
    (winner.value.clone(), winner.origin.clone())
}

fn of_two_files<'a>(
    key: &ConfigKey,
    conf: &'a FoundValue,
    yaml: &'a FoundValue,
    warnings: &mut Vec<Warning>,
) -> &'a FoundValue {
    let text = |found: &FoundValue| found.value.clone().unwrap_or_else(|| key.default.to_owned());
    let (in_conf, in_yaml) = (text(conf), text(yaml));
    if key.same(&in_conf, &in_yaml) {
        return conf;
    }
    // A key without a value does not win against one with a value.
    let (winner, loser, why) = match (key.is_shipped(&in_conf), key.is_shipped(&in_yaml)) {
        (true, false) if yaml.value.is_some() => {
            (yaml, conf, "the other value is the one that the reference ships")
        }
        (false, true) => (conf, yaml, "the other value is the one that the reference ships"),
        _ => (conf, yaml, "app.conf comes before app.yaml"),
    };
    let text = format!(
        "{} is {:?} here and {:?} in {}; the value here is used, because {why}",
        key.name,
        key.masked(&text(winner)),
        key.masked(&text(loser)),
        loser.origin,
    );
    warnings.push(Warning { origin: winner.origin.clone(), text });
    winner
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::table;

    const LAYERS: [Layer; 6] =
        [Layer::Flag, Layer::Environment, Layer::DotEnv, Layer::AppConf, Layer::AppYaml, Layer::SyncerYaml];

    fn found(layer: Layer, value: Option<&str>) -> FoundValue {
        FoundValue {
            layer,
            value: value.map(str::to_owned),
            origin: ValueOrigin::Environment(format!("{layer:?}")),
        }
    }

    fn winner(key: &ConfigKey, all: &[FoundValue]) -> (String, usize) {
        let mut warnings = Vec::new();
        let (_, origin) = choose(key, all, &mut warnings);
        (origin.spelling().unwrap_or("default").to_owned(), warnings.len())
    }

    #[test]
    fn each_source_beats_those_after_it() {
        for (at, first) in LAYERS.iter().enumerate() {
            for second in LAYERS.iter().skip(at + 1) {
                // Both values differ from the shipped one, so the exception for two files changes nothing.
                let all = [found(*second, Some("10.0.0.2")), found(*first, Some("10.0.0.1"))];
                assert_eq!(winner(&table::SERVER_HOST, &all).0, format!("{first:?}"), "{first:?} {second:?}");
            }
        }
        assert_eq!(winner(&table::SERVER_HOST, &[]), ("default".to_owned(), 0));
    }

    fn check(key: &ConfigKey, conf: &str, yaml: Option<&str>, expected: (&str, usize)) {
        let all = [found(Layer::AppConf, Some(conf)), found(Layer::AppYaml, yaml)];
        assert_eq!(winner(key, &all), (expected.0.to_owned(), expected.1), "{} {conf} {yaml:?}", key.name);
    }

    #[test]
    fn with_two_files_the_changed_value_wins() {
        let host = &table::SERVER_HOST;
        check(host, "10.12.0.1", Some("127.0.0.1"), ("AppConf", 1));
        check(host, "127.0.0.1", Some("10.12.0.1"), ("AppYaml", 1));
        check(host, "10.12.0.1", Some("10.12.0.2"), ("AppConf", 1));
        check(host, "10.12.0.1", Some("10.12.0.1"), ("AppConf", 0));
        check(host, "10.12.0.1", None, ("AppConf", 1));
        check(host, "127.0.0.1", None, ("AppConf", 0));
        let endpoints = &table::ETCD_ENDPOINTS;
        check(endpoints, "10.12.0.4:2379", Some("http://127.0.0.1:2379"), ("AppConf", 1));
        check(endpoints, "127.0.0.1:2379", Some("10.12.0.4:2379"), ("AppYaml", 1));
        // The values are equal, only written differently.
        check(&table::HEADER_TIMEOUT, "1m", Some("60s"), ("AppConf", 0));
        check(&table::SSL_ENABLE, "0", Some("false"), ("AppConf", 0));
        check(&table::SSL_ENABLE, "0", Some("true"), ("AppYaml", 1));
        // The key is not in the shipped file: app.conf wins.
        check(&table::INSTANCE_MIN_TIMES, "4", Some("5"), ("AppConf", 1));
        check(&table::MAX_HEADER_BYTES, "32768", None, ("AppConf", 0));
    }

    #[test]
    fn a_source_before_the_two_files_wins() {
        let all = [
            found(Layer::AppConf, Some("a")),
            found(Layer::AppYaml, Some("b")),
            found(Layer::Environment, Some("c")),
        ];
        assert_eq!(winner(&table::SERVER_HOST, &all), ("Environment".to_owned(), 0));
    }
}
