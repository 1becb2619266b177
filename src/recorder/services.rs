//! The services of recorded events. Events of one service share what is kept of it.

use std::collections::HashMap;
use std::sync::Arc;

use super::block::shared;
use super::event::ServiceFacts;
use crate::domain::event::{Revision, ServiceRecord};
use crate::domain::{ServiceId, Tenant};

#[derive(Debug)]
pub(super) struct ServiceTable {
    /// By id: one entry for each tenant that has a service with it.
    known: HashMap<ServiceId, Vec<KnownService>>,
    bytes: usize,
    /// The table is not swept below this size.
    least_swept: usize,
    /// How many events have come since the table was swept.
    events: usize,
}

#[derive(Debug)]
struct KnownService {
    facts: Arc<ServiceFacts>,
    /// The revision of the document. 0 if the facts come from none.
    revision: Revision,
}

impl ServiceTable {
    /// `limit`: how many bytes the services and the events may take.
    pub(super) fn new(limit: usize) -> Self {
        Self { known: HashMap::new(), bytes: 0, least_swept: limit / 8, events: 0 }
    }

    /// What is kept of a service. Without a document: what is known from an earlier one.
    pub(super) fn facts(
        &mut self,
        tenant: &Tenant,
        id: &ServiceId,
        record: Option<&ServiceRecord>,
    ) -> Arc<ServiceFacts> {
        let of = |known: &&mut KnownService| known.facts.tenant == *tenant;
        let revision = record.map(|record| record.mod_revision);
        let known = self.known.get_mut(id.as_str()).and_then(|all| all.iter_mut().find(of));
        match known {
            Some(known) if revision.is_none_or(|revision| revision == known.revision) => {
                return Arc::clone(&known.facts);
            }
            Some(known) => {
                let facts = ServiceFacts::of(tenant.clone(), id.clone(), record);
                known.revision = revision.unwrap_or_default();
                if *known.facts != facts {
                    self.bytes += bytes(&facts);
                    self.bytes -= bytes(&known.facts);
                    known.facts = Arc::new(facts);
                }
                return Arc::clone(&known.facts);
            }
            None => {}
        }
        let facts = Arc::new(ServiceFacts::of(tenant.clone(), id.clone(), record));
        self.keep(Arc::clone(&facts), revision.unwrap_or_default());
        facts
    }

    /// The same service as an earlier event has it, so that both share it.
    pub(super) fn adopt(&mut self, facts: ServiceFacts) -> Arc<ServiceFacts> {
        let known =
            self.known.get(facts.id.as_str()).and_then(|all| all.iter().find(|known| *known.facts == facts));
        if let Some(known) = known {
            return Arc::clone(&known.facts);
        }
        let facts = Arc::new(facts);
        self.keep(Arc::clone(&facts), 0);
        facts
    }

    fn keep(&mut self, facts: Arc<ServiceFacts>, revision: Revision) {
        let all = self.known.entry(facts.id.clone()).or_default();
        if let Some(former) = all.iter().position(|known| known.facts.tenant == facts.tenant) {
            self.bytes -= bytes(&all.swap_remove(former).facts);
        }
        self.bytes += bytes(&facts);
        all.push(KnownService { facts, revision });
    }

    /// The bytes of all services.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// To be called before so many events are kept. Drops the services of which no event is left, because they take the room of events.
    /// This waits for events as many as an eighth of the services, so that an event costs eight looks at a service at most, and the
    /// table grows by about an eighth meanwhile.
    pub(super) fn make_room(&mut self, events: usize) {
        self.events += events;
        if self.bytes <= self.least_swept || self.events < self.known.len() / 8 {
            return;
        }
        self.events = 0;
        let mut left = 0;
        self.known.retain(|_, all| {
            all.retain(|known| Arc::strong_count(&known.facts) > 1);
            left += all.iter().map(|known| bytes(&known.facts)).sum::<usize>();
            !all.is_empty()
        });
        self.bytes = left;
    }
}

fn bytes(facts: &ServiceFacts) -> usize {
    let ServiceFacts { tenant, id, environment, app_id, name, version, is_registry: _, id_hash: _ } = facts;
    let shared_texts = [tenant.as_str(), id.as_str()].into_iter().map(|text| shared(text.len()));
    let own_texts =
        [environment, app_id, name, version].into_iter().map(|text| text.len().next_multiple_of(16));
    let in_table = size_of::<KnownService>() + size_of::<(ServiceId, Vec<KnownService>)>() * 2;
    shared(size_of::<ServiceFacts>()) + in_table + shared_texts.chain(own_texts).sum::<usize>()
}
