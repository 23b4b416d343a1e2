//! Which references are followed.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn told(references: &References, case: CaseId, source: &str) -> Option<Result<String, ItemError>> {
    let told = references.judge(case, source)?.map_err(|fault| fault.error);
    Some(told.map(|reference| match reference {
        Reference::File { folders, path } => format!("{folders:?} {}", path.display()),
        Reference::Web(url) => url,
        Reference::Object { bucket, key } => format!("{bucket} {key}"),
    }))
}

#[test]
fn nothing_is_followed_unless_it_is_allowed() {
    let none = References::default();
    let case = CaseId::new();
    for path in ["NATIVES/a.txt", r"\\server\share\a.txt", "/mnt/a.txt", r"C:\a.txt", ""] {
        assert_eq!(told(&none, case, path), None, "{path}");
    }
    for source in [
        "https://a.example/x",
        "http://a.example/x",
        "s3://bucket/key",
        "file:///mnt/a.txt",
        "FILE:///mnt/a.txt",
        "ftp://a.example/x",
        "gopher://a.example/",
    ] {
        assert_eq!(told(&none, case, source), Some(Err(ItemError::ReferenceRefused)), "{source}");
    }
}

#[test]
fn what_is_allowed_is_told_apart() {
    let config = ReferencesConfig {
        folders: list(&["/mnt/all", "/mnt/cases/{case}"]),
        hosts: list(&["a.example"]),
        plain_hosts: list(&["plain.example"]),
        buckets: list(&["open", "shared/{case}/"]),
        ..ReferencesConfig::default()
    };
    let references = References::new(&config).unwrap();
    let (case, other) = (CaseId::new(), CaseId::new());
    for (source, expected) in [
        ("file:///mnt/all/x/a%20b.txt", r#"["/mnt/all"] x/a b.txt"#.to_owned()),
        ("file://localhost/mnt/all/x", r#"["/mnt/all"] x"#.to_owned()),
        ("/mnt/all/x", r#"["/mnt/all"] x"#.to_owned()),
        // Whether that leads out is the kernel's to say.
        ("/mnt/all/../x", r#"["/mnt/all"] ../x"#.to_owned()),
        ("file:///mnt/all%2f..%2f..%2fetc/passwd", r#"["/mnt/all"] ../../etc/passwd"#.to_owned()),
        (r"x\a.txt", format!(r#"["/mnt/all", "/mnt/cases/{case}"] x/a.txt"#)),
        (&format!("/mnt/cases/{case}/a"), format!(r#"["/mnt/cases/{case}"] a"#)),
        ("https://a.example/x?sig=y", "https://a.example/x?sig=y".to_owned()),
        ("http://plain.example/x", "http://plain.example/x".to_owned()),
        ("s3://open/a?b%20c#d", "open a?b%20c#d".to_owned()),
        (&format!("S3://shared/{case}/a"), format!("shared {case}/a")),
    ] {
        assert_eq!(told(&references, case, source), Some(Ok(expected)), "{source}");
    }
    for (source, expected) in [
        ("file:///etc/passwd", ItemError::ReferenceRefused),
        ("file:///mnt/all/../../etc/passwd", ItemError::ReferenceRefused),
        ("file:///mnt/allied/x", ItemError::ReferenceRefused),
        ("file://server/mnt/all/x", ItemError::ReferenceRefused),
        ("//mnt/cases/x", ItemError::ReferenceRefused),
        (&format!("/mnt/cases/{other}/a"), ItemError::ReferenceRefused),
        ("http://a.example/x", ItemError::ReferenceRefused),
        ("https://b.example/x", ItemError::ReferenceRefused),
        ("https://ann@a.example/x", ItemError::ReferenceRefused),
        ("s3://other/a", ItemError::ReferenceRefused),
        (&format!("s3://shared/{other}/a"), ItemError::ReferenceRefused),
        (&format!("s3://shared/{case}/../{other}/a"), ItemError::ReferenceRefused),
        ("s3://open", ItemError::ReferenceMissing),
        ("s3://open/", ItemError::ReferenceMissing),
    ] {
        assert_eq!(told(&references, case, source), Some(Err(expected)), "{source}");
    }
}
