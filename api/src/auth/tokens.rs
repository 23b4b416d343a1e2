//! Access tokens: JWTs signed with Ed25519 (RFC 8037), algorithm, key id and type pinned in code (RFC 8725 §3.1), short
//! lived, and never enough alone: the session's row is asked on every request.

use std::{fmt, time::Duration};

use domain::{
    clock::Timestamp,
    ids::{self, SessionId, UserId},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, errors::Error, jwk::Jwk};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use storage::vault::Vault;
use uuid::Uuid;

const ISSUER: &str = "dia";
const AUDIENCE: &str = "dia-api";
/// The type of an access token (RFC 9068 §2.1).
const TYPE: &str = "at+jwt";
/// How far the clocks of a fleet may be apart.
const SKEW: Duration = Duration::from_mins(1);
/// What stands before the 32 bytes of a private key in PKCS#8 version 1 (RFC 8410 §7).
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// The person.
    pub sub: UserId,
    /// The session.
    pub sid: SessionId,
    /// The token's own id.
    pub jti: Uuid,
    /// When it was issued, in seconds since the epoch.
    pub iat: i64,
    /// When it ends, in seconds since the epoch.
    pub exp: i64,
    /// Before when it does not count; dia's own tokens say none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
}

/// Signs and reads access tokens.
pub struct Tokens {
    signing: EncodingKey,
    verifying: DecodingKey,
    key_id: String,
    /// The header of every token, as it stands before the first dot.
    header: String,
    validation: Validation,
    life: Duration,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Uses the vault's key; tokens are good for `minutes`.
    pub fn new(vault: &Vault, minutes: u64) -> Result<Self, Error> {
        let signing = EncodingKey::from_ed_der(&[&PKCS8[..], vault.system_key("jwt").seed()].concat());
        let verifying = DecodingKey::from_jwk(&Jwk::from_encoding_key(&signing, Algorithm::EdDSA)?)?;
        let key_id = hex::encode(&Sha256::digest(verifying.try_get_as_bytes()?)[..8]);
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Compared below with the clock that everything else uses, and without leeway.
        validation.validate_exp = false;
        let life = Duration::from_secs(minutes.saturating_mul(60));
        let mut tokens = Self { signing, verifying, key_id, header: String::new(), validation, life };
        let any = tokens.issue(UserId::new(), SessionId::new(), Timestamp(0))?;
        any.split('.').next().unwrap_or_default().clone_into(&mut tokens.header);
        Ok(tokens)
    }

    /// How long a token is good for.
    pub fn life(&self) -> Duration {
        self.life
    }

    /// A fresh token for a session.
    pub fn issue(&self, user: UserId, session: SessionId, now: Timestamp) -> Result<String, Error> {
        let header =
            Header { typ: Some(TYPE.to_owned()), kid: Some(self.key_id.clone()), ..Header::new(Algorithm::EdDSA) };
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user,
            sid: session,
            jti: ids::fresh(),
            iat: now.seconds(),
            exp: now.plus(self.life).seconds(),
            nbf: None,
        };
        encode(&header, &claims, &self.signing)
    }

    /// What a token says, if this key signed it as an access token, and it has begun and is not over. Its header is, letter by letter,
    /// the one that dia writes: nothing in a header is for whoever forges one to choose.
    pub fn read(&self, token: &str, now: Timestamp) -> Option<Claims> {
        let (header, _) = token.split_once('.')?;
        if header != self.header {
            return None;
        }
        let claims = decode::<Claims>(token, &self.verifying, &self.validation).ok()?.claims;
        let (now, soon) = (now.seconds(), now.plus(SKEW).seconds());
        let is_due = claims.iat <= soon && claims.nbf.is_none_or(|begins| begins <= soon);
        (is_due && now < claims.exp).then_some(claims)
    }
}
