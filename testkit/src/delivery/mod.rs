//! A delivery made up as it goes: documents of every common format, each with a word that occurs nowhere else in the
//! world, so that it can be searched for where it should be and looked for where it must not be.

mod office;
mod zip;

pub use zip::zip;

/// One file to deliver.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its path; the name holds a word of its own.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Words the search must find it by, or what was unpacked from it.
    pub words: Vec<String>,
    /// What must never stand in the clear outside the process: the words, and the name.
    pub secrets: Vec<Vec<u8>>,
}

/// Numbers that look random and are the same for the same seed (splitmix64, Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end.max(1)
    }

    /// A word of 18 letters that no language has and no stemmer shortens.
    pub fn word(&mut self) -> String {
        let letters = (0..17).map(|_| char::from(b"bcdfghjklmnpqrtvwxz"[usize::try_from(self.below(19)).unwrap_or(0)]));
        std::iter::once('q').chain(letters).collect()
    }
}

/// Document `number` of the delivery of `seed`.
pub fn item(seed: u64, number: u64) -> Item {
    let mut dice = Dice::new(seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let (name, word) = (dice.word(), dice.word());
    let body = prose(&word, number);
    let mut words = vec![word.clone()];
    let (extension, bytes) = match number % 10 {
        0 => ("txt", body.into_bytes()),
        1 => ("html", format!("<html><body><h1>Note {number}</h1><p>{body}</p></body></html>").into_bytes()),
        2 => ("csv", format!("party,amount,remark\nAcme,{number},{word}\nGlobex,2,none\n").into_bytes()),
        3 => ("pdf", office::pdf(&body)),
        4 => ("docx", office::docx(&body)),
        5 => ("xlsx", office::xlsx(&body)),
        6 => ("pptx", office::pptx(&body)),
        7 => {
            let (inside, table) = (dice.word(), dice.word());
            words.extend([inside.clone(), table.clone()]);
            let message = mail(number, &body, &[("inner.txt", prose(&inside, number).as_bytes())]);
            let members = [("folder/message.eml", message.as_slice()), ("folder/table.csv", table.as_bytes())];
            ("zip", zip(&members))
        }
        _ => {
            let (attached, table) = (dice.word(), dice.word());
            words.extend([attached.clone(), table.clone()]);
            let note = office::docx(&prose(&attached, number));
            ("eml", mail(number, &body, &[("note.docx", &note), ("table.csv", format!("a,b\n{table},1\n").as_bytes())]))
        }
    };
    let secrets = words.iter().chain([&name]).map(|word| word.clone().into_bytes()).collect();
    Item { path: format!("custodian {}/{name}.{extension}", number % 5), bytes, words, secrets }
}

/// A short message with attachments, as mail programs write it (RFC 5322, RFC 2045).
pub fn mail(number: u64, body: &str, attachments: &[(&str, &[u8])]) -> Vec<u8> {
    use base64::Engine as _;
    let mut message = format!(
        "From: Ann Lee <ann@acme.example>\r\nTo: Bob Roe <bob@globex.example>\r\nSubject: Delivery {number}\r\n\
         Date: Mon, 4 Mar 2024 09:{:02}:00 +0000\r\nMessage-ID: <{number}@acme.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"b0und\"\r\n\r\n--b0und\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n",
        number % 60,
    );
    for (name, bytes) in attachments {
        let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
        let lines: Vec<&str> =
            (0..encoded.len()).step_by(76).filter_map(|at| encoded.get(at..encoded.len().min(at + 76))).collect();
        message += &format!(
            "--b0und\r\nContent-Type: application/octet-stream; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n{}\r\n",
            lines.join("\r\n")
        );
    }
    message += "--b0und--\r\n";
    message.into_bytes()
}

/// A few sentences as contracts have them, with `word` in the middle.
pub fn prose(word: &str, number: u64) -> String {
    format!(
        "The supplier delivers {number} units within thirty days of the order. The reference of this note is {word}, and \
         both parties keep it confidential. Either party may terminate upon ninety days written notice.",
    )
}

/// Words of everyday business, so that made-up mails have the vocabulary of mail and not of dice.
const WORDS: &str = "agreement amount approval attached board budget call client confirm contract counsel customer date \
    deadline delivery department discuss draft email estimate file final finance follow forward group information invoice \
    issue legal letter list management market meeting message monday month number office order partner payment people plan \
    please position price product project proposal question regarding release report request review sales schedule send \
    service sign statement supply support team terms thank today transaction update version week work year";

/// An e-mail of one to two hundred words; every fourth has an attachment.
pub fn everyday_mail(number: u64) -> Vec<u8> {
    let mut dice = Dice::new(number);
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut body = String::new();
    for at in 0..100 + dice.below(100) {
        let word = words[usize::try_from(dice.below(words.len() as u64)).unwrap_or(0)];
        body += word;
        body += if at % 12 == 11 { ".\r\n" } else { " " };
    }
    body += &dice.word();
    let attachment = format!("item,amount\n{},{number}\n", dice.word());
    let attachments: &[(&str, &[u8])] =
        if number.is_multiple_of(4) { &[("figures.csv", attachment.as_bytes())] } else { &[] };
    mail(number, &body, attachments)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_delivery_repeats_itself_and_no_document_another() {
        let mut words = HashSet::new();
        for number in 0..200 {
            let one = item(7, number);
            assert_eq!(one.bytes, item(7, number).bytes);
            assert!(one.words.iter().all(|word| words.insert(word.clone())));
            // What is looked for in the clear stands in the clear in what is delivered, unless mail encodes it.
            let plain = |secret: &Vec<u8>| one.bytes.windows(secret.len()).any(|window| window == secret);
            assert!(one.secrets.iter().any(plain), "{}", one.path);
        }
    }
}
