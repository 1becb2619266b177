//! Tokens: JSON web tokens in the compact form (RFC 7519), signed with RSA.
//!
//! | claim | value |
//! | --- | --- |
//! | `account` | name of the account |
//! | `id` | id of the account. The original writes no `id` |
//! | `roles` | names of the account's roles when it logged in. The original decides by them |
//! | `exp` | Unix seconds, when the token ends |
//!
//! Limit: a token belongs to the account with its `id`, and so not to a later account with the same name. A token of the
//! original has no `id`, so it is taken for the account that has its name now.
//!
//! Tokens are signed with RS512. RS256, RS384 and RS512 are verified, and nothing else: the header cannot choose another
//! algorithm.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKey};
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA512,
    RsaParameters, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::parse_duration;
use crate::domain::account::Account;
use crate::domain::validate::rule::Shown;
use crate::error::{Code, Error};

/// Most bytes of a token: one with 5 roles has less than 1.5 KiB.
pub const MAX_BYTES: usize = 8 * 1024;

/// How long a token lives if its login does not say.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
const MIN_LIFETIME: Duration = Duration::from_secs(15 * 60);
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The lifetime that a login asks for with `tokenExpirationTime`, or 400001. Nothing asks for the default.
pub fn lifetime(text: &str) -> Result<Duration, Error> {
    if text.is_empty() {
        return Ok(DEFAULT_LIFETIME);
    }
    match parse_duration(text) {
        Ok(lifetime) if (MIN_LIFETIME..=MAX_LIFETIME).contains(&lifetime) => Ok(lifetime),
        _ => Err(Error::invalid(format!(
            "field 'Account.TokenExpirationTime' invalid value '{}' does not match rule: \
             a duration from 15m to 24h, such as 30m or 1h30m",
            Shown::new(text)
        ))),
    }
}

/// The token in the value of the header `Authorization`: two words with one blank between them. The first word is not checked,
/// as in the original. 401204 without a header, 401201 for another form.
pub fn bearer(header: Option<&str>) -> Result<&str, Error> {
    let header = header.filter(|header| !header.is_empty());
    let header = header.ok_or_else(|| Error::new(Code::NoAuthHeader, ""))?;
    // A token is long, and `memchr` takes many bytes at once.
    let blank = memchr::memchr(b' ', header.as_bytes());
    match blank.map(|blank| &header[blank + 1..]) {
        Some(token) if !token.is_empty() && memchr::memchr(b' ', token.as_bytes()).is_none() => Ok(token),
        _ => Err(unauthorized(
            "the header Authorization must be two words with one blank between them: Bearer <token>",
        )),
    }
}

fn unauthorized(detail: &'static str) -> Error {
    Error::new(Code::Unauthorized, detail)
}

/// Signs tokens. Cheap to clone.
#[derive(Clone)]
pub struct Signer {
    key: Arc<KeyPair>,
    random: SystemRandom,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    pub(super) fn new(key: Arc<KeyPair>) -> Self {
        Self { key, random: SystemRandom::new() }
    }

    /// A token for the account, valid for `lifetime` from `now` (Unix seconds) on. Takes milliseconds of CPU.
    pub fn sign(
        &self,
        account: &Account,
        roles: impl IntoIterator<Item = impl AsRef<str>>,
        lifetime: Duration,
        now: i64,
    ) -> Result<String, Error> {
        let roles: Vec<Value> = roles.into_iter().map(|role| Value::from(role.as_ref())).collect();
        let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let claims = json!({
            "account": account.name,
            "id": account.id,
            "roles": roles,
            "exp": now.saturating_add(lifetime),
        });
        self.sign_claims(&claims)
    }

    fn sign_claims(&self, claims: &Value) -> Result<String, Error> {
        let header = BASE64.encode(r#"{"alg":"RS512","typ":"JWT"}"#);
        let signed = format!("{header}.{}", BASE64.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA512, &self.random, signed.as_bytes(), &mut signature)
            .map_err(|_| Error::new(Code::Internal, "the token cannot be signed"))?;
        Ok(format!("{signed}.{}", BASE64.encode(signature)))
    }
}

/// What a valid token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Name of the account. It is not empty. The account may have been deleted since.
    pub account: Arc<str>,
    /// Id of the account. Tokens of the original have none.
    pub id: Option<Arc<str>>,
    /// Names of roles: at least one, which may be empty.
    pub roles: Vec<Arc<str>>,
    /// When the token ends, Unix seconds.
    pub expires_at: i64,
}

/// Verifies tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// The public key in PKCS#1.
    key: Arc<[u8]>,
}

impl Verifier {
    pub(super) fn new(key: &PublicKey) -> Self {
        Self { key: key.as_ref().into() }
    }

    /// The claims of a token that is valid at `now`, Unix seconds. Otherwise:
    ///
    /// | code | reason |
    /// | --- | --- |
    /// | 401201 | the form, the algorithm or the signature is wrong; a claim is missing or has a wrong type; `iat` is in the future |
    /// | 401205 | `exp` is 0, in the past or not a number; `nbf` is in the future or not a number |
    /// | 401206 | `account` is empty |
    ///
    /// The signature is checked first, so nothing is said about a token that somebody made up.
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, Error> {
        if token.len() > MAX_BYTES {
            return Err(unauthorized("the token is longer than 8 KiB"));
        }
        let claims = self.signed_claims(token)?;
        let expires_at = check_times(&claims, now)?;
        claims_of(&claims, expires_at)
    }

    fn signed_claims(&self, token: &str) -> Result<Map<String, Value>, Error> {
        let malformed = || unauthorized("the token is no JSON web token");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let decode = |part: &str| BASE64.decode(part).map_err(|_| malformed());
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| malformed())?;
        let algorithm: &RsaParameters = match header.alg.as_str() {
            "RS256" => &RSA_PKCS1_2048_8192_SHA256,
            "RS384" => &RSA_PKCS1_2048_8192_SHA384,
            "RS512" => &RSA_PKCS1_2048_8192_SHA512,
            _ => return Err(unauthorized("the algorithm of the token is none of RS512, RS384 and RS256")),
        };
        UnparsedPublicKey::new(algorithm, &self.key)
            .verify(signed.as_bytes(), &decode(signature)?)
            .map_err(|_| unauthorized("the token is not signed with the key of this registry"))?;
        serde_json::from_slice(&decode(claims)?).map_err(|_| malformed())
    }
}

/// Other members are not looked at, as in the original.
#[derive(Deserialize)]
struct Header {
    alg: String,
}

/// A claim, unless it is `null`.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).filter(|value| !value.is_null())
}

/// A point in time, Unix seconds. Nothing if it is not a number.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a number that is too large becomes the largest, and is cut as Go cuts it"
)]
fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}

/// When the token ends, if it is valid at `now`.
fn check_times(claims: &Map<String, Value>, now: i64) -> Result<i64, Error> {
    let expired = || Error::new(Code::TokenExpired, "");
    let end = claim(claims, "exp").ok_or_else(|| unauthorized("the token has no claim 'exp'"))?;
    let end = seconds(end).filter(|end| *end > now).ok_or_else(expired)?;
    if claim(claims, "nbf").is_some_and(|begin| seconds(begin).is_none_or(|begin| begin > now)) {
        return Err(expired());
    }
    if claim(claims, "iat").is_some_and(|issued| seconds(issued).is_none_or(|issued| issued > now)) {
        return Err(unauthorized("the token was issued in the future; compare the clocks of the nodes"));
    }
    Ok(end)
}

fn claims_of(claims: &Map<String, Value>, expires_at: i64) -> Result<Claims, Error> {
    let account = claim(claims, "account").and_then(Value::as_str);
    let account = account.ok_or_else(|| unauthorized("the token has no text in the claim 'account'"))?;
    if account.is_empty() {
        return Err(Error::new(Code::TokenOwnerDeleted, "the claim 'account' of the token is empty"));
    }
    let id = match claim(claims, "id") {
        None => None,
        Some(Value::String(id)) => Some(Arc::from(id.as_str())),
        Some(_) => return Err(unauthorized("the claim 'id' of the token is no text")),
    };
    Ok(Claims { account: account.into(), id, roles: roles_of(claims)?, expires_at })
}

/// Old releases write one role as the text `role`. It wins.
fn roles_of(claims: &Map<String, Value>) -> Result<Vec<Arc<str>>, Error> {
    let wrong = || unauthorized("the token names no roles");
    let texts = match (claim(claims, "role"), claim(claims, "roles")) {
        (Some(role), _) => std::slice::from_ref(role),
        (None, Some(Value::Array(roles))) => roles.as_slice(),
        _ => return Err(wrong()),
    };
    let roles: Option<Vec<Arc<str>>> = texts.iter().map(|role| role.as_str().map(Arc::from)).collect();
    roles.filter(|roles| !roles.is_empty()).ok_or_else(wrong)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use ring::hmac;
    use ring::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PSS_SHA512, RsaEncoding};

    use super::super::key_pair::{self, KeyPair};
    use super::super::test_keys::{Files, PRIVATE, PUBLIC};
    use super::*;

    const NOW: i64 = 1_700_000_000;

    /// `{"account":"root","exp":4102444800,"roles":["admin"]}`, recorded: the original accepts it.
    const RECORDED: &str = "\
     eyJhbGciOiJSUzUxMiIsInR5cCI6IkpXVCJ9.eyJhY2NvdW50Ijoicm9vdCIsImV4cCI6NDEwMjQ0NDgwMCwicm9sZ\
     XMiOlsiYWRtaW4iXX0.PcM7UrqKSwDA8-qflJnUvBaRTT6zSGtp64Bnpa3fWwK6e17l6HqyiZR4LQAZq5D5N2ziPt0\
     R5xMTyKGY-UYJ9A4iQF847UtUFKghIx8i2lPeWz883zVIvzZgMkSL6WMCu2fZVxvt1gs7SOSRZKg6prYvmhFuEOBmb\
     5uzDylIE7L5Elubwp9FRC3Oexzuk7ZxiQRJ2wOQTfEDljOPf4tiXclg16X2weOgum9kAGX7DnbzcWTaduStECZ_FPY\
     hHY0dk3H-UtUwJWCL5JSNsLEYBJZCy_laxO7EYoyf481IoavYMXcz8lyaHR5K8AfdIEscamwibXsjvNiC8F_Zn98Hw\
     A\
     ";

    fn pair() -> KeyPair {
        let files = Files::new(PRIVATE, PUBLIC);
        KeyPair::load(&files.private(), &files.public()).unwrap()
    }

    /// Signs any header and claims.
    fn token(header: &str, claims: &str, encoding: &'static dyn RsaEncoding) -> String {
        let signer = pair().signer();
        let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        let mut signature = vec![0; signer.key.public().modulus_len()];
        signer.key.sign(encoding, &signer.random, signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", BASE64.encode(signature))
    }

    const RS512: &str = r#"{"alg":"RS512","typ":"JWT"}"#;

    fn verify(token: &str) -> Result<Claims, Code> {
        pair().verifier().verify(token, NOW).map_err(|error| {
            // The recorded 401205 has no detail. The others have one.
            assert_eq!(error.detail.is_empty(), error.code == Code::TokenExpired, "{error}");
            error.code
        })
    }

    fn check(claims: &str, expected: Option<Code>) {
        assert_eq!(verify(&token(RS512, claims, &RSA_PKCS1_SHA512)).err(), expected, "{claims}");
    }

    fn account() -> Account {
        Account { name: "tester".to_owned(), id: "0a1b".to_owned(), ..Account::default() }
    }

    #[test]
    fn a_signed_token_is_valid_for_its_lifetime() {
        let signed = pair().signer().sign(&account(), ["r1", "r2"], Duration::from_secs(900), NOW).unwrap();
        let verifier = pair().verifier();
        let expected = Claims {
            account: "tester".into(),
            id: Some("0a1b".into()),
            roles: vec!["r1".into(), "r2".into()],
            expires_at: NOW + 900,
        };
        assert_eq!(verifier.verify(&signed, NOW), Ok(expected.clone()));
        assert_eq!(verifier.verify(&signed, NOW + 899), Ok(expected));
        assert_eq!(verifier.verify(&signed, NOW + 900).unwrap_err().code, Code::TokenExpired);
    }

    #[test]
    fn the_original_reads_our_tokens_and_we_read_its() {
        let claims = verify(RECORDED).unwrap();
        assert_eq!((claims.account.as_ref(), claims.id, claims.expires_at), ("root", None, 4_102_444_800));
        assert_eq!(claims.roles, [Arc::from("admin")]);

        let signed = pair().signer().sign(&account(), ["r1"], DEFAULT_LIFETIME, NOW).unwrap();
        let parts: Vec<Vec<u8>> = signed.split('.').map(|part| BASE64.decode(part).unwrap()).collect();
        assert_eq!(parts[0], RS512.as_bytes());
        let claims = std::str::from_utf8(&parts[1]).unwrap();
        assert_eq!(
            claims,
            format!(r#"{{"account":"tester","exp":{},"id":"0a1b","roles":["r1"]}}"#, NOW + 43_200)
        );
        assert_eq!(parts[2].len(), 256);
    }

    #[test]
    fn the_algorithm_is_pinned() {
        let claims = r#"{"account":"root","exp":4102444800,"roles":["admin"]}"#;
        for (alg, encoding) in [
            ("RS256", &RSA_PKCS1_SHA256 as &'static dyn RsaEncoding),
            ("RS384", &RSA_PKCS1_SHA384),
            ("RS512", &RSA_PKCS1_SHA512),
        ] {
            let header = format!(r#"{{"alg":"{alg}","typ":"x","kid":"y","crit":["z"]}}"#);
            assert!(verify(&token(&header, claims, encoding)).is_ok(), "{alg}");
        }
        // The right key and signature, and a name that says something else.
        for alg in
            ["none", "None", "NONE", "nOnE", "", "RS1", "rs512", "PS512", "ES512", "HS512", "RS512 ", "RS256"]
        {
            let header = format!(r#"{{"alg":"{alg}"}}"#);
            let signed = token(&header, claims, &RSA_PKCS1_SHA512);
            assert_eq!(verify(&signed), Err(Code::Unauthorized), "{alg}");
            let unsigned = format!("{}.", signed.rsplit_once('.').unwrap().0);
            assert_eq!(verify(&unsigned), Err(Code::Unauthorized), "{alg}");
        }
        for header in ["{}", r#"{"alg":null}"#, r#"{"alg":["RS512"]}"#, "[]", "null", ""] {
            assert_eq!(
                verify(&token(header, claims, &RSA_PKCS1_SHA512)),
                Err(Code::Unauthorized),
                "{header}"
            );
        }
        let pss = token(r#"{"alg":"PS512"}"#, claims, &RSA_PSS_SHA512);
        assert_eq!(verify(&pss), Err(Code::Unauthorized));
        assert_eq!(verify(&token(RS512, claims, &RSA_PSS_SHA512)), Err(Code::Unauthorized));
    }

    /// The public key is no secret, so a token with its HMAC is anybody's.
    #[test]
    fn an_hmac_with_the_public_key_is_rejected() {
        let claims = BASE64.encode(r#"{"account":"root","exp":4102444800,"roles":["admin"]}"#);
        for (alg, algorithm) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            for key in [PUBLIC, PUBLIC.trim_end()] {
                let signed =
                    format!("{}.{claims}", BASE64.encode(format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#)));
                let tag = hmac::sign(&hmac::Key::new(algorithm, key.as_bytes()), signed.as_bytes());
                assert_eq!(verify(&format!("{signed}.{}", BASE64.encode(tag))), Err(Code::Unauthorized));
            }
        }
    }

    #[test]
    fn changed_tokens_are_rejected() {
        let (signed, signature) = RECORDED.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let other = BASE64.encode(r#"{"account":"rooty","exp":4102444800,"roles":["admin"]}"#);
        let other_header = BASE64.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        for changed in [
            String::new(),
            "garbage".to_owned(),
            ".".to_owned(),
            "..".to_owned(),
            "a.b".to_owned(),
            "a.b.c".to_owned(),
            "e30.e30.e30".to_owned(),
            "!!!.???.###".to_owned(),
            signed.to_owned(),
            format!("{signed}."),
            format!("{header}.{other}.{signature}"),
            format!("{other_header}.{claims}.{signature}"),
            format!("{RECORDED}AA"),
            format!("{RECORDED}=="),
            format!("{RECORDED}.x"),
            format!(" {RECORDED}"),
            format!("{RECORDED}\n"),
            format!("{signed}.{}AAAAAA", &signature[..signature.len() - 6]),
            format!("{signed}.{}", BASE64.encode([0; 256])),
            format!("{signed}.{}", BASE64.encode([0xff; 256])),
            "A".repeat(MAX_BYTES + 1),
            format!("{}.a.b", "A".repeat(MAX_BYTES)),
        ] {
            assert_eq!(verify(&changed), Err(Code::Unauthorized), "{changed}");
        }
        assert!(verify(RECORDED).is_ok());
        for claims in ["not json", "[]", "null", "7", "", "{} {}"] {
            assert_eq!(verify(&token(RS512, claims, &RSA_PKCS1_SHA512)), Err(Code::Unauthorized), "{claims}");
        }
    }

    /// Also one that has expired: nothing is said about a token of a stranger.
    #[test]
    fn tokens_of_another_key_are_rejected() {
        let other = key_pair::generate(2048).unwrap();
        let files = Files::new(&other.private, &other.public);
        let signer = KeyPair::load(&files.private(), &files.public()).unwrap().signer();
        for now in [NOW, NOW - 1_000_000] {
            let signed = signer.sign(&account(), ["admin"], DEFAULT_LIFETIME, now).unwrap();
            assert_eq!(verify(&signed), Err(Code::Unauthorized));
        }
    }

    #[test]
    fn times() {
        let with = |members: &str, expected| {
            check(&format!(r#"{{"account":"a","roles":["r"]{members}}}"#), expected);
        };
        for good in
            [r#","exp":4102444800"#, r#","exp":4102444800.5"#, r#","exp":1e300"#, r#","exp":1700000001"#]
        {
            with(good, None);
        }
        for expired in [
            "0",
            "1",
            "-1",
            "1600000000",
            "1700000000",
            "1600000000.5",
            "-1e300",
            r#""4102444800""#,
            "true",
            "[]",
            "{}",
        ] {
            with(&format!(r#","exp":{expired}"#), Some(Code::TokenExpired));
        }
        with("", Some(Code::Unauthorized));
        with(r#","exp":null"#, Some(Code::Unauthorized));
        with(r#","exp":4102444800,"nbf":1600000000,"iat":1600000000"#, None);
        with(r#","exp":4102444800,"nbf":null,"iat":null"#, None);
        with(r#","exp":4102444800,"nbf":4102444790"#, Some(Code::TokenExpired));
        with(r#","exp":4102444800,"nbf":"x""#, Some(Code::TokenExpired));
        with(r#","exp":4102444800,"iat":4102444790"#, Some(Code::Unauthorized));
        with(r#","exp":4102444800,"iat":"x""#, Some(Code::Unauthorized));
    }

    #[test]
    fn accounts_and_roles() {
        let with = |members: &str, expected| check(&format!(r#"{{"exp":4102444800{members}}}"#), expected);
        let wrong = Some(Code::Unauthorized);
        for members in [
            "",
            r#","account":"a""#,
            r#","roles":["r"]"#,
            r#","account":null,"roles":["r"]"#,
            r#","account":7,"roles":["r"]"#,
            r#","account":"a","roles":null"#,
            r#","account":"a","roles":[]"#,
            r#","account":"a","roles":"r""#,
            r#","account":"a","roles":[7]"#,
            r#","account":"a","roles":["r",null]"#,
            r#","account":"a","role":["r"]"#,
            r#","account":"a","role":7,"roles":["r"]"#,
            r#","account":"a","roles":["r"],"id":7"#,
        ] {
            with(members, wrong);
        }
        with(r#","account":"","roles":["r"]"#, Some(Code::TokenOwnerDeleted));
        let roles = |members: &str| {
            let claims = format!(r#"{{"exp":4102444800,"account":"a"{members}}}"#);
            verify(&token(RS512, &claims, &RSA_PKCS1_SHA512)).unwrap().roles
        };
        assert_eq!(roles(r#","role":"old""#), [Arc::from("old")]);
        assert_eq!(roles(r#","role":"old","roles":["r"]"#), [Arc::from("old")]);
        assert_eq!(roles(r#","role":null,"roles":["r","s"]"#), [Arc::from("r"), Arc::from("s")]);
        assert_eq!(roles(r#","role":"""#), [Arc::from("")]);
    }

    #[test]
    fn the_header_has_two_words() {
        let token = |header| bearer(header).map_err(|error| error.code);
        assert_eq!(token(None), Err(Code::NoAuthHeader));
        assert_eq!(token(Some("")), Err(Code::NoAuthHeader));
        for good in ["Bearer x", "bearer x", "Basic x", " x"] {
            assert_eq!(token(Some(good)), Ok("x"), "{good:?}");
        }
        for bad in ["Bear", "x ", "Bearer  x", "Bearer x y", " Bearer x", "Bearer x ", " ", "Bearer\tx"] {
            assert_eq!(token(Some(bad)), Err(Code::Unauthorized), "{bad:?}");
        }
    }

    #[test]
    fn lifetimes() {
        let seconds = |text| lifetime(text).map(|lifetime| lifetime.as_secs()).map_err(|error| error.code);
        assert_eq!(seconds(""), Ok(43_200));
        assert_eq!(seconds("15m"), Ok(900));
        assert_eq!(seconds("30m"), Ok(1800));
        assert_eq!(seconds("1h30m"), Ok(5400));
        assert_eq!(seconds("24h"), Ok(86_400));
        for bad in
            ["0s", "0", "10s", "14m59s", "24h1s", "24h0m0.1s", "-30m", "30", "x", " 30m", "9999999999h"]
        {
            assert_eq!(seconds(bad), Err(Code::InvalidParameters), "{bad}");
        }
    }
}
