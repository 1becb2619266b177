//! Judges a lease that blocked its stream. It does two things concurrently: it renews the lease on a stream of its own, which
//! etcd answers when it has revoked the lease or found it alive, and it asks for the lease's remaining time, which etcd answers
//! at once. The lane gets the first answer, and for an expired lease the answer to the renewal later.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::news::{News, Verdict};
use crate::store::etcd::failure::words;
use crate::store::etcd::login::Authorized;
use crate::store::etcd::nodes::{Effect, Nodes};
use crate::store::etcd::wire::{self, LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use crate::store::port::LeaseId;

/// The limit of the renewal. etcd revokes an expired lease sooner, unless thousands expired with it.
const RENEWAL_LIMIT: Duration = Duration::from_secs(20);
/// The question is sent after this delay. A renewal that was only slow is answered by then.
const QUESTION_AFTER: Duration = Duration::from_millis(100);

/// Sends verdicts to the lane until one is final.
pub(super) async fn judge(nodes: Nodes, channel: Authorized, lease: LeaseId, news: mpsc::Sender<News>) {
    let tell = |verdict: Verdict| news.send(News::Judged { lease, verdict });
    let mut renewal = pin!(renew(channel, lease));
    let question = async {
        sleep(QUESTION_AFTER).await;
        ask(&nodes, lease).await
    };
    let first = tokio::select! {
        verdict = &mut renewal => verdict,
        verdict = question => verdict,
    };
    let is_expired = first == Verdict::Expired;
    // An error means that the lane has ended.
    drop(tell(first).await);
    if is_expired {
        drop(tell(renewal.await).await);
    }
}

async fn renew(channel: Authorized, lease: LeaseId) -> Verdict {
    let (requests, queue) = mpsc::channel(1);
    drop(requests.try_send(LeaseKeepAliveRequest { id: lease.0 }));
    let attempt = async {
        let mut answers = wire::open::<_, LeaseKeepAliveResponse>(channel, wire::KEEP_ALIVE, queue)
            .await
            .map_err(|status| words(&status))?;
        answers.message().await.map_err(|status| words(&status))
    };
    match timeout(RENEWAL_LIMIT, attempt).await {
        Ok(Ok(Some(answer))) if answer.ttl > 0 => Verdict::Renewed(answer.ttl),
        Ok(Ok(Some(_))) => Verdict::Gone,
        Ok(Ok(None)) => Verdict::NoAnswer("etcd ended the stream of the renewal".to_owned()),
        Ok(Err(why)) => Verdict::NoAnswer(why),
        Err(_) => Verdict::NoAnswer(format!("the renewal was not answered within {RENEWAL_LIMIT:?}")),
    }
}

async fn ask(nodes: &Nodes, lease: LeaseId) -> Verdict {
    let question = nodes
        .call(Effect::Reads, nodes.probe_limit(), |clients| async move {
            clients.lease.clone().time_to_live(lease.0, None).await
        })
        .await;
    match question {
        // A lease that does not exist has no granted TTL. Its remaining time may be -1, like that of an expired lease.
        Ok(answer) if answer.granted_ttl() == 0 => Verdict::Gone,
        Ok(answer) if answer.ttl() > 0 => Verdict::Alive,
        Ok(_) => Verdict::Expired,
        Err(error) => Verdict::NoAnswer(error.to_string()),
    }
}
