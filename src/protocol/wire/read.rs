use crate::model::{Permissions, RawJson, Sequence, Timestamp, UserId};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// A whole number, given as a JSON number or as a string of digits: servers with 64-bit ids use either.
#[derive(Clone, Copy)]
pub(in crate::protocol) struct Int {
    /// The nearest number of 64 bits.
    nearest: i64,
    is_exact: bool,
}

impl Int {
    pub(in crate::protocol) fn user(self) -> Option<UserId> {
        self.exact().and_then(|number| u64::try_from(number).ok()).and_then(UserId::new)
    }

    pub(in crate::protocol) fn sequence(self) -> Option<Sequence> {
        self.bits().map(Sequence)
    }

    pub(in crate::protocol) fn permissions(self) -> Option<Permissions> {
        self.bits().map(Permissions::from_bits)
    }

    pub(in crate::protocol) fn bits(self) -> Option<u32> {
        self.exact().and_then(|number| u32::try_from(number).ok())
    }

    /// Returns the number, or `None` when it needs more than 64 bits.
    pub(in crate::protocol) fn exact(self) -> Option<i64> {
        self.is_exact.then_some(self.nearest)
    }

    pub(in crate::protocol) fn saturated(self) -> i64 {
        self.nearest
    }

    fn wide(number: i128) -> Self {
        match i64::try_from(number) {
            Ok(nearest) => Self { nearest, is_exact: true },
            Err(_) => Self { nearest: if number < 0 { i64::MIN } else { i64::MAX }, is_exact: false },
        }
    }
}

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntVisitor;

        impl Visitor<'_> for IntVisitor {
            type Value = Int;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Int, E> {
                Ok(Int::wide(number.into()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Int, E> {
                Ok(Int::wide(number.into()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Int, E> {
                if number.fract() == 0.0 { Ok(Int::wide(number as i128)) } else { Err(E::custom("not a whole number")) }
            }

            fn visit_str<E: Error>(self, digits: &str) -> Result<Int, E> {
                digits.parse().map(Int::wide).map_err(|_| E::custom("not a whole number"))
            }
        }

        deserializer.deserialize_any(IntVisitor)
    }
}

macro_rules! otherwise_nothing {
    ($value:expr; $($visit:ident($from:ty))*) => {
        $(fn $visit<E: Error>(self, _: $from) -> Result<Self::Value, E> {
            Ok($value)
        })*
    };
}

/// A server time in seconds. What is no number counts as absent.
#[derive(Clone, Copy, Default)]
pub(in crate::protocol) struct Time(Option<i64>);

impl Time {
    pub(in crate::protocol) fn get(self) -> Option<Timestamp> {
        self.0.map(Timestamp)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;

        impl<'de> Visitor<'de> for TimeVisitor {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds")
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Time, E> {
                Ok(Time(Some(seconds)))
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Time, E> {
                Ok(Time(Some(seconds.try_into().unwrap_or(i64::MAX))))
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Time, E> {
                Ok(Time(Some(seconds as i64)))
            }

            otherwise_nothing! { Time(None); visit_bool(bool) visit_str(&str) }

            fn visit_unit<E: Error>(self) -> Result<Time, E> {
                Ok(Time(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Time, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Time(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Time, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Time(None))
            }
        }

        deserializer.deserialize_any(TimeVisitor)
    }
}

/// A list; what is no array counts as an empty one.
pub(in crate::protocol) struct Listed<T>(pub(in crate::protocol) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
            type Value = Listed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Listed<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Listed(list))
            }

            otherwise_nothing! {
                Listed(Vec::new());
                visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64) visit_str(&str)
            }

            fn visit_unit<E: Error>(self) -> Result<Listed<T>, E> {
                Ok(Listed(Vec::new()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Listed<T>, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Listed(Vec::new()))
            }
        }

        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

/// A string, borrowed unless it holds escapes.
pub(in crate::protocol) struct Text<'a>(pub(in crate::protocol) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

/// Members that nobody asked for, in their order, each value as its own text: `"a":1,"b":[ ]`.
#[derive(Default)]
pub(in crate::protocol) struct Members(String);

impl Members {
    pub(in crate::protocol) fn push(&mut self, name: &str, value: &RawValue) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(&serde_json::to_string(name).expect("a string is JSON"));
        self.0.push(':');
        self.0.push_str(value.get());
    }

    /// Returns the members as an object, or `None` when there are none.
    pub(in crate::protocol) fn into_object(self) -> Option<RawJson> {
        (!self.0.is_empty()).then(|| whole(&format!("{{{}}}", self.0)))
    }
}

/// Returns `{"envelope":{…},"payload":{…},"object":{…}}` of the places that hold anything.
pub(in crate::protocol) fn by_place(envelope: Members, payload: Members, object: Members) -> Option<RawJson> {
    if [&envelope, &payload, &object].iter().all(|members| members.0.is_empty()) {
        return None;
    }
    let mut places = Members::default();
    for (name, members) in [("envelope", envelope), ("payload", payload), ("object", object)] {
        if !members.0.is_empty() {
            let comma = if places.0.is_empty() { "" } else { "," };
            places.0.push_str(&format!("{comma}\"{name}\":{{{}}}", members.0));
        }
    }
    places.into_object()
}

fn whole(object: &str) -> RawJson {
    RawJson::new(object).expect("names and values that were JSON make an object")
}

/// Returns how many objects an array holds; `None` when `json` is no array or holds anything else.
///
/// `json` must be valid; then a look at the characters is enough, which keeps this cheap on every message.
pub(in crate::protocol) fn object_count(json: &str) -> Option<usize> {
    let mut bytes = json.bytes();
    if bytes.next() != Some(b'[') {
        return None;
    }
    let (mut depth, mut count) = (1_usize, 0);
    while let Some(byte) = bytes.next() {
        match (byte, depth) {
            (b'{', 1) => {
                count += 1;
                depth = 2;
            }
            (b']', 1) => return Some(count),
            (b',' | b' ' | b'\t' | b'\n' | b'\r', 1) => {}
            (_, 1) => return None,
            (b'{' | b'[', _) => depth += 1,
            (b'}' | b']', _) => depth -= 1,
            (b'"', _) => skip_string(&mut bytes),
            _ => {}
        }
    }
    None
}

fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'"' => return,
            _ => {}
        }
    }
}

/// Defines objects of the wire. Every member may be absent or null, but none may come twice; members that
/// are not listed are kept in `unknown`, save `@type`, which says nothing that the event does not say.
macro_rules! wire_objects {
    ($($(#[$doc:meta])* $name:ident<$lifetime:lifetime $(, $object:ident)?> {
        $($field:ident = $wire:literal: $type:ty,)*
    })*) => {$(
        $(#[$doc])*
        pub(super) struct $name<$lifetime $(, $object)?> {
            $(pub(super) $field: Option<$type>,)*
            pub(super) unknown: $crate::protocol::wire::Members,
            borrowed: std::marker::PhantomData<&$lifetime ()>,
        }

        const _: () = {
            use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
            use serde_json::value::RawValue;
            use std::borrow::Cow;
            use std::{fmt, marker::PhantomData};

            #[expect(non_camel_case_types, reason = "named like the fields they stand for")]
            enum Member<'k> {
                $($field,)*
                __type,
                __unknown(Cow<'k, str>),
            }

            struct MemberVisitor;

            impl<'k> Visitor<'k> for MemberVisitor {
                type Value = Member<'k>;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a member")
                }

                fn visit_borrowed_str<E: Error>(self, name: &'k str) -> Result<Member<'k>, E> {
                    Ok(match name {
                        $($wire => Member::$field,)*
                        "@type" => Member::__type,
                        _ => Member::__unknown(Cow::Borrowed(name)),
                    })
                }

                fn visit_str<E: Error>(self, name: &str) -> Result<Member<'k>, E> {
                    Ok(match name {
                        $($wire => Member::$field,)*
                        "@type" => Member::__type,
                        _ => Member::__unknown(Cow::Owned(name.to_owned())),
                    })
                }
            }

            impl<'de> Deserialize<'de> for Member<'de> {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserializer.deserialize_identifier(MemberVisitor)
                }
            }

            struct ObjectVisitor<T>(PhantomData<T>);

            impl<'de $(, $object: Deserialize<'de>)?> Visitor<'de> for ObjectVisitor<$name<'de $(, $object)?>> {
                type Value = $name<'de $(, $object)?>;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
                    let mut object = $name { $($field: None,)* unknown: Default::default(), borrowed: PhantomData };
                    while let Some(key) = members.next_key()? {
                        match key {
                            $(Member::$field => {
                                if object.$field.is_some() {
                                    return Err(A::Error::duplicate_field($wire));
                                }
                                object.$field = members.next_value()?;
                            })*
                            Member::__type => _ = members.next_value::<IgnoredAny>()?,
                            Member::__unknown(name) => object.unknown.push(&name, members.next_value::<&RawValue>()?),
                        }
                    }
                    Ok(object)
                }
            }

            impl<'de $(, $object: Deserialize<'de>)?> Deserialize<'de> for $name<'de $(, $object)?> {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserializer.deserialize_map(ObjectVisitor(PhantomData))
                }
            }
        };
    )*};
}

pub(in crate::protocol) use wire_objects;
