//! The query of a call: only what the route lists, each at most once.

use std::str::FromStr;

use sealpost_core::limits::{FILTER_VALUES_MAX, PAGE_DEFAULT, PAGE_MAX};
use sealpost_store::page::PageRequest;

use super::cursor;
use super::problem::{Location, Problem};
use super::route::{Param, ParamKind};

#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(raw: &str, known: &[Param]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let repeats = |name: &str| {
            known.iter().any(|param| param.name == name && matches!(param.kind, ParamKind::List))
        };
        for (name, value) in url::form_urlencoded::parse(raw.as_bytes()) {
            let msg = if !known.iter().any(|param| param.name == name) {
                "Unknown field"
            } else if !repeats(&name) && pairs.iter().any(|(earlier, _)| *earlier == name) {
                "Duplicate field"
            } else {
                pairs.push((name.into_owned(), value.into_owned()));
                continue;
            };
            return Err(Problem::invalid(Location::Query, &name, msg, Some(value.as_ref().into())));
        }
        Ok(Self(pairs))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter read by `read`; its words say what would be right.
    pub(super) fn read<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let refused = |msg| Problem::invalid(Location::Query, name, msg, Some(text.into()));
        read(text).map(Some).map_err(refused)
    }

    pub(super) fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, Problem>
    where
        T::Err: std::fmt::Display,
    {
        self.read(name, |text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    /// Values separated by commas, repeated, or both; `None` if the parameter is not there.
    pub(super) fn list<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, Problem> {
        let refused = |msg: &str, text: &str| Problem::invalid(Location::Query, name, msg, Some(text.into()));
        let mut values: Option<Vec<T>> = None;
        for (_, text) in self.0.iter().filter(|(known, _)| known == name) {
            for one in text.split(',').map(str::trim) {
                let values = values.get_or_insert_default();
                if values.len() == FILTER_VALUES_MAX {
                    return Err(refused(&format!("must be at most {FILTER_VALUES_MAX} values"), one));
                }
                values.push(read(one).map_err(|msg| refused(&msg, one))?);
            }
        }
        Ok(values)
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        let flag = self.read(name, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false".into()),
        })?;
        Ok(flag.unwrap_or(false))
    }

    pub(super) fn limit(&self) -> Result<u32, Problem> {
        Ok(self.whole("limit", 1, PAGE_MAX)?.unwrap_or(PAGE_DEFAULT))
    }

    pub(super) fn whole(&self, name: &str, least: u32, most: u32) -> Result<Option<u32>, Problem> {
        self.read(name, |text| {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            let number = text.parse().ok().filter(|number| digits && (least..=most).contains(number));
            number.ok_or_else(|| format!("must be a whole number from {least} to {most}"))
        })
    }

    /// `limit` and `cursor` of the lists that are ordered by time and id.
    pub(super) fn page<Id: FromStr>(&self) -> Result<PageRequest<Id>, Problem> {
        self.page_by(cursor::CREATED_AT)
    }

    /// `time`: what the cursor calls the time.
    pub(super) fn page_by<Id: FromStr>(&self, time: &str) -> Result<PageRequest<Id>, Problem> {
        let read = |text: &str| cursor::decode(time, text).ok_or_else(|| "Invalid value".into());
        let after = self.read("cursor", read)?;
        Ok(PageRequest { limit: self.limit()?, after })
    }
}
