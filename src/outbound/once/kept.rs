//! Holding an answer whole, so that it can be kept for the repeats of its call.
//!
//! It never holds more than is kept: what is larger goes on streaming, and only its status is known afterwards.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pingora_timeout::timeout;

use crate::clock;
use crate::inbox::{End, KeptAnswer};
use crate::limit::{Admitted, Budget};
use crate::outbound::account::Account;
use crate::outbound::answer::Judged;

/// How long the rest of an answer may take that is not held yet. The program may have gone, so nobody else ends it.
const LONGEST: Duration = Duration::from_secs(150);

/// The platform's answer ended early.
pub(super) struct Cut;

/// Holds the answer whole where it may be kept, and says how the call ended.
///
/// # Errors
/// The answer broke off, so what the platform said is not known.
pub(super) async fn keep(
    judged: &mut Judged,
    account: &Account,
    budget: &Budget,
    admitted: &Admitted,
) -> Result<End, Cut> {
    let status = judged.head.status().as_u16();
    let lines = Bytes::copy_from_slice(judged.head.lines());
    let room = KeptAnswer::room(lines.len());
    if judged.length.is_some_and(|length| length > room as u64) {
        return Ok(End::NotKept { status });
    }
    if let Some(mut answer) = judged.rest.take() {
        let Ok(mut reserved) = budget.reserve_answer(admitted, room).await else {
            judged.rest = Some(answer);
            return Ok(End::NotKept { status });
        };
        let mut held = BytesMut::from(&judged.held[..]);
        let whole = async {
            while held.len() <= room {
                match answer.piece().await.map_err(|_| Cut)? {
                    Some(piece) => held.extend_from_slice(piece),
                    None => return Ok(true),
                }
            }
            Ok(false)
        };
        let whole = timeout(LONGEST, whole).await.unwrap_or(Err(Cut))?;
        judged.held = held.freeze();
        if !whole {
            judged.rest = Some(answer);
            return Ok(End::NotKept { status });
        }
        judged.length = Some(judged.held.len() as u64);
        reserved.shrink(judged.held.len());
        judged._reserved = Some(reserved);
        account.client.release(answer, clock::now());
    }
    if judged.held.len() > room {
        return Ok(End::NotKept { status });
    }
    Ok(End::Answered(KeptAnswer { status, lines, body: judged.held.clone() }))
}
