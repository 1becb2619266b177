//! What a client is told that gets no answer of a handler: in the place of the HTTP library's own words.

macro_rules! last_words {
    ($status:literal, $length:literal) => {
        concat!(
            "HTTP/1.1 ",
            $status,
            "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ",
            $length,
            "\r\nConnection: close\r\n\r\n",
            $status
        )
    };
}

/// What a client is told whose head takes too long.
pub(super) const HEAD_TOO_SLOW: &str = last_words!("408 Request Timeout", "19");

/// What is said in place of the library's own answers, in the words of Go's.
const LAST_WORDS: [&str; 4] = [
    last_words!("400 Bad Request", "15"),
    HEAD_TOO_SLOW,
    last_words!("431 Request Header Fields Too Large", "35"),
    last_words!("500 Internal Server Error", "25"),
];

/// Most bytes of an answer of the library's own.
const LONGEST_OF_LIBRARY: usize = 160;

/// Where in what is to be sent an answer of the library's own begins, and what to say in its place. Such an answer is empty
/// and the last on its connection, and unlike all of ours its headers are in lower case.
pub(super) fn last_words(buf: &[u8]) -> Option<(usize, &'static str)> {
    const DATE: &str = "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";
    let date = buf.get(buf.len().checked_sub(DATE.len())?..)?;
    if !date.starts_with(b"date: ") || !date.ends_with(b"\r\n\r\n") {
        return None;
    }
    let from = buf.len().saturating_sub(LONGEST_OF_LIBRARY);
    let tail = buf.get(from..)?;
    let begin = tail.windows(7).rposition(|window| window == b"HTTP/1.")?;
    let answer = std::str::from_utf8(tail.get(begin..)?).ok()?;
    let (line, headers) = answer.split_once("\r\n")?;
    let status = line.get("HTTP/1.1 ".len()..)?;
    let words = LAST_WORDS.into_iter().find(|words| words.ends_with(status))?;
    headers.starts_with("content-length: 0\r\n").then_some((from + begin, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sent: &str, expected: Option<(usize, &str)>) {
        let found =
            last_words(sent.as_bytes()).map(|(at, words)| (at, words.split("\r\n").next().unwrap_or("")));
        assert_eq!(found, expected, "{sent:?}");
    }

    #[test]
    fn the_librarys_answers_are_known_from_ours() {
        let date = "date: Thu, 26 Nov 2026 17:34:37 GMT\r\n\r\n";
        let bad = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n{date}");
        check(&bad, Some((0, "HTTP/1.1 400 Bad Request")));
        let ours = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: Thu, 26 Nov 2026 17:34:37 GMT\r\n\r\n{}";
        check(&format!("{ours}{bad}"), Some((ours.len(), "HTTP/1.1 400 Bad Request")));
        let large =
            "HTTP/1.0 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: keep-alive\r\n";
        check(&format!("{large}{date}"), Some((0, "HTTP/1.1 431 Request Header Fields Too Large")));
        check(ours, None);
        check(&ours.replace("{}", ""), None);
        check("", None);
        check(date, None);
        check(&bad.to_uppercase(), None);
    }

    #[test]
    fn last_words_have_the_length_they_say() {
        for words in LAST_WORDS {
            let length = words.split_once("Content-Length: ").and_then(|(_, rest)| rest.split_once("\r\n"));
            let body = words.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
            assert_eq!(length.map(|(length, _)| length), Some(body.to_string().as_str()), "{words}");
        }
    }
}
