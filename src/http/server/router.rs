//! From the URI of a request to a row of the table.
//!
//! A path is split, decoded segment by segment, cleaned and matched. `//` and `..` are resolved without a redirect, because a
//! redirect loses the method and the body of a write. `%2F` does not separate segments. Matching uses a radix tree, so it costs the
//! same with any number of rows.

use std::borrow::Cow;
use std::ops::Range;

use actix_http::header::HeaderValue;
use actix_http::uri::Uri;

use crate::http::call::{MAX_PARAMS, Matched};
use crate::http::escape::{Undecodable, route_path};
use crate::http::handler_names;
use crate::http::query::pair_with_invalid_utf8;
use crate::http::route::Route;
use crate::http::spec::{Load, Method, Surface, V3};
use crate::metrics::requests::{self, RouteLabels, RouteNumber};

/// URIs of this many bytes or more are rejected.
const URI_LIMIT: usize = 2048;

/// The result of a look-up.
pub(super) enum RouteLookup<S: 'static> {
    Route(&'static Route<S>, Matched),
    /// The path has other methods. With the value of the header `Allow`.
    WrongMethod(HeaderValue),
    NoRoute,
    /// The URI is too long or ends in a character that is not allowed.
    BadUri,
    /// The path has an incomplete percent escape.
    BadEscape,
    /// The percent escapes of the path or of a query parameter are invalid UTF-8. With the name of that part.
    InvalidUtf8(String),
}

/// The rows of a table, by path.
pub(super) struct Router<S: 'static> {
    paths: matchit::Router<PathRows<S>>,
}

struct PathRows<S: 'static> {
    surface: Surface,
    names: &'static [&'static str],
    rows: [Option<(&'static Route<S>, RouteNumber)>; 4],
    allow: HeaderValue,
}

const METHODS: [(Method, &str); 4] =
    [(Method::Get, "GET"), (Method::Put, "PUT"), (Method::Post, "POST"), (Method::Delete, "DELETE")];

impl<S: 'static> Router<S> {
    /// Builds the tree. Fails if two rows have the same method and path, or if a pattern is invalid.
    pub(super) fn new(table: impl IntoIterator<Item = &'static Route<S>>) -> Result<Self, String> {
        let mut paths: Vec<(String, Vec<&'static Route<S>>)> = Vec::new();
        for row in table {
            for path in std::iter::once(row.path.to_owned()).chain(older_spelling(row)?) {
                match paths.iter_mut().find(|(known, _)| *known == path) {
                    Some((_, rows)) if rows.iter().any(|known| known.method == row.method) => {
                        return Err(format!("two rows for {:?} {path}", row.method));
                    }
                    Some((_, rows)) => rows.push(row),
                    None => paths.push((path, vec![row])),
                }
            }
        }
        let mut router = matchit::Router::new();
        for (path, rows) in paths {
            router
                .insert(path.clone(), PathRows::new(&path, &rows)?)
                .map_err(|error| format!("{path}: {error}"))?;
        }
        Ok(Self { paths: router })
    }

    pub(super) fn find(&self, method: &actix_http::Method, uri: &Uri) -> RouteLookup<S> {
        if is_bad(uri) {
            return RouteLookup::BadUri;
        }
        let path = match route_path(uri.path()) {
            Ok(path) => path,
            Err(Undecodable::Ambiguous) => return RouteLookup::NoRoute,
            Err(Undecodable::Escape) => return RouteLookup::BadEscape,
            Err(Undecodable::Text) => return RouteLookup::InvalidUtf8(format!("path '{}'", uri.path())),
        };
        if let Some(name) = uri.query().and_then(pair_with_invalid_utf8) {
            return RouteLookup::InvalidUtf8(format!("query parameter '{name}'"));
        }
        let Ok(found) = self.paths.at(&path) else { return RouteLookup::NoRoute };
        let rows = found.value;
        let row = METHODS
            .iter()
            .zip(rows.rows)
            .find(|((_, name), _)| method.as_str() == *name)
            .and_then(|(_, row)| row);
        let Some((row, number)) = row else { return RouteLookup::WrongMethod(rows.allow.clone()) };
        let mut values: [Range<u16>; MAX_PARAMS] = [0..0, 0..0, 0..0, 0..0];
        for (name, slot) in rows.names.iter().zip(&mut values) {
            // Iterating over the parameters would check once more that each name is UTF-8.
            let Some(value) = found.params.get(name) else { continue };
            // A parameter is a part of the path, and a path is shorter than `URI_LIMIT`.
            let start = value.as_ptr() as usize - path.as_ptr() as usize;
            let place = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
            *slot = place(start)..place(start + value.len());
        }
        let matched = Matched {
            surface: rows.surface,
            names: rows.names,
            values,
            decoded: match path {
                Cow::Owned(path) => Some(path.into_boxed_str()),
                Cow::Borrowed(_) => None,
            },
            number,
        };
        RouteLookup::Route(row, matched)
    }
}

impl<S: 'static> PathRows<S> {
    fn new(path: &str, rows: &[&'static Route<S>]) -> Result<Self, String> {
        // All rows of a path have the same names of parameters. Only the older spelling has no project.
        let names = rows.first().map(|row| names_of(row.path, path)).unwrap_or_default();
        if names.len() > MAX_PARAMS {
            return Err(format!("{path}: more than {MAX_PARAMS} parameters"));
        }
        if rows.iter().any(|row| names_of(row.path, path) != names) {
            return Err(format!("{path}: its rows name the parameters differently"));
        }
        let of = |method: Method| rows.iter().find(|row| row.method == method).copied();
        let allow: Vec<&str> =
            METHODS.iter().filter(|(method, _)| of(*method).is_some()).map(|(_, name)| *name).collect();
        Ok(Self {
            surface: Surface::of(path),
            // The table is static, so these few names are never freed.
            names: Vec::leak(names),
            rows: METHODS.map(|(method, name)| of(method).map(|row| (row, number(name, row)))),
            allow: HeaderValue::from_str(&allow.join(", ")).map_err(|error| format!("{path}: {error}"))?,
        })
    }
}

/// What metrics count the requests of a row by, in either spelling of its path.
fn number<S>(method: &'static str, row: &Route<S>) -> RouteNumber {
    requests::route(RouteLabels {
        method,
        route: row.path,
        api: handler_names::of(row.operation.id),
        writes: (row.changes() && row.load == Load::Store).then_some(row.operation.id),
    })
}

/// The parameters of `pattern` that occur in `path`, which is one of its spellings. `{*name}` stands for the rest of a path.
fn names_of(pattern: &'static str, path: &str) -> Vec<&'static str> {
    pattern
        .split('/')
        .filter(|segment| path.contains(segment))
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| name.trim_start_matches('*'))
        .collect()
}

/// The path of the older API.
fn older_spelling<S>(row: &Route<S>) -> Result<Option<String>, String> {
    let rest = || {
        row.path
            .strip_prefix("/v4/{project}/registry")
            .ok_or_else(|| format!("{}: only /v4/{{project}}/registry has an older spelling", row.path))
    };
    Ok(match row.v3 {
        V3::None => None,
        V3::Prefixed => Some(format!("/registry/v3{}", rest()?)),
        V3::Bare => Some(rest()?.to_owned()),
    })
}

/// Whether a URI is rejected without a look-up. Of an absolute URI, path and query count.
fn is_bad(uri: &Uri) -> bool {
    let text = shown(uri);
    text.len() >= URI_LIMIT
        || matches!(text.as_bytes().last(), Some(b';' | b'&' | b'?' | b'+' | b'@'))
        || text.starts_with('.')
        || uri.query().is_some_and(|query| query.contains('/') && query.contains("//"))
}

/// Path and query, not decoded.
pub(super) fn shown(uri: &Uri) -> &str {
    uri.path_and_query().map_or("", |text| text.as_str())
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::call::{Answer, Call};
    use crate::http::reply::Reply;
    use crate::http::route::{Handler, route};
    use crate::http::routes::{Accounts, table};
    use crate::http::spec::{Body, Load, Operation, Permission};

    fn nothing(_: &Arc<()>, _: Call) -> Answer {
        Reply::empty().into()
    }

    const fn row(method: Method, path: &'static str, v3: V3) -> Route<()> {
        const NOTHING: Operation = Operation::new("", "", "");
        route(
            method,
            path,
            v3,
            Body::Ignored,
            Load::Memory,
            Permission::Open,
            Handler::Answer(nothing),
            &NOTHING,
        )
    }

    static TABLE: &[Route<()>] = &[
        row(Method::Get, "/v4/{project}/registry/version", V3::Bare),
        row(Method::Get, "/v4/{project}/registry/microservices/{serviceId}", V3::Prefixed),
        row(Method::Delete, "/v4/{project}/registry/microservices/{serviceId}", V3::Prefixed),
        row(Method::Get, "/v4/{project}/registry/microservices/{consumerId}/providers", V3::Prefixed),
        row(Method::Put, "/v4/{project}/registry/instances/status", V3::None),
        row(Method::Post, "/v4/{project}/registry/instances/action", V3::None),
        row(Method::Post, "/v4/{project}/registry/heartbeat", V3::None),
        row(Method::Put, "/v4/{project}/registry/heartbeat", V3::None),
        row(Method::Get, "/v4/{project}/registry/heartbeat", V3::None),
        row(Method::Get, "/v4/token", V3::None),
    ];

    fn check(method: &str, uri: &str, expected: &str) {
        let router = Router::new(TABLE).expect("a sound table");
        let method = actix_http::Method::from_bytes(method.as_bytes()).expect("a method");
        let uri: Uri = uri.parse().expect("a URI");
        let found = match router.find(&method, &uri) {
            RouteLookup::Route(row, matched) => {
                let params: Vec<String> = matched
                    .names
                    .iter()
                    .map(|name| format!("{name}={}", matched.find(uri.path(), name)))
                    .collect();
                format!(
                    "{:?} {} {}",
                    matched.surface,
                    row.path.rsplit('/').next().unwrap_or(""),
                    params.join(" ")
                )
            }
            RouteLookup::WrongMethod(allow) => format!("405 {}", allow.to_str().expect("text")),
            RouteLookup::NoRoute => "404".to_owned(),
            RouteLookup::BadUri => "bad URI".to_owned(),
            RouteLookup::BadEscape => "bad escape".to_owned(),
            RouteLookup::InvalidUtf8(part) => format!("invalid UTF-8: {part}"),
        };
        assert_eq!(found, expected, "{method} {uri}");
    }

    #[test]
    fn paths_are_matched_decoded_and_clean() {
        check("GET", "/v4/p/registry/version", "V4 version project=p");
        check("GET", "/version", "Plain version ");
        check("GET", "/registry/v3/microservices/s1", "V3 {serviceId} serviceId=s1");
        check("GET", "/v4/p%20q/registry/microservices/%C3%A4", "V4 {serviceId} project=p q serviceId=ä");
        check("DELETE", "/v4//p/./registry/x/../microservices/s", "V4 {serviceId} project=p serviceId=s");
        check("GET", "/registry/v3/microservices/c/providers?x=1", "V3 providers consumerId=c");
        check("GET", "http://host:1/v4/p/registry/version", "V4 version project=p");
        check("GET", "/v4/token", "V4 token ");
    }

    #[test]
    fn unknown_paths() {
        for path in [
            "/",
            "/v4",
            "/V4/p/registry/version",
            "/v4/p/registry/version/",
            "/registry/v3/version",
            "/v4/p/registry/microservices/a%2Fb",
            "/v4/p/registry/microservices/%2e%2e",
            "/v4/p/registry/microservices/a%2F..%2F..%2Fversion",
            "/v4/token/..%2Fp/registry/version",
            "/v4/token/%2e%2e/p/registry/version",
            "/v4/p/registry/microservices//watcher/x",
            "/v4/p/registry/microservices/",
            "/registry/v3/instances/status",
        ] {
            check("GET", path, "404");
        }
        check("HEAD", "/v4/p/registry/microservices/s", "405 GET, DELETE");
        check("get", "/version", "405 GET");
        check("DELETE", "/v4/p/registry/heartbeat", "405 GET, PUT, POST");
        check("GET", "/v4/p/registry/instances/action", "405 POST");
        check("GET", "/v4/%zz/registry/version", "bad escape");
        check("GET", "/v4/%ff/registry/version", "invalid UTF-8: path '/v4/%ff/registry/version'");
        check("GET", "/v4/p/registry/version?a=%C3%A4&b=%ff", "invalid UTF-8: query parameter 'b'");
    }

    #[test]
    fn uris_that_are_rejected_without_a_look_up() {
        for ending in [";", "&", "?", "+", "@", "?a=b//c", "?", "??", "?a=1;"] {
            check("GET", &format!("/version{ending}"), "bad URI");
        }
        check("GET", &format!("/version?a={}", "x".repeat(2048 - 11)), "bad URI");
        check("GET", &format!("/version?a={}", "x".repeat(2047 - 11)), "Plain version ");
        check("GET", "/version?a=.", "Plain version ");
        check("GET", "/version?a=1%3B", "Plain version ");
    }

    #[test]
    fn unsound_tables_are_refused() {
        static TWICE: &[Route<()>] = &[row(Method::Get, "/a", V3::None), row(Method::Get, "/a", V3::None)];
        assert!(Router::new(TWICE).is_err());
        static NO_PREFIX: &[Route<()>] = &[row(Method::Get, "/v1/a", V3::Prefixed)];
        assert!(Router::new(NO_PREFIX).is_err());
    }

    #[test]
    fn the_servers_table_is_sound() {
        assert!(Router::new(table(Accounts::On)).is_ok());
    }
}
