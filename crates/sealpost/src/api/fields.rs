//! Reading the members of a small JSON object: every wrong one is reported, not only the first, and a member that
//! nobody asked for is refused by name.

use serde_json::{Map, Value};

use super::problem::{Detail, Location, Problem};

pub(super) struct Fields {
    members: Map<String, Value>,
    errors: Vec<Detail>,
}

impl Fields {
    pub(super) fn of(body: Value) -> Result<Self, Problem> {
        match body {
            Value::Object(members) => Ok(Self { members, errors: Vec::new() }),
            _ => Err(Problem::invalid(Location::Body, "", "must be an object", None)),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    pub(super) fn refuse(&mut self, param: impl Into<String>, msg: impl ToString, value: Option<Value>) {
        self.errors.push(Detail::new(Location::Body, param, msg, value));
    }

    /// A member that may be missing.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.members.shift_remove(name)?;
        match read(&value) {
            Ok(read) => Some(read),
            Err(msg) => {
                self.refuse(name, msg, Some(value));
                None
            }
        }
    }

    /// A member that must be there.
    pub(super) fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        if !self.has(name) {
            self.refuse(name, "Invalid value", None);
        }
        self.optional(name, read)
    }

    /// An array; each wrong item is reported by its position.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        read: impl Fn(&Value) -> Result<T, String>,
        check: impl FnOnce(&[T]) -> Result<(), (usize, String)>,
    ) -> Option<Vec<T>> {
        let items = self
            .required(name, |value| value.as_array().cloned().ok_or_else(|| "must be an array".to_owned()))?;
        let before = self.errors.len();
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match read(item) {
                Ok(read) => list.push(read),
                Err(msg) => self.refuse(format!("{name}[{index}]"), msg, Some(item.clone())),
            }
        }
        if self.errors.len() == before
            && let Err((index, msg)) = check(&list)
        {
            match items.get(index) {
                Some(item) => self.refuse(format!("{name}[{index}]"), msg, Some(item.clone())),
                None => self.refuse(name, msg, Some(Value::Array(items))),
            }
        }
        (self.errors.len() == before).then_some(list)
    }

    /// Reports everything that was wrong, and every member that is left over.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        for (name, value) in std::mem::take(&mut self.members) {
            self.refuse(name, "Unknown field", Some(value));
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::Invalid(self.errors)) }
    }
}

pub(super) fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "must be a string".into())
}

pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "must be a boolean".into())
}

/// A string of some closed spelling: a time, an id, a type's name.
pub(super) fn parsed<T: std::str::FromStr>(value: &Value) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text(value)?.parse().map_err(|error: T::Err| error.to_string())
}
