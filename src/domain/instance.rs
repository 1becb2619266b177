//! The instance document, the TTL of its lease, and what a registration fills in.

use super::json::TextMap;
use super::service::Service;
use crate::json_object;

/// Heartbeat interval of an instance without a health check, seconds.
pub const DEFAULT_INTERVAL: i32 = 30;
/// Heartbeats that an instance without a health check may miss.
pub const DEFAULT_TIMES: i32 = 3;
/// etcd's longest lease, seconds.
pub const MAX_TTL_SECONDS: i64 = 9_000_000_000;

json_object! {
    /// A running instance of a service, as clients send and get it and as the store holds it.
    pub struct Instance {
        /// Id, unique within the service.
        "instanceId" => instance_id: String,
        /// Id of the service.
        "serviceId" => service_id: String,
        /// Addresses, usually URLs. The list may be empty, and an address may lack a scheme.
        "endpoints" => endpoints: Vec<String>,
        /// Name of the host.
        "hostName" => host_name: String,
        /// `UP`, `DOWN`, `STARTING`, `TESTING` or `OUTOFSERVICE`. Finds return instances of every status.
        "status" => status: String,
        /// Any names and values.
        "properties" => properties: TextMap,
        /// How the registry learns that the instance is alive.
        "healthCheck" => health_check: Option<HealthCheck>,
        /// When the instance was registered, Unix seconds.
        "timestamp" => timestamp: String,
        /// Where the instance runs.
        "dataCenterInfo" => data_center: Option<DataCenter>,
        /// When status or properties were last written, Unix seconds.
        "modTimestamp" => mod_timestamp: String,
        /// Version of the service.
        "version" => version: String,
    }
}

json_object! {
    /// A health check. With `push` the instance sends heartbeats.
    pub struct HealthCheck {
        /// `push` or `pull`.
        "mode" => mode: String,
        /// 0 to 65535.
        "port" => port: i32,
        /// Seconds between heartbeats.
        "interval" => interval: i32,
        /// Heartbeats that may be missed.
        "times" => times: i32,
        /// Any text without blanks.
        "url" => url: String,
    }
}

json_object! {
    /// Where an instance runs.
    pub struct DataCenter {
        /// Name of the data center.
        "name" => name: String,
        /// Name of the region.
        "region" => region: String,
        /// Name of the availability zone.
        "availableZone" => available_zone: String,
    }
}

/// Where an instance's properties come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertiesFrom {
    /// The instance's registration. The next registration may replace them.
    Registration,
    /// A request that replaced them. They stay while the instance lives.
    Request,
}

/// The configuration of instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRules {
    /// Lowest interval of a `push` health check, seconds. A lower one is raised to it.
    pub min_interval: i32,
    /// Lowest number of heartbeats that may be missed. A lower one is raised to it.
    pub min_times: i32,
    /// If positive, the TTL of every lease, whatever the health check says.
    pub fixed_ttl_seconds: i64,
    /// Properties added to each instance. They replace the client's values.
    pub properties: TextMap,
}

impl Default for InstanceRules {
    fn default() -> Self {
        Self { min_interval: 5, min_times: 3, fixed_ttl_seconds: 0, properties: TextMap::new() }
    }
}

impl Instance {
    /// Takes over from the stored instance what a repeated registration must not change: the status, because an operator may
    /// have set it, and properties that a request has replaced.
    pub fn keep(&mut self, stored: &Self, properties: PropertiesFrom) {
        self.status.clone_from(&stored.status);
        if properties == PropertiesFrom::Request {
            self.properties.clone_from(&stored.properties);
        }
    }

    /// Fills in what the registry decides at registration: ids, status, health check, times, version, configured properties.
    /// `now` is in Unix seconds.
    pub fn complete(&mut self, service: &Service, instance_id: String, now: u64, rules: &InstanceRules) {
        self.instance_id = instance_id;
        self.service_id.clone_from(&service.service_id);
        self.version.clone_from(&service.version);
        if self.status.is_empty() {
            "UP".clone_into(&mut self.status);
        }
        self.timestamp = now.to_string();
        self.mod_timestamp.clone_from(&self.timestamp);
        self.add_configured(&rules.properties);
        let given = self.health_check.take();
        self.health_check = Some(settled_health_check(given, rules));
    }

    /// Adds the configured properties. `true` if that changed the instance.
    pub fn add_configured(&mut self, properties: &TextMap) -> bool {
        let mut changed = false;
        for (key, value) in properties {
            changed |= self.properties.insert(key.clone(), value.clone()).as_ref() != Some(value);
        }
        changed
    }

    /// TTL of the instance's lease, seconds: the configured one, or [`Self::health_ttl_seconds`].
    pub fn ttl_seconds(&self, rules: &InstanceRules) -> i64 {
        if rules.fixed_ttl_seconds > 0 {
            return rules.fixed_ttl_seconds.min(MAX_TTL_SECONDS);
        }
        self.health_ttl_seconds()
    }

    /// TTL by the health check, seconds, see [`HeartbeatPace::ttl_seconds`].
    pub fn health_ttl_seconds(&self) -> i64 {
        HeartbeatPace::of(self.health_check.as_ref()).ttl_seconds()
    }

    /// Whether this instance is equal to the stored one, apart from the times that the registry writes.
    pub fn same_as_registered(&self, stored: &Self) -> bool {
        let untimed = |instance: &Self| Self {
            timestamp: String::new(),
            mod_timestamp: String::new(),
            ..instance.clone()
        };
        untimed(self) == untimed(stored)
    }
}

/// How often an instance sends heartbeats, by its health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatPace {
    /// Seconds.
    interval: i32,
    /// How many heartbeats may be missed.
    times: i32,
}

impl Default for HeartbeatPace {
    fn default() -> Self {
        Self::of(None)
    }
}

impl HeartbeatPace {
    pub fn of(check: Option<&HealthCheck>) -> Self {
        let (interval, times) =
            check.map_or((DEFAULT_INTERVAL, DEFAULT_TIMES), |check| (check.interval, check.times));
        Self { interval, times }
    }

    /// TTL of the lease, seconds: interval × (times + 1), at least 2.
    pub fn ttl_seconds(self) -> i64 {
        (i64::from(self.interval) * (i64::from(self.times) + 1)).clamp(2, MAX_TTL_SECONDS)
    }

    /// Seconds between heartbeats, at least 1.
    pub fn interval_seconds(self) -> i64 {
        i64::from(self.interval).max(1)
    }
}

impl HealthCheck {
    /// The instance sends heartbeats, at the default interval.
    pub fn by_heartbeat() -> Self {
        Self { mode: "push".to_owned(), interval: DEFAULT_INTERVAL, times: DEFAULT_TIMES, ..Self::default() }
    }
}

fn settled_health_check(given: Option<HealthCheck>, rules: &InstanceRules) -> HealthCheck {
    match given {
        None => HealthCheck::by_heartbeat(),
        Some(check) if check.mode == "pull" => {
            HealthCheck { interval: DEFAULT_INTERVAL, times: DEFAULT_TIMES, ..check }
        }
        Some(check) => HealthCheck {
            interval: check.interval.max(rules.min_interval),
            times: check.times.max(rules.min_times),
            ..check
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(mode: &str, interval: i32, times: i32) -> (i32, i32) {
        let given = HealthCheck { mode: mode.to_owned(), interval, times, ..HealthCheck::default() };
        let check = settled_health_check(Some(given), &InstanceRules::default());
        (check.interval, check.times)
    }

    #[test]
    fn push_is_raised_to_the_minimum_and_pull_is_fixed() {
        assert_eq!(settle("push", 1, 0), (5, 3));
        assert_eq!(settle("push", 40, 4), (40, 4));
        assert_eq!(settle("pull", 7, 9), (30, 3));
    }

    #[test]
    fn the_ttl_does_not_overflow() {
        let mut instance = Instance::default();
        assert_eq!(instance.ttl_seconds(&InstanceRules::default()), 120);
        instance.health_check = Some(HealthCheck {
            mode: "push".into(),
            interval: i32::MAX,
            times: i32::MAX,
            ..HealthCheck::default()
        });
        assert_eq!(instance.ttl_seconds(&InstanceRules::default()), MAX_TTL_SECONDS);
        let fixed = InstanceRules { fixed_ttl_seconds: 40, ..InstanceRules::default() };
        assert_eq!(instance.ttl_seconds(&fixed), 40);
    }
}
