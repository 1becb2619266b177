//! The body of an error answer.

use crate::error::Error;
use crate::json_object;

json_object! {
    /// An error. `errorCode` is always the first member and a string, because some clients search for `"errorCode":"400012"`.
    pub struct ErrorBody {
        /// Six digits; the first three are the HTTP status.
        "errorCode" => code: String,
        /// The text that belongs to the code.
        "errorMessage" => message: String,
        /// What is wrong with this request. Left out if empty.
        "detail" => detail: String,
    }
}

impl From<&Error> for ErrorBody {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code.number().to_string(),
            message: error.code.message().to_owned(),
            detail: error.detail.clone().into_owned(),
        }
    }
}

impl ErrorBody {
    /// The error of one element of a batch. Its detail contains both message and detail.
    pub fn of_element(error: &Error) -> Self {
        Self { detail: error.to_string(), ..Self::from(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::json;
    use crate::error::Code;

    fn check(body: &ErrorBody, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&json::encode(body)), expected);
    }

    #[test]
    fn bytes() {
        let error = Error::new(Code::ServiceNotExists, "Service does not exist.");
        check(
            &ErrorBody::from(&error),
            r#"{"errorCode":"400012","errorMessage":"Micro-service does not exist","detail":"Service does not exist."}"#,
        );
        check(
            &ErrorBody::of_element(&error),
            r#"{"errorCode":"400012","errorMessage":"Micro-service does not exist","detail":"Micro-service does not exist(Service does not exist.)"}"#,
        );
        check(
            &ErrorBody::from(&Error::new(Code::Internal, "")),
            r#"{"errorCode":"500003","errorMessage":"Internal server error"}"#,
        );
    }
}
