//! [`Links`]: whether the processes of other members are there. Evidence that is faster than silence, and never wrong
//! about a process that is merely slow.

mod memory;
mod tcp;

use tanist_actors::port::PortFuture;
use tanist_cluster::admission::Peer;
use tanist_cluster::control::Join;
use uuid::Uuid;

pub use memory::{MemoryLinks, MemoryProcesses};
pub(crate) use tcp::{INCARNATION_HEADER, PATH};
pub use tcp::{TcpLinks, machine};

/// See the module. A port: over TCP, and in memory for the test driver.
pub trait Links: Send + Sync {
    /// From now on this process answers as this start of its node.
    fn answer_as(&self, incarnation: Uuid);

    /// Holds a connection to the process of `incarnation` at `address`, and is done when it is certain that this process
    /// is gone: the connection broke, and a new one is refused or answered by another. Never done for a process that is
    /// slow or frozen, or that cannot be reached.
    fn gone<'a>(&'a self, address: &'a str, incarnation: Uuid) -> PortFuture<'a, ()>;

    /// Asks once, within a second: is that process there?
    fn ask<'a>(&'a self, address: &'a str, incarnation: Uuid) -> PortFuture<'a, Peer>;
}

/// Where the process of `join` can be asked from `machine`: an address of loopback means another process elsewhere.
pub(crate) fn reachable<'a>(join: &'a Join, machine: Option<&str>) -> Option<&'a str> {
    let address = join.http.as_deref()?;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let loopback = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    let same_machine = machine.is_some() && join.machine.as_deref() == machine;
    (!loopback || same_machine).then_some(address)
}

#[cfg(test)]
mod tests {
    use tanist_cluster::codec::FORMAT;
    use tanist_cluster::control::USUAL_WEIGHT;
    use tanist_cluster::topology::Topology;
    use tanist_cluster::{Millis, NodeName};

    use super::*;

    #[test]
    fn an_address_of_loopback_is_asked_only_on_its_own_machine() {
        for (http, theirs, ours, expected) in [
            (Some("127.0.0.1:1"), Some("m1"), Some("m1"), true),
            (Some("127.0.0.1:1"), Some("m2"), Some("m1"), false),
            (Some("[::1]:1"), None, Some("m1"), false),
            (Some("127.0.0.1:1"), None, None, false),
            (Some("10.0.0.1:1"), Some("m2"), Some("m1"), true),
            (Some("kafka.example:1"), None, None, true),
            (None, Some("m1"), Some("m1"), false),
        ] {
            let join = Join {
                node: NodeName::from("n1"),
                incarnation: Uuid::nil(),
                workers: 1,
                topology: Topology::default(),
                build: String::new(),
                reads_format: FORMAT,
                http: http.map(str::to_owned),
                machine: theirs.map(str::to_owned),
                rack: None,
                weight: USUAL_WEIGHT,
                joined_at: Millis(0),
            };
            let asked = reachable(&join, ours);
            assert_eq!(asked, http.filter(|_| expected), "{theirs:?} from {ours:?}");
        }
    }
}
