//! Services and their dependencies, as nodes and lines of a graph.

use super::Scene;
use crate::cache::ServiceView;
use crate::cache::dependency::{PartnerFilter, PartnerSet};
use crate::http::slices::{Out, Pace, Walk};

/// `{"nodes":[…],"lines":[…],"circles":null}`. A list without elements is `null`.
pub(super) struct Relations<'a>(pub Scene<'a>);

impl Walk for Relations<'_> {
    async fn write(&self, out: &mut impl Out, pace: &mut Pace) {
        let Self(scene) = self;
        let mut nodes = NullableList::begin(out, "{\"nodes\":");
        for service in scene.services() {
            pace.step(0).await;
            if scene.shows_service(service) {
                nodes.element(out);
                full_node(out, service);
            }
        }
        nodes.end(out);
        let mut lines = NullableList::begin(out, ",\"lines\":");
        for service in scene.services() {
            pace.step(0).await;
            if !scene.shows_service(service) {
                continue;
            }
            let mut providers =
                PartnerSet::new(scene.snapshot, scene.tenant, service, PartnerFilter::default());
            for key in scene.snapshot.provider_keys(scene.tenant, service) {
                pace.step(0).await;
                for provider in providers.add(key) {
                    pace.step(0).await;
                    if scene.shows_service(provider) {
                        lines.element(out);
                        line(out, service, provider);
                    }
                }
            }
        }
        lines.end(out);
        out.bytes(b",\"circles\":null}");
    }
}

fn line(out: &mut impl Out, consumer: &ServiceView, provider: &ServiceView) {
    out.bytes(b"{\"from\":");
    full_node(out, consumer);
    out.bytes(b",\"to\":");
    node(out, provider, "", "");
    out.bytes(b",\"type\":\"\",\"color\":\"\",\"descriptor\":\"\"}");
}

fn full_node(out: &mut impl Out, service: &ServiceView) {
    let document = &service.record.document;
    node(out, service, &document.app_id, &document.version);
}

fn node(out: &mut impl Out, service: &ServiceView, app_id: &str, version: &str) {
    let name = service.record.document.service_name.as_str();
    for (before, value) in [
        ("{\"id\":", service.id.as_str()),
        (",\"name\":", name),
        (",\"appId\":", app_id),
        (",\"version\":", version),
    ] {
        out.bytes(before.as_bytes());
        out.value(&value);
    }
    out.bytes(b",\"type\":\"\",\"color\":\"\",\"position\":\"\"}");
}

struct NullableList {
    any: bool,
}

impl NullableList {
    /// `name` is what comes before the list.
    fn begin(out: &mut impl Out, name: &str) -> Self {
        out.bytes(name.as_bytes());
        Self { any: false }
    }

    fn element(&mut self, out: &mut impl Out) {
        out.bytes(if self.any { b"," } else { b"[" });
        self.any = true;
    }

    fn end(self, out: &mut impl Out) {
        out.bytes(if self.any { b"]" } else { b"null" });
    }
}
