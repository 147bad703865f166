//! Dead letters: found, sent again at a pace, removed. A dry run changes nothing.

use serde_json::{Value, json};

use super::{BLUE, PATH, call_back, change, count, entries, millis, setup, until_counted, unwilling};
use crate::support::receiver::{Receiver, Reply};
use crate::support::{Gateway, Refusing};

fn start(books: &Receiver, audit: &Receiver) -> Gateway {
    setup([&books.url(), &audit.url()], "").start_at(&Refusing::new().url(), None)
}

#[test]
fn dead_letters_are_sent_again_with_their_ids_and_a_mark() {
    let (books, audit) = (unwilling(), Receiver::new());
    let gateway = start(&books, &audit);
    call_back(&gateway, PATH, 1..=3);
    call_back(&gateway, BLUE, 4..=5);
    until_counted(&gateway, "state=dead", 5);
    let dead = &entries(&gateway, "state=dead&call=call-1")[0];
    let delivery = &dead["deliveries"][0];
    assert_eq!(
        (&delivery["state"], &delivery["attempts"], &delivery["last"]),
        (&json!("dead"), &json!(1), &json!("gone"))
    );
    assert!(millis(&delivery["settled"]) >= millis(&dead["received"]));
    audit.until(|got| got.len() == 2);
    until_counted(&gateway, "receiver=audit&state=delivered", 2);
    let before = entries(&gateway, "");

    let dry = change(&gateway, "/inbox/redrive", &json!({"receiver": "books", "dry_run": true}));
    assert_eq!(dry, json!({"matched": 5, "dry_run": true, "next": null}));
    assert_eq!(entries(&gateway, ""), before, "that was dry");
    assert_eq!(books.count(), 5);

    books.answer(|_| Reply::Status(200));
    let redriven = change(&gateway, "/inbox/redrive", &json!({"source": "calls"}));
    assert_eq!(redriven["matched"], 3);
    let got = books.until(|got| got.len() == 8);
    for again in &got[5..] {
        assert_eq!((again.header("x-gateway-redrive"), again.attempt()), (Some("1"), 1));
        assert!(got[..5].iter().any(|first| first.id() == again.id() && first.body == again.body));
        assert!(again.header("x-gateway-source") == Some("calls"));
    }
    assert!(got[..5].iter().all(|first| first.header("x-gateway-redrive").is_none()));
    until_counted(&gateway, "source=calls&state=delivered", 3);
    assert_eq!(count(&gateway, "source=blue&receiver=books&state=dead"), 2, "the others were not meant");
    assert_eq!(audit.count(), 2, "and who has it does not get it again");
}

#[test]
fn redriven_deliveries_become_due_one_after_the_other() {
    let books = unwilling();
    let gateway = start(&books, &Receiver::new());
    call_back(&gateway, PATH, 1..=60);
    until_counted(&gateway, "state=dead", 60);
    // So slow that most of them do not come due in this test; and in two steps, of which the second follows the first.
    let first = change(&gateway, "/inbox/redrive", &json!({"state": "dead", "per_second": 1, "limit": 30}));
    let question = json!({"state": "dead", "per_second": 1, "limit": 30, "after": first["next"]});
    assert_eq!(change(&gateway, "/inbox/redrive", &question)["matched"], 30);
    let due: Vec<_> = entries(&gateway, "state=waiting&limit=100")
        .iter()
        .map(|entry| &entry["deliveries"][0]["due"])
        .filter(|due| **due != Value::Null)
        .map(millis)
        .collect();
    assert!(due.len() > 10, "{due:?}");
    assert!(due.windows(2).all(|pair| pair[1] - pair[0] == 1000), "{due:?}");
}

#[test]
fn what_is_purged_is_gone_and_nothing_else_is() {
    let (books, audit) = (unwilling(), Receiver::new());
    let gateway = start(&books, &audit);
    call_back(&gateway, PATH, 1..=4);
    call_back(&gateway, BLUE, 5..=6);
    until_counted(&gateway, "state=dead", 6);
    until_counted(&gateway, "receiver=audit&state=delivered", 2);
    let purge = |question: &Value| change(&gateway, "/inbox/purge", question)["matched"].clone();
    assert_eq!((purge(&json!({"state": "dead", "dry_run": true})), count(&gateway, "")), (json!(6), 6));
    assert_eq!(
        (purge(&json!({"task": "task-2"})), count(&gateway, "task=task-2"), count(&gateway, "")),
        (json!(1), 0, 5)
    );
    assert_eq!((purge(&json!({"state": "dead", "source": "blue"})), count(&gateway, "")), (json!(2), 3));
    assert_eq!(
        (purge(&json!({"until": "1d"})), purge(&json!({"state": "delivered"})), count(&gateway, "")),
        (json!(0), json!(0), 3)
    );
    assert_eq!((purge(&json!({"all": true})), count(&gateway, "")), (json!(3), 0));
}
