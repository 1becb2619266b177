//! From what etcd or the transport says to what surely or maybe happened. The texts are those of etcd 3.4 and later.

use std::error::Error as _;

use tonic::{Code, Status};

use crate::store::port::{Reason, StoreError};

/// What one attempt at one node came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It never left, or the node turned it away before doing anything: another node may be tried.
    NotSent(String),
    /// etcd looked at it and said no.
    Refused { reason: Reason, message: String },
    /// The token is not known (any more): authenticate, then try again.
    StaleToken(String),
    /// It may have been done.
    Unsettled(String),
    /// It was done, but the answer is longer than we take.
    AnswerTooLarge(String),
}

impl Failure {
    /// For something that writes.
    pub fn of_write(self) -> StoreError {
        match self {
            Failure::NotSent(message) => unavailable(message),
            Failure::Refused { reason, message } => StoreError::Aborted { reason, message },
            Failure::StaleToken(message) => StoreError::Aborted { reason: Reason::Denied, message },
            Failure::Unsettled(message) | Failure::AnswerTooLarge(message) => StoreError::Unknown { message },
        }
    }

    /// For something that only reads: nothing can have been written.
    pub fn of_read(self) -> StoreError {
        match self {
            Failure::Unsettled(message) => unavailable(message),
            Failure::AnswerTooLarge(message) => StoreError::Aborted { reason: Reason::Refused, message },
            other => other.of_write(),
        }
    }
}

pub(super) fn unavailable(message: impl Into<String>) -> StoreError {
    StoreError::Aborted { reason: Reason::Unavailable, message: message.into() }
}

pub(super) fn closed() -> StoreError {
    unavailable("the store is closed")
}

pub(super) fn of_client(error: etcd_client::Error) -> Failure {
    match error {
        etcd_client::Error::GRpcStatus(status) => of_status(&status),
        // Raised by the client itself before anything is sent.
        etcd_client::Error::InvalidArgs(message) => Failure::Refused { reason: Reason::Refused, message },
        other => Failure::Unsettled(other.to_string()),
    }
}

pub(super) fn of_status(status: &Status) -> Failure {
    let text = status.message();
    if let Some(why) = connect_error(status) {
        return Failure::NotSent(why);
    }
    let refused = |reason| Failure::Refused { reason, message: text.to_owned() };
    match text {
        "etcdserver: requested lease not found" => return refused(Reason::LeaseNotFound),
        "etcdserver: request is too large" => return refused(Reason::TooLarge),
        "etcdserver: too many operations in txn request" => return refused(Reason::TooManyOps),
        "etcdserver: duplicate key given in txn request" => return refused(Reason::DuplicateKey),
        "etcdserver: mvcc: database space exceeded" => return refused(Reason::NoSpace),
        // Said before the proposal is made: too much waits to be applied.
        "etcdserver: too many requests" => return refused(Reason::Unavailable),
        // Each request of ours demands a leader, and the node looks before it does anything.
        "etcdserver: no leader" | "etcdserver: rpc not supported for learner" => {
            return Failure::NotSent(text.to_owned());
        }
        "etcdserver: invalid auth token" | "etcdserver: revision of auth store is old" => {
            return Failure::StaleToken(text.to_owned());
        }
        "etcdserver: permission denied"
        | "etcdserver: user name is empty"
        | "etcdserver: user name not found"
        | "etcdserver: authentication failed, invalid user ID or password" => {
            return refused(Reason::Denied);
        }
        _ => {}
    }
    if text.contains("decoded message length too large") {
        return Failure::AnswerTooLarge(text.to_owned());
    }
    match status.code() {
        // gRPC's own limit lies 512 KiB above etcd's and is met first by what is much too large.
        Code::ResourceExhausted if text.contains("larger than max") => refused(Reason::TooLarge),
        Code::Unauthenticated => Failure::StaleToken(text.to_owned()),
        Code::PermissionDenied => refused(Reason::Denied),
        // etcd's checks of a request, made before it is proposed or as it is applied, when all of it is refused.
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::NotFound
        | Code::AlreadyExists
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss => refused(Reason::Refused),
        // "request timed out", "leader changed", "server stopped", a stream that broke: the proposal may yet commit.
        _ => Failure::Unsettled(if text.is_empty() { status.code().to_string() } else { text.to_owned() }),
    }
}

/// The words of a connection that could not be made, however deep they lie.
fn connect_error(status: &Status) -> Option<String> {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(connect) = error.downcast_ref::<tonic::ConnectError>() {
            return Some(connect.to_string());
        }
        source = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: Code, text: &str, expected: &str) {
        let failure = of_status(&Status::new(code, text));
        assert!(format!("{:?}", failure.clone().of_write()).starts_with(expected), "{text}: {failure:?}");
    }

    #[test]
    fn what_is_sure_and_what_is_not() {
        let aborted = |reason: &str| format!("Aborted {{ reason: {reason},");
        check(Code::NotFound, "etcdserver: requested lease not found", &aborted("LeaseNotFound"));
        check(Code::InvalidArgument, "etcdserver: request is too large", &aborted("TooLarge"));
        check(
            Code::ResourceExhausted,
            "grpc: received message larger than max (3 vs. 2)",
            &aborted("TooLarge"),
        );
        check(
            Code::InvalidArgument,
            "etcdserver: too many operations in txn request",
            &aborted("TooManyOps"),
        );
        check(
            Code::InvalidArgument,
            "etcdserver: duplicate key given in txn request",
            &aborted("DuplicateKey"),
        );
        check(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", &aborted("NoSpace"));
        check(Code::ResourceExhausted, "etcdserver: too many requests", &aborted("Unavailable"));
        check(Code::Unavailable, "etcdserver: no leader", &aborted("Unavailable"));
        check(Code::PermissionDenied, "etcdserver: permission denied", &aborted("Denied"));
        check(Code::InvalidArgument, "etcdserver: key is not provided", &aborted("Refused"));
        check(
            Code::OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
            &aborted("Refused"),
        );
        for unsure in [
            "etcdserver: request timed out",
            "etcdserver: request timed out, possibly due to previous leader failure",
            "etcdserver: leader changed",
            "etcdserver: server stopped",
            "error reading a body from connection",
        ] {
            check(Code::Unavailable, unsure, "Unknown");
        }
        check(
            Code::OutOfRange,
            "Error, decoded message length too large: found 5 bytes, the limit is: 4 bytes",
            "Unknown",
        );
        check(Code::Unknown, "context deadline exceeded", "Unknown");
        check(Code::DeadlineExceeded, "", "Unknown");
    }

    #[test]
    fn a_connection_that_was_not_made_sent_nothing() {
        let refused = tonic::ConnectError("connect 127.0.0.1:1: connection refused".into());
        let failure = of_status(&Status::from_error(Box::new(refused)));
        assert_eq!(failure, Failure::NotSent("connect 127.0.0.1:1: connection refused".to_owned()));
        let broken = std::io::Error::new(std::io::ErrorKind::BrokenPipe, "stream closed");
        let failure = of_status(&Status::from_error(Box::new(broken)));
        assert!(matches!(failure, Failure::Unsettled(_)), "{failure:?}");
    }
}
