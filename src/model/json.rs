//! JSON that is carried, not read.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;
use std::fmt;

/// A valid JSON text, kept as it was received.
///
/// Compared by its characters, not by its meaning: `{"a":1}` and `{ "a": 1 }` differ.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RawJson(Box<str>);

/// Why a text is no JSON, with the place.
#[derive(Debug, thiserror::Error)]
#[error("not valid JSON")]
pub struct NotJson(#[from] serde_json::Error);

impl RawJson {
    /// Takes a JSON text.
    ///
    /// # Errors
    ///
    /// [`NotJson`] when `text` is not exactly one JSON value.
    pub fn new(text: &str) -> Result<Self, NotJson> {
        let raw: &RawValue = serde_json::from_str(text)?;
        Ok(Self(raw.get().into()))
    }

    /// Takes the text of a value that was parsed before.
    pub fn from_raw(raw: &RawValue) -> Self {
        Self(raw.get().into())
    }

    /// Writes a value as JSON.
    pub fn from_value(value: &serde_json::Value) -> Self {
        Self(value.to_string().into())
    }

    /// Returns the empty object.
    pub fn empty_object() -> Self {
        Self("{}".into())
    }

    /// Returns the empty array.
    pub fn empty_array() -> Self {
        Self("[]".into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the text into a value of another shape.
    ///
    /// # Errors
    ///
    /// [`NotJson`] when the text has another shape, or nests deeper than 128 levels.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, NotJson> {
        Ok(serde_json::from_str(&self.0)?)
    }

    /// Returns whether two texts mean the same, however they are written. Nested too deeply to be read, they are compared
    /// by their characters.
    pub fn means(&self, other: &Self) -> bool {
        self == other
            || match (self.parse::<serde_json::Value>(), other.parse::<serde_json::Value>()) {
                (Ok(one), Ok(other)) => one == other,
                (Ok(_) | Err(_), _) => false,
            }
    }

    /// Returns whether the text is a JSON object.
    pub fn is_object(&self) -> bool {
        self.0.starts_with('{')
    }

    /// Returns whether the text is a JSON array that holds nothing but objects.
    pub fn is_array_of_objects(&self) -> bool {
        self.parse::<Vec<&RawValue>>().is_ok_and(|items| items.iter().all(|item| item.get().starts_with('{')))
    }
}

impl fmt::Debug for RawJson {
    /// Tells the size only: what people write must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawJson({} bytes)", self.0.len())
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Borrowing the text as a raw value checks it again, which is what keeps this safe.
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer).map_err(de::Error::custom)?;
        Ok(Self::from_raw(&raw))
    }
}
