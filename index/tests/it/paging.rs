//! Pages neither repeat nor skip, whatever the order and however many hits are equal.

use domain::{clock::Timestamp, ids::DocumentId};
use index::{Error, SearchRequest, Sort};
use proptest::prelude::*;

use crate::support::{Paper, indexed};

fn read_all(readers: &[index::Reader], sort: Sort, limit: u32) -> Vec<DocumentId> {
    let mut request = SearchRequest { sort, limit, ..SearchRequest::new(index::query::parse("word").unwrap()) };
    let mut ids = Vec::new();
    loop {
        let page = index::search(readers, &request).unwrap();
        assert!(page.hits.len() <= limit as usize);
        ids.extend(page.hits.iter().map(|hit| hit.document));
        request.cursor = page.next_cursor;
        if request.cursor.is_none() {
            assert_eq!(page.total, ids.len() as u64);
            return ids;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn pages_join_to_the_whole(shapes in prop::collection::vec((1usize..4, 0i64..3), 1..30), limit in 1u32..7) {
        let papers: Vec<Paper> = shapes
            .iter()
            .map(|(repeats, day)| {
                let mut paper = Paper::new("p.txt", &"word ".repeat(*repeats));
                paper.metadata.created_at = (*day > 0).then_some(Timestamp(day * 86_400_000_000));
                paper
            })
            .collect();
        let half = papers.len() / 2;
        let readers = [indexed(&papers[..half]), indexed(&papers[half..])];
        for sort in [Sort::Relevance, Sort::Newest, Sort::Oldest] {
            let paged = read_all(&readers, sort, limit);
            prop_assert_eq!(&paged, &read_all(&readers, sort, 500), "{:?}", sort);
            let mut sorted = paged.clone();
            sorted.sort();
            sorted.dedup();
            prop_assert_eq!(sorted.len(), papers.len());
        }
    }
}

#[test]
fn foreign_cursors_are_refused() {
    let reader = indexed(&[Paper::new("a", "word"), Paper::new("b", "word")]);
    let mut request = SearchRequest { limit: 1, ..SearchRequest::new(index::query::parse("word").unwrap()) };
    let cursor = index::search(std::slice::from_ref(&reader), &request).unwrap().next_cursor.unwrap();
    request.sort = Sort::Newest;
    for cursor in [cursor, "7b7d".to_owned(), "zz".to_owned()] {
        request.cursor = Some(cursor);
        assert!(matches!(index::search(std::slice::from_ref(&reader), &request), Err(Error::Cursor(_))));
    }
}
