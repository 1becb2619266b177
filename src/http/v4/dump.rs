//! `GET …/admin/dump`: what this node holds of the store, entry by entry. Other nodes and `scctl` parse it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::actors::dump::{HeldEntry, HeldValue, Tree};
use crate::cache::Snapshot;
use crate::domain::dependency::Partners;
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto;
use crate::http::parameters::NO_CACHE;
use crate::http::reply::Reply;
use crate::http::slices::{ListMember, Members, Out, Pace, Walk, in_time};
use crate::http::spec::{Operation, Parameter, Success};
use crate::rbac::Grant;

pub const DUMP: Operation = Operation::new(
    "node",
    "readDump",
    "Returns what the node holds of the store, for all tenants. Only the tenant `default/default` may ask.",
)
.with(&[
    Parameter::query(
        "options",
        "What to return, separated by commas: `info` (the version of the node), `cache`, or `all`. Without it: `cache`. Other \
         words are ignored.",
    ),
    NO_CACHE,
])
.answers(Success::Json(dto::admin::DUMP))
.fails_with(&[Code::Forbidden]);

/// The lists of the dump, each with the member of the answer.
const LISTS: [(&str, Tree); 7] = [
    ("services", Tree::Services),
    ("serviceIndexes", Tree::Indexes),
    ("serviceAliases", Tree::Aliases),
    ("serviceTags", Tree::Tags),
    ("dependencyRules", Tree::DependencyRules),
    ("summaries", Tree::Summaries),
    ("instances", Tree::Instances),
];

/// `GET /v4/{project}/admin/dump`.
pub async fn dump(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    in_time(async {
        if !call.tenant().is_default() {
            let detail =
                "the dump has the data of all tenants, so only the tenant default/default may ask for it";
            return Err(Error::new(Code::Forbidden, detail));
        }
        let options = call.query_text("options");
        let options = if options.is_empty() { "cache" } else { &*options };
        let options: HashSet<&str> = options.split(',').collect();
        let has = |option| options.contains(option) || options.contains("all");
        if call.wants_current() {
            api.freshness.catch_up().await;
        }
        let snapshot = api.reader.load_full();
        let dump = Dump {
            cache: has("cache").then_some(&*snapshot),
            info: has("info").then(|| api.node.info()),
            cluster: &api.rules.clusters.own,
            grant: call.grant(),
        };
        api.built(&dump).await
    })
    .await
}

struct Dump<'a> {
    /// `None` if it is not asked for.
    cache: Option<&'a Snapshot>,
    /// The version of the node, as JSON. `None` if it is not asked for.
    info: Option<&'a Bytes>,
    /// The name of the cluster.
    cluster: &'a str,
    grant: &'a Grant,
}

impl Walk for Dump<'_> {
    async fn write(&self, out: &mut impl Out, pace: &mut Pace) {
        let mut members = Members::default();
        out.bytes(b"{");
        if let Some(info) = self.info {
            members.name(out, "info");
            out.bytes(info);
        }
        if let Some(snapshot) = self.cache {
            members.name(out, "cache");
            self.write_cache(out, pace, snapshot).await;
        }
        out.bytes(b"}");
    }
}

impl Dump<'_> {
    async fn write_cache(&self, out: &mut impl Out, pace: &mut Pace, snapshot: &Snapshot) {
        let mut members = Members::default();
        out.bytes(b"{");
        for (member, tree) in LISTS {
            let mut list = ListMember::new(member);
            for entry in tree.entries(snapshot) {
                pace.step(if let HeldValue::Json(json) = entry.value() { json.len() } else { 0 }).await;
                if self.shows(&entry) {
                    list.element(out, &mut members);
                    self.write_entry(out, &entry);
                }
            }
            list.end(out);
        }
        out.bytes(b"}");
    }

    /// A role with labels sees what belongs to a service with these labels.
    fn shows(&self, entry: &HeldEntry<'_>) -> bool {
        match entry.labels {
            Some(labels) => self.grant.shows(labels.environment, labels.app_id, labels.service_name),
            None => *self.grant == Grant::All,
        }
    }

    fn write_entry(&self, out: &mut impl Out, entry: &HeldEntry<'_>) {
        out.bytes(b"{\"key\":");
        out.value(&&*entry.key());
        out.bytes(b",\"rev\":");
        out.value(&entry.mod_revision);
        out.bytes(b",\"cluster\":");
        out.value(&self.cluster);
        // Go leaves out empty values.
        match entry.value() {
            HeldValue::Json(json) => {
                out.bytes(b",\"value\":");
                out.bytes(&json);
            }
            HeldValue::Text("") => {}
            HeldValue::Text(text) => {
                out.bytes(b",\"value\":");
                out.value(&text);
            }
            HeldValue::Map(map) if map.is_empty() => {}
            HeldValue::Map(map) => {
                out.bytes(b",\"value\":");
                out.value(map);
            }
            HeldValue::Partners(partners) => {
                out.bytes(b",\"value\":");
                out.value(&*self.shown(partners));
            }
        }
        out.bytes(b"}");
    }

    /// The partners that the caller may see.
    fn shown<'p>(&self, partners: &'p Partners) -> Cow<'p, Partners> {
        if *self.grant == Grant::All {
            return Cow::Borrowed(partners);
        }
        let mut shown = partners.clone();
        shown.keys.retain(|key| self.grant.shows(&key.environment, &key.app_id, &key.service_name));
        Cow::Owned(shown)
    }
}

#[cfg(test)]
mod tests;
