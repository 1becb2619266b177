//! The registry's errors: one closed table of code, HTTP status and message, as clients of ServiceComb know them.
//!
//! An [`Error`] is what a client is told. What operators need beyond that is logged where the error is made.

use std::borrow::Cow;
use std::fmt;

/// What went wrong, as clients branch on it. The HTTP status is the code divided by 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// 400001: validation, undecodable or too large bodies.
    InvalidParameters,
    /// 400002: the node cannot reach its store.
    Unhealthy,
    /// 400010: the service exists with another id.
    ServiceExists,
    /// 400012: a missing service, consumer or provider.
    ServiceNotExists,
    /// 400013: deletion without force of a service with instances.
    ServiceHasInstances,
    /// 400016: a missing schema.
    SchemaNotExists,
    /// 400017: a missing instance.
    InstanceNotExists,
    /// 400018: a missing tag.
    TagNotExists,
    /// 400023: deletion without force of a service others depend on.
    ServiceHasConsumers,
    /// 400026: the name exists, but not in that version.
    ServiceVersionNotExists,
    /// 400100: a quota is used up.
    NotEnoughQuota,
    /// 403001: switched off by configuration.
    Forbidden,
    /// 429001: too many finds at once (ours).
    TooManyRequests,
    /// 500003: anything unexpected.
    Internal,
    /// 500011: the store refused, or did not answer.
    Unavailable,
    /// 503001: a queue is full (ours).
    Overloaded,
}

/// One row a code.
const TABLE: [(Code, u32, &str); 16] = [
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
    (Code::Forbidden, 403_001, "Forbidden"),
    (Code::TooManyRequests, 429_001, "Too many requests"),
    (Code::Internal, 500_003, "Internal server error"),
    (Code::Unavailable, 500_011, "Registry service is unavailable"),
    (Code::Overloaded, 503_001, "Service overloaded"),
];

impl Code {
    fn row(self) -> (Code, u32, &'static str) {
        TABLE.into_iter().find(|(code, ..)| *code == self).unwrap_or((self, 500_003, "Internal server error"))
    }

    /// The six-digit number that goes out, quoted, as `errorCode`.
    pub fn number(self) -> u32 {
        self.row().1
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        u16::try_from(self.number() / 1000).unwrap_or(500)
    }

    /// `errorMessage`.
    pub fn message(self) -> &'static str {
        self.row().2
    }
}

/// A refusal or failure, with the detail a client is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The row of the table.
    pub code: Code,
    /// For people; left out of the answer when empty.
    pub detail: Cow<'static, str>,
}

impl Error {
    /// An error with a detail.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// 400001.
    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidParameters, detail)
    }
}

/// `<errorMessage>(<detail>)`: the form used inside lists (`errMessage`).
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
