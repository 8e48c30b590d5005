//! The orders that are counted, and what is counted of them.

use std::borrow::Cow;
use std::io::Write;

use serde::Deserialize;

use crate::Result;

/// So many different accounts order.
pub(crate) const ACCOUNTS: u64 = 10_000;

/// An order as a consumer parses it: whole, as an application would.
#[derive(Deserialize)]
#[allow(dead_code, reason = "not every field is counted")]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Order<'a> {
    #[serde(borrow)]
    pub(crate) account_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) product_id: Cow<'a, str>,
    pub(crate) amount: u32,
    pub(crate) price: f64,
}

/// What a repartitioner has to know of an order.
#[derive(Deserialize)]
pub(crate) struct AccountOf<'a> {
    #[serde(borrow)]
    pub(crate) account_id: Cow<'a, str>,
}

/// Order number `index` of the one sequence that all runs count.
pub(crate) struct GeneratedOrder {
    pub(crate) account: u64,
    product: u64,
    amount: u32,
    quarters: u32,
}

impl GeneratedOrder {
    pub(crate) fn new(index: u64) -> GeneratedOrder {
        let bits = scramble(index);
        GeneratedOrder {
            account: bits % ACCOUNTS,
            product: (bits >> 16) % 100,
            amount: (bits >> 32) as u32 % 9 + 1,
            quarters: (bits >> 40) as u32 % 1600,
        }
    }

    pub(crate) fn account_id(&self) -> String {
        format!("a{}", self.account)
    }

    /// As JSON, about 75 bytes; prices are whole quarters, so that sums are exact in any order.
    pub(crate) fn write_json(&self, into: &mut Vec<u8>) -> Result<()> {
        into.clear();
        write!(
            into,
            r#"{{"account_id":"a{}","product_id":"product-{}","amount":{},"price":{:?}}}"#,
            self.account,
            self.product,
            self.amount,
            self.price()
        )?;
        Ok(())
    }

    pub(crate) fn value(&self) -> f64 {
        f64::from(self.amount) * self.price()
    }

    fn price(&self) -> f64 {
        f64::from(self.quarters) / 4.0
    }
}

/// The finaliser of splitmix64.
pub(crate) fn scramble(index: u64) -> u64 {
    let mut bits = index.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// What is kept per account.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) total: f64,
}

impl Tally {
    pub(crate) const BYTES: usize = 16;

    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1;
        self.total += value;
    }

    pub(crate) fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..].copy_from_slice(&self.total.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Tally> {
        let bytes: [u8; Self::BYTES] = bytes
            .try_into()
            .map_err(|_| format!("a tally of {} bytes", bytes.len()))?;
        let number = u128::from_le_bytes(bytes);
        Ok(Tally {
            count: number as u64,
            total: f64::from_bits((number >> 64) as u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_order_is_what_a_consumer_parses() {
        let mut json = Vec::new();
        let mut bytes = 0;
        for index in 0..10_000 {
            let generated = GeneratedOrder::new(index);
            generated
                .write_json(&mut json)
                .expect("memory can be written");
            bytes += json.len();
            let parsed: Order<'_> = serde_json::from_slice(&json).expect("an order is JSON");
            assert_eq!(parsed.account_id, generated.account_id());
            assert_eq!(f64::from(parsed.amount) * parsed.price, generated.value());
        }
        assert!(
            (700_000..780_000).contains(&bytes),
            "{bytes} bytes in 10,000 orders"
        );
    }

    #[test]
    fn a_tally_comes_back_from_its_bytes() {
        let tally = Tally {
            count: 7,
            total: -12.25,
        };
        assert_eq!(Tally::decode(&tally.encode()).expect("16 bytes"), tally);
        assert!(Tally::decode(&[0; 15]).is_err());
    }
}
