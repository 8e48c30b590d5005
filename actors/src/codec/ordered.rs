//! [`Ordered`]: the codec of keys whose bytes sort as the keys do.

mod read;
#[cfg(test)]
mod tests;
mod write;

use memcomparable::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, CodecError, Format, all_read};
use crate::shape::{Shape, asks_its_bytes};
use read::Reader;
use write::Writer;

/// [`memcomparable`]'s format: the bytes sort as the values do, so that a table can be read in the order of its keys.
///
/// That order is the one of `#[derive(PartialOrd)]` for types with serde's derived form: field by field, variants as
/// they are declared. A type with a form of its own sorts as that form: a date that is written as text sorts as text.
///
/// Some types have no such form, and need another codec. A map (and so a struct with a `flatten`), a field that
/// `skip_serializing_if` leaves out, and a variant of an enum behind its 256th are errors when they are written. An enum
/// that is `untagged` or has a `tag` asks the bytes what they are: an app with a table of such keys does not start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ordered;

impl<T: Serialize + DeserializeOwned> Codec<T> for Ordered {
    fn encode(&self, value: &T, into: &mut Vec<u8>) -> Result<(), CodecError> {
        value
            .serialize(&mut Writer::new(into))
            .map_err(CodecError::new)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, CodecError> {
        let mut reader = Reader::new(bytes);
        let value = T::deserialize(&mut reader).map_err(CodecError::new)?;
        all_read(bytes, reader.read())?;
        Ok(value)
    }

    fn format(&self) -> Format {
        Format::Ordered
    }

    fn shape(&self) -> Option<Shape> {
        Some(Shape::of::<T>())
    }

    fn reads_back(&self) -> bool {
        !asks_its_bytes::<T>()
    }
}

/// The error of what has no such bytes.
fn unfit(what: &str) -> Error {
    Error::Message(format!(
        "{what} has no place in keys that sort as their bytes: give them another codec"
    ))
}
