//! What a route says of itself, as data: method, path, body, load, permission, and its description for OpenAPI. This file imports
//! no handler and no server, so both may import it.

use crate::domain::shape::Shape;

/// Methods that can have routes. `HEAD`, `PATCH` and the rest never have (405), `OPTIONS` is answered before routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
}

/// The spelling of a v4 path in the older API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum V3 {
    /// There is none.
    None,
    /// `/registry/v3` stands for `/v4/{project}/registry`.
    Prefixed,
    /// The path stands alone: `/version` for `/v4/{project}/registry/version`.
    Bare,
}

/// How much body a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// None: what is sent all the same is read and dropped.
    Ignored,
    /// An instance: up to `server.request.maxInstanceBytes`.
    Instance,
    /// Properties of a service or an instance: up to `server.request.maxPropertiesBytes`.
    Properties,
    /// Anything else: up to `server.request.maxBodyBytes`.
    Configured,
}

/// What a request costs, and so what becomes of it when the server has too much to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Load {
    /// Next to nothing, and operators need it most then: it is never refused.
    Always,
    /// A find: refused only when every place is taken, with 429, which makes clients keep what they know.
    Find,
    /// Answered from memory, as a rule without waiting: refused when every place is taken.
    Memory,
    /// Waits for the store: refused while places are left for the others.
    Store,
}

/// What a caller wants to do to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read it.
    Get,
    /// Make it.
    Create,
    /// Change it.
    Update,
    /// Delete it.
    Delete,
}

/// Resource types of roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// Accounts and account locks.
    Account,
    /// Roles.
    Role,
    /// Configuration.
    Config,
    /// Services, instances, tags, dependencies' readers, heartbeats, watches, statistics.
    Service,
    /// Schemas of services.
    ServiceSchema,
    /// Governance rules.
    Governance,
    /// The admin API.
    Ops,
}

/// Who may use a route when accounts are switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Anyone, without a token.
    Open,
    /// Any account.
    Account,
    /// Only the role `admin`: the route belongs to no resource type.
    Admin,
    /// An account with a role that allows the verb on the resource type.
    Needs(Verb, Resource),
}

/// Which API a path belongs to; it decides where the tenant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Surface {
    /// `/v4/…`: domain from the header, project from the path.
    V4,
    /// `/registry/v3/…`: domain from a header, project `default`.
    V3,
    /// Any other path: `default/default`.
    Plain,
}

impl Surface {
    /// The API a path pattern belongs to.
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

/// What a route does, in words for those who call it.
#[derive(Clone, Copy)]
pub struct Operation {
    /// Heading it stands under.
    pub tag: &'static str,
    /// Name for generated clients.
    pub id: &'static str,
    pub summary: &'static str,
    /// Query parameters and headers, besides those of every request.
    pub parameters: &'static [Parameter],
    pub body: Option<Shape>,
    pub success: Success,
}

/// A successful answer.
#[derive(Clone, Copy)]
pub enum Success {
    /// 200 without a body.
    Empty,
    /// 200 with a document.
    Json(Shape),
    /// 200 with a document and `X-Resource-Revision`, or 304.
    Found(Shape),
    /// 200 with a document and `X-Schema-Summary`.
    Summarized(Shape),
    /// 200 with a document whose form another standard defines.
    Free { content_type: &'static str, about: &'static str },
    /// 101. Each text frame is such a document.
    Events(Shape),
    /// 101. Pongs count as heartbeats.
    Pongs,
}

/// A parameter in the query or a header.
#[derive(Clone, Copy)]
pub struct Parameter {
    pub place: Place,
    pub name: &'static str,
    pub about: &'static str,
    pub need: Need,
}

/// Where a parameter stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Query,
    Header,
}

/// Whether a parameter has to be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Required,
    Optional,
}

impl Operation {
    /// An operation without parameters, body and answer.
    pub const fn new(tag: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self { tag, id, summary, parameters: &[], body: None, success: Success::Empty }
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

    #[must_use]
    pub const fn answers(mut self, success: Success) -> Self {
        self.success = success;
        self
    }
}

impl Parameter {
    /// A query parameter that may be left out.
    pub const fn query(name: &'static str, about: &'static str) -> Self {
        Self { place: Place::Query, name, about, need: Need::Optional }
    }

    /// A query parameter that has to be there.
    pub const fn required(name: &'static str, about: &'static str) -> Self {
        Self { place: Place::Query, name, about, need: Need::Required }
    }

    /// A header that may be left out.
    pub const fn header(name: &'static str, about: &'static str) -> Self {
        Self { place: Place::Header, name, about, need: Need::Optional }
    }
}
