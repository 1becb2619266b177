//! Starts the actors, in the order of the data flow, with the parts that they share.

use std::sync::Arc;

use actix::prelude::Arbiter;

use super::rules::{ActorRules, RecordRules};
use crate::actors::account::AccountActor;
use crate::actors::account::core::AccountCore;
use crate::actors::beats::Beats;
use crate::actors::compaction::CompactionActor;
use crate::actors::consumer::{ConsumerActor, ConsumerParts};
use crate::actors::contact::Contact;
use crate::actors::freshness::Freshness;
use crate::actors::goodbyes::Goodbyes;
use crate::actors::hub::HubActor;
use crate::actors::interests::Interests;
use crate::actors::lease::{LeaseActor, LeaseCore};
use crate::actors::lifeline::Lifelines;
use crate::actors::mailbox::Mailbox;
use crate::actors::nodes::limits::NodeLimits;
use crate::actors::nodes::{NodesActor, NodesParts};
use crate::actors::peer::{PeerActor, PeerCore};
use crate::actors::pollers::Pollers;
use crate::actors::recorder::RecorderActor;
use crate::actors::registry::RegistryActor;
use crate::actors::registry::core::RegistryCore;
use crate::actors::retire::{RetireActor, RetireCore};
use crate::actors::scrub::{ScrubActor, ScrubParts};
use crate::actors::watch::{WatchActor, WatchParts};
use crate::alarm::Alarms;
use crate::cache::{SnapshotReader, cell};
use crate::clock::Clock;
use crate::recorder::{self, RecordReader};
use crate::store::Store;
use crate::trouble::Trouble;

pub struct Actors {
    pub registry: Mailbox<RegistryActor>,
    pub account: Mailbox<AccountActor>,
    pub lease: Mailbox<LeaseActor>,
    pub watch: Mailbox<WatchActor>,
    pub hub: Mailbox<HubActor>,
    pub consumers: Mailbox<ConsumerActor>,
    pub peer: Mailbox<PeerActor>,
    pub retire: Mailbox<RetireActor>,
    pub recorder: Mailbox<RecorderActor>,
    /// Nobody sends to it. It runs as long as this mailbox exists. `None` if the store bounds its history itself.
    pub compaction: Option<Mailbox<CompactionActor>>,
    pub scrub: Mailbox<ScrubActor>,
    pub nodes: Mailbox<NodesActor>,
}

/// The parts that actors and handlers share.
pub struct SharedHandles {
    pub reader: SnapshotReader,
    pub freshness: Freshness,
    pub interests: Interests,
    pub pollers: Pollers,
    pub beats: Beats,
    pub contact: Contact,
    /// The limits of this node that the NodesActor tells.
    pub node_limits: NodeLimits,
    pub alarms: Alarms,
    /// Answers what happened.
    pub record: RecordReader,
    pub clock: Clock,
    pub lifelines: Lifelines,
}

/// Starts the actors. They run until the process ends.
pub fn start(rules: ActorRules, store: &Arc<dyn Store>, clock: Clock) -> (Actors, SharedHandles) {
    let ActorRules {
        registry,
        accounts,
        has_accounts,
        watch,
        interests,
        consumers,
        retire,
        compaction,
        record,
        identity,
        own_beat,
        owner,
        facts,
        scrub_period,
    } = rules;
    let lifelines = Lifelines::default();
    let (publisher, reader) = cell::cell();
    let freshness = Freshness::new(Arc::clone(store), reader.clone());
    let (beats, goodbyes, alarms) = (Beats::default(), Goodbyes::default(), Alarms::default());
    let contact = Contact::new(alarms.clone());
    let node_limits = NodeLimits::default();
    let RecordRules { limits, folder } = record;
    let (recorder, record, recording) = recorder::record(limits);
    // Five threads. One builds snapshots. One pushes changes, because a change with many watchers must not delay the next snapshot.
    // One writes. One records what happened. One compares with the store, and measures its CPU time.
    let [reading, pushing, writing, recording_thread, comparing] = [(); 5].map(|()| Arbiter::new().handle());
    let recorder_actor = {
        let clock = clock.clone();
        Mailbox::start(&recording_thread, &lifelines, move || RecorderActor::new(recording, folder, clock))
    };
    let accounts_reader = has_accounts.then(|| reader.clone());
    let interests = Interests::new(interests);
    let hub = {
        let (interests, recorder, clock) = (interests.clone(), recorder.clone(), clock.clone());
        let make_hub = move || HubActor::new(interests, recorder, clock, accounts_reader);
        Mailbox::start(&pushing, &lifelines, make_hub)
    };
    let watch = {
        let (store, hub, clock, goodbyes) = (Arc::clone(store), hub.clone(), clock.clone(), goodbyes.clone());
        let (interests, recorder) = (interests.clone(), recorder.clone());
        let parts = WatchParts { store, publisher, goodbyes, interests, hub, recorder, clock };
        Mailbox::start(&reading, &lifelines, move || WatchActor::new(parts, watch))
    };
    let registry = {
        let (store, reader, clock) = (Arc::clone(store), reader.clone(), clock.clone());
        let (freshness, owner, recorder) = (freshness.clone(), owner.clone(), recorder.clone());
        Mailbox::start(&writing, &lifelines, move || {
            let core = RegistryCore::new(store, reader, freshness, clock, recorder, registry);
            RegistryActor::new(core, owner)
        })
    };
    let pollers = Pollers::default();
    let consumers = {
        let parts = ConsumerParts {
            store: Arc::clone(store),
            reader: reader.clone(),
            interests: interests.clone(),
            pollers: pollers.clone(),
            hub: hub.clone(),
            clock: clock.clone(),
        };
        let owner = owner.clone();
        Mailbox::start(&writing, &lifelines, move || ConsumerActor::new(parts, consumers, owner))
    };
    let account = {
        let (store, reader, clock, freshness) =
            (Arc::clone(store), reader.clone(), clock.clone(), freshness.clone());
        Mailbox::start(&writing, &lifelines, move || {
            AccountActor::new(AccountCore::new(store, reader, freshness, clock, accounts))
        })
    };
    let lease = LeaseCore {
        store: Arc::clone(store),
        beats: beats.clone(),
        reader: reader.clone(),
        freshness: freshness.clone(),
        goodbyes,
        registry: registry.clone(),
        clock: clock.clone(),
        trouble: Trouble::default(),
    };
    let lease = Mailbox::start(&writing, &lifelines, || LeaseActor::new(lease));
    let peer = PeerCore {
        store: Arc::clone(store),
        registry: registry.clone(),
        beats: beats.clone(),
        reader: reader.clone(),
        freshness: freshness.clone(),
        contact: contact.clone(),
        recorder,
        clock: clock.clone(),
        beat_every: own_beat,
        identity,
        registered: std::cell::RefCell::default(),
        presence: std::cell::RefCell::default(),
        absence: Trouble::default(),
        has_joined: std::cell::Cell::default(),
        is_leaving: std::cell::Cell::default(),
        turn: tokio::sync::Mutex::default(),
    };
    let peer = Mailbox::start(&writing, &lifelines, || PeerActor::new(peer));
    let retire = RetireCore {
        store: Arc::clone(store),
        registry: registry.clone(),
        reader: reader.clone(),
        freshness: freshness.clone(),
        clock: clock.clone(),
        rules: retire,
        owner: owner.clone(),
    };
    let retire = Mailbox::start(&writing, &lifelines, || RetireActor::new(retire));
    let compaction = compaction.map(|rules| {
        let (store, reader, freshness, clock) =
            (Arc::clone(store), reader.clone(), freshness.clone(), clock.clone());
        Mailbox::start(&writing, &lifelines, move || {
            CompactionActor::new(store, reader, freshness, clock, rules, owner)
        })
    });
    let scrub = ScrubParts {
        store: Arc::clone(store),
        reader: reader.clone(),
        freshness: freshness.clone(),
        watch: watch.clone(),
        alarms: alarms.clone(),
        clock: clock.clone(),
        period: scrub_period,
    };
    let scrub = Mailbox::start(&comparing, &lifelines, || ScrubActor::new(scrub));
    let nodes = NodesParts {
        store: Arc::clone(store),
        reader: reader.clone(),
        freshness: freshness.clone(),
        watch: watch.clone(),
        hub: hub.clone(),
        scrub: scrub.clone(),
        alarms: alarms.clone(),
        contact: contact.clone(),
        limits: node_limits.clone(),
        clock: clock.clone(),
    };
    let nodes = Mailbox::start(&writing, &lifelines, || NodesActor::new(nodes, facts));
    (
        Actors {
            registry,
            account,
            lease,
            watch,
            hub,
            consumers,
            peer,
            retire,
            recorder: recorder_actor,
            compaction,
            scrub,
            nodes,
        },
        SharedHandles {
            reader,
            freshness,
            interests,
            pollers,
            beats,
            contact,
            node_limits,
            alarms,
            record,
            clock,
            lifelines,
        },
    )
}
