//! The file against the server: what the server shows, what the file holds, and how to make these the same.
//!
//! Nothing is compared that the file does not claim to hold, and nothing above the heads that were read first, so that
//! what goes on meanwhile is no difference. One that is found is looked for once more before it is told. Silence is no
//! answer: what the server does not answer is asked again with more patience, and then told as not compared.

use super::Messenger;
use super::comparison::{
    Allowed, Comparison, Depth, DescriptionPart, Difference, Discrepancy, OnlineRepair, TOLD_MAX, Unanswered,
};
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
/// How often a question is asked that the server does not answer. The first waits for the usual time, 20 s, the second
/// for twice as long, and so on.
const SILENCES_MAX: u32 = 3;

/// One conversation, compared.
#[derive(Default)]
struct Compared {
    positions: u64,
    found: Vec<Discrepancy>,
    unanswered: Vec<Unanswered>,
    /// The server's copies of events told otherwise, as many as are replaced at once.
    instead: Vec<Event>,
}

/// A part of history that is compared at once.
struct Page {
    range: SequenceRange,
    /// What of it the file holds; the rest are holes.
    held: Ranges,
}

/// What the server says of a conversation.
enum Described {
    So(Box<Conversation>),
    Unknown,
    Silent,
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
                comparison.add(compared.positions, &compared.found, &compared.unanswered);
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
                repair.found.add(first.positions, &first.found, &first.unanswered);
                let left = self.fix(id, &first, &listed, depth).await?;
                let is_hidden = |found: &Discrepancy| left.unanswered.iter().any(|silent| silent.hides(found));
                let fixed = first.found.iter().filter(|found| !left.found.contains(found) && !is_hidden(found));
                repair.fixed.extend(fixed.take(TOLD_MAX - repair.fixed.len()));
                repair.left.add(left.positions, &left.found, &left.unanswered);
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
        let (mut found, mut instead) = (first.found.clone(), first.instead.clone());
        let (mut positions, mut unanswered) = (first.positions, first.unanswered.clone());
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
            Compared { positions, found, unanswered, instead } = now;
        }
        Ok(Compared { positions, found, unanswered, instead })
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

    /// Returns what the server says of each; `None` of one about which nothing came.
    async fn descriptions(&self, ids: &[ConversationId]) -> Result<Vec<(ConversationId, Option<Conversation>)>, Error> {
        let known = match self.ask(Query::Descriptions { conversations: ids.to_vec(), patience: 1 }).await {
            Ok(Reply::Conversations(known)) => known,
            Ok(_) => unreachable!("a question about conversations is answered with conversations"),
            Err(error) if is_final(&error) || is_silence(&error) => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut known: BTreeMap<ConversationId, Conversation> =
            known.into_iter().map(|conversation| (conversation.id, conversation)).collect();
        Ok(ids.iter().map(|id| (*id, known.remove(id))).collect())
    }

    /// Returns what the server says of one conversation, asked for by itself and until it answers.
    async fn description(&self, id: ConversationId) -> Result<Described, Error> {
        let question = |patience| Query::Descriptions { conversations: vec![id], patience };
        match self.ask_patiently(SILENCES_MAX, question).await {
            Ok(Some(Reply::Conversations(told))) => {
                Ok(told.into_iter().next().map_or(Described::Unknown, |told| Described::So(Box::new(told))))
            }
            Ok(Some(_)) => unreachable!("a question about conversations is answered with conversations"),
            Ok(None) => Ok(Described::Silent),
            Err(error) if is_final(&error) => Ok(Described::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Compares one conversation. `described` is what the server said of it, if anything came.
    async fn compare(
        &self,
        id: ConversationId,
        described: Option<Conversation>,
        listed: &BTreeSet<ConversationId>,
        depth: Depth,
    ) -> Result<Compared, Error> {
        let mut compared = Compared::default();
        let row = self.read(move |reader| reader.conversation(id)).await?;
        let described = match described {
            Some(described) => Some(described),
            None => match self.description(id).await? {
                Described::So(described) => Some(*described),
                Described::Unknown => None,
                Described::Silent => {
                    compared.unanswered.push(Unanswered { conversation: id, range: None });
                    return Ok(compared);
                }
            },
        };
        let discrepancy = |difference| Discrepancy { conversation: id, range: None, difference };
        let Some(row) = row.filter(|row| row.head > Sequence::ZERO || row.membership != Membership::Stranger) else {
            // It may be one that somebody made just now.
            let is_gone = self.read(move |reader| reader.conversation(id)).await?.is_none();
            let still_told = is_gone && described.is_some() && listed.contains(&id);
            compared.found.extend(still_told.then(|| discrepancy(Difference::NotHeld)));
            return Ok(compared);
        };
        let Some(described) = described else {
            // It may have been left or removed while the server was asked.
            let now = self.read(move |reader| reader.conversation(id)).await?;
            let is_gone = now.is_some_and(|now| now.membership == row.membership);
            compared.found.extend(is_gone.then(|| discrepancy(Difference::UnknownToServer)));
            return Ok(compared);
        };
        // Nobody outside is told what becomes of a conversation: there it is as it was.
        if row.membership == Membership::Member {
            let Some(differing) = self.compare_description(id, &described).await? else {
                compared.unanswered.push(Unanswered { conversation: id, range: None });
                return Ok(compared);
            };
            compared.found.extend(differing.into_iter().map(discrepancy));
        }
        let head = described.last_sequence.min(row.head);
        let outside = row.membership != Membership::Member || described.uber;
        let mut pages = self.chosen(id, head, depth).await?.into_iter();
        let mut silent = Ranges::new();
        for page in pages.by_ref() {
            if !self.compare_page(id, &page, outside, &mut compared).await? {
                silent.insert(page.range);
                break;
            }
        }
        // Who waited minutes for one page in vain does not wait as long for each of a thousand.
        for page in pages {
            silent.insert(page.range);
        }
        compared.unanswered.extend(silent.iter().map(|range| Unanswered { conversation: id, range: Some(range) }));
        Ok(compared)
    }

    /// Compares head and description, more than once where they differ. `None` when the server falls silent.
    async fn compare_description(
        &self,
        id: ConversationId,
        described: &Conversation,
    ) -> Result<Option<Vec<Difference>>, Error> {
        let mut told = described.clone();
        let mut differing: Option<BTreeSet<Difference>> = None;
        for _ in 0..DESCRIPTIONS {
            let me = self.my_id();
            let (row, pending) = self
                .read(move |reader| {
                    let pending = reader.unsettled(Some(id))?.into_iter().any(|entry| {
                        entry.state != OutboxState::Failed && matches!(entry.intent, Intent::MarkAsRead { .. })
                    });
                    Ok((reader.conversation(id)?, pending))
                })
                .await?;
            let Some(row) = row else { return Ok(Some(Vec::new())) };
            let head = (row.head < described.last_sequence)
                .then_some(Difference::HeadBehind { held: row.head, shown: described.last_sequence });
            let parts = differing_parts(&row, &told, me, pending).into_iter().map(Difference::Description);
            let now: BTreeSet<Difference> = head.into_iter().chain(parts).collect();
            let both = differing.map_or(now.clone(), |before| before.intersection(&now).copied().collect());
            if both.is_empty() {
                return Ok(Some(Vec::new()));
            }
            differing = Some(both);
            told = match self.description(id).await? {
                Described::So(again) => *again,
                Described::Unknown => return Ok(Some(Vec::new())),
                Described::Silent => return Ok(None),
            };
        }
        Ok(Some(differing.into_iter().flatten().collect()))
    }

    /// Returns what is to be compared, held positions and holes together: an answer that brings the first is one, and so
    /// tells of the second as well.
    async fn chosen(&self, id: ConversationId, head: Sequence, depth: Depth) -> Result<Vec<Page>, Error> {
        let Some(known) = SequenceRange::new(Sequence::FIRST, head) else { return Ok(Vec::new()) };
        if depth == Depth::Heads {
            return Ok(Vec::new());
        }
        let (held, coverage) = self.read(move |reader| Ok((reader.held(id)?, reader.coverage(id)?))).await?;
        let within = |set: &Ranges| -> Ranges { set.iter().filter_map(|range| range.intersection(known)).collect() };
        let (held, holes) = (within(&held), within(&coverage.without(&held)));
        let chosen: Ranges = match depth {
            Depth::Heads => Ranges::new(),
            Depth::Full => held.iter().chain(holes.iter()).collect(),
            Depth::Sample { positions, seed } => {
                // Every conversation has a sample of its own.
                let mut rng = Rng::with_seed(seed ^ id.as_uuid().as_u64_pair().0);
                let mut chosen = sample(&held, positions, &mut rng);
                for hole in sample(&holes, positions, &mut rng) {
                    // With a neighbour that is held the answer is seen to have come.
                    let neighbours = [hole.first().previous(), hole.last().next()].into_iter();
                    chosen.extend(neighbours.filter(|at| held.contains(*at)).filter_map(SequenceRange::single));
                    chosen.push(hole);
                }
                chosen.into_iter().collect()
            }
        };
        let page = |range: SequenceRange| {
            let held = held.iter().filter_map(|held| held.intersection(range)).collect();
            Page { range, held }
        };
        Ok(chosen.iter().flat_map(|range| pages(Some(range))).map(page).collect())
    }

    /// Compares a page, twice where it differs. Returns whether it could be compared: the server answered.
    async fn compare_page(
        &self,
        id: ConversationId,
        page: &Page,
        outside: bool,
        compared: &mut Compared,
    ) -> Result<bool, Error> {
        let range = page.range;
        let mut both: Option<BTreeSet<(Sequence, Mismatch)>> = None;
        let mut shown = Vec::new();
        for _ in 0..LOOKS {
            shown = match self.shown(id, page).await? {
                Some(events) => events,
                // Nobody can tell whether the server is slow, or has nothing to show as the file says.
                None if page.held.is_empty() => return Ok(true),
                None => return Ok(false),
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
        Ok(true)
    }

    /// Returns what the server shows of a page; `None` when it stays silent. Where nothing is held nothing is expected,
    /// and one question is enough.
    async fn shown(&self, conversation: ConversationId, page: &Page) -> Result<Option<Vec<Event>>, Error> {
        let silences_max = if page.held.is_empty() { 1 } else { SILENCES_MAX };
        let Page { range, held } = page;
        let question = |patience| Query::Shown { conversation, range: *range, held: held.clone(), patience };
        match self.ask_patiently(silences_max, question).await {
            Ok(Some(Reply::Events(events))) => Ok(Some(events)),
            Ok(Some(_)) => unreachable!("a question about history is answered with events"),
            Ok(None) => Ok(None),
            Err(error) if is_final(&error) => Ok(Some(Vec::new())),
            Err(error) => Err(error),
        }
    }

    /// Asks, and asks with more patience what the server does not answer. `None` when it stays silent.
    async fn ask_patiently(&self, silences_max: u32, question: impl Fn(u32) -> Query) -> Result<Option<Reply>, Error> {
        for patience in 1..=silences_max {
            match self.ask(question(patience)).await {
                Err(error) if is_silence(&error) => {}
                answer => return answer.map(Some),
            }
        }
        Ok(None)
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

/// Returns whether the same question may be answered in a moment.
fn is_refused_for_now(error: &Error) -> bool {
    error.messaging().is_some_and(|refusal| match refusal.code.class() {
        ErrorClass::TooFast | ErrorClass::Later => refusal.code != ErrorCode::Timeout,
        ErrorClass::Never | ErrorClass::SignIn => false,
    })
}

/// Returns whether the server has nothing to show there, and said so.
fn is_final(error: &Error) -> bool {
    error.messaging().is_some_and(|refusal| refusal.code.class() == ErrorClass::Never)
}

/// Returns whether nothing came, which says nothing.
fn is_silence(error: &Error) -> bool {
    error.messaging().is_some_and(|refusal| refusal.code == ErrorCode::Timeout)
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
