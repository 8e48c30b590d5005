//! Shapes as text.

use std::fmt;
use std::str::FromStr;

use super::{Kind, Shape};

/// A text that is no shape that this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the shape of a type, or one of a newer version")]
pub struct NotAShape;

/// A text is not followed deeper than that.
const MAX_DEPTH: usize = 100;

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(&self.0, f)
    }
}

fn write(kind: &Kind, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match kind {
        Kind::Unknown => f.write_str("_"),
        Kind::Plain(name) => f.write_str(name),
        Kind::Option(some) => {
            write(some, f)?;
            f.write_str("?")
        }
        Kind::Sequence(item) => {
            f.write_str("[")?;
            write(item, f)?;
            f.write_str("]")
        }
        Kind::Map(entry) => {
            f.write_str("[")?;
            write(&entry.0, f)?;
            f.write_str(" => ")?;
            write(&entry.1, f)?;
            f.write_str("]")
        }
        Kind::Array(item, count) => {
            f.write_str("[")?;
            write(item, f)?;
            write!(f, "; {count}]")
        }
        Kind::Tuple(parts) => {
            f.write_str("(")?;
            each(parts, ", ", f, write)?;
            f.write_str(")")
        }
        Kind::Struct(fields) => {
            f.write_str("{")?;
            each(fields, ", ", f, |(name, kind), f| {
                write_name(name, f)?;
                f.write_str(": ")?;
                write(kind, f)
            })?;
            f.write_str("}")
        }
        Kind::Enum(variants) => {
            f.write_str("<")?;
            each(variants, " | ", f, |(name, kind), f| {
                write_name(name, f)?;
                if *kind != Kind::Tuple(Vec::new()) {
                    f.write_str(" ")?;
                    write(kind, f)?;
                }
                Ok(())
            })?;
            f.write_str(">")
        }
        Kind::Again(levels) => write!(f, "^{levels}"),
    }
}

fn each<T>(
    parts: &[T],
    between: &str,
    f: &mut fmt::Formatter<'_>,
    write: impl Fn(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            f.write_str(between)?;
        }
        write(part, f)?;
    }
    Ok(())
}

fn is_of_name(char: char) -> bool {
    char.is_alphanumeric() || "_-.".contains(char)
}

fn write_name(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match name {
        "" => f.write_str("_"),
        // Would read as one that is not known.
        "_" => f.write_str("\"_\""),
        name if name.chars().all(is_of_name) => f.write_str(name),
        name => f.write_str(&serde_json::Value::from(name).to_string()),
    }
}

impl FromStr for Shape {
    type Err = NotAShape;

    fn from_str(text: &str) -> Result<Self, NotAShape> {
        let mut reader = Reader { rest: text };
        let kind = reader.kind(0)?;
        match reader.rest {
            "" => Ok(Self(kind)),
            _ => Err(NotAShape),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn kind(&mut self, depth: usize) -> Result<Kind, NotAShape> {
        let mut kind = self.first(depth)?;
        while self.take("?") {
            kind = Kind::Option(Box::new(kind));
        }
        Ok(kind)
    }

    fn first(&mut self, depth: usize) -> Result<Kind, NotAShape> {
        if depth > MAX_DEPTH {
            return Err(NotAShape);
        }
        let depth = depth + 1;
        if self.take("[") {
            return self.in_brackets(depth);
        }
        if self.take("(") {
            let parts = self.list(", ", ")", |reader| reader.kind(depth))?;
            return Ok(Kind::Tuple(parts));
        }
        if self.take("{") {
            return Ok(Kind::Struct(self.list(", ", "}", |reader| {
                let name = reader.name()?;
                reader.expect(": ")?;
                Ok((name, reader.kind(depth)?))
            })?));
        }
        if self.take("<") {
            return Ok(Kind::Enum(self.list(" | ", ">", |reader| {
                let name = reader.name()?;
                let has_content = !reader.rest.starts_with(" | ") && reader.take(" ");
                let kind = match has_content {
                    true => reader.kind(depth)?,
                    false => Kind::Tuple(Vec::new()),
                };
                Ok((name, kind))
            })?));
        }
        if self.take("^") {
            return self.number().map(Kind::Again);
        }
        match self.word() {
            "" => Err(NotAShape),
            "_" => Ok(Kind::Unknown),
            plain => Ok(Kind::Plain(plain.to_owned())),
        }
    }

    /// After `[`.
    fn in_brackets(&mut self, depth: usize) -> Result<Kind, NotAShape> {
        let first = self.kind(depth)?;
        let kind = if self.take(" => ") {
            Kind::Map(Box::new((first, self.kind(depth)?)))
        } else if self.take("; ") {
            Kind::Array(Box::new(first), self.number()?)
        } else {
            Kind::Sequence(Box::new(first))
        };
        self.expect("]").map(|()| kind)
    }

    fn list<T>(
        &mut self,
        between: &str,
        end: &str,
        part: impl Fn(&mut Self) -> Result<T, NotAShape>,
    ) -> Result<Vec<T>, NotAShape> {
        let mut parts = Vec::new();
        while !self.take(end) {
            if !parts.is_empty() {
                self.expect(between)?;
            }
            parts.push(part(self)?);
        }
        Ok(parts)
    }

    fn name(&mut self) -> Result<String, NotAShape> {
        if self.rest.starts_with('"') {
            let mut names = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
            let name = names.next().and_then(Result::ok).ok_or(NotAShape)?;
            self.rest = &self.rest[names.byte_offset()..];
            return Ok(name);
        }
        match self.word() {
            "" => Err(NotAShape),
            "_" => Ok(String::new()),
            name => Ok(name.to_owned()),
        }
    }

    fn word(&mut self) -> &str {
        let end = self.rest.find(|char| !is_of_name(char));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn number(&mut self) -> Result<usize, NotAShape> {
        self.word().parse().map_err(|_| NotAShape)
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), NotAShape> {
        self.take(token).then_some(()).ok_or(NotAShape)
    }
}
