//! An actor that panics ends its process: exit code 70, and a line that says which actor it was.
//!
//! The daemon has no way to be made to panic, so a small actor stands in for its own, started as they are: on a thread of
//! its own, holding a lifeline. The process that dies is this test program, started once more for one test.

use std::process::Command;

use actix::prelude::{Actor, Arbiter, Context, Handler, Message, System};
use service_center::actors::lifeline::{EXIT_CODE, Lifeline, Lifelines};

use crate::support::eventually::GENEROUS;
use crate::support::process::Process;

/// Set in the process that is to die; it says how.
const PART: &str = "SC_TEST_ACTOR_PART";
/// The exit code of a process that reached its end.
const REACHED_ITS_END: i32 = 3;

struct Fragile {
    _lifeline: Lifeline,
}

impl Actor for Fragile {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Break;

impl Handler<Break> for Fragile {
    type Result = ();

    fn handle(&mut self, _: Break, _: &mut Self::Context) {
        panic!("a fault in a handler");
    }
}

/// What the other process does; it does not return.
fn play(part: &str) -> ! {
    env_logger::Builder::new().filter_level(log::LevelFilter::Info).init();
    let lifelines = Lifelines::default();
    let tie = lifelines.tie("FragileActor");
    if part == "released" {
        lifelines.release();
    }
    System::new().block_on(async {
        let arbiter = Arbiter::new();
        let actor = Fragile::start_in_arbiter(&arbiter.handle(), |_| Fragile { _lifeline: tie });
        let answer = actor.send(Break).await;
        assert!(answer.is_err(), "the actor is gone before it answers");
        // All that its thread holds is dropped by the end of this, if the process gets so far.
        arbiter.stop();
        arbiter.join().unwrap();
    });
    std::process::exit(REACHED_ITS_END);
}

/// Runs this very test in a process of its own with a part to play; the exit code and the output.
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
    let (code, output) = played("alive");
    assert_eq!(code, Some(EXIT_CODE), "{output}");
    assert_eq!(EXIT_CODE, 70);
    let line = output.lines().find(|line| line.contains("FragileActor ended unexpectedly"));
    let line = line.unwrap_or_else(|| panic!("no word of the actor: {output}"));
    assert!(line.contains("ERROR") && line.contains("the process ends with it"), "{line}");
    assert!(output.contains("a fault in a handler"), "nor is the panic's own message lost: {output}");

    // In a stop in order actors may end.
    let (code, output) = played("released");
    assert_eq!(code, Some(REACHED_ITS_END), "{output}");
    assert!(!output.contains("ended unexpectedly"), "{output}");
}
