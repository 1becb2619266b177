//! One watch: a task reads etcd's stream as fast as it can, and a bounded buffer holds the events until the consumer takes them.
//! The task does not reconnect. The consumer knows the last revision it took and watches again.

mod assembler;
mod buffer;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::Streaming;

use self::assembler::Assembler;
use self::buffer::Pushed;
pub(super) use self::buffer::{Buffer, Writer};
use super::entries::{Skipped, prefix_end, prefix_start};
use super::failure::{Failure, of_status, words};
use super::login::Token;
use super::nodes::{Node, Nodes, describe};
use super::wire::{
    self, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchRequestUnion, WatchResponse,
};
use crate::store::port::{Revision, StoreError, WatchError};

/// etcd must confirm a watch within this time.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// After this much silence the task asks etcd for its progress.
const QUIET: Duration = Duration::from_secs(2);
/// If etcd does not answer that within this time, the watch ends.
const SILENT: Duration = Duration::from_secs(3);

/// Reads the stream until it ends, the buffer overflows or nobody listens.
pub(super) async fn read(
    nodes: Nodes,
    skipped: Arc<Skipped>,
    prefix: String,
    from: Revision,
    writer: Writer,
) {
    let mut ended = follow(&nodes, &skipped, &prefix, from, &writer.0).await;
    if let Err(WatchEnd { cause: WatchBreak::StaleToken(node, token), .. }) = &ended
        && nodes.renew(node, token).await.is_ok()
    {
        // Nothing has come yet.
        ended = follow(&nodes, &skipped, &prefix, from, &writer.0).await;
    }
    let why = match ended {
        Ok(()) => WatchError::Lost("nobody listens".to_owned()),
        Err(WatchEnd { error, cause }) => {
            if let (WatchError::Lost(why), WatchBreak::Node(node)) = (&error, cause) {
                nodes.suspect(&node, why);
            }
            error
        }
    };
    writer.0.end(why);
}

struct WatchEnd {
    error: WatchError,
    cause: WatchBreak,
}

enum WatchBreak {
    /// The node, which is to be looked after.
    Node(Arc<Node>),
    /// The node did not accept this token, or the user lacks a permission. Nothing has come.
    StaleToken(Arc<Node>, Arc<Token>),
    Other,
}

async fn follow(
    nodes: &Nodes,
    skipped: &Skipped,
    prefix: &str,
    from: Revision,
    buffer: &Buffer,
) -> Result<(), WatchEnd> {
    let plain = |error: WatchError| WatchEnd { error, cause: WatchBreak::Other };
    let node = nodes.for_streams();
    let (connector, endpoint) = (node.connector(), node.connector().endpoint());
    let lost = |why: String| WatchEnd {
        error: WatchError::Lost(format!("watch at etcd {endpoint}: {why}")),
        cause: WatchBreak::Node(Arc::clone(&node)),
    };
    let deadline = Instant::now() + OPEN_LIMIT;
    let token = nodes.logged_in(&node).await.map_err(|failure| lost(describe(&failure)))?;
    let stale = |error: WatchError| WatchEnd {
        error,
        cause: WatchBreak::StaleToken(Arc::clone(&node), Arc::clone(&token)),
    };
    // A connection of its own, so that the events do not wait behind a large listing or on a dead connection.
    let channel = node.channel().map_err(|error| plain(WatchError::Lost(error.0)))?;
    let (requests, queue) = mpsc::channel(4);
    let create = WatchCreateRequest {
        key: prefix_start(prefix),
        range_end: prefix_end(prefix.as_bytes()),
        // 0 would mean "from now on".
        start_revision: from.max(1),
        progress_notify: true,
        fragment: true,
    };
    drop(requests.try_send(WatchRequest { request: Some(WatchRequestUnion::Create(create)) }));
    let opened = timeout_at(deadline, wire::open(channel, wire::WATCH, queue)).await;
    let mut stream: Streaming<WatchResponse> = match opened {
        Ok(Ok(stream)) => stream,
        Ok(Err(status)) => {
            let ended = lost(connector.explained(words(&status)));
            let is_stale = matches!(of_status(&status), Failure::StaleToken(_));
            return Err(if is_stale { stale(ended.error) } else { ended });
        }
        Err(_) => return Err(lost(format!("no answer within {OPEN_LIMIT:?}"))),
    };
    let mut assembler = Assembler::new(from);
    loop {
        let answer = match timeout(QUIET, stream.message()).await {
            Ok(answer) => answer,
            Err(_) => {
                // If the queue is full, the last request is not sent yet, so another one is not needed.
                let progress = WatchRequestUnion::Progress(WatchProgressRequest {});
                drop(requests.try_send(WatchRequest { request: Some(progress) }));
                match timeout(SILENT, stream.message()).await {
                    Ok(answer) => answer,
                    Err(_) => return Err(lost(format!("silent for {:?}", QUIET + SILENT))),
                }
            }
        };
        let answer = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => return Err(lost("ended".to_owned())),
            Err(status) => return Err(lost(connector.explained(words(&status)))),
        };
        if answer.compact_revision != 0 {
            return Err(plain(WatchError::Compacted));
        }
        if answer.canceled {
            let mut why = format!("watch at etcd {endpoint}: {}", answer.cancel_reason);
            if answer.cancel_reason.contains("permission denied") {
                why.push_str(&format!("; the watch needs to read every key that begins with {prefix:?}"));
            }
            let error = WatchError::Lost(why);
            // etcd 3.4 tells an outdated token as a missing permission.
            return Err(if answer.created { stale(error) } else { plain(error) });
        }
        let revision = answer.header.map_or(0, |header| header.revision);
        // A watch may also start at a revision that this process has not seen yet, because it is still to come.
        if answer.created && revision < from - 1 && nodes.seen() >= from - 1 {
            ensure_reached(nodes, from - 1).await.map_err(plain)?;
        }
        nodes.saw(revision);
        // A progress notice. It must not count as the last fragment of a revision.
        if answer.events.is_empty() {
            continue;
        }
        let whole = assembler.take(answer.events, answer.fragment, skipped).map_err(plain)?;
        match buffer.push(whole) {
            Pushed::Taken => {}
            Pushed::NobodyListens => return Ok(()),
            Pushed::TooMuch => return Err(plain(WatchError::Compacted)),
        }
    }
}

/// Called when a node's revision is below a revision seen before. The node may lag behind the others. If the linearizable
/// revision is below it too, the store was set back.
async fn ensure_reached(nodes: &Nodes, seen: Revision) -> Result<(), WatchError> {
    let lost = |error: StoreError| WatchError::Lost(error.to_string());
    let revision = nodes.revision(nodes.call_limit()).await.map_err(lost)?;
    if revision >= seen {
        return Ok(());
    }
    nodes.was_set_back(revision);
    Err(WatchError::SetBack(revision))
}
