//! Whose wire shape a webhook speaks. A value, never a fork of the engine.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    Mattr,
    Truvera,
}

impl Dialect {
    pub const fn as_str(self) -> &'static str {
        match self {
            Dialect::Mattr => "mattr",
            Dialect::Truvera => "truvera",
        }
    }
}
