//! Forged and abused access tokens. Whatever is wrong with one, the answer is the one that a request without any token gets: no
//! word tells a forger how far they came. Tokens that are wrong in one claim only are signed with the server's own key.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign, jwk::Jwk};
use reqwest::Method;
use serde_json::{Value, json};
use storage::vault::Vault;

use crate::{
    caller::{Answer, Caller, hear},
    ground::Ground,
    verdict::Class,
};

/// A key of Ed25519 from its seed, in PKCS#8 (RFC 8410 §7).
fn ed25519(seed: &[u8; 32]) -> Result<EncodingKey> {
    let der = hex::decode(format!("302e020100300506032b657004220420{}", hex::encode(seed)))?;
    Ok(EncodingKey::from_ed_der(&der))
}

fn part(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A token of these parts, signed with this key.
fn sealed(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>, key: &EncodingKey) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = sign(message.as_bytes(), key, Algorithm::EdDSA).unwrap_or_default();
    format!("{message}.{signature}")
}

/// Makes tokens of parts, with the server's own key and with a stranger's.
struct Forger {
    own: EncodingKey,
    stranger: EncodingKey,
    /// The public key's bytes, which everybody may know.
    public: Vec<u8>,
    /// As the server writes it.
    head: String,
    header: Value,
    claims: Value,
}

impl Forger {
    fn new(ground: &Ground) -> Result<Self> {
        let own = ed25519(Vault::open(&ground.home.data.join("keys"))?.system_key("jwt").seed())?;
        let jwk = serde_json::to_value(Jwk::from_encoding_key(&own, Algorithm::EdDSA)?)?;
        let public = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().context("no public key")?)?;
        let mut parts = ground.ann.token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part));
        let mut next = || -> Result<String> { Ok(String::from_utf8(parts.next().context("no token")??)?) };
        let (head, claims) = (next()?, serde_json::from_str(&next()?)?);
        let header = serde_json::from_str(&head)?;
        Ok(Self { own, stranger: ed25519(&[7; 32])?, public, head, header, claims })
    }

    fn own(&self, header: &Value, claims: &Value) -> String {
        sealed(header.to_string(), claims.to_string(), &self.own)
    }

    /// The good token with other claims.
    fn saying(&self, changes: &[(&str, Value)]) -> String {
        sealed(&self.head, changed(&self.claims, changes).to_string(), &self.own)
    }

    fn without(&self, claim: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().map(|claims| claims.remove(claim));
        sealed(&self.head, claims.to_string(), &self.own)
    }

    /// The good claims under a header with changes, signed with the server's key all the same.
    fn headed(&self, changes: &[(&str, Value)]) -> String {
        self.own(&changed(&self.header, changes), &self.claims)
    }

    fn hmac(&self, name: &str, algorithm: Algorithm, secret: &[u8]) -> String {
        let header = changed(&self.header, &[("alg", json!(name))]);
        let message = format!("{}.{}", part(header.to_string()), part(self.claims.to_string()));
        let signature = sign(message.as_bytes(), &EncodingKey::from_secret(secret), algorithm).unwrap_or_default();
        format!("{message}.{signature}")
    }

    /// Other algorithms, and none.
    fn algorithms(&self) -> Vec<(String, String)> {
        let mut made = Vec::new();
        for alg in ["none", "None", "NONE", "nOnE", "", "eddsa", "Ed25519", "ES256", "RS256", "PS256", "ES512", "HS999"]
        {
            let header = changed(&self.header, &[("alg", json!(alg))]);
            let message = format!("{}.{}", part(header.to_string()), part(self.claims.to_string()));
            made.push((format!("alg {alg:?} without a signature"), format!("{message}.")));
            made.push((format!("alg {alg:?} over the server's own signature"), self.own(&header, &self.claims)));
        }
        let key = URL_SAFE_NO_PAD.encode(&self.public);
        for (name, algorithm) in [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)]
        {
            made.push((format!("{name} with the public key"), self.hmac(name, algorithm, &self.public)));
            made.push((format!("{name} with the public key as text"), self.hmac(name, algorithm, key.as_bytes())));
            made.push((format!("{name} with an empty key"), self.hmac(name, algorithm, b"")));
        }
        made
    }

    /// What headers can hold to mislead whoever verifies.
    fn headers(&self) -> Vec<(String, String)> {
        let own_key = json!({ "kty": "OKP", "crv": "Ed25519", "x": part([7; 32]) });
        let tricks = [
            ("kid", json!("0000000000000000")),
            ("kid", json!("../../../../dev/null")),
            ("kid", json!("x' union select 'key' --")),
            ("kid", json!("")),
            ("kid", Value::Null),
            ("kid", json!(["a"])),
            ("jku", json!("http://127.0.0.1:1/keys.json")),
            ("x5u", json!("http://127.0.0.1:1/key.pem")),
            ("jwk", own_key),
            ("x5c", json!(["AAAA"])),
            ("crit", json!(["b64"])),
            ("crit", json!(["exp"])),
            ("crit", json!([])),
            ("b64", json!(false)),
            ("zip", json!("DEF")),
            ("enc", json!("A256GCM")),
            ("cty", json!("JWT")),
            ("typ", json!("JWT")),
            ("typ", json!("rt+jwt")),
            ("typ", json!("AT+JWT ")),
            ("typ", Value::Null),
        ];
        let mut made = Vec::new();
        for (name, value) in tricks {
            made.push((format!("header {name} = {value}"), self.headed(&[(name, value.clone())])));
            let header = changed(&self.header, &[(name, value.clone())]).to_string();
            let stranger = sealed(header, self.claims.to_string(), &self.stranger);
            made.push((format!("header {name} = {value} by a stranger"), stranger));
        }
        let twice = self.head.replacen('{', "{\"alg\":\"none\",", 1);
        made.push(("two algs".to_owned(), sealed(twice, self.claims.to_string(), &self.own)));
        let spaced = format!("{} ", self.head);
        made.push(("blanks after the header".to_owned(), sealed(spaced, self.claims.to_string(), &self.own)));
        made
    }

    /// Claims that do not hold.
    fn claimed(&self, ground: &Ground) -> Vec<(String, String)> {
        let now = self.claims["iat"].as_i64().unwrap_or_default();
        let bob = &ground.bob;
        let claims: [(&str, &[(&str, Value)]); 27] = [
            ("over", &[("exp", json!(now - 1))]),
            ("over for a year", &[("exp", json!(now - 31_536_000))]),
            ("exp negative", &[("exp", json!(-1))]),
            ("exp as text", &[("exp", json!("never"))]),
            ("exp as a fraction", &[("exp", json!(9e18))]),
            ("exp null", &[("exp", Value::Null)]),
            ("not yet", &[("nbf", json!(now + 3_600))]),
            ("nbf as text", &[("nbf", json!("soon"))]),
            ("issued tomorrow", &[("iat", json!(now + 86_400)), ("exp", json!(now + 90_000))]),
            ("another audience", &[("aud", json!("dia-web"))]),
            ("several audiences", &[("aud", json!(["dia-api", "dia-web"]))]),
            ("an audience in a list", &[("aud", json!(["dia-api"]))]),
            ("no audience", &[("aud", json!(""))]),
            ("another issuer", &[("iss", json!("dja"))]),
            ("the issuer with a blank", &[("iss", json!("dia "))]),
            ("the issuer in other letters", &[("iss", json!("dіa"))]),
            ("issuers in a list", &[("iss", json!(["dia"]))]),
            ("somebody else", &[("sub", json!(bob.id))]),
            ("nobody", &[("sub", json!(domain::ids::fresh()))]),
            ("sub by SQL", &[("sub", json!("' or 1=1 --"))]),
            ("sub as a number", &[("sub", json!(1))]),
            ("another's session", &[("sid", json!(bob.session))]),
            ("no such session", &[("sid", json!(domain::ids::fresh()))]),
            ("sid empty", &[("sid", json!(""))]),
            ("sid by SQL", &[("sid", json!("' or '1'='1"))]),
            ("jti is no id", &[("jti", json!("../x"))]),
            ("everything null", &[("sub", Value::Null), ("sid", Value::Null), ("exp", Value::Null)]),
        ];
        let mut made: Vec<(String, String)> =
            claims.into_iter().map(|(what, changes)| (what.to_owned(), self.saying(changes))).collect();
        for claim in ["iss", "aud", "sub", "sid", "jti", "iat", "exp"] {
            made.push((format!("without {claim}"), self.without(claim)));
        }
        for claim in ["exp", "sub", "aud"] {
            let text = self.claims.to_string();
            let twice = text.replacen('{', &format!("{{\"{claim}\":{},", self.claims[claim]), 1);
            made.push((format!("{claim} twice"), sealed(&self.head, twice, &self.own)));
        }
        for (what, claims) in [("claims are a list", "[]"), ("claims are text", "\"x\""), ("claims are nothing", "")] {
            made.push((what.to_owned(), sealed(&self.head, claims, &self.own)));
        }
        made
    }

    /// The good token, cut, stretched and put into other shapes.
    fn shapes(&self, ground: &Ground) -> Vec<(String, String)> {
        let good = &ground.ann.token;
        let (message, signature) = good.rsplit_once('.').unwrap_or_default();
        let (header, claims) = message.split_once('.').unwrap_or_default();
        let raw = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        let flipped = |at: usize| {
            let mut raw = raw.clone();
            if let Some(byte) = raw.get_mut(at) {
                *byte ^= 1;
            }
            format!("{message}.{}", part(raw))
        };
        let other = part(changed(&self.claims, &[("sub", json!(ground.bob.id))]).to_string());
        let theirs = ground.bob.token.rsplit_once('.').map_or("", |(_, signature)| signature);
        let mut made = vec![
            ("a stranger's signature", sealed(&self.head, self.claims.to_string(), &self.stranger)),
            ("other claims, same signature", format!("{header}.{other}.{signature}")),
            ("another token's signature", format!("{message}.{theirs}")),
            ("a bit of R", flipped(0)),
            ("a bit of S", flipped(32)),
            ("the last bit of S", flipped(63)),
            ("no signature", format!("{message}.")),
            ("no signature, no dot", message.to_owned()),
            ("signature of zeros", format!("{message}.{}", part([0; 64]))),
            ("signature cut", format!("{message}.{}", part(raw.get(..32).unwrap_or(&[])))),
            ("signature stretched", format!("{message}.{}", part([&raw[..], &[0]].concat()))),
            ("signature twice", format!("{good}.{signature}")),
            ("five parts, like a JWE", format!("{header}..{}.{claims}.{signature}", part([0; 12]))),
            ("padded", format!("{good}==")),
            ("in the other alphabet", good.replace('-', "+").replace('_', "/") + "+"),
            ("with a dot before it", format!(".{good}")),
            ("with a dot after it", format!("{good}.")),
            ("twice, with a comma", format!("{good},{good}")),
            ("twice, with a blank", format!("{good} {good}")),
            ("quoted", format!("\"{good}\"")),
            ("percent-encoded", good.replace('.', "%2E")),
            ("in a token", sealed(&self.head, good, &self.own)),
            ("a token of 60 kB", format!("{header}.{}.{signature}", "A".repeat(60_000))),
            ("the refresh token", ground.ann.refresh.clone()),
            ("words", "let me in".to_owned()),
            ("null", "null".to_owned()),
            ("an empty object", "{}".to_owned()),
            ("the API key's beginning", "dia_".to_owned()),
            ("a key that is none", "dia_AAAAAAAAAAAA_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB".to_owned()),
            ("upper case", good.to_uppercase()),
            ("lower case", good.to_lowercase()),
        ];
        // What ends in a letter whose last bits mean nothing is spelled in several ways; only one of them is the token.
        for letter in ["A", "Q", "g", "w", "B", "R", "h", "x"] {
            let spelled = format!("{}{letter}", &good[..good.len() - 1]);
            if spelled != *good {
                made.push(("the last letter exchanged", spelled));
            }
        }
        made.into_iter().map(|(what, token)| (what.to_owned(), token)).collect()
    }
}

fn changed(object: &Value, changes: &[(&str, Value)]) -> Value {
    let mut object = object.clone();
    for (name, value) in changes {
        object[*name] = value.clone();
    }
    object
}

/// A refusal is right when it is the one that a request without a token gets.
fn judge(answer: &Answer, plain: &Answer) -> Result<(), String> {
    if answer.status != 401 || answer.blank() != plain.blank() {
        return Err(format!("{} instead of {}", answer.words(), plain.words()));
    }
    if answer.header("www-authenticate") != "Bearer" {
        return Err(format!("WWW-Authenticate says {:?}", answer.header("www-authenticate")));
    }
    Ok(())
}

/// Runs the class; `elsewhere` signed in to another deployment.
pub(crate) async fn attack(ground: &Ground, elsewhere: &Caller) -> Result<Class> {
    let mut class = Class::default();
    let forger = Forger::new(ground)?;
    let ann = &ground.ann;
    let nobody = ann.with_token("");
    let paths = ["/auth/me".to_owned(), format!("/cases/{}", ground.thing("case"))];
    let again = nobody.with_token(&forger.saying(&[])).get("/auth/me").await?;
    class.judge(again.status == 200, || {
        "the forger cannot make the server's own token: the attacks prove nothing".to_owned()
    });

    let mut leaver = ann.clone();
    leaver.sign_in().await?;
    let left = leaver.token.clone();
    leaver.made("/auth/logout", &Value::Null).await?;
    let mut forged = [forger.algorithms(), forger.headers(), forger.claimed(ground), forger.shapes(ground)].concat();
    forged.push(("of a session that ended".to_owned(), left));
    forged.push(("of another deployment".to_owned(), elsewhere.token.clone()));
    for path in &paths {
        let plain = nobody.get(path).await?;
        class.judge(ann.get(path).await?.status == 200, || format!("the good token does not open {path}"));
        for (what, token) in &forged {
            let answer = nobody.with_token(token).get(path).await?;
            class.hear(&format!("{what} at {path}"), judge(&answer, &plain));
        }
    }
    class.absorb(carried(ground, &nobody).await?);
    let kinds = forged.len();
    class.note(format!("{kinds} kinds of forged tokens"));
    Ok(class)
}

/// The good token, where no token belongs, and where it does.
async fn carried(ground: &Ground, nobody: &Caller) -> Result<Class> {
    let mut class = Class::default();
    let good = &ground.ann.token;
    let plain = nobody.get("/auth/me").await?;
    let ask = |path: &str| nobody.ask(Method::GET, path);
    let wrong = [
        ("in the query", ask(&format!("/auth/me?access_token={good}"))),
        ("in the query as token", ask(&format!("/auth/me?token={good}"))),
        (
            "in a cookie",
            ask("/auth/me").header("Cookie", format!("access_token={good}; token={good}; Authorization=Bearer {good}")),
        ),
        (
            "in the body",
            ask("/auth/me")
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(format!("access_token={good}")),
        ),
        ("in Proxy-Authorization", ask("/auth/me").header("Proxy-Authorization", format!("Bearer {good}"))),
        ("in X-Access-Token", ask("/auth/me").header("X-Access-Token", good)),
        ("without a scheme", ask("/auth/me").header("Authorization", good)),
        ("as Basic", ask("/auth/me").header("Authorization", format!("Basic {good}"))),
        ("as Token", ask("/auth/me").header("Authorization", format!("Token {good}"))),
        ("as Bearer:", ask("/auth/me").header("Authorization", format!("Bearer: {good}"))),
        ("after a tab", ask("/auth/me").header("Authorization", format!("Bearer\t{good}"))),
        ("under two schemes", ask("/auth/me").header("Authorization", format!("Basic YTpi, Bearer {good}"))),
        (
            "after a blank of Unicode",
            ask("/auth/me").header("Authorization", format!("Bearer\u{a0}{good}").into_bytes()),
        ),
        (
            "with a zero width space",
            ask("/auth/me").header("Authorization", format!("Bearer {good}\u{200b}").into_bytes()),
        ),
        ("in two headers, good first", {
            let request = ask("/auth/me").header("Authorization", format!("Bearer {good}"));
            request.header("Authorization", "Bearer x")
        }),
        ("in two headers, good last", {
            let request = ask("/auth/me").header("Authorization", "Bearer x");
            request.header("Authorization", format!("Bearer {good}"))
        }),
        ("in two headers, both good", {
            let request = ask("/auth/me").header("Authorization", format!("Bearer {good}"));
            request.header("Authorization", format!("Bearer {good}"))
        }),
    ];
    for (what, request) in wrong {
        class.hear(&format!("the token {what}"), judge(&hear(request).await?, &plain));
    }
    for scheme in ["bearer", "BEARER", "BeArEr"] {
        let answer = hear(ask("/auth/me").header("Authorization", format!("{scheme} {good}"))).await?;
        class.judge(answer.status == 200, || format!("the scheme {scheme} is not taken: {}", answer.words()));
    }
    let refreshed = nobody.post("/auth/refresh", &json!({ "refresh_token": good })).await?;
    let right = refreshed.status == 401 && refreshed.json()["code"] == "bad_refresh_token";
    class.judge(right, || format!("an access token refreshes: {}", refreshed.words()));
    Ok(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_says_more_is_wrong() {
        let says = |status, body: &str| {
            let mut answer = Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() };
            answer.headers.insert("www-authenticate", reqwest::header::HeaderValue::from_static("Bearer"));
            answer
        };
        let plain = says(401, r#"{"code":"unauthenticated","request_id":"a"}"#);
        assert!(judge(&says(401, r#"{"code":"unauthenticated","request_id":"b"}"#), &plain).is_ok());
        for wrong in [says(200, "{}"), says(401, r#"{"code":"expired","request_id":"b"}"#), says(403, "{}")] {
            assert!(judge(&wrong, &plain).is_err());
        }
        assert!(judge(&Answer { headers: reqwest::header::HeaderMap::new(), ..plain.clone() }, &plain).is_err());
    }
}
