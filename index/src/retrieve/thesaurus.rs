//! Words that lawyers use for what others say plainly. A question in lay words rarely shares a word with the clause that
//! answers it; each word of the question brings the others of its line along, at a lower weight.

use std::{
    collections::{HashMap, HashSet},
    sync::OnceLock,
};

use super::question::Asked;
use crate::words::stems;

/// Weight of a word brought along.
const WEIGHT: f32 = 0.4;

/// One line, one notion.
const NOTIONS: &str = "\
    end expire expiration terminate termination cease lapse
    start begin commence commencement effective
    renew renewal extend extension roll rollover successive automatic
    cancel terminate termination rescind withdraw
    leave quit resign terminate
    notice notify notification inform
    transfer assign assignment convey hand delegate
    sell sale dispose transfer
    law governed governing construed laws
    court venue forum jurisdiction
    dispute arbitration mediation controversy
    sue suit lawsuit litigation claim challenge contest
    pay payment payable fee compensation remuneration
    money sum amount dollars payment
    cost expense fee
    maximum most cap limit limitation exceed aggregate
    liable liability damages responsible
    damages consequential indirect incidental punitive
    compensate indemnify indemnification harmless reimburse
    protect indemnify defend harmless
    insure insurance insured coverage policy
    guarantee guaranteed warranty warrant warranties
    promise covenant undertake
    secret confidential confidentiality proprietary
    disclose disclosure reveal divulge
    compete competition competitive competitor competing noncompete
    exclusive exclusivity sole solely
    poach solicit solicitation hire recruit employ
    employee staff personnel worker employees
    client customer
    inspect inspection audit examine verify check
    books records accounts
    share sharing royalty royalties revenue profit percentage
    minimum least quota commitment
    buy purchase order acquire procure
    supply deliver furnish provide
    own owner ownership title vest
    invention invent patent intellectual
    brand trademark mark logo trademarks
    license licence licensed sublicense grant
    subsidiary affiliate parent affiliates
    takeover acquired merger acquisition consolidation control
    prohibit restrict prevent forbid refrain
    allow permit authorize consent
    permission consent approval
    forever perpetual irrevocable perpetuity
    refund return reimburse credit
    fix repair remedy cure replace correct
    break breach default violate violation
    reason cause convenience
    late delay overdue interest
    penalty liquidated
    disaster force majeure beyond
    criticize disparage disparagement derogatory
    discount price pricing favored favorable
    refusal offer negotiate dibs
    source code escrow
    destroy destruction return
    survive survival surviving thereafter
    country state territory
    area region territory geographic
    change amend amendment modify modification
    waive waiver relinquish
    copy reproduce duplicate copies
    unlimited uncapped
    together joint jointly
";

/// Stems of the notions each stem belongs to.
fn notions() -> &'static HashMap<String, Vec<String>> {
    static NOTIONS_OF: OnceLock<HashMap<String, Vec<String>>> = OnceLock::new();
    NOTIONS_OF.get_or_init(|| {
        let mut notions: HashMap<String, Vec<String>> = HashMap::new();
        for line in NOTIONS.lines() {
            let line: Vec<String> = stems(line).into_iter().map(|word| word.text).collect();
            for stem in &line {
                notions.entry(stem.clone()).or_default().extend(line.iter().filter(|other| *other != stem).cloned());
            }
        }
        notions
    })
}

/// The words of a question and what they bring along.
pub(super) fn widened(asked: &[Asked]) -> Vec<Asked> {
    let mut widened = asked.to_vec();
    let mut seen: HashSet<String> = asked.iter().map(|word| word.stem.clone()).collect();
    for word in asked {
        for stem in notions().get(&word.stem).into_iter().flatten() {
            if seen.insert(stem.clone()) {
                widened.push(Asked { stem: stem.clone(), stop: false, weight: word.weight * WEIGHT, part: word.part });
            }
        }
    }
    widened
}
