//! XML without a reader of its own: its character data, element by element. Nothing is expanded but the five entities every
//! XML has, so definitions and external entities are dead letters.

use crate::compose::Composer;

pub(super) fn read(bytes: &[u8], composer: &mut Composer) {
    let text = crate::decode::text(bytes, None);
    let mut rest: &str = &text;
    while let Some((before, after)) = rest.split_once('<') {
        push(before, composer);
        // Comments, declarations and definitions hold no text; CDATA is nothing but text.
        rest = if let Some(data) = after.strip_prefix("![CDATA[") {
            let (data, after) = data.split_once("]]>").unwrap_or((data, ""));
            composer.push(data);
            after
        } else if let Some(comment) = after.strip_prefix("!--") {
            comment.split_once("-->").map_or("", |(_, after)| after)
        } else {
            after.split_once('>').map_or("", |(_, after)| after)
        };
        composer.end_line();
    }
    push(rest, composer);
}

fn push(text: &str, composer: &mut Composer) {
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    let plain = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&");
    composer.push(&plain);
}
