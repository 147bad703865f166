//! Threads that read: one leases, one answers operators, so that a long search never holds up a delivery.
//!
//! Each has its own connection. They never write.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::entry::Unavailable;
use super::schema;
use super::shared::{Shared, code};

/// Questions that may wait for one thread.
const MOST_WAITING: usize = 1024;

/// How long a thread rests after its disk has failed.
const PAUSE: Duration = Duration::from_millis(50);

type Question = Box<dyn FnOnce(Option<&Connection>) -> rusqlite::Result<()> + Send>;

/// A thread that reads.
pub(super) struct Reader {
    questions: SyncSender<Question>,
}

impl Reader {
    /// Starts the thread. It ends when this is dropped.
    ///
    /// # Errors
    /// When the system starts no thread.
    pub(super) fn start(name: &str, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (questions, waiting) = sync_channel(MOST_WAITING);
        thread::Builder::new().name(name.to_owned()).spawn(move || serve(&waiting, &shared))?;
        Ok(Self { questions })
    }

    /// Asks the database.
    ///
    /// # Errors
    /// [`Unavailable::Busy`] when too many ask, [`Unavailable::Failed`] when it cannot be read.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |connection| {
            let Some(connection) = connection else { return Ok(()) };
            let found = question(connection);
            let (found, error) = match found {
                Ok(found) => (Some(found), None),
                Err(error) => (None, Some(error)),
            };
            if let Some(found) = found {
                // Who went away needs no answer; what was leased for him is given back as it is dropped.
                drop(answer.send(found));
            }
            error.map_or(Ok(()), Err)
        });
        match self.questions.try_send(question) {
            Ok(()) => answered.await.map_err(|_| Unavailable::Failed),
            Err(TrySendError::Full(_)) => Err(Unavailable::Busy),
            Err(TrySendError::Disconnected(_)) => Err(Unavailable::Closed),
        }
    }
}

fn serve(questions: &Receiver<Question>, shared: &Shared) {
    let report = |error: &rusqlite::Error| {
        tracing::error!(code = code(error), "the inbox cannot be read: look at its disk and at this code of SQLite");
    };
    let mut connection: Option<(u64, Connection)> = None;
    while let Ok(question) = questions.recv() {
        // After a failure everybody opens the database again.
        let generation = shared.generation();
        if connection.as_ref().is_none_or(|(of, _)| *of != generation) {
            connection = match schema::open_to_read(&shared.path) {
                Ok(opened) => Some((generation, opened)),
                Err(error) => {
                    report(&error);
                    // A disk that fails is not asked in a loop.
                    thread::sleep(PAUSE);
                    None
                }
            };
        }
        // A bug in a question costs its answer and this connection, not the thread that everybody asks.
        let asked = catch_unwind(AssertUnwindSafe(|| question(connection.as_ref().map(|(_, connection)| connection))));
        if let Ok(Err(error)) = &asked {
            report(error);
        }
        if !matches!(asked, Ok(Ok(()))) {
            connection = None;
            thread::sleep(PAUSE);
        }
    }
}
