//! Compression with gzip for clients that accept it. No other coding: some clients prefer `deflate` and cannot read it.

use std::io::Write as _;

use actix_http::header::{self, HeaderMap};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Smaller bodies are not compressed, in bytes.
pub(in crate::http) const SMALLEST: usize = 1400;

/// Larger bodies are compressed on another thread, in bytes. A body of this size takes about 2 ms.
pub(in crate::http) const LARGEST_INLINE: usize = 64 * 1024;

/// Whether the client accepts gzip: `Accept-Encoding` names it with a quality above 0.
pub(in crate::http) fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT_ENCODING).any(|value| value.to_str().is_ok_and(names_gzip))
}

fn names_gzip(value: &str) -> bool {
    value.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip")) && parts.all(quality_above_zero)
    })
}

/// False for the parameter `q` if its value is 0 or not a number. Other parameters are ignored.
fn quality_above_zero(parameter: &str) -> bool {
    match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("q") => {
            value.trim().parse::<f32>().is_ok_and(|quality| quality > 0.0)
        }
        _ => true,
    }
}

/// Compresses a body with the fastest level. The JSON of a registry repeats itself so much that the best level saves little more.
pub(in crate::http) fn gzip(body: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    // Writing to memory does not fail. If it did, the body would be sent without compression.
    encoder.write_all(body).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "tests")]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn gzip_must_be_named_with_a_quality() {
        for yes in ["gzip", "GZIP", "deflate, gzip", "gzip;q=0.5", "br;q=1, gzip ; q=0.1", "gzip;q=1.0;x=y"] {
            assert!(names_gzip(yes), "{yes}");
        }
        for no in ["", "deflate", "*", "gzip;q=0", "gzip;q=0.000", "gzip;q=x", "xgzip", "identity"] {
            assert!(!names_gzip(no), "{no}");
        }
    }

    #[test]
    fn what_was_compressed_comes_out_again() {
        let body = b"{\"instances\":[]}".repeat(1000);
        let packed = gzip(&body).expect("compressed");
        assert!(packed.len() < body.len() / 10);
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(packed.as_ref()).read_to_end(&mut out).expect("valid gzip");
        assert_eq!(out, body);
    }
}
