//! "No space" is not always a refusal: etcd checks its quota before it proposes a request (refused), under its alarm as it
//! applies one (refused), but where the quota is first crossed between the two it applies the request and says "database
//! space exceeded" all the same. So the first such answer is looked into; once the alarm is on, it is a refusal.

use std::sync::atomic::{AtomicBool, Ordering};

use etcd_client::{AlarmAction, AlarmType};
use futures_util::StreamExt;
use tokio::time::Instant;

use super::nodes::{Effect, Nodes};
use crate::store::port::{Key, Op, Revision, StoreError, Txn};

/// Keys looked at, at once.
const LOOKS_IN_FLIGHT: usize = 16;

/// Whether etcd's alarm is known to be on.
#[derive(Debug, Default)]
pub(super) struct Space {
    alarmed: AtomicBool,
}

impl Space {
    /// To be asked before a request is made.
    pub fn is_alarmed(&self) -> bool {
        self.alarmed.load(Ordering::Relaxed)
    }

    /// A request that puts was done: whatever alarm there was is off.
    pub fn has_room(&self) {
        self.alarmed.store(false, Ordering::Relaxed);
    }

    /// After "no space" without a known alarm: whether any of these transactions may have been done. `before` is a
    /// revision known before the request was made.
    pub async fn may_be_written(
        &self,
        nodes: &Nodes,
        txns: &[&Txn],
        before: Revision,
        deadline: Instant,
    ) -> Result<bool, StoreError> {
        let mut looks = Vec::new();
        for op in txns.iter().flat_map(|txn| txn.then.iter().chain(&txn.otherwise)) {
            if let Op::Put { key, .. } = op {
                looks.push(is_newer(nodes.clone(), key.clone(), before, deadline));
            }
        }
        let mut looks = futures_util::stream::iter(looks).buffer_unordered(LOOKS_IN_FLIGHT);
        while let Some(newer) = looks.next().await {
            if newer? {
                return Ok(true);
            }
        }
        let alarms = nodes
            .call(Effect::Reads, deadline.saturating_duration_since(Instant::now()), |clients| async move {
                clients.maintenance.clone().alarm(AlarmAction::Get, AlarmType::Nospace, None).await
            })
            .await?;
        if alarms.alarms().iter().any(|alarm| alarm.alarm() == AlarmType::Nospace) {
            self.alarmed.store(true, Ordering::Relaxed);
        }
        Ok(false)
    }
}

/// Whether a key was put after a revision. etcd answered the request, so if it was applied, this sees it.
async fn is_newer(nodes: Nodes, key: Key, before: Revision, deadline: Instant) -> Result<bool, StoreError> {
    let limit = deadline.saturating_duration_since(Instant::now());
    let answer = nodes
        .call(Effect::Reads, limit, |clients| {
            let key = key.as_bytes().to_vec();
            let options = etcd_client::GetOptions::new().with_keys_only();
            async move { clients.kv.clone().get(key, Some(options)).await }
        })
        .await?;
    Ok(answer.kvs().iter().any(|pair| pair.mod_revision() > before))
}
