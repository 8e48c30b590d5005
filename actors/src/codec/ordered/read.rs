//! The deserializer of [`super::Ordered`].

use memcomparable::Error;
use serde::Deserialize;
use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, SeqAccess, VariantAccess, Visitor,
};

use super::unfit;

/// Has [`memcomparable`] read what has no parts, and takes the rest apart itself: its own deserializer says that people
/// read the format, and its serializer that they do not, so a type with a form for either could not be read again.
pub(super) struct Reader<'de>(memcomparable::Deserializer<Endless<'de>>);

impl<'de> Reader<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self(memcomparable::Deserializer::new(Endless { bytes, read: 0 }))
    }

    /// How many bytes it has read; more than there are, if they ended too early.
    pub(super) fn read(self) -> usize {
        self.0.into_inner().read
    }

    fn byte(&mut self) -> Result<u8, Error> {
        u8::deserialize(&mut self.0)
    }
}

macro_rules! read_plain {
    ($($deserialize:ident)*) => {$(
        fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.0.$deserialize(visitor)
        }
    )*};
}

/// What asks for these has to be told by the bytes what they are.
macro_rules! read_unknown {
    ($($deserialize:ident)*) => {$(
        fn $deserialize<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(unfit("what is not known before it is read"))
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    read_plain! {
        deserialize_bool deserialize_char deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_f32
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f64
    }

    read_unknown! { deserialize_any deserialize_ignored_any deserialize_identifier }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            byte => Err(Error::InvalidTagEncoding(byte.into())),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Parts {
            reader: self,
            left: None,
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        parts: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Parts {
            reader: self,
            left: Some(parts),
        })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        parts: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(parts, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(unfit("a map"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self)
    }
}

/// So many parts; or, if that is not known, as many as say that they are there.
struct Parts<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: Option<usize>,
}

impl<'de> SeqAccess<'de> for Parts<'_, 'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let is_there = match &mut self.left {
            Some(left) => {
                let is_there = *left > 0;
                *left -= usize::from(is_there);
                is_there
            }
            None => match self.reader.byte()? {
                0 => false,
                1 => true,
                byte => return Err(Error::InvalidSeqEncoding(byte)),
            },
        };
        is_there
            .then(|| seed.deserialize(&mut *self.reader))
            .transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        self.left
    }
}

impl<'de> EnumAccess<'de> for &mut Reader<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let variant: U32Deserializer<Error> = u32::from(self.byte()?).into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Reader<'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, parts: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_tuple(parts, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}

/// Bytes with zeros behind them: [`memcomparable`] panics where they end too early, but goes on with zeros to an end of
/// its own, after which it is seen how much was read.
struct Endless<'a> {
    bytes: &'a [u8],
    read: usize,
}

impl bytes::Buf for Endless<'_> {
    fn remaining(&self) -> usize {
        usize::MAX - self.read
    }

    fn chunk(&self) -> &[u8] {
        match self.bytes.get(self.read..) {
            Some(rest) if !rest.is_empty() => rest,
            _ => &[0; 64],
        }
    }

    fn advance(&mut self, count: usize) {
        self.read += count;
    }
}
