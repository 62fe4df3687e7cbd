//! Our own token inside what others store for us.
//!
//! The protocol has no place for an id that the client chose, so it travels where servers return
//! what they were given untouched: as one more object at the end of a message's payload, and as one
//! more member of a new conversation's custom data. Applications never see it.

use super::{ClientToken, RawJson};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The one member of the object in a payload; one member among others in custom data.
const MEMBER: &str = "client_id";

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenObject {
    client_id: ClientToken,
}

/// Returns whether `json` may hold a token at all, at the price of one look for the name.
fn may_hold_token(json: &RawJson) -> bool {
    json.as_str().contains(MEMBER)
}

fn items(payload: &RawJson) -> Option<Vec<&RawValue>> {
    payload.parse().ok()
}

/// Returns the token in a message's payload; the last one when there are several.
pub fn token_of_payload(payload: Option<&RawJson>) -> Option<ClientToken> {
    let payload = payload.filter(|payload| may_hold_token(payload))?;
    let items = items(payload)?;
    items.iter().rev().find_map(|item| serde_json::from_str::<TokenObject>(item.get()).ok()).map(|own| own.client_id)
}

/// Returns the payload as the application gave it: without the token; `None` when nothing is left.
pub fn without_token(payload: Option<RawJson>) -> Option<RawJson> {
    let payload = payload?;
    if !may_hold_token(&payload) {
        return Some(payload);
    }
    let Some(mut kept) = items(&payload) else { return Some(payload) };
    let before = kept.len();
    kept.retain(|item| serde_json::from_str::<TokenObject>(item.get()).is_err());
    if kept.is_empty() {
        return None;
    }
    if kept.len() == before {
        return Some(payload);
    }
    Some(join(kept.into_iter().map(RawValue::get)))
}

/// Returns the payload with the token as its last object.
pub fn with_token(payload: Option<&RawJson>, token: ClientToken) -> RawJson {
    let own = format!("{{\"{MEMBER}\":\"{token}\"}}");
    let kept = payload.and_then(items).unwrap_or_default();
    join(kept.iter().map(|item| item.get()).chain([own.as_str()]))
}

fn join<'a>(items: impl Iterator<Item = &'a str>) -> RawJson {
    let text = format!("[{}]", items.collect::<Vec<_>>().join(","));
    RawJson::new(&text).expect("values joined by commas in brackets are an array")
}

/// Returns the token in a conversation's custom data.
pub fn token_of_custom_data(data: &RawJson) -> Option<ClientToken> {
    if !may_hold_token(data) {
        return None;
    }
    let object: Map<String, Value> = data.parse().ok()?;
    object.get(MEMBER)?.as_str()?.parse().ok()
}

/// Returns the custom data as the application gave it.
pub fn without_token_in_custom_data(data: &RawJson) -> RawJson {
    if token_of_custom_data(data).is_none() {
        return data.clone();
    }
    let Ok(mut object) = data.parse::<Map<String, Value>>() else { return data.clone() };
    object.remove(MEMBER);
    RawJson::from_value(&Value::Object(object))
}

/// Returns the custom data with the token as one more member; data that is no object is replaced.
pub fn with_token_in_custom_data(data: &RawJson, token: ClientToken) -> RawJson {
    let mut object = data.parse::<Map<String, Value>>().unwrap_or_default();
    object.insert(MEMBER.to_owned(), Value::String(token.to_string()));
    RawJson::from_value(&Value::Object(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> ClientToken {
        "6f0e1c5a-8a30-4a4b-9a1d-2d7a4d4ad5b0".parse().expect("a uuid")
    }

    #[test]
    fn a_token_comes_back_and_is_hidden_again() {
        let given = RawJson::new(r#"[{"kind" : "card", "n":1.50}]"#).expect("JSON");
        let sent = with_token(Some(&given), token());
        assert_eq!(token_of_payload(Some(&sent)), Some(token()));
        assert_eq!(without_token(Some(sent)).expect("the card").as_str(), r#"[{"kind" : "card", "n":1.50}]"#);
        let bare = with_token(None, token());
        assert_eq!(without_token(Some(bare)), None);
    }

    #[test]
    fn an_object_that_only_resembles_a_token_stays() {
        let given =
            RawJson::new(r#"[{"client_id":"mine"},{"client_id":"6f0e1c5a-8a30-4a4b-9a1d-2d7a4d4ad5b0","x":1}]"#)
                .expect("JSON");
        assert_eq!(token_of_payload(Some(&given)), None);
        assert_eq!(without_token(Some(given.clone())), Some(given));
    }

    #[test]
    fn custom_data_carries_a_token_too() {
        let data = RawJson::new(r#"{"icon":"star"}"#).expect("JSON");
        let sent = with_token_in_custom_data(&data, token());
        assert_eq!(token_of_custom_data(&sent), Some(token()));
        assert_eq!(without_token_in_custom_data(&sent), data);
    }
}
