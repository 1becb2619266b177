//! RegistryActor: does every write of the registry. It checks the rules, hands waiting transactions to the store as one batch,
//! and answers when the store has committed.
//!
//! Each operation is an async function over [`core::RegistryCore`]. All operations run on the actor's thread. Exact checks are
//! compares inside the store's transaction. They never use the snapshot.

mod batcher;
pub mod core;
mod dependencies;
mod dependency_cleanup;
mod dependency_queue;
mod dependency_rules;
mod dependency_store;
mod dependency_waiting;
mod failure;
mod instances;
mod lease_pool;
pub mod messages;
mod retirement;
pub mod rules;
mod schema_text_table;
mod schema_texts;
mod schemas;
mod server_record;
mod services;
mod tags;
#[cfg(test)]
mod tests;

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::{Actor, AsyncContext, Context, Handler, ResponseFuture};

use self::core::RegistryCore;
use self::messages::WriteReply;
use self::messages::{
    ChangeDependencies, ChangeInstance, ChangeStatusWhere, ChangeTags, DeleteSchema, PutSchema, ReadSchemas,
    RecordDependency, RecordServerVersion, RegisterInstance, RegisterService, ReleaseExpiries,
    ReplaceSchemas, ReplaceServiceProperties, RestoreInstance, RetireEmptyService, RetireSchemaContents,
    RetireService, SchemasWithTexts, UnregisterInstance, UnregisterService,
};
use self::rules::DependencyMode;
use super::mailbox::{Resident, Work, operations, run_until_end};
use crate::domain::{InstanceId, ServiceId};
use crate::error::Error;
use crate::metrics::Depth;

pub const MAILBOX: usize = 4096;
static DEPTH: Depth = Depth::new("RegistryActor");

pub struct RegistryActor {
    core: Rc<RegistryCore>,
    owner: String,
}

impl RegistryActor {
    /// `owner` names this process in locks (`<host>-<pid>`).
    pub fn new(core: Rc<RegistryCore>, owner: String) -> Self {
        Self { core, owner }
    }
}

impl Resident for RegistryActor {
    const MAILBOX: usize = MAILBOX;
    const DEPTH: &'static Depth = &DEPTH;
}

impl Actor for RegistryActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(Duration::from_secs(1), |actor, _| {
            actor.core.leases.sweep();
            schema_texts::sweep(&actor.core);
        });
        if self.core.rules.dependencies == DependencyMode::Queued {
            run_until_end(ctx, dependency_queue::work(Rc::clone(&self.core), self.owner.clone()));
        }
    }
}

operations! { RegistryActor:
    RegisterService => services::register => WriteReply<ServiceId>,
    ReplaceServiceProperties => services::replace_properties => WriteReply<()>,
    UnregisterService => services::unregister => WriteReply<()>,
    RetireService => retirement::retire_service => WriteReply<()>,
    RetireEmptyService => retirement::retire_empty_service => WriteReply<()>,
    RetireSchemaContents => retirement::retire_schema_contents => WriteReply<usize>,
    ChangeTags => tags::change => WriteReply<()>,
    RegisterInstance => instances::register => WriteReply<InstanceId>,
    RestoreInstance => instances::restore => WriteReply<()>,
    UnregisterInstance => instances::unregister => WriteReply<()>,
    ReleaseExpiries => instances::release_expiries => WriteReply<()>,
    ChangeInstance => instances::change => WriteReply<()>,
    ChangeStatusWhere => instances::change_status_where => WriteReply<usize>,
    PutSchema => schemas::put_one => WriteReply<()>,
    ReplaceSchemas => schemas::replace_all => WriteReply<()>,
    DeleteSchema => schemas::delete => WriteReply<()>,
    ReadSchemas => schemas::read => Result<SchemasWithTexts, Error>,
    ChangeDependencies => dependencies::change => WriteReply<()>,
    RecordDependency => dependencies::record => WriteReply<()>,
    RecordServerVersion => server_record::record => Result<(), Error>,
}
