//! Signed and encrypted mail, calendars, business cards, mailboxes.

use domain::outcome::Category;
use pipeline::{Format, identify};

use crate::{
    machine::{category, check, extract, file, reader, unpack},
    outlook::inside,
};

#[test]
fn signed_mail_is_opened_and_encrypted_mail_named() {
    let text = extract(&reader(), "a.eml", &file("signed_opaque.eml")).unwrap();
    assert_eq!(text.metadata.subject.as_deref(), Some("Signed lease"));
    assert!(text.text.ends_with("Attachments: plan.txt\n\nThe lease ends in May. Grüße"), "{}", text.text);
    let (result, members) = unpack(&reader(), Format::Eml, &file("signed_opaque.eml"));
    assert_eq!((result.unwrap().members, members.0[0].1.as_slice()), (1, &b"step one"[..]));
    assert_eq!(category(extract(&reader(), "a.eml", &file("encrypted.eml"))), Category::Encrypted);
    assert_eq!(unpack(&reader(), Format::Eml, &file("encrypted.eml")).0.unwrap().members, 0);
    // Alone, with all lengths left open.
    let bytes = file("open_length.p7m");
    assert_eq!(identify(&bytes, "").format, Format::Pkcs7);
    assert_eq!(
        extract(&reader(), "a.p7m", &bytes).unwrap().text,
        "Signed content\nCertificate: Ann Lee <ann@example.com>"
    );
    assert!(inside(&bytes, Format::Pkcs7, 0).text.contains("The lease ends in May. Grüße"));
}

#[test]
fn hostile_signatures() {
    let bytes = file("open_length.p7m");
    for cut in (0..bytes.len()).step_by(37) {
        let _ = unpack(&reader(), Format::Pkcs7, &bytes[..cut]);
    }
    let deep = b"\x30\x80".repeat(100_000);
    assert_eq!(
        category(reader().extract(Format::Pkcs7, "x", &mut &deep[..], &crate::machine::NEVER)),
        Category::Corrupt
    );
}

#[test]
fn calendars() {
    let file = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nBEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nBEGIN:STANDARD\r\nDTSTART:16010101T030000\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n\
        BEGIN:VEVENT\r\nDTSTAMP:20240102T030405Z\r\nDTSTART;TZID=Europe/Berlin:20240301T090000\r\nDTEND:20240301T083000Z\r\nSUMMARY:Closing\\, final\r\n\
        ORGANIZER;CN=\"Lee, Ann\":mailto:ann@x.org\r\nATTENDEE;PARTSTAT=ACCEPTED;CN=Bob:MAILTO:bob@x.org\r\nDESCRIPTION:Bring the\r\n  deed.\\nAll of it.\r\n\
        BEGIN:VALARM\r\nDESCRIPTION:Reminder\r\nEND:VALARM\r\nEND:VEVENT\r\nBEGIN:VTODO\r\nDUE;VALUE=DATE:20240401\r\nSUMMARY:File\r\nEND:VTODO\r\nEND:VCALENDAR\r\n";
    let text = extract(&reader(), "a.ics", file.as_bytes()).unwrap();
    assert_eq!(
        text.text,
        "Calendar: REQUEST\n\nStart: 2024-03-01 09:00 (Europe/Berlin)\nEnd: 2024-03-01 08:30 UTC\nSummary: Closing, final\n\
        Organizer: Lee, Ann <ann@x.org>\nAttendee: Bob <bob@x.org> (accepted)\nDescription: Bring the deed.\nAll of it.\n\nDue: 2024-04-01\nSummary: File"
    );
    assert_eq!((text.metadata.subject.as_deref(), text.metadata.to.len()), (Some("Closing, final"), 1));
    assert_eq!(text.metadata.modified_at.unwrap().rfc3339(), "2024-01-02T03:04:05Z");
    assert_eq!(identify(file.as_bytes(), "").format, Format::Ics);
}

#[test]
fn business_cards() {
    let file = b"BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=ISO-8859-1;ENCODING=QUOTED-PRINTABLE:M=FCller;Ann;;Dr.;\r\nTEL;WORK;VOICE:+49 1\r\nPHOTO;ENCODING=BASE64;JPEG:\r\n /9j/4AAQ\r\n\r\nEND:VCARD\r\n\
        BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Bob Ray\r\nitem1.EMAIL;TYPE=home:bob@x.org\r\nORG:Ray;Legal\r\nADR;TYPE=work:;;1 Road;Town;;12;UK\r\nNOTE:first\\nsecond\r\nPHOTO:data:image/png;base64,AAAA\r\nEND:VCARD\r\n";
    let text = extract(&reader(), "a.vcf", file).unwrap();
    assert_eq!(
        text.text,
        "Müller, Ann, Dr.\nName: Müller, Ann, Dr.\nTelephone (work): +49 1\n\nBob Ray\nE-mail (home): bob@x.org\n\
        Organization: Ray, Legal\nAddress (work): 1 Road, Town, 12, UK\nNote: first\nsecond"
    );
    assert_eq!(text.headings.len(), 2);
    assert_eq!(identify(file, "").format, Format::Vcf);
}

#[test]
fn hostile_calendars_and_cards() {
    for start in ["BEGIN:VCALENDAR\nBEGIN:VEVENT\n", "BEGIN:VCARD\n"] {
        let endless = format!("{start}SUMMARY;ENCODING=QUOTED-PRINTABLE:{}", "x=\n".repeat(100_000));
        let deep = format!("{start}{}", "BEGIN:VEVENT\nDTSTART:é2\nORGANIZER:mailé\nX\\:\\\n".repeat(20_000));
        for file in [endless, deep] {
            check(&extract(&reader(), "a", file.as_bytes()).unwrap());
        }
    }
}

#[test]
fn mailboxes_of_every_habit() {
    let split = |bytes: &[u8]| -> Vec<String> {
        let (result, members) = unpack(&reader(), Format::Mbox, bytes);
        result.unwrap();
        members.0.iter().map(|(_, content, _)| String::from_utf8(content.clone()).unwrap()).collect()
    };
    let separator = "From ann@x.org Mon Jan  1 00:00:00 2024\n";
    let first = "From: a@x\nSubject: 1\n\nFrom here on we agree.\n\nFrom here, too.\n";
    let second = "From: b@x\nSubject: 2\n\nbye\n";
    assert_eq!(
        split(format!("{separator}{first}\n{separator}{second}").as_bytes()),
        [format!("{first}\n"), second.into()]
    );
    // Windows line ends, and rubbish before the first message.
    let windows = format!("rubbish\n{separator}{second}\n{separator}{second}").replace('\n', "\r\n");
    assert_eq!(split(windows.as_bytes()).len(), 2);
    // mboxo and mboxrd.
    let quoted = format!("{separator}Subject: q\n\n>From me\n>>From you\n> From him\n");
    assert_eq!(split(quoted.as_bytes()), ["Subject: q\n\nFrom me\n>From you\n> From him\n"]);
    // mboxcl2: the text holds what looks like the next message.
    let body = format!("before\n\n{separator}Subject: inside\n\nstill the first\n");
    let counted = format!("{separator}Subject: c\nContent-Length: {}\n\n{body}\n{separator}{second}", body.len());
    let found = split(counted.as_bytes());
    assert_eq!((found.len(), found[0].ends_with("still the first\n"), found[1].as_str()), (2, true, second));
    // A lying length is not believed.
    let lying = format!("{separator}Subject: c\nContent-Length: 3\n\nlonger text\n\n{separator}{second}");
    assert_eq!(split(lying.as_bytes())[0], "Subject: c\nContent-Length: 3\n\nlonger text\n\n");
}

#[test]
fn character_sets_that_are_wrong_or_missing() {
    let russian = "\u{414}\u{43e}\u{433}\u{43e}\u{432}\u{43e}\u{440} \u{43f}\u{43e}\u{434}\u{43f}\u{438}\u{441}\u{430}\u{43d} \u{441}\u{435}\u{433}\u{43e}\u{434}\u{43d}\u{44f}";
    let bytes: Vec<u8> = russian
        .chars()
        .map(|scalar| match u32::from(scalar) {
            letter @ 0x410..=0x44f => u8::try_from(letter - 0x410 + 0xc0).unwrap(),
            other => u8::try_from(other).unwrap(),
        })
        .collect();
    let mail = [
        &b"From: a@x.org\r\nTo: b@x.org\r\nSubject: "[..],
        &bytes,
        b"\r\nDate: Tue, 29 Jul 2014 11:06:05 +0200 (CEST)\r\n\r\n",
        &bytes,
        b"\r\n",
    ]
    .concat();
    let text = extract(&reader(), "a.eml", &mail).unwrap();
    assert_eq!(text.metadata.subject.as_deref(), Some(russian));
    assert!(
        text.text.ends_with(&format!("Date: Tue, 29 Jul 2014 11:06:05 +0200 (CEST)\nSubject: {russian}\n\n{russian}")),
        "{}",
        text.text
    );
    assert_eq!(text.metadata.extra["date"], "2014-07-29T11:06:05+02:00");
    let raw = b"From: =?iso-8859-1?Q?M\xfcller?= <m@x.org>\r\nTo: b@x.org\r\nSubject: s\r\n\r\nx";
    assert_eq!(extract(&reader(), "a.eml", raw).unwrap().metadata.from.as_deref(), Some("M\u{fc}ller <m@x.org>"));
}

#[test]
fn mail_cut_short_and_parts_without_names() {
    let cut = "From: a@x\nSubject: s\nContent-Type: multipart/mixed; boundary=\"a\"\n\n--a\nContent-Type: multipart/mixed; boundary=\"ab\"\n\n--ab\nContent-Type: text/plain\n\nthe body";
    assert!(extract(&reader(), "a.eml", cut.as_bytes()).unwrap().text.ends_with("the body"));
    let invitation = "From: a@x\nSubject: s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=a\n\n--a\n\ncome\n\
        --a\nContent-Type: text/calendar; method=REQUEST\nContent-Disposition: attachment\n\nBEGIN:VCALENDAR\n--a--\n";
    assert_eq!(unpack(&reader(), Format::Eml, invitation.as_bytes()).1.0[0].0.path, "attachment-1.ics");
}

#[test]
fn saved_web_pages() {
    let page = "From: <Saved by a browser>\nSubject: Page\nMIME-Version: 1.0\nContent-Type: multipart/related; boundary=b\n\n\
        --b\nContent-Type: text/html\nContent-Location: http://x.org/\n\n<p>Words<img src=\"http://x.org/a.png\"></p>\n\
        --b\nContent-Type: image/png\nContent-Location: http://x.org/a.png\nContent-Transfer-Encoding: base64\n\niVBORw==\n--b--\n";
    assert!(extract(&reader(), "a.mht", page.as_bytes()).unwrap().text.ends_with("Words"));
    assert!(unpack(&reader(), Format::Eml, page.as_bytes()).1.0[0].0.inline);
}
