//! The record of this node: its events as pages and as a stream, the life of an instance, and what was shown earlier.

mod feed;
mod history;
mod past;

use std::sync::Arc;

use actix_http::header::{self, HeaderName};
use serde::Serialize;

use self::feed::EventFeed;
pub use self::history::{HISTORY, history};
pub use self::past::{PAST, past};
use crate::domain::shape::{Shape, Shaped as _};
use crate::domain::time::rfc3339;
use crate::domain::validate::member;
use crate::domain::validate::rule::Shown;
use crate::error::{Code, Error};
use crate::http::api::Api;
use crate::http::call::Call;
use crate::http::dto::event::RecordedEvent;
use crate::http::dto::joined::{self, member as member_shape};
use crate::http::paging::{self, PageQuery};
use crate::http::reply::Reply;
use crate::http::slices::in_time;
use crate::http::spec::{Load, Operation, Parameter, Success};
use crate::http::times;
use crate::rbac::Grant;
use crate::recorder::{CompleteSince, KindSet, Order, Query, RecordReader, ServiceFacts};

pub const LIST: Operation = Operation::new(
    "node",
    "listEvents",
    "Lists what happened to the instances and services of the tenant and to the store, as this node saw it. With `Accept: \
     text/event-stream` the events come as they happen.",
)
.with(&[
    times::parameter(
        "since",
        "Only events at this time or later: a time as RFC 3339, or a duration before now such as `15m`. A stream begins with them; \
         without `since`, it begins with the next event.",
    ),
    times::parameter("before", "Only events before this time. Not for a stream."),
    Parameter::query(
        "kind",
        "Only events of these kinds, separated by commas. `instance` stands for all kinds that begin with `instance.`.",
    )
    .matching(KINDS),
    Parameter::query("serviceId", "Only events of this service.").like(member::SERVICE_ID),
    Parameter::query("instanceId", "Only events of this instance.").like(member::INSTANCE_ID),
    Parameter::query("host", "Only events of instances whose host has this name."),
    Parameter::query("order", "`asc`: the oldest event first. `desc`: the newest first. Without it: `asc`. Not for a stream.")
        .one_of(&["", "asc", "desc"]),
    paging::LIMIT,
    paging::AFTER,
    Parameter::header(
        "Last-Event-ID",
        "For a stream: the id of the last event that the client has. The stream goes on after it if the node still knows it.",
    ),
])
.answers(Success::JsonOrEvents { page: PAGE, about: STREAM })
.for_own_pages();

macro_rules! kind {
    () => {
        concat!(
            "instance(?:\\.(?:registered|reregistered|changed|unregistered|expired|held|released|restored|deletedWithService))?",
            "|service(?:\\.(?:registered|changed|deleted|retired))?|schema(?:\\.(?:changed|deleted))?",
            "|store(?:\\.(?:relisted|lost|back))?|node(?:\\.(?:joined|left))?|record(?:\\.gap)?"
        )
    };
}

/// The names of [`EventKind`](crate::recorder::EventKind) and their groups.
const KINDS: &str = concat!("^(?:(?:", kind!(), ")(?:,(?:", kind!(), "))*)?$");

const STREAM: &str = "Server-sent events, as they happen. Each has its kind as its name, an `id` for `Last-Event-ID`, and an object like those in \
     `items` as its data. The first is `record`: since when the record is complete (`completeSince`, `completeSinceSeq`), its \
     `revision`, the address of the `node`, and whether the stream goes on after `Last-Event-ID` (`resumed`). If the node ends the \
     stream, the last is `end`, and its data is an error. A comment comes every 15 s.";

const PAGE: Shape = joined::object(
    "EventPage",
    "Events of the record of a node.",
    &[
        paging::REVISION,
        paging::TOTAL,
        paging::items("The events.", Shape::List(&RecordedEvent::SHAPE)),
        paging::NEXT,
        COMPLETE_SINCE,
        COMPLETE_SINCE_SEQ,
    ],
);

const COMPLETE_SINCE: crate::domain::shape::MemberShape = member_shape(
    "completeSince",
    "The record has every event since this time. Earlier events are missing, or lie before a gap. Left out if there is no event.",
    Shape::Text,
);
const COMPLETE_SINCE_SEQ: crate::domain::shape::MemberShape = member_shape(
    "completeSinceSeq",
    "The number of the first event since then. 0 if there is none.",
    Shape::Long,
);

/// Since when the record has every event.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Complete {
    #[serde(skip_serializing_if = "Option::is_none")]
    complete_since: Option<String>,
    complete_since_seq: u64,
}

impl From<CompleteSince> for Complete {
    fn from(since: CompleteSince) -> Self {
        let complete_since = (since.seq > 0).then(|| rfc3339(since.time));
        Self { complete_since, complete_since_seq: since.seq }
    }
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const EVENT_STREAM: &str = "text/event-stream";

/// `GET /v4/{project}/admin/events`.
pub async fn list(api: Arc<Api>, call: Call) -> Result<Reply, Error> {
    let query = query(&api, &call)?;
    if call.header(&header::ACCEPT)?.to_ascii_lowercase().contains(EVENT_STREAM) {
        if call.query("before").is_some() {
            return Err(Error::invalid(
                "the parameter 'before' is not for a stream, which goes on; leave it out",
            ));
        }
        let last_id = call.header(&LAST_EVENT_ID)?.to_owned();
        // What happened before the request is not news.
        api.record.caught_up().await;
        return Ok(Reply::events(EventFeed::open(&api, &call, query, &last_id)?));
    }
    page(&api, &call, query, |complete| complete).await
}

/// A page of the events that match. `more` makes the members besides those of each page.
async fn page<T: Serialize>(
    api: &Api,
    call: &Call,
    query: Query,
    more: impl FnOnce(Complete) -> T,
) -> Result<Reply, Error> {
    let page = PageQuery::of(call)?;
    // One more shows that another page follows.
    let query = Query { after: page.after()?, limit: page.limit + 1, ..query };
    // The caller expects what it has just done.
    api.record.caught_up().await;
    let grant = call.grant().clone();
    let found = ask(api, move |record| record.page(&query, |event| is_shown(&grant, event))).await?;
    let events = found.events.iter().map(|event| RecordedEvent::from(&**event));
    let page = page.page(api.record.revision(), found.total, events, |last| last.seq);
    api.encoded(Load::View, &page.with(more(found.complete_since.into())))
}

/// Asks the record. A question looks at all events, which takes milliseconds. So another thread answers it, one question at a time, and
/// the worker serves other requests.
async fn ask<T: Send + 'static>(
    api: &Api,
    question: impl FnOnce(&RecordReader) -> T + Send + 'static,
) -> Result<T, Error> {
    in_time(async {
        let _turn = api.turns.take().await?;
        let record = api.record.clone();
        let answer = tokio::task::spawn_blocking(move || question(&record)).await;
        answer.map_err(|error| Error::new(Code::Internal, error.to_string()))
    })
    .await
}

/// What the parameters ask for. 400001 for wrong values.
fn query(api: &Api, call: &Call) -> Result<Query, Error> {
    let now = times::now(&api.clock);
    let time = |name: &str| call.query(name).map(|text| times::read(name, &text, now)).transpose();
    let kinds = KindSet::parse(&call.query_text("kind")).map_err(|unknown| {
        Error::invalid(format!(
            "the parameter 'kind' names '{}', which is no kind of event; see /openapi.json for all kinds",
            Shown::new(&unknown)
        ))
    })?;
    let id = |name: &str, rule: &crate::domain::validate::rule::MemberRule| {
        let text = call.query(name);
        text.map(|text| rule.check(format_args!("query {name}"), &text).map(|()| text.into_owned()))
            .transpose()
    };
    let order = match &*call.query_text("order") {
        "" | "asc" => Order::OldestFirst,
        "desc" => Order::NewestFirst,
        other => {
            let shown = Shown::new(other);
            return Err(Error::invalid(format!("the parameter 'order' is '{shown}'; give 'asc' or 'desc'")));
        }
    };
    Ok(Query {
        tenant: Some(call.tenant().clone()),
        since: time("since")?,
        before: time("before")?,
        kinds,
        service: id("serviceId", &member::SERVICE_ID)?.map(Into::into),
        instance: id("instanceId", &member::INSTANCE_ID)?.map(Into::into),
        host: call.query("host").map(|host| host.as_ref().into()),
        order,
        ..Query::default()
    })
}

/// Whether a caller sees an event. Events that are about no service are for all who may read events.
fn is_shown(grant: &Grant, service: Option<&ServiceFacts>) -> bool {
    *grant == Grant::All
        || service.is_none_or(|service| grant.shows(&service.environment, &service.app_id, &service.name))
}
