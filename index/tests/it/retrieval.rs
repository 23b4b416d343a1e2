//! Passages for questions: the right document, the right place, within the scope.

use domain::text::slice;
use index::{Scope, retrieve};

use crate::support::{Paper, indexed};

fn contracts() -> Vec<Paper> {
    let contract = |parties: &str, term: &str, law: &str| {
        let filler =
            "The parties shall cooperate in good faith and keep records of all deliveries made hereunder. ".repeat(20);
        let text = format!(
            "DISTRIBUTION AGREEMENT between {parties}. {filler} This agreement shall remain in force for {term} from the \
             effective date unless terminated earlier. {filler} This agreement is governed by the laws of {law}. {filler}"
        );
        let mut paper = Paper::new(&format!("{}.txt", parties.replace(' ', "_")), &text);
        paper.chunk = 300;
        paper
    };
    vec![
        contract("Alpha Widgets Inc and Borealis GmbH", "three years", "Bavaria"),
        contract("Cobalt Mining Ltd and Dorset Traders", "ninety days", "England"),
        contract("Evergreen Foods and Fjord Shipping", "ten years", "Norway"),
    ]
}

#[test]
fn a_question_goes_to_the_document_it_names() {
    let papers = contracts();
    let reader = indexed(&papers);
    let cases = [
        (
            "Consider the Distribution Agreement between Cobalt Mining Ltd and Dorset Traders; how long does it remain in force?",
            1,
            "ninety days",
        ),
        ("In the agreement with Fjord Shipping: which laws govern?", 2, "laws of Norway"),
        ("Which law governs the contract with Alpha Widgets?", 0, "laws of Bavaria"),
    ];
    for (question, paper, answer) in cases {
        let passages = retrieve(std::slice::from_ref(&reader), question, &Scope::default(), 4).unwrap();
        assert_eq!(passages[0].document, papers[paper].id, "{question}");
        assert_eq!(passages[0].name, papers[paper].name);
        assert!(passages[0].text.contains(answer), "{question}: {}", passages[0].text);
        for passage in &passages {
            let text = &papers.iter().find(|paper| paper.id == passage.document).unwrap().text;
            assert_eq!(slice(text, passage.start..passage.end), Some(&*passage.text));
        }
    }
}

#[test]
fn nothing_outside_the_scope_is_ever_given() {
    let papers = contracts();
    let readers = [indexed(&papers[..1]), indexed(&papers[1..])];
    let question = "Consider the agreement between Alpha Widgets and Borealis; which laws govern it?";
    let everywhere = retrieve(&readers, question, &Scope::default(), 50).unwrap();
    assert_eq!((everywhere[0].document, everywhere[0].source), (papers[0].id, 0));
    let scoped = retrieve(&readers, question, &Scope::of_documents([papers[2].id]), 50).unwrap();
    assert!(!scoped.is_empty());
    assert!(scoped.iter().all(|passage| passage.document == papers[2].id && passage.source == 1));
    assert!(scoped[0].text.contains("laws of Norway"));
}

#[test]
fn hostile_questions_are_answered_or_not_but_never_break() {
    let reader = indexed(&contracts());
    for question in ["", "?", "the of and", "\"(((", "*", &"governed ".repeat(5_000), "契約書"] {
        retrieve(std::slice::from_ref(&reader), question, &Scope::default(), 3).unwrap();
    }
    assert_eq!(retrieve(&[reader], "laws", &Scope::default(), 0).unwrap().len(), 0);
}
