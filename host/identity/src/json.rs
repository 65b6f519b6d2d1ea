//! JSON for hostile input: no duplicate names, a bounded depth, nothing after the end.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

pub(crate) type Object = Map<String, Value>;

/// An object, and only an object. The error says what and where, and quotes nothing.
pub(crate) fn object(bytes: &[u8], max_depth: usize) -> Result<Object, JsonError> {
    let mut input = serde_json::Deserializer::from_slice(bytes);
    let value = input
        .deserialize_any(Strict { depth: max_depth })
        .map_err(JsonError::of)?;
    input.end().map_err(JsonError::of)?;
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(JsonError {
            what: "not an object",
            line: 1,
            column: 1,
        }),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} (line {line}, column {column})")]
pub struct JsonError {
    what: &'static str,
    line: usize,
    column: usize,
}

const DUPLICATE: &str = "duplicate name";
const TOO_DEEP: &str = "nested too deeply";

impl JsonError {
    /// serde_json's own messages may quote the input.
    fn of(e: serde_json::Error) -> Self {
        let text = e.to_string();
        let what = [DUPLICATE, TOO_DEEP]
            .into_iter()
            .find(|known| text.starts_with(known))
            .unwrap_or("not JSON");
        Self {
            what,
            line: e.line(),
            column: e.column(),
        }
    }
}

#[derive(Clone, Copy)]
struct Strict {
    /// How many more levels may be opened.
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self
            .depth
            .checked_sub(1)
            .ok_or_else(|| E::custom(TOO_DEEP))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Number(v.into()))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Number::from_f64(v).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(value) = items.next_element_seed(inner)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom(DUPLICATE));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict() {
        let ok = |text: &str| object(text.as_bytes(), 3).unwrap();
        let what = |text: &str| object(text.as_bytes(), 3).unwrap_err().what;
        assert_eq!(
            ok(r#"{"a":[1,{"b":null}],"c":1.5,"d":-1,"e":true}"#).len(),
            4
        );
        for (text, expected) in [
            (r#"{"a":1,"a":1}"#, DUPLICATE),
            (r#"{"x":{"a":1,"\u0061":2}}"#, DUPLICATE),
            (r#"{"a":{"b":{"c":{}}}}"#, TOO_DEEP),
            (r#"{"a":[[[]]]}"#, TOO_DEEP),
            ("[]", "not an object"),
            ("", "not JSON"),
            ("{}{}", "not JSON"),
            ("{\"a\":1e999}", "not JSON"),
            ("{\"a\":\u{0}}", "not JSON"),
            (r#"{"a":1,}"#, "not JSON"),
        ] {
            assert_eq!(what(text), expected, "{text}");
        }
        assert!(object(b"{\"a\":\"\xff\"}", 3).is_err());
        // Deep enough to overflow a stack that trusts its input.
        let deep = "[".repeat(60_000);
        assert_eq!(what(&format!("{{\"a\":{deep}")), TOO_DEEP);
    }
}
