//! The file against the server: what the server shows, what the file holds, and how to make these the same.
//!
//! Nothing is compared that the file does not claim to hold, and nothing above the heads that were read first, so that
//! what goes on meanwhile is no difference. One that is found is looked for once more before it is told.

use super::Messenger;
use super::comparison::{Allowed, Comparison, Depth, DescriptionPart, Difference, Discrepancy, OnlineRepair, TOLD_MAX};
use crate::error::Error;
use crate::model::{
    Conversation, ConversationId, ErrorClass, ErrorCode, Event, Intent, Membership, OutboxState, Ranges, Sequence,
    SequenceRange, UserId, without_token_in_custom_data,
};
use crate::protocol::{CONVERSATIONS_MAX, RETRANSMIT_MAX, UserKey};
use crate::store::{ConversationRow, Mismatch};
use crate::sync::{Command, LinkState, Query, Refusal, Reply};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// Events of the server that are put in place of others at once, which bounds memory: some megabytes.
const REPLACED_AT_ONCE: usize = 1_000;
/// How often a difference is looked for before it is told: twice, as one of both sides may just have moved.
const LOOKS: u32 = 2;
/// How often descriptions are compared before a difference is told: read marks move all the time.
const DESCRIPTIONS: u32 = 3;
/// How often a conversation is compared and fetched again: a server that tells something else each time ends with that.
const ROUNDS_MAX: u32 = 200;
/// How often a question is asked that the server refuses for now. The pace slows down with each time.
const ATTEMPTS_MAX: u32 = 10;

/// One conversation, compared.
#[derive(Default)]
struct Compared {
    positions: u64,
    found: Vec<Discrepancy>,
    /// The server's copies of events told otherwise, as many as are replaced at once.
    instead: Vec<Event>,
}

impl Messenger {
    /// Compares the file with the server: what the server lists, describes and shows with what the file claims to hold.
    ///
    /// Changes nothing. Gaps are no claims, and what happens meanwhile is no difference; best asked when
    /// [`connection`](Self::connection) says [`LinkState::Live`]. Everything goes at the pace of other questions, at most
    /// 100 events a request, and no more than such a page is in memory.
    ///
    /// # Errors
    ///
    /// [`Error::Offline`] when there is no link or it is lost, [`Error::Refused`], [`Error::Following`] when another
    /// process syncs, [`Error::Store`], [`Error::Paused`], [`Error::Closed`].
    pub async fn verify_online(&self, depth: Depth) -> Result<Comparison, Error> {
        let mut comparison = Comparison::default();
        let listed = self.listed().await?;
        for ids in self.all_known(&listed).await?.chunks(CONVERSATIONS_MAX) {
            for (id, described) in self.descriptions(ids).await? {
                let compared = self.compare(id, described, &listed, depth).await?;
                comparison.conversations += 1;
                comparison.positions += compared.positions;
                comparison.add(&compared.found);
            }
        }
        Ok(comparison)
    }

    /// Makes the file what the server shows, as far as it is compared, and says what that took.
    ///
    /// What is missing is fetched, what is described or told otherwise is replaced by the server's copy. What the
    /// server does not show stays as it is. Damage of the file itself is for [`repair`](Self::repair), which should come
    /// first. The link is given up where events are replaced, and comes back by itself.
    ///
    /// # Errors
    ///
    /// As [`verify_online`](Self::verify_online). What was fixed before stays so.
    pub async fn repair_online(&self, depth: Depth) -> Result<OnlineRepair, Error> {
        let mut repair = OnlineRepair::default();
        let listed = self.listed().await?;
        for ids in self.all_known(&listed).await?.chunks(CONVERSATIONS_MAX) {
            for (id, described) in self.descriptions(ids).await? {
                let first = self.compare(id, described, &listed, depth).await?;
                repair.found.conversations += 1;
                repair.found.positions += first.positions;
                repair.found.add(&first.found);
                let left = self.fix(id, &first, &listed, depth).await?;
                let fixed = first.found.iter().filter(|found| !left.found.contains(found));
                repair.fixed.extend(fixed.take(TOLD_MAX - repair.fixed.len()));
                repair.left.conversations += 1;
                repair.left.positions += left.positions;
                repair.left.add(&left.found);
            }
        }
        Ok(repair)
    }

    /// Fetches what differs, until nothing changes by that any more, and returns what differs then.
    async fn fix(
        &self,
        id: ConversationId,
        first: &Compared,
        listed: &BTreeSet<ConversationId>,
        depth: Depth,
    ) -> Result<Compared, Error> {
        let (positions, mut found, mut instead) = (first.positions, first.found.clone(), first.instead.clone());
        for _ in 0..ROUNDS_MAX {
            let fetched: Vec<Discrepancy> = found.iter().filter(|found| found.is_fetched()).copied().collect();
            if fetched.is_empty() {
                break;
            }
            for discrepancy in fetched {
                self.fetch_again(&discrepancy).await?;
            }
            if !instead.is_empty() {
                self.rebuild(vec![(id, std::mem::take(&mut instead))]).await?;
            }
            let described = self.descriptions(&[id]).await?.pop().and_then(|(_, described)| described);
            let now = self.compare(id, described, listed, depth).await?;
            if now.found == found {
                return Ok(now);
            }
            (found, instead) = (now.found, now.instead);
        }
        Ok(Compared { positions, found, instead })
    }

    /// Asks for what differs as for anything else, so that it is stored, settled and told.
    async fn fetch_again(&self, discrepancy: &Discrepancy) -> Result<(), Error> {
        let conversation = discrepancy.conversation;
        match discrepancy.difference {
            Difference::NotHeld | Difference::HeadBehind { .. } | Difference::Description(_) => {
                self.ask(Query::Conversations(vec![conversation])).await.map(drop)
            }
            Difference::Hole | Difference::Lost => {
                for page in pages(discrepancy.range) {
                    let (from, to) = (Some(page.first()), Some(page.last()));
                    self.ask(Query::Retransmit { conversation, from, to, count: None }).await?;
                }
                Ok(())
            }
            // The server's copies are at hand, or there are none.
            Difference::UnknownToServer | Difference::NotShown(_) | Difference::Event(_) => Ok(()),
        }
    }

    /// Returns the conversations that the server lists as those the user is or was in.
    async fn listed(&self) -> Result<BTreeSet<ConversationId>, Error> {
        match &*self.shared.link.borrow() {
            LinkState::CatchingUp { .. } | LinkState::Live => {}
            LinkState::SignedOut(_) | LinkState::Offline { .. } | LinkState::Connecting => {
                return Err(Error::Offline { cause: None });
            }
            LinkState::Paused => return Err(Error::Paused),
        }
        let me = self.me().ok_or(Error::Refused(Refusal::NoSession))?;
        let Reply::Users(users) = self.ask(Query::Users(vec![UserKey::Name(me)])).await? else {
            unreachable!("a question about users is answered with users");
        };
        let own = users.into_iter().find_map(|user| user.private);
        Ok(own.into_iter().flat_map(|own| own.conversations.into_iter().chain(own.left_conversations)).collect())
    }

    /// Returns the conversations of the user that the server lists or the file holds.
    async fn all_known(&self, listed: &BTreeSet<ConversationId>) -> Result<Vec<ConversationId>, Error> {
        let saved = self.read(|reader| reader.saved_conversations()).await?;
        let own = saved.into_iter().filter(|saved| match saved.membership {
            Membership::Member | Membership::Left => true,
            Membership::Removed | Membership::Stranger => false,
        });
        let all: BTreeSet<ConversationId> = own.map(|saved| saved.id).chain(listed.iter().copied()).collect();
        Ok(all.into_iter().collect())
    }

    /// Returns what the server says of each; `None` of one that it does not know.
    async fn descriptions(&self, ids: &[ConversationId]) -> Result<Vec<(ConversationId, Option<Conversation>)>, Error> {
        let known = match self.ask(Query::Descriptions(ids.to_vec())).await {
            Ok(Reply::Conversations(known)) => known,
            Ok(_) => unreachable!("a question about conversations is answered with conversations"),
            Err(error) if is_final(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut known: BTreeMap<ConversationId, Conversation> =
            known.into_iter().map(|conversation| (conversation.id, conversation)).collect();
        Ok(ids.iter().map(|id| (*id, known.remove(id))).collect())
    }

    /// Compares one conversation.
    async fn compare(
        &self,
        id: ConversationId,
        described: Option<Conversation>,
        listed: &BTreeSet<ConversationId>,
        depth: Depth,
    ) -> Result<Compared, Error> {
        let mut compared = Compared::default();
        let row = self.read(move |reader| reader.conversation(id)).await?;
        let discrepancy = |difference| Discrepancy { conversation: id, range: None, difference };
        let Some(row) = row.filter(|row| row.head > Sequence::ZERO || row.membership != Membership::Stranger) else {
            // It may be one that somebody made just now.
            let is_gone = self.read(move |reader| reader.conversation(id)).await?.is_none();
            let still_told = is_gone && described.is_some() && listed.contains(&id);
            compared.found.extend(still_told.then(|| discrepancy(Difference::NotHeld)));
            return Ok(compared);
        };
        let Some(described) = described else {
            let again = self.descriptions(&[id]).await?.pop().and_then(|(_, described)| described);
            let now = self.read(move |reader| reader.conversation(id)).await?;
            let is_gone = again.is_none() && now.is_some_and(|now| now.membership == row.membership);
            compared.found.extend(is_gone.then(|| discrepancy(Difference::UnknownToServer)));
            return Ok(compared);
        };
        // Nobody outside is told what becomes of a conversation: there it is as it was.
        if row.membership == Membership::Member {
            let differing = self.compare_description(id, &described).await?;
            compared.found.extend(differing.into_iter().map(discrepancy));
        }
        let head = described.last_sequence.min(row.head);
        let outside = row.membership != Membership::Member || described.uber;
        for range in self.chosen(id, head, depth).await? {
            self.compare_range(id, range, outside, &mut compared).await?;
        }
        Ok(compared)
    }

    /// Compares head and description, more than once where they differ.
    async fn compare_description(
        &self,
        id: ConversationId,
        described: &Conversation,
    ) -> Result<Vec<Difference>, Error> {
        let mut told = described.clone();
        let mut differing: Option<BTreeSet<Difference>> = None;
        for _ in 0..DESCRIPTIONS {
            let me = self.my_id();
            let (row, pending) = self
                .read(move |reader| {
                    let pending = reader.outbox()?.into_iter().any(|entry| {
                        !matches!(entry.state, OutboxState::Settled | OutboxState::Failed)
                            && matches!(entry.intent, Intent::MarkAsRead { conversation, .. } if conversation == id)
                    });
                    Ok((reader.conversation(id)?, pending))
                })
                .await?;
            let Some(row) = row else { return Ok(Vec::new()) };
            let head = (row.head < described.last_sequence)
                .then_some(Difference::HeadBehind { held: row.head, shown: described.last_sequence });
            let parts = differing_parts(&row, &told, me, pending).into_iter().map(Difference::Description);
            let now: BTreeSet<Difference> = head.into_iter().chain(parts).collect();
            let both = differing.map_or(now.clone(), |before| before.intersection(&now).copied().collect());
            if both.is_empty() {
                return Ok(Vec::new());
            }
            differing = Some(both);
            let again = self.descriptions(&[id]).await?.pop().and_then(|(_, described)| described);
            let Some(again) = again else { return Ok(Vec::new()) };
            told = again;
        }
        Ok(differing.into_iter().flatten().collect())
    }

    /// Returns the ranges to be compared, at most a page each, none with positions held and holes in it.
    async fn chosen(&self, id: ConversationId, head: Sequence, depth: Depth) -> Result<Vec<SequenceRange>, Error> {
        let Some(known) = SequenceRange::new(Sequence::FIRST, head) else { return Ok(Vec::new()) };
        if depth == Depth::Heads {
            return Ok(Vec::new());
        }
        let (held, coverage) = self.read(move |reader| Ok((reader.held(id)?, reader.coverage(id)?))).await?;
        let within = |set: &Ranges| -> Ranges { set.iter().filter_map(|range| range.intersection(known)).collect() };
        let (held, holes) = (within(&held), within(&coverage.without(&held)));
        Ok(match depth {
            Depth::Heads => Vec::new(),
            Depth::Full => held.iter().chain(holes.iter()).flat_map(|range| pages(Some(range))).collect(),
            Depth::Sample { positions, seed } => {
                // Every conversation has a sample of its own.
                let mut rng = Rng::with_seed(seed ^ id.as_uuid().as_u64_pair().0);
                let mut chosen = sample(&held, positions, &mut rng);
                chosen.extend(sample(&holes, positions, &mut rng));
                chosen
            }
        })
    }

    /// Compares a page, twice where it differs.
    async fn compare_range(
        &self,
        id: ConversationId,
        range: SequenceRange,
        outside: bool,
        compared: &mut Compared,
    ) -> Result<(), Error> {
        let mut both: Option<BTreeSet<(Sequence, Mismatch)>> = None;
        let mut shown = Vec::new();
        for _ in 0..LOOKS {
            shown = match self.ask(Query::Shown(id, range)).await {
                Ok(Reply::Events(events)) => events,
                Ok(_) => unreachable!("a question about history is answered with events"),
                Err(error) if is_final(&error) => Vec::new(),
                Err(error) => return Err(error),
            };
            let told = shown.clone();
            let now = self.read(move |reader| reader.compare(id, range, &told)).await?;
            let now: BTreeSet<(Sequence, Mismatch)> = now.into_iter().collect();
            let found = both.map_or(now.clone(), |before| before.intersection(&now).copied().collect());
            let is_same = found.is_empty();
            both = Some(found);
            if is_same {
                break;
            }
        }
        compared.positions += u64::from(range.len());
        let found = both.unwrap_or_default();
        let replaced: BTreeSet<Sequence> =
            found.iter().filter(|(_, found)| matches!(found, Mismatch::Content(_))).map(|(at, _)| *at).collect();
        let room = REPLACED_AT_ONCE.saturating_sub(compared.instead.len());
        compared.instead.extend(shown.into_iter().filter(|event| replaced.contains(&event.sequence)).take(room));
        for (at, mismatch) in found {
            let difference = match mismatch {
                Mismatch::Hole => Difference::Hole,
                Mismatch::Lost => Difference::Lost,
                Mismatch::NotShown { removed: true } => Difference::NotShown(Some(Allowed::Removed)),
                Mismatch::NotShown { removed: false } => Difference::NotShown(outside.then_some(Allowed::Outside)),
                Mismatch::Content(part) => Difference::Event(part),
            };
            add_position(&mut compared.found, id, at, difference);
        }
        Ok(())
    }

    /// Asks, and asks again what the server refuses for now.
    async fn ask(&self, query: Query) -> Result<Reply, Error> {
        let mut attempts = 1;
        loop {
            match self.call(Command::Query(query.clone())).await {
                Err(error) if attempts < ATTEMPTS_MAX && is_refused_for_now(&error) => attempts += 1,
                answer => return answer,
            }
        }
    }
}

/// Returns whether the same question may be answered in a moment. A server that says nothing says so for good.
fn is_refused_for_now(error: &Error) -> bool {
    error.messaging().is_some_and(|refusal| match refusal.code.class() {
        ErrorClass::TooFast | ErrorClass::Later => refusal.code != ErrorCode::Timeout,
        ErrorClass::Never | ErrorClass::SignIn => false,
    })
}

/// Returns whether the server has nothing to show there: it said so, or said nothing at all.
fn is_final(error: &Error) -> bool {
    error.messaging().is_some_and(|refusal| match refusal.code.class() {
        ErrorClass::Never => true,
        ErrorClass::Later => refusal.code == ErrorCode::Timeout,
        ErrorClass::TooFast | ErrorClass::SignIn => false,
    })
}

/// Cuts a range into pages.
fn pages(range: Option<SequenceRange>) -> impl Iterator<Item = SequenceRange> {
    let mut rest = range;
    std::iter::from_fn(move || {
        let range = rest?;
        let page = range.newest(RETRANSMIT_MAX);
        rest = SequenceRange::new(range.first(), page.first().previous());
        Some(page)
    })
}

/// Chooses about so many positions of a set, as ranges of a page at most.
fn sample(set: &Ranges, positions: u32, rng: &mut Rng) -> Vec<SequenceRange> {
    if set.count() <= u64::from(positions) {
        return set.iter().flat_map(|range| pages(Some(range))).collect();
    }
    let mut chosen = Ranges::new();
    let mut wanted = positions;
    while wanted > 0 {
        let length = wanted.min(RETRANSMIT_MAX);
        let mut place = rng.u64(0..set.count());
        for range in set.iter() {
            if let Some(ahead) = place.checked_sub(u64::from(range.len())) {
                place = ahead;
                continue;
            }
            let first = Sequence(range.first().get() + u32::try_from(place).unwrap_or_default());
            let last = Sequence(first.get().saturating_add(length - 1)).min(range.last());
            if let Some(part) = SequenceRange::new(first, last) {
                chosen.insert(part);
            }
            break;
        }
        wanted -= length;
    }
    chosen.iter().flat_map(|range| pages(Some(range))).collect()
}

/// Adds a difference at one position; neighbours with the same one are one.
fn add_position(found: &mut Vec<Discrepancy>, conversation: ConversationId, at: Sequence, difference: Difference) {
    let last = found.last_mut().filter(|last| last.difference == difference);
    if let Some((last, range)) = last.and_then(|last| last.range.map(|range| (last, range)))
        && range.last().next() == at
        && let Some(longer) = SequenceRange::new(range.first(), at)
    {
        last.range = Some(longer);
        return;
    }
    found.push(Discrepancy { conversation, range: SequenceRange::single(at), difference });
}

/// Returns the parts in which a description is not the one held. `pending` says that a read mark of the user's is on its
/// way.
fn differing_parts(
    row: &ConversationRow,
    told: &Conversation,
    me: Option<UserId>,
    pending: bool,
) -> BTreeSet<DescriptionPart> {
    let held = &row.conversation;
    let rights = |conversation: &Conversation| -> BTreeSet<_> {
        conversation.participants.iter().map(|participant| (participant.user, participant.permissions)).collect()
    };
    let marks = |conversation: &Conversation| -> BTreeMap<_, _> {
        let others = conversation.participants.iter().filter(|participant| Some(participant.user) != me);
        others.map(|participant| (participant.user, participant.last_read)).collect()
    };
    let own = me.and_then(|me| told.participant(me)).map(|own| own.last_read);
    let kind = |conversation: &Conversation| (conversation.direct, conversation.public_join, conversation.uber);
    let same_rights = rights(held) == rights(told);
    let same_data = held.custom_data.means(&without_token_in_custom_data(&told.custom_data));
    let parts = [
        (held.title != told.title, DescriptionPart::Title),
        (!same_data, DescriptionPart::CustomData),
        (kind(held) != kind(told), DescriptionPart::Kind),
        (!same_rights, DescriptionPart::Participants),
        (same_rights && marks(held) != marks(told), DescriptionPart::ReadMarks),
        (!pending && own.is_some_and(|own| own != row.own_read_mark), DescriptionPart::OwnReadMark),
    ];
    parts.into_iter().filter(|(differs, _)| *differs).map(|(_, part)| part).collect()
}
