//! Idempotency keys: which calls were begun under one, how they ended, and what the platform answered.
//!
//! A key is claimed on disk before its call may leave, and is free again only when it is certain that the platform did not
//! carry the call out. A claim whose end nobody knows stays until an operator settles it. Nothing here sends a call, and a
//! key, a body or an answer is never plain on disk.

mod answer;
pub(super) mod change;
pub(super) mod counts;
mod kinds;
pub(super) mod reading;
mod rows;
mod turnstile;

use std::time::Duration;

pub use answer::KeptAnswer;
pub use kinds::{End, Key, KeyFilter, KeyId, KeyState, Known, ListedKey, NotAKeyId, Scope, Verdict};
pub use turnstile::{Entrance, Flight};

pub(super) use rows::{apply, begin, count, drop_answers, epoch_is_used, forget};
pub(super) use turnstile::Turnstiles;

use super::Inbox;
use super::entry::Unavailable;
use super::queue::Job;
use super::vault::Tagged;
use change::{Change, Claim, Kept, Work};

/// Room that a claim takes for its answer until that is there, in bytes.
pub(super) const ROOM: u64 = KeptAnswer::most() as u64 + 1024;

/// How long it takes until a change that the disk refused is tried again.
const AGAIN: Duration = Duration::from_secs(1);

impl Inbox {
    /// What stands for a key: keyed tags, from which it cannot be read.
    ///
    /// # Errors
    /// The inbox is not open.
    pub fn key(&self, scope: &Scope<'_>) -> Result<Key, Unavailable> {
        let Scope { program, account, operation, method, path, query, key } = *scope;
        let has_query = if query.is_some() { "?" } else { "" };
        let parts = [program, account, method, path, has_query, query.unwrap_or_default()].map(str::as_bytes);
        let parts = [&parts[..], &[key]].concat();
        let vault = self.vault()?;
        Ok(Key {
            tags: vault.tags(Tagged::Scope, &parts),
            alone: vault.tag(Tagged::Key, &[key]),
            program: program.into(),
            account: account.into(),
            operation: operation.into(),
        })
    }

    /// The entrance to a key: one call at a time passes.
    pub fn entrance(&self, key: &Key) -> Entrance {
        self.0.turnstiles.entrance(key.tags[0])
    }

    /// Whether no call is under way with a key.
    pub fn is_without_keys_under_way(&self) -> bool {
        self.0.turnstiles.is_idle()
    }

    /// What is known of a key; `None`: it is free.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn find_key(&self, key: &Key) -> Result<Option<Known>, Unavailable> {
        self.0.shared.health.check().or_else(|why| match why {
            // What is there can be read.
            Unavailable::Full | Unavailable::Busy => Ok(()),
            why => Err(why),
        })?;
        let tags = key.tags.clone();
        self.0.keys.ask(move |connection| reading::find(connection, &tags)).await
    }

    /// Whether a known key was used with this body; `body` is the digest of it.
    pub fn is_of_body(&self, known: &Known, body: &[u8]) -> bool {
        let tags = self.vault().map(|vault| vault.tags(Tagged::Request, &[body]));
        tags.unwrap_or_default().get(known.by).is_some_and(|tag| *tag == known.body)
    }

    /// The remembered answer of a known key, as it was given; `None` when it cannot be read any more.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn remembered(&self, id: KeyId) -> Result<Option<KeptAnswer>, Unavailable> {
        let vault = self.vault()?.clone();
        self.0.keys.ask(move |connection| reading::answer(connection, &vault, id)).await
    }

    /// Keeps on disk that a call under this key may leave from now on. Returns once that is synced; room for its answer is
    /// taken. The caller has passed the key's entrance and found it free. It must say how that ended, whatever comes.
    ///
    /// # Errors
    /// Nothing is claimed then, and nothing may leave.
    pub async fn claim(&self, key: &Key, body: &[u8]) -> Result<KeyId, Unavailable> {
        let vault = self.vault()?;
        let id = vault.next_id().ok_or(Unavailable::Failed)?;
        let claim = Claim {
            id: KeyId(id.row()),
            tag: key.tags[0],
            alone: key.alone,
            body: vault.tag(Tagged::Request, &[body]),
            program: key.program.clone(),
            account: key.account.clone(),
            operation: key.operation.clone(),
        };
        let id = claim.id;
        match self.change(Change::Claim(Box::new(claim))).await {
            Ok(true) => Ok(id),
            // It was found free by who holds its entrance, so what stands there is not to be explained, and nothing may leave.
            Ok(false) => Err(Unavailable::Failed),
            Err(why) => {
                // What failed may surface when the database is opened again, and nothing has left under it.
                if why == Unavailable::Failed {
                    self.end_later(None, id, End::Free);
                }
                Err(why)
            }
        }
    }

    /// Keeps how a claimed call ended. Returns once that is synced.
    ///
    /// # Errors
    /// Nothing is kept then: the key counts as unknown.
    pub async fn end(&self, id: KeyId, end: &End) -> Result<(), Unavailable> {
        let change = match end {
            End::Free => Change::Free(id),
            End::Unknown => Change::Doubt(id),
            End::NotKept { status } => Change::Kept(id, Kept { status: *status, bytes: 0, sealed: None }),
            End::Answered(answer) => Change::Kept(id, self.seal(id, answer)?),
        };
        self.change(change).await.map(drop)
    }

    /// The same in the background, again and again, because the disk refused it. Whoever is in
    /// stays in until it is done; when too many are being tried already, it is left: the key counts as unknown.
    pub fn end_later(&self, flight: Option<Flight>, id: KeyId, end: End) {
        let Some(place) = self.0.turnstiles.late() else { return };
        let inbox = self.clone();
        tokio::spawn(async move {
            while let Err(Unavailable::Full | Unavailable::Failed | Unavailable::Busy) = inbox.end(id, &end).await {
                tokio::time::sleep(AGAIN).await;
            }
            drop((flight, place));
        });
    }

    /// At most `most` keys that fit, in the order of their ids, after `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn keys(
        &self,
        filter: KeyFilter,
        after: Option<KeyId>,
        most: usize,
    ) -> Result<Vec<ListedKey>, Unavailable> {
        let vault = self.vault()?.clone();
        self.0.operators.ask(move |connection| reading::list(connection, &vault, &filter, after, most)).await
    }

    /// Settles a call of unknown end by an operator's word. Whether there was one of this id.
    ///
    /// # Errors
    /// Nothing is settled then.
    pub async fn settle_key(&self, id: KeyId, verdict: Verdict) -> Result<bool, Unavailable> {
        let change = match verdict {
            Verdict::NotSent => Change::Settle(id, None),
            Verdict::Sent => Change::Settle(id, Some(Kept { status: 0, bytes: 0, sealed: None })),
            Verdict::Answered(answer) => Change::Settle(id, Some(self.seal(id, &answer)?)),
        };
        self.change(change).await
    }

    /// An answer, sealed for its row. Each sealing has a number of its own: it is the nonce.
    fn seal(&self, id: KeyId, answer: &KeptAnswer) -> Result<Kept, Unavailable> {
        let vault = self.vault()?;
        let nonce = vault.next_id().ok_or(Unavailable::Failed)?;
        let text = answer.write();
        let sealed = vault.seal(nonce, &rows::bound_to(id), &text);
        Ok(Kept { status: answer.status, bytes: text.len(), sealed: Some((nonce, sealed)) })
    }

    async fn change(&self, change: Change) -> Result<bool, Unavailable> {
        self.write(|answer| Job::Keyed(Work { change, answer })).await
    }
}
