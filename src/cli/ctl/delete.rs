//! `delete`.

use std::time::Duration;

use clap::{Args, Subcommand};
use hyper::Method;

use super::client::{Call, encode};
use super::drain;
use super::failure::Failure;
use super::names;
use super::output::{items, shown, text};
use super::session::{Session, queried};
use super::set::{described, instance_path};
use crate::config::parse_duration;

/// Delete a service or an instance, or release expired instances
#[derive(Args)]
pub struct Delete {
    #[command(subcommand)]
    what: DeleteKind,
}

#[derive(Subcommand)]
enum DeleteKind {
    /// Delete one version of a service
    #[command(visible_alias = "svc")]
    Service {
        #[arg(value_name = "SERVICE", help = names::SERVICE_HELP)]
        service: String,
        /// Also delete its instances, and although other services depend on it
        #[arg(long)]
        force: bool,
        /// Delete without a question. In a protected context the question is asked all the same
        #[arg(short, long)]
        yes: bool,
    },
    /// Unregister an instance
    #[command(visible_alias = "inst")]
    Instance {
        #[arg(value_name = "INSTANCE", help = names::INSTANCE_HELP)]
        instance: String,
        /// Wait so long until its consumers know
        #[arg(short, long, value_name = "TIME", value_parser = parse_duration)]
        wait: Option<Duration>,
        /// Unregister without a question. In a protected context the question is asked all the same
        #[arg(short, long)]
        yes: bool,
    },
    /// Let all nodes drop the expired instances of a service that a rule holds
    Expiry {
        #[arg(value_name = "SERVICE", help = names::SERVICE_HELP)]
        service: String,
        /// Release without a question. In a protected context the question is asked all the same
        #[arg(short, long)]
        yes: bool,
    },
}

impl Delete {
    pub async fn run(self, session: &mut Session<'_, '_>) -> Result<(), Failure> {
        match self.what {
            DeleteKind::Service { service, force, yes } => {
                delete_service(session, &service, force, yes).await
            }
            DeleteKind::Instance { instance, wait, yes } => unregister(session, &instance, wait, yes).await,
            DeleteKind::Expiry { service, yes } => release(session, &service, yes).await,
        }
    }
}

async fn delete_service(
    session: &mut Session<'_, '_>,
    argument: &str,
    force: bool,
    yes: bool,
) -> Result<(), Failure> {
    let service = names::find_service(session, argument).await?;
    let id = encode(text(&service, "/serviceId"));
    let detail = session.get(&format!("govern/microservices/{id}?options=instances,dependencies")).await?;
    let count = |pointer: &str| items(&detail, pointer).len().to_string();
    let facts = [
        ("service", names::service_name(&service)),
        ("id", shown(&service, "/serviceId")),
        ("instances", count("/service/instances")),
        ("consumers", count("/service/consumers")),
        ("change", "exists -> deleted".to_owned()),
    ];
    session.confirm(yes, &facts)?;
    let force = if force { "1" } else { "" };
    let path = format!("registry/microservices/{id}{}", queried(&[("force", force.to_owned())]));
    let call = Call::new(Method::DELETE, session.path(&path));
    session.change(call, Duration::ZERO).await?;
    session.note("deleted");
    Ok(())
}

async fn unregister(
    session: &mut Session<'_, '_>,
    argument: &str,
    wait: Option<Duration>,
    yes: bool,
) -> Result<(), Failure> {
    let instance = names::find_instance(session, argument).await?;
    let mut facts = described(session, &instance).await?;
    facts.push(("status", format!("{} -> deleted", text(&instance, "/status"))));
    session.confirm(yes, &facts)?;
    let query = wait.map(|wait| format!("{}ms", wait.as_millis())).unwrap_or_default();
    let path = format!("{}{}", instance_path(&instance), queried(&[("wait", query)]));
    let call = Call::new(Method::DELETE, session.path(&path));
    let answer = session.change(call, wait.unwrap_or_default()).await?;
    session.note("deleted");
    if wait.is_some() { drain::report(session, &answer) } else { Ok(()) }
}

async fn release(session: &mut Session<'_, '_>, argument: &str, yes: bool) -> Result<(), Failure> {
    let service = names::find_service(session, argument).await?;
    let id = shown(&service, "/serviceId");
    let held = session.pages("admin/expiries", &[("serviceId", id.clone())], None).await?;
    if held.is_empty() {
        session.note("this node holds no expired instance of the service; nothing is changed");
        return Ok(());
    }
    let facts = [
        ("service", names::service_name(&service)),
        ("held", held.len().to_string()),
        ("change", "shown -> removed".to_owned()),
    ];
    session.confirm(yes, &facts)?;
    let path = format!("admin/expiries{}", queried(&[("serviceId", id)]));
    let call = Call::new(Method::DELETE, session.path(&path));
    session.change(call, Duration::ZERO).await?;
    session.note("released");
    Ok(())
}
