//! [`Node`]: what a trace has found out so far.

use super::Kind;

/// See the module. Goes from one pass to the next.
#[derive(Default)]
pub(super) struct Node {
    pub(super) form: Form,
    /// How much was known when it was last gone into, where that is a choice.
    pub(super) entered: Option<usize>,
}

#[derive(Default)]
pub(super) enum Form {
    /// Not come to yet.
    #[default]
    New,
    /// And which of the leaves it is.
    Leaf(&'static str, usize),
    Option(Box<Node>),
    Sequence(Box<Node>),
    Map(Box<(Node, Node)>),
    Tuple(Vec<Node>),
    Struct(Parts),
    Enum(Parts),
    Again(usize),
    /// A variant that its enum does not know.
    Absent,
}

/// Fields or variants.
pub(super) struct Parts {
    pub(super) names: &'static [&'static str],
    pub(super) nodes: Vec<Node>,
}

impl Parts {
    pub(super) fn new(names: &'static [&'static str]) -> Self {
        Self {
            names,
            nodes: names.iter().map(|_| Node::default()).collect(),
        }
    }

    /// Serde tells aliases among the names: then it is not known whose each is.
    fn kinds(self) -> Vec<(String, Kind)> {
        let nodes = self.nodes.into_iter();
        let there: Vec<Node> = nodes
            .filter(|it| !matches!(it.form, Form::Absent))
            .collect();
        let are_known = there.len() == self.names.len();
        let named = there.into_iter().zip(self.names).map(|(node, name)| {
            let name = if are_known { *name } else { "" };
            (name.to_owned(), node.kind())
        });
        named.collect()
    }
}

impl Node {
    /// Whether nothing of it is left to be found out.
    pub(super) fn is_known(&self) -> bool {
        match &self.form {
            Form::New => false,
            Form::Leaf(..) | Form::Again(_) | Form::Absent => true,
            Form::Option(node) | Form::Sequence(node) => node.is_known(),
            Form::Map(entry) => entry.0.is_known() && entry.1.is_known(),
            Form::Tuple(nodes) => nodes.iter().all(Self::is_known),
            Form::Struct(parts) | Form::Enum(parts) => parts.nodes.iter().all(Self::is_known),
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self.form {
            Form::New | Form::Absent => Kind::Unknown,
            Form::Leaf(name, _) => Kind::Plain(name.to_owned()),
            Form::Option(node) => Kind::Option(Box::new(node.kind())),
            Form::Sequence(node) => Kind::Sequence(Box::new(node.kind())),
            Form::Map(entry) => Kind::Map(Box::new((entry.0.kind(), entry.1.kind()))),
            Form::Tuple(nodes) => tuple(nodes.into_iter().map(Self::kind).collect()),
            Form::Struct(parts) => Kind::Struct(parts.kinds()),
            Form::Enum(parts) => Kind::Enum(parts.kinds()),
            Form::Again(levels) => Kind::Again(levels),
        }
    }
}

/// Arrays are tuples to serde.
fn tuple(parts: Vec<Kind>) -> Kind {
    match &parts[..] {
        [first, rest @ ..] if rest.len() > 1 && rest.iter().all(|part| part == first) => {
            Kind::Array(Box::new(first.clone()), parts.len())
        }
        _ => Kind::Tuple(parts),
    }
}
