//! Forms in XML inside a PDF (XFA 3.3). A dynamic form shows one page that says "please wait", and its words are all in the
//! template; the values are in the data sets.

use pdf_oxide::object::Object;

use super::objects::Objects;
use crate::{
    decode,
    extract::{
        asides::{Aside, Kind},
        markup::{Markup, Token},
    },
};

/// The words and values of a form.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// What the template says, line by line.
    pub(super) template: Vec<String>,
    /// What was filled in.
    pub(super) values: Vec<Aside>,
}

impl Objects<'_> {
    /// The document's XFA form. Its streams in encrypted documents cannot be had.
    pub(super) fn xfa(self) -> Option<Form> {
        if self.0.is_encrypted() {
            return None;
        }
        let form = self.entry(&self.catalog()?, "AcroForm")?;
        let packets = match self.entry(&form, "XFA")? {
            Object::Array(parts) => parts,
            stream => vec![stream],
        };
        let mut found = Form::default();
        let mut whole = String::new();
        for packet in packets.iter().filter_map(|packet| self.resolved(packet)) {
            if let Ok(bytes) = packet.decode_stream_data() {
                whole.push_str(&decode::text(&bytes, None));
            }
        }
        found.read(&whole);
        Some(found)
    }
}

impl Form {
    /// Reads all packets, which together are one XML document.
    fn read(&mut self, xml: &str) {
        let mut markup = Markup::new(xml);
        let (mut in_template, mut in_data, mut in_text) = (false, false, 0_u32);
        let mut text = String::new();
        // The element whose end would close a leaf.
        let mut leaf: Option<String> = None;
        while let Some(token) = markup.next() {
            match token {
                Token::Open(element) => match element.name() {
                    "template" => in_template = true,
                    "datasets" => in_data = true,
                    "text" | "exData" if in_template => {
                        in_text = in_text.saturating_add(1);
                        text.clear();
                    }
                    name if in_data => {
                        leaf = Some(name.to_owned());
                        text.clear();
                    }
                    "p" | "br" if in_text > 0 => text.push(' '),
                    _ => {}
                },
                Token::Text(more) if in_text > 0 || leaf.is_some() => text.push_str(&more),
                Token::Text(_) => {}
                Token::Close(name) => match name.as_str() {
                    "template" => in_template = false,
                    "datasets" => in_data = false,
                    "text" | "exData" if in_text > 0 => {
                        in_text = in_text.saturating_sub(1);
                        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
                        if !line.is_empty() {
                            self.template.push(line);
                        }
                    }
                    _ if in_data && leaf.take().is_some_and(|leaf| leaf == name) && !text.trim().is_empty() => {
                        let text = format!("{name}: {}", text.trim());
                        self.values.push(Aside { kind: Kind::Field, by: None, at: None, text });
                    }
                    _ => {}
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_values() {
        let mut form = Form::default();
        form.read(
            "<xdp><template><subform><draw><value><text>Claim form</text></value></draw><field><caption><value><exData>\
             <body><p>Your</p><p>name</p></body></exData></value></caption></field></subform></template>\
             <datasets><data><form><name>Jane &amp; Roe</name><empty/></form></data></datasets></xdp>",
        );
        assert_eq!(form.template, ["Claim form", "Your name"]);
        assert_eq!(form.values.iter().map(|value| value.text.as_str()).collect::<Vec<_>>(), ["name: Jane & Roe"]);
    }
}
