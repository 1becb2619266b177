//! The messages of the NodesActor.

use actix::Message;

use super::summary::NodeSummary;

/// Lists the nodes of the cluster: first this one, then those of this server whose summaries are in the store, then those of the
/// original.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<NodeRow>")]
pub struct ListNodes;

/// Ends the summary of this node, before a stop.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct EndSummary;

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeRow {
    /// This node, as it is now.
    Own { process: String, summary: NodeSummary },
    /// Another node of this server.
    Other { process: String, summary: NodeSummary, seen: SeenNode },
    /// A node of the original server, or one of this server that has written no summary.
    Foreign { host_name: String, instance_id: String, endpoint: String, api_version: String },
}

/// What this node knows of another node besides its summary.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SeenNode {
    /// Since the summary came.
    pub age_seconds: f64,
    /// How far the clock of the other node is ahead of the clock of this node. `None` until a summary has come while this node
    /// watched.
    pub clock_offset_seconds: Option<f64>,
    pub agreement: Agreement,
}

/// Whether two nodes show the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Agreement {
    /// They were not compared at one revision.
    #[default]
    Unknown,
    Agree,
    Differ,
}
