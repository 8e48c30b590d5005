//! [`Codec`]: between values and the bytes of keys and values. An own codec is one `impl`.
//!
//! | codec | for | default of |
//! | --- | --- | --- |
//! | [`Json`] | any serde type; readable by everybody | values of topics |
//! | [`Bincode`] | any serde type; small and fast, readable by Tanist | values of tables, and behind `map` and `group_by` |
//! | [`MessagePack`] | any serde type; small, readable by many languages | |
//! | [`Utf8`] | `String` | keys that are strings |
//! | [`Raw`] | `Vec<u8>` | keys and values that are bytes |
//! | [`Ordered`] | any serde type; bytes sort as the values do | keys of tables that are neither strings nor bytes |
//! | [`Nullable`] | `Option<T>` by the codec of `T`; `None` is Kafka's null | optional strings and bytes |

mod ordered;

use std::any::{Any, TypeId};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::shape::{Shape, asks_its_bytes};

pub use ordered::Ordered;

/// The most that a decoder of ours takes memory for, whatever a length field in the data says: 64 MiB.
pub const DECODE_LIMIT_BYTES: usize = 64 << 20;

/// Turns a `T` into bytes and back. `decode(encode(x))` is `x`; `decode` never panics, whatever it is given.
pub trait Codec<T>: Send + Sync + 'static {
    /// Appends the bytes of `value` to `into`.
    fn encode(&self, value: &T, into: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Reads a value from all of `bytes`.
    fn decode(&self, bytes: &[u8]) -> Result<T, CodecError>;

    /// What Kafka's null means: an error, unless the type has a value for it.
    fn decode_null(&self) -> Result<T, CodecError> {
        Err(CodecError::new(
            "it is null, and the type has no value for that: use `Option` and `Nullable`",
        ))
    }

    /// True if `value` is written as Kafka's null.
    fn is_null(&self, _value: &T) -> bool {
        false
    }

    /// The first byte of a table's stored value, so that a value in another format is noticed.
    fn format(&self) -> Format {
        Format::Own
    }

    /// What the bytes mean by position alone, if they do: a table whose type has another shape than what it holds is refused.
    /// None for codecs that write names, or read what older ones wrote. [`Shape::of`] finds it out.
    fn shape(&self) -> Option<Shape> {
        None
    }

    /// False if it could not read what it writes, by what is seen from the type ([`asks_its_bytes`]): a table that had such
    /// values would lose them.
    fn reads_back(&self) -> bool {
        true
    }
}

/// In what format a stored value is. Its number is the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Format {
    /// [`Bincode`].
    Bincode = 1,
    /// [`Json`].
    Json = 2,
    /// [`MessagePack`].
    MessagePack = 3,
    /// [`Utf8`].
    Utf8 = 4,
    /// [`Raw`].
    Raw = 5,
    /// [`Ordered`].
    Ordered = 6,
    /// A codec of the app's own.
    Own = 7,
}

impl Format {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bincode => "bincode",
            Self::Json => "json",
            Self::MessagePack => "messagepack",
            Self::Utf8 => "utf8",
            Self::Raw => "raw",
            Self::Ordered => "ordered",
            Self::Own => "own",
        }
    }
}

/// True if `value` begins as a stored value does.
pub(crate) fn is_known_format(value: &[u8]) -> bool {
    value.len() >= 2 && (Format::Bincode as u8..=Format::Own as u8).contains(&value[0])
}

/// Bytes that are not what they should be, or a value that has no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(String);

impl CodecError {
    /// With what is wrong, and where in the bytes if that is known.
    pub fn new(reason: impl ToString) -> Self {
        Self(reason.to_string())
    }
}

/// JSON, as [`serde_json`] has it. Null reads as JSON's `null`, so an `Option` takes a tombstone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(&self, value: &T, into: &mut Vec<u8>) -> Result<(), CodecError> {
        serde_json::to_writer(into, value).map_err(CodecError::new)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, CodecError> {
        // Checked as a whole, not string by string: of the strings of a record most are the names of its fields, and short.
        // What is wrong may be in a field that nobody reads.
        match std::str::from_utf8(bytes) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(bytes),
        }
        .map_err(CodecError::new)
    }

    fn decode_null(&self) -> Result<T, CodecError> {
        self.decode(b"null")
    }

    fn format(&self) -> Format {
        Format::Json
    }
}

/// [`bincode`] 2 in its standard configuration, through serde.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bincode;

impl<T: Serialize + DeserializeOwned> Codec<T> for Bincode {
    fn encode(&self, value: &T, into: &mut Vec<u8>) -> Result<(), CodecError> {
        bincode::serde::encode_into_std_write(value, into, bincode::config::standard())
            .map(drop)
            .map_err(CodecError::new)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, CodecError> {
        let config = bincode::config::standard().with_limit::<DECODE_LIMIT_BYTES>();
        let (value, read) =
            bincode::serde::decode_from_slice(bytes, config).map_err(CodecError::new)?;
        all_read(bytes, read)?;
        Ok(value)
    }

    fn format(&self) -> Format {
        Format::Bincode
    }

    fn shape(&self) -> Option<Shape> {
        Some(Shape::of::<T>())
    }

    fn reads_back(&self) -> bool {
        !asks_its_bytes::<T>()
    }
}

/// [MessagePack](https://msgpack.org), structs as maps with field names, so that fields can be added.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessagePack;

impl<T: Serialize + DeserializeOwned> Codec<T> for MessagePack {
    fn encode(&self, value: &T, into: &mut Vec<u8>) -> Result<(), CodecError> {
        rmp_serde::encode::write_named(into, value).map_err(CodecError::new)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, CodecError> {
        let mut rest = bytes;
        let value = rmp_serde::from_read(&mut rest).map_err(CodecError::new)?;
        all_read(bytes, bytes.len() - rest.len())?;
        Ok(value)
    }

    fn format(&self) -> Format {
        Format::MessagePack
    }
}

fn all_read(bytes: &[u8], read: usize) -> Result<(), CodecError> {
    match bytes.len().checked_sub(read) {
        Some(0) => Ok(()),
        Some(left) => Err(CodecError::new(format!(
            "{left} bytes are left over behind the value"
        ))),
        None => Err(CodecError::new("the bytes end in the middle of the value")),
    }
}

/// A string as its UTF-8 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8;

impl Codec<String> for Utf8 {
    fn encode(&self, value: &String, into: &mut Vec<u8>) -> Result<(), CodecError> {
        into.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, CodecError> {
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(CodecError::new)
    }

    fn format(&self) -> Format {
        Format::Utf8
    }
}

/// Bytes as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec<Vec<u8>> for Raw {
    fn encode(&self, value: &Vec<u8>, into: &mut Vec<u8>) -> Result<(), CodecError> {
        into.extend_from_slice(value);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
        Ok(bytes.to_vec())
    }

    fn format(&self) -> Format {
        Format::Raw
    }
}

/// `Option<T>` by the codec of `T`: `None` is Kafka's null.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nullable<C>(pub C);

impl<T, C: Codec<T>> Codec<Option<T>> for Nullable<C> {
    fn encode(&self, value: &Option<T>, into: &mut Vec<u8>) -> Result<(), CodecError> {
        value
            .as_ref()
            .map_or(Ok(()), |value| self.0.encode(value, into))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Option<T>, CodecError> {
        self.0.decode(bytes).map(Some)
    }

    fn decode_null(&self) -> Result<Option<T>, CodecError> {
        Ok(None)
    }

    fn is_null(&self, value: &Option<T>) -> bool {
        value.is_none()
    }

    fn format(&self) -> Format {
        self.0.format()
    }

    fn shape(&self) -> Option<Shape> {
        self.0.shape()
    }

    fn reads_back(&self) -> bool {
        self.0.reads_back()
    }
}

/// A codec that is shared by all that use a topic or table.
pub type SharedCodec<T> = Arc<dyn Codec<T>>;

/// What a type may be to have a default codec.
pub trait Data: Serialize + DeserializeOwned + 'static {}
impl<T: Serialize + DeserializeOwned + 'static> Data for T {}

/// The default codec of keys and values of topics: strings as UTF-8, bytes as they are, all else JSON.
///
/// A value that is a `String` is JSON too: it stands beside numbers and objects in topics that others read.
pub fn default_key_codec<T: Data>() -> SharedCodec<T> {
    plain_codec().unwrap_or_else(|| Arc::new(Json))
}

/// See [`default_key_codec`].
pub fn default_value_codec<T: Data>() -> SharedCodec<T> {
    bytes_codec().unwrap_or_else(|| Arc::new(Json))
}

/// The default codec of a table's keys: strings as UTF-8, bytes as they are (so that they are the keys of the topic
/// too), all else [`Ordered`].
pub fn default_table_key_codec<T: Data>() -> SharedCodec<T> {
    plain_codec().unwrap_or_else(|| Arc::new(Ordered))
}

/// The default codec of values that the app alone reads: those of tables, and what [`map`](crate::stream::Stream::map) has made
/// when it goes through [`group_by`](crate::stream::Stream::group_by):
/// [`Bincode`], or, for a type that asks the bytes what they are, [`MessagePack`].
pub fn default_own_codec<T: Data>() -> SharedCodec<T> {
    match asks_its_bytes::<T>() {
        true => Arc::new(MessagePack),
        false => Arc::new(Bincode),
    }
}

fn plain_codec<T: 'static>() -> Option<SharedCodec<T>> {
    bytes_codec()
        .or_else(|| same_type::<String, T>(Arc::new(Utf8)))
        .or_else(|| same_type::<Option<String>, T>(Arc::new(Nullable(Utf8))))
}

fn bytes_codec<T: 'static>() -> Option<SharedCodec<T>> {
    same_type::<Vec<u8>, T>(Arc::new(Raw))
        .or_else(|| same_type::<Option<Vec<u8>>, T>(Arc::new(Nullable(Raw))))
}

/// `codec`, if `A` and `B` are one type: the choice by type that stable Rust has.
fn same_type<A: 'static, B: 'static>(codec: SharedCodec<A>) -> Option<SharedCodec<B>> {
    if TypeId::of::<A>() != TypeId::of::<B>() {
        return None;
    }
    (Box::new(codec) as Box<dyn Any>)
        .downcast::<SharedCodec<B>>()
        .ok()
        .map(|codec| *codec)
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Order {
        account_id: String,
        amount: u32,
        price: Option<f64>,
    }

    fn returns<T: PartialEq + Debug + 'static>(codec: &dyn Codec<T>, value: &T) {
        let mut bytes = Vec::new();
        codec.encode(value, &mut bytes).unwrap();
        assert_eq!(codec.decode(&bytes).as_ref(), Ok(value));
        if !bytes.is_empty() {
            // A cut value is an error or another value, but no panic.
            let _ = codec.decode(&bytes[..bytes.len() - 1]);
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(account_id: String, amount: u32, price in proptest::option::of(-1e9..1e9f64)) {
            let order = Order { account_id: account_id.clone(), amount, price };
            returns(&Json, &order);
            returns(&Bincode, &order);
            returns(&MessagePack, &order);
            returns(&Ordered, &(account_id.clone(), amount));
            returns(&Utf8, &account_id);
            returns(&Raw, &account_id.into_bytes());
        }

        #[test]
        fn garbage_is_an_error_and_no_panic(bytes: Vec<u8>) {
            let _ = Codec::<Order>::decode(&Json, &bytes);
            let _ = Codec::<Order>::decode(&Bincode, &bytes);
            let _ = Codec::<Order>::decode(&MessagePack, &bytes);
            let _ = Codec::<(String, u32)>::decode(&Ordered, &bytes);
            let _ = Utf8.decode(&bytes);
        }
    }

    #[test]
    fn trailing_bytes_are_an_error() {
        assert!(Codec::<u8>::decode(&Bincode, &[1, 2]).is_err());
        assert!(Codec::<u8>::decode(&MessagePack, &[1, 2]).is_err());
    }

    #[test]
    fn strings_and_bytes_are_keys_as_they_are_and_the_rest_is_json() {
        let mut bytes = Vec::new();
        default_key_codec::<String>()
            .encode(&"a17".to_owned(), &mut bytes)
            .unwrap();
        default_key_codec::<Vec<u8>>()
            .encode(&vec![0, 1], &mut bytes)
            .unwrap();
        default_key_codec::<u32>().encode(&7, &mut bytes).unwrap();
        default_value_codec::<String>()
            .encode(&"x".to_owned(), &mut bytes)
            .unwrap();
        assert_eq!(bytes, b"a17\x00\x017\"x\"");
    }

    #[test]
    fn null_is_none_and_an_error_where_there_is_no_none() {
        assert_eq!(
            default_key_codec::<Option<String>>().decode_null(),
            Ok(None)
        );
        assert_eq!(
            default_value_codec::<Option<Order>>().decode_null(),
            Ok(None)
        );
        assert!(default_key_codec::<String>().decode_null().is_err());
        assert!(default_key_codec::<Option<Vec<u8>>>().is_null(&None));
    }
}
