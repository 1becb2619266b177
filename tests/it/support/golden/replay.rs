//! Replays scenarios against a running server.

use std::fmt;

use rand::Rng as _;
use serde_json::{Value, json};

use super::holes::Bindings;
use super::matching::Mismatch;
use super::scenario::{Scenario, ScenarioStep};
use super::step::Session;
use crate::support::http::{Client, Request};

/// How many instances the ballast holds.
const BALLAST: usize = 300;

/// The step at which a scenario went another way, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its number, from 0.
    pub step: usize,
    /// What it did.
    pub action: String,
    /// What differed.
    pub mismatch: Mismatch,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}: {}\n    {}", self.step, self.action, self.mismatch)
    }
}

/// Runs the steps in order up to the first that differs.
pub fn replay(server: &Client, scenario: &Scenario) -> Result<(), Difference> {
    let mut bindings = fresh_bindings(server);
    bindings.extend(scenario.lets.clone());
    let mut session = Session::new(server.clone(), bindings);
    for (number, step) in scenario.steps.iter().enumerate() {
        session.perform(step).map_err(|mismatch| Difference {
            step: number,
            action: describe(step),
            mismatch,
        })?;
    }
    Ok(())
}

/// Registers 300 long-lived instances in a domain of their own, once a registry: else the expiry of what the scenarios
/// leave behind could be most of what the server knows, and it would protect itself and go on showing dead instances.
///
/// A server that refuses (a quota, access control) goes without: its scenarios do not wait for an expiry.
pub fn hold_ballast(client: &Client) -> Result<(), String> {
    const SERVICES: &str = "/v4/default/registry/microservices";
    let call = |method: &str, target: &str, body: Option<Value>| {
        let request = Request::new(method, target).header("X-Domain-Name", "golden-ballast");
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        client.send(&request).map_err(|error| format!("{method} {target}: {error}"))
    };
    let created = call("POST", SERVICES, Some(json!({"service": {"serviceName": "ballast"}})))?;
    let Some(service) = serde_json::from_slice::<Value>(&created.body).ok().filter(|_| created.status == 200)
    else {
        return Ok(());
    };
    let instances = format!("{SERVICES}/{}/instances", service["serviceId"].as_str().unwrap_or_default());
    if call("PUT", &format!("{instances}/b{}/heartbeat", BALLAST - 1), None)?.status == 200 {
        return Ok(());
    }
    for number in 0..BALLAST {
        let check = json!({"mode": "push", "interval": 86400, "times": 3});
        let instance = json!({"instanceId": format!("b{number}"), "hostName": "b", "healthCheck": check});
        if call("POST", &instances, Some(json!({"instance": instance})))?.status != 200 {
            return Ok(());
        }
    }
    Ok(())
}

fn fresh_bindings(server: &Client) -> Bindings {
    let (scheme, server) = (server.scheme(), server.address());
    let mut random = rand::rng();
    let run = format!("{:08x}", random.random::<u32>());
    let ip: Vec<String> = (0..3).map(|_| random.random_range(1..=250).to_string()).collect();
    Bindings::from([
        ("run".to_owned(), run),
        ("ip".to_owned(), format!("10.{}", ip.join("."))),
        ("url".to_owned(), format!("{scheme}://{server}")),
        ("host".to_owned(), server.ip().to_string()),
        ("port".to_owned(), server.port().to_string()),
    ])
}

fn describe(step: &ScenarioStep) -> String {
    const SHOWN_CHARS: usize = 200;
    let text = match step {
        ScenarioStep::Exchange { send, .. } => {
            let body =
                send.body.as_ref().map(ToString::to_string).or_else(|| send.raw.clone()).unwrap_or_default();
            format!("{} {} {body}", send.method, send.path)
        }
        other => format!("{other:?}"),
    };
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use tungstenite::Message;

    use super::*;
    use crate::support::eventually::GENEROUS;

    type Turn = Box<dyn FnOnce(TcpStream) + Send>;

    /// Replays the steps against a server that takes one connection a turn.
    fn outcome(steps: &str, turns: Vec<Turn>) -> Result<(), Difference> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            for turn in turns {
                turn(listener.accept().unwrap().0);
            }
        });
        let text = format!(r#"{{"name":"n","about":"a","let":{{"v":"1"}},"steps":[{steps}]}}"#);
        let outcome = replay(&Client::new(address), &serde_json::from_str(&text).unwrap());
        server.join().unwrap();
        outcome
    }

    /// Reads one request, whose head (and body) must begin with this, and answers.
    fn answer(begin: &'static str, head: &'static str, body: &'static str) -> Turn {
        Box::new(move |mut stream| {
            stream.set_read_timeout(Some(GENEROUS)).unwrap();
            let mut buffer = vec![0; 65536];
            let count = stream.read(&mut buffer).unwrap();
            let got = String::from_utf8_lossy(&buffer[..count]).into_owned();
            assert!(got.starts_with(begin), "{got}");
            write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        })
    }

    fn talk(script: impl FnOnce(&mut tungstenite::WebSocket<TcpStream>) + Send + 'static) -> Turn {
        Box::new(move |stream| {
            stream.set_read_timeout(Some(GENEROUS)).unwrap();
            script(&mut tungstenite::accept(stream).unwrap());
        })
    }

    #[test]
    fn what_one_answer_binds_the_next_request_sends() {
        let steps = r#"
            {"send":{"method":"POST","path":"/a","body":{"n":"x-${v}"}},
             "expect":{"status":200,"headers":{"X-A":"1","Allow":"GET, POST","V":["b","a"],"Gone":null},"body":{"id":"${id:hex32}"}}},
            {"send":{"method":"GET","path":"/b/${id}"},"expect":{"status":404,"text":"no ${id}"}}"#;
        let id = "\"id\":\"0123456789abcdef0123456789abcdef\"";
        let first = answer(
            "POST /a HTTP/1.1\r\n",
            "200 OK\r\nX-A: 1\r\nAllow: POST,GET\r\nV: a, b",
            "{\"id\":\"0123456789abcdef0123456789abcdef\"}",
        );
        let second = answer(
            "GET /b/0123456789abcdef0123456789abcdef HTTP",
            "404 Not Found",
            "no 0123456789abcdef0123456789abcdef",
        );
        assert_eq!(outcome(steps, vec![first, second]), Ok(()), "{id}");
    }

    #[test]
    fn a_difference_names_step_request_and_place() {
        let steps = r#"
            {"sleep_s":0},
            {"send":{"method":"POST","path":"/x"},"expect":{"status":200,"headers":{"X-a":"1"}}}"#;
        let difference = outcome(steps, vec![answer("POST", "200 OK\r\nX-A: 1", "")]).unwrap_err();
        let text = difference.to_string();
        assert!(
            text.starts_with("step 1: POST /x \n    header X-a is missing (its case counts); got [\"X-A\""),
            "{text}"
        );
        let steps = r#"{"send":{"method":"GET","path":"/x"},"expect":{"status":200}}"#;
        let text = outcome(steps, vec![answer("GET", "500 Oh", "why")]).unwrap_err().to_string();
        assert!(text.ends_with("status: want 200, got 500 \"why\""), "{text}");
    }

    #[test]
    fn a_request_is_repeated_until_its_answer_matches() {
        let steps =
            r#"{"send":{"method":"GET","path":"/"},"expect":{"status":200,"body":[1]},"within_s":60}"#;
        let turns =
            vec![answer("GET", "503 No", ""), answer("GET", "200 OK", "[]"), answer("GET", "200 OK", "[1]")];
        assert_eq!(outcome(steps, turns), Ok(()));
    }

    #[test]
    fn a_request_goes_to_another_server() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let server = thread::spawn(move || answer("GET /there", "200 OK", "")(other.accept().unwrap().0));
        let text = format!(
            r#"{{"name":"n","about":"a","let":{{"far":"http://{address}"}},
                "steps":[{{"send":{{"at":"far","method":"GET","path":"/there"}},"expect":{{"status":200}}}}]}}"#
        );
        let nowhere = Client::new("127.0.0.1:1".parse().unwrap());
        assert_eq!(replay(&nowhere, &serde_json::from_str(&text).unwrap()), Ok(()));
        server.join().unwrap();
    }

    #[test]
    fn websockets_show_all_their_frames() {
        let steps = r#"
            {"ws":"open","as":"w","path":"/w?x=${v}","headers":{"X-H":"h${v}"}},
            {"ws":"silent","as":"w","for_s":0.05},
            {"ws":"send","as":"w","message":{"a":"${v}"}},
            {"ws":"expect","as":"w","within_s":60,"message":{"k":"${k:str}"}},
            {"ws":"ping","as":"w","payload":"p"},
            {"ws":"expect_pong","as":"w","within_s":60,"payload":"p"},
            {"ws":"expect_ping","as":"w","within_s":60,"payload":"${k}"},
            {"ws":"pong","as":"w"},
            {"ws":"expect","as":"w","within_s":60,"message":"no JSON"},
            {"ws":"closed","as":"w","within_s":60,"code":4001,"reason":"because ${k}"}"#;
        let server = talk(|socket| {
            assert_eq!(socket.read().unwrap(), Message::text(r#"{"a":"1"}"#));
            socket.send(Message::text(r#"{"k":"q"}"#)).unwrap();
            assert_eq!(socket.read().unwrap(), Message::Ping(b"p".to_vec().into()));
            socket.flush().unwrap();
            socket.send(Message::Ping(b"q".to_vec().into())).unwrap();
            assert_eq!(socket.read().unwrap(), Message::Pong(b"q".to_vec().into()));
            assert_eq!(socket.read().unwrap(), Message::Pong(Vec::new().into()));
            socket.send(Message::text("no JSON")).unwrap();
            let close = tungstenite::protocol::CloseFrame { code: 4001.into(), reason: "because q".into() };
            socket.close(Some(close)).unwrap();
            assert!(matches!(socket.read().unwrap(), Message::Close(_)));
        });
        assert_eq!(outcome(steps, vec![server]), Ok(()));
    }

    #[test]
    fn a_close_frame_is_answered_and_a_dropped_connection_has_no_code() {
        let steps = r#"
            {"ws":"open","as":"w","path":"/"},
            {"ws":"close_frame","as":"w","code":1000,"reason":"bye"},
            {"ws":"closed","as":"w","within_s":60,"code":1000},
            {"ws":"open","as":"v","path":"/"},
            {"ws":"closed","as":"v","within_s":60,"code":null},
            {"ws":"open","as":"u","path":"/"},
            {"ws":"close","as":"u"}"#;
        let answers = || {
            talk(|socket| {
                assert!(matches!(socket.read().unwrap(), Message::Close(_)));
                socket.flush().ok();
            })
        };
        assert_eq!(outcome(steps, vec![answers(), talk(|_| {}), answers()]), Ok(()));
    }

    #[test]
    fn socket_differences_are_told() {
        let talked = |step: &str| {
            let steps = format!(r#"{{"ws":"open","as":"w","path":"/"}},{step}"#);
            let server = talk(|socket| {
                socket.send(Message::text("{}")).unwrap();
                assert!(socket.read().is_err());
            });
            outcome(&steps, vec![server]).unwrap_err().mismatch.0
        };
        assert_eq!(talked(r#"{"ws":"expect","as":"w","message":[]}"#), "w: want \"[]\", got \"{}\"");
        assert!(talked(r#"{"ws":"silent","as":"w","for_s":60}"#).starts_with("w: want silence, got Text"));
        assert!(talked(r#"{"ws":"expect_ping","as":"w"}"#).starts_with("w: want a ping, got Text"));
        assert!(
            talked(r#"{"ws":"closed","as":"w","code":1000}"#).starts_with("w: want a close frame, got Text")
        );
        assert_eq!(talked(r#"{"ws":"ping","as":"v"}"#), "v is not open");
    }

    #[test]
    fn a_token_is_taken_apart() {
        // {"alg":"x"}.{"sub":"me","exp":4102444800}
        let token = "eyJhbGciOiJ4In0.eyJzdWIiOiJtZSIsImV4cCI6NDEwMjQ0NDgwMH0.sig";
        let check = |claims: &str, life: &str| {
            let text = format!(
                r#"{{"name":"n","about":"a","let":{{"t":"{token}"}},
                    "steps":[{{"jwt":"t","header":{{"alg":"x"}},"claims":{claims}{life}}}]}}"#
            );
            replay(&Client::new("127.0.0.1:1".parse().unwrap()), &serde_json::from_str(&text).unwrap())
        };
        assert_eq!(check(r#"{"sub":"me","exp":"${:int}"}"#, ""), Ok(()));
        let why = check(r#"{"sub":"you","exp":"${:int}"}"#, "").unwrap_err();
        assert_eq!(why.mismatch.0, r#"claims/sub: want "you", got "me""#);
        let why = check(r#"{"sub":"me","exp":"${:int}"}"#, r#","life_s":60"#).unwrap_err();
        assert!(why.mismatch.0.starts_with("claims/exp: want 60 s"), "{why}");
    }

    #[test]
    fn ballast_is_registered_once() {
        let service = r#"{"serviceId":"s"}"#;
        let create = || answer("POST /v4/default/registry/microservices HTTP", "200 OK", service);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server =
            thread::spawn(move || {
                let mut turns = vec![
                    create(),
                    answer("PUT /v4/default/registry/microservices/s/instances/b299/heartbeat", "400 No", ""),
                ];
                turns.extend((0..BALLAST).map(|_| {
                    answer("POST /v4/default/registry/microservices/s/instances HTTP", "200 OK", "{}")
                }));
                turns.extend([
                    create(),
                    answer("PUT /v4/default/registry/microservices/s/instances/b299/heartbeat", "200 OK", ""),
                ]);
                turns.into_iter().for_each(|turn| turn(listener.accept().unwrap().0));
            });
        hold_ballast(&Client::new(address)).unwrap();
        hold_ballast(&Client::new(address)).unwrap();
        server.join().unwrap();
    }
}
