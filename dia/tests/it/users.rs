//! People with the real binary: the operator's commands, and signing in with a second factor.

use std::process::Command;

use serde_json::{Value, json};

use crate::server::{PASSWORD, Server};

const EMAIL: &str = "ada@example.org";

/// What an authenticator shows, as Python works it out (RFC 6238).
fn shows(secret: &str) -> String {
    let program = "import base64,hmac,struct,sys,time;\
        h=hmac.new(base64.b32decode(sys.argv[1]),struct.pack('>q',int(time.time())//30),'sha1').digest();\
        o=h[19]&15;print('%06d'%((struct.unpack('>I',h[o:o+4])[0]&0x7fffffff)%1000000))";
    let output = Command::new("python3").args(["-c", program, secret]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn post(url: &str, token: &str, path: &str, body: &Value) -> Value {
    let request = reqwest::Client::builder().build().unwrap().post(format!("{url}/api/v1{path}"));
    let answer = request.bearer_auth(token).json(body).send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    answer.json().await.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_looks_after_people() {
    let home = tempfile::tempdir().unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let filter = [("DIA_LOG__FILTER", "debug,api=trace,storage=trace")];
    let server = Server::start_saying(home, &filter, log.reopen().unwrap());
    server.sign_up();
    let listed = server.ok(&["users", "list"]);
    assert!(listed.contains("administrator") && listed.contains(EMAIL) && !listed.contains("suspended"), "{listed}");
    let refused = server.run(&["users", "suspend", EMAIL]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("nobody would be left"), "{said}");
    assert!(!server.run(&["users", "suspend", "nobody@example.org"]).status.success());
    assert!(!server.run(&["users", "remove-second-factor", EMAIL]).status.success());

    let tokens = post(&server.url, "", "/auth/login", &json!({ "email": EMAIL, "password": PASSWORD })).await;
    let token = tokens["access_token"].as_str().unwrap();
    let secret = post(&server.url, token, "/auth/mfa/totp", &Value::Null).await["secret"].as_str().unwrap().to_owned();
    let confirmed = post(&server.url, token, "/auth/mfa/totp/confirm", &json!({ "code": shows(&secret) })).await;
    assert!(server.ok(&["users", "list"]).contains("second factor"));
    let recovery = confirmed["recovery_codes"][0].as_str().unwrap();
    let login = |code: &str| server.command().args(["login", "--email", EMAIL]).env("DIA_CODE", code).output().unwrap();
    assert!(!login("000000").status.success());
    let signed_in = login(recovery);
    assert!(signed_in.status.success(), "{}", String::from_utf8_lossy(&signed_in.stderr));
    assert!(!login(recovery).status.success(), "a recovery code counts once");
    server.ok(&["cases"]);

    // Everything lost: the operator helps, and the person comes in again by a password of their own.
    server.ok(&["users", "remove-second-factor", EMAIL]);
    let printed = server.ok(&["users", "reset-password", EMAIL]);
    let code = printed.split_whitespace().next().unwrap();
    let chosen = "violet anchors hum at midnight";
    post(&server.url, "", "/auth/reset-password", &json!({ "code": code, "new_password": chosen })).await;
    let back = server.command().args(["login", "--email", EMAIL]).env("DIA_PASSWORD", chosen).output().unwrap();
    assert!(back.status.success(), "{}", String::from_utf8_lossy(&back.stderr));
    server.ok(&["cases"]);

    // However much is logged, nothing that opens anything is.
    server.stop();
    let said = std::fs::read_to_string(log.path()).unwrap();
    assert!(said.contains("/auth/login/second-factor") && said.contains("DEBUG"), "{said}");
    for secret in [PASSWORD, chosen, token, &secret, recovery, code] {
        assert!(!said.contains(secret), "{secret} was logged");
    }
}
