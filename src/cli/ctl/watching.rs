//! Follows the events of a node: one line for each, and a line for events that are missing.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{CallError, EventStream, StreamedEvent};
use super::event_line;
use super::failure::{DENIED, Failure, OVERLOADED, UNREACHABLE};
use super::output::shown;
use super::session::{Session, queried};

/// Waits before the first and before later tries to connect again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// A stream of events that goes on after a lost connection.
pub struct Watch {
    /// Of `admin/events`, without the time from which on.
    query: Vec<(&'static str, String)>,
    stream: EventStream,
    /// The id of the last event. The node that gave it knows where to go on.
    last_id: Option<String>,
    /// The time of the last event, for a node that does not know its id.
    last_time: Option<String>,
    has_begun: bool,
}

impl Watch {
    /// `since` is empty for the events from now on.
    pub async fn open(
        session: &mut Session<'_, '_>,
        query: Vec<(&'static str, String)>,
        since: String,
    ) -> Result<Self, Failure> {
        let mut first = query.clone();
        first.push(("since", since));
        let stream = session.stream(&format!("admin/events{}", queried(&first)), None).await?;
        Ok(Self { query, stream, last_id: None, last_time: None, has_begun: false })
    }

    /// Prints events until the process is ended, or until the node refuses to go on. With services: only events of these.
    pub async fn follow(mut self, session: &mut Session<'_, '_>, services: &[String]) -> Result<(), Failure> {
        loop {
            let why = match self.stream.next().await {
                Ok(event) if event.kind == "end" => {
                    let data = parsed(&event);
                    format!("{}: {}", shown(&data, "/errorMessage"), shown(&data, "/detail"))
                }
                Ok(event) => {
                    self.take(session, services, &event);
                    continue;
                }
                Err(why) => why,
            };
            session.note(&format!("the connection to {} is lost: {why}; trying again", self.stream.address));
            self.stream = self.reopen(session).await?;
        }
    }

    async fn reopen(&self, session: &mut Session<'_, '_>) -> Result<EventStream, Failure> {
        let mut query = self.query.clone();
        query.extend(self.last_time.clone().map(|time| ("since", time)));
        let path = format!("admin/events{}", queried(&query));
        let mut wait = FIRST_WAIT;
        loop {
            match session.stream(&path, self.last_id.as_deref()).await {
                Ok(stream) => {
                    session.note(&format!("connected to {} again", stream.address));
                    return Ok(stream);
                }
                Err(error) => {
                    let failure = Failure::from(error.clone());
                    let may_pass = matches!(failure.code, UNREACHABLE | OVERLOADED)
                        && !matches!(&error, CallError::Refused(refusal) if refusal.status == 404);
                    if !may_pass || failure.code == DENIED {
                        return Err(failure);
                    }
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn take(&mut self, session: &mut Session<'_, '_>, services: &[String], event: &StreamedEvent) {
        let data = parsed(event);
        if !event.id.is_empty() {
            self.last_id = Some(event.id.clone());
        }
        if event.kind == "record" {
            self.begin(session, &data);
            return;
        }
        self.last_time = Some(shown(&data, "/time"));
        if services.is_empty() || services.contains(&shown(&data, "/service/serviceId")) {
            event_line::print(session, &data);
        }
    }

    /// The first event of a connection says whether the node goes on after the last event.
    fn begin(&mut self, session: &mut Session<'_, '_>, record: &Value) {
        let is_resumed = record.get("resumed") == Some(&Value::Bool(true));
        if self.has_begun && !is_resumed {
            let detail = format!(
                "{} does not know the last event; events may be missing, or come again",
                shown(record, "/node")
            );
            let gap =
                json!({"kind": "record.gap", "time": shown(record, "/completeSince"), "detail": detail});
            event_line::print(session, &gap);
        }
        self.has_begun = true;
    }
}

fn parsed(event: &StreamedEvent) -> Value {
    serde_json::from_str(&event.data).unwrap_or_default()
}
