//! Reads scenario files. A mistake in a file is an error, so that no step is skipped unnoticed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::matching::Order;
use super::pattern::Pattern;

/// A recorded sequence of exchanges.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Unique among all scenarios.
    pub name: String,
    /// What it shows.
    #[expect(dead_code, reason = "said in every file, for its readers")]
    about: String,
    /// The server configuration it needs.
    #[serde(default = "plain")]
    pub profile: String,
    /// Values bound from the start.
    #[serde(default, rename = "let")]
    pub lets: std::collections::BTreeMap<String, String>,
    /// The steps, in order.
    pub steps: Vec<ScenarioStep>,
    /// The folder it lies in, its topic.
    #[serde(skip)]
    pub topic: String,
}

fn plain() -> String {
    "plain".to_owned()
}

/// One step.
#[derive(Debug, Deserialize)]
#[serde(try_from = "RawStep")]
pub enum ScenarioStep {
    /// Sends a request and compares the answer. The request is repeated until the answer matches or the limit is over.
    Exchange {
        send: Send,
        expect: Expect,
        /// The limit of the repetition. Zero sends the request once.
        within: Duration,
        /// Whether the order of array items counts.
        order: Order,
    },
    /// Waits for this time.
    Sleep(Duration),
    /// Decodes a bound JWT and compares its parts.
    Jwt {
        /// The name the token is bound to.
        token: String,
        header: Pattern,
        claims: Pattern,
        /// `exp` is so many seconds in the future, with a tolerance of a minute.
        life_s: Option<f64>,
    },
    /// A step on the websocket with this name.
    Socket(String, SocketStep),
}

/// A step on a websocket.
#[derive(Debug)]
pub enum SocketStep {
    /// Connect.
    Open { path: String, headers: Vec<(String, Pattern)> },
    /// A message comes. Pings and pongs are skipped.
    Expect { message: Pattern, within: Duration },
    /// No message comes.
    Silent { period: Duration },
    /// Send a document as a text message.
    Send { message: Pattern },
    /// Close, as a well-behaved client does.
    Close,
    /// Send a ping.
    Ping { payload: String },
    /// Send a pong.
    Pong { payload: String },
    /// Send a close frame and go on reading.
    CloseFrame { code: u16, reason: String },
    /// The next frame is a ping.
    ExpectPing { payload: Option<String>, within: Duration },
    /// The next frame is a pong.
    ExpectPong { payload: Option<String>, within: Duration },
    /// The next frame is a close frame with this code. `None`: the connection ends, or the frame has no code.
    Closed { code: Option<u16>, reason: Option<String>, within: Duration },
}

/// A request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers by name; the values are texts.
    #[serde(default, deserialize_with = "members")]
    pub headers: Vec<(String, Pattern)>,
    /// A document.
    #[serde(default, deserialize_with = "present")]
    pub body: Option<Pattern>,
    /// A body that is sent as it is.
    pub raw: Option<String>,
    /// A body that is invalid UTF-8, as two hex digits for each byte.
    pub hex: Option<String>,
    /// The name of the variable that holds another server's address.
    pub at: Option<String>,
}

/// An answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The status.
    pub status: u16,
    /// By exact name: a text, a list in any order, or `null` for absent.
    #[serde(default, deserialize_with = "members")]
    pub headers: Vec<(String, Pattern)>,
    /// A document.
    #[serde(default, deserialize_with = "present")]
    pub body: Option<Pattern>,
    /// A body that is invalid JSON, or is compared byte by byte.
    pub text: Option<String>,
}

impl Scenario {
    /// Reads one file.
    pub fn load(file: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut scenario: Self =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        scenario.topic = file
            .parent()
            .and_then(Path::file_name)
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(scenario)
    }

    /// The time that the sleeps and waits of the scenario take.
    pub fn waits(&self) -> Duration {
        let wait = |step: &ScenarioStep| match step {
            ScenarioStep::Sleep(period) | ScenarioStep::Socket(_, SocketStep::Silent { period }) => *period,
            ScenarioStep::Socket(_, SocketStep::ExpectPing { within, .. }) => *within,
            _ => Duration::ZERO,
        };
        self.steps.iter().map(wait).sum()
    }
}

/// The scenarios of a set, a folder under `tests/golden` with one folder a topic, by name.
///
/// The topic `bugs` is left out. It records behavior of the reference from which this server differs on purpose.
pub fn load_set(set: &Path) -> Result<Vec<Scenario>, String> {
    let mut scenarios = Vec::new();
    for topic in entries(set)?.iter().filter(|path| path.is_dir() && !path.ends_with("bugs")) {
        for file in entries(topic)?.iter().filter(|path| path.extension().is_some_and(|end| end == "json")) {
            scenarios.push(Scenario::load(file)?);
        }
    }
    scenarios.sort_by(|a, b| a.name.cmp(&b.name));
    match scenarios.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => Err(format!("two scenarios are called {}", pair[0].name)),
        None => Ok(scenarios),
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let read =
        fs::read_dir(folder).and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect());
    read.map_err(|error: std::io::Error| format!("{}: {error}", folder.display()))
}

/// A step in a file. Its members decide which kind of step it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    send: Option<Send>,
    expect: Option<Expect>,
    within_s: Option<f64>,
    ordered: Option<bool>,
    sleep_s: Option<f64>,
    jwt: Option<String>,
    header: Option<Pattern>,
    claims: Option<Pattern>,
    life_s: Option<f64>,
    ws: Option<String>,
    #[serde(rename = "as")]
    name: Option<String>,
    path: Option<String>,
    #[serde(default, deserialize_with = "members")]
    headers: Vec<(String, Pattern)>,
    #[serde(default, deserialize_with = "present")]
    message: Option<Pattern>,
    payload: Option<String>,
    for_s: Option<f64>,
    code: Option<u16>,
    reason: Option<String>,
}

impl TryFrom<RawStep> for ScenarioStep {
    type Error = String;

    fn try_from(raw: RawStep) -> Result<Self, String> {
        const DEFAULT_SOCKET_WAIT_S: f64 = 5.0;
        if let Some(send) = raw.send {
            return Ok(Self::Exchange {
                send,
                expect: raw.expect.ok_or("`send` without `expect`")?,
                within: seconds(raw.within_s.unwrap_or(0.0))?,
                order: if raw.ordered.unwrap_or(false) { Order::Kept } else { Order::Any },
            });
        }
        if let Some(period) = raw.sleep_s {
            return Ok(Self::Sleep(seconds(period)?));
        }
        if let Some(token) = raw.jwt {
            let header = raw.header.ok_or("`jwt` without `header`")?;
            let claims = raw.claims.ok_or("`jwt` without `claims`")?;
            return Ok(Self::Jwt { token, header, claims, life_s: raw.life_s });
        }
        let kind = raw.ws.ok_or("neither `send`, `sleep_s`, `jwt` nor `ws`")?;
        let within = seconds(raw.within_s.unwrap_or(DEFAULT_SOCKET_WAIT_S))?;
        let payload = raw.payload;
        let step = match kind.as_str() {
            "open" => {
                SocketStep::Open { path: raw.path.ok_or("`open` without `path`")?, headers: raw.headers }
            }
            "expect" => {
                SocketStep::Expect { message: raw.message.ok_or("`expect` without `message`")?, within }
            }
            "silent" => SocketStep::Silent { period: seconds(raw.for_s.ok_or("`silent` without `for_s`")?)? },
            "send" => SocketStep::Send { message: raw.message.ok_or("`send` without `message`")? },
            "close" => SocketStep::Close,
            "ping" => SocketStep::Ping { payload: payload.unwrap_or_default() },
            "pong" => SocketStep::Pong { payload: payload.unwrap_or_default() },
            "close_frame" => SocketStep::CloseFrame {
                code: raw.code.ok_or("`close_frame` without `code`")?,
                reason: raw.reason.unwrap_or_default(),
            },
            "expect_ping" => SocketStep::ExpectPing { payload, within },
            "expect_pong" => SocketStep::ExpectPong { payload, within },
            "closed" => SocketStep::Closed { code: raw.code, reason: raw.reason, within },
            other => return Err(format!("no websocket step is called `{other}`")),
        };
        Ok(Self::Socket(raw.name.ok_or("`ws` without `as`")?, step))
    }
}

fn seconds(value: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(value).map_err(|error| format!("{value} seconds: {error}"))
}

/// Distinguishes a member that is `null` from a missing one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Pattern>, D::Error> {
    Pattern::deserialize(deserializer).map(Some)
}

fn members<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, Pattern)>, D::Error> {
    match Pattern::deserialize(deserializer)? {
        Pattern::Object(members) => Ok(members),
        other => Err(serde::de::Error::custom(format!("want an object, got {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(text: &str) -> Result<ScenarioStep, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_null_body_is_a_body() {
        let text = r#"{"send":{"method":"PUT","path":"/","body":null},"expect":{"status":200,"body":null}}"#;
        let Ok(ScenarioStep::Exchange { send, expect, within, order }) = step(text) else { panic!("{text}") };
        assert_eq!((send.body, expect.body), (Some(Pattern::Null), Some(Pattern::Null)));
        assert_eq!((within, order), (Duration::ZERO, Order::Any));
    }

    #[test]
    fn what_is_written_wrongly_is_told() {
        for (text, part) in [
            (r#"{"snd":{}}"#, "unknown field `snd`"),
            (
                r#"{"send":{"method":"GET","path":"/","bdy":1},"expect":{"status":200}}"#,
                "unknown field `bdy`",
            ),
            (r#"{"send":{"method":"GET","path":"/"}}"#, "`send` without `expect`"),
            (r#"{"ws":"opne","as":"w"}"#, "`opne`"),
            (r#"{"ws":"open","path":"/"}"#, "`ws` without `as`"),
            (r#"{"sleep_s":-1}"#, "-1 seconds"),
            ("{}", "neither"),
        ] {
            let why = step(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }

    #[test]
    fn waits_are_added_up() {
        let text = r#"{"name":"n","about":"","steps":[{"sleep_s":1.5},{"ws":"silent","as":"w","for_s":2}]}"#;
        let scenario: Scenario = serde_json::from_str(text).unwrap();
        assert_eq!((scenario.profile.as_str(), scenario.waits()), ("plain", Duration::from_millis(3500)));
    }
}
