//! Other processes that have a device's file open: what they want stands in the file, and the one that syncs takes it
//! over.

use super::device::Asked;
use super::medium::Medium;
use super::process::NOTICED_MS;
use super::{EPOCH, Packet, World};
use backscroll::model::{ClientToken, Timestamp, Wish, WishAnswer, WishKind};
use backscroll::sync::{Command, Input, Write};
use std::time::Duration;

impl<M: Medium> World<M> {
    /// Lets another process than the one that syncs want something, if it may: it is durable at once, whether anybody
    /// syncs or not. What only the one with the link can do is asked of that.
    pub(super) fn wish(&mut self, index: usize, command: Command, asked: Asked) -> Result<(), String> {
        let (token, kind) = match command {
            Command::Submit { token, intent, .. } => (token, WishKind::Submit(intent)),
            Command::Cancel(token) => (token, WishKind::Cancel),
            Command::Retry(token) => (token, WishKind::Retry),
            other => return self.command(index, other, asked),
        };
        let wish = Wish { token, kind, wished_at: Timestamp(EPOCH) };
        if self.trace {
            println!("{:?} device {index} wishes {wish:?}", self.now);
        }
        let device = &mut self.devices[index];
        device.medium.wish(&wish)?;
        let number = device.disk.wish(wish);
        device.wished.insert(number, asked);
        let at = self.now + Duration::from_millis(self.rng.u64(0..NOTICED_MS));
        self.post(at, Packet::Wished(index));
        Ok(())
    }

    /// The process that syncs takes over what others want, in order.
    pub(super) fn take_wishes(&mut self, index: usize) -> Result<(), String> {
        let waiting: Vec<(u64, Wish)> =
            self.devices[index].disk.waiting_wishes().map(|(number, wish)| (number, wish.clone())).collect();
        for (number, wish) in waiting {
            // A commit that failed meanwhile had them all taken over behind it.
            if self.devices[index].disk.waiting_wishes().any(|(waits, _)| waits == number) {
                self.give(index, Input::Wish(number, wish))?;
            }
        }
        Ok(())
    }

    /// What was answered in a transaction counts as accepted from then on.
    pub(super) fn wishes_answered(&mut self, index: usize, answers: &[(u64, ClientToken)]) -> Result<(), String> {
        for (number, token) in answers {
            let device = &self.devices[index];
            let asked = device.wished.get(number).copied().unwrap_or(Asked::Other);
            let entry = device.disk.outbox.get(token).cloned();
            self.tally.holds("D-3", entry.is_some(), || format!("{token:?} was accepted and is not stored"))?;
            if let Some(entry) = entry {
                self.accepted(index, &entry, asked);
            }
        }
        Ok(())
    }
}

/// Returns the wishes that a transaction answers with an entry, and those entries.
pub(super) fn accepted_in(writes: &[Write]) -> Vec<(u64, ClientToken)> {
    let accepted = writes.iter().filter_map(|write| match write {
        Write::WishAnswered(number, WishAnswer::Accepted(token)) => Some((*number, *token)),
        _ => None,
    });
    accepted.collect()
}
