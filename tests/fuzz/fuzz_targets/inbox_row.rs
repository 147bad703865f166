//! Whatever stands in the database: a body comes open as it was sealed, for its own entry and source, or not at all; no row
//! makes reading panic; and what is read of an answer, an id, a trace, a block of the ledger or a file's header is what was
//! written.
#![no_main]

use std::cell::LazyCell;

use airudder_gateway::fuzzing::{
    NotedCall, Rows, Written, header_verdict, kept_answer, read_block, written_block, written_parent,
};
use airudder_gateway::inbox::EntryId;
use airudder_gateway_fuzz::{Input, leaves_nothing};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static ROWS: LazyCell<Rows> = LazyCell::new(|| Rows::try_new().expect("a database"));
}

/// Numbers that stand at an edge of what a column may mean.
const EDGES: [i64; 8] = [0, 1, 2, 3, -1, i64::MAX, i64::MIN, 1 << 40];

fn edge(input: &mut Input<'_>) -> i64 {
    let at = input.below(EDGES.len() + 1);
    EDGES.get(at).copied().unwrap_or_else(|| input.number())
}

fn rows(rows: &Rows, mut input: Input<'_>) {
    let (former, what) = (input.byte() & 1 == 1, input.byte());
    let source = input.choose(&["calls", "agents", "books", "", "caf\u{e9}"]);
    let mut changes = Input(input.some());
    let parent = input.some();
    let body = input.0;
    let (id, sealed) = rows.seal(former, source, body);
    let mut written = Written {
        id,
        source: source.to_owned(),
        kind: 1,
        received: 1_800_000_000_000,
        bytes: body.len() as i64,
        state: 0,
        digest: vec![7; 16],
        tags: Vec::new(),
        parent: parent.to_vec(),
        sealed,
        delivery: 0,
        attempts: 0,
    };
    let whole = written.clone();
    // What binds a body: any change here and it stays closed.
    if what & 1 != 0 {
        changes.tamper(&mut written.sealed);
    }
    if what & 2 != 0 {
        written.id = edge(&mut changes);
    }
    if what & 4 != 0 {
        written.source = changes.choose(&["calls", "agents", "books", "", "caf\u{e9}"]).to_owned();
    }
    let is_whole = (&written.sealed, written.id, &written.source) == (&whole.sealed, whole.id, &whole.source);
    // What does not.
    if what & 8 != 0 {
        (written.kind, written.state, written.delivery) = (edge(&mut changes), edge(&mut changes), edge(&mut changes));
    }
    if what & 16 != 0 {
        (written.received, written.bytes, written.attempts) =
            (edge(&mut changes), edge(&mut changes), edge(&mut changes));
    }
    if what & 32 != 0 {
        changes.tamper(&mut written.digest);
        written.tags = changes.some().to_vec();
    }
    rows.put(&written).expect("rows");
    let read = rows.read(written.id);
    for (id, opened) in &read.opened {
        assert!(is_whole && *id == written.id && opened == body, "a body that was changed came open");
    }
    // Where nothing but the body and its bonds could differ, every way to it has an answer.
    if what & 0b11_1000 == 0 && str::from_utf8(parent).is_ok() {
        assert_eq!(read.refused, 0);
        assert_eq!((read.listed, read.leased), (1, 1));
        // Leased, shown, and found by its id: by the last only where the number has a printed form.
        let ways = if written.id < 0 { 2 } else { 3 };
        assert_eq!(read.opened.len(), if is_whole { ways } else { 0 });
    }
    assert!(!Rows::kind(written.kind).is_empty());
}

fn block(rows: &Rows, mut input: Input<'_>) {
    let bytes = |input: &mut Input<'_>| [input.byte(); 16];
    let calls: Vec<_> = (0..input.below(9))
        .map(|_| NotedCall {
            // The only name that is there, or none.
            kind: [input.choose(&[1, 1, 1, 0, -1, i64::MAX]), 1, 1, 1, 1],
            request: bytes(&mut input),
            at_ms: edge(&mut input).cast_unsigned(),
            key: (input.byte() & 1 == 1).then(|| bytes(&mut input)),
            tags: (0..input.below(18)).map(|_| bytes(&mut input)).collect(),
            status: input.number() as u16,
            code: (input.byte() & 1 == 1).then(|| edge(&mut input)),
            replayed: input.byte() & 1 == 1,
            micros: [(); 9].map(|()| edge(&mut input) as u32),
        })
        .collect();
    let (mut ids, mut rest) = written_block(&calls);
    assert_eq!(read_block(&ids, &rest).as_ref(), Some(&calls));
    let sought = calls.last().map_or([0; 16], |call| call.request);
    let are_found = |calls: &[NotedCall]| {
        let is_found = |call: &&NotedCall| call.request == sought && call.kind == [1; 5];
        calls.iter().filter(is_found).map(|call| call.at_ms).collect::<Vec<_>>()
    };
    assert_eq!(rows.noted(&ids, &rest, sought), Some(are_found(&calls)));
    if input.tamper(&mut ids) | input.tamper(&mut rest) {
        let changed = read_block(&ids, &rest);
        let found = rows.noted(&ids, &rest, sought).expect("an answer");
        match changed {
            // What is read, written again plainly, is read as the same.
            Some(changed) => {
                let (ids, rest) = written_block(&changed);
                assert_eq!(read_block(&ids, &rest).as_ref(), Some(&changed));
                assert_eq!(found, are_found(&changed));
            }
            None => assert!(found.is_empty(), "a block that is not whole is none"),
        }
    }
}

fn header(mut input: Input<'_>) {
    let mut first = b"SQLite format 3\0".to_vec();
    first.resize(100, 0);
    let was_ours = input.byte() & 1 == 1;
    if input.byte() & 1 == 1 {
        first = input.0.iter().copied().take(100).collect();
    } else {
        let number = |input: &mut Input<'_>, known: i32| match input.below(3) {
            0 => 0,
            1 => known,
            _ => input.number() as i32,
        };
        let (application, version) = (number(&mut input, 0x4149_5255), number(&mut input, 5));
        first[68..72].copy_from_slice(&application.to_be_bytes());
        first[60..64].copy_from_slice(&version.to_be_bytes());
        input.tamper(&mut first);
    }
    first.truncate(100);
    let number = |at: usize| i32::from_be_bytes(first[at..at + 4].try_into().expect("four bytes"));
    let is_database = first.len() == 100 && first.starts_with(b"SQLite format 3\0");
    let is_good = first.is_empty()
        || is_database
            && ((number(68), number(60)) == (0, 0) || number(68) == 0x4149_5255 && (0..=5).contains(&number(60)));
    match header_verdict(&first, was_ours) {
        Ok(()) => assert!(is_good),
        Err(sentence) => assert!(!is_good && !sentence.contains('\n') && !sentence.is_empty()),
    }
}

fn texts(input: Input<'_>) {
    if let Some((answer, written)) = kept_answer(input.0) {
        assert_eq!(written, input.0);
        assert_eq!(answer.lines.len() + answer.body.len() + 7, input.0.len());
    }
    if let Some(parent) = written_parent(input.0) {
        assert_eq!(written_parent(parent.as_bytes()), Some(parent.clone()));
        assert_eq!(parent.as_bytes()[3..52], input.0[3..52]);
    }
    let Ok(text) = str::from_utf8(input.0) else { return };
    if let Ok(id) = text.parse::<EntryId>() {
        assert_eq!(id.to_string(), text);
    }
}

fuzz_target!(|data: &[u8]| {
    leaves_nothing(|| {
        let mut input = Input(data);
        match input.below(4) {
            0 => header(input),
            1 => texts(input),
            3 => ROWS.with(|all| block(all, input)),
            _ => ROWS.with(|all| rows(all, input)),
        }
    });
});
