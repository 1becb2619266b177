//! An actor that panics ends its process with exit code 70, and a line of the log names the actor.
//!
//! No request makes an actor of the daemon panic. So this test program starts the actors as the daemon does, and adds a message whose
//! handler panics. The process that ends is the test program itself, which the test starts once more for each actor.

use std::process::Command;
use std::sync::Arc;

use actix::prelude::{Handler, Message, System};
use service_center::actors::compaction::{CompactionActor, CompactionRules};
use service_center::actors::consumer::ConsumerActor;
use service_center::actors::hub::HubActor;
use service_center::actors::lease::LeaseActor;
use service_center::actors::lifeline::EXIT_CODE;
use service_center::actors::mailbox::{Mailbox, Resident};
use service_center::actors::peer::PeerActor;
use service_center::actors::registry::RegistryActor;
use service_center::actors::retire::RetireActor;
use service_center::actors::watch::WatchActor;
use service_center::app::actors;
use service_center::app::rules::ProcessRules;
use service_center::clock::Clock;
use service_center::config::{Inputs, Sources};
use service_center::store::Store;
use service_center::store::embedded::{EmbeddedStore, Options};

use crate::support::eventually::GENEROUS;
use crate::support::process::Process;

/// The environment variable that names the actor that panics. It is set only in the second process.
const PART: &str = "SC_TEST_ACTOR_PART";
/// The value for a process whose actors may end, as in a daemon that stops.
const RELEASED: &str = "released";
/// The exit code of a process that no panic has ended.
const REACHED_ITS_END: i32 = 3;

#[derive(Message)]
#[rtype(result = "()")]
struct Break;

macro_rules! breakable {
    ($($actor:ident),*) => {$(
        impl Handler<Break> for $actor {
            type Result = ();

            fn handle(&mut self, _: Break, _: &mut Self::Context) {
                panic!("a fault in a handler");
            }
        }
    )*};
}

breakable!(
    RegistryActor,
    LeaseActor,
    WatchActor,
    HubActor,
    ConsumerActor,
    PeerActor,
    RetireActor,
    CompactionActor
);

async fn break_it<A: Resident + Handler<Break>>(actor: &Mailbox<A>) {
    let answer = actor.address().send(Break).await;
    assert!(answer.is_err(), "the actor is gone before it answers");
}

/// The work of the second process. It does not return.
fn play(part: &str) -> ! {
    env_logger::Builder::new().filter_level(log::LevelFilter::Info).init();
    let folder = tempfile::tempdir().unwrap();
    let inputs = Inputs { working_dir: folder.path().to_owned(), cores: 2, ..Inputs::default() };
    let config = Sources::gather(&inputs).load().config.unwrap();
    let clock = Clock::system();
    let store = EmbeddedStore::open(folder.path(), Options::default(), clock.clone()).unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    System::new().block_on(async {
        let mut rules = ProcessRules::of(config).actors;
        // With the embedded store there is no such actor otherwise.
        rules.compaction = Some(CompactionRules { retention: None });
        let (actors, shared) = actors::start(rules, &store, clock);
        shared.reader.wait_until_complete().await;
        match part {
            "RegistryActor" => break_it(&actors.registry).await,
            "LeaseActor" => break_it(&actors.lease).await,
            "WatchActor" => break_it(&actors.watch).await,
            "HubActor" => break_it(&actors.hub).await,
            "ConsumerActor" => break_it(&actors.consumers).await,
            "PeerActor" => break_it(&actors.peer).await,
            "RetireActor" => break_it(&actors.retire).await,
            "CompactionActor" => break_it(actors.compaction.as_ref().unwrap()).await,
            RELEASED => {
                shared.lifelines.release();
                break_it(&actors.hub).await;
            }
            other => panic!("{other} is no part"),
        }
        // The lifeline ends the process after the sender has learned that the actor is gone.
        if part != RELEASED {
            std::future::pending::<()>().await;
        }
    });
    std::process::exit(REACHED_ITS_END);
}

/// Runs this test in a second process for this actor; its exit code and output.
fn played(part: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let name = concat!(module_path!(), "::a_panic_in_an_actor_ends_the_process_with_70");
    let name = name.split_once("::").unwrap().1;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(PART, part);
    let mut process = Process::spawn("the test program", &mut command, &folder.path().join("log")).unwrap();
    let status = process.wait(GENEROUS).unwrap();
    (status.code(), process.log())
}

#[test]
fn a_panic_in_an_actor_ends_the_process_with_70() {
    if let Ok(part) = std::env::var(PART) {
        play(&part);
    }
    assert_eq!(EXIT_CODE, 70);
    for actor in [
        "RegistryActor",
        "LeaseActor",
        "WatchActor",
        "HubActor",
        "ConsumerActor",
        "PeerActor",
        "RetireActor",
        "CompactionActor",
    ] {
        let (code, output) = played(actor);
        assert_eq!(code, Some(EXIT_CODE), "{output}");
        let line = output.lines().find(|line| line.contains(&format!("{actor} ended unexpectedly")));
        let line = line.unwrap_or_else(|| panic!("the output does not name {actor}: {output}"));
        assert!(line.contains("ERROR") && line.contains("the process ends with it"), "{line}");
        assert!(
            output.contains("a fault in a handler"),
            "the message of the panic is in the output: {output}"
        );
    }
    // When the daemon stops, actors may end.
    let (code, output) = played(RELEASED);
    assert_eq!(code, Some(REACHED_ITS_END), "{output}");
    assert!(!output.contains("ended unexpectedly"), "{output}");
}
