//! Reads every source. Flags and variables are read here, files in `files`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::inputs::Inputs;
use super::keys::{self, NamedKey, Spelling, ValueKind, table};
use super::origin::{Mistake, ValueOrigin, shown};
use super::sources::{FoundValue, Layer, Sources, explicit, suggestion};

impl Sources {
    /// Reads every source. A source that cannot be read is a mistake, and the others are read all the same.
    pub fn gather(inputs: &Inputs) -> Self {
        let mut sources = Self { cores: inputs.cores.max(1), ..Self::default() };
        sources.variables.environment.clone_from(&inputs.environment);
        sources.leave_out_service_links();
        sources.read_flags(&inputs.flags);
        sources.read_dot_env(inputs);
        let (environment, dot_env) =
            (sources.variables.environment.clone(), sources.variables.dot_env.clone());
        sources.read_variables(&environment, Layer::Environment, &|name| {
            ValueOrigin::Environment(name.to_owned())
        });
        let file = inputs.working_dir.join(".env");
        sources.read_variables(&dot_env, Layer::DotEnv, &|name| ValueOrigin::File {
            path: inputs.displayed(&file),
            line: None,
            name: name.to_owned(),
        });
        sources.read_backend_address();
        sources.refuse_not_utf8(&inputs.not_utf8);
        let conf = sources.conf_dir(inputs);
        sources.read_app_conf(&conf, inputs);
        sources.read_yaml(&conf.join("app.yaml"), Layer::AppYaml, inputs);
        sources.read_yaml(&conf.join("syncer.yaml"), Layer::SyncerYaml, inputs);
        sources
    }

    /// Removes variables that Kubernetes sets. In each container it describes the services of the namespace by variables. For a
    /// service called `server` it sets `SERVER_PORT=tcp://10.0.0.1:80`, which is also the variable of a key.
    fn leave_out_service_links(&mut self) {
        let is_ours = |name: &str| keys::all().any(|key| key.env_name() == *name);
        let links: Vec<(String, String)> = self
            .variables
            .environment
            .iter()
            .filter(|(name, value)| is_service_link(name, value) && is_ours(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for (name, value) in links {
            self.variables.environment.remove(&name);
            let text = format!(
                "{name} = {:?} is not read, because Kubernetes sets it for a service of that name; set the key in another source, or \
                 set enableServiceLinks: false for the pod",
                shown(&value)
            );
            self.warn(ValueOrigin::Environment(name), text);
        }
    }

    fn conf_dir(&mut self, inputs: &Inputs) -> PathBuf {
        if let Some(dir) = &inputs.conf_dir {
            let dir = inputs.working_dir.join(dir);
            if !dir.is_dir() {
                self.mistakes.push(Mistake {
                    origin: ValueOrigin::Flag("--conf".to_owned()),
                    key: "conf".to_owned(),
                    value: dir.display().to_string(),
                    expected: "there is no such folder; write the folder that holds app.conf or app.yaml"
                        .to_owned(),
                });
            }
            return dir;
        }
        match self.variables.find("APP_ROOT").filter(|root| !root.is_empty()) {
            Some(root) => {
                let dir = inputs.working_dir.join(root).join("conf");
                if !dir.is_dir() {
                    let text =
                        format!("APP_ROOT is set, but there is no folder {}; no file is read", dir.display());
                    self.warn(ValueOrigin::Environment("APP_ROOT".to_owned()), text);
                }
                dir
            }
            None => inputs.working_dir.join("conf"),
        }
    }

    fn read_flags(&mut self, flags: &[(String, String)]) {
        for (name, value) in flags {
            let origin = ValueOrigin::Flag(format!("--{name}"));
            match keys::find(name, Spelling::Either) {
                NamedKey::Key(key) if key.kind == ValueKind::Map => self.mistakes.push(Mistake {
                    origin,
                    key: key.name.to_owned(),
                    value: shown(value),
                    expected: format!("write the name of the pair behind the key: --{}.zone=z1", key.name),
                }),
                NamedKey::Key(key) => {
                    let found = FoundValue { layer: Layer::Flag, value: explicit(key, value), origin };
                    // If a flag is given twice, the last value counts, as usual.
                    let all = self.found.entry(key.name).or_default().entry(String::new()).or_default();
                    all.retain(|found| found.layer != Layer::Flag);
                    all.insert(0, found);
                }
                NamedKey::Entry(key, entry) => {
                    self.add(
                        key,
                        entry,
                        FoundValue { layer: Layer::Flag, value: Some(value.clone()), origin },
                    );
                }
                NamedKey::Ignored => self.warn(origin, format!("{name} is not read by this server")),
                NamedKey::Unknown => {
                    let near = keys::nearest_flag(name, &[]);
                    let expected = format!("unknown flag{}", suggestion(near, "--"));
                    self.mistakes.push(Mistake { origin, key: name.clone(), value: shown(value), expected });
                }
            }
        }
    }

    fn read_variables(
        &mut self,
        variables: &BTreeMap<String, String>,
        layer: Layer,
        origin: &dyn Fn(&str) -> ValueOrigin,
    ) {
        for key in keys::all() {
            if key.kind == ValueKind::Map {
                let prefix = format!("{}_", key.dotted_env_name());
                for (name, value) in variables {
                    if let Some(entry) = name.strip_prefix(&prefix).filter(|entry| !entry.is_empty()) {
                        let found = FoundValue { layer, value: Some(value.clone()), origin: origin(name) };
                        self.add(key, entry.to_owned(), found);
                    }
                }
                continue;
            }
            // The reference also reads a number from the variable that is named as in app.conf.
            let old = matches!(key.kind, ValueKind::Integer(..)).then(|| key.old_name());
            let names = [Some(key.env_name()), Some(key.dotted_env_name()), old];
            let hit =
                names.into_iter().flatten().find_map(|name| Some((variables.get(&name)?.clone(), name)));
            if let Some((value, name)) = hit {
                let found = FoundValue { layer, value: explicit(key, &value), origin: origin(&name) };
                self.add(key, String::new(), found);
            }
        }
    }

    /// Reads `BACKEND_ADDRESS`, by which deployments of the reference's container name etcd. Its start script turns the variable into
    /// two others, which win here if they are set.
    fn read_backend_address(&mut self) {
        const NAME: &str = "BACKEND_ADDRESS";
        let Some(address) = self.variables.find(NAME).filter(|address| !address.trim().is_empty()) else {
            return;
        };
        for (key, value) in [(&table::REGISTRY_KIND, "etcd"), (&table::ETCD_ENDPOINTS, address.as_str())] {
            let is_set = self.found.get(key.name).and_then(|entries| entries.get(""));
            if is_set.is_some_and(|all| all.iter().any(|found| found.layer <= Layer::DotEnv)) {
                continue;
            }
            let origin = ValueOrigin::Environment(NAME.to_owned());
            let found = FoundValue { layer: Layer::Environment, value: explicit(key, value), origin };
            self.add(key, String::new(), found);
        }
    }

    fn refuse_not_utf8(&mut self, names: &[String]) {
        for key in keys::all() {
            let name = key.env_name();
            if names.contains(&name) {
                self.mistakes.push(Mistake {
                    origin: ValueOrigin::Environment(name),
                    key: key.name.to_owned(),
                    value: String::new(),
                    expected: "the value is not valid UTF-8".to_owned(),
                });
            }
        }
    }
}

/// Whether a variable has the form in which Kubernetes describes a service: `REDIS_PORT` or `REDIS_PORT_6379_TCP`, with a value such
/// as `tcp://10.0.0.1:6379`.
fn is_service_link(name: &str, value: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    let is_protocol = |text: &str| PROTOCOLS.iter().any(|protocol| protocol.eq_ignore_ascii_case(text));
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    let is_named = name.ends_with("_PORT")
        || name.rsplit_once('_').is_some_and(|(rest, protocol)| {
            let port = rest.rsplit_once("_PORT_").map(|(_, port)| port);
            PROTOCOLS.contains(&protocol) && port.is_some_and(is_port)
        });
    let (protocol, address) = value.split_once("://").unwrap_or_default();
    is_named && is_protocol(protocol) && address.rsplit_once(':').is_some_and(|(_, port)| is_port(port))
}

#[cfg(test)]
mod tests {
    use super::is_service_link;

    #[test]
    fn service_links() {
        for (name, value, expected) in [
            ("SERVER_PORT", "tcp://10.0.0.1:80", true),
            ("SERVER_PORT", "udp://[fd00::1]:80", true),
            ("SERVER_PORT_80_TCP", "tcp://10.0.0.1:80", true),
            ("SERVER_PORT", "30100", false),
            ("SERVER_PORT", "tcp://10.0.0.1", false),
            ("SERVER_PORT", "http://10.0.0.1:80", false),
            ("SERVER_HOST", "tcp://10.0.0.1:80", false),
            ("SERVER_PORT_X_TCP", "tcp://10.0.0.1:80", false),
        ] {
            assert_eq!(is_service_link(name, value), expected, "{name}={value}");
        }
    }
}
