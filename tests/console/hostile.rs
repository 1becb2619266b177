//! A registry full of markup, bidirectional and control characters. Nothing of it is executed, nothing leads elsewhere, and each page still shows
//! itself.
//!
//! The API rejects most of such names. So a part of the entries is written into etcd, as another program could.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::browser::{PHONE, WINDOW};
use crate::console::Console;
use crate::staging::{Caller, REGISTRY};
use crate::support::daemon::{Daemon, Settings};
use crate::support::etcd::Etcd;
use crate::support::store::on_etcd;

/// Markup that sets `hacked` if it is read as such.
const MARKUP: &str = "<img src=x onerror=hacked=1><svg onload=hacked=1>\"'`{{hacked=1}}${hacked=1}";
const CLOSING: &str =
    "</td></script><script>hacked=1</script><a href=javascript:hacked=1>go</a><style>*{display:none}</style>";
const BIDI: &str = "user\u{202e}nimda\u{2066}x\u{200f}y\u{2069}";
const CONTROL: &str = "a\u{0}b\u{1b}[31mc\u{7f}d\u{85}e\r\nf\tg\u{feff}h";
const LINK: &str = "javascript:hacked=1//https://192.0.2.1/x.png";
/// An id that the API takes: without blanks and slashes.
const ID: &str = "\"><b>'#?%2F&amp;{{x}}${x}..";

/// All of them in one text.
fn everything() -> String {
    format!("{MARKUP}{CLOSING}{BIDI}{CONTROL}{LINK}{}", "w".repeat(300))
}

/// A name for a place where a slash would end the name.
fn name() -> String {
    format!("{MARKUP}{BIDI}").replace('/', "")
}

/// Percent-encodes all but letters and digits.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte))
        } else {
            write!(encoded, "%{byte:02X}").unwrap()
        }
        encoded
    })
}

/// A description whose every text is hostile, and whose references lead to itself and elsewhere.
fn hostile_contract() -> String {
    let text = everything();
    let contract = json!({
        "openapi": "3.0.0", "info": {"title": text, "version": text, "description": text, "contact": {"url": LINK}},
        "externalDocs": {"url": LINK, "description": text},
        "servers": [{"url": LINK}],
        "paths": {
            format!("/{text}"): {"get": {
                "summary": text, "description": text, "operationId": text, "tags": [text],
                "parameters": [{"name": text, "in": text, "description": text, "schema": {"$ref": "#/components/schemas/Loop"}}],
                "responses": {text.clone(): {"description": text, "content": {text.clone(): {"schema": {"$ref": LINK}}}}},
            }},
            "__proto__": {"get": {"responses": {}}},
            "/nothing": null, "/list": [1, 2], "/number": 7,
        },
        "components": {"schemas": {
            "Loop": {"type": "object", "properties": {"again": {"$ref": "#/components/schemas/Loop"}}},
            "__proto__": {"hacked": 1}, "constructor": {"prototype": {"hacked": 1}},
        }},
    });
    contract.to_string()
}

/// A text of YAML that grows to nine to the tenth elements if every alias is followed.
fn growing_contract() -> String {
    let mut text = "openapi: 3.0.0\ninfo: {title: grows, version: '1'}\npaths: {}\nx0: &x0 [a, a, a, a, a, a, a, a, a]\n".to_owned();
    for level in 1..10 {
        let of = format!("*x{}", level - 1);
        writeln!(text, "x{level}: &x{level} [{}]", [of.as_str(); 9].join(", ")).unwrap();
    }
    text + "components: {schemas: {Grown: {type: object, example: *x9, enum: *x9}}}\n"
}

fn deep_contract() -> String {
    let depth = 5_000;
    let schema = format!("{}1{}", "{\"items\":".repeat(depth), "}".repeat(depth));
    format!("{{\"openapi\":\"3.0.0\",\"paths\":{{}},\"components\":{{\"schemas\":{{\"Deep\":{schema}}}}}}}")
}

/// Registers what the API takes, and writes the rest into etcd.
fn fill(caller: &Caller, etcd: &Etcd) {
    let all = everything();
    caller.create(&json!({
        "serviceId": ID, "serviceName": "hostile", "version": "1.0.0", "description": all.chars().take(250).collect::<String>(),
        "framework": {"name": "x", "version": MARKUP.chars().take(60).collect::<String>()},
        "properties": {all.clone(): all, "__proto__": "x", "constructor": MARKUP},
    }));
    caller.create(&json!({"serviceId": "consumer", "serviceName": "consumer", "version": "1.0.0"}));
    let contracts = [
        ("hostile", hostile_contract()),
        ("text", everything()),
        ("grows", growing_contract()),
        ("deep", deep_contract()),
        ("code", "!!js/function 'function () { hacked = 1 }'\n".to_owned()),
    ];
    for (schema, text) in contracts {
        let target = format!("{REGISTRY}/microservices/{}/schemas/{schema}", encoded(ID));
        caller.send("PUT", &target, Some(&json!({"schema": text, "summary": "x"})));
    }
    let instance = json!({
        "instanceId": "one", "hostName": MARKUP.chars().take(64).collect::<String>(),
        "endpoints": [LINK, everything(), "rest://10.0.0.1:80"], "properties": {everything(): everything()},
    });
    caller.register(&encoded(ID), &instance);
    let find = format!("{REGISTRY}/instances?appId=default&serviceName=hostile");
    caller.find("consumer", &find);

    let put = |key: &str, value: &Value| drop(etcd.ctl(&["put", key, &value.to_string()]));
    let service = json!({
        "serviceId": "written", "serviceName": everything(), "appId": everything(), "version": everything(), "environment": everything(),
        "alias": everything(), "level": MARKUP, "status": MARKUP, "registerBy": MARKUP, "paths": [{"path": LINK}],
        "description": everything(), "schemas": [everything()], "timestamp": MARKUP, "modTimestamp": CONTROL,
    });
    put("/cse-sr/ms/files/default/default/written", &service);
    put("/cse-sr/ms/tags/default/default/written", &json!({everything(): everything()}));
    let named = json!({"serviceId": "named", "serviceName": name(), "appId": name(), "version": "1.0.0"});
    put("/cse-sr/ms/files/default/default/named", &named);
    let path = format!("/{}/{}/1.0.0", name(), name());
    etcd.ctl(&["put", &format!("/cse-sr/ms/indexes/default/default/{path}"), "named"]);
    let instance = json!({
        "instanceId": "written", "serviceId": "written", "hostName": everything(), "endpoints": [everything()], "status": everything(),
        "properties": {everything(): everything()}, "version": everything(),
        "healthCheck": {"mode": MARKUP, "interval": 3_600, "times": 3},
        "dataCenterInfo": {"name": everything(), "region": MARKUP, "availableZone": BIDI},
    });
    let lease = etcd.ctl(&["lease", "grant", "3600"]);
    let lease = lease.split(' ').nth(1).expect("the number of the lease");
    for service in ["written", "named"] {
        let [file, number] =
            ["files", "leases"].map(|tree| format!("/cse-sr/inst/{tree}/default/default/{service}/written"));
        etcd.ctl(&["put", "--lease", lease, &number, lease]);
        etcd.ctl(&["put", "--lease", lease, &file, &instance.to_string()]);
    }
}

/// What of the registry became a part of the page, or shows as the registry has it though nobody could read it.
#[track_caller]
fn harm(console: &Console, view: &str) -> Vec<String> {
    let found = console.run(
        r#"
        const found = [];
        if ('hacked' in window || 'hacked' in {}) found.push('a script ran');
        const active = 'img, iframe, object, embed, base, meta:not(head *), form[action], script:not(head *), style:not(head *), link:not(head *)';
        found.push(...[...document.body.querySelectorAll(active)].map((element) => element.outerHTML));
        for (const element of document.body.querySelectorAll('*')) {
            for (const { name, value } of element.attributes) {
                if (name.startsWith('on')) found.push(`${element.localName} ${name}=${value}`);
                if (['href', 'src', 'action', 'xlink:href'].includes(name) && !value.startsWith('#')) found.push(`${name}=${value}`);
            }
        }
        const hidden = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/;
        const walker = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) if (hidden.test(walker.currentNode.data)) found.push(`text ${JSON.stringify(walker.currentNode.data)}`);
        for (const element of document.querySelectorAll('[title], [aria-label], option')) {
            const texts = [element.title, element.ariaLabel, element.label].filter(Boolean);
            if (texts.some((text) => hidden.test(text))) found.push(`attribute ${JSON.stringify(texts)}`);
        }
        if (!document.querySelector('main h1')) found.push('no heading');
        return found.map((text) => text.slice(0, 300));
        "#,
    );
    found.as_array().into_iter().flatten().map(|found| format!("{view}: {found}")).collect()
}

#[test]
fn hostile_names_are_only_text() {
    let etcd = Etcd::start();
    let daemon = Daemon::start(on_etcd(Settings::default(), &[etcd.address()])).unwrap();
    let caller = Caller::of(&daemon);
    fill(&caller, &etcd);
    let console = Console::at(daemon.address());
    let mut views = ["#/", "#/services", "#/instances", "#/events", "#/nodes"].map(str::to_owned).to_vec();
    for id in [encoded(ID), "written".to_owned(), "named".to_owned()] {
        views.push(format!("#/service/{id}"));
        for tab in [
            "instances",
            "versions",
            "consumers",
            "watchers",
            "contracts",
            "tags",
            "properties",
            "events",
            "json",
        ] {
            views.push(format!("#/service/{id}/{tab}"));
        }
        views.push(format!("#/topology/{id}"));
    }
    views.push(format!("#/instance/{}/one", encoded(ID)));
    views.push("#/instance/written/written".to_owned());
    let [searched, named] = [everything(), name()].map(|text| encoded(&text));
    views.push("#/explain?consumerId=consumer&appId=default&serviceName=hostile".to_owned());
    views.push(format!("#/explain?consumerId=consumer&appId={named}&serviceName={named}"));
    views.push(format!("#/services?search={searched}"));
    views.push(format!("#/instances?search={searched}"));
    let mut found = Vec::new();
    for view in &views {
        console.visit(view);
        found.extend(harm(&console, view));
        // The store names a contract that it does not hold, and a link a service that no API takes. The browser logs that the daemon says so.
        if view.ends_with("/written/contracts") || view.starts_with("#/explain") {
            console.assert_logs_only_network(view);
        }
        console.assert_is_clean(view);
        for size in [PHONE, WINDOW] {
            console.resize(size);
            found.extend(console.misfit(view));
        }
    }
    for contract in ["hostile", "text", "grows", "deep", "code"] {
        for show in ["rendered", "text"] {
            let view = format!("#/service/{}/contracts?schema={contract}&show={show}", encoded(ID));
            console.visit(&view);
            found.extend(harm(&console, &view));
            found.extend(console.misfit(&view));
            console.assert_is_clean(&view);
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Links that lead nowhere, or that somebody has made up.
#[test]
fn hostile_links_show_a_page() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let console = Console::at(daemon.address());
    let searched = encoded(&everything());
    let links = [
        "#/__proto__".to_owned(),
        "#/constructor/toString".to_owned(),
        "#/service/%E0%A4%A".to_owned(),
        "#/service/..%2F..%2Fv4/__proto__".to_owned(),
        format!("#/{searched}"),
        format!("#/service/{searched}/{searched}"),
        format!("#/login?back={}", encoded("javascript:hacked=1")),
        format!("#/login?back={}", encoded("https://192.0.2.1/")),
        format!("#/events?kind={searched}&since={searched}"),
        format!("#/services?sort={searched}&order={searched}&after={searched}&limit=-1"),
    ];
    for link in links {
        console.open("about:blank");
        console.open(&format!("{}{link}", console.page()));
        console.wait_until("document.querySelector('main').ariaBusy === 'false'");
        let found = harm(&console, &link);
        assert!(found.is_empty(), "{found:#?}");
        // The daemon rejects some of these requests, which the browser logs.
        console.assert_logs_only_network(&link);
    }
}
