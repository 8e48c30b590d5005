//! [`Shape`]: what a type is made of, as far as a codec that goes by position can tell: which fields follow each other, by
//! their names, and of which types. Two types may read each other's bytes and not mean the same; their shapes differ.
//!
//! ```text
//! u64   str   {page: str, visits: u64}   (u8, str)   [u8; 16]   [str]   [str => u64]   u64?   <Web | App u32>
//! ```
//!
//! `^1` is the type one level up, which contains itself; `_` is what is not known, and is like everything.

mod node;
mod text;
mod trace;

use std::fmt;

use serde::de::DeserializeOwned;

pub use text::NotAShape;

/// See the module. Read from its text, and written as such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(pub(crate) Kind);

/// What a [`Shape`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Could not be found out.
    Unknown,
    /// A type of serde's data model that has no parts.
    Plain(String),
    Option(Box<Kind>),
    Sequence(Box<Kind>),
    Map(Box<(Kind, Kind)>),
    /// A tuple of three or more that are alike.
    Array(Box<Kind>, usize),
    Tuple(Vec<Kind>),
    /// Fields in their order; a name that is not known is empty.
    Struct(Vec<(String, Kind)>),
    /// Variants in their order; likewise. One without content is `()`.
    Enum(Vec<(String, Kind)>),
    /// The type so many above, which contains itself.
    Again(usize),
}

/// What was another when something was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where, by the names of fields; empty if it is the whole.
    pub at: String,
    /// What it was.
    pub then: Shape,
    /// What it is.
    pub now: Shape,
}

impl Shape {
    /// The shape of `T`, found out by having serde make some values of it. What cannot be made that way (a type that takes
    /// only certain strings, for example) is not known from there on.
    pub fn of<T: DeserializeOwned>() -> Self {
        Self(trace::trace::<T>().kind)
    }

    /// Whether nothing of it is left open.
    pub fn is_known(&self) -> bool {
        is_known(&self.0)
    }

    /// The same, without what is nested deepest, if its text is longer than `limit`.
    pub(crate) fn within_bytes(self, limit: usize) -> Self {
        let whole = std::iter::once(self.clone());
        let mut cuts = whole.chain(
            (0..trace::MAX_DEPTH)
                .rev()
                .map(|depth| Self(cut(&self.0, depth))),
        );
        cuts.find(|shape| shape.to_string().len() <= limit)
            .unwrap_or(Self(Kind::Unknown))
    }

    /// What keeps `self` from reading what was written as `then`, if anything. Variants that came behind those of an enum
    /// do not.
    pub fn change_since(&self, then: &Self) -> Option<Change> {
        change(&mut Vec::new(), &then.0, &self.0)
    }
}

/// Whether a `T` can only be read from bytes that say what they are, as JSON's and MessagePack's do, and those of codecs that
/// go by position do not: serde's `tag`, `untagged` and `flatten` make such types, and [`serde_json::Value`] is one.
pub fn asks_its_bytes<T: DeserializeOwned>() -> bool {
    trace::trace::<T>().asks
}

fn change(at: &mut Vec<String>, then: &Kind, now: &Kind) -> Option<Change> {
    match (then, now) {
        (Kind::Unknown, _) | (_, Kind::Unknown) => None,
        (Kind::Option(then), Kind::Option(now)) | (Kind::Sequence(then), Kind::Sequence(now)) => {
            change(at, then, now)
        }
        (Kind::Array(then, a), Kind::Array(now, b)) if a == b => change(at, then, now),
        (Kind::Map(then), Kind::Map(now)) => {
            change(at, &then.0, &now.0).or_else(|| change(at, &then.1, &now.1))
        }
        (Kind::Tuple(these), Kind::Tuple(those)) if these.len() == those.len() => {
            let mut parts = these.iter().zip(those).enumerate();
            parts.find_map(|(place, (then, now))| within(at, &place.to_string(), then, now))
        }
        (Kind::Struct(these), Kind::Struct(those))
            if these.len() == those.len() && same_names(these, those) =>
        {
            parts(at, these, those)
        }
        (Kind::Enum(these), Kind::Enum(those))
            if these.len() <= those.len() && same_names(these, those) =>
        {
            parts(at, these, those)
        }
        (then, now) if then == now => None,
        (then, now) => Some(Change {
            at: at.join("."),
            then: Shape(then.clone()),
            now: Shape(now.clone()),
        }),
    }
}

fn is_known(kind: &Kind) -> bool {
    let are_known = |parts: &[(String, Kind)]| {
        let mut parts = parts.iter();
        parts.all(|(name, kind)| !name.is_empty() && is_known(kind))
    };
    match kind {
        Kind::Unknown => false,
        Kind::Plain(_) | Kind::Again(_) => true,
        Kind::Option(kind) | Kind::Sequence(kind) | Kind::Array(kind, _) => is_known(kind),
        Kind::Map(entry) => is_known(&entry.0) && is_known(&entry.1),
        Kind::Tuple(parts) => parts.iter().all(is_known),
        Kind::Struct(parts) | Kind::Enum(parts) => are_known(parts),
    }
}

/// What is deeper is not known.
fn cut(kind: &Kind, depth: usize) -> Kind {
    let Some(depth) = depth.checked_sub(1) else {
        return Kind::Unknown;
    };
    let named = |parts: &[(String, Kind)]| {
        let parts = parts.iter();
        parts
            .map(|(name, kind)| (name.clone(), cut(kind, depth)))
            .collect()
    };
    match kind {
        Kind::Option(some) => Kind::Option(Box::new(cut(some, depth))),
        Kind::Sequence(item) => Kind::Sequence(Box::new(cut(item, depth))),
        Kind::Array(item, count) => Kind::Array(Box::new(cut(item, depth)), *count),
        Kind::Map(entry) => Kind::Map(Box::new((cut(&entry.0, depth), cut(&entry.1, depth)))),
        Kind::Tuple(parts) => Kind::Tuple(parts.iter().map(|part| cut(part, depth)).collect()),
        Kind::Struct(fields) => Kind::Struct(named(fields)),
        Kind::Enum(variants) => Kind::Enum(named(variants)),
        Kind::Unknown | Kind::Plain(_) | Kind::Again(_) => kind.clone(),
    }
}

fn parts(
    at: &mut Vec<String>,
    these: &[(String, Kind)],
    those: &[(String, Kind)],
) -> Option<Change> {
    let mut parts = these.iter().zip(those);
    parts.find_map(|((name, then), (_, now))| within(at, name, then, now))
}

fn within(at: &mut Vec<String>, name: &str, then: &Kind, now: &Kind) -> Option<Change> {
    at.push(name.to_owned());
    let found = change(at, then, now);
    at.pop();
    found
}

fn same_names(these: &[(String, Kind)], those: &[(String, Kind)]) -> bool {
    let mut names = these.iter().zip(those);
    names.all(|((a, _), (b, _))| a.is_empty() || b.is_empty() || a == b)
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} then and {} now", self.then, self.now)?;
        match &*self.at {
            "" => Ok(()),
            at => write!(f, ", in `{at}`"),
        }
    }
}

#[cfg(test)]
mod tests;
