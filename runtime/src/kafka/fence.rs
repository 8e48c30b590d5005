//! Fencing of other producers by a raw `InitProducerId`, which takes milliseconds where librdkafka's `init_transactions`
//! takes half a second to a second: it repeats only after a fixed 500 ms when there is a transaction to be rolled back.
//!
//! Speaks to the brokers over connections of its own (`InitProducerId` 4: Apache Kafka 2.7 and later).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    FindCoordinatorRequest, InitProducerIdRequest, ProducerId, TransactionalId as WireId,
};
use kafka_protocol::protocol::StrBytes;
use tanist_cluster::TransactionalId;

use super::clock::Deadline;
use super::connection::{Address, Connection, address, at_least_a_little};
use super::security::Security;

/// `FindCoordinator` asks for a group or for a transactional id.
const OF_TRANSACTIONS: i8 = 1;
const FIND_COORDINATOR: i16 = 2;
const INIT_PRODUCER_ID: i16 = 4;
/// While a transaction is being rolled back, or its coordinator is starting.
const RETRY_PAUSE: Duration = Duration::from_millis(1);

/// Why producers could not be fenced.
#[derive(Debug, thiserror::Error)]
pub(super) enum FenceError {
    /// A connection could not be made, broke, or was silent for too long.
    #[error("{0}")]
    NoAnswer(#[from] io::Error),
    /// Time was up.
    #[error("{0} was not fenced in time: {1:?}")]
    TooLate(TransactionalId, ResponseError),
    /// An answer that no repetition will change.
    #[error("{0}: {1:?}")]
    Refused(TransactionalId, ResponseError),
}

/// Fences the producers of `ids`: when it returns, what they had open has been rolled back and they can write nothing
/// more.
pub(super) fn fence(
    brokers: &str,
    security: &Security,
    ids: &[TransactionalId],
    transaction_timeout: Duration,
    deadline: Deadline,
) -> Result<(), FenceError> {
    let mut left: BTreeSet<TransactionalId> = ids.iter().cloned().collect();
    let Some(first) = ids.first() else {
        return Ok(());
    };
    let mut any = connect_to_any(brokers, security, first, deadline)?;
    loop {
        let (coordinators, mut retry) = find_coordinators(&mut any, left)?;
        let answers: Vec<_> = thread::scope(|scope| {
            let asked: Vec<_> = coordinators
                .into_iter()
                .map(|(address, ids)| {
                    scope.spawn(move || {
                        let coordinator = Connection::to(&address, security, deadline)?;
                        init_all(coordinator, ids, transaction_timeout, deadline)
                    })
                })
                .collect();
            let panicked = |_| Err(io::Error::other("a fencing thread panicked").into());
            asked
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(panicked))
                .collect()
        });
        for answer in answers {
            retry.append(&mut answer?);
        }
        if let Some((id, error)) = retry.first_key_value()
            && deadline.has_passed()
        {
            return Err(FenceError::TooLate(id.clone(), *error));
        }
        if retry.is_empty() {
            return Ok(());
        }
        left = retry.into_keys().collect();
        thread::sleep(RETRY_PAUSE);
    }
}

/// A connection to whichever of `brokers` answers first, here to a question for the coordinator of `id`: to wait for one
/// that is gone, or frozen, would take all the time there is.
fn connect_to_any(
    brokers: &str,
    security: &Security,
    id: &TransactionalId,
    deadline: Deadline,
) -> io::Result<Connection> {
    let (sender, answers) = mpsc::channel();
    for broker in brokers.split(',') {
        let (broker, id, sender) = (broker.to_owned(), id.clone(), sender.clone());
        let security = security.clone();
        let ask = move || {
            let mut connection = Connection::to(&address(&broker)?, &security, deadline)?;
            connection.send(&coordinator_of(&id), FIND_COORDINATOR)?;
            connection.receive::<FindCoordinatorRequest>(FIND_COORDINATOR)?;
            Ok(connection)
        };
        // Nobody waits for the slower ones, which end by the deadline.
        thread::Builder::new().spawn(move || sender.send(ask()))?;
    }
    drop(sender);
    let mut last = io::Error::other("no address of a broker answered");
    while let Ok(answer) = answers.recv_timeout(at_least_a_little(deadline)) {
        match answer {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Ids that have to be asked for again, and why.
type Retry = BTreeMap<TransactionalId, ResponseError>;

fn coordinator_of(id: &TransactionalId) -> FindCoordinatorRequest {
    FindCoordinatorRequest::default()
        .with_key(StrBytes::from_string(id.as_str().to_owned()))
        .with_key_type(OF_TRANSACTIONS)
}

/// The coordinator of each of `ids`.
fn find_coordinators(
    any: &mut Connection,
    ids: BTreeSet<TransactionalId>,
) -> Result<(BTreeMap<Address, BTreeSet<TransactionalId>>, Retry), FenceError> {
    for id in &ids {
        any.send(&coordinator_of(id), FIND_COORDINATOR)?;
    }
    let mut coordinators = BTreeMap::<Address, BTreeSet<_>>::new();
    let mut retry = Retry::new();
    for id in ids {
        let answer = any.receive::<FindCoordinatorRequest>(FIND_COORDINATOR)?;
        match ResponseError::try_from_code(answer.error_code) {
            None => {
                let port = u16::try_from(answer.port).map_err(io::Error::other)?;
                let address = (answer.host.to_string(), port);
                coordinators.entry(address).or_default().insert(id);
            }
            Some(error) if is_retriable(error) => {
                retry.insert(id, error);
            }
            Some(error) => return Err(FenceError::Refused(id, error)),
        }
    }
    Ok((coordinators, retry))
}

/// Initialises `ids` at their coordinator, all in one go; those for which it is not, or not any more, the coordinator
/// are given back.
fn init_all(
    mut connection: Connection,
    mut ids: BTreeSet<TransactionalId>,
    transaction_timeout: Duration,
    deadline: Deadline,
) -> Result<Retry, FenceError> {
    let mut moved = Retry::new();
    loop {
        for id in &ids {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(Some(WireId(StrBytes::from_string(id.to_string()))))
                .with_transaction_timeout_ms(transaction_timeout.as_millis() as i32)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1);
            connection.send(&request, INIT_PRODUCER_ID)?;
        }
        let mut retry = Retry::new();
        for id in ids {
            let answer = connection.receive::<InitProducerIdRequest>(INIT_PRODUCER_ID)?;
            match ResponseError::try_from_code(answer.error_code) {
                None => {}
                Some(error @ ResponseError::NotCoordinator) => {
                    moved.insert(id, error);
                }
                Some(error) if is_retriable(error) => {
                    retry.insert(id, error);
                }
                Some(error) => return Err(FenceError::Refused(id, error)),
            }
        }
        if retry.is_empty() || deadline.has_passed() {
            moved.append(&mut retry);
            return Ok(moved);
        }
        ids = retry.into_keys().collect();
        thread::sleep(RETRY_PAUSE);
    }
}

/// True if the coordinator is busy with rolling back, is starting, or is another by now.
fn is_retriable(error: ResponseError) -> bool {
    matches!(
        error,
        ResponseError::ConcurrentTransactions
            | ResponseError::CoordinatorLoadInProgress
            | ResponseError::CoordinatorNotAvailable
            | ResponseError::NotCoordinator
    )
}
