//! [`TableShape`]: how a table's keys and values are written, beyond the bytes; kept with every commit to its changelog.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::codec::Codec;
use crate::shape::Shape;

/// It goes with every commit: of a type for which this is too little, what is nested deepest is left out.
const MAX_BYTES: usize = 2000;

/// See the module. Of keys and of values: the codec's format, and, if it goes by position, the type's [`Shape`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableShape {
    /// Of keys.
    pub keys: Arc<str>,
    /// Of values.
    pub values: Arc<str>,
}

impl TableShape {
    pub(crate) fn new<K: 'static, V: 'static>(keys: &dyn Codec<K>, values: &dyn Codec<V>) -> Self {
        Self {
            keys: written(keys).into(),
            values: written(values).into(),
        }
    }

    /// Whether all of it could be found out. Two builds may differ in what they find of one and the same type.
    pub fn is_known(&self) -> bool {
        let is_known = |text: &str| match text.split_once(' ') {
            Some((_, shape)) => shape.parse().is_ok_and(|shape: Shape| shape.is_known()),
            None => true,
        };
        is_known(&self.keys) && is_known(&self.values)
    }

    /// What keeps a table of this shape from reading what one of the shape `then` wrote, as a sentence, if anything.
    pub fn change_since(&self, then: &Self) -> Option<String> {
        if self == then {
            return None;
        }
        let keys = changed(&then.keys, &self.keys).map(|change| format!("its keys were {change}"));
        keys.or_else(|| {
            changed(&then.values, &self.values).map(|change| format!("its values were {change}"))
        })
    }
}

impl fmt::Display for TableShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.keys, self.values)
    }
}

fn written<T: 'static>(codec: &dyn Codec<T>) -> String {
    let format = codec.format().name();
    match codec.shape() {
        Some(shape) => format!("{format} {}", shape.within_bytes(MAX_BYTES)),
        None => format.to_owned(),
    }
}

fn changed(then: &str, now: &str) -> Option<String> {
    let parts = |text: &str| {
        let (format, shape) = text.split_once(' ').unwrap_or((text, ""));
        // What cannot be read is of a version that knows more kinds of shapes.
        (format.to_owned(), shape.parse::<Shape>().ok())
    };
    match (parts(then), parts(now)) {
        ((format, then), (same, now)) if format == same => {
            now?.change_since(&then?).map(|change| change.to_string())
        }
        _ => Some(format!("{then} and are {now}")),
    }
}
