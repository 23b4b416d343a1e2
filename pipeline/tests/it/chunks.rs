//! Passages: they cover the text, keep their offsets, and end where a reader would end them.

use domain::text::{Heading, PageText, Text};
use pipeline::chunk::chunks;
use proptest::prelude::*;

fn plain(text: &str) -> Text {
    let end = domain::text::scalars(text);
    Text { text: text.to_owned(), pages: vec![PageText { number: 1, end, ..PageText::default() }], ..Text::default() }
}

proptest! {
    #[test]
    fn passages_cover_everything_once(text in "([a-zäß中。]{1,30}[ .,!?\n\t]{1,3}){0,120}", target in 1_usize..200) {
        let text = plain(&text);
        let cut = chunks(&text, target);
        let mut at = 0;
        for (chunk, ordinal) in cut.iter().zip(0..) {
            prop_assert_eq!(chunk.ordinal, ordinal);
            prop_assert!(chunk.start >= at && chunk.end > chunk.start);
            prop_assert!((chunk.end - chunk.start) as usize <= target * 2);
            prop_assert_eq!(text.slice(chunk.start..chunk.end), Some(chunk.text.as_str()));
            prop_assert!(text.slice(at..chunk.start).unwrap().trim().is_empty(), "text between passages");
            at = chunk.end;
        }
        prop_assert!(text.slice(at..domain::text::scalars(&text.text)).unwrap().trim().is_empty(), "text after the last passage");
    }

    #[test]
    fn words_stay_whole(words in proptest::collection::vec("[a-z]{1,12}", 1..200), target in 30_usize..200) {
        let text = plain(&words.join(" "));
        let joined: Vec<String> = chunks(&text, target).iter().flat_map(|chunk| chunk.text.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
        prop_assert_eq!(joined, words);
    }
}

#[test]
fn sentences_end_passages() {
    let text = plain(&"The parties agree to settle this matter in full. ".repeat(40));
    for chunk in chunks(&text, 200) {
        assert!(chunk.text.starts_with("The parties") && chunk.text.ends_with("in full."), "{:?}", chunk.text);
    }
}

#[test]
fn headings_begin_passages_and_pages_are_known() {
    let body = "Some words of the clause. ".repeat(20);
    let mut text = plain(&format!("ARTICLE I\n{body}\nARTICLE II\n{body}"));
    let second = domain::text::scalars(text.text.split("ARTICLE II").next().unwrap());
    text.headings = vec![Heading { start: 0, end: 9, level: 1 }, Heading { start: second, end: second + 10, level: 1 }];
    text.pages[0].end = second - 1;
    text.pages.push(PageText {
        number: 2,
        start: second,
        end: domain::text::scalars(&text.text),
        ..PageText::default()
    });
    let cut = chunks(&text, 800);
    assert_eq!(cut.len(), 2);
    assert!(cut[1].text.starts_with("ARTICLE II\n"));
    assert_eq!((cut[0].first_page, cut[0].last_page, cut[1].first_page, cut[1].last_page), (1, 1, 2, 2));
}

#[test]
fn nothing_gives_nothing() {
    assert!(chunks(&plain(""), 800).is_empty());
    assert!(chunks(&plain(" \n\t "), 800).is_empty());
}
