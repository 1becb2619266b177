//! The web console: a page and its files. They are in the binary, and the page shows what the API answers.
//!
//! No path of a request becomes the path of a file: [`FILES`] is the whole list. The address of a file contains a hash of all files. So a
//! browser keeps a file for good, and a page gets the files that it was written with.

use std::sync::{Arc, LazyLock, OnceLock};

use actix_http::header::{self, HeaderName, HeaderValue};
use actix_http::{RequestHead, StatusCode};
use bytes::Bytes;
use twox_hash::XxHash3_64;

use super::api::{Api, ConsoleWrites};
use super::call::{Answer, Call};
use super::reply::{Gzip, Reply};
use super::spec::{Operation, Success};

/// The heading of its operations.
pub const TAG: &str = "console";

pub const FOLDER: Operation = Operation::new(TAG, "findConsole", "Says where the web console is.")
    .answers(Success::Elsewhere)
    .uncounted()
    .for_own_pages();

pub const PAGE: Operation = Operation::new(TAG, "readConsole", "Returns the page of the web console.")
    .answers(Success::Free {
        content_type: "text/html",
        about: "The page. It loads its files, and then asks the API for what it shows.",
    })
    .uncounted()
    .for_own_pages();

pub const ASSET: Operation = Operation::new(TAG, "readConsoleFile", "Returns a file of the web console.")
    .answers(Success::Free { content_type: "*/*", about: "A script, a style sheet or a license." })
    .uncounted()
    .for_own_pages();

/// A file that the page loads.
struct ConsoleFile {
    /// The path in the folder `console`.
    path: &'static str,
    content: &'static [u8],
    /// The content, compressed when a browser first asked for it.
    packed: OnceLock<Bytes>,
}

macro_rules! files {
    ($($path:literal)+) => {
        static FILES: [ConsoleFile; [$($path),+].len()] = [$(ConsoleFile {
            path: $path,
            content: include_bytes!(concat!("../../console/", $path)),
            packed: OnceLock::new(),
        }),+];
    };
}

// Every file of the folder except the page and the texts for developers (`*.md`), sorted. A test compares the list with the folder.
files! {
    "api.js"
    "app.js"
    "i18n.js"
    "icon.svg"
    "lang/en.js"
    "lang/zh.js"
    "live.js"
    "pages/access.js"
    "pages/events.js"
    "pages/explain.js"
    "pages/instance.js"
    "pages/instances.js"
    "pages/login.js"
    "pages/nodes.js"
    "pages/overview.js"
    "pages/service.js"
    "pages/service/consumers.js"
    "pages/service/contracts.js"
    "pages/service/diff.js"
    "pages/service/document.js"
    "pages/service/drain.js"
    "pages/service/events.js"
    "pages/service/facts.js"
    "pages/service/gone.js"
    "pages/service/instances.js"
    "pages/service/openapi.js"
    "pages/service/set_status.js"
    "pages/service/versions.js"
    "pages/service/watchers.js"
    "pages/services.js"
    "pages/topology.js"
    "router.js"
    "session.js"
    "style.css"
    "theme.js"
    "ui/copy.js"
    "ui/dialog.js"
    "ui/event.js"
    "ui/filters.js"
    "ui/json.js"
    "ui/keys.js"
    "ui/limits.js"
    "ui/node.js"
    "ui/page.js"
    "ui/pager.js"
    "ui/picker.js"
    "ui/search.js"
    "ui/status.js"
    "ui/table.js"
    "ui/tabs.js"
    "ui/text.js"
    "ui/time.js"
    "ui/toast.js"
    "vendor/js-yaml/LICENSE"
    "vendor/js-yaml/js-yaml.min.js"
    "vendor/lit-html/LICENSE"
    "vendor/lit-html/directive-helpers.js"
    "vendor/lit-html/directive.js"
    "vendor/lit-html/directives/live.js"
    "vendor/lit-html/directives/repeat.js"
    "vendor/lit-html/lit-html.js"
}

const TEMPLATE: &str = include_str!("../../console/index.html");

/// The hash of all files. It depends on nothing else, so that nodes with the same program give the files the same addresses.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let hash = FILES.iter().fold(0, |hash, file| {
        [file.path.as_bytes(), file.content].into_iter().fold(hash, XxHash3_64::oneshot_with_seed)
    });
    format!("{hash:016x}")
});

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const SCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");
const STYLE: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");
const IMAGE: HeaderValue = HeaderValue::from_static("image/svg+xml");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// A year.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Only what this server serves may run, and no text of the registry can become a script.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
);
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// `GET /console`: the page has a `/` at its end, because its addresses are relative. So is this one: a proxy may serve the console
/// below another path.
pub fn folder(_: &Arc<Api>, _: Call) -> Answer {
    Reply::elsewhere(HeaderValue::from_static("console/")).header(header::CACHE_CONTROL, NO_STORE).into()
}

/// `GET /console/`.
pub fn page(api: &Arc<Api>, call: Call) -> Answer {
    let accounts = if api.accounts.is_some() { "on" } else { "off" };
    let offers_writes = match api.rules.console {
        ConsoleWrites::Offered => true,
        ConsoleWrites::OfferedHere => is_here(call.head()),
        ConsoleWrites::Hidden => false,
    };
    let filled = fill(&[
        ("{assets}", &format!("assets/{}/", *HASH)),
        ("{version}", env!("CARGO_PKG_VERSION")),
        ("{accounts}", accounts),
        ("{writable}", if offers_writes { "yes" } else { "no" }),
        ("{node}", &api.rules.metrics.instance),
    ]);
    Reply::bytes(StatusCode::OK, HTML, filled)
        .header(header::CACHE_CONTROL, NO_STORE)
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF)
        .header(header::REFERRER_POLICY, NO_REFERRER)
        .header(CROSS_ORIGIN_OPENER_POLICY, SAME_ORIGIN)
        .header(CROSS_ORIGIN_RESOURCE_POLICY, SAME_ORIGIN)
        .into()
}

/// `GET /console/assets/{hash}/{*path}`.
pub fn asset(_: &Arc<Api>, call: Call) -> Answer {
    let is_current = call.param("hash") == *HASH;
    let path = call.param("path");
    let Some(file) = FILES.iter().find(|file| is_current && file.path == path) else {
        // Not stored: another node behind the same address may have the file.
        let reply = Reply::library_text(StatusCode::NOT_FOUND, "404 page not found\n");
        return reply.header(header::CACHE_CONTROL, NO_STORE).into();
    };
    let gzip = match file.packed.get() {
        Some(packed) => Gzip::Ready(packed.clone()),
        // Two requests may compress it at the same time. Then one result is kept.
        None => Gzip::CompressAndKeep(Box::new(|packed| drop(file.packed.set(packed)))),
    };
    Reply::bytes(StatusCode::OK, content_type(file.path), file.content)
        .gzip(gzip)
        .header(header::CACHE_CONTROL, IMMUTABLE)
        .header(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF)
        .header(CROSS_ORIGIN_RESOURCE_POLICY, SAME_ORIGIN)
        .into()
}

fn content_type(path: &str) -> HeaderValue {
    match path.rsplit_once('.') {
        Some((_, "js")) => SCRIPT,
        Some((_, "css")) => STYLE,
        Some((_, "svg")) => IMAGE,
        _ => TEXT,
    }
}

/// The page with these values. A value becomes part of an attribute.
fn fill(values: &[(&str, &str)]) -> String {
    let mut rest = TEMPLATE;
    let mut page = String::with_capacity(TEMPLATE.len() + 256);
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        page.push_str(before);
        let found = values.iter().find_map(|(name, value)| Some((value, from.strip_prefix(name)?)));
        rest = match found {
            Some((value, after)) => {
                push_escaped(&mut page, value);
                after
            }
            None => {
                page.push('{');
                from.strip_prefix('{').unwrap_or_default()
            }
        };
    }
    page.push_str(rest);
    page
}

fn push_escaped(page: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            letter => page.push(letter),
        }
    }
}

/// Whether the browser runs on this machine, as far as the request tells: it comes from a loopback address, and no proxy has forwarded
/// it.
fn is_here(head: &RequestHead) -> bool {
    let is_loopback = head.peer_addr.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let is_of_proxy = |name: &HeaderName| {
        matches!(name.as_str(), "forwarded" | "via" | "x-real-ip")
            || name.as_str().starts_with("x-forwarded-")
    };
    is_loopback && !head.headers.keys().any(is_of_proxy)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_attribute() {
        let mut page = String::new();
        push_escaped(&mut page, "\"><script>'&{node}");
        assert_eq!(page, "&quot;&gt;&lt;script&gt;&#39;&amp;{node}");
        let node = "{version}\" onload=\"";
        let filled = fill(&[("{node}", node), ("{version}", "1")]);
        assert!(filled.contains("{version}&quot; onload=&quot;") && !filled.contains(node));
    }

    #[test]
    fn the_page_takes_every_value() {
        for name in ["{assets}", "{version}", "{accounts}", "{writable}", "{node}"] {
            assert!(TEMPLATE.contains(name), "{name}");
        }
    }

    fn check(peer: Option<&str>, headers: &[(&'static str, &'static str)], expected: bool) {
        let mut head = RequestHead::default();
        head.peer_addr = peer.map(|peer| peer.parse().unwrap());
        for (name, value) in headers {
            head.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        assert_eq!(is_here(&head), expected, "{peer:?} {headers:?}");
    }

    #[test]
    fn a_browser_is_here_if_it_comes_from_this_machine_and_through_no_proxy() {
        for here in ["127.0.0.1:5", "127.8.9.1:5", "[::1]:5", "[::ffff:127.0.0.1]:5"] {
            check(Some(here), &[("host", "localhost"), ("x-request-id", "x")], true);
            for name in
                ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"]
            {
                check(Some(here), &[(name, "")], false);
            }
        }
        for elsewhere in ["10.0.0.1:5", "[fe80::1]:5", "[::ffff:10.0.0.1]:5", "0.0.0.0:5"] {
            check(Some(elsewhere), &[], false);
        }
        check(None, &[], false);
    }
}
