//! Objects that exceed a limit by size or number, by every route that accepts them.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{exported, on_both_stores, size};
use crate::support::daemon::{Daemon, Installation, Settings};
use crate::support::eventually::{GENEROUS, eventually};
use crate::support::http::{Client, Request, Response};
use crate::support::registry::{code, patiently};

/// The paths of the two versions of the API.
const BASES: [&str; 2] = ["/v4/default/registry/microservices", "/registry/v3/microservices"];

#[track_caller]
fn assert_too_large(response: &Response, key: &str) {
    assert_eq!(code(response), "400001", "{}", response.text());
    assert!(response.text().contains(key), "{}", response.text());
}

fn service(client: &Client, base: &str, name: &str) -> String {
    let answer = patiently(|| client.post(base, &json!({"service": {"serviceName": name}}))).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["serviceId"].as_str().unwrap().to_owned()
}

/// Every route refuses an instance of 1.3 MB and properties of 1.3 MB. Nothing of them stays in memory or on disk.
#[test]
fn a_second_route_takes_nothing_larger() {
    on_both_stores(&Settings::default(), |mut daemon, _| {
        let client = daemon.client();
        let large = "x".repeat(1_300_000);
        let properties = json!({ "p": large });
        let instance = json!({"hostName": "h", "properties": properties});
        let (small, before) =
            (json!({"hostName": "h", "instanceId": "i"}), daemon.process().resident_memory());
        for (at, base) in BASES.into_iter().enumerate() {
            let id = service(&client, base, &format!("s{at}"));
            let registered =
                client.post(&format!("{base}/{id}/instances"), &json!({ "instance": small })).unwrap();
            assert_eq!(registered.status, 200);
            for round in 0..10 {
                let new = json!({"serviceName": format!("new{at}-{round}")});
                let with_instances = json!({"service": new, "instances": [small, instance]});
                let mut with_properties = json!({ "service": new });
                with_properties["service"]["properties"] = properties.clone();
                let put = json!({ "properties": properties });
                let one = json!({ "instance": instance });
                for (answer, key) in [
                    (client.post(&format!("{base}/{id}/instances"), &one), "maxInstanceBytes"),
                    (client.post(base, &with_instances), "maxInstanceBytes"),
                    (client.put(&format!("{base}/{id}/properties"), &put), "maxPropertiesBytes"),
                    (client.put(&format!("{base}/{id}/instances/i/properties"), &put), "maxPropertiesBytes"),
                    (client.post(base, &with_properties), "maxPropertiesBytes"),
                ] {
                    assert_too_large(&answer.unwrap(), &format!("server.request.{key}"));
                }
            }
        }
        // The client sends one request at a time. Some bodies of 2 MiB may be in memory, and what the allocator keeps.
        let grown = daemon.process().resident_memory().saturating_sub(before);
        assert!(grown < 32 << 10, "{grown} kB more in memory");
        assert!(size(&daemon.folder().join("data")) < 1 << 20);
        let largest = exported(&mut daemon).into_iter().max_by_key(|(_, value)| value.len()).unwrap();
        assert!(largest.1.len() < 5_120, "{largest:?}");
    });
}

/// Both routes accept an object at the limit, and refuse a larger one. The limits can be configured.
#[test]
fn the_limits_of_objects_are_the_same_by_every_route() {
    let settings = Settings::default()
        .conf("server.request.maxInstanceBytes", "20000")
        .conf("server.request.maxPropertiesBytes", "10000");
    on_both_stores(&settings, |daemon, _| {
        let client = daemon.client();
        for (at, base) in BASES.into_iter().enumerate() {
            // The constants are the lengths of the rest of the documents.
            let instance =
                |length: usize| json!({"hostName": "h", "properties": {"p": "x".repeat(length - 38)}});
            let properties = |length: usize| json!({"p": "x".repeat(length - 8)});
            assert_eq!(instance(20_000).to_string().len(), 20_000);
            assert_eq!(properties(10_000).to_string().len(), 10_000);
            let id = service(&client, base, &format!("s{at}"));
            let new = |round: usize| json!({"serviceName": format!("new{at}-{round}")});
            let create = |round: usize, length: usize| {
                let body = json!({"service": new(round), "instances": [instance(length)]});
                patiently(|| client.post(base, &body)).unwrap()
            };
            assert_eq!(code(&create(0, 20_000)), "200");
            assert_too_large(&create(1, 20_001), "at most 20000 bytes are taken");
            // Here the limit applies to the body, which is longer than the object.
            let register = |length: usize| {
                let body = json!({"instance": instance(length)});
                patiently(|| client.post(&format!("{base}/{id}/instances"), &body)).unwrap()
            };
            assert_eq!(code(&register(20_000 - 13)), "200");
            assert_too_large(&register(20_000 - 12), "it has 20001 bytes, at most 20000 bytes are taken");
            let describe = |round: usize, length: usize| {
                let mut body = json!({"service": new(round)});
                body["service"]["properties"] = properties(length);
                patiently(|| client.post(base, &body)).unwrap()
            };
            assert_eq!(code(&describe(2, 10_000)), "200");
            assert_too_large(&describe(3, 10_001), "at most 10000 bytes are taken");
            let put = |length: usize| {
                let body = json!({"properties": properties(length)});
                patiently(|| client.put(&format!("{base}/{id}/properties"), &body)).unwrap()
            };
            assert_eq!(code(&put(10_000 - 15)), "200");
            assert_too_large(&put(10_000 - 14), "at most 10000 bytes are taken");
        }
    });
}

/// A service comes with hundreds of thousands of empty instances. The answer has one sentence for all of them.
#[test]
fn a_service_comes_with_a_bounded_number_of_instances() {
    let daemon = Daemon::start(Settings::default()).unwrap();
    let client = daemon.client();
    // The last body has more elements than a body may have.
    for (count, expected) in
        [(1_000, "errMessages"), (1_001, "at most 1000 instances"), (500_000, "too many elements")]
    {
        let instances = vec!["{}"; count].join(",");
        let body = format!(r#"{{"service":{{"serviceName":"s"}},"instances":[{instances}]}}"#);
        let answer = client.send(&Request::new("POST", BASES[0]).bytes(body)).unwrap();
        assert_eq!(code(&answer), "400001");
        assert!(answer.text().contains(expected), "{count}");
        // The answer lists at most a hundred refusals of some hundred bytes each.
        assert!(answer.body.len() < 100 << 10, "{} bytes for {count} instances", answer.body.len());
    }
}

/// So many MiB of blanks, compressed.
fn packed_blanks(mebibytes: usize) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let blanks = vec![b' '; 1 << 20];
    for _ in 0..mebibytes {
        packed.write_all(&blanks).unwrap();
    }
    packed.finish().unwrap()
}

/// A body of 200 kB would unpack to 200 MB. The daemon stops at the limit of 2 MiB, also when many such bodies come at once. The body
/// costs the memory and the CPU time of a body of 2 MiB.
#[test]
fn a_packed_body_ends_at_the_limit() {
    let mut daemon = Daemon::start(Settings::default()).unwrap();
    let client = daemon.client();
    let id = service(&client, BASES[0], "s");
    let send = |route: &str, body: &[u8]| {
        let request = Request::new("POST", &format!("{}/{id}/{route}", BASES[0]));
        client.send(&request.header("Content-Encoding", "gzip").bytes(body)).unwrap()
    };
    let all = |route: &str, body: &[u8], detail: &str| {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..4 {
                        let answer = send(route, body);
                        assert_eq!(code(&answer), "400001");
                        assert!(answer.text().contains(detail), "{}", answer.text());
                    }
                });
            }
        });
    };
    let start = daemon.process().cpu_time();
    all("schemas", &packed_blanks(2), "unexpected end of JSON input");
    let (whole, before) = (daemon.process().cpu_time() - start, daemon.process().peak_memory());
    let bomb = packed_blanks(200);
    assert!(bomb.len() < 2 << 20);
    all("schemas", &bomb, "request body too large: unpacked");
    let bombs = daemon.process().cpu_time() - start - whole;
    // Unpacked to the end a bomb has a hundred times as much. On a busy machine the same work costs several times as much as on a
    // quiet one, and CPU time is counted in ticks of 10 ms.
    assert!(bombs < 10 * whole + Duration::from_millis(100), "{bombs:?}, and {whole:?} for what just fits");
    all("instances", &bomb, "request body too large: it has");
    // The kernel's peak is off by some pages, so it may be below an earlier one. Eight bodies at once. Each has at most 2 MiB compressed, a buffer of up to 4 MiB, and the window of the decompression.
    let (grown, most) = (daemon.process().peak_memory().saturating_sub(before), (8 * (2 + 4 + 1)) << 10);
    assert!(grown < most, "{grown} kB more at the peak, at most {most}");
    // A valid compressed body is accepted.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(br#"{"instance":{"hostName":"h"}}"#).unwrap();
    assert_eq!(send("instances", &packed.finish().unwrap()).status, 200);
}

/// A client that names a new tenant in each request reaches the quota of tenants. Existing tenants can still be used. Nothing stays of
/// tenants that come and go.
#[test]
fn tenants_are_bounded() {
    let settings = Settings::default().conf("quota.cap.domain.limit", "5");
    on_both_stores(&settings, |mut daemon, _| {
        let client = daemon.client();
        let create = |domain: &str, project: &str, name: &str| {
            let request = Request::new("POST", &format!("/v4/{project}/registry/microservices"))
                .header("X-Domain-Name", domain)
                .json(&json!({"service": {"serviceName": name}}));
            patiently(|| client.send(&request)).unwrap()
        };
        let delete = |domain: &str, project: &str, id: &str| {
            let request = Request::new("DELETE", &format!("/v4/{project}/registry/microservices/{id}"))
                .header("X-Domain-Name", domain);
            let mut attempts = 0;
            let send = || {
                attempts += 1;
                client.send(&request)
            };
            let deleted = patiently(send).unwrap();
            assert!(deleted.status == 200 || attempts > 1, "{}", deleted.text());
        };
        // The registry itself uses default/default.
        for (domain, project) in [("a", "p"), ("a", "q"), ("b", "p"), ("default", "p")] {
            assert_eq!(code(&create(domain, project, "s")), "200", "{domain}/{project}");
        }
        for (domain, project) in [("a", "r"), ("c", "p"), ("default", "q")] {
            let refused = create(domain, project, "s");
            assert_eq!(code(&refused), "400100", "{domain}/{project}");
            assert_eq!(
                refused.json()["detail"],
                "no quota to create DOMAIN, max num is 5, curNum is 5, apply num is 1"
            );
        }
        // Existing tenants can still be used.
        assert_eq!(code(&create("default", "default", "s")), "200");
        let answer = create("b", "p", "another");
        let another = answer.json()["serviceId"].as_str().unwrap().to_owned();
        let instance = json!({"instance": {"hostName": "h", "instanceId": "i"}});
        let register = Request::new("POST", &format!("/v4/p/registry/microservices/{another}/instances"))
            .header("X-Domain-Name", "b")
            .json(&instance);
        assert_eq!(patiently(|| client.send(&register)).unwrap().status, 200);
        // A tenant that goes makes room for another one, again and again.
        let answer = create("a", "q", "s");
        delete("a", "q", answer.json()["serviceId"].as_str().unwrap());
        let comes_and_goes = |round: usize| {
            let (domain, project) = (format!("domain{round}"), format!("project{round}"));
            let mut created = create(&domain, &project, "s");
            // On etcd the dependencies of the deleted service end a moment later.
            eventually(GENEROUS, || {
                if created.status != 200 {
                    created = create(&domain, &project, "s");
                }
                if created.status == 200 { Ok(()) } else { Err(created.text()) }
            });
            delete(&domain, &project, created.json()["serviceId"].as_str().unwrap());
        };
        (0..50).for_each(comes_and_goes);
        // The keys of the deleted tenants go a moment after the deletion is answered. Keys stay where the stop came first, or the store
        // was late, until their tenant is used again.
        eventually(GENEROUS, || {
            let keys: Vec<String> = exported(&mut daemon).into_iter().map(|(key, _)| key).collect();
            daemon.restart().unwrap();
            let of =
                |tree: &str| keys.iter().filter(|key| key.starts_with(tree)).cloned().collect::<Vec<_>>();
            let (domains, projects) = (of("/cse-sr/domains/"), of("/cse-sr/projects/"));
            if (domains.len(), projects.len()) == (3, 4) {
                Ok(())
            } else {
                let left = domains.iter().filter_map(|key| key.strip_prefix("/cse-sr/domains/domain"));
                left.for_each(|round| comes_and_goes(round.parse().unwrap()));
                Err(format!("{domains:?} {projects:?}"))
            }
        });
    });
}

/// The daemon warns of a configured lease that would end between two heartbeats.
#[test]
fn too_short_leases_are_told_before_they_hurt() {
    let settings = Settings::default().environment("INSTANCE_TTL", "10");
    let checked = Installation::new(settings.clone()).unwrap().run(&["check-config"]).unwrap();
    assert_eq!(checked.code, Some(0));
    let mut daemon = Daemon::start(settings).unwrap();
    let told = "every lease lasts 10 s";
    assert!(checked.output.contains(told), "{}", checked.output);
    eventually(GENEROUS, || daemon.process().log().contains(told));
}
