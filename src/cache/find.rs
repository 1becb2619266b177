//! Finds instances in a snapshot: by the service's name, by its id, or one instance. Holds the rules of who may see what.

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::answer::FindAnswer;
use super::instances::InstanceEntry;
use super::snapshot::{
    NameNode, NamePath, NamedVersion, ServiceNode, ServiceView, Snapshot, TenantView, name_path,
};
use crate::domain::dependency::ALL_VERSIONS;
use crate::domain::shared::SharedServices;
use crate::domain::{ServiceId, ServiceKey, Tenant};
use crate::error::{Code, Error};

/// A find by the provider's name.
#[derive(Clone, Copy, Debug)]
pub struct FindQuery<'a> {
    /// The tenant of the consumer and of providers that are not shared.
    pub tenant: &'a Tenant,
    /// The tenant of shared services.
    pub target: &'a Tenant,
    /// The provider's environment. With a consumer it does not count: the consumer's environment does.
    pub environment: &'a str,
    pub app_id: &'a str,
    /// Name or alias.
    pub name: &'a str,
    /// A version must have all of these tags to be found.
    pub tags: &'a [&'a str],
    /// The consumer's service id, or empty.
    pub consumer: &'a str,
}

/// What a find by name returns.
#[derive(Clone, Debug)]
pub struct FoundInstances<'s> {
    /// Borrowed if it can be: workers that count references to one answer slow each other down.
    pub answer: Cow<'s, Arc<FindAnswer>>,
    /// The dependency that the find shows, if it is not recorded yet.
    pub dependency: Option<NewDependency>,
    /// No version is shown, because of the consumer or the tags.
    pub shows_none: bool,
    /// The provider is a shared service: it is looked for in [`FindQuery::target`].
    pub is_shared: bool,
}

/// A consumer, and a provider that it looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The tenant and the id of the consumer.
    pub consumer: (Tenant, ServiceId),
    /// The tenant of the provider.
    pub tenant: Tenant,
    /// The provider's name path, with its name or its alias.
    pub path: NamePath,
}

/// A dependency to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDependency {
    pub consumer_id: Arc<str>,
    /// The consumer, with its version.
    pub consumer: ServiceKey,
    /// The provider, with [`ALL_VERSIONS`].
    pub provider: ServiceKey,
}

/// A find by the provider's service id.
#[derive(Clone, Copy, Debug)]
pub struct ListQuery<'a> {
    /// The tenant of consumer and provider.
    pub tenant: &'a Tenant,
    /// The provider's service id.
    pub provider: &'a str,
    /// The provider must have all of these tags.
    pub tags: &'a [&'a str],
    /// The consumer's service id, or empty.
    pub consumer: &'a str,
}

/// What a find by name looks at. A find and its explanation decide with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight<'s> {
    /// Whether the name is that of a shared service. The consumer does not count then.
    pub is_shared: bool,
    /// The consumer, if one counts.
    pub consumer: Option<&'s Arc<ServiceView>>,
    /// The environment in which the provider is looked for.
    pub environment: &'s str,
    /// The tenant in which the provider is looked for, and all versions that have the name or the alias.
    pub provider: Option<(&'s TenantView, &'s NameNode)>,
}

impl Sight<'_> {
    /// Whether the consumer sees a version with the name.
    pub fn shows(&self, provider: &ServiceView) -> bool {
        self.consumer.is_none_or(|consumer| may_see(consumer, provider))
    }
}

impl Snapshot {
    /// The instances of all versions of a provider that the consumer may see.
    pub fn find<'s>(
        &'s self,
        query: &FindQuery<'s>,
        shared: &'s SharedServices,
    ) -> Result<FoundInstances<'s>, Error> {
        let sight = self.sight(query, shared)?;
        let Some((view, node)) = sight.provider else { return Err(no_provider(query, &sight)) };
        let (answer, first_visible) = view.answer(node, query.tags, |provider| sight.shows(provider));
        let shows_none = first_visible.is_none() && !sight.is_shared;
        // The registry's own service has no dependencies, although clients send its id as the consumer's.
        let dependency = sight
            .consumer
            .filter(|consumer| !consumer.is_registry)
            .zip(first_visible)
            .filter(|(consumer, provider)| !self.has_recorded(query.tenant, view, consumer, provider))
            .map(|(consumer, provider)| NewDependency::new(query.tenant, consumer, provider));
        Ok(FoundInstances { answer, dependency, shows_none, is_shared: sight.is_shared })
    }

    /// What a consumer looks for, if this find shows nothing that the consumer may see. It is `None` for shared services, because
    /// looking them up makes no dependency, and with tags, because a new instance says nothing about the tags of its service.
    pub fn wanted(&self, query: &FindQuery<'_>, shared: &SharedServices) -> Option<Wanted> {
        if query.consumer.is_empty()
            || !query.tags.is_empty()
            || shared.contains(query.target, query.app_id, query.name)
        {
            return None;
        }
        let consumer = self.service(query.tenant, query.consumer).filter(|consumer| !consumer.is_registry)?;
        let path = name_path(&consumer.record.document.environment, query.app_id, query.name);
        let consumer = (query.tenant.clone(), consumer.id.clone());
        Some(Wanted { consumer, tenant: query.tenant.clone(), path: path.into() })
    }

    /// 400012 if the consumer does not exist.
    pub(super) fn sight<'s>(
        &'s self,
        query: &FindQuery<'s>,
        shared: &'s SharedServices,
    ) -> Result<Sight<'s>, Error> {
        let is_shared = shared.contains(query.target, query.app_id, query.name);
        let (view, consumer, environment) = if is_shared {
            (self.tenant(query.target), None, shared.environment.as_str())
        } else {
            let view = self.tenant(query.tenant);
            let consumer = self.consumer(view, query.consumer)?;
            let environment = consumer.map_or(query.environment, |c| &c.record.document.environment);
            (view, consumer, environment)
        };
        let provider = view.and_then(|view| {
            let node = view.provider(&name_path(environment, query.app_id, query.name))?;
            Some((view.as_ref(), node.as_ref()))
        });
        Ok(Sight { is_shared, consumer, environment, provider })
    }

    /// Whether the consumer's rule has the provider already.
    pub(super) fn has_recorded(
        &self,
        tenant: &Tenant,
        view: &TenantView,
        consumer: &ServiceView,
        provider: &ServiceView,
    ) -> bool {
        view.depends(tenant, consumer, provider) && !self.is_ending(tenant, consumer)
    }

    /// Whether a waiting request will remove the dependencies of a consumer, because a former service with its id was deleted.
    /// These dependencies do not count for the service that has the id now.
    fn is_ending(&self, tenant: &Tenant, consumer: &ServiceView) -> bool {
        !self.ending_consumers.is_empty()
            && self.ending_consumers.contains(&(tenant.clone(), consumer.id.clone()))
    }

    /// The instances of one service.
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

    /// The consumer, if the query names one, and the provider's node and document.
    #[expect(clippy::type_complexity, reason = "three references that only two callers take apart")]
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

impl Snapshot {
    /// The versions of a provider by its name path, with its name or its alias.
    pub fn versions(&self, tenant: &Tenant, path: &str) -> impl Iterator<Item = &Arc<ServiceNode>> {
        let found = self.tenant(tenant).and_then(|view| Some((view, view.provider(path)?)));
        found.into_iter().flat_map(|(view, name)| {
            name.versions.iter().filter_map(|version| view.node(version.service.as_str()))
        })
    }
}

impl TenantView {
    /// All versions with this name, or with this alias if no version has the name.
    fn provider(&self, path: &str) -> Option<&Arc<NameNode>> {
        self.name(path).or_else(|| self.alias(path))
    }

    /// The ready answer with the visible versions of a provider, and the first visible version.
    fn answer<'a>(
        &'a self,
        node: &'a NameNode,
        tags: &[&str],
        sees: impl Fn(&ServiceView) -> bool,
    ) -> (Cow<'a, Arc<FindAnswer>>, Option<&'a Arc<ServiceView>>) {
        // Most names have at most 8 versions, so most finds do not allocate here.
        let mut visible: SmallVec<[u32; 8]> = SmallVec::new();
        let mut first = None;
        for (at, NamedVersion { service: id, .. }) in (0_u32..).zip(&node.versions) {
            let Some(service) = self.node(id.as_str()) else { continue };
            let Some(provider) = service.view.as_ref() else { continue };
            if has_tags(service, tags) && sees(provider) {
                first = first.or(Some(provider));
                visible.push(at);
            }
        }
        let instances = |at: &u32| {
            let id = &node.versions.get(usize::try_from(*at).ok()?)?.service;
            Some(&self.node(id.as_str())?.instances)
        };
        let join = || FindAnswer::join(visible.iter().filter_map(instances));
        let answer = if visible.len() == node.versions.len() {
            Cow::Borrowed(node.answers.all(join))
        } else {
            Cow::Owned(node.answers.subset(&visible, join))
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

/// 400012: no version has the name or the alias.
#[cold]
fn no_provider(query: &FindQuery<'_>, sight: &Sight<'_>) -> Error {
    let path = name_path(sight.environment, query.app_id, query.name);
    let detail = if sight.is_shared {
        format!("find shared provider[{path}/] failed, provider does not exist")
    } else {
        let who = describe_consumer(query.consumer, sight.consumer, query.environment);
        format!("{who} find provider[{path}] failed, provider does not exist")
    };
    Error::new(Code::ServiceNotExists, detail)
}

fn visible(
    consumer: Option<&Arc<ServiceView>>,
    provider: &ServiceView,
    node: &ServiceNode,
    tags: &[&str],
) -> bool {
    has_tags(node, tags) && consumer.is_none_or(|consumer| may_see(consumer, provider))
}

pub(super) fn has_tags(service: &ServiceNode, tags: &[&str]) -> bool {
    tags.is_empty()
        || service.tags.as_ref().is_some_and(|(known, _)| tags.iter().all(|tag| known.contains_key(*tag)))
}

/// A consumer sees providers of its environment. They must be of its application or allow other applications.
pub fn may_see(consumer: &ServiceView, provider: &ServiceView) -> bool {
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
