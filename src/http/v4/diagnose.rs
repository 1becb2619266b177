//! `GET …/admin/diagnose`: compares what this node shows with the store, entry by entry.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::actors::mailbox::ask_if_free;
use crate::actors::scrub::messages::{Compare, ComparedPage, Difference, DifferenceKind, PlaceInReport};
use crate::domain::shape::Shape;
use crate::error::{Code, Error};
use crate::http::api::{Api, refused};
use crate::http::call::Call;
use crate::http::dto::joined::{member, object};
use crate::http::paging::{self, PageQuery};
use crate::http::reply::Reply;
use crate::http::spec::{Load, Operation, Success};
use crate::rbac::Grant;

pub const DIAGNOSE: Operation = Operation::new(
    "node",
    "diagnose",
    "Compares what this node shows with the store, for all tenants, and repairs what differs. Only the tenant `default/default` may ask, and \
     an account only if it has the permission for all services.",
)
.with(&[paging::LIMIT, paging::AFTER])
.answers(Success::Json(DIAGNOSIS))
.fails_with(&[Code::Forbidden, Code::Overloaded, Code::Unavailable])
.for_own_pages();

const DIAGNOSIS: Shape = object(
    "Diagnosis",
    "What the node does not show as the store holds it. Nothing, if all is well.",
    &[
        paging::REVISION,
        paging::TOTAL,
        member("compared", "The number of entries of the store that were compared.", Shape::Long),
        member("repaired", "The number of differences that were repaired at once.", Shape::Long),
        paging::items("The differences, sorted by key. The first 10,000 are kept.", Shape::List(&DIFFERENCE)),
        paging::NEXT,
    ],
);

const DIFFERENCE: Shape = object(
    "SnapshotDifference",
    "A key of the store whose entry the node does not show as it is. An entry that changes meanwhile is looked at again before it counts.",
    &[
        member("key", "The key in the store.", Shape::Text),
        member(
            "difference",
            "`onlyHere`: the store does not have the entry. `different`. `onlyThere`: the node does not show the entry.",
            Shape::Text,
        ),
        member(
            "revisionHere",
            "The revision of the last write that the node shows, if it is known.",
            Shape::Long,
        ),
        member(
            "revisionThere",
            "The revision of the last write in the store, if it has the entry.",
            Shape::Long,
        ),
    ],
);

/// How long a request waits. With a million entries a comparison takes some seconds.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DifferenceEntry {
    key: String,
    difference: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision_here: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision_there: Option<i64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Outcome {
    compared: usize,
    repaired: usize,
}

/// `GET /v4/{project}/admin/diagnose`.
pub async fn diagnose(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    if !call.tenant().is_default() {
        let detail =
            "the comparison has the keys of all tenants, so only the tenant default/default may ask for it";
        return Err(Error::new(Code::Forbidden, detail));
    }
    if *call.grant() != Grant::All {
        let detail = "the comparison has the keys of all services, and the role permits only some; it needs a permission without labels";
        return Err(Error::new(Code::Forbidden, detail));
    }
    let page = PageQuery::of(&call)?;
    let after: Option<(u64, usize)> = page.after()?;
    let after = after.map(|(comparison, index)| PlaceInReport { comparison, index });
    let message = Compare { after, limit: page.limit };
    let ComparedPage { revision, compared, total, repaired, differences, next } =
        ask_if_free(&api.scrub, message, LIMIT).await.map_err(refused)??;
    let cursor = next.map(|PlaceInReport { comparison, index }| (comparison, index));
    let page =
        paging::page_of(revision, total, differences.into_iter().map(entry).collect::<Vec<_>>(), cursor);
    api.encoded(Load::View, &page.with(Outcome { compared, repaired }))
}

fn entry(difference: Difference) -> DifferenceEntry {
    let Difference { key, kind, here, there } = difference;
    DifferenceEntry {
        key: key.to_string(),
        difference: match kind {
            DifferenceKind::OnlyHere => "onlyHere",
            DifferenceKind::Different => "different",
            DifferenceKind::OnlyThere => "onlyThere",
        },
        revision_here: here,
        revision_there: there,
    }
}
