//! The S3 server of the tests: Ceph's gateway as `scripts/s3` starts it, with a prefix of its own for every test.

use std::{path::Path, process::Command, sync::OnceLock};

use storage::objects::S3Settings;

/// Where it listens; `scripts/s3` says the same.
pub const ADDRESS: &str = "127.0.0.1:17480";

/// Settings of a store nobody else uses. Starts the server unless it runs.
pub fn settings() -> S3Settings {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/s3");
        let started = Command::new(script).arg("start").status().unwrap();
        assert!(started.success(), "the S3 server of the tests does not start; `scripts/setup test` installs it");
    });
    S3Settings {
        bucket: "dia-tests".to_owned(),
        prefix: format!("{}/", domain::ids::fresh()),
        endpoint: format!("http://{ADDRESS}"),
        path_style: true,
        access_key_id: "dia-tests".to_owned(),
        secret_access_key: "dia-tests-on-the-loopback-only".to_owned(),
        ..S3Settings::default()
    }
}
