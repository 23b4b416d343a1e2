//! What a query finds: whole documents, all fields, folded words.

use domain::{clock::Timestamp, text::Metadata};
use index::{Facet, Query, Scope, SearchRequest, Sort};

use crate::support::{Paper, ask, found, indexed};

fn papers() -> Vec<Paper> {
    let far = "filler ".repeat(60);
    let mut mail = Paper::new("mail.eml", "Please see the indemnity clause before Friday.");
    mail.media_type = "message/rfc822".into();
    mail.custodian = Some("Ann Lee".to_owned());
    mail.copy_custodians = vec!["Ann Lee".to_owned(), "Cy Poe".to_owned()];
    mail.labels = vec!["hot".to_owned(), "Privileged Review".to_owned()];
    mail.metadata = Metadata {
        subject: Some("Final invoice".to_owned()),
        from: Some("Björn Ødegård <bjorn@example.com>".to_owned()),
        to: vec!["Ann Lee <ann@example.com>".to_owned()],
        cc: vec!["board@example.com".to_owned()],
        sent_at: Timestamp::parse("2024-03-31T23:59:59Z"),
        ..Metadata::default()
    };
    let mut deed = Paper::new("deed.pdf", &format!("The breach of contract. {far} damages were paid"));
    deed.media_type = "application/pdf".into();
    deed.metadata.created_at = Timestamp::parse("2023-06-01T00:00:00Z");
    deed.metadata.author = Some("Registry".to_owned());
    let mut note = Paper::new("SHARE_PRICE_2019.xlsx", "contract damages, contractual breach; profit & loss 1,000,000");
    note.custodian = Some("Bo Chan".to_owned());
    let chinese = Paper::new("合同.txt", "本契約書は東京で締結された。Café résumé");
    vec![mail, deed, note, chinese]
}

#[test]
fn queries_speak_of_whole_documents() {
    let reader = indexed(&papers());
    let (mail, deed, note, chinese) = ("mail.eml", "deed.pdf", "SHARE_PRICE_2019.xlsx", "合同.txt");
    let cases: &[(&str, &[&str])] = &[
        // The two words stand in different chunks of the deed.
        ("breach damages", &[deed, note]),
        ("breach AND damages", &[deed, note]),
        ("\"breach of contract\"", &[deed]),
        ("“breach of contract”", &[deed]),
        ("\"contract breach\"", &[]),
        ("breach NOT filler", &[note]),
        ("breach -filler", &[note]),
        ("breach -\"of contract\"", &[note]),
        ("NOT filler", &[mail, note, chinese]),
        ("-filler -invoice", &[note, chinese]),
        ("invoice OR filler", &[mail, deed]),
        ("breach damages OR invoice", &[mail, deed, note]),
        ("breach (invoice OR filler)", &[deed]),
        ("invoice OR NOT breach", &[mail, chinese]),
        ("contract*", &[deed, note]),
        ("contractu*", &[note]),
        ("\"of contr*\"", &[deed]),
        ("profit & loss", &[note]),
        ("1,000,000", &[note]),
        ("BREACH", &[deed, note]),
        ("契約", &[chinese]),
        ("約契", &[]),
        ("東京", &[chinese]),
        ("cafe RESUME", &[chinese]),
        ("odegard", &[mail]),
        ("share price", &[note]),
        ("subject:invoice", &[mail]),
        ("subject:\"final invoice\"", &[mail]),
        ("subject:(invoice OR bill)", &[mail]),
        ("subject:indemnity", &[]),
        ("text:invoice", &[]),
        ("invoice", &[mail]),
        ("from:bjorn", &[mail]),
        ("from:bjorn@example.com", &[mail]),
        ("to:ann cc:board", &[mail]),
        ("to:bjorn", &[]),
        ("author:registry", &[deed]),
        ("name:share*", &[note]),
        ("custodian:lee", &[mail]),
        ("custodian:poe", &[mail]),
        ("label:privileged", &[mail]),
        ("type:pdf", &[deed]),
        ("type:xlsx OR type:rfc822", &[mail, note]),
        ("date:2024", &[mail]),
        ("date:2024-03-31", &[mail]),
        ("date:2024-04", &[]),
        ("date:2023-06-01..2024-03-31", &[mail, deed]),
        ("date:>2023-06-01", &[mail]),
        ("date:>=2023-06-01", &[mail, deed]),
        ("date:<2024", &[deed]),
        ("date:<=2023-06", &[deed]),
        ("date:..2023", &[deed]),
        ("NOT date:2000..2100", &[note, chinese]),
    ];
    for (query, expected) in cases {
        let mut expected: Vec<&str> = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found(&reader, query), expected, "{query}");
    }
}

#[test]
fn filters_narrow_and_facets_count_what_matches() {
    let papers = papers();
    let reader = indexed(&papers);
    let count = |scope: Scope| {
        let request = SearchRequest { scope, ..SearchRequest::new(Query::all()) };
        index::search(std::slice::from_ref(&reader), &request).unwrap().total
    };
    let at = |text: &str| Timestamp::parse(text);
    assert_eq!(count(Scope::default()), 4);
    assert_eq!(count(Scope::of_documents([papers[0].id, papers[2].id])), 2);
    assert_eq!(count(Scope { batches: vec![papers[1].batch], ..Scope::default() }), 1);
    assert_eq!(
        count(Scope { media_types: vec!["application/pdf".into(), "message/rfc822".into()], ..Scope::default() }),
        2
    );
    assert_eq!(count(Scope { custodians: vec!["Ann Lee".into()], ..Scope::default() }), 1);
    assert_eq!(count(Scope { custodians: vec!["Cy Poe".into()], ..Scope::default() }), 1);
    assert_eq!(count(Scope { custodians: vec!["Ann".into()], ..Scope::default() }), 0);
    assert_eq!(count(Scope { labels: vec!["Privileged Review".into()], ..Scope::default() }), 1);
    assert_eq!(count(Scope { from: at("2023-06-01T00:00:00Z"), ..Scope::default() }), 2);
    assert_eq!(count(Scope { until: at("2023-06-01T00:00:00Z"), ..Scope::default() }), 0);
    assert_eq!(count(Scope { until: at("2023-06-01T00:00:01Z"), ..Scope::default() }), 1);

    let facets = ask(&reader, "NOT filler").facets.unwrap();
    let facet = |value: &str, count| Facet { value: value.to_owned(), count };
    assert_eq!(facets.media_types, [facet("text/plain", 2), facet("message/rfc822", 1)]);
    assert_eq!(facets.custodians, [facet("Ann Lee", 1), facet("Bo Chan", 1), facet("Cy Poe", 1)]);
    assert_eq!(facets.labels, [facet("Privileged Review", 1), facet("hot", 1)]);
    assert_eq!(facets.years, [facet("2024", 1)]);
}

#[test]
fn dates_sort_both_ways_with_the_undated_last() {
    let reader = indexed(&papers());
    let order = |sort| {
        let request = SearchRequest { sort, ..SearchRequest::new(Query::all()) };
        let hits = index::search(std::slice::from_ref(&reader), &request).unwrap().hits;
        hits.into_iter().map(|hit| hit.name).collect::<Vec<_>>()
    };
    let undated = ["SHARE_PRICE_2019.xlsx", "合同.txt"];
    assert_eq!(order(Sort::Newest), [&["mail.eml", "deed.pdf"], &undated[..]].concat());
    assert_eq!(order(Sort::Oldest), [&["deed.pdf", "mail.eml"], &undated[..]].concat());
}

#[test]
fn databases_are_searched_as_one_collection() {
    let papers = papers();
    let together = indexed(&papers);
    let apart = [indexed(&papers[..2]), indexed(&papers[2..])];
    for query in ["breach", "contract* OR invoice", "NOT filler"] {
        let request = SearchRequest::new(index::query::parse(query).unwrap());
        let one = index::search(std::slice::from_ref(&together), &request).unwrap();
        let two = index::search(&apart, &request).unwrap();
        let scores = |results: &index::SearchResults| {
            results.hits.iter().map(|hit| (hit.document, hit.score.to_bits())).collect::<Vec<_>>()
        };
        assert_eq!(scores(&one), scores(&two), "{query}: the same documents with the same scores");
        assert_eq!((one.total, &one.facets), (two.total, &two.facets), "{query}");
        assert!(
            two.hits.iter().all(|hit| (hit.source == 0) == papers[..2].iter().any(|paper| paper.id == hit.document))
        );
    }
}
