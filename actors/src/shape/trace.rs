//! Tracing: a deserializer that has no data. It notes what a type asks for and gives it some value, so that it goes on
//! asking; as often as there is something left to be found out (another variant, what is behind an `Option`).

use std::any::type_name;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer,
    MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::Kind;
use super::node::{Form, Node, Parts};

/// A type that has more parts than that is not followed further.
const MAX_NODES: usize = 1000;
/// Nor one that is nested deeper.
pub(super) const MAX_DEPTH: usize = 60;
/// Nor one for which this is not enough.
const MAX_PASSES: usize = 2000;

/// Values for types that take only some. Those that most of them take are first.
const TEXTS: [&str; 14] = [
    "a",
    "",
    "0",
    "1970-01-01T00:00:00Z",
    "1970-01-01",
    "00:00:00",
    "1970-01-01T00:00:00",
    "00000000-0000-0000-0000-000000000000",
    "0.0.0.0",
    "http://a.aa/",
    "a@a.aa",
    "0.0.0",
    "UTC",
    "EUR",
];
const BYTES: [&[u8]; 4] = [&[0; 16], b"", &[0; 4], &[0; 32]];

/// What was found out about a type.
pub(super) struct Traced {
    /// What it is made of.
    pub(super) kind: Kind,
    /// Whether it, or a part of it, asks the bytes what they are.
    pub(super) asks: bool,
}

/// What `T` is made of, as far as it can be found out.
pub(super) fn trace<T: DeserializeOwned>() -> Traced {
    let mut root = Node::default();
    let state = State::default();
    for _ in 0..MAX_PASSES {
        let before = state.found.get();
        state.begin_pass();
        let pass = AssertUnwindSafe(|| T::deserialize(state.tracer(&mut root)).is_ok());
        let Ok(made) = catch_unwind(pass) else {
            // Whatever it does with values that it has not made itself.
            break;
        };
        if !made && state.found.get() == before {
            state.try_another_value();
        }
        let is_futile = state.found.get() == before && !state.went_in.get();
        if root.is_known() || is_futile {
            break;
        }
    }
    Traced {
        kind: root.kind(),
        asks: state.asks.get(),
    }
}

/// What the parts of a trace share.
#[derive(Default)]
struct State {
    /// Counts all that was found out.
    found: Cell<usize>,
    /// That, when the pass began.
    found_before: Cell<usize>,
    /// In this pass something was gone into that need not have been.
    went_in: Cell<bool>,
    /// How many of the values for it each leaf has refused.
    refused: RefCell<Vec<usize>>,
    /// The leaf that a failure is put down to.
    suspect: Cell<Option<usize>>,
    /// The types that are being made.
    path: RefCell<Vec<&'static str>>,
    /// A variant of each enum that could be made.
    makeable: RefCell<BTreeMap<&'static str, usize>>,
    nodes: Cell<usize>,
    asks: Cell<bool>,
}

impl State {
    fn begin_pass(&self) {
        self.found_before.set(self.found.get());
        self.went_in.set(false);
        self.suspect.set(None);
        self.path.borrow_mut().clear();
    }

    fn tracer<'a>(&'a self, node: &'a mut Node) -> Tracer<'a> {
        Tracer {
            state: self,
            node,
            depth: 0,
            is_brief: false,
        }
    }

    fn note_found(&self) {
        self.found.set(self.found.get() + 1);
    }

    fn try_another_value(&self) {
        if let Some(leaf) = self.suspect.get() {
            self.refused.borrow_mut()[leaf] += 1;
            self.note_found();
        }
    }

    /// Nobody's fault that it ends here.
    fn end<T>(&self) -> Result<T, End> {
        self.suspect.set(None);
        Err(End)
    }

    /// Whether to go into `node`, which may be left out: while there is something new.
    fn wants(&self, node: &Node) -> bool {
        !node.is_known()
            && node
                .entered
                .is_none_or(|then| then < self.found_before.get())
    }

    fn go_into(&self, node: &mut Node) {
        node.entered = Some(self.found.get());
        self.went_in.set(true);
    }
}

/// Makes one value.
struct Tracer<'a> {
    state: &'a State,
    node: &'a mut Node,
    depth: usize,
    /// Within a type that contains itself: the shortest is made, and nothing noted.
    is_brief: bool,
}

/// A value could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the type cannot be followed")]
struct End;

impl Error for End {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

impl<'a> Tracer<'a> {
    /// The node is of this form.
    fn is(&mut self, form: impl FnOnce() -> Form, nodes: usize) -> Result<(), End> {
        let count = self.state.nodes.get() + nodes;
        if self.depth > MAX_DEPTH || !self.is_brief && count > MAX_NODES {
            return self.state.end();
        }
        if let Form::New = self.node.form {
            self.node.form = form();
            if !self.is_brief {
                self.state.nodes.set(count);
                self.state.note_found();
            }
        }
        Ok(())
    }

    /// The value that is next to be tried for a leaf.
    fn leaf<T: Copy>(&mut self, name: &'static str, values: &[T]) -> Result<T, End> {
        let leaf = self.state.refused.borrow().len();
        self.is(|| Form::Leaf(name, leaf), 1)?;
        match self.node.form {
            Form::Leaf(_, leaf) if !self.is_brief => {
                let mut refused = self.state.refused.borrow_mut();
                let leaves = refused.len().max(leaf + 1);
                refused.resize(leaves, 0);
                let Some(value) = values.get(refused[leaf]) else {
                    return self.state.end();
                };
                self.state.suspect.set(Some(leaf));
                Ok(*value)
            }
            _ => {
                self.state.suspect.set(None);
                values.first().copied().ok_or(End)
            }
        }
    }

    /// Has `make` make a value of the type that `V` visits; briefly, if it is within a value of the same type.
    fn named<V, T>(self, make: impl FnOnce(Tracer<'_>) -> Result<T, End>) -> Result<T, End> {
        let Self {
            state,
            node,
            depth,
            is_brief,
        } = self;
        let name = type_name::<V>();
        let again = state.path.borrow().iter().rev().position(|it| *it == name);
        if let Some(levels) = again.filter(|_| !is_brief) {
            let mut tracer = part(state, depth, false, node);
            tracer.is(|| Form::Again(levels + 1), 1)?;
            return make(part(state, depth, true, &mut Node::default()));
        }
        state.path.borrow_mut().push(name);
        let made = make(part(state, depth, is_brief, node));
        state.path.borrow_mut().pop();
        made
    }

    fn fields<'de, V: Visitor<'de>>(
        mut self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, End> {
        self.is(|| Form::Struct(Parts::new(names)), names.len())?;
        let Form::Struct(parts) = &mut self.node.form else {
            return self.state.end();
        };
        let mut taken = 0;
        let list = List {
            state: self.state,
            depth: self.depth,
            is_brief: self.is_brief,
            nodes: parts.nodes.iter_mut(),
            taken: &mut taken,
        };
        let made = visitor.visit_seq(list)?;
        // Some of the names are aliases.
        parts.nodes.truncate(taken);
        Ok(made)
    }

    fn places<'de, V: Visitor<'de>>(mut self, count: usize, visitor: V) -> Result<V::Value, End> {
        if count > MAX_NODES {
            return self.state.end();
        }
        let form = || Form::Tuple((0..count).map(|_| Node::default()).collect());
        self.is(form, count)?;
        let Form::Tuple(nodes) = &mut self.node.form else {
            return self.state.end();
        };
        visitor.visit_seq(List {
            state: self.state,
            depth: self.depth,
            is_brief: self.is_brief,
            nodes: nodes.iter_mut(),
            taken: &mut 0,
        })
    }
}

fn part<'a>(state: &'a State, depth: usize, is_brief: bool, node: &'a mut Node) -> Tracer<'a> {
    Tracer {
        state,
        node,
        depth: depth + 1,
        is_brief,
    }
}

macro_rules! leaves {
    ($($deserialize:ident $visit:ident $name:literal $values:expr;)*) => {$(
        fn $deserialize<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, End> {
            let value = self.leaf($name, &$values)?;
            visitor.$visit(value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = End;

    leaves! {
        deserialize_bool visit_bool "bool" [false, true];
        deserialize_i8 visit_i8 "i8" [1, 0];
        deserialize_i16 visit_i16 "i16" [1, 0];
        deserialize_i32 visit_i32 "i32" [1, 0];
        deserialize_i64 visit_i64 "i64" [1, 0];
        deserialize_i128 visit_i128 "i128" [1, 0];
        deserialize_u8 visit_u8 "u8" [1, 0];
        deserialize_u16 visit_u16 "u16" [1, 0];
        deserialize_u32 visit_u32 "u32" [1, 0];
        deserialize_u64 visit_u64 "u64" [1, 0];
        deserialize_u128 visit_u128 "u128" [1, 0];
        deserialize_f32 visit_f32 "f32" [0.0, 1.0];
        deserialize_f64 visit_f64 "f64" [0.0, 1.0];
        deserialize_char visit_char "char" ['a', '0'];
        deserialize_str visit_str "str" TEXTS;
        deserialize_string visit_str "str" TEXTS;
        deserialize_bytes visit_bytes "bytes" BYTES;
        deserialize_byte_buf visit_bytes "bytes" BYTES;
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    // Who asks for anything cannot be read from bytes that do not say what they are.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, End> {
        self.state.asks.set(true);
        self.state.end()
    }

    // Names of fields are not written, where fields go by position.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, End> {
        self.deserialize_any(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, End> {
        self.is(|| Form::Tuple(Vec::new()), 1)?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, End> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, End> {
        self.is(|| Form::Option(Box::default()), 1)?;
        match &mut self.node.form {
            Form::Option(some) if !self.is_brief && self.state.wants(some) => {
                self.state.go_into(some);
                visitor.visit_some(part(self.state, self.depth, false, some))
            }
            _ => visitor.visit_none(),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, End> {
        self.named::<V, _>(|tracer| visitor.visit_newtype_struct(tracer))
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, End> {
        self.is(|| Form::Sequence(Box::default()), 1)?;
        let Form::Sequence(item) = &mut self.node.form else {
            return self.state.end();
        };
        let goes_in = !self.is_brief && self.state.wants(item);
        if goes_in {
            self.state.go_into(item);
        }
        let nodes = match goes_in {
            true => std::slice::from_mut(&mut **item).iter_mut(),
            false => [].iter_mut(),
        };
        visitor.visit_seq(List {
            state: self.state,
            depth: self.depth,
            is_brief: false,
            nodes,
            taken: &mut 0,
        })
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, End> {
        self.is(|| Form::Map(Box::default()), 1)?;
        let Form::Map(entry) = &mut self.node.form else {
            return self.state.end();
        };
        let (key, value) = &mut **entry;
        let mut goes_in = false;
        for node in [&mut *key, &mut *value] {
            if !self.is_brief && self.state.wants(node) {
                self.state.go_into(node);
                goes_in = true;
            }
        }
        visitor.visit_map(Entry {
            state: self.state,
            depth: self.depth,
            key: goes_in.then_some(key),
            value: Some(value),
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value, End> {
        self.places(count, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        count: usize,
        visitor: V,
    ) -> Result<V::Value, End> {
        self.named::<V, _>(|tracer| tracer.places(count, visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, End> {
        self.named::<V, _>(|tracer| tracer.fields(names, visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, End> {
        let name = type_name::<V>();
        self.named::<V, _>(|mut tracer| {
            tracer.is(|| Form::Enum(Parts::new(names)), names.len())?;
            let state = tracer.state;
            let (variant, tracer) = tracer.choose(name)?;
            let made = visitor.visit_enum(Variant { variant, tracer })?;
            state.makeable.borrow_mut().insert(name, variant);
            Ok(made)
        })
    }
}

impl<'a> Tracer<'a> {
    /// A variant of the enum that this is: one of which something is to be found out, else one that can be made.
    fn choose(self, name: &'static str) -> Result<(usize, Tracer<'a>), End> {
        let Form::Enum(parts) = &mut self.node.form else {
            return self.state.end();
        };
        let nodes = parts.nodes.iter().enumerate();
        let wanted = nodes
            .filter(|(_, node)| !self.is_brief && self.state.wants(node))
            .min_by_key(|(_, node)| node.entered)
            .map(|(variant, _)| variant);
        let makeable = self.state.makeable.borrow().get(name).copied();
        let variant = wanted.or(makeable);
        let Some((variant, node)) = variant.and_then(|it| Some((it, parts.nodes.get_mut(it)?)))
        else {
            return self.state.end();
        };
        if wanted.is_some() {
            self.state.go_into(node);
        }
        Ok((variant, part(self.state, self.depth, self.is_brief, node)))
    }
}

/// The parts of a struct, tuple or sequence.
struct List<'a> {
    state: &'a State,
    depth: usize,
    is_brief: bool,
    nodes: std::slice::IterMut<'a, Node>,
    taken: &'a mut usize,
}

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = End;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, End> {
        let Some(node) = self.nodes.next() else {
            return Ok(None);
        };
        *self.taken += 1;
        seed.deserialize(part(self.state, self.depth, self.is_brief, node))
            .map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.nodes.len())
    }
}

/// The one entry of a map, or none.
struct Entry<'a> {
    state: &'a State,
    depth: usize,
    key: Option<&'a mut Node>,
    value: Option<&'a mut Node>,
}

impl<'de> MapAccess<'de> for Entry<'_> {
    type Error = End;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, End> {
        let Some(node) = self.key.take() else {
            return Ok(None);
        };
        seed.deserialize(part(self.state, self.depth, false, node))
            .map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, End> {
        match self.value.take() {
            Some(node) => seed.deserialize(part(self.state, self.depth, false, node)),
            None => self.state.end(),
        }
    }
}

/// The variant that was chosen.
struct Variant<'a> {
    variant: usize,
    tracer: Tracer<'a>,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = End;
    type Variant = Tracer<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Tracer<'a>), End> {
        // As bincode has it.
        let index: U32Deserializer<End> = (self.variant as u32).into_deserializer();
        match seed.deserialize(index) {
            Ok(variant) => Ok((variant, self.tracer)),
            Err(End) => {
                if let Form::New = self.tracer.node.form {
                    self.tracer.node.form = Form::Absent;
                    self.tracer.state.note_found();
                }
                self.tracer.state.end()
            }
        }
    }
}

impl<'de> VariantAccess<'de> for Tracer<'_> {
    type Error = End;

    fn unit_variant(mut self) -> Result<(), End> {
        self.is(|| Form::Tuple(Vec::new()), 1)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, End> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value, End> {
        self.places(count, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, End> {
        self.fields(names, visitor)
    }
}
