//! The console of one daemon in one browser.

use std::net::SocketAddr;
use std::ops::Deref;

use serde_json::{Value, json};

use crate::browser::Browser;

/// A browser that visits the console at one address.
pub struct Console {
    browser: Browser,
    origin: String,
    /// The URL of the page, which ends with `/`.
    page: String,
}

impl Deref for Console {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}

impl Console {
    /// A browser of its own for the console of the daemon at this address.
    pub fn at(address: SocketAddr) -> Self {
        Self::below(address, "/")
    }

    /// As [`Console::at`], behind a proxy that adds this path, which begins and ends with `/`.
    pub fn below(address: SocketAddr, path: &str) -> Self {
        let origin = format!("http://{address}");
        let page = format!("{origin}{path}console/");
        Self { browser: Browser::start(), origin: format!("{origin}{path}"), page }
    }

    /// The URL of the page.
    pub fn page(&self) -> &str {
        &self.page
    }

    /// Loads the console at this view, such as `#/services`, and waits until it shows data.
    #[track_caller]
    pub fn visit(&self, view: &str) {
        // From one view to another the browser would not load anything.
        self.open("about:blank");
        self.open(&format!("{}{view}", self.page));
        self.wait_for_view(view);
    }

    /// Waits until this view shows data.
    #[track_caller]
    pub fn wait_for_view(&self, view: &str) {
        let name = view.trim_start_matches("#/").split(['/', '?']).next().unwrap_or_default();
        let name = if name.is_empty() { "overview" } else { name };
        self.wait_until(&format!(
            "document.querySelector('main').dataset.page === {} && document.querySelector('main').ariaBusy === 'false'",
            json!(name)
        ));
    }

    /// Logs in on the page for that.
    #[track_caller]
    pub fn log_in(&self, name: &str, password: &str) {
        self.visit("#/login");
        self.fill("Account", name);
        self.fill("Password", password);
        self.click("button", "Log in");
        self.wait_for_view("#/");
    }

    /// Fails if a page has logged an error since the last call, violated its policy, or asked another address.
    #[track_caller]
    pub fn assert_is_clean(&self, place: &str) {
        self.assert_clean(place, &self.origin);
    }

    /// Fails if a page has logged anything but requests that failed.
    #[track_caller]
    pub fn assert_logs_only_network(&self, place: &str) {
        let complaints = self.take_complaints();
        let others: Vec<&String> =
            complaints.iter().filter(|complaint| !complaint.contains(" network: ")).collect();
        assert!(others.is_empty(), "{place}: {others:#?}");
    }

    /// The texts of the buttons in the row of a table whose heading begins with this text.
    #[track_caller]
    pub fn buttons_beside(&self, heading: &str) -> Value {
        self.run_with(
            "const row = [...document.querySelectorAll('main tr')].find((row) => row.querySelector('th')?.innerText.trim().startsWith(arguments[0]));
             return [...row.querySelectorAll('button')].map((button) => button.innerText.trim());",
            &[json!(heading)],
        )
    }

    /// Everything that the page holds as text: its source, and both storages.
    #[track_caller]
    pub fn page_and_storage(&self) -> String {
        self.run("return document.documentElement.outerHTML + JSON.stringify({ ...localStorage }) + JSON.stringify({ ...sessionStorage })")
            .to_string()
    }

    /// The accessible name of the box that selects the row with this text.
    #[track_caller]
    pub fn checkbox_of(&self, text: &str) -> String {
        let label = self.run_with(
            "return [...document.querySelectorAll('main tr')].find((row) => row.innerText.includes(arguments[0])).querySelector('input[type=checkbox]').ariaLabel",
            &[json!(text)],
        );
        label.as_str().unwrap().to_owned()
    }

    /// Says so if the page is wider than the window.
    pub fn misfit(&self, place: &str) -> Option<String> {
        let widths = self.run(
            "const wide = [...document.querySelectorAll('main *, header *')]
                .filter((element) => element.getBoundingClientRect().right > innerWidth + 1 && !element.closest('.table-wrap, pre, svg'))
                .slice(0, 5).map((element) => element.outerHTML.slice(0, 200));
             return [document.documentElement.scrollWidth, visualViewport.width * visualViewport.scale, screen.width, wide];",
        );
        let [page, window, screen] = [0, 1, 2].map(|at| widths[at].as_f64().unwrap());
        // On a phone a page that is too wide is shown smaller.
        let is_wide = page > window.min(screen) + 1.0;
        is_wide.then(|| {
            format!(
                "{place}: the page is {page} wide, the window {window}, the screen {screen}: {:#}",
                widths[3]
            )
        })
    }
}
