//! Judges what the orders example wrote to `order-counts`: for each account the counts 1, 2, 3 ... n, in order, without a
//! gap or a repeat. Whatever was lost, doubled or reordered on the way breaks that sequence.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use serde::{Deserialize, Serialize};

use crate::reader::{ReadError, follow_committed, read_committed};

/// The topic that the example writes to.
pub const ORDER_COUNTS: &str = "order-counts";

/// At most so many faults are described; all are counted.
const MAX_DESCRIBED: usize = 20;

/// A record of `order-counts`, as the contract of the example has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderCount {
    /// The account whose orders are counted; also the key of the record.
    pub account_id: String,
    /// The number of this order among those of its account, from 1.
    pub count: u64,
    /// The sum of amount times price so far.
    pub total: f64,
    /// The timestamp of the order's record, in milliseconds since 1970.
    pub order_ts: i64,
}

/// What was read of an account at the end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AccountEnd {
    /// The last count.
    pub count: u64,
    /// The last total.
    pub total: f64,
    /// The partition of all its records.
    pub partition: i32,
}

/// Folds the records of `order-counts` into a judgement.
#[derive(Debug, Default, Serialize)]
pub struct OrderCheck {
    /// Every account that was seen, with its end.
    pub accounts: BTreeMap<String, AccountEnd>,
    /// The number of records.
    pub records: u64,
    /// The number of records that broke the sequence, or could not be understood.
    pub fault_count: u64,
    /// The number of those before which a count was left out.
    pub lost_count: u64,
    /// What was wrong with the first of them.
    pub faults: Vec<String>,
}

impl OrderCheck {
    fn observe_record(&mut self, record: &BorrowedMessage<'_>) {
        self.observe(
            record.partition(),
            record.offset(),
            record.key(),
            record.payload(),
        );
    }

    /// Takes the next record of a partition.
    pub fn observe(
        &mut self,
        partition: i32,
        offset: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        self.records += 1;
        if let Err(fault) = self.take(partition, key, value) {
            self.fault_count += 1;
            if self.faults.len() < MAX_DESCRIBED {
                self.faults
                    .push(format!("partition {partition}, offset {offset}: {fault}"));
            }
        }
    }

    fn take(
        &mut self,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), String> {
        let value = value.unwrap_or_default();
        let order: OrderCount = serde_json::from_slice(value).map_err(|error| {
            format!(
                "not an order count: {error}: {}",
                String::from_utf8_lossy(value)
            )
        })?;
        let OrderCount {
            account_id,
            count,
            total,
            ..
        } = order;
        let key = String::from_utf8_lossy(key.unwrap_or_default());
        if key != account_id {
            return Err(format!("the key is {key}, the account {account_id}"));
        }
        let end = AccountEnd {
            count,
            total,
            partition,
        };
        let before = self.accounts.insert(account_id.clone(), end);
        let expected = before.map_or(1, |before| before.count + 1);
        if count != expected {
            let lost = count > expected;
            self.lost_count += u64::from(lost);
            let kind = if lost { "lost" } else { "repeated" };
            return Err(format!(
                "account {account_id}: count {count} where {expected} is due: something was {kind}"
            ));
        }
        if let Some(before) = before.filter(|before| before.partition != partition) {
            return Err(format!(
                "account {account_id}: was on partition {} before",
                before.partition
            ));
        }
        Ok(())
    }

    /// Whether every record was the one that was due.
    pub fn is_sound(&self) -> bool {
        self.fault_count == 0
    }

    /// The sum of the last counts: the number of orders that were processed, when the check is sound.
    pub fn orders(&self) -> u64 {
        self.accounts.values().map(|account| account.count).sum()
    }
}

impl fmt::Display for OrderCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OrderCheck {
            accounts,
            records,
            fault_count,
            ..
        } = self;
        write!(
            f,
            "{records} records, {} accounts, {} orders, {fault_count} faults",
            accounts.len(),
            self.orders()
        )?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        if *fault_count > self.faults.len() as u64 {
            write!(f, "\n  and {} more", fault_count - self.faults.len() as u64)?;
        }
        Ok(())
    }
}

/// Reads `topic` as a `read_committed` consumer does, from its start to its present end, and judges it.
///
/// # Errors
/// As [`read_committed`]. That the records are wrong is no error of the reading: ask [`OrderCheck::is_sound`].
pub fn check_orders(broker: &str, topic: &str, limit: Duration) -> Result<OrderCheck, ReadError> {
    let mut check = OrderCheck::default();
    read_committed(broker, topic, limit, |record| check.observe_record(record))?;
    Ok(check)
}

/// The same while it is being written, until `enough` says so; `each` hears of which partition every record is, when it comes.
///
/// # Errors
/// As [`follow_committed`].
pub fn follow_orders(
    broker: &str,
    topic: &str,
    limit: Duration,
    enough: impl FnMut() -> bool,
    mut each: impl FnMut(i32),
) -> Result<OrderCheck, ReadError> {
    let mut check = OrderCheck::default();
    follow_committed(broker, topic, limit, enough, |record| {
        each(record.partition());
        check.observe_record(record);
    })?;
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Observes `records`, each `account:count@partition`, and returns the faults.
    fn faults_of(records: &str) -> Vec<String> {
        let mut check = OrderCheck::default();
        for (offset, record) in (0..).zip(records.split_whitespace()) {
            let (account, rest) = record.split_once(':').expect("account:count@partition");
            let (count, partition) = rest.split_once('@').expect("account:count@partition");
            let value =
                format!(r#"{{"account_id":"{account}","count":{count},"total":1.5,"order_ts":7}}"#);
            let partition = partition.parse().expect("a number");
            check.observe(
                partition,
                offset,
                Some(account.as_bytes()),
                Some(value.as_bytes()),
            );
        }
        assert_eq!(check.fault_count, check.faults.len() as u64);
        check.faults
    }

    #[test]
    fn counts_in_order_are_sound() {
        assert!(faults_of("a:1@0 b:1@1 a:2@0 a:3@0 b:2@1").is_empty());
    }

    #[test]
    fn each_way_to_break_the_sequence_is_found() {
        let check = |records: &str, expected: &str| {
            let faults = faults_of(records);
            assert!(
                faults.len() == 1 && faults[0].contains(expected),
                "{records}: {faults:?}"
            );
        };
        check("a:2@0", "count 2 where 1 is due: something was lost");
        check(
            "a:1@0 a:3@0 a:4@0",
            "count 3 where 2 is due: something was lost",
        );
        check(
            "a:1@0 a:1@0",
            "count 1 where 2 is due: something was repeated",
        );
        check("a:1@0 a:2@3", "was on partition 0 before");
    }

    #[test]
    fn what_is_no_order_count_is_a_fault() {
        let mut check = OrderCheck::default();
        check.observe(0, 0, Some(b"a"), None);
        check.observe(0, 1, Some(b"a"), Some(b"{}"));
        check.observe(
            0,
            2,
            Some(b"b"),
            Some(br#"{"account_id":"a","count":1,"total":1,"order_ts":7}"#),
        );
        assert_eq!(
            (check.fault_count, check.records, check.orders()),
            (3, 3, 0)
        );
    }

    #[test]
    fn a_flood_of_faults_is_counted_but_not_described() {
        let mut check = OrderCheck::default();
        (0..100).for_each(|offset| check.observe(0, offset, None, None));
        assert_eq!(
            (check.fault_count, check.faults.len()),
            (100, MAX_DESCRIBED)
        );
        assert!(check.to_string().ends_with("and 80 more"), "{check}");
    }
}
