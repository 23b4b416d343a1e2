//! Passages of any length, from text with headings anywhere.
#![no_main]

use domain::text::{Heading, Text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [target, places @ ..] = data else { return };
    let (places, words) = places.split_at(places.len() / 4);
    let mut text = Text { text: String::from_utf8_lossy(words).into_owned(), ..Text::default() };
    let all: Vec<char> = text.text.chars().collect();
    let mut start = 0;
    for step in places {
        start += u32::from(*step);
        let end = start + 1 + u32::from(*step) % 20;
        if end as usize <= all.len() {
            text.headings.push(Heading { start, end, level: 1 });
        }
    }
    fuzz::check_passages(&text, &all, &pipeline::chunk::chunks(&text, usize::from(*target)));
});
