//! When certificates expire, for metrics. Whether a certificate may still be used is decided in the handshake, not here.

use std::path::Path;

use pkcs8::der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use pkcs8::der::{self, Decode as _, Reader, SliceReader, Tag};
use rustls::pki_types::CertificateDer;

use super::pem::{self, PemError};

/// When the first certificate of a file expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// What the file is for, as a label: `server`, `server_ca`, `etcd_client`, `etcd_ca`.
    pub certificate: &'static str,
    pub unix_seconds: u64,
}

/// Reads certificates and remembers when they expire.
#[derive(Debug, Default)]
pub struct Expiries(Vec<Expiry>);

impl Expiries {
    /// [`pem::certificates`]. `certificate` says what the file is for.
    pub fn certificates(
        &mut self,
        certificate: &'static str,
        path: &Path,
    ) -> Result<Vec<CertificateDer<'static>>, PemError> {
        let found = pem::certificates(path)?;
        // A certificate that cannot be read here has no metric. The handshake may accept it all the same.
        let first = found.iter().filter_map(|der| not_after(der).ok()).min();
        self.0.extend(first.map(|unix_seconds| Expiry { certificate, unix_seconds }));
        Ok(found)
    }

    pub(super) fn into_list(self) -> Vec<Expiry> {
        self.0
    }
}

/// `notAfter` of a certificate (RFC 5280, 4.1), in seconds since 1970.
fn not_after(certificate: &[u8]) -> der::Result<u64> {
    let mut reader = SliceReader::new(certificate)?;
    reader.sequence(|certificate| {
        let end = certificate.sequence(|fields| {
            // Certificates of version 1 do not name their version.
            if fields.peek_tag()?.is_context_specific() {
                AnyRef::decode(fields)?;
            }
            let (_serial, _algorithm, _issuer) =
                (AnyRef::decode(fields)?, AnyRef::decode(fields)?, AnyRef::decode(fields)?);
            let end = fields.sequence(|validity| {
                time(validity)?;
                time(validity)
            })?;
            skip_rest(fields)?;
            Ok(end)
        })?;
        skip_rest(certificate)?;
        Ok(end)
    })
}

fn time<'a>(reader: &mut impl Reader<'a>) -> der::Result<u64> {
    let since_1970 = match reader.peek_tag()? {
        Tag::UtcTime => UtcTime::decode(reader)?.to_unix_duration(),
        _ => GeneralizedTime::decode(reader)?.to_unix_duration(),
    };
    Ok(since_1970.as_secs())
}

fn skip_rest<'a>(reader: &mut impl Reader<'a>) -> der::Result<()> {
    reader.read_slice(reader.remaining_len()).map(drop)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_of_a_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chain.pem");
        // 2049 is the last year of the short form of a time, 2050 the first year of the long form.
        for (years, expected) in [([2049, 2050], 2_493_072_000), ([2050, 2051], 2_524_608_000)] {
            let pems = years.map(|year| {
                let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
                params.not_after = rcgen::date_time_ymd(year, 1, 1);
                params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
            });
            std::fs::write(&path, pems.concat()).unwrap();
            let mut expiries = Expiries::default();
            assert_eq!(expiries.certificates("server", &path).unwrap().len(), 2);
            assert_eq!(expiries.into_list(), [Expiry { certificate: "server", unix_seconds: expected }]);
        }
    }

    #[test]
    fn what_is_no_certificate_is_an_error() {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let der = made.cert.der();
        assert!(not_after(der).is_ok());
        for length in 0..der.len() {
            assert!(not_after(&der[..length]).is_err(), "cut at {length}");
        }
        assert!(not_after(&[0x30, 0x02, 0x30, 0x00]).is_err());
    }
}
