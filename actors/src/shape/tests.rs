use std::collections::{BTreeMap, HashSet};
use std::marker::PhantomData;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// The shape of `T`, which is read from its text again.
fn shape<T: DeserializeOwned>() -> String {
    let shape = Shape::of::<T>();
    let text = shape.to_string();
    assert_eq!(text.parse(), Ok(shape), "{text}");
    text
}

fn check<T: DeserializeOwned>(expected: &str) {
    assert_eq!(shape::<T>(), expected);
}

/// What keeps `Now` from reading what was written as `Then`.
fn change<Then: DeserializeOwned, Now: DeserializeOwned>() -> Option<String> {
    let change = Shape::of::<Now>().change_since(&Shape::of::<Then>());
    change.map(|change| change.to_string())
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct Visit {
    page: String,
    visits: u64,
}

#[test]
fn types_of_all_kinds_have_shapes() {
    check::<u64>("u64");
    check::<String>("str");
    check::<()>("()");
    check::<PhantomData<u8>>("()");
    check::<Box<Arc<f64>>>("f64");
    check::<Option<char>>("char?");
    check::<Option<Option<bool>>>("bool??");
    check::<(i8, i16)>("(i8, i16)");
    check::<(i32, i64, i128)>("(i32, i64, i128)");
    check::<[u8; 16]>("[u8; 16]");
    check::<[u8; 2]>("(u8, u8)");
    check::<Vec<Vec<u128>>>("[[u128]]");
    check::<HashSet<u16>>("[u16]");
    check::<BTreeMap<String, Option<f32>>>("[str => f32?]");
    check::<Visit>("{page: str, visits: u64}");
    check::<(Visit, Option<Visit>)>("({page: str, visits: u64}, {page: str, visits: u64}?)");
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is looked at")]
enum Source {
    Web,
    App(u32),
    Partner {
        name: String,
        share: Option<Rate>,
    },
    Pair(u8, Rate),
    #[serde(rename = "not a word")]
    Odd,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is looked at")]
enum Rate {
    Fixed(i64),
    Share(f64),
    #[serde(rename = "_")]
    None,
}

#[test]
fn all_variants_are_found_wherever_an_enum_stands() {
    let rate = r#"<Fixed i64 | Share f64 | "_">"#;
    let source = format!(
        r#"<Web | App u32 | Partner {{name: str, share: {rate}?}} | Pair (u8, {rate}) | "not a word">"#
    );
    check::<Rate>(rate);
    check::<Source>(&source);
    check::<(Vec<Source>, BTreeMap<u8, Source>, u8)>(&format!(
        "([{source}], [u8 => {source}], u8)"
    ));
    check::<IpAddr>("<V4 [u8; 4] | V6 [u8; 16]>");
    check::<Result<u8, String>>("<Ok u8 | Err str>");
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct Tree {
    left: Option<Box<Tree>>,
    value: u8,
    right: Vec<Tree>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is looked at")]
enum Term {
    Sum(Box<Term>, Box<Term>, u8),
    Number(i64),
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct Nest(Vec<Nest>, u8);

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct Endless {
    first: u8,
    next: Box<Endless>,
    last: u8,
}

#[test]
fn a_type_that_contains_itself_is_gone_into_once() {
    check::<Tree>("{left: ^1?, value: u8, right: [^1]}");
    check::<Term>("<Sum (^1, ^1, u8) | Number i64>");
    check::<Nest>("([^1], u8)");
    check::<Endless>("{first: u8, next: ^1, last: _}");
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct Page<T> {
    next: Option<u32>,
    items: T,
}

#[test]
fn a_generic_type_within_itself_is_not_one_that_contains_itself() {
    check::<Page<Page<u8>>>("{next: u32?, items: {next: u32?, items: u8}}");
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Short;

impl TryFrom<String> for Short {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.len() {
            0 => Ok(Self),
            _ => Err(text),
        }
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Never;

impl TryFrom<String> for Never {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Err(text)
    }
}

#[derive(Deserialize)]
#[serde(from = "u8")]
struct Panics;

impl From<u8> for Panics {
    fn from(_: u8) -> Self {
        panic!("it is only ever made in one way")
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is looked at")]
enum Untagged {
    Text(String),
    Number(u8),
}

#[derive(Deserialize)]
#[serde(tag = "kind")]
#[expect(dead_code, reason = "only its shape is looked at")]
enum Tagged {
    Number { of: u8 },
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct Flat {
    before: u8,
    #[serde(flatten)]
    visit: Visit,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is looked at")]
struct Aliases {
    #[serde(alias = "old_a", alias = "older_a")]
    a: u8,
    b: u16,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape is looked at")]
enum AliasedVariants {
    #[serde(alias = "Old")]
    New,
    Other(u8),
}

#[test]
fn types_that_take_only_some_values_are_given_such_or_not_known_from_there_on() {
    check::<(NonZeroU32, u8)>("(u32, u8)");
    check::<(uuid::Uuid, Short, u8)>("(bytes, str, u8)");
    check::<(SystemTime, Duration)>(
        "({secs_since_epoch: u64, nanos_since_epoch: u32}, {secs: u64, nanos: u32})",
    );
    check::<(u8, Never, u16)>("(u8, str, _)");
    check::<(Option<Never>, Vec<Never>, u16)>("(str?, [str], u16)");
    check::<(u8, Untagged, u16)>("(u8, _, _)");
    check::<(u8, serde_json::Value)>("(u8, _)");
    check::<(u16, Panics, u16)>("(u16, u8, _)");
    check::<Aliases>("{_: u8, _: u16}");
    check::<AliasedVariants>("<_ | _ u8>");
    // No codec that goes by position writes it.
    check::<Flat>("[_ => _]");
}

#[test]
fn a_type_that_asks_its_bytes_what_they_are_is_found_out() {
    assert!(asks_its_bytes::<Untagged>());
    assert!(asks_its_bytes::<Tagged>());
    assert!(asks_its_bytes::<Flat>());
    assert!(asks_its_bytes::<(u8, Vec<Option<serde_json::Value>>)>());
    assert!(!asks_its_bytes::<(
        Visit,
        Source,
        uuid::Uuid,
        NonZeroU32,
        Never
    )>());
}

#[test]
fn a_type_of_very_many_parts_is_followed_to_a_limit() {
    let text = shape::<Vec<([[u8; 32]; 32], u8)>>();
    assert!(text.len() < 1000, "{text}");
    let limit = 30;
    let cut = Shape::of::<(Source, u8)>().within_bytes(limit);
    assert_eq!(cut.to_string(), "(_, _)");
    let whole = Shape::of::<Visit>().within_bytes(limit);
    assert_eq!(whole.to_string(), "{page: str, visits: u64}");
}

mod later {
    use super::*;

    macro_rules! later {
        ($(#[$serde:meta])* $kind:ident $name:ident $($body:tt)*) => {
            #[derive(Deserialize)]
            #[expect(dead_code, reason = "only its shape is looked at")]
            $(#[$serde])* pub(super) $kind $name $($body)*
        };
    }
    later!(
        struct Swapped {
            visits: u64,
            page: String,
        }
    );
    later!(
        struct Renamed {
            page: String,
            count: u64,
        }
    );
    later!(
        struct KeepsName {
            page: String,
            #[serde(rename = "visits")]
            count: u64,
        }
    );
    later!(
        struct Retyped {
            page: String,
            visits: u32,
        }
    );
    later!(
        struct More {
            page: String,
            visits: u64,
            last: u64,
        }
    );
    later!(
        struct Nested {
            owner: Retyped,
            rates: Vec<Rate>,
        }
    );
    later!(
        struct NestedBefore {
            owner: Visit,
            rates: Vec<Rate>,
        }
    );
    later!(
        enum MoreRates {
            Fixed(i64),
            Share(f64),
            #[serde(rename = "_")]
            None,
            Free,
        }
    );
    later!(
        enum OtherRates {
            Share(f64),
            Fixed(i64),
            #[serde(rename = "_")]
            None,
        }
    );
}

#[test]
fn what_would_be_read_wrongly_is_a_change() {
    use later::*;
    let check =
        |found: Option<String>, expected: &str| assert_eq!(found.as_deref(), Some(expected));
    let visit = "{page: str, visits: u64} then and";
    check(
        change::<Visit, Swapped>(),
        &format!("{visit} {{visits: u64, page: str}} now"),
    );
    check(
        change::<Visit, Renamed>(),
        &format!("{visit} {{page: str, count: u64}} now"),
    );
    check(
        change::<Visit, Retyped>(),
        "u64 then and u32 now, in `visits`",
    );
    check(
        change::<Visit, More>(),
        &format!("{visit} {{page: str, visits: u64, last: u64}} now"),
    );
    check(
        change::<NestedBefore, Nested>(),
        "u64 then and u32 now, in `owner.visits`",
    );
    check(
        change::<Rate, OtherRates>(),
        r#"<Fixed i64 | Share f64 | "_"> then and <Share f64 | Fixed i64 | "_"> now"#,
    );
    check(change::<u64, Option<u64>>(), "u64 then and u64? now");
    check(change::<[u8; 4], [u8; 5]>(), "[u8; 4] then and [u8; 5] now");
    check(
        change::<Vec<(u8, i8)>, Vec<(u8, u8)>>(),
        "i8 then and u8 now, in `1`",
    );
    check(
        change::<Tree, Nest>(),
        "{left: ^1?, value: u8, right: [^1]} then and ([^1], u8) now",
    );
}

#[test]
fn what_reads_the_same_is_none() {
    use later::*;
    assert_eq!(change::<Visit, KeepsName>(), None);
    assert_eq!(change::<Vec<Rate>, Vec<MoreRates>>(), None);
    assert!(
        change::<MoreRates, Rate>().is_some(),
        "it may hold a variant that is new"
    );
    assert_eq!(change::<(u8, Untagged), (u8, String)>(), None);
    assert_eq!(change::<(u8, u16), Box<(u8, u16)>>(), None);
    assert!(change::<Aliases, (u8,)>().is_some());
}

fn kind() -> impl Strategy<Value = Kind> {
    let leaf = prop_oneof![
        Just(Kind::Unknown),
        "[a-z][a-z0-9]{0,5}".prop_map(Kind::Plain),
        (1..9_usize).prop_map(Kind::Again),
    ];
    leaf.prop_recursive(4, 32, 4, |kind| {
        let pair = (kind.clone(), kind.clone());
        let named = || proptest::collection::vec((".{0,4}", kind.clone()), 0..4);
        prop_oneof![
            kind.clone().prop_map(|kind| Kind::Option(Box::new(kind))),
            kind.clone().prop_map(|kind| Kind::Sequence(Box::new(kind))),
            (kind.clone(), 3..99_usize).prop_map(|(kind, n)| Kind::Array(Box::new(kind), n)),
            pair.prop_map(|pair| Kind::Map(Box::new(pair))),
            proptest::collection::vec(kind.clone(), 0..4).prop_map(Kind::Tuple),
            named().prop_map(Kind::Struct),
            named().prop_map(Kind::Enum),
        ]
    })
}

proptest! {
    #[test]
    fn a_shape_is_read_from_its_text_and_is_no_change_of_itself(kind in kind()) {
        let shape = Shape(kind);
        let text = shape.to_string();
        let read: Result<Shape, _> = text.parse();
        prop_assert_eq!(read.as_ref(), Ok(&shape), "{}", text);
        prop_assert_eq!(shape.change_since(&shape), None);
    }

    #[test]
    fn any_text_is_a_shape_or_an_error(text in "[a-z0-9_?^<>{}()\\[\\]:;|,= \"]{0,40}") {
        if let Ok(shape) = text.parse::<Shape>() {
            prop_assert_eq!(shape.to_string().parse(), Ok(shape));
        }
    }
}
