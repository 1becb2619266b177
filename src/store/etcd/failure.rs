//! Turns errors of etcd and of the connection into failures that say whether the request may have been done. The texts are
//! those of etcd 3.4 and later.

use std::error::Error;

use rustls::CertificateError;
use tonic::{Code, Status};

use crate::store::port::{Reason, StoreError};

/// Why one attempt at one node failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The request was not sent, or the node refused it before it did anything. Another node may be tried.
    NotSent(String),
    /// etcd refused the request.
    Refused { reason: Reason, message: String },
    /// etcd rejects the token, and did nothing. Log in, then try again.
    StaleToken(String),
    /// The request may have been done.
    Unsettled(String),
    /// The request was done, but its answer is over [`super::nodes::LARGEST_ANSWER`].
    AnswerTooLarge(String),
}

impl Failure {
    /// The error of a call that writes.
    pub fn of_write(self) -> StoreError {
        match self {
            Failure::NotSent(message) => unavailable(message),
            Failure::Refused { reason, message } => StoreError::Aborted { reason, message },
            Failure::StaleToken(message) => StoreError::Aborted { reason: Reason::Denied, message },
            Failure::Unsettled(message) | Failure::AnswerTooLarge(message) => StoreError::Unknown { message },
        }
    }

    /// The error of a call that only reads, so it has certainly written nothing.
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
        // The client returns this before it sends anything.
        etcd_client::Error::InvalidArgs(message) => Failure::Refused { reason: Reason::Refused, message },
        other => match never_sent(&other) {
            Some(why) => Failure::NotSent(why),
            None => Failure::Unsettled(words(&other)),
        },
    }
}

pub(super) fn of_status(status: &Status) -> Failure {
    let text = status.message();
    if let Some(why) = connect_error(status).or_else(|| never_sent(status)) {
        return Failure::NotSent(why);
    }
    let refused = |reason| Failure::Refused { reason, message: text.to_owned() };
    match text {
        "etcdserver: requested lease not found" => return refused(Reason::LeaseNotFound),
        "etcdserver: request is too large" => return refused(Reason::TooLarge),
        "etcdserver: too many operations in txn request" => return refused(Reason::TooManyOps),
        "etcdserver: duplicate key given in txn request" => return refused(Reason::DuplicateKey),
        "etcdserver: mvcc: database space exceeded" => return refused(Reason::NoSpace),
        // etcd returns this before it proposes the request, if too many requests wait to be applied.
        "etcdserver: too many requests" => return refused(Reason::Unavailable),
        // Each request of this store demands a leader, and the node checks that first.
        "etcdserver: no leader" | "etcdserver: rpc not supported for learner" => {
            return Failure::NotSent(text.to_owned());
        }
        "etcdserver: invalid auth token"
        | "etcdserver: revision of auth store is old"
        // Sent without a token, before authentication was turned on.
        | "etcdserver: user name is empty" => {
            return Failure::StaleToken(text.to_owned());
        }
        "etcdserver: permission denied"
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
        // gRPC's own limit is 512 KiB above etcd's limit. A much larger request exceeds it first.
        Code::ResourceExhausted if text.contains("larger than max") => refused(Reason::TooLarge),
        Code::Unauthenticated => Failure::StaleToken(text.to_owned()),
        Code::PermissionDenied => refused(Reason::Denied),
        // etcd checks a request before it proposes it, or when it applies it, and then refuses all of it.
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::NotFound
        | Code::AlreadyExists
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss => refused(Reason::Refused),
        // "request timed out", "leader changed", "server stopped", or a broken stream: the proposal may still commit.
        _ => Failure::Unsettled(words(status)),
    }
}

/// The message of an error and its causes, without repetitions.
pub(super) fn words(error: &(dyn Error + 'static)) -> String {
    if let Some(said) = tls_words(error) {
        return said;
    }
    let mut texts: Vec<String> = Vec::new();
    for error in chain(error) {
        let text = match error.downcast_ref::<Status>() {
            Some(status) if status.message().is_empty() => status.code().to_string(),
            Some(status) => status.message().to_owned(),
            None => error.to_string(),
        };
        // This text says only that there is a cause.
        let is_empty = text == "transport error" && error.source().is_some();
        if !is_empty && !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

/// An error and its causes, including the error inside an I/O error.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let cause = |error: &&'a (dyn Error + 'static)| -> Option<&'a (dyn Error + 'static)> {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    };
    std::iter::successors(Some(error), cause)
}

/// What a TLS alert means for the operator; `None` if there was no alert.
pub(super) fn alert_words(error: &(dyn Error + 'static)) -> Option<String> {
    let alert = alert(error)?;
    let meaning = match alert.as_str() {
        "CertificateRequired" => "etcd demands a client certificate, and none was sent",
        "CertificateExpired" => "etcd says that our certificate is expired",
        "UnknownCA" | "UnknownCa" => "etcd does not know the CA of our certificate",
        name if ABOUT_OUR_CERTIFICATE.contains(&name) => {
            "etcd demands a client certificate, and does not accept the one that was sent"
        }
        _ => "etcd ended the TLS handshake",
    };
    Some(format!("{meaning} (TLS alert {alert})"))
}

/// What a failure of TLS means for the operator.
fn tls_words(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(words) = alert_words(error) {
        return Some(words);
    }
    let error = chain(error).find_map(|error| error.downcast_ref::<rustls::Error>())?;
    let meaning = match error {
        rustls::Error::InvalidCertificate(reason) => match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "etcd's certificate is expired"
            }
            // A bad signature means that an authority of the same name has another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "etcd's certificate is signed by no CA of registry.etcd.ssl.caFile"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "etcd's certificate is for another name (registry.etcd.ssl.serverName)"
            }
            _ => "etcd's certificate is not accepted",
        },
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS (is https:// right?)",
        _ => return Some(format!("TLS: {error}")),
    };
    Some(format!("{meaning} (TLS: {error})"))
}

/// How `rustls` begins the message of an alert.
const ALERT: &str = "received fatal alert: ";

/// Alerts that end a handshake. In TLS 1.3 they come after this side considers the handshake done, and may have sent a request.
const ABOUT_OUR_CERTIFICATE: [&str; 9] = [
    "CertificateRequired",
    "BadCertificate",
    "UnsupportedCertificate",
    "CertificateRevoked",
    "CertificateExpired",
    "CertificateUnknown",
    "UnknownCA",
    "UnknownCa",
    "AccessDenied",
];

/// The name of the alert with which the other side ended the connection. It is read from the text, because HTTP/2 keeps only the
/// text of a connection's error.
fn alert(error: &(dyn Error + 'static)) -> Option<String> {
    let name = |text: String| {
        let (_, name) = text.split_once(ALERT)?;
        Some(name.chars().take_while(char::is_ascii_alphanumeric).collect())
    };
    chain(error).find_map(|error| name(error.to_string()))
}

/// The message of an error which shows that etcd has read nothing: an alert that refuses our certificate, or a connection that
/// ended before the request was sent (`hyper` then returns the request).
fn never_sent(error: &(dyn Error + 'static)) -> Option<String> {
    let is_refused = alert(error).is_some_and(|alert| ABOUT_OUR_CERTIFICATE.contains(&alert.as_str()));
    let is_handed_back = || chain(error).any(|error| error.to_string() == "operation was canceled");
    (is_refused || is_handed_back()).then(|| words(error))
}

/// The message of a failed connection attempt, anywhere among the causes.
fn connect_error(status: &Status) -> Option<String> {
    let connect = chain(status).find_map(|error| error.downcast_ref::<tonic::ConnectError>())?;
    Some(connect.to_string())
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

    fn of_alert(alert: rustls::AlertDescription) -> Failure {
        let text = rustls::Error::AlertReceived(alert).to_string();
        let io = std::io::Error::new(std::io::ErrorKind::InvalidData, text);
        of_status(&Status::from_error(Box::new(std::io::Error::other(io))))
    }

    #[test]
    fn a_refused_certificate_is_told_and_sent_nothing() {
        use rustls::AlertDescription;
        let check = |alert: AlertDescription, says: &str| match of_alert(alert) {
            Failure::NotSent(why) => assert!(why.contains(says) && why.contains("TLS alert "), "{why}"),
            other => panic!("{alert:?}: {other:?}"),
        };
        check(AlertDescription::CertificateRequired, "none was sent");
        check(AlertDescription::CertificateExpired, "is expired");
        check(AlertDescription::BadCertificate, "demands a client certificate");
        check(AlertDescription::UnknownCA, "the CA of our certificate");
        let other = of_alert(AlertDescription::InternalError);
        assert!(matches!(&other, Failure::Unsettled(why) if why.contains("InternalError")), "{other:?}");
    }

    #[test]
    fn what_is_wrong_with_the_other_side_is_told() {
        let check = |error: rustls::Error, says: &str| {
            let told = words(&std::io::Error::new(std::io::ErrorKind::InvalidData, error));
            assert!(told.contains(says), "{told}");
        };
        check(rustls::Error::InvalidCertificate(CertificateError::Expired), "etcd's certificate is expired");
        check(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer), "caFile");
        check(
            rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
            "does not speak TLS",
        );
    }

    #[test]
    fn causes_are_told_and_nothing_twice() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "reset by peer");
        assert_eq!(words(&Status::from_error(Box::new(refused))), "reset by peer");
        assert_eq!(words(&Status::unavailable("")), Code::Unavailable.to_string());
        assert_eq!(words(&Status::unavailable("etcdserver: no leader")), "etcdserver: no leader");
    }
}
