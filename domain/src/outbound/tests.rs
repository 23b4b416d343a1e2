//! What may be named, and what may not, however it is written.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// What must be refused when any public host may be named.
const REFUSED: [(&str, Refusal); 78] = [
    ("", Refusal::NotAUrl),
    ("example.org", Refusal::NotAUrl),
    ("//example.org/x", Refusal::NotAUrl),
    ("https://", Refusal::NotAUrl),
    ("https:///", Refusal::NotAUrl),
    ("https://?x", Refusal::NotAUrl),
    ("https://exa mple.org/", Refusal::NotAUrl),
    ("https://example.org:99999/", Refusal::NotAUrl),
    ("https://[::1/", Refusal::NotAUrl),
    ("https://[fe80::1%25eth0]/", Refusal::NotAUrl),
    ("https://256.256.256.256/", Refusal::NotAUrl),
    ("https://1.2.3.4.5/", Refusal::NotAUrl),
    ("https://0x100000000/", Refusal::NotAUrl),
    ("mailto:ann@example.org", Refusal::NotAUrl),
    ("data:text/plain,x", Refusal::NotAUrl),
    ("file:///etc/passwd", Refusal::NotAUrl),
    ("javascript:alert(1)", Refusal::NotAUrl),
    ("http://example.org/", Refusal::Scheme),
    ("HTTP://example.org/", Refusal::Scheme),
    ("http://127.0.0.1/", Refusal::Scheme),
    ("ftp://example.org/", Refusal::Scheme),
    ("gopher://example.org/", Refusal::Scheme),
    ("ws://example.org/", Refusal::Scheme),
    ("wss://example.org/", Refusal::Scheme),
    ("ldap://example.org/", Refusal::Scheme),
    ("file://example.org/etc/passwd", Refusal::Scheme),
    ("unix://run/docker.sock", Refusal::Scheme),
    ("https://ann@example.org/", Refusal::Credentials),
    ("https://ann:secret@example.org/", Refusal::Credentials),
    ("https://:secret@example.org/", Refusal::Credentials),
    ("https://example.org@127.0.0.1/", Refusal::Credentials),
    ("https://example.org%40@127.0.0.1/", Refusal::Credentials),
    ("https://127.0.0.1@example.org/", Refusal::Credentials),
    ("https://127.0.0.1/", Refusal::Address),
    ("https://127.0.0.1:8443/", Refusal::Address),
    ("https://127.0.0.1./", Refusal::Address),
    ("https://127.1/", Refusal::Address),
    ("https://127.0.1/", Refusal::Address),
    ("https://0/", Refusal::Address),
    ("https://0.0.0.0/", Refusal::Address),
    ("https://2130706433/", Refusal::Address),
    ("https://0x7f000001/", Refusal::Address),
    ("https://0x7f.1/", Refusal::Address),
    ("https://0X7F.0x0.0x0.0x1/", Refusal::Address),
    ("https://017700000001/", Refusal::Address),
    ("https://0177.0.0.01/", Refusal::Address),
    ("https://0177.0x0.1/", Refusal::Address),
    ("https://%31%32%37.0.0.1/", Refusal::Address),
    ("https://127%2e0%2e0%2e1/", Refusal::Address),
    ("https://１２７.０.０.１/", Refusal::Address),
    ("https://127。0。0。1/", Refusal::Address),
    ("https://①②⑦.⓪.⓪.①/", Refusal::Address),
    ("https:127.0.0.1/", Refusal::Address),
    ("https:/127.0.0.1/", Refusal::Address),
    ("https:\\\\127.0.0.1\\x", Refusal::Address),
    ("https://127.0.0.1\\@example.org/", Refusal::Address),
    ("https://127.0.0.1#@example.org/", Refusal::Address),
    ("https://127.0.0.1?@example.org/", Refusal::Address),
    ("https://12\t7.0.0.1/", Refusal::Address),
    (" https://127.0.0.1/ ", Refusal::Address),
    ("https://169.254.169.254/latest/meta-data/", Refusal::Address),
    ("https://2852039166/", Refusal::Address),
    ("https://0xa9fea9fe/", Refusal::Address),
    ("https://168.63.129.16/", Refusal::Address),
    ("https://100.100.100.200/", Refusal::Address),
    ("https://10.0.0.1/", Refusal::Address),
    ("https://192.168.0.1/", Refusal::Address),
    ("https://255.255.255.255/", Refusal::Address),
    ("https://[::]/", Refusal::Address),
    ("https://[::1]/", Refusal::Address),
    ("https://[0:0:0:0:0:0:0:1]:8443/", Refusal::Address),
    ("https://[::ffff:127.0.0.1]/", Refusal::Address),
    ("https://[::ffff:7f00:1]/", Refusal::Address),
    ("https://[64:ff9b::a9fe:a9fe]/", Refusal::Address),
    ("https://[2002:7f00:1::]/", Refusal::Address),
    ("https://[fd00:ec2::254]/", Refusal::Address),
    ("https://[fe80::1]/", Refusal::Address),
    ("https://[ff02::1]/", Refusal::Address),
];

#[test]
fn what_is_not_public_is_refused_however_it_is_written() {
    let any = Reach::new(None, &[], &[]).unwrap();
    for (text, refusal) in REFUSED {
        assert_eq!(any.url(text), Err(refusal), "{text}");
    }
    assert_eq!(any.url(&format!("https://example.org/{}", "x".repeat(2_048))), Err(Refusal::NotAUrl));
    for text in [
        "https://example.org",
        "https://example.org:8443/a?b=c",
        "HTTPS://EXAMPLE.ORG./",
        "https://xn--bcher-kva.example/",
        "https://bücher.example/",
        "https://8.8.8.8/",
        "https://134744072/",
        "https://[2606:4700:4700::1111]/",
        "https://127.0.0.1.example.org/",
        "https://localhost.example.org/",
        // Names are judged by what they resolve to.
        "https://localhost/",
    ] {
        assert!(any.url(text).is_ok(), "{text}");
    }
}

#[test]
fn a_list_of_hosts_is_exact() {
    let (hosts, plain) =
        (strings(&["Files.Example.org", "other.example.org:8443", "8.8.8.8"]), strings(&["intern:8080"]));
    let reach = Reach::new(Some(&hosts), &plain, &[]).unwrap();
    for text in [
        "https://files.example.org/a",
        "https://FILES.example.org./a",
        "https://files.example.org:443/a",
        "https://other.example.org:8443/",
        "https://8.8.8.8/",
        "http://intern:8080/",
        "https://intern:8080/",
    ] {
        assert!(reach.url(text).is_ok(), "{text}");
    }
    for (text, refusal) in [
        ("https://example.org/", Refusal::Host),
        ("https://xfiles.example.org/", Refusal::Host),
        ("https://files.example.org.evil.example/", Refusal::Host),
        ("https://a.files.example.org/", Refusal::Host),
        ("https://files.example.org:8443/", Refusal::Host),
        ("https://files.example.org:80/", Refusal::Host),
        ("https://other.example.org/", Refusal::Host),
        ("https://evil.example/?files.example.org", Refusal::Host),
        ("https://evil.example#files.example.org", Refusal::Host),
        ("https://evil.example\\files.example.org", Refusal::Host),
        ("https://intern/", Refusal::Host),
        ("http://files.example.org/", Refusal::Scheme),
        ("http://intern/", Refusal::Scheme),
    ] {
        assert_eq!(reach.url(text), Err(refusal), "{text}");
    }
    let none = Reach::new(Some(&[]), &[], &[]).unwrap();
    assert_eq!(none.url("https://example.org/"), Err(Refusal::Host));
}

#[test]
fn an_operator_allows_networks() {
    let reach = Reach::new(None, &[], &strings(&["10.1.0.0/16", "fd00:1::/64", "64:ff9b::/96"])).unwrap();
    for address in ["10.1.2.3", "::ffff:10.1.2.3", "fd00:1::7", "64:ff9b::808:808", "8.8.8.8"] {
        assert!(reach.admits(address.parse().unwrap()), "{address}");
    }
    for address in ["10.2.0.1", "::ffff:10.2.0.1", "fd00:2::7", "127.0.0.1"] {
        assert!(!reach.admits(address.parse().unwrap()), "{address}");
    }
    assert!(reach.url("https://10.1.2.3/").is_ok());
    assert_eq!(reach.url("https://10.2.2.3/"), Err(Refusal::Address));
}

#[test]
fn what_an_operator_mistypes_is_named() {
    for host in ["", "https://x", "x/y", "*.example.org", "a@b", "a b", "x:99999", " x"] {
        assert!(Reach::new(Some(&strings(&[host])), &[], &[]).is_err(), "{host}");
        assert!(Reach::new(None, &strings(&[host]), &[]).is_err(), "{host}");
    }
    for network in ["", "10.0.0.0", "10.0.0.0/33", "intern"] {
        assert!(Reach::new(None, &[], &strings(&[network])).is_err(), "{network}");
    }
}
