//! The console without a mouse.

use fantoccini::key::Key;

use crate::console::Console;
use crate::staging::{Caller, Shop, id_of};
use crate::support::daemon::{Daemon, Settings};

#[test]
fn a_service_is_searched_and_a_status_is_set_by_keys_alone() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let _shop = Shop::fill(&caller);
    let console = Console::at(daemon.address());
    console.visit("#/services");
    console.type_text("/");
    console.type_text("fraud");
    console.wait_until("location.hash.includes('search=fraud')");
    console.wait_for_no_text("storefront");
    console.tab_to("fraud-check");
    console.press(Key::Enter);
    console.wait_for_view("#/service/fraud-check-1.0.3");
    console.wait_for_text("fraud-check-1");
    console.tab_to("Set status");
    console.press(Key::Enter);
    console.wait_until("document.querySelector('dialog[open]')");

    // Escape closes the dialog and changes nothing. The focus is where it was.
    console.press(Key::Escape);
    console.wait_until("!document.querySelector('dialog')");
    assert_eq!(console.focused(), "Set status");
    console.press(Key::Enter);
    console.wait_until("document.querySelector('dialog[open]')");
    // Radio buttons are one stop. The arrow chooses the next one.
    console.press(Key::Down);
    console.tab_to("Set");
    // The dialog keeps the focus.
    console.wait_until("document.querySelector('dialog').contains(document.activeElement)");
    console.press(Key::Enter);
    console.wait_until("!document.querySelector('dialog')");
    let statuses =
        ["fraud-check-1", "fraud-check-2"].map(|host| caller.status("fraud-check-1.0.3", &id_of(host)));
    assert_eq!(statuses.iter().filter(|status| *status == "DOWN").count(), 1, "{statuses:?}");
    console.wait_for_text("Down");
    console.assert_is_clean("keys");
}

/// Compares the look of the element with the focus, and of what is in it, with its look without the focus.
const LOOK: &str = "
    const element = document.activeElement;
    if (element === document.body) return 'end';
    const look = () => [element, ...element.querySelectorAll('*')].map((part) => {
        const { outline, boxShadow, stroke, strokeWidth, borderColor, backgroundColor, textDecoration } = getComputedStyle(part);
        return [outline, boxShadow, stroke, strokeWidth, borderColor, backgroundColor, textDecoration].join();
    }).join('|');
    const focused = look();
    element.blur();
    const other = look();
    element.focus({ preventScroll: true });
    return focused === other ? element.outerHTML.slice(0, 200) : 'shown';";

/// What has the focus shows it, on each stop of a page.
#[test]
fn the_focus_is_visible_at_each_stop() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let caller = Caller::of(&daemon);
    let _shop = Shop::fill(&caller);
    let console = Console::at(daemon.address());
    for view in
        ["#/", "#/services", "#/service/orders-1.5.0", "#/instances", "#/topology/orders-1.5.0", "#/events"]
    {
        console.visit(view);
        let mut stops = 0;
        for _ in 0..40 {
            console.press(Key::Tab);
            let shown = console.run(LOOK);
            if shown == "end" {
                break;
            }
            assert_eq!(shown, "shown", "{view}: the focus does not show");
            stops += 1;
        }
        assert!(stops > 5, "{view}: only {stops} stops");
    }
}
