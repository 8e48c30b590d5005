//! Whether a process may join: the check before it writes its `Join`, and again once that was read back.

use crate::control::Join;
use crate::ids::{MemberId, NodeName};
use crate::view::View;

/// What the process found out about a member: from its heartbeats, and by a connection to its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// It beats, or answers with its own incarnation.
    Alive,
    /// Its address refuses connections, is another's by now, or it has been silent for the time-out.
    Gone,
    /// Not known yet.
    Unknown,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Join, or after that: arm.
    Welcome,
    /// First find out about these.
    Ask(Vec<MemberId>),
    /// Say this to the operator and exit; after the `Join`, write a `Leave` before.
    Refused(Refusal),
}

/// Why a process may not join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Two processes of one name would take each other for dead.
    #[error(
        "a node named {node} is running already (member {member}{}): stop it, or give this one another name",
        at(.http)
    )]
    NameTaken {
        /// The name.
        node: NodeName,
        /// Who has it.
        member: MemberId,
        /// Where that one can be reached.
        http: Option<String>,
    },
    /// The two would treat records by different rules.
    #[error(
        "node {node} (member {member}) runs another topology ({there}, this one is {here}): {}; \
         stop all nodes of the one before you start the other, or use another app id or version",
        .differences.join("; ")
    )]
    TopologyDiffers {
        /// A node that is running.
        node: NodeName,
        /// Its id.
        member: MemberId,
        /// The fingerprint of this process's topology.
        here: crate::topology::Fingerprint,
        /// The fingerprint of that node's.
        there: crate::topology::Fingerprint,
        /// What differs, a sentence each.
        differences: Vec<String>,
    },
}

fn at(http: &Option<String>) -> String {
    http.as_ref()
        .map(|http| format!(", {http}"))
        .unwrap_or_default()
}

/// Whether the process of `join` may run with the members that joined before it; `me` is its id once it has
/// one.
///
/// Only those matter that live and have the same name or another topology: so a restart waits for nobody.
#[must_use]
pub fn admit(
    view: &View,
    join: &Join,
    me: Option<MemberId>,
    peer: impl Fn(MemberId) -> Peer,
) -> Admission {
    let mut unknown = Vec::new();
    let earlier = view
        .members()
        .filter(|(id, _)| me.is_none_or(|me| *id < me));
    for (member, it) in earlier {
        let differences = join.topology.differences(&it.join.topology);
        let same_name = it.join.node == join.node;
        if !same_name && differences.is_empty() {
            continue;
        }
        let node = it.join.node.clone();
        match peer(member) {
            Peer::Gone => {}
            Peer::Unknown => unknown.push(member),
            Peer::Alive if same_name => {
                let http = it.join.http.clone();
                return Admission::Refused(Refusal::NameTaken { node, member, http });
            }
            Peer::Alive => {
                return Admission::Refused(Refusal::TopologyDiffers {
                    node,
                    member,
                    here: join.topology.fingerprint(),
                    there: it.join.topology.fingerprint(),
                    differences,
                });
            }
        }
    }
    match unknown.is_empty() {
        true => Admission::Welcome,
        false => Admission::Ask(unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, join, topology};

    /// A view with members 0 `n0` and 1 `n1`.
    fn view() -> View {
        let mut world = World::default();
        world.start();
        world.start();
        world.read(0, 2);
        world.nodes[0].view.clone()
    }

    #[test]
    fn a_name_is_free_once_its_holder_is_gone() {
        let check = |name: &str, me, peer: Peer| admit(&view(), &join(name), me, |_| peer);
        for (name, me, peer, expected) in [
            ("n2", None, Peer::Alive, "Welcome"),
            ("n1", None, Peer::Gone, "Welcome"),
            ("n1", None, Peer::Unknown, "Ask([MemberId(1)])"),
            ("n1", None, Peer::Alive, "Refused(NameTaken"),
            ("n1", Some(MemberId(1)), Peer::Alive, "Welcome"),
            ("n0", Some(MemberId(1)), Peer::Alive, "Refused(NameTaken"),
        ] {
            let found = format!("{:?}", check(name, me, peer));
            assert!(
                found.starts_with(expected),
                "{name} {me:?} {peer:?}: {found}"
            );
        }
        let Admission::Refused(refusal) = check("n1", None, Peer::Alive) else {
            panic!("its name is taken");
        };
        assert_eq!(
            refusal.to_string(),
            "a node named n1 is running already (member 1): stop it, or give this one another name"
        );
    }

    #[test]
    fn another_topology_is_refused_while_somebody_runs_the_old_one() {
        let mut new = join("n2");
        new.topology = topology(4);
        new.build = "9.9".into();
        let check = |peer: Peer| admit(&view(), &new, None, |_| peer);
        assert_eq!(check(Peer::Gone), Admission::Welcome);
        assert_eq!(
            check(Peer::Unknown),
            Admission::Ask(vec![MemberId(0), MemberId(1)])
        );
        let Admission::Refused(refusal) = check(Peer::Alive) else {
            panic!("2 partitions are not 4");
        };
        let text = refusal.to_string();
        assert!(
            text.contains("group orders is 4 partitions, tables order_count here and 2 partitions"),
            "{text}"
        );
        let mut newer_build = join("n2");
        newer_build.build = "9.9".into();
        assert_eq!(
            admit(&view(), &newer_build, None, |_| Peer::Alive),
            Admission::Welcome
        );
    }
}
