use crate::model::RawJson;
use serde::Serialize;
use serde_json::value::RawValue;

/// Writes a whole frame.
pub(in crate::protocol) fn document(fill: impl FnOnce(&mut Object<'_>)) -> String {
    let mut out = Vec::with_capacity(512);
    Object::write(&mut out, fill);
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn value(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("plain values are JSON, and memory takes any");
}

/// A JSON object being written, member by member.
pub(in crate::protocol) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl Object<'_> {
    fn write(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
        out.push(b'{');
        fill(&mut Object { out, empty: true });
        out.push(b'}');
    }

    fn name(&mut self, name: &str) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        value(self.out, name);
        self.out.push(b':');
    }

    pub(in crate::protocol) fn member(&mut self, name: &str, what: &(impl Serialize + ?Sized)) {
        self.name(name);
        value(self.out, what);
    }

    /// Writes the member if there is a value.
    pub(in crate::protocol) fn optional(&mut self, name: &str, what: &Option<impl Serialize>) {
        if let Some(what) = what {
            self.member(name, what);
        }
    }

    /// Writes a value as the text it is.
    pub(in crate::protocol) fn raw(&mut self, name: &str, json: &RawJson) {
        self.name(name);
        self.out.extend_from_slice(json.as_str().as_bytes());
    }

    pub(in crate::protocol) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        Object::write(self.out, fill);
    }

    pub(in crate::protocol) fn array(&mut self, name: &str, fill: impl FnOnce(&mut Array<'_>)) {
        self.name(name);
        Array::write(self.out, fill);
    }

    /// Writes the members of another object; what is no object has none.
    pub(in crate::protocol) fn splice(&mut self, object: Option<&RawValue>) {
        let inside = object.and_then(|object| object.get().strip_prefix('{')?.strip_suffix('}')).map(str::trim);
        let Some(inside) = inside.filter(|inside| !inside.is_empty()) else { return };
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.extend_from_slice(inside.as_bytes());
    }
}

/// A JSON array being written, item by item.
pub(in crate::protocol) struct Array<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl Array<'_> {
    fn write(out: &mut Vec<u8>, fill: impl FnOnce(&mut Array<'_>)) {
        out.push(b'[');
        fill(&mut Array { out, empty: true });
        out.push(b']');
    }

    fn comma(&mut self) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
    }

    pub(in crate::protocol) fn item(&mut self, what: &(impl Serialize + ?Sized)) {
        self.comma();
        value(self.out, what);
    }

    /// Writes a value as the text it is.
    pub(in crate::protocol) fn raw(&mut self, json: &RawJson) {
        self.comma();
        self.out.extend_from_slice(json.as_str().as_bytes());
    }

    pub(in crate::protocol) fn object(&mut self, fill: impl FnOnce(&mut Object<'_>)) {
        self.comma();
        Object::write(self.out, fill);
    }

    pub(in crate::protocol) fn array(&mut self, fill: impl FnOnce(&mut Array<'_>)) {
        self.comma();
        Array::write(self.out, fill);
    }
}
