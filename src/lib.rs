//! `service-center`: a microservice registry that speaks the API of Apache ServiceComb Service-Center, over etcd or over an
//! embedded durable store. This page is the map; `README.md` says how to run it, `actors.md` what each actor does.
//!
//! # The flow
//!
//! A write goes down to the store and comes back as an event; a read looks at the snapshot made of those events. Nothing
//! else changes the snapshot, so two nodes that saw the same revision of the store answer alike.
//!
//! ```text
//!         request                                              change
//!  client ──────► http ─► domain ─► actors ──────► store ─► etcd, or the embedded log
//!                 reads   checks    RegistryActor  commits          │
//!                  ▲                                                │ store::Event, by revision
//!                  │ cache::SnapshotReader                          ▼
//!                  │ (no mailbox, no lock)          WatchActor ─► cache::SnapshotBuilder
//!                  └──────────── cache::cell ◄── publishes ──┘
//!                                                  │ SnapshotPublished
//!                                                  ▼
//!                                               HubActor ─► websocket sessions
//! ```
//!
//! # The modules, and who may import whom
//!
//! A module imports the ones above it in this table, never one beside or below it. `http` does not import `store`, and
//! `rbac` does not import `store`. `cli` does not import `store`, `cli` does not import `cache`, and `cli` does not import `actors`. A test (`tests/it/tidy/layers.rs`) reads the `use` lines.
//!
//! | rank | module | what it is | invariant |
//! | --- | --- | --- | --- |
//! | 0 | [`alarm`] | what is wrong with this node now | in memory; one entry for each kind |
//! | 0 | [`clock`] | time | what the registry does by time, it does by this clock |
//! | 0 | [`frame`] | websocket frames | bytes in, bytes out |
//! | 0 | [`error`] | one closed enum of codes, with status and text | what clients are told |
//! | 0 | [`metrics`] | counters, gauges and histograms | written where things happen |
//! | 0 | [`packed`] | numbers and texts in few bytes | bytes in, bytes out |
//! | 0 | [`rounds`] | asks parts of the process for an answer | bounded by those who have joined |
//! | 0 | [`tls`] | certificates and keys, from files that may be replaced | opens no connection |
//! | 0 | [`trace`] | the request that a thread works for: its id and its spans | starts and sends nothing |
//! | 0 | [`trouble`] | failures that go on | logged once a change, not once a try |
//! | 1 | [`domain`] | services, instances, dependencies, and when they are valid | pure: no I/O, no clock, no async |
//! | 1 | [`config`] | every source, read once | the one home of environment variables |
//! | 2 | [`store`] | the [`store::Store`] port, etcd, the embedded store, keys and values | etcd's semantics; knows no rule of the registry |
//! | 2 | [`cache`] | the snapshot: the read model | immutable; made of the store's events only |
//! | 2 | [`recorder`] | what happened, and who was told | pure; never waits |
//! | 3 | [`rbac`] | passwords, keys, tokens, permissions, failed logins | decides from its arguments and from accounts in a snapshot |
//! | 4 | [`actors`] | who owns which state: `actors.md` | the send graph has no circle |
//! | 5 | [`http`] | sockets, routes, handlers, websockets | translation, no rules |
//! | 6 | [`app`] | builds everything once, drains it in reverse | the one place that knows all |
//! | 7 | [`cli`] | the command line, and `ctl`, which asks nodes over HTTP | the one that prints |
//!
//! # One registration, through every layer
//!
//! `POST /v4/default/registry/microservices/{serviceId}/instances`. All paths are below `src/`.
//!
//! 1. `http/server/accept.rs` takes the connection, `http/server/connection.rs` keeps its time limits (over HTTP/2
//!    `http/server/http2.rs` does).
//! 2. `http/server/dispatch.rs` `serve` has `http/server/router.rs` find the row and `http/server/gate.rs` `refusal` look who
//!    asks, reads the tenant and, in `http/server/dispatch.rs` `serve_with_body`, at most 5,120 bytes of body, unpacked if it is gzip.
//! 3. `http/routes.rs` `ROUTES` names the handler, and what a caller must be allowed to do.
//! 4. `http/v4/instances.rs` `register` decodes the body, and sends a message; it knows no rule.
//! 5. `http/dto/instance.rs` `into_instance` turns the body into a domain value, or into 400001.
//! 6. `domain/validate/instance.rs` `registration` says what is wrong with it: member, value, rule.
//! 7. `http/api.rs` `write` asks the RegistryActor, 5 s at most.
//! 8. `actors/registry/mod.rs` `operations` runs the operation on the actor's thread.
//! 9. `actors/registry/instances.rs` `register` checks service and quota; a known id goes to `replace`, a new one to `create`.
//! 10. `domain/instance.rs` `complete` fills in what the registry decides: id, version, times, health check.
//! 11. `actors/registry/lease_pool.rs` `take` gives a lease, granted ahead where a grant costs a round.
//! 12. `store/keys.rs` `instance` and `lease` build the two keys.
//! 13. `actors/registry/batcher.rs` `submit` puts the transaction with whatever else waits. Its compares (the service is there,
//!     the instance is not) are the exact check.
//! 14. `store/etcd/batch.rs` nests the batch into few requests; or `store/embedded/committer.rs` writes it to the log and
//!     syncs. From here on the registration survives a crash.
//! 15. `actors/watch/mod.rs` `watch` gets the event back from the store.
//! 16. `store/codec.rs` `decode` makes it an event; `domain/json/canonical.rs` `is_canonical` spares it the parsing of what a server wrote.
//! 17. `actors/watch/state.rs` `apply` tells puts, goodbyes and expiries apart; `actors/watch/guard.rs` holds back expiries.
//! 18. `cache/builder.rs` `apply` changes the working copy and its digest, `publish` makes it the next snapshot.
//! 19. `cache/cell.rs` `publish` swaps it in, and wakes the request that waits in `http/api.rs` `write`: it answers 200, and a
//!     find on this node now shows the instance.
//! 20. `actors/hub/mod.rs` `push` finds the consumers that depend on the service, encodes the event once, and puts it into the
//!     `actors/hub/outbox.rs` `Outbox` of each session.
//! 21. `http/ws/session.rs` writes it to the socket.
//!
//! A find is shorter: `http/v4/find.rs` `find` → `cache/find.rs` `find` over the current snapshot → `cache/answer.rs`
//! `FindAnswer`, the body joined of ready pieces and kept until something in it changes. A heartbeat is shorter still:
//! `http/v4/heartbeats.rs` `beat` marks the lease in the snapshot, `actors/beats.rs` `take` queues it, and within 100 ms
//! `actors/lease/mod.rs` sends all that is marked as one batch.
//!
//! # One request with a token
//!
//! With accounts, a request takes these steps between 2 and 4 of the registration:
//!
//! 1. `http/server/dispatch.rs` `route` asks `http/access/mod.rs` `enter` who sends the request, before the body is read.
//! 2. `http/access/tokens.rs` `caller` remembers tokens whose signature `rbac/token.rs` `verify` has checked.
//! 3. `rbac/signed_in.rs` `SignedIn` is the account as the snapshot has it now, with the permissions of its roles. A change of any account
//!    or role, which `actors/account/mod.rs` writes and `cache/access.rs` shows, makes a new one.
//! 4. `http/access/mod.rs` `admit` has `http/access/targets.rs` `decide` find the services that the request is about, and
//!    `rbac/permissions.rs` `decide` compare their labels with the permissions.
//! 5. If the snapshot may be behind, `http/server/dispatch.rs` `admit` waits for a current one and asks once more.
//! 6. `http/call.rs` `grant` tells the handler of a list what the caller may see.
//!
//! # Where to look for what
//!
//! | question | place |
//! | --- | --- |
//! | Which paths are there? | `http/routes.rs`: all on one screen; `http/spec.rs` `Operation`: what each takes and answers, described beside its handler |
//! | What does an error code mean? | `error/mod.rs` |
//! | When is a member valid? | `domain/validate/`, a file a resource |
//! | How is JSON read and written? | `domain/json.rs`: Go's rules |
//! | What lies in etcd, under which key? | `store/keys.rs` |
//! | What does a store have to do? | `store/port.rs`; the cases in `store/conformance.rs` |
//! | How are the embedded store's files made? | `store/embedded/format.rs`; what is done with damaged ones: `store/embedded/recovery.rs` |
//! | What is refused when there is too much to do? | `http/spec.rs` `Load`, `http/server/admission.rs` |
//! | Which targets does Prometheus get? | `http/v4/targets.rs`, `http/dto/target_group.rs` |
//! | What may a page in a browser do? | `http/middleware/cors.rs` `Cors`, `http/server/gate.rs` |
//! | How many requests may a client address send? | `http/rate_limit.rs` `RateLimit`, `http/server/gate.rs` |
//! | How large may an answer be, and all of them together? | `http/answer_memory.rs` |
//! | How is etcd found, and what must its user be allowed? | `store/etcd/nodes.rs`, `store/etcd/rights.rs` |
//! | What happens when a certificate is renewed? | `tls/files.rs`; when a token of etcd ends: `store/etcd/login.rs` |
//! | What happens when etcd is away? | `store/etcd/nodes.rs`, `actors/contact.rs`, `http/v4/health.rs`; each actor logs what it cannot do meanwhile, once by `trouble.rs` |
//! | How is etcd watched, and when is a watch lost? | `store/etcd/watch/mod.rs` `follow`; when it counts as working again: `actors/watch/mod.rs` `stands`, `actors/recovery.rs` |
//! | What becomes of a write that etcd answers late? | `actors.md`, RegistryActor; `actors/registry/instances.rs` `create`, `replace` and `take_back`; `actors/registry/lease_pool.rs` `discard` |
//! | How is a list answered in pages? | `http/paging.rs` `PageQuery`, `Page` |
//! | How is a large list built without delaying finds? | `http/slices.rs`: `Walk`, `Pace` |
//! | How does an answer go on without an end? | `http/reply.rs` `Reply::events`, `http/server/stream.rs` |
//! | How does the binary serve the web console, and who may write with it? | `http/console.rs`; the page and its scripts: `console/` |
//! | Who reads the record of events, and how? | `http/v4/events/mod.rs`; as a stream: `http/v4/events/feed.rs` |
//! | What does the dump show? | `actors/dump.rs` `Tree`, `http/v4/dump.rs` |
//! | Do all nodes show the same? | `cache/digest.rs` defines the digest, `actors/nodes/mod.rs` `compare` compares |
//! | Does this node show what the store holds, and what repairs it? | `actors/scrub/compare.rs` `compare`, `actors/watch/repair.rs` `repair` |
//! | When is an alarm raised, and when is it over? | `alarm.rs` |
//! | Who sees which instance? | `cache/find.rs`; why not: `cache/explain.rs`, and in words `http/v4/govern/explain.rs` |
//! | How are services and instances searched? | `cache/search/mod.rs`; sorting and cursors: `http/v4/govern/search.rs` |
//! | What is recorded of a change, and how is its cause found? | `recorder/recording.rs`, `recorder/join.rs`; told by `actors/watch/telling.rs`, `actors/causes.rs` |
//! | How is the record of events kept on the disk? | `recorder/codec.rs`, `store/embedded/journal.rs`, `actors/recorder/file.rs` |
//! | Who is told of a change? | `actors/hub/mod.rs` `receivers`; consumers that came before their provider: `actors/interests.rs` |
//! | What became of a change on its way to the watchers? | `recorder/delivery.rs` `Delivery`, marked in `actors/hub/outbox.rs` |
//! | Which consumers have learned that an instance drains? | `actors/consumer/drains.rs`; who polls: `actors/pollers.rs`; the request: `http/v4/drains.rs` |
//! | What happens when a login fails? | `actors/account/logins.rs` |
//! | When does an instance end, and what holds its expiry back? | `actors/watch/state.rs` `end`, `actors/watch/guard.rs` `judge`; who releases it: `http/v4/expiries.rs` |
//! | What does a key of the configuration do? | `config/keys/table.rs`; `docs/configuration.md` is made from it |
//! | What do actors share besides messages? | the handles and files that `actors.md` lists |
//! | In which order does it start and stop? | `app/mod.rs` `run` |
//! | How does a start read a million instances? | `store/embedded/recovery.rs` `read_frames`; then `actors/watch/mod.rs` `list` and `cache/listing.rs` |
//! | What happens on SIGHUP? | `app/reload.rs` `Hangups`: code that keeps a file open subscribes |
//! | What does systemd learn, and when is the daemon stuck? | `app/supervisor.rs` `Supervisor`; `actors/lifeline.rs` `hold` |
//! | Up to which revision is etcd compacted, and by whom? | `actors/compaction/plan.rs` `plan` |
//! | Which services are retired? | `actors/retire/selection.rs`, `actors/retire/empty.rs` |
//! | How does a line reach the log? | `config/logging/mod.rs` `line`, then `config/logging/queue.rs` |
//! | Which request caused a line of the log, and what is in its trace? | `trace/mod.rs` `current`; begun and ended in `http/server/record.rs`, carried by `actors/mailbox.rs` `Work` |
//! | Where do traces go? | `app/traces.rs` `Traces` |
//! | What does `service-center ctl` do? | `cli/ctl/mod.rs`: one file a command; where it connects to, and as whom: `cli/ctl/options.rs` `place`; its exit codes: `cli/ctl/failure.rs` |
//! | What does an export write, and what does an import take? | `app/transfer/mod.rs` `export`, `app/transfer/check.rs` |
//! | Who may do what? | `http/access/mod.rs` checks each request, `rbac/permissions.rs` decides; what a token says: `rbac/token.rs` |
//! | When is an account locked? | `rbac/attempts.rs` |
//! | What is counted? | `metrics/mod.rs`; requests: `metrics/requests.rs`; what a scrape answers: `http/v4/exposition.rs` |
//! | Where does it differ from the original server? | `docs/differences.md` |
//!
//! # The tests
//!
//! Pure code is tested beside itself. One suite, `store/conformance.rs`, runs over both stores (`tests/store_embedded`,
//! `tests/store_etcd`), and faults of the disk over the first. Everything else is in `tests/it`: it starts the built daemon,
//! among other things to replay recorded exchanges of the original server (`tests/golden`), it tests sockets and limits of
//! the HTTP server (`tests/it/server`), and it reads the source for the rules above. `tests/it/main.rs` says what lies where.

pub mod actors;
pub mod alarm;
pub mod app;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod error;
pub mod frame;
pub mod http;
pub mod metrics;
pub mod packed;
pub mod rbac;
pub mod recorder;
pub mod rounds;
pub mod store;
pub mod tls;
pub mod trace;
pub mod trouble;
