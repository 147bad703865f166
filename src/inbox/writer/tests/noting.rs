//! What the writer notes beside its batches: whole blocks of calls, and when they go.
//! All of it happens in the thread of the test.

use super::*;

#[test]
fn a_batch_is_noted_as_soon_as_it_is_whole_where_there_are_a_disk_and_room() {
    let mut alone = Alone::closed("writer-whole");
    while note(&alone, 1) != Pushed::MakesWhole {}
    assert!(!alone.writer.may_note(), "there is no disk");
    alone.writer.open();
    assert!(alone.writer.may_note());
    alone.have(1);
    assert!(!alone.writer.may_note(), "there is no room");
    alone.have(1 << 30);
    alone.writer.noting = alone.writer.may_note();
    alone.writer.write(Vec::new());
    assert_eq!((alone.count("ledger"), note(&alone, 1)), (1, Pushed::Waits));
    assert!(!alone.writer.may_note(), "it is not whole");
}

#[test]
fn calls_are_forgotten_where_the_rest_is_purged_and_not_beside_each_batch() {
    let mut alone = Alone::open("writer-forgets");
    note(&alone, 1);
    alone.writer.note_the_rest();
    alone.sql("UPDATE ledger SET newest = 1");
    alone.fill(1, 10, &["books"], false);
    assert_eq!(alone.count("ledger"), 1);
    assert!(!alone.purge() && alone.count("ledger") == 0);
}

#[test]
fn calls_are_noted_block_by_block_and_all_of_them_at_the_end() {
    let mut alone = Alone::open("writer-noting");
    let fill = |alone: &Alone| (0..).position(|number| note(alone, number) == Pushed::MakesWhole);
    assert!(fill(&alone).is_some() && note(&alone, 1) == Pushed::Waits);
    (alone.writer.noting, alone.writer.purging) = (true, false);
    alone.writer.write(Vec::new());
    let is_left = (alone.shared.ledger.len(), alone.writer.noting);
    assert_eq!((alone.count("ledger"), is_left), (1, (1, false)), "what is no whole block goes with the next upkeep");
    assert!(fill(&alone).is_some() && fill(&alone).is_some() && note(&alone, 1) == Pushed::Waits);
    alone.writer.note_the_rest();
    assert_eq!((alone.count("ledger"), alone.shared.ledger.len()), (4, 0));
    note(&alone, 1);
    alone.have(1);
    alone.writer.noting = true;
    alone.writer.write(Vec::new());
    alone.writer.note_the_rest();
    assert_eq!(alone.shared.ledger.len(), 1, "short of room, callbacks come first");
    alone.writer.fail(Unavailable::Failed);
    alone.writer.room = Room::new(1 << 30);
    alone.writer.note_the_rest();
    assert_eq!(alone.shared.ledger.len(), 1, "there is no disk to note it on");
}
