//! One watch: a task reads etcd's stream as fast as it comes, a bounded buffer holds what the consumer has not taken. It
//! does not reconnect: the consumer knows the last revision it took and watches again.

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
/// After this much silence etcd is asked for a sign of life…
const QUIET: Duration = Duration::from_secs(2);
/// …and after this much more the watch is given up.
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
    // A connection of its own: what is behind a large listing or a dead connection would come late.
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
                // Full means that the last one was not even sent.
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
            // An outdated token is told as a missing permission.
            nodes.forget_stream_token();
            let mut why = format!("watch at etcd {endpoint}: {}", answer.cancel_reason);
            if answer.cancel_reason.contains("permission denied") {
                why.push_str(&format!("; it needs to read every key that begins with {prefix:?}"));
            }
            return Err(plain(WatchError::Lost(why)));
        }
        let revision = answer.header.map_or(0, |header| header.revision);
        // From a revision that was never seen it may be watched as well: that one is to come.
        if answer.created && revision < from - 1 && nodes.seen() >= from - 1 {
            ensure_reached(nodes, from - 1).await.map_err(plain)?;
        }
        nodes.saw(revision);
        // A sign of life; it must not pass for the last fragment of something.
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

/// The node says that it has not come to what was seen before. It may lag behind the others; if all of them together have
/// not come there either, they were set back.
async fn ensure_reached(nodes: &Nodes, seen: Revision) -> Result<(), WatchError> {
    let lost = |error: StoreError| WatchError::Lost(error.to_string());
    let revision = nodes.revision(nodes.call_limit()).await.map_err(lost)?;
    if revision >= seen {
        return Ok(());
    }
    nodes.was_set_back(revision);
    Err(WatchError::SetBack(revision))
}
