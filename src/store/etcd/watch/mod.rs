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
use super::failure::words;
use super::nodes::{Node, Nodes};
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
    let (why, suspect) = match follow(&nodes, &skipped, &prefix, from, &writer.0).await {
        Ok(()) => (WatchError::Lost("nobody listens".to_owned()), None),
        Err(WatchEnd { error, suspect }) => (error, suspect),
    };
    if let (WatchError::Lost(why), Some(node)) = (&why, suspect) {
        nodes.suspect(&node, why);
    }
    writer.0.end(why);
}

struct WatchEnd {
    error: WatchError,
    /// The node to look after.
    suspect: Option<Arc<Node>>,
}

async fn follow(
    nodes: &Nodes,
    skipped: &Skipped,
    prefix: &str,
    from: Revision,
    buffer: &Buffer,
) -> Result<(), WatchEnd> {
    let plain = |error: WatchError| WatchEnd { error, suspect: None };
    let node = nodes.for_streams();
    let (connector, endpoint) = (node.connector(), node.connector().endpoint());
    let lost = |why: String| WatchEnd {
        error: WatchError::Lost(format!("watch at etcd {endpoint}: {why}")),
        suspect: Some(Arc::clone(&node)),
    };
    let deadline = Instant::now() + OPEN_LIMIT;
    let token = nodes.stream_token().await.map_err(|error| plain(WatchError::Lost(error.to_string())))?;
    // A connection of its own, so that the events do not wait behind a large listing or on a dead connection.
    let channel = connector.channel().map_err(|error| plain(WatchError::Lost(error.0)))?;
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
    let opened = timeout_at(deadline, wire::open(channel, wire::WATCH, token, queue)).await;
    let mut stream: Streaming<WatchResponse> = match opened {
        Ok(Ok(stream)) => stream,
        Ok(Err(status)) => {
            nodes.forget_stream_token();
            return Err(lost(connector.explained(words(&status))));
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
            Err(status) => {
                nodes.forget_stream_token();
                return Err(lost(connector.explained(words(&status))));
            }
        };
        if answer.compact_revision != 0 {
            return Err(plain(WatchError::Compacted));
        }
        if answer.canceled {
            // For an outdated token etcd reports a missing permission.
            nodes.forget_stream_token();
            let mut why = format!("watch at etcd {endpoint}: {}", answer.cancel_reason);
            if answer.cancel_reason.contains("permission denied") {
                why.push_str(&format!("; the watch needs to read every key that begins with {prefix:?}"));
            }
            return Err(plain(WatchError::Lost(why)));
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
