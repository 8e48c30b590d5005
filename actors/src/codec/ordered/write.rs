//! The serializer of [`super::Ordered`].

use memcomparable::Error;
use serde::ser::{self, Impossible, Serialize, Serializer};

use super::unfit;

/// Has [`memcomparable`] write what has no parts, and puts parts together as it does, but for its panics.
pub(super) struct Writer<'a>(memcomparable::Serializer<&'a mut Vec<u8>>);

impl<'a> Writer<'a> {
    pub(super) fn new(into: &'a mut Vec<u8>) -> Self {
        Self(memcomparable::Serializer::new(into))
    }

    fn variant(&mut self, index: u32) -> Result<(), Error> {
        match u8::try_from(index) {
            Ok(index) => self.serialize_u8(index),
            Err(_) => Err(unfit("an enum of more than 256 variants")),
        }
    }
}

macro_rules! write_plain {
    ($($serialize:ident($($value:ident: $type:ty)?);)*) => {$(
        fn $serialize(self, $($value: $type)?) -> Result<(), Error> {
            self.0.$serialize($($value)?)
        }
    )*};
}

impl Serializer for &mut Writer<'_> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Impossible<(), Error>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    write_plain! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_f32(value: f32);
        serialize_f64(value: f64);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.serialize_u8(1)?;
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Error> {
        Err(unfit("a map"))
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
    ) -> Result<(), Error> {
        self.variant(variant)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(variant)?;
        value.serialize(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Error> {
        self.variant(variant)?;
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        variant: u32,
        its: &'static str,
        fields: usize,
    ) -> Result<Self, Error> {
        self.serialize_tuple_variant(name, variant, its, fields)
    }
}

/// Parts follow each other.
macro_rules! write_parts {
    ($($parts:ident $serialize:ident($($name:ident: $type:ty)?) $($skip:ident)?;)*) => {$(
        impl ser::$parts for &mut Writer<'_> {
            type Ok = ();
            type Error = Error;

            fn $serialize<T: Serialize + ?Sized>(
                &mut self,
                $($name: $type,)?
                part: &T,
            ) -> Result<(), Error> {
                part.serialize(&mut **self)
            }

            $(fn $skip(&mut self, _: &'static str) -> Result<(), Error> {
                Err(unfit("a struct that leaves out a field"))
            })?

            fn end(self) -> Result<(), Error> {
                Ok(())
            }
        }
    )*};
}

write_parts! {
    SerializeTuple serialize_element();
    SerializeTupleStruct serialize_field();
    SerializeTupleVariant serialize_field();
    SerializeStruct serialize_field(_name: &'static str) skip_field;
    SerializeStructVariant serialize_field(_name: &'static str) skip_field;
}

/// Each has a 1 before it, and the end is a 0.
impl ser::SerializeSeq for &mut Writer<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, part: &T) -> Result<(), Error> {
        self.serialize_some(part)
    }

    fn end(self) -> Result<(), Error> {
        self.serialize_none()
    }
}
