//! The errors of the API: one closed table of code, HTTP status and message, as clients of ServiceComb know them.
//!
//! An [`Error`] is sent to a client. Code that makes one logs what an operator needs beyond it.

use std::borrow::Cow;
use std::fmt;

/// The kind of an error. Clients branch on its number. The HTTP status is the number divided by 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// 400001: a value is not valid, or a body cannot be decoded or is too large.
    InvalidParameters,
    /// 400002: the node cannot reach its store.
    Unhealthy,
    /// 400010: the service exists under another id.
    ServiceExists,
    /// 400012: a service does not exist; also a consumer or provider.
    ServiceNotExists,
    /// 400013: a service with instances is to be deleted without `force`.
    ServiceHasInstances,
    /// 400016.
    SchemaNotExists,
    /// 400017.
    InstanceNotExists,
    /// 400018.
    TagNotExists,
    /// 400023: a service that others depend on is to be deleted without `force`.
    ServiceHasConsumers,
    /// 400026: the name exists, but not in the requested version.
    ServiceVersionNotExists,
    /// 400100.
    NotEnoughQuota,
    /// 400200.
    AccountNotExists,
    /// 400201.
    RoleNotExists,
    /// 400202.
    AccountHasInvalidRole,
    /// 400203.
    AccountQuota,
    /// 400204.
    RoleQuota,
    /// 400205.
    RoleInUse,
    /// 400206: a new password equals the current one.
    NewPasswordBad,
    /// 401201: a token or the header with it cannot be used.
    Unauthorized,
    /// 401202.
    WrongUserOrPassword,
    /// 401204.
    NoAuthHeader,
    /// 401205: a token has expired, or is not valid yet.
    TokenExpired,
    /// 401206.
    TokenOwnerDeleted,
    /// 401207: the current password, in a request to change it.
    WrongPassword,
    /// 401302: as 401202, where `rbac.scope` leaves most of the API open.
    WrongUserOrPasswordHalfOpen,
    /// 403001: the configuration does not allow it, or the request comes from a page of another origin.
    Forbidden,
    /// 403201: too many logins failed.
    AccountBlocked,
    /// 403202.
    BuiltInAccount,
    /// 403203.
    BuiltInRole,
    /// 403204.
    OwnAccount,
    /// 403205.
    NoPermission,
    /// 409200.
    AccountExists,
    /// 409201.
    RoleExists,
    /// 429001: too many finds at once, or too many requests from one client address. The original has no such code.
    TooManyRequests,
    /// 500003: an error that no other code names.
    Internal,
    /// 500011: the store rejected a request, or did not answer.
    Unavailable,
    /// 503001: a queue is full. The original has no such code.
    Overloaded,
}

const TABLE: [(Code, u32, &str); 37] = [
    (Code::InvalidParameters, 400_001, "Invalid parameter(s)"),
    (Code::Unhealthy, 400_002, "Server is Unhealthy"),
    (Code::ServiceExists, 400_010, "Micro-service already exists"),
    (Code::ServiceNotExists, 400_012, "Micro-service does not exist"),
    (Code::ServiceHasInstances, 400_013, "Micro-service has deployed instance(s)"),
    (Code::SchemaNotExists, 400_016, "Schema does not exist"),
    (Code::InstanceNotExists, 400_017, "Instance does not exist"),
    (Code::TagNotExists, 400_018, "Tag does not exist"),
    (Code::ServiceHasConsumers, 400_023, "Consumer(s) depends on this micro-service"),
    (Code::ServiceVersionNotExists, 400_026, "Micro-service version does not exist"),
    (Code::NotEnoughQuota, 400_100, "Not enough quota"),
    (Code::AccountNotExists, 400_200, "Account not exists"),
    (Code::RoleNotExists, 400_201, "Role not exists"),
    (Code::AccountHasInvalidRole, 400_202, "Account has invalid role(s)"),
    (Code::AccountQuota, 400_203, "No quota to create account"),
    (Code::RoleQuota, 400_204, "No quota to create role"),
    (Code::RoleInUse, 400_205, "Role is bound to some user(s)"),
    (Code::NewPasswordBad, 400_206, "New password is bad"),
    (Code::Unauthorized, 401_201, "Request unauthorized"),
    (Code::WrongUserOrPassword, 401_202, "User name or password is wrong"),
    (Code::NoAuthHeader, 401_204, "No authorization header"),
    (Code::TokenExpired, 401_205, "Token is expired"),
    (Code::TokenOwnerDeleted, 401_206, "The account that owns the token is deleted"),
    (Code::WrongPassword, 401_207, "Password is wrong"),
    (Code::WrongUserOrPasswordHalfOpen, 401_302, ""),
    (Code::Forbidden, 403_001, "Forbidden"),
    (Code::AccountBlocked, 403_201, "Account blocked"),
    (Code::BuiltInAccount, 403_202, "Forbid to operate build-in account(s)"),
    (Code::BuiltInRole, 403_203, "Forbid to operate build-in role(s)"),
    (Code::OwnAccount, 403_204, "Forbid to operate your own account"),
    (Code::NoPermission, 403_205, "No permission(s)"),
    (Code::AccountExists, 409_200, "account name is duplicated"),
    (Code::RoleExists, 409_201, "role name is duplicated"),
    (Code::TooManyRequests, 429_001, "Too many requests"),
    (Code::Internal, 500_003, "Internal server error"),
    (Code::Unavailable, 500_011, "Registry service is unavailable"),
    (Code::Overloaded, 503_001, "Service overloaded"),
];

impl Code {
    fn row(self) -> (Code, u32, &'static str) {
        TABLE.into_iter().find(|(code, ..)| *code == self).unwrap_or((self, 500_003, "Internal server error"))
    }

    /// The answer's `errorCode`, six digits. The answer has it as a text.
    pub fn number(self) -> u32 {
        self.row().1
    }

    pub fn status(self) -> u16 {
        u16::try_from(self.number() / 1000).unwrap_or(500)
    }

    /// The answer's `errorMessage`.
    pub fn message(self) -> &'static str {
        self.row().2
    }
}

/// An error as a client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub code: Code,
    /// A sentence for people. If it is empty, the answer has no `detail`.
    pub detail: Cow<'static, str>,
}

impl Error {
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// An error with [`Code::InvalidParameters`].
    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidParameters, detail)
    }
}

/// `<errorMessage>(<detail>)`: the form in which answers with many results show an error (`errMessage`).
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.code.message(), self.detail)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_one_row_and_its_own_number() {
        let mut numbers: Vec<u32> = TABLE.iter().map(|(_, number, _)| *number).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), TABLE.len());
        assert_eq!(Code::ServiceNotExists.number(), 400_012);
        assert_eq!(Code::Overloaded.status(), 503);
    }

    #[test]
    fn text_in_lists_is_message_and_detail() {
        let error = Error::new(Code::ServiceNotExists, "Service does not exist.");
        assert_eq!(error.to_string(), "Micro-service does not exist(Service does not exist.)");
    }
}
