//! A large registry: 10,000 services and 100,000 instances. Prints how long a click takes to show rows, how long the page was busy, and what it
//! keeps in memory. It judges none of these figures, because a busy machine has others.

use serde_json::{Value, json};

use crate::axe;
use crate::console::Console;
use crate::staging::{Caller, large};
use crate::support::daemon::Settings;

const SERVICES: usize = 10_000;
const INSTANCES: usize = 100_000;
const ROUNDS: usize = 5;
const CHANGES: usize = 1_000;
/// A page of a list is far below it. A whole list would be megabytes.
const LARGEST_ANSWER: u64 = 256 * 1024;

/// Clicks the first visible element of a kind with a name, and counts the milliseconds until `UNTIL`, an expression, is true and drawn. The
/// policy of the page forbids to evaluate a text, so the expression is a part of the script.
const TIME: &str = "
    const [kind, name, done] = arguments;
    if (!window.observer.mark(kind, name, '')) { done(null); return; }
    const isThere = () => Boolean(UNTIL);
    const begin = performance.now();
    document.querySelector('[data-observed]').click();
    const look = () => { if (isThere()) requestAnimationFrame(() => done(performance.now() - begin)); else requestAnimationFrame(look); };
    look();";

/// The rows of this page are there.
fn rows(page: &str) -> String {
    format!("document.querySelector('main[data-page={page}][aria-busy=false] tbody tr')")
}

/// The milliseconds of a click until the rows of the page show, at least and at most.
#[track_caller]
fn time(console: &Console, what: &str, from: &str, kind: &str, name: &str, until: &str) {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            console.visit(from);
            let time = console.run_async(&TIME.replace("UNTIL", until), &[json!(kind), json!(name)]);
            time.as_f64().unwrap_or_else(|| panic!("{from} has no {kind} {name:?}"))
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "console: {what}: {:.0} ms, {:.0} to {:.0} ms (goal 300)",
        times[ROUNDS / 2],
        times[0],
        times[ROUNDS - 1]
    );
}

fn print_long_tasks(console: &Console, what: &str) {
    let tasks = console.run("return window.observer.longTasks.splice(0)");
    let tasks: Vec<u64> = tasks.as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let too_long = tasks.iter().filter(|&&task| task > 100).count();
    println!(
        "console: {what}: {} tasks over 50 ms, the longest {} ms, {too_long} over 100 ms (goal 0)",
        tasks.len(),
        tasks.iter().max().unwrap_or(&0)
    );
}

fn print_memory(console: &Console, what: &str) {
    let nodes = console.devtools("Memory.getDOMCounters", &json!({}));
    println!(
        "console: {what}: {:.1} MB held by scripts, {} nodes, {} listeners",
        console.heap_bytes() as f64 / 1e6,
        nodes["nodes"],
        nodes["jsEventListeners"]
    );
}

/// Fails if an answer to the page was larger than a part of a list.
#[track_caller]
fn assert_parts_of_lists(console: &Console, view: &str) {
    let largest = console.run(
        "const sizes = performance.getEntriesByType('resource').filter(({ name }) => name.includes('/v4/')).map(({ name, decodedBodySize }) => [decodedBodySize, name]);
         return sizes.sort(([a], [b]) => b - a)[0] ?? [0, ''];",
    );
    assert!(largest[0].as_u64().unwrap() < LARGEST_ANSWER, "{view}: {largest}");
}

#[test]
fn a_large_registry() {
    let daemon = large(Settings::default(), SERVICES, INSTANCES);
    let caller = Caller::of(&daemon);
    let console = Console::at(daemon.address());

    for view in ["#/", "#/services", "#/instances", "#/events", "#/nodes"] {
        console.visit(view);
        let found = axe::findings(&console);
        assert!(found.is_empty(), "{view}: {found:#?}");
        assert_parts_of_lists(&console, view);
        console.assert_is_clean(view);
    }
    console.visit("#/services");
    console.wait_for_text("10,000");

    let services = rows("services");
    time(&console, "overview to services", "#/", "nav a", "Services", &services);
    time(&console, "overview to instances", "#/", "nav a", "Instances", &rows("instances"));
    let next =
        format!("location.hash.includes('after=') && !document.querySelector('main.loading') && {services}");
    time(&console, "next page of services", "#/services", "button", "Next →", &next);
    let sorted = format!(
        "document.querySelector('th[aria-sort=descending]') && !document.querySelector('main.loading') && {services}"
    );
    time(&console, "services by last change", "#/services", "th button", "Last change", &sorted);
    time(
        &console,
        "services to one service",
        "#/services?search=payment-gateway-002",
        "tbody a",
        "payment-gateway-002",
        &rows("service"),
    );
    print_long_tasks(&console, "after these clicks");

    console.visit("#/services");
    let searched = "document.querySelector('main tbody')?.innerText.includes('refund-worker-017') && !document.querySelector('main tbody').innerText.includes('account')";
    let search = format!(
        "const [done] = arguments; const begin = performance.now(); location.hash = '#/services?search=refund-worker-017';
         const look = () => {{ if ({searched}) requestAnimationFrame(() => done(performance.now() - begin)); else requestAnimationFrame(look); }}; look();"
    );
    let time = console.run_async(&search, &[]);
    println!("console: a search of 10,000 services: {:.0} ms (goal 300)", time.as_f64().unwrap());
    print_long_tasks(&console, "after a search");

    // Two rounds: what a page keeps from the first one does not grow in the second one.
    console.visit("#/events");
    let service = caller.create(&json!({"serviceName": "busy"}));
    caller.register(&service, &json!({"instanceId": "busy", "hostName": "busy", "endpoints": []}));
    for round in ["before the changes", "after 1,000 changes", "after 2,000 changes"] {
        console.wait_until("!document.querySelector('main.loading')");
        print_memory(&console, round);
        if round == "after 2,000 changes" {
            break;
        }
        for change in 0..CHANGES {
            caller.set_status(&service, "busy", if change % 2 == 0 { "DOWN" } else { "UP" });
        }
        caller.set_status(&service, "busy", "TESTING");
        console.wait_for_text("Testing");
    }
    print_long_tasks(&console, "after 2,000 changes");
    console.assert_is_clean("2,000 changes");
}
