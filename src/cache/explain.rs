//! Explains what a find answers, and why. Decides with the code of the find, and changes nothing.

use std::sync::Arc;

use super::find::{FindQuery, has_tags};
use super::snapshot::{ServiceNode, ServiceView, Snapshot};
use super::statuses::{InstanceStatus, StatusCounts};
use crate::domain::shared::SharedServices;
use crate::domain::version;

/// What a find answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Instances, of which at least one is `UP`.
    Found,
    /// Instances, of which none is `UP`.
    NoneUp,
    /// No instances, because the versions that the consumer sees have none.
    NoInstance,
    /// No instances, because the consumer sees no version.
    NotVisible,
    /// 400012, because nothing has the name or the alias.
    NoProvider,
    /// 400012, because the consumer does not exist.
    NoConsumer,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::NoneUp => "noneUp",
            Self::NoInstance => "noInstance",
            Self::NotVisible => "notVisible",
            Self::NoProvider => "noProvider",
            Self::NoConsumer => "noConsumer",
        }
    }
}

/// What a find looks at.
#[derive(Clone, Debug)]
pub struct Explanation<'s> {
    pub verdict: Verdict,
    /// Whether the name is that of a shared service. The consumer does not count then.
    pub is_shared: bool,
    /// The consumer, if one counts.
    pub consumer: Option<&'s Arc<ServiceView>>,
    /// The environment in which the provider is looked for. With a consumer that does not exist, the one that the query names.
    pub environment: &'s str,
    /// The versions that have the name, or the alias if none has the name.
    pub versions: Vec<ExplainedVersion<'s>>,
    /// The instances of the versions that the consumer sees.
    pub statuses: StatusCounts,
    /// Whether the dependency is recorded already. `None` if the find shows none.
    pub is_recorded: Option<bool>,
    /// Whether something has the name or the alias.
    has_name: bool,
}

/// A version of the provider.
#[derive(Clone, Copy, Debug)]
pub struct ExplainedVersion<'s> {
    pub service: &'s Arc<ServiceView>,
    pub node: &'s Arc<ServiceNode>,
    /// Whether its application is that of the consumer, or it allows other applications.
    pub is_shown: bool,
    /// Whether it has all tags of the query.
    pub has_tags: bool,
}

impl ExplainedVersion<'_> {
    /// Whether the find answers its instances.
    pub fn is_visible(&self) -> bool {
        self.is_shown && self.has_tags
    }
}

impl Snapshot {
    /// What [`Snapshot::find`] answers to the query, and why.
    pub fn explain<'s>(&'s self, query: &FindQuery<'s>, shared: &'s SharedServices) -> Explanation<'s> {
        let Ok(sight) = self.sight(query, shared) else {
            return Explanation {
                verdict: Verdict::NoConsumer,
                is_shared: false,
                consumer: None,
                environment: query.environment,
                versions: Vec::new(),
                statuses: StatusCounts::default(),
                is_recorded: None,
                has_name: false,
            };
        };
        let mut versions = Vec::new();
        if let Some((view, name)) = sight.provider {
            for node in name.versions().iter().filter_map(|known| view.node(known.service.as_str())) {
                let Some(service) = &node.view else { continue };
                let (is_shown, has_tags) = (sight.shows(service), has_tags(node, query.tags));
                versions.push(ExplainedVersion { service, node, is_shown, has_tags });
            }
        }
        let mut explanation = Explanation {
            verdict: Verdict::NoProvider,
            is_shared: sight.is_shared,
            consumer: sight.consumer,
            environment: sight.environment,
            statuses: StatusCounts::default(),
            is_recorded: None,
            has_name: sight.provider.is_some(),
            versions,
        };
        explanation.judge();
        let consumer = sight.consumer.filter(|consumer| !consumer.is_registry);
        let first_visible = explanation.versions.iter().find(|version| version.is_visible());
        if let (Some((view, _)), Some(consumer), Some(first)) = (sight.provider, consumer, first_visible) {
            let is_recorded = self.has_recorded(query.tenant, view, consumer, first.service);
            explanation.is_recorded = Some(is_recorded);
        }
        explanation
    }
}

impl Explanation<'_> {
    /// Decides the verdict by the versions that are there.
    fn judge(&mut self) {
        let mut visible = 0;
        self.statuses = StatusCounts::default();
        for version in self.versions.iter().filter(|version| version.is_visible()) {
            visible += 1;
            self.statuses += version.node.statuses;
        }
        self.verdict = match visible {
            0 if self.has_name => Verdict::NotVisible,
            0 => Verdict::NoProvider,
            _ if self.statuses.total() == 0 => Verdict::NoInstance,
            _ if self.statuses.of(InstanceStatus::Up) == 0 => Verdict::NoneUp,
            _ => Verdict::Found,
        };
    }

    /// Leaves out versions.
    pub fn retain(&mut self, keep: impl Fn(&ExplainedVersion<'_>) -> bool) {
        let before = self.versions.len();
        self.versions.retain(|version| keep(version));
        if self.versions.len() < before {
            self.has_name = !self.versions.is_empty();
            self.judge();
        }
    }

    /// The highest version that the consumer sees.
    pub fn highest(&self) -> [u16; 4] {
        let visible = self.versions.iter().filter(|version| version.is_visible());
        let numbers = visible.filter_map(|version| version::parse(&version.service.record.document.version));
        numbers.max().unwrap_or_default()
    }
}
