//! `GET …/admin/nodes`: the nodes of the cluster, and whether they show the same.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::actors::mailbox::ask_if_free;
use crate::actors::nodes::messages::{Agreement, ListNodes, NodeRow, SeenNode};
use crate::actors::nodes::summary::{LimitUse, NodeSummary};
use crate::domain::quota::Quotas;
use crate::domain::shape::Shape;
use crate::domain::time::rfc3339;
use crate::error::{Code, Error};
use crate::http::api::{Api, refused};
use crate::http::call::Call;
use crate::http::dto::joined::{member, object};
use crate::http::paging::{self, PageQuery};
use crate::http::reply::Reply;
use crate::http::spec::{Load, Operation, Success};

pub const NODES: Operation = Operation::new(
    "node",
    "listNodes",
    "Lists the nodes of the cluster, with the digests of what they show. Nodes with the same digest at the same revision show the same.",
)
.with(&[paging::LIMIT, paging::AFTER])
.answers(Success::Json(NODE_PAGE))
.fails_with(&[Code::Overloaded, Code::Unavailable])
.for_own_pages();

const NODE_PAGE: Shape = object(
    "NodePage",
    "Nodes of the cluster.",
    &[
        paging::REVISION,
        paging::TOTAL,
        paging::items("The nodes, sorted by name.", Shape::List(&NODE)),
        paging::NEXT,
    ],
);

const NODE: Shape = object(
    "Node",
    "A node of the cluster. Of a node of the original server only `node`, `instanceId`, `endpoint` and `apiVersion` are known.",
    &[
        member(
            "node",
            "The host and the process. For a node of the original, the host name that it registered.",
            Shape::Text,
        ),
        member("process", "The id of the process.", Shape::Text),
        member("self", "`true` for the node that answers.", Shape::Flag),
        member(
            "ours",
            "`false` for a node of the original server, or one that has just started.",
            Shape::Flag,
        ),
        member(
            "instanceId",
            "The instance of SERVICECENTER by which the node is registered. Nodes with one address share it.",
            Shape::Text,
        ),
        member("endpoint", "The address of the node for clients.", Shape::Text),
        member("version", "The version of the program.", Shape::Text),
        member(
            "apiVersion",
            "The release of the original server whose API the node implements.",
            Shape::Text,
        ),
        member("started", "When the process started, by its own clock.", Shape::Text),
        member("revision", "The revision of the store that the node shows.", Shape::Long),
        member(
            "digest",
            "The digest of what the store holds at that revision, as far as the node knows. 16 hexadecimal digits.",
            Shape::Text,
        ),
        member(
            "heldDigest",
            "The digest of what the node shows besides, because it holds expiries back.",
            Shape::Text,
        ),
        member("services", "Service versions of all tenants.", Shape::Long),
        member("instances", "Instances of all tenants.", Shape::Long),
        member("watchers", "Websocket sessions that watch.", Shape::Long),
        member("heldExpiries", "Expired instances that the node still shows.", Shape::Long),
        member(
            "storeContact",
            "Whether the node reaches the store. Absent before the first answer of the store.",
            STORE_CONTACT,
        ),
        member(
            "limits",
            "The limits of the node, and how much of them is in use. For the node that answers also the limits that all nodes share.",
            Shape::List(&LIMIT_USE),
        ),
        member("alarms", "The ids of the active alarms.", Shape::List(&Shape::Text)),
        member(
            "time",
            "When the node wrote this, by its own clock. Each node writes every 10 s.",
            Shape::Text,
        ),
        member(
            "ageSeconds",
            "How long ago this node has read it. 0 for the node that answers.",
            Shape::Number,
        ),
        member(
            "clockOffsetSeconds",
            "How far the clock of the node is ahead of the clock of the node that answers, less the time that the store takes: the largest \
             of the last twelve differences between `time` and the time at which it came. Absent until it has come while this node watched.",
            Shape::Number,
        ),
        member(
            "agrees",
            "Whether the node had the same digest as the node that answers when both were at the same revision. Absent until they were \
             compared. For the node that answers: whether all that were compared agree.",
            Shape::Flag,
        ),
    ],
);

const STORE_CONTACT: Shape = object(
    "StoreContact",
    "Whether a node reaches the store.",
    &[
        member("state", "`reached`, or `lost` while the store does not answer.", Shape::Text),
        member("since", "Since when, by the clock of the node.", Shape::Text),
    ],
);

const LIMIT_USE: Shape = object(
    "NodeLimit",
    "A limit, and how much of it is in use.",
    &[
        member(
            "name",
            "`connections`: open connections. `waitingRequests`: requests that wait for something; writes get seven eighths of the \
             limit, large views half of it. `requestBytes`: bodies of these requests. `answerBytes`: answers that clients have not \
             read yet. `eventStreams`: open streams of events. `tenants`, `services`, `instances`, `accounts` and `roles`: what the \
             registry holds.",
            Shape::Text,
        ),
        member("used", "How much is in use.", Shape::Long),
        member("limit", "The most that may be in use.", Shape::Long),
        member(
            "scope",
            "`node`: the limit is that of the node. `tenant`: it is that of the tenant of the request. `registry`: it is that of all tenants \
             together.",
            Shape::Text,
        ),
    ],
);

/// How long a request waits for the NodesActor, which asks the HubActor for the watchers.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeEntry {
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<String>,
    #[serde(rename = "self")]
    is_self: bool,
    ours: bool,
    instance_id: String,
    endpoint: String,
    api_version: String,
    #[serde(flatten)]
    known: Option<KnownEntry>,
}

/// What only nodes of this server say.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct KnownEntry {
    version: String,
    started: String,
    revision: i64,
    digest: String,
    held_digest: String,
    services: i64,
    instances: i64,
    watchers: i64,
    held_expiries: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    store_contact: Option<StoreContact>,
    limits: Vec<LimitEntry>,
    alarms: Vec<String>,
    time: String,
    age_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_offset_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agrees: Option<bool>,
}

#[derive(Clone, Debug, Serialize)]
struct StoreContact {
    state: &'static str,
    since: String,
}

#[derive(Clone, Debug, Serialize)]
struct LimitEntry {
    name: String,
    used: i64,
    limit: i64,
    scope: String,
}

impl From<LimitUse> for LimitEntry {
    fn from(limit: LimitUse) -> Self {
        let LimitUse { name, used, limit, scope } = limit;
        Self { name, used, limit, scope }
    }
}

/// The limits that all nodes share.
fn shared_limits(api: &Api, call: &Call) -> Vec<LimitUse> {
    let Quotas {
        tenants,
        services,
        instances,
        accounts,
        roles,
        // These are limits of each service, and of each consumer.
        schemas: _,
        schema_bytes: _,
        tags: _,
        dependencies: _,
    } = api.rules.quotas;
    let snapshot = api.reader.load_full();
    let used = snapshot.usage(call.tenant(), &api.rules.shared);
    let mut limits = vec![
        LimitUse::new("tenants", snapshot.tenant_count(), tenants, "registry"),
        LimitUse::new("services", used.services, services, "tenant"),
        LimitUse::new("instances", used.instances, instances, "tenant"),
    ];
    if api.accounts.is_some() {
        limits.push(LimitUse::new("accounts", snapshot.access.accounts().len(), accounts, "registry"));
        limits.push(LimitUse::new("roles", snapshot.access.roles().len(), roles, "registry"));
    }
    limits
}

/// `GET /v4/{project}/admin/nodes`.
pub async fn nodes(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let page = PageQuery::of(&call)?;
    let after: Option<(String, String)> = page.after()?;
    let mut rows = ask_if_free(&api.nodes, ListNodes, LIMIT).await.map_err(refused)?;
    for row in &mut rows {
        if let NodeRow::Own { summary, .. } = row {
            summary.limits.extend(shared_limits(&api, &call));
        }
    }
    let all_agree = !rows
        .iter()
        .any(|row| matches!(row, NodeRow::Other { seen: SeenNode { agreement: Agreement::Differ, .. }, .. }));
    let mut entries: Vec<NodeEntry> = rows.into_iter().map(|row| entry(row, all_agree)).collect();
    entries.sort_by_key(place);
    let total = entries.len();
    let rest = entries.into_iter().filter(|entry| after.as_ref().is_none_or(|after| place(entry) > *after));
    let revision = api.reader.load().revision;
    api.encoded(Load::View, &page.page(revision, total, rest, place))
}

/// The place of a node in the list. The process tells apart nodes that have one name.
fn place(entry: &NodeEntry) -> (String, String) {
    (entry.node.clone(), entry.process.clone().unwrap_or_else(|| entry.instance_id.clone()))
}

fn entry(row: NodeRow, all_agree: bool) -> NodeEntry {
    match row {
        NodeRow::Own { process, summary } => {
            let seen = SeenNode {
                age_seconds: 0.0,
                clock_offset_seconds: Some(0.0),
                agreement: if all_agree { Agreement::Agree } else { Agreement::Differ },
            };
            NodeEntry { is_self: true, ..known(process, summary, seen) }
        }
        NodeRow::Other { process, summary, seen } => known(process, summary, seen),
        NodeRow::Foreign { host_name, instance_id, endpoint, api_version } => NodeEntry {
            node: host_name,
            process: None,
            is_self: false,
            ours: false,
            instance_id,
            endpoint,
            api_version,
            known: None,
        },
    }
}

fn known(process: String, summary: NodeSummary, seen: SeenNode) -> NodeEntry {
    let NodeSummary {
        node,
        instance_id,
        endpoint,
        version,
        api_version,
        started,
        revision,
        digest,
        held_digest,
        services,
        instances,
        watchers,
        held_expiries,
        store_reached,
        store_lost,
        limits,
        alarms,
        time,
    } = summary;
    let SeenNode { age_seconds, clock_offset_seconds, agreement } = seen;
    let known = KnownEntry {
        version,
        started: rfc3339(started),
        revision,
        digest,
        held_digest,
        services,
        instances,
        watchers,
        held_expiries,
        store_contact: match (store_lost, store_reached) {
            (0, 0) => None,
            (0, since) => Some(StoreContact { state: "reached", since: rfc3339(since) }),
            (since, _) => Some(StoreContact { state: "lost", since: rfc3339(since) }),
        },
        limits: limits.into_iter().map(LimitEntry::from).collect(),
        alarms,
        time: rfc3339(time),
        age_seconds,
        clock_offset_seconds,
        agrees: match agreement {
            Agreement::Unknown => None,
            Agreement::Agree => Some(true),
            Agreement::Differ => Some(false),
        },
    };
    let process = Some(process);
    NodeEntry {
        node,
        process,
        is_self: false,
        ours: true,
        instance_id,
        endpoint,
        api_version,
        known: Some(known),
    }
}
