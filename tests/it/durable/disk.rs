//! What a power cut leaves of a folder, worked out from the journal of `tests/powercut/shim.c`.
//!
//! What a sync covered stays. Of everything else a random part survives: each 512-byte sector of a write by itself, in
//! whatever order, so that a write can be torn and a later one can survive an earlier one. Names that were made,
//! renamed or removed since the last sync of their directory survive as a random beginning of what was done to it, as
//! on a file system that journals its names.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::Random;

/// A sector is written whole or not at all.
const SECTOR: usize = 512;

/// A folder as bytes: path below it, content. `None`: a directory.
pub(super) type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// One record of the journal.
enum Record {
    /// A file was opened that was there before.
    Opened {
        file: u32,
        path: String,
    },
    Made {
        file: u32,
        path: String,
    },
    Written {
        file: u32,
        offset: usize,
        bytes: Vec<u8>,
    },
    Cut {
        file: u32,
        length: usize,
    },
    /// `covered`: what stands before this place of the journal.
    Synced {
        file: u32,
        covered: usize,
    },
    SyncFailed {
        file: u32,
        covered: usize,
    },
    DirectorySynced {
        path: String,
        covered: usize,
    },
    Renamed {
        from: String,
        to: String,
    },
    Linked {
        from: String,
        to: String,
    },
    Unlinked {
        path: String,
    },
    DirectoryMade {
        path: String,
    },
}

/// The journal of one run, each record with its place.
pub(super) struct Journal(Vec<(usize, Record)>);

impl Journal {
    /// Reads it. A last record that is not whole belongs to a change that the process did not live to see done.
    pub(super) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).expect("the shim makes its journal when the gateway starts");
        let (mut records, mut at) = (Vec::new(), 0);
        while let Some(head) = bytes.get(at..at + 17) {
            let number = |from: usize| u32::from_le_bytes(head[from..from + 4].try_into().expect("four bytes"));
            let argument = u64::from_le_bytes(head[5..13].try_into().expect("eight bytes")) as usize;
            let Some(rest) = bytes.get(at + 17..at + 17 + number(13) as usize) else { break };
            let text = || String::from_utf8(rest.to_vec()).expect("a path");
            let file = number(1);
            let record = match head[0] {
                b'O' => Record::Opened { file, path: text() },
                b'C' => Record::Made { file, path: text() },
                b'W' => Record::Written { file, offset: argument, bytes: rest.to_vec() },
                b'T' => Record::Cut { file, length: argument },
                b'S' => Record::Synced { file, covered: argument },
                b'F' => Record::SyncFailed { file, covered: argument },
                b'D' => Record::DirectorySynced { path: text(), covered: argument },
                b'U' => Record::Unlinked { path: text() },
                b'M' => Record::DirectoryMade { path: text() },
                kind @ (b'R' | b'L') => {
                    let both = text();
                    let (from, to) =
                        both.split_once('\0').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("two paths");
                    if kind == b'R' { Record::Renamed { from, to } } else { Record::Linked { from, to } }
                }
                kind => panic!("no such record: {kind}"),
            };
            records.push((at, record));
            at += 17 + rest.len();
        }
        Self(records)
    }

    /// How many syncs of files succeeded.
    pub(super) fn syncs(&self) -> usize {
        self.0.iter().filter(|(_, record)| matches!(record, Record::Synced { .. })).count()
    }

    /// The folder with all that was done to it, synced or not.
    pub(super) fn all_of(&self, before: &Tree) -> Tree {
        Disk::new(self, before).left(&mut |_| true, &mut |pending| pending)
    }

    /// The folder after the power went.
    pub(super) fn after_power_cut(&self, before: &Tree, random: &mut Random) -> Tree {
        // Nothing, all, or so many of ten sectors that were not synced survive.
        let tenths = [0, 0, 5, 9, 10][random.below(5)];
        let mut names = Random::from_seed(random.next());
        Disk::new(self, before).left(&mut |_| random.below(10) < tenths, &mut |pending| names.below(pending + 1))
    }
}

/// The files and names of a run, with what is certain of them.
struct Disk<'a> {
    before: &'a Tree,
    files: BTreeMap<u32, File<'a>>,
    /// Changes of names, by directory.
    names: BTreeMap<&'a str, Vec<(Naming<'a>, bool)>>,
}

#[derive(Default)]
struct File<'a> {
    /// Where it was when it was first opened; it has what `before` says.
    origin: Option<&'a str>,
    changes: Vec<Change<'a>>,
}

struct Change<'a> {
    at: usize,
    what: &'a Record,
    durable: bool,
    /// A sync failed on it: no later one brings it to the disk (the kernel has marked its pages clean).
    given_up: bool,
}

#[derive(Clone, Copy)]
enum Naming<'a> {
    Made(u32, &'a str, usize),
    DirectoryMade(&'a str, usize),
    Renamed(&'a str, &'a str, usize),
    Linked(&'a str, &'a str, usize),
    Unlinked(&'a str, usize),
}

impl<'a> Disk<'a> {
    fn new(journal: &'a Journal, before: &'a Tree) -> Self {
        let mut disk = Self { before, files: BTreeMap::new(), names: BTreeMap::new() };
        for (at, record) in &journal.0 {
            disk.apply(*at, record);
        }
        disk
    }

    fn apply(&mut self, at: usize, record: &'a Record) {
        match record {
            Record::Opened { file, path } => self.files.entry(*file).or_default().origin = Some(path),
            Record::Made { file, path } => {
                self.files.entry(*file).or_default();
                self.named(path, Naming::Made(*file, path, at));
            }
            Record::Written { file, .. } | Record::Cut { file, .. } => {
                let change = Change { at, what: record, durable: false, given_up: false };
                self.files.entry(*file).or_default().changes.push(change);
            }
            Record::Synced { file, covered } => {
                self.settle(*file, *covered, |change| change.durable = !change.given_up)
            }
            Record::SyncFailed { file, covered } => {
                self.settle(*file, *covered, |change| change.given_up = !change.durable);
            }
            Record::DirectorySynced { path, covered } => {
                for (naming, durable) in self.names.entry(path).or_default() {
                    let (Naming::Made(.., done)
                    | Naming::DirectoryMade(_, done)
                    | Naming::Renamed(.., done)
                    | Naming::Linked(.., done)
                    | Naming::Unlinked(_, done)) = naming;
                    *durable |= *done < *covered;
                }
            }
            // Both of its names are in one directory in all that the gateway does.
            Record::Renamed { from, to } => self.named(to, Naming::Renamed(from, to, at)),
            Record::Linked { from, to } => self.named(to, Naming::Linked(from, to, at)),
            Record::Unlinked { path } => self.named(path, Naming::Unlinked(path, at)),
            Record::DirectoryMade { path } => self.named(path, Naming::DirectoryMade(path, at)),
        }
    }

    fn named(&mut self, path: &'a str, naming: Naming<'a>) {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        self.names.entry(directory).or_default().push((naming, false));
    }

    fn settle(&mut self, file: u32, covered: usize, settled: impl Fn(&mut Change<'a>)) {
        let changes = &mut self.files.entry(file).or_default().changes;
        changes.iter_mut().filter(|change| change.at < covered && !change.durable).for_each(settled);
    }

    /// What is left when `survives` decides for each sector (or cut) that is not certain, and `kept` how many of a
    /// directory's uncertain changes are.
    fn left(&self, survives: &mut dyn FnMut(&Record) -> bool, kept: &mut dyn FnMut(usize) -> usize) -> Tree {
        let opened: BTreeMap<&str, u32> =
            self.files.iter().filter_map(|(file, state)| Some((state.origin?, *file))).collect();
        let mut names: BTreeMap<&str, Option<Content<'_>>> = BTreeMap::new();
        for (path, content) in self.before {
            let file = opened.get(path.as_str()).map(|file| Content::Of(*file));
            names.insert(path, content.as_deref().map(|bytes| file.unwrap_or(Content::As(bytes))));
        }
        // Parents come before what is in them.
        for changes in self.names.values() {
            let certain = changes.iter().rposition(|(_, durable)| *durable).map_or(0, |last| last + 1);
            let survivors = certain + kept(changes.len() - certain);
            for (naming, _) in &changes[..survivors] {
                match naming {
                    Naming::Made(file, path, _) => drop(names.insert(path, Some(Content::Of(*file)))),
                    Naming::DirectoryMade(path, _) => drop(names.insert(path, None)),
                    Naming::Unlinked(path, _) => drop(names.remove(path)),
                    Naming::Linked(from, to, _) => {
                        if let Some(content) = names.get(from).copied() {
                            names.insert(to, content);
                        }
                    }
                    Naming::Renamed(from, to, _) => {
                        if let Some(content) = names.remove(from) {
                            names.insert(to, content);
                        }
                    }
                }
            }
        }
        let mut left = Tree::new();
        for (path, content) in names {
            let whole = path.match_indices('/').all(|(at, _)| left.contains_key(&path[..at]));
            if whole {
                let content = content.map(|content| match content {
                    Content::As(bytes) => bytes.to_vec(),
                    Content::Of(file) => self.files[&file].left(self.before, survives),
                });
                left.insert(path.to_owned(), content);
            }
        }
        left
    }
}

#[derive(Clone, Copy)]
enum Content<'a> {
    As(&'a [u8]),
    Of(u32),
}

impl File<'_> {
    fn left(&self, before: &Tree, survives: &mut dyn FnMut(&Record) -> bool) -> Vec<u8> {
        let origin = self.origin.and_then(|path| before.get(path)).and_then(Option::as_deref);
        let mut content = origin.unwrap_or_default().to_vec();
        for change in &self.changes {
            match change.what {
                Record::Cut { length, .. } if change.durable || survives(change.what) => content.resize(*length, 0),
                Record::Written { offset, bytes, .. } => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let end = bytes.len().min(((offset + at) / SECTOR + 1) * SECTOR - offset);
                        if change.durable || survives(change.what) {
                            if content.len() < offset + end {
                                content.resize(offset + end, 0);
                            }
                            content[offset + at..offset + end].copy_from_slice(&bytes[at..end]);
                        }
                        at = end;
                    }
                }
                _ => {}
            }
        }
        content
    }
}

/// Reads a folder. The index that SQLite keeps in shared memory is no part of the disk.
pub(super) fn read_folder(folder: &Path) -> Tree {
    fn walk(folder: &Path, root: &Path, tree: &mut Tree) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(root).expect("below").to_str().expect("text").to_owned();
            if path.is_dir() {
                tree.insert(name, None);
                walk(&path, root, tree);
            } else if !name.ends_with("-shm") {
                tree.insert(name, Some(std::fs::read(&path).expect("a file")));
            }
        }
    }
    let mut tree = Tree::new();
    walk(folder, folder, &mut tree);
    tree
}

/// Makes a folder be this and nothing else. Files are for their owner only, as the gateway makes them.
pub(super) fn write_folder(folder: &Path, tree: &Tree) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::remove_dir_all(folder).expect("the folder that the power was cut in");
    std::fs::create_dir_all(folder).expect("a folder");
    for (path, content) in tree {
        let path = folder.join(path);
        match content {
            None => std::fs::create_dir(&path).expect("a directory"),
            Some(bytes) => {
                std::fs::write(&path, bytes).expect("a file");
                std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("its mode");
            }
        }
    }
}

#[test]
fn a_disk_keeps_what_was_synced_and_may_lose_the_rest() {
    let file = |number, path: &str| Record::Made { file: number, path: path.into() };
    let written = |offset, byte| Record::Written { file: 1, offset, bytes: vec![byte; SECTOR * 2] };
    let synced = |covered| Record::Synced { file: 1, covered };
    let named = |covered| Record::DirectorySynced { path: String::new(), covered };
    let journal = |records: Vec<Record>| Journal(records.into_iter().enumerate().collect());
    let empty = Tree::new();
    let mut random = Random::new();
    let mut cuts = |journal: &Journal, wanted: &dyn Fn(&Tree) -> bool| {
        (0..200).map(|_| journal.after_power_cut(&empty, &mut random)).filter(|left| wanted(left)).count()
    };
    let content = |left: &Tree| left.get("a").cloned().flatten().unwrap_or_default();

    let certain = journal(vec![file(1, "a"), written(0, 1), synced(2), named(2), written(256, 2)]);
    assert_eq!(cuts(&certain, &|left| content(left).starts_with(&[1; 256])), 200, "what was synced stays");
    assert!(cuts(&certain, &|left| content(left).len() > SECTOR * 2) > 10, "the rest may survive");
    assert!(cuts(&certain, &|left| content(left) == [1; SECTOR * 2]) > 10, "and may not");
    let torn = |left: &Tree| content(left).get(256) == Some(&2) && content(left).get(512) == Some(&1);
    assert!(cuts(&certain, &torn) > 0, "and may be torn");

    let nameless = journal(vec![file(1, "a"), written(0, 1), synced(2)]);
    assert!(cuts(&nameless, &Tree::is_empty) > 10, "a name that was not synced may vanish");
    let late = journal(vec![file(1, "a"), named(1), written(0, 1), synced(1)]);
    assert!(cuts(&late, &|left| content(left).is_empty()) > 10, "a sync covers what stood before it began");
    let failed =
        journal(vec![file(1, "a"), named(1), written(0, 1), Record::SyncFailed { file: 1, covered: 3 }, synced(4)]);
    assert!(cuts(&failed, &|left| content(left).is_empty()) > 10, "a sync does not make up for one that failed");
    assert_eq!(content(&failed.all_of(&empty)), [1; SECTOR * 2], "with the power on all of it is there");
}
