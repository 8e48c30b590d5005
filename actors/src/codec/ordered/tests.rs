use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;
use serde::de::{Deserializer, Visitor};
use serde::ser::{SerializeStructVariant, SerializeTupleVariant, Serializer};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Visit {
    from: IpAddr,
    by: Option<Uuid>,
    #[serde(deserialize_with = "borrowed")]
    page: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Seen {
    Nobody,
    One(Uuid),
    Two(Uuid, IpAddr),
    Many { ids: Vec<Uuid>, at: SocketAddr },
}

/// As types do that need to look at a string only.
fn borrowed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }
    }
    deserializer.deserialize_str(Text)
}

fn encoded<T: Serialize + DeserializeOwned>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    Ordered.encode(value, &mut bytes).map(|()| bytes)
}

/// It is written as [`memcomparable`] writes it, which is what tables hold, and comes back; cut, it is an error.
fn returns<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let bytes = encoded(&value).unwrap();
    assert_eq!(bytes, memcomparable::to_vec(&value).unwrap(), "{value:?}");
    assert_eq!(Ordered.decode(&bytes), Ok(value));
    for cut in 0..bytes.len() {
        let cut: Result<T, _> = Ordered.decode(&bytes[..cut]);
        assert!(cut.is_err(), "{cut:?}");
    }
}

proptest! {
    #[test]
    fn keys_that_bytes_and_people_read_differently_come_back(id: [u8; 16], from: IpAddr, port: u16, page: String) {
        let (id, at) = (Uuid::from_bytes(id), SocketAddr::new(from, port));
        returns(id);
        returns(from);
        returns(at);
        returns((id, 7u32));
        returns([id; 2]);
        returns([None, Some(id)]);
        returns(vec![from; 3]);
        returns((vec![Some((Reverse(id), from))], page.clone()));
        returns((Visit { from, by: Some(id), page: page.clone() }, 1u8));
        returns((Visit { from, by: None, page }, 1u8));
        returns([Seen::Nobody, Seen::One(id), Seen::Two(id, from), Seen::Many { ids: vec![id, id], at }]);
    }

    #[test]
    fn plain_keys_come_back(numbers: (u8, i16, i32, u64, i128), c: char, x: f32, y in -1e9..1e9f64, d: Duration, is: bool) {
        returns((numbers, c, y, d));
        returns((x, is, (), u128::MAX, "".to_owned()));
        returns(vec![Some(numbers.0), None]);
    }

    #[test]
    fn garbage_is_an_error_and_no_panic(bytes: Vec<u8>) {
        let _ = Codec::<Vec<Visit>>::decode(&Ordered, &bytes);
        let _ = Codec::<Seen>::decode(&Ordered, &bytes);
    }

    #[test]
    fn keys_sort_as_their_bytes(a: (i32, String), b: (i32, String)) {
        prop_assert_eq!(a.cmp(&b), encoded(&a)?.cmp(&encoded(&b)?));
    }

    #[test]
    fn ids_sort_as_their_bytes(a: [u8; 16], b: [u8; 16], n: u8, m: u8) {
        let (a, b) = ((Uuid::from_bytes(a), n), (Uuid::from_bytes(b), m));
        prop_assert_eq!(a.cmp(&b), encoded(&a)?.cmp(&encoded(&b)?));
    }
}

#[test]
fn what_was_written_stays_readable() {
    let id = Uuid::from_bytes(*b"0123456789abcdef");
    let written = b"\x0101234567\x0989abcdef\x08\x80\x00\x00\x07";
    assert_eq!(Ordered.decode(written), Ok((id, 7i32)));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Short {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum ShortToo {
    It {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u8>,
    },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Id { id: u8 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of")]
enum Adjacent {
    Id(u8),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Id(u8),
}

fn refused<T>(result: Result<T, CodecError>, what: &str) {
    let error = result.err().unwrap().to_string();
    assert!(error.starts_with(what), "{error}");
}

#[test]
fn what_cannot_be_written_is_an_error() {
    refused(encoded(&(1, BTreeMap::from([(1, 2)]))), "a map ");
    refused(encoded(&Short { id: None }), "a struct that leaves out ");
    refused(
        encoded(&ShortToo::It { id: None }),
        "a struct that leaves out ",
    );
    returns(Short { id: Some(7) });
}

#[test]
fn what_cannot_be_read_is_an_error() {
    fn is_refused<T: Serialize + DeserializeOwned>(value: &T, what: &str) {
        refused(Codec::<T>::decode(&Ordered, &encoded(value).unwrap()), what);
    }
    is_refused(&Tagged::Id { id: 7 }, "what is not known ");
    is_refused(&Adjacent::Id(7), "what is not known ");
    is_refused(&Untagged::Id(7), "what is not known ");
    refused(Codec::<BTreeMap<u8, u8>>::decode(&Ordered, &[0]), "a map ");
}

#[test]
fn an_enum_has_at_most_256_variants() {
    let last = |form: Form| encoded(&Many { variant: 255, form });
    let one_more = |form: Form| encoded(&Many { variant: 256, form });
    for form in [Form::Unit, Form::Newtype, Form::Tuple, Form::Struct] {
        assert_eq!(last(form), Ok(vec![255]));
        refused(one_more(form), "an enum of more than 256 ");
    }
}

/// An enum of any number of variants, without content.
#[derive(Deserialize)]
struct Many {
    variant: u32,
    form: Form,
}

#[derive(Clone, Copy, Deserialize)]
enum Form {
    Unit,
    Newtype,
    Tuple,
    Struct,
}

impl Serialize for Many {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.form {
            Form::Unit => to.serialize_unit_variant("Many", self.variant, "It"),
            Form::Newtype => to.serialize_newtype_variant("Many", self.variant, "It", &()),
            Form::Tuple => to
                .serialize_tuple_variant("Many", self.variant, "It", 0)?
                .end(),
            Form::Struct => to
                .serialize_struct_variant("Many", self.variant, "It", 0)?
                .end(),
        }
    }
}
