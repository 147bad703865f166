//! Encryption at rest: AES-256-GCM under a key of this start, and keyed tags in place of ids.
//!
//! Each start derives its own key from the inbox key and a stored salt (HKDF-SHA256), so a counter is a nonce that never
//! repeats. It never reads a key from anywhere and never touches the disk.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest;
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use ring::hmac;
use zeroize::Zeroizing;

use super::id::EntryId;
use crate::secret::Secret;

/// Bytes of a tag: enough that no two ids ever share one.
pub(super) const TAG: usize = 16;
/// Bytes of the salt of a start.
pub(super) const SALT: usize = 32;
/// Bytes that name a key without telling anything about it.
pub(super) const KEY_ID: usize = 8;

/// The name of a key.
pub(super) type KeyId = [u8; KEY_ID];
/// A keyed digest that stands for an id.
pub(super) type Tag = [u8; TAG];

/// What a tag stands for, so that equal texts of different meaning have different tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tagged {
    /// The id of a call.
    Call,
    /// The id of a task or of a workflow.
    Task,
    /// An order key.
    Order,
    /// A source and a whole body.
    Content,
    /// An idempotency key with all that it is bound to.
    Scope,
    /// An idempotency key alone.
    Key,
    /// The body that was sent with an idempotency key.
    Request,
}

/// A key that seals, or that once did.
struct Key {
    id: KeyId,
    prk: Prk,
    tags: hmac::Key,
}

impl Key {
    fn new(secret: &Secret) -> Self {
        // The salt of HKDF names the purpose; each start brings its own in `info`.
        let prk = Salt::new(HKDF_SHA256, b"airudder-gateway inbox").extract(secret.expose());
        let id = derive::<KEY_ID>(&prk, &[b"key id"]);
        let tags = hmac::Key::new(hmac::HMAC_SHA256, derive::<32>(&prk, &[b"tags"]).as_slice());
        Self { id: *id, prk, tags }
    }

    fn of_start(&self, salt: &[u8; SALT]) -> LessSafeKey {
        let bytes = derive::<32>(&self.prk, &[b"bodies", salt]);
        // 32 bytes are what the algorithm asks for; the other arm would be a bug that a test shows.
        UnboundKey::new(&AES_256_GCM, bytes.as_slice()).map(LessSafeKey::new).unwrap_or_else(|_| unreachable!())
    }
}

struct Length(usize);

impl ring::hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive<const N: usize>(prk: &Prk, info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    let mut bytes = Zeroizing::new([0; N]);
    // HKDF can fail only for outputs of more than 255 digests.
    let filled = prk.expand(info, Length(N)).and_then(|okm| okm.fill(bytes.as_mut_slice()));
    debug_assert!(filled.is_ok());
    bytes
}

/// Bytes that cannot be opened: changed, or sealed with a key that is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// All keys, before the start is known.
pub(super) struct Keys {
    all: Vec<Key>,
}

impl Keys {
    /// `current` seals and opens, `old` only open.
    pub(super) fn new(current: &Secret, old: &[Secret]) -> Self {
        Self { all: std::iter::once(current).chain(old).map(Key::new).collect() }
    }

    /// Names the key that seals.
    pub(super) fn current(&self) -> KeyId {
        self.all[0].id
    }

    /// Whether this key is here.
    pub(super) fn has(&self, id: KeyId) -> bool {
        self.all.iter().any(|key| key.id == id)
    }
}

/// A start of the past that still has entries.
pub(super) struct Epoch {
    /// Its number.
    pub(super) id: u64,
    /// Which key its own was derived from.
    pub(super) key: KeyId,
    /// What it was derived with.
    pub(super) salt: [u8; SALT],
}

impl Epoch {
    /// What its ids carry. Of the salt only, so that it stays when the key is changed.
    fn mark(&self) -> u32 {
        let mut of_salt = digest::Context::new(&digest::SHA256);
        of_salt.update(b"airudder-gateway webhook-id");
        of_salt.update(&self.salt);
        of_salt.finish().as_ref().iter().take(4).fold(0, |mark, byte| mark << 8 | u32::from(*byte))
    }
}

/// Seals with the key of this start; opens what any start sealed whose key is here.
pub(super) struct Vault {
    keys: Keys,
    epoch: u64,
    sealing: LessSafeKey,
    counter: AtomicU64,
    epochs: HashMap<u64, Epoch>,
}

impl Vault {
    /// `epoch` is new: nothing was ever sealed under it.
    pub(super) fn new(keys: Keys, epoch: Epoch, past: Vec<Epoch>) -> Self {
        let sealing = keys.all[0].of_start(&epoch.salt);
        let id = epoch.id;
        let epochs = past.into_iter().chain([epoch]).map(|epoch| (epoch.id, epoch)).collect();
        Self { keys, epoch: id, sealing, counter: AtomicU64::new(0), epochs }
    }

    /// A new id; `None` when this start has made 2^40 of them.
    pub(super) fn next_id(&self) -> Option<EntryId> {
        EntryId::try_new(self.epoch, self.counter.fetch_add(1, Ordering::Relaxed)).map(|id| self.mark(id))
    }

    /// The id as it leaves: with the mark of the start that made it, so it is the same as long as the entry is there.
    pub(super) fn mark(&self, id: EntryId) -> EntryId {
        id.marked(self.epochs.get(&id.epoch()).map(Epoch::mark))
    }

    /// Whether an entry of this number is meant, and not one of another database: an id without a mark means ours.
    pub(super) fn is_ours(&self, id: EntryId) -> bool {
        id.mark().is_none() || id.mark() == self.mark(id).mark()
    }

    /// Seals the body of an entry, bound to its id, its source and the key. An id seals once only: it is the nonce.
    pub(super) fn seal(&self, id: EntryId, source: &str, body: &[u8]) -> Vec<u8> {
        debug_assert_eq!(id.epoch(), self.epoch);
        let mut sealed = Vec::with_capacity(body.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(body);
        let aad = Aad::from(bound_to(id, source, self.keys.current()));
        // It fails only for bodies beyond 64 GiB; an empty text then opens to nothing, never to a plain body.
        if self.sealing.seal_in_place_append_tag(nonce(id), aad, &mut sealed).is_err() {
            sealed.clear();
        }
        sealed
    }

    /// Opens what [`Self::seal`] sealed, in place.
    ///
    /// # Errors
    /// When a bit of it was changed, it belongs to another entry, or its key is not here.
    pub(super) fn open(&self, id: EntryId, source: &str, mut sealed: Vec<u8>) -> Result<Vec<u8>, Unreadable> {
        let epoch = self.epochs.get(&id.epoch()).ok_or(Unreadable)?;
        let aad = Aad::from(bound_to(id, source, epoch.key));
        let opened = if epoch.id == self.epoch {
            self.sealing.open_in_place(nonce(id), aad, &mut sealed)
        } else {
            let key = self.keys.all.iter().find(|key| key.id == epoch.key).ok_or(Unreadable)?;
            key.of_start(&epoch.salt).open_in_place(nonce(id), aad, &mut sealed)
        };
        let length = opened.map_err(|_| Unreadable)?.len();
        sealed.truncate(length);
        Ok(sealed)
    }

    /// The tag of an id under the key that seals now.
    pub(super) fn tag(&self, what: Tagged, parts: &[&[u8]]) -> Tag {
        tag(&self.keys.all[0], what, parts)
    }

    /// The tags of an id under every key, to search with.
    pub(super) fn tags(&self, what: Tagged, parts: &[&[u8]]) -> Vec<Tag> {
        self.keys.all.iter().map(|key| tag(key, what, parts)).collect()
    }
}

fn tag(key: &Key, what: Tagged, parts: &[&[u8]]) -> Tag {
    let mut context = hmac::Context::with_key(&key.tags);
    context.update(&[what as u8]);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let (mut tag, signed) = ([0; TAG], context.sign());
    tag.copy_from_slice(&signed.as_ref()[..TAG]);
    tag
}

fn nonce(id: EntryId) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 8..].copy_from_slice(&id.row().to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// The associated data: the id and the key have a fixed length, so the source's name ends it without doubt.
fn bound_to(id: EntryId, source: &str, key: KeyId) -> Vec<u8> {
    [&id.row().to_be_bytes()[..], &key, source.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(current: &str, old: &[&str], epoch: u64, past: &[(u64, &str)]) -> Vault {
        let key_id = |text: &str| Key::new(&Secret::new(text)).id;
        let epoch_of = |id, text: &str| Epoch { id, key: key_id(text), salt: [id as u8; SALT] };
        let old: Vec<_> = old.iter().map(|text| Secret::new(*text)).collect();
        let past = past.iter().map(|(id, text)| epoch_of(*id, text)).collect();
        Vault::new(Keys::new(&Secret::new(current), &old), epoch_of(epoch, current), past)
    }

    #[test]
    fn a_body_opens_only_as_the_entry_it_was_sealed_for() {
        let vault = vault("one", &[], 1, &[]);
        let (id, other) = (vault.next_id().expect("an id"), vault.next_id().expect("an id"));
        let sealed = vault.seal(id, "calls", b"a body");
        assert!(!sealed.windows(6).any(|window| window == b"a body"));
        assert_eq!(vault.open(id, "calls", sealed.clone()), Ok(b"a body".to_vec()));
        assert_eq!(vault.open(other, "calls", sealed.clone()), Err(Unreadable));
        assert_eq!(vault.open(id, "agents", sealed.clone()), Err(Unreadable));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(vault.open(id, "calls", changed), Err(Unreadable), "bit 0 of byte {at}");
        }
        assert_eq!(vault.open(id, "calls", Vec::new()), Err(Unreadable));
    }

    #[test]
    fn a_former_key_opens_what_it_sealed_and_no_other_does() {
        let former = vault("one", &[], 1, &[]);
        let id = former.next_id().expect("an id");
        let sealed = former.seal(id, "calls", b"a body");
        let open = |vault: Vault| vault.open(id, "calls", sealed.clone());
        assert_eq!(open(vault("two", &["one"], 2, &[(1, "one")])), Ok(b"a body".to_vec()));
        assert_eq!(open(vault("two", &[], 2, &[(1, "one")])), Err(Unreadable));
        assert_eq!(open(vault("one", &[], 2, &[])), Err(Unreadable), "the start is unknown");
    }

    #[test]
    fn the_mark_of_a_start_is_the_same_in_every_version_of_the_gateway() {
        let epoch = Epoch { id: 1, key: [0; KEY_ID], salt: [7; SALT] };
        assert_eq!(epoch.mark(), 0x75b9_18bf, "receivers know entries by it");
    }

    #[test]
    fn a_tag_depends_on_the_key_the_meaning_and_every_part() {
        let vault_one = vault("one", &["two"], 1, &[]);
        let tag = |what, parts: &[&[u8]]| vault_one.tag(what, parts);
        assert_eq!(tag(Tagged::Call, &[b"x"]), tag(Tagged::Call, &[b"x"]));
        assert_ne!(tag(Tagged::Call, &[b"x"]), tag(Tagged::Task, &[b"x"]));
        assert_ne!(tag(Tagged::Content, &[b"ab", b"c"]), tag(Tagged::Content, &[b"a", b"bc"]));
        let both = vault_one.tags(Tagged::Call, &[b"x"]);
        assert_eq!(both[0], tag(Tagged::Call, &[b"x"]));
        assert_eq!(both[1], vault("two", &[], 1, &[]).tag(Tagged::Call, &[b"x"]));
        assert_ne!(both[0], both[1]);
    }
}
