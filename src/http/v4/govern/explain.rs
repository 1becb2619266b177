//! `GET /v4/{project}/govern/explain`: walks through a find, rule by rule, and says which rule stops the provider. It decides with the
//! code of the find, and changes nothing.

use std::borrow::Cow;
use std::sync::Arc;

use super::neighbors::{Partner, service_facts};
use super::search::{by_status, instance_summary};
use super::watchers::sessions_of;
use crate::cache::ServiceView;
use crate::cache::explain::{Explanation, Verdict};
use crate::cache::find::FindQuery;
use crate::cache::search::FoundInstance;
use crate::cache::search::near::{NearMiss, NearSearch, Nearness, Wanted};
use crate::cache::snapshot::{NameNode, Snapshot, TenantView, name_path, path_parts};
use crate::cache::statuses::{InstanceStatus, StatusCounts};
use crate::domain::shape::Shaped as _;
use crate::domain::validate::find::{self as valid, FindParameters};
use crate::domain::validate::member;
use crate::domain::version::{self, VersionRule};
use crate::domain::{Service, Tenant};
use crate::error::Error;
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto::explain::{ExplainedRule, FindExplained, ProviderFacts, ProviderVersion, Suggestion};
use crate::http::dto::search::{InstanceSummary, ServiceFacts};
use crate::http::parameters::TAGS;
use crate::http::reply::Reply;
use crate::http::slices::{Pace, in_time};
use crate::http::spec::{Load, Operation, Parameter, Success};
use crate::rbac::Grant;

pub const EXPLAIN: Operation = Operation::new(
    "govern",
    "explainFind",
    "Walks through a find, rule by rule, and says which rule stops the provider. Records no dependency.",
)
.with(&[
    Parameter::query("consumerId", "The id of the consumer. Without it the find has no consumer.").like(member::CONSUMER_ID),
    Parameter::required("appId", "The application of the provider.").like(member::APP_ID),
    Parameter::required("serviceName", "The name or the alias of the provider.").like(member::FIND_NAME),
    Parameter::query("env", "The environment of the provider. Ignored if the request names a consumer, as by a find.")
        .like(member::ENVIRONMENT),
    Parameter::query(
        "version",
        "The version rule of the consumer: `latest`, `1.2+`, `1.2-2.0` or `1.2.3`. A find answers all versions, and clients apply the rule.",
    ),
    TAGS,
])
.answers(Success::Json(FindExplained::SHAPE))
.for_own_pages();

/// Most instances of an explanation.
const MOST_INSTANCES: usize = 100;
/// Most suggestions of an explanation.
const MOST_SUGGESTIONS: usize = 10;
/// A service id that no service has.
const NO_ID: &str = " ";

/// What is asked for.
struct Asked<'a> {
    consumer: Cow<'a, str>,
    app_id: Cow<'a, str>,
    name: Cow<'a, str>,
    environment: Cow<'a, str>,
    version: Cow<'a, str>,
    tags: Cow<'a, str>,
}

impl<'a> Asked<'a> {
    /// 400001 for what a find would reject.
    fn of(call: &'a Call) -> Result<Self, Error> {
        let [consumer, app_id, name, environment, version, tags] =
            ["consumerId", "appId", "serviceName", "env", "version", "tags"]
                .map(|name| call.query_text(name));
        valid::find(&FindParameters {
            consumer_id: &consumer,
            environment: &environment,
            app_id: &app_id,
            service_name: &name,
            tags: &tags,
        })?;
        Ok(Self { consumer, app_id, name, environment, version, tags })
    }
}

/// `GET /v4/{project}/govern/explain`.
pub async fn explain(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    in_time(async {
        let asked = Asked::of(&call)?;
        let tags: Vec<&str> = valid::tag_keys(&asked.tags).collect();
        let snapshot = api.reader.load_full();
        let view = View {
            api: &api,
            snapshot: &snapshot,
            tenant: call.tenant(),
            grant: call.grant(),
            asked: &asked,
            tags: &tags,
        };
        let explained = view.explained();
        let is_permitted = !explained.versions.is_empty()
            || view.grant.shows(explained.environment, &asked.app_id, &asked.name);
        let near = match explained.verdict {
            _ if !is_permitted => Vec::new(),
            Verdict::NoProvider | Verdict::NotVisible | Verdict::NoInstance => view.near(&explained).await?,
            Verdict::Found | Verdict::NoneUp | Verdict::NoConsumer => Vec::new(),
        };
        let sessions = match explained.consumer {
            Some(consumer) => Some(sessions_of(&api, call.tenant(), &consumer.id).await?),
            None => None,
        };
        api.encoded(Load::View, &view.answer(&explained, is_permitted, near, sessions))
    })
    .await
}

struct View<'a> {
    api: &'a Api,
    snapshot: &'a Snapshot,
    tenant: &'a Tenant,
    grant: &'a Grant,
    asked: &'a Asked<'a>,
    tags: &'a [&'a str],
}

/// A name that the consumer may have meant.
struct Near<'a> {
    kind: &'static str,
    tenant: Option<&'a Tenant>,
    environment: &'a str,
    app_id: &'a str,
    name: &'a str,
    statuses: StatusCounts,
}

impl<'a> View<'a> {
    fn shows(&self, service: &Service) -> bool {
        self.grant.shows(&service.environment, &service.app_id, &service.service_name)
    }

    /// What the find looks at, without what the caller may not see: a service that the caller may not see counts as missing.
    fn explained(&self) -> Explanation<'a> {
        let consumer = self.snapshot.service(self.tenant, &self.asked.consumer);
        let is_hidden = consumer.is_some_and(|consumer| !self.shows(&consumer.record.document));
        let query = FindQuery {
            tenant: self.tenant,
            target: self.tenant,
            environment: &self.asked.environment,
            app_id: &self.asked.app_id,
            name: &self.asked.name,
            tags: self.tags,
            consumer: if is_hidden { NO_ID } else { &self.asked.consumer },
        };
        let mut explained = self.snapshot.explain(&query, &self.api.rules.shared);
        explained.retain(|version| self.shows(&version.service.record.document));
        explained
    }

    /// Whether the caller sees all services that have a name or an alias.
    fn shows_all(&self, view: &TenantView, node: &NameNode) -> bool {
        node.versions().iter().all(|known| {
            let service = view.service(known.service.as_str());
            service.is_some_and(|service| self.shows(&service.record.document))
        })
    }

    /// Names that the consumer may have meant.
    async fn near(&self, explained: &Explanation<'a>) -> Result<Vec<Near<'a>>, Error> {
        let (app_id, name) = (&*self.asked.app_id, &*self.asked.name);
        let environment = explained.environment;
        let _turn = self.api.turns.take().await?;
        let mut pace = Pace::default();
        let mut near = Vec::new();
        if let Some(view) = self.snapshot.tenant(self.tenant) {
            let mut search = NearSearch::new(Wanted { environment, app_id, name }, MOST_SUGGESTIONS);
            for (path, node) in view.names() {
                pace.step(0).await;
                let Some([environment, app_id, name]) = path_parts(path) else { continue };
                if self.grant.shows(environment, app_id, name) {
                    search.look(path, node);
                }
            }
            for (path, node) in view.aliases() {
                pace.step(0).await;
                if self.shows_all(view, node) {
                    search.look(path, node);
                }
            }
            near.extend(search.into_found().iter().map(|found| Near::of(view, found)));
        }
        let path = name_path(environment, app_id, name);
        for (tenant, view) in self.snapshot.tenants() {
            pace.step(0).await;
            let is_other = tenant != self.tenant
                && self.api.rules.cross_domain.connects(self.tenant.as_str(), tenant.as_str());
            let node = Some(view).filter(|_| is_other);
            let node = node.and_then(|view| view.name(&path).or_else(|| view.alias(&path)));
            if let Some(node) = node.filter(|node| self.shows_all(view, node)) {
                let statuses = statuses_of(view, node);
                near.push(Near {
                    kind: "project",
                    tenant: Some(tenant),
                    environment,
                    app_id,
                    name,
                    statuses,
                });
            }
        }
        near.truncate(MOST_SUGGESTIONS);
        Ok(near)
    }

    fn answer(
        &self,
        explained: &Explanation<'a>,
        is_permitted: bool,
        near: Vec<Near<'_>>,
        sessions: Option<usize>,
    ) -> FindExplained {
        let mut rules = Rules { view: self, explained, near: &near, steps: Vec::new() };
        rules.tenant();
        rules.permission(is_permitted);
        if is_permitted {
            rules.consumer();
            rules.shared();
            if explained.verdict != Verdict::NoConsumer {
                rules.environment();
                rules.application();
                rules.name();
                rules.versions();
                rules.tags();
                rules.status();
                rules.dependency();
                rules.watcher(sessions);
            }
        }
        let steps = rules.steps;
        let stop = steps.iter().find(|step| step.passed == Some(false));
        let stopped_by = stop.map(|step| step.rule.clone());
        let summary = self.summary(explained, is_permitted, stop);
        let consumer = explained.consumer.map(|consumer| self.facts(consumer));
        let found = is_permitted && explained.statuses.total() > 0;
        FindExplained {
            revision: self.snapshot.revision,
            found: Some(found),
            verdict: if is_permitted { explained.verdict.name() } else { "notPermitted" }.to_owned(),
            summary,
            stopped_by: stopped_by.unwrap_or_default(),
            steps,
            consumer,
            provider: Some(self.provider(explained)),
            counts: by_status(&explained.statuses),
            instances: self.instances(explained),
            suggestions: near.into_iter().map(Suggestion::from).collect(),
        }
    }

    fn facts(&self, service: &'a Arc<ServiceView>) -> ServiceFacts {
        service_facts(self.snapshot, self.tenant, Partner { tenant: self.tenant.as_str(), service })
    }

    /// `stop` is the first rule that the find does not pass.
    fn summary(
        &self,
        explained: &Explanation<'_>,
        is_permitted: bool,
        stop: Option<&ExplainedRule>,
    ) -> String {
        let who = match explained.consumer {
            Some(consumer) => {
                let of = &consumer.record.document;
                format!("the consumer '{}' {}", of.service_name, of.version)
            }
            None => "a find without a consumer".to_owned(),
        };
        let name = &self.asked.name;
        let instances = counted(explained.statuses.total(), "instance", "instances");
        match explained.verdict {
            _ if !is_permitted => format!("your role does not show a service with the name '{name}'"),
            Verdict::Found => {
                let up = explained.statuses.of(InstanceStatus::Up);
                format!("{who} finds {instances} of '{name}', {up} of them UP")
            }
            Verdict::NoneUp => format!("{who} finds {instances} of '{name}', none of them UP"),
            Verdict::NoInstance => format!("{who} finds '{name}', which has no instances"),
            Verdict::NotVisible => {
                format!("{who} finds no instances, because it sees no version of '{name}'")
            }
            Verdict::NoProvider => {
                let elsewhere = stop.filter(|step| step.rule != "name");
                let why = elsewhere.map_or("no service has this name", |step| &step.saw);
                format!("{who} does not find '{name}': {why}")
            }
            Verdict::NoConsumer => format!("the consumer '{}' does not exist", self.asked.consumer),
        }
    }

    fn provider(&self, explained: &Explanation<'_>) -> ProviderFacts {
        let rule = VersionRule::parse(&self.asked.version);
        let highest = explained.highest();
        let versions = explained.versions.iter().map(|version| {
            let of = &version.service.record.document;
            ProviderVersion {
                service_id: version.service.id.to_string(),
                version: of.version.clone(),
                instances: by_status(&version.node.statuses),
                visible: Some(version.is_visible()),
                allows_cross_app: Some(version.service.allows_cross_app),
                wanted: rule.map(|rule| wants(rule, &of.version, highest)),
            }
        });
        ProviderFacts {
            environment: explained.environment.to_owned(),
            app_id: self.asked.app_id.to_string(),
            service_name: self.asked.name.to_string(),
            versions: versions.collect(),
        }
    }

    fn instances(&self, explained: &Explanation<'_>) -> Vec<InstanceSummary> {
        let now = self.api.clock.monotonic();
        let visible = explained.versions.iter().filter(|version| version.is_visible());
        let entries = visible.flat_map(|version| {
            version.node.instances.iter().map(|entry| FoundInstance { service: version.service, entry })
        });
        entries.take(MOST_INSTANCES).map(|found| instance_summary(&found, now)).collect()
    }
}

fn wants(rule: VersionRule, version: &str, highest: [u16; 4]) -> bool {
    version::parse(version).is_some_and(|version| rule.wants(version, highest))
}

fn statuses_of(view: &TenantView, node: &NameNode) -> StatusCounts {
    let mut statuses = StatusCounts::default();
    let nodes = node.versions().iter().filter_map(|known| view.node(known.service.as_str()));
    nodes.for_each(|node| statuses += node.statuses);
    statuses
}

impl<'a> Near<'a> {
    fn of(view: &TenantView, found: &NearMiss<'a>) -> Self {
        let kind = match found.nearness {
            Nearness::OtherEnvironment => "environment",
            Nearness::OtherApplication => "application",
            Nearness::OtherBoth => "other",
            Nearness::Similar(_) => "name",
        };
        let NearMiss { environment, app_id, name, node, .. } = *found;
        Self { kind, tenant: None, environment, app_id, name, statuses: statuses_of(view, node) }
    }
}

impl From<Near<'_>> for Suggestion {
    fn from(near: Near<'_>) -> Self {
        Self {
            kind: near.kind.to_owned(),
            tenant: near.tenant.map(Tenant::to_string).unwrap_or_default(),
            environment: near.environment.to_owned(),
            app_id: near.app_id.to_owned(),
            service_name: near.name.to_owned(),
            instances: by_status(&near.statuses),
        }
    }
}

/// The rules of a find, one after another.
struct Rules<'r, 'a> {
    view: &'r View<'a>,
    explained: &'r Explanation<'a>,
    near: &'r [Near<'r>],
    steps: Vec<ExplainedRule>,
}

impl Rules<'_, '_> {
    fn add(&mut self, rule: &str, passed: Option<bool>, explanation: &str, saw: String, change: String) {
        let (rule, explanation) = (rule.to_owned(), explanation.to_owned());
        let change = if passed == Some(true) { String::new() } else { change };
        self.steps.push(ExplainedRule { rule, passed, explanation, saw, change });
    }

    fn near(&self, kind: &str) -> Option<&Near<'_>> {
        self.near.iter().find(|near| near.kind == kind)
    }

    fn tenant(&mut self) {
        let tenant = self.view.tenant;
        let services = self.view.snapshot.tenant(tenant).map_or(0, |view| view.service_count);
        // A caller that sees only some services does not learn how many there are.
        let saw = match (services, self.view.grant) {
            (0, _) => format!("the tenant '{tenant}' has no services"),
            (_, Grant::All) => format!("the tenant '{tenant}' has {services} service versions"),
            (_, Grant::Labelled(_)) => format!("the tenant '{tenant}' has services"),
        };
        let change = match self.near("project") {
            Some(near) => format!(
                "register both services in one tenant: '{}' has a service with this name",
                near.tenant.map(Tenant::as_str).unwrap_or_default()
            ),
            None => "name the tenant that the provider registers in: the header X-Domain-Name and the project in the path".to_owned(),
        };
        // Shared services are looked for in their own tenant, which is the same.
        self.add(
            "tenant",
            Some(services > 0),
            "A find looks in one tenant: a domain and a project.",
            saw,
            change,
        );
    }

    fn permission(&mut self, is_permitted: bool) {
        let (passed, saw) = match self.view.grant {
            Grant::All => (None, "no labels limit what you see".to_owned()),
            Grant::Labelled(_) => {
                let Asked { app_id, name, .. } = self.view.asked;
                let environment = self.explained.environment;
                let shows = if is_permitted { "shows" } else { "does not show" };
                let saw = format!(
                    "your role {shows} the service with the environment '{environment}', the application '{app_id}' and the name '{name}'"
                );
                (Some(is_permitted), saw)
            }
        };
        let change = match is_permitted {
            true => String::new(),
            false => "ask an administrator for a role whose labels include this service".to_owned(),
        };
        let explanation = "A role with labels shows only the services that have these labels.";
        self.add("permission", passed, explanation, saw, change);
    }

    fn consumer(&mut self) {
        let id = &self.view.asked.consumer;
        let (passed, saw, change) = match self.explained.consumer {
            Some(consumer) => {
                let of = &consumer.record.document;
                let saw = format!(
                    "the consumer is '{}' {} of the application '{}' in the environment '{}'",
                    of.service_name, of.version, of.app_id, of.environment
                );
                (Some(true), saw, String::new())
            }
            None if self.explained.verdict == Verdict::NoConsumer => {
                let or_hidden = match self.view.grant {
                    Grant::All => "",
                    Grant::Labelled(_) => ", or your role does not show it",
                };
                let change =
                    "register the consumer before it finds, and send the id that the registration answers";
                (Some(false), format!("no service has the id '{id}'{or_hidden}"), change.to_owned())
            }
            None if id.is_empty() => {
                let change =
                    "name a consumer to see what it finds; clients send its id in the header X-ConsumerId";
                (None, "the request names no consumer".to_owned(), change.to_owned())
            }
            None => (
                None,
                "the consumer does not count, because the provider is a shared service".to_owned(),
                String::new(),
            ),
        };
        let explanation = "A consumer that is named must exist. It decides which providers are visible.";
        self.add("consumer", passed, explanation, saw, change);
    }

    fn shared(&mut self) {
        let explanation =
            "A shared service of the application 'default' in 'default/default' is found by every consumer.";
        let environment = self.explained.environment;
        let (passed, saw) = match self.explained.is_shared {
            true => (
                Some(true),
                format!("the service is shared; the find looks in the environment '{environment}'"),
            ),
            false => (None, "the service is not shared".to_owned()),
        };
        self.add("shared", passed, explanation, saw, String::new());
    }

    fn is_missing(&self) -> bool {
        self.explained.verdict == Verdict::NoProvider
    }

    fn environment(&mut self) {
        let environment = self.explained.environment;
        let of_whom = match self.explained.consumer {
            Some(_) => ", that of the consumer",
            None if self.explained.is_shared => ", that of shared services",
            None => "",
        };
        let elsewhere = self.near("environment").filter(|_| self.is_missing());
        let mut saw = format!("the find looks in the environment '{environment}'{of_whom}");
        let mut change = String::new();
        if let Some(near) = elsewhere {
            saw = format!("{saw}; the provider is in the environment '{}'", near.environment);
            change = match self.explained.consumer {
                Some(_) => format!(
                    "register consumer and provider in one environment: '{}' or '{environment}'",
                    near.environment
                ),
                None => format!("ask with env='{}'", near.environment),
            };
        }
        let passed = if self.is_missing() { elsewhere.map(|_| false) } else { Some(true) };
        let explanation = "A find looks in one environment. With a consumer it is the environment of the consumer, whatever 'env' says.";
        self.add("environment", passed, explanation, saw, change);
    }

    fn application(&mut self) {
        let app_id = &self.view.asked.app_id;
        let versions = &self.explained.versions;
        let shown = versions.iter().filter(|version| version.is_shown).count();
        let (passed, saw, change) = match self.explained.consumer {
            _ if self.is_missing() => match self.near("application").or_else(|| self.near("other")) {
                Some(near) => (
                    Some(false),
                    format!(
                        "the find looks in the application '{app_id}'; a service with this name is in the application '{}'",
                        near.app_id
                    ),
                    format!(
                        "ask with appId='{}', and let the provider set the property allowCrossApp to true",
                        near.app_id
                    ),
                ),
                None => (None, format!("the find looks in the application '{app_id}'"), String::new()),
            },
            Some(consumer) if consumer.record.document.app_id != **app_id => {
                let own = &consumer.record.document.app_id;
                let saw = format!(
                    "the consumer is of the application '{own}' and the provider of '{app_id}'; {shown} of {} other applications",
                    counted(versions.len(), "version allows", "versions allow")
                );
                let change = "set the property allowCrossApp of the provider to true, or register both in one application";
                (Some(shown > 0), saw, change.to_owned())
            }
            Some(_) => (
                Some(true),
                format!("consumer and provider are of the application '{app_id}'"),
                String::new(),
            ),
            None => (
                Some(true),
                format!("the provider is of the application '{app_id}', and no consumer limits what is seen"),
                String::new(),
            ),
        };
        let explanation = "A consumer sees providers of its own application, and those of others that have the property allowCrossApp set to true.";
        self.add("application", passed, explanation, saw, change);
    }

    fn name(&mut self) {
        let name = &self.view.asked.name;
        let versions = &self.explained.versions;
        let by_alias =
            versions.iter().filter(|version| version.service.record.document.service_name != **name).count();
        let (passed, saw) = match versions.len() {
            0 => (false, format!("no service has the name or the alias '{name}' there")),
            count if by_alias == count => {
                let have = counted(count, "version has", "versions have");
                (true, format!("{have} the alias '{name}', and no service has the name"))
            }
            count => (true, format!("{} the name '{name}'", counted(count, "version has", "versions have"))),
        };
        let change = match self.near("name") {
            Some(near) => format!(
                "register the provider, or correct the name: there is '{}' in the application '{}' and the environment '{}'",
                near.name, near.app_id, near.environment
            ),
            None => "register the provider under this name".to_owned(),
        };
        let explanation = "The provider is what has the name; if nothing has it, what has it as an alias.";
        self.add("name", Some(passed), explanation, saw, change);
    }

    fn versions(&mut self) {
        let text = &self.view.asked.version;
        let versions = &self.explained.versions;
        if versions.is_empty() {
            return;
        }
        let names: Vec<&str> = versions
            .iter()
            .map(|version| version.service.record.document.version.as_str())
            .take(MOST_SUGGESTIONS)
            .collect();
        let all = names.join(", ");
        let more = if versions.len() > names.len() { ", …" } else { "" };
        let (passed, saw) = match (text.is_empty(), VersionRule::parse(text)) {
            (true, _) => (None, format!("there are the versions {all}{more}")),
            (false, None) => {
                (None, format!("'{text}' is no version rule; there are the versions {all}{more}"))
            }
            (false, Some(rule)) => {
                let highest = self.explained.highest();
                let wanted = versions
                    .iter()
                    .filter(|version| wants(rule, &version.service.record.document.version, highest));
                let count = wanted.count();
                (Some(count > 0), format!("{count} of the versions {all}{more} fulfil the rule '{text}'"))
            }
        };
        let explanation = "A find answers all versions, whatever the rule. Clients drop those that their version rule leaves out.";
        let change = "change the version rule of the consumer, or the version of the provider";
        let change = if passed == Some(false) { change } else { "" };
        self.add("versions", passed, explanation, saw, change.to_owned());
    }

    fn tags(&mut self) {
        let versions = &self.explained.versions;
        if self.view.tags.is_empty() || versions.is_empty() {
            return;
        }
        let (wanted, all) = (self.view.tags.join(", "), versions.len());
        let count = versions.iter().filter(|version| version.has_tags).count();
        let saw = format!("{count} of {} the tags {wanted}", counted(all, "version has", "versions have"));
        let change = "add the tags to a version of the provider, or ask without them".to_owned();
        self.add("tags", Some(count > 0), "A version must have all tags of the request.", saw, change);
    }

    fn status(&mut self) {
        let verdict = self.explained.verdict;
        if matches!(verdict, Verdict::NoProvider | Verdict::NotVisible) {
            return;
        }
        let counts: Vec<String> = self
            .explained
            .statuses
            .iter()
            .map(|(status, count)| format!("{count} {}", status.name()))
            .collect();
        let (saw, change) = match verdict {
            Verdict::NoInstance => (
                "the visible versions have no instances".to_owned(),
                "start an instance of the provider; if it runs, see whether it registers and sends heartbeats",
            ),
            Verdict::NoneUp => (
                format!("the instances are {}", counts.join(", ")),
                "set the status of an instance to UP; an instance that is OUTOFSERVICE was taken out by somebody",
            ),
            _ => (format!("the instances are {}", counts.join(", ")), ""),
        };
        let explanation =
            "A find answers instances of every status. Most clients use only those that are UP.";
        self.add("status", Some(verdict == Verdict::Found), explanation, saw, change.to_owned());
    }

    fn dependency(&mut self) {
        let (passed, saw) = match self.explained.is_recorded {
            Some(true) => (Some(true), "the dependency is recorded"),
            Some(false) => {
                (None, "the dependency is not recorded yet; the next find of the consumer records it")
            }
            None => (None, "this find shows no dependency"),
        };
        let explanation = "A find by a consumer records that it depends on the provider. Then the watches of the consumer are told of changes.";
        self.add("dependency", passed, explanation, saw.to_owned(), String::new());
    }

    fn watcher(&mut self, sessions: Option<usize>) {
        let (passed, saw) = match sessions {
            None => (None, "the find has no consumer that could watch".to_owned()),
            Some(0) => (
                None,
                "the consumer has no watch on this node; it may have one on another node, or learn of changes by asking again".to_owned(),
            ),
            Some(count) => (Some(true), format!("the consumer has {} on this node", counted(count, "watch", "watches"))),
        };
        let explanation =
            "A consumer with a watch learns of changes at once; without one, when it asks again.";
        self.add("watcher", passed, explanation, saw, String::new());
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
