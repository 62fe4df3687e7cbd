//! What children said they would do and did, and what must therefore be so in the end.

use backscroll::model::Sequence;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One thing a child wishes for. A message is known by the text it was sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Send(String),
    Edit {
        key: String,
        text: String,
    },
    Remove(String),
    Title(String),
    Mark(Sequence),
    /// A conversation with this title.
    Make(String),
    /// A message into it, with its title as text.
    SendThere(String),
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(text) => write!(f, "send {text}"),
            Self::Edit { key, text } => write!(f, "edit {key} {text}"),
            Self::Remove(key) => write!(f, "remove {key}"),
            Self::Title(title) => write!(f, "title {title}"),
            Self::Mark(sequence) => write!(f, "mark {sequence}"),
            Self::Make(title) => write!(f, "make {title}"),
            Self::SendThere(title) => write!(f, "send-there {title}"),
        }
    }
}

impl Wish {
    fn read(line: &str) -> Option<Self> {
        let (what, rest) = line.split_once(' ')?;
        let text = rest.to_owned();
        Some(match what {
            "send" => Self::Send(text),
            "edit" => {
                let (key, text) = rest.split_once(' ')?;
                Self::Edit { key: key.to_owned(), text: text.to_owned() }
            }
            "remove" => Self::Remove(text),
            "title" => Self::Title(text),
            "mark" => Self::Mark(Sequence(rest.parse().ok()?)),
            "make" => Self::Make(text),
            "send-there" => Self::SendThere(text),
            _ => return None,
        })
    }
}

/// What may be so: what was accepted last, and whatever may have been accepted after it without a word.
#[derive(Debug, Default)]
struct May<T>(Vec<T>);

impl<T: PartialEq> May<T> {
    fn will(&mut self, value: T) {
        self.0.push(value);
    }

    /// Whatever was wished before it is past.
    fn did(&mut self, value: T) {
        self.0 = vec![value];
    }
}

/// Everything the children said.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Messages by the text they were sent with, and what they may say; `None` for gone.
    messages: BTreeMap<String, May<Option<String>>>,
    /// In the order of acceptance.
    sent: Vec<String>,
    title: May<String>,
    mark: Sequence,
    made: BTreeSet<String>,
    written_there: BTreeSet<String>,
    accepted: u64,
}

impl Told {
    /// Begins with the title that the conversation has.
    pub(crate) fn new(title: &str) -> Self {
        Self { title: May(vec![title.to_owned()]), ..Self::default() }
    }

    /// Notes a line of a child. One that the kill has cut was never told.
    pub(crate) fn hear(&mut self, line: &str) {
        let Some((what, wish)) = line.split_once(' ').and_then(|(what, wish)| Some((what, Wish::read(wish)?))) else {
            return;
        };
        match what {
            "will" => self.will(wish),
            "did" => {
                self.accepted += 1;
                self.did(wish);
            }
            _ => {}
        }
    }

    fn will(&mut self, wish: Wish) {
        match wish {
            Wish::Send(text) => {
                let message = self.messages.entry(text.clone()).or_default();
                message.will(None);
                message.will(Some(text));
            }
            Wish::Edit { key, text } => self.messages.entry(key).or_default().will(Some(text)),
            Wish::Remove(key) => self.messages.entry(key).or_default().will(None),
            Wish::Title(title) => self.title.will(title),
            Wish::Mark(_) | Wish::Make(_) | Wish::SendThere(_) => {}
        }
    }

    fn did(&mut self, wish: Wish) {
        match wish {
            Wish::Send(text) => {
                self.sent.push(text.clone());
                self.messages.entry(text.clone()).or_default().did(Some(text));
            }
            Wish::Edit { key, text } => self.messages.entry(key).or_default().did(Some(text)),
            Wish::Remove(key) => self.messages.entry(key).or_default().did(None),
            Wish::Title(title) => self.title.did(title),
            Wish::Mark(sequence) => self.mark = self.mark.max(sequence),
            Wish::Make(title) => drop(self.made.insert(title)),
            Wish::SendThere(title) => drop(self.written_there.insert(title)),
        }
    }

    /// Returns how many wishes were accepted.
    pub(crate) const fn len(&self) -> u64 {
        self.accepted
    }

    /// Checks the conversation in which children wrote: all its texts in order, its title, and the own read mark.
    pub(crate) fn assert_kept(&self, texts: &[String], title: &str, mark: Sequence) {
        let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for text in texts {
            seen.entry(text.split(' ').next().unwrap_or_default()).or_default().push(text);
        }
        for (key, may) in &self.messages {
            let shown = seen.get(key.as_str()).map_or(&[][..], Vec::as_slice);
            assert!(shown.len() <= 1, "delivered twice: {shown:?}");
            let shown = shown.first().map(|text| (*text).to_owned());
            assert!(may.0.contains(&shown), "{key} is {shown:?} and may be {may:?}");
        }
        let order: Vec<&str> = texts.iter().filter_map(|text| text.split(' ').next()).collect();
        let order: Vec<&str> = order.into_iter().filter(|key| self.sent.iter().any(|sent| sent == key)).collect();
        let expected: Vec<&str> = self.sent.iter().map(String::as_str).filter(|key| order.contains(key)).collect();
        assert_eq!(order, expected, "in the order in which they were accepted");
        assert!(self.title.0.iter().any(|may| may == title), "the title is {title:?} and may be {:?}", self.title);
        assert!(mark >= self.mark, "the own read mark is {mark}, and {} was accepted", self.mark);
    }

    /// Checks the conversations that were made: title and texts of each there is.
    pub(crate) fn assert_made(&self, conversations: Vec<(String, Vec<String>)>) {
        let mut seen = BTreeMap::new();
        for (title, texts) in conversations {
            assert_eq!(seen.insert(title.clone(), texts), None, "{title} was made twice");
        }
        for title in &self.made {
            assert!(seen.contains_key(title), "{title} was to be made and is not there");
        }
        for (title, texts) in &seen {
            let once = [title.clone()];
            let whole = texts == &once || texts.is_empty() && !self.written_there.contains(title);
            assert!(whole, "{texts:?} in {title}");
        }
    }
}
