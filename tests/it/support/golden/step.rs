//! One step of a scenario: does it and compares. Only the replay calls this.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::holes::{Bindings, fill, match_text, shown};
use super::matching::{Mismatch, Order, match_value};
use super::pattern::Pattern;
use super::scenario::{Expect, ScenarioStep, Send, SocketStep};
use crate::support::eventually::{Deadline, GENEROUS};
use crate::support::http::{Client, Request, Response};
use crate::support::ws::{Frame, WebSocket, WsError};

/// Pause before a request is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Tolerance for the claim `exp`, in seconds.
const LIFE_TOLERANCE_S: f64 = 60.0;
/// The state of a running scenario.
pub(super) struct Session {
    server: Client,
    bindings: Bindings,
    sockets: BTreeMap<String, WebSocket>,
    /// Whether the step before this one was a sleep.
    has_slept: bool,
}

impl Session {
    pub(super) fn new(server: Client, bindings: Bindings) -> Self {
        Self { server, bindings, sockets: BTreeMap::new(), has_slept: false }
    }

    /// Does one step.
    ///
    /// The limits of a recording are those of the machine it was made on. Here each is at least [`GENEROUS`]: a busy machine
    /// may need longer, and a step ends as soon as its answer comes. A recording sleeps before a read so that the change before
    /// it is visible. Such a read gets the same limit.
    pub(super) fn perform(&mut self, step: &ScenarioStep) -> Result<(), Mismatch> {
        let has_slept = std::mem::replace(&mut self.has_slept, matches!(step, ScenarioStep::Sleep(_)));
        match step {
            ScenarioStep::Exchange { send, expect, within, order } => {
                let is_repeated = !within.is_zero() || (has_slept && send.method == "GET");
                let within = if is_repeated { GENEROUS.max(*within) } else { Duration::ZERO };
                self.exchange(send, expect, within, *order)
            }
            ScenarioStep::Sleep(period) => {
                thread::sleep(*period);
                Ok(())
            }
            ScenarioStep::Jwt { token, header, claims, life_s } => {
                self.compare_jwt(token, header, claims, *life_s)
            }
            ScenarioStep::Socket(name, step) => self.socket(name, step),
        }
    }

    fn exchange(
        &mut self,
        send: &Send,
        expect: &Expect,
        within: Duration,
        order: Order,
    ) -> Result<(), Mismatch> {
        let request = self.request(send)?;
        let server = match &send.at {
            Some(name) => Client::new(self.address_in(name)?),
            None => self.server.clone(),
        };
        let deadline = Deadline::after(within);
        loop {
            let response = server.send(&request).map_err(|error| Mismatch(error.to_string()))?;
            let mut trial = self.bindings.clone();
            match compare(expect, &response, &mut trial, order) {
                Ok(()) => {
                    self.bindings = trial;
                    return Ok(());
                }
                Err(mismatch) if deadline.has_passed() => return Err(mismatch),
                Err(_) => thread::sleep(RETRY_PAUSE),
            }
        }
    }

    fn request(&self, send: &Send) -> Result<Request, Mismatch> {
        let mut request = Request::new(&send.method, &self.fill(&send.path));
        request.headers = self.filled_headers(&send.headers)?;
        request.body = if let Some(raw) = &send.raw {
            Some(self.fill(raw).into_bytes())
        } else if let Some(hex) = &send.hex {
            Some(bytes_of_hex(hex).ok_or_else(|| Mismatch(format!("{hex:?} is no hex")))?)
        } else {
            send.body.as_ref().map(|body| self.filled(body).into_bytes())
        };
        if request.body.is_some() && !request.has_header("Content-Type") {
            request = request.header("Content-Type", "application/json");
        }
        Ok(request)
    }

    fn fill(&self, text: &str) -> String {
        fill(text, &self.bindings)
    }

    fn filled(&self, pattern: &Pattern) -> String {
        pattern.map_texts(&|text| self.fill(text)).to_string()
    }

    fn filled_headers(&self, headers: &[(String, Pattern)]) -> Result<Vec<(String, String)>, Mismatch> {
        let filled = headers.iter().map(|(name, value)| match value {
            Pattern::Text(text) => Ok((name.clone(), self.fill(text))),
            other => Err(Mismatch(format!("header {name} is no text: {other}"))),
        });
        filled.collect()
    }

    fn address_in(&self, name: &str) -> Result<SocketAddr, Mismatch> {
        let url = self.bindings.get(name).ok_or_else(|| Mismatch(format!("`at`: {name} is not bound")))?;
        let address = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        address.parse().map_err(|error| Mismatch(format!("`at`: {name} = {url:?}: {error}")))
    }

    fn compare_jwt(
        &mut self,
        token: &str,
        header: &Pattern,
        claims: &Pattern,
        life_s: Option<f64>,
    ) -> Result<(), Mismatch> {
        let token = self.bindings.get(token).ok_or_else(|| Mismatch(format!("{token} is not bound")))?;
        let mut parts = token.split('.').map(|part| -> Result<Value, Mismatch> {
            let bytes =
                URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).map_err(|e| Mismatch(e.to_string()))?;
            serde_json::from_slice(&bytes).map_err(|error| Mismatch(error.to_string()))
        });
        let mut next =
            || parts.next().unwrap_or_else(|| Err(Mismatch("the token has too few parts".to_owned())));
        let (got_header, got_claims) = (next()?, next()?);
        match_value(header, &got_header, &mut self.bindings, "header", Order::Any)?;
        match_value(claims, &got_claims, &mut self.bindings, "claims", Order::Any)?;
        if let Some(want) = life_s {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
            let got = got_claims["exp"].as_f64().unwrap_or(0.0) - now;
            if (got - want).abs() > LIFE_TOLERANCE_S {
                return Err(Mismatch(format!("claims/exp: want {want} s from now, got {got:.0} s")));
            }
        }
        Ok(())
    }

    fn socket(&mut self, name: &str, step: &SocketStep) -> Result<(), Mismatch> {
        let broken = |error: WsError| Mismatch(format!("{name}: {error}"));
        if let SocketStep::Open { path, headers } = step {
            let headers = self.filled_headers(headers)?;
            let socket =
                WebSocket::open(self.server.address(), &self.fill(path), &headers).map_err(broken)?;
            self.sockets.insert(name.to_owned(), socket);
            return Ok(());
        }
        let bindings = &mut self.bindings;
        let socket = self.sockets.get_mut(name).ok_or_else(|| Mismatch(format!("{name} is not open")))?;
        match step {
            SocketStep::Open { .. } => Ok(()), // done above
            SocketStep::Expect { message, within } => {
                let text = socket.expect_text(GENEROUS.max(*within)).map_err(broken)?;
                let got = serde_json::from_str(&text).unwrap_or(Value::String(text));
                match_value(message, &got, bindings, name, Order::Any)
            }
            SocketStep::Silent { period } => match socket.next_data(*period) {
                Err(WsError::TimedOut) => Ok(()),
                Err(error) => Err(broken(error)),
                Ok(frame) => Err(Mismatch(format!("{name}: want silence, got {frame:?}"))),
            },
            SocketStep::Send { message } => {
                let text = message.map_texts(&|text| fill(text, bindings)).to_string();
                socket.send_text(&text).map_err(broken)
            }
            SocketStep::Close => {
                socket.close(1000, "").map_err(broken)?;
                while !matches!(socket.next_data(GENEROUS), Ok(Frame::Close(_)) | Err(_)) {}
                self.sockets.remove(name);
                Ok(())
            }
            SocketStep::Ping { payload } => socket.ping(fill(payload, bindings).as_bytes()).map_err(broken),
            SocketStep::Pong { payload } => socket.pong(fill(payload, bindings).as_bytes()).map_err(broken),
            SocketStep::CloseFrame { code, reason } => {
                socket.close(*code, &fill(reason, bindings)).map_err(broken)
            }
            SocketStep::ExpectPing { payload, within } => {
                match socket.next_frame(GENEROUS.max(*within)).map_err(broken)? {
                    Frame::Ping(got) => match_payload(payload.as_deref(), &got, bindings, name),
                    other => Err(Mismatch(format!("{name}: want a ping, got {other:?}"))),
                }
            }
            SocketStep::ExpectPong { payload, within } => {
                match socket.next_frame(GENEROUS.max(*within)).map_err(broken)? {
                    Frame::Pong(got) => match_payload(payload.as_deref(), &got, bindings, name),
                    other => Err(Mismatch(format!("{name}: want a pong, got {other:?}"))),
                }
            }
            SocketStep::Closed { code, reason, within } => {
                match (socket.next_frame(GENEROUS.max(*within)), code) {
                    (Err(WsError::Dropped(_)), None) => Ok(()),
                    (Ok(Frame::Close(close)), code) => {
                        let (got_code, got_reason) =
                            close.map_or((None, String::new()), |(code, why)| (Some(code), why));
                        if got_code != *code {
                            return Err(Mismatch(format!(
                                "{name} close code: want {code:?}, got {got_code:?}"
                            )));
                        }
                        let at = format!("{name} close reason");
                        reason
                            .as_ref()
                            .map_or(Ok(()), |reason| match_text(reason, &got_reason, bindings, &at))
                    }
                    (Ok(other), _) => Err(Mismatch(format!("{name}: want a close frame, got {other:?}"))),
                    (Err(error), _) => Err(broken(error)),
                }
            }
        }
    }
}

fn match_payload(
    want: Option<&str>,
    got: &[u8],
    bindings: &mut Bindings,
    name: &str,
) -> Result<(), Mismatch> {
    let got = String::from_utf8_lossy(got);
    want.map_or(Ok(()), |want| match_text(want, &got, bindings, &format!("{name} payload")))
}

fn compare(
    expect: &Expect,
    response: &Response,
    bindings: &mut Bindings,
    order: Order,
) -> Result<(), Mismatch> {
    if response.status != expect.status {
        let body = shown(&response.text());
        return Err(Mismatch(format!("status: want {}, got {} {body}", expect.status, response.status)));
    }
    for (name, want) in &expect.headers {
        compare_header(name, want, response, bindings)?;
    }
    if expect.body.is_none() && expect.text.is_none() {
        return Ok(());
    }
    let body = response.decoded_body().map_err(Mismatch)?;
    let text = String::from_utf8_lossy(&body);
    if let Some(want) = &expect.body {
        let got = serde_json::from_slice(&body)
            .map_err(|_| Mismatch(format!("body is no JSON: {}", shown(&text))))?;
        return match_value(want, &got, bindings, "body", order);
    }
    expect.text.as_ref().map_or(Ok(()), |want| match_text(want, &text, bindings, "text"))
}

fn compare_header(
    name: &str,
    want: &Pattern,
    response: &Response,
    bindings: &mut Bindings,
) -> Result<(), Mismatch> {
    let at = format!("header {name}");
    if *want == Pattern::Null {
        let absent = response.header(name).is_none();
        return if absent { Ok(()) } else { Err(Mismatch(format!("{at} must be absent"))) };
    }
    let Some(got) = response.joined_header(name) else {
        let names: Vec<&String> = response.headers.iter().map(|(name, _)| name).collect();
        return Err(Mismatch(format!("{at} is missing (its case counts); got {names:?}")));
    };
    match want {
        Pattern::Array(_) => {
            let got = Value::Array(got.split(',').map(|item| Value::from(item.trim())).collect());
            match_value(want, &got, bindings, &at, Order::Any)
        }
        Pattern::Text(want) if name == "Allow" => {
            match_text(&sorted_list(want), &sorted_list(&got), bindings, &at)
        }
        Pattern::Text(want) => match_text(want, &got, bindings, &at),
        other => Err(Mismatch(format!("{at}: {other} is no text, list or null"))),
    }
}

/// The items of a comma list in alphabetical order: the methods of `Allow` come in any.
fn sorted_list(list: &str) -> String {
    let mut items: Vec<&str> = list.split(',').map(str::trim).collect();
    items.sort_unstable();
    items.join(", ")
}

fn bytes_of_hex(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = hex
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16))
        .map(|d| u8::try_from(d?).ok())
        .collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
