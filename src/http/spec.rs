//! The columns of the route table: method, older spelling, body, load, permission, and the description for OpenAPI. This file
//! imports neither handlers nor the server, so both can import it.

use crate::domain::shape::Shape;
use crate::domain::validate::demand::Demand;
use crate::domain::validate::rule::MemberRule;
use crate::error::Code;
pub use crate::rbac::{Resource, Verb};

/// The methods of routes. Other methods are answered with 405, except `OPTIONS`, which is answered before routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
}

/// The path of a route in the older API, v3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum V3 {
    /// The route is not in the older API.
    None,
    /// The path begins with `/registry/v3` instead of `/v4/{project}/registry`.
    Prefixed,
    /// The path has no prefix: `/version` instead of `/v4/{project}/registry/version`.
    Bare,
}

/// The body that a route takes, and the configuration key of its size limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// No body. If a client sends one, the server reads and drops it.
    Ignored,
    /// `server.request.maxInstanceBytes`.
    Instance,
    /// Properties of a service or an instance: `server.request.maxPropertiesBytes`.
    Properties,
    /// Any other body: `server.request.maxBodyBytes`.
    Configured,
}

/// What a request costs the server. It decides which requests are rejected first under overload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Load {
    /// Never rejected: it costs almost nothing, and operators need it most under overload.
    Always,
    /// A find. Rejected only when all places are taken, and with 429: then clients keep the instances that they know.
    Find,
    /// Answered from memory, usually without waiting. Rejected with 503 when all places are taken.
    Memory,
    /// A view of many services, or the dump: it takes much work and memory. Rejected with 503 when half of the places are taken, before
    /// all others.
    View,
    /// Waits for the store. Rejected with 503 when seven eighths of the places are taken: the rest is for the others.
    Store,
}

/// Who may use a route. `http/access` checks it, before the handler runs, when accounts are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Anyone. A token is not looked at.
    Open,
    /// Any account.
    Account,
    /// Accounts with the role `admin`.
    Admin,
    /// Accounts with a role that allows the verb on the resource type, and on all services that the request is about.
    Needs(Verb, Resource, Target),
}

/// Which services a request is about. A role with labels allows a request only if it allows each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A list, or nothing that has labels. The handler leaves out of a list what the caller may not see: `Call::grant`.
    Listed,
    /// All services of the tenant: a role with labels is not enough.
    All,
    /// The service with the id in this path parameter.
    Service(&'static str),
    /// What the query names: `env`, `appId` and `serviceName`, or `serviceId`. Without `env` it is the environment of the consumer.
    Query,
    /// As [`Self::Query`], but the environment is `env` alone.
    Existence,
    /// The service in the body of a registration.
    NewService,
    /// The services whose ids are in the body of a batch deletion.
    ServiceIds,
    /// The services and the instances in the body of a batch find.
    BatchFind,
    /// The instances in the body of a heartbeat for many.
    Heartbeats,
}

/// The API that a path belongs to. It decides where the tenant comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Surface {
    /// `/v4/…`: the domain is in a header, the project in the path.
    V4,
    /// `/registry/v3/…`: the domain is in a header, the project is `default`.
    V3,
    /// Any other path: the tenant is `default/default`.
    Plain,
}

impl Surface {
    pub fn of(path: &str) -> Self {
        if path.starts_with("/v4/") {
            Self::V4
        } else if path.starts_with("/registry/v3/") {
            Self::V3
        } else {
            Self::Plain
        }
    }
}

/// Which pages in browsers may read the answers of a route. `middleware/cors.rs` decides which origins these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Pages of the server, and pages of the other origins that may read.
    OtherOrigins,
    /// Only pages of the server: the answers have no CORS headers.
    OwnOrigin,
}

/// Whether the requests of a route count for the limit of requests per client address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    Counted,
    /// Heartbeats, because a missed one ends an instance; and what operators need most while a limit rejects requests.
    Free,
}

/// Whether the access log has the requests of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestLog {
    Written,
    /// Heartbeats, because there are many of them and one says little.
    Omitted,
}

/// The description of a route for OpenAPI, and what only few routes have.
#[derive(Clone, Copy)]
pub struct Operation {
    /// The heading that groups operations.
    pub tag: &'static str,
    /// The name of the function in generated clients. It is unique.
    pub id: &'static str,
    pub summary: &'static str,
    /// Query parameters and headers. `X-Domain-Name` is added to all paths with a project. A path parameter is here only if its
    /// rule is another one than on other routes.
    pub parameters: &'static [Parameter],
    pub body: Option<Shape>,
    /// What the body must fulfil.
    pub demands: &'static [Demand],
    pub success: Success,
    /// The errors that only some routes answer. `openapi/answers.rs` adds those that follow from the columns of the table.
    pub errors: &'static [Code],
    /// Whether the configuration can take the route away. A path with parameters can be 404 in any case.
    pub closable: bool,
    pub made: Made,
    pub pages: Pages,
    pub rate: Rate,
    pub log: RequestLog,
}

/// What a success makes. The description links it to all operations on it.
#[derive(Clone, Copy)]
pub struct Made {
    /// The path parameters that name the new thing, each with the runtime expression of OpenAPI that finds its value.
    pub parameters: &'static [(&'static str, &'static str)],
    /// The path parameters of the request that name what it belongs to.
    pub within: &'static [&'static str],
}

#[derive(Clone, Copy)]
pub enum Success {
    /// 200 without a body.
    Empty,
    /// As [`Self::Empty`], with the header `Deprecation`.
    Deprecated,
    /// No success: each request is an error.
    Never,
    /// 200 with a JSON document.
    Json(Shape),
    /// 200 with a JSON document, or without a body.
    EmptyOr(Shape),
    /// 200 with a JSON document; or with server-sent events for a request that accepts `text/event-stream`. `about` describes them.
    JsonOrEvents { page: Shape, about: &'static str },
    /// 200 with a JSON document and `X-Resource-Revision`, or 304.
    Found(Shape),
    /// 200 with a JSON document and `X-Schema-Summary`.
    Summarized(Shape),
    /// 307 without a body: the header `Location` says where the answer is.
    Elsewhere,
    /// 200 with a document whose format another standard defines.
    Free { content_type: &'static str, about: &'static str },
    /// 101: a websocket whose text frames are JSON documents.
    Events(Shape),
    /// 101: a websocket whose pongs are heartbeats.
    Pongs,
}

#[derive(Clone, Copy)]
pub struct Parameter {
    pub place: ParameterPlace,
    pub name: &'static str,
    pub about: &'static str,
    pub need: Need,
    pub value: ParameterValue,
}

/// Which values of a parameter are accepted.
#[derive(Clone, Copy, Debug)]
pub enum ParameterValue {
    /// Any text.
    Any,
    Rule(MemberRule),
    OneOf(&'static [&'static str]),
    /// A regular expression, see [`crate::domain::validate::pattern::Stated::Regex`].
    Regex(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ParameterPlace {
    Query,
    Header,
    Path,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Required,
    Optional,
}

impl Operation {
    /// An operation without parameters. Its requests and answers have no body.
    pub const fn new(tag: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self {
            tag,
            id,
            summary,
            parameters: &[],
            body: None,
            demands: &[],
            success: Success::Empty,
            errors: &[],
            closable: false,
            made: Made { parameters: &[], within: &[] },
            pages: Pages::OtherOrigins,
            rate: Rate::Counted,
            log: RequestLog::Written,
        }
    }

    #[must_use]
    pub const fn with(mut self, parameters: &'static [Parameter]) -> Self {
        self.parameters = parameters;
        self
    }

    #[must_use]
    pub const fn takes(mut self, body: Shape) -> Self {
        self.body = Some(body);
        self
    }

    /// What the body must fulfil. The lists are in `domain/validate`.
    #[must_use]
    pub const fn demanding(mut self, demands: &'static [Demand]) -> Self {
        self.demands = demands;
        self
    }

    /// The errors that the operation can answer, besides those that many operations have: 400001, 500003, errors of accounts, of
    /// overload, and of the store if the route's load is `Store`.
    #[must_use]
    pub const fn fails_with(mut self, errors: &'static [Code]) -> Self {
        self.errors = errors;
        self
    }

    /// The configuration can take the route away. Then the answer is 404.
    #[must_use]
    pub const fn or_not_found(mut self) -> Self {
        self.closable = true;
        self
    }

    /// A success makes something, see [`Made`].
    #[must_use]
    pub const fn makes(
        mut self,
        parameters: &'static [(&'static str, &'static str)],
        within: &'static [&'static str],
    ) -> Self {
        self.made = Made { parameters, within };
        self
    }

    #[must_use]
    pub const fn answers(mut self, success: Success) -> Self {
        self.success = success;
        self
    }

    /// Only pages of the server may read the answers.
    #[must_use]
    pub const fn for_own_pages(mut self) -> Self {
        self.pages = Pages::OwnOrigin;
        self
    }

    /// Requests do not count for the limit of requests per client address.
    #[must_use]
    pub const fn uncounted(mut self) -> Self {
        self.rate = Rate::Free;
        self
    }

    /// The access log does not have the requests.
    #[must_use]
    pub const fn unlogged(mut self) -> Self {
        self.log = RequestLog::Omitted;
        self
    }
}

impl Parameter {
    pub const fn query(name: &'static str, about: &'static str) -> Self {
        Self { place: ParameterPlace::Query, name, about, need: Need::Optional, value: ParameterValue::Any }
    }

    pub const fn required(name: &'static str, about: &'static str) -> Self {
        Self { need: Need::Required, ..Self::query(name, about) }
    }

    pub const fn header(name: &'static str, about: &'static str) -> Self {
        Self { place: ParameterPlace::Header, ..Self::query(name, about) }
    }

    /// A header without which the request is rejected.
    pub const fn required_header(name: &'static str, about: &'static str) -> Self {
        Self { need: Need::Required, ..Self::header(name, about) }
    }

    /// A parameter in the path.
    pub const fn path(name: &'static str, about: &'static str) -> Self {
        Self { place: ParameterPlace::Path, ..Self::required(name, about) }
    }

    /// Only values that fulfil the rule are accepted.
    #[must_use]
    pub const fn like(mut self, rule: MemberRule) -> Self {
        self.value = ParameterValue::Rule(rule);
        self
    }

    #[must_use]
    pub const fn one_of(mut self, values: &'static [&'static str]) -> Self {
        self.value = ParameterValue::OneOf(values);
        self
    }

    #[must_use]
    pub const fn matching(mut self, regex: &'static str) -> Self {
        self.value = ParameterValue::Regex(regex);
        self
    }
}
