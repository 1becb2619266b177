//! A headless Chromium with a profile of its own, driven by `chromedriver`. It reaches addresses of this machine only. Both processes are ended by
//! their ids when this is dropped, also when a test panics.
//!
//! The test starts Chromium itself, because one that `chromedriver` starts would outlive a killed `chromedriver`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};

use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::key::Key;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::geteuid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{self, Runtime};

use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http;
use crate::support::process::Process;

/// The size of the window, unless a test asks for another one.
pub const WINDOW: Size = Size { width: 1280, height: 720, scale: 1, is_phone: false };
/// [`WINDOW`] at 400 %: a quarter of the pixels of CSS in each direction.
pub const ZOOMED: Size = Size { width: 320, height: 180, scale: 4, is_phone: false };
/// A phone, upright.
pub const PHONE: Size = Size { width: 390, height: 844, scale: 2, is_phone: true };

/// Runs in each page before the scripts of the page: counts what the browser reports there only.
const OBSERVER: &str = include_str!("observer.js");

/// The part of the page that shows, in pixels of CSS.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub width: u32,
    pub height: u32,
    pub scale: u32,
    pub is_phone: bool,
}

/// The language that the browser asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Chinese,
}

/// The theme that the browser asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

/// Browsers at a time. More of them only make each other slow, and each takes some hundred megabytes.
const MOST_BROWSERS: usize = 4;
static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// Counts as a running browser until it is dropped.
struct Permit;

impl Permit {
    /// Waits until another browser may run. No test may have two.
    fn wait() -> Self {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |running: &mut usize| *running >= MOST_BROWSERS;
        *ENDED.wait_while(running, is_full).unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}

/// A browser with one window.
pub struct Browser {
    client: Client,
    runtime: Runtime,
    driver: http::Client,
    session: String,
    /// Complaints that were read from the log of the browser, and not yet taken.
    complaints: RefCell<Vec<String>>,
    /// The addresses of all requests so far.
    asked: RefCell<BTreeSet<String>>,
    driver_process: Process,
    chromium: Process,
    _folder: TempDir,
    // The last one that is dropped: the processes have ended by then.
    _permit: Permit,
}

impl Browser {
    /// Starts a browser with an empty page.
    pub fn start() -> Self {
        let permit = Permit::wait();
        let folder = tempfile::tempdir().unwrap();
        let (chromium, devtools) = start_chromium(&folder);
        let (driver_process, driver) = start_driver(&folder);
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let capabilities = json!({
            "goog:chromeOptions": {"debuggerAddress": devtools.to_string(), "perfLoggingPrefs": {"enablePage": false}},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "timeouts": {"script": GENEROUS.as_millis() as u64},
        });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.as_object().unwrap().clone());
        let client = runtime.block_on(builder.connect(&format!("http://{driver}"))).unwrap();
        let session = runtime.block_on(client.session_id()).unwrap().unwrap();
        let browser = Self {
            client,
            runtime,
            driver: http::Client::new(driver),
            session,
            complaints: RefCell::default(),
            asked: RefCell::default(),
            driver_process,
            chromium,
            _folder: folder,
            _permit: permit,
        };
        browser.devtools("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": OBSERVER }));
        browser.resize(WINDOW);
        browser
    }

    /// Loads a page.
    pub fn open(&self, url: &str) {
        self.wait_for(self.client.goto(url)).unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Loads the page again.
    pub fn reload(&self) {
        self.wait_for(self.client.refresh()).unwrap();
    }

    /// Sets the size of the page.
    pub fn resize(&self, size: Size) {
        let Size { width, height, scale, is_phone } = size;
        let metrics = json!({
            "width": width, "height": height, "screenWidth": width, "screenHeight": height, "deviceScaleFactor": scale,
            "mobile": is_phone,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Asks pages for this language. A page learns it when it is loaded.
    pub fn speak(&self, language: Language) {
        let languages = if language == Language::Chinese { "zh-CN,zh" } else { "en-US,en" };
        let agent = self.run("return navigator.userAgent");
        self.devtools(
            "Emulation.setUserAgentOverride",
            &json!({"userAgent": agent, "acceptLanguage": languages}),
        );
    }

    /// Asks pages for this theme.
    pub fn prefer(&self, theme: Theme) {
        let theme = if theme == Theme::Dark { "dark" } else { "light" };
        // Colors must not be measured in the middle of a transition.
        let features = json!([
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// The result of a script, which is the body of a function.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.run_with(script, &[])
    }

    /// As [`Browser::run`], with `arguments`.
    #[track_caller]
    pub fn run_with(&self, script: &str, arguments: &[Value]) -> Value {
        match self.wait_for(self.client.execute(script, arguments.to_vec())) {
            Ok(value) => value,
            Err(error) => panic!("{script}: {error}"),
        }
    }

    /// As [`Browser::run`], for a script that calls its last argument with the result.
    #[track_caller]
    pub fn run_async(&self, script: &str, arguments: &[Value]) -> Value {
        match self.wait_for(self.client.execute_async(script, arguments.to_vec())) {
            Ok(value) => value,
            Err(error) => panic!("{script}: {error}"),
        }
    }

    /// Waits until an expression of JavaScript is true.
    #[track_caller]
    pub fn wait_until(&self, expression: &str) {
        let script = format!("return Boolean({expression})");
        eventually(GENEROUS, || match self.wait_for(self.client.execute(&script, Vec::new())) {
            Ok(Value::Bool(true)) => Ok(()),
            Ok(_) => {
                Err(format!("{expression} is false; the page says: {}", self.wait_for(self.text_async())))
            }
            Err(error) => Err(format!("{expression}: {error}")),
        });
    }

    /// Waits until the page shows a text.
    #[track_caller]
    pub fn wait_for_text(&self, text: &str) {
        self.wait_until(&format!("document.body.innerText.includes({})", json!(text)));
    }

    /// Waits until the page does not show a text.
    #[track_caller]
    pub fn wait_for_no_text(&self, text: &str) {
        self.wait_until(&format!("!document.body.innerText.includes({})", json!(text)));
    }

    /// The text that the page shows.
    #[track_caller]
    pub fn text(&self) -> String {
        self.run("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    async fn text_async(&self) -> String {
        let text = self.client.execute("return document.body.innerText", Vec::new()).await;
        text.map_or_else(|error| error.to_string(), |text| text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits for the visible element of this kind with this text or accessible name, and clicks it. In an open dialog only its elements count.
    #[track_caller]
    pub fn click(&self, kind: &str, name: &str) {
        self.click_beside("", kind, name);
    }

    /// As [`Browser::click`], in the row of a table that contains `beside`.
    #[track_caller]
    pub fn click_beside(&self, beside: &str, kind: &str, name: &str) {
        eventually(GENEROUS, || self.wait_for(self.try_click(beside, kind, name)));
    }

    async fn try_click(&self, beside: &str, kind: &str, name: &str) -> Result<(), String> {
        // Another element may take the place of the one that was found.
        self.find(beside, kind, name).await?.click().await.map_err(|error| error.to_string())
    }

    /// Waits for the visible field with this accessible name, and replaces its text.
    #[track_caller]
    pub fn fill(&self, name: &str, text: &str) {
        eventually(GENEROUS, || self.wait_for(self.try_fill(name, text)));
    }

    async fn try_fill(&self, name: &str, text: &str) -> Result<(), String> {
        let field = self.find("", "input, textarea", name).await?;
        let typed = async {
            field.clear().await?;
            field.send_keys(text).await?;
            field.prop("value").await
        };
        match typed.await.map_err(|error: CmdError| error.to_string())? {
            Some(value) if value == text => Ok(()),
            // The page was drawn anew meanwhile.
            value => Err(format!("{name:?} holds {value:?}")),
        }
    }

    /// Waits for the visible list with this accessible name, and chooses the option with this text.
    #[track_caller]
    pub fn choose(&self, name: &str, option: &str) {
        eventually(GENEROUS, || {
            self.wait_for(async {
                let list = self.find("", "select", name).await?;
                list.select_by_label(option).await.map_err(|error| error.to_string())
            })
        });
    }

    async fn find(&self, beside: &str, kind: &str, name: &str) -> Result<Element, String> {
        let mark = "return window.observer.mark(arguments[0], arguments[1], arguments[2])";
        let found = self.client.execute(mark, vec![json!(kind), json!(name), json!(beside)]).await;
        match found.map_err(|error| error.to_string())?.as_u64() {
            Some(1..) => {
                let marked = self.client.find(Locator::Css("[data-observed]")).await;
                marked.map_err(|error| error.to_string())
            }
            _ => {
                Err(format!("no '{kind}' with the name {name:?}; the page says: {}", self.text_async().await))
            }
        }
    }

    /// How many visible elements of this kind have this text or accessible name.
    #[track_caller]
    pub fn count(&self, kind: &str, name: &str) -> u64 {
        let count = "return window.observer.mark(arguments[0], arguments[1], '')";
        self.run_with(count, &[json!(kind), json!(name)]).as_u64().unwrap()
    }

    /// A name of the element with the focus.
    #[track_caller]
    pub fn focused(&self) -> String {
        let names = self.run("return window.observer.focused()");
        names[0].as_str().unwrap_or_default().to_owned()
    }

    /// Types a text wherever the focus is.
    #[track_caller]
    pub fn type_text(&self, text: &str) {
        text.chars().for_each(|key| self.press_key(key));
    }

    /// Presses Tab until the focus is on something with this text or accessible name.
    #[track_caller]
    pub fn tab_to(&self, name: &str) {
        /// More stops than any page has.
        const MOST: usize = 300;
        let mut passed = Vec::new();
        for _ in 0..MOST {
            self.press(Key::Tab);
            let names = self.run("return window.observer.focused()");
            if names.as_array().into_iter().flatten().any(|found| found == name) {
                return;
            }
            passed.push(names.to_string());
        }
        passed.truncate(60);
        panic!("Tab does not come to {name:?}, but to {passed:#?}");
    }

    /// Presses a key wherever the focus is.
    #[track_caller]
    pub fn press(&self, key: Key) {
        self.press_key(key.into());
    }

    #[track_caller]
    fn press_key(&self, key: char) {
        let presses = KeyActions::new("keyboard".to_owned())
            .then(KeyAction::Down { value: key })
            .then(KeyAction::Up { value: key });
        self.wait_for(self.client.perform_actions(presses)).unwrap();
    }

    /// A picture of what shows, as PNG.
    pub fn picture(&self) -> Vec<u8> {
        self.wait_for(self.client.screenshot()).unwrap()
    }

    /// The result of a command of the DevTools protocol.
    #[track_caller]
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.order("goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// The bytes that the scripts of the page hold after a collection of garbage.
    pub fn heap_bytes(&self) -> u64 {
        self.devtools("HeapProfiler.collectGarbage", &json!({}));
        self.devtools("Runtime.getHeapUsage", &json!({}))["usedSize"].as_f64().unwrap() as u64
    }

    /// Sends a command that only `chromedriver` knows.
    #[track_caller]
    fn order(&self, command: &str, body: &Value) -> Value {
        let answer = self.driver.post(&format!("/session/{}/{command}", self.session), body).unwrap();
        let document = answer.json();
        assert_eq!(answer.status, 200, "{command} {body}: {document}");
        document["value"].clone()
    }

    /// Reads the logs of the browser.
    fn read_logs(&self) {
        let log = |kind: &str| self.order("se/log", &json!({ "type": kind })).as_array().unwrap().clone();
        for entry in log("browser") {
            let [level, source, message] =
                ["level", "source", "message"].map(|member| entry[member].as_str().unwrap_or_default());
            if level == "SEVERE" || source == "security" {
                self.complaints.borrow_mut().push(format!("{level} {source}: {message}"));
            }
        }
        for entry in log("performance") {
            let entry: Value = serde_json::from_str(entry["message"].as_str().unwrap_or_default()).unwrap();
            let message = &entry["message"];
            if message["method"] == "Network.requestWillBeSent"
                && let Some(url) = message["params"]["request"]["url"].as_str()
            {
                self.asked.borrow_mut().insert(url.to_owned());
            }
        }
    }

    /// Takes the errors that the pages have logged since the last call, with reports of the Content Security Policy.
    pub fn take_complaints(&self) -> Vec<String> {
        let mut complaints = self.complaints.take();
        self.read_logs();
        complaints.append(&mut self.complaints.borrow_mut());
        let reported = self.run("return window.observer ? window.observer.takeComplaints() : []");
        complaints.extend(reported.as_array().into_iter().flatten().map(ToString::to_string));
        complaints
    }

    /// The requests so far, of all pages.
    pub fn asked(&self) -> BTreeSet<String> {
        self.read_logs();
        self.asked.borrow().clone()
    }

    /// Fails if a page has logged an error or a violation of the Content Security Policy since the last call, or if any page has asked another
    /// address than `origin`.
    #[track_caller]
    pub fn assert_clean(&self, place: &str, origin: &str) {
        let complaints = self.take_complaints();
        assert!(complaints.is_empty(), "{place}: {complaints:#?}");
        let asked = self.asked();
        let is_foreign = |url: &&String| !url.starts_with(origin) && !url.starts_with("data:");
        let foreign: Vec<&String> = asked.iter().filter(is_foreign).collect();
        assert!(foreign.is_empty(), "{place}: asks {foreign:#?}");
    }

    fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

fn start_chromium(folder: &TempDir) -> (Process, SocketAddr) {
    let profile = folder.path().join("profile");
    let mut command = Command::new("chromium");
    command
        .args(["--headless", "--remote-debugging-port=0", "--no-first-run", "--no-default-browser-check"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-extensions", "--disable-breakpad", "--disable-dev-shm-usage", "--disable-gpu"])
        .args(["--password-store=basic", "--no-proxy-server", "--lang=en-US"])
        // Letters without colored edges: pictures are a third smaller.
        .arg("--disable-lcd-text")
        // No name is looked up. Only addresses of this machine are reached.
        .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.*")
        .arg(format!("--user-data-dir={}", profile.display()))
        .env("HOME", folder.path())
        .env("TMPDIR", folder.path())
        .env_remove("DBUS_SESSION_BUS_ADDRESS")
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_CACHE_HOME");
    if geteuid().is_root() {
        command.arg("--no-sandbox");
    }
    command.arg("about:blank");
    let mut process = Process::spawn("chromium", &mut command, &folder.path().join("chromium.log"))
        .expect("Chromium is installed (scripts/require.sh chromium)");
    let port = eventually(GENEROUS, || {
        if let Some(status) = process.exit_status() {
            panic!("Chromium has ended: {status}; its output ends:\n{}", process.log_tail());
        }
        let text = fs::read_to_string(profile.join("DevToolsActivePort")).ok()?;
        text.lines().next()?.parse::<u16>().ok()
    });
    (process, ([127, 0, 0, 1], port).into())
}

fn start_driver(folder: &TempDir) -> (Process, SocketAddr) {
    // It takes one port of two addresses. If the second one is in use, it ends, and may take another port.
    eventually(GENEROUS, || {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env("HOME", folder.path()).env("TMPDIR", folder.path());
        let log = folder.path().join("chromedriver.log");
        fs::remove_file(&log).ok();
        let mut process = Process::spawn("chromedriver", &mut command, &log)
            .expect("chromedriver is installed (scripts/require.sh chromium)");
        let port = eventually(GENEROUS, || {
            if process.exit_status().is_some() {
                return Some(None);
            }
            let log = process.log();
            let (_, after) = log.split_once("successfully on port ")?;
            Some(Some(after.split_once('.')?.0.parse::<u16>().ok()?))
        });
        port.map(|port| (process, ([127, 0, 0, 1], port).into()))
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::path::Path;
    use std::thread;

    use super::*;
    use crate::axe;

    /// A server that answers each request with this page and this policy.
    fn serve(policy: &'static str, page: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let page = page.clone();
                thread::spawn(move || {
                    let read = stream.read(&mut [0; 16 * 1024]).unwrap_or_default();
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nContent-Security-Policy: {policy}\r\n\
                         Connection: close\r\n\r\n{page}",
                        page.len()
                    );
                    if read > 0 {
                        stream.write_all(head.as_bytes()).ok();
                    }
                });
            }
        });
        origin
    }

    #[test]
    fn what_a_page_does_wrong_is_found() {
        let elsewhere = serve("", String::new());
        let wrong = format!(
            "<html lang=en><title>x</title><main><h1>x</h1><img src='{elsewhere}/x'>
             <script>console.error('complained'); setTimeout(() => {{ throw new Error('thrown') }}); Promise.reject(new Error('rejected'))</script>"
        );
        let browser = Browser::start();
        let page = serve("", wrong.clone());
        browser.open(&page);
        let asked = browser.asked();
        assert!(asked.iter().any(|url| url.starts_with(&elsewhere)), "{asked:?}");
        let complaints = browser.take_complaints();
        for sought in ["complained", "thrown", "rejected"] {
            assert!(
                complaints.iter().any(|complaint| complaint.contains(sought)),
                "{sought}: {complaints:?}"
            );
        }
        let found = axe::findings(&browser);
        assert!(found.iter().any(|finding| finding["rule"] == "image-alt"), "{found:?}");

        browser.open(&serve("default-src 'none'", wrong));
        let complaints = browser.take_complaints();
        for sought in ["policy: img-src", "policy: script-src"] {
            assert!(
                complaints.iter().any(|complaint| complaint.contains(sought)),
                "{sought}: {complaints:?}"
            );
        }
        browser.open(&serve("", "<html lang=en><title>x</title><main><h1>x</h1></main>".to_owned()));
        assert!(browser.take_complaints().is_empty());
        assert_eq!(axe::findings(&browser), Vec::<Value>::new());
    }

    #[test]
    fn a_page_is_read_and_used_as_a_person_does() {
        let page = "<html lang=en><title>x</title><main><h1>x</h1>
             <label>Name <input id=name></label><label>Kind <select><option>one<option>two</select></label>
             <button hidden>Send</button><button onclick=\"h1.textContent = name.value + kind.value + matchMedia('(prefers-color-scheme: dark)').matches
                 + navigator.language + innerWidth\" aria-label='Send it'>→</button></main>
             <script>const h1 = document.querySelector('h1'), name = document.querySelector('input'), kind = document.querySelector('select');</script>";
        let browser = Browser::start();
        browser.speak(Language::Chinese);
        browser.prefer(Theme::Dark);
        browser.resize(ZOOMED);
        browser.open(&serve("", page.replace("name.value", "document.querySelector('input').value")));
        browser.fill("Name", "ab");
        browser.type_text("c");
        browser.choose("Kind", "two");
        assert_eq!((browser.count("button", "Send"), browser.count("button", "Send it")), (0, 1));
        browser.click("button", "Send it");
        browser.wait_for_text("abctwotruezh-CN320");
        assert!(browser.picture().starts_with(b"\x89PNG"));
        assert!(browser.heap_bytes() > 0);
    }

    #[test]
    fn nothing_is_left() {
        let browser = Browser::start();
        let ids = [browser.chromium.id(), browser.driver_process.id()];
        drop(browser);
        assert!(ids.iter().all(|id| !Path::new(&format!("/proc/{id}")).exists()));
    }
}
