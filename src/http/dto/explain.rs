//! The explanation of a find, and the neighbors of a service.

use super::search::{Counts, InstanceSummary, ServiceFacts};
use crate::json_object;

json_object! {
    /// Why a find finds a provider, or why not.
    pub struct FindExplained {
        /// The revision of the store that the answer shows.
        "revision" => revision: i64,
        /// Whether the find answers instances, whatever their status.
        "found" => found: Option<bool>,
        /// `found`: instances, at least one of them `UP`. `noneUp`: instances, none of them `UP`; most clients use only those that are.
        /// `noInstance`: the versions have no instances. `notVisible`: the consumer sees no version. `noProvider`: 400012, nothing has the
        /// name. `noConsumer`: 400012, the consumer does not exist. `notPermitted`: the role of the account does not show the provider.
        "verdict" => verdict: String,
        /// The verdict in a sentence.
        "summary" => summary: String,
        /// The first rule that is not fulfilled. Absent if all are.
        "stoppedBy" => stopped_by: String,
        /// The rules, in the order in which they are applied.
        "steps" => steps: Vec<ExplainedRule>,
        /// The consumer. Absent if the request names none, or if it does not exist.
        "consumer" => consumer: Option<ServiceFacts>,
        /// What the find looks for.
        "provider" => provider: Option<ProviderFacts>,
        /// The number of instances that the find answers, by status.
        "counts" => counts: Counts,
        /// The instances that the find answers, at most 100.
        "instances" => instances: Vec<InstanceSummary>,
        /// What the consumer may have meant, if the find answers no instance, and at most 10.
        "suggestions" => suggestions: Vec<Suggestion>,
    }
}

json_object! {
    /// A rule of a find.
    pub struct ExplainedRule {
        /// `tenant`, `permission`, `consumer`, `shared`, `environment`, `application`, `name`, `versions`, `tags`, `status`, `dependency` or
        /// `watcher`.
        "rule" => rule: String,
        /// Whether the rule is fulfilled. Absent if it does not apply, or if this node cannot know.
        "passed" => passed: Option<bool>,
        /// What the rule says.
        "explanation" => explanation: String,
        /// What this node found.
        "saw" => saw: String,
        /// What would change the result.
        "change" => change: String,
    }
}

json_object! {
    /// What a find looks for.
    pub struct ProviderFacts {
        /// The environment. Absent for the empty one.
        "environment" => environment: String,
        /// The application.
        "appId" => app_id: String,
        /// The name or the alias.
        "serviceName" => service_name: String,
        /// The versions that have it.
        "versions" => versions: Vec<ProviderVersion>,
    }
}

json_object! {
    /// A version of the provider, and whether the consumer sees it.
    pub struct ProviderVersion {
        /// The id.
        "serviceId" => service_id: String,
        /// The version.
        "version" => version: String,
        /// The number of its instances by status. Absent if it has none.
        "instances" => instances: Counts,
        /// Whether the find answers its instances.
        "visible" => visible: Option<bool>,
        /// Whether it allows consumers of other applications.
        "allowCrossApp" => allows_cross_app: Option<bool>,
        /// Whether the version rule of the request wants it. Absent without one. The find does not look at it, but clients do.
        "wanted" => wanted: Option<bool>,
    }
}

json_object! {
    /// A service that the consumer may have meant.
    pub struct Suggestion {
        /// `environment`, `application` or `project`: the same name elsewhere, `other`: in another environment and application, `name`: a
        /// similar name.
        "kind" => kind: String,
        /// The tenant, as `domain/project`, if it is not that of the request.
        "tenant" => tenant: String,
        /// The environment. Absent for the empty one.
        "environment" => environment: String,
        /// The application.
        "appId" => app_id: String,
        /// The name.
        "serviceName" => service_name: String,
        /// The number of instances of all versions by status. Absent if there are none.
        "instances" => instances: Counts,
    }
}

json_object! {
    /// Consumers and providers of a service by the dependency rules. The consumers come first. `total`, `limit` and `after` count both.
    pub struct Neighbors {
        /// The revision of the store that the answer shows.
        "revision" => revision: i64,
        /// The number of consumers and providers on all pages together.
        "total" => total: Option<i64>,
        /// The service.
        "service" => service: Option<ServiceFacts>,
        /// The number of its consumers.
        "consumerCount" => consumer_count: Option<i64>,
        /// The number of its providers.
        "providerCount" => provider_count: Option<i64>,
        /// The consumers of this page.
        "consumers" => consumers: Vec<ServiceFacts>,
        /// The providers of this page.
        "providers" => providers: Vec<ServiceFacts>,
        /// `after` of the request for the next page. Absent on the last page.
        "next" => next: String,
    }
}
