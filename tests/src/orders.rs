//! Judges what the orders example wrote to `order-counts`: for each account the counts 1, 2, 3 ... n, in order, without a
//! gap or a repeat: whatever was lost, doubled or reordered behind the count breaks that sequence. Before it, a loss and a
//! doubling would make up for each other: so the orders themselves are read, too, and each account's number, total and
//! timestamps are worked out from them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::message::BorrowedMessage;
use serde::{Deserialize, Serialize};

use crate::reader::{ReadError, follow_committed, read_committed};

/// The topic that the example reads.
pub const ORDERS: &str = "orders";
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

/// A record of `orders`: what counts of it.
#[derive(Debug, Deserialize)]
struct Order {
    account_id: String,
    amount: u32,
    price: f64,
}

/// What the orders of each account come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Orders(BTreeMap<String, Sum>);

/// What the orders of one account come to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    count: u64,
    total: f64,
    order_ts: i128,
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
    /// The sum of its orders' timestamps.
    pub order_ts: i128,
}

impl Orders {
    /// Takes an order, whatever its partition. What is none is not counted by the app either.
    pub fn observe(&mut self, value: Option<&[u8]>, order_ts: i64) {
        let Ok(order) = serde_json::from_slice::<Order>(value.unwrap_or_default()) else {
            return;
        };
        let sum = self.0.entry(order.account_id).or_default();
        sum.count += 1;
        sum.total += f64::from(order.amount) * order.price;
        sum.order_ts += i128::from(order_ts);
    }
}

/// Whether `end` can be what the orders of an account come to. Some may not be counted yet, and which ones, nobody knows.
fn compare(account: &str, end: &AccountEnd, sum: &Sum) -> Result<(), String> {
    let AccountEnd { count, total, .. } = end;
    if *count > sum.count {
        return Err(format!(
            "account {account}: {count} orders were counted of the {} that there are: something was doubled",
            sum.count
        ));
    }
    // Added up in another order.
    let is_near = (total - sum.total).abs() <= 1e-9 * sum.total.abs();
    if *count == sum.count && !(is_near && end.order_ts == sum.order_ts) {
        return Err(format!(
            "account {account}: its {count} orders come to {} and not to {total}, or to other timestamps: some were \
             lost and others doubled",
            sum.total
        ));
    }
    Ok(())
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
            self.fault(format!("partition {partition}, offset {offset}: {fault}"));
        }
    }

    /// Holds what was counted against all `orders`, which have to be read after it.
    pub fn hold_against(&mut self, orders: &Orders) {
        let none = Sum::default();
        let accounts = self.accounts.iter();
        let compared = accounts
            .map(|(account, end)| compare(account, end, orders.0.get(account).unwrap_or(&none)));
        let faults: Vec<String> = compared.filter_map(Result::err).collect();
        faults.into_iter().for_each(|fault| self.fault(fault));
    }

    fn fault(&mut self, fault: String) {
        self.fault_count += 1;
        if self.faults.len() < MAX_DESCRIBED {
            self.faults.push(fault);
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
            order_ts,
        } = order;
        let key = String::from_utf8_lossy(key.unwrap_or_default());
        if key != account_id {
            return Err(format!("the key is {key}, the account {account_id}"));
        }
        let before = self.accounts.get(&account_id).copied();
        let end = AccountEnd {
            count,
            total,
            partition,
            order_ts: before.map_or(0, |before| before.order_ts) + i128::from(order_ts),
        };
        self.accounts.insert(account_id.clone(), end);
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

/// Reads the orders themselves, from the start of `topic` to its present end.
///
/// # Errors
/// As [`read_committed`].
pub fn read_orders(broker: &str, topic: &str, limit: Duration) -> Result<Orders, ReadError> {
    let mut orders = Orders::default();
    read_committed(broker, topic, limit, |record| {
        let order_ts = record.timestamp().to_millis().unwrap_or_default();
        orders.observe(record.payload(), order_ts);
    })?;
    Ok(orders)
}

/// As [`check_orders`] while it is being written, until `enough` says so; `each` hears of which partition every record
/// is, when it comes.
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
    fn a_loss_and_a_doubling_that_make_up_for_each_other_are_found() {
        // Timestamp and price of each order of account `a`: what was sent, and what was counted.
        let faults = |sent: &[(i64, f64)], counted: &[(i64, f64)]| {
            let mut orders = Orders::default();
            for (order_ts, price) in sent {
                let order = format!(r#"{{"account_id":"a","amount":2,"price":{price}}}"#);
                orders.observe(Some(order.as_bytes()), *order_ts);
            }
            orders.observe(Some(b"no order"), 1);
            let (mut check, mut total) = (OrderCheck::default(), 0.0);
            for (n, (order_ts, price)) in (1..).zip(counted) {
                total += 2.0 * price;
                let value = format!(
                    r#"{{"account_id":"a","count":{n},"total":{total},"order_ts":{order_ts}}}"#
                );
                check.observe(0, n, Some(b"a"), Some(value.as_bytes()));
            }
            assert!(check.is_sound(), "{check}");
            check.hold_against(&orders);
            check.faults
        };
        let sent = [(1, 0.5), (2, 7.0), (3, 7.0)];
        assert!(faults(&sent, &sent).is_empty());
        assert!(faults(&sent, &[sent[1], sent[0], sent[2]]).is_empty());
        assert!(
            faults(&sent, &sent[..2]).is_empty(),
            "one is not counted yet"
        );
        for counted in [[sent[0], sent[0], sent[2]], [sent[0], sent[1], sent[1]]] {
            let found = faults(&sent, &counted);
            assert!(
                found[0].contains("some were lost and others doubled"),
                "{found:?}"
            );
        }
        let found = faults(&sent[..2], &sent);
        assert!(found[0].contains("something was doubled"), "{found:?}");
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
