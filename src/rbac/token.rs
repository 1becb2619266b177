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
    match header.split_once(' ') {
        Some((_, token)) if !token.is_empty() && !token.contains(' ') => Ok(token),
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
