//! Which source wins: the first of flag, environment, `.env`, `app.conf`, `app.yaml`, with one exception.
//!
//! The reference's release folder holds an `app.yaml` that sets nearly every key, and its cluster guide says to edit
//! `app.conf`; its `app.yaml` silently wins there, so that the guide does nothing. Here a key set in both files takes the
//! value that somebody changed: the one that is not the shipped one; if both were changed, `app.conf`'s.

use super::keys::Key;
use super::origin::{Origin, Warning};
use super::sources::{Found, Layer};

/// The winner's value (`None`: the default) and where it stands.
pub(super) fn choose(key: &Key, found: &[Found], warnings: &mut Vec<Warning>) -> (Option<String>, Origin) {
    let mut sorted: Vec<&Found> = found.iter().collect();
    sorted.sort_by_key(|found| found.layer);
    let winner = match sorted.as_slice() {
        [] => return (None, Origin::Default),
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

fn of_two_files<'a>(key: &Key, conf: &'a Found, yaml: &'a Found, warnings: &mut Vec<Warning>) -> &'a Found {
    let text = |found: &Found| found.value.clone().unwrap_or_else(|| key.default.to_owned());
    let (in_conf, in_yaml) = (text(conf), text(yaml));
    if key.same(&in_conf, &in_yaml) {
        return conf;
    }
    // A key without a value says nothing that could beat one.
    let (winner, loser, why) = match (key.is_shipped(&in_conf), key.is_shipped(&in_yaml)) {
        (true, false) if yaml.value.is_some() => (yaml, conf, "the other value is the shipped one"),
        (false, true) => (conf, yaml, "the other value is the shipped one"),
        _ => (conf, yaml, "app.conf goes first"),
    };
    let text = format!(
        "{} is {:?} here and {:?} in {}: this one counts, since {why}",
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

    fn found(layer: Layer, value: Option<&str>) -> Found {
        Found { layer, value: value.map(str::to_owned), origin: Origin::Environment(format!("{layer:?}")) }
    }

    fn winner(key: &Key, all: &[Found]) -> (String, usize) {
        let mut warnings = Vec::new();
        let (_, origin) = choose(key, all, &mut warnings);
        (origin.spelling().unwrap_or("default").to_owned(), warnings.len())
    }

    #[test]
    fn each_source_beats_those_after_it() {
        for (at, first) in LAYERS.iter().enumerate() {
            for second in LAYERS.iter().skip(at + 1) {
                // Neither value is the shipped one, so that the rule of two files changes nothing.
                let all = [found(*second, Some("10.0.0.2")), found(*first, Some("10.0.0.1"))];
                assert_eq!(winner(&table::SERVER_HOST, &all).0, format!("{first:?}"), "{first:?} {second:?}");
            }
        }
        assert_eq!(winner(&table::SERVER_HOST, &[]), ("default".to_owned(), 0));
    }

    fn check(key: &Key, conf: &str, yaml: Option<&str>, expected: (&str, usize)) {
        let all = [found(Layer::AppConf, Some(conf)), found(Layer::AppYaml, yaml)];
        assert_eq!(winner(key, &all), (expected.0.to_owned(), expected.1), "{} {conf} {yaml:?}", key.name);
    }

    #[test]
    fn of_two_files_the_changed_value_wins() {
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
        // The same value in another spelling is no difference.
        check(&table::HEADER_TIMEOUT, "1m", Some("60s"), ("AppConf", 0));
        check(&table::SSL_ENABLE, "0", Some("false"), ("AppConf", 0));
        check(&table::SSL_ENABLE, "0", Some("true"), ("AppYaml", 1));
        // Not in the shipped file: app.conf goes first.
        check(&table::INSTANCE_MIN_TIMES, "4", Some("5"), ("AppConf", 1));
        check(&table::MAX_HEADER_BYTES, "32768", None, ("AppConf", 0));
    }

    #[test]
    fn a_flag_ends_the_question_of_two_files() {
        let all = [
            found(Layer::AppConf, Some("a")),
            found(Layer::AppYaml, Some("b")),
            found(Layer::Environment, Some("c")),
        ];
        assert_eq!(winner(&table::SERVER_HOST, &all), ("Environment".to_owned(), 0));
    }
}
