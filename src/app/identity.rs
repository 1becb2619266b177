//! How this node presents itself to others, from its configuration.

use crate::actors::peer::{NodeIdentity, Registers};
use crate::config::Config;
use crate::domain::instance::DataCenter;

/// The name of the machine, or of the container.
fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The identity of a node.
pub fn of(config: &Config) -> NodeIdentity {
    let instance = &config.instance;
    // With TLS the address gets a path, as clients of the original know it.
    let suffix = if config.tls.enable { "/?sslEnabled=true" } else { "" };
    NodeIdentity {
        version: config.registry.version.clone(),
        environment: config.own_environment().to_owned(),
        configured_environment: config.environment.clone(),
        host_name: instance.host_name.clone(),
        place: format!("{} {}:{}", machine(), config.server.host, config.server.port),
        endpoint: format!("rest://{}{suffix}", instance.endpoint),
        data_center: instance.datacenter.as_ref().map(|place| DataCenter {
            name: place.name.clone(),
            region: place.region.clone(),
            available_zone: place.available_zone.clone(),
        }),
        registers: if config.registry.self_register { Registers::Itself } else { Registers::Nothing },
    }
}
