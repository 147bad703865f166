//! How many bytes of SQLite's pages a row takes, by its size alone.
//!
//! It says what rows of one size take one after another, and never looks at a database.

use super::schema::PAGE;

/// Bytes of a row beside its blobs, at most: lengths, numbers and where it stands in its page.
const ROW: u64 = 24;

/// Most bytes of a row that stand in a page of rows, least of one that does not fit, and the bytes by which each further page
/// names the next one: "B-tree Cell Format" of SQLite's file format, for pages of [`PAGE`], less what a page begins with.
const MOST_ROW: u64 = PAGE as u64 - 24;
const LEAST_ROW: u64 = 1003 + 12;
const LINK: u64 = 4;

/// Bytes that a row with blobs of this size takes of pages, beside others of its size: SQLite fills further pages with what a
/// page of rows does not take, and keeps the rest of it, a share of a page, as the row.
pub(super) fn on_disk(bytes: u64) -> u64 {
    let (row, page) = (bytes + ROW, u64::from(PAGE));
    let share = |row: u64| page / (MOST_ROW / row).max(1);
    match row.checked_sub(LEAST_ROW) {
        Some(beyond) if row > MOST_ROW => {
            let (further, rest) = (beyond / (page - LINK), LEAST_ROW + beyond % (page - LINK));
            if rest <= MOST_ROW { further * page + share(rest) } else { (further + 1) * page + share(LEAST_ROW) }
        }
        _ => share(row),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, params};

    use super::*;
    use crate::inbox::schema::MIGRATIONS;

    /// Bytes of the pages that four hundred rows take, which are written one after another.
    fn taken(insert: &str, bytes: i64) -> u64 {
        let connection = Connection::open_in_memory().expect("memory");
        connection.pragma_update(None, "page_size", PAGE).expect("set");
        connection.execute_batch(&MIGRATIONS.concat()).expect("tables");
        let pages = || connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)).expect("a count");
        let before = pages();
        for number in 0..400_i64 {
            connection.execute(insert, params![number << 20, bytes]).expect("a row");
        }
        (pages() - before).unsigned_abs() * u64::from(PAGE)
    }

    #[test]
    fn a_row_takes_what_is_counted() {
        let block =
            "INSERT INTO ledger VALUES (?1, 1790000000000, zeroblob(?2 / 16 * 11), zeroblob(?2 - ?2 / 16 * 11))";
        let body = "INSERT INTO body VALUES (?1, zeroblob(?2))";
        for bytes in [60_i64, 500, 2_000, 2_800, 4_100, 8_100, 8_200, 14_000, 20_000, 66_000, 340_000] {
            let counted = 400 * on_disk(bytes.unsigned_abs());
            for insert in [block, body] {
                let taken = taken(insert, bytes);
                let most = counted / 100 + u64::from(PAGE);
                assert!(taken.abs_diff(counted) <= most, "{insert}, {bytes}: {counted} for {taken}");
            }
        }
    }
}
