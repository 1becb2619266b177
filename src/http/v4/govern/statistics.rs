//! Numbers of services, instances and applications.

use std::collections::HashSet;

use super::Scene;
use crate::cache::snapshot::{TenantView, path_parts};
use crate::http::dto::govern::{AppNumbers, InstanceNumbers, ServiceNumbers, Statistics};
use crate::http::slices::Pace;

/// Counts what a caller sees. A service counts by its name, and it is online if one of its versions has an instance.
pub(super) async fn count(scene: &Scene<'_>, pace: &mut Pace) -> Statistics {
    let (mut services, mut online, mut instances) = (0, 0, 0);
    let mut apps = HashSet::new();
    if let Some(view) = scene.view() {
        for (path, node) in view.names() {
            pace.step(0).await;
            let Some([environment, app_id, name]) = path_parts(path) else { continue };
            if !scene.shows(environment, app_id, name) {
                continue;
            }
            services += 1;
            apps.insert(app_id);
            let mut held = 0;
            for named in node.versions() {
                pace.step(0).await;
                held += instances_of(view, named.service.as_str());
            }
            instances += held;
            online += usize::from(held > 0);
        }
    }
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    Statistics {
        services: Some(ServiceNumbers { count: number(services), online: number(online) }),
        instances: Some(InstanceNumbers { count: number(instances), count_by_domain: number(instances) }),
        apps: Some(AppNumbers { count: number(apps.len()) }),
    }
}

fn instances_of(view: &TenantView, service: &str) -> usize {
    view.node(service).map_or(0, |node| node.instances.len())
}
