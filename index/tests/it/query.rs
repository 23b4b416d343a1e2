//! The query language: what is refused, where and why; and that no input breaks the parser.

use index::query::{MAX_LENGTH, MAX_WORDS, parse};
use proptest::prelude::*;

#[test]
fn a_bad_query_points_at_the_character() {
    let deep = "(".repeat(200) + "a" + &")".repeat(200);
    let nots = "NOT ".repeat(200) + "a";
    let cases: &[(&str, u32, &str)] = &[
        ("", 0, "empty"),
        ("   ", 0, "empty"),
        ("&", 0, "no letters or digits"),
        ("say \"hello", 4, "never closed"),
        ("é \"hello", 2, "never closed"),
        ("(a OR b", 0, "never closed"),
        ("a (b (c)", 2, "never closed"),
        ("a OR b)", 6, "closes nothing"),
        (")", 0, "missing before"),
        ("()", 0, "empty"),
        ("a AND", 5, "must follow"),
        ("a OR", 4, "must follow"),
        ("NOT", 3, "small letters"),
        ("OR a", 0, "missing before"),
        ("a AND OR b", 6, "missing before"),
        ("(a AND)", 6, "missing before"),
        ("sender:bob", 0, "fields are text, name, subject"),
        ("x http://a.b", 2, "no field `http`"),
        ("subject: invoice", 8, "right after the colon"),
        ("a subject:", 10, "right after the colon"),
        ("subject:\"…\"", 8, "no letters or digits"),
        ("\"\"", 0, "no letters or digits"),
        ("*ing", 0, "cannot begin with a star"),
        ("a *", 2, "cannot begin with a star"),
        ("te*st", 2, "only at the end"),
        ("c*", 0, "at least 2 letters"),
        ("\"a* b\"", 2, "very end"),
        ("date:yesterday", 5, "not a date"),
        ("date:2024-13", 5, "not a date"),
        ("date:2024-02-30", 5, "not a date"),
        ("date:24", 5, "not a date"),
        ("date:>>2024", 5, "compared with"),
        ("date:..", 5, "at least one end"),
        ("date:2024..x", 11, "not a date"),
        ("date:2025..2024", 5, "before it begins"),
        ("date:(2024)", 5, "not a date"),
        (&deep, 33, "nested deeper"),
        (&nots, 132, "nested deeper"),
    ];
    for (query, at, message) in cases {
        let error = parse(query).expect_err(query);
        assert_eq!(error.at, *at, "{query}: {error}");
        assert!(error.message.contains(message), "{query}: {error}");
    }
    let long = "a ".repeat(MAX_LENGTH);
    assert_eq!(parse(&long).unwrap_err().at as usize, MAX_LENGTH);
    let many = "ab ".repeat(MAX_WORDS + 1);
    assert_eq!(parse(&many).unwrap_err().at as usize, MAX_WORDS * 3);
}

#[test]
fn odd_but_good_queries_are_understood() {
    for query in [
        "a & b",
        "12:30",
        "and or not",
        "-a",
        "NOT (a b)",
        "a -",
        "e-mail's",
        "x:y OR z".replace("x:", "name:").as_str(),
        "Date:2024",
    ] {
        assert!(parse(query).is_ok(), "{query}: {:?}", parse(query));
    }
    let same = |a: &str, b: &str| assert_eq!(parse(a).unwrap(), parse(b).unwrap(), "{a} / {b}");
    same("a b OR c d", "(a AND b) OR (c AND d)");
    same("a -b", "a NOT b");
    same("a AND NOT b", "a NOT b");
    same("SUBJECT:x", "subject:x");
    same("Crème", "creme");
}

proptest! {
    #[test]
    fn the_parser_never_panics(text in "(\\PC|[\"()*: -]|AND |OR |NOT |date:|subject:){0,60}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.at as usize <= text.chars().count(), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_built_from_words_is_understood(words in prop::collection::vec("[a-zé]{2,8}", 1..20), seed in any::<u64>()) {
        let mut query = String::new();
        for (at, word) in words.iter().enumerate() {
            let choice = (seed >> (at % 32)) % 4;
            let operator = [" ", " AND ", " OR ", " -"][usize::try_from(choice).unwrap()];
            if at > 0 {
                query.push_str(operator);
            }
            query.push_str(word);
        }
        prop_assert!(parse(&query).is_ok(), "{query}");
    }
}
