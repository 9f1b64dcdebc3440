//! Rows of a selection, page after page, over an archive that grows and is compacted.

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use countersign_audit_query::select::{Pages, REACH, Selection};
use countersign_audit_query::{Answer, Archive, QueryError, QueryLimits};

use crate::written::{BLOCKED, INTENT, Written, blocked_and_open, event, requested, story_archive};

async fn ask(archive: &Archive, sql: &str) -> Answer {
    archive.query(sql, QueryLimits::default()).await.unwrap()
}

fn numbers(batch: &RecordBatch) -> Vec<i64> {
    let column = batch.column_by_name("leaf_index").unwrap();
    column.as_primitive::<Int64Type>().values().to_vec()
}

/// The numbers of the selected rows, read in pages; `between` is done after each page.
async fn paged(
    archive: &mut Archive,
    selection: &Selection,
    rows: usize,
    mut between: impl FnMut(usize),
) -> Vec<i64> {
    let reach = ask(archive, REACH).await;
    let mut pages = Pages::new(selection.clone(), &reach, rows);
    let mut all = Vec::new();
    for page in 0.. {
        archive.refresh().unwrap();
        let found = ask(archive, &pages.statement()).await;
        assert!(found.rows() <= rows);
        all.extend(found.batches.iter().flat_map(numbers));
        pages.read(&found);
        if pages.done() {
            break;
        }
        assert!(page < 200, "it ends");
        between(page);
    }
    all
}

async fn selected(selection: &Selection) -> Vec<i64> {
    paged(&mut story_archive().open(), selection, 100, |_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_length_hold_each_row_once_in_order() {
    let written = story_archive();
    for rows in [3, 16, 100] {
        let found = paged(&mut written.open(), &Selection::default(), rows, |_| {}).await;
        assert_eq!(found, (0..16).collect::<Vec<i64>>(), "{rows}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_and_what_is_compacted_meanwhile_changes_nothing() {
    let mut written = story_archive();
    let mut archive = written.open();
    let found = paged(&mut archive, &Selection::default(), 3, |page| match page {
        // Their times lie among those that were read and those that were not.
        1 => written.add(blocked_and_open()),
        2 => written.compact(),
        _ => {}
    })
    .await;
    assert_eq!(found, (0..16).collect::<Vec<i64>>());
    let all = paged(&mut archive, &Selection::default(), 5, |_| {}).await;
    assert_eq!(all.len(), 22, "and the next export holds what came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_must_hold_every_value_that_is_named() {
    let by = |column, value: &str| Selection::default().with(column, Some(value));
    let between = |since: &str, until: &str| Selection {
        since: Some(since.parse().unwrap()),
        until: Some(until.parse().unwrap()),
        ..Selection::default()
    };
    for (selection, rows) in [
        (by("agent_id", "crm"), vec![2, 3]),
        (by("outcome", "succeeded"), vec![7]),
        (by("outcome", "failed"), vec![]),
        (by("requester_id", "zoe"), vec![8, 15]),
        (by("requester_id", "' OR 1=1 --"), vec![]),
        (
            by("tool_name", "mail.send").with("agent_id", Some("crm")),
            vec![2],
        ),
        (by("intent_id", BLOCKED), vec![11, 12, 13]),
        (
            between("2026-11-22T10:00:03Z", "2026-11-22T10:00:05Z"),
            vec![3, 4],
        ),
        (
            between("2026-11-22T10:00:05.000001Z", "2026-11-22T10:00:06Z"),
            vec![],
        ),
    ] {
        assert_eq!(selected(&selection).await, rows, "{selection:?}");
    }
    let said = |texts: &[&str]| Selection {
        texts: texts.iter().map(|&text| text.to_owned()).collect(),
        ..Selection::default()
    };
    for (texts, rows) in [
        (&["SOMETHING harmless"][..], vec![8, 15]),
        (&["something", "zoo.feed", "billing"], vec![8, 15]),
        (&["something", "crm"], vec![]),
        (&["[email:k1:0123456789ab]"], vec![1, 12]),
        (&["draft"], vec![7]),
        (&["policy_denied"], vec![13]),
        (&["zoo.feed something"], vec![]),
        (&["' OR 1=1"], vec![]),
        (&["%"], vec![]),
    ] {
        assert_eq!(selected(&said(texts)).await, rows, "{texts:?}");
    }
    let whole = Selection {
        whole_intents: true,
        ..by("outcome", "succeeded")
    };
    let of_intent = selected(&by("intent_id", INTENT)).await;
    assert_eq!(selected(&whole).await, of_intent);
    let at_its_end = Selection {
        since: Some("2026-11-22T10:00:07Z".parse().unwrap()),
        ..whole
    };
    assert_eq!(selected(&at_its_end).await, of_intent);
    assert!(of_intent.len() > 5);
}

/// Rows far apart, many at one time, and one long after.
#[tokio::test(flavor = "multi_thread")]
async fn gaps_and_crowds_cost_few_pages() {
    let mut written = Written::new();
    let at = |second| event("tool.requested.billing", second, &requested(INTENT));
    let crowd = std::iter::repeat_n(3_000_000, 9);
    let seconds = [0, 1].into_iter().chain(crowd).chain([90_000_000]);
    written.add(seconds.map(at).collect());
    for rows in [1, 4, 100] {
        let mut pages = 0;
        let found = paged(&mut written.open(), &Selection::default(), rows, |_| {
            pages += 1
        })
        .await;
        assert_eq!(found, (0..12).collect::<Vec<i64>>(), "{rows}");
        assert!(pages < 40, "{rows}: {pages}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_tells_the_newest_first() {
    let written = story_archive();
    let archive = written.open();
    let all = ask(&archive, &Selection::default().newest(3)).await;
    let found: Vec<i64> = all.batches.iter().flat_map(numbers).collect();
    assert_eq!(found, [15, 14, 13]);
    let by = Selection::default().with("agent_id", Some("crm"));
    let found = ask(&archive, &by.newest(9)).await;
    assert_eq!(
        found.batches.iter().flat_map(numbers).collect::<Vec<_>>(),
        [3, 2]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_archive_is_one_empty_page() {
    let mut archive = Written::new().open();
    let found = paged(&mut archive, &Selection::default(), 10, |_| {}).await;
    assert_eq!(found, Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_read_as_it_is_made_may_be_longer_than_any_other() {
    let written = story_archive();
    let archive = written.open();
    let few = QueryLimits {
        rows: 3,
        ..QueryLimits::default()
    };
    let mut rows = archive.rows("SELECT * FROM events", few).await.unwrap();
    let mut read = 0;
    while let Some(batch) = rows.next().await.unwrap() {
        read += batch.num_rows();
    }
    assert_eq!(read, 16);
    let changing = archive.rows("DROP TABLE events", few).await.err().unwrap();
    assert!(matches!(changing, QueryError::NotReading(_)));
}
