//! `get`: lists, one kind of resource a file.

mod account;
mod alarm;
mod cluster;
mod dump;
mod expiry;
mod instance;
pub mod node;
mod past;
mod role;
mod schema;
mod service;
mod watcher;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::session::Session;

/// List what the registry holds
#[derive(Args)]
pub struct Get {
    #[command(subcommand)]
    what: GetKind,
}

#[derive(Subcommand)]
enum GetKind {
    #[command(visible_alias = "svc")]
    Service(service::GetService),
    #[command(visible_alias = "inst")]
    Instance(instance::GetInstance),
    Schema(schema::GetSchema),
    Cluster(cluster::GetCluster),
    Node(node::GetNode),
    Watcher(watcher::GetWatcher),
    Expiry(expiry::GetExpiry),
    Alarm(alarm::GetAlarm),
    Account(account::GetAccount),
    Role(role::GetRole),
}

impl Get {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        match self.what {
            GetKind::Service(command) => command.run(session).await,
            GetKind::Instance(command) => command.run(session).await,
            GetKind::Schema(command) => command.run(session).await,
            GetKind::Cluster(command) => command.run(session).await,
            GetKind::Node(command) => command.run(session).await,
            GetKind::Watcher(command) => command.run(session).await,
            GetKind::Expiry(command) => command.run(session).await,
            GetKind::Alarm(command) => command.run(session).await,
            GetKind::Account(command) => command.run(session).await,
            GetKind::Role(command) => command.run(session).await,
        }
    }
}
