//! How large an answer may be. Its size is computed before it is built, so that no request makes the process hold more than
//! it has.

use serde::Serialize;

use super::reply::Reply;
use crate::domain::json;
use crate::error::Error;

/// The limit of one answer.
#[derive(Debug)]
pub struct AnswerMemory {
    largest: usize,
}

impl AnswerMemory {
    /// `largest`: bytes of one answer's body, before compression.
    pub fn new(largest: usize) -> Self {
        Self { largest }
    }

    /// 400001 for an answer of more bytes than one may have.
    pub fn check(&self, size: usize) -> Result<(), Error> {
        if size <= self.largest {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the answer would have {size} bytes, at most {} are allowed (server.response.maxBytes); ask for less at once",
            self.largest
        )))
    }

    /// 200 with a value as JSON.
    pub fn encoded(&self, value: &impl Serialize) -> Result<Reply, Error> {
        let size = json::encoded_size(value);
        self.check(size)?;
        Ok(Reply::json(json::encode_sized(value, size)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_the_limit_passes_and_a_larger_one_is_refused_by_size_and_limit() {
        let memory = AnswerMemory::new(8);
        assert_eq!(memory.encoded(&"<").map(|reply| reply.body().len()), Ok(8));
        let refused = memory.encoded(&"<a").map(|_| ()).map_err(|error| error.detail);
        let detail = "the answer would have 9 bytes, at most 8 are allowed (server.response.maxBytes); ask for less at once";
        assert_eq!(refused, Err(detail.into()));
    }
}
