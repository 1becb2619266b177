//! Finds out whether "no space" means that a request was refused. etcd refuses a request if its quota is used up when it
//! proposes the request, or if its alarm is on when it applies the request. But if a request crosses the quota between the two,
//! etcd applies it and still says "database space exceeded". So the first such answer is checked. Once the alarm is on, the
//! answer is a refusal.

use std::sync::atomic::{AtomicBool, Ordering};

use etcd_client::{AlarmAction, AlarmType};
use futures_util::StreamExt;
use tokio::time::Instant;

use super::nodes::{Effect, Nodes};
use crate::store::port::{Key, Op, Revision, StoreError, Txn};

/// Keys read concurrently.
const LOOKS_IN_FLIGHT: usize = 16;

/// Whether etcd's alarm is known to be on.
#[derive(Debug, Default)]
pub(super) struct Space {
    alarmed: AtomicBool,
}

impl Space {
    /// Call this before a request is sent.
    pub fn is_alarmed(&self) -> bool {
        self.alarmed.load(Ordering::Relaxed)
    }

    /// Call this after a request with a put was done, which means that the alarm is off.
    pub fn has_room(&self) {
        self.alarmed.store(false, Ordering::Relaxed);
    }

    /// Whether any of these transactions may have been done, after "no space" without a known alarm. `before` is a revision
    /// seen before the request was sent.
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

/// Whether a key was put after a revision. etcd has answered the request, so this read sees the request's put if it was applied.
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
