//! Finding instances: by name, by service, one. The rules of who sees what, over a snapshot.

use std::sync::Arc;

use smallvec::SmallVec;

use super::answer::FindAnswer;
use super::instances::InstanceEntry;
use super::snapshot::{NameNode, ServiceNode, ServiceView, Snapshot, TenantView, name_path};
use crate::domain::dependency::ALL_VERSIONS;
use crate::domain::shared::SharedServices;
use crate::domain::{ServiceKey, Tenant};
use crate::error::{Code, Error};

/// A look-up by name.
#[derive(Clone, Copy, Debug)]
pub struct FindQuery<'a> {
    /// The caller's tenant: its consumer and its providers.
    pub tenant: &'a Tenant,
    /// Where shared services are looked for.
    pub target: &'a Tenant,
    /// Environment; counts only without a consumer.
    pub environment: &'a str,
    /// Application.
    pub app_id: &'a str,
    /// Name or alias.
    pub name: &'a str,
    /// A version must have all of these tags.
    pub tags: &'a [&'a str],
    /// Who asks; empty: nobody.
    pub consumer: &'a str,
}

/// What a look-up found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The answer.
    pub answer: Arc<FindAnswer>,
    /// A dependency that is not recorded yet.
    pub dependency: Option<NewDependency>,
}

/// A dependency to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDependency {
    /// Id of the consumer.
    pub consumer_id: Arc<str>,
    /// The consumer, in its version.
    pub consumer: ServiceKey,
    /// The provider, in all versions.
    pub provider: ServiceKey,
}

/// A look-up by service id.
#[derive(Clone, Copy, Debug)]
pub struct ListQuery<'a> {
    /// The caller's tenant.
    pub tenant: &'a Tenant,
    /// The provider.
    pub provider: &'a str,
    /// The provider must have all of these tags.
    pub tags: &'a [&'a str],
    /// Who asks; empty: nobody.
    pub consumer: &'a str,
}

impl Snapshot {
    /// Instances of all versions of a provider that the consumer may see.
    pub fn find(&self, query: &FindQuery<'_>, shared: &SharedServices) -> Result<Found, Error> {
        if shared.contains(query.target, query.app_id, query.name) {
            return self.find_shared(query, &shared.environment);
        }
        let view = self.tenant(query.tenant);
        let consumer = self.consumer(view, query.consumer)?;
        let environment = consumer.map_or(query.environment, |c| &c.record.document.environment);
        let path = name_path(environment, query.app_id, query.name);
        let (Some(view), Some(node)) = (view, view.and_then(|view| view.provider(&path))) else {
            let who = describe_consumer(query.consumer, consumer, query.environment);
            let detail = format!("{who} find provider[{path}] failed, provider does not exist");
            return Err(Error::new(Code::ServiceNotExists, detail));
        };
        let sees = |provider: &ServiceView| consumer.is_none_or(|consumer| may_see(consumer, provider));
        let (answer, first_visible) = view.answer(node, query.tags, sees);
        // The registry's own service depends on nothing: whoever asks in its name is a client.
        let dependency = consumer
            .filter(|consumer| !consumer.is_registry)
            .zip(first_visible)
            .filter(|(consumer, provider)| {
                !view.depends(query.tenant, consumer, provider) || self.is_ending(query.tenant, consumer)
            })
            .map(|(consumer, provider)| NewDependency::new(query.tenant, consumer, provider));
        Ok(Found { answer, dependency })
    }

    /// Whether the dependencies of a consumer are about to end, because a service with its id was deleted. What they say now does
    /// not count for the service that has the id since.
    fn is_ending(&self, tenant: &Tenant, consumer: &ServiceView) -> bool {
        !self.ending_consumers.is_empty()
            && self.ending_consumers.contains(&(tenant.clone(), consumer.id.clone()))
    }

    fn find_shared(&self, query: &FindQuery<'_>, environment: &str) -> Result<Found, Error> {
        let path = name_path(environment, query.app_id, query.name);
        let view = self.tenant(query.target);
        let (Some(view), Some(node)) = (view, view.and_then(|view| view.provider(&path))) else {
            let detail = format!("find shared provider[{path}/] failed, provider does not exist");
            return Err(Error::new(Code::ServiceNotExists, detail));
        };
        let (answer, _) = view.answer(node, query.tags, |_| true);
        Ok(Found { answer, dependency: None })
    }

    /// Instances of one service.
    pub fn list_instances(&self, query: &ListQuery<'_>) -> Result<Arc<FindAnswer>, Error> {
        let (consumer, node, provider) = self.list_target(query)?;
        if !visible(consumer, provider, node, query.tags) {
            let who = describe_consumer(query.consumer, consumer, "");
            let detail = format!(
                "{who} find provider[{}][{}] instances failed, provider instance does not exist",
                query.provider, provider.versioned_path
            );
            return Err(Error::new(Code::ServiceNotExists, detail));
        }
        Ok(Arc::clone(node.list_answer.all(|| FindAnswer::join(std::iter::once(&node.instances)))))
    }

    /// One instance.
    pub fn find_instance(&self, query: &ListQuery<'_>, instance: &str) -> Result<Arc<InstanceEntry>, Error> {
        let (consumer, node, provider) = self.list_target(query)?;
        let entry = node.instances.find(instance).filter(|_| visible(consumer, provider, node, query.tags));
        entry.cloned().ok_or_else(|| {
            let who = describe_consumer(query.consumer, consumer, "");
            let detail = format!(
                "{who} find provider[{}][{}] instance[{instance}] failed, provider instance does not exist",
                query.provider, provider.versioned_path
            );
            Error::new(Code::InstanceNotExists, detail)
        })
    }

    #[expect(clippy::type_complexity, reason = "three borrowed things found on one way, used by two callers")]
    fn list_target(
        &self,
        query: &ListQuery<'_>,
    ) -> Result<(Option<&Arc<ServiceView>>, &Arc<ServiceNode>, &Arc<ServiceView>), Error> {
        let view = self.tenant(query.tenant);
        let consumer = self.consumer(view, query.consumer)?;
        let node = view.and_then(|view| view.node(query.provider));
        let (Some(node), Some(provider)) = (node, node.and_then(|node| node.view.as_ref())) else {
            let detail = format!("Provider[{}] does not exist.", query.provider);
            return Err(Error::new(Code::ServiceNotExists, detail));
        };
        Ok((consumer, node, provider))
    }

    fn consumer<'a>(
        &self,
        view: Option<&'a Arc<TenantView>>,
        id: &str,
    ) -> Result<Option<&'a Arc<ServiceView>>, Error> {
        if id.is_empty() {
            return Ok(None);
        }
        match view.and_then(|view| view.service(id)) {
            Some(consumer) => Ok(Some(consumer)),
            None => Err(Error::new(Code::ServiceNotExists, format!("Consumer[{id}] does not exist."))),
        }
    }
}

impl TenantView {
    /// All versions under a name, or if it has none under the alias.
    fn provider(&self, path: &str) -> Option<&Arc<NameNode>> {
        self.name(path).or_else(|| self.alias(path))
    }

    /// The ready answer with the visible versions of a provider, and the first of these.
    fn answer<'a>(
        &'a self,
        node: &'a NameNode,
        tags: &[&str],
        sees: impl Fn(&ServiceView) -> bool,
    ) -> (Arc<FindAnswer>, Option<&'a Arc<ServiceView>>) {
        // A name has few versions: they need no allocation.
        let mut visible: SmallVec<[u32; 8]> = SmallVec::new();
        let mut first = None;
        for (at, (_, id)) in (0_u32..).zip(&node.versions) {
            let Some(service) = self.node(id.as_str()) else { continue };
            let Some(provider) = service.view.as_ref() else { continue };
            if has_tags(service, tags) && sees(provider) {
                first = first.or(Some(provider));
                visible.push(at);
            }
        }
        let instances = |at: &u32| {
            let (_, id) = node.versions.get(usize::try_from(*at).ok()?)?;
            Some(&self.node(id.as_str())?.instances)
        };
        let join = || FindAnswer::join(visible.iter().filter_map(instances));
        let answer = if visible.len() == node.versions.len() {
            Arc::clone(node.answers.all(join))
        } else {
            node.answers.subset(&visible, join)
        };
        (answer, first)
    }

    fn depends(&self, tenant: &Tenant, consumer: &ServiceView, provider: &ServiceView) -> bool {
        let rule = self.consumer_rule(&consumer.versioned_path);
        rule.is_some_and(|rule| rule.provider(tenant, &provider.path).is_some())
    }
}

impl NewDependency {
    fn new(tenant: &Tenant, consumer: &ServiceView, provider: &ServiceView) -> Self {
        let provider_key = provider.record.document.key(tenant);
        Self {
            consumer_id: consumer.id.as_str().into(),
            consumer: consumer.record.document.key(tenant),
            provider: ServiceKey { version: ALL_VERSIONS.to_owned(), ..provider_key },
        }
    }
}

fn visible(
    consumer: Option<&Arc<ServiceView>>,
    provider: &ServiceView,
    node: &ServiceNode,
    tags: &[&str],
) -> bool {
    has_tags(node, tags) && consumer.is_none_or(|consumer| may_see(consumer, provider))
}

fn has_tags(service: &ServiceNode, tags: &[&str]) -> bool {
    tags.is_empty()
        || service.tags.as_ref().is_some_and(|(known, _)| tags.iter().all(|tag| known.contains_key(*tag)))
}

/// Same environment, and same application unless the provider opens itself.
fn may_see(consumer: &ServiceView, provider: &ServiceView) -> bool {
    let (consumer, document) = (&consumer.record.document, &provider.record.document);
    consumer.environment == document.environment
        && (consumer.app_id == document.app_id || provider.allows_cross_app)
}

fn describe_consumer(id: &str, consumer: Option<&Arc<ServiceView>>, environment: &str) -> String {
    match consumer {
        Some(consumer) => format!("Consumer[{id}][{}]", consumer.versioned_path),
        None => format!("Consumer[{id}][{environment}///]"),
    }
}
